"""WeChat's own paths, for systems that speak no other: their SDK is given our address and a client key as its secret.

Answers have WeChat's shape, and status 200 whatever they say, because the SDKs look at `errcode` alone. Nobody calls WeChat
here: a token is the fleet's, and `force_refresh` is a report of it.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl

from flask import Blueprint, Response, request

from wxsign.accounts import AccountKind
from wxsign.broker import Asking
from wxsign.credentials import CredentialKind
from wxsign.errors import CredentialUnavailable, FailureScope, Unauthorized, UnknownAccount, WeChatRefused
from wxsign.http.answers import Answer, NotFoundError, json_answer, unexpected
from wxsign.http.blueprint import response_of
from wxsign.http.calls import call_of
from wxsign.http.presets import PLAIN, PRESETS, Preset
from wxsign.http.protected import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxsign.accounts import ApiClient, OfficialAccount
    from wxsign.http.calls import Call
    from wxsign.service import WxSign

logger = logging.getLogger("wxsign.api")

PREFIX: Final = "/cgi-bin"
# What WeChat writes behind these numbers; ours says more where that helps.
# 40125 and not 40001: to that co-wechat-api answers by asking again, without end.
_REFUSED: Final = (
    40125,
    "invalid appsecret: no client key of wxsign that may read this appid 密钥无效，或无权读取该 appid",
)
_NO_TOKEN: Final = (40001, "invalid credential, access_token is invalid or not latest")
_EXPIRED: Final = (42001, "access_token expired")
_LOOP: Final = (
    45011,
    "api minute-quota reach limit: WeChat takes the token that this client asks for again and again 该 token 有效，请勿循环获取",
)
# What is said in WeChat's place, where an SDK would take its number for a token that has to be asked for anew.
_INSTEAD: Final = {FailureScope.SECRET: 40125, FailureScope.STALE_TOKEN: -1}
_WRONG_METHOD: Final = {"GET": (43001, "require GET method"), "POST": (43002, "require POST method")}


class _Refused(Exception):  # noqa: N818 - what happened
    """An answer with an errcode."""

    def __init__(self, errcode: int, errmsg: str) -> None:
        super().__init__(errcode)
        self.errcode, self.errmsg = errcode, errmsg


class _Asked(NamedTuple):
    """A request: what it wants by WeChat's names, by which SDK's preset."""

    service: WxSign
    gate: Gate
    call: Call
    fields: Mapping[str, object]
    preset: Preset

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        # JSON can carry half a surrogate pair, which no hash takes.
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def dialect_routes(service: WxSign) -> Blueprint:
    """WeChat's paths, at the root and below `/for/<sdk>/`."""
    routes, gate = Blueprint("dialect", __name__), Gate(service.settings.clients)

    def add(path: str, method: str, answer: Callable[[_Asked], Mapping[str, object]]) -> None:
        def view(sdk: str = "") -> Response:
            if sdk and sdk not in PRESETS:
                raise NotFoundError
            asked = _Asked(service, gate, call_of(request.environ), {}, PRESETS.get(sdk, PLAIN))
            return response_of(_answered(asked, method, answer))

        for prefix in ("", "/for/<sdk>"):
            endpoint = f"{answer.__name__}{'_for' if prefix else ''}"
            routes.add_url_rule(f"{prefix}{PREFIX}{path}", endpoint, view, methods=["GET", "POST"])

    add("/token", "GET", _token)
    add("/stable_token", "POST", _stable_token)
    add("/ticket/getticket", "GET", _ticket)
    add("/gettoken", "GET", _corp_token)
    add("/get_jsapi_ticket", "GET", _corp_ticket)
    add("/ticket/get", "GET", _agent_ticket)
    return routes


def _answered(asked: _Asked, method: str, answer: Callable[[_Asked], Mapping[str, object]]) -> Answer:
    request_id = asked.call.request_id
    try:
        payload = answer(asked._replace(fields=_fields(asked.call, method)))
    except _Refused as refused:
        payload = {"errcode": refused.errcode, "errmsg": refused.errmsg}
    except CredentialUnavailable as error:
        payload = _unavailable(error)
    except Exception as error:  # noqa: BLE001 - whatever happens, the SDK gets WeChat's shape
        unexpected(error, request_id)
        payload = {"errcode": -1, "errmsg": f"system error; request id {request_id}"}
    return json_answer(200, payload, request_id)


def _fields(call: Call, method: str) -> Mapping[str, object]:
    if call.method != method:
        raise _Refused(*_WRONG_METHOD[method])
    if method == "GET":
        return dict(parse_qsl(call.query, keep_blank_values=True))
    body = call.read()
    try:
        found = json.loads(body or b"")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _Refused(47001, "data format error: the body is no JSON object 请求体不是 JSON 对象")
    return found


def _unavailable(error: CredentialUnavailable) -> Mapping[str, object]:
    """WeChat's own errcode where it is the reason, else that it is busy: SDKs try that again."""
    cause = error.cause
    if isinstance(cause, WeChatRefused):
        errcode = _INSTEAD.get(cause.scope, cause.errcode)
        return {"errcode": errcode, "errmsg": f"{cause.message.en} {cause.message.zh}"}
    said = cause.message if cause else error.message
    return {"errcode": -1, "errmsg": f"system error: {said.en} {said.zh}"}


# ------------------------------------------------------------------------------- tokens


def _token(asked: _Asked) -> Mapping[str, object]:
    client, account = _admitted(asked)
    return _given(asked, client, account, stable=False)


def _stable_token(asked: _Asked) -> Mapping[str, object]:
    client, account = _admitted(asked)
    if asked.fields.get("force_refresh") is True:
        # Rule 4: what stands now is what the caller says is dead.
        now = asked.service.access_token(account.name)
        asked.service.report_rejected(account.name, now.value, client.name)
    return _given(asked, client, account, stable=True)


def _corp_token(asked: _Asked) -> Mapping[str, object]:
    """WeCom's: `corpsecret` is `<agent>.<key>`, for the corporation's id does not name the app."""
    corp_id, given = asked.text("corpid"), asked.text("corpsecret")
    for name, value, errcode in (("corpid", corp_id, 41002), ("corpsecret", given, 41004)):
        if not value:
            raise _Refused(errcode, f"{name} missing")
    agent, _, key = given.partition(".")
    client, account = _known(asked, f"{corp_id}/{agent}", corp_id, key)
    return {"errcode": 0, "errmsg": "ok", **_given(asked, client, account, stable=False)}


def _admitted(asked: _Asked) -> tuple[ApiClient, OfficialAccount]:
    """The client and the account of an Official Account's call, or a Mini Program's."""
    if asked.text("grant_type") != "client_credential":
        raise _Refused(40002, "invalid grant_type")
    for name, errcode in (("appid", 41002), ("secret", 41004)):
        if not asked.text(name):
            raise _Refused(errcode, f"{name} missing")
    return _known(asked, asked.text("appid"), asked.text("appid"), asked.text("secret"))


def _known(asked: _Asked, wanted: str, app_id: str, key: str) -> tuple[ApiClient, OfficialAccount]:
    """The client and the account; an unknown appid, a wrong key, a missing scope and a wrong address are answered alike."""
    client, reason = None, ""
    try:
        client = asked.gate.client(f"Bearer {key}")
        account = asked.service.registry.get(wanted)
    except Unauthorized:
        reason = "unknown key"
    except UnknownAccount:
        reason = "account"
    else:
        reason = _reason(asked, client, account, app_id)
        if not reason:
            return client, account
    fields = {
        "client": client.name if client else "",
        "remote_addr": asked.call.remote_addr,
        "reason": reason,
    }
    more = {"path": "dialect", "request_id": asked.call.request_id}
    logger.warning("wxsign.denied", extra={"fields": fields | more})
    raise _Refused(*_REFUSED)


def _reason(asked: _Asked, client: ApiClient, account: OfficialAccount, app_id: str) -> str:
    """Why the client may not have it; empty where it may."""
    if not client.may_call_from(asked.call.remote_addr):
        return "address"
    if "token:read" not in client.scopes:
        return "scope"
    # An account's name is no appid.
    return "" if client.may_use(account.name) and account.app_id == app_id else "account"


def _given(
    asked: _Asked, client: ApiClient, account: OfficialAccount, *, stable: bool
) -> Mapping[str, object]:
    service = asked.service
    answer = service.access_token(account.name)
    told = asked.preset.told(answer.expires_in_seconds, stable=stable)
    key = service.settings.key_of(account, CredentialKind.ACCESS_TOKEN)
    caller = f"{client.name}@{asked.call.remote_addr}"
    asking = Asking(caller, answer.expires_in_seconds, asked.preset.asks_a_loop)
    if service.broker.guesses.given(key, answer.value, asking):
        raise _Refused(*_LOOP)
    _note(asked, client.name, account.name, "token")
    return {"access_token": answer.value, "expires_in": told}


# ------------------------------------------------------------------------------- tickets


def _ticket(asked: _Asked) -> Mapping[str, object]:
    account = _holder(asked, wecom=False, of_type="jsapi")
    if account.kind is AccountKind.MINIPROGRAM:
        raise _Refused(48001, "api unauthorized: a Mini Program has no jsapi_ticket 小程序没有 jsapi_ticket")
    return _ticket_of(asked, account)


def _corp_ticket(asked: _Asked) -> Mapping[str, object]:
    return _ticket_of(asked, _holder(asked, wecom=True))


def _agent_ticket(asked: _Asked) -> Mapping[str, object]:
    return _ticket_of(asked, _holder(asked, wecom=True, of_type="agent_config"), of_agent=True)


def _holder(asked: _Asked, *, wecom: bool, of_type: str = "") -> OfficialAccount:
    """The account, of this platform, whose token the call carries; `of_type` is the only type given here."""
    token = asked.text("access_token")
    if not token:
        raise _Refused(41001, "access_token missing")
    if of_type and asked.text("type") != of_type:
        raise _Refused(40097, f"invalid args: only type={of_type} is given here 仅支持 type={of_type}")
    account = _account_of(asked.service, token)
    if (account.kind is AccountKind.WECOM) is not wecom:
        raise _Refused(*_NO_TOKEN)
    return account


def _ticket_of(asked: _Asked, account: OfficialAccount, *, of_agent: bool = False) -> Mapping[str, object]:
    answer = asked.service.ticket(account.name, of_agent=of_agent)
    _note(asked, "", account.name, "ticket")
    told = asked.preset.told(answer.expires_in_seconds, ticket=True)
    return {"errcode": 0, "errmsg": "ok", "ticket": answer.value, "expires_in": told}


def _account_of(service: WxSign, token: str) -> OfficialAccount:
    """The account whose token this is: the present one, or one that was given here and whose life is not over."""
    owner = service.broker.issued.whose(token)
    if owner is None:
        raise _Refused(*_NO_TOKEN)
    if not owner.alive:
        raise _Refused(*_EXPIRED)
    try:
        return service.registry.get(owner.app_id)
    except UnknownAccount:
        raise _Refused(*_NO_TOKEN) from None


def _note(asked: _Asked, client: str, account: str, what: str) -> None:
    fields = {
        "client": client,
        "account": account,
        "remote_addr": asked.call.remote_addr,
        "path": f"dialect/{what}",
        "request_id": asked.call.request_id,
    }
    logger.info("wxsign.api", extra={"fields": fields})
