"""How wxsign runs under Granian: the life that gunicorn's hooks give it, for a server that has none of them.

The master reads and checks the configuration, makes the socket, and forks; a worker takes its settings from what the master
holds, starts the Watcher before it serves, and stops it after its last answer. The master keeps every socket open: with
Granian's own way, a listener that each worker makes, a worker that ends would reset the callers in its queue.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any, Final, cast

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import MPServer
from gunicorn import systemd
from gunicorn.config import Config
from gunicorn.sock import close_sockets, create_sockets

from wxsign import serving
from wxsign.serving import life
from wxsign.serving.access import AccessLog
from wxsign.settings.snapshot import SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from granian.server.mp import WorkerProcess

BACKLOG: Final = 2048
# So long an old worker serves beside its successor, which is forked with every module and is there sooner.
OVERLAP_SECONDS: Final = 0.5
# A worker that ends sooner, as one that cannot start does, is replaced after so long.
SHORT_LIFE_SECONDS: Final = 1.0
# Its loggers have no handlers of their own: their lines go where ours go, as JSON without secrets.
_LOGGING: Final = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}
# What a request may bring. Whatever else is in the environment Granian puts into each request as well.
_OF_REQUESTS: Final = ("HTTP_", "SERVER_", "REQUEST_", "CONTENT_", "REMOTE_", "PATH_", "QUERY_", "SCRIPT_")

# gunicorn's functions are typed for its own class, and need no more than any logger has.
logger: Any = logging.getLogger("wxsign.serving")


def serve(bind: str, *, workers: int, threads: int) -> None:
    """Serve the configured accounts on `bind` (`host:port`, `[::1]:8000`, `unix:/path`) until SIGTERM or SIGINT.

    SIGHUP reads the configuration anew and replaces the workers. Raises ConfigError where it cannot be used, SystemExit where
    nothing can be listened on or workers cannot live.
    """
    # gunicorn's signals for a second master and for log files: here they would end the process on the spot.
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # A worker inherits the configuration that the master holds.
    multiprocessing.set_start_method("fork", force=True)
    life.begin()
    try:
        _Server(_Listeners(bind, workers), workers, threads).serve(
            target_loader=partial(_load, threads), wrap_loader=False
        )
    finally:
        life.end()


class _Listeners:
    """What workers accept from: systemd's socket where it has given one, else made as gunicorn makes them.

    On a port each worker has a socket of its own, among which the kernel shares out connections: from a common one the first
    worker to wake takes them all, and keeps them for as long as clients do.
    """

    def __init__(self, bind: str, workers: int) -> None:
        settings = Config()
        on_port = not bind.startswith("unix:")
        settings.set("bind", [bind] * (workers if on_port else 1))
        settings.set("umask", serving.umask)
        settings.set("backlog", BACKLOG)
        settings.set("reuse_port", on_port)
        first = systemd.SD_LISTEN_FDS_START
        given = list(range(first, first + systemd.listen_fds()))
        self._ours = not given
        self._sockets: list[Any] = create_sockets(settings, logger, given)
        if self._ours:
            life.open_to_group([self._sockets[0].getsockname()])

    def __str__(self) -> str:
        return str(self._sockets[0])

    def of_worker(self, number: int) -> SocketHolder:
        """A worker's socket, as Granian takes it over a fork."""
        ours = self._sockets[number % len(self._sockets)]
        holder: Any = SocketHolder  # its stub knows no arguments
        return cast("SocketHolder", holder(ours.fileno(), isinstance(ours.getsockname(), str), BACKLOG))

    def close(self) -> None:
        """Accept nobody any more."""
        close_sockets(self._sockets, unlink=self._ours)


class _Server(MPServer):
    """Granian's master, with our socket, our reload, and the workers' gauges taken away with them."""

    def __init__(self, listeners: _Listeners, workers: int, threads: int) -> None:
        super().__init__(
            "wxsign.wsgi:app",
            interface=Interfaces.WSGI,
            workers=workers,
            blocking_threads=threads,
            http=HTTPModes.http1,
            # How long a connection may be idle.
            http1_settings=HTTP1Settings(header_read_timeout=serving.keepalive * 1000),
            websockets=False,
            backlog=BACKLOG,
            log_dictconfig=_LOGGING,
            respawn_interval=OVERLAP_SECONDS,
            workers_kill_timeout=serving.graceful_timeout,
        )
        self._listeners = listeners
        self.on_reload(SNAPSHOT.read_again)
        self.on_startup(lambda: systemd.sd_notify("READY=1", logger))

    @property
    def _bind_addr_fmt(self) -> str:
        return str(self._listeners).removeprefix("http://")

    def _init_shared_socket(self) -> None:
        self._ssp: Any = None
        self._sso: Any = None

    def _drop_shared_socket(self) -> None:
        self._listeners.close()

    def _spawn_worker(self, idx: int, *arguments: Any, **more: Any) -> WorkerProcess:  # noqa: ANN401 - Granian's own
        self._shd: Any = self._listeners.of_worker(idx)
        return super()._spawn_worker(idx, *arguments, **more)

    def _serve_loop(self, *loaders: Any) -> None:  # noqa: ANN401 - see above
        """Replace workers that ended, and all of them at a reload, until we are told to stop.

        Granian's own loop may miss one of two workers that end in the same moment, and ends itself when one dies again
        within seconds.
        """
        while not self.interrupt_signal:
            self.main_loop_interrupt.wait()
            self.main_loop_interrupt.clear()
            if self.reload_signal:
                self._reload(*loaders)  # type: ignore[no-untyped-call]
            ended = [number for number, worker in enumerate(self.wrks) if not worker.inner.is_alive()]
            if any(time.monotonic() - self.wrks[number].birth < SHORT_LIFE_SECONDS for number in ended):
                time.sleep(SHORT_LIFE_SECONDS)
            if ended and not self.interrupt_signal:
                self._respawn_workers(ended, *loaders)
            self.interrupt_children.clear()

    def _respawn_workers(self, workers: list[int], *loaders: Any, **more: Any) -> None:  # noqa: ANN401 - see above
        old = [self.wrks[number].inner.pid for number in workers]
        super()._respawn_workers(workers, *loaders, **more)
        for pid in old:
            life.forget_worker(pid)


def _load(threads: int) -> WSGIApplication:
    """Make the application in a worker, and start its service."""
    # Whoever stops us before Granian listens to signals is not kept waiting.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Ctrl-C is the master's, which then stops its workers.
    os.setpgrp()
    threading.Thread(target=_end_with_master, daemon=True).start()
    from wxsign.wsgi import app  # noqa: PLC0415 - after the fork

    service = app.extensions["wxsign"]
    service.threads = threads
    service.start()
    # Multiprocessing calls it when the worker's last answer is given; `atexit` is not run in a fork.
    Finalize(None, service.stop, exitpriority=1)
    door = _Door(app)
    return AccessLog(door, "granian.access") if service.settings.access_log else door


def _end_with_master() -> None:
    """A master that was killed leaves no workers behind, which would serve on with what it knew."""
    master = multiprocessing.parent_process()
    if master is not None:
        wait([master.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


class _Door:
    """The application without what Granian adds to a request, and with answers as it sends them fastest."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        # The whole environment stands in each request: AppSecrets among it, which have no business there.
        self._foreign = tuple(name for name in os.environ if not name.startswith(_OF_REQUESTS))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for name in self._foreign:
            environ.pop(name, None)
        body = self._application(environ, start_response)
        # A list goes out in one piece; any other body is asked for its pieces, and must have a `close`.
        return list(body) if isinstance(body, tuple) else body
