"""Service: everything that the routes of one process share, and how a route waits for its work."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json

from rank_rerank.encoding.embedding_cache import EmbeddingCache
from rank_rerank.serving.bodies import read_body
from rank_rerank.serving.catalog import CascadeSpec, Catalog, ModelSpec, ServedModel
from rank_rerank.serving.core import Core, Wishes
from rank_rerank.serving.dialects.fields import Wanted
from rank_rerank.serving.engine import Engine
from rank_rerank.serving.gate import NOTES, ClientLeftError, Notes
from rank_rerank.serving.keys import Keys
from rank_rerank.serving.metrics import Metrics
from rank_rerank.serving.queue import Job, Limits, TokenQueue
from rank_rerank.serving.settings import Settings
from rank_rerank.serving.text_caches import TextCaches

MEGABYTE = 1 << 20
# reading a body of so many bytes takes about a millisecond, and a thread a tenth of that
LARGE_BYTES = 1 << 15

Result = TypeVar("Result")


@dataclass(frozen=True)
class Service:
    """What the routes of one process share.

    Attributes:
        settings: what the server was told.
        core: takes orders.
        engine: does the work.
        metrics: counts.
        keys: open the server.
    """

    settings: Settings
    core: Core
    engine: Engine
    metrics: Metrics
    keys: Keys = field(default_factory=Keys)

    @property
    def catalog(self) -> Catalog:
        """Models and stores."""
        return self.core.catalog

    @property
    def is_ready(self) -> bool:
        """Whether new requests are taken."""
        return not self.core.queue.is_draining

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncGenerator[None]:
        """Work while the application runs."""
        self.engine.start()
        try:
            yield
        finally:
            self.core.queue.drain()
            await asyncio.to_thread(self.engine.stop)

    async def wait(self, job: Job, request: Request) -> Any:
        """Wait for a job; drop it when its client leaves.

        Raises:
            ClientLeftError: it has left.
        """
        self._show_queue()
        result = asyncio.ensure_future(asyncio.wrap_future(job.result))
        left = asyncio.ensure_future(_until_left(request))
        try:
            await asyncio.wait((result, left), return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise ClientLeftError
            return result.result()
        finally:
            left.cancel()
            if not result.done():
                self.core.queue.cancel(job)
            self._show_queue()

    def wishes(self, wanted: Wanted, notes: Notes) -> Wishes:
        """How a request wants to be treated."""
        deadline_s = None if wanted.deadline_ms is None else wanted.deadline_ms / 1000
        return Wishes(wanted.priority, deadline_s, notes.owner, notes.arrived)

    def _show_queue(self) -> None:
        self.metrics.queued.set(self.core.queue.tokens)
        self.metrics.waiting.set(len(self.core.queue))
        if self.core.memory is not None:
            self.metrics.memory_bytes.set(self.core.memory.info.num_bytes)


def open_service(settings: Settings, keys: Keys | None = None) -> Service:
    """Load models and stores, and warm the models up.

    Args:
        settings: what the server was told.
        keys: None to read those of the settings.

    Raises:
        RankRerankError: one cannot be loaded.
    """
    # before anything is loaded, which takes a while
    cascades = [CascadeSpec.read(text) for text in settings.cascade]
    models = [ModelSpec.read(text).open(settings.load_options) for text in settings.model]
    named = {model.name: model for model in models}
    models += [cascade.open(named) for cascade in cascades]
    for model in models:
        model.warm_up()
    opened = Keys.read(settings.api_key_file, settings.api_key) if keys is None else keys
    return join_service(settings, models, dict(map(_store, settings.store)), opened)


def join_service(settings: Settings, models: Sequence[ServedModel], stores: Mapping[str, Path], keys: Keys) -> Service:
    """A service of models that are loaded; errors as of Catalog."""
    catalog = Catalog(models, stores, is_strict=settings.strict_model)
    metrics = Metrics()
    queue = TokenQueue(Limits(settings.deadline_s, settings.max_deadline_s))
    caches = None
    if settings.text_cache is not None:
        max_bytes = int(settings.text_cache_mb * MEGABYTE)
        caches = TextCaches(settings.text_cache, max_bytes, settings.share_text_cache, metrics.cached)
    engine = Engine(queue, metrics.computed.inc)
    cache_bytes = int(settings.cache_mb * MEGABYTE)
    memory = EmbeddingCache(cache_bytes, metrics.looked_up) if cache_bytes > 0 else None
    core = Core(catalog, queue, caches, settings.budget_ms, memory, settings.share_text_cache)
    return Service(settings, core, engine, metrics, keys)


def notes_of(request: Request) -> Notes:
    """What the gate knows of a request."""
    notes: Notes = request.scope[NOTES]
    return notes


async def read_as(request: Request, read: Callable[[dict[str, Any]], Result]) -> Result:
    """What a request's body says; errors as of read_body.

    Args:
        request: whose body it is.
        read: from the body's values.
    """
    body = notes_of(request).body
    return await aside(request, lambda: read(read_body(body)))


async def aside(request: Request, work: Callable[[], Result]) -> Result:
    """Do work for a request, in a thread if its body is large, so that others are heard meanwhile."""
    return work() if len(notes_of(request).body) <= LARGE_BYTES else await asyncio.to_thread(work)


def as_json(value: Any, status: int = 200) -> Response:
    """An answer in JSON; never NaN."""
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(content, status, media_type="application/json")


def as_json_numbers(value: Any) -> Response:
    """An answer in JSON with very many numbers, none of which is NaN: written ten times faster than as_json does."""
    return Response(to_json(value), media_type="application/json")


async def _until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _store(text: str) -> tuple[str, Path]:
    name, sign, folder = text.partition("=")
    return (name, Path(folder)) if sign else (Path(text).name, Path(text))
