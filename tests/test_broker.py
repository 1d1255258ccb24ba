"""What a process serves, who waits, and who does not: rules 1, 2, 3 and 7, on real stores and by fake clocks."""

import threading
import time

import pytest
from broker_desk import (
    APP,
    CLASSIC,
    CLASSIC_TICKET,
    DOWN,
    PATIENCE_SECONDS,
    TICKET,
    TOKEN,
    Wire,
    desks,
    eventually,
    key,
    refused,
    together,
)

from wxsign.broker import Surroundings
from wxsign.broker.events import teller
from wxsign.broker.near import NearCache
from wxsign.credentials import Credential
from wxsign.errors import CredentialUnavailable, WeChatBadAnswer, WeChatUnreachable
from wxsign.wechat import Granted


@pytest.fixture(params=["memory", "sqlite"])
def desk(request):
    with desks(request.param) as desk:
        yield desk


@pytest.fixture
def swift():
    """A desk for long stories."""
    with desks("memory") as desk:
        yield desk


def wechat_is_down(desk):
    desk.wechat.always = {"access_token": DOWN, "jsapi": DOWN, "probe": DOWN}


# rule 1: usable beats policy


@pytest.mark.parametrize(
    "name", [TOKEN, TICKET, CLASSIC, CLASSIC_TICKET], ids=lambda name: f"{name.kind}-{name.endpoint}"
)
def test_a_usable_credential_is_served_to_its_last_second_while_wechat_is_down_and_never_after(desk, name):
    worker = desk.worker()
    value = worker.hold(name)
    wechat_is_down(desk)
    for left in (7000, 300, 270, 60, 5, 1, 0.25, 1 / 64):
        desk.advance(worker.broker.standing(name)[0].credential.latest_expiry - desk.wall() - left)
        worker.tick()
        assert worker.get(name) == value
    desk.advance(1 / 64)
    with pytest.raises(CredentialUnavailable) as unavailable:
        worker.get(name)
    assert unavailable.value.cause.code == "wechat_timeout"


def test_a_refresh_that_runs_does_not_take_the_credential_away(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    gate = threading.Event()
    desk.wechat.script["access_token"].append(lambda: gate.wait(PATIENCE_SECONDS) and "token-2")
    desk.advance(7000)
    worker.broker.watch()
    eventually(lambda: desk.wechat.count("access_token") == 2)
    assert worker.get(TOKEN) == "token-1"
    gate.set()
    worker.join()
    assert worker.get(TOKEN) == "token-2"


@pytest.mark.parametrize(
    "trouble",
    [
        DOWN,
        WeChatUnreachable("dns", "/cgi-bin/stable_token"),
        WeChatBadAnswer("bad_value", "/cgi-bin/stable_token"),
        WeChatBadAnswer("not_json", "/cgi-bin/stable_token"),
        refused(-1),
        refused(40013),
        refused(40164),
        refused(45009),
        refused(99999),
    ],
    ids=lambda trouble: trouble.code,
)
def test_whatever_goes_wrong_a_bad_answer_replaces_nothing(desk, trouble):
    worker = desk.worker()
    worker.hold(TICKET)
    desk.wechat.always = {"access_token": trouble, "jsapi": trouble}
    before = desk.stored(TOKEN)
    desk.advance(7000)
    worker.tick()
    worker.tick()
    assert desk.stored(TOKEN) == before
    assert (worker.get(TOKEN), worker.get(TICKET)) == ("token-1", "ticket-1")


# rule 2: nobody waits who need not


def test_while_usable_nothing_that_hangs_is_waited_for(desk):
    wire = Wire(desk.store)
    worker = desk.worker(store=wire)
    worker.hold(TICKET)
    worker.tick()
    gate, here = threading.Event(), threading.current_thread()

    def hang(name):
        assert threading.current_thread() is not here, f"a request touched the store: {name}"
        gate.wait(PATIENCE_SECONDS)

    wire.before = hang
    desk.wechat.always = {"jsapi": lambda: gate.wait(PATIENCE_SECONDS) and None}
    desk.advance(61)
    watching = threading.Thread(target=worker.tick)
    watching.start()
    before = time.monotonic()
    for _ in range(100):
        assert worker.get(TICKET) == "ticket-1"
    assert time.monotonic() - before < 0.05 * 100
    gate.set()
    watching.join(PATIENCE_SECONDS)


def test_no_lock_is_held_while_wechat_or_the_store_is_waited_for(desk):
    wire = Wire(desk.store)
    worker = desk.worker(store=wire)
    worker.hold(TICKET)
    free = []

    def look(_name=None):
        lock = worker.broker._near.changed
        free.append(lock.acquire(timeout=1))
        if free[-1]:
            lock.release()

    wire.before = look
    desk.wechat.always = {"jsapi": look, "access_token": look}
    desk.advance(7000)
    worker.tick()
    assert len(free) > 10
    assert all(free)


def test_at_the_very_moment_of_expiry_nobody_meets_an_error():
    moments = [0.0]
    near = NearCache(8, lambda: moments.pop(0) if moments[1:] else moments[0])
    near.adopt(TOKEN, Credential("value", 1, 10, 0.0, 10.0, 10.0), 0.0)
    for looks in range(4):
        moments[:] = [9.999] * looks + [10.0]
        held = near.usable(TOKEN)
        assert held is None or held.value == "value"


def test_the_near_cache_holds_every_configured_key(desk):
    keys = [key(app=f"wx{number:016}") for number in range(20)]
    worker = desk.worker(maxsize=20)
    for name in keys:
        worker.hold(name)
    desk.wechat.always["access_token"] = DOWN
    assert [worker.get(name) for name in keys] == [f"access_token-of-{name.app_id}" for name in keys]


# rule 3: empty is the only reason to wait


def test_a_cold_start_of_a_whole_fleet_makes_one_token_call_and_one_ticket_call(desk):
    workers = desk.fleet(4)
    values = together([worker.get for worker in workers for _ in range(12)])
    assert set(values) == {"ticket-1"}
    assert [call.what for call in desk.wechat.calls] == ["access_token", "jsapi"]
    assert desk.wechat.calls[1].access_token == "token-1"


def test_a_worker_that_starts_later_makes_no_call(desk):
    desk.worker().hold(TICKET)
    late = desk.worker()
    assert (late.get(TICKET), late.get(TOKEN)) == ("ticket-1", "token-1")
    assert len(desk.wechat.calls) == 2


def test_a_restart_of_all_workers_makes_no_call_beyond_the_polls_that_are_due(desk):
    desk.worker(warm=[TICKET]).tick()
    assert len(desk.wechat.calls) == 2
    desk.advance(30)
    for worker in desk.fleet(4, warm=[TICKET]):
        worker.tick()
        assert worker.get() == "ticket-1"
    assert len(desk.wechat.calls) == 2


def test_a_cold_caller_is_told_the_cause_as_soon_as_it_is_known(desk):
    wechat_is_down(desk)
    worker = desk.worker()
    with pytest.raises(CredentialUnavailable) as first:
        worker.get(TICKET)
    assert first.value.cause.code == "wechat_timeout"
    before = time.monotonic()
    with pytest.raises(CredentialUnavailable) as known:
        worker.get(TICKET)
    assert time.monotonic() - before < 0.05
    assert known.value.cause.code == "wechat_timeout"
    assert 1 <= known.value.retry_after_seconds <= 3
    assert desk.wechat.count("access_token") == 1


def test_a_failure_of_one_worker_is_known_to_the_next_without_a_call(desk):
    desk.wechat.always["access_token"] = refused(40013)
    with pytest.raises(CredentialUnavailable):
        desk.worker().get(TICKET)
    with pytest.raises(CredentialUnavailable) as told:
        desk.worker().get(TICKET)
    assert told.value.cause.errcode == 40013
    assert told.value.retry_after_seconds == 60
    assert desk.wechat.count("access_token") == 1


def test_while_callers_are_refused_fetching_goes_on_in_the_background(desk):
    wechat_is_down(desk)
    worker = desk.worker()
    with pytest.raises(CredentialUnavailable):
        worker.get(TICKET)
    desk.wechat.always = {}
    desk.run(3)
    assert worker.get(TICKET) == "ticket-1"


def test_recovery_within_five_seconds_of_wechats_return_after_half_an_hour_away(swift):
    worker = swift.worker(warm=[TICKET])
    wechat_is_down(swift)
    swift.random = 0.999
    swift.run(1800)
    swift.wechat.always = {}
    swift.run(5)
    assert worker.get(TICKET) == "ticket-1"


def test_a_cold_caller_waits_ten_seconds_at_most(desk):
    gate, worker = threading.Event(), desk.worker()
    desk.wechat.always["access_token"] = lambda: gate.wait(PATIENCE_SECONDS) and None
    results = []
    caller = threading.Thread(target=lambda: results.extend(together([worker.get])))
    caller.start()
    eventually(lambda: desk.wechat.calls)
    desk.advance(9.9)
    assert caller.is_alive()
    desk.advance(0.1)
    caller.join(PATIENCE_SECONDS)
    assert isinstance(results[0], CredentialUnavailable)
    assert results[0].cause is None
    gate.set()
    worker.join()
    assert worker.get(TICKET) == "ticket-1"


@pytest.mark.parametrize(
    ("jitter", "gaps"), [(1.0, [2, 3, 3, 3]), (0.5, [1, 1.5, 1.5, 1.5]), (0.0, [0.5] * 4)]
)
def test_while_empty_the_backoff_is_at_most_three_seconds(swift, jitter, gaps):
    wechat_is_down(swift)
    swift.random = jitter
    swift.worker(warm=[TOKEN])
    swift.run(12, step=0.5)
    assert swift.wechat.gaps("access_token")[:4] == gaps


def test_while_usable_the_backoff_doubles_up_to_a_minute(swift):
    worker = swift.worker(warm=[TOKEN])
    worker.tick()
    swift.random = 1.0
    wechat_is_down(swift)
    swift.advance(6899 - 1)
    swift.run(298)
    assert swift.wechat.gaps("access_token")[1:] == [
        2,
        4,
        8,
        16,
        32,
        60,
        60,
        60,
    ]


def test_the_backoff_counts_from_the_start_of_the_failed_attempt(swift):
    def four_seconds():
        swift.advance(4)
        return DOWN

    swift.random = 1.0
    swift.wechat.always["access_token"] = four_seconds
    worker = swift.worker(warm=[TOKEN])
    worker.tick()
    worker.tick()
    assert swift.wechat.at("access_token") == [0, 4], "after 2 s of backoff, which are over"


def test_the_jitter_is_drawn_once_and_the_schedule_is_the_fleets(swift):
    wechat_is_down(swift)
    swift.random = 1.0
    workers = swift.fleet(4, warm=[TOKEN])
    workers[0].tick()
    swift.random = 0.0
    swift.run(1.5, step=0.5)
    assert swift.wechat.at("access_token") == [0]
    swift.run(0.5, step=0.5)
    assert swift.wechat.at("access_token") == [0, 2]


def test_needing_it_urgently_shortens_a_backoff_that_was_long(swift):
    worker = swift.worker(warm=[TOKEN])
    worker.tick()
    swift.random = 1.0
    wechat_is_down(swift)
    swift.advance(6899)
    swift.run(240)
    late = swift.wechat.at("access_token")[-1]
    assert late < 7140 < late + 60
    swift.wechat.always = {}
    swift.advance(7200 - 7140)
    worker.broker._near.seat(TOKEN).failed = None
    assert worker.get(TOKEN) == "token-1"


# answers that are slow, late or short


def test_a_life_of_seconds_is_lived_by_the_same_rules(swift):
    swift.wechat.lives = {"access_token": 30, "jsapi": 30}
    worker = swift.worker(warm=[TICKET])
    worker.tick()
    for _ in range(120):
        swift.run(1)
        assert worker.get(TICKET) == "ticket-1"
        assert worker.get(TOKEN) == "token-1"


def test_the_time_that_the_store_takes_is_not_added_to_a_life(desk):
    wire = Wire(desk.store)
    worker = desk.worker(store=wire)
    wire.before = lambda name: desk.advance(1.5) if name == "replace" else None
    worker.hold(TOKEN)
    wire.before = lambda _name: None
    wechat_is_down(desk)
    expiry = desk.stored(TOKEN).latest_expiry
    desk.advance(expiry - desk.wall() - 0.25)
    assert worker.get(TOKEN) == "token-1"
    desk.advance(0.25)
    with pytest.raises(CredentialUnavailable):
        worker.get(TOKEN)


def test_the_same_stable_token_again_is_an_ordinary_outcome(desk):
    worker = desk.worker(warm=[TOKEN])
    worker.tick()
    desk.advance(6900)
    desk.wechat.script["access_token"].extend(
        [Granted("token-1", 300), Granted("token-1", 285), Granted("token-2", 7200)]
    )
    desk.run(40)
    assert worker.outcomes() == ["refreshed", "unchanged", "unchanged", "refreshed"]
    assert desk.wechat.at("access_token") == [0, 6901, 6916, 6931]
    assert worker.get(TOKEN) == "token-2"
    assert worker.broker.standing(TOKEN)[1] is None


def test_a_classic_token_is_not_rotated_without_need(swift):
    worker = swift.worker(warm=[CLASSIC_TICKET])
    worker.tick()
    swift.advance(6900)
    swift.run(29)
    assert swift.wechat.count("access_token") == 1
    swift.run(1)
    assert swift.wechat.count("access_token") == 2


# rule 7, and how fast the fleet learns


def test_a_new_value_reaches_every_worker_within_one_look(desk):
    first, *others = desk.fleet(4, warm=[TOKEN])
    for worker in (first, *others):
        worker.tick()
    desk.wechat.values["access_token"] = "token-2"
    desk.advance(6900)
    first.tick()
    for worker in others:
        assert worker.get(TOKEN) == "token-1"
        worker.broker.watch()
        assert worker.get(TOKEN) == "token-2"
    assert desk.wechat.count("access_token") == 2


def test_who_asks_the_api_reads_what_was_written_before(desk):
    """With real Watchers, which look on their own only every second."""
    writer, reader = desk.fleet(2, watching=True)
    assert (writer.broker.fresh(TOKEN).value, reader.broker.fresh(TOKEN).value) == ("token-1", "token-1")
    desk.wechat.values["access_token"] = "token-2"
    writer.broker.refresh_now(TOKEN)
    assert reader.broker.fresh(TOKEN).value == "token-2"


def test_the_look_before_a_read_takes_fifty_milliseconds_at_most(desk):
    wire, gate = Wire(desk.store), threading.Event()
    worker = desk.worker(store=wire, watching=True)
    worker.broker.fresh(TOKEN)
    wire.before = lambda _name: gate.wait(PATIENCE_SECONDS)
    before = time.monotonic()
    assert worker.broker.fresh(TOKEN).value == "token-1"
    assert time.monotonic() - before < 0.5
    gate.set()


# one thread a key, eight a process


def test_a_hanging_account_delays_no_other(desk):
    gate = threading.Event()
    hanging, other = key(app="wxhanging"), key(app="wxother")
    worker = desk.worker(warm=[hanging, other])
    worker.tick()
    desk.wechat.values["access_token"] = "token-1"
    desk.wechat.script["access_token"].append(lambda: gate.wait(PATIENCE_SECONDS) and None)
    desk.advance(6900)
    worker.broker.watch()
    eventually(lambda: desk.wechat.count("access_token") == 4)
    worker.broker.watch()
    assert desk.wechat.count("access_token") == 4, "one fetch a key"
    gate.set()
    worker.join()


def test_the_last_slot_is_for_a_credential_that_is_empty(desk):
    gate = threading.Event()
    keys = [key(app=f"wx{number:016}") for number in range(12)]
    worker = desk.worker(warm=keys)
    for name in keys:
        worker.hold(name)
    desk.wechat.always["access_token"] = lambda: gate.wait(PATIENCE_SECONDS) and None
    desk.advance(6900)
    before = desk.wechat.count("access_token")
    worker.broker.watch()
    eventually(lambda: desk.wechat.count("access_token") == before + 7)
    worker.broker.watch()
    assert desk.wechat.count("access_token") == before + 7
    desk.wechat.always = {}
    assert worker.get(TOKEN) == "token-1"
    gate.set()
    worker.join()
    worker.tick()
    assert desk.wechat.count("access_token") == before + 8 + 5


def test_where_no_thread_can_be_had_the_usable_is_served_and_the_rest_tried_again(desk, caplog):
    worker = desk.worker(warm=[TOKEN])
    worker.tick()
    desk.advance(6900)
    worker.refuse_threads = True
    worker.tick()
    assert worker.get(TOKEN) == "token-1"
    assert desk.wechat.count("access_token") == 1
    worker.refuse_threads = False
    desk.run(1)
    assert desk.wechat.count("access_token") == 2
    assert "wxsign.no_thread" in caplog.messages


def test_an_unforeseen_error_is_logged_told_and_not_repeated_in_a_loop(swift, caplog):
    swift.wechat.always["access_token"] = ZeroDivisionError("something nobody thought of")
    worker = swift.worker()
    with pytest.raises(CredentialUnavailable) as told:
        worker.get(TOKEN)
    assert told.value.cause.code == "not_refreshed_broken"
    swift.run(60)
    assert swift.wechat.count("access_token") <= 21
    assert "wxsign.fetch_failed" in caplog.messages
    swift.wechat.always = {}
    swift.run(3)
    assert worker.get(TOKEN) == "token-1"


def test_an_observer_that_fails_stops_nothing(desk, caplog):
    worker = desk.worker()
    worker.broker._attempts._tell = teller((lambda _event: 1 / 0, worker._note))
    assert worker.get(TOKEN) == "token-1"
    worker.join()
    assert worker.outcomes() == ["refreshed"]
    assert "wxsign.observer_failed" in caplog.messages


# what is kept fresh


def test_what_nobody_asked_for_in_two_hours_is_left_alone_then_served_while_usable(swift):
    worker = swift.worker()
    worker.hold(TICKET)
    swift.run(7190, step=10)
    polled = swift.wechat.count("jsapi")
    assert polled > 100
    swift.run(120, step=10)
    swift.wechat.calls.clear()
    swift.run(600, step=10)
    assert swift.wechat.calls == []
    swift.advance(7200)
    assert worker.get(TICKET) == "ticket-1"
    assert swift.wechat.count("jsapi") == 1


def test_a_worker_that_was_asked_keeps_it_fresh_for_all(swift):
    asked, idle = swift.fleet(2)
    asked.hold(TICKET)
    idle.hold(TICKET)
    for _ in range(100):
        swift.run(100, step=50)
        asked.hold(TICKET)
    assert idle.get(TICKET) == "ticket-1"
    # At the start, after an hour, and every quarter of a minute before the end of the life.
    assert swift.wechat.at("access_token")[:3] == pytest.approx([0, 3600, 6900], abs=60)


def test_a_warm_account_is_fetched_before_anybody_asks_and_never_forgotten(swift):
    worker = swift.worker(warm=[TICKET])
    swift.run(3 * 7200, step=20)
    swift.wechat.always = {"access_token": DOWN, "jsapi": DOWN}
    assert worker.get(TICKET) == "ticket-1"
    assert [name.kind for name in worker.broker.wanted()] == ["access_token", "jsapi"]


def test_a_token_is_kept_fresh_with_the_ticket_that_needs_it(desk):
    worker = desk.worker()
    worker.hold(TICKET)
    assert worker.broker.wanted() == (TOKEN, TICKET)


# an operator's probe


def test_an_operators_probe_asks_at_once_whatever_schedule_and_doors_say(desk):
    desk.wechat.always["access_token"] = refused(40013)
    worker = desk.worker()
    with pytest.raises(CredentialUnavailable):
        worker.get(TOKEN)
    assert worker.broker.refresh_now(TOKEN).error.errcode == 40013
    desk.wechat.always = {}
    assert str(worker.broker.refresh_now(TOKEN).outcome) == "refreshed"
    assert str(worker.broker.refresh_now(TOKEN).outcome) == "unchanged"
    assert worker.get(TOKEN) == "token-1"
    assert desk.wechat.count("access_token") == 4


def test_a_probe_of_a_ticket_fetches_the_token_it_needs_first(desk):
    worker = desk.worker()
    assert str(worker.broker.refresh_now(TICKET).outcome) == "refreshed"
    assert [call.what for call in desk.wechat.calls] == ["access_token", "jsapi"]


def test_a_probe_of_a_ticket_is_made_with_a_new_token_where_the_old_one_died(desk):
    worker = desk.worker()
    worker.get(TICKET)
    desk.wechat.script["jsapi"].append(refused(42001))
    assert str(worker.broker.refresh_now(TICKET).outcome) in {"refreshed", "unchanged"}
    assert [call.what for call in desk.wechat.calls][2:] == ["jsapi", "access_token", "jsapi"]


def test_a_probe_waits_for_the_fetch_that_is_running(desk):
    gate, worker = threading.Event(), desk.worker()
    desk.wechat.script["access_token"].append(lambda: gate.wait(PATIENCE_SECONDS) and None)
    caller = threading.Thread(target=worker.get, args=(TOKEN,))
    caller.start()
    eventually(lambda: desk.wechat.calls)
    probing = threading.Thread(target=worker.broker.refresh_now, args=(TOKEN,))
    probing.start()
    assert desk.wechat.count("access_token") == 1
    gate.set()
    for thread in (caller, probing):
        thread.join(PATIENCE_SECONDS)
    assert desk.wechat.count("access_token") == 2


def test_the_real_surroundings_are_the_default():
    real = Surroundings()
    assert real.boot_clock() <= real.boot_clock()
    assert abs(real.wall_clock() - time.time()) < 5
    assert 0 <= real.random() < 1
    assert real.machine
    done = threading.Event()
    real.spawn(done.set)
    assert done.wait(PATIENCE_SECONDS)


def test_no_event_log_line_or_repr_shows_a_value_or_the_secrets_fingerprint(desk, caplog):
    caplog.set_level(0)
    worker = desk.worker()
    worker.hold(TICKET)
    wechat_is_down(desk)
    desk.advance(7000)
    worker.tick()
    shown = f"{worker.events} {caplog.text} {worker.broker!r} {worker.broker.standing(TOKEN)} {desk.store!r} {APP}"
    for value in ("token-1", "ticket-1", "fingerprint"):
        assert value not in shown
