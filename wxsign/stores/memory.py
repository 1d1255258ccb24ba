"""A store in the memory of one process: for tests, for `wxsign dev`, and as stand-in while the shared store is away."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from wxsign.stores.base import (
    EVENT_LIMIT,
    LONGEST_NOTE_SECONDS,
    Lease,
    Ration,
    ReadByView,
    View,
    encode,
    lease_held,
    lease_lapsed,
    lives,
    living_counts,
    living_notes,
    next_generation,
    next_number,
    sendable,
    taking,
    version_to_beat,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxsign.credentials import Credential


class MemoryStore(ReadByView):
    """`memory:`; see `CredentialStore` for what each method does. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.now = clock
        self._lock = threading.Lock()
        self._generation = 0
        self._records: dict[str, str] = {}
        self._leases: dict[str, tuple[int, str, float]] = {}
        self._notes: dict[str, tuple[str, float]] = {}
        self._counters: dict[str, tuple[int, float]] = {}
        self._events: deque[tuple[float, str]] = deque(maxlen=EVENT_LIMIT)

    def __repr__(self) -> str:
        return "MemoryStore()"

    def generation(self) -> int:
        return self._generation

    def view(self, names: Sequence[str], notes: Sequence[str] = ()) -> View:
        with self._lock:
            now = self.now()
            records = {name: self._records[name] for name in names if name in self._records}
            found = [(name, *self._notes[name]) for name in notes if name in self._notes]
            generation = self._generation
        return View(now, generation, self._reader.read(names, records, now), living_notes(found, now))

    def replace(self, name: str, credential: Credential, lease: Lease | None = None) -> bool:
        with self._lock:
            now = self.now()
            if lease is not None:
                self._release(lease)
            if credential.version <= version_to_beat(self._records.get(name), now):
                return False
            self._records[name] = encode(credential)
            self._generation = next_generation(self._generation, now)
            return True

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        with self._lock:
            now = self.now()
            last, _, ends_at = self._leases.get(name, (0, "", 0.0))
            if lease_held(ends_at, now, lease_seconds):
                return None
            number = next_number(last, version_to_beat(self._records.get(name), now), highest, now)
            self._leases[name] = (number, holder, now + lease_seconds)
            return Lease(name, holder, number, now, follows_lapse=lease_lapsed(ends_at, now))

    def release(self, lease: Lease) -> None:
        with self._lock:
            self._release(lease)

    def _release(self, lease: Lease) -> None:
        if self._leases.get(lease.name, (0, "", 0.0))[:2] == (lease.number, lease.holder):
            self._leases[lease.name] = (lease.number, lease.holder, 0.0)

    def note(self, name: str, text: str, lasts_seconds: float, *, event: bool = False) -> None:
        with self._lock:
            now = self.now()
            self._notes = {name: note for name, note in self._notes.items() if lives(note[1], now)}
            text = sendable(text)
            self._notes[name] = (text, now + min(lasts_seconds, LONGEST_NOTE_SECONDS))
            if event:
                self._events.append((now, text))

    def erase(self, names: Sequence[str]) -> None:
        with self._lock:
            for name in names:
                self._notes.pop(name, None)
                self._counters.pop(name, None)

    def take(self, rations: Sequence[Ration]) -> float:
        with self._lock:
            now = self.now()
            standing = [self._counters.get(ration.name, (0, 0.0)) for ration in rations]
            wait, taken = taking(rations, standing, now)
            self._counters |= taken
            return wait

    def used(self, names: Sequence[str]) -> Mapping[str, int]:
        with self._lock:
            now = self.now()
            found = [(name, *self._counters[name]) for name in names if name in self._counters]
        return living_counts(found, now)

    def record_event(self, text: str) -> None:
        with self._lock:
            self._events.append((self.now(), sendable(text)))

    def events(self) -> Sequence[tuple[float, str]]:
        with self._lock:
            return tuple(self._events)
