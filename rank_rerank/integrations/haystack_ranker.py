"""Haystack: a ranker component.

::

    from haystack_integrations.components.rankers.rank_rerank import RankRerankRanker

    pipeline.add_component("ranker", RankRerankRanker(top_k=3))
    pipeline.connect("retriever.documents", "ranker.documents")

A pipeline is loaded from YAML only if its classes are in packages that Haystack trusts. The component is therefore
also there as ``haystack_integrations.components.rankers.rank_rerank``, and is written down under that name.
"""

# where the framework is not installed its types are unknown; CI checks this file where it is
# pyright: reportUntypedBaseClass=false, reportUnknownParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUntypedClassDecorator=false

import asyncio
from dataclasses import replace
from typing import Any, Literal

from rank_rerank.arguments import check_choice
from rank_rerank.devices import Precision, Runtime, import_optional
from rank_rerank.documents import Document as Candidate
from rank_rerank.documents.document import read_score
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.integrations.hit_fields import hit_fields
from rank_rerank.integrations.model_source import ModelSource
from rank_rerank.rankings import RankedDocument, Ranking, check_top_k
from rank_rerank.rerankers import Reranker, RerankRequest, aanswer, answer
from rank_rerank.rerankers.blending import BLENDS

import_optional("haystack", "haystack", "the Haystack adapter")

from haystack import Document, component, default_from_dict, default_to_dict  # noqa: E402 - after asking for it
from haystack.utils import ComponentDevice, Secret  # noqa: E402


@component
class RankRerankRanker:
    """Ranks documents by how well they answer a query.

    Copies come back, best first, with the relevance, from 0 to 1, as their score; or with ``scale_score=False`` the raw
    score. Of documents with the same id the one with the better score from the search is ranked, as in Haystack's own
    rankers. Documents without text come last.
    """

    # the package that Haystack trusts: under this name it knows the class, and writes it down
    __module__ = "haystack_integrations.components.rankers.rank_rerank"

    def __init__(  # noqa: PLR0913 - Haystack writes each option down by its name
        self,
        *,
        model: str | None = None,
        device: ComponentDevice | None = None,
        token: Secret | None = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False),  # noqa: B008 - is not changed
        top_k: int | None = 10,
        score_threshold: float | None = None,
        scale_score: bool = True,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        spans: bool | int = False,
        long_documents: Literal["truncate", "chunk", "error", "best-windows"] = "truncate",
        instruction: str | None = None,
        write_meta: bool = False,
        precision: Precision = "auto",
        runtime: Runtime = "auto",
        num_threads: int | None = None,
        revision: str | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        reranker: Reranker | None = None,
        blend: Literal["auto", "none", "scores", "distances", "ranks"] = "auto",
    ) -> None:
        """Check the options; the model is loaded by warm_up, or at the first run.

        Args:
            model: a folder or a Hub name; None for the bundled model.
            device: what computes it; None for what the model is made for.
            token: of the Hub.
            top_k: how many documents to return; None for all.
            score_threshold: documents with a lower score are left out.
            scale_score: give the relevance rather than the raw score.
            meta_fields_to_embed: metadata that is read too, in front of the text.
            embedding_separator: what stands between these.
            spans: find the passages that answer, in all hits or so many; they are written into the metadata.
            long_documents: as of rerank().
            instruction: as of rerank().
            write_meta: write relevance_score, rerank_score and truncated into the metadata; spans are always written.
            precision: as of load().
            runtime: as of load().
            num_threads: as of load().
            revision: as of load().
            cache_dir: as of load().
            local_files_only: as of load().
            reranker: made before, in place of a model; such a component cannot be written down.
            blend: the search's scores with the model's: if all documents have one and come from best to worst ("auto"),
                their scores, or distances, or the order in which they come.

        Raises:
            InvalidArgumentError: an option is out of its range; it is a ValueError.
        """
        self._parameters: dict[str, Any] = {
            "model": model,
            "device": device,
            "token": token,
            "top_k": top_k,
            "score_threshold": score_threshold,
            "scale_score": scale_score,
            "meta_fields_to_embed": meta_fields_to_embed,
            "embedding_separator": embedding_separator,
            "spans": spans,
            "long_documents": long_documents,
            "instruction": instruction,
            "write_meta": write_meta,
            "precision": precision,
            "runtime": runtime,
            "num_threads": num_threads,
            "revision": revision,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
            "blend": blend,
        }
        self._ready = reranker
        self._source: ModelSource | None = None
        self._request("", [], top_k)
        self._load_options(token=None)

    def to_dict(self) -> dict[str, Any]:
        """Write the component down.

        Raises:
            InvalidArgumentError: it was given a reranker object, which would be lost.
        """
        ModelSource(LoadOptions(), self._ready).check_writable()
        return default_to_dict(self, **self._parameters)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "RankRerankRanker":
        """Read it back."""
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Load the model, unless that is done; errors are those of load()."""
        self._reranker()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        scale_score: bool | None = None,  # noqa: FBT001 - Haystack's rankers take it here
        score_threshold: float | None = None,
    ) -> dict[str, list[Document]]:
        """Rank documents.

        Args:
            query: a text with at least one word.
            documents: in any order; left as they are.
            top_k: in place of the component's.
            scale_score: in place of the component's.
            score_threshold: in place of the component's.

        Returns:
            ``documents``: copies, best first.

        Raises:
            ValueError: top_k is not above 0, or the query has no words.
            RankRerankError: as of load() and rerank().
        """
        unique = _deduplicate(documents)
        ranking = answer(self._reranker(), self._request(query, unique, top_k))
        results = self._results(unique, ranking, scale_score=scale_score, score_threshold=score_threshold)
        return {"documents": results}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        scale_score: bool | None = None,  # noqa: FBT001
        score_threshold: float | None = None,
    ) -> dict[str, list[Document]]:
        """As run, without holding up the event loop.

        Args:
            query: as in run.
            documents: as in run.
            top_k: as in run.
            scale_score: as in run.
            score_threshold: as in run.
        """
        unique = _deduplicate(documents)
        reranker = await asyncio.to_thread(self._reranker)
        ranking = await aanswer(reranker, self._request(query, unique, top_k))
        results = self._results(unique, ranking, scale_score=scale_score, score_threshold=score_threshold)
        return {"documents": results}

    def _reranker(self) -> Reranker:
        if self._source is None:
            token: Secret | None = self._parameters["token"]
            options = self._load_options(token=None if token is None else token.resolve_value())
            self._source = ModelSource(options, self._ready)
        return self._source.reranker()

    def _load_options(self, token: str | None) -> LoadOptions:
        device: ComponentDevice | None = self._parameters["device"]
        names = ("precision", "runtime", "num_threads", "revision", "cache_dir", "local_files_only")
        chosen = {name: self._parameters[name] for name in names}
        # the keywords' types are those of the parameters they are named as
        return LoadOptions.of(
            self._parameters["model"],
            token=token,
            device="auto" if device is None else device.to_torch_str(),
            **chosen,  # pyright: ignore[reportArgumentType]
        )

    def _request(self, query: str, documents: list[Document], top_k: int | None) -> RerankRequest:
        chosen = self._parameters
        return RerankRequest(
            query,
            [Candidate(self._text(document), score=read_score(document.score)) for document in documents],
            top_k=chosen["top_k"] if top_k is None else check_top_k(top_k),
            spans=chosen["spans"],
            long_documents=chosen["long_documents"],
            instruction=chosen["instruction"],
            blend=BLENDS[check_choice(chosen["blend"], "blend", BLENDS)],
        )

    def _text(self, document: Document) -> str:
        fields = self._parameters["meta_fields_to_embed"] or ()
        parts = [str(document.meta[name]) for name in fields if document.meta.get(name)]
        return self._parameters["embedding_separator"].join([*parts, document.content or ""])

    def _results(self, documents: list[Document], ranking: Ranking, **given: Any) -> list[Document]:
        """The hits as documents; given: scale_score and score_threshold, None for the component's."""
        chosen = {**self._parameters, **{name: value for name, value in given.items() if value is not None}}
        threshold: float | None = chosen["score_threshold"]
        scored = [(hit, hit.relevance if chosen["scale_score"] else hit.score) for hit in ranking]
        return [
            self._copy(documents[hit.index], hit, score)
            for hit, score in scored
            if threshold is None or score >= threshold
        ]

    def _copy(self, document: Document, hit: RankedDocument, score: float) -> Document:
        if self._parameters["write_meta"] or hit.spans is not None:
            return replace(document, score=score, meta={**document.meta, **hit_fields(hit)})
        return replace(document, score=score)


def _deduplicate(documents: list[Document]) -> list[Document]:
    """One document for each id, where the first one is, with the best score of the search."""
    best: dict[str, Document] = {}
    for document in documents:
        if not isinstance(document, Document):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(f"documents must be Haystack's Documents, one is {type(document).__name__}")
        known = best.get(document.id)
        if known is None or _search_score(document) > _search_score(known):
            best[document.id] = document
    return list(best.values())


def _search_score(document: Document) -> float:
    # NaN is no score, and is not above or below another
    score = read_score(document.score)
    return float("-inf") if score is None else score
