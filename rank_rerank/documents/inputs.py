"""The types of what callers pass: any sequence of texts or documents, which a single text is not.

A str is a sequence of strings to Python, so that ``Sequence[str]`` lets a type checker accept one text where a list of
texts is meant. SequenceNotStr asks for a method that lists, tuples, arrays and columns have as it is written here, and
str and bytes do not.
"""

from collections.abc import Iterator, KeysView, Mapping, ValuesView
from typing import Any, Protocol, TypeAlias, TypeVar

from rank_rerank.documents.document import Document

Item_co = TypeVar("Item_co", covariant=True)


class SequenceNotStr(Protocol[Item_co]):
    """A sequence of items in order: a list, a tuple, an array, a column of a table; neither str nor bytes."""

    # of str and bytes this takes their own kind only
    def __contains__(self, value: object, /) -> bool: ...
    def __getitem__(self, index: int, /) -> Item_co: ...
    def __iter__(self) -> Iterator[Item_co]: ...
    def __len__(self) -> int: ...


class LangChainDocument(Protocol):
    """A document of LangChain's."""

    @property
    def page_content(self) -> str: ...  # noqa: D102 - the field's name says it
    @property
    def metadata(self) -> Any: ...  # noqa: D102


class HaystackDocument(Protocol):
    """A document of Haystack's."""

    @property
    def content(self) -> str | None: ...  # noqa: D102
    @property
    def meta(self) -> Any: ...  # noqa: D102


class TextNode(Protocol):
    """A node or document of LlamaIndex's."""

    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def metadata(self) -> Any: ...  # noqa: D102


class ScoredNode(Protocol):
    """A node of LlamaIndex's with the score of a search."""

    @property
    def node(self) -> Any: ...  # noqa: D102
    @property
    def score(self) -> Any: ...  # noqa: D102


DocumentLike: TypeAlias = (
    str | Document | Mapping[str, Any] | LangChainDocument | HaystackDocument | TextNode | ScoredNode
)
Documents: TypeAlias = (
    SequenceNotStr[DocumentLike] | Iterator[DocumentLike] | ValuesView[DocumentLike] | KeysView[DocumentLike]
)
Texts: TypeAlias = SequenceNotStr[str] | Iterator[str] | ValuesView[str] | KeysView[str]
Queries: TypeAlias = Texts
DocumentsPerQuery: TypeAlias = SequenceNotStr[Documents] | Iterator[Documents] | ValuesView[Documents]
