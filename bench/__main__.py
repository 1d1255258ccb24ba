"""Prints what one /jsconfig costs, beside a bare WSGI application and an idiomatic Flask view.

All three run at the same time under the same gunicorn settings, access log included. Rounds alternate between them, so
that whatever else the machine does meets all three; ratios are made within a round.
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import quote

import click

from bench import in_process
from bench.load import CLIENT_PROCESSES, CONNECTIONS_A_PROCESS, read_answer, request_to, run_load
from bench.servers import Server, sandbox, server, service_environ

_PAGE = "https://m.example.com/activity/2026/spring?from=singlemessage&share_id=0123456789abcdef&lang=zh_CN"
_PATH = f"/jsconfig?url={quote(_PAGE, safe='')}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One server in one round."""

    cpu_microseconds: float
    requests_per_second: float


def measure(target: Server, requests: int) -> Sample:
    """Load one server and read what its workers used meanwhile."""
    before = target.cpu_seconds()
    load = run_load(target.port, _PATH, requests)
    used = target.cpu_seconds() - before
    return Sample(used / load.requests * 1e6, load.requests / load.seconds)


def answer_of(target: Server) -> bytes:
    """Return the body of one answer."""
    with socket.create_connection(("127.0.0.1", target.port), 15) as connection:
        connection.sendall(request_to(target.port, _PATH))
        return read_answer(connection)


def spread(values: list[float], digits: int) -> str:
    """Return the median and the range."""
    low, middle, high = (
        f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle:>7} ({low}-{high})"


def report(rounds: list[dict[str, Sample]]) -> None:
    """Print the figures of each server, then the ratios of the service to the others."""
    for name in rounds[0]:
        cpu = spread([one[name].cpu_microseconds for one in rounds], 0)
        rate = spread([one[name].requests_per_second for one in rounds], 0)
        click.echo(f"{name:<10} CPU {cpu} us/request   {rate} requests/s")
    for other in ("bare", "flask view"):
        cpu = spread([one["wxsign"].cpu_microseconds / one[other].cpu_microseconds for one in rounds], 2)
        rate = spread(
            [one["wxsign"].requests_per_second / one[other].requests_per_second for one in rounds], 2
        )
        click.echo(f"wxsign / {other:<10} CPU {cpu}   requests/s {rate}")


@click.command(help=__doc__)
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1, 50))
@click.option(
    "--requests",
    default=3000,
    show_default=True,
    type=click.IntRange(100, 100_000),
    help="A server and round.",
)
def main(rounds: int, requests: int) -> None:
    """Start everything, warm it up, measure in rounds, and print."""
    click.echo(
        f"in process CPU {in_process.microseconds(_PAGE, _PATH.partition('?')[2]):.1f} us/answer, no server around it"
    )
    with ExitStack() as stack:
        api_base = stack.enter_context(sandbox())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        service = stack.enter_context(server("wxsign", "wxsign.wsgi:app", service_environ(api_base, folder)))
        size = {"BENCH_BODY_BYTES": str(len(answer_of(service)))}
        bare = stack.enter_context(server("bare", "bench.bare:app", size))
        view = stack.enter_context(server("flask view", "bench.flask_view:app", {}))
        targets = [service, bare, view]
        click.echo(
            f"{rounds} rounds of {requests} requests each, {CLIENT_PROCESSES * CONNECTIONS_A_PROCESS} connections, "
            f"{size['BENCH_BODY_BYTES']} bytes an answer, {os.cpu_count()} cores; median (range)"
        )
        for target in targets:
            run_load(target.port, _PATH, requests // 2)
        samples = []
        for number in range(rounds):
            turn = number % len(targets)
            samples.append({one.name: measure(one, requests) for one in targets[turn:] + targets[:turn]})
    report([{one.name: sample[one.name] for one in targets} for sample in samples])


if __name__ == "__main__":
    main()
