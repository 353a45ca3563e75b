"""Renewal: a process that loads its models, stores and keys anew while it answers, on SIGHUP."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from threading import Lock, Thread
from types import FrameType
from typing import Any

from rank_rerank.errors import RankRerankError
from rank_rerank.serving.app import make_app
from rank_rerank.serving.gate import Message, Receive, Scope, Send
from rank_rerank.serving.service import Service

logger = logging.getLogger("rank_rerank")

STDIN = 0


class RenewableApp:
    """The application of the newest service; a request ends with the one that it has begun with.

    Args:
        service: the first one.
        reopen: loads everything again.
    """

    def __init__(self, service: Service, reopen: Callable[[], Service]) -> None:
        self._reopen = reopen
        self._newest = _Generation(service)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._one_at_a_time, self._is_asked = Lock(), False

    @property
    def service(self) -> Service:
        """The newest one."""
        return self._newest.service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or begin and end with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        generation = self._newest
        generation.num_requests += 1
        try:
            await generation.app(scope, receive, send)
        finally:
            generation.num_requests -= 1
            if generation is not self._newest and generation.num_requests == 0:
                await generation.end()

    def renew(self) -> None:
        """Load everything again, and change over to it; what cannot be loaded leaves the server as it is."""
        if self._loop is None or self._is_asked:
            return
        # what changes while it is being loaded is loaded once more
        self._is_asked = True
        with self._one_at_a_time:
            self._is_asked = False
            try:
                change = self._change_to(_Generation(self._reopen()))
                asyncio.run_coroutine_threadsafe(change, self._loop).result()
            except (RankRerankError, OSError, RuntimeError, MemoryError) as error:
                logger.error("the server goes on with the models, stores and keys that it has: %s", error)  # noqa: TRY400 - a line is enough
            else:
                logger.info("models, stores and keys are loaded anew")

    async def _change_to(self, generation: "_Generation") -> None:
        await generation.begin()
        before, self._newest = self._newest, generation
        if before.num_requests == 0:
            await before.end()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._loop = asyncio.get_running_loop()
        await self._newest.begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._newest.end()
        await send({"type": "lifespan.shutdown.complete"})


class _Generation:
    """A service with its application, which lives from ``begin`` to ``end``, and how many requests are at it."""

    def __init__(self, service: Service) -> None:
        self.service, self.app, self.num_requests = service, make_app(service), 0
        self._begins, self._ends = asyncio.Event(), asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start its engine; what keeps it from starting is raised."""
        self._life = asyncio.create_task(self._live())
        begun = asyncio.create_task(self._begins.wait())
        await asyncio.wait({begun, self._life}, return_when=asyncio.FIRST_COMPLETED)
        if not begun.done():
            begun.cancel()
            await self._life

    async def end(self) -> None:
        """Stop its engine."""
        self._ends.set()
        if self._life is not None:
            await self._life

    async def _live(self) -> None:
        told = iter(("lifespan.startup", "lifespan.shutdown"))

        async def receive() -> Message:
            if self._begins.is_set():
                await self._ends.wait()
            return {"type": next(told)}

        async def send(_: Message) -> None:
            self._begins.set()

        await self.app(
            {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}, receive, send
        )


def renew_on_hangup(app: RenewableApp, stop: Callable[[int, FrameType | None], Any]) -> None:
    """Take SIGHUP as servers do: load everything anew. Where it says that the terminal has gone, end as on SIGTERM.

    Whoever started the process so that the signal is ignored, as nohup does, has it ignored.
    """
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return
    if os.isatty(STDIN):
        signal.signal(hangup, lambda _, frame: stop(signal.SIGTERM, frame))
    else:
        signal.signal(hangup, lambda _, __: Thread(target=app.renew, daemon=True).start())
