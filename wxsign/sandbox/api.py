"""What WeChat's server answers to a call: the checks in WeChat's order, then the change of state."""

import hmac
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wxsign.sandbox.credentials import Account
from wxsign.sandbox.messages import errmsg
from wxsign.sandbox.settings import SandboxSettings

# Addresses of the block that is reserved for documentation.
DOMAIN_IPS = ["203.0.113.10", "203.0.113.11", "203.0.113.12"]
CALLBACK_IPS = ["203.0.113.64/26", "203.0.113.128"]
# The endpoints that quota/get is asked about, by their paths, and what it says of one without a published limit.
PATHS = {
    "/cgi-bin/token": "token",
    "/cgi-bin/stable_token": "stable_token",
    "/cgi-bin/ticket/getticket": "getticket",
    "/cgi-bin/get_api_domain_ip": "get_api_domain_ip",
    "/cgi-bin/getcallbackip": "getcallbackip",
    "/cgi-bin/message/custom/send": "custom_send",
    "/cgi-bin/user/info": "user_info",
}
UNPUBLISHED_QUOTA = 1_000_000
TOKEN_FORM = re.compile(r"[\w.~+/=-]{1,512}", re.ASCII)


@dataclass(frozen=True)
class ApiCall:
    """One request as it arrived. Query and body carry secrets and stay out of the repr."""

    endpoint: str
    method: str
    query: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    remote_addr: str


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


def answer(world: World, call: ApiCall) -> Answer:
    """WeChat's answer to `call`, errors included: these are HTTP 200 with an errcode."""
    try:
        return _ENDPOINTS[call.endpoint](world, call)
    except RefusedError as refused:
        return refusal(refused.errcode, world.now, call.remote_addr)


def refusal(errcode: int, now: float, remote_addr: str, text: str | None = None) -> Answer:
    """An error answer, by default in WeChat's wording."""
    message = errmsg(errcode, now, remote_addr) if text is None else text
    return Answer({"errcode": errcode, "errmsg": message}, errcode)


def appid_of(world: World, call: ApiCall) -> str:
    """The account a call is for as far as it can be told, else an empty string. Raises nothing."""
    if call.endpoint == "token":
        return call.query.get("appid", "")
    if call.endpoint in {"stable_token", "clear_quota_v2"}:
        return str((json_object(call.body) or {}).get("appid", ""))
    value = call.query.get("access_token", "")
    return next((appid for appid, account in world.accounts.items() if account.find_token(value)), "")


def _token(world: World, call: ApiCall) -> Answer:
    _need_method(call, "GET", 43001)
    account = _by_secret(world, call, call.query)
    settings = world.settings
    token = account.classic.issue(world.now, settings.token_life_seconds, settings.overlap_seconds)
    return _token_answer(token.value, settings.token_life_seconds, rotated=True)


def _stable_token(world: World, call: ApiCall) -> Answer:
    _need_method(call, "POST", 43002)
    if not call.body.strip():
        raise RefusedError(44002)
    fields = json_object(call.body)
    if fields is None:
        raise RefusedError(47001)
    account = _by_secret(world, call, fields)
    token, rotated = account.stable.grant(
        world.now, world.settings, force=fields.get("force_refresh") is True
    )
    return _token_answer(token.value, token.expires_at - world.now, rotated=rotated)


def _token_answer(value: str, seconds_left: float, *, rotated: bool) -> Answer:
    return Answer({"access_token": value, "expires_in": int(seconds_left)}, rotated=rotated)


def _getticket(world: World, call: ApiCall) -> Answer:
    account = _by_token(world, call)
    line = account.tickets.get(call.query.get("type", ""))
    if line is None:
        raise RefusedError(40097)
    ticket, rotated = line.fetch(world.now, world.settings)
    body = {"errcode": 0, "errmsg": "ok", "ticket": ticket.value, "expires_in": int(ticket.life_seconds)}
    return Answer(body, rotated=rotated)


def _get_api_domain_ip(world: World, call: ApiCall) -> Answer:
    _by_token(world, call)
    return Answer({"ip_list": DOMAIN_IPS})


def _getcallbackip(world: World, call: ApiCall) -> Answer:
    _by_token(world, call)
    return Answer({"ip_list": CALLBACK_IPS})


def _custom_send(world: World, call: ApiCall) -> Answer:
    _by_token(world, call, "POST", 43002)
    if not call.body.strip():
        raise RefusedError(44002)
    message = json_object(call.body)
    if message is None:
        raise RefusedError(47001)
    if not message.get("touser"):
        raise RefusedError(40003)
    if not message.get("msgtype"):
        raise RefusedError(40008)
    return Answer({"errcode": 0, "errmsg": "ok"})


def _user_info(world: World, call: ApiCall) -> Answer:
    _by_token(world, call)
    openid = call.query.get("openid", "")
    if not openid:
        raise RefusedError(40003)
    return Answer(
        {"subscribe": 1, "openid": openid, "language": call.query.get("lang", "zh_CN"), "remark": ""}
    )


def _quota_get(world: World, call: ApiCall) -> Answer:
    account = _by_token(world, call, "POST", 43002)
    path = (json_object(call.body) or {}).get("cgi_path")
    endpoint = PATHS.get(path) if isinstance(path, str) else None
    if endpoint is None:
        raise RefusedError(76021)
    limit = world.settings.daily_quota.get(endpoint, UNPUBLISHED_QUOTA)
    used = account.used(endpoint, world.now)
    quota = {"daily_limit": limit, "used": used, "remain": max(0, limit - used)}
    return Answer({"errcode": 0, "errmsg": "ok", "quota": quota})


def _clear_quota(world: World, call: ApiCall) -> Answer:
    account = _by_token(world, call, "POST", 43002)
    if (json_object(call.body) or {}).get("appid") != account.appid:
        raise RefusedError(40013)
    return _cleared(world, account)


def _clear_quota_v2(world: World, call: ApiCall) -> Answer:
    _need_method(call, "POST", 43002)
    given = json_object(call.body) or {}
    named = {"appid": given.get("appid"), "secret": given.get("appsecret"), "grant_type": "client_credential"}
    return _cleared(world, _by_secret(world, call, named))


def _cleared(world: World, account: Account) -> Answer:
    if not account.clear(world.now):
        raise RefusedError(48006)
    return Answer({"errcode": 0, "errmsg": "ok"})


_ENDPOINTS: dict[str, Callable[[World, ApiCall], Answer]] = {
    "token": _token,
    "stable_token": _stable_token,
    "getticket": _getticket,
    "get_api_domain_ip": _get_api_domain_ip,
    "getcallbackip": _getcallbackip,
    "custom_send": _custom_send,
    "user_info": _user_info,
    "quota_get": _quota_get,
    "clear_quota": _clear_quota,
    "clear_quota_v2": _clear_quota_v2,
}


def _by_secret(world: World, call: ApiCall, given: Mapping[str, object]) -> Account:
    """The account of a call by AppSecret. The appid comes before the grant_type: seen on the live service."""
    appid = given.get("appid") or ""
    if not appid:
        raise RefusedError(41002)
    account = world.accounts.get(str(appid))
    if account is None:
        raise RefusedError(40013)
    if given.get("grant_type") != "client_credential":
        raise RefusedError(40002)
    secret = str(given.get("secret") or "")
    if not secret:
        raise RefusedError(41004)
    if not _same(secret, account.secret):
        raise RefusedError(40125)
    _check_address_and_quota(world, call, account)
    return account


def _by_token(world: World, call: ApiCall, method: str = "GET", otherwise: int = 43001) -> Account:
    """The account of a call by access_token; another method is refused with `otherwise`."""
    _need_method(call, method, otherwise)
    value = call.query.get("access_token", "")
    if not value:
        raise RefusedError(41001)
    if not TOKEN_FORM.fullmatch(value):
        raise RefusedError(40014)
    account = _holder(world, value)
    _check_address_and_quota(world, call, account)
    return account


def _holder(world: World, value: str) -> Account:
    for account in world.accounts.values():
        found = account.find_token(value)
        if found is not None and found[1].alive(world.now):
            return account
        if found is not None and found[1].expired(world.now):
            raise RefusedError(42001)
    raise RefusedError(40001)


def _check_address_and_quota(world: World, call: ApiCall, account: Account) -> None:
    if not _listed(call.remote_addr, world.settings.ip_whitelist):
        raise RefusedError(40164)
    if not account.spend(call.endpoint, world.now, world.settings.daily_quota.get(call.endpoint)):
        raise RefusedError(45009)


def _listed(remote_addr: str, whitelist: tuple[str, ...] | None) -> bool:
    if whitelist is None:
        return True
    address = ipaddress.ip_address(remote_addr)
    return any(address in ipaddress.ip_network(entry, strict=False) for entry in whitelist)


def _same(given: str, expected: str) -> bool:
    # JSON can carry lone surrogates, which plain UTF-8 cannot.
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def _need_method(call: ApiCall, method: str, errcode: int) -> None:
    if call.method != method:
        raise RefusedError(errcode)


def json_object(body: bytes) -> dict[str, object] | None:
    """The JSON object in `body`; None when it is anything else, a nest too deep to read included."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
