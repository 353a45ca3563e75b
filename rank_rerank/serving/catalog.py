"""Catalog: the models and stores that are served, by name."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Literal, TypeAlias

from rank_rerank.arguments import is_there
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError, RankRerankError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.rerankers import (
    CascadeReranker,
    CascadeStage,
    ColbertReranker,
    CrossEncoderReranker,
    Reranker,
    load_with,
)
from rank_rerank.scoring.compiled.loading import prepare_scorers
from rank_rerank.serving.costs import Meter
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity

logger = logging.getLogger("rank_rerank")

Work: TypeAlias = Literal["texts", "spans", "stored", "cached", "encode", "explain"]
# how fast each kind of work is, measured in the rate of "texts", until it is measured itself
FIRST_GUESSES: dict[Work, float] = {
    "texts": 1.0, "spans": 0.5, "stored": 1.0, "cached": 1.0, "encode": 0.9, "explain": 0.3
}  # fmt: skip
WARM_UP_QUERY = "which text is about rivers"
WARM_UP_TEXTS = ["A river carries water from the mountains to the sea. " * 8] * 16
WARM_UPS = 2
# how long a store's newest generation may go unnoticed
REFRESH_S = 1.0
# unknown names that are remembered, so that each is logged once
MAX_LOGGED_NAMES = 1000


class UnknownNameError(RankRerankError, LookupError):
    """No model or store of that name is served."""


@dataclass(frozen=True)
class ServedModel:
    """A model with its name and what is known of its speed.

    Attributes:
        name: in requests and answers.
        reranker: of any kind.
        meters: how fast it does each kind of work.
    """

    name: str
    reranker: Reranker
    meters: Mapping[Work, Meter] = field(
        default_factory=lambda: {work: Meter(5000 * guess) for work, guess in FIRST_GUESSES.items()}
    )

    @property
    def encoder(self) -> TokenEncoder | None:
        """What makes token embeddings; None for a model that makes none."""
        return self.reranker.encoder if isinstance(self.reranker, ColbertReranker) else None

    @property
    def document_length(self) -> int | None:
        """Tokens that the model reads of a document, at most; None where that is not known."""
        return _document_length(self.reranker)

    @property
    def kind(self) -> str:
        """The kind of model, for people."""
        kinds: dict[type, str] = {
            ColbertReranker: "late interaction",
            CrossEncoderReranker: "cross-encoder",
            CascadeReranker: "cascade",
        }
        return kinds.get(type(self.reranker), "reranker")

    def warm_up(self) -> None:
        """Rank a little, so that kernels are compiled and the first promise rests on a measurement."""
        for _ in range(WARM_UPS):
            self.reranker.rerank(WARM_UP_QUERY, WARM_UP_TEXTS)
        begun = time.perf_counter()
        ranking = self.reranker.rerank(WARM_UP_QUERY, WARM_UP_TEXTS)
        seconds = time.perf_counter() - begun
        tokens = sum(len(text) // 4 for text in WARM_UP_TEXTS) if ranking.usage is None else ranking.usage.total_tokens
        for work, guess in FIRST_GUESSES.items():
            self.meters[work].take(tokens * guess, seconds)


@dataclass(frozen=True)
class ModelSpec:
    """A model as the user named it.

    Attributes:
        name: in requests; "" for the model's own.
        source: None for the bundled model, a folder, or a Hub name.
    """

    name: str
    source: str | None

    @classmethod
    def read(cls, text: str) -> "ModelSpec":
        """Read ``NAME=SOURCE`` or ``SOURCE``."""
        name, sign, source = text.partition("=")
        if not sign:
            name, source = "", text
        return cls(name, None if source in ("", "bundled") else source)

    def open(self, options: LoadOptions) -> ServedModel:
        """Load it; errors as of ``load``."""
        source = None if self.source is None else self.source
        reranker = load_with(replace(options, model=source))
        own = "bundled" if source is None else (Path(source).name if is_there(source) else source)
        return ServedModel(self.name or own, reranker)


@dataclass(frozen=True)
class CascadeSpec:
    """A cascade as the user named it: ``NAME=FIRST>NEXT:KEEP[:BUDGET_MS]>…``, of names of served models."""

    name: str
    first: str
    stages: tuple[tuple[str, int, float | None], ...]

    @classmethod
    def read(cls, text: str) -> "CascadeSpec":
        """Read the form above.

        Raises:
            InvalidArgumentError: it is of another form.
        """
        name, sign, chain = text.partition("=")
        first, *rest = chain.split(">")
        stages: list[tuple[str, int, float | None]] = []
        for part in rest:
            model, *numbers = part.rsplit(":", 2) if part.count(":") > 1 else part.rsplit(":", 1)
            if not model or not numbers or not all(number.isascii() and number.isdigit() for number in numbers):
                stages.clear()
                break
            stages.append((model, int(numbers[0]), float(numbers[1]) if len(numbers) > 1 else None))
        if not sign or not name or not first or not stages:
            raise InvalidArgumentError("a cascade must be NAME=FIRST>NEXT:KEEP, as in best=bundled>judge:50")
        return cls(name, first, tuple(stages))

    def open(self, models: Mapping[str, ServedModel]) -> ServedModel:
        """Join models that are served.

        Raises:
            InvalidArgumentError: one is not served.
        """
        for name in (self.first, *(stage[0] for stage in self.stages)):
            if name not in models:
                raise InvalidArgumentError(f"the cascade {self.name!a} names a model that is not served: add --model")
        stages = [CascadeStage(models[name].reranker, keep, budget) for name, keep, budget in self.stages]
        return ServedModel(self.name, CascadeReranker(models[self.first].reranker, stages))


class Catalog:
    """The models and stores that are served.

    Args:
        models: the first one answers requests that name none, or one that is not here.
        stores: folders by name.
        is_strict: refuse names that are not here.

    Raises:
        InvalidArgumentError: two models have one name, or there is none.
    """

    def __init__(
        self, models: Sequence[ServedModel], stores: Mapping[str, Path] | None = None, *, is_strict: bool = False
    ) -> None:
        self.models = {model.name: model for model in models}
        if not models:
            raise InvalidArgumentError("no model is served: give --model")
        if len(self.models) < len(models):
            raise InvalidArgumentError("models need names of their own: use --model NAME=MODEL")
        self.default = models[0]
        self.stores = {name: ServedStore(folder, models) for name, folder in (stores or {}).items()}
        self._is_strict = is_strict
        self._logged: set[str] = set()

    def find(self, name: str | None) -> ServedModel:
        """The model of a name; the default one for no name, and for an unknown one unless that is refused.

        Raises:
            UnknownNameError: there is no such model.
        """
        if not name:  # some clients send an empty name where none was entered
            return self.default
        if (found := self.models.get(name)) is not None:
            return found
        if self._is_strict:
            raise UnknownNameError("no model of that name is served; GET /v1/models lists them")
        if name not in self._logged and len(self._logged) < MAX_LOGGED_NAMES:
            # the name itself is a text of the user's
            self._logged.add(name)
            logger.info("a model that is not served was asked for: %s answers", self.default.name)
        return self.default

    def find_store(self, name: str) -> "ServedStore":
        """The store of a name.

        Raises:
            UnknownNameError: there is none.
        """
        if name not in self.stores:
            raise UnknownNameError("no store of that name is served; start the server with --store NAME=DIR")
        return self.stores[name]


class ServedStore:
    """A store of documents, and the model that made it.

    Args:
        folder: where it is.
        models: of which one must be the store's.

    Raises:
        StoreError: it cannot be opened.
        InvalidArgumentError: none of the models is the store's.
    """

    def __init__(self, folder: Path, models: Sequence[ServedModel]) -> None:
        self.store = EmbeddingStore.open(folder, read_only=True)
        self.model = self._find_model(models)
        for dtype in (self.store.compression.dtype, self.store.compression.rescore_dtype):
            if dtype is not None:
                prepare_scorers(dtype)
        self._looked_at = time.monotonic()
        self._lock = Lock()

    def newest(self) -> EmbeddingStore:
        """The store at its newest generation, or at one that is a second older."""
        with self._lock:
            if time.monotonic() - self._looked_at > REFRESH_S:
                self.store.refresh()
                self._looked_at = time.monotonic()
        return self.store

    def _find_model(self, models: Sequence[ServedModel]) -> ServedModel:
        for model in models:
            if model.encoder is not None:
                identity = ModelIdentity.of(model.encoder.checkpoint)
                if replace(identity, name="") == replace(self.store.identity, name=""):
                    return model
        raise InvalidArgumentError(
            f"the store was made by the model {self.store.identity.name!a}, which is not served: add it with --model"
        )


def _document_length(reranker: Reranker) -> int | None:
    if isinstance(reranker, ColbertReranker):
        return reranker.encoder.checkpoint.settings.document_length
    if isinstance(reranker, CrossEncoderReranker):
        return reranker.cross_encoder.checkpoint.max_length
    if isinstance(reranker, CascadeReranker):
        return _document_length(reranker.first)
    return None
