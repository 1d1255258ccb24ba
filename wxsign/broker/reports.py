"""Rule 4: a report is a hint. What a caller says of a token is tried on WeChat before anybody believes it.

A living token is returned; a dead one is buried by a tombstone, and replaced within rations: per account and per
client, so that one client's false reports cost no other its true ones.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wxsign.broker.events import Intent, Observer, Outcome, RefreshEvent, Upstream
from wxsign.broker.seat import Failed, Report, Result, Verdict
from wxsign.broker.suspicion import excuses, suspect
from wxsign.credentials import digest, sort_of, tombstone
from wxsign.errors import FailureScope, StoreUnavailable, TooManyRefreshes, WeChatError
from wxsign.stores import Ration

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.broker.ledger import Ledger
    from wxsign.broker.link import Hold, Leases, Link
    from wxsign.broker.near import NearCache
    from wxsign.credentials import CredentialKey
    from wxsign.errors import WxSignError
    from wxsign.stores import CredentialStore, View

logger = logging.getLogger("wxsign.broker")

# A verdict is about reports that came at most a second after it was asked for; in the store it stands no longer.
VERDICT_SECONDS = 1.0
UNSURE_SECONDS = 2.0
REPORT_GAP_SECONDS = 30.0
REPORTS_AN_HOUR = 20
REPORTS_A_CLIENT_AN_HOUR = 10
PROBES_A_CLIENT_A_DAY = 500
FORCE_GAP_SECONDS = 30.0
FORCE_REST_SECONDS = 3600.0
HOUR_SECONDS = 3600.0
DAY_SECONDS = 86_400.0


class Reports:
    """Gives verdicts on reported tokens, and rations what reports may cost."""

    def __init__(  # noqa: PLR0913, PLR0917 -- the parts of a broker, which it is made by and for
        self,
        near: NearCache,
        link: Link,
        leases: Leases,
        upstream: Upstream,
        ledger: Ledger,
        boot_clock: Callable[[], float],
        tell: Observer,
    ) -> None:
        self._near = near
        self._link = link
        self._leases = leases
        self._upstream = upstream
        self._ledger = ledger
        self._boot = boot_clock
        self._tell = tell

    def verify(self, key: CredentialKey, report: Report) -> Result:
        """Ask WeChat once whether the current token is dead; if so, a tombstone takes its place.

        `FRESH`: it is not the current one any more. `UNTRIED`: no call may be spent on the question.
        """
        store = self._link.store
        try:
            with self._leases.hold(store, key, self._near.seat(key).highest) as hold:
                if hold is None:
                    return Result(Outcome.HELD)
                view = self._near.reconcile(store, [key], [_verdict(key), *excuses(key)])
                if (known := self._known(key, report, view)) is not None:
                    return known
                if not hold.outlives_a_call(self._boot()):
                    return Result(Outcome.HELD)
                if not self._may_ask(store, key, report.client, view.now):
                    return Result(Outcome.UNTRIED)
                return self._ask(store, key, report, view, hold)
        except StoreUnavailable as error:
            self._link.lose(error)
            return Result(Outcome.HELD)

    def _known(self, key: CredentialKey, report: Report, view: View) -> Result | None:
        """The verdict that stands already: the token was replaced meanwhile, or found alive since the report's own call."""
        held = self._near.usable(key)
        if held is None or held.value != report.rejected:
            return Result(Outcome.FRESH)
        mark, _, at = view.notes.get(_verdict(key), "").partition("@")
        try:
            # In this process's times; a moment in the future was noted before the store's clock was stepped back.
            asked_at = float(at) + self._boot() - view.now if float(at) <= view.now else float("-inf")
        except ValueError:
            return None
        verdict = Verdict(mark, asked_at, alive=True)
        if not verdict.answers(report, self._boot()):
            return None
        self._near.seat(key).verdict = verdict
        return Result(Outcome.ALIVE)

    def _may_ask(self, store: CredentialStore, key: CredentialKey, client: str, now: float) -> bool:
        call = sort_of(key).alive_by
        if call is None:
            return False
        ration = Ration(f"probes|{key.name}|{client}", PROBES_A_CLIENT_A_DAY, DAY_SECONDS)
        own = [ration] if client else []
        return self._ledger.admit(store, key, call, now, urgent=True, also=own) is None

    def _ask(
        self, store: CredentialStore, key: CredentialKey, report: Report, view: View, hold: Hold
    ) -> Result:
        asked_at = self._boot()
        hold.calling = True
        try:
            self._upstream.probe(key, report.rejected, attempt=0)
        except WeChatError as error:
            if error.scope is FailureScope.STALE_TOKEN:
                self._tell(self._event(key, Outcome.DEAD, asked_at, hold))
                return self._bury(store, key, report, view, hold)
            self._tell(self._event(key, Outcome.FAILED, asked_at, hold, error))
            return Result(Outcome.FAILED, self._unsure(error))
        finally:
            hold.calling = False
        self._tell(self._event(key, Outcome.ALIVE, asked_at, hold))
        self._near.seat(key).verdict = Verdict(digest(report.rejected), asked_at, alive=True)
        store.note(_verdict(key), f"{digest(report.rejected)}@{hold.lease.granted_at}", VERDICT_SECONDS)
        return Result(Outcome.ALIVE)

    def _event(
        self, key: CredentialKey, outcome: Outcome, since: float, hold: Hold, error: WxSignError | None = None
    ) -> RefreshEvent:
        return RefreshEvent(key, outcome, self._boot() - since, hold.lease.number, error=error)

    def _unsure(self, error: WxSignError, seconds: float = UNSURE_SECONDS) -> Failed:
        now = self._boot()
        return Failed(error, now, now + seconds, now + seconds)

    def _bury(
        self, store: CredentialStore, key: CredentialKey, report: Report, view: View, hold: Hold
    ) -> Result:
        """Put a tombstone in the dead token's place, within the rations."""
        granted_at = hold.lease.granted_at
        held = self._near.seat(key).last_as_of(granted_at, self._boot())
        if held is None or held.value != report.rejected:
            # A late writer replaced it while WeChat was asked: the verdict is not on what stands now.
            return Result(Outcome.FRESH)
        refused = self.ration(store, key, report.client)
        if refused is not None:
            return Result(Outcome.FAILED, refused)
        suspect(store, key, held, granted_at, view.notes)
        grave = tombstone(held, hold.lease.number, granted_at)
        if store.replace(key.name, grave, hold.lease):
            self._near.adopt(key, grave, granted_at)
        else:
            self._near.reconcile(store, [key])
        hold.ended = True
        return Result(Outcome.DEAD)

    def ration(self, store: CredentialStore, key: CredentialKey, client: str = "") -> Failed | None:
        """Take one of the account's rationed refreshes, and of the client's; says why there is none.

        Raises `StoreUnavailable`.
        """
        rations = [
            Ration(f"report-gap|{key.name}", 1, REPORT_GAP_SECONDS),
            Ration(f"report-hour|{key.name}", REPORTS_AN_HOUR, HOUR_SECONDS),
        ]
        if client:
            rations.append(Ration(f"report-hour|{key.name}|{client}", REPORTS_A_CLIENT_AN_HOUR, HOUR_SECONDS))
        wait = store.take(rations)
        return self._unsure(TooManyRefreshes(wait), wait) if wait else None

    def instead_of(self, key: CredentialKey) -> Intent | Failed:
        """What to do where WeChat gives a dead token again: force it out, take it as it is, or wait.

        Raises `StoreUnavailable`.
        """
        store, forced_by = self._link.store, sort_of(key).forced_by
        view = store.view((), [_rest(key)])
        if forced_by is None or view.notes:
            return Intent.TAKE_AGAIN
        wait = store.take([Ration(f"force-gap|{key.name}", 1, FORCE_GAP_SECONDS)])
        if wait:
            return self._unsure(TooManyRefreshes(wait), wait)
        spent = self._ledger.admit(store, key, forced_by, view.now, urgent=True)
        return Intent.TAKE_AGAIN if spent else Intent.FORCE

    def forced_in_vain(self, store: CredentialStore, key: CredentialKey) -> None:
        """WeChat gives the dead value even when forced: no force for an hour. Raises `StoreUnavailable`."""
        logger.warning("wxsign.forced_in_vain", extra={"fields": {"appid": key.owner}})
        store.note(_rest(key), "", FORCE_REST_SECONDS)
        store.record_event(f"forced_in_vain {key.owner}")

    def conclude(self, key: CredentialKey, report: Report, result: Result) -> None:
        """Remember what the reporters are told who still hold the reported value after `result`."""
        now = self._boot()
        until = max(now + UNSURE_SECONDS, result.failed.next_try_empty if result.failed else now)
        # One client's rations are no answer to another's report.
        client = report.client if isinstance(result.error, TooManyRefreshes) else None
        verdict = Verdict(
            digest(report.rejected), now, alive=False, until=until, error=result.error, client=client
        )
        with self._near.changed:
            self._near.seat(key).verdict = verdict


def _verdict(key: CredentialKey) -> str:
    return f"verdict|{key.name}"


def _rest(key: CredentialKey) -> str:
    return f"force-rest|{key.name}"
