"""The chaos harness: one of its scenarios, kept; and its judgement, which must be able to find fault.

`make chaos` runs all of them.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fleet import Shot

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))

from chaos.judge import Seen, judged  # noqa: E402 -- the checkout is on the path only now
from chaos.report import Outcome, page  # noqa: E402 -- the same
from chaos.scenarios import SCENARIOS, Scenario  # noqa: E402 -- the same
from chaos.traffic import Look, Ticket  # noqa: E402 -- the same

NOON = 1_800_000_000.0


@pytest.mark.fleet
def test_everything_promised_is_kept_while_the_worker_that_fetches_is_stopped(
    require_program, tmp_path_factory
):
    require_program("nginx")
    require_program("redis-server")
    name = "lease-holder-stopped"
    folder = tmp_path_factory.mktemp("chaos")
    command = [sys.executable, "-m", "chaos", "--scenario", name, "--seconds", "6", "--keep", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert f"| {name} |" in done.stdout


SCENARIO = Scenario("any", "anything", SCENARIOS["redis-killed"].fault, trace="felt")


def shot(at, status=200, seconds=0.001):
    return Shot(NOON + at, seconds, status, b"")


def seen(**changes):
    """A fault of 8 s under one request a second, in which nothing went wrong."""
    shots = [shot(second) for second in range(-4, 20)]
    ordinary = Seen(
        shots=shots,
        verdicts=[True] * len(shots),
        tickets=[Ticket(NOON - 60, NOON + 60)],
        looks=[Look(NOON - 1, "ready", ()), Look(NOON + 5, "degraded", ("store_unavailable",))],
        calls=[call(-50), call(1), call(2)],
        log="felt",
        fault_from=NOON,
        fault_until=NOON + 8,
    )
    return replace(ordinary, **changes)


def call(at, seconds=0.1, endpoint="getticket", **more):
    ordinary = {"errcode": 0, "status": 200, "fault": None, "remote_addr": "127.0.0.1"}
    return {"at": NOON + at, "seconds": seconds, "endpoint": endpoint, **ordinary, **more}


def breaches(scenario=SCENARIO, **changes):
    return judged(scenario, seen(**changes)).breaches(scenario)


def with_one(shots, extra, verdict):
    return {"shots": [*shots, extra], "verdicts": [True] * len(shots) + [verdict]}


def test_a_run_in_which_nothing_went_wrong_breaks_nothing():
    row = judged(SCENARIO, seen())
    assert row.breaches(SCENARIO) == []
    assert (row.requests, row.answered, row.calls, row.in_flight) == (24, 24, 2, 1)
    assert row.quiet_ms == (pytest.approx(1.0), pytest.approx(1.0))
    assert row.recovery_seconds == 0


def test_a_fault_that_left_no_trace_proves_nothing():
    assert breaches(log="all quiet") == ["the fault left no trace in the logs"]


@pytest.mark.parametrize("status", [0, 500, 502, 503])
def test_a_request_without_an_answer_is_lost_while_a_ticket_was_usable(status):
    assert len(breaches(**with_one(seen().shots, shot(3, status), None))) == 1


def test_it_is_not_lost_where_no_ticket_was_to_be_had():
    shots = [shot(3, 503)]
    outage = replace(SCENARIO, outage=True)
    for tickets, calls in (
        ([Ticket(NOON - 60, NOON + 2)], seen().calls),
        # WeChat made one, and its answer never came.
        ([Ticket(NOON, NOON + 60)], [call(0.5, fault="truncated")]),
    ):
        row = judged(SCENARIO, seen(shots=shots, verdicts=[None], tickets=tickets, calls=calls))
        assert (row.lost, row.none_to_be_had) == (0, 1)
        assert row.breaches(outage) == []
        assert len(row.breaches(SCENARIO)) == 1


def test_a_machine_that_wechat_refuses_asks_it_once():
    alone = replace(SCENARIO, shut_out="127.0.0.2")
    assert breaches(alone, calls=[call(-50), call(1, remote_addr="127.0.0.2"), call(2)]) == []
    many = [call(-50), *(call(at, remote_addr="127.0.0.2") for at in (1, 2))]
    assert len(breaches(alone, calls=many)) == 1


def test_a_refused_signature_is_excused_by_a_rotation_for_three_seconds_and_not_where_the_old_lives_on():
    rotated = [Ticket(NOON - 60, NOON + 3), Ticket(NOON + 3, NOON + 90)]
    soon = with_one(seen().shots, shot(5.9), verdict=False)
    late = with_one(seen().shots, shot(6.2), verdict=False)
    assert breaches(**soon, tickets=rotated) == []
    assert len(breaches(**late, tickets=rotated)) == 1
    assert len(breaches(**soon)) == 1
    strict = replace(SCENARIO, rotation_excuses=False)
    assert len(breaches(strict, **soon, tickets=rotated)) == 1


def test_calls_in_flight_are_counted_for_each_credential():
    assert breaches(calls=[call(1, 1), call(1.5, endpoint="stable_token")]) == []
    assert len(breaches(calls=[call(1, 1), call(1.5)])) == 1
    assert breaches(replace(SCENARIO, in_flight=2), calls=[call(1, 1), call(1.5)]) == []
    assert len(breaches(replace(SCENARIO, in_flight=2), calls=[call(1, None), call(2), call(2.05)])) == 1
    # The sandbox notices a little late that a caller has hung up.
    assert breaches(calls=[call(1, 4.4, status=0), call(5.05)]) == []


def test_recovery_lasts_until_pages_and_workers_have_what_they_need():
    pages = with_one(seen().shots, shot(19, 503), None)
    ran_out = [Ticket(NOON - 60, NOON + 2)]
    assert len(breaches(replace(SCENARIO, outage=True), **pages, tickets=ran_out)) == 1
    assert len(breaches(looks=[Look(NOON + 19, "degraded", ("store_unavailable",))])) == 1
    assert len(breaches(looks=[Look(NOON + 19, "unready", ())])) == 1
    assert breaches(looks=[Look(NOON + 19, "degraded", ("wechat_busy",))]) == []
    # What happens in a moment is over in that moment.
    lost = seen(looks=[Look(NOON + 5, "degraded", ("store_unavailable",))])
    assert judged(SCENARIO, lost).recovery_seconds == 0
    assert judged(replace(SCENARIO, instant=True), lost).recovery_seconds == 5


def test_the_page_says_what_was_broken_and_what_was_not_run():
    row = judged(SCENARIO, seen(log=""))
    broken = Outcome(SCENARIO, row, tuple(row.breaches(SCENARIO)))
    skipped = Outcome(SCENARIO, None, (), "Skipped: not allowed here.")
    text = page([broken, skipped], 80, 8, 1, "Python")
    assert "**not** met" in text
    assert "no trace in the logs" in text
    assert "Skipped: not allowed here." in text
    kept = page([Outcome(SCENARIO, row, ())], 80, 8, 1, "Python")
    assert "Every criterion was met." in kept
