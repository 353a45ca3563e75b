"""A ModernBERT of the base size with seeded random weights: 22 layers, 768 wide, gates of 1152; and what computes it.

Speed does not depend on what weights are. Rounding does. With transformers' own small initial weights the stream is
little more than the embedding and every engine's cosine is 0.9999; so weights here keep the size of what they multiply,
and all 22 layers change the stream as much as it is large. No training has made any of it redundant, and errors add up:
cosines say how engines compare, not what a trained model would lose.
"""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import encoding_engines as engines
import numpy as np
from encoding_engines import Engine
from workloads import ROOT

from rank_rerank.checkpoints.find import find_checkpoint
from rank_rerank.export.folder_export import export_folder
from rank_rerank.inference.choose import choose_runtime
from rank_rerank.inference.load_options import RuntimeOptions

VOCABULARY = 30522
SEED = 0


def make_folder(folder: Path) -> Path:
    """Save the model as transformers does, with the bundled model's tokenizer, unless it is there."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if not (folder / "tokenizer.json").exists():
        torch.manual_seed(SEED)
        config = transformers.ModernBertConfig(
            vocab_size=VOCABULARY, max_position_embeddings=1024, pad_token_id=0, cls_token_id=101, sep_token_id=102,
            bos_token_id=101, eos_token_id=102,
        )  # fmt: skip
        model = transformers.ModernBertModel(config)
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
        model.save_pretrained(folder)
        shutil.copy(ROOT / "rank_rerank" / "bundled" / "tokenizer.json", folder / "tokenizer.json")
    return folder


def make_graph(folder: Path, output: Path) -> bytes:
    """The fp32 graph of the library's own export, unless it is there."""
    if not output.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            export_folder(folder, output)
    return (output / "model.onnx").read_bytes()


def open_reference(folder: Path) -> Callable[[Any], Any]:
    """The library's PyTorch runtime in float32, one text at a time; it is held to transformers in tests/parity."""
    transformer = choose_runtime(find_checkpoint(folder), RuntimeOptions("cpu", "fp32", runtime="torch"))
    return lambda text: transformer.encode(engines.make_batch([text]))


def open_compiled(folder: Path, num_threads: int) -> Engine:
    """The compiled runtime on the weights, rounded as they are loaded."""
    transformer = choose_runtime(find_checkpoint(folder), RuntimeOptions(num_threads=num_threads, runtime="numba"))

    def encode(texts: Any) -> list[Any]:
        batch = engines.make_batch(texts)
        return np.split(transformer.encode(batch), batch.offsets[1:-1])

    return Engine("compiled INT8", f"packed, {num_threads} texts at once", encode)


def open_torch(folder: Path, precision: str, num_threads: int) -> list[Engine]:
    """Transformers' own ModernBERT."""
    import torch
    import transformers

    model = transformers.ModernBertModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    return engines.torch_engine(model, {"fp32": torch.float32, "bf16": torch.bfloat16}[precision], num_threads)
