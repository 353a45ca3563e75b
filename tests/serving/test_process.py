"""The command as a user runs it: a process of its own, its words, its signals, several workers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from servers import PATIENCE_S, Client, need_server, server_process, until

need_server()

from rank_rerank.serving.server import bind, make_config
from rank_rerank.serving.settings import read_settings

# however slow the machine is
PATIENCE = ("--deadline-s", "3600", "--max-deadline-s", "3600")
# ended by itself, or by the signal that it was told to end by
ENDS = (0, 130, -signal.SIGTERM, -signal.SIGINT)
BODY = {"query": "what does a river carry", "documents": ["Cats sleep.", "A river carries water."]}


@pytest.fixture(scope="module")
def process():
    with server_process(*PATIENCE) as server:
        yield server


def test_it_says_where_it_is_and_answers(process, reranker):
    said = "".join(process.log)
    for words in (f"serves bundled at {process.url}", f"{process.url}/\n", "/v1/rerank", "/docs", "/openapi.json"):
        assert words in said
    with closing(process.client()) as client:
        results = client.post("/v1/rerank", BODY).json["results"]
    expected = reranker.rerank(BODY["query"], BODY["documents"])
    assert [(each["index"], each["relevance_score"]) for each in results] == [
        (hit.index, hit.relevance) for hit in expected
    ]


def test_what_has_begun_ends_before_the_server_does():
    documents = ["A river carries water from the mountains to the sea. " * 20] * 60
    with server_process(*PATIENCE, "--drain-s", "3600") as server, closing(server.client()) as client:
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(client.post("/v1/rerank", {"query": "river", "documents": documents}))
        )
        asking.start()
        with closing(server.client()) as other:
            until(lambda: other.get("/health/ready").json["queued_requests"] > 0 or not asking.is_alive())
            server.process.send_signal(signal.SIGTERM)
            # for a while it is there and says that it is not ready
            until(lambda: other.get("/health/ready").status == 503)
        # who does not want to wait for that says so, and what has begun is answered all the same
        server.process.send_signal(signal.SIGINT)
        asking.join()
        assert [answer.status for answer in answers] == [200]
        assert len(answers[0].json["results"]) == 60
        assert server.process.wait(PATIENCE_S) in ENDS
        assert "Traceback" not in "".join(server.log)


def test_small_packets_are_sent_at_once():
    """asyncio turns Nagle's algorithm off only for sockets named as TCP; with it an answer takes 40 ms more."""
    with closing(bind(read_settings({"port": 0}))) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_idle_connections_are_kept_longer_than_a_proxy_keeps_them():
    """nginx keeps idle connections for 60 s; what it sends on one that the server is just closing is lost."""
    assert make_config(read_settings({}), None).timeout_keep_alive > 60


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signal")
def test_a_single_process_loads_everything_anew_while_it_answers(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("one\n")
    with server_process(*PATIENCE, "--api-key-file", keys) as server, closing(server.client()) as client:

        def status(key):
            return client.post("/v1/rerank", BODY, headers={"x-api-key": key}).status

        assert (status("one"), status("two")) == (200, 401)
        keys.write_text("two\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: status("two") == 200)
        assert status("one") == 401
        # what cannot be loaded changes nothing
        keys.write_text("")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "goes on with" in "".join(server.log))
        assert status("two") == 200
        keys.write_text("three\n")
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
        until(lambda: status("three") == 200)
        assert server.stop() in ENDS
        assert "Traceback" not in "".join(server.log)


def test_workers_share_the_port_and_their_counts():
    flags = ("--workers", "2", "--metrics", "open", "--model", "own=bundled", "--drain-s", "3600")
    with server_process(*PATIENCE, *flags, waits=False) as server:
        assert "serves own at" in "".join(server.log)
        for _ in range(12):
            with closing(Client(server.port)) as client:
                # the first comes while the workers still load the model
                assert client.post("/v1/rerank", BODY).status == 200
        with closing(Client(server.port)) as client:
            # a request is counted once its answer is on the way
            until(lambda: "12.0" in ranked(client.get("/metrics").content.decode()))
        if workers := worker_processes(server.process.pid):
            # a worker that dies takes no request along but those it is at, and another takes its turn
            os.kill(workers[0], signal.SIGKILL)
            for _ in range(12):
                with closing(Client(server.port)) as client:
                    assert client.post("/v1/rerank", BODY).status == 200
            until(lambda: len({*worker_processes(server.process.pid)} - {workers[0]}) == 2)
        server.process.send_signal(signal.SIGTERM)
        with closing(Client(server.port)) as client:
            until(lambda: client.get("/health/ready").status == 503)
        # a process that was killed tells its workers nothing, and they end all the same
        workers = worker_processes(server.process.pid)
        server.process.kill()
        server.process.wait()
        until(lambda: not any(map(command_of, workers)))


def test_workers_that_cannot_load_a_model_end_the_command(tmp_path):
    refused = run("--workers", "2", "--port", "0", "--model", str(tmp_path / "nowhere"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1
    assert "there is no model folder" in refused.stderr


def worker_processes(process):
    """The ids of a server's workers, where the system tells them."""
    children = Path(f"/proc/{process}/task/{process}/children")
    ids = children.read_text().split() if children.exists() else []
    return [int(each) for each in ids if b"spawn_main" in command_of(each)]


def command_of(process):
    """What a process was started with; nothing where it has ended, also where nobody has asked how."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def ranked(counts):
    lines = [line for line in counts.splitlines() if line.startswith("rank_rerank_requests_total")]
    return "".join(line for line in lines if "/v1/rerank" in line)


def run(*flags):
    command = [sys.executable, "-m", "rank_rerank", "serve", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_what_the_command_refuses(tmp_path):
    refused = run("--host", "0.0.0.0")  # noqa: S104
    assert refused.returncode == 2
    assert "--api-key-file FILE" in refused.stderr
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        refused = run("--port", str(taken.getsockname()[1]))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Choose another --port" in refused.stderr
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"cascade": ["nonsense"], "port": 0}))
    refused = run("--settings", str(settings))
    assert "NAME=FIRST>NEXT:KEEP" in refused.stderr
    assert refused.stderr.count("\n") == 1
