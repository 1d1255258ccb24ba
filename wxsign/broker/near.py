"""What one process holds: the only thing that a signature waits for."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cachetools import TLRUCache

from wxsign.credentials import LONG_AGO, Credential, adopted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxsign.stores import CredentialStore


class Held(NamedTuple):
    """A credential in this process. `offset` is the boot clock less the store's clock when it was adopted.

    Its expiry is thereby fixed on the boot clock, which no step of any other clock moves.
    """

    credential: Credential
    offset: float

    @property
    def value(self) -> str:
        return self.credential.value or ""

    def __repr__(self) -> str:
        return f"Held({self.credential!r})"


class NearCache:
    """The usable credentials of a process, each until its own expiry, and the last version seen of every one.

    `changed` is the process's one condition: its lock is held for look-ups only, never across I/O.
    """

    def __init__(
        self, maxsize: int, boot_clock: Callable[[], float], adopting: Callable[[str], object] = str
    ) -> None:
        """`adopting` is told each name that gets a new version, with the lock held."""
        self.changed = threading.Condition(threading.Lock())
        self._boot_clock = boot_clock
        self._adopting = adopting
        self._usable: TLRUCache[str, Held] = TLRUCache(maxsize, _expires_at, timer=boot_clock)
        self._last: dict[str, Held] = {}

    def usable(self, name: str) -> Held | None:
        """What may be served now under `name`."""
        with self.changed:
            return self._usable.get(name)

    def usable_locked(self, name: str) -> Held | None:
        """The same, for a caller that holds the lock of `changed`."""
        return self._usable.get(name)

    def last(self, name: str) -> Held | None:
        """The highest version seen, usable or not: it may have expired, or be a tombstone."""
        return self._last.get(name)

    def last_as_of(self, name: str, store_now: float) -> Credential | None:
        """The same in the times of the store's clock at `store_now`, which may have been stepped since."""
        last = self._last.get(name)
        return last and self._as_of(last, store_now)

    def names(self) -> tuple[str, ...]:
        """Everything ever held."""
        with self.changed:
            return tuple(self._last)

    def highest(self, name: str) -> int:
        """The highest version seen under `name`, 0 for none."""
        last = self._last.get(name)
        return last.credential.version if last else 0

    def adopt(self, name: str, credential: Credential, store_now: float, *, stands: bool = False) -> bool:
        """Hold `credential` if its version is higher than all seen before; say whether it is.

        What `stands` in the store also wins a tie: without the store two processes may draw the same number.
        """
        held = Held(credential, self._boot_clock() - store_now)
        with self.changed:
            last = self._last.get(name)
            tied = last is not None and stands and credential.value != last.credential.value
            if credential.version + tied <= self.highest(name):
                return False
            self._last[name] = held
            self._usable.pop(name, None)
            if credential.usable(store_now):
                self._usable[name] = held
            self._adopting(name)
            self.changed.notify_all()
            return True

    def reconcile(self, store: CredentialStore, names: Sequence[str]) -> None:
        """Adopt from `store` what is newer, and put back there what it lacks or has in a lower version.

        Raises `StoreUnavailable`.
        """
        standing = store.load(names)
        now = store.now()
        for name, record in standing.items():
            self.adopt(name, adopted(record, now), now, stands=True)
        self._put_back(store, {name: standing.get(name) for name in names}, now)

    def _put_back(
        self, store: CredentialStore, standing: Mapping[str, Credential | None], now: float
    ) -> None:
        for name, record in standing.items():
            held = self.usable(name)
            if held and (record is None or record.version < held.credential.version):
                store.replace(name, self._as_of(held, now))

    def _as_of(self, held: Held, store_now: float) -> Credential:
        """The held credential in the times of the store's clock, which may have been stepped since."""
        step = store_now + held.offset - self._boot_clock()
        return held.credential if abs(step) < 1 else _moved(held.credential, step)


def _expires_at(_name: str, held: Held, _now: float) -> float:
    return held.credential.usable_until + held.offset


def _moved(credential: Credential, seconds: float) -> Credential:
    def move(moment: float) -> float:
        return moment + seconds if moment != LONG_AGO else LONG_AGO

    return replace(
        credential,
        started_at=move(credential.started_at),
        earliest_expiry=move(credential.earliest_expiry),
        latest_expiry=move(credential.latest_expiry),
        alive_until=move(credential.alive_until),
    )
