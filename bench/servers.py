"""The servers of the bench: the sandbox as WeChat, and three applications under the same gunicorn settings."""

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
    from collections.abc import Iterator, Mapping

_START_SECONDS = 20.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_APP_ID, _SECRET = "wx0123456789abcdef", "0" * 32


@dataclass(frozen=True, slots=True)
class Server:
    """One application under gunicorn."""

    name: str
    port: int
    master_pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time, user and system, that the workers have used since they started."""
        return sum(_cpu_seconds(pid) for pid in _children(self.master_pid))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_seconds(pid: int) -> float:
    # proc(5): the second field, the program's name, may hold blanks and brackets; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


@contextlib.contextmanager
def _running(
    arguments: list[str], environ: Mapping[str, str], stdout: int
) -> Iterator[subprocess.Popen[bytes]]:
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
    account = f"{_APP_ID}:{_SECRET}"
    arguments = [
        sys.executable,
        "-m",
        "wxsign.sandbox",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--account",
        account,
    ]
    with _running(arguments, {}, subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        ready = json.loads(process.stdout.readline())
        yield f"http://127.0.0.1:{ready['port']}"


@contextlib.contextmanager
def server(name: str, application: str, environ: Mapping[str, str]) -> Iterator[Server]:
    """Run `application` under the service's own gunicorn settings; its access log is written, to nowhere."""
    port = _free_port()
    arguments = [*command([f"127.0.0.1:{port}"])[:-1], application]
    quiet = {"GUNICORN_CMD_ARGS": "--log-level warning"}
    with _running(arguments, {**environ, **quiet}, subprocess.DEVNULL) as process:
        _wait_for(port, process)
        yield Server(name, port, process.pid)


def service_environ(api_base: str, folder: str) -> dict[str, str]:
    """Return the settings of the service: one account of the sandbox at `api_base`, its store in `folder`."""
    return {
        "WXSIGN_APPID": _APP_ID,
        "WXSIGN_SECRET": _SECRET,
        "WXSIGN_ALLOWED_HOSTS": "m.example.com",
        "WXSIGN_API_BASE": api_base,
        "WXSIGN_STORE": f"sqlite:///{folder}/bench.db",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"no server on port {port}: exit status {process.poll()}")
