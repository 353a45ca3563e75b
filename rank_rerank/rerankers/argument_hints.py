"""Names of arguments that other libraries use: whoever comes from there is told the name here."""

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import iscoroutinefunction, signature
from typing import Any, ParamSpec, TypeVar, cast

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_TOP_K = "the number of hits is top_k"
_DOCUMENTS = "the candidates are documents, the second argument"
_PER_DOCUMENT = 'pass documents as mappings: {"text": …, "id": …}, and anything else, which comes back as hit.metadata'
_LENGTH = 'leave it out: the model says how much it reads, and long_documents="chunk" reads all of a document'
_OUTPUT = "leave it out: scores are Python floats"
_PROGRESS = "a bar is asked for with show_progress=True"
_PRECISION = 'numbers are chosen with precision="fp32", "fp16", "bf16" or "int8"'
_MODEL = "the model's name or folder is the first argument"

ELSEWHERE: dict[str, str] = {
    "top_n": _TOP_K,
    "topk": _TOP_K,
    "k": _TOP_K,
    "num_results": _TOP_K,
    "limit": _TOP_K,
    "return_documents": "leave it out: every hit has its document, as hit.text and hit.document",
    "return_text": "leave it out: every hit has its document, as hit.text and hit.document",
    "batch_size": "leave it out: texts are batched by themselves, and no score depends on it",
    "docs": _DOCUMENTS,
    "passages": _DOCUMENTS,
    "texts": _DOCUMENTS,
    "candidates": _DOCUMENTS,
    "doc_ids": _PER_DOCUMENT,
    "ids": _PER_DOCUMENT,
    "metadata": _PER_DOCUMENT,
    "text_field": "the key of the texts in mappings is text_key",
    "rank_fields": 'put the fields to be read into "text"',
    "max_length": _LENGTH,
    "max_chunks_per_doc": _LENGTH,
    "max_tokens_per_doc": _LENGTH,
    "truncate": 'long_documents is "truncate", "chunk" or "error"',
    "convert_to_tensor": _OUTPUT,
    "convert_to_numpy": _OUTPUT,
    "show_progress_bar": _PROGRESS,
    "verbose": _PROGRESS,
    "raw_scores": "leave it out: hit.score is the raw score, and hit.relevance is from 0 to 1",
    "activation_fn": "leave it out: hit.score is the raw score, and hit.relevance is from 0 to 1",
    "normalize": "leave it out: hit.score is the raw score, and hit.relevance is from 0 to 1",
    "prompt": "what a causal reranker judges by is load(…, instruction=…)",
    "model_name": _MODEL,
    "model": _MODEL,
    "model_name_or_path": _MODEL,
    "pretrained_model_name_or_path": _MODEL,
    "model_type": "leave it out: the model's files say what it is",
    "trust_remote_code": "leave it out: code of a model's repository is never run",
    "use_fp16": _PRECISION,
    "dtype": _PRECISION,
    "torch_dtype": _PRECISION,
    "threads": "the number of threads is num_threads",
    "n_jobs": "the number of threads is num_threads",
    "providers": "an execution provider of ONNX Runtime is named as the device",
    "cuda": 'a GPU is asked for with device="cuda"',
    "use_gpu": 'a GPU is asked for with device="cuda"',
    "backend": 'what computes the model is runtime="numba", "onnx" or "torch"',
    "cache_folder": "the folder of the Hub's cache is cache_dir",
    "api_key": "leave it out: models run on this machine; for the Hub there is token",
}


def with_hints(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function that is called with another library's argument say what to write instead.

    Raises:
        TypeError: as Python does for any unexpected argument, with the cure.
    """
    known = frozenset(signature(function).parameters)

    def check(names: Iterable[str]) -> None:
        for name in names:
            if name not in known and name in ELSEWHERE:
                raise TypeError(f"{function.__qualname__}() has no argument {name!r}; {ELSEWHERE[name]}")

    if iscoroutinefunction(function):

        @wraps(function)
        async def call_async(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
            check(kwargs)
            return await function(*args, **kwargs)

        return cast("Callable[Arguments, Result]", call_async)

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        check(kwargs)
        return function(*args, **kwargs)

    return call
