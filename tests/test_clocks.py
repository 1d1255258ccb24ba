"""Clocks that disagree, jump and stand still: whole services on machines of their own, on one store with a third clock."""

import logging
import threading

import pytest
from broker_desk import PATIENCE_SECONDS, TOKEN, desks
from machines_desk import Machines

from wxsign.credentials import TokenEndpoint
from wxsign.stores import Ration, SqliteStore

pytestmark = pytest.mark.days

HOUR = 3600
SKEWS = [(0, 0), (30, 0), (-30, 0), (30, -30)]


# skew between machines


@pytest.mark.parametrize("endpoint", [TokenEndpoint.STABLE, TokenEndpoint.CLASSIC])
@pytest.mark.parametrize("skews", SKEWS, ids=str)
def test_machines_whose_clocks_are_up_to_a_minute_apart_share_one_schedule(endpoint, skews):
    fleet = Machines(skews=skews, token_endpoint=endpoint)
    for now in fleet.run(2.2 * HOUR, step=10):
        if now % 60 == 0:
            assert fleet.usable_by_all(), now
    alike = Machines(token_endpoint=endpoint)
    alike.pass_time(2.2 * HOUR, step=5)
    assert fleet.all_calls() == alike.all_calls()


@pytest.mark.parametrize("skews", SKEWS, ids=str)
def test_every_machine_tells_the_same_seconds_left_and_the_same_expiry_whatever_its_own_clock_says(skews):
    fleet = Machines(skews=skews)
    fleet.pass_time(1000, step=10)
    answers = [service.access_token("default") for service in fleet.services]
    assert {answer.expires_in_seconds for answer in answers} == {7200 - 990}
    assert len({answer.expires_at for answer in answers}) == 1


def test_a_machine_whose_clock_is_off_takes_and_gives_up_leases_like_any_other():
    fleet = Machines(skews=(30, -30))
    turns = []
    for number in (0, 1, 0, 1):
        fleet.seconds += 61
        fleet.asleep = {1 - number}
        fleet.tick()
        turns.append(fleet.services[number].broker.standing(fleet.services[number]._tickets["default"])[0])
    versions = [held.credential.version for held in turns]
    assert versions == sorted(set(versions))
    assert fleet.all_calls() == {"stable_token": 1, "token": 0, "getticket": 4}


@pytest.mark.parametrize(
    ("skew", "reported"), [(0, False), (5, False), (-5, False), (5.5, True), (-30, True)]
)
def test_a_machine_over_five_seconds_from_the_stores_clock_is_reported_and_serves_on(skew, reported, caplog):
    fleet = Machines(skews=(0, skew))
    fleet.pass_time(3)
    sound, skewed = (service.readiness() for service in fleet.services)
    assert (sound.state, sound.problems) == ("ready", ())
    assert skewed.ready
    assert skewed.problems == (("clock_skewed",) if reported else ())
    assert skewed.state == ("degraded" if reported else "ready")
    assert fleet.services[1].broker.link.clock_skewed is reported
    said = [record for record in caplog.records if record.getMessage() == "wxsign.clock_skewed"]
    assert [record.fields["ahead_of_store_seconds"] for record in said] == ([skew] if reported else [])
    assert fleet.usable_by_all()


def test_once_the_clock_is_set_right_the_report_ends_and_begins_anew_with_the_next_step(caplog):
    fleet = Machines(skews=[20])
    fleet.pass_time(3)
    fleet.skews[0] = 0
    fleet.pass_time(1)
    assert fleet.services[0].readiness().problems == ()
    fleet.skews[0] = -20
    fleet.pass_time(3)
    assert fleet.services[0].readiness().problems == ("clock_skewed",)
    assert caplog.messages.count("wxsign.clock_skewed") == 2


def test_a_store_that_takes_the_machines_own_clock_never_disagrees_with_it(tmp_path):
    fleet = Machines(1, store=lambda clock: SqliteStore(tmp_path / "wxsign.db", clock))
    fleet.store_step = fleet.skews[0] = 40
    fleet.pass_time(2)
    assert fleet.services[0].readiness().problems == ()


# steps of clocks under a running fleet


@pytest.mark.parametrize("step", [-7200, -30, -6, 6, 30, 7200])
@pytest.mark.parametrize("clock", ["wall", "store"])
def test_a_step_of_a_clock_costs_no_signature_and_hardly_a_call(clock, step, caplog):
    caplog.set_level(logging.CRITICAL)
    fleet, still = Machines(), Machines()
    for desk in (fleet, still):
        desk.pass_time(600)
    if clock == "wall":
        fleet.skews = [step, step]
    else:
        fleet.store_step = step
    for now in fleet.run(2 * HOUR, step=10):
        if now % 20 == 0:
            assert fleet.usable_by_all(), now
    still.pass_time(2 * HOUR, step=5)
    expected = still.all_calls()
    assert fleet.calls("stable_token") == expected["stable_token"]
    # A poll more here and there: looks and polls are out of step by a fraction of a second.
    assert fleet.calls("getticket") <= 1.1 * expected["getticket"]


def test_only_the_timestamp_of_a_signature_follows_the_wall_clock():
    fleet = Machines(1)
    fleet.pass_time(10)
    before = fleet.services[0].jsconfig("https://m.example.com/")
    token = fleet.services[0].access_token("default")
    fleet.skews[0] = -HOUR
    after = fleet.services[0].jsconfig("https://m.example.com/")
    assert before.timestamp - after.timestamp == HOUR
    assert fleet.services[0].access_token("default").expires_in_seconds == token.expires_in_seconds


@pytest.mark.parametrize("step", [-30, 30])
def test_a_process_that_starts_after_a_step_of_the_stores_clock_serves_what_it_finds(step):
    fleet = Machines()
    fleet.pass_time(10)
    before = fleet.all_calls()
    fleet.store_step = step
    fleet.restart(1)
    assert fleet.usable_by_all()
    fleet.tick()
    assert fleet.usable_by_all()
    # A record from the future is due at once, for nobody can tell how old it is.
    assert fleet.calls("stable_token") - before["stable_token"] == (1 if step < 0 else 0)


@pytest.fixture(params=["memory", "sqlite"])
def desk(request):
    with desks(request.param) as desk:
        yield desk


def test_a_verdict_does_not_outlive_its_ten_seconds_by_a_step_back(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    assert worker.report("token-1") == ("token-1", True)
    desk.wall.now -= HOUR
    desk.boot.now += 11
    desk.wechat.dead.add("token-1")
    desk.wechat.values["access_token"] = "token-2"
    assert worker.report("token-1") == ("token-2", False)


def test_a_ration_used_up_before_a_step_back_is_opened_anew_and_does_not_last_longer(desk):
    desk.store.take([Ration("report-gap", 1, 30)])
    assert desk.store.take([Ration("report-gap", 1, 30)]) == 30
    desk.wall.now -= HOUR
    assert desk.store.take([Ration("report-gap", 1, 30)]) == 0
    assert 0 < desk.store.take([Ration("report-gap", 1, 30)]) <= 30


# a machine that sleeps: its boot clock and its wall clock both go on


def test_a_machine_that_wakes_up_takes_over_what_the_others_fetched_without_a_call():
    fleet = Machines(ticket_life_seconds=600)
    fleet.pass_time(5)
    fleet.asleep = {1}
    fleet.pass_time(3 * HOUR, step=5)
    fleet.asleep = set()
    before = fleet.all_calls()
    assert fleet.sign(1) == "ok"
    assert fleet.token(1) == fleet.token(0)
    assert fleet.all_calls() == before
    fleet.tick()
    assert fleet.usable_by_all()


def test_a_fleet_that_slept_through_every_expiry_fetches_anew_once():
    fleet = Machines()
    fleet.pass_time(5)
    before = fleet.all_calls()
    fleet.seconds += 3 * HOUR
    assert fleet.usable_by_all()
    assert fleet.calls("stable_token") - before["stable_token"] == 1
    assert fleet.calls("getticket") - before["getticket"] == 1


@pytest.mark.parametrize("slept", [9, 600, 3 * HOUR])
def test_a_machine_that_falls_asleep_in_the_middle_of_a_call_overwrites_nothing_when_it_wakes(slept):
    fleet = Machines(token_endpoint=TokenEndpoint.CLASSIC)
    fetch, awake, answered = fleet.client.classic_token, threading.Event(), threading.Event()

    def sleep_before_the_answer_is_read(*arguments, **more):
        fleet.client.classic_token = fetch
        granted = fetch(*arguments, **more)
        answered.set()
        awake.wait(PATIENCE_SECONDS)
        return granted

    fleet.client.classic_token = sleep_before_the_answer_is_read
    sleeper, other = fleet.services
    sleeper.broker.watch()
    assert answered.wait(PATIENCE_SECONDS)
    fetching, fleet._threads = fleet._threads, []
    fleet.asleep = {0}
    fleet.pass_time(slept, step=min(slept, 60))
    fleet.asleep = set()
    current = other.broker.get(fleet.token_key)
    awake.set()
    for thread in fetching:
        thread.join(PATIENCE_SECONDS)
    assert sleeper.broker.get(fleet.token_key).value == current.value
    assert fleet.store.view([fleet.token_key.name]).records[fleet.token_key.name] == current.credential
    assert fleet.alive(current.value)
