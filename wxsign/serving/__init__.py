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

import gc
import grp
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wxsign import logs
from wxsign.errors import ConfigError
from wxsign.serving.logger import JsonLogger
from wxsign.settings.snapshot import SNAPSHOT

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
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

CONFIG_UNUSABLE = 2
# prometheus-client looks for it when it is imported.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "wxsign-metrics-"

accesslog = "-"
errorlog = "-"
logger_class = JsonLogger


def on_starting(server: Arbiter) -> None:
    """Read the configuration. One that cannot be used ends the start with every problem, also that of a second master."""
    if not _serves_wxsign(server):
        return
    logs.configure()
    try:
        SNAPSHOT.read()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(CONFIG_UNUSABLE) from None
    _choose_access_log(server)
    _make_room_for_metrics()
    _import_what_workers_need()


def when_ready(server: Arbiter) -> None:
    """Let the configured group connect to the unix sockets that gunicorn has made; what systemd holds is systemd's."""
    group = SNAPSHOT.settings.socket_group if SNAPSHOT.settings else ""
    for listener in server.LISTENERS if group and "LISTEN_FDS" not in os.environ else ():
        address = listener.getsockname()
        if isinstance(address, str) and _serves_wxsign(server):
            os.chown(address, -1, grp.getgrnam(group).gr_gid)


def on_exit(_server: Arbiter) -> None:
    """Take the metrics away with the master: a new one begins at 0."""
    if _our_metrics():
        shutil.rmtree(os.environ[METRICS_VARIABLE], ignore_errors=True)


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """A worker's gauges end with it; what it counted goes on counting."""
    if _our_metrics():
        for path in Path(os.environ[METRICS_VARIABLE]).glob(f"gauge_live*_{worker.pid}.db"):
            path.unlink(missing_ok=True)


def on_reload(server: Arbiter) -> None:
    """Read the configuration anew, before the new workers start; the last good one stays where that cannot be used."""
    if _serves_wxsign(server):
        SNAPSHOT.read_again()
        _choose_access_log(server)


def _our_metrics() -> bool:
    return METRICS_PREFIX in os.environ.get(METRICS_VARIABLE, "")


def _make_room_for_metrics() -> None:
    """A folder for what the workers count together, unless the environment names one; a second master has its own."""
    if METRICS_VARIABLE not in os.environ or _our_metrics():
        os.environ[METRICS_VARIABLE] = tempfile.mkdtemp(prefix=METRICS_PREFIX, dir=worker_tmp_dir)


def _import_what_workers_need() -> None:
    """Share the modules: a worker is there in a third of the time, with two thirds of the memory.

    Connections and threads are still made after the fork.
    """
    from wxsign import web  # noqa: F401, PLC0415 - another application under these settings does without

    gc.freeze()


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
