"""Which file a causal reranker is read from: its weights, or what an export rounded to INT8."""

from pathlib import Path

from rank_rerank.checkpoints.model_files import find_file, find_weights, has_weights
from rank_rerank.errors import CheckpointFormatError

INT8_DECODER_FILE = "model_int8.safetensors"
# runtimes and precisions that the rounded file has
INT8_RUNTIMES, INT8_PRECISIONS = ("auto", "numba"), ("auto", "int8")


def find_decoder_file(folder: Path, name: str, precision: str, runtime: str) -> tuple[str, Path]:
    """The precision and the file that a causal reranker is read in.

    The rounded file is taken where it is there and nothing else is asked for, else the weights.

    Args:
        folder: the model's folder.
        name: what to call the model.
        precision: "auto", "int8", or what the weights are to be converted to.
        runtime: "auto", "torch" or "numba".

    Raises:
        CheckpointFormatError: the runtime computes no causal rerankers, or not in this precision, or there is no file
            for it.
    """
    if runtime not in ("auto", "torch", "numba"):
        raise CheckpointFormatError(
            f"{name} is a causal reranker, which runs in PyTorch or in compiled kernels only; leave runtime out"
        )
    if runtime == "torch" and precision == "int8":
        raise CheckpointFormatError(
            f"{name} is a causal reranker, which runs in PyTorch in fp32, fp16 or bf16 only; leave runtime out for INT8"
        )
    if runtime == "numba" and precision not in INT8_PRECISIONS:
        raise CheckpointFormatError(f"{name}: compiled kernels compute in INT8 only, not in {precision}")
    rounded = find_file(folder, INT8_DECODER_FILE)
    if rounded is not None and not has_weights(folder) and (runtime == "torch" or precision not in INT8_PRECISIONS):
        raise CheckpointFormatError(
            f"{name} holds {INT8_DECODER_FILE} alone, which compiled kernels compute in INT8 on a CPU; leave runtime "
            "and precision out, or load the model that it was exported from"
        )
    if rounded is not None and runtime in INT8_RUNTIMES and precision in INT8_PRECISIONS:
        return "int8", rounded
    return "fp32", find_weights(folder)
