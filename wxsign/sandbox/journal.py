"""What calls the sandbox saw. Addresses of pages, tokens and secrets never come in here."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

KEPT = 2_000


@dataclass
class Visit:
    """One call. `status`, `errcode` and `seconds` are None while it is in flight; `status` 0: no HTTP answer came.

    `client`: its address, and how its program calls itself.
    """

    at: float
    endpoint: str
    method: str
    appid: str
    remote_addr: str
    fault: str | None = None
    errcode: int | None = None
    status: int | None = None
    seconds: float | None = None
    rotated: bool = False
    client: str = ""


class Journal:
    """A bounded log of calls with counters. Not thread-safe: its owner holds the lock."""

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self.calls: Counter[str] = Counter()
        self.in_flight_max: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._visits: deque[Visit] = deque(maxlen=KEPT)
        self._elapsed = elapsed
        self._begun: dict[int, float] = {}

    def arrive(self, visit: Visit) -> None:
        """Counts a call when it comes in."""
        self._visits.append(visit)
        self._begun[id(visit)] = self._elapsed()
        self.calls[visit.endpoint] += 1
        self._in_flight[visit.endpoint] += 1
        now_in_flight = self._in_flight[visit.endpoint]
        self.in_flight_max[visit.endpoint] = max(now_in_flight, self.in_flight_max[visit.endpoint])

    def leave(self, visit: Visit) -> None:
        """The call is over, with or without an answer."""
        self._in_flight[visit.endpoint] -= 1
        visit.seconds = round(self._elapsed() - self._begun.pop(id(visit)), 6)
        visit.status = visit.status or 0

    def visits(self) -> list[Visit]:
        """Copies, oldest first."""
        return [replace(visit) for visit in self._visits]
