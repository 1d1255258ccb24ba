"""Accounts, and which pages each may sign for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from wxsign.credentials import CredentialKey, CredentialKind, TokenEndpoint
from wxsign.errors import AccountRequired, HostNotAllowed, UnknownAccount
from wxsign.signing import DEFAULT_PORTS, JS_API_LIST, MAX_PORT, OPEN_TAG_LIST, parse_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wxsign.signing import PageUrl

DEFAULT_ACCOUNT: Final = "default"

DAILY_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        # Interface_field_description and API_Call_Limits: 2000 a day for new accounts.
        "token": 2_000,
        # getStableAccessToken: 500,000 a day.
        "stable_token": 500_000,
        # "Very limited" is all the guide says; the FAQ's number of the testing phase is the lowest ever named.
        "getticket": 10_000,
        # Nowhere documented; ours is the one call that reports of dead tokens cost, so it is bounded as well.
        "get_api_domain_ip": 5_000,
        # getStableAccessToken: force mode 20 a day.
        "force_refresh": 20,
    }
)
"""Calls a day that WeChat is known to grant an account, by endpoint."""


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of `allowed_hosts`. Without a port it allows 80 for http and 443 for https, nothing else."""

    host: str  # as `PageUrl.host`; with `subdomains`, what has to follow the first labels
    port: int | None = None
    subdomains: bool = False

    @classmethod
    def parse(cls, entry: str) -> HostRule:
        """Read `m.example.com`, `m.example.com:8443`, `*.example.com` (one or more labels more), `192.0.2.1` or `[::1]`.

        Raises:
            ValueError: it is none of these; the text says why, in a few words and without the entry.
        """
        if "/" in entry or "@" in entry:
            raise ValueError("write the host alone, without scheme, path or user")
        name, port = _split_port(entry)
        bare = name.removeprefix("*.")
        subdomains = bare is not name
        host = parse_host(bare)
        if subdomains and ("." not in host or host[-1].isdigit()):
            raise ValueError("a wildcard needs a domain of two labels or more behind it")
        return cls(host, port, subdomains)

    def matches(self, page: PageUrl) -> bool:
        """Whether this entry allows the page's host and port."""
        if page.port != (DEFAULT_PORTS[page.scheme] if self.port is None else self.port):
            return False
        return page.host.endswith(f".{self.host}") if self.subdomains else page.host == self.host

    def __str__(self) -> str:
        return f"{'*.' if self.subdomains else ''}{self.host}{'' if self.port is None else f':{self.port}'}"


def _split_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    if not colon or entry.endswith("]"):
        return entry, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT):
        raise ValueError("the port is not a number from 1 to 65535")
    return name, int(port)


class _Loopback(HostRule):
    """Matches this machine's own names on any port."""

    __slots__ = ()

    def matches(self, page: PageUrl) -> bool:
        return (
            page.host in {"localhost", "[::1]"}
            or page.host.endswith(".localhost")
            or _is_loopback_ip(page.host)
        )


def _is_loopback_ip(host: str) -> bool:
    # `127.example.com` is a name like any other; a host of the grammar whose last label is a number is an IPv4 address.
    return host.startswith("127.") and host.rpartition(".")[2].isdigit()


LOOPBACK: Final[HostRule] = _Loopback("localhost")
"""Allows loopback hosts on any port. Only `wxsign dev` uses it: no entry of a configuration parses to it."""


@dataclass(frozen=True, slots=True)
class OfficialAccount:
    """An Official Account (公众号/服务号) with what it may sign for and which interfaces its pages ask for by default."""

    name: str
    app_id: str
    app_secret: str = field(repr=False)
    allowed_hosts: tuple[HostRule, ...] = ()
    token_endpoint: TokenEndpoint = TokenEndpoint.STABLE
    js_api_list: tuple[str, ...] = JS_API_LIST
    open_tag_list: tuple[str, ...] = OPEN_TAG_LIST
    warm: bool = False
    quota: Mapping[str, int] = field(default_factory=dict)

    def daily_limit(self, endpoint: str) -> int:
        """Calls a day that this account has for an endpoint (a key of `DAILY_LIMITS`)."""
        return self.quota.get(endpoint, DAILY_LIMITS[endpoint])

    def may_sign(self, page: PageUrl) -> bool:
        """Whether one of the allowed hosts is the page's."""
        return any(rule.matches(page) for rule in self.allowed_hosts)

    def credential_key(self, kind: CredentialKind, api_base: str) -> CredentialKey:
        """Return the name under which this account's token or ticket is kept."""
        return CredentialKey(api_base, self.app_id, kind, self.token_endpoint)


class AccountRegistry:
    """All accounts of a service, found by name, by AppID or by a page's host."""

    def __init__(self, accounts: Iterable[OfficialAccount]) -> None:
        self._accounts = tuple(accounts)
        by_app_id = {account.app_id: account for account in self._accounts}
        self._by_name = by_app_id | {account.name: account for account in self._accounts}
        self._by_host, self._by_pattern = _index(self._accounts)

    def __iter__(self) -> Iterator[OfficialAccount]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, name_or_app_id: str) -> OfficialAccount:
        """Return an account by its name or AppID. Raises UnknownAccount."""
        try:
            return self._by_name[name_or_app_id]
        except KeyError:
            raise UnknownAccount(name_or_app_id) from None

    def for_page(self, page: PageUrl, wanted: str | None = None) -> OfficialAccount:
        """Return the account that signs a page: the wanted one, else the only one that lists the host, else `default`.

        Raises:
            UnknownAccount: `wanted` names none.
            AccountRequired: nothing was wanted and none, or several, come into question.
            HostNotAllowed: the account may not sign for the page's host.
        """
        account = self.get(wanted) if wanted else self._by_page(page)
        if account.may_sign(page):
            return account
        if not account.allowed_hosts:
            raise HostNotAllowed(None)
        raise HostNotAllowed(
            page.host if page.port == DEFAULT_PORTS[page.scheme] else f"{page.host}:{page.port}"
        )

    def _by_page(self, page: PageUrl) -> OfficialAccount:
        candidates = [*self._by_host.get(page.host, ()), *self._by_pattern]
        claiming = {account.name: account for account in candidates if account.may_sign(page)}
        choice = tuple(claiming.values()) or self._accounts
        for account in choice:
            if len(choice) == 1 or account.name == DEFAULT_ACCOUNT:
                return account
        raise AccountRequired


def _index(
    accounts: tuple[OfficialAccount, ...],
) -> tuple[dict[str, list[OfficialAccount]], tuple[OfficialAccount, ...]]:
    """Sort accounts by the exact hosts they list; those with patterns have to be asked one by one."""
    exact: dict[str, list[OfficialAccount]] = {}
    patterned = []
    for account in accounts:
        for rule in account.allowed_hosts:
            exact.setdefault(rule.host, []).append(account)
        if any(rule.subdomains or rule is LOOPBACK for rule in account.allowed_hosts):
            patterned.append(account)
    return exact, tuple(patterned)
