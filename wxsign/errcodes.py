"""What WeChat's refusals mean and what to do about them, in English and Chinese.

WeChat answers errors with HTTP 200 and `{"errcode": N, "errmsg": "..."}`. The number is the interface; the text changes
without notice and is only ever parsed tolerantly. Meanings are those of Tencent's pages for `token`, `stable_token`,
`getticket` and the helper APIs (developers.weixin.qq.com/doc/service/, tables "错误码").
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from wxsign.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ERRCODES",
    "Errcode",
    "FailureScope",
    "ParsedErrmsg",
    "Text",
    "bounded_errmsg",
    "entry_for",
    "mask_errmsg",
    "parse_errmsg",
    "rights_hint",
]

MAX_ERRMSG_CHARACTERS: Final = 500


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
    """One row of the catalogue. `hint` says what is true of every refusal; it names no IP and no figure.

    `full_hint`, where there is one, has places for what one refusal tells: `{ip}`, or `{used}` and `{limit}`.
    """

    errcode: int
    code: str
    scope: FailureScope
    message: Text
    hint: Text
    full_hint: Text | None = None


@dataclass(frozen=True, slots=True)
class ParsedErrmsg:
    """An errmsg taken apart: the sentence, the request id (`""` if none) and the outbound IP that WeChat saw (`""` if none)."""

    text: str
    rid: str
    egress_ip: str


# The suffix has been written ` rid: …`, `, rid: …`, ` hint: […]` and ` hints: [ req_id: … ]` over the years. It is looked for
# only where a run of commas and blanks begins: tried at each of them, a long run would cost its length squared.
_SUFFIX = re.compile(r"(?<![,\s])[,\s]*\b(?:rid:\s*(?P<rid>[0-9A-Za-z_-]+)|hints?:\s*\[(?P<hint>[^\]]*)\]?)")
_EGRESS_IP = re.compile(r"(?:invalid ip|from ip:|requestip:)\s*([0-9A-Fa-f.:]*[0-9A-Fa-f])", re.IGNORECASE)
_ADDRESS_CHARACTERS = "0123456789ABCDEFabcdef.:"
_ADDRESS_RUN = re.compile(f"[{_ADDRESS_CHARACTERS}]+")
_COLONS_OF_IPV6 = 2  # at least: `::`
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


def bounded_errmsg(errmsg: str) -> str:
    """Return an errmsg of at most 500 characters. WeChat's are under 300; a longer one comes from a proxy or a broken store."""
    return errmsg[:MAX_ERRMSG_CHARACTERS]


def parse_errmsg(errmsg: str) -> ParsedErrmsg:
    """Take an errmsg apart in any form seen since 2016; what is not understood stays in `text`.

    An IPv6-mapped address (`::ffff:192.0.2.1`) comes back as the IPv4 address that the whitelist wants.
    Source of the forms: developers.weixin.qq.com, "IP whitelist", and answers logged by users.
    """
    errmsg = bounded_errmsg(errmsg)
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
    bounded = bounded_errmsg(errmsg)
    if len(bounded) == MAX_ERRMSG_CHARACTERS:
        # It may have been cut in the middle of an address.
        bounded = bounded.rstrip(_ADDRESS_CHARACTERS)
    return _ADDRESS_RUN.sub(_masked_run, _SUFFIX.sub(" rid: ***", bounded)).strip()


def _masked_run(found: re.Match[str]) -> str:
    run = found[0]
    if run.count(":") < _COLONS_OF_IPV6 and not _IPV4.search(run):
        return run
    # `from ip:192.0.2.7.`: the colon before and the dot behind belong to the sentence.
    before = ":" if run.startswith(":") and not run.startswith("::") else ""
    return f"{before}***{run[len(run.rstrip('.')) :]}"


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


# Where things stand since WeChat moved its console. Source: doc/service/guide/dev/migration. Mini Programs stayed.
_ACCOUNT = "微信开发者平台 → 我的业务 → 公众号/服务号"
_IN_ENGLISH = "in the WeChat developer platform (developers.weixin.qq.com/platform): "
_KEYS_ZH = f"{_ACCOUNT} → 基础信息 → 开发密钥"
_KEYS_EN = f"{_IN_ENGLISH}{_KEYS_ZH}"
_DOMAINS_ZH = f"{_ACCOUNT} → 基础信息 → 域名与消息推送配置"
_DOMAINS_EN = f"{_IN_ENGLISH}{_DOMAINS_ZH}"
_RIGHTS_ZH = f"{_ACCOUNT} → 接口管理 → 接口权限与额度"
_RIGHTS_EN = f"{_IN_ENGLISH}{_RIGHTS_ZH}"
HINT_JS_DOMAIN: Final = Text(
    f"The host must be one of the account's JS interface security domains too, {_DOMAINS_EN}.",
    f"该域名也必须在账号的「JS接口安全域名」之中：{_DOMAINS_ZH}。",
)
_COPY_SECRET = Text(
    "Was the secret reset? That kills the old one at once. Was it ever enabled? That takes a verified real name (a person's account) or WeChat's "
    f"certification (a company's). Copy the AppSecret again, {_KEYS_EN}; then restart wxsign, process by process.",
    "是否重置过 AppSecret？重置后旧的 AppSecret 立即失效。是否启用过 AppSecret？个人主体须先完成实名认证、企业等主体须先完成微信认证才能启用。"
    f"请重新复制 AppSecret：{_KEYS_ZH}；然后逐个重启 wxsign。",
)
# fmt: off
_WRONG_SECRET = Errcode(40001, "invalid_secret", FailureScope.SECRET,
    Text("WeChat says the AppSecret is wrong, or is another account's.", "微信认为 AppSecret 错误，或不属于该 AppID。"),
    _COPY_SECRET)
# fmt: on

_HINT_RETRY = Text("Nothing: it is tried again by itself.", "无需处理：服务会自动重试。")
_HINT_OUR_BUG = Text("This is a fault of wxsign: please report it.", "这是 wxsign 的缺陷：请报告。")
_HINT_STALE = Text(
    'It is fetched anew by itself. If it recurs, another system rotates the token of this account. Let it read the token from here, or use `token_endpoint = "stable"`.',
    '服务会自动重新获取。若反复出现，说明有其他系统在刷新此账号的 token：请让它从本服务读取，或使用 `token_endpoint = "stable"`。',
)
_HINT_FROZEN = Text(
    "The account's owner has to clear it with WeChat: see the notices at mp.weixin.qq.com.",
    "须由账号主体与微信官方处理：请查看公众平台（mp.weixin.qq.com）的通知。",
)
_HINT_RIGHTS = Text(
    f"Check that the appid is that of an Official Account (not a Mini Program) and that it holds the right for this interface, {_RIGHTS_EN}.",
    f"请确认 AppID 属于公众号/服务号（而非小程序），且账号拥有该接口的权限：{_RIGHTS_ZH}。",
)
_HINT_THE_RIGHT = Text(
    f"{{interface}} needs a right that this account lacks: see it {_RIGHTS_EN} → {{right}}. A Mini Program never has it; some accounts only once they are certified.",
    f"{{interface}} 需要的权限该账号没有：请查看 {_RIGHTS_ZH} → {{right}}。小程序没有此权限；部分账号须先完成微信认证。",
)
# The interfaces that wxsign calls, by the names of their rights in WeChat's list.
_RIGHTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "/cgi-bin/ticket/getticket": "网页服务 → JS-SDK",
        "/cgi-bin/token": "基础支持 → 获取access_token",
        "/cgi-bin/stable_token": "基础支持 → 获取access_token",
        "/cgi-bin/get_api_domain_ip": "基础支持 → 获取微信服务器IP地址",
    }
)


def rights_hint(interface: str) -> Text:
    """Return what to do where the account lacks the right for an interface (a path), by that right's name if it is known."""
    right = _RIGHTS.get(interface)
    return _HINT_THE_RIGHT.filled(interface=interface, right=right) if right else _HINT_RIGHTS


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
        Text(f"Add the server's outbound IP (named in this service's log) to the IP whitelist, {_KEYS_EN} → API IP白名单. It takes a few minutes.", f"请把服务器的出口 IP（见本服务日志）加入 IP 白名单：{_KEYS_ZH} → API IP白名单。数分钟后生效。"),
        Text(f"Add {{ip}} to the IP whitelist, {_KEYS_EN} → API IP白名单. It is the address that WeChat sees, behind any NAT or proxy; it takes a few minutes.", f"请把 {{ip}} 加入 IP 白名单：{_KEYS_ZH} → API IP白名单。这是微信看到的出口地址（经过 NAT 或代理之后）；数分钟后生效。")),
    Errcode(40201, "no_callback_url", FailureScope.ACCOUNT,
        Text("The account has no callback URL to check.", "账号没有配置回调 URL，无法检测。"),
        Text(f"Set the server's URL first, {_DOMAINS_EN}.", f"请先配置服务器 URL：{_DOMAINS_ZH}。")),
    Errcode(40202, "invalid_check_action", FailureScope.ACCOUNT,
        Text("WeChat did not accept the action of the callback check.", "回调检测的 action 不正确。"),
        Text("Use dns, ping or all.", "请使用 dns、ping 或 all。")),
    Errcode(40203, "invalid_check_operator", FailureScope.ACCOUNT,
        Text("WeChat did not accept the operator of the callback check.", "回调检测的 check_operator 不正确。"),
        Text("Use CHINANET, UNICOM, CAP or DEFAULT.", "请使用 CHINANET、UNICOM、CAP 或 DEFAULT。")),
    Errcode(40243, "secret_frozen", FailureScope.ACCOUNT,
        Text("The AppSecret is frozen.", "AppSecret 已被冻结。"),
        Text(f"Unfreeze it, {_KEYS_EN}. It takes effect after about 10 minutes.", f"请解冻 AppSecret：{_KEYS_ZH}。约 10 分钟后生效。")),
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
        Text(f"Wait until midnight China time (UTC+8), or clear the quota (10 times a month), {_RIGHTS_EN}. Then find who calls so often.", f"请等到北京时间零点，或将次数清零（每月 10 次）：{_RIGHTS_ZH}；并查明是谁在频繁调用。"),
        Text(f"wxsign counts {{used}} of {{limit}} calls of its own today: where that is less than WeChat allows, another system makes the rest, so find it. Wait until midnight China time (UTC+8), or clear the quota (10 times a month), {_RIGHTS_EN}.", f"wxsign 今天自己的调用为 {{used}} 次（上限 {{limit}} 次）：若少于微信给的额度，其余是其他系统调用的，请查明。请等到北京时间零点，或将次数清零（每月 10 次）：{_RIGHTS_ZH}。")),
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
        Text("The daily quota starts anew at midnight China time (UTC+8); it can be cleared again next month.", "每日次数在北京时间零点重置；清零要到下个月才能再用。")),
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

# One page of WeChat (doc/service/guide/dev/api) names 61004 where the others name 40164.
_ALIKE: Final[Mapping[int, int]] = MappingProxyType({61004: 40164})

_BY_NUMBER: Final = {row.errcode: row for row in _ROWS}
ERRCODES: Final[Mapping[int, Errcode]] = MappingProxyType(
    _BY_NUMBER | {errcode: replace(_BY_NUMBER[known], errcode=errcode) for errcode, known in _ALIKE.items()}
)


# What is said where WeChat gave no errcode at all.
# Each row: scope; what is wrong; what to do.
# fmt: off
_HINT_REACH = Text(
    "Usually it passes. If not, check this machine's way out (from inside the container, where wxsign runs in one): route, firewall, HTTPS_PROXY.",
    "通常会自行恢复；若持续出现，请检查本机的出口（wxsign 在容器中运行时，请在容器内检查）：路由、防火墙、HTTPS_PROXY。")
UNREACHABLE: Final[Mapping[str, tuple[FailureScope, Text, Text]]] = MappingProxyType({
    "timeout": (FailureScope.BUSY, Text("WeChat did not answer in time.", "微信没有及时应答。"), _HINT_REACH),
    "reset": (FailureScope.BUSY, Text("WeChat broke the connection off.", "微信中断了连接。"), _HINT_REACH),
    "connect": (FailureScope.NETWORK, Text("WeChat cannot be reached.", "无法连接微信服务器。"), Text(
        "Check this machine's way out (from inside the container, where wxsign runs in one): route, firewall, HTTPS_PROXY.",
        "请检查本机的出口（wxsign 在容器中运行时，请在容器内检查）：路由、防火墙、HTTPS_PROXY。")),
    "dns": (FailureScope.NETWORK, Text("WeChat's host name cannot be resolved.", "无法解析微信的域名。"), Text(
        "Check the name servers of this machine (/etc/resolv.conf; inside the container, where wxsign runs in one), and that port 53 is open to them.",
        "请检查本机的 DNS 服务器（/etc/resolv.conf；wxsign 在容器中运行时，请在容器内检查），以及到它们的 53 端口是否畅通。")),
    "tls": (FailureScope.NETWORK, Text("No trusted TLS connection to WeChat could be made.", "无法与微信建立受信任的 TLS 连接。"), Text(
        "Where your network signs TLS with a CA of its own, name its PEM file in REQUESTS_CA_BUNDLE (inside the container, where wxsign runs in one): docs/deployment.md#own-ca. Else check the machine's clock, and that nothing answers in WeChat's place.",
        "若所在网络用自建 CA 签发 TLS 证书，请用 REQUESTS_CA_BUNDLE 指定其 PEM 文件（wxsign 在容器中运行时，须在容器内设置）：docs/deployment.md#own-ca。否则请检查本机时钟，以及是否有其他设备代替微信应答。")),
})
# fmt: on
HINT_ASKED: Final = Text("Asked was {asked}.", "所请求的是 {asked}。")
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
