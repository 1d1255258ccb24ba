"""The broker: serves what a process holds, and sees to it that the fleet fetches each credential once.

Usable beats policy: a credential with life left is served whatever else happens, an expired one never is. Empty is
the only reason to wait.
"""

from __future__ import annotations

import logging
from math import ceil
from typing import TYPE_CHECKING

from wxsign.broker.attempt import Attempts, Refresher
from wxsign.broker.early import EarlyLooks
from wxsign.broker.events import Intent, Observer, Upstream, teller
from wxsign.broker.fetches import Fetches
from wxsign.broker.guesses import Guesses
from wxsign.broker.issued import Issued
from wxsign.broker.ledger import Ledger, default_limit
from wxsign.broker.link import Leases, Link
from wxsign.broker.near import NearCache
from wxsign.broker.reports import Reports
from wxsign.broker.scene import known_failure
from wxsign.broker.schedule import concerns_machine
from wxsign.broker.seat import Failed, Held, Report, Result, Seat, told
from wxsign.broker.surroundings import Surroundings
from wxsign.broker.suspicion import theft_note, thefts_of
from wxsign.broker.waiting import WaitingRoom
from wxsign.broker.watcher import Watcher
from wxsign.credentials import CredentialKey, RefreshNeed, chain_of, sort_of
from wxsign.errors import CredentialUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wxsign.broker.ledger import Spending
    from wxsign.broker.suspicion import Theft
    from wxsign.stores import CredentialStore

logger = logging.getLogger("wxsign.broker")

SYNC_SECONDS = 0.05
ALONE_GAP_SECONDS = 60.0
REVIVE_SECONDS = 2.0
# A store rolled back to an older copy can show the very generation that was seen last.
FOLLOW_SECONDS = 10.0
THREADS = 8


class CredentialBroker:
    """Credentials for one process; make it after the fork, its threads start on first use.

    `store` is shared with the fleet, `upstream` makes the calls of WeChat, `warm` keys are kept fresh whether or not
    anybody asks, `maxsize` is never below the number of keys. `limit_of` gives the calls a day that an account has of
    one kind. A `reader` never calls WeChat: it serves what others put into the store. `threads` serve requests here.
    `after_look` is called when a look of the Watcher has ended, whatever came of it.
    """

    def __init__(  # noqa: PLR0913 -- keyword-only, each with the real thing as its default
        self,
        store: CredentialStore,
        upstream: Upstream,
        *,
        warm: Iterable[CredentialKey] = (),
        maxsize: int = 1024,
        limit_of: Callable[[CredentialKey, str], int] = default_limit,
        reader: bool = False,
        threads: int = THREADS,
        observers: Sequence[Observer] = (),
        after_look: Callable[[], None] = lambda: None,
        surroundings: Surroundings | None = None,
    ) -> None:
        around = surroundings or Surroundings()
        self._boot = around.boot_clock
        tell = teller(observers)
        self._reader = reader
        self._after_look = after_look
        self.machine = around.machine
        self._warm = tuple(dict.fromkeys(warm))
        self._near = NearCache(maxsize, self._boot, tell)
        self.link = Link(store, around)
        self._ledger = Ledger(limit_of)
        self._leases = Leases(self.link, around)
        near, link, leases, ledger = self._near, self.link, self._leases, self._ledger
        self._reports = Reports(near, link, leases, upstream, ledger, self._boot, tell)
        self._attempts = Attempts(near, link, leases, upstream, ledger, self._reports, around, tell)
        self._refresher = Refresher(near, link, self._attempts, self._reports, around)
        self.early = EarlyLooks(near, link, self._refresher, self._boot, reader=reader)
        self.waiting = WaitingRoom(threads, self._boot)
        self._watcher = Watcher(self.watch, self._boot)
        self._fetches = Fetches(
            near, link, self._refresher, self._reports, around, self._watcher.wake, reader=reader
        )
        self.issued = Issued(near, link, self._boot)
        self.guesses = Guesses(link, upstream, ledger, around.spawn, self.report)
        self.thefts: Mapping[str, Theft] = {}
        self._generation: int | None = None
        self._follow_by = 0.0

    def start(self) -> None:
        """Start the Watcher; it also starts by itself on first use."""
        self._watcher.ensure_running()

    def stop(self) -> None:
        """Stop the Watcher and give back every lease under which no call is in flight."""
        self._watcher.stop()
        self._leases.release_all()

    @property
    def watching(self) -> bool:
        """Whether the Watcher's looks come to an end, or none has begun yet."""
        return not self._watcher.failing

    # ------------------------------------------------------------------------------- who asks

    def get(self, key: CredentialKey) -> Held:
        """The credential of `key`: at once while one is usable, else after the one fetch of a cold start.

        Raises `CredentialUnavailable` at once when an attempt has failed, and after 10 s at the most.
        """
        now = self._boot()
        self._near.seat(key).asked_at = now
        if now - self._watcher.beat > REVIVE_SECONDS:
            self._watcher.ensure_running()
        return self._near.usable(key) or self._await(key)

    def fresh(self, key: CredentialKey) -> Held:
        """The same after a look at the store, which may take 50 ms: callers read what was written before they asked."""
        self._watcher.sync(SYNC_SECONDS)
        return self.get(key)

    def report(self, key: CredentialKey, rejected: str, client: str = "") -> tuple[Held, bool]:
        """`client` says that WeChat rejected the access_token `rejected`: return the current one.

        A report is a hint: only if it names the current token is WeChat asked, once for all reporters. The flag says
        that the very token reported was found alive. Raises `CredentialUnavailable`.
        """
        report = Report(rejected, self._boot(), client)
        self._watcher.sync(SYNC_SECONDS)
        # A process that has only just started gets to know the current one first, which may be the one reported.
        self.get(key)
        seat = self._near.seat(key)
        with self._near.changed, self.waiting.place(seat) as place:
            while (held := seat.usable(now := self._boot())) is not None:
                verdict = seat.verdict
                if held.value != rejected:
                    return held, False
                if verdict is not None and verdict.answers(report, now):
                    if verdict.error is not None:
                        raise CredentialUnavailable(
                            verdict.error, max(1, ceil(verdict.until - now)), what=sort_of(key).what
                        )
                    return held, verdict.alive
                if not (seconds := place.seconds(now)):
                    raise CredentialUnavailable(None, 1, what=sort_of(key).what)
                self._fetches.begin(seat, RefreshNeed.EMPTY, lambda: self._fetches.verify(key, report))
                self._near.changed.wait(seconds)
        return self.get(key), False

    def refresh_now(self, key: CredentialKey) -> Result:
        """Refresh `key` now, whatever the schedule and the doors say: an operator asked for it."""
        result = self._refresher.alone(key, lambda: self._refresher.refresh(key, Intent.ASKED))
        return self._near.settle(key, result)

    def standing(self, key: CredentialKey) -> tuple[Held | None, Failed | None]:
        """What this process holds and the last failure it knows of, for those who report on the state."""
        seat = self._near.seat(key)
        return seat.usable(self._boot()), seat.failed

    def boot_now(self) -> float:
        """The present moment on the boot clock."""
        return self._boot()

    def now(self, held: Held) -> float:
        """The present moment in the times of `held`."""
        return self._boot() - held.offset

    # ------------------------------------------------------------------------------- who looks

    def watch(self) -> None:
        """One look of the Watcher: follow the store, then start what is due."""
        try:
            if (
                self.link.lost is not None
                or not self._generation
                or self._boot() >= self._follow_by
                or self.link.ask(lambda store: store.generation()) != self._generation
            ):
                self.follow()
            for key in self.wanted():
                self._consider(key)
        finally:
            self._after_look()

    def follow(self, keys: Iterable[CredentialKey] = ()) -> None:
        """Take over what the store has of the wanted and the given keys, and put back what it lacks; fetch nothing.

        Of the given keys, and of those that fail here, the failures that stand in the store are taken over too.
        """
        given = tuple(keys)
        known = {seat.key: None for seat in self._near.seats()} | dict.fromkeys((*self.wanted(), *given))
        asked = dict.fromkeys((*given, *(key for key in known if self._near.seat(key).failed)))
        doors = {key: self._attempts.doors_of(key) for key in asked}
        notes = dict.fromkeys(name for names in doors.values() for name in names)
        notes |= {theft_note(key): None for key in known}
        view = self.link.ask(lambda store: self._near.reconcile(store, tuple(known), tuple(notes)))
        self._generation = view.generation if view else None
        self._follow_by = self._boot() + FOLLOW_SECONDS
        if view is None:
            return
        self.thefts = thefts_of(known, view.notes)
        now = self._boot()
        with self._near.changed:
            for key, names in doors.items():
                seat = self._near.seat(key)
                failed = known_failure(view, names, seat, now)
                if failed is not None and key in given:
                    seat.failed = failed
                elif failed is None and seat.failed and concerns_machine(seat.failed.error):
                    # Another worker of this machine has put it right.
                    seat.failed = None

    def in_use(self) -> tuple[CredentialKey, ...]:
        """The keys that were asked for in the last two hours, or are warm."""
        now = self._boot()
        asked = (seat.key for seat in self._near.seats() if seat.in_use(now))
        return tuple(dict.fromkeys((*self._warm, *asked)))

    def wanted(self) -> tuple[CredentialKey, ...]:
        """The keys that this process keeps fresh: those in use and what they are fetched with, which comes first."""
        chains = [chain_of(key) for key in self.in_use()]
        deepest = max((len(chain) for chain in chains), default=0)
        keys = dict.fromkeys(
            chain[-depth] for depth in range(1, deepest + 1) for chain in chains if len(chain) >= depth
        )
        return (*keys, *self._near.canaries(keys))

    def spending(self, keys: Iterable[CredentialKey]) -> Mapping[str, tuple[Spending, ...]]:
        """What each account has used today, by AppID, of the calls that `keys` and their reports cost."""
        wanted = tuple(keys)
        return self.link.call(lambda store: self._ledger.spending(store, wanted))

    def acknowledge(self, keys: Iterable[CredentialKey]) -> None:
        """Forget the thefts of the accounts that `keys` belong to: somebody has seen to it."""
        names = tuple(dict.fromkeys(theft_note(key) for key in keys))
        self.link.call(lambda store: store.erase(names))

    # ------------------------------------------------------------------------------- who waits, who starts what

    def _await(self, key: CredentialKey) -> Held:
        seat, woken = self._near.seat(key), False
        chain = [self._near.seat(link) for link in chain_of(key)]
        with self._near.changed, self.waiting.place(seat) as place:
            while (held := seat.usable(now := self._boot())) is None:
                if (failed := told(chain, now)) is not None:
                    raise CredentialUnavailable(
                        failed.error, failed.retry_after_seconds(now), what=sort_of(key).what
                    )
                if not (seconds := place.seconds(now)):
                    raise CredentialUnavailable(None, 1, what=sort_of(key).what)
                # Woken by a look that found a closed door, it does not look again at once.
                if not woken or self._may_try(seat, RefreshNeed.EMPTY):
                    self._fetches.begin(seat, RefreshNeed.EMPTY, lambda: self._fetches.refresh(key))
                woken = self._near.changed.wait(seconds)
            return held

    def _consider(self, key: CredentialKey) -> None:
        """Start a background refresh of `key` if one is due and may start."""
        seat = self._near.seat(key)
        need = seat.need(self._boot())
        if need is not RefreshNeed.NONE and self._may_try(seat, need):
            with self._near.changed:
                self._fetches.begin(seat, need, lambda: self._fetches.refresh(key))

    def _may_try(self, seat: Seat, need: RefreshNeed) -> bool:
        now, empty = self._boot(), need is RefreshNeed.EMPTY
        if not seat.time_to_try(need, now) or (self._reader and not empty):
            # A reader's looks bring what the others fetch.
            return False
        if self.link.lost is None or empty:
            return True
        # Without the store every process fetches for itself: a value that rotates would be killed by each of them.
        rested = now >= seat.called_at + ALONE_GAP_SECONDS
        return rested and not sort_of(seat.key).rotates and self.link.may_go_alone()
