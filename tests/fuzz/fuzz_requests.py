"""Send bodies of any content to every route of the server: an answer in JSON, or a refusal that quotes nobody."""

import json
import random
import shutil
from pathlib import Path

import model_folders
from damage import VALUES, mutate_json, mutate_text
from fastapi.testclient import TestClient
from fuzz_child import Fault
from wild_values import text, words

import rank_rerank
from rank_rerank import EmbeddingStore
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rerankers import CascadeReranker, CascadeStage
from rank_rerank.serving.app import make_app
from rank_rerank.serving.catalog import ServedModel
from rank_rerank.serving.keys import Keys
from rank_rerank.serving.service import join_service
from rank_rerank.serving.settings import Settings, read_settings

RECORDED = Path(__file__).resolve().parents[1] / "serving" / "recorded_requests.json"
# what a client may be told; anything else is a fault of the server
STATUSES = (200, 400, 404, 405, 413, 415, 422, 429)
CLIENTS_WORD = "zyzzyva"  # a word of a client that no refusal may hold
FIELDS = {
    "query": words, "documents": lambda rng: [text(rng) for _ in range(rng.randint(0, 3))], "model": words,
    "top_n": lambda rng: rng.choice((0, 1, 3, -1, "2", 1.5)), "top_k": lambda rng: rng.choice((1, 2**70)),
    "return_documents": lambda rng: rng.choice((True, "true", 1)), "raw_scores": lambda _: True,
    "spans": lambda rng: rng.choice((True, 2, 2**40)), "relevant_spans": lambda _: {"mode": "enabled", "max_spans": 1},
    "long_documents": lambda rng: rng.choice(("chunk", "error", {"length": 40, "overlap": 3})),
    "priority": lambda rng: rng.choice((3, -(2**31), 0.5)), "deadline_ms": lambda rng: rng.choice((1e-9, 50, 3.6e6)),
    "instruction": words, "store": lambda _: "papers", "ids": lambda rng: [rng.choice(("d1", "d2", "d3", "dx"))],
    "texts": lambda rng: [text(rng)], "text_1": words, "text_2": lambda rng: [text(rng), "b"], "candidates": words,
    "input": lambda rng: [text(rng)], "format": lambda _: "html", "kind": lambda rng: rng.choice(("query", "document")),
    "dtype": lambda rng: rng.choice(("float16", "int8", "binary", "base64")), "task": lambda _: "token_embed",
    "encoding_format": lambda rng: rng.choice(("base64", "float")), "truncate": lambda _: True,
    "rank_fields": lambda _: ["text", "title"], "max_chunks_per_doc": lambda _: 3, "truncation": lambda _: False,
}  # fmt: skip
ROUTES = ("/encode", "/pooling", "/explain", "/score", "/v1/score", "/rerank", "/v1/rerank", "/v2/rerank")
SETTINGS_SHARE = 0.1


def open_cases(seed, folder):
    return Requests(seed, folder)


class Requests:
    """Sends the request of a number; ``target`` is its route."""

    def __init__(self, seed, folder) -> None:
        self._seed, self._folder, self.target = seed, folder, ""
        self._recorded = list(json.loads(RECORDED.read_text(encoding="utf-8")).values())
        self._client = TestClient(make_app(make_service(folder)), raise_server_exceptions=False)
        self._client.__enter__()

    def __call__(self, number: int) -> str:
        rng = random.Random(f"{self._seed} {number}")
        if rng.random() < SETTINGS_SHARE:
            return self._settings(rng)
        path, values = self._draw(rng)
        self.target, content = path, encoded(rng, values)
        answer = self._client.post(path, content=content, headers=headers(rng))
        self._check(answer)
        return f"answered with {answer.status_code}"

    def _draw(self, rng):
        """A request that a client has sent, or fields of any dialects, with changes."""
        if rng.random() < 0.5:
            recorded = rng.choice(self._recorded)
            path, values = recorded["path"], dict(recorded["body"])
        else:
            path = rng.choice(ROUTES)
            values = {name: FIELDS[name](rng) for name in rng.sample(list(FIELDS), rng.randint(1, 9))}
        values["model"] = rng.choice(("bundled", "judge", "best", "zyzzyva", ""))
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            values = mutate_json(rng, values)
        return path, values

    def _check(self, answer) -> None:
        if answer.status_code not in STATUSES:
            raise Fault(self.target, f"answered with {answer.status_code}")
        if "html" in answer.headers["content-type"]:
            answer.content.decode("utf-8")
            return
        told = json.loads(answer.content.decode("utf-8"), parse_constant=self._refuse_constant)
        if answer.status_code != 200 and CLIENTS_WORD in json.dumps({**told, "request_id": ""}):
            raise Fault(self.target, "quoted its client in a refusal")

    def _refuse_constant(self, _) -> None:
        raise Fault(self.target, "answered with NaN or infinity")

    def _settings(self, rng) -> str:
        """Settings from a file: read, or refused by a typed error."""
        self.target = "read_settings"
        path = self._folder / rng.choice(("settings.json", "settings.toml", "settings"))
        names = rng.sample(sorted(Settings.model_fields), rng.randint(0, 4))
        values = {name: rng.choice((*VALUES, Settings.model_fields[name].default)) for name in names}
        path.write_bytes(toml(values) if path.suffix != ".json" else json.dumps(values, default=str).encode())
        if rng.random() < 0.3:
            path.write_bytes(mutate_text(rng, path.read_bytes()))
        try:
            _ = read_settings({}, path).load_options
        except InvalidArgumentError:
            return "settings refused"
        return "settings read"


def make_service(folder):
    """A server of three models and a store."""
    shutil.rmtree(folder / "served", ignore_errors=True)
    reranker = rank_rerank.load(num_threads=1)
    judge = rank_rerank.load(model_folders.write_cross_encoder(folder / "served" / "cross"), runtime="numba")
    best = CascadeReranker(reranker, [CascadeStage(judge, keep=3)])
    store = EmbeddingStore.create(folder / "served" / "papers", reranker.encoder)
    store.add(["d1", "d2", "d3"], texts=["a whale", "bread", "the river"])
    models = [ServedModel("bundled", reranker), ServedModel("judge", judge), ServedModel("best", best)]
    settings = read_settings({"max_documents": 40, "max_body_mb": 0.2, "deadline_s": 3600, "max_deadline_s": 3600})
    return join_service(settings, models, {"papers": store.folder}, Keys())


def encoded(rng, values) -> bytes:
    content = json.dumps(values, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return mutate_text(rng, content) if rng.random() < 0.1 else content


def headers(rng) -> dict[str, str]:
    kinds = ("application/json", "application/json; charset=utf-8", "text/plain", "", "application/octet-stream")
    return {"content-type": rng.choice(kinds), "x-request-id": rng.choice(("a", "x" * 300, '"', "0123456789abcdef"))}


def toml(values) -> bytes:
    lines = [f"{name} = {json.dumps(value, default=str)}" for name, value in values.items()]
    return "\n".join(lines).encode("utf-8", "surrogatepass")
