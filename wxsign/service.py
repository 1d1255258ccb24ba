"""The composition root, and the face of the library: `WxSign.from_env().jsconfig(url)` needs no web server."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from wxsign.accounts import AccountKind, AccountRegistry, NoAgent, NoCards, OfficialAccount, SignsNoPages
from wxsign.broker import CredentialBroker, Outcome, Result, Surroundings
from wxsign.credentials import CredentialKey, CredentialKind, asked_for
from wxsign.errors import CredentialUnavailable, HostNotAllowed
from wxsign.observers.alerts import Alerts
from wxsign.observers.faults import FaultBook
from wxsign.observers.log import RefreshLog
from wxsign.observers.sinks import Sinks
from wxsign.settings import AlertSettings, Settings, load_settings
from wxsign.signing import NESTED_URL, JSConfig, nested_pages, parse_page_url, sign, sign_agent
from wxsign.states import AccountState, Overview, Readiness, Status, TicketAnswer, TokenAnswer, told
from wxsign.stores import CredentialStore, MachineStore, mirror_at, open_store
from wxsign.stores.sessions import Sessions
from wxsign.wechat import WeChatClient, WeComClient
from wxsign.wechat.source import SourceReader
from wxsign.wechat.upstream import WeChatUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxsign.accounts import Agent, Sink
    from wxsign.broker import Held, Observer
    from wxsign.observers.metrics import Metrics
    from wxsign.signing import PageUrl

RECHECK_SECONDS = 60
NEAR_CACHE_MINIMUM = 1024
THREADS = 8
# As many accounts are kept fresh from the start, unless they say otherwise.
WARM_ACCOUNTS = 10


def _this_machine() -> Surroundings:
    name = socket.gethostname()
    return Surroundings(machine=name, machine_store=MachineStore(name))


def _signable(service: WxSign, url: str, account: str | None) -> tuple[PageUrl, OfficialAccount]:
    """The page at `url` and the account that may sign it. Raises `RequestError`."""
    page = parse_page_url(url, site_scheme=service.site_scheme)
    chosen = service.registry.for_page(page, account)
    if "&url=" in page.url:
        page = _judged_by_inner_pages(page, chosen, refuse=service.settings.nested_urls == "refuse")
    return page, chosen


def _judged_by_inner_pages(page: PageUrl, account: OfficialAccount, *, refuse: bool) -> PageUrl:
    """The page with a warning, where an address inside its own is one that the account may not sign.

    Raises `HostNotAllowed` where such pages are to be refused.
    """
    foreign = [inner for inner in nested_pages(page) if not account.may_sign(inner)]
    if foreign and refuse:
        raise HostNotAllowed(foreign[0].host)
    return page._replace(warnings=(*page.warnings, NESTED_URL)) if foreign else page


def _keys_of(settings: Settings, kind: CredentialKind) -> dict[str, CredentialKey]:
    return {account.name: settings.key_of(account, kind) for account in settings.accounts}


def _needed(settings: Settings, account: OfficialAccount) -> tuple[CredentialKey, ...]:
    """The credentials that an account needs: one without hosts to sign for has no use for a ticket."""
    kinds = [CredentialKind.ACCESS_TOKEN]
    if account.allowed_hosts:
        kinds += [CredentialKind.JSAPI_TICKET, *([CredentialKind.AGENT_TICKET] if account.agent else ())]
    return tuple(settings.key_of(account, kind) for kind in kinds)


def _with_agent(config: JSConfig, agent: Agent, ticket: str) -> JSConfig:
    signed = sign_agent(
        ticket,
        corp_id=config.app_id,
        agent_id=agent.agent_id,
        url=config.url,
        noncestr=config.nonce_str,
        timestamp=config.timestamp,
        js_api_list=agent.js_api_list,
    )
    return config._replace(agent=signed)


def _sinks_of(settings: Settings) -> list[tuple[CredentialKey, Sink]]:
    """What is mirrored where; it is kept fresh whether or not anybody asks."""
    return [
        (settings.key_of(account, sink.credential), sink)
        for account in settings.accounts
        for sink in account.sinks
    ]


class WxSign:
    """Signatures and credentials for the configured accounts.

    Nothing is opened or started before the first use, so an instance may be made before a fork; each process gets a
    broker of its own. Every argument but `settings` has the real thing as its default. `threads` is how many requests
    a process serves at once. `observers` hear of each call of WeChat and of each new value, after the log.
    """

    def __init__(  # noqa: PLR0913 -- keyword-only, each with the real thing as its default
        self,
        settings: Settings,
        *,
        client: WeChatClient | None = None,
        open_store: Callable[[str], CredentialStore] = open_store,
        surroundings: Surroundings | None = None,
        observers: Sequence[Observer] = (),
        make_noncestr: Callable[[], str] = lambda: os.urandom(8).hex(),
        make_alerts: Callable[[AlertSettings], Alerts] = Alerts,
        threads: int = THREADS,
    ) -> None:
        self.settings = settings
        self.registry = AccountRegistry(settings.accounts)
        self.threads = threads
        self.config_rejected = False
        self.metrics: Metrics | None = None
        self.client = client or WeChatClient(settings.api_base)
        self.wecom = WeComClient(settings.wecom_api_base)
        self.sessions = Sessions(lambda work: self.broker.link.call(work))  # noqa: PLW0108 - there is no broker yet
        self.upstream = WeChatUpstream(
            self.client, self.wecom, SourceReader(lambda url, key: mirror_at(url).get(key)), self.registry
        )
        self._open_store = open_store
        self._surroundings = surroundings
        self._clock = surroundings.wall_clock if surroundings else time.time
        self._make_noncestr = make_noncestr
        self._make_alerts = make_alerts
        self.site_scheme = (settings.public_url or "").partition(":")[0] or None
        self._tickets = _keys_of(settings, CredentialKind.JSAPI_TICKET)
        self._tokens = _keys_of(settings, CredentialKind.ACCESS_TOKEN)
        self._agent_tickets = _keys_of(settings, CredentialKind.AGENT_TICKET)
        self._keys = {account.name: _needed(settings, account) for account in self.registry}
        self._observers: tuple[Observer, ...] = (RefreshLog(self.registry), *observers)
        # One for each process, by its id: threads do not survive a fork, and locks may be held in it for ever.
        self._brokers: dict[int, CredentialBroker] = {}
        self._overviews: dict[int, Overview] = {}

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
            if self.metrics is not None:
                self.metrics.flush()

    # ------------------------------------------------------------------------------- what is asked for

    def jsconfig(
        self,
        url: str,
        account: str | None = None,
        landing_url: str | None = None,
        agent: str | None = None,
    ) -> JSConfig:
        """What `wx.config` needs on the page at `url`; `account` is a name or AppID, by default chosen by the host.

        `landing_url` is the URL that the page was opened at: it is signed too, with the same nonce and timestamp. `agent` is
        an app of the corporation `account`: what `wx.agentConfig` needs comes with it. Raises `RequestError` where something
        cannot be signed, `CredentialUnavailable` while there is no usable ticket.
        """
        page, chosen = _signable(self, url, f"{account or ''}/{agent}" if agent else account)
        landing = _signable(self, landing_url, chosen.name)[0] if landing_url and landing_url != url else None
        result = "credential_unavailable"
        try:
            ticket = self.broker.get(self._tickets[chosen.name]).value
            of_agent = self.broker.get(self._agent_tickets[chosen.name]).value if agent else ""
            result = "ok"
        finally:
            if self.metrics is not None:
                self.metrics.note((chosen.name, result))
        config = sign(
            ticket,
            app_id=chosen.app_id,
            page=page,
            landing=landing,
            noncestr=self._make_noncestr(),
            timestamp=int(self._clock()),
            js_api_list=chosen.js_api_list,
            open_tag_list=chosen.open_tag_list,
        )
        return _with_agent(config, chosen.agent, of_agent) if chosen.agent and of_agent else config

    def access_token(self, account: str) -> TokenAnswer:
        """The account's current access_token. Raises `UnknownAccount`, `CredentialUnavailable`."""
        key = self._tokens[self.registry.get(account).name]
        return self._token_answer(key, self.broker.fresh(key), verified=False)

    def report_rejected(self, account: str, rejected: str, client: str = "") -> TokenAnswer:
        """`client` says that WeChat rejected the token `rejected`: the current one, refreshed first if it is dead.

        Raises `UnknownAccount`, `CredentialUnavailable` (also when WeChat cannot be asked).
        """
        key = self._tokens[self.registry.get(account).name]
        held, verified = self.broker.report(key, rejected, client)
        return self._token_answer(key, held, verified=verified)

    def ticket(self, account: str, kind: CredentialKind = CredentialKind.JSAPI_TICKET) -> TicketAnswer:
        """The account's current jsapi_ticket; its wx_card ticket, or that of an app of WeCom for `wx.agentConfig`.

        Raises `UnknownAccount`, `SignsNoPages`, `NoAgent`, `NoCards`, `CredentialUnavailable`.
        """
        chosen = self.registry.get(account)
        if chosen.kind is AccountKind.MINIPROGRAM:
            raise SignsNoPages
        if kind is CredentialKind.AGENT_TICKET and chosen.agent is None:
            raise NoAgent
        if kind is CredentialKind.CARD_TICKET and chosen.agent is not None:
            raise NoCards
        key = self.settings.key_of(chosen, kind)
        held = self.broker.fresh(key)
        return TicketAnswer(held.value, *told(self.broker, key, held))

    def refresh(self, account: str) -> tuple[Result, ...]:
        """Refresh the account's token and tickets now, past schedule and backoff. Raises `UnknownAccount`."""
        chosen = self.registry.get(account)
        token = self.broker.refresh_now(self._tokens[chosen.name])
        if token.outcome is Outcome.FAILED:
            return (token,)
        tickets = [self._tickets[chosen.name], *([self._agent_tickets[chosen.name]] if chosen.agent else ())]
        return token, *(self.broker.refresh_now(key) for key in tickets)

    # ------------------------------------------------------------------------------- what an operator sees

    def read_store(self) -> None:
        """Take over what the store holds of every account: values, failures, thefts. Fetches nothing.

        For a process that has only just started. Raises `StoreUnavailable`.
        """
        known = (key for keys in self._keys.values() for key in keys)
        self.broker.follow(dict.fromkeys((*self._tokens.values(), *self._tickets.values(), *known)))
        if self.broker.link.lost is not None:
            raise self.broker.link.lost

    def acknowledge(self, account: str) -> None:
        """Forget that this account's token was taken: somebody has seen to it. Raises `UnknownAccount`."""
        self.broker.acknowledge([self._tokens[self.registry.get(account).name]])

    def account_states(self) -> tuple[AccountState, ...]:
        """Every account with the state of its credentials, as this process sees them, and today's calls."""
        return self._overview().account_states()

    def readiness(self) -> Readiness:
        """Whether this process can serve one of the configured accounts, and what is wrong."""
        return self._overview().readiness()

    def status(self, since_seconds: float = 12 * 3600.0) -> Status:
        """Is it OK, and what was not in the last `since_seconds`? From the store alone, for any process on any machine.

        Raises `StoreUnavailable` where the store cannot be read, or not be written.
        """
        self.read_store()
        self.broker.link.shared.note("status", "", 1.0)
        return self._overview().status(since_seconds)

    # ------------------------------------------------------------------------------- what it is made of

    def _overview(self) -> Overview:
        broker = self.broker
        known = self._overviews.get(os.getpid())
        if known is None:
            known = self._overviews.setdefault(os.getpid(), Overview(self.registry, broker, self._keys))
        known.config_rejected = self.config_rejected
        return known

    def _make_broker(self) -> CredentialBroker:
        surroundings = self._surroundings or _this_machine()
        alerts = self._make_alerts(self.settings.alerts) if self.settings.alerts else None
        book = FaultBook(
            lambda: self.broker,
            lambda: self._overview().faults(),
            surroundings.machine_store,
            surroundings.wall_clock,
            alerts.tell if alerts else lambda _told: None,
        )
        metrics, registry, mirrored = self.metrics, self.registry, _sinks_of(self.settings)
        store, sinks = self._open_store(self.settings.store), Sinks(mirrored, surroundings)
        observers = (*self._observers, sinks, *((alerts.ping,) if alerts else ()))

        def after_look() -> None:
            book.look()
            self._overview().more_faults = sinks.look()
            if metrics is not None:
                metrics.look(self.broker, registry, lambda: self._overview().faults())

        if metrics is not None:
            store = metrics.timed(store)
            observers = (*observers, lambda event: metrics.observe(event, registry))
        broker = CredentialBroker(
            store,
            self.upstream,
            warm=[
                *(key for a in self.registry if self.is_warm(a) for key in asked_for(self._keys[a.name])),
                *(key for key, _ in mirrored),
            ],
            maxsize=max(NEAR_CACHE_MINIMUM, 2 * len(self.registry)),
            limit_of=lambda key, call: self.registry.get(key.owner).limit(call),
            reader=not self.settings.refresh,
            threads=self.threads,
            observers=observers,
            after_look=after_look,
            surroundings=surroundings,
        )
        # Two threads may come here at once. Nothing is opened yet, so the loser's is simply dropped.
        return self._brokers.setdefault(os.getpid(), broker)

    def is_warm(self, account: OfficialAccount) -> bool:
        """Whether an account is kept fresh whether or not anybody asks."""
        return len(self.registry) <= WARM_ACCOUNTS if account.warm is None else account.warm

    def _token_answer(self, key: CredentialKey, held: Held, *, verified: bool) -> TokenAnswer:
        expires_in, expires_at = told(self.broker, key, held)
        if not held.credential.usable(self.broker.now(held)):
            raise CredentialUnavailable(None, 1, what="token")
        self.broker.issued.note(key, held.value, expires_in)
        return TokenAnswer(
            value=held.value,
            expires_in_seconds=expires_in,
            expires_at=expires_at,
            recheck_after_seconds=min(RECHECK_SECONDS, expires_in),
            verified=verified,
        )
