"""load(): from a name or folder to the reranker that its model asks for."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, overload

from rank_rerank.calibration.calibration import CALIBRATION_FILE, Calibration
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.checkpoints.labels import Label
from rank_rerank.checkpoints.model_files import find_file
from rank_rerank.devices import Precision, Runtime
from rank_rerank.encoding.embedding_cache import EmbeddingCache
from rank_rerank.encoding.self_check import self_check
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import Device, LoadOptions, RuntimeOptions
from rank_rerank.rerankers.argument_hints import with_hints
from rank_rerank.rerankers.colbert_reranker import ColbertReranker
from rank_rerank.rerankers.cross_encoder_reranker import CrossEncoderReranker
from rank_rerank.scoring.compiled.loading import prepare_scorers
from rank_rerank.scoring.cross_encoder import CrossEncoder


@overload
def load(
    name_or_folder: Literal["bundled"] | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    num_threads: int | None = None,
    runtime: Runtime = "auto",
    instruction: str | None = None,
    cache_bytes: int | None = None,
    label: Label | None = None,
) -> ColbertReranker: ...


@overload
def load(
    name_or_folder: str | Path | None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    num_threads: int | None = None,
    runtime: Runtime = "auto",
    instruction: str | None = None,
    cache_bytes: int | None = None,
    label: Label | None = None,
) -> ColbertReranker | CrossEncoderReranker: ...


@with_hints
def load(  # noqa: PLR0913 - one place where every choice is made
    name_or_folder: str | Path | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    num_threads: int | None = None,
    runtime: Runtime = "auto",
    instruction: str | None = None,
    cache_bytes: int | None = None,
    label: Label | None = None,
) -> ColbertReranker | CrossEncoderReranker:
    """Load a reranker: late interaction or cross-encoder, as the model is.

    A model that carries golden vectors, as the bundled one does, is checked against them first (some milliseconds):
    a processor that computes something else is refused rather than used. Kernels that a request needs are loaded here
    too, and compiled where neither the wheel nor an earlier process left them.

    Args:
        name_or_folder: None for the bundled model (no download), a folder, or a Hub name.
        revision: branch, tag or commit on the Hub.
        token: of the Hub, for models that are not public; None for the one that huggingface-hub keeps.
        local_files_only: take a model of the Hub from the cache, and leave the network alone.
        cache_dir: the folder of that cache; None for huggingface-hub's.
        device: "auto", "cpu"; "cuda", "cuda:N" or "mps" for weights, and for INT8 files of this library where
            PyTorch sees such a GPU; for an ONNX file an execution provider of ONNX Runtime, by name or as
            rank_rerank.ExecutionProvider; ["cuda:0", "cuda:1"] for devices that share the texts.
        precision: "auto" (INT8 where the model has it; for weights fp32 on a CPU, fp16 on a GPU), "int8", "fp32",
            "fp16" or "bf16".
        num_threads: threads that work; None for RANK_RERANK_NUM_THREADS, else the processors there are. PyTorch has a
            setting of its own.
        runtime: "numba" for kernels compiled for this processor, "onnx" for the model's ONNX file, "torch" for its
            weights; "auto" for what the model is made for: for INT8 compiled kernels, where they compute the model.
        instruction: what a causal reranker, as Qwen3-Reranker, judges documents by; None for its own.
        cache_bytes: how much memory may hold the vectors of documents that were encoded lately, which are not encoded
            again then; None for no cache. Scores keep their bits; in PyTorch a text's last bits are those of the
            first time. ``reranker.cache_info()`` tells how many were found. With a cache vectors leave a GPU.
        label: of a cross-encoder with two labels, which a document has that answers the query: its name in
            config.json, or its index. The score is the log-odds of that label.

    Raises:
        CheckpointNotFoundError: there is no such model.
        CheckpointFormatError: its files are damaged or of a kind that is not supported.
        SelfCheckError: the model computes something else than its golden vectors.
        DeviceError: the device is not available.
        MissingDependencyError: the model needs PyTorch, which is not installed.
        InvalidArgumentError: an option is out of its range, the model takes no instruction or no label, or a
            cross-encoder is to have a cache.
    """
    hub = HubOptions(revision, token, local_files_only, cache_dir)
    options = RuntimeOptions(device, precision, num_threads, runtime)
    return load_with(LoadOptions(name_or_folder, hub, options, instruction, cache_bytes, label))


def load_with(options: LoadOptions) -> ColbertReranker | CrossEncoderReranker:
    """Load a reranker from options that were written down before, as in another process; errors as load."""
    checkpoint = options.find()
    if isinstance(checkpoint, CrossEncoderCheckpoint):
        if options.cache_bytes is not None:
            raise InvalidArgumentError(
                "a cross-encoder reads query and document together, so nothing can be cached: leave out cache_bytes"
            )
        return CrossEncoderReranker(CrossEncoder.from_checkpoint(checkpoint, options.runtime))
    encoder = TokenEncoder.from_checkpoint(checkpoint, options.runtime)
    self_check(encoder)
    prepare_scorers("float32")
    if options.cache_bytes is not None:
        encoder = replace(encoder, cache=EmbeddingCache(options.cache_bytes))
    file = find_file(checkpoint.folder, CALIBRATION_FILE)
    calibration = None if file is None else Calibration.read(file)
    return ColbertReranker(encoder, options.runtime.num_threads, calibration)
