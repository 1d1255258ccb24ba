"""A store in the memory of one process: for tests, for `wxsign dev`, and as stand-in while the shared store is away."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from wxsign.stores.base import (
    EVENT_LIMIT,
    FIRST_UNREADABLE_SCHEMA,
    SCHEMA,
    Lease,
    RecordReader,
    decode,
    encode,
    lease_held,
    next_number,
    schema_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxsign.credentials import Credential
    from wxsign.errors import StoreSchemaAhead


class MemoryStore:
    """`memory:`; see `CredentialStore` for what each method does. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.now = clock
        self._reader = RecordReader()
        self._lock = threading.Lock()
        self._generation = 0
        self._records: dict[str, str] = {}
        self._leases: dict[str, tuple[int, str, float]] = {}
        self._notes: dict[str, tuple[str, float]] = {}
        self._counters: dict[str, tuple[int, float]] = {}
        self._events: deque[tuple[float, str]] = deque(maxlen=EVENT_LIMIT)

    def __repr__(self) -> str:
        return "MemoryStore()"

    @property
    def schema_ahead(self) -> StoreSchemaAhead | None:
        return self._reader.schema_ahead

    def generation(self) -> int:
        return self._generation

    def load(self, names: Sequence[str]) -> Mapping[str, Credential]:
        with self._lock:
            texts = {name: self._records[name] for name in names if name in self._records}
        return self._reader.read(names, texts)

    def replace(self, name: str, credential: Credential) -> bool:
        with self._lock:
            standing = self._records.get(name)
            if standing is not None and not self._replaceable(standing, credential.version):
                return False
            self._records[name] = encode(credential)
            self._generation = max(self._generation + 1, int(self.now() * 1000))
            return True

    def _replaceable(self, standing: str, version: int) -> bool:
        return schema_of(standing) < FIRST_UNREADABLE_SCHEMA and decode(standing).version < version

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        with self._lock:
            now = self.now()
            last, _, ends_at = self._leases.get(name, (0, "", 0.0))
            if lease_held(ends_at, now, lease_seconds):
                return None
            standing = self._records.get(name)
            stored = decode(standing).version if standing and schema_of(standing) <= SCHEMA + 1 else 0
            number = next_number(last, stored, highest, now)
            self._leases[name] = (number, holder, now + lease_seconds)
            return Lease(name, holder, number, now, follows_lapse=ends_at > 0)

    def release(self, lease: Lease) -> None:
        with self._lock:
            if self._leases.get(lease.name, (0, "", 0.0))[:2] == (lease.number, lease.holder):
                self._leases[lease.name] = (lease.number, lease.holder, 0.0)

    def notes(self, names: Sequence[str]) -> Mapping[str, str]:
        with self._lock:
            now = self.now()
            found = {name: self._notes[name] for name in names if name in self._notes}
            return {name: text for name, (text, ends_at) in found.items() if now < ends_at}

    def note(self, name: str, text: str, lasts_seconds: float) -> None:
        with self._lock:
            now = self.now()
            self._notes = {name: note for name, note in self._notes.items() if now < note[1]}
            self._notes[name] = (text, now + lasts_seconds)

    def erase(self, names: Sequence[str]) -> None:
        with self._lock:
            for name in names:
                self._notes.pop(name, None)

    def take(self, name: str, limit: int, window_seconds: float) -> float:
        with self._lock:
            now = self.now()
            used, ends_at = self._counters.get(name, (0, 0.0))
            # A window ending further ahead than its length was opened before the clock stepped back.
            if not now < ends_at <= now + window_seconds:
                used, ends_at = 0, now + window_seconds
            if used >= limit:
                return ends_at - now
            self._counters[name] = (used + 1, ends_at)
            return 0.0

    def used(self, names: Sequence[str]) -> Mapping[str, int]:
        with self._lock:
            now = self.now()
            found = {name: self._counters[name] for name in names if name in self._counters}
            return {name: used for name, (used, ends_at) in found.items() if now < ends_at}

    def record_event(self, text: str) -> None:
        with self._lock:
            self._events.append((self.now(), text))

    def events(self) -> Sequence[tuple[float, str]]:
        with self._lock:
            return tuple(self._events)
