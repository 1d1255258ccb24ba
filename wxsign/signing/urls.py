"""Which URL is signed for what a page sent, and which host it has.

WeChat signs `location.href` up to the `#` and compares byte for byte. So nothing is normalised here: no slash is added, no
case changed, nothing re-quoted.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

from wxsign.errors import InvalidUrl, Text
from wxsign.signing.warnings import ENCODED_TWICE, OTHER_SCHEME, SEND_HREF, SigningWarning, warnings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_URL_CHARACTERS: Final = 8192


class PageUrl(NamedTuple):
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
_ORIGIN: Final = re.compile(rf"([Hh][Tt][Tt][Pp][Ss]?)://({_HOST})(?::([1-9][0-9]{{0,4}}))?")
_MAX_ORIGIN_CHARACTERS: Final = len("https://:65535") + 253
_UNSENDABLE: Final = re.compile(rf"[{_CONTROL}{_SURROGATE}]")
_HOST_ONLY: Final = re.compile(_HOST)
_NESTED: Final = "&url="
# string1 is joined without any escaping: what follows such an end of a URL would be another page's, with a noncestr that
# holds the beginning (`N&timestamp=…&url=<this URL up to here>`), under the very signature made for this one.
_SECOND_STRING1: Final = re.compile(r"&timestamp=.*&url=[Hh][Tt][Tt][Pp][Ss]?://", re.DOTALL)
_ABSOLUTE: Final = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://")
DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
MAX_PORT: Final = 65535
_MAX_HOST_CHARACTERS: Final = 253


_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_CONTROL_CHARACTER: Final = re.compile(rf"[{_CONTROL}]")
_SURROGATE_CHARACTER: Final = re.compile(rf"[{_SURROGATE}]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+-]*):(?![0-9])")
_AUTHORITY_END: Final = re.compile(r"[/?#]")

_PORT_HINT: Final = Text("A port is a number from 1 to 65535.", "端口须为 1 到 65535 的数字。")
_HOST_HINT: Final = Text(
    "A host is ASCII letters, digits and dashes, as `location.host` has it; an international name in its `xn--` form.",
    "域名只能是 ASCII 字母、数字和短横线，与 `location.host` 一致；国际化域名请用 `xn--` 形式。",
)
_REFUSALS: Final = {
    "url_required": (
        Text("The parameter `url` is missing or empty.", "缺少参数 `url`，或其值为空。"),
        SEND_HREF,
    ),
    "url_not_absolute": (Text("The URL is not absolute.", "URL 不是绝对地址。"), SEND_HREF),
    "url_scheme": (
        Text("Only pages of http and https can be signed.", "只能为 http 和 https 页面签名。"),
        Text(
            "Open the page from a web server, not from a file or an app.",
            "请通过 Web 服务器打开页面，而不是本地文件或应用内地址。",
        ),
    ),
    "url_control_characters": (
        Text("The URL contains control characters or line breaks.", "URL 中有控制字符或换行。"),
        SEND_HREF,
    ),
    "url_too_long": (
        Text(
            f"The URL is longer than {MAX_URL_CHARACTERS} characters.",
            f"URL 超过 {MAX_URL_CHARACTERS} 个字符。",
        ),
        Text("Shorten the page's query.", "请缩短页面的查询参数。"),
    ),
    "url_malformed": (Text("The URL is not valid Unicode.", "URL 不是有效的 Unicode 文本。"), SEND_HREF),
    "url_backslash": (Text("The URL has a backslash in its host.", "URL 的域名部分有反斜杠。"), SEND_HREF),
    "url_user_info": (
        Text("The URL has a user name before its host.", "URL 的域名前带有用户信息。"),
        Text("Leave out everything before the `@`.", "请去掉 `@` 及其之前的部分。"),
    ),
    "url_port": (Text("The URL's port is not valid.", "URL 的端口无效。"), _PORT_HINT),
    "url_ambiguous": (
        Text(
            "The URL's query could be read as the end of another page's signature.",
            "URL 的查询参数可以被当作另一个页面签名串的结尾。",
        ),
        Text(
            "Percent-encode the address inside the query: `url=https%3A%2F%2F…`.",
            "请对查询参数中的地址做百分号编码：`url=https%3A%2F%2F…`。",
        ),
    ),
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
    if "&timestamp=" in page.url and _SECOND_STRING1.search(page.url):
        raise InvalidUrl("url_ambiguous", *_REFUSALS["url_ambiguous"])
    if site_scheme is not None and site_scheme != page.scheme:
        return page._replace(warnings=(*page.warnings, OTHER_SCHEME))
    return page


def nested_pages(page: PageUrl) -> Iterator[PageUrl]:
    """The addresses that stand bare behind `&url=` in a page's own: string1 could be split anew in front of each."""
    rest = page.url
    while _NESTED in rest:
        rest = rest.partition(_NESTED)[2]
        if (inner := _parsed(rest)) is not None:
            yield inner


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


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int


@lru_cache(maxsize=1024)
def _origin(text: str) -> _Origin | None:
    """What `https://m.example.com:8443` says, None for what is no origin; decided once, for many pages have it."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host, port = found.groups()
    scheme = scheme.lower()
    port_number = int(port) if port else DEFAULT_PORTS[scheme]
    try:
        host = parse_host(host)
    except ValueError:
        return None
    return _Origin(scheme, host, port_number) if port_number <= MAX_PORT else None


def _origin_text(url: str) -> str:
    """What stands before the first `/`, `?` or `#` behind the `://`."""
    end = url.find("/", url.find("://") + 3)
    text = url if end < 0 else url[:end]
    return text.partition("?")[0].partition("#")[0]


def _parsed(url: str) -> PageUrl | None:
    """Return the page of an absolute URL, None for anything that the grammar refuses."""
    text = _origin_text(url)
    if len(url) > MAX_URL_CHARACTERS or len(text) > _MAX_ORIGIN_CHARACTERS:
        return None
    origin = _origin(text)
    # The plain searches are a tenth of the regular expression's cost, and enough for nearly every URL.
    if origin is None or not ((url.isascii() and url.isprintable()) or _UNSENDABLE.search(url) is None):
        return None
    fragment = url.find("#")
    signed = url if fragment < 0 else url[:fragment]
    return PageUrl(url, signed, *origin, warnings_of(signed, has_fragment=fragment >= 0))


def _parsed_after_decoding(sent: str) -> PageUrl | None:
    if len(sent) > MAX_URL_CHARACTERS or "%" not in sent or _ABSOLUTE.match(sent):
        return None
    try:
        page = _parsed(unquote(sent, errors="strict"))
    except UnicodeError:
        return None
    return page and page._replace(sent=sent, warnings=(ENCODED_TWICE, *page.warnings))


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
