"""The composition root, and the face of the library: `WxSign.from_env().jsconfig(url)` needs no web server."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import TYPE_CHECKING

from wxsign.accounts import AccountRegistry, OfficialAccount
from wxsign.broker import CredentialBroker, Outcome, Result, Surroundings
from wxsign.credentials import CredentialKey, CredentialKind, policy_for, told_expiry
from wxsign.errors import CredentialUnavailable
from wxsign.observers.log import log_refresh
from wxsign.settings import Settings, load_settings
from wxsign.signing import JSConfig, parse_page_url, sign
from wxsign.states import AccountState, CredentialState, Readiness, TicketAnswer, TokenAnswer
from wxsign.stores import CredentialStore, MachineStore, open_store
from wxsign.wechat import WeChatClient
from wxsign.wechat.upstream import WeChatUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wxsign.broker import Held, Observer

RECHECK_SECONDS = 60
NEAR_CACHE_MINIMUM = 1024


def _this_machine() -> Surroundings:
    name = socket.gethostname()
    return Surroundings(machine=name, machine_store=MachineStore(name))


class WxSign:
    """Signatures and credentials for the configured accounts.

    Nothing is opened or started before the first use, so an instance may be made before a fork; each process gets a
    broker of its own. Every argument but `settings` has the real thing as its default.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: WeChatClient | None = None,
        open_store: Callable[[str], CredentialStore] = open_store,
        surroundings: Surroundings | None = None,
        observers: Sequence[Observer] = (log_refresh,),
        make_noncestr: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.settings = settings
        self.registry = AccountRegistry(settings.accounts)
        self._upstream = WeChatUpstream(client or WeChatClient(settings.api_base), self.registry)
        self._open_store = open_store
        self._surroundings = surroundings
        self._clock = surroundings.wall_clock if surroundings else time.time
        self._observers = observers
        self._make_noncestr = make_noncestr
        self._site_scheme = (settings.public_url or "").partition(":")[0] or None
        self._tickets = {
            account.name: self._key(account, CredentialKind.JSAPI_TICKET) for account in self.registry
        }
        # One for each process, by its id: threads do not survive a fork, and locks may be held in it for ever.
        self._brokers: dict[int, CredentialBroker] = {}

    def __repr__(self) -> str:
        return f"WxSign(accounts={len(self.registry)})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> WxSign:
        """The service that the environment, and the TOML file it names, describe. Raises `ConfigError`."""
        return cls(load_settings(environ=environ))

    @property
    def broker(self) -> CredentialBroker:
        """This process's broker, made on first use."""
        return self._brokers.get(os.getpid()) or self._make_broker()

    def start(self) -> None:
        """Start keeping credentials fresh; it also starts by itself on first use."""
        self.broker.start()

    def stop(self) -> None:
        """Stop keeping credentials fresh, and give back every lease."""
        if os.getpid() in self._brokers:
            self.broker.stop()

    def jsconfig(self, url: str, account: str | None = None) -> JSConfig:
        """What `wx.config` needs on the page at `url`; `account` is a name or AppID, by default chosen by the host.

        Raises `RequestError` where the page cannot be signed, `CredentialUnavailable` while there is no usable ticket.
        """
        page = parse_page_url(url, site_scheme=self._site_scheme)
        chosen = self.registry.for_page(page, account)
        held = self.broker.get(self._tickets[chosen.name])
        return sign(
            held.value,
            app_id=chosen.app_id,
            page=page,
            noncestr=self._make_noncestr(),
            timestamp=int(self._clock()),
            js_api_list=chosen.js_api_list,
            open_tag_list=chosen.open_tag_list,
        )

    def access_token(self, account: str) -> TokenAnswer:
        """The account's current access_token. Raises `UnknownAccount`, `CredentialUnavailable`."""
        key = self._token_key(account)
        return self._token_answer(key, self.broker.fresh(key), verified=False)

    def report_rejected(self, account: str, rejected: str) -> TokenAnswer:
        """A caller says that WeChat rejected the token `rejected`: the current one, refreshed first if it is dead.

        Raises `UnknownAccount`, `CredentialUnavailable` (also when WeChat cannot be asked).
        """
        key = self._token_key(account)
        held, verified = self.broker.report(key, rejected)
        return self._token_answer(key, held, verified=verified)

    def ticket(self, account: str) -> TicketAnswer:
        """The account's current jsapi_ticket. Raises `UnknownAccount`, `CredentialUnavailable`."""
        key = self._tickets[self.registry.get(account).name]
        held = self.broker.fresh(key)
        expires_in = self._told_seconds(key, held)
        return TicketAnswer(held.value, int(expires_in), int(self._clock() + expires_in))

    def refresh(self, account: str) -> tuple[Result, ...]:
        """Refresh the account's token and ticket now, past schedule and backoff. Raises `UnknownAccount`."""
        ticket_key = self._tickets[self.registry.get(account).name]
        token = self.broker.probe(ticket_key.token_key)
        if token.outcome is Outcome.FAILED:
            return (token,)
        return token, self.broker.probe(ticket_key)

    def look(self) -> None:
        """Read what the store holds of every account; for a process that has only just started. Fetches nothing."""
        self.broker.follow(key for ticket in self._tickets.values() for key in (ticket, ticket.token_key))

    def account_states(self) -> tuple[AccountState, ...]:
        """Every account with the state of its credentials, as this process sees them; in use, also today's calls."""
        in_use = self._in_use()
        return tuple(
            self._account_state(account, self._keys(account), in_use=account.app_id in in_use, spending=True)
            for account in self.registry
        )

    def readiness(self) -> Readiness:
        """Whether this process can serve at least one of the accounts that it needs now."""
        # An account of which only the token is asked for is judged by its token.
        needed = [
            self._account_state(self.registry.get(app_id), keys, in_use=True)
            for app_id, keys in self._in_use().items()
        ]
        problems = {code: None for state in needed for code in state.problems}
        if any(not state.serving and not state.problems for state in needed):
            problems["credential_unavailable"] = None
        problems |= dict.fromkeys(self._fleet_problems())
        ready = not needed or any(state.serving for state in needed)
        state = "unready" if not ready else "degraded" if problems else "ready"
        return Readiness(ready, state, tuple(problems))

    def _in_use(self) -> dict[str, list[CredentialKey]]:
        """What is asked for, or warm, by AppID."""
        in_use: dict[str, list[CredentialKey]] = {}
        for key in self.broker.wanted():
            in_use.setdefault(key.app_id, []).append(key)
        return in_use

    def _keys(self, account: OfficialAccount) -> tuple[CredentialKey, ...]:
        ticket = self._tickets[account.name]
        return (ticket.token_key, ticket) if account.allowed_hosts else (ticket.token_key,)

    def _fleet_problems(self) -> Iterator[str]:
        fleet = self.broker.fleet
        for trouble in (fleet.lost, fleet.shared.schema_ahead):
            if trouble is not None:
                yield trouble.code
        if fleet.clock_skewed:
            yield "clock_skewed"

    def _make_broker(self) -> CredentialBroker:
        broker = CredentialBroker(
            self._open_store(self.settings.store),
            self._upstream,
            warm=self._warm_keys(),
            maxsize=max(NEAR_CACHE_MINIMUM, 2 * len(self.registry)),
            limit_of=self._daily_limit,
            reader=not self.settings.refresh,
            observers=self._observers,
            surroundings=self._surroundings or _this_machine(),
        )
        # Two threads may come here at once. Nothing is opened yet, so the loser's is simply dropped.
        return self._brokers.setdefault(os.getpid(), broker)

    def _daily_limit(self, key: CredentialKey, endpoint: str) -> int:
        return self.registry.get(key.app_id).daily_limit(endpoint)

    def _warm_keys(self) -> list[CredentialKey]:
        """A single account is always warm; one without hosts to sign for needs no ticket."""
        only = len(self.registry) == 1
        warm = [account for account in self.registry if account.warm or only]
        return [
            key if account.allowed_hosts else key.token_key
            for account in warm
            for key in (self._tickets[account.name],)
        ]

    def _key(self, account: OfficialAccount, kind: CredentialKind) -> CredentialKey:
        return account.credential_key(kind, self.settings.api_base)

    def _token_key(self, account: str) -> CredentialKey:
        return self._tickets[self.registry.get(account).name].token_key

    def _told_seconds(self, key: CredentialKey, held: Held) -> float:
        now = self.broker.now(held)
        return max(0.0, told_expiry(key, held.credential, now) - now)

    def _token_answer(self, key: CredentialKey, held: Held, *, verified: bool) -> TokenAnswer:
        expires_in = self._told_seconds(key, held)
        if expires_in <= 0:
            raise CredentialUnavailable(None, 1)
        return TokenAnswer(
            value=held.value,
            expires_in_seconds=int(expires_in),
            expires_at=int(self._clock() + expires_in),
            recheck_after_seconds=min(RECHECK_SECONDS, int(expires_in)),
            verified=verified,
        )

    def _account_state(
        self,
        account: OfficialAccount,
        keys: Sequence[CredentialKey],
        *,
        in_use: bool,
        spending: bool = False,
    ) -> AccountState:
        return AccountState(
            name=account.name,
            app_id=account.app_id,
            kind="official",
            token_endpoint=str(account.token_endpoint),
            in_use=in_use,
            credentials=tuple(self._credential_state(key) for key in keys),
            theft=self.broker.thefts.get(account.app_id),
            spending=self.broker.ledger.spending(keys[0]) if spending and in_use else (),
        )

    def _credential_state(self, key: CredentialKey) -> CredentialState:
        held, failed = self.broker.standing(key)
        error = failed.error if failed else None
        if held is None:
            return CredentialState(str(key.kind), usable=False, error=error)
        now = self.broker.now(held)
        return CredentialState(
            kind=str(key.kind),
            usable=True,
            expires_in_seconds=int(self._told_seconds(key, held)),
            refresh_in_seconds=max(0, int(policy_for(key).due_at(held.credential) - now)),
            version=held.credential.version,
            error=error,
        )
