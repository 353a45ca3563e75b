"""Fields that several dialects share, and what is forgiven in all of them.

A field that is not known is ignored, ``null`` means absent, "true" is true, and a ``top_n`` of 0 asks for all.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import DEFAULT_OVERLAP, Chunking
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import RerankRequest
from rank_rerank.rerankers.blending import BLENDS, BlendRule
from rank_rerank.rerankers.tasks import LongDocuments
from rank_rerank.serving.dialects.documents import Documents, documents_of

# more documents than any list has
MAX_TOP_N = 1 << 31
MAX_PRIORITY = 1 << 31

DocumentForm: TypeAlias = Literal["object", "string", "none"]


def _check_number(value: object) -> object:
    """Python counts true as 1, and nobody who sends it means that."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")  # noqa: TRY004 - pydantic takes it for a refusal
    return value


def _read_top_n(value: object) -> object:
    return min(value, MAX_TOP_N) if isinstance(_check_number(value), int | float) else value  # pyright: ignore[reportArgumentType, reportUnknownVariableType]


def _read_spans(value: object) -> object:
    """A number that came as text is a number and not true."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _none_if_blank(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


#: of the types of fields that are numbers
IsNumber = BeforeValidator(_check_number)
#: a field of another server's that says nothing here, so that nothing is wrong with it
Ignored: TypeAlias = Any
#: how many hits; None for all
TopN: TypeAlias = Annotated[
    int | None,
    BeforeValidator(_read_top_n),
    Field(default=None, ge=0, description="how many results to return; 0 or none for all"),
]
Side: TypeAlias = Annotated[Literal["right", "left"], BeforeValidator(_lower)]


class Body(BaseModel):
    """A request's body: unknown fields are ignored, and null is absent."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in cast("Mapping[str, Any]", values).items() if value is not None}


class RelevantSpans(Body):
    """Cohere's wish for the passages that answer."""

    mode: Literal["enabled", "disabled"] = "enabled"
    threshold: Annotated[float, IsNumber] = Field(
        default=0.1, ge=0, le=1, description="passages with a lower score are left out"
    )
    max_spans: Annotated[int | None, IsNumber] = Field(
        default=None, ge=1, description="the best passages of a document, at most"
    )


class ChunkOptions(Body):
    """How long documents are cut into chunks."""

    length: Annotated[int | None, IsNumber] = Field(
        default=None, ge=1, le=MAX_TOP_N, description="tokens of a chunk, at most"
    )
    overlap: Annotated[int, IsNumber] = Field(
        default=DEFAULT_OVERLAP, ge=0, le=MAX_TOP_N, description="tokens that two chunks share"
    )
    score: Literal["best_chunk", "all_tokens"] = "best_chunk"


class Wanted(Body):
    """What any request may ask of this server, whatever its dialect."""

    model: str | None = Field(default=None, description="any name; an unknown one is answered by the default model")
    priority: Annotated[int, IsNumber] = Field(
        default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="lower goes first"
    )
    deadline_ms: Annotated[float | None, IsNumber] = Field(
        default=None, gt=0, le=3.6e6, description="answer within so many milliseconds, or refuse at once with 429"
    )
    long_documents: Literal["truncate", "chunk", "error", "best-windows"] | ChunkOptions = Field(
        default="truncate",
        description="of texts longer than the model reads: their beginning, all in chunks, or none; best-windows reads "
        "of texts of more than some 150 words their beginning and what has most of the query's words",
    )
    truncation_side: Side = Field(
        default="right",
        validation_alias=AliasChoices("truncation_side", "truncation_direction"),
        description="which end of a text is cut; only its right one is, so left refuses texts that would be cut",
    )
    instruction: Annotated[str | None, BeforeValidator(_none_if_blank)] = Field(
        default=None, description="what a causal reranker judges documents by"
    )
    blend: Literal["auto", "none", "scores", "distances", "ranks"] = Field(
        default="auto",
        description="blend the documents' scores with the model's: if all have one and come from best to worst (auto), "
        "their scores, or distances, or the order in which they come",
    )

    @property
    def blend_rule(self) -> BlendRule:
        """How first-stage scores are blended, as ``rerank`` takes it."""
        return BLENDS[self.blend]

    @property
    def long_document_rule(self) -> LongDocuments:
        """What to do with long documents, as ``rerank`` takes it."""
        if isinstance(self.long_documents, ChunkOptions):
            options = self.long_documents
            return Chunking(overlap=options.overlap, score=options.score, length=options.length)
        return "error" if self.refuses_cuts and self.long_documents == "truncate" else self.long_documents

    @property
    def refuses_cuts(self) -> bool:
        """Whether texts that are longer than the model reads are refused."""
        return self.truncation_side == "left"


class Ranked(Wanted):
    """What any request for a ranking may ask."""

    budget_ms: Annotated[float | None, IsNumber] = Field(
        default=None,
        ge=0,
        le=3.6e6,
        description="read the most promising documents first, for so many milliseconds from when the request came; the "
        "others follow with was_read false. 0 for no limit, where the server has one by default",
    )
    settled: Annotated[float | None, IsNumber] = Field(
        default=None,
        gt=0,
        lt=1,
        description="read no more once the first top_n results are, with this probability, those of reading all; "
        "needs documents with scores that are blended",
    )

    @property
    def budget_rule(self) -> float | None:
        """The budget, as ``rerank`` takes it: infinite for none, whatever the server's."""
        return math.inf if self.budget_ms == 0 else self.budget_ms


class RerankBody(Ranked):
    """A query and its documents, as most dialects send them."""

    query: str = Field(description="a text with at least one word")
    documents: Documents | None = None
    top_n: TopN = None
    top_k: TopN = None
    return_documents: bool | None = Field(default=None, description="whether results have their document")
    raw_scores: bool = Field(default=False, description="the model's score in place of a number from 0 to 1")
    relevant_spans: RelevantSpans | None = Field(default=None, description="find the passages that answer")
    spans: Annotated[bool | Annotated[int, Field(ge=0, le=MAX_TOP_N)], BeforeValidator(_read_spans)] = Field(
        default=False, description="find passages in every result, or in so many of the best"
    )
    rank_fields: list[str] | None = Field(
        default=None, description="of documents that are objects: what is read, one after the other (text)"
    )
    use_activation: bool = Field(default=True, description="false asks for the model's score, as raw_scores does")
    activation: bool = Field(default=True, description="an older name of use_activation")
    store: str | None = Field(default=None, description="a store of this server, whose documents are ranked by ids")
    ids: list[str] | None = Field(default=None, description="of documents of the store")

    @property
    def wanted_hits(self) -> int | None:
        """How many results; None for all."""
        return self.top_n or self.top_k or None

    @property
    def wanted_spans(self) -> bool | int:
        """In how many hits passages are looked for."""
        asked = self.relevant_spans is not None and self.relevant_spans.mode == "enabled"
        return True if asked and self.spans is False else self.spans

    @property
    def wants_raw(self) -> bool:
        """Whether results have the model's score."""
        return self.raw_scores or not self.use_activation or not self.activation

    def read_documents(self) -> list[Document]:
        """The documents.

        Raises:
            InvalidArgumentError: there are neither documents nor ids, or both.
            InvalidItemError: one is of a wrong type; the message has its index.
        """
        if (self.store is None) != (self.ids is None):
            raise InvalidArgumentError("store and ids belong together: the ids name documents of the store")
        if (self.documents is None) == (self.ids is None):
            raise InvalidArgumentError("documents must be a list of texts; or give store and ids in their place")
        return [] if self.documents is None else documents_of(self.documents, "documents", self.rank_fields or ())

    def to_request(self, documents: list[Document]) -> RerankRequest:
        """What the core is asked."""
        return RerankRequest(
            self.query,
            documents,
            top_k=self.wanted_hits,
            spans=self.wanted_spans,
            long_documents=self.long_document_rule,
            instruction=self.instruction,
            blend=self.blend_rule,
            budget_ms=self.budget_rule,
            settled=self.settled,
        )


@dataclass(frozen=True)
class Answered:
    """A ranking on its way out.

    Attributes:
        ranking: what the core gave.
        model: the name the client used, or the model's own where it used none.
        request_id: of the request.
        num_documents: how many were ranked.
        document_form: how results carry their document.
    """

    ranking: Ranking
    model: str
    request_id: str
    num_documents: int
    document_form: DocumentForm = "object"
