"""The threads that fetch, and what they do: short-lived, one per key, a bounded number of them a process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wxsign.broker.events import Intent, Outcome
from wxsign.broker.seat import Failed, Result
from wxsign.credentials import RefreshNeed
from wxsign.errors import NotRefreshed, TooManyRefreshes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.broker.attempt import Refresher
    from wxsign.broker.link import Link
    from wxsign.broker.near import NearCache
    from wxsign.broker.reports import Reports
    from wxsign.broker.seat import Report, Seat
    from wxsign.broker.surroundings import Surroundings
    from wxsign.credentials import CredentialKey

logger = logging.getLogger("wxsign.broker")

FETCHES_AT_ONCE = 8


class Fetches:
    """Runs work on keys in threads of its own; `wake` has the Watcher look at once after one that ended."""

    def __init__(  # noqa: PLR0913 -- the parts of a broker, which it is made by and for
        self,
        near: NearCache,
        link: Link,
        refresher: Refresher,
        reports: Reports,
        surroundings: Surroundings,
        wake: Callable[[], None],
        *,
        reader: bool,
    ) -> None:
        self._near = near
        self._link = link
        self._reports = reports
        self._reader = reader
        self._refresher = refresher
        self._boot = surroundings.boot_clock
        self._spawn = surroundings.spawn
        self._wake = wake
        self.running = 0

    def begin(self, seat: Seat, need: RefreshNeed, work: Callable[[], Result]) -> None:
        """Start `work` unless its key is being worked on; the lock is held. The last slot is for the empty."""
        slots = FETCHES_AT_ONCE if need is RefreshNeed.EMPTY else FETCHES_AT_ONCE - 1
        if seat.busy or self.running >= slots:
            return
        seat.busy = True
        self.running += 1
        try:
            self._spawn(lambda: self._run(seat, work))
        except RuntimeError:
            # The system has no thread to give: what is held is served, and the next look tries again.
            seat.busy = False
            self.running -= 1
            logger.exception("wxsign.no_thread")

    def _run(self, seat: Seat, work: Callable[[], Result]) -> None:
        outcome = Outcome.FAILED
        try:
            outcome = self._refresher.patiently(work, lambda: self._near.usable(seat.key) is not None).outcome
        except Exception:
            logger.exception(
                "wxsign.fetch_failed", extra={"fields": {"appid": seat.key.owner, "kind": seat.key.kind}}
            )
            # A fault of our own must not become a hot loop of calls.
            now = self._boot()
            failed = Failed(NotRefreshed("broken"), now, now + 60, now + 3)
            self._near.settle(seat.key, Result(Outcome.FAILED, failed))
        finally:
            with self._near.changed:
                self.running -= 1
            self._near.let_go(seat)
            # Who was kept out by a lease looks again with the next ordinary look.
            if outcome is not Outcome.HELD:
                self._wake()

    def refresh(self, key: CredentialKey) -> Result:
        """Refresh `key`, and remember how that ended."""
        result = self._read_only(key) if self._reader else self._refresher.refresh(key)
        return self._near.settle(key, result)

    def _read_only(self, key: CredentialKey) -> Result:
        """A reader's refresh: what the store has, for those who refresh put it there."""
        self._link.call(lambda store: self._near.reconcile(store, [key]))
        if self._near.usable(key) is not None:
            return Result(Outcome.FRESH)
        now = self._boot()
        return Result(Outcome.FAILED, Failed(NotRefreshed("reader"), now, now + 1, now + 1))

    def verify(self, key: CredentialKey, report: Report) -> Result:
        """Find out whether the reported token is dead, and if so refresh it. A verdict says nothing of failed fetches."""
        now = self._boot()
        if self._reader:
            result = Result(Outcome.FAILED, Failed(NotRefreshed("reader"), now, now, now))
        else:
            result = self._reports.verify(key, report)
        if result.outcome is Outcome.DEAD:
            result = self._near.settle(key, self._refresher.refresh(key, looked=True))
        elif result.outcome is Outcome.UNTRIED:
            result = self._refresher.refresh(key, Intent.RENEW, report.rejected, report.client)
            if not isinstance(result.error, TooManyRefreshes):
                self._near.settle(key, result)
        if result.outcome not in {Outcome.ALIVE, Outcome.FRESH, Outcome.HELD}:
            self._reports.conclude(key, report, result)
        return result
