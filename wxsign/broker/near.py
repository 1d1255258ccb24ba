"""What one process holds: a seat for every key, and a cache of what may be served, the only thing a signature waits for."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cachetools import TLRUCache

from wxsign.broker.events import Adopted, Outcome
from wxsign.broker.seat import Held, Result, Seat
from wxsign.credentials import CANARY_SECONDS, adopted, canary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from wxsign.credentials import Credential, CredentialKey
    from wxsign.stores import CredentialStore, View


class NearCache:
    """The table of seats, and the usable credentials, each until its own expiry.

    `changed` is the one condition of both: its lock is held for look-ups only, never across I/O. `tell` is called with
    `Adopted` for every new version, without the lock.
    """

    def __init__(
        self, maxsize: int, boot_clock: Callable[[], float], tell: Callable[[Adopted], object] = repr
    ) -> None:
        self._lock = threading.Lock()
        self.changed = threading.Condition(self._lock)
        self._boot = boot_clock
        self._tell = tell
        self._usable: TLRUCache[str, Held] = TLRUCache(maxsize, _expires_at, timer=boot_clock)
        self._seats: dict[str, Seat] = {}

    def usable(self, key: CredentialKey) -> Held | None:
        """What may be served now."""
        with self._lock:
            return self._usable.get(key.name)

    def seat(self, key: CredentialKey) -> Seat:
        """The seat of `key`, made on first use."""
        # A dictionary's own operations are atomic: no lock for what happens once a key.
        return self._seats.get(key.name) or self._seats.setdefault(key.name, Seat(key))

    def seats(self) -> tuple[Seat, ...]:
        """All seats that anything is known of."""
        return tuple(self._seats.values())

    def canaries(self, keys: Iterable[CredentialKey]) -> Iterator[CredentialKey]:
        """The canaries of those of `keys` that no call has confirmed for an hour."""
        now = self._boot()
        for key in keys:
            canary = canary_of(key)
            held = canary and self.usable(key)
            if canary and held and now >= held.credential.started_at + held.offset + CANARY_SECONDS:
                yield canary

    def adopt(
        self, key: CredentialKey, credential: Credential, store_now: float, *, stands: bool = False
    ) -> bool:
        """Hold `credential` if its version is higher than all seen before; say whether it is.

        What `stands` in the store also wins a tie: without the store two processes may draw the same number.
        """
        held = Held(credential, self._boot() - store_now)
        seat = self.seat(key)
        with self.changed:
            tied = stands and seat.last is not None and credential.value != seat.last.credential.value
            if credential.version + tied <= seat.highest:
                return False
            if seat.last is not None and seat.last.value not in {"", credential.value}:
                seat.previous = seat.last.value
            seat.last = held
            self._usable.pop(key.name, None)
            if credential.usable(store_now):
                self._usable[key.name] = held
            seat.forgive()
            self.changed.notify_all()
        self._tell(Adopted(key, credential, held.usable_until))
        return True

    def reconcile(
        self, store: CredentialStore, keys: Sequence[CredentialKey], notes: Sequence[str] = ()
    ) -> View:
        """Adopt from `store` what is newer, put back there what it lacks or has in a lower version; return what it showed.

        Raises `StoreUnavailable`.
        """
        view = store.view([key.name for key in keys], notes)
        for key in keys:
            record = view.records.get(key.name)
            if record is not None:
                self.adopt(key, adopted(record, view.now), view.now, stands=True)
            if (back := self._to_put_back(key, record, view.now)) is not None:
                store.replace(key.name, back)
        return view

    def _to_put_back(
        self, key: CredentialKey, record: Credential | None, store_now: float
    ) -> Credential | None:
        seat, now = self.seat(key), self._boot()
        if seat.last is None or (record is not None and record.version >= seat.highest):
            return None
        credential = seat.last.as_of(store_now, now)
        # A tombstone counts as long as the value that it buried might be believed.
        buried = credential.value is None and store_now < credential.started_at + credential.life_seconds
        return credential if buried or seat.usable(now) is not None else None

    def settle(self, key: CredentialKey, result: Result) -> Result:
        """Remember in the seat how an attempt ended, and wake those who wait."""
        with self.changed:
            self.seat(key).settle(result, held_out=result.outcome is Outcome.HELD)
            self.changed.notify_all()
        return result

    @contextmanager
    def claim(self, key: CredentialKey, timeout_seconds: float) -> Iterator[bool]:
        """Be the one thread of this process that works on `key`, after the one that is at it now; says whether it is."""
        seat = self.seat(key)
        with self.changed:
            mine = self.changed.wait_for(lambda: not seat.busy, timeout_seconds)
            seat.busy = True  # by us, or still by the other one
        try:
            yield mine
        finally:
            if mine:
                self.let_go(seat)

    def let_go(self, seat: Seat) -> None:
        """End a claim."""
        with self.changed:
            seat.busy = False
            self.changed.notify_all()


def _expires_at(_name: str, held: Held, _now: float) -> float:
    return held.usable_until
