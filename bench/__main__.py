"""Prints what one /jsconfig costs, beside a bare WSGI constant, a Flask view, nginx, and what others serve in Node.

All servers run at the same time, each with two processes (gunicorn's and Granian's with four threads), without an access log but
nginx's. Rounds go through them in turn, so that whatever else the machine does meets all of them; ratios are made within a round.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from bench import front, in_process, peers, servers
from bench.load import CONNECTIONS, answer_of, run_load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from bench.servers import Server

_PAGE = "https://m.example.com/activity/2026/spring?from=singlemessage&share_id=0123456789abcdef&lang=zh_CN"
_PATH = f"/jsconfig?url={quote(_PAGE, safe='')}"
_LISTS = ("jsApiList", "openTagList")
_RATE, _CPU = "requests_per_second", "cpu_microseconds"
# What is worth comparing: what of one server is divided by that of another.
_RATIOS = (
    (_CPU, "wxsign", "bare"),
    (_CPU, "wxsign", "flask view"),
    (_CPU, "wxsign granian", "bare granian"),
    (_RATE, "wxsign granian", "wxsign"),
    (_RATE, "wxsign granian", "wechat-jssdk"),
    (_RATE, "wxsign granian", "co-wechat-api"),
    (_RATE, "wxsign granian", "fastify"),
    (_RATE, "wxsign", "wechat-jssdk"),
    (_RATE, "nginx cache", "nginx constant"),
    (_RATE, "nginx cache", "fastify"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One server in one round."""

    cpu_microseconds: float
    requests_per_second: float


def measure(target: Server, seconds: int) -> Sample:
    """Load one server and read what its workers used meanwhile."""
    before = target.cpu_seconds()
    load = run_load(target.port, _PATH, seconds)
    used = target.cpu_seconds() - before
    return Sample(used / load.requests * 1e6, load.requests / load.seconds)


def spread(values: list[float], digits: int) -> str:
    """Return the median and the range."""
    low, middle, high = (
        f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle:>8} ({low}-{high})"


def report(targets: Sequence[Server], rounds: list[dict[str, Sample]]) -> None:
    """Print the figures of each server, then the ratios."""
    for target in targets:
        cpu = spread([one[target.name].cpu_microseconds for one in rounds], 0)
        rate = spread([one[target.name].requests_per_second for one in rounds], 0)
        memory = f"{target.pss_megabytes():.0f} MB a process"
        click.echo(f"{target.name:<16} CPU {cpu:<20} us/request   {rate:<28} requests/s   {memory}")
    for what, one, other in _RATIOS:
        if {one, other} <= rounds[0].keys():
            ratio = spread(
                [getattr(sample[one], what) / getattr(sample[other], what) for sample in rounds], 2
            )
            word = "CPU" if what == _CPU else "requests/s"
            click.echo(f"{f'{one} / {other}':<34} {word:<10} {ratio}")


class _Line:
    """The servers that are wanted, all of them where none is named, started one after the other."""

    def __init__(self, stack: ExitStack, folder: str, only: Sequence[str]) -> None:
        self._enter = stack.enter_context
        self._folder = folder
        self._only = only
        self._api_base = self._enter(servers.sandbox())
        self._environ = servers.service_environ(self._api_base, folder)
        self._service = self._enter(servers.serve("wxsign", self._environ))
        self.answer = answer_of(self._service.port, _PATH)
        self.targets = [self._service] if self._wanted("wxsign") else []

    def _wanted(self, name: str) -> bool:
        return not self._only or name in self._only

    def _add(self, name: str, start: Callable[[str], AbstractContextManager[Server]]) -> None:
        if self._wanted(name):
            self.targets.append(self._enter(start(name)))

    def add_applications(self) -> None:
        """A constant and a Flask view beside the service, and the service under Granian."""
        fields = json.dumps(self.answer.headers)
        size = {"BENCH_BODY_BYTES": str(len(self.answer.body)), "BENCH_HEADERS": fields}
        self._add("bare", lambda name: servers.gunicorn(name, "bench.bare:app", size))
        self._add("flask view", lambda name: servers.gunicorn(name, "bench.flask_view:app", {}))
        if find_spec("granian") is None:
            click.echo("Granian is not installed: no figures of it", err=True)
            return
        environ = {**self._environ, "WXSIGN_SERVER": "granian"}
        self._add("bare granian", lambda name: servers.granian(name, "bench.bare:app", size))
        self._add("wxsign granian", lambda name: servers.serve(name, environ))

    def add_nginx(self) -> None:
        """nginx before the service, with and without its micro-cache, and alone."""
        if front.program() is None:
            click.echo("nginx is not installed: no figures of it", err=True)
            return
        folder, service, answer = self._folder, self._service, self.answer
        self._add("nginx", lambda name: front.nginx(name, folder, backend=service))
        for granian in [target for target in self.targets if target.name == "wxsign granian"]:
            self._add("nginx granian", lambda name, it=granian: front.nginx(name, folder, backend=it))  # type: ignore[misc]
        self._add("nginx cache", lambda name: front.nginx(name, folder, backend=service, hot=True))
        self._add("nginx constant", lambda name: front.constant(name, folder, answer.body, answer.headers))

    def add_peers(self) -> None:
        """Others, in Node."""
        if not any(map(self._wanted, peers.PEERS)) or (modules := peers.installed()) is None:
            return
        answer = json.loads(self.answer.body)
        lists = {name: answer[name] for name in _LISTS}
        for peer in peers.PEERS:
            self._add(peer, lambda name: peers.peer(name, modules, self._api_base, lists, self._folder))


@click.command(help=__doc__)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 50))
@click.option(
    "--seconds", default=2, show_default=True, type=click.IntRange(1, 60), help="A server and round."
)
@click.option("--only", multiple=True, metavar="NAME", help="Measure this server alone; may be repeated.")
def main(rounds: int, seconds: int, only: tuple[str, ...]) -> None:
    """Start everything, warm it up, measure in rounds, and print."""
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk, which makes the load, is not installed (Debian: apt install wrk)")
    click.echo(
        f"in process CPU {in_process.microseconds(_PAGE, _PATH.partition('?')[2]):.1f} us/answer, no server around it"
    )
    with ExitStack() as stack:
        line = _Line(stack, stack.enter_context(tempfile.TemporaryDirectory()), only)
        for add in (line.add_applications, line.add_nginx, line.add_peers):
            add()
        targets = line.targets
        click.echo(
            f"{rounds} rounds of {seconds} s each, {CONNECTIONS} connections, {servers.PROCESSES} processes, "
            f"{len(line.answer.body)} bytes an answer, {os.cpu_count()} cores; median (range)"
        )
        for target in targets:
            run_load(target.port, _PATH, 1, warming_up=True)
        samples = []
        for number in range(rounds):
            turn = number % len(targets)
            samples.append({one.name: measure(one, seconds) for one in targets[turn:] + targets[:turn]})
        report(targets, samples)


if __name__ == "__main__":
    main()
