"""From settings to a running server: one process, or several that share the port."""

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread, Timer
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from rank_rerank.devices import default_num_threads
from rank_rerank.errors import InvalidArgumentError, RankRerankError
from rank_rerank.serving.app import make_app
from rank_rerank.serving.connections import ConnectionLimits, LimitedConfig, LimitedConnection
from rank_rerank.serving.gate import App
from rank_rerank.serving.keys import Keys
from rank_rerank.serving.metrics import SHARED_FOLDER_VARIABLE
from rank_rerank.serving.renewal import RenewableApp, renew_on_hangup
from rank_rerank.serving.service import Service, open_service
from rank_rerank.serving.settings import Settings, check_exposure, read_settings

logger = logging.getLogger("rank_rerank")

# longer than any deadline a request may have, so that what was promised is done before the process ends
GRACE_S = 1
# longer than a proxy keeps idle connections (nginx: 60 s), or it sends a request on one that is just being closed
KEEP_ALIVE_S = 75
# connections that wait to be accepted
BACKLOG = 2048
# within which a new worker has loaded its models, or the one whose place it takes stays
LOADING_TIMEOUT_S = 120
# a worker that answers nothing for so long is replaced; a busy or stalled machine keeps a sound one for some seconds
HEALTHCHECK_S = 30
LOGGERS = ("uvicorn", "uvicorn.error")


class ServerStartError(RankRerankError, RuntimeError):
    """The server cannot start."""


def serve(settings: Settings) -> None:
    """Listen until a signal comes.

    Raises:
        RankRerankError: a model or store cannot be loaded, or a setting is refused.
    """
    keys = Keys.read(settings.api_key_file, settings.api_key)
    check_exposure(settings, has_keys=not keys.is_open)
    # first of all, since the first start compiles kernels and says so
    show_log(settings)
    listener = bind(settings)
    if settings.workers == 1:
        service = open_service(settings, keys)
        announce(settings, listener, list(service.catalog.models))
        _run_one(settings, service, listener)
    else:
        models = _try_to_open(settings)
        # whoever asks before the first worker has loaded its models waits for it
        listener.listen(BACKLOG)
        announce(settings, listener, models)
        _run_several(settings, listener)


def announce(settings: Settings, listener: socket.socket, models: list[str]) -> None:
    """Print where the server is, what it serves and where to look."""
    address = url_of(listener) + settings.prefix
    lines = (
        f"rank-rerank serves {', '.join(models)} at {address}",
        f"  page     {address}/",
        f"  rerank   {address}/v1/rerank",
        f"  routes   {address}/docs   (OpenAPI: {address}/openapi.json)",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket, for a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass(frozen=True)
class WorkerApp:
    """Makes the application of a worker process; can be pickled."""

    settings: Settings

    def __call__(self) -> App:
        """Load everything in this process."""
        show_log(self.settings)
        Thread(target=_end_with_parent, daemon=True).start()
        share = max(1, default_num_threads() // self.settings.workers)
        threads = self.settings.num_threads or share
        service = open_service(self.settings.model_copy(update={"num_threads": threads}))
        # uvicorn has set its own, which stops listening at once
        signal.signal(signal.SIGTERM, drain_first(lambda: service, signal.getsignal(signal.SIGTERM)))
        return make_app(service)


class Workers(Multiprocess):
    """Worker processes, of which a new one has time to load its models."""

    def restart_all(self) -> None:
        """Start one after the other anew, for SIGHUP."""
        usual = self.config.timeout_worker_healthcheck
        self.config.timeout_worker_healthcheck = LOADING_TIMEOUT_S
        try:
            super().restart_all()
        finally:
            self.config.timeout_worker_healthcheck = usual


def _end_with_parent() -> None:
    """End this worker when the process that has started it was killed, which tells its workers nothing."""
    if (parent := parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGINT)


def app_from_variables() -> App:
    """The application for another server than uvicorn, as granian, told by RANK_RERANK_ variables alone.

    Raises:
        RankRerankError: a model or store cannot be loaded, or a setting is refused.
    """
    settings = read_settings({})
    show_log(settings)
    return make_app(open_service(settings))


class DrainingServer(uvicorn.Server):
    """A server that first says that it is not ready, then stops listening, then ends what it has begun."""

    def __init__(self, config: uvicorn.Config, service: Callable[[], Service]) -> None:
        super().__init__(config)
        self._stop = drain_first(service, super().handle_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self._stop(sig, frame)


def drain_first(service: Callable[[], Service], stop: Any) -> Callable[[int, FrameType | None], None]:
    """A handler of signals that takes nothing new, says so for a while, and then stops; for SIGINT it stops at once.

    Args:
        service: gives the one that is to stop.
        stop: the handler that stops it.
    """

    def handle(sig: int, frame: FrameType | None) -> None:
        delay = service().settings.drain_s
        service().core.queue.drain()
        if delay == 0 or sig == signal.SIGINT:
            stop(sig, frame)
            return
        timer = Timer(delay, stop, (sig, None))
        timer.daemon = True
        timer.start()

    return handle


def show_log(settings: Settings) -> None:
    """Show the library's messages at the level asked for."""
    own = logging.getLogger("rank_rerank")
    if not own.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("rank-rerank: %(message)s"))
        own.addHandler(handler)
    own.setLevel(settings.log_level.upper())
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _run_one(settings: Settings, service: Service, listener: socket.socket) -> None:
    app = RenewableApp(service, lambda: open_service(settings))
    server = DrainingServer(make_config(settings, app), lambda: app.service)
    renew_on_hangup(app, server.handle_exit)
    server.run([listener])


def _try_to_open(settings: Settings) -> list[str]:
    """The names of the models, from a process that loads them and ends.

    Workers that cannot load them would be started again and again. And what is compiled for the first time is compiled
    once, and not by all of them.

    Raises:
        RankRerankError: one cannot be loaded.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_open_once, settings).result()
    except BrokenProcessPool:
        raise ServerStartError("the process that loads the models has ended: is there enough memory?") from None


def _open_once(settings: Settings) -> list[str]:
    show_log(settings)
    return list(open_service(settings).catalog.models)


def _run_several(settings: Settings, listener: socket.socket) -> None:
    folder = tempfile.mkdtemp(prefix="rank-rerank-metrics-")
    # the counts of all processes are joined through files in it
    os.environ[SHARED_FOLDER_VARIABLE] = folder
    config = make_config(settings, WorkerApp(settings), factory=True, workers=settings.workers)
    try:
        Workers(config, [listener]).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_config(settings: Settings, app: Any, **more: Any) -> LimitedConfig:
    """What uvicorn is told.

    Args:
        settings: what the server was told.
        app: an ASGI callable, or with factory=True what makes one.
        more: other options of uvicorn's.
    """
    options: Mapping[str, Any] = {
        "http": LimitedConnection,
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": int(settings.max_deadline_s) + GRACE_S,
        "timeout_worker_healthcheck": HEALTHCHECK_S,
        "backlog": BACKLOG,
        "lifespan": "on",
        **more,
    }
    config = LimitedConfig(app, **options)
    config.limits = ConnectionLimits(settings.max_connections, settings.header_timeout_s)
    return config


def bind(settings: Settings) -> socket.socket:
    """Take the port.

    Raises:
        InvalidArgumentError: it cannot be taken.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # named as TCP, since only then asyncio sends small packets at once: an answer would wait 40 ms for the client
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise InvalidArgumentError(
            f"cannot listen at {settings.host}:{settings.port}: {error.strerror}. Choose another --port"
        ) from None
    listener.set_inheritable(True)  # for the worker processes
    return listener
