"""Many texts, tokenized on several threads."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from rank_rerank.devices import default_num_threads
from rank_rerank.kernels.thread_pool import run_tasks

Result_co = TypeVar("Result_co", covariant=True)


class Tokenize(Protocol[Result_co]):
    """Tokenizes one text."""

    def __call__(self, text: str, *, is_shared: bool) -> Result_co:
        """Tokenize a text of valid Unicode; ``is_shared``: other threads may run Python meanwhile, which has a cost."""
        ...


def tokenize_each(tokenize: Tokenize[Result_co], texts: Sequence[str], num_threads: int | None) -> list[Result_co]:
    """Tokenize texts, on as many threads at most; None for the default. Results are in the texts' order."""
    wanted = min(len(texts), default_num_threads() if num_threads is None else num_threads)
    if wanted <= 1:
        return [tokenize(text, is_shared=False) for text in texts]
    results: dict[int, Result_co] = {}

    def work(index: int) -> None:
        results[index] = tokenize(texts[index], is_shared=True)

    run_tasks(work, len(texts), wanted)
    return [results[index] for index in range(len(texts))]
