"""Prints what one operation of each store costs, in microseconds: `python -m bench.stores`.

Each figure is the median over single calls, and the 99th percentile. The Redis is one of its own, on loopback, unless
`--redis` names another; what a network adds is one round trip an operation.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from wxsign.credentials import Credential
from wxsign.errors import StoreUnavailable
from wxsign.stores import Ration, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wxsign.stores import CredentialStore

_START_SECONDS: Final = 10.0
_NAMES: Final = [
    f"https://api.weixin.qq.com|wx0123456789abcde{number:x}||jsapi|stable" for number in range(10)
]
# One operation of a store that hangs ends within seconds; this ends a row of them.
_ROW_SECONDS: Final = 10.0


def operations(store: CredentialStore) -> Mapping[str, Callable[[], object]]:
    """Return what a worker asks of a store, by name."""
    versions = count(1)
    now = store.now()

    def replace(name: str = _NAMES[0]) -> bool:
        life = (7200, now, now + 7200, now + 7200, now + 7200)
        return store.replace(name, Credential("v" * 86, next(versions), *life))

    def lease() -> None:
        got = store.acquire(_NAMES[0], "machine-1:4711:1", 5.0, 0)
        if got is not None:
            store.release(got)

    for name in _NAMES:
        replace(name)
        store.note(name, "x" * 60, 3600.0)
    return {
        "generation": store.generation,
        "replace": replace,
        "view 1": lambda: store.view(_NAMES[:1]),
        "view 10": lambda: store.view(_NAMES),
        "acquire + release": lease,
        "note": lambda: store.note("backoff", "x" * 60, 60.0),
        "notes 10": lambda: store.view((), _NAMES),
        "take": lambda: store.take([Ration("calls", 10**9, 86_400.0)]),
        "used": lambda: store.used(["calls"]),
        "record_event": lambda: store.record_event("x" * 120),
    }


def microseconds(work: Callable[[], object], times: int) -> list[float]:
    """Call `work` so often, at most for `_ROW_SECONDS`, and return what each call took."""
    work()
    taken: list[float] = []
    end = time.monotonic() + _ROW_SECONDS
    while len(taken) < times and time.monotonic() < end:
        before = time.perf_counter_ns()
        work()
        taken.append((time.perf_counter_ns() - before) / 1000)
    return taken


@contextlib.contextmanager
def redis_of_our_own(folder: Path) -> Iterator[str | None]:
    """Run a redis-server on a free port of loopback and yield its address, None where the program is missing."""
    program = shutil.which("redis-server", path="/usr/bin:/usr/local/bin:/usr/sbin")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - a fixed command line
    try:
        yield _when_it_answers(f"redis://127.0.0.1:{port}/0")
    finally:
        process.terminate()
        process.wait(10)


def _when_it_answers(url: str) -> str:
    store, end = open_store(url), time.monotonic() + _START_SECONDS
    while True:
        try:
            store.generation()
        except StoreUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return url


def report(url: str, times: int) -> None:
    """Print the row of every operation of one store."""
    store = open_store(url)
    for name, work in operations(store).items():
        taken = microseconds(work, times)
        middle, late = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        kind = url.partition(":")[0]
        click.echo(f"{kind:<8} {name:<18} {middle:>9.1f} us   p99 {late:>9.1f} us   {len(taken)} calls")


@click.command(help=__doc__)
@click.option("--times", default=1000, show_default=True, type=click.IntRange(10, 100_000), help="Of each.")
@click.option("--redis", metavar="URL", help="Another Redis than one of its own; wxsign-bench is its prefix.")
def main(times: int, redis: str | None) -> None:
    """Measure the three stores one after the other."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        urls = ["memory:", f"sqlite:///{name}/wxsign.db"]
        given = redis or stack.enter_context(redis_of_our_own(Path(name)))
        if given is None:
            click.echo("redis-server is not installed: no figures of it", err=True)
        else:
            urls.append(f"{given}{'&' if '?' in given else '?'}prefix=wxsign-bench")
        for url in urls:
            report(url, times)


if __name__ == "__main__":
    main()
