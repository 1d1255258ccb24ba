"""The sandbox itself: accounts, settings, faults and log behind one lock, and a clock that can be moved."""

import hashlib
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from wxsign.sandbox import api
from wxsign.sandbox.cards import verify_card
from wxsign.sandbox.checks import Answer, ApiCall, World
from wxsign.sandbox.credentials import AccessToken, Account, Ticket
from wxsign.sandbox.faults import Fault, FaultQueue
from wxsign.sandbox.journal import Journal, Visit
from wxsign.sandbox.logins import Logins
from wxsign.sandbox.settings import ENDPOINTS, SandboxSettings, checked, updated
from wxsign.sandbox.verification import Signed, Verdict, verify

CREDENTIALS = {"jsapi_ticket": "jsapi", "wx_card_ticket": "wx_card", "agent_ticket": "agent_config"}
PAGE_CHECKS = "bridge_verify"
# So many of the latest verdicts on pages are shown.
VERDICTS = 50
# What `any_appid` takes for one, and so many are opened.
APPID = re.compile(r"wx[0-9A-Za-z]{16}", re.ASCII)
MOST_ACCOUNTS = 1_000


class UnknownNameError(LookupError):
    """No such appid or credential here; the message names what there is."""


class Stay:
    """One call while it is here, with what happens to it."""

    def __init__(
        self,
        visit: Visit,
        fault: Fault | None,
        latency_seconds: float,
        released: threading.Event,
        journal: Journal,
    ) -> None:
        self.visit = visit
        self.fault = fault
        self.released = released
        self.journal = journal
        delay = fault.seconds if fault and fault.kind == "latency" else 0
        self.latency_seconds = latency_seconds + delay


class Sandbox:
    """A simulated WeChat. Every public method takes the lock for the length of a state change, never longer."""

    def __init__(
        self, settings: SandboxSettings | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Raises SettingsError."""
        self._start = checked(settings or SandboxSettings())
        self._clock = clock
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._settings = self._start
        self._begin()

    def _begin(self) -> None:
        self._offset_seconds = 0.0
        self._faults = FaultQueue()
        self._logins = Logins()
        self._journal = Journal()
        self._verdicts: deque[dict[str, Any]] = deque(maxlen=VERDICTS)
        self._accounts = {
            appid: Account(appid, secret, self._now()) for appid, secret in self._start.accounts.items()
        }

    def _now(self) -> float:
        return self._clock() + self._offset_seconds

    def _world(self) -> World:
        return World(self._accounts, self._settings, self._now())

    # calls of WeChat's API

    def arrive(self, call: ApiCall) -> Stay:
        """Notes a call and says what shall happen to it."""
        with self._lock:
            if self._settings.any_appid:
                self._open_account(*api.named_by_secret(call))
            appid = api.appid_of(self._world(), call)
            fault = self._faults.take(call.endpoint, appid)
            # A foreign appid is whatever the caller sent, a misplaced secret included: it is not noted.
            known = appid if appid in self._accounts else ""
            kind = fault.kind if fault else None
            now = self._now()
            visit = Visit(now, call.endpoint, call.method, known, call.remote_addr, kind, client=call.client)
            self._journal.arrive(visit)
            return Stay(visit, fault, self._settings.latency_seconds, self._released, self._journal)

    def _open_account(self, appid: str, secret: str) -> None:
        """An account that was not set up, with the secret that came first."""
        if appid not in self._accounts and APPID.fullmatch(appid) and len(self._accounts) < MOST_ACCOUNTS:
            self._accounts[appid] = Account(appid, secret, self._now())
        elif appid in self._accounts and not self._accounts[appid].secret:
            self._accounts[appid].secret = secret

    def leave(self, stay: Stay) -> None:
        """The call is over. Its own journal counts it, even after a reset."""
        with self._lock:
            stay.journal.leave(stay.visit)

    def answer(self, call: ApiCall) -> Answer:
        """Lets WeChat work on a call."""
        with self._lock:
            return api.answer(self._world(), call, self._logins)

    def authorize(self, query: Mapping[str, str]) -> str:
        """Where a visitor who logs in is sent; raises LoginError."""
        with self._lock:
            if self._settings.any_appid:
                self._open_account(query.get("appid", ""), "")
            return self._logins.authorize(self._world(), query, self._settings.user)

    def refuse(self, fault: Fault, call: ApiCall) -> Answer:
        """The error answer of a fault of kind errcode."""
        with self._lock:
            return api.refusal(fault.errcode, self._now(), call.remote_addr, fault.errmsg)

    def unknown_path(self, remote_addr: str) -> Answer:
        """WeChat's answer to a path that it does not have."""
        with self._lock:
            return api.refusal(40066, self._now(), remote_addr)

    def verify(self, signed: Signed, *, by_page: bool = False, at: float | None = None) -> Verdict:
        """WeChat's verdict on a signature, now or at a moment that has passed. Those asked for by pages are counted."""
        with self._lock:
            self._journal.calls[PAGE_CHECKS] += by_page
            world = self._world()
            verdict = verify(world if at is None else replace(world, now=at), signed)
            if by_page:
                self._verdicts.appendleft(
                    {
                        "at": world.now,
                        "ok": verdict.ok,
                        "url": signed.url,
                        "cause": verdict.cause.id if verdict.cause else verdict.err_msg,
                        "detail": verdict.detail(),
                    }
                )
            return verdict

    def verify_card(
        self, appid: str, values: Sequence[str], signature: str
    ) -> tuple[Verdict, tuple[str, str]]:
        """WeChat's verdict on a card's signature, and why."""
        with self._lock:
            return verify_card(self._world(), appid, values, signature)

    # controls

    def account_named(self, appid: str) -> str:
        """That appid, or the first account's where it is empty; raises UnknownNameError."""
        with self._lock:
            if appid and appid not in self._accounts:
                raise UnknownNameError(f"unknown appid; known: {', '.join(self._accounts)}")
            return appid or next(iter(self._accounts))

    def change_secret(self, appid: str, secret: str) -> None:
        """The AppSecret was reset: the old one opens nothing any more. Tokens live on."""
        with self._lock:
            self._accounts[appid].secret = secret

    def exhaust(self, appid: str) -> None:
        """Today's quota of the account is used up."""
        with self._lock:
            self._accounts[appid].exhaust(self._settings.daily_quota, self._now())

    def calm(self) -> None:
        """No fault waits, settings, secrets and quotas are those of the start, and calls that hang are let go."""
        with self._lock:
            self._settings, self._faults = self._start, FaultQueue()
            for appid, secret in self._start.accounts.items():
                self._accounts[appid].secret = secret
            for account in self._accounts.values():
                account.restore()
        self.release()

    def reset(self) -> None:
        """Back to the start. Calls that hang are let go."""
        with self._lock:
            self._settings = self._start
            self._begin()
        self.release()

    def release(self) -> None:
        """Ends every call that hangs or drips."""
        with self._lock:
            released, self._released = self._released, threading.Event()
        released.set()

    def change(self, changes: Mapping[str, object]) -> dict[str, object]:
        """Changes settings and returns those in force; raises SettingsError and then changes nothing."""
        with self._lock:
            self._settings = updated(self._settings, changes)
            return self._settings.public()

    def add_fault(self, fault: Fault) -> list[dict[str, object]]:
        with self._lock:
            self._faults.add(fault)
            return self._faults.pending()

    def clear_faults(self) -> None:
        with self._lock:
            self._faults = FaultQueue()

    def advance(self, seconds: float) -> float:
        """Moves the clock and returns its new time."""
        with self._lock:
            self._offset_seconds += seconds
            return self._now()

    def rotate(self, appid: str, credential: str) -> None:
        """As if another system had a new value issued: the current one is invalid at once.

        A ticket keeps the overlap that the settings give it; a stable token has no successor until somebody asks.
        """
        with self._lock:
            account, now = self._find(appid, credential), self._now()
            if credential in CREDENTIALS:
                account.tickets[CREDENTIALS[credential]].rotate(now, self._settings)
            elif credential == "stable_token":
                account.stable.kill(now)
            else:
                account.classic.kill(now)
                account.classic.issue(now, self._settings.token_life_seconds, overlap_seconds=0)

    def kill(self, appid: str, credential: str) -> None:
        """The current value is invalid at once, without a successor."""
        with self._lock:
            account, now = self._find(appid, credential), self._now()
            if credential in CREDENTIALS:
                account.tickets[CREDENTIALS[credential]].kill(now, self._settings)
            else:
                (account.stable if credential == "stable_token" else account.classic).kill(now)

    def _find(self, appid: str, credential: str) -> Account:
        if appid not in self._accounts:
            raise UnknownNameError(f"unknown appid; known: {', '.join(self._accounts)}")
        account = self._accounts[appid]
        known = self._account_view(account, self._now()).keys() - {"appid"}
        if credential not in known:
            raise UnknownNameError(f"credential must be one of {', '.join(sorted(known))}")
        return account

    # views: digests only, never a value

    def browser(self) -> dict[str, str]:
        """Which client the bridge shall be, where its script does not say."""
        with self._lock:
            return {"mode": self._settings.mode, "rule": self._settings.rule}

    def check_token(self, value: str) -> dict[str, object]:
        """Whether a token is alive, its kind and the seconds it has left."""
        with self._lock:
            now = self._now()
            for account in self._accounts.values():
                if found := account.find_token(value):
                    kind, token = found
                    left = max(0.0, round(token.dies_at - now, 3))
                    return {
                        "alive": token.alive(now),
                        "kind": kind,
                        "expires_in": left,
                        "appid": account.appid,
                    }
        return {"alive": False, "kind": None, "expires_in": 0, "appid": None}

    def take_verdicts(self) -> list[dict[str, Any]]:
        """The verdicts on pages since the last time, newest first."""
        with self._lock:
            taken = list(self._verdicts)
            self._verdicts.clear()
            return taken

    def visits(self) -> list[Visit]:
        """The calls seen, oldest first."""
        with self._lock:
            return self._journal.visits()

    def requests(self) -> list[dict[str, object]]:
        """The same, as JSON has them."""
        return [asdict(visit) for visit in self.visits()]

    def state(self) -> dict[str, object]:
        """Everything but values and secrets."""
        with self._lock:
            now = self._now()
            return {
                "now": now,
                "offset_seconds": self._offset_seconds,
                "settings": self._settings.public(),
                "accounts": [self._account_view(account, now) for account in self._accounts.values()],
                "faults": self._faults.pending(),
                "calls": {name: self._journal.calls[name] for name in (*ENDPOINTS, PAGE_CHECKS)},
                "in_flight_max": {name: self._journal.in_flight_max[name] for name in ENDPOINTS},
                "verdicts": list(self._verdicts),
            }

    def _account_view(self, account: Account, now: float) -> dict[str, object]:
        view: dict[str, object] = {"appid": account.appid}
        view["access_token"] = _token_view(account.classic.current, now)
        if not account.of_wecom:
            view["stable_token"] = _token_view(account.stable.current, now)
        for name, kind in CREDENTIALS.items():
            if line := account.tickets.get(kind):
                line.roll(now, self._settings)
                view[name] = _ticket_view(line.current, now)
        return view


def _token_view(token: AccessToken | None, now: float) -> dict[str, object] | None:
    if token is None:
        return None
    return _view(token.value, token.issued_at, token.dies_at, now)


def _ticket_view(ticket: Ticket | None, now: float) -> dict[str, object] | None:
    if ticket is None:
        return None
    return _view(ticket.value, ticket.issued_at, ticket.ends_at, now)


def _view(value: str, issued_at: float, ends_at: float, now: float) -> dict[str, object]:
    digest = hashlib.sha256(value.encode()).hexdigest()[:12]
    return {"digest": digest, "issued_at": issued_at, "ends_at": ends_at, "alive": now < ends_at}
