"""How wxsign runs under gunicorn: the one place of its settings and hooks, and the command of `wxsign serve`.

This module is a gunicorn configuration: `gunicorn --config python:wxsign.serving wxsign.wsgi:app`. Every public name in
lower case that gunicorn knows is a setting. Names that the installed version does not know are ignored here, while an
unknown flag on the command line would stop it; so what only newer versions have, such as `control_socket_disable`,
stands here.

A reload (SIGHUP) starts workers that read the configuration anew. The modules imported here stay as they are in the
master process: an upgrade needs a restart.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
import sysconfig
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gunicorn.glogging import Logger

from wxsign.errors import ConfigError, Problem, Text
from wxsign.logs import JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence
    from datetime import timedelta

    from gunicorn.config import Config
    from gunicorn.http import Request
    from gunicorn.http.wsgi import Response
    from gunicorn.workers.base import Worker

# A thread waits for WeChat only on a cold start; 4 × 8 leaves room for 32 such callers.
worker_class = "gthread"
workers = 4
threads = 8

# A cold caller waits 10 s at most: a worker told to stop finishes every request that it accepted.
graceful_timeout = 20
timeout = 30
# Longer than the idle time of common load balancers (60 s), so that they close first and never write into a closed connection.
keepalive = 75

# Page addresses with share parameters, percent-encoded into one parameter, exceed the default of 4094 bytes.
limit_request_line = 8190
# Workers have nothing to leak slowly; a recycled one would start with an empty near cache.
max_requests = 0
# Each worker makes its own connections and threads, and a reload reads the configuration anew.
preload_app = False
# The heartbeat file must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - gunicorn unlinks the file at once
# A unix socket opens to its user and group (nginx's), not to everybody.
umask = 0o007
# By default a second gunicorn of the same user takes over the first one's control socket, silently (since 25.1).
control_socket_disable = True
# Proxies are believed by their configured number (`trusted_proxies`), never because they speak from loopback or a unix socket.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

accesslog = "-"
errorlog = "-"

_WHAT_A_CLIENT_SENT: Final = re.compile(r"(: b?['\"(]|\?).*", re.DOTALL)


def without_request_data(message: str) -> str:
    """Return a message of gunicorn without the query or header that it quotes: keys and OAuth codes travel there."""
    if message.startswith("Invalid request"):
        return _WHAT_A_CLIENT_SENT.sub("", message)
    return message.partition("?")[0]


class _RequestDataFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_request_data(record.getMessage()), ()
        return True


class JsonLogger(Logger):
    """gunicorn's logs as one JSON object a line: the error log on stderr, the access log on stdout."""

    def setup(self, cfg: Config) -> None:
        """Configure both logs; gunicorn calls this again at every reload."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())
            handler.addFilter(_RequestDataFilter())
        for handler in self.access_log.handlers:
            handler.setFormatter(logging.Formatter("%(message)s"))

    def access(
        self,
        resp: Response,
        req: Request,  # noqa: ARG002 - gunicorn passes it
        environ: MutableMapping[str, Any],
        request_time: timedelta,
    ) -> None:
        """Log one answered request: its path, never its query."""
        if self.access_log_enabled:
            self.access_log.info(json.dumps(_access_fields(resp, environ, request_time)))


def _access_fields(resp: Response, environ: Mapping[str, Any], request_time: timedelta) -> dict[str, object]:
    # The same keys as in the error log. Redaction, many times the cost of the rest, has nothing to find here.
    fields = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "info",
        "logger": "gunicorn.access",
        "event": "access",
        "method": environ.get("REQUEST_METHOD"),
        # WSGI hands the bytes of a path over as Latin-1.
        "path": environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace"),
        "status": int(str(resp.status).partition(" ")[0]),
        "bytes": resp.sent,
        "milliseconds": round(request_time.total_seconds() * 1000, 1),
        "remote_addr": environ.get("REMOTE_ADDR"),
    }
    for name, value in resp.headers:
        if name == "X-Request-Id":
            fields["request_id"] = value
    return fields


logger_class = JsonLogger

# Set where gunicorn takes over a socket that is open already: from systemd, or from the process that it replaces.
_INHERITED_SOCKET: Final = frozenset({"LISTEN_FDS", "GUNICORN_FD"})


def post_worker_init(worker: Worker) -> None:
    """Start the service's Watcher, after the fork: threads and connections made before it would not survive it."""
    if (service := _service_of(worker)) is not None:
        service.start()


def worker_exit(_server: object, worker: Worker) -> None:
    """Stop the Watcher and give back the lease, so that another worker need not wait for it to lapse."""
    if (service := _service_of(worker)) is not None:
        service.stop()


def _service_of(worker: Worker) -> Any:  # noqa: ANN401 - a WxSign, which this module must not import into the master
    application = getattr(worker, "wsgi", None)
    return getattr(application, "extensions", {}).get("wxsign")


def command(bind: Sequence[str], *, workers: int = workers, threads: int = threads) -> tuple[str, ...]:
    """Return the command line that serves the configured accounts on `bind` (`host:port`, `[::1]:8000`, `unix:/path`)."""
    binds = (argument for address in bind for argument in ("--bind", address))
    counts = ("--workers", str(workers), "--threads", str(threads))
    return (*_gunicorn(), "--config", "python:wxsign.serving", *binds, *counts, "wxsign.wsgi:app")


def _gunicorn() -> tuple[str, ...]:
    # After `python -m gunicorn`, SIGUSR2 starts the second master as a script out of gunicorn's folder, whose `http` then
    # hides Python's own; gunicorn's console script has no such neighbours.
    script = Path(sysconfig.get_path("scripts"), "gunicorn")
    return (sys.executable, str(script)) if script.exists() else (sys.executable, "-m", "gunicorn")


def run(bind: Sequence[str], *, store: str, workers: int = workers, threads: int = threads) -> NoReturn:
    """Become gunicorn, serving the configured accounts on `bind`; `store` is the configured store's address.

    Raises ConfigError where that cannot work: an address that is taken, a store that these workers cannot share.
    """
    problems = [
        *_store_problems(store, workers),
        *(problem for address in bind for problem in _bind_problems(address)),
    ]
    if problems:
        raise ConfigError(problems)
    arguments = command(bind, workers=workers, threads=threads)
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell is wanted: this process becomes gunicorn


def _store_problems(store: str, workers: int) -> Iterator[Problem]:
    if store.startswith("memory:") and workers > 1:
        yield Problem(
            "store",
            Text(
                f"memory: lives in one process, but {workers} workers would each fetch tokens of their own.",
                f"memory: 只存在于单个进程中，而 {workers} 个工作进程会各自获取 token。",
            ),
            Text(
                "Use the default, sqlite:///var/wxsign.db, or serve with --workers 1.",
                "请使用默认的 sqlite:///var/wxsign.db，或加上 --workers 1。",
            ),
        )


def _bind_problems(address: str) -> Iterator[Problem]:
    """Say in a sentence what gunicorn would only log, after five tries, about a TCP address that it cannot listen on."""
    host, separator, port = address.rpartition(":")
    if not separator or host == "unix" or not port.isdecimal() or _INHERITED_SOCKET & os.environ.keys():
        return
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "not a port"
            yield Problem(
                "bind",
                Text(f"Cannot listen on {address}: {reason}.", f"无法监听 {address}：{reason}。"),
                Text("Choose another port: --port 8001.", "请换一个端口：--port 8001。"),
            )
