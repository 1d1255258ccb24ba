"""What a master does at the same moments of its life, whichever server it is."""

from __future__ import annotations

import gc
import grp
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wxsign import logs
from wxsign.settings.snapshot import SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Iterable

# Files that many processes write to need no disk.
IN_MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of our own is made there
# prometheus-client looks for it when it is imported.
METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_METRICS_PREFIX: Final = "wxsign-metrics-"


def begin() -> None:
    """Read the configuration, and make ready what workers inherit. Raises ConfigError where it cannot be used."""
    logs.configure()
    SNAPSHOT.read()
    _make_room_for_metrics()
    _import_what_workers_need()


def open_to_group(addresses: Iterable[object]) -> None:
    """Let the configured group connect to the unix sockets among `addresses`."""
    group = SNAPSHOT.settings.socket_group if SNAPSHOT.settings else ""
    for address in addresses if group else ():
        if isinstance(address, str):
            os.chown(address, -1, grp.getgrnam(group).gr_gid)


def forget_worker(pid: int | str) -> None:
    """A worker's gauges end with it; what it counted goes on counting."""
    if _our_metrics():
        for path in Path(os.environ[METRICS_VARIABLE]).glob(f"gauge_live*_{pid}.db"):
            path.unlink(missing_ok=True)


def end() -> None:
    """Take the metrics away with the master: a new one begins at 0."""
    if _our_metrics():
        shutil.rmtree(os.environ[METRICS_VARIABLE], ignore_errors=True)


def _our_metrics() -> bool:
    return _METRICS_PREFIX in os.environ.get(METRICS_VARIABLE, "")


def _make_room_for_metrics() -> None:
    """A folder for what the workers count together, unless the environment names one; a second master has its own."""
    if METRICS_VARIABLE not in os.environ or _our_metrics():
        os.environ[METRICS_VARIABLE] = tempfile.mkdtemp(prefix=_METRICS_PREFIX, dir=IN_MEMORY)


def _import_what_workers_need() -> None:
    """Share the modules: a worker is there in a third of the time, with two thirds of the memory.

    Connections and threads are still made after the fork.
    """
    from wxsign import web  # noqa: F401, PLC0415 - another application under gunicorn's settings does without

    gc.freeze()
