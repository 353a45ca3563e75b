"""Write the bundled model's weights as float32 safetensors, in the layout that PyLate and rank_rerank.load read.

usage: python examples/bundled_model/unpack.py OUTPUT [--model FOLDER]

The bundled model's weights are integers times a scale a column. Written out they can be trained further, exported, or
computed in float32 as a reference: what is between that reference and the bundled model is the rounding of activations.
--model takes another folder with an INT8 ONNX file of this library. Needs safetensors.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from training.pylate_folder import read_pylate_folder, write_pylate_folder

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.encoder_tensors import BERT_NAMES
from rank_rerank.checkpoints.find import find_checkpoint
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.inference.int8_weights.from_onnx import weights_from_onnx
from rank_rerank.inference.int8_weights.to_floats import dequantize

NAMES = {
    "embeddings.word": "embeddings.word_embeddings.weight",
    "embeddings.position": "embeddings.position_embeddings.weight",
}
NORM = "embeddings.norm"


def main() -> None:
    """Unpack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    unpack_model(options.output, options.model)
    print(options.output)


def unpack_model(output: Path, model: Path | None = None) -> None:
    """Write the weights of an INT8 folder, the bundled one if none is named."""
    checkpoint = find_checkpoint(model, precision="int8", runtime="onnx")
    config = read_transformer_config(checkpoint.folder)
    weights, projections = weights_from_onnx(checkpoint.model_file, config)
    if len(projections) > 1 or any(projection.bias.any() for projection in projections):
        raise SystemExit(f"{checkpoint.name} has more behind its encoder than one matrix")
    tensors = {transformers_name(name): tensor for name, tensor in dequantize(weights, config).items()}
    # what was folded into other weights stands as zeros in its place
    tensors["embeddings.token_type_embeddings.weight"] = np.zeros((2, config.hidden_size), np.float32)
    projection = projections[0].weight if projections else np.eye(config.hidden_size, dtype=np.float32)
    write_pylate_folder(output, tensors, projection, checkpoint.folder)


def read_source(model: Path | None = None) -> dict[str, AnyArray]:
    """The weights of an encoder to train from, float32, under transformers' names.

    model: an INT8 folder without a projection; the bundled one if none is named.
    """
    with tempfile.TemporaryDirectory() as folder:
        unpack_model(Path(folder), model)
        tensors, projection = read_pylate_folder(Path(folder))
    if not np.array_equal(projection, np.eye(len(projection.T), dtype=np.float32)):
        raise SystemExit(
            f"{model or 'the bundled model'} is a trained one, with a projection. Build its source with "
            "python examples/bundled_model/build.py --output FOLDER, and name it with --source FOLDER"
        )
    return tensors


def transformers_name(name: str) -> str:
    """What transformers calls a tensor of a BERT encoder: "layers.3.up.bias" is encoder.layer.3.intermediate….bias."""
    if name in NAMES:
        return NAMES[name]
    if name.startswith(NORM):
        return name.replace(NORM, "embeddings.LayerNorm")
    _, number, part, kind = name.split(".")
    return f"encoder.layer.{number}.{BERT_NAMES[part]}.{kind}"


if __name__ == "__main__":
    main()
