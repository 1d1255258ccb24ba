"""A store in Redis or Valkey, shared by the workers of many machines. `redis_url` says which URLs name one.

Every operation is one script, so it is atomic and one round trip, and counts time on Redis's clock. Nothing is asked of
persistence: what Redis loses, the workers put back.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wxsign.stores import redis_scripts as scripts
from wxsign.stores.base import (
    EVENT_LIMIT,
    LONGEST_NOTE_SECONDS,
    Lease,
    Ration,
    ReadByView,
    View,
    encode,
    is_text,
    living_notes,
    portions,
    sendable,
)
from wxsign.stores.redis_link import TIMEOUT_SECONDS, UNDECODABLE, RedisLink
from wxsign.stores.redis_url import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxsign.credentials import Credential
    from wxsign.stores.redis_scripts import Script

# A credential lives a day at most: what was not touched for a week belongs to an account that is gone.
KEPT_MILLISECONDS: Final = 7 * 86_400_000
# What expires by its `ends_at` is swept a little later, so that only one of the two decides.
SWEPT_AFTER_MILLISECONDS: Final = 60_000
CARRIED_SECONDS: Final = 5.0


class _Reading(NamedTuple):
    """What Redis's clock said in an answer to a question asked at `boot_time`."""

    store_time: float
    boot_time: float


class RedisStore(ReadByView):
    """See `CredentialStore` for what each method does.

    An operation waits at most `timeout_seconds` to connect and as long for the answer, then raises `StoreUnavailable`.
    `clock` (seconds since the epoch) takes the place of Redis's own: for tests, in which time does not pass by itself.

    Raises `UnusableStoreUrlError` (a `ValueError`) for a URL that names no Redis.
    """

    def __init__(
        self, url: str, clock: Callable[[], float] | None = None, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        super().__init__()
        self._address = parse_redis_url(url)
        self._generation = self._key("generation")
        self._link = RedisLink(self._address, self._generation, timeout_seconds)
        self._clock = clock
        self._reading = _Reading(0.0, float("-inf"))

    def __repr__(self) -> str:
        return f"RedisStore({str(self._address)!r})"

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

    def view(self, names: Sequence[str], notes: Sequence[str] = ()) -> View:
        keys = [
            *(self._key("credential", name) for name in names),
            *(self._key("note", name) for name in notes),
        ]
        texts: list[str | None] = []
        generation = 0
        for some in list(portions(keys)) or [()]:
            now, counted, found = self._timed(scripts.VIEW, [self._generation, *some])
            # Of the first portion: what was replaced meanwhile shows as another one at the next look.
            generation = generation or int(counted)
            texts += found
        records = {name: text for name, text in zip(names, texts, strict=False) if text is not None}
        noted = [
            (name, *_note_parts(text)) for name, text in zip(notes, texts[len(names) :], strict=True) if text
        ]
        return View(now, generation, self._reader.read(names, records, now), living_notes(noted, now))

    def replace(self, name: str, credential: Credential, lease: Lease | None = None) -> bool:
        keys = [self._key("credential", name), self._generation, self._key("lease", name)]
        unreadable = _sha1(self._reader.unreadable(name))
        lease_of = (lease.number, lease.holder) if lease else (0, "")
        arguments = (credential.version, encode(credential), KEPT_MILLISECONDS, unreadable, *lease_of)
        return bool(self._run(scripts.REPLACE, keys, *arguments)[0])

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        keys = [self._key("lease", name), self._key("credential", name)]
        arguments = (holder, lease_seconds, highest, KEPT_MILLISECONDS, secrets.token_hex(8))
        granted = self._run(scripts.ACQUIRE, keys, *arguments)
        if not granted:
            return None
        number, lapsed, granted_at = granted
        return Lease(name, holder, int(number), float(granted_at), follows_lapse=bool(lapsed))

    def release(self, lease: Lease) -> None:
        self._run(scripts.RELEASE, [self._key("lease", lease.name)], lease.number, lease.holder)

    def note(self, name: str, text: str, lasts_seconds: float, *, event: bool = False) -> None:
        lasts_seconds = min(lasts_seconds, LONGEST_NOTE_SECONDS)
        kept = EVENT_LIMIT if event else 0
        keys = [self._key("note", name), self._key("events")]
        self._run(scripts.NOTE, keys, sendable(text), kept, lasts_seconds, _swept(lasts_seconds))

    def erase(self, names: Sequence[str]) -> None:
        for some in portions(names):
            self._run(scripts.ERASE, [self._key(kind, name) for kind in ("note", "counter") for name in some])

    def take(self, rations: Sequence[Ration]) -> float:
        keys = [self._key("counter", ration.name) for ration in rations]
        each = ((ration.limit, ration.window_seconds, _swept(ration.window_seconds)) for ration in rations)
        arguments = (secrets.token_hex(8), *(part for parts in each for part in parts))
        return float(self._run(scripts.TAKE, keys, *arguments)[0])

    def used(self, names: Sequence[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for some in portions(names):
            counts = self._run(scripts.USED, [self._key("counter", name) for name in some])[0]
            found |= {name: int(used) for name, used in zip(some, counts, strict=True) if used is not None}
        return found

    def record_event(self, text: str) -> None:
        self._run(scripts.RECORD_EVENT, [self._key("events")], sendable(text), EVENT_LIMIT)

    def events(self) -> Sequence[tuple[float, str]]:
        entries = self._run(scripts.EVENTS, [self._key("events")], EVENT_LIMIT)[0]
        timed = [(_number(at), text) for at, _, text in (entry.partition(" ") for entry in entries)]
        return tuple((at, text) for at, text in timed if at is not None and is_text(text))

    def _key(self, kind: str, name: str = "") -> str:
        """The braces are a Cluster's hash tag: all keys of a store stand on one node."""
        return f"{{{self._address.prefix}}}:{kind}:{name}".rstrip(":")

    def _run(self, script: Script, keys: Sequence[str], *arguments: str | float) -> list[Any]:
        return self._timed(script, keys, *arguments)[1:]

    def _timed(self, script: Script, keys: Sequence[str], *arguments: str | float) -> list[Any]:
        """The answer of a script, headed by the time at which it ran."""
        asked_at = _boot_clock()
        moment = "" if self._clock is None else repr(self._clock())
        store_time, *answer = self._link.run(script, keys, moment, arguments)
        self._reading = _Reading(float(store_time), asked_at)
        return [float(store_time), *answer]


def _boot_clock() -> float:
    """Seconds that go on while the machine is suspended, and that no step of the wall clock moves."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _swept(lasts_seconds: float) -> int:
    return int(lasts_seconds * 1000) + SWEPT_AFTER_MILLISECONDS


def _sha1(text: object) -> str:
    """As Redis counts it over the bytes that it holds."""
    if not isinstance(text, str):
        return ""
    return hashlib.sha1(text.encode(errors=UNDECODABLE), usedforsecurity=False).hexdigest()


def _note_parts(stored: str) -> tuple[str, float | None]:
    ends_at, _, text = stored.partition(" ")
    return text, _number(ends_at)


def _number(text: str) -> float | None:
    """The number that a text says, or None: a hand may have written it."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
