"""Connections: as uvicorn has them, with a limit for their number and for the time a request's head takes."""

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from rank_rerank.serving.refusals import Refusal, overloaded


@dataclass(frozen=True)
class ConnectionLimits:
    """What connections may cost.

    Attributes:
        max_connections: at once.
        header_timeout_s: within which a request's head must be there.
    """

    max_connections: int
    header_timeout_s: float


class LimitedConfig(uvicorn.Config):
    """uvicorn's settings with limits for connections."""

    limits = ConnectionLimits(max_connections=1024, header_timeout_s=10.0)


class LimitedConnection(H11Protocol):
    """A connection that ends when the head of a request is not there in time, or when there are too many.

    uvicorn has no limit of its own for a client that sends its head byte by byte, or nothing at all.
    """

    def __init__(self, config: LimitedConfig, *arguments: Any, **keywords: Any) -> None:
        super().__init__(config, *arguments, **keywords)
        self._limits = config.limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0

    @property
    def idle_s(self) -> float:
        """For how long the connection has waited for its next request; 0 while it is at one, or before its first."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        is_idle = cycle is not None and cycle.response_complete and self._head_timer is None
        return self.loop.time() - self._idle_since if is_idle else 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
        """Take a connection, in place of the one that is idle longest where there are too many, or refuse it."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections and not self._close_idle():
            transport.write(
                _whole_response(overloaded("too many connections; ask again", 1.0), "429 Too Many Requests")
            )
            transport.close()
            return
        self._wait_for_head()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the head of a request ends the wait for it."""
        before = cast("RequestResponseCycle | None", self.cycle)
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()
        elif self._head_timer is None and (before is None or before.response_complete):
            # the beginning of a next request on this connection
            self._wait_for_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP with a body as every refusal has; the parser's own words say little."""
        del msg
        refusal = Refusal(400, "validation", "the request is not valid HTTP: see its request line, headers and framing")
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else an answer has begun: it can only be cut
            self.transport.write(_whole_response(refusal, "400 Bad Request"))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _close_idle(self) -> bool:
        """Close the connection that is idle longest, if one is; whether one was."""
        idle_s = {each: each.idle_s for each in self.connections if isinstance(each, LimitedConnection)}
        oldest = max(idle_s, key=idle_s.__getitem__)
        if idle_s[oldest] == 0:
            return False
        oldest.transport.close()
        return True

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.header_timeout_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


def _whole_response(refusal: Refusal, status: str) -> bytes:
    """A refusal as it goes over the wire, for what no application has seen."""
    request_id = uuid.uuid4().hex
    content = json.dumps(refusal.body(request_id)).encode()
    lines = [
        f"HTTP/1.1 {status}",
        "content-type: application/json",
        f"content-length: {len(content)}",
        f"x-request-id: {request_id}",
        *(f"{name}: {value}" for name, value in refusal.headers.items()),
        "connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
