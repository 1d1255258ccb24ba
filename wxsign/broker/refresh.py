"""One attempt at one credential: look, take the lease, look again, call once, compare and swap.

The lease saves calls; the fencing number keeps the truth. A lease covers exactly one call of WeChat, and a thread
holds one lease at a time.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from wxsign.broker.attempt import ORDINARY, Mode, Result, Scene
from wxsign.broker.events import Observer, Outcome, RefreshEvent, Upstream
from wxsign.broker.ledger import Ledger, fetch_endpoint
from wxsign.broker.renewals import Renewals
from wxsign.broker.schedule import (
    DOOR_MEMORY_SECONDS,
    Doors,
    Failure,
    concerns_machine,
    decode,
    doors_of,
    encode,
    failure_of,
    next_try_at,
)
from wxsign.broker.suspicion import Suspicion
from wxsign.credentials import (
    CLOCK_TOLERANCE_SECONDS,
    CredentialKey,
    RefreshNeed,
    Sighting,
    TokenEndpoint,
    digest,
    policy_for,
    tombstone,
    witnessed,
)
from wxsign.errors import (
    FailureScope,
    QuotaSpent,
    TooManyRefreshes,
    WeChatBadAnswer,
    WeChatError,
    WeChatRefused,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wxsign.broker.events import Granted
    from wxsign.broker.fleet import Fleet
    from wxsign.broker.near import NearCache
    from wxsign.broker.surroundings import Surroundings
    from wxsign.stores import Lease

logger = logging.getLogger("wxsign.broker")

LEASE_SECONDS = 5.0
VERDICT_SECONDS = 10.0
REPORT_GAP_SECONDS = 30.0
REPORTS_AN_HOUR = 20
FORCE_GAP_SECONDS = 30.0
FORCE_REST_SECONDS = 3600.0


class Refresher:
    """Attempts for one process, which the machine's name and the process id name in leases and doors.

    `on_known_failure` is told how the last attempt failed, whoever made it, before another one is made.
    """

    def __init__(  # noqa: PLR0913, PLR0917 -- the parts of a broker, which it is made by and for
        self,
        near: NearCache,
        fleet: Fleet,
        upstream: Upstream,
        ledger: Ledger,
        surroundings: Surroundings,
        observers: Sequence[Observer],
        on_known_failure: Callable[[CredentialKey, Result], object],
    ) -> None:
        self._near = near
        self._fleet = fleet
        self._upstream = upstream
        self._ledger = ledger
        self.suspicion = Suspicion(fleet)
        self.renewals = Renewals(fleet)
        self._machine = surroundings.machine
        self._holder = f"{surroundings.machine}:{os.getpid()}"
        self._boot = surroundings.boot_clock
        self._random = surroundings.random
        self._observers = tuple(observers)
        self._on_known_failure = on_known_failure
        self._leases: set[Lease] = set()
        self._ended = False

    def need(self, key: CredentialKey) -> RefreshNeed:
        """What the process's copy of `key` needs now."""
        held = self._near.usable(key.name)
        return policy_for(key).need(held and held.credential, self._boot() - held.offset if held else 0.0)

    def attempt(self, key: CredentialKey, access_token: str | None, mode: Mode = ORDINARY) -> Result:
        """Fetch `key` once, if that is needed, allowed by the doors, and nobody else is at it."""
        alone = self._fleet.lost is not None
        early = self._look(key, mode)
        if isinstance(early, Result):
            return early
        asked_at = self._boot()
        lease = self._take_lease(key)
        if lease is None:
            return Result(Outcome.HELD)
        # What the store took to grant it must not count as WeChat's: a ticket would seem to live longer by it.
        leased_at = self._boot()
        try:
            # Re-read under the lease: somebody may have succeeded, or failed, since the first look.
            scene = self._look(key, mode)
            if isinstance(scene, Result):
                return scene
            refused = self._refused(key, mode, alone=alone)
            if refused is not None:
                return refused
            if self._boot() - asked_at >= LEASE_SECONDS:
                # Suspended or starved since: the lease has lapsed, and somebody else may be calling by now.
                return Result(Outcome.HELD)
            return self._fetch(key, access_token, mode, scene, lease, leased_at)
        finally:
            self._release(lease)

    def _refused(self, key: CredentialKey, mode: Mode, *, alone: bool) -> Result | None:
        """Why the call that the doors allow must not be made all the same. `alone`: it began without the store."""
        rationed = self.may_refresh_by_report(key) if mode.replacing else None
        if rationed is not None:
            return rationed
        urgent = mode.force or bool(mode.replacing) or self.need(key) is RefreshNeed.EMPTY
        if self._fleet.lost is not None and not (alone or urgent or mode.anyway):
            # The store went away under us, and perhaps under everybody: what is merely due waits for the next look.
            return Result(Outcome.HELD)
        spent = self._ledger.admit(key, fetch_endpoint(key), urgent=urgent)
        return self._out_of_quota(spent) if spent else None

    def verify(self, key: CredentialKey, rejected: str) -> Result:
        """Ask WeChat once whether the current token `rejected` is dead; if so, a tombstone takes its place."""
        early = self._verdict(key, rejected)
        if early is not None:
            return early
        lease = self._take_lease(key)
        if lease is None:
            return Result(Outcome.HELD)
        try:
            early = self._verdict(key, rejected)
            if early is not None:
                return early
            refused = self._ledger.admit(key, "get_api_domain_ip", urgent=True)
            return self._out_of_quota(refused) if refused else self._ask_verdict(key, rejected, lease)
        finally:
            self._release(lease)

    def may_force(self, key: CredentialKey) -> Mode | Result:
        """Whether a dead stable token may be forced out now, must wait, or has to be taken as it is."""
        if key.endpoint is not TokenEndpoint.STABLE:
            return Mode(accept_again=True)
        names = (f"force-rest|{key.name}",)
        if self._fleet.call(lambda store: store.notes(names)):
            return Mode(accept_again=True)
        wait = self._fleet.call(lambda store: store.take(f"force-gap|{key.name}", 1, FORCE_GAP_SECONDS))
        if wait:
            return self._too_many(wait)
        spent = self._ledger.admit(key, "force_refresh", urgent=True)
        return Mode(accept_again=True) if spent else Mode(force=True, accept_again=True)

    def may_refresh_by_report(self, key: CredentialKey) -> Result | None:
        """Take one of the account's rationed refreshes by report; a Result says why there is none."""
        gap, hour = f"report-gap|{key.name}", f"report-hour|{key.name}"
        wait = self._fleet.call(lambda store: store.take(gap, 1, REPORT_GAP_SECONDS))
        wait = wait or self._fleet.call(lambda store: store.take(hour, REPORTS_AN_HOUR, 3600))
        return self._too_many(wait) if wait else None

    def machine_held_back(self, key: CredentialKey) -> bool:
        """Whether a failure of this machine's address or network still stands in the store."""
        doors = self._doors(key)
        return doors.machine in self._failures(doors)

    def release_all(self) -> None:
        """Give back what this process holds, and take no more: it ends."""
        self._ended = True
        for lease in tuple(self._leases):
            self._release(lease)

    def _too_many(self, wait_seconds: float) -> Result:
        until = self._boot() + wait_seconds
        return Result(Outcome.FAILED, TooManyRefreshes(wait_seconds), until, until)

    def _out_of_quota(self, refused: QuotaSpent) -> Result:
        """Wait for China's midnight; an empty credential may still draw on the reserve, if that is what is left."""
        now = self._boot()
        until = now + refused.retry_after_seconds
        return Result(Outcome.FAILED, refused, until, now if refused.reserve_left else until)

    def _take_lease(self, key: CredentialKey) -> Lease | None:
        highest = self._near.highest(key.name)
        lease = self._fleet.call(lambda store: store.acquire(key.name, self._holder, LEASE_SECONDS, highest))
        if lease is None:
            return None
        self._leases.add(lease)
        if self._ended:
            # Taken while the process was ending: left alone it would keep the others out until it lapses.
            self._release(lease)
            return None
        if lease.follows_lapse:
            self.suspicion.unanswered(key)
        return lease

    def _release(self, lease: Lease) -> None:
        self._leases.discard(lease)
        self._fleet.call(lambda store: store.release(lease))

    def _look(self, key: CredentialKey, mode: Mode) -> Result | Scene:
        """The scene for a call, or why there is none to make."""
        self._fleet.call(lambda store: self._near.reconcile(store, (key.name,)))
        need = self.need(key)
        if self._settled(key, need, mode):
            return Result(Outcome.FRESH)
        if not mode.following and self.renewals.under_way(key):
            return Result(Outcome.HELD)
        doors = self._doors(key)
        before = self._fleet.call(lambda store: self._near.last_as_of(key.name, store.now()))
        scene = Scene(doors, self._failures(doors), before)
        if mode.anyway:
            return scene
        # In place of a dead value something is needed as urgently as in place of none.
        return self._closed(key, scene, empty=need is RefreshNeed.EMPTY or bool(mode.replacing)) or scene

    def _doors(self, key: CredentialKey) -> Doors:
        return doors_of(key, self._machine, self._upstream.secret_fingerprint(key))

    def _failures(self, doors: Doors) -> dict[str, Failure]:
        """What failed at these doors, but for the future: that was noted before the store's clock was stepped back."""
        notes = self._fleet.call(lambda store: store.notes(doors))
        if not notes:
            return {}
        latest = self._fleet.call(lambda store: store.now()) + CLOCK_TOLERANCE_SECONDS
        failures = {name: failure for name, text in notes.items() if (failure := decode(text))}
        imagined = tuple(name for name, failure in failures.items() if failure.started_at > latest)
        if imagined:
            self._fleet.call(lambda store: store.erase(imagined))
        return {name: failure for name, failure in failures.items() if name not in imagined}

    def _settled(self, key: CredentialKey, need: RefreshNeed, mode: Mode) -> bool:
        if mode.replacing:
            held = self._near.usable(key.name)
            return held is not None and held.value != mode.replacing
        return need is RefreshNeed.NONE and not mode.anyway

    def _closed(self, key: CredentialKey, scene: Scene, *, empty: bool) -> Result | None:
        """The Result that says which door is closed until when, if any is."""
        if not scene.failures:
            return None
        worst = max(scene.failures.values(), key=lambda failure: self._next_try(failure, scene, empty=empty))
        result = self._after(Outcome.WAITING, worst, scene)
        self._on_known_failure(key, result)
        return result if self._boot() < (result.next_try_empty if empty else result.next_try) else None

    def _next_try(self, failure: Failure, scene: Scene, *, empty: bool) -> float:
        # While it is empty nobody else is seeing to it, whoever did so before.
        before = None if empty else scene.before
        since = before is not None and before.started_at > failure.started_at
        return next_try_at(failure, empty=empty, others_succeeded=since)

    def _after(self, outcome: Outcome, failure: Failure, scene: Scene) -> Result:
        """A Result with the next try's times, moved from the store's clock to the boot clock."""
        offset = self._boot() - self._fleet.call(lambda store: store.now())
        due = self._next_try(failure, scene, empty=False) + offset
        empty = self._next_try(failure, scene, empty=True) + offset
        before, earlier = scene.before, scene.failures.get(scene.doors.machine)
        others = before is not None and earlier is not None and before.started_at > earlier.started_at
        machines = concerns_machine(failure.error)
        first = machines and failure.failures == 1
        return Result(outcome, failure.error, due, empty, machines and others, first)

    def _fetch(
        self,
        key: CredentialKey,
        access_token: str | None,
        mode: Mode,
        scene: Scene,
        lease: Lease,
        leased_at: float,
    ) -> Result:
        try:
            granted = self._upstream.fetch(
                key, access_token=access_token, force=mode.force, attempt=scene.attempt
            )
        except WeChatError as error:
            return self._failed(key, error, mode, scene, lease, self._boot() - leased_at)
        seconds = self._boot() - leased_at
        again = scene.before is not None and scene.before.rejected_digest == digest(granted.value)
        if again and not mode.accept_again:
            self._tell(RefreshEvent(key, Outcome.GIVEN_AGAIN, seconds, lease.number))
            return Result(Outcome.GIVEN_AGAIN)
        if again and mode.force:
            self._forced_in_vain(key)
        return self._keep(key, granted, mode, scene, lease, seconds)

    def _keep(
        self, key: CredentialKey, granted: Granted, mode: Mode, scene: Scene, lease: Lease, seconds: float
    ) -> Result:
        """Compare and swap what came, adopt what stands, and open the doors."""
        answered_at = self._boot()
        seen = Sighting(
            granted.value, granted.expires_in_seconds, lease.granted_at, lease.granted_at + seconds
        )
        credential = witnessed(key, scene.before, seen, lease.number)
        if not self._fleet.call(lambda store: store.replace(key.name, credential)):
            self._fleet.call(lambda store: self._near.reconcile(store, (key.name,)))
        # What the store took to write must not be added to the life.
        self._near.adopt(key.name, credential, seen.ended_at + self._boot() - answered_at)
        if scene.failures:
            self._fleet.call(lambda store: store.erase(tuple(scene.failures)))
        known = scene.before is not None and scene.before.value == granted.value
        # A classic token changes with each call of ours; only a refused one tells of somebody else.
        own_doing = mode.force or (key.endpoint is TokenEndpoint.CLASSIC and not mode.replacing)
        if not known and not (key.is_token and own_doing):
            self.suspicion.changed(key, scene.before, lease.granted_at)
        outcome = Outcome.UNCHANGED if known else Outcome.REFRESHED
        expires_in = round(credential.usable_until - seen.ended_at)
        self._tell(RefreshEvent(key, outcome, seconds, lease.number, expires_in, forced=mode.force))
        return Result(outcome)

    def _failed(
        self, key: CredentialKey, error: WeChatError, mode: Mode, scene: Scene, lease: Lease, seconds: float
    ) -> Result:
        self._tell(RefreshEvent(key, Outcome.FAILED, seconds, lease.number, error=error, forced=mode.force))
        self._open_machine_door(error, scene)
        if error.scope is FailureScope.STALE_TOKEN and not mode.final:
            self.renewals.begin(key)
            return Result(Outcome.STALE, error)
        if isinstance(error, WeChatBadAnswer) or error.code in {"wechat_timeout", "wechat_reset"}:
            self.suspicion.unanswered(key)
        door = scene.doors.for_scope(error.scope)
        failure = failure_of(error, scene.failures.get(door), lease.granted_at, self._random())
        self._fleet.call(lambda store: store.note(door, encode(failure), DOOR_MEMORY_SECONDS))
        return self._after(Outcome.FAILED, failure, scene)

    def _open_machine_door(self, error: WeChatError, scene: Scene) -> None:
        """A refusal is WeChat's own answer: the network between is in order again."""
        closed = scene.failures.get(scene.doors.machine)
        if closed and closed.scope is FailureScope.NETWORK and isinstance(error, WeChatRefused):
            self._fleet.call(lambda store: store.erase((scene.doors.machine,)))

    def _forced_in_vain(self, key: CredentialKey) -> None:
        logger.warning("wxsign.forced_in_vain", extra={"fields": {"appid": key.app_id}})
        rest = f"force-rest|{key.name}"
        self._fleet.call(lambda store: store.note(rest, "", FORCE_REST_SECONDS))
        self._fleet.call(lambda store: store.record_event(f"forced_in_vain {key.app_id}"))

    def _verdict(self, key: CredentialKey, rejected: str) -> Result | None:
        """The verdict that already stands: the token was replaced meanwhile, or was found alive just now."""
        self._fleet.call(lambda store: self._near.reconcile(store, (key.name,)))
        held = self._near.usable(key.name)
        if held is None or held.value != rejected:
            return Result(Outcome.FRESH)
        name = f"verdict|{key.name}"
        mark, _, at = self._fleet.call(lambda store: store.notes((name,))).get(name, "").partition("@")
        # After a step back of the store's clock its notes last longer than they should.
        young = bool(at) and self._fleet.call(lambda store: store.now()) >= float(at)
        return Result(Outcome.ALIVE) if young and mark == digest(rejected) else None

    def _ask_verdict(self, key: CredentialKey, rejected: str, lease: Lease) -> Result:
        asked_at = self._boot()
        try:
            self._upstream.probe(key, rejected, attempt=0)
        except WeChatError as error:
            if error.scope is not FailureScope.STALE_TOKEN:
                self._tell(
                    RefreshEvent(key, Outcome.FAILED, self._boot() - asked_at, lease.number, error=error)
                )
                return Result(Outcome.FAILED, error)
            self._tell(RefreshEvent(key, Outcome.DEAD, self._boot() - asked_at, lease.number))
            return self._bury(key, rejected, lease)
        self._tell(RefreshEvent(key, Outcome.ALIVE, self._boot() - asked_at, lease.number))
        name, mark = f"verdict|{key.name}", f"{digest(rejected)}@{lease.granted_at}"
        self._fleet.call(lambda store: store.note(name, mark, VERDICT_SECONDS))
        return Result(Outcome.ALIVE)

    def _bury(self, key: CredentialKey, rejected: str, lease: Lease) -> Result:
        """Put a tombstone in the dead token's place, within the ration of refreshes by report."""
        self._fleet.call(lambda store: self._near.reconcile(store, (key.name,)))
        held = self._near.last_as_of(key.name, lease.granted_at)
        if held is None or held.value != rejected:
            # A late writer replaced it while WeChat was asked: the verdict is not on what stands now.
            return Result(Outcome.FRESH)
        refused = self.may_refresh_by_report(key)
        if refused is not None:
            return refused
        self.suspicion.changed(key, held, lease.granted_at)
        grave = tombstone(held, lease.number, lease.granted_at)
        if self._fleet.call(lambda store: store.replace(key.name, grave)):
            self._near.adopt(key.name, grave, lease.granted_at)
        else:
            self._fleet.call(lambda store: self._near.reconcile(store, (key.name,)))
        return Result(Outcome.DEAD)

    def _tell(self, event: RefreshEvent) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                logger.exception("wxsign.observer_failed")
