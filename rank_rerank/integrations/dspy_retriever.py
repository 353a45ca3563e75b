"""DSPy: a retriever that reranks what another one finds.

::

    search = RankRerankRetriever(dspy.retrievers.Embeddings(corpus=corpus, embedder=embedder, k=50), k=3)
    passages = search("query text").passages
"""

# where the framework is not installed its types are unknown; CI checks this file where it is
# pyright: reportUntypedBaseClass=false, reportUnknownParameterType=false

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, cast

from rank_rerank.devices import import_optional
from rank_rerank.documents import Document
from rank_rerank.errors import InvalidItemError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.integrations.model_source import ModelSource
from rank_rerank.rankings import Ranking, check_top_k
from rank_rerank.rerankers import Reranker, RerankRequest, aanswer, answer
from rank_rerank.rerankers.argument_hints import with_hints

import_optional("dspy", "dspy", "the DSPy adapter")

import dspy  # noqa: E402 - after asking for it


class RankRerankRetriever(dspy.Module):
    """Asks a search for passages and gives back the best of them, as a module of a program.

    The prediction has ``passages``, best first, their ``indices`` among what the search gave, ``scores`` (raw) and
    ``relevance`` (from 0 to 1).
    """

    @with_hints
    def __init__(
        self,
        search: Callable[[str], Any],
        k: int = 3,
        *,
        model: str | LoadOptions | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        """Say what is reranked; the model is loaded at the first call.

        Args:
            search: takes a query; gives passages: texts, objects with ``long_text``, or a prediction with ``passages``.
                Let it give many more than k.
            k: how many passages to return.
            model: a folder or a Hub name, or LoadOptions; None for the bundled model.
            reranker: made before, in place of a model.

        Raises:
            InvalidArgumentError: k is not a whole number above 0.
        """
        super().__init__()
        self.search, self.k = search, check_top_k(k)
        self._source = ModelSource(model if isinstance(model, LoadOptions) else LoadOptions.of(model), reranker)

    def forward(self, query: str, k: int | None = None) -> Any:
        """Search and rerank; errors are those of load() and rerank()."""
        passages = _read(self.search(query))
        return _prediction(passages, answer(self._source.reranker(), self._request(query, passages, k)))

    async def aforward(self, query: str, k: int | None = None) -> Any:
        """As forward, without holding up the event loop."""
        passages = _read(await asyncio.to_thread(self.search, query))
        reranker = await asyncio.to_thread(self._source.reranker)
        return _prediction(passages, await aanswer(reranker, self._request(query, passages, k)))

    def as_rm(self) -> Callable[..., list[Any]]:
        """What ``dspy.settings.rm`` and ``dspy.Retrieve`` take: passages with ``long_text``."""

        def retrieve(query: str, k: int | None = None, **_: object) -> list[Any]:
            return [dspy.Prediction(long_text=text) for text in self(query, k=k).passages]

        return retrieve

    def _request(self, query: str, passages: list[str], k: int | None) -> RerankRequest:
        return RerankRequest(query, [Document(text) for text in passages], top_k=self.k if k is None else k)


def _prediction(passages: list[str], ranking: Ranking) -> Any:
    return dspy.Prediction(
        passages=[passages[hit.index] for hit in ranking],
        indices=[hit.index for hit in ranking],
        scores=[hit.score for hit in ranking],
        relevance=[hit.relevance for hit in ranking],
    )


def _read(found: Any) -> list[str]:
    passages: Any = found.passages if hasattr(found, "passages") else found
    if isinstance(passages, Coroutine):
        passages.close()  # nobody awaits it
    if isinstance(passages, str | bytes | Mapping) or not isinstance(passages, Iterable):
        raise InvalidItemError(
            f"the search must give a list of passages, and it gave one {type(cast('object', passages)).__name__}"
        )
    passages = cast("Iterable[Any]", passages)
    return [_text(passage, index) for index, passage in enumerate(passages)]


def _text(passage: Any, index: int) -> str:
    text = passage if isinstance(passage, str) else getattr(passage, "long_text", None)
    if not isinstance(text, str):
        raise InvalidItemError(f"passage {index} of the search must be a str, or have a long_text")
    return text
