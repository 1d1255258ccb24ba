"""What a credential store can do, whatever it is made of, and how a record is written.

A store holds credentials under compare-and-swap, leases that lapse, one `generation` number that every replaced
credential raises, notes and counters that expire, and a short event log. Every method may raise `StoreUnavailable`.
All times are seconds of the store's own clock.

Anybody may have written what stands in a store: an older or newer wxsign, a hand, a faulty disk. What is not of the
type or within the bounds given here counts as missing, and the next write takes its place: it stops nobody.
"""

from __future__ import annotations

import json
import logging
import math
import re
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeGuard

from wxsign.credentials import Credential
from wxsign.errors import StoreSchemaAhead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

logger = logging.getLogger("wxsign.stores")

# Fields are only ever added: version N writes what N - 1 can read and replace.
SCHEMA = 1
FIRST_UNREADABLE_SCHEMA: Final = SCHEMA + 2
HIGHEST_SCHEMA: Final = 10_000
EVENT_LIMIT: Final = 200
# Bounds how long one operation may keep a store from its other clients.
NAMES_A_CALL: Final = 500
# No clock was ever wrong by more: a time further ahead was not read from one.
CENTURY_SECONDS: Final = 36_525 * 86_400
# A version or generation this far above the clock in milliseconds was not counted up from one. Lua counts up to 2^53.
NUMBERS_AHEAD: Final = 10**15
# The most that WeChat may grant, and that a value may be held from the start of the call that brought it: a day and
# the time that the call may take.
MAX_LIFE_SECONDS: Final = 86_400
HELD_SECONDS: Final = MAX_LIFE_SECONDS + 600
# Notes and counters that end later were not written by a wxsign of this clock.
LONGEST_NOTE_SECONDS: Final = 30 * 86_400
MAX_BYTES: Final = 65_536
MAX_USED: Final = 2**53

_VALUE: Final = re.compile(r"[\x21-\x7e]{1,2048}")
_FIELDS: Final = frozenset(field.name for field in fields(Credential))


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make one call of WeChat for `name`. `number` is the version of what the call brings (fencing).

    `follows_lapse`: the last holder never gave it back, so a call of ours may have ended without an answer.
    """

    name: str
    holder: str
    number: int
    granted_at: float
    follows_lapse: bool = False


class View(NamedTuple):
    """What a store held at one moment: its clock, its generation, the readable credentials and the living notes asked for."""

    now: float
    generation: int
    records: Mapping[str, Credential]
    notes: Mapping[str, str]


class Ration(NamedTuple):
    """One use of `name`, at most `limit` in a window of `window_seconds` that starts with the first."""

    name: str
    limit: int
    window_seconds: float


class CredentialStore(Protocol):
    """Shared by everybody who serves the same accounts. Safe to use from any thread and after a fork."""

    def now(self) -> float:
        """The store's clock, in seconds since the epoch."""

    def generation(self) -> int:
        """A number that differs whenever a credential was replaced or the store was lost; 0 for an empty store."""

    def view(self, names: Sequence[str], notes: Sequence[str] = ()) -> View:
        """The clock, the generation, the credentials under `names` and the notes under `notes`: one round trip, one moment.

        A record that is too new to be read is left out and reported by `schema_ahead`; one that is none is left out and
        logged. More than `NAMES_A_CALL` names may be read in several portions.
        """

    def replace(self, name: str, credential: Credential, lease: Lease | None = None) -> bool:
        """Put `credential` in place if its version is higher than what stands there; say whether it was.

        In the same step the `lease` under which it was fetched is given back.
        """

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        """Take the lease of `name` for `lease_seconds`, or None while somebody has it.

        `highest` is the highest version that the asker knows; the lease's number is above it, above what the store
        holds, above every number granted before, and never below the store's clock in milliseconds.
        """

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens when it has lapsed and somebody else has it."""

    def note(self, name: str, text: str, lasts_seconds: float, *, event: bool = False) -> None:
        """Leave a small fact for the fleet (a backoff, a verdict), for `lasts_seconds`, thirty days at most.

        An `event` is appended to the event log as well.
        """

    def erase(self, names: Sequence[str]) -> None:
        """Take notes away, and counters of these names."""

    def take(self, rations: Sequence[Ration]) -> float:
        """Count one use of each of `rations`, or of none where one of them is spent.

        Returns 0.0 where all were granted, else the seconds until the last of the spent windows ends.
        """

    def used(self, names: Sequence[str]) -> Mapping[str, int]:
        """How often each of `names` was granted by `take` in its current window."""

    def record_event(self, text: str) -> None:
        """Append to the event log, which keeps the last 200."""

    def events(self) -> Sequence[tuple[float, str]]:
        """The event log as (time, text), oldest first."""

    @property
    def schema_ahead(self) -> StoreSchemaAhead | None:
        """Says that a record was met which a newer wxsign wrote and this one cannot read, until it is met no more."""


class ReadByView(ABC):
    """What all stores make of a `view`, and what they remember of the records that could not be read."""

    def __init__(self) -> None:
        self._reader = RecordReader()

    @property
    def schema_ahead(self) -> StoreSchemaAhead | None:
        return self._reader.schema_ahead

    @abstractmethod
    def view(self, names: Sequence[str], notes: Sequence[str] = ()) -> View:
        """See `CredentialStore`."""


def portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """The names, so many at once as one call may carry."""
    return (names[start : start + NAMES_A_CALL] for start in range(0, len(names), NAMES_A_CALL))


def is_number(value: object, low: float, high: float) -> TypeGuard[float]:
    """Whether it is a number within bounds; a truth value and NaN are none."""
    return type(value) in {int, float} and low <= value <= high  # type: ignore[operator]


def is_whole(value: object, low: float, high: float) -> TypeGuard[int]:
    """Whether it is a whole number within bounds."""
    return type(value) is int and low <= value <= high


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a text of bearable length that can be sent and hashed; half a surrogate pair cannot."""
    try:
        return type(value) is str and len(value.encode()) <= MAX_BYTES
    except UnicodeEncodeError:
        return False


def sendable(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which WeChat's JSON may spell and nothing can send."""
    return text.encode(errors="replace").decode()


def highest_number(now: float) -> int:
    """The highest version or generation that is believed at `now`."""
    return math.floor(now * 1000) + NUMBERS_AHEAD


def encode(credential: Credential) -> str:
    """A record as it is stored."""
    return json.dumps({"schema": SCHEMA, **asdict(credential)}, separators=(",", ":"))


def decode(text: object, now: float) -> Credential:
    """A stored record as a value; unknown fields are those of a later version and are left alone.

    `now` is the store's clock. Raises `StoreSchemaAhead` for a record two or more schema numbers ahead, `ValueError` for
    one that is none: with a field missing, of another type, or beyond what wxsign or a clock could have written.
    """
    record = _parsed(text)
    schema = record.get("schema")
    if is_whole(schema, FIRST_UNREADABLE_SCHEMA, HIGHEST_SCHEMA):
        raise StoreSchemaAhead(schema, SCHEMA)
    try:
        credential = Credential(**{name: record[name] for name in _FIELDS & record.keys()})
    except TypeError as error:
        raise ValueError("a record lacks a field") from error
    if not is_whole(schema, 1, SCHEMA + 1) or not _believable(credential, now):
        raise ValueError("a record has a field that cannot be")
    return credential


def _parsed(text: object) -> dict[str, Any]:
    if not is_text(text):
        raise ValueError("a record is no text, or too long")
    try:
        record = json.loads(text)
    except RecursionError as error:
        raise ValueError("a record is nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError("a record is no object")  # noqa: TRY004 - what stands in a store is a value, whatever its type
    return record


def _is_value(value: object) -> bool:
    """Whether it is what an answer of WeChat may bring: printable ASCII without spaces."""
    return type(value) is str and _VALUE.fullmatch(value) is not None


def _believable(credential: Credential, now: float) -> bool:
    start = credential.started_at
    expiries = (credential.earliest_expiry, credential.latest_expiry, credential.alive_until)
    return (
        (credential.value is None or _is_value(credential.value))
        and is_text(credential.rejected_digest)
        and is_whole(credential.version, 0, highest_number(now))
        and is_whole(credential.life_seconds, 1, MAX_LIFE_SECONDS)
        and is_number(start, -CENTURY_SECONDS, now + CENTURY_SECONDS)
        # A start of 0 means that nobody knows it any more.
        and all(is_number(expiry, -CENTURY_SECONDS, (start or now) + HELD_SECONDS) for expiry in expiries)
    )


def version_to_beat(text: object, now: float) -> float:
    """What a version must exceed to take the place of a record: -1 where there is none, infinity where it may not."""
    try:
        return decode(text, now).version
    except StoreSchemaAhead:
        return math.inf
    except ValueError:
        return -1


class RecordReader:
    """Reads records for a store, and remembers which of them it could not read."""

    def __init__(self) -> None:
        self._ahead: dict[str, StoreSchemaAhead] = {}
        self._unreadable: dict[str, object] = {}

    @property
    def schema_ahead(self) -> StoreSchemaAhead | None:
        """See `CredentialStore`."""
        return next(iter(tuple(self._ahead.values())), None)

    def read(self, names: Iterable[str], records: Mapping[str, object], now: float) -> dict[str, Credential]:
        """The credentials among `records`, which were looked for under `names` at `now`."""
        found: dict[str, Credential] = {}
        for name in names:
            self._ahead.pop(name, None)
            try:
                if name in records:
                    found[name] = decode(records[name], now)
            except StoreSchemaAhead as ahead:
                self._ahead[name] = ahead
            except ValueError:
                self._report(name, records[name])
            else:
                self._unreadable.pop(name, None)
        return found

    def unreadable(self, name: str) -> object:
        """What was last met under `name`, if it was no record."""
        return self._unreadable.get(name)

    def _report(self, name: str, record: object) -> None:
        """Say once of each broken record that it counts as missing."""
        if name not in self._unreadable or self._unreadable[name] != record:
            self._unreadable[name] = record
            logger.warning("wxsign.record_unreadable", extra={"fields": {"name": name}})


def next_number(last_granted: object, to_beat: object, highest: int, now: float) -> int:
    """The fencing number of a new lease: above those that are believed."""
    stored = [number for number in (last_granted, to_beat) if is_whole(number, 0, highest_number(now))]
    return max(*(number + 1 for number in (*stored, highest)), math.floor(now * 1000))


def next_generation(standing: object, now: float) -> int:
    """The generation after a replacement."""
    return max(believed_generation(standing, now) + 1, math.floor(now * 1000))


def believed_generation(standing: object, now: float) -> int:
    """The generation that stands; 0 for what is none."""
    return standing if is_whole(standing, 0, highest_number(now)) else 0


def lease_held(ends_at: object, now: float, lease_seconds: float) -> bool:
    """Whether a lease still holds; one ending further ahead than one length is void: the clock stepped back."""
    return is_number(ends_at, now, now + lease_seconds) and now < ends_at


def lease_lapsed(ends_at: object, now: float) -> bool:
    """Whether a lease that holds no more was never given back; one that was ends at 0."""
    return is_number(ends_at, 0, now + CENTURY_SECONDS) and ends_at > 0


def lives(ends_at: object, now: float) -> bool:
    """Whether a note or counter that ends then still counts."""
    return is_number(ends_at, now, now + LONGEST_NOTE_SECONDS) and now < ends_at


def living_notes(found: Iterable[tuple[str, object, object]], now: float) -> dict[str, str]:
    """The notes that count among (name, text, end)."""
    return {name: text for name, text, ends_at in found if lives(ends_at, now) and is_text(text)}


def living_counts(found: Iterable[tuple[str, object, object]], now: float) -> dict[str, int]:
    """The counters that count among (name, used, end)."""
    return {
        name: used for name, used, ends_at in found if lives(ends_at, now) and is_whole(used, 0, MAX_USED)
    }


def counted(used: object, ends_at: object, now: float, window_seconds: float) -> tuple[int, float]:
    """How often a counter was used in its window, and when that ends; a new window where there is none.

    A window ending further ahead than its length was opened before the clock stepped back.
    """
    if is_whole(used, 0, MAX_USED) and is_number(ends_at, now, now + window_seconds) and now < ends_at:
        return used, ends_at
    return 0, now + window_seconds


def taking(
    rations: Sequence[Ration], standing: Sequence[tuple[object, object]], now: float
) -> tuple[float, dict[str, tuple[int, float]]]:
    """How long to wait for `rations`, and their counters after the use: none where there is a wait.

    `standing` has (used, end) of each.
    """
    now_counted = [
        counted(used, ends_at, now, ration.window_seconds)
        for ration, (used, ends_at) in zip(rations, standing, strict=True)
    ]
    spent = [
        ends_at - now
        for ration, (used, ends_at) in zip(rations, now_counted, strict=True)
        if used >= ration.limit
    ]
    if spent:
        return max(spent), {}
    return 0.0, {
        ration.name: (used + 1, ends_at) for ration, (used, ends_at) in zip(rations, now_counted, strict=True)
    }
