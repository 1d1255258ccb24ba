"""How wxsign runs under gunicorn: the one place of its settings and hooks.

This package is a gunicorn configuration: `gunicorn --config python:wxsign.serving wxsign.wsgi:app`. Every public name in
lower case that gunicorn knows is a setting. Names that the installed version does not know are ignored here, while an
unknown flag on the command line would stop it; so what only newer versions have, such as `control_socket_disable`,
stands here.

The master reads and checks wxsign's configuration, at its start and at every reload (SIGHUP); its workers start from what
it holds. A configuration that cannot be used is told and passed over, and the last good one goes on. All modules are
imported in the master, and stay as they are there: an upgrade needs a restart.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from wxsign.errors import ConfigError
from wxsign.serving import life
from wxsign.serving.logger import JsonLogger
from wxsign.settings.snapshot import SNAPSHOT
from wxsign.settings.table import DEFAULT_THREADS, DEFAULT_WORKERS

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

worker_class = "gthread"
workers = DEFAULT_WORKERS
threads = DEFAULT_THREADS

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
worker_tmp_dir = life.IN_MEMORY
# A unix socket opens to its user and group (nginx's), not to everybody.
umask = 0o007
# By default a second gunicorn of the same user takes over the first one's control socket, silently (since 25.1).
control_socket_disable = True
# Proxies are believed by their configured number (`trusted_proxies`), never because they speak from loopback or a unix socket.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

CONFIG_UNUSABLE = 2

accesslog = "-"
errorlog = "-"
logger_class = JsonLogger


def on_starting(server: Arbiter) -> None:
    """Read the configuration. One that cannot be used ends the start with every problem, also that of a second master."""
    if not _serves_wxsign(server):
        return
    try:
        life.begin()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(CONFIG_UNUSABLE) from None
    _choose_access_log(server)


def when_ready(server: Arbiter) -> None:
    """Let the configured group connect to the unix sockets that gunicorn has made; what systemd holds is systemd's."""
    if _serves_wxsign(server) and "LISTEN_FDS" not in os.environ:
        life.open_to_group(listener.getsockname() for listener in server.LISTENERS)


def on_exit(_server: Arbiter) -> None:
    """Take the metrics away with the master."""
    life.end()


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """Take a worker's gauges away with it."""
    life.forget_worker(worker.pid)


def on_reload(server: Arbiter) -> None:
    """Read the configuration anew, before the new workers start; the last good one stays where that cannot be used."""
    if _serves_wxsign(server):
        SNAPSHOT.read_again()
        _choose_access_log(server)


def _choose_access_log(server: Arbiter) -> None:
    """Leave our own access log out where `access_log` says so; one that gunicorn was told of by name is its owner's."""
    ours = server.cfg.accesslog == accesslog
    if isinstance(server.log, JsonLogger):
        server.log.left_out = ours and SNAPSHOT.settings is not None and not SNAPSHOT.settings.access_log


def _serves_wxsign(server: Arbiter) -> bool:
    """Another application may use these settings, and read what configuration it likes."""
    return getattr(server.app, "app_uri", "") in {"wxsign.wsgi:app", "app:app"}


def post_worker_init(worker: Worker) -> None:
    """Start the service's Watcher, after the fork: threads and connections made before it would not survive it."""
    if (service := _service_of(worker)) is not None:
        service.threads = worker.cfg.threads
        service.start()


def worker_exit(_server: object, worker: Worker) -> None:
    """Stop the Watcher and give back the lease, so that another worker need not wait for it to lapse."""
    if (service := _service_of(worker)) is not None:
        service.stop()


def _service_of(worker: Worker) -> Any:  # noqa: ANN401 - a WxSign
    application = getattr(worker, "wsgi", None)
    return getattr(application, "extensions", {}).get("wxsign")
