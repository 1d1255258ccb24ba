"""What every store must do, whatever it is made of. A store joins with a `rig` fixture:

class TestMyStore(StoreConformance):
    @pytest.fixture
    def rig(self): return MyRig()
"""

import json
import threading
from abc import ABC, abstractmethod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsign.credentials import Credential, digest, tombstone
from wxsign.errors import StoreSchemaAhead
from wxsign.stores.base import EVENT_LIMIT, SCHEMA, decode, encode

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
        assert store.load([NAME]) == {}
        assert store.load([]) == {}
        assert store.generation() == 0
        assert store.notes([NAME]) == {}
        assert list(store.events()) == []
        assert store.schema_ahead is None

    def test_a_credential_comes_back_as_it_was_stored(self, rig, store):
        stored = credential(7, "värde 票据", rejected_digest=digest("x"))
        assert store.replace(NAME, stored)
        assert rig.open().load([NAME, OTHER]) == {NAME: stored}

    def test_a_tombstone_comes_back_without_a_value(self, store):
        grave = tombstone(credential(1), 2, START)
        assert store.replace(NAME, grave)
        assert store.load([NAME]) == {NAME: grave}

    def test_a_higher_version_wins(self, store):
        assert store.replace(NAME, credential(1, "old"))
        assert store.replace(NAME, credential(2, "new"))
        assert store.load([NAME])[NAME].value == "new"

    @pytest.mark.parametrize("late", [5, 4, 1])
    def test_an_equal_or_lower_version_is_refused_and_changes_nothing(self, store, late):
        store.replace(NAME, credential(5, "stands"))
        generation = store.generation()
        assert not store.replace(NAME, credential(late, "late"))
        assert store.load([NAME])[NAME].value == "stands"
        assert store.generation() == generation

    def test_credentials_do_not_touch_each_other(self, store):
        store.replace(NAME, credential(9, "one"))
        assert store.replace(OTHER, credential(1, "two"))
        assert {name: found.value for name, found in store.load([NAME, OTHER]).items()} == {
            NAME: "one",
            OTHER: "two",
        }

    def test_versions_beyond_32_bits_are_kept_whole(self, store):
        millis = 1_800_000_000_123
        store.replace(NAME, credential(millis))
        assert store.load([NAME])[NAME].version == millis
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
        store.take("c", 1, 5)
        store.record_event("e")
        assert store.generation() == before

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
        assert rig.open().notes(["n", "m"]) == {"n": "text"}
        rig.advance(9.9)
        assert store.notes(["n"]) == {"n": "text"}
        rig.advance(0.1)
        assert store.notes(["n"]) == {}

    def test_a_later_note_takes_the_place_of_an_earlier(self, rig, store):
        store.note("n", "one", 10)
        store.note("n", "two", 20)
        rig.advance(15)
        assert store.notes(["n"]) == {"n": "two"}

    def test_erased_notes_are_gone_and_the_others_stay(self, store):
        store.note("n", "1", 10)
        store.note("m", "2", 10)
        store.erase(["n", "never there"])
        store.erase([])
        assert store.notes(["n", "m"]) == {"m": "2"}

    def test_expired_notes_do_not_pile_up(self, rig, store):
        for number in range(50):
            store.note(f"n{number}", "text", 1)
            rig.advance(2)
        store.note("last", "text", 1)
        assert store.notes([*(f"n{number}" for number in range(50)), "last"]) == {"last": "text"}

    # counters

    def test_so_many_uses_in_a_window_and_then_the_wait(self, rig, store):
        assert [store.take("c", 2, 30) for _ in range(2)] == [0.0, 0.0]
        rig.advance(10)
        assert rig.open().take("c", 2, 30) == pytest.approx(20)
        assert store.take("d", 2, 30) == 0.0

    def test_a_window_starts_with_the_first_use_and_a_refusal_is_not_counted(self, rig, store):
        store.take("c", 1, 30)
        for _ in range(5):
            rig.advance(5)
            assert store.take("c", 1, 30) > 0
        rig.advance(5)
        assert store.take("c", 1, 30) == 0.0

    def test_a_window_that_ends_too_far_ahead_is_void(self, rig, store):
        store.take("c", 1, 30)
        rig.advance(-3600)
        assert store.take("c", 1, 30) == 0.0
        assert store.take("c", 1, 30) == pytest.approx(30)

    def test_what_was_granted_in_the_current_window_can_be_read(self, rig, store):
        for _ in range(5):
            store.take("c", 3, 30)
        assert dict(rig.open().used(["c", "never taken"])) == {"c": 3}
        assert dict(store.used([])) == {}
        rig.advance(30)
        assert dict(store.used(["c"])) == {}
        store.take("c", 3, 30)
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
        assert store.load([NAME]) == {NAME: credential(5, "theirs")}
        assert store.replace(NAME, credential(6, "ours"))
        assert store.load([NAME])[NAME].value == "ours"
        assert store.schema_ahead is None

    def test_a_record_two_schemas_ahead_is_neither_read_nor_overwritten_and_is_reported(self, rig, store):
        rig.plant(NAME, written_by(SCHEMA + 2, 5), 5, SCHEMA + 2)
        store.replace(OTHER, credential(1, "ours"))
        assert {name: found.value for name, found in store.load([NAME, OTHER]).items()} == {OTHER: "ours"}
        assert isinstance(store.schema_ahead, StoreSchemaAhead)
        assert (store.schema_ahead.found, store.schema_ahead.known) == (SCHEMA + 2, SCHEMA)
        assert not store.replace(NAME, credential(10**15))
        assert store.acquire(NAME, "a", 5, 0), "the account is served by this process for itself"

    def test_a_record_ahead_is_no_longer_reported_once_it_is_gone(self, rig, store):
        rig.plant(NAME, written_by(SCHEMA + 2, 5), 5, SCHEMA + 2)
        store.load([NAME])
        rig.empty()
        store.load([NAME])
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
        run_together([lambda store=store: waits.append(store.take("c", 3, 60)) for store in stores])
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


# records, whatever they are stored in

_SECONDS = st.floats(0, 1e11)
_CREDENTIALS = st.builds(
    Credential,
    st.none() | st.text(),
    st.integers(0, 2**62),
    st.integers(1, 86_400),
    _SECONDS,
    _SECONDS,
    _SECONDS,
    _SECONDS,
    st.text(),
)


class RecordConformance:
    """What holds for the text of a record."""

    @given(_CREDENTIALS)
    def test_any_credential_comes_back_from_its_record(self, stored):
        assert decode(encode(stored)) == stored

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"schema": "x"}', '{"schema": 1}', "[1]"])
    def test_what_is_no_record_is_a_value_error(self, text):
        with pytest.raises(ValueError, match=r".+"):
            decode(text)
