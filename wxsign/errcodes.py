"""What WeChat's refusals mean and what to do about them, in English and Chinese.

WeChat answers errors with HTTP 200 and `{"errcode": N, "errmsg": "..."}`. The number is the interface; the text changes
without notice and is only ever parsed tolerantly. Meanings are those of Tencent's pages for `token`, `stable_token`,
`getticket` and the helper APIs (developers.weixin.qq.com/doc/service/, tables "错误码").
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ERRCODES",
    "Errcode",
    "FailureScope",
    "ParsedErrmsg",
    "Text",
    "entry_for",
    "mask_errmsg",
    "parse_errmsg",
]


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence for people, in English and in Chinese."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    def in_language(self, language: str) -> str:
        """Return the Chinese text for `zh` and its regional forms, else the English one."""
        return self.zh if language.lower().startswith("zh") else self.en


class FailureScope(StrEnum):
    """Whom a failure concerns, and with that how soon it is worth trying again."""

    BUSY = "busy"  # WeChat's moment of weakness: back off, try the next host
    STALE_TOKEN = "stale_token"  # noqa: S105 - a name of a scope, no credential
    ACCOUNT = "account"  # wrong or restricted account: the same answer for every machine
    QUOTA_DAY = "quota_day"
    QUOTA_MINUTE = "quota_minute"
    ADDRESS = "address"  # this machine's outbound IP is not in the whitelist
    CONFIRMATION = "confirmation"  # the account's administrator has to confirm this machine's IP
    NETWORK = "network"  # this machine's DNS, TLS or route
    SECRET = "secret"  # noqa: S105 - a name of a scope, no credential


@dataclass(frozen=True, slots=True)
class Errcode:
    """One row of the catalogue. `hint` names no IP; `address_hint`, where there is one, has a place for it: `{ip}`."""

    errcode: int
    code: str
    scope: FailureScope
    message: Text
    hint: Text
    address_hint: Text | None = None


@dataclass(frozen=True, slots=True)
class ParsedErrmsg:
    """An errmsg taken apart: the sentence, the request id (`""` if none) and the outbound IP that WeChat saw (`""` if none)."""

    text: str
    rid: str
    egress_ip: str


# The suffix has been written ` rid: …`, `, rid: …`, ` hint: […]` and ` hints: [ req_id: … ]` over the years.
_SUFFIX = re.compile(r"[,\s]*\b(?:rid:\s*(?P<rid>[0-9A-Za-z_-]+)|hints?:\s*\[(?P<hint>[^\]]*)\]?)")
_EGRESS_IP = re.compile(r"(?:invalid ip|from ip:)\s+([0-9A-Fa-f.:]*[0-9A-Fa-f])", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)")


def parse_errmsg(errmsg: str) -> ParsedErrmsg:
    """Take an errmsg apart in any form seen since 2016; what is not understood stays in `text`.

    An IPv6-mapped address (`::ffff:192.0.2.1`) comes back as the IPv4 address that the whitelist wants.
    Source of the forms: developers.weixin.qq.com, "IP whitelist", and answers logged by users.
    """
    suffix = _SUFFIX.search(errmsg)
    rid = ((suffix["rid"] or suffix["hint"] or "") if suffix else "").removeprefix(" req_id:").strip()
    return ParsedErrmsg(text=_SUFFIX.sub("", errmsg).strip(), rid=rid, egress_ip=_egress_ip(errmsg))


def _egress_ip(errmsg: str) -> str:
    found = _EGRESS_IP.search(errmsg)
    if not found:
        return ""
    try:
        address = ipaddress.ip_address(found[1])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def mask_errmsg(errmsg: str) -> str:
    """Return the errmsg fit for the public: every IP address and request id is replaced by `***`."""
    return _ADDRESS.sub("***", _SUFFIX.sub(" rid: ***", errmsg)).strip()


def entry_for(errcode: int, *, token_endpoint: bool) -> Errcode:
    """Return the catalogue's row for an errcode; a row of scope ACCOUNT is made up for one that is not listed.

    40001 means "wrong AppSecret" from an endpoint that hands out tokens and "dead token" everywhere else.
    """
    if errcode == _WRONG_SECRET.errcode and token_endpoint:
        return _WRONG_SECRET
    return ERRCODES.get(errcode) or _unlisted(errcode)


def _unlisted(errcode: int) -> Errcode:
    return Errcode(
        errcode,
        "wechat_refused",
        FailureScope.ACCOUNT,
        Text(
            f"WeChat refused the call with errcode {errcode}.", f"微信拒绝了这次调用，errcode 为 {errcode}。"
        ),
        Text(
            "Look the number up in WeChat's table of return codes, and the errmsg in this service's log.",
            "请在微信的全局返回码表中查询该数字，并查看本服务日志中的 errmsg。",
        ),
    )


_CONSOLE_ZH = "微信开发者平台 → 我的业务 → 公众号/服务号 → 基础信息 → 开发信息"
_CONSOLE_EN = f"WeChat developer platform, {_CONSOLE_ZH} (basic information, development information)"
_COPY_SECRET = Text(
    f"Was the secret reset? That kills the old one at once. Copy the AppSecret again: {_CONSOLE_EN}; then restart wxsign, process by process.",
    f"是否重置过 AppSecret？重置后旧的 AppSecret 立即失效。请重新复制 AppSecret：{_CONSOLE_ZH}；然后逐个重启 wxsign。",
)
_WRONG_SECRET = Errcode(
    40001,
    "invalid_secret",
    FailureScope.SECRET,
    Text(
        "WeChat says the AppSecret is wrong, or is another account's.",
        "微信认为 AppSecret 错误，或不属于该 AppID。",
    ),
    _COPY_SECRET,
)

_HINT_RETRY = Text("Nothing: it is tried again by itself.", "无需处理：服务会自动重试。")
_HINT_OUR_BUG = Text("This is a fault of wxsign: please report it.", "这是 wxsign 的缺陷：请报告。")
_HINT_STALE = Text(
    'It is fetched anew by itself. If it recurs, another system rotates the token of this account. Let it read the token from here, or use `token_endpoint = "stable"`.',
    '服务会自动重新获取。若反复出现，说明有其他系统在刷新此账号的 token：请让它从本服务读取，或使用 `token_endpoint = "stable"`。',
)
_HINT_FROZEN = Text(
    f"The account's owner has to clear it with WeChat: see the notices in the {_CONSOLE_EN}.",
    f"须由账号主体与微信官方处理：请查看通知（{_CONSOLE_ZH}）。",
)
_HINT_RIGHTS = Text(
    "Check that the appid is that of an Official Account (not a Mini Program) and that it holds the right for this interface.",
    "请确认 AppID 属于公众号/服务号（而非小程序），且账号拥有该接口的权限。",
)
_HINT_CONFIRM = Text(
    "The account's administrator has been sent a message in WeChat: confirm it there. Better, add the server's IP to the whitelist.",
    "微信已向账号管理员发送模板消息：请在微信中确认。更好的办法是把服务器 IP 加入白名单。",
)
_HINT_RID = Text(
    "A rid can be looked up for 7 days, and only with a token of the account whose call it was.",
    "rid 只能在 7 天内、用发起调用的账号的 token 查询。",
)

# Each row: number, our code, scope; what it means; what to do.
# fmt: off
_ROWS = (
    Errcode(-1, "wechat_busy", FailureScope.BUSY,
        Text("WeChat is busy.", "微信系统繁忙。"),
        _HINT_RETRY),
    Errcode(40001, "invalid_credential", FailureScope.STALE_TOKEN,
        Text("WeChat says the access_token is not valid or not the latest.", "微信认为 access_token 无效或不是最新的。"),
        _HINT_STALE),
    Errcode(40002, "invalid_grant_type", FailureScope.ACCOUNT,
        Text("WeChat did not accept the grant_type.", "微信不接受该 grant_type。"),
        _HINT_OUR_BUG),
    Errcode(40013, "invalid_appid", FailureScope.ACCOUNT,
        Text("WeChat does not know this AppID.", "微信认为 AppID 无效。"),
        Text("Check the AppID letter by letter (case matters), and that it belongs to this kind of account.", "请逐字核对 AppID（区分大小写），并确认它属于这一类型的账号。")),
    Errcode(40014, "invalid_access_token", FailureScope.STALE_TOKEN,
        Text("WeChat says the access_token is not valid.", "微信认为 access_token 不合法。"),
        _HINT_STALE),
    Errcode(40097, "invalid_arguments", FailureScope.ACCOUNT,
        Text("WeChat did not accept the arguments of the call.", "微信认为调用参数错误。"),
        _HINT_RIGHTS),
    Errcode(40125, "invalid_secret", FailureScope.SECRET,
        Text("WeChat says the AppSecret is wrong.", "微信认为 AppSecret 错误。"),
        _COPY_SECRET),
    Errcode(40164, "ip_not_whitelisted", FailureScope.ADDRESS,
        Text("WeChat refuses this server: its IP is not in the account's whitelist.", "微信拒绝了本服务器：其 IP 不在账号的白名单中。"),
        Text(f"Add the server's outbound IP (named in this service's log) to the IP whitelist: {_CONSOLE_EN}, IP whitelist.", f"请把服务器的出口 IP（见本服务日志）加入 IP 白名单：{_CONSOLE_ZH} → IP白名单。"),
        Text(f"Add {{ip}} to the IP whitelist: {_CONSOLE_EN}, IP whitelist. It is the address that WeChat sees, behind any NAT or proxy.", f"请把 {{ip}} 加入 IP 白名单：{_CONSOLE_ZH} → IP白名单。这是微信看到的出口地址（经过 NAT 或代理之后）。")),
    Errcode(40201, "no_callback_url", FailureScope.ACCOUNT,
        Text("The account has no callback URL to check.", "账号没有配置回调 URL，无法检测。"),
        Text("Set the server URL in the console first.", "请先在后台配置服务器 URL。")),
    Errcode(40202, "invalid_check_action", FailureScope.ACCOUNT,
        Text("WeChat did not accept the action of the callback check.", "回调检测的 action 不正确。"),
        Text("Use dns, ping or all.", "请使用 dns、ping 或 all。")),
    Errcode(40203, "invalid_check_operator", FailureScope.ACCOUNT,
        Text("WeChat did not accept the operator of the callback check.", "回调检测的 check_operator 不正确。"),
        Text("Use CHINANET, UNICOM, CAP or DEFAULT.", "请使用 CHINANET、UNICOM、CAP 或 DEFAULT。")),
    Errcode(40243, "secret_frozen", FailureScope.ACCOUNT,
        Text("The AppSecret is frozen.", "AppSecret 已被冻结。"),
        Text(f"Unfreeze it: {_CONSOLE_EN}. It takes effect after about 10 minutes.", f"请解冻 AppSecret：{_CONSOLE_ZH}。约 10 分钟后生效。")),
    Errcode(41001, "access_token_missing", FailureScope.ACCOUNT,
        Text("The call carried no access_token.", "调用缺少 access_token。"),
        _HINT_OUR_BUG),
    Errcode(41002, "appid_missing", FailureScope.ACCOUNT,
        Text("The call carried no AppID.", "调用缺少 AppID。"),
        _HINT_OUR_BUG),
    Errcode(41004, "secret_missing", FailureScope.ACCOUNT,
        Text("The call carried no AppSecret.", "调用缺少 AppSecret。"),
        _HINT_OUR_BUG),
    Errcode(42001, "access_token_expired", FailureScope.STALE_TOKEN,
        Text("WeChat says the access_token has expired.", "微信认为 access_token 已过期。"),
        _HINT_STALE),
    Errcode(43002, "post_required", FailureScope.ACCOUNT,
        Text("This call has to be a POST.", "该接口须使用 POST。"),
        _HINT_OUR_BUG),
    Errcode(43003, "https_required", FailureScope.ACCOUNT,
        Text("This call has to be made over HTTPS.", "该接口须使用 HTTPS。"),
        Text("Check WXSIGN_API_BASE: it has to start with https://.", "请检查 WXSIGN_API_BASE：须以 https:// 开头。")),
    Errcode(44002, "empty_body", FailureScope.ACCOUNT,
        Text("The call had an empty body.", "请求体为空。"),
        Text("Check that no proxy in between drops the body of a POST.", "请检查中间的代理是否丢弃了 POST 请求体。")),
    Errcode(45009, "daily_quota_used_up", FailureScope.QUOTA_DAY,
        Text("The account's quota of calls for today is used up.", "该账号今日的接口调用次数已用完。"),
        Text("Wait until midnight China time (UTC+8), or clear the quota in the console (10 times a month). Then find who calls so often.", "请等到北京时间零点，或在后台清零（每月 10 次）；并查明是谁在频繁调用。")),
    Errcode(45011, "minute_quota_used_up", FailureScope.QUOTA_MINUTE,
        Text("Too many calls in this minute.", "本分钟内调用过于频繁。"),
        Text("Wait a minute: it is tried again by itself.", "请等待一分钟：服务会自动重试。")),
    Errcode(47001, "invalid_body", FailureScope.ACCOUNT,
        Text("WeChat could not read the body of the call.", "微信无法解析请求体。"),
        _HINT_OUR_BUG),
    Errcode(48001, "api_unauthorized", FailureScope.ACCOUNT,
        Text("This account may not use this interface.", "该账号没有此接口的权限。"),
        _HINT_RIGHTS),
    Errcode(48004, "api_banned", FailureScope.ACCOUNT,
        Text("WeChat has banned this account from the interface.", "该账号的接口权限已被封禁。"),
        _HINT_FROZEN),
    Errcode(48006, "clear_quota_used_up", FailureScope.ACCOUNT,
        Text("The quota has been cleared 10 times this month already.", "本月清零次数（10 次）已用完。"),
        Text("Wait until midnight China time (UTC+8), when the daily quota starts anew.", "请等到北京时间零点，届时每日次数会重置。")),
    Errcode(48017, "retired_entry_address", FailureScope.NETWORK,
        Text("The call went to an address of WeChat that was taken out of service.", "请求发往了微信已下线的接入 IP。"),
        Text("Remove WeChat's hosts from this machine's hosts file and let DNS resolve them.", "请从本机 hosts 文件中删除微信域名，改用 DNS 解析。")),
    Errcode(50002, "account_limited", FailureScope.ACCOUNT,
        Text("The account is restricted.", "该账号受到限制。"),
        _HINT_FROZEN),
    Errcode(50004, "token_forbidden", FailureScope.ACCOUNT,
        Text("This account may not fetch access tokens.", "该账号被禁止使用 token 接口。"),
        _HINT_FROZEN),
    Errcode(50007, "account_frozen", FailureScope.ACCOUNT,
        Text("The account is frozen.", "该账号已被冻结。"),
        _HINT_FROZEN),
    Errcode(61024, "component_token_required", FailureScope.ACCOUNT,
        Text("This AppID belongs to a third-party platform and needs the platform's token.", "该 AppID 属于第三方平台，须使用平台的 token。"),
        Text("Configure the Official Account's own AppID and AppSecret.", "请配置公众号自己的 AppID 和 AppSecret。")),
    Errcode(76001, "rid_not_found", FailureScope.ACCOUNT,
        Text("WeChat does not know this rid.", "微信查不到该 rid。"),
        _HINT_RID),
    Errcode(76002, "invalid_rid", FailureScope.ACCOUNT,
        Text("This is not a rid.", "rid 格式错误。"),
        Text("A rid is three groups of eight hex digits joined by dashes.", "rid 由三组 8 位十六进制数字以短横线连接而成。")),
    Errcode(76003, "foreign_rid", FailureScope.ACCOUNT,
        Text("This rid is another account's.", "该 rid 属于其他账号。"),
        _HINT_RID),
    Errcode(76004, "rid_expired", FailureScope.ACCOUNT,
        Text("This rid is older than 7 days.", "该 rid 已超过 7 天。"),
        _HINT_RID),
    Errcode(76021, "quota_path_not_found", FailureScope.ACCOUNT,
        Text("WeChat has no interface of this path.", "微信没有该路径的接口。"),
        Text("Give the path as /cgi-bin/…, without a query.", "请填写 /cgi-bin/… 形式的路径，不带查询参数。")),
    Errcode(76022, "quota_path_foreign", FailureScope.ACCOUNT,
        Text("This account may not ask for the quota of this path.", "该账号不能查询此路径的额度。"),
        _HINT_RIGHTS),
    Errcode(89501, "ip_awaits_confirmation", FailureScope.CONFIRMATION,
        Text("This server's IP is waiting for the administrator's confirmation.", "本服务器的 IP 正在等待管理员确认。"),
        _HINT_CONFIRM),
    Errcode(89503, "administrator_must_confirm", FailureScope.CONFIRMATION,
        Text("The account's administrator has to confirm calls from this server.", "须由账号管理员确认本服务器的调用。"),
        _HINT_CONFIRM),
    Errcode(89506, "ip_refused_for_a_day", FailureScope.CONFIRMATION,
        Text("The account's administrator has refused this server twice: it is blocked for 24 hours.", "账号管理员已两次拒绝本服务器：24 小时内禁止调用。"),
        Text("Speak to the account's administrator, who has to confirm the next request in WeChat 24 hours from now; better, add the server's IP to the whitelist.", "请联系账号管理员，24 小时后再次收到请求时在微信中确认；更好的办法是把服务器 IP 加入白名单。")),
    Errcode(89507, "ip_refused_for_an_hour", FailureScope.CONFIRMATION,
        Text("The account's administrator has refused this server once: it is blocked for 1 hour.", "账号管理员已拒绝本服务器一次：1 小时内禁止调用。"),
        Text("Speak to the account's administrator, who has to confirm the next request in WeChat an hour from now; better, add the server's IP to the whitelist.", "请联系账号管理员，1 小时后再次收到请求时在微信中确认；更好的办法是把服务器 IP 加入白名单。")),
)
# fmt: on

ERRCODES: Final[Mapping[int, Errcode]] = MappingProxyType({row.errcode: row for row in _ROWS})


# What is said where WeChat gave no errcode at all.
REACH_HINT: Final = Text(
    "Check this machine's route to api.weixin.qq.com: DNS, firewall, HTTPS_PROXY.",
    "请检查本机到 api.weixin.qq.com 的网络：DNS、防火墙、HTTPS_PROXY。",
)
UNREACHABLE: Final[Mapping[str, tuple[FailureScope, Text]]] = MappingProxyType(
    {
        "timeout": (FailureScope.BUSY, Text("WeChat did not answer in time.", "微信没有及时应答。")),
        "reset": (FailureScope.BUSY, Text("WeChat broke the connection off.", "微信中断了连接。")),
        "connect": (FailureScope.NETWORK, Text("WeChat cannot be reached.", "无法连接微信服务器。")),
        "dns": (FailureScope.NETWORK, Text("WeChat's host name cannot be resolved.", "无法解析微信的域名。")),
        "tls": (
            FailureScope.NETWORK,
            Text("No trusted TLS connection to WeChat could be made.", "无法与微信建立受信任的 TLS 连接。"),
        ),
    }
)
BAD_ANSWER_HINT: Final = Text(
    "Usually it passes. If not, something between this machine and WeChat (a proxy, a portal) answers in its place.",
    "通常会自行恢复；若持续出现，可能是本机与微信之间的代理或网关在代为应答。",
)
BAD_ANSWER: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "http_status": Text("WeChat answered with an HTTP error.", "微信返回了 HTTP 错误。"),
        "not_json": Text("WeChat's answer is not JSON.", "微信的应答不是 JSON。"),
        "too_large": Text("WeChat's answer is too large.", "微信的应答过大。"),
        "bad_value": Text("WeChat's answer lacks a usable value.", "微信的应答中没有可用的值。"),
        "truncated": Text("WeChat's answer ended too early.", "微信的应答不完整。"),
    }
)
