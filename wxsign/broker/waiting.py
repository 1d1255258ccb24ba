"""Who may wait for an empty credential, and how long: a hanging WeChat must not take every thread of a process.

Callers wait freely for a second, so that an ordinary cold start refuses nobody, and for what another machine may bring until
that is known. Beyond it only a quarter of the
process's threads may go on waiting, and one account at most half of those.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wxsign.broker.seat import Seat

FREE_WAIT_SECONDS = 1.0
COLD_WAIT_SECONDS = 10.0
LOOK_UP_SECONDS = 0.5


class Place:
    """One caller's place in the waiting room."""

    def __init__(self, room: WaitingRoom, seat: Seat, now: float) -> None:
        self._room = room
        self._seat = seat
        self._deadline = now + COLD_WAIT_SECONDS
        self.is_kept = False

    def seconds(self, now: float) -> float:
        """How long to wait until the next look; 0 for a caller who must leave. The lock of the table is held."""
        free = max(self._seat.waited_since + FREE_WAIT_SECONDS, self._seat.others_bring_until) - now
        if free > 0:
            return min(free, LOOK_UP_SECONDS)
        self.is_kept = self.is_kept or self._room.keep(self._seat)
        return max(0.0, min(self._deadline - now, LOOK_UP_SECONDS)) if self.is_kept else 0.0


class WaitingRoom:
    """The waiting callers of one process that serves requests with `threads` threads."""

    def __init__(self, threads: int, boot_clock: Callable[[], float]) -> None:
        self._boot = boot_clock
        self._kept: Counter[str] = Counter()
        self.resize(threads)

    def resize(self, threads: int) -> None:
        """Serve with another number of threads."""
        self._places = max(1, threads // 4)
        self._an_account = max(1, self._places // 2)

    @contextmanager
    def place(self, seat: Seat) -> Iterator[Place]:
        """Wait for `seat`; the first who comes starts the free second of all. The lock of the table is held."""
        now = self._boot()
        if not seat.waiting:
            seat.waited_since = now
        seat.waiting += 1
        place = Place(self, seat, now)
        try:
            yield place
        finally:
            seat.waiting -= 1
            if place.is_kept:
                self._kept[_account(seat)] -= 1

    def keep(self, seat: Seat) -> bool:
        """Take a place beyond the free second, if there is one."""
        account = _account(seat)
        if self._kept.total() >= self._places or self._kept[account] >= self._an_account:
            return False
        self._kept[account] += 1
        return True


def _account(seat: Seat) -> str:
    return f"{seat.key.api_base}|{seat.key.owner}"
