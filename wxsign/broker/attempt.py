"""A refresh, from top to bottom: obtain the lease, look again, is it still needed, call once, settle.

The lease saves calls; the fencing number keeps the truth. An attempt has one store and one clock: it takes the store
once, and one that fails before the call means "held, try again". After the call what came is adopted first and written
then; a write that fails is left to the Watcher, which puts back what the store lacks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from wxsign.broker.events import Intent, Outcome, RefreshEvent
from wxsign.broker.scene import Scene, doors_of_the_future, failed_of, failures_in, next_try
from wxsign.broker.schedule import (
    DOOR_MEMORY_SECONDS,
    Doors,
    Failure,
    doors_of,
    encode,
    failure_of,
)
from wxsign.broker.seat import Failed, Result
from wxsign.broker.suspicion import excuses, note_unanswered, suspect
from wxsign.credentials import RefreshNeed, Sighting, digest, needed_by, sort_of
from wxsign.errors import (
    FailureScope,
    StoreUnavailable,
    TooManyRefreshes,
    WeChatBadAnswer,
    WeChatError,
    WeChatRefused,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.broker.events import Granted, Observer, Upstream
    from wxsign.broker.ledger import Ledger
    from wxsign.broker.link import Hold, Leases, Link
    from wxsign.broker.near import NearCache
    from wxsign.broker.reports import Reports
    from wxsign.broker.seat import Seat
    from wxsign.broker.surroundings import Surroundings
    from wxsign.credentials import Credential, CredentialKey
    from wxsign.stores import CredentialStore

logger = logging.getLogger("wxsign.broker")

PATIENCE_SECONDS = 10.0
LEASE_POLL_SECONDS = 0.05
LONGEST_LEASE_POLL_SECONDS = 0.1

# These take even the value that was declared dead; the others leave it to a force.
_ACCEPTS_AGAIN = frozenset({Intent.RENEW, Intent.TAKE_AGAIN, Intent.FORCE})


class _EndedError(Exception):
    """There is no call to make: an attempt ended before it."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result.outcome))
        self.result = result


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt under way."""

    key: CredentialKey
    seat: Seat
    store: CredentialStore
    intent: Intent
    refused: str = field(repr=False)
    client: str


class Refresher:
    """Refreshes for one process: attempts, with what they need."""

    def __init__(
        self, near: NearCache, link: Link, attempts: Attempts, reports: Reports, surroundings: Surroundings
    ) -> None:
        self._near = near
        self._link = link
        self._attempts = attempts
        self._reports = reports
        self._boot = surroundings.boot_clock
        self._sleep = surroundings.sleep

    def refresh(
        self,
        key: CredentialKey,
        intent: Intent = Intent.KEEP_FRESH,
        refused: str = "",
        client: str = "",
        *,
        looked: bool = False,
    ) -> Result:
        """Fetch `key` once, if that is needed, allowed by the doors, and nobody else is at it.

        What it is fetched with comes first. Where WeChat refuses that, it is renewed and the fetch started over, once
        (rule 5); where it gives a dead value again, `reports` says what to do instead. `refused` is the value to RENEW, on
        behalf of `client` if one reported it. `looked`: the store was read a moment ago.
        """
        try:
            it = self._attempts.begun(key, intent, refused, client)
            if not looked and it.seat.need(self._boot()) is RefreshNeed.EMPTY:
                # Who has nothing is told what stands, be it a value or a closed door, before anything else is fetched.
                self._attempts.look(it)
            needed = needed_by(key)
            value = self._obtain(needed) if needed is not None else ""
            result = self._attempts.make(it, value)
            if result.outcome is Outcome.STALE and needed is not None:
                # Who asked wants it still, though nothing is due.
                intent = Intent.ASKED if intent is Intent.ASKED else Intent.START_OVER
                result = self._again(key, intent, self._renewed(needed, value))
            if result.outcome is Outcome.GIVEN_AGAIN:
                result = self._again(key, self._instead(key), value)
        except _EndedError as ended:
            return ended.result
        except StoreUnavailable as error:
            self._link.lose(error)
            return Result(Outcome.HELD)
        return result

    def _again(self, key: CredentialKey, intent: Intent, value: str) -> Result:
        """A second call in place of the first; somebody who only looks at the closed door must not keep it out."""
        return self.patiently(lambda: self._attempts.make(self._attempts.begun(key, intent), value))

    def patiently(self, work: Callable[[], Result], enough: Callable[[], bool] = lambda: False) -> Result:
        """Run `work` until somebody else's lease keeps it out no more, or there is `enough` to go on with."""
        deadline, pause = self._boot() + PATIENCE_SECONDS, LEASE_POLL_SECONDS
        while (result := work()).outcome is Outcome.HELD and self._boot() < deadline and not enough():
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_LEASE_POLL_SECONDS)
        return result

    def alone(
        self, key: CredentialKey, work: Callable[[], Result], enough: Callable[[], bool] = lambda: False
    ) -> Result:
        """Run `work` patiently, as the one thread of this process that works on `key`."""
        with self._near.claim(key, PATIENCE_SECONDS) as mine:
            return self.patiently(work, enough) if mine else Result(Outcome.HELD)

    def _obtain(self, key: CredentialKey) -> str:
        """The value to fetch something else with, fetched first if there is none; ends the attempt where there is none."""
        held = self._near.usable(key)
        if held is not None:
            return held.value
        result = self.alone(key, lambda: self.refresh(key), lambda: self._near.usable(key) is not None)
        self._near.settle(key, result)
        held = self._near.usable(key)
        return held.value if held is not None else _end(result.outcome, result.failed)

    def _renewed(self, key: CredentialKey, refused: str) -> str:
        """The token after WeChat refused `refused` on a fetch; the same one where it is given again."""

        def replaced() -> bool:
            held = self._near.usable(key)
            return held is not None and held.value != refused

        result = self.alone(key, lambda: self._replace(key, refused), replaced)
        if not isinstance(result.error, TooManyRefreshes):
            self._near.settle(key, result)
        held = self._near.usable(key)
        return held.value if held is not None else refused

    def _replace(self, key: CredentialKey, refused: str) -> Result:
        result = self.refresh(key, Intent.RENEW, refused)
        given_again = result.outcome is Outcome.UNCHANGED and sort_of(key).handed_on
        if given_again and self._reports.instead_of(key) is Intent.FORCE:
            # Another system knows nothing of WeChat's refusal before it is told.
            return self.patiently(lambda: self.refresh(key, Intent.FORCE, refused))
        return result

    def _instead(self, key: CredentialKey) -> Intent:
        instead = self._reports.instead_of(key)
        return _end(Outcome.FAILED, instead) if isinstance(instead, Failed) else instead


class Attempts:
    """Single attempts for one process: look, obtain the lease, look again, is it still needed, call once, settle."""

    def __init__(  # noqa: PLR0913, PLR0917 -- the parts of a broker, which it is made by and for
        self,
        near: NearCache,
        link: Link,
        leases: Leases,
        upstream: Upstream,
        ledger: Ledger,
        reports: Reports,
        surroundings: Surroundings,
        tell: Observer,
    ) -> None:
        self._near = near
        self._link = link
        self._leases = leases
        self._upstream = upstream
        self._ledger = ledger
        self._reports = reports
        self._machine = surroundings.machine
        self._boot = surroundings.boot_clock
        self._random = surroundings.random
        self._tell = tell

    def begun(self, key: CredentialKey, intent: Intent, refused: str = "", client: str = "") -> Try:
        """An attempt to come, on the store of this moment."""
        return Try(key, self._near.seat(key), self._link.store, intent, refused, client)

    def make(self, it: Try, value: str) -> Result:
        """Call once with `value`, under the lease. Raises `_EndedError` where there is no call to make, `StoreUnavailable`."""
        with self._leases.hold(it.store, it.key, it.seat.highest) as hold:
            if hold is None:
                return Result(Outcome.HELD)
            if hold.lease.follows_lapse:
                note_unanswered(it.store, it.key)
            scene = self.look(it)
            self._admit(it, scene, hold)
            return self._call(it, scene, hold, value)

    def look(self, it: Try) -> Scene:
        """The scene for a call; ends the attempt where there is none to make."""
        doors = self.doors_of(it.key)
        view = self._near.reconcile(it.store, [it.key], [*doors, *excuses(it.key)])
        boot = self._boot()
        before = it.seat.last_as_of(view.now, boot)
        scene = Scene(view, boot, doors, failures_in(view, doors), before)
        need = it.seat.need(boot)
        if self._is_settled(it, need):
            _end(Outcome.FRESH)
        if it.intent not in {Intent.ASKED, Intent.START_OVER} and scene.failures:
            # In place of a dead value something is needed as urgently as in place of none.
            self._heed(it, scene, empty=need is RefreshNeed.EMPTY or it.intent is Intent.RENEW)
        imagined = doors_of_the_future(view, doors)
        if imagined:
            it.store.erase(imagined)
        return scene

    def _is_settled(self, it: Try, need: RefreshNeed) -> bool:
        if it.refused:
            held = self._near.usable(it.key)
            return held is not None and held.value != it.refused
        return need is RefreshNeed.NONE and it.intent is not Intent.ASKED

    def _heed(self, it: Try, scene: Scene, *, empty: bool) -> None:
        """Let those who wait know how the last attempt failed, whoever made it; end this one at a closed door."""
        worst = max(scene.failures.values(), key=lambda failure: next_try(failure, scene, empty=empty))
        failed = failed_of(worst, scene)
        self._near.settle(it.key, Result(Outcome.WAITING, failed))
        if self._boot() < (failed.next_try_empty if empty else failed.next_try):
            _end(Outcome.WAITING, failed)

    def _admit(self, it: Try, scene: Scene, hold: Hold) -> None:
        """End the attempt where rations, quota or the lease's remaining time forbid the call."""
        if it.intent is Intent.RENEW:
            rationed = self._reports.ration(it.store, it.key, it.client)
            if rationed is not None:
                _end(Outcome.FAILED, rationed)
        urgent = it.intent in {Intent.RENEW, Intent.FORCE} or it.seat.need(self._boot()) is RefreshNeed.EMPTY
        spent = self._ledger.admit(it.store, it.key, sort_of(it.key).call, scene.view.now, urgent=urgent)
        now = self._boot()
        if spent is not None:
            # Until midnight in China; an empty credential may still draw on the reserve, if that is what is left.
            until = now + spent.retry_after_seconds
            _end(Outcome.FAILED, Failed(spent, now, until, now if spent.reserve_left else until))
        if not hold.outlives_a_call(now):
            # Suspended or starved since: somebody else may have the lease before this call has ended.
            _end(Outcome.HELD)

    def _call(self, it: Try, scene: Scene, hold: Hold, value: str) -> Result:
        """The one call, which the lease outlives."""
        it.seat.called_at = self._boot()
        hold.calling = True
        try:
            granted = self._upstream.fetch(
                it.key, access_token=value or None, force=it.intent is Intent.FORCE, attempt=scene.attempt
            )
        except WeChatError as error:
            return self._refused(it, scene, hold, error)
        finally:
            hold.calling = False
        seconds = self._boot() - hold.granted_at
        again = scene.before is not None and scene.before.rejected_digest == digest(granted.value)
        if again and it.intent not in _ACCEPTS_AGAIN:
            self._tell(RefreshEvent(it.key, Outcome.GIVEN_AGAIN, seconds, hold.lease.number))
            return Result(Outcome.GIVEN_AGAIN)
        result = self._keep(it, scene, hold, granted, seconds)
        if again and it.intent is Intent.FORCE:
            self._afterwards(lambda: self._reports.forced_in_vain(it.store, it.key))
        return result

    def _keep(self, it: Try, scene: Scene, hold: Hold, granted: Granted, seconds: float) -> Result:
        """Adopt what came, write it, and open the doors."""
        granted_at, number = hold.lease.granted_at, hold.lease.number
        seen = Sighting(granted.value, granted.expires_in_seconds, granted_at, granted_at + seconds)
        credential = sort_of(it.key).witnessed(scene.before, seen, number)
        self._near.adopt(it.key, credential, seen.ended_at)
        known = scene.before is not None and scene.before.value == granted.value
        self._afterwards(lambda: self._write(it, scene, hold, credential, known=known))
        outcome = Outcome.UNCHANGED if known else Outcome.REFRESHED
        expires_in = round(credential.usable_until - seen.ended_at)
        forced = it.intent is Intent.FORCE
        self._tell(RefreshEvent(it.key, outcome, seconds, number, expires_in, forced=forced))
        return Result(outcome)

    def _write(self, it: Try, scene: Scene, hold: Hold, credential: Credential, *, known: bool) -> None:
        hold.ended = True
        if not it.store.replace(it.key.name, credential, hold.lease):
            self._near.reconcile(it.store, [it.key])
        if scene.failures:
            it.store.erase(tuple(scene.failures))
        # A value that rotates changes with each call of ours; only a refused one tells of somebody else.
        own_doing = it.intent is Intent.FORCE or (sort_of(it.key).rotates and it.intent is not Intent.RENEW)
        if not known and not own_doing:
            suspect(it.store, it.key, scene.before, hold.lease.granted_at, scene.view.notes)

    def _refused(self, it: Try, scene: Scene, hold: Hold, error: WeChatError) -> Result:
        """Close the door that the failure concerns."""
        seconds, forced = self._boot() - hold.granted_at, it.intent is Intent.FORCE
        if isinstance(error, WeChatRefused) and error.scope is FailureScope.QUOTA_DAY:
            error = self._counted(it, scene, error)
        self._tell(
            RefreshEvent(it.key, Outcome.FAILED, seconds, hold.lease.number, error=error, forced=forced)
        )
        stale = error.scope is FailureScope.STALE_TOKEN
        door = scene.doors.for_scope(error.scope)
        failure = failure_of(error, scene.failures.get(door), hold.lease.granted_at, self._random())
        self._afterwards(lambda: self._note_refusal(it, scene, door, failure, error))
        failed = failed_of(failure, scene)
        if stale and it.intent is not Intent.START_OVER:
            return Result(Outcome.STALE, failed)
        return Result(Outcome.FAILED, failed)

    def _counted(self, it: Try, scene: Scene, error: WeChatRefused) -> WeChatRefused:
        """WeChat's refusal for the day's quota, with what our own ledger counted."""
        call = sort_of(it.key).call
        spent = self._link.call(lambda store: self._ledger.spent(store, it.key, call, scene.view.now))
        return WeChatRefused(error.errcode, error.errmsg, error.endpoint, used=spent.used, limit=spent.limit)

    def _note_refusal(self, it: Try, scene: Scene, door: str, failure: Failure, error: WeChatError) -> None:
        closed = scene.failures.get(scene.doors.machine)
        if closed and closed.scope is FailureScope.NETWORK and isinstance(error, WeChatRefused):
            # A refusal is WeChat's own answer: the network between is in order again.
            it.store.erase((scene.doors.machine,))
        if isinstance(error, WeChatBadAnswer) or error.code in {"wechat_timeout", "wechat_reset"}:
            note_unanswered(it.store, it.key)
        it.store.note(door, encode(failure), DOOR_MEMORY_SECONDS)

    def _afterwards(self, work: Callable[[], None]) -> None:
        """Write down what a call brought; where that fails, the call still counts."""
        try:
            work()
        except StoreUnavailable as error:
            self._link.lose(error)

    def doors_of(self, key: CredentialKey) -> Doors:
        """The doors that may hold back `key` on this machine."""
        return doors_of(key, self._machine, self._upstream.secret_fingerprint(key))


def _end(outcome: Outcome, failed: Failed | None = None) -> NoReturn:
    raise _EndedError(Result(outcome, failed))
