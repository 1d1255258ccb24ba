"""The store that the fleet shares, and what a process does while it cannot be reached (rule 8)."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from wxsign.errors import StoreUnavailable
from wxsign.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxsign.broker.surroundings import Surroundings
    from wxsign.stores import CredentialStore, Lease

logger = logging.getLogger("wxsign.broker")
T = TypeVar("T")

ALONE_SPREAD_SECONDS = 60.0
SKEW_SECONDS = 5.0


class _StandIn(MemoryStore):
    """What a process keeps for itself. Its leases and notes are the machine's, where that has a place for them.

    So no more calls are in flight for one credential than there are machines, however many processes start with nothing,
    and all of a machine's know of a failure.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings.wall_clock)
        self._machine_store = surroundings.machine_store
        self._in_its_place = MemoryStore(surroundings.wall_clock)

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        held = self.load((name,)).get(name)
        known = max(highest, held.version if held else 0)
        return self._shared(lambda store: store.acquire(name, holder, lease_seconds, known))

    def release(self, lease: Lease) -> None:
        self._shared(lambda store: store.release(lease))

    def notes(self, names: Sequence[str]) -> Mapping[str, str]:
        return self._shared(lambda store: store.notes(names))

    def note(self, name: str, text: str, lasts_seconds: float) -> None:
        self._shared(lambda store: store.note(name, text, lasts_seconds))

    def erase(self, names: Sequence[str]) -> None:
        self._shared(lambda store: store.erase(names))

    def _shared(self, work: Callable[[CredentialStore], T]) -> T:
        if self._machine_store is not None:
            with suppress(StoreUnavailable):
                return work(self._machine_store)
        return work(self._in_its_place)


class Fleet:
    """Runs work on the shared store, or on a stand-in in this process's memory while the shared one is away.

    Once the store has failed, only `look` (the Watcher's) asks it again, so that nothing else waits for it.
    """

    def __init__(self, store: CredentialStore, surroundings: Surroundings) -> None:
        self.shared = store
        self.lost: StoreUnavailable | None = None
        self.clock_skew_seconds = 0.0
        self._stand_in = _StandIn(surroundings)
        self._wall_clock = surroundings.wall_clock
        self._boot_clock = surroundings.boot_clock
        self._random = surroundings.random
        self._alone_from = float("-inf")

    def call(self, work: Callable[[CredentialStore], T]) -> T:
        """Run `work` on the shared store; if it fails or is known to be away, on the stand-in."""
        if self.lost is None:
            try:
                return work(self.shared)
            except StoreUnavailable as error:
                self._lose(error)
        return work(self._stand_in)

    def look(self) -> int | None:
        """The shared store's generation, or None while it cannot be reached."""
        try:
            generation = self.shared.generation()
            self._compare_clocks()
            self._try_to_write()
        except StoreUnavailable as error:
            self._lose(error)
            return None
        if self.lost is not None:
            self.lost = None
            logger.warning("wxsign.store_returned")
        return generation

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

    def _lose(self, error: StoreUnavailable) -> None:
        if self.lost is None:
            fields = {"detail": error.detail, "hint": error.hint.en}
            logger.warning("wxsign.store_lost", extra={"fields": fields})
            now = self._boot_clock()
            if now >= self._alone_from + ALONE_SPREAD_SECONDS:
                self._alone_from = now + ALONE_SPREAD_SECONDS * self._random()
        self.lost = error
