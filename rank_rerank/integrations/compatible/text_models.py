"""TextCrossEncoder and LateInteractionTextEmbedding: the form of fastembed."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Unpack

from rank_rerank.arrays import AnyArray
from rank_rerank.documents import Documents, each_item
from rank_rerank.inference.load_options import LoadKeywords
from rank_rerank.integrations.compatible.opening import Model, open_late_interaction, open_reranker, score_pairs
from rank_rerank.rerankers.argument_hints import with_hints

# texts that are read from an iterable before the first is encoded
WINDOW = 256


class TextCrossEncoder:
    """Scores as ``fastembed.rerank.cross_encoder.TextCrossEncoder``; any model of this library may be inside.

    ``batch_size`` and ``parallel`` are taken and change nothing: no score depends on a batch.
    """

    @with_hints
    def __init__(self, model_name: Model = None, **keywords: Unpack[LoadKeywords]) -> None:
        """Load a model; keywords and errors are those of load()."""
        self.reranker = open_reranker(model_name, **keywords)

    @with_hints
    def rerank(
        self,
        query: str,
        documents: Documents,
        batch_size: int = 64,  # noqa: ARG002 - no score depends on it
    ) -> Iterator[float]:
        """Score documents, in the order given; errors are as in rerank.

        Args:
            query: a text with at least one word.
            documents: texts.
            batch_size: changes nothing.
        """
        ranking = self.reranker.rerank(query, list(documents))
        return iter([hit.score for hit in sorted(ranking, key=lambda hit: hit.index)])

    @with_hints
    def rerank_pairs(
        self,
        pairs: Iterable[tuple[str, str]],
        batch_size: int = 64,  # noqa: ARG002 - no score depends on it
        parallel: int | None = None,  # noqa: ARG002
    ) -> Iterator[float]:
        """Score pairs, each a query and a document, in the order given; errors are as in rerank.

        Args:
            pairs: of query and document.
            batch_size: changes nothing.
            parallel: changes nothing.
        """
        return iter(score_pairs(self.reranker, list(pairs)).tolist())


class LateInteractionTextEmbedding:
    """Embeds as ``fastembed.LateInteractionTextEmbedding``: a [num_tokens, dim] float32 array for each text."""

    @with_hints
    def __init__(self, model_name: Model = None, **keywords: Unpack[LoadKeywords]) -> None:
        """Load a late-interaction model; keywords and errors are those of load()."""
        self.encoder = open_late_interaction(model_name, **keywords).encoder

    @property
    def embedding_size(self) -> int:
        """Numbers per vector."""
        return self.encoder.dim

    @with_hints
    def embed(
        self,
        documents: str | Iterable[str],
        batch_size: int = 256,  # noqa: ARG002 - no vector depends on it
        parallel: int | None = None,  # noqa: ARG002
    ) -> Iterator[AnyArray]:
        """Embed documents, one after the other; an iterable is read as it is needed.

        Args:
            documents: texts, or one text.
            batch_size: changes nothing.
            parallel: changes nothing.

        Raises:
            InvalidItemError: the documents are no texts, or no list of them.
        """
        texts = iter([documents]) if isinstance(documents, str) else each_item(documents, "documents")
        while window := list(islice(texts, WINDOW)):
            yield from self.encoder.encode_documents(window)

    def passage_embed(self, texts: Iterable[str]) -> Iterator[AnyArray]:
        """As embed."""
        return self.embed(texts)

    def query_embed(self, query: str | Iterable[str]) -> Iterator[AnyArray]:
        """Embed queries, with the model's query prefix and expansion.

        Args:
            query: texts, or one text.
        """
        for text in [query] if isinstance(query, str) else query:
            yield self.encoder.encode_query(text)[0]
