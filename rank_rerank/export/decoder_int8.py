"""A causal reranker's weights → one INT8 file in the layout of the compiled pass, written layer by layer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.decoder_tensors import find_word_table, read_answer, read_decoder_layers
from rank_rerank.checkpoints.safetensors_file import DTYPES, LENGTH_BYTES, TensorFiles
from rank_rerank.errors import ExportError
from rank_rerank.inference.int8_weights.decoder_file import VERSION
from rank_rerank.inference.int8_weights.decoder_weights import GROUP, layer_shapes, panel_width, round_layers
from rank_rerank.inference.int8_weights.quantized_linear import ALIGNMENT
from rank_rerank.kernels.processor import VectorPath


@dataclass(frozen=True)
class _Entry:
    """A tensor that the file will hold: its dtype as the format names it, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return int(np.prod(self.shape)) * DTYPES[self.dtype].itemsize


def write_int8_decoder(checkpoint: CrossEncoderCheckpoint, file: Path, path: VectorPath, group: int = GROUP) -> None:
    """Round a causal reranker's weights and write them: see `decoder_file` for what the file holds.

    No more than one layer is in memory at a time.

    Args:
        checkpoint: of a causal reranker with weights.
        file: the new file.
        path: whose panels the file has; on a path of another width it is copied when it is opened.
        group: inputs that are rounded with one scale.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
        ExportError: the checkpoint is no causal reranker with weights.
    """
    config, prompt = checkpoint.decoder, checkpoint.prompt
    if config is None or prompt is None or checkpoint.precision == "int8":
        raise ExportError(f"{checkpoint.name} is no causal reranker with weights")
    tensors = TensorFiles(checkpoint.model_file)
    words = find_word_table(tensors, config)
    answer = read_answer(tensors, config, prompt)
    width = panel_width(path)
    shapes = layer_shapes(config, group, width)
    entries = {
        f"layers.{number}.{name}": _Entry("I8" if name.endswith(".panels") else "F32", shape)
        for number in range(config.num_layers)
        for name, shape in shapes.items()
    }
    # what does not fill cache lines comes last, so that the rest begins with one
    entries |= {"final_norm": _Entry("F32", answer.shape), "answer": _Entry("F32", answer.shape)}
    entries |= {"words": _Entry(tensors.dtype(words), tensors.shape(words)), "layout": _Entry("I64", (3,))}

    def arrays() -> Iterator[AnyArray]:
        for layer in round_layers(read_decoder_layers(tensors, config), config, path, group):
            yield from layer.values() if len(layer) == 1 else (layer[name] for name in shapes)
        yield from (answer, tensors.stored(words), np.array([VERSION, group, width], np.int64))

    _write(file, entries, arrays())


def _write(file: Path, entries: dict[str, _Entry], arrays: Iterator[AnyArray]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "rank-rerank int8 decoder"}}
    end = 0
    for name, entry in entries.items():
        header[name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": [end, end + entry.num_bytes],
        }
        end += entry.num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(LENGTH_BYTES + len(text)) % ALIGNMENT)
    with file.open("xb") as opened:
        opened.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        for (name, entry), array in zip(entries.items(), arrays, strict=True):
            if array.shape != entry.shape or array.nbytes != entry.num_bytes:
                raise ExportError(f'the tensor "{name}" was to have the shape {list(entry.shape)}')
            opened.write(np.ascontiguousarray(array).data)
