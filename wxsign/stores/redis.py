"""A store in Redis or Valkey, shared by the workers of many machines. `redis_url` says which URLs name one.

Every operation is one script, so it is atomic and one round trip, and counts time on Redis's clock. Nothing is asked of
persistence: what Redis loses, the workers put back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wxsign.stores import redis_scripts as scripts
from wxsign.stores.base import (
    EVENT_LIMIT,
    FIRST_UNREADABLE_SCHEMA,
    Lease,
    RecordReader,
    encode,
)
from wxsign.stores.redis_link import TIMEOUT_SECONDS, RedisLink
from wxsign.stores.redis_url import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wxsign.credentials import Credential
    from wxsign.errors import StoreSchemaAhead
    from wxsign.stores.redis_scripts import Script

# A credential lives a day at most: what was not touched for a week belongs to an account that is gone.
KEPT_MILLISECONDS: Final = 7 * 86_400_000
# What expires by its `ends_at` is swept a little later, so that only one of the two decides.
SWEPT_AFTER_MILLISECONDS: Final = 60_000
# Bounds how long one script may keep Redis from its other clients.
NAMES_A_CALL: Final = 500
CARRIED_SECONDS: Final = 5.0


class _Reading(NamedTuple):
    """What Redis's clock said in an answer to a question asked at `boot_time`."""

    store_time: float
    boot_time: float


class RedisStore:
    """See `CredentialStore` for what each method does.

    An operation waits at most `timeout_seconds` to connect and as long for the answer, then raises `StoreUnavailable`.
    `clock` (seconds since the epoch) takes the place of Redis's own: for tests, in which time does not pass by itself.

    Raises `UnusableStoreUrlError` (a `ValueError`) for a URL that names no Redis.
    """

    def __init__(
        self, url: str, clock: Callable[[], float] | None = None, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._address = parse_redis_url(url)
        self._generation = self._key("generation")
        self._link = RedisLink(self._address, self._generation, timeout_seconds)
        self._clock = clock
        self._reader = RecordReader()
        self._reading = _Reading(0.0, float("-inf"))

    def __repr__(self) -> str:
        return f"RedisStore({str(self._address)!r})"

    @property
    def schema_ahead(self) -> StoreSchemaAhead | None:
        return self._reader.schema_ahead

    def now(self) -> float:
        if self._clock is not None:
            return self._clock()
        if _boot_clock() - self._reading.boot_time > CARRIED_SECONDS:
            self.generation()
        # Carried from when the question was asked, this is ahead by at most the answer's journey: a credential may be
        # held expired a moment early, never late.
        reading = self._reading
        return reading.store_time + _boot_clock() - reading.boot_time

    def generation(self) -> int:
        return int(self._run(scripts.GENERATION, [self._generation])[0])

    def load(self, names: Sequence[str]) -> Mapping[str, Credential]:
        return self._reader.read(names, self._found(scripts.LOAD, "credential", names))

    def replace(self, name: str, credential: Credential) -> bool:
        keys = [self._key("credential", name), self._generation]
        record = encode(credential)
        arguments = (credential.version, record, FIRST_UNREADABLE_SCHEMA, KEPT_MILLISECONDS)
        return bool(self._run(scripts.REPLACE, keys, *arguments)[0])

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        keys = [self._key("lease", name), self._key("credential", name)]
        granted_at, *granted = self._timed(
            scripts.ACQUIRE, keys, holder, lease_seconds, highest, KEPT_MILLISECONDS
        )
        if not granted:
            return None
        number, lapsed = granted
        return Lease(name, holder, int(number), granted_at, follows_lapse=bool(lapsed))

    def release(self, lease: Lease) -> None:
        self._run(scripts.RELEASE, [self._key("lease", lease.name)], lease.number, lease.holder)

    def notes(self, names: Sequence[str]) -> Mapping[str, str]:
        texts = self._found(scripts.LOAD, "note", names)
        now = self.now()
        notes = {name: text.partition(" ") for name, text in texts.items()}
        return {name: text for name, (ends_at, _, text) in notes.items() if now < float(ends_at)}

    def note(self, name: str, text: str, lasts_seconds: float) -> None:
        self._run(scripts.NOTE, [self._key("note", name)], text, lasts_seconds, _swept(lasts_seconds))

    def erase(self, names: Sequence[str]) -> None:
        for some in _portions(names):
            self._run(scripts.ERASE, [self._key("note", name) for name in some])

    def take(self, name: str, limit: int, window_seconds: float) -> float:
        arguments = (limit, window_seconds, _swept(window_seconds))
        return float(self._run(scripts.TAKE, [self._key("counter", name)], *arguments)[0])

    def used(self, names: Sequence[str]) -> Mapping[str, int]:
        return {name: int(used) for name, used in self._found(scripts.USED, "counter", names).items()}

    def record_event(self, text: str) -> None:
        self._run(scripts.RECORD_EVENT, [self._key("events")], text, EVENT_LIMIT)

    def events(self) -> Sequence[tuple[float, str]]:
        entries = [entry.partition(" ") for entry in self._run(scripts.EVENTS, [self._key("events")])[0]]
        return tuple((float(at), text) for at, _, text in entries)

    def _key(self, kind: str, name: str = "") -> str:
        """The braces are a Cluster's hash tag: all keys of a store stand on one node."""
        return f"{{{self._address.prefix}}}:{kind}:{name}".rstrip(":")

    def _found(self, script: Script, kind: str, names: Sequence[str]) -> dict[str, str]:
        """What a script tells of each of `names`, without those of which it tells nothing."""
        found: dict[str, str] = {}
        for some in _portions(names):
            texts = self._run(script, [self._key(kind, name) for name in some])[0]
            found |= {name: text for name, text in zip(some, texts, strict=True) if text is not None}
        return found

    def _run(self, script: Script, keys: Sequence[str], *arguments: str | float) -> list[Any]:
        return self._timed(script, keys, *arguments)[1:]

    def _timed(self, script: Script, keys: Sequence[str], *arguments: str | float) -> list[Any]:
        """The answer of a script, headed by the time at which it ran."""
        asked_at = _boot_clock()
        moment = "" if self._clock is None else repr(self._clock())
        store_time, *answer = self._link.run(script, keys, (moment, *arguments))
        self._reading = _Reading(float(store_time), asked_at)
        return [float(store_time), *answer]


def _boot_clock() -> float:
    """Seconds that go on while the machine is suspended, and that no step of the wall clock moves."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _swept(lasts_seconds: float) -> int:
    return int(lasts_seconds * 1000) + SWEPT_AFTER_MILLISECONDS


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + NAMES_A_CALL] for start in range(0, len(names), NAMES_A_CALL))
