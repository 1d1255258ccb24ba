"""A call as it arrives, and the checks that WeChat and WeCom make alike, in their order."""

import hmac
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from wxsign.sandbox.credentials import Account
from wxsign.sandbox.settings import SandboxSettings

# The first word of a user agent, which is all that the journal keeps of it.
PROGRAM = re.compile(r"[A-Za-z][\w.+-]{0,39}(?:/[\w.+-]{1,20})?", re.ASCII)
TOKEN_FORM = re.compile(r"[\w.~+/=-]{1,512}", re.ASCII)


@dataclass(frozen=True)
class ApiCall:
    """One request as it arrived. Query and body carry secrets and stay out of the repr."""

    endpoint: str
    method: str
    query: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    remote_addr: str
    agent: str = ""

    @property
    def client(self) -> str:
        """Who calls, as far as can be told: an address, and the name of a program."""
        name = PROGRAM.match(self.agent)
        return f"{self.remote_addr} {name[0]}" if name else self.remote_addr


@dataclass(frozen=True)
class Answer:
    """The JSON to send; `rotated` when the call issued a new value."""

    body: dict[str, object] = field(repr=False)
    errcode: int = 0
    rotated: bool = False


@dataclass(frozen=True)
class World:
    """What an answer is made from."""

    accounts: Mapping[str, Account]
    settings: SandboxSettings
    now: float


class RefusedError(Exception):
    """WeChat says no."""

    def __init__(self, errcode: int) -> None:
        super().__init__(errcode)
        self.errcode = errcode


def by_token(
    world: World, call: ApiCall, method: str = "GET", otherwise: int = 43001, *, of_wecom: bool | None = None
) -> Account:
    """The account of a call by access_token; another method is refused with `otherwise`.

    `of_wecom`: of which platform it has to be, where the interface is one platform's alone.
    """
    need_method(call, method, otherwise)
    value = call.query.get("access_token", "")
    if not value:
        raise RefusedError(41001)
    if not TOKEN_FORM.fullmatch(value):
        raise RefusedError(40014)
    account = _holder(world, value)
    if of_wecom is not None and account.of_wecom is not of_wecom:
        raise RefusedError(40014)
    check_address_and_quota(world, call, account)
    return account


def _holder(world: World, value: str) -> Account:
    for account in world.accounts.values():
        found = account.find_token(value)
        if found is not None and found[1].alive(world.now):
            return account
        if found is not None and found[1].expired(world.now):
            raise RefusedError(42001)
    raise RefusedError(40001)


def check_address_and_quota(world: World, call: ApiCall, account: Account) -> None:
    """Refuses an address that is not listed, and a call beyond the day's quota; counts it otherwise."""
    if not _listed(call.remote_addr, world.settings.ip_whitelist):
        raise RefusedError(60020 if account.of_wecom else 40164)
    if not account.spend(call.endpoint, world.now, world.settings.daily_quota.get(call.endpoint)):
        raise RefusedError(45009)


def _listed(remote_addr: str, whitelist: tuple[str, ...] | None) -> bool:
    if whitelist is None:
        return True
    address = ipaddress.ip_address(remote_addr)
    return any(address in ipaddress.ip_network(entry, strict=False) for entry in whitelist)


def bound(url: str, domains: tuple[str, ...] | None) -> bool:
    """Whether a URL is of one of these domains or of their sub-domains; None: every URL is."""
    if domains is None:
        return True
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return any(host == domain or host.endswith(f".{domain}") for domain in map(str.lower, domains))


def same(given: str, expected: str) -> bool:
    """Whether two secrets are the same."""
    # JSON can carry lone surrogates, which plain UTF-8 cannot.
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def need_method(call: ApiCall, method: str, errcode: int) -> None:
    """Refuses another method with `errcode`."""
    if call.method != method:
        raise RefusedError(errcode)


def json_object(body: bytes) -> dict[str, object] | None:
    """The JSON object in `body`; None when it is anything else, a nest too deep to read included."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
