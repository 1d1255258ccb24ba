"""What a credential store can do, whatever it is made of, and how a record is written.

A store holds credentials under compare-and-swap, leases that lapse, one `generation` number that every replaced
credential raises, notes and counters that expire, and a short event log. Every method may raise `StoreUnavailable`.
All times are seconds of the store's own clock.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Protocol

from wxsign.credentials import Credential
from wxsign.errors import StoreSchemaAhead

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

logger = logging.getLogger("wxsign.stores")

# Fields are only ever added: version N writes what N - 1 can read and replace.
SCHEMA = 1
FIRST_UNREADABLE_SCHEMA = SCHEMA + 2
EVENT_LIMIT = 200

_FIELDS = frozenset(field.name for field in fields(Credential))


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


class CredentialStore(Protocol):
    """Shared by everybody who serves the same accounts. Safe to use from any thread and after a fork."""

    def now(self) -> float:
        """The store's clock, in seconds since the epoch."""

    def generation(self) -> int:
        """A number that differs whenever a credential was replaced or the store was lost; 0 for an empty store."""

    def load(self, names: Sequence[str]) -> Mapping[str, Credential]:
        """The credentials that stand under `names`; records too new to be read are left out and reported."""

    def replace(self, name: str, credential: Credential) -> bool:
        """Put `credential` in place if its version is higher than what stands there; say whether it was."""

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        """Take the lease of `name` for `lease_seconds`, or None while somebody has it.

        `highest` is the highest version that the asker knows; the lease's number is above it, above what the store
        holds, above every number granted before, and never below the store's clock in milliseconds.
        """

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens when it has lapsed and somebody else has it."""

    def notes(self, names: Sequence[str]) -> Mapping[str, str]:
        """The notes under `names` that have not expired."""

    def note(self, name: str, text: str, lasts_seconds: float) -> None:
        """Leave a small fact for the fleet (a backoff, a verdict), for `lasts_seconds`."""

    def erase(self, names: Sequence[str]) -> None:
        """Take notes away."""

    def take(self, name: str, limit: int, window_seconds: float) -> float:
        """Count one use of `name`, at most `limit` in a window of `window_seconds` that starts with the first.

        Returns 0.0 where it was granted, else the seconds until the window ends; a refusal is not counted.
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


def encode(credential: Credential) -> str:
    """A record as it is stored."""
    return json.dumps({"schema": SCHEMA, **asdict(credential)}, separators=(",", ":"))


def schema_of(text: str) -> int:
    """The schema number of a stored record."""
    return int(json.loads(text)["schema"])


def decode(text: str) -> Credential:
    """A stored record as a value; unknown fields are those of a later version and are left alone.

    Raises `StoreSchemaAhead` for a record two or more schema numbers ahead, `ValueError` for one that is none.
    """
    try:
        record = json.loads(text)
        schema = int(record["schema"])
        if schema >= FIRST_UNREADABLE_SCHEMA:
            raise StoreSchemaAhead(schema, SCHEMA)
        return Credential(**{name: record[name] for name in _FIELDS & record.keys()})
    except (TypeError, KeyError) as error:
        raise ValueError("not a record of a credential") from error


class RecordReader:
    """Reads records for a store, and remembers which of them a newer wxsign wrote."""

    def __init__(self) -> None:
        self._ahead: dict[str, StoreSchemaAhead] = {}

    @property
    def schema_ahead(self) -> StoreSchemaAhead | None:
        """See `CredentialStore`."""
        return next(iter(tuple(self._ahead.values())), None)

    def read(self, names: Iterable[str], records: Mapping[str, str]) -> dict[str, Credential]:
        """The credentials among `records`, which were looked for under `names`."""
        found: dict[str, Credential] = {}
        for name in names:
            self._ahead.pop(name, None)
            try:
                if name in records:
                    found[name] = decode(records[name])
            except StoreSchemaAhead as ahead:
                self._ahead[name] = ahead
            except ValueError:
                # It counts as missing, so that it is fetched again and replaced: one broken record stops nobody.
                logger.warning("wxsign.record_unreadable", extra={"fields": {"name": name}})
        return found


def next_number(last_granted: int, stored: int, highest: int, now: float) -> int:
    """The fencing number of a new lease."""
    return max(last_granted + 1, stored + 1, highest + 1, math.floor(now * 1000))


def lease_held(ends_at: float, now: float, lease_seconds: float) -> bool:
    """Whether a lease still holds; one ending further ahead than one length is void: the clock stepped back."""
    return now < ends_at <= now + lease_seconds
