"""WeChat's own paths, for systems that speak no other: their SDK is given our address and a client key as its secret.

Answers have WeChat's shape, and status 200 whatever they say, because the SDKs look at `errcode` alone. Nobody calls WeChat
here: a token is the fleet's, and `force_refresh` is a report of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl

from cachetools import TTLCache
from flask import Blueprint, Response, request

from wxsign.accounts import AccountKind
from wxsign.broker import Asking
from wxsign.credentials import CredentialKind
from wxsign.errors import (
    CredentialUnavailable,
    FailureScope,
    Forbidden,
    Unauthorized,
    UnknownAccount,
    WeChatError,
    WeChatRefused,
)
from wxsign.http.answers import Answer, NotFoundError, json_answer, unexpected
from wxsign.http.blueprint import response_of
from wxsign.http.calls import call_of, whole_characters
from wxsign.http.gate import Gate, Key, admit, note_denied, note_read, note_unknown
from wxsign.http.presets import PLAIN, PRESETS, Preset
from wxsign.wechat import Caller
from wxsign.wechat.exchange import json_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxsign.accounts import OfficialAccount
    from wxsign.http.calls import Call
    from wxsign.service import WxSign

PREFIX: Final = "/cgi-bin"
ADDRESSES_SECONDS: Final = 3600
# What stands in a path's place in the log, where SDKs are told apart by nothing.
_PATH: Final = "dialect"
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
    addresses: TTLCache[tuple[tuple[str, ...], str], tuple[str, ...]]

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        return whole_characters(value) if isinstance(value, str) else ""


def dialect_routes(service: WxSign) -> Blueprint:
    """WeChat's paths, at the root and below `/for/<sdk>/`."""
    routes, gate = Blueprint("dialect", __name__), Gate(service.settings.clients)
    addresses: TTLCache[tuple[tuple[str, ...], str], tuple[str, ...]] = TTLCache(4, ADDRESSES_SECONDS)

    def add(path: str, method: str, answer: Callable[[_Asked], Mapping[str, object]]) -> None:
        def view(sdk: str = "") -> Response:
            if sdk and sdk not in PRESETS:
                raise NotFoundError
            asked = _Asked(service, gate, call_of(request.environ), {}, PRESETS.get(sdk, PLAIN), addresses)
            return response_of(_answered(asked, method, answer))

        for prefix in ("", "/for/<sdk>"):
            endpoint = f"{answer.__name__}{'_for' if prefix else ''}"
            routes.add_url_rule(f"{prefix}{PREFIX}{path}", endpoint, view, methods=["GET", "POST"])

    add("/token", "GET", _token)
    add("/stable_token", "POST", _stable_token)
    add("/ticket/getticket", "GET", _ticket)
    add("/get_api_domain_ip", "GET", _domain_ips)
    add("/getcallbackip", "GET", _callback_ips)
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
    found = json_object(call.read() or b"")
    if found is None:
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
    key, account = _admitted(asked)
    return _given(asked, key, account, stable=False)


def _stable_token(asked: _Asked) -> Mapping[str, object]:
    key, account = _admitted(asked)
    if asked.fields.get("force_refresh") is True:
        # Rule 4: what stands now is what the caller says is dead.
        now = asked.service.access_token(account.name)
        asked.service.report_rejected(account.name, now.value, key.client.name)
    return _given(asked, key, account, stable=True)


def _corp_token(asked: _Asked) -> Mapping[str, object]:
    """WeCom's: `corpsecret` is `<agent>.<key>`, for the corporation's id does not name the app."""
    corp_id, given = asked.text("corpid"), asked.text("corpsecret")
    for name, value, errcode in (("corpid", corp_id, 41002), ("corpsecret", given, 41004)):
        if not value:
            raise _Refused(errcode, f"{name} missing")
    agent, _, key = given.partition(".")
    known, account = _known(asked, f"{corp_id}/{agent}", corp_id, key)
    return {"errcode": 0, "errmsg": "ok", **_given(asked, known, account, stable=False)}


def _admitted(asked: _Asked) -> tuple[Key, OfficialAccount]:
    """The key and the account of an Official Account's call, or a Mini Program's."""
    if asked.text("grant_type") != "client_credential":
        raise _Refused(40002, "invalid grant_type")
    for name, errcode in (("appid", 41002), ("secret", 41004)):
        if not asked.text(name):
            raise _Refused(errcode, f"{name} missing")
    return _known(asked, asked.text("appid"), asked.text("appid"), asked.text("secret"))


def _known(asked: _Asked, wanted: str, app_id: str, text: str) -> tuple[Key, OfficialAccount]:
    """The key and the account; an unknown appid, a wrong key, a missing scope and a wrong address are answered alike."""
    key = None
    try:
        key = asked.gate.key(f"Bearer {text}")
        admit(key.client, "token:read", asked.call.remote_addr)
        account = asked.service.registry.get(wanted)
        # An account's name is no appid.
        if key.client.may_use(account.name) and account.app_id == app_id:
            return key, account
    except Unauthorized:
        note_unknown(asked.gate, asked.call, sent=True, path=_PATH)
        raise _Refused(*_REFUSED) from None
    except Forbidden as refusal:
        note_denied(asked.call, key, refusal.reason, _PATH)
        raise _Refused(*_REFUSED) from None
    except UnknownAccount:
        pass
    note_denied(asked.call, key, "account", _PATH)
    raise _Refused(*_REFUSED)


def _given(asked: _Asked, key: Key, account: OfficialAccount, *, stable: bool) -> Mapping[str, object]:
    service = asked.service
    answer = service.access_token(account.name)
    told = asked.preset.told(answer.expires_in_seconds, stable=stable)
    name = service.settings.key_of(account, CredentialKind.ACCESS_TOKEN)
    caller = f"{key.client.name}@{asked.call.remote_addr}"
    asking = Asking(caller, answer.expires_in_seconds, asked.preset.asks_a_loop)
    if service.broker.guesses.given(name, answer.value, asking):
        raise _Refused(*_LOOP)
    note_read(asked.call, key, account.name, f"{_PATH}/token")
    return {"access_token": answer.value, "expires_in": told}


# ------------------------------------------------------------------------------- tickets


def _ticket(asked: _Asked) -> Mapping[str, object]:
    account = _holder(asked, wecom=False, of_types=("jsapi", "wx_card"))
    if account.kind is AccountKind.MINIPROGRAM:
        raise _Refused(48001, "api unauthorized: a Mini Program has no jsapi_ticket 小程序没有 jsapi_ticket")
    return _ticket_of(asked, account, CredentialKind(asked.text("type")))


def _corp_ticket(asked: _Asked) -> Mapping[str, object]:
    return _ticket_of(asked, _holder(asked, wecom=True))


def _agent_ticket(asked: _Asked) -> Mapping[str, object]:
    return _ticket_of(
        asked, _holder(asked, wecom=True, of_types=("agent_config",)), CredentialKind.AGENT_TICKET
    )


def _domain_ips(asked: _Asked) -> Mapping[str, object]:
    return _addresses(asked, Caller.get_api_domain_ip)


def _callback_ips(asked: _Asked) -> Mapping[str, object]:
    return _addresses(asked, Caller.getcallbackip)


def _addresses(asked: _Asked, fetch: Callable[[Caller, str], tuple[str, ...]]) -> Mapping[str, object]:
    """WeChat's addresses, which are nobody's secret and change rarely: each process asks once an hour."""
    account, service = _account_of(asked.service, _token_in(asked)), asked.service
    client: Caller = service.wecom if account.kind is AccountKind.WECOM else service.client
    known = (client.hosts, fetch.__name__)
    addresses = asked.addresses.get(known)
    if addresses is None:
        try:
            # By the present token: the caller's may be one that it replaced.
            addresses = fetch(client, service.access_token(account.name).value)
        except WeChatError as error:
            raise CredentialUnavailable(error, 1, what="token") from None
        asked.addresses[known] = addresses
    return {"ip_list": list(addresses)}


def _holder(asked: _Asked, *, wecom: bool, of_types: tuple[str, ...] = ()) -> OfficialAccount:
    """The account, of this platform, whose token the call carries; `of_types` are those given here, where there are several."""
    token = _token_in(asked)
    if of_types and asked.text("type") not in of_types:
        known = " or ".join(of_types)
        raise _Refused(40097, f"invalid args: type has to be {known} 仅支持 {known}")
    account = _account_of(asked.service, token)
    if (account.kind is AccountKind.WECOM) is not wecom:
        raise _Refused(*_NO_TOKEN)
    return account


def _ticket_of(
    asked: _Asked, account: OfficialAccount, kind: CredentialKind = CredentialKind.JSAPI_TICKET
) -> Mapping[str, object]:
    answer = asked.service.ticket(account.name, kind)
    note_read(asked.call, None, account.name, f"{_PATH}/ticket")
    told = asked.preset.told(answer.expires_in_seconds, ticket=True)
    return {"errcode": 0, "errmsg": "ok", "ticket": answer.value, "expires_in": told}


def _token_in(asked: _Asked) -> str:
    token = asked.text("access_token")
    if not token:
        raise _Refused(41001, "access_token missing")
    return token


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
