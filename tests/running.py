"""Real processes for tests: started, waited for, stopped by their own id."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

START_SECONDS = 30.0
# Longer than gunicorn's graceful 30 s: a worker that is told to end before it can listen is ended only then.
STOP_SECONDS = 45.0


# Below the range from which the system takes the ports of outgoing connections, or one of those could sit on a port just
# when a server that was stopped takes it again. A slice for each of the processes that run tests side by side.
FIRST_PORT, SLICE, SLICES = 12_000, 1_000, 20
_slice = FIRST_PORT + SLICE * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SLICES)
# Where in it to begin differs, for a command under test gives out ports of the same slice.
_next_port = itertools.count(os.getpid())


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that were free a moment ago, all of them different."""
    candidates = (_slice + number % SLICE for number in itertools.islice(_next_port, SLICE))
    return list(itertools.islice(filter(_is_free, candidates), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


def accepts(address: int | Path) -> bool:
    """Say whether something listens on a port of 127.0.0.1 or on a unix socket."""
    family, target = (
        (socket.AF_INET, ("127.0.0.1", address))
        if isinstance(address, int)
        else (socket.AF_UNIX, str(address))
    )
    with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.connect(target)
        return True
    return False


def answers(address: int | Path) -> bool:
    """Say whether an HTTP server answers there, whatever it says.

    A socket that accepts is not enough: a gunicorn that is told to stop before its handlers stand hears of it only when
    its graceful time is over.
    """
    with contextlib.suppress(OSError, http.client.HTTPException):
        ask(address, "/healthz")
        return True
    return False


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Poll until `happened`; fail after START_SECONDS, or at once when the process has ended."""
    deadline = time.monotonic() + START_SECONDS
    while not happened():
        assert process is None or process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@contextmanager
def running(
    command: Sequence[str | Path],
    ready: Callable[[], bool],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block ends; its stdout and stderr go to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=output, stderr=output
        )
        try:
            try:
                wait_until(ready, process)
            except AssertionError as error:
                raise AssertionError(f"{error}:\n{log.read_text()}") from None
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Master:
    """A server's master, where it listens, and in `folder` its log and what its hooks wrote down."""

    process: subprocess.Popen[bytes]
    address: int | Path
    folder: Path

    @property
    def output(self) -> str:
        """The log as text."""
        return (self.folder / "out").read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log, parsed: every line is JSON."""
        return [json.loads(line) for line in self.output.splitlines()]

    def notes(self, word: str) -> list[int]:
        """Return the processes in which a hook did `word`."""
        file = self.folder / "hooks.txt"
        notes = file.read_text().splitlines() if file.exists() else []
        return [int(pid) for done, pid in map(str.split, notes) if done == word]


def gunicorn(*arguments: str | Path) -> list[str | Path]:
    """Return a gunicorn command line with the settings of the service."""
    return [sys.executable, "-m", "gunicorn", "--config", "python:wxsign.serving", *arguments]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, its header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def ask(
    address: int | Path,
    path: str,
    *,
    method: str = "GET",
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    source: str = "127.0.0.1",
) -> Reply:
    """Send one request to a port of 127.0.0.1, from the loopback address `source`, or to a unix socket."""
    connection = (
        http.client.HTTPConnection("127.0.0.1", address, timeout=30, source_address=(source, 0))
        if isinstance(address, int)
        else _UnixConnection(address)
    )
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, fields, response.read())


APP_ID, SECRET = "wx0123456789abcdef", "0123456789abcdef0123456789abcdef"
PAGE = "https://m.example.com/activity?id=1"


@contextmanager
def sandbox(folder: Path, *settings: str) -> Iterator[str]:
    """Run the sandbox with one account, APP_ID, and `settings` like `latency_seconds=1`; yields its address."""
    log = folder / "sandbox.out"
    command = [
        sys.executable,
        "-m",
        "wxsign.sandbox",
        "--host",
        "127.0.0.1",
        "--port",
        str(free_port()),
        "--account",
        f"{APP_ID}:{SECRET}",
    ]
    for setting in settings:
        command += ["--setting", setting]

    def ready() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == "sandbox_ready"]

    with running(command, lambda: bool(ready()), log=log):
        yield f"http://127.0.0.1:{ready()[0]['port']}"


def service_environ(api_base: str, folder: Path) -> dict[str, str]:
    """Return the settings of a service for the sandbox's account, with its store in `folder`."""
    return {
        "WXSIGN_APPID": APP_ID,
        "WXSIGN_SECRET": SECRET,
        "WXSIGN_ALLOWED_HOSTS": "m.example.com",
        "WXSIGN_API_BASE": api_base,
        "WXSIGN_STORE": f"sqlite:///{folder}/store/wxsign.db",
        "WXSIGN_CONFIG": "",
    }
