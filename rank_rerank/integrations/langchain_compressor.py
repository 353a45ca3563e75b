"""LangChain: a document compressor that reranks, for ContextualCompressionRetriever and for chains.

::

    compressor = RankRerankCompressor(top_n=3)
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=vector_store.as_retriever())
    chain = {"documents": retriever, "query": RunnablePassthrough()} | compressor | format_documents
"""

# where the framework is not installed its types are unknown; CI checks this file where it is
# pyright: reportUntypedBaseClass=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from rank_rerank.devices import import_optional
from rank_rerank.documents import Document as Candidate
from rank_rerank.documents.document import read_score
from rank_rerank.documents.lists import list_items
from rank_rerank.errors import InvalidItemError
from rank_rerank.integrations.hit_fields import hit_fields
from rank_rerank.rankings import Ranking

import_optional("langchain_core", "langchain", "the LangChain adapter")

from langchain_core.callbacks import Callbacks  # noqa: E402 - after asking for it
from langchain_core.documents import BaseDocumentCompressor, Document  # noqa: E402
from langchain_core.runnables import RunnableConfig, RunnableSerializable  # noqa: E402

from rank_rerank.integrations.pydantic_fields import RerankFields  # noqa: E402

RerankInput: TypeAlias = Mapping[str, Any]


class RankRerankCompressor(  # pyright: ignore[reportIncompatibleVariableOverride]
    RerankFields, BaseDocumentCompressor, RunnableSerializable[RerankInput, list[Document]]
):
    """Reranks documents and keeps the best ``top_n``.

    Copies come back, best first, with ``relevance_score`` (from 0 to 1) in their metadata, and beside it
    ``rerank_score`` (the raw score), ``truncated``, ``blended_score`` where the documents have a ``score`` in their
    metadata and come from best to worst by it, and where asked for ``relevant_spans`` and ``best_chunk``. The
    documents passed in are left as they are.

    As a runnable it takes ``{"query": …, "documents": […]}``.
    """

    model_config = RerankFields.model_config

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether ``dumps`` and ``loads`` work: they do, except for one that holds a reranker object."""
        return True

    def to_json(self) -> Any:
        """What ``dumps`` writes."""
        return super().to_json() if self.reranker is None else self.to_json_not_implemented()

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - LangChain's interface
    ) -> list[Document]:
        """Rerank.

        Args:
            documents: in any order; left as they are.
            query: a text with at least one word.
            callbacks: not used: nothing is retrieved or generated.

        Returns:
            Copies of the best documents, best first; of equals, in the order they came.

        Raises:
            RankRerankError: as of load() and rerank().
        """
        listed = _listed(documents)
        return _copies(listed, self.rank(query, _candidates(listed)))

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - LangChain's interface
    ) -> list[Document]:
        """As compress_documents, without holding up the event loop."""
        listed = _listed(documents)
        return _copies(listed, await self.arank(query, _candidates(listed)))

    def invoke(self, input: RerankInput, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002
        """Rerank as a link of a chain.

        Args:
            input: ``{"query": …, "documents": […]}``.
            config: of the run.
            kwargs: of the run.
        """
        return self._call_with_config(lambda given: self.compress_documents(*_read(given)), input, config, **kwargs)

    async def ainvoke(self, input: RerankInput, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002
        """As invoke, without holding up the event loop."""

        async def run(given: RerankInput) -> list[Document]:
            return await self.acompress_documents(*_read(given))

        return await self._acall_with_config(run, input, config, **kwargs)


def _read(given: RerankInput) -> tuple[Sequence[Document], str]:
    if not isinstance(given, Mapping) or not {"documents", "query"} <= given.keys():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidItemError('what comes in must be {"query": …, "documents": […]}')
    return given["documents"], given["query"]


def _listed(documents: Sequence[Document]) -> list[Document]:
    """The documents, also of a generator."""
    listed: list[Document] = list_items(documents, "documents")
    for index, document in enumerate(listed):
        if not isinstance(document, Document):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError(f"documents[{index}] must be LangChain's Document, not {type(document).__name__}")
    return listed


def _candidates(documents: Sequence[Document]) -> list[Candidate]:
    # a retriever that has scores puts them into the metadata
    return [
        Candidate(document.page_content, score=read_score(document.metadata.get("score"))) for document in documents
    ]


def _copies(documents: Sequence[Document], ranking: Ranking) -> list[Document]:
    def copy(index: int, fields: dict[str, Any]) -> Document:
        document = documents[index]
        return document.model_copy(update={"metadata": {**document.metadata, **fields}})

    return [copy(hit.index, hit_fields(hit)) for hit in ranking]
