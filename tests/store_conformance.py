"""What every store must do, whatever it is made of. A store joins with a `rig` fixture:

class TestMyStore(StoreConformance):
    @pytest.fixture
    def rig(self): return MyRig()
"""

import json
import threading
from abc import ABC, abstractmethod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wxsign.credentials import Credential, digest, tombstone
from wxsign.errors import StoreSchemaAhead
from wxsign.stores import Ration
from wxsign.stores.base import EVENT_LIMIT, HELD_SECONDS, NAMES_A_CALL, SCHEMA, decode, encode, highest_number

START = 1_800_000_000.0
NAME, OTHER = "base|wx0123456789abcdef||jsapi|stable", "base|wxfedcba9876543210||jsapi|stable"


class Rig(ABC):
    """One store under test: every `open()` is the view of another worker on the same records."""

    @abstractmethod
    def open(self):
        """Another worker's view."""

    def advance(self, seconds):
        """Move the store's clock; a store whose clock cannot be moved skips the test."""
        pytest.skip("the clock of this store cannot be moved")

    @abstractmethod
    def empty(self):
        """Lose everything."""

    @abstractmethod
    def plant(self, name, text, version, schema):
        """Put a raw record where a wxsign of another version would have put it."""

    def spoil(self, foreign):
        """Put `foreign` everywhere: record, lease, note and counter of NAME, generation, event log.

        Also into a note `m` that is otherwise as it should be.
        """
        raise NotImplementedError


def credential(version, value="value", **changes):
    fields = {
        "value": value,
        "version": version,
        "life_seconds": 7200,
        "started_at": START,
        "earliest_expiry": START + 7100.25,
        "latest_expiry": START + 7200.5,
        "alive_until": START + 7260.0,
        "rejected_digest": "",
    }
    return Credential(**{**fields, **changes})


def written_by(schema, version, value="theirs", **more):
    """A record as a wxsign with that schema number would have written it."""
    return json.dumps({**json.loads(encode(credential(version, value))), "schema": schema, **more})


class StoreConformance:
    """The suite; `rig` is a `Rig`."""

    @pytest.fixture
    def store(self, rig):
        return rig.open()

    # credentials under compare-and-swap

    def test_an_empty_store_has_nothing(self, store):
        assert store.view([NAME]).records == {}
        assert store.view([]).records == {}
        assert store.generation() == 0
        assert store.view((), [NAME]).notes == {}
        assert list(store.events()) == []
        assert store.schema_ahead is None

    def test_a_credential_comes_back_as_it_was_stored(self, rig, store):
        stored = credential(7, "!~\"'\\[{" * 10, rejected_digest=digest("x"))
        assert store.replace(NAME, stored)
        assert rig.open().view([NAME, OTHER]).records == {NAME: stored}

    def test_a_tombstone_comes_back_without_a_value(self, store):
        grave = tombstone(credential(1), 2, START)
        assert store.replace(NAME, grave)
        assert store.view([NAME]).records == {NAME: grave}

    def test_a_higher_version_wins(self, store):
        assert store.replace(NAME, credential(1, "old"))
        assert store.replace(NAME, credential(2, "new"))
        assert store.view([NAME]).records[NAME].value == "new"

    @pytest.mark.parametrize("late", [5, 4, 1])
    def test_an_equal_or_lower_version_is_refused_and_changes_nothing(self, store, late):
        store.replace(NAME, credential(5, "stands"))
        generation = store.generation()
        assert not store.replace(NAME, credential(late, "late"))
        assert store.view([NAME]).records[NAME].value == "stands"
        assert store.generation() == generation

    def test_credentials_do_not_touch_each_other(self, store):
        store.replace(NAME, credential(9, "one"))
        assert store.replace(OTHER, credential(1, "two"))
        assert {name: found.value for name, found in store.view([NAME, OTHER]).records.items()} == {
            NAME: "one",
            OTHER: "two",
        }

    def test_versions_beyond_32_bits_are_kept_whole(self, store):
        millis = 1_800_000_000_123
        store.replace(NAME, credential(millis))
        assert store.view([NAME]).records[NAME].version == millis
        assert not store.replace(NAME, credential(millis))
        assert store.replace(NAME, credential(millis + 1))

    # generation

    def test_the_generation_differs_after_every_replace(self, rig, store):
        seen = [store.generation()]
        for version in range(1, 6):
            store.replace(NAME, credential(version))
            seen.append(rig.open().generation())
        assert len(set(seen)) == len(seen)
        assert seen == sorted(seen)

    def test_the_generation_differs_after_the_store_was_lost_and_filled_again(self, rig, store):
        store.replace(NAME, credential(1))
        before = store.generation()
        rig.advance(1)
        rig.empty()
        assert rig.open().generation() != before
        rig.open().replace(NAME, credential(1))
        assert store.generation() not in {0, before}, "a worker that looks only now still sees a difference"

    def test_the_generation_rises_although_the_clock_was_stepped_back(self, rig, store):
        store.replace(NAME, credential(1))
        before = store.generation()
        rig.advance(-3600)
        store.replace(NAME, credential(2))
        assert store.generation() > before

    def test_leases_and_notes_leave_the_generation_alone(self, store):
        store.replace(NAME, credential(1))
        before = store.generation()
        store.release(store.acquire(NAME, "a", 5, 0))
        store.note("n", "text", 5)
        store.erase(["n"])
        store.take([Ration("c", 1, 5)])
        store.record_event("e")
        assert store.generation() == before

    # views

    def test_a_view_is_the_clock_the_generation_the_credentials_and_the_notes(self, rig, store):
        assert store.view([]) == (pytest.approx(store.now(), abs=5), 0, {}, {})
        stored = credential(7)
        store.replace(NAME, stored)
        store.note(NAME, "of the same name", 10)
        store.note("n", "text", 5)
        view = rig.open().view([NAME, OTHER], [NAME, "n", "m"])
        assert view.records == {NAME: stored}
        assert view.notes == {NAME: "of the same name", "n": "text"}
        assert view.generation == store.generation() > 0
        rig.advance(5)
        assert rig.open().view((), ["n", NAME]).notes == {NAME: "of the same name"}
        assert store.view([NAME]).now == pytest.approx(view.now + 5, abs=4)

    def test_more_names_than_one_call_may_carry_are_found_all_the_same(self, store):
        names = [f"name-{number}" for number in range(2 * NAMES_A_CALL + 100)]
        some = [names[0], names[NAMES_A_CALL + 100], names[-1]]
        for name in some:
            store.replace(name, credential(1, name))
            store.note(name, name, 60)
        view = store.view(names, names)
        assert {name: found.value for name, found in view.records.items()} == {name: name for name in some}
        assert view.notes == {name: name for name in some}
        store.erase(names)
        assert store.view((), names).notes == {}

    # leases

    def test_one_holder_at_a_time(self, rig, store):
        assert store.acquire(NAME, "a", 5, 0)
        assert rig.open().acquire(NAME, "b", 5, 0) is None
        assert store.acquire(NAME, "a", 5, 0) is None, "not even for the holder: two of its threads may ask"
        assert store.acquire(OTHER, "b", 5, 0)

    def test_a_released_lease_can_be_had_at_once(self, rig, store):
        store.release(store.acquire(NAME, "a", 5, 0))
        assert rig.open().acquire(NAME, "b", 5, 0).holder == "b"

    def test_a_lease_lapses(self, rig, store):
        store.acquire(NAME, "a", 5, 0)
        rig.advance(4.99)
        assert store.acquire(NAME, "b", 5, 0) is None
        rig.advance(0.01)
        assert store.acquire(NAME, "b", 5, 0).holder == "b"

    def test_a_release_by_one_who_lost_the_lease_does_nothing(self, rig, store):
        lapsed = store.acquire(NAME, "a", 5, 0)
        rig.advance(6)
        assert store.acquire(NAME, "b", 5, 0)
        store.release(lapsed)
        assert store.acquire(NAME, "c", 5, 0) is None

    def test_a_release_of_an_earlier_lease_of_the_same_holder_does_nothing(self, rig, store):
        lapsed = store.acquire(NAME, "a", 5, 0)
        rig.advance(6)
        assert store.acquire(NAME, "a", 5, 0)
        store.release(lapsed)
        assert store.acquire(NAME, "b", 5, 0) is None

    def test_a_release_in_a_store_that_was_lost_does_nothing(self, rig, store):
        lease = store.acquire(NAME, "a", 5, 0)
        rig.empty()
        store.release(lease)
        assert store.acquire(NAME, "b", 5, 0)

    def test_a_lease_that_ends_too_far_ahead_is_void(self, rig, store):
        store.acquire(NAME, "a", 5, 0)
        rig.advance(-3600)
        assert store.acquire(NAME, "b", 5, 0).holder == "b"

    def test_a_lease_says_when_it_was_granted(self, store):
        before = store.now()
        assert before <= store.acquire(NAME, "a", 5, 0).granted_at <= store.now()

    def test_a_lease_tells_whether_the_one_before_it_lapsed(self, rig, store):
        first = store.acquire(NAME, "a", 5, 0)
        store.release(first)
        given_back = store.acquire(NAME, "b", 5, 0)
        rig.advance(6)
        after_lapse = store.acquire(NAME, "c", 5, 0)
        assert [lease.follows_lapse for lease in (first, given_back, after_lapse)] == [False, False, True]

    # fencing numbers

    def test_numbers_only_rise(self, rig, store):
        numbers = []
        for seconds in (0, 5, -3600, 5, 0.001):
            lease = store.acquire(NAME, "a", 5, 0)
            numbers.append(lease.number)
            store.release(lease)
            rig.advance(seconds)
        assert numbers == sorted(set(numbers))

    def test_a_number_is_above_what_is_stored_and_above_what_the_asker_holds(self, store):
        far = 10**15
        store.replace(NAME, credential(far))
        assert store.acquire(NAME, "a", 5, 0).number == far + 1
        assert store.acquire(OTHER, "a", 5, far + 7).number == far + 8

    def test_a_number_is_never_below_the_clock_in_milliseconds(self, store):
        before = int(store.now() * 1000)
        assert store.acquire(NAME, "a", 5, 0).number >= before

    def test_numbers_rise_after_the_store_was_lost(self, rig, store):
        first = store.acquire(NAME, "a", 5, 0)
        rig.empty()
        again = store.acquire(NAME, "a", 5, first.number)
        assert again.number > first.number

    def test_a_number_is_above_one_granted_and_never_used(self, rig, store):
        first = store.acquire(NAME, "a", 5, 10**15)
        rig.advance(6)
        assert store.acquire(NAME, "b", 5, 0).number > first.number

    # notes

    def test_a_note_stands_until_it_expires(self, rig, store):
        store.note("n", "text", 10)
        assert rig.open().view((), ["n", "m"]).notes == {"n": "text"}
        rig.advance(9.9)
        assert store.view((), ["n"]).notes == {"n": "text"}
        rig.advance(0.1)
        assert store.view((), ["n"]).notes == {}

    def test_a_later_note_takes_the_place_of_an_earlier(self, rig, store):
        store.note("n", "one", 10)
        store.note("n", "two", 20)
        rig.advance(15)
        assert store.view((), ["n"]).notes == {"n": "two"}

    def test_erased_notes_are_gone_and_the_others_stay(self, store):
        store.note("n", "1", 10)
        store.note("m", "2", 10)
        store.erase(["n", "never there"])
        store.erase([])
        assert store.view((), ["n", "m"]).notes == {"m": "2"}

    def test_an_erased_counter_begins_anew_and_the_others_stay(self, rig, store):
        assert [store.take([Ration("c", 2, 30), Ration("d", 2, 30)]) for _ in range(2)] == [0.0, 0.0]
        store.erase(["c"])
        assert dict(store.used(["c", "d"])) == {"d": 2}
        rig.advance(10)
        assert store.take([Ration("c", 1, 30)]) == 0.0
        assert store.take([Ration("c", 1, 30)]) == pytest.approx(30)

    def test_half_a_surrogate_pair_is_stored_as_a_question_mark(self, store):
        store.note("n", "a\ud800z", 10)
        store.record_event("a\udcffz")
        assert store.view((), ["n"]).notes == {"n": "a?z"}
        assert store.events()[-1][1] == "a?z"

    def test_expired_notes_do_not_pile_up(self, rig, store):
        for number in range(50):
            store.note(f"n{number}", "text", 1)
            rig.advance(2)
        store.note("last", "text", 1)
        assert store.view((), [*(f"n{number}" for number in range(50)), "last"]).notes == {"last": "text"}

    # counters

    def test_of_several_rations_all_are_taken_or_none(self, rig, store):
        often, seldom = Ration("often", 2, 60), Ration("seldom", 1, 30)
        assert store.take([often, seldom]) == 0.0
        rig.advance(10)
        assert store.take([often, seldom]) == pytest.approx(20)
        assert dict(store.used(["often", "seldom"])) == {"often": 1, "seldom": 1}
        assert store.take([often]) == 0.0
        assert store.take([seldom, often]) == pytest.approx(50), "until the last of them opens again"

    def test_what_replaces_a_credential_gives_back_the_lease_it_was_fetched_under(self, rig, store):
        lease = store.acquire(NAME, "a", 5, 0)
        assert store.replace(NAME, credential(lease.number), lease)
        second = store.acquire(NAME, "b", 5, 0)
        assert not second.follows_lapse
        assert not store.replace(NAME, credential(1), second), "refused, and given back all the same"
        assert not store.acquire(NAME, "c", 5, 0).follows_lapse
        assert store.replace(NAME, credential(int(store.now() * 1000) + 10**6), lease)
        assert store.acquire(NAME, "d", 5, 0) is None, "somebody else's lease stays"

    def test_a_note_may_be_an_event_as_well(self, rig, store):
        store.note("n", "quiet", 5)
        store.note("n", "told", 5, event=True)
        assert [text for _, text in store.events()] == ["told"]
        assert rig.open().view((), ["n"]).notes == {"n": "told"}

    def test_so_many_uses_in_a_window_and_then_the_wait(self, rig, store):
        assert [store.take([Ration("c", 2, 30)]) for _ in range(2)] == [0.0, 0.0]
        rig.advance(10)
        assert rig.open().take([Ration("c", 2, 30)]) == pytest.approx(20)
        assert store.take([Ration("d", 2, 30)]) == 0.0

    def test_a_window_starts_with_the_first_use_and_a_refusal_is_not_counted(self, rig, store):
        store.take([Ration("c", 1, 30)])
        for _ in range(5):
            rig.advance(5)
            assert store.take([Ration("c", 1, 30)]) > 0
        rig.advance(5)
        assert store.take([Ration("c", 1, 30)]) == 0.0

    def test_a_window_that_ends_too_far_ahead_is_void(self, rig, store):
        store.take([Ration("c", 1, 30)])
        rig.advance(-3600)
        assert store.take([Ration("c", 1, 30)]) == 0.0
        assert store.take([Ration("c", 1, 30)]) == pytest.approx(30)

    def test_what_was_granted_in_the_current_window_can_be_read(self, rig, store):
        for _ in range(5):
            store.take([Ration("c", 3, 30)])
        assert dict(rig.open().used(["c", "never taken"])) == {"c": 3}
        assert dict(store.used([])) == {}
        rig.advance(30)
        assert dict(store.used(["c"])) == {}
        store.take([Ration("c", 3, 30)])
        assert dict(store.used(["c"])) == {"c": 1}

    # events

    def test_events_come_oldest_first_with_their_time(self, rig, store):
        store.record_event("one")
        rig.advance(1)
        store.record_event("two")
        (first, one), (second, two) = rig.open().events()
        assert (one, two) == ("one", "two")
        assert second - first == pytest.approx(1)

    def test_the_event_log_keeps_the_last_200(self, store):
        for number in range(EVENT_LIMIT + 25):
            store.record_event(str(number))
        assert [text for _, text in store.events()] == [str(number) for number in range(25, EVENT_LIMIT + 25)]

    # records of other versions

    def test_a_record_one_schema_ahead_is_read_and_its_unknown_fields_are_left_alone(self, rig, store):
        rig.plant(NAME, written_by(SCHEMA + 1, 5, new_field={"a": [1]}), 5, SCHEMA + 1)
        assert store.view([NAME]).records == {NAME: credential(5, "theirs")}
        assert store.replace(NAME, credential(6, "ours"))
        assert store.view([NAME]).records[NAME].value == "ours"
        assert store.schema_ahead is None

    def test_a_record_two_schemas_ahead_is_neither_read_nor_overwritten_and_is_reported(self, rig, store):
        rig.plant(NAME, written_by(SCHEMA + 2, 5), 5, SCHEMA + 2)
        store.replace(OTHER, credential(1, "ours"))
        assert {name: found.value for name, found in store.view([NAME, OTHER]).records.items()} == {
            OTHER: "ours"
        }
        assert isinstance(store.schema_ahead, StoreSchemaAhead)
        assert (store.schema_ahead.found, store.schema_ahead.known) == (SCHEMA + 2, SCHEMA)
        assert not store.replace(NAME, credential(10**15))
        assert store.acquire(NAME, "a", 5, 0), "the account is served by this process for itself"

    def test_a_record_ahead_is_no_longer_reported_once_it_is_gone(self, rig, store):
        rig.plant(NAME, written_by(SCHEMA + 2, 5), 5, SCHEMA + 2)
        store.view([NAME])
        rig.empty()
        store.view([NAME])
        assert store.schema_ahead is None

    # many at once

    def test_of_many_threads_exactly_one_wins_each_version(self, rig):
        wins = race_in_threads(rig.open, threads=8, versions=15)
        assert sorted(wins) == list(range(1, 16))

    def test_of_many_threads_exactly_one_gets_the_lease(self, rig):
        stores, got = [rig.open() for _ in range(8)], []
        run_together(
            [
                lambda store=store, who=str(n): got.append(store.acquire(NAME, who, 5, 0))
                for n, store in enumerate(stores)
            ]
        )
        assert len([lease for lease in got if lease]) == 1

    def test_of_many_threads_just_the_limit_is_granted(self, rig):
        stores, waits = [rig.open() for _ in range(8)], []
        run_together([lambda store=store: waits.append(store.take([Ration("c", 3, 60)])) for store in stores])
        assert waits.count(0.0) == 3

    def test_the_repr_shows_no_record(self, store):
        store.replace(NAME, credential(1, "TOP-SECRET-VALUE"))
        assert "TOP-SECRET" not in repr(store)


def run_together(works):
    """Run all at once in threads and re-raise what one of them raised."""
    barrier, errors = threading.Barrier(len(works)), []

    def run(work):
        try:
            barrier.wait()
            work()
        except Exception as error:  # noqa: BLE001 -- raised again in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def compete(store, barrier, versions, won):
    """Try to put every version in place, each at the same moment as the others do."""
    for version in range(1, versions + 1):
        barrier.wait()
        if store.replace(NAME, credential(version)):
            won(version)


def race_in_threads(open_store, threads, versions):
    barrier, wins = threading.Barrier(threads), []
    run_together([lambda: compete(open_store(), barrier, versions, wins.append)] * threads)
    return wins


# what may stand in a store


GOOD_RECORD = json.loads(encode(credential(7)))
# One of them in the place of any field makes a record that is none, but where the table below says otherwise.
WRONG = ("x", "", True, -1e400, 1e400, float("nan"), 10**400, -(10**400), [], {}, "9" * 70_000, "\ud800")
FINE = {"value": ("x",), "rejected_digest": ("x", "")}
BROKEN_RECORDS = [
    *("", "no json", "[]", "null", "{}", "[1]", '{"schema": "x"}', '{"schema": 1}', "[" * 60_000),
    *(f'{{"schema": {schema}, "version": 1, "deep": {"[" * 980}{"]" * 980}}}' for schema in (1, 3)),
    *(
        f'{{"schema": {schema}, "version": 7, "value": "x"}}'
        for schema in ("0x3", "3.0", "3e0", "03", "1e999", 10**9)
    ),
    *(
        json.dumps(GOOD_RECORD | {field: wrong})
        for field in GOOD_RECORD
        for wrong in WRONG
        if wrong not in FINE.get(field, ())
    ),
    *(
        json.dumps({name: value for name, value in GOOD_RECORD.items() if name != field})
        for field in GOOD_RECORD
        if field not in {"alive_until", "rejected_digest"}
    ),
    *(
        json.dumps(GOOD_RECORD | changes)
        for changes in (
            {"schema": 0},
            {"schema": None},
            {"version": None},
            {"value": "two words"},
            {"value": "票据"},
            {"value": "x\n"},
            {"value": "v" * 2049},
            {"version": 2**63 - 1},
            {"version": -1},
            {"version": 1.5},
            {"version": highest_number(START) + 10**9},
            {"life_seconds": 0},
            {"life_seconds": 86_401},
            {"life_seconds": 7200.5},
            {"latest_expiry": 253_402_300_000.0},
            {"earliest_expiry": START + HELD_SECONDS + 1},
            {"alive_until": START + HELD_SECONDS + 1},
            {"started_at": 253_402_300_000.0},
            # Nobody knows when it was seen, and yet it is to live for two days more.
            {"started_at": 0, "latest_expiry": START + 2 * 86_400},
        )
    ),
]
FOREIGN = [
    *("x", "", "nan", "inf", "1e999", "-1e999", "9" * 400, "-1", "1.5", " 7 ", "0x10", "null", "[]", "7 8 9"),
    *(str(2**63 - 1), "y" * 70_000, b"\xff\xfe", b"", None, True),
    *(-1, 0, 1.5, 2**63 - 1, float("inf"), float("-inf"), 1e300),
]


class ForeignConformance:
    """Whatever stands in a store counts as missing, stops nobody, and the next write takes its place."""

    def test_a_record_that_is_none_is_missing_and_any_version_replaces_it(self, rig):
        for text in BROKEN_RECORDS:
            rig.empty()
            rig.plant(NAME, text, 7, 1)
            store = rig.open()
            store.replace(OTHER, credential(1))
            assert list(store.view([NAME, OTHER]).records) == [OTHER], text[:200]
            assert store.replace(NAME, credential(1, "good")), text[:200]
            assert store.view([NAME]).records[NAME].value == "good"

    def test_a_record_that_is_none_is_told_once_until_it_changes(self, rig, caplog):
        store = rig.open()
        for text in ("no json", "{}", "y" * 70_000):
            rig.empty()
            rig.plant(NAME, text, 7, 1)
            caplog.clear()
            for _ in range(3):
                store.view([NAME, OTHER])
            assert caplog.messages == ["wxsign.record_unreadable"]
            assert caplog.records[0].fields == {"name": NAME}
        store.replace(NAME, credential(1))
        store.view([NAME])
        rig.empty()
        rig.plant(NAME, text, 7, 1)
        store.view([NAME])
        assert caplog.messages == ["wxsign.record_unreadable"] * 2, "after a good one it is news again"

    def test_a_record_at_its_bounds_is_believed(self, rig):
        for changes in (
            {"version": highest_number(START)},
            {"version": 0, "life_seconds": 86_400, "latest_expiry": START + HELD_SECONDS},
            {"life_seconds": 1, "started_at": 0, "latest_expiry": START + 7200},
            {"value": None, "earliest_expiry": 0, "latest_expiry": 0},
            {"started_at": START + 3600, "latest_expiry": START + 10_800},
            {"started_at": -5.5, "earliest_expiry": 5, "latest_expiry": 7194.5, "alive_until": 0},
        ):
            rig.empty()
            record = GOOD_RECORD | changes
            rig.plant(NAME, json.dumps(record), record["version"], 1)
            assert rig.open().view([NAME]).records == {NAME: decode(json.dumps(record), START)}
            assert not rig.open().replace(NAME, credential(record["version"]))

    def test_whatever_stands_in_it_counts_as_missing_and_is_replaced(self, rig):
        for foreign in FOREIGN:
            check_spoilt(rig, foreign)

    def test_anything_at_all_may_stand_in_it(self, rig):
        @settings(max_examples=60, deadline=None)
        @given(st.text() | st.binary() | st.floats() | st.integers(-(2**63), 2**63 - 1))
        def check(foreign):
            check_spoilt(rig, foreign)

        check()

    def test_any_field_of_a_record_may_be_anything(self, rig):
        values = st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        )

        @settings(max_examples=100, deadline=None)
        @given(st.sampled_from(sorted(GOOD_RECORD)), values)
        def check(field, value):
            rig.empty()
            rig.plant(NAME, json.dumps(GOOD_RECORD | {field: value}), 7, 1)
            store = rig.open()
            assert set(store.view([NAME]).records) <= {NAME}
            if store.schema_ahead is None:
                good_write(store)

        check()


def check_spoilt(rig, foreign):
    """Spoil everything and use everything."""
    rig.empty()
    rig.spoil(foreign)
    check_usable(rig.open(), foreign)


def check_usable(store, foreign=None):
    """Whether nothing of NAME counts, and everything works."""
    seen = store.generation()
    assert type(seen) is int
    view = store.view([NAME, OTHER], [NAME, "m"])
    assert (view.records, set(view.notes) - {"m"}) == ({}, set()), foreign
    assert dict(store.used([NAME, "m"])) == {}
    assert all(isinstance(at, float) and isinstance(text, str) for at, text in store.events())
    good_write(store)
    assert store.generation() > seen
    store.note(NAME, "text", 10)
    assert store.view((), [NAME]).notes == {NAME: "text"}
    assert store.take([Ration(NAME, 1, 10)]) == 0.0
    assert store.take([Ration(NAME, 1, 10)]) == pytest.approx(10, abs=5)
    assert dict(store.used([NAME])) == {NAME: 1}
    store.record_event("told")
    assert store.events()[-1][1] == "told"


def good_write(store):
    """What a refresh does, and what must stand after it."""
    lease = store.acquire(NAME, "a", 5, 0)
    assert lease.number <= highest_number(store.now()) + 1
    assert store.acquire(NAME, "b", 5, 0) is None
    store.release(lease)
    good = credential(lease.number, "good")
    assert store.replace(NAME, good)
    assert store.view([NAME]).records == {NAME: good}


# records, whatever they are stored in

_CREDENTIALS = st.builds(
    Credential,
    st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=99),
    st.integers(0, highest_number(START)),
    st.integers(1, 86_400),
    st.floats(START, 2 * START),
    *(st.floats(0, START + HELD_SECONDS),) * 3,
    st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64),
)


class RecordConformance:
    """What holds for the text of a record."""

    @given(_CREDENTIALS)
    def test_any_credential_comes_back_from_its_record(self, stored):
        assert decode(encode(stored), START) == stored
