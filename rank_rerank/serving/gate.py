"""Gate: what every request passes before a route sees it, and every answer after: keys, limits, ids, counts."""

import asyncio
import json
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rank_rerank.serving.keys import Keys
from rank_rerank.serving.metrics import Metrics
from rank_rerank.serving.paths import Paths
from rank_rerank.serving.refusals import Refusal, RefusedError, overloaded, refusal_of, too_large

logger = logging.getLogger("rank_rerank")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

#: where a request's notes are in its scope
NOTES = "rank_rerank.notes"
#: how requests are counted whose client did not wait for the answer
CLIENT_LEFT = 499
HAVE_BODIES = ("POST", "PUT", "PATCH")
# those of the framework come first and say little
LOGGED_FRAMES = 8
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


@dataclass
class Notes:
    """What is known of a request.

    Attributes:
        request_id: in the answer and in the log.
        owner: a word for the key.
        model: the name of the served model that answers.
        body: its bytes.
        status: of the answer, once it has begun; 0 before.
        begun: when its head was there.
        arrived: when all of it was there.
    """

    request_id: str
    owner: str = ""
    model: str = ""
    body: bytes = b""
    status: int = 0
    begun: float = field(default_factory=time.perf_counter)
    arrived: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class GateLimits:
    """What a request may cost before it is understood.

    Attributes:
        max_body_bytes: of one body.
        max_waiting_bytes: of all bodies that are held at once.
        body_timeout_s: within which a body must be there.
    """

    max_body_bytes: int
    max_waiting_bytes: int
    body_timeout_s: float


class ClientLeftError(Exception):
    """The client closed the connection."""


class Gate:
    """Wraps the application.

    Args:
        app: what the gate protects.
        keys: that open it.
        limits: of bodies.
        metrics: where requests are counted.
        paths: that are known; others are counted together.
        open_routes: those that need no key.
    """

    def __init__(
        self,
        app: App,
        *,
        keys: Keys,
        limits: GateLimits,
        metrics: Metrics,
        paths: Paths,
        open_routes: frozenset[str],
    ) -> None:
        self._app, self._keys, self._limits, self._metrics = app, keys, limits, metrics
        self._paths, self._open_routes = paths, open_routes
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes = Notes(_request_id(scope))
        path = self._paths.known(scope["path"], scope["method"])
        sender = _Sender(send, notes, has_content=scope["method"] != "HEAD")
        # what can be got can be asked for its head alone; the server's own scope keeps the method, which it looks at
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        scope = {**scope, NOTES: notes, "path": path, "raw_path": path.encode(), "method": method}
        try:
            await self._serve(scope, receive, sender)
        except ClientLeftError:
            notes.status = notes.status or CLIENT_LEFT
        finally:
            self._held_bytes -= len(notes.body)
            self._count(path, notes)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        notes: Notes = scope[NOTES]
        try:
            self._check_key(scope, notes)
            if scope["method"] in HAVE_BODIES:
                await self._read_body(scope, receive, notes)
            await self._app(scope, _replay(notes.body, receive), send)
        except ClientLeftError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever asks is answered
            refusal = refusal_of(error)
            if refusal.status >= 500:  # noqa: PLR2004
                log_failure(error, notes.request_id)
            if notes.status:
                raise ClientLeftError from None  # an answer has begun: it can only be cut
            await answer_with(refusal, notes.request_id, send)

    def _check_key(self, scope: Scope, notes: Notes) -> None:
        owner = self._keys.owner(_headers(scope))
        # a browser asks before it sends a key
        is_open = scope["path"] in self._open_routes or scope["method"] == "OPTIONS"
        if owner is None and not is_open:
            headers = {"WWW-Authenticate": "Bearer"}
            raise RefusedError(Refusal(401, "unauthorized", "the API key is missing or wrong", headers=headers))
        notes.owner = owner or ""

    async def _read_body(self, scope: Scope, receive: Receive, notes: Notes) -> None:
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                await self._read_pieces(scope, receive, notes)
        except TimeoutError:
            message = f"the body was not there within {self._limits.body_timeout_s:g} s"
            raise RefusedError(Refusal(408, "validation", message, headers={"Connection": "close"})) from None

    async def _read_pieces(self, scope: Scope, receive: Receive, notes: Notes) -> None:
        headers = _headers(scope)
        if headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
            message = "the body is compressed: send it as it is, without Content-Encoding"
            raise RefusedError(Refusal(415, "validation", message, headers={"Accept-Encoding": "identity"}))
        stated = headers.get("content-length", "")
        self._check_bytes(int(stated) if stated.isascii() and stated.isdigit() else 0)
        pieces: list[bytes] = []
        held = 0
        try:
            more = True
            while more:
                event = await receive()
                pieces.append(_piece(event))
                held += len(pieces[-1])
                self._held_bytes += len(pieces[-1])
                self._check_bytes(held)
                more = event.get("more_body", False)
        except BaseException:
            self._held_bytes -= held
            raise
        notes.body = b"".join(pieces)
        notes.arrived = time.perf_counter()

    def _check_bytes(self, count: int) -> None:
        """Refuse a body of so many bytes, or any while too many are held."""
        limit = self._limits.max_body_bytes
        if count > limit:
            raise RefusedError(
                too_large(f"the body has more than {limit} bytes: send fewer or shorter documents at once")
            )
        if self._held_bytes > self._limits.max_waiting_bytes:
            raise RefusedError(overloaded("too many bodies are waiting; ask again", 1.0))

    def _count(self, path: str, notes: Notes) -> None:
        route = self._paths.label(path)
        self._metrics.requests.labels(route, notes.model, str(notes.status)).inc()
        self._metrics.seconds.labels(route, notes.model).observe(time.perf_counter() - notes.begun)
        logger.debug("%s %s %s %s", notes.request_id, route, notes.model, notes.status)


class _Sender:
    """Sends with the headers that every answer has, and without content where only the head was asked for."""

    def __init__(self, send: Send, notes: Notes, *, has_content: bool) -> None:
        self._send, self._notes, self._has_content = send, notes, has_content

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._notes.status = message["status"]
            names = {name for name, _ in message.get("headers", [])}
            own = [(name, value) for name, value in HEADERS if name not in names]
            identity = (b"x-request-id", self._notes.request_id.encode("ascii"))
            message = {**message, "headers": [*message.get("headers", []), identity, *own]}
        elif not self._has_content:
            message = {**message, "body": b""}
        await self._send(message)


async def answer_with(refusal: Refusal, request_id: str, send: Send) -> None:
    """Send a refusal."""
    content = json.dumps(refusal.body(request_id), ensure_ascii=True).encode()
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in refusal.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def log_failure(error: BaseException, request_id: str) -> None:
    """Log where an error came from, and neither its message nor a value: both may hold texts."""
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-LOGGED_FRAMES))
    logger.error("request %s failed with %s at:\n%s", request_id, type(error).__name__, frames)


def _request_id(scope: Scope) -> str:
    """The client's own id if it is one, else a new one."""
    given = _headers(scope).get("x-request-id", "")
    is_plain = given.isascii() and 0 < len(given) <= 64 and all(sign.isalnum() or sign in "-_." for sign in given)  # noqa: PLR2004
    return given if is_plain else uuid.uuid4().hex


def _piece(event: Message) -> bytes:
    if event["type"] == "http.disconnect":
        raise ClientLeftError
    piece: bytes = event.get("body", b"")
    return piece


def _headers(scope: Scope) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read already, then what comes after it: that the client has left."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
