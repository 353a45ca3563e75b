"""RerankFields: what LangChain's and LlamaIndex's adapters are told, as pydantic fields."""

import asyncio
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from rank_rerank.devices import Precision, Runtime
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.integrations.model_source import ModelSource
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import RerankRequest, aanswer, answer
from rank_rerank.rerankers.argument_hints import ELSEWHERE
from rank_rerank.rerankers.blending import BLENDS

HINTS = {**ELSEWHERE, "top_k": "the number of documents is top_n, as in the framework's other rerankers"}


def _refuse_truth(value: object) -> object:
    """Python counts True as 1, and nobody who passes it means that."""
    if isinstance(value, bool):
        raise ValueError("a whole number is needed, not True or False")  # noqa: TRY004 - pydantic takes it for a refusal
    return value


class RerankFields(BaseModel):
    """A model, and what is asked of it. Plain values, so that an adapter can be written down and read back."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    model: str | None = Field(default=None, description="A folder or a Hub name; None for the bundled model.")
    top_n: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_refuse_truth)] = Field(
        default=None, description="How many documents to return; None for all."
    )
    spans: bool | int = Field(default=False, description="Find the passages that answer, in all hits or so many.")
    long_documents: Literal["truncate", "chunk", "error", "best-windows"] = Field(
        default="truncate", description="What to do with documents longer than the model reads."
    )
    blend: Literal["auto", "none", "scores", "distances", "ranks"] = Field(
        default="auto",
        description="Blend the search's scores with the model's: if all documents have one and come from best to worst "
        "(auto), their scores, or distances, or the order in which they come.",
    )
    instruction: str | None = Field(default=None, description="What a causal reranker judges documents by.")
    device: str | list[str] = Field(default="auto", description="As of rank_rerank.load().")
    precision: Precision = Field(default="auto", description="As of rank_rerank.load().")
    runtime: Runtime = Field(default="auto", description="As of rank_rerank.load().")
    num_threads: int | None = Field(default=None, description="As of rank_rerank.load().")
    revision: str | None = Field(default=None, description="Branch, tag or commit on the Hub.")
    cache_dir: str | None = Field(default=None, description="The folder of the Hub's cache.")
    local_files_only: bool = Field(default=False, description="Leave the network alone.")
    reranker: Any = Field(
        default=None, exclude=True, repr=False, description="A reranker made before, in place of a model."
    )
    _source: ModelSource = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _hint_at_names(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():  # pyright: ignore[reportUnknownVariableType]
            if name not in cls.model_fields and name in HINTS:
                raise TypeError(f"{cls.__name__} has no argument {name!r}; {HINTS[name]}")
        return values  # pyright: ignore[reportUnknownVariableType]

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        self._source_now().check_writable()
        return write(self)

    def model_post_init(self, context: Any, /) -> None:
        """Check the options; the model is loaded at its first use.

        Raises:
            InvalidArgumentError: an option is out of its range.
        """
        super().model_post_init(context)
        self._source = ModelSource(self._load_options(), self.reranker)
        self._request("", [])

    def _source_now(self) -> ModelSource:
        """Where the reranker comes from, by what the fields say now: copies and programs change them."""
        options, known = self._load_options(), self._source
        if known.options != options or known.ready is not self.reranker:
            self._source = ModelSource(options, self.reranker)
        return self._source

    def _load_options(self) -> LoadOptions:
        return LoadOptions.of(
            self.model,
            revision=self.revision,
            local_files_only=self.local_files_only,
            cache_dir=self.cache_dir,
            device=self.device,
            precision=self.precision,
            num_threads=self.num_threads,
            runtime=self.runtime,
        )

    def rank(self, query: str, documents: list[Any]) -> Ranking:
        """Rank documents; errors are those of load() and rerank()."""
        return answer(self._source_now().reranker(), self._request(query, documents))

    async def arank(self, query: str, documents: list[Any]) -> Ranking:
        """As rank, without holding up the event loop."""
        reranker = await asyncio.to_thread(self._source_now().reranker)
        return await aanswer(reranker, self._request(query, documents))

    def _request(self, query: str, documents: list[Any]) -> RerankRequest:
        return RerankRequest(
            query,
            documents,
            top_k=self.top_n,
            spans=self.spans,
            long_documents=self.long_documents,
            instruction=self.instruction,
            blend=BLENDS[self.blend],
        )
