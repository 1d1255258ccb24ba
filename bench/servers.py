"""The servers of the bench: the sandbox as WeChat, and applications under gunicorn and under Granian."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wxsign.serving.launch import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

APP_ID, SECRET = "wx0123456789abcdef", "0" * 32
# Of each server, so that none has more of the machine than another.
PROCESSES, THREADS = 2, 4
_START_SECONDS = 20.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """One server, or some behind one another: the children of `masters` do the work."""

    name: str
    port: int
    masters: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """Return the CPU time, user and system, that the workers have used since they started."""
        return sum(_cpu_seconds(pid) for pid in self._workers())

    def pss_megabytes(self) -> float:
        """Return the memory of a worker, what it shares with others counted by its share."""
        workers = self._workers()
        return sum(map(_pss_kilobytes, workers)) / 1000 / len(workers)

    def _workers(self) -> list[int]:
        return [child for master in self.masters for child in _children(master)]


def _children(pid: int) -> list[int]:
    # Node's primary forks from any of its threads.
    lists = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for text in lists for child in text.split()]


def _cpu_seconds(pid: int) -> float:
    # proc(5): the second field, the program's name, may hold blanks and brackets; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _pss_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@contextlib.contextmanager
def running(
    arguments: Sequence[str], environ: Mapping[str, str], stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block ends."""
    # Settings of the shell must not reach the bench: it would speak for the developer's own account.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WXSIGN_")}
    process = subprocess.Popen(arguments, env={**clean, **environ}, stdout=stdout)  # noqa: S603 - our own command lines
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def sandbox() -> Iterator[str]:
    """Run the sandbox; yields its address."""
    options = ("--host", "127.0.0.1", "--port", "0", "--account", f"{APP_ID}:{SECRET}")
    with running([sys.executable, "-m", "wxsign.sandbox", *options], {}, subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        ready = json.loads(process.stdout.readline())
        yield f"http://127.0.0.1:{ready['port']}"


@contextlib.contextmanager
def gunicorn(name: str, application: str, environ: Mapping[str, str]) -> Iterator[Server]:
    """Run `application` under gunicorn with the service's own settings, without an access log."""
    port = free_port()
    settings = {"python:wxsign.serving": "python:bench.quiet", "wxsign.wsgi:app": application}
    given = command([f"127.0.0.1:{port}"], workers=PROCESSES, threads=THREADS)
    with running([settings.get(word, word) for word in given], environ) as process:
        wait_for(port, process)
        yield Server(name, port, (process.pid,))


@contextlib.contextmanager
def granian(name: str, application: str, environ: Mapping[str, str]) -> Iterator[Server]:
    """Run any application under Granian alone."""
    port = free_port()
    counts = ("--workers", str(PROCESSES), "--blocking-threads", str(THREADS))
    options = ("--interface", "wsgi", "--http", "1", "--no-ws", "--no-log", "--port", str(port), *counts)
    with running([sys.executable, "-m", "granian", *options, application], environ) as process:
        wait_for(port, process)
        yield Server(name, port, (process.pid,))


@contextlib.contextmanager
def serve(name: str, environ: Mapping[str, str]) -> Iterator[Server]:
    """Run `wxsign serve`, under the server that `environ` names."""
    port = free_port()
    program = "from wxsign.cli import main; main()"
    counts = ("--port", str(port), "--workers", str(PROCESSES), "--threads", str(THREADS))
    quiet = {"WXSIGN_ACCESS_LOG": "off", "GUNICORN_CMD_ARGS": "--log-level warning"}
    with running([sys.executable, "-c", program, "serve", *counts], {**environ, **quiet}) as process:
        wait_for(port, process)
        yield Server(name, port, (process.pid,))


def service_environ(api_base: str, folder: str) -> dict[str, str]:
    """Return the settings of the service: one account of the sandbox at `api_base`, its store in `folder`."""
    return {
        "WXSIGN_APPID": APP_ID,
        "WXSIGN_SECRET": SECRET,
        "WXSIGN_ALLOWED_HOSTS": "m.example.com",
        "WXSIGN_API_BASE": api_base,
        "WXSIGN_STORE": f"sqlite:///{folder}/bench.db",
    }


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens on a port; raises RuntimeError where nothing does."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"no server on port {port}: exit status {process.poll()}")
