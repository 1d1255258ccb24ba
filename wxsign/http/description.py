"""The OpenAPI description of everything that is answered: served as `/openapi.yaml`, shown at `/docs/api`.

Written as JSON, which is YAML as well. A test holds that every route stands here, and every row here is a route; another
one has a tool try what is described.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxsign import __version__
from wxsign.errors import Text
from wxsign.http.presets import PRESETS
from wxsign.http.relay import RELAY_METHODS
from wxsign.http.schemas import (
    BOOLEAN,
    NULLABLE_STRING,
    SCHEMAS,
    STRING,
    Node,
    an_object,
    one_of,
    ref,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARAMETERS: Final = {
    "url": ("query", True, Text("The page's address, percent-encoded once.", "页面地址，只编码一次。")),
    "landing_url": ("query", False, Text("The address that the page was opened at.", "打开页面时的地址。")),
    "account": ("query", False, Text("Name or AppID.", "账号名或 AppID。")),
    "agent": ("query", False, Text("An app of the WeCom corporation.", "企业微信的应用。")),
    "NAME": ("path", True, Text("The account, by name or AppID.", "账号名或 AppID。")),
    "SDK": ("path", True, Text("Whose margins count.", "按哪个 SDK 的提前量。")),
    "PATH": ("path", True, Text("WeChat's path, without its first slash.", "微信的路径，不含开头的斜杠。")),
    "ACTION": ("path", True, Text("Which button.", "按钮。")),
    "FILE": ("path", True, Text("Its name.", "文件名。")),
    "probe": ("query", False, Text("1: the field probe.", "1：现场探测。")),
    "verify": ("query", False, Text("1: ask WeChat whether it lives.", "1：向微信验证是否有效。")),
    "grant_type": ("query", True, Text("client_credential", "client_credential")),
    "appid": ("query", True, Text("The account's AppID.", "账号的 AppID。")),
    "secret": ("query", True, Text("A client key.", "客户端密钥。")),
    "access_token": ("query", True, Text("A token that was given here.", "在此取得的 token。")),
    "type": ("query", True, Text("Which ticket.", "ticket 的类型。")),
    "corpid": ("query", True, Text("The corporation's id.", "企业 ID。")),
    "corpsecret": ("query", True, Text("The app, a dot, a client key.", "应用、点号、客户端密钥。")),
}
_ENUMS: Final[Mapping[str, list[str]]] = {
    "SDK": list(PRESETS),
    "verify": ["0", "1"],
    "grant_type": ["client_credential"],
}


def _parameter(name: str) -> Node:
    place, required, what = _PARAMETERS[name]
    schema = {**STRING, **({"enum": _ENUMS[name]} if name in _ENUMS else {})}
    return {"name": name, "in": place, "required": required, "schema": schema, "description": _both(what)}


def _both(text: Text) -> str:
    return f"{text.en}\n{text.zh}" if text.en != text.zh else text.en


def _json(schema: Node, description: str = "OK") -> Node:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _body(schema: Node, *more: str) -> Node:
    kinds = ("application/json", *more)
    return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}


_DEFAULT: Final[Node] = _json(ref("Error"), "What is wrong, and what to do · 错在哪里、怎么办")
_PEOPLE: Final = frozenset({"/", "/demo", "/docs/api", "/docs/", "/docs/{FILE}"})
_HTML: Final[Node] = {"description": "A page · 网页", "content": {"text/html": {}}}
_FORM: Final = "application/x-www-form-urlencoded"


def _operation(  # noqa: PLR0913 - what an operation of the description has
    tag: str,
    what: Text,
    answer: Node,
    *parameters: str,
    scope: str | None = None,
    body: Node | None = None,
    errors: bool = True,
    more: Mapping[str, Node] | None = None,
) -> Node:
    responses = {"200": answer, **(more or {}), **({"default": _DEFAULT} if errors else {})}
    found: Node = {"tags": [tag], "summary": what.en, "description": _both(what), "responses": responses}
    if parameters:
        found["parameters"] = [_parameter(name) for name in parameters]
    if body is not None:
        found["requestBody"] = body
    if scope is not None:
        found["security"] = [{"key": []}]
        found["description"] += f"\nscope: {scope}" if scope else ""
    return found


def _signing(what: Text, schema: str, *required: str) -> Node:
    names = ("url", "account", "landing_url", "agent")
    fields = {name: STRING if name in required else NULLABLE_STRING for name in names}
    body = _body({"type": "object", "properties": fields, "required": list(required)}, _FORM)
    parameters = [{**_parameter(name), "required": name in required} for name in names]
    by_query = {**_operation("page", what, _json(ref(schema))), "parameters": parameters}
    return {"get": by_query, "post": _operation("page", what, _json(ref(schema)), body=body)}


_ACCOUNT: Final = "/api/v1/accounts/{NAME}"
_UNCHANGED: Final[Node] = {"304": {"description": "It is the one that you have · 与你已有的相同"}}


def _read(what: Text, schema: str, scope: str, *parameters: str) -> Node:
    answer = _json(ref(schema))
    return {"get": _operation("api", what, answer, "NAME", *parameters, scope=scope, more=_UNCHANGED)}


def _post(what: Text, schema: str, scope: str, body: Node | None = None) -> Node:
    return {"post": _operation("api", what, _json(ref(schema)), "NAME", scope=scope, body=body)}


_CARD: Final = an_object({}, dict.fromkeys(("card_id", "code", "openid", "card_type", "location_id"), STRING))
_REJECTED: Final = an_object({"rejected": {"type": "string", "minLength": 1}})
_ANYTHING: Final[Node] = {"description": "WeChat's own answer · 微信的原始应答", "content": {"*/*": {}}}
_RELAYED: Final = Text(
    "A business call of WeChat from this service's address, with our token put in.",
    "以本服务的 IP 发出微信业务调用，并填入 token。",
)
_PROTECTED: Final[Mapping[str, Node]] = {
    "/api/v1/accounts": {
        "get": _operation(
            "api",
            Text("Accounts and how they stand.", "账号及其状态。"),
            _json(ref("Accounts")),
            scope="",
        )
    },
    f"{_ACCOUNT}/access_token": _read(
        Text("The access_token, with the seconds that are left.", "access_token 及真实的剩余秒数。"),
        "AccessToken",
        "token:read",
        "verify",
    ),
    f"{_ACCOUNT}/access_token/refresh": _post(
        Text("Report a dead token; the present one comes back.", "上报失效的 token，返回当前的 token。"),
        "AccessToken",
        "token:refresh",
        _body(_REJECTED),
    ),
    f"{_ACCOUNT}/tickets/jsapi": _read(Text("The jsapi_ticket.", "jsapi_ticket。"), "Ticket", "ticket:read"),
    f"{_ACCOUNT}/tickets/agent_config": _read(
        Text("The ticket of an app of WeCom.", "企业微信应用的 ticket。"), "Ticket", "ticket:read"
    ),
    f"{_ACCOUNT}/tickets/wx_card": _read(
        Text("The ticket of cards.", "卡券的 ticket。"), "Ticket", "ticket:read"
    ),
    f"{_ACCOUNT}/cards/sign": _post(
        Text("Sign a card for addCard and chooseCard.", "为 addCard 和 chooseCard 签名。"),
        "SignedCard",
        "ticket:read",
        _body(_CARD),
    ),
    f"{_ACCOUNT}/quota/clear": _post(
        Text("Have today's counts begin anew.", "清零今日的调用次数。"), "Cleared", "admin"
    ),
    f"{_ACCOUNT}/relay/{{PATH}}": {
        method.lower(): _operation(
            "api",
            _RELAYED,
            _ANYTHING,
            "NAME",
            "PATH",
            scope="relay",
            more={"default": _ANYTHING},
            errors=False,
        )
        for method in RELAY_METHODS
    },
}


def _dialect() -> Mapping[str, Node]:
    """WeChat's own paths; the status is 200 whatever they say."""

    def answer(schema: str) -> Node:
        return _json({"anyOf": [ref(schema), ref("Refusal")]})

    def get(what: Text, schema: str, *parameters: str) -> Node:
        return {"get": _operation("dialect", what, answer(schema), *parameters)}

    token = Text("The access_token, as WeChat gives it.", "与微信相同格式的 access_token。")
    ticket = Text("The ticket, as WeChat gives it.", "与微信相同格式的 ticket。")
    addresses = Text("WeChat's addresses.", "微信的地址列表。")
    stable = an_object(
        {"grant_type": one_of("client_credential"), "appid": STRING, "secret": STRING},
        {"force_refresh": BOOLEAN},
    )
    rows = {
        "/token": get(token, "DialectToken", "grant_type", "appid", "secret"),
        "/stable_token": {"post": _operation("dialect", token, answer("DialectToken"), body=_body(stable))},
        "/ticket/getticket": get(ticket, "DialectTicket", "access_token", "type"),
        "/gettoken": get(token, "DialectToken", "corpid", "corpsecret"),
        "/get_jsapi_ticket": get(ticket, "DialectTicket", "access_token"),
        "/ticket/get": get(ticket, "DialectTicket", "access_token", "type"),
        "/get_api_domain_ip": get(addresses, "DialectAddresses", "access_token"),
        "/getcallbackip": get(addresses, "DialectAddresses", "access_token"),
    }
    found: dict[str, Node] = {f"/cgi-bin{path}": row for path, row in rows.items()}
    for path, row in rows.items():
        found[f"/for/{{SDK}}/cgi-bin{path}"] = {
            method: {**operation, "parameters": [_parameter("SDK"), *operation.get("parameters", ())]}
            for method, operation in row.items()
        }
    return found


def _page(what: Text, *parameters: str) -> Node:
    return {"get": _operation("people", what, _HTML, *parameters)}


def _form(what: Text, *fields: str, parameters: tuple[str, ...] = ()) -> Node:
    """A form of the console, which answers with a page or sends the browser to one."""
    body = {"content": {_FORM: {"schema": an_object({}, dict.fromkeys(fields, STRING))}}}
    return _operation("people", what, _HTML, *parameters, body=body, errors=False, more={"default": _HTML})


_TEXT: Final[Node] = {"description": "OK", "content": {"text/plain": {}}}
_UNREADY: Final[Node] = {"503": _json(ref("Readiness"), "No account can be served · 没有账号可用")}
_PASTED: Final = dict.fromkeys(("page", "landing_url", "signed_url", "errMsg", "userAgent", "text"), STRING)
_CONFIG: Final = an_object({}, {"appId": STRING, "timestamp": {}, "nonceStr": STRING, "signature": STRING})
_REPORTED: Final = dict.fromkeys(
    ("account", "url", "landing_url", "nonceStr", "signature", "errMsg", "userAgent"), STRING
)
_DIAGNOSED: Final = Text("Why is this signature invalid?", "这个签名为什么错？")
_PATHS: Final[Mapping[str, Node]] = {
    "/jsconfig": _signing(
        Text("What wx.config needs on a page.", "页面的 wx.config 所需的内容。"), "JSConfig", "url"
    ),
    "/agentconfig": _signing(
        Text("What wx.agentConfig needs on a page in WeCom.", "企业微信网页的 wx.agentConfig 所需的内容。"),
        "AgentConfig",
        "url",
        "account",
        "agent",
    ),
    "/diagnose": {
        **_page(Text("The page where one pastes it.", "粘贴内容的页面。")),
        "post": _operation(
            "page",
            _DIAGNOSED,
            _json(ref("Diagnosis")),
            body=_body(an_object({}, {**_PASTED, "config": _CONFIG})),
        ),
    },
    "/report": {
        "post": _operation(
            "page",
            Text("A page was refused: shall it sign again?", "页面的签名被拒绝：是否重新签名？"),
            _json(ref("Reported")),
            body=_body(an_object({}, {**_REPORTED, "timestamp": {}}), "text/plain"),
        )
    },
    **_PROTECTED,
    **_dialect(),
    "/healthz": {
        "get": _operation(
            "operators", Text("The process answers.", "进程有应答。"), _json(ref("Health")), errors=False
        )
    },
    "/readyz": {
        "get": _operation(
            "operators",
            Text("Whether it can serve.", "是否可以提供服务。"),
            _json(ref("Readiness")),
            errors=False,
            more=_UNREADY,
        )
    },
    "/metrics": {
        "get": _operation("operators", Text("For Prometheus.", "供 Prometheus 抓取。"), _TEXT, scope="admin")
    },
    "/console": _page(Text("The state of all, behind an admin key.", "全部状态，需要管理密钥。")),
    "/console/token": {
        "get": _operation(
            "people",
            Text("Try an AppID and an AppSecret.", "试用 AppID 和 AppSecret。"),
            _HTML,
            errors=False,
            more={"default": _HTML},
        ),
        "post": _form(Text("The same, sent.", "提交。"), "app_id", "secret", "csrf"),
    },
    "/console/login": {"post": _form(Text("Log in with an admin key.", "用管理密钥登录。"), "key")},
    "/console/logout": {"post": _form(Text("Log out.", "退出登录。"), "csrf")},
    "/console/accounts/{NAME}/{ACTION}": {
        "post": _form(
            Text("Do what a button says.", "执行按钮的操作。"), "csrf", parameters=("NAME", "ACTION")
        )
    },
    "/static/{FILE}": {"get": _operation("people", Text("A file.", "文件。"), {"description": "OK"}, "FILE")},
    "/": _page(Text("The start page.", "首页。")),
    "/demo": _page(Text("The demo page; the field probe.", "演示页；现场探测。"), "account", "probe"),
    "/docs/api": _page(Text("This description, to be read.", "本描述的可读页面。")),
    "/docs/": _page(Text("The list of documents.", "文档列表。")),
    "/docs/{FILE}": _page(Text("A document.", "文档。"), "FILE"),
    "/openapi.yaml": {
        "get": _operation("people", Text("This description.", "本描述。"), {"description": "OK"})
    },
}


def description(*, dialect: bool = True, pages: bool = True, console: bool = True) -> Node:
    """The whole document; without what the settings leave out."""
    about = Text(
        "Signatures for WeChat's JS-SDK, and the account's tokens for all of its owner's systems.",
        "微信 JS-SDK 签名，以及供所有业务系统使用的 token。",
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "wxsign", "version": __version__, "description": _both(about)},
        "paths": {
            path: row
            for path, row in _PATHS.items()
            if (dialect or "/cgi-bin/" not in path)
            and (pages or path not in _PEOPLE)
            and (console or not path.startswith("/console"))
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
