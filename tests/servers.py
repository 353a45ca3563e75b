"""Servers for tests and benchmarks: one in a process of its own, or one in a thread of this process; and a client."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest

# only against hanging: a machine may be slow, busy or stopped for a while
PATIENCE_S = 600
LOOPBACK = ("127.0.0.1", "::1")


def need_server():
    """Skip a file of tests where the server's packages are not installed."""
    for package in ("fastapi", "uvicorn", "prometheus_client", "pydantic_settings"):
        pytest.importorskip(package, reason='needs the server extra: pip install "rank-rerank[server]"')


def allow_loopback(monkeypatch):
    """Put loopback in reach of a test that shares the fixture which keeps it from the network."""
    connect = socket.socket.connect

    def only_loopback(self, address, *rest):
        if self.family != socket.AF_UNIX and address[0] not in LOOPBACK:
            raise AssertionError(f"a test reached for the network: {address}")
        return connect(self, address, *rest)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)


@dataclass
class Answer:
    status: int
    headers: dict
    content: bytes

    @property
    def json(self):
        return json.loads(self.content)


@dataclass
class Client:
    """Asks over one connection, which is opened again when it was closed."""

    port: int
    host: str = "127.0.0.1"
    timeout_s: float = PATIENCE_S
    headers: dict = field(default_factory=dict)
    _connection: http.client.HTTPConnection | None = None

    def send(self, method, path, content=None, headers=None):
        sent = {**self.headers, **(headers or {})}
        for attempt in (0, 1):
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_s)
            try:
                self._connection.request(method, path, content, sent)
                response = self._connection.getresponse()
                answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()
                if attempt:
                    raise
                continue
            if response.will_close:
                self.close()
            return answer
        raise AssertionError

    def get(self, path, **keywords):
        return self.send("GET", path, **keywords)

    def post(self, path, body, **keywords):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", path, content, **keywords)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class RunningServer:
    """A server in a process of its own."""

    process: subprocess.Popen
    port: int
    log: list

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, **keywords):
        return Client(self.port, **keywords)

    def stop(self, timeout_s=PATIENCE_S):
        """Ask it to stop, as a supervisor does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextmanager
def server_process(*flags, env=None, python=sys.executable, waits=True):
    """Run ``rank-rerank serve`` with these flags on a free port, until the block ends.

    Args:
        flags: of the command, beside --port.
        env: more variables.
        python: of which environment.
        waits: until it is ready, and not only until it says where it is.
    """
    command = [python, "-u", "-m", "rank_rerank", "serve", "--port", "0", *map(str, flags)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,  # a terminal would change what SIGHUP means
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
    )
    log, announced = [], threading.Event()

    def read():
        for line in process.stdout:
            log.append(line)
            if "://" in line:
                announced.set()
        announced.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        if not announced.wait(PATIENCE_S) or not (found := re.search(r"http://[^ ]*:(\d+)", "".join(log))):
            raise AssertionError(f"the server did not start: {''.join(log)}")
        server = RunningServer(process, int(found[1]), log)
        if waits:
            wait_until_ready(server.port)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(5)
        if not reader.is_alive():  # else a child of it is still there
            process.stdout.close()


def wait_until_ready(port, timeout_s=PATIENCE_S):
    """Wait until a server answers."""
    end = time.monotonic() + timeout_s
    while True:
        client = Client(port, timeout_s=5)
        try:
            if client.get("/health/ready").status == 200:
                return
        except OSError:
            pass
        finally:
            client.close()
        if time.monotonic() > end:
            raise AssertionError("the server is not ready")
        time.sleep(0.05)


@contextmanager
def server_thread(models, keys=(), stores=None, **settings):
    """Serve models that are loaded already from a thread of this process; gives (client, service).

    Requests have an hour, however slow the machine is, unless the settings say otherwise. The models' speeds are this
    server's own: a test that sets them changes no other's.
    """
    from rank_rerank.serving.app import make_app
    from rank_rerank.serving.catalog import ServedModel
    from rank_rerank.serving.keys import Keys
    from rank_rerank.serving.server import DrainingServer, bind, make_config
    from rank_rerank.serving.service import join_service
    from rank_rerank.serving.settings import read_settings

    told = read_settings({"port": 0, "deadline_s": 3600, "max_deadline_s": 3600, **settings})
    own = [ServedModel(model.name, model.reranker) for model in models]
    service = join_service(told, own, stores or {}, Keys(keys))
    listener = bind(told)
    server = DrainingServer(make_config(told, make_app(service)), lambda: service)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    client = Client(port)
    try:
        wait_until_ready(port)
        yield client, service
    finally:
        client.close()
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()


def until(holds, timeout_s=PATIENCE_S):
    """Wait for what happens in another thread or process."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def raw(port, content, timeout_s=PATIENCE_S):
    """Send bytes over a socket of its own; everything that comes back until the server closes."""
    received = b""
    # what is sent after the server has closed is answered by a reset
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection, suppress(ConnectionError):
        connection.sendall(content)
        while piece := connection.recv(65536):
            received += piece
    return received
