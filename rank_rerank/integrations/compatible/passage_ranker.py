"""Ranker and RerankRequest: the form of FlashRank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Unpack

from rank_rerank.documents import Document, list_items
from rank_rerank.errors import InvalidItemError
from rank_rerank.inference.load_options import LoadKeywords
from rank_rerank.integrations.compatible.opening import Model, open_reranker
from rank_rerank.rerankers.argument_hints import with_hints


@dataclass
class RerankRequest:
    """A query, and passages: mappings with "text", and what else is to come back."""

    query: str
    passages: Sequence[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])


class AnyRequest(Protocol):
    """FlashRank's own request will do too."""

    @property
    def query(self) -> Any:
        """What is searched for."""
        ...

    @property
    def passages(self) -> Any:
        """Mappings with "text"."""
        ...


class Ranker:
    """Ranks as ``flashrank.Ranker``; any model of this library may be inside.

    ``score`` is the relevance, from 0 to 1, as FlashRank's is. The passages passed in are left as they are, and the
    log is the program's own.
    """

    @with_hints
    def __init__(
        self,
        model_name: Model = None,
        *,
        log_level: str | None = None,  # noqa: ARG002 - the log is the program's own
        **keywords: Unpack[LoadKeywords],
    ) -> None:
        """Load a model; keywords and errors are those of load().

        Args:
            model_name: a name or folder; None for the bundled model.
            log_level: changes nothing.
            keywords: as of load().
        """
        self.reranker = open_reranker(model_name, **keywords)

    def rerank(self, request: AnyRequest) -> list[dict[str, Any]]:
        """Order passages.

        Args:
            request: with a query and passages.

        Returns:
            Copies of the passages with their ``score``, best first.

        Raises:
            InvalidItemError: the request has no passages, or a passage no text; the message has its index.
            RankRerankError: as of rerank().
        """
        if not all(hasattr(request, name) for name in ("query", "passages")):
            raise InvalidItemError(
                f"request must have a query and passages, this is {type(request).__name__}. Pass RerankRequest(query, "
                "passages)"
            )
        passages = list_items(request.passages, "passages", "passages")
        documents = [Document(_text(passage, f"passages[{number}]")) for number, passage in enumerate(passages)]
        ranking = self.reranker.rerank(request.query, documents)
        return [{**passages[hit.index], "score": hit.relevance} for hit in ranking]


def _text(passage: object, name: str) -> str:
    text = passage.get("text") if isinstance(passage, Mapping) else None  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(text, str):
        raise InvalidItemError(f'{name} must be a mapping with a "text"')
    return text
