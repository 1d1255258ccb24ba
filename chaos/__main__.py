"""Breaks an installation in one way after the other, under a constant load, and prints what came of it.

Each scenario has an installation of its own: two gunicorns with four workers each on one Redis (or one gunicorn on SQLite),
behind nginx, with the sandbox as WeChat. Ends with status 1 when a criterion was not met.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from fleet import PAGE

from chaos.judge import OK, Row, Seen, judged, troubled
from chaos.report import Outcome, page, table
from chaos.scenarios import SCENARIOS, Scenario
from chaos.site import Site
from chaos.traffic import Traffic, Watch, verdicts_on

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIET_SECONDS = 4.0
# Nothing bad for this long, and it counts as over.
CALM_SECONDS = 3.0


def observed(scenario: Scenario, here: Path, rate: float, seconds: float) -> Seen:
    """Run a scenario and return what was seen of it. Raises OSError where this machine does not allow it."""
    with Site(here, scenario.store, scenario.lives) as site:
        sockets = [machine.socket for machine in site.machines]
        with Traffic(site.port, rate) as traffic, Watch(site.sandbox, sockets) as watch:
            time.sleep(QUIET_SECONDS)
            logs = {machine: machine.log_ends() for machine in site.machines}
            fault_from = time.time()
            with scenario.fault(site):
                time.sleep(seconds)
            fault_until = time.time()
            _wait_for_calm(traffic, watch, fault_until + scenario.recovery_seconds + CALM_SECONDS)
        shots = sorted(traffic.shots, key=lambda shot: shot.at)
        return Seen(
            shots=shots,
            verdicts=verdicts_on(site.sandbox, shots, PAGE),
            tickets=watch.tickets,
            looks=tuple(watch.looks),
            calls=site.sandbox.get("requests")["requests"],
            log="".join(machine.logged_since(ends) for machine, ends in logs.items()),
            fault_from=fault_from,
            fault_until=fault_until,
        )


def _wait_for_calm(traffic: Traffic, watch: Watch, deadline: float) -> None:
    calm_since = time.time()
    seen = len(traffic.shots), len(watch.looks)
    while time.time() < min(deadline, calm_since + CALM_SECONDS):
        time.sleep(0.2)
        shots, looks = traffic.shots[seen[0] :], watch.looks[seen[1] :]
        seen = seen[0] + len(shots), seen[1] + len(looks)
        if any(shot.status != OK for shot in shots) or any(troubled(look) for look in looks):
            calm_since = time.time()


def tried(scenario: Scenario, here: Path, rate: float, seconds: float) -> Outcome:
    """Run a scenario and judge it."""
    length = scenario.seconds or seconds
    try:
        seen = observed(scenario, here, rate, length)
    except PermissionError as refused:
        return Outcome(scenario, None, (), f"Skipped: {refused}; this scenario needs root.")
    row: Row = judged(scenario, seen)
    return Outcome(scenario, row, tuple(row.breaches(scenario)))


@click.command(help=__doc__)
@click.option(
    "--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), help="By default all of them."
)
@click.option(
    "--seconds",
    default=8.0,
    show_default=True,
    help="How long a fault lasts, where the scenario does not say.",
)
@click.option("--rate", default=80.0, show_default=True, help="Requests a second.")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Leave every log in this folder."
)
@click.option(
    "--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the page of the results."
)
def main(names: Sequence[str], seconds: float, rate: float, keep: Path | None, write: Path | None) -> None:
    """Run the scenarios, print a line for each, and end with 1 when a criterion was not met."""
    for program in ("nginx", "redis-server"):
        if shutil.which(program, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin") is None:
            raise click.ClickException(f"{program} is not installed (Debian: apt install {program}).")
    begun = time.monotonic()
    outcomes = []
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        for name in names or SCENARIOS:
            here = folder / name
            here.mkdir(parents=True)
            outcomes.append(tried(SCENARIOS[name], here, rate, seconds))
            click.echo(outcomes[-1].line)
    click.echo(table(outcomes))
    if write is not None:
        minutes = (time.monotonic() - begun) / 60
        write.write_text(page(outcomes, rate, seconds, minutes, f"Python {platform.python_version()}"))
    broken = [outcome for outcome in outcomes if outcome.breaches]
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
