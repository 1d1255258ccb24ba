"""What WeChat's server answers to a call: the checks in WeChat's order, then the change of state."""

from collections.abc import Callable, Mapping

from wxsign.sandbox import logins, wecom
from wxsign.sandbox.checks import (
    Answer,
    ApiCall,
    RefusedError,
    World,
    by_token,
    check_address_and_quota,
    json_object,
    need_method,
    same,
)
from wxsign.sandbox.credentials import Account
from wxsign.sandbox.logins import SNS, Logins
from wxsign.sandbox.messages import errmsg

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


def answer(world: World, call: ApiCall, visitors: Logins) -> Answer:
    """WeChat's answer to `call`, errors included: these are HTTP 200 with an errcode."""
    try:
        if call.endpoint in SNS:
            return logins.answer(visitors, world, call)
        return _ENDPOINTS[call.endpoint](world, call)
    except RefusedError as refused:
        of_sns = call.endpoint in SNS
        return refusal(refused.errcode, world.now, call.remote_addr, of_sns=of_sns)


def refusal(
    errcode: int, now: float, remote_addr: str, text: str | None = None, *, of_sns: bool = False
) -> Answer:
    """An error answer, by default in WeChat's wording."""
    message = errmsg(errcode, now, remote_addr, of_sns=of_sns) if text is None else text
    return Answer({"errcode": errcode, "errmsg": message}, errcode)


BY_SECRET_IN_QUERY = frozenset({"token", "sns_access_token", "sns_refresh_token"})
BY_SECRET_IN_BODY = frozenset({"stable_token", "clear_quota_v2"})


def named_by_secret(call: ApiCall) -> tuple[str, str]:
    """AppID and AppSecret of a call that carries them; else empty strings. Raises nothing."""
    if call.endpoint in BY_SECRET_IN_QUERY:
        return call.query.get("appid", ""), call.query.get("secret", "")
    if call.endpoint in BY_SECRET_IN_BODY:
        given = json_object(call.body) or {}
        return str(given.get("appid", "")), str(given.get("secret") or given.get("appsecret") or "")
    return "", ""


def appid_of(world: World, call: ApiCall) -> str:
    """The account a call is for as far as it can be told, else an empty string. Raises nothing."""
    if call.endpoint in BY_SECRET_IN_QUERY | BY_SECRET_IN_BODY:
        return named_by_secret(call)[0]
    if call.endpoint == "gettoken":
        return next((agent.appid for agent in wecom.agents_with_secret(world, call)), "")
    value = call.query.get("access_token", "")
    return next((appid for appid, account in world.accounts.items() if account.find_token(value)), "")


def _token(world: World, call: ApiCall) -> Answer:
    need_method(call, "GET", 43001)
    account = _by_secret(world, call, call.query)
    settings = world.settings
    token = account.classic.issue(world.now, settings.token_life_seconds, settings.overlap_seconds)
    return _token_answer(token.value, settings.token_life_seconds, rotated=True)


def _stable_token(world: World, call: ApiCall) -> Answer:
    need_method(call, "POST", 43002)
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
    account = by_token(world, call, of_wecom=False)
    line = account.tickets.get(call.query.get("type", ""))
    if line is None:
        raise RefusedError(40097)
    ticket, rotated = line.fetch(world.now, world.settings)
    body = {"errcode": 0, "errmsg": "ok", "ticket": ticket.value, "expires_in": int(ticket.life_seconds)}
    return Answer(body, rotated=rotated)


def _get_api_domain_ip(world: World, call: ApiCall) -> Answer:
    by_token(world, call)
    return Answer({"ip_list": DOMAIN_IPS})


def _getcallbackip(world: World, call: ApiCall) -> Answer:
    by_token(world, call)
    return Answer({"ip_list": CALLBACK_IPS})


def _custom_send(world: World, call: ApiCall) -> Answer:
    by_token(world, call, "POST", 43002)
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
    by_token(world, call)
    openid = call.query.get("openid", "")
    if not openid:
        raise RefusedError(40003)
    return Answer(
        {"subscribe": 1, "openid": openid, "language": call.query.get("lang", "zh_CN"), "remark": ""}
    )


def _quota_get(world: World, call: ApiCall) -> Answer:
    account = by_token(world, call, "POST", 43002)
    path = (json_object(call.body) or {}).get("cgi_path")
    endpoint = PATHS.get(path) if isinstance(path, str) else None
    if endpoint is None:
        raise RefusedError(76021)
    limit = world.settings.daily_quota.get(endpoint, UNPUBLISHED_QUOTA)
    used = account.used(endpoint, world.now)
    quota = {"daily_limit": limit, "used": used, "remain": max(0, limit - used)}
    return Answer({"errcode": 0, "errmsg": "ok", "quota": quota})


def _clear_quota(world: World, call: ApiCall) -> Answer:
    account = by_token(world, call, "POST", 43002)
    if (json_object(call.body) or {}).get("appid") != account.appid:
        raise RefusedError(40013)
    return _cleared(world, account)


def _clear_quota_v2(world: World, call: ApiCall) -> Answer:
    need_method(call, "POST", 43002)
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
    "gettoken": wecom.gettoken,
    "get_jsapi_ticket": wecom.get_jsapi_ticket,
    "agent_ticket": wecom.agent_ticket,
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
    if not same(secret, account.secret):
        raise RefusedError(40125)
    check_address_and_quota(world, call, account)
    return account
