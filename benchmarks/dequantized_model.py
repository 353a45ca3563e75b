"""The bundled INT8 model as float32 weights, for runtimes that do not read its file: made on the spot, and checked.

usage: python benchmarks/dequantized_model.py FOLDER [--model INT8_FOLDER]

What is written is a Hugging Face folder of a BERT encoder with PyLate's settings beside it: `rank_rerank.load`, PyLate,
`transformers.BertModel.from_pretrained` and the Transformer module of sentence-transformers read it. The check encodes
texts with the float32 weights in PyTorch, and with the INT8 file in its own runtime: between them is the rounding of
activations only. Where transformers is installed, its BertModel is compared as well. Needs torch and safetensors.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from workloads import ROOT

sys.path.insert(0, str(ROOT / "examples" / "bundled_model"))
from unpack import unpack_model

from rank_rerank import TokenEncoder

# of activations rounded to 8 bits, compared with float32: what the README states for the bundled file
MIN_MEAN_COSINE, MIN_COSINE = 0.999, 0.99
# of two float32 computations of one model
MAX_DIFFERENCE = 1e-4
CHECK_TEXTS = (
    "heart attack treatment",
    "Aspirin reduces the risk of a second heart attack when it is taken daily after the first one.",
    "The warranty covers the battery for two years, but not the case, the cable or the charger.",
    "Zebrafish regenerate their hearts: cardiomyocytes near the wound lose their shape, divide, and close the gap. "
    * 8,
)


@dataclass(frozen=True)
class Parity:
    """How near the float32 weights come to what they were made from.

    Attributes:
        mean_cosine: between token vectors of the float32 weights and of the INT8 file.
        min_cosine: of the worst token.
        transformers_difference: the largest difference of a number from transformers' BertModel; None where it is not
            installed.
    """

    mean_cosine: float
    min_cosine: float
    transformers_difference: float | None


def main() -> None:
    """Write, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, help="another folder with an INT8 ONNX file of this library")
    options = parser.parse_args()
    write_dequantized_model(options.folder, options.model)
    print(options.folder, asdict(check_parity(options.folder, options.model)))


def write_dequantized_model(folder: Path, model: Path | None = None) -> Path:
    """Write the float32 folder unless it is there.

    Args:
        folder: where to; made if it is not there.
        model: a folder with an INT8 file of this library; None for the bundled one.
    """
    if not (folder / "modules.json").exists():  # the last file that is written
        unpack_model(folder, model)
    return folder


def check_parity(folder: Path, model: Path | None = None) -> Parity:
    """Compare the folder with its source; ends the process where they do not compute one model."""
    floats = TokenEncoder.from_pretrained(folder, device="cpu", precision="fp32", runtime="torch")
    integers = TokenEncoder.from_pretrained(model, device="cpu")
    found = floats.encode_documents(list(CHECK_TEXTS)).vectors
    cosines = (found * integers.encode_documents(list(CHECK_TEXTS)).vectors).sum(axis=1)
    difference = _difference_from_transformers(folder, floats, found) if find_spec("transformers") else None
    parity = Parity(float(cosines.mean()), float(cosines.min()), difference)
    if parity.mean_cosine < MIN_MEAN_COSINE or parity.min_cosine < MIN_COSINE:
        sys.exit(f"the float32 weights do not compute what the INT8 file does: {parity}")
    if difference is not None and difference > MAX_DIFFERENCE:
        sys.exit(f"transformers computes something else with the float32 weights: {parity}")
    return parity


def _difference_from_transformers(folder: Path, encoder: TokenEncoder, found: Any) -> float:
    import torch
    import transformers
    from safetensors.torch import load_file

    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    [projection] = load_file(folder / "1_Dense" / "model.safetensors").values()
    batch = encoder.tokenizer.tokenize_documents(list(CHECK_TEXTS))
    vectors: list[Any] = []
    with torch.inference_mode():
        for first, last in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
            token_ids = torch.from_numpy(batch.token_ids[first:last].astype(np.int64))[None]
            hidden = model(input_ids=token_ids).last_hidden_state[0]
            vectors.append(torch.nn.functional.normalize(hidden @ projection.T, dim=-1).numpy())
    return float(np.abs(np.concatenate(vectors)[batch.scoring_mask] - found).max())


if __name__ == "__main__":
    main()
