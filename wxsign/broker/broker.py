"""The broker: serves what a process holds, and sees to it that the fleet fetches each credential once.

Usable beats policy: a credential with life left is served whatever else happens, an expired one never is. Empty is
the only reason to wait.
"""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from wxsign.broker.attempt import Mode, Result
from wxsign.broker.events import Observer, Outcome, RefreshEvent, Upstream
from wxsign.broker.fleet import Fleet
from wxsign.broker.ledger import Ledger, default_limit
from wxsign.broker.near import Held, NearCache
from wxsign.broker.refresh import Refresher
from wxsign.broker.schedule import concerns_machine
from wxsign.broker.surroundings import Surroundings
from wxsign.broker.watcher import WATCH_SECONDS, Watcher
from wxsign.credentials import CredentialKey, RefreshNeed, TokenEndpoint, digest
from wxsign.errors import CredentialUnavailable, NotRefreshed, TooManyRefreshes, WxSignError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from wxsign.broker.suspicion import Theft
    from wxsign.stores import CredentialStore

logger = logging.getLogger("wxsign.broker")

COLD_WAIT_SECONDS = 10.0
SYNC_SECONDS = 0.05
LEASE_POLL_SECONDS = 0.05
IN_USE_SECONDS = 2 * 3600.0
FETCHES_AT_ONCE = 8
ALONE_GAP_SECONDS = 60.0
REVIVE_SECONDS = 2.0
# A store rolled back to an older copy can show the very generation that was seen last.
FOLLOW_SECONDS = 10.0
KNOWN_FAILURE_GRACE_SECONDS = 10.0
# What another machine fetches reaches every worker within two seconds.
OTHERS_FETCH_SECONDS = 2.0
UNSURE_SECONDS = 2.0
# The verdict itself stands in the store for 10 s; a process asks there again after one.
VERDICT_SECONDS = 1.0


class _Verdict(NamedTuple):
    """What this process knows of a reported token, until a moment on the boot clock."""

    digest: str
    until: float
    error: WxSignError | None


class CredentialBroker:
    """Credentials for one process; make it after the fork, its threads start on first use.

    `store` is shared with the fleet, `upstream` makes the calls of WeChat, `warm` keys are kept fresh whether or not
    anybody asks, `maxsize` is never below the number of keys. `limit_of` gives the calls a day that an account has for an
    endpoint. A `reader` never calls WeChat: it serves what others put into the store.
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
        observers: Sequence[Observer] = (),
        surroundings: Surroundings | None = None,
    ) -> None:
        surroundings = surroundings or Surroundings()
        self._boot = surroundings.boot_clock
        self._sleep = surroundings.sleep
        self._spawn = surroundings.spawn
        self._near = NearCache(maxsize, self._boot, self._forgive)
        self.fleet = Fleet(store, surroundings)
        self.ledger = Ledger(self.fleet, limit_of)
        self._refresher = Refresher(
            self._near,
            self.fleet,
            upstream,
            self.ledger,
            surroundings,
            (self._note_call, *observers),
            self._settle,
        )
        self._reader = reader
        self.thefts: Mapping[str, Theft] = {}
        self._watcher = Watcher(self.watch, self._boot)
        self._warm = {key.name: key for key in warm}
        self._asked: dict[str, tuple[CredentialKey, float]] = {}
        self._in_flight: set[str] = set()
        self._failures: dict[str, Result] = {}
        self._verdicts: dict[str, _Verdict] = {}
        self._called_at: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._generation: int | None = None
        self._follow_by = 0.0

    def start(self) -> None:
        """Start the Watcher; it also starts by itself on first use."""
        self._watcher.ensure_running()

    def stop(self) -> None:
        """Stop the Watcher and give back every lease."""
        self._watcher.stop()
        self._refresher.release_all()

    def get(self, key: CredentialKey) -> Held:
        """The credential of `key`: at once while one is usable, else after the one fetch of a cold start.

        Raises `CredentialUnavailable` at once when an attempt has failed, or after 10 s.
        """
        now = self._boot()
        self._asked[key.name] = (key, now)
        if now - self._watcher.beat > REVIVE_SECONDS:
            self._watcher.ensure_running()
        return self._near.usable(key.name) or self._await(key)

    def fresh(self, key: CredentialKey) -> Held:
        """The same after a look at the store, which may take 50 ms: callers read what was written before they asked."""
        self._watcher.sync(SYNC_SECONDS)
        return self.get(key)

    def report(self, key: CredentialKey, rejected: str) -> tuple[Held, bool]:
        """A caller says that WeChat rejected the access_token `rejected`: return the current one.

        A report is a hint: only if it names the current token is WeChat asked, once for all reporters. The flag says
        that the very token reported was found alive. Raises `CredentialUnavailable`.
        """
        self._watcher.sync(SYNC_SECONDS)
        # A process that has only just started gets to know the current one first, which may be the one reported.
        self.get(key)
        deadline = self._boot() + COLD_WAIT_SECONDS
        with self._near.changed:
            while True:
                held = self._near.usable_locked(key.name)
                if held is None:
                    break
                if held.value != rejected:
                    return held, False
                if self._found_alive(key, rejected):
                    return held, True
                if self._boot() >= deadline:
                    raise CredentialUnavailable(None, 1)
                self._begin(key, RefreshNeed.EMPTY, lambda: self._verify(key, rejected))
                self._near.changed.wait(0.5)
        return self.get(key), False

    def probe(self, key: CredentialKey) -> Result:
        """Refresh `key` now, whatever the schedule and the doors say: an operator asked for it."""
        with self._claim(key):
            result = self._patiently(lambda: self._refresh(key, anyway=True), lambda: False)
            return self._settle(key, result)

    def watch(self) -> None:
        """One look of the Watcher: follow the store, then start what is due."""
        away = self.fleet.lost is not None
        generation = self.fleet.look()
        if generation is None:
            self._generation = None
        elif away or not generation or generation != self._generation or self._boot() >= self._follow_by:
            self.follow()
            self._generation = generation if self.fleet.lost is None else None
        for key in self.wanted():
            self._consider(key)

    def follow(self, keys: Iterable[CredentialKey] = ()) -> None:
        """Take over what the store has of the wanted and the given keys, and put back what it lacks; fetch nothing."""
        known = (*self.wanted(), *keys)
        names = tuple(dict.fromkeys((*self._near.names(), *(key.name for key in known))))
        self._follow_by = self._boot() + FOLLOW_SECONDS
        self.fleet.call(lambda store: self._near.reconcile(store, names))
        self.thefts = self._refresher.suspicion.known(known)
        self._forgive_machine(known)

    def wanted(self) -> tuple[CredentialKey, ...]:
        """The keys that this process keeps fresh: asked for in the last two hours, or warm; tokens before tickets."""
        since = self._boot() - IN_USE_SECONDS
        asked = {key.name: key for key, at in tuple(self._asked.values()) if at > since}
        keys = {**self._warm, **asked}
        tokens = {key.token_key.name: key.token_key for key in keys.values()}
        return tuple({**tokens, **keys}.values())

    def standing(self, key: CredentialKey) -> tuple[Held | None, Result | None]:
        """What this process holds and the last failure it knows of, for those who report on the state."""
        return self._near.usable(key.name), self._failures.get(key.name)

    def now(self, held: Held) -> float:
        """The present moment in the times of `held`."""
        return self._boot() - held.offset

    def _await(self, key: CredentialKey) -> Held:
        deadline = self._boot() + COLD_WAIT_SECONDS
        woken = False
        with self._near.changed:
            while (held := self._near.usable_locked(key.name)) is None:
                now = self._boot()
                self._raise_known(key, now)
                if now >= deadline:
                    raise CredentialUnavailable(None, 1)
                # Woken by a look that found a closed door, it does not look again at once.
                if not woken or self._time_to_try(key, RefreshNeed.EMPTY):
                    self._begin(key, RefreshNeed.EMPTY, lambda: self._refresh(key))
                woken = self._near.changed.wait(min(deadline - now, 0.5))
            return held

    def _raise_known(self, key: CredentialKey, now: float) -> None:
        """Once an attempt has failed, callers are told so at once while fetching goes on in the background."""
        failed = self._failures.get(key.name)
        if failed is None and self._near.usable_locked(key.token_key.name) is None:
            # A ticket waits for the token that it is fetched with; for this machine another one may have fetched it.
            failed = self._failures.get(key.token_key.name)
            failed = None if failed and concerns_machine(failed.error) else failed
        if failed is None or failed.error is None:
            return
        others_may = failed.others_fetch or failed.first_failure
        if others_may and now < self._ran_out_at(key) + OTHERS_FETCH_SECONDS:
            # It has only just run out, and the others may well be fetching its successor.
            return
        # What failed while something was still held is tried again by the ordinary, longer backoff.
        until = max(failed.next_try, failed.next_try_empty)
        if now < until + KNOWN_FAILURE_GRACE_SECONDS:
            wait = max(1, math.ceil(failed.next_try_empty - now))
            raise CredentialUnavailable(failed.error, wait)

    def _ran_out_at(self, key: CredentialKey) -> float:
        last = self._near.last(key.name)
        return last.credential.usable_until + last.offset if last else -math.inf

    def _found_alive(self, key: CredentialKey, rejected: str) -> bool:
        verdict = self._verdicts.get(key.name)
        now = self._boot()
        if verdict is None or verdict.digest != digest(rejected) or now >= verdict.until:
            return False
        if verdict.error is None:
            return True
        raise CredentialUnavailable(verdict.error, max(1, math.ceil(verdict.until - now)))

    def _consider(self, key: CredentialKey) -> None:
        """Start a background refresh of `key` if one is due and may start."""
        need = self._refresher.need(key)
        if need is RefreshNeed.NONE or not self._time_to_try(key, need):
            return
        with self._near.changed:
            self._begin(key, need, lambda: self._refresh(key))

    def _time_to_try(self, key: CredentialKey, need: RefreshNeed) -> bool:
        now = self._boot()
        failed = self._failures.get(key.name)
        empty = need is RefreshNeed.EMPTY
        if failed and now < (failed.next_try_empty if empty else failed.next_try):
            return False
        if self._reader and not empty:
            # Its looks bring what the others fetch.
            return False
        if self.fleet.lost is None or empty:
            return True
        # Without the store every process fetches for itself: a classic token would be killed by each of them.
        classic = key.is_token and key.endpoint is TokenEndpoint.CLASSIC
        rested = now >= self._called_at.get(key.name, -math.inf) + ALONE_GAP_SECONDS
        return not classic and rested and self.fleet.may_go_alone()

    def _note_call(self, event: RefreshEvent) -> None:
        self._called_at[event.key.name] = self._boot() - event.seconds

    def _begin(self, key: CredentialKey, need: RefreshNeed, work: Callable[[], Result]) -> None:
        """Start `work` in a thread of its own, one per key; the lock is held. The last slot is for the empty."""
        slots = FETCHES_AT_ONCE if need is RefreshNeed.EMPTY else FETCHES_AT_ONCE - 1
        if key.name in self._in_flight or len(self._in_flight) >= slots:
            return
        self._in_flight.add(key.name)
        try:
            self._spawn(lambda: self._run(key, work))
        except RuntimeError:
            # The system has no thread to give: what is held is served, and the next look tries again.
            self._in_flight.discard(key.name)
            logger.exception("wxsign.no_thread")

    def _run(self, key: CredentialKey, work: Callable[[], Result]) -> None:
        kept_out = False
        try:
            result = self._patiently(work, lambda: self._near.usable(key.name) is not None)
            self._settle(key, result)
            kept_out = result.outcome is Outcome.HELD
        except Exception:
            logger.exception("wxsign.fetch_failed", extra={"fields": {"appid": key.app_id, "kind": key.kind}})
            # A fault of our own must not become a hot loop of calls.
            now = self._boot()
            self._settle(key, Result(Outcome.FAILED, NotRefreshed("broken"), now + 60, now + 3))
        finally:
            early = self._look_early(key, kept_out=kept_out)
            self._let_go(key)
            if early:
                self._watcher.wake()

    def _look_early(self, key: CredentialKey, *, kept_out: bool) -> bool:
        """Whether the next look is made before its time: at once, or where somebody else is at it, after a longer pause each time."""
        if not kept_out:
            self._pauses.pop(key.name, None)
            return True
        pause = self._pauses.get(key.name, LEASE_POLL_SECONDS)
        self._pauses[key.name] = 2 * pause
        if pause < WATCH_SECONDS:
            self._sleep(pause)
        return pause < WATCH_SECONDS

    def _patiently(self, work: Callable[[], Result], enough: Callable[[], bool]) -> Result:
        """Run `work` until somebody else's lease does not keep it out any more, or there is `enough` to go on with."""
        deadline = self._boot() + COLD_WAIT_SECONDS
        result = work()
        while result.outcome is Outcome.HELD and self._boot() < deadline:
            if enough():
                break
            self._sleep(LEASE_POLL_SECONDS)
            result = work()
        return result

    def _refresh(self, key: CredentialKey, *, anyway: bool = False) -> Result:
        """Refresh `key`; for a ticket the token first, and once more where WeChat refuses that token (rule 5)."""
        if self._reader:
            return self._read_only(key)
        if key.is_token:
            return self._refresh_token(key, Mode(anyway=anyway))
        token = self._token_for(key.token_key)
        if isinstance(token, Result):
            return token
        result = self._refresher.attempt(key, token, Mode(anyway=anyway, final=False))
        if result.outcome is not Outcome.STALE:
            return result
        try:
            renewed = self._renewed(key.token_key, token)
            return self._refresher.attempt(key, renewed, Mode(anyway=anyway, following=True))
        finally:
            self._refresher.renewals.end(key)

    def _read_only(self, key: CredentialKey) -> Result:
        """A reader's refresh: what the store has, for those who refresh put it there."""
        self.fleet.call(lambda store: self._near.reconcile(store, (key.name,)))
        if self._near.usable(key.name) is not None:
            return Result(Outcome.FRESH)
        again = self._boot() + 1
        return Result(Outcome.FAILED, NotRefreshed("reader"), again, again)

    def _refresh_token(self, key: CredentialKey, mode: Mode) -> Result:
        result = self._refresher.attempt(key, None, mode)
        if result.outcome is not Outcome.GIVEN_AGAIN:
            return result
        force = self._refresher.may_force(key)
        return force if isinstance(force, Result) else self._refresher.attempt(key, None, force)

    def _token_for(self, key: CredentialKey) -> str | Result:
        """The access_token to fetch a ticket with, fetched first if there is none; or why there is none."""
        held = self._near.usable(key.name)
        if held is not None:
            return held.value
        with self._claim(key):
            result = self._settle(
                key,
                self._patiently(
                    lambda: self._refresh_token(key, Mode()), lambda: self._near.usable(key.name) is not None
                ),
            )
        held = self._near.usable(key.name)
        return held.value if held is not None else result

    def _renewed(self, key: CredentialKey, refused: str) -> str:
        """The access_token after WeChat refused `refused` on a ticket fetch; the same one where it is given again."""

        def replaced() -> bool:
            held = self._near.usable(key.name)
            return held is not None and held.value != refused

        mode = Mode(replacing=refused, accept_again=True)
        with self._claim(key):
            result = self._patiently(lambda: self._refresh_token(key, mode), replaced)
            if not isinstance(result.error, TooManyRefreshes):
                self._settle(key, result)
        held = self._near.usable(key.name)
        return held.value if held is not None else refused

    def _verify(self, key: CredentialKey, rejected: str) -> Result:
        """Find out whether the reported token is dead, and if so refresh it."""
        if self._reader:
            verdict = Result(Outcome.FAILED, NotRefreshed("reader"))
        else:
            verdict = self._patiently(lambda: self._refresher.verify(key, rejected), lambda: False)
        if verdict.outcome in {Outcome.ALIVE, Outcome.FAILED}:
            lasts = VERDICT_SECONDS if verdict.error is None else UNSURE_SECONDS
            until = max(self._boot() + lasts, verdict.next_try_empty)
            self._verdicts[key.name] = _Verdict(digest(rejected), until, verdict.error)
            return Result(Outcome.FRESH)
        return self._refresh(key)

    def _settle(self, key: CredentialKey, result: Result) -> Result:
        """Remember, or forget, the failure that callers of an empty credential are told."""
        with self._near.changed:
            if result.error is not None:
                before = self._failures.get(key.name)
                # A further failure of this machine says nothing new about the others.
                others = before is not None and before.others_fetch and concerns_machine(result.error)
                self._failures[key.name] = result._replace(others_fetch=True) if others else result
            elif result.outcome is not Outcome.HELD:
                self._failures.pop(key.name, None)
            self._near.changed.notify_all()
        return result

    def _forgive(self, name: str) -> None:
        """Somebody succeeded: forget the failure, or note that others fetch where this machine cannot; the lock is held."""
        failed = self._failures.get(name)
        if failed and concerns_machine(failed.error):
            self._failures[name] = failed._replace(others_fetch=True)
        elif failed:
            del self._failures[name]

    def _forgive_machine(self, keys: Iterable[CredentialKey]) -> None:
        """Forget this machine's own failures that another worker of it has put right."""
        for key in keys:
            failed = self._failures.get(key.name)
            if failed and concerns_machine(failed.error) and not self._refresher.machine_held_back(key):
                self._failures.pop(key.name, None)

    @contextmanager
    def _claim(self, key: CredentialKey) -> Iterator[None]:
        """Be the one thread of this process that works on `key`, after the one that is at it now."""
        with self._near.changed:
            self._near.changed.wait_for(lambda: key.name not in self._in_flight, COLD_WAIT_SECONDS)
            self._in_flight.add(key.name)
        try:
            yield
        finally:
            self._let_go(key)

    def _let_go(self, key: CredentialKey) -> None:
        with self._near.changed:
            self._in_flight.discard(key.name)
            self._near.changed.notify_all()
