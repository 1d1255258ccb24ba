"""A fleet on one store: leases, late writers, a store that is lost, emptied or away, and clocks that are stepped."""

import itertools
import threading

import pytest
from broker_desk import (
    CLASSIC,
    CLASSIC_TICKET,
    DOWN,
    PATIENCE_SECONDS,
    START,
    TICKET,
    TOKEN,
    Wire,
    desks,
    eventually,
)

from wxsign.broker.link import CALL_SECONDS, LEASE_SECONDS
from wxsign.credentials import Credential
from wxsign.errors import CredentialUnavailable, StoreUnavailable
from wxsign.stores import MachineStore
from wxsign.stores.base import SCHEMA
from wxsign.wechat import DEADLINE_SECONDS

HOUR = 3600


@pytest.fixture(params=["memory", "sqlite"])
def desk(request):
    with desks(request.param) as desk:
        yield desk


@pytest.fixture
def swift():
    with desks("memory") as desk:
        yield desk


@pytest.fixture
def wire(desk):
    return Wire(desk.store)


def start(work, *arguments):
    """Run `work` in a thread; its result, or the refusal that it met, comes into the list."""
    results = []

    def run():
        try:
            results.append(work(*arguments))
        except CredentialUnavailable as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


# leases and fencing numbers


def test_when_the_holder_of_the_lease_dies_another_takes_over_when_it_lapses(desk):
    desk.store.acquire(TOKEN.name, "killed", LEASE_SECONDS, 0)
    caller, results = start(desk.worker().get, TOKEN)
    eventually(lambda: desk.workers[0]._threads)
    assert desk.wechat.calls == []
    desk.advance(LEASE_SECONDS)
    caller.join(PATIENCE_SECONDS)
    assert results == ["token-1"]
    assert desk.wechat.count("access_token") == 1


def test_a_late_writer_is_refused_and_adopts_what_stands(desk):
    slow, quick = desk.fleet(2)
    gate = threading.Event()
    desk.wechat.script["access_token"].extend(
        [lambda: gate.wait(PATIENCE_SECONDS) and "token-late", "token-2"]
    )
    late, late_results = start(slow.get, TOKEN)
    eventually(lambda: desk.wechat.calls)
    desk.advance(LEASE_SECONDS)
    assert quick.hold(TOKEN) == "token-2"
    standing = desk.stored(TOKEN)
    gate.set()
    late.join(PATIENCE_SECONDS)
    slow.join()
    assert late_results[0] in {"token-late", "token-2"}
    assert slow.get(TOKEN) == "token-2"
    assert desk.stored(TOKEN) == standing


def test_a_holder_suspended_past_its_lease_leaves_the_call_to_the_next_one(desk, wire):
    suspended, other = desk.worker(store=wire), desk.worker()
    asked = []

    def wake_late(name):
        asked.append(name)
        if asked.count("view") == 2:
            # Between its last look and its call.
            wire.after = lambda _name: None
            desk.advance(LEASE_SECONDS)
            assert other.hold(CLASSIC) == "token-1"
            desk.wechat.values["access_token"] = "token-2"

    wire.after = wake_late
    assert suspended.hold(CLASSIC) == "token-1"
    assert desk.wechat.count("access_token") == 1


@pytest.mark.parametrize("late", [CALL_SECONDS + 1 / 64, LEASE_SECONDS - 1 / 64])
def test_no_call_begins_that_may_outlive_its_lease(desk, wire, late):
    slow = desk.worker(store=wire)
    wire.after = lambda name: desk.advance(late if name == "acquire" else 0)
    desk.sleep = lambda _seconds: setattr(wire, "after", lambda _name: None)
    assert slow.hold(CLASSIC) == "token-1"
    assert desk.wechat.count("access_token") == 1
    assert desk.wechat.calls[0].at - START == late, "by another lease, and not under the first one"


def test_a_lease_outlives_a_call_as_often_as_the_clients_deadline_says():
    assert CALL_SECONDS == DEADLINE_SECONDS
    assert LEASE_SECONDS - CALL_SECONDS >= DEADLINE_SECONDS


def test_a_worker_that_stops_leaves_the_lease_of_a_call_in_flight_until_it_lapses(desk):
    stopping, other = desk.worker(warm=[CLASSIC]), desk.worker(warm=[CLASSIC])
    stopping.tick()
    other.tick()
    gate = threading.Event()
    desk.wechat.script["access_token"].append(lambda: gate.wait(PATIENCE_SECONDS) and "token-of-the-stopping")
    desk.advance(7200 - 200)
    stopping.broker.watch()
    eventually(lambda: desk.wechat.count("access_token") == 2)
    stopping.broker.stop()
    other.tick()
    assert desk.wechat.count("access_token") == 2, "two calls at once: the order at WeChat is anybody's"
    desk.advance(LEASE_SECONDS)
    other.tick()
    assert desk.wechat.count("access_token") == 3
    assert desk.notes(f"unanswered|{CLASSIC.name}"), (
        "nobody else is to blame for what that call may have done"
    )
    gate.set()


def test_a_worker_that_stops_takes_no_more_leases_and_gives_back_those_without_a_call(desk, wire):
    stopping, other = desk.worker(store=wire), desk.worker()
    wire.after = lambda name: stopping.broker.stop() if name == "view" else None
    start(stopping.get, TOKEN)
    eventually(lambda: stopping.broker._leases._ended)
    assert other.hold(TOKEN) == "token-1"
    assert desk.wechat.count("access_token") == 1
    desk.advance(10)


def test_a_lease_had_while_the_process_was_ending_is_given_back(desk, wire):
    ending = desk.worker(store=wire)

    def end(name):
        if name == "acquire":
            wire.after = lambda _name: None
            ending.broker.stop()

    wire.after = end
    _, _ = start(ending.get, TOKEN)
    other = desk.worker()
    eventually(lambda: wire.after != end and ending.broker._leases._ended)
    assert other.hold(TOKEN) == "token-1"
    assert desk.wechat.count("access_token") == 1
    desk.advance(10)


def test_a_worker_kept_out_by_a_lease_knows_the_failure_before_it(desk):
    first, second = desk.fleet(2)
    desk.wechat.always["access_token"] = DOWN
    with pytest.raises(CredentialUnavailable):
        first.get(TOKEN)
    desk.advance(10)
    desk.store.acquire(TOKEN.name, "somebody", LEASE_SECONDS, 0)
    with pytest.raises(CredentialUnavailable) as told:
        second.get(TOKEN)
    assert told.value.cause.code == "wechat_timeout"
    desk.advance(LEASE_SECONDS)


def test_while_another_fetches_what_is_due_a_worker_asks_for_the_lease_once_a_look(desk, wire):
    worker = desk.worker(store=wire)
    worker.hold(TICKET)
    worker.tick()
    desk.advance(61)
    worker.broker._follow_by = desk.boot() + 3600
    lease = desk.store.acquire(TICKET.name, "somebody", LEASE_SECONDS, 0)
    asked = []
    wire.before = asked.append
    for _ in range(3):
        worker.broker._watcher._woken = False
        worker.tick()
        assert not worker.broker._watcher._woken, "the next look comes by itself, after a second"
    assert [name for name in asked if name != "now"] == ["generation", "acquire"] * 3
    desk.store.release(lease)
    worker.tick()
    assert worker.broker._watcher._woken
    assert desk.wechat.count("jsapi") == 2


def test_who_has_nothing_and_is_kept_out_by_a_lease_looks_every_tenth_of_a_second(desk):
    worker, pauses = desk.worker(), []

    def pause(seconds):
        pauses.append(seconds)
        desk.advance(seconds)

    desk.sleep = pause
    desk.store.acquire(TOKEN.name, "somebody", LEASE_SECONDS, 0)
    assert worker.hold(TOKEN) == "token-1"
    assert pauses[0] == 0.05
    assert set(pauses[1:]) == {0.1}
    assert LEASE_SECONDS <= sum(pauses) < LEASE_SECONDS + 1


def test_a_reader_leaves_what_is_due_to_those_who_fetch_and_looks_once_a_second(desk):
    worker, reader = desk.worker(), desk.worker(reader=True, warm=[TICKET])
    worker.hold(TICKET)
    reader.tick()
    desk.wechat.always["jsapi"] = DOWN
    desk.advance(61)
    worker.tick()
    reader.broker._watcher._woken = False
    reader.tick()
    assert not reader.broker._watcher._woken
    assert reader.get(TICKET) == "ticket-1"


def test_what_is_due_and_fetched_by_another_is_not_waited_for(desk):
    first, second = desk.fleet(2, warm=[TOKEN])
    first.tick()
    second.tick()
    gate = threading.Event()
    desk.wechat.script["access_token"].append(lambda: gate.wait(PATIENCE_SECONDS) and "token-2")
    desk.advance(6900)
    first.broker.watch()
    eventually(lambda: desk.wechat.count("access_token") == 2)
    second.tick()
    assert second.get(TOKEN) == "token-1"
    gate.set()
    first.join()
    second.tick()
    assert second.get(TOKEN) == "token-2"
    assert desk.wechat.count("access_token") == 2


# a store that was emptied, or failed over to an older copy


@pytest.mark.parametrize(
    "name", [TOKEN, TICKET, CLASSIC_TICKET], ids=lambda name: f"{name.kind}-{name.endpoint}"
)
def test_after_the_store_was_emptied_what_is_held_is_put_back_whole_without_a_call(desk, name):
    workers = desk.fleet(4, warm=[name])
    desk.run(300, step=30)
    before = desk.stored(name)
    desk.wechat.calls.clear()
    desk.advance(2)
    desk.empty_store()
    for worker in workers:
        worker.tick()
    assert desk.stored(name) == before, "version, bounds and last poll"
    assert desk.wechat.calls == []


def test_after_the_store_was_emptied_versions_go_on_rising(desk):
    worker = desk.worker(warm=[TOKEN])
    worker.tick()
    before = desk.stored(TOKEN).version
    desk.empty_store()
    worker.tick()
    desk.wechat.values["access_token"] = "token-2"
    worker.broker.refresh_now(TOKEN)
    assert desk.stored(TOKEN).version > before
    late = desk.worker()
    assert late.hold(TOKEN) == "token-2"


def test_an_older_copy_in_the_store_is_replaced_by_what_is_held(desk):
    worker = desk.worker(warm=[TOKEN])
    worker.tick()
    old = desk.stored(TOKEN)
    desk.advance(6900)
    desk.wechat.values["access_token"] = "token-2"
    worker.tick()
    desk.empty_store()
    desk.store.replace(TOKEN.name, old)
    desk.advance(1)
    worker.tick()
    assert desk.stored(TOKEN).value == "token-2"
    assert worker.get(TOKEN) == "token-2"


def test_a_put_back_is_seen_by_a_worker_that_starts_in_the_emptied_store(desk):
    old = desk.worker(warm=[TICKET])
    old.tick()
    desk.empty_store()
    old.tick()
    new = desk.worker(warm=[TICKET])
    new.tick()
    assert new.get() == "ticket-1"
    assert len(desk.wechat.calls) == 2


def test_what_has_expired_is_not_put_back(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.always["access_token"] = DOWN
    desk.advance(7200)
    desk.empty_store()
    worker.tick()
    assert desk.stored(TOKEN) is None


# without the store (rule 8)


def test_without_a_store_at_the_start_signatures_are_made_all_the_same(desk, wire, caplog):
    wire.cut = True
    worker = desk.worker(store=wire)
    assert worker.hold(TICKET) == "ticket-1"
    assert isinstance(worker.broker.link.lost, StoreUnavailable)
    assert caplog.messages.count("wxsign.store_lost") == 1


@pytest.mark.parametrize("random", [0.0, 0.5, 0.99])
def test_without_the_store_a_ticket_is_polled_after_a_random_wait_and_then_once_a_minute(desk, wire, random):
    worker = desk.worker(store=wire, warm=[TICKET])
    worker.tick()
    desk.random = random
    desk.advance(30)
    wire.cut = True
    desk.wechat.calls.clear()
    lost_at = desk.wall() + 1
    desk.run(400)
    polls = [call.at - lost_at for call in desk.wechat.calls]
    assert polls[0] == max(29, -(-60 * random // 1))
    assert {after - before for before, after in itertools.pairwise(polls)} == {60}
    assert worker.get(TICKET) == "ticket-1"


def test_without_the_store_a_classic_token_is_fetched_only_when_there_is_none(desk, wire):
    worker = desk.worker(store=wire, warm=[CLASSIC])
    worker.tick()
    desk.advance(6930 - 20)
    wire.cut = True
    desk.run(280)
    assert desk.wechat.count("access_token") == 1
    assert worker.get(CLASSIC) == "token-1"
    desk.run(20)
    assert desk.wechat.count("access_token") == 2


def test_a_store_that_goes_just_before_the_lease_does_not_let_a_classic_token_be_rotated(desk, wire):
    """Every process of the fleet may be at this point: each would kill the others' token."""
    worker = desk.worker(store=wire, warm=[CLASSIC])
    worker.tick()
    desk.advance(6930)

    def cut_at_the_lease(name):
        wire.cut = wire.cut or name == "acquire"

    wire.before = cut_at_the_lease
    desk.run(5)
    assert desk.wechat.count("access_token") == 1
    assert worker.get(CLASSIC) == "token-1"


def test_without_the_store_the_workers_of_a_machine_call_one_after_the_other(desk, wire, tmp_path):
    wire.cut = True
    stores = [MachineStore("m1", desk.wall, tmp_path) for _ in range(4)]
    workers = [desk.worker(store=wire, machine_store=store) for store in stores]
    elsewhere = desk.worker(store=wire, machine="m2", machine_store=MachineStore("m2", desk.wall, tmp_path))
    gate, flight = threading.Event(), []

    def answer():
        flight.append(1)
        gate.wait(PATIENCE_SECONDS)
        seen.append(len(flight))
        flight.pop()

    seen = []
    desk.wechat.always["access_token"] = answer
    callers = [start(worker.get, TOKEN) for worker in workers]
    eventually(lambda: flight and all(worker._threads for worker in workers))
    assert len(flight) == 1
    there, _ = start(elsewhere.get, TOKEN)
    eventually(lambda: len(flight) == 2)
    gate.set()
    for thread, _ in [*callers, (there, [])]:
        thread.join(PATIENCE_SECONDS)
    assert [results for _, results in callers] == [["token-1"]] * 4
    assert desk.wechat.count("access_token") == 5
    assert max(seen) <= 2


def test_without_the_store_what_a_lease_of_the_machine_delayed_is_fetched_at_the_next_look(
    desk, wire, tmp_path
):
    machine = MachineStore("m1", desk.wall, tmp_path)
    worker = desk.worker(store=wire, machine_store=machine, warm=[TICKET])
    worker.tick()
    wire.cut = True
    desk.random = 0.0
    desk.advance(60)
    others = machine.acquire(TICKET.name, "m1:other", 5, 0)
    worker.tick()
    assert desk.wechat.count("jsapi") == 1
    machine.release(others)
    desk.advance(1)
    worker.tick()
    assert desk.wechat.count("jsapi") == 2


def test_without_the_store_a_failure_is_known_to_all_workers_of_the_machine(desk, wire, tmp_path):
    wire.cut = True
    first, second = (
        desk.worker(store=wire, machine_store=MachineStore("m1", desk.wall, tmp_path)) for _ in range(2)
    )
    desk.wechat.always["access_token"] = DOWN
    for worker in (first, second):
        with pytest.raises(CredentialUnavailable) as told:
            worker.get(TOKEN)
        assert told.value.cause.code == "wechat_timeout"
        worker.join()
    assert desk.wechat.count("access_token") == 1


def test_without_the_store_and_without_a_place_for_the_machines_file_each_worker_calls_by_itself(
    desk, wire, tmp_path
):
    wire.cut = True
    taken = tmp_path / "taken"
    taken.write_text("a file where the folder should be")
    workers = [desk.worker(store=wire, machine_store=MachineStore("m1", desk.wall, taken)) for _ in range(2)]
    assert [worker.hold(TOKEN) for worker in workers] == ["token-1"] * 2


def test_without_the_store_a_failing_wechat_is_asked_with_the_same_backoff(swift):
    wire = Wire(swift.store)
    wire.cut = True
    swift.random = 1.0
    swift.wechat.always["access_token"] = DOWN
    swift.worker(store=wire, warm=[TOKEN])
    swift.run(20)
    assert swift.wechat.gaps("access_token")[:5] == [2, 3, 3, 3, 3]


def test_while_the_store_is_away_only_the_watcher_asks_it(desk, wire):
    worker = desk.worker(store=wire)
    worker.hold(TICKET)
    wire.cut = True
    worker.tick()
    asked = []
    wire.before = asked.append
    desk.advance(7000)
    for _ in range(3):
        desk.advance(100)
        worker.tick()
        worker.hold(TICKET)
    assert set(asked) == {"view"}
    assert asked.count("view") == 3, "once a look"


def test_what_was_fetched_alone_is_published_when_the_store_returns(desk, wire):
    alone, other = desk.worker(store=wire, warm=[TOKEN]), desk.worker(warm=[TOKEN])
    alone.tick()
    other.tick()
    wire.cut = True
    desk.wechat.values["access_token"] = "token-2"
    desk.advance(7000)
    desk.run(60)
    assert alone.get(TOKEN) == "token-2"
    wire.cut = False
    alone.tick()
    stored = desk.stored(TOKEN)
    assert stored.value == "token-2"
    assert stored.version >= int((START + 6900) * 1000), "its own clock in milliseconds"
    other.tick()
    assert other.get(TOKEN) == "token-2"
    assert alone.broker.link.lost is None


def test_what_was_fetched_alone_in_one_bad_moment_is_published_by_the_next_look(desk, wire):
    """The store failed and returned between two looks: its generation is the one that the Watcher knows."""
    worker = desk.worker(store=wire)
    worker.tick()

    def fail_once(name):
        if name == "acquire":
            wire.before = lambda _name: None
            raise StoreUnavailable("a bad moment")

    wire.before = fail_once
    assert worker.hold(CLASSIC) == "token-1"
    assert desk.stored(CLASSIC) is None
    worker.tick()
    assert desk.stored(CLASSIC).value == "token-1"
    assert desk.worker().hold(CLASSIC) == "token-1"
    assert desk.wechat.count("access_token") == 1


def test_a_store_that_can_be_read_but_not_written_counts_as_away(desk, wire, caplog):
    """A full disk: it must not come back and go again with every look."""
    worker = desk.worker(store=wire, warm=[TICKET, CLASSIC])
    worker.tick()
    wire.read_only = True
    desk.wechat.calls.clear()
    desk.run(600, step=2)
    assert caplog.messages.count("wxsign.store_lost") == 1
    assert worker.broker.link.lost is not None
    assert 9 <= desk.wechat.count("jsapi") <= 10
    assert desk.wechat.count("access_token") == 0
    wire.read_only = False
    worker.tick()
    assert worker.broker.link.lost is None
    assert desk.stored(TICKET).started_at > START + 500


def test_the_two_sides_of_a_store_lost_to_one_of_them_agree_after_it(desk, wire):
    cut_off, other = desk.worker(store=wire, warm=[TICKET]), desk.worker(warm=[TICKET])
    cut_off.tick()
    other.tick()
    wire.cut = True
    desk.wechat.values["jsapi"] = "ticket-2"
    desk.run(200)
    assert (cut_off.get(), other.get()) == ("ticket-2", "ticket-2")
    wire.cut = False
    desk.run(2)
    assert cut_off.broker.standing(TICKET)[0].credential.version == desk.stored(TICKET).version


# records of another version


def test_a_record_too_new_is_left_alone_and_the_account_served_by_each_process_for_itself(swift):
    text = f'{{"schema": {SCHEMA + 2}, "version": 5, "everything": "else"}}'
    swift.store._records[TOKEN.name] = text
    worker = swift.worker()
    assert worker.hold(TOKEN) == "token-1"
    swift.run(30)
    assert swift.store._records[TOKEN.name] == text
    assert swift.wechat.count("access_token") == 1
    assert worker.broker.link.shared.schema_ahead.found == SCHEMA + 2


# clocks


@pytest.mark.parametrize("step", [-HOUR, HOUR, -86_400, 86_400])
def test_no_step_of_the_wall_clock_moves_the_expiry_of_what_is_held(desk, step):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.always["access_token"] = DOWN
    desk.advance(100)
    desk.wall.now += step
    desk.advance(7099)
    worker.tick()
    assert worker.get(TOKEN) == "token-1"
    desk.advance(1)
    with pytest.raises(CredentialUnavailable):
        worker.get(TOKEN)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_what_is_put_back_after_a_step_is_in_the_times_of_the_stores_clock(desk, step):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.advance(100)
    desk.wall.now += step
    desk.empty_store()
    worker.tick()
    stored = desk.stored(TOKEN)
    assert stored.latest_expiry - desk.wall() == pytest.approx(7100)
    assert stored.started_at == pytest.approx(desk.wall() - 100)


def test_what_nobody_knows_the_start_of_is_put_back_so(desk):
    future = Credential("token-f", 7, 7200, desk.wall() + HOUR, desk.wall() + HOUR, desk.wall() + HOUR)
    desk.store.replace(TOKEN.name, future)
    desk.wechat.always["access_token"] = DOWN
    worker = desk.worker()
    assert worker.get(TOKEN) == "token-f"
    worker.join()
    desk.wall.now += 60
    desk.empty_store()
    worker.tick()
    assert desk.stored(TOKEN).started_at == 0.0


@pytest.mark.parametrize("ahead", [60, HOUR, 10 * 86_400])
def test_a_record_from_the_future_is_due_at_once_and_lives_one_life_at_most(desk, ahead):
    started = desk.wall() + ahead
    desk.store.replace(TOKEN.name, Credential("token-f", 7, 600, started, started + 600, started + 600))
    desk.wechat.always["access_token"] = DOWN
    worker = desk.worker()
    assert worker.get(TOKEN) == "token-f"
    worker.tick()
    assert desk.wechat.count("access_token") == 1
    desk.advance(599)
    assert worker.get(TOKEN) == "token-f"
    desk.advance(1)
    with pytest.raises(CredentialUnavailable):
        worker.get(TOKEN)


def test_a_lease_taken_before_the_clock_was_stepped_back_is_void(desk):
    desk.store.acquire(TOKEN.name, "killed", 5, 0)
    desk.wall.now -= HOUR
    assert desk.worker().hold(TOKEN) == "token-1"


def test_after_the_clock_was_stepped_back_refreshes_go_on_and_win(desk):
    worker, other = desk.fleet(2, warm=[TOKEN])
    worker.tick()
    other.tick()
    desk.wall.now -= HOUR
    desk.wechat.values["access_token"] = "token-2"
    desk.advance(6900)
    worker.tick()
    other.tick()
    assert (worker.get(TOKEN), other.get(TOKEN)) == ("token-2", "token-2")
