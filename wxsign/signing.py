"""The JS-SDK signature, stage by stage, and which URLs it may be made for.

    sent ──canonical_url──▶ url ──string_to_sign──▶ string1 ──signature──▶ sha1 hex ──▶ JSConfig

Source of the algorithm: Tencent's JS-SDK guide, appendix 1 (developers.weixin.qq.com/doc/service/guide/h5/jssdk).
WeChat signs `location.href` up to the `#` and compares byte for byte. So nothing is normalised here: no slash is added, no case
changed, nothing re-quoted. Pure: time and randomness are handed in.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from wxsign.errors import InvalidUrl, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_URL_CHARACTERS: Final = 8192

# fmt: off
JS_API_LIST: Final[tuple[str, ...]] = (
    "checkJsApi", "updateAppMessageShareData", "updateTimelineShareData", "onMenuShareTimeline",
    "onMenuShareAppMessage", "onMenuShareQQ", "onMenuShareWeibo", "onMenuShareQZone", "startRecord",
    "stopRecord", "onVoiceRecordEnd", "playVoice", "pauseVoice", "stopVoice", "onVoicePlayEnd", "uploadVoice",
    "downloadVoice", "translateVoice", "chooseImage", "previewImage", "uploadImage", "downloadImage",
    "getLocalImgData", "getNetworkType", "openLocation", "getLocation", "hideOptionMenu", "showOptionMenu",
    "hideMenuItems", "showMenuItems", "hideAllNonBaseMenuItem", "showAllNonBaseMenuItem", "closeWindow",
    "scanQRCode", "openAddress", "chooseWXPay", "openProductSpecificView", "addCard", "chooseCard",
    "openCard", "consumeAndShareCard", "startSearchBeacons", "stopSearchBeacons", "onSearchBeacons",
    "openEnterpriseChat", "openEnterpriseRedPacket", "launchMiniProgram", "openBusinessView",
)
# fmt: on
"""Every interface of jweixin-1.6.0.js that `wx.config` takes."""

OPEN_TAG_LIST: Final[tuple[str, ...]] = (
    "wx-open-launch-weapp",
    "wx-open-launch-app",
    "wx-open-subscribe",
    "wx-open-audio",
)
"""Every open tag of jweixin-1.6.0.js."""


@dataclass(frozen=True, slots=True)
class SigningWarning:
    """The URL was signed, but it looks as if the page will not be at that address."""

    code: str
    message: Text
    hint: Text

    def as_dict(self, language: str = "en") -> dict[str, str]:
        """Return the JSON form, in Chinese for `zh`, else in English."""
        return {
            "code": self.code,
            "message": self.message.in_language(language),
            "hint": self.hint.in_language(language),
        }


_SEND_HREF: Final = Text(
    "Send `encodeURIComponent(location.href.split('#')[0])`.",
    "请发送 `encodeURIComponent(location.href.split('#')[0])`。",
)
FRAGMENT: Final = SigningWarning(
    "fragment",
    Text("The URL carried a fragment; it was cut off at the `#`.", "URL 带有锚点，已在 `#` 处截断。"),
    _SEND_HREF,
)
ENCODED_TWICE: Final = SigningWarning(
    "encoded_twice",
    Text("The URL was percent-encoded twice; it was decoded once more.", "URL 被编码了两次，已多解码一次。"),
    Text(
        "Encode it once: either `encodeURIComponent` or the parameter object of your HTTP library, not both.",
        "只编码一次：`encodeURIComponent` 与 HTTP 库的参数对象二者选一。",
    ),
)
HTML_ENTITY: Final = SigningWarning(
    "html_entity",
    Text(
        "The URL contains `&amp;` where the page's address has `&`.",
        "URL 中出现了 `&amp;`，而页面地址中应为 `&`。",
    ),
    Text(
        "Take the address from `location.href`, not from HTML that a template or filter has escaped.",
        "请从 `location.href` 取地址，而不是从被模板或过滤器转义过的 HTML 中取。",
    ),
)
CUT_AT_AMPERSAND: Final = SigningWarning(
    "cut_at_ampersand",
    Text("The URL seems to be cut off at its first `&`.", "URL 似乎在第一个 `&` 处被截断了。"),
    _SEND_HREF,
)
UNDEFINED: Final = SigningWarning(
    "undefined",
    Text(
        "The URL contains `undefined` or `null` as a path segment or a value.",
        "URL 的路径段或参数值为 `undefined` 或 `null`。",
    ),
    Text("A variable was empty when the page's address was put together.", "拼接页面地址时有变量为空。"),
)
SPACE: Final = SigningWarning(
    "space",
    Text(
        "The URL contains a blank, which no `location.href` does.",
        "URL 中有空格，而 `location.href` 中不会出现空格。",
    ),
    Text(
        "Probably a `+` was sent without being encoded. " + _SEND_HREF.en,
        "可能是 `+` 未经编码就被发送。" + _SEND_HREF.zh,
    ),
)
OTHER_SCHEME: Final = SigningWarning(
    "other_scheme",
    Text(
        "The URL's scheme is not the one the site is visited with.", "URL 的协议与网站实际使用的协议不一致。"
    ),
    Text(
        "http and https are different addresses to WeChat. " + _SEND_HREF.en,
        "对微信而言 http 与 https 是不同的地址。" + _SEND_HREF.zh,
    ),
)


@dataclass(frozen=True, slots=True)
class PageUrl:
    """A page's address, as sent and as signed.

    `url` is what is signed: `sent` cut at the first `#` (and decoded once where it was encoded twice). `scheme` and `host` are
    lower-case, for decisions only; an IPv6 host is compressed and in brackets. `port` is the port that a browser would use.
    """

    sent: str
    url: str
    scheme: str
    host: str
    port: int
    warnings: tuple[SigningWarning, ...] = ()


_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_SURROGATE = r"\ud800-\udfff"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\]"
# The host is decided on the raw string: urlsplit drops tabs and line breaks, and sees another host than a browser does
# behind a backslash. Python's `$` would let a line break through: always fullmatch.
_PAGE_URL: Final = re.compile(
    rf"([Hh][Tt][Tt][Pp][Ss]?)://({_HOST})(?::([1-9][0-9]{{0,4}}))?"
    rf"(?:[/?][^#{_CONTROL}{_SURROGATE}]*)?(#[^{_CONTROL}{_SURROGATE}]*)?"
)
_HOST_ONLY: Final = re.compile(_HOST)
_ABSOLUTE: Final = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://")
DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
MAX_PORT: Final = 65535
_MAX_HOST_CHARACTERS: Final = 253


_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_CONTROL_CHARACTER: Final = re.compile(rf"[{_CONTROL}]")
_SURROGATE_CHARACTER: Final = re.compile(rf"[{_SURROGATE}]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+-]*):(?![0-9])")
_AUTHORITY_END: Final = re.compile(r"[/?#]")

_MARKS: Final = ("&amp;", "undefined", "null", "code=0", " ")
_EMPTY_VARIABLE: Final = re.compile(
    r"\A[^/]+//[^/?]+(?:/[^/?]*)*?/(?:undefined|null)(?=[/?]|\Z)|[?&][^=&?]*=(?:undefined|null)(?=&|\Z)"
)
# WeChat's OAuth sends a page back with `?code=…&state=…`, always both, the code 32 characters from 0-9, a-z, A-Z.
_LONE_CODE: Final = re.compile(r"\A[^?&]*\?code=(?=[0-9A-Za-z]*[G-Zg-z])0[0-9A-Za-z]{31}\Z")
_UNENCODED_URL: Final = re.compile(r"(?:\A|&)url=[Hh][Tt][Tt][Pp][Ss]?://[^&?]*\?[^&]*&(.+)")
_NOT_THE_PAGES: Final = frozenset({"", "account", "_", "t", "timestamp", "v", "callback"})

_PORT_HINT: Final = Text("A port is a number from 1 to 65535.", "端口须为 1 到 65535 的数字。")
_HOST_HINT: Final = Text(
    "A host is ASCII letters, digits and dashes, as `location.host` has it; an international name in its `xn--` form.",
    "域名只能是 ASCII 字母、数字和短横线，与 `location.host` 一致；国际化域名请用 `xn--` 形式。",
)
_REFUSALS: Final = {
    "url_required": (
        Text("The parameter `url` is missing or empty.", "缺少参数 `url`，或其值为空。"),
        _SEND_HREF,
    ),
    "url_not_absolute": (Text("The URL is not absolute.", "URL 不是绝对地址。"), _SEND_HREF),
    "url_scheme": (
        Text("Only pages of http and https can be signed.", "只能为 http 和 https 页面签名。"),
        Text(
            "Open the page from a web server, not from a file or an app.",
            "请通过 Web 服务器打开页面，而不是本地文件或应用内地址。",
        ),
    ),
    "url_control_characters": (
        Text("The URL contains control characters or line breaks.", "URL 中有控制字符或换行。"),
        _SEND_HREF,
    ),
    "url_too_long": (
        Text(
            f"The URL is longer than {MAX_URL_CHARACTERS} characters.",
            f"URL 超过 {MAX_URL_CHARACTERS} 个字符。",
        ),
        Text("Shorten the page's query.", "请缩短页面的查询参数。"),
    ),
    "url_malformed": (Text("The URL is not valid Unicode.", "URL 不是有效的 Unicode 文本。"), _SEND_HREF),
    "url_backslash": (Text("The URL has a backslash in its host.", "URL 的域名部分有反斜杠。"), _SEND_HREF),
    "url_user_info": (
        Text("The URL has a user name before its host.", "URL 的域名前带有用户信息。"),
        Text("Leave out everything before the `@`.", "请去掉 `@` 及其之前的部分。"),
    ),
    "url_port": (Text("The URL's port is not valid.", "URL 的端口无效。"), _PORT_HINT),
    "url_host": (Text("The URL's host is not valid.", "URL 的域名无效。"), _HOST_HINT),
}


def parse_page_url(sent: str, *, site_scheme: str | None = None) -> PageUrl:
    """Decide what is signed for the URL that a page sent, and which host it has.

    Args:
        sent: the page's absolute http(s) URL, after the one decoding that every query parameter gets.
        site_scheme: `http` or `https` where the site's own scheme is known; the other one earns a warning.

    Raises:
        InvalidUrl: the URL cannot be signed; `code` says why.
    """
    page = _parsed(sent)
    if page is None:
        page = _parsed_after_decoding(sent)
    if page is None:
        raise _rejection(sent)
    if site_scheme is not None and site_scheme != page.scheme:
        return replace(page, warnings=(*page.warnings, OTHER_SCHEME))
    return page


def canonical_url(sent: str) -> str:
    """Return what is signed for a URL as sent. Raises InvalidUrl."""
    return parse_page_url(sent).url


def parse_host(host: str) -> str:
    """Return a host as `PageUrl.host` has it: lower-case, an IPv6 address compressed and in brackets.

    Raises:
        ValueError: it is no host: not ASCII, an empty label, a trailing dot, `127.1`, `0x7f.1` …
    """
    if len(host) > _MAX_HOST_CHARACTERS or not _HOST_ONLY.fullmatch(host):
        raise ValueError("not a host name")
    if host[0] == "[":
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    # A browser reads a host whose last label is a number as an IPv4 address, in any of its forms: 127.1, 0x7f000001 …
    if _NUMBER.fullmatch(host, host.rfind(".") + 1):
        return str(ipaddress.IPv4Address(host))
    return host.lower()


def _parsed(url: str) -> PageUrl | None:
    """Return the page of an absolute URL, None for anything that the grammar refuses."""
    found = _PAGE_URL.fullmatch(url)
    if found is None or len(url) > MAX_URL_CHARACTERS:
        return None
    scheme, host, port, fragment = found.groups()
    scheme = scheme.lower()
    port_number = int(port) if port else DEFAULT_PORTS[scheme]
    try:
        host = parse_host(host)
    except ValueError:
        return None
    if port_number > MAX_PORT:
        return None
    signed = url if fragment is None else url[: found.start(4)]
    return PageUrl(
        url, signed, scheme, host, port_number, _warnings(signed, has_fragment=fragment is not None)
    )


def _parsed_after_decoding(sent: str) -> PageUrl | None:
    if len(sent) > MAX_URL_CHARACTERS or "%" not in sent or _ABSOLUTE.match(sent):
        return None
    try:
        page = _parsed(unquote(sent, errors="strict"))
    except UnicodeError:
        return None
    return page and replace(page, sent=sent, warnings=(ENCODED_TWICE, *page.warnings))


def _warnings(url: str, *, has_fragment: bool) -> tuple[SigningWarning, ...]:
    # Nearly every URL passes these plain searches: they are a tenth of a regular expression's cost.
    if not has_fragment and not any(mark in url for mark in _MARKS):
        return ()
    found = (
        (FRAGMENT, has_fragment),
        (HTML_ENTITY, "&amp;" in url),
        (CUT_AT_AMPERSAND, _LONE_CODE.search(url)),
        (UNDEFINED, _EMPTY_VARIABLE.search(url)),
        (SPACE, " " in url),
    )
    return tuple(warning for warning, applies in found if applies)


def query_warning(raw_query: str) -> SigningWarning | None:
    """Return CUT_AT_AMPERSAND where a raw query shows that a page's URL was put into it without being encoded.

    That is certain when the value of `url` has a raw `://` and a raw `?`, and parameters follow that neither this service
    nor a cache breaker of the usual HTTP libraries uses: they were the page's own.
    """
    found = _UNENCODED_URL.search(raw_query)
    if found is None:
        return None
    strays = {parameter.partition("=")[0] for parameter in found[1].split("&")} - _NOT_THE_PAGES
    return CUT_AT_AMPERSAND if strays else None


def _rejection(sent: str) -> InvalidUrl:
    code = _fault(sent)
    return InvalidUrl(code, *_REFUSALS[code])


def _fault(sent: str) -> str:
    """Name what is wrong with a URL that the grammar refused."""
    if not sent.strip():
        return "url_required"
    if len(sent) > MAX_URL_CHARACTERS:
        return "url_too_long"
    text = sent if _ABSOLUTE.match(sent) else unquote(sent)
    if _CONTROL_CHARACTER.search(text):
        return "url_control_characters"
    return _fault_of_authority(text) if _ABSOLUTE.match(text) else _fault_of_scheme(text)


def _fault_of_scheme(text: str) -> str:
    scheme = _SCHEME.match(text)
    return "url_scheme" if scheme and scheme[1].lower() not in DEFAULT_PORTS else "url_not_absolute"


def _fault_of_authority(text: str) -> str:
    authority = _AUTHORITY_END.split(text.partition("://")[2], maxsplit=1)[0]
    if "\\" in authority:
        return "url_backslash"
    if "@" in authority:
        return "url_user_info"
    host, colon, _ = authority.rpartition(":")
    if _SURROGATE_CHARACTER.search(text):
        return "url_malformed"
    return "url_port" if colon and _HOST_ONLY.fullmatch(host) else "url_host"


def string_to_sign(ticket: str, noncestr: str, timestamp: int, url: str) -> str:
    """Return `string1`: raw values, fixed order, all keys lower-case. It holds the ticket: never print it."""
    return f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url}"


def signature(string1: str) -> str:
    """Return the lower-case hex SHA-1 of `string1` in UTF-8."""
    return hashlib.sha1(string1.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class JSConfig:
    """What `wx.config` needs. `timestamp` is in seconds since 1970; nothing in here is secret."""

    app_id: str
    timestamp: int
    nonce_str: str
    signature: str
    url: str
    js_api_list: tuple[str, ...]
    open_tag_list: tuple[str, ...]
    warnings: tuple[SigningWarning, ...] = ()

    def as_dict(self, language: str = "en") -> dict[str, object]:
        """Return the JSON form, which `wx.config` takes as it is; `warnings` stands in it only if there are any."""
        answer: dict[str, object] = {
            "appId": self.app_id,
            "timestamp": self.timestamp,
            "nonceStr": self.nonce_str,
            "signature": self.signature,
            "url": self.url,
            "jsApiList": list(self.js_api_list),
            "openTagList": list(self.open_tag_list),
        }
        if self.warnings:
            answer["warnings"] = [warning.as_dict(language) for warning in self.warnings]
        return answer


def sign(  # noqa: PLR0913 - keyword-only, and each of them goes into the answer
    ticket: str,
    *,
    app_id: str,
    page: PageUrl,
    noncestr: str,
    timestamp: int,
    js_api_list: Sequence[str] = JS_API_LIST,
    open_tag_list: Sequence[str] = OPEN_TAG_LIST,
) -> JSConfig:
    """Sign a page.

    Args:
        ticket: the account's jsapi_ticket. It must be the account's that `app_id` names.
        noncestr: up to 32 characters, fresh for each signature, from a cryptographic source.
        timestamp: seconds since 1970, not milliseconds.

    Raises:
        ValueError: the ticket is empty. Signing with nothing would bring "invalid signature" without a trace.
    """
    if not ticket:
        raise ValueError("a signature needs a ticket")
    return JSConfig(
        app_id,
        timestamp,
        noncestr,
        signature(string_to_sign(ticket, noncestr, timestamp, page.url)),
        page.url,
        tuple(js_api_list),
        tuple(open_tag_list),
        page.warnings,
    )
