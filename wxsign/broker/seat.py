"""All that a process knows of one key: what it holds, what failed, what was asked. Pure but for the values it keeps.

Times are on the boot clock unless they are said to be the store's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from wxsign.broker.schedule import concerns_machine
from wxsign.credentials import LONG_AGO, Credential, CredentialKey, RefreshNeed, digest, sort_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxsign.broker.events import Outcome
    from wxsign.errors import WxSignError

IN_USE_SECONDS = 2 * 3600.0
KNOWN_FAILURE_GRACE_SECONDS = 10.0
# What another machine fetches reaches every worker within two seconds.
OTHERS_FETCH_SECONDS = 2.0
# A report comes a moment after the call that it tells of: a verdict asked for so long before it is still about it.
REPORT_LAG_SECONDS = 1.0


class Held(NamedTuple):
    """A credential in this process. `offset` is the boot clock less the store's clock when it was adopted.

    Its expiry is thereby fixed on the boot clock, which no step of any other clock moves.
    """

    credential: Credential
    offset: float

    @property
    def value(self) -> str:
        return self.credential.value or ""

    @property
    def usable_until(self) -> float:
        """On the boot clock; a tombstone's is long past."""
        return self.credential.usable_until + self.offset if self.credential.value is not None else -math.inf

    def as_of(self, store_now: float, boot_now: float) -> Credential:
        """The credential in the times of the store's clock, which may have been stepped since."""
        step = store_now + self.offset - boot_now
        return self.credential if abs(step) < 1 else _moved(self.credential, step)

    def __repr__(self) -> str:
        return f"Held({self.credential!r})"


class Failed(NamedTuple):
    """An attempt that started at `at` and failed, and when the next may start: ordinarily, and where nothing is left.

    `others_fetch`: this machine failed while another one has gone on fetching. `first_of_machine`: whether another one
    has is not known yet. Nobody is told before `untold_until`: somebody is about to put it right. `since`, by the store's
    clock, is when this failing began, 0 where nobody knows; `door` is the note that stands in the store for as long.
    """

    error: WxSignError
    at: float
    next_try: float
    next_try_empty: float
    others_fetch: bool = False
    first_of_machine: bool = False
    untold_until: float = -math.inf
    since: float = 0.0
    door: str = ""

    def retry_after_seconds(self, now: float) -> int:
        """What a caller is told at `now`: whole seconds, at least one."""
        return max(1, math.ceil(self.next_try_empty - now))


class Result(NamedTuple):
    """How an attempt ended."""

    outcome: Outcome
    failed: Failed | None = None

    @property
    def error(self) -> WxSignError | None:
        """What went wrong, if anything did."""
        return self.failed and self.failed.error


class Report(NamedTuple):
    """`client` says that WeChat rejected a value; it came at `arrived_at`."""

    rejected: str
    arrived_at: float
    client: str = ""

    def __repr__(self) -> str:
        return f"Report(client={self.client!r}, arrived_at={self.arrived_at})"


class Verdict(NamedTuple):
    """What came of asking WeChat about the value with `digest`, asked at `asked_at`.

    It counts for reports that came at most a second later: `alive`, or where it is not, WeChat gave the very value again.
    With an `error` nobody could ask, and it counts until `until`. `client`: it is this one's alone.
    """

    digest: str
    asked_at: float
    alive: bool
    until: float = -math.inf
    error: WxSignError | None = None
    client: str | None = None

    def answers(self, report: Report, now: float) -> bool:
        """Whether it answers `report`."""
        if self.digest != digest(report.rejected) or self.client not in {None, report.client}:
            return False
        if self.error is not None:
            return now < self.until
        return self.asked_at >= report.arrived_at - REPORT_LAG_SECONDS


@dataclass(slots=True)
class Seat:
    """What a process knows of `key`. The lock of its table is held for every change."""

    key: CredentialKey
    last: Held | None = None
    failed: Failed | None = None
    verdict: Verdict | None = None
    asked_at: float = -math.inf
    called_at: float = -math.inf
    busy: bool = False
    waiting: int = 0
    waited_since: float = -math.inf
    # The last value that another one took the place of.
    previous: str = field(default="", repr=False)

    @property
    def highest(self) -> int:
        """The highest version seen, 0 for none."""
        return self.last.credential.version if self.last else 0

    def in_use(self, now: float) -> bool:
        """Whether somebody asked for it in the last two hours."""
        return self.asked_at > now - IN_USE_SECONDS

    def usable(self, now: float) -> Held | None:
        """What may be served."""
        return self.last if self.last is not None and now < self.last.usable_until else None

    def need(self, now: float) -> RefreshNeed:
        """What the process's copy needs."""
        held = self.usable(now)
        return sort_of(self.key).need(held and held.credential, now - held.offset if held else 0.0)

    def last_as_of(self, store_now: float, boot_now: float) -> Credential | None:
        """The highest version seen, usable or not, in the times of the store's clock."""
        return self.last and self.last.as_of(store_now, boot_now)

    def time_to_try(self, need: RefreshNeed, now: float) -> bool:
        """Whether the failures that this process knows of allow another attempt."""
        if self.failed is None:
            return True
        return now >= (self.failed.next_try_empty if need is RefreshNeed.EMPTY else self.failed.next_try)

    def settle(self, result: Result, *, held_out: bool) -> None:
        """Remember the failure that callers of an empty credential are told, or forget the one before."""
        if result.failed is not None:
            # A further failure of this machine says nothing new about the others.
            others = self.failed is not None and self.failed.others_fetch
            others = others and concerns_machine(result.failed.error)
            self.failed = result.failed._replace(others_fetch=True) if others else result.failed
        elif not held_out:
            self.failed = None

    def forgive(self) -> None:
        """Somebody succeeded: forget the failure, or note that others fetch where this machine cannot."""
        if self.failed is not None:
            machines = concerns_machine(self.failed.error)
            self.failed = self.failed._replace(others_fetch=True) if machines else None

    @property
    def others_bring_until(self) -> float:
        """Until when a value that has only just run out here is waited for: others may well be fetching its successor."""
        failed = self.failed
        others_may = failed is not None and (failed.others_fetch or failed.first_of_machine)
        return self.last.usable_until + OTHERS_FETCH_SECONDS if self.last and others_may else -math.inf

    def told(self, now: float) -> Failed | None:
        """The failure that a caller is told who finds nothing usable; None while it is worth waiting."""
        failed = self.failed
        if failed is None:
            return None
        if now < max(failed.untold_until, self.others_bring_until):
            return None
        # What failed while something was still held is tried again by the ordinary, longer backoff.
        until = max(failed.next_try, failed.next_try_empty)
        return failed if now < until + KNOWN_FAILURE_GRACE_SECONDS else None


def told(chain: Sequence[Seat], now: float) -> Failed | None:
    """What a caller of the first of `chain` is told: the fresher failure, its own or that of what it is fetched with."""
    first, *needed = chain
    known = [first]
    for seat in needed:
        if seat.usable(now) is not None:
            break
        # For this machine another one may have fetched what is needed.
        if seat.failed is not None and not concerns_machine(seat.failed.error):
            known.append(seat)
    known.sort(key=lambda seat: seat.failed.at if seat.failed else -math.inf, reverse=True)
    return next((found for seat in known if (found := seat.told(now)) is not None), None)


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
