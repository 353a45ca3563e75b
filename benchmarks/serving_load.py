"""Load for a server on this machine: clients, questions whose answer is known, and arrivals at a rate."""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workloads import ROOT, percentile

import rank_rerank

HOST = "127.0.0.1"
# a client that would wait longer for an answer counts it as hung
HUNG_S = 90.0
READY = f"GET /health/ready HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
NOUNS = "river water mountain bridge stone forest cloud energy protein cell method result theory market price city"


@dataclass(frozen=True)
class Question:
    """A request with the answer that it must get.

    Attributes:
        content: the request as it is sent.
        expected: index and relevance of each hit, as the reranker gives them in this process.
        query: what is asked.
        documents: what is ranked.
    """

    content: bytes
    expected: list[tuple[int, float]]
    query: str
    documents: list[str]


@dataclass
class Tally:
    """What became of requests.

    Attributes:
        accepted_s: seconds until each answer came.
        refused_s: seconds until each refusal (429) came.
        statuses: how many answers had each.
        wrong: answers that differ from the expected ones.
        broken: connections that ended, or answers that never came.
        sent: requests.
        wall_s: from the first request to the last answer, of clients that ask in turn.
    """

    accepted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    wrong: int = 0
    broken: int = 0
    sent: int = 0
    wall_s: float = 0.0

    def take(self, question: Question, status: int, body: bytes, seconds: float) -> None:
        """Count an answer, compared with the expected one bit for bit."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.accepted_s.append(seconds)
            found = [(each["index"], each["relevance_score"]) for each in json.loads(body)["results"]]
            self.wrong += found != question.expected
        elif status == 429:
            self.refused_s.append(seconds)

    @property
    def server_errors(self) -> int:
        """Answers with 5xx."""
        return sum(count for status, count in self.statuses.items() if status >= 500)


@contextmanager
def running_server(*flags: str) -> Generator[tuple[int, int]]:
    """A server of the bundled model in a process of its own: its port and its process id."""
    sys.path.insert(0, str(ROOT / "tests"))
    from servers import server_process

    with server_process(*flags) as server:
        yield server.port, server.process.pid


def make_questions(reranker: rank_rerank.ColbertReranker, *, count: int, documents: int, words: int) -> list[Question]:
    """Questions with made-up documents, always the same ones.

    Args:
        reranker: gives the expected answers.
        count: of questions.
        documents: of each question.
        words: of each document.
    """
    draw = random.Random(f"{documents} {words}")  # noqa: S311 - texts, not secrets
    questions: list[Question] = []
    for _ in range(count):
        texts = [" ".join(draw.choices(NOUNS.split(), k=words)) for _ in range(documents)]
        query = " ".join(draw.choices(NOUNS.split(), k=5))
        expected = [(hit.index, hit.relevance) for hit in reranker.rerank(query, texts)]
        questions.append(Question(request_bytes({"query": query, "documents": texts}), expected, query, texts))
    return questions


def request_bytes(body: dict[str, object], path: str = "/v1/rerank") -> bytes:
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content


class Connection:
    """A client that keeps its connection, and opens another when the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, content: bytes) -> tuple[int, bytes]:
        """Send a request; the answer's status and body."""
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection(HOST, self._port, limit=1 << 22)
        reader, writer = self._streams
        writer.write(content)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        body = await reader.readexactly(length)
        if "connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        """Leave, whatever is under way."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def ask_one(connection: Connection, question: Question, tally: Tally) -> None:
    """Ask, and count what came back."""
    tally.sent += 1
    begun = time.perf_counter()
    try:
        status, body = await asyncio.wait_for(connection.ask(question.content), HUNG_S)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        tally.broken += 1
        connection.close()
        return
    except asyncio.CancelledError:
        connection.close()
        raise
    tally.take(question, status, body, time.perf_counter() - begun)


async def queued(connection: Connection) -> int:
    """How many requests wait in the server."""
    _, body = await connection.ask(READY)
    return json.loads(body)["queued_requests"]


async def ask_in_turn(
    port: int, questions: Sequence[Question], clients: int, seconds: float, tally: Tally | None = None
) -> Tally:
    """Clients that ask again as soon as they have their answer; those under way at the end are waited for.

    Args:
        port: of the server.
        questions: taken in turn.
        clients: that ask.
        seconds: until no more is asked.
        tally: that counts; None for a new one.
    """
    tally, begun = Tally() if tally is None else tally, time.perf_counter()
    end = begun + seconds

    async def client(number: int) -> None:
        connection, turn = Connection(port), number
        while time.perf_counter() < end:
            await ask_one(connection, questions[turn % len(questions)], tally)
            turn += 1
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    tally.wall_s = time.perf_counter() - begun
    return tally


async def ask_at_rate(
    port: int, questions: Sequence[Question], clients: int, *, rate: float, seconds: float, leave: bool = False
) -> Tally:
    """Requests that arrive at a rate, whatever became of those before, as long as one of the clients is free.

    Args:
        port: of the server.
        questions: taken in turn.
        clients: that ask; each has one request under way at most.
        rate: requests per second.
        seconds: until no more are sent.
        leave: close connections at the end, rather than wait for the answers under way.
    """
    tally, begun = Tally(), time.perf_counter()
    arrivals = iter(range(int(rate * seconds)))

    async def client() -> None:
        connection = Connection(port)
        for number in arrivals:
            if (late := time.perf_counter() - begun) >= seconds:
                break
            await asyncio.sleep(max(0.0, number / rate - late))
            await ask_one(connection, questions[number % len(questions)], tally)
        connection.close()

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    _, late = await asyncio.wait(tasks, timeout=seconds if leave else seconds + HUNG_S)
    for task in late:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks)
    return tally


async def hold_slow_sockets(port: int, sockets: int, seconds: float) -> int:
    """Sockets that send the head of a request a byte per second, and come again when they are thrown out.

    Returns:
        How often one was thrown out.
    """
    head, end, thrown = b"POST /v1/rerank HTTP/1.1\r\nHost: " + b"a" * 1000, time.perf_counter() + seconds, 0

    async def one() -> None:
        nonlocal thrown
        while time.perf_counter() < end:
            try:
                reader, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(1)
                continue
            for byte in head:
                if time.perf_counter() >= end or reader.at_eof() or writer.is_closing():
                    break
                writer.write(bytes([byte]))
                with suppress(TimeoutError, OSError):
                    await asyncio.wait_for(reader.read(4096), 1)
            thrown += reader.at_eof()
            writer.close()

    await asyncio.gather(*(one() for _ in range(sockets)))
    return thrown


async def memory_over_time(process: int, seconds: float) -> list[float]:
    """Megabytes that a process holds, each second."""
    found: list[float] = []
    for _ in range(int(seconds)):
        found.append(resident_mb(process))
        await asyncio.sleep(1)
    return found


def resident_mb(process: int) -> float:
    """Megabytes that a process holds at this moment."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """A percentile in milliseconds; NaN of nothing."""
    return round(1000 * percentile(seconds, share), 2) if seconds else float("nan")


def outcome(*tallies: Tally) -> dict[str, Any]:
    """What must be zero, and how many answers had each status."""
    statuses = sum((Counter(tally.statuses) for tally in tallies), Counter[int]())
    return {
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "wrong": sum(tally.wrong for tally in tallies),
        "server_errors": sum(tally.server_errors for tally in tallies),
        "broken": sum(tally.broken for tally in tallies),
    }


def within(value: float, limit: float, *, at_least: bool = False) -> dict[str, Any]:
    """A figure with its limit, and whether it keeps to it."""
    kept = value >= limit if at_least else value <= limit
    return {"value": value, "limit": limit, "kept": kept}
