"""The way to the store that the fleet shares: what a process does while it is away (rule 8), and the leases it has there."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from wxsign.errors import StoreUnavailable
from wxsign.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wxsign.broker.surroundings import Surroundings
    from wxsign.credentials import Credential, CredentialKey
    from wxsign.stores import CredentialStore, Lease, View

logger = logging.getLogger("wxsign.broker")
T = TypeVar("T")

ALONE_SPREAD_SECONDS = 60.0
SKEW_SECONDS = 5.0
# The longest call, which the client's deadline ends; a call begins only where its lease outlives it.
CALL_SECONDS = 4.0
LEASE_SECONDS = 2 * CALL_SECONDS


class _StandIn(MemoryStore):
    """What a process keeps for itself. Its leases and notes are the machine's, where that has a place for them.

    So no more calls are in flight for one credential than there are machines, however many processes start with nothing,
    and all of a machine's know of a failure.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings.wall_clock)
        self._machine_store = surroundings.machine_store
        self._in_its_place = MemoryStore(surroundings.wall_clock)

    def view(self, names: Sequence[str], notes: Sequence[str] = ()) -> View:
        return super().view(names)._replace(notes=self._shared(lambda store: store.view((), notes)).notes)

    def replace(self, name: str, credential: Credential, lease: Lease | None = None) -> bool:
        replaced = super().replace(name, credential)
        if lease is not None:
            self.release(lease)
        return replaced

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        held = super().view((name,)).records.get(name)
        known = max(highest, held.version if held else 0)
        return self._shared(lambda store: store.acquire(name, holder, lease_seconds, known))

    def release(self, lease: Lease) -> None:
        self._shared(lambda store: store.release(lease))

    def note(self, name: str, text: str, lasts_seconds: float, *, event: bool = False) -> None:
        self._shared(lambda store: store.note(name, text, lasts_seconds, event=event))

    def erase(self, names: Sequence[str]) -> None:
        super().erase(names)
        self._shared(lambda store: store.erase(names))

    def _shared(self, work: Callable[[CredentialStore], T]) -> T:
        if self._machine_store is not None:
            with suppress(StoreUnavailable):
                return work(self._machine_store)
        return work(self._in_its_place)


class Link:
    """Hands out the store: the shared one, or a stand-in in this process's memory while that is away.

    Who does several things that belong together takes `store` once, so that one store and one clock count for all of
    it. Once the store has failed, only `ask` (the Watcher's) tries it again: nothing else waits for it.
    """

    def __init__(self, store: CredentialStore, surroundings: Surroundings) -> None:
        self.shared = store
        self.lost: StoreUnavailable | None = None
        self.lost_at = 0.0
        self.clock_skew_seconds = 0.0
        self._stand_in = _StandIn(surroundings)
        self._wall_clock = surroundings.wall_clock
        self._boot_clock = surroundings.boot_clock
        self._random = surroundings.random
        self._alone_from = float("-inf")

    @property
    def store(self) -> CredentialStore:
        """The store to work on now."""
        return self.shared if self.lost is None else self._stand_in

    def call(self, work: Callable[[CredentialStore], T]) -> T:
        """Do one thing, on the stand-in where the shared store fails."""
        store = self.store
        try:
            return work(store)
        except StoreUnavailable as error:
            self.lose(error)
            return work(self._stand_in)

    def ask(self, work: Callable[[CredentialStore], T]) -> T | None:
        """Ask the shared store even where it was lost; None while it cannot be reached. Its clock is compared with ours."""
        try:
            answer = work(self.shared)
            self._compare_clocks()
            self._try_to_write()
        except StoreUnavailable as error:
            self.lose(error)
            return None
        if self.lost is not None:
            self.lost = None
            logger.warning("wxsign.store_returned")
        return answer

    def _try_to_write(self) -> None:
        """A store that can only be read (its disk is full) has not returned. Raises `StoreUnavailable`."""
        if self.lost is not None:
            self.shared.note("store-returned", "", 1.0)

    def may_go_alone(self) -> bool:
        """Whether a refresh that is due, but not urgent, may start without the store.

        Each process waits a random part of a minute first: all of them saw the store go at the same moment.
        """
        return self.lost is None or self._boot_clock() >= self._alone_from

    @property
    def clock_skewed(self) -> bool:
        """Whether this machine's clock is too far from the store's; only a signature's timestamp suffers from it."""
        return abs(self.clock_skew_seconds) > SKEW_SECONDS

    def _compare_clocks(self) -> None:
        before = self.clock_skewed
        self.clock_skew_seconds = self._wall_clock() - self.shared.now()
        if self.clock_skewed and not before:
            fields = {"ahead_of_store_seconds": round(self.clock_skew_seconds, 1)}
            logger.warning("wxsign.clock_skewed", extra={"fields": fields})

    def lose(self, error: StoreUnavailable) -> None:
        """The shared store has failed: work goes on without it."""
        if self.lost is None:
            self.lost_at = self._wall_clock()
            fields = {"detail": error.detail, "hint": error.hint.en}
            logger.warning("wxsign.store_lost", extra={"fields": fields})
            now = self._boot_clock()
            if now >= self._alone_from + ALONE_SPREAD_SECONDS:
                self._alone_from = now + ALONE_SPREAD_SECONDS * self._random()
        self.lost = error


class Hold:
    """A lease while it is had. A lease covers exactly one call of WeChat."""

    def __init__(self, lease: Lease, asked_at: float, granted_at: float) -> None:
        self.lease = lease
        self.calling = False
        self.ended = False
        # On the boot clock. What the store took to grant it must not count as WeChat's: a ticket would seem to live longer.
        self.granted_at = granted_at
        self._asked_at = asked_at

    def outlives_a_call(self, now: float) -> bool:
        """Whether a call that begins `now` certainly ends before the lease does: suspended since, it may not."""
        return now - self._asked_at <= LEASE_SECONDS - CALL_SECONDS


class Leases:
    """The leases of one process, which the machine's name and the process id name in the store."""

    def __init__(self, link: Link, surroundings: Surroundings) -> None:
        self._link = link
        self._holder = f"{surroundings.machine}:{os.getpid()}"
        self._boot = surroundings.boot_clock
        self._holds: dict[Hold, CredentialStore] = {}
        self._ended = False

    @contextmanager
    def hold(self, store: CredentialStore, key: CredentialKey, highest: int) -> Iterator[Hold | None]:
        """Have the lease of `key` for the block; None while somebody else has it. Raises `StoreUnavailable`."""
        asked_at = self._boot()
        lease = None if self._ended else store.acquire(key.name, self._holder, LEASE_SECONDS, highest)
        if lease is None:
            yield None
            return
        hold = Hold(lease, asked_at, self._boot())
        self._holds[hold] = store
        try:
            # Taken while the process was ending: left alone it would keep the others out until it lapses.
            yield None if self._ended else hold
        finally:
            self._give_back(hold)

    def release_all(self) -> None:
        """Give back what this process holds, and take no more: it ends.

        A lease under which a call is in flight stays until it lapses: nobody knows what that call will have done.
        """
        self._ended = True
        for hold in tuple(self._holds):
            if not hold.calling:
                self._give_back(hold)

    def _give_back(self, hold: Hold) -> None:
        store = self._holds.pop(hold, None)
        if store is None or hold.ended:
            return
        try:
            store.release(hold.lease)
        except StoreUnavailable as error:
            self._link.lose(error)
