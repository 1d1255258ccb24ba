"""What a failure means by who was asked: WeCom's refusals, where they differ from WeChat's, and a source that is not WeChat.

Source: developer.work.weixin.qq.com, path/90313 (全局错误码). Tencent asks to go by the number: the text may change.
"""

from __future__ import annotations

from typing import Final

from wxsign.errcodes import (
    BAD_ANSWER,
    BAD_ANSWER_HINT,
    UNREACHABLE,
    Errcode,
    FailureScope,
    Text,
    entry_for,
)

TOKEN_ENDPOINTS: Final = frozenset({"/cgi-bin/token", "/cgi-bin/stable_token", "/cgi-bin/gettoken"})
WECOM_ENDPOINTS: Final = frozenset({"/cgi-bin/gettoken", "/cgi-bin/get_jsapi_ticket", "/cgi-bin/ticket/get"})

SOURCE: Final = "token_from"
"""What stands in the endpoint's place where an account's token comes from another system."""

_SOURCE_REASONS: Final = {
    "timeout": Text("no answer in time", "没有及时应答"),
    "reset": Text("the connection was broken off", "连接被中断"),
    "connect": Text("it cannot be reached", "无法连接"),
    "dns": Text("its name cannot be resolved", "域名无法解析"),
    "tls": Text("no trusted TLS connection", "无法建立受信任的 TLS 连接"),
    "http_status": Text("it refused, by an HTTP status", "以 HTTP 状态码拒绝"),
    "not_json": Text("its answer is not JSON", "应答不是 JSON"),
    "too_large": Text("its answer is too large", "应答过大"),
    "bad_value": Text("there is no usable token in it", "其中没有可用的 token"),
    "truncated": Text("its answer ended too early", "应答不完整"),
}
_SOURCE_MESSAGE: Final = Text(
    "The system that hands out this account's access_token gave none: {reason}.",
    "提供该账号 access_token 的系统没有给出 token：{reason}。",
)
_SOURCE_HINT: Final = Text(
    "Look at that system, and at the account's `token_from` (docs/sources.md). The last good token is used meanwhile.",
    "请检查该系统以及账号的 `token_from`（docs/sources.zh-CN.md）。在此期间继续使用上一个有效的 token。",
)

_ADMIN_EN: Final = "in WeCom's admin console (work.weixin.qq.com): "
_APP_ZH: Final = "企业微信管理后台 → 应用管理 → 该应用"
_APP_EN: Final = f"{_ADMIN_EN}{_APP_ZH}"
_SECRET: Final = Text(
    f"Each app has a Secret of its own: copy that of the app with this AgentId, {_APP_EN} → Secret; then restart wxsign, process by process.",
    f"每个应用都有自己的 Secret：请复制该 AgentId 对应应用的 Secret（{_APP_ZH} → Secret），然后逐个重启 wxsign。",
)
# fmt: off
_ROWS: Final = (
    Errcode(40001, "invalid_secret", FailureScope.SECRET,
        Text("WeCom says that the app's Secret is wrong.", "企业微信认为应用的 Secret 错误。"), _SECRET),
    Errcode(40013, "invalid_corpid", FailureScope.ACCOUNT,
        Text("WeCom does not know this corporation's id.", "企业微信认为企业 ID（corpid）无效。"),
        Text(f"Copy it, {_ADMIN_EN}我的企业 → 企业信息 → 企业ID.", "请重新复制：企业微信管理后台 → 我的企业 → 企业信息 → 企业ID。")),
    Errcode(40056, "invalid_agentid", FailureScope.ACCOUNT,
        Text("WeCom does not know this AgentId.", "企业微信认为 AgentId 无效。"),
        Text(f"Copy the AgentId, {_APP_EN}.", f"请重新复制 AgentId：{_APP_ZH}。")),
    Errcode(40091, "invalid_secret", FailureScope.SECRET,
        Text("WeCom says that the Secret is not of this corporation.", "企业微信认为该 Secret 不属于这个企业。"), _SECRET),
    Errcode(40093, "jsapi_signature_wrong", FailureScope.ACCOUNT,
        Text("WeCom's client refused the signature of a page.", "企业微信客户端认为网页签名错误。"),
        Text("Paste the page's wx.config into `wxsign diagnose`: it names the cause.", "请把页面的 wx.config 交给 `wxsign diagnose`，它会指出原因。")),
    Errcode(42012, "ticket_of_the_other_kind", FailureScope.ACCOUNT,
        Text("`wx.agentConfig` was signed with the corporation's ticket, or `wx.config` with the app's.", "`wx.agentConfig` 使用了企业的 jsapi_ticket，或 `wx.config` 使用了应用的 ticket。"),
        Text("Take `agentConfig` of the answer for the one, the rest for the other.", "请用应答中的 `agentConfig` 调用前者，用其余字段调用后者。")),
    Errcode(45009, "hourly_quota_used_up", FailureScope.QUOTA_MINUTE,
        Text("WeCom's quota of calls for this hour or minute is used up.", "企业微信该接口本小时（或本分钟）的调用次数已用完。"),
        Text("It is tried again by itself, until the window has passed. Find who else calls with this app's Secret.", "服务会自动重试，直至该时间窗结束。请查明还有谁在用该应用的 Secret 调用。")),
    Errcode(45033, "too_many_at_once", FailureScope.BUSY,
        Text("Too many calls at once, says WeCom.", "企业微信认为接口并发调用过多。"),
        Text("Nothing: it is tried again by itself.", "无需处理：服务会自动重试。")),
    Errcode(48002, "api_unauthorized", FailureScope.ACCOUNT,
        Text("The app may not use this interface.", "该应用没有此接口的权限。"),
        Text(f"Look at the app's rights, {_APP_EN}, and that the Secret is that of an app.", f"请检查应用的权限（{_APP_ZH}），并确认 Secret 是自建应用的。")),
    Errcode(60020, "ip_not_whitelisted", FailureScope.ADDRESS,
        Text("WeCom refuses this server: its IP is not one that the app trusts.", "企业微信拒绝了本服务器：其 IP 不在该应用的可信 IP 中。"),
        Text(f"Add the server's outbound IP (named in this service's log), {_APP_EN} → 企业可信IP. It takes a minute.", f"请把服务器的出口 IP（见本服务日志）加入：{_APP_ZH} → 企业可信IP。约一分钟后生效。"),
        Text(f"Add {{ip}}, {_APP_EN} → 企业可信IP. It takes a minute.", f"请把 {{ip}} 加入：{_APP_ZH} → 企业可信IP。约一分钟后生效。")),
    Errcode(80001, "domain_not_trusted", FailureScope.ACCOUNT,
        Text("The page's domain is not one that the app trusts.", "网页域名不是该应用的可信域名。"),
        Text(f"Enter the page's full host (no parent domain, no IP, no port), {_APP_EN} → 网页授权及JS-SDK.", f"请填写页面的完整域名（不能是上级域名，不带 IP 和端口）：{_APP_ZH} → 网页授权及JS-SDK。")),
)
# fmt: on
WECOM_ERRCODES: Final = {row.errcode: row for row in _ROWS}


def entry_at(errcode: int, endpoint: str) -> Errcode:
    """Return the catalogue's row for an errcode of the endpoint (a path, without its query) that answered it."""
    takes_secret = endpoint in TOKEN_ENDPOINTS
    row = WECOM_ERRCODES.get(errcode) if endpoint in WECOM_ENDPOINTS else None
    if row is None or (row.scope is FailureScope.SECRET and not takes_secret):
        return entry_for(errcode, token_endpoint=takes_secret)
    return row


def unreachable_at(reason: str, endpoint: str) -> tuple[str, FailureScope, Text, Text]:
    """Code, scope, message and hint where no answer came from the endpoint."""
    scope, message, hint = UNREACHABLE[reason]
    if endpoint == SOURCE:
        return "source_failed", scope, _source_message(reason), _SOURCE_HINT
    return f"wechat_{reason}", scope, message, hint


def bad_answer_at(reason: str, endpoint: str) -> tuple[str, Text, Text]:
    """Code, message and hint where an answer of the endpoint cannot be used."""
    if endpoint == SOURCE:
        return "source_failed", _source_message(reason), _SOURCE_HINT
    return f"wechat_{reason}", BAD_ANSWER[reason], BAD_ANSWER_HINT


def _source_message(reason: str) -> Text:
    said = _SOURCE_REASONS[reason]
    return Text(_SOURCE_MESSAGE.en.format(reason=said.en), _SOURCE_MESSAGE.zh.format(reason=said.zh))
