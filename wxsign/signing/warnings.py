"""What looks wrong with a URL that was signed all the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wxsign.errors import Text
from wxsign.signing.browser import no_browser_address

if TYPE_CHECKING:
    from collections.abc import Collection


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


SEND_HREF: Final = Text(
    "Send `encodeURIComponent(location.href.split('#')[0])`.",
    "请发送 `encodeURIComponent(location.href.split('#')[0])`。",
)
FRAGMENT: Final = SigningWarning(
    "fragment",
    Text("The URL carried a fragment; it was cut off at the `#`.", "URL 带有锚点，已在 `#` 处截断。"),
    SEND_HREF,
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
    SEND_HREF,
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
        "Probably a `+` was sent without being encoded. " + SEND_HREF.en,
        "可能是 `+` 未经编码就被发送。" + SEND_HREF.zh,
    ),
)
NESTED_URL: Final = SigningWarning(
    "nested_url",
    Text(
        "The URL's query holds another address, not encoded, that this account may not sign.",
        "URL 的查询参数中有另一个未编码的地址，而该账号不能为它签名。",
    ),
    Text(
        'Percent-encode the inner address: `url=https%3A%2F%2F…`. With `nested_urls = "refuse"` such pages are not signed.',
        '请对内层地址做百分号编码：`url=https%3A%2F%2F…`。设置 `nested_urls = "refuse"` 后，此类页面不会被签名。',
    ),
)
OTHER_SCHEME: Final = SigningWarning(
    "other_scheme",
    Text(
        "The URL's scheme is not the one the site is visited with.", "URL 的协议与网站实际使用的协议不一致。"
    ),
    Text(
        "http and https are different addresses to WeChat. " + SEND_HREF.en,
        "对微信而言 http 与 https 是不同的地址。" + SEND_HREF.zh,
    ),
)

NOT_ENCODED: Final = SigningWarning(
    "not_encoded",
    Text(
        "The URL was sent without being encoded, and decoding has changed the escapes in it.",
        "URL 未经编码就被发送，其中的转义字符已在解码时被改变。",
    ),
    SEND_HREF,
)
ENCODED_AGAIN: Final = SigningWarning(
    "encoded_again",
    Text(
        "The URL contains text that was percent-encoded twice (`%25E4…`).",
        "URL 中有被编码了两次的文字（`%25E4…`）。",
    ),
    Text(
        "If the page's address has it once, encode only once: either `encodeURIComponent` or the parameter object of your HTTP "
        "library, not both.",
        "如果页面地址中只编码了一次，请只编码一次：`encodeURIComponent` 与 HTTP 库的参数对象二者选一。",
    ),
)
IGNORED_PARAMETER: Final = SigningWarning(
    "ignored_parameter",
    Text(
        "A nonce or timestamp was sent; both are made here, anew for each signature.",
        "请求中带有随机串或时间戳；二者由本服务为每次签名重新生成。",
    ),
    Text(
        "Hand the answer to `wx.config` as it is, with its own `nonceStr` and `timestamp`.",
        "请把应答原样交给 `wx.config`，使用其中的 `nonceStr` 和 `timestamp`。",
    ),
)


def not_a_browser_address(address: str) -> SigningWarning:
    """The warning for a URL that no `location.href` can be; `address` is what it would be."""
    return SigningWarning(
        "not_a_browser_address",
        Text(
            f"No browser has this address: its `location.href` would be `{address}`.",
            f"浏览器中不会出现这个地址：`location.href` 应为 `{address}`。",
        ),
        SEND_HREF,
    )


_EMPTY_VARIABLE: Final = re.compile(
    r"\A[^/]+//[^/?]+(?:/[^/?]*)*?/(?:undefined|null)(?=[/?]|\Z)|[?&][^=&?]*=(?:undefined|null)(?=&|\Z)"
)
# WeChat's OAuth sends a page back with `?code=…&state=…`, always both, the code 32 characters from 0-9, a-z, A-Z.
_LONE_CODE: Final = re.compile(r"\A[^?&]*\?code=(?=[0-9A-Za-z]*[G-Zg-z])0[0-9A-Za-z]{31}\Z")
_UNENCODED_URL: Final = re.compile(r"(?:\A|&)url=([Hh][Tt][Tt][Pp][Ss]?://[^&]*)(?:&(.+))?")
# `%25`, `%26`, `%2B`, `%23`, `%3D` and `%3F` are what an encoder makes that leaves `:` and `/` alone.
_OWN_ESCAPE: Final = re.compile(r"%(?!25|26|2[Bb3]|3[DdFf])[0-9A-Fa-f]{2}")
_ESCAPED_ESCAPES: Final = re.compile(r"(?:%25[0-9A-Fa-f]{2})+")
_OURS: Final = frozenset({"noncestr", "nonce_str", "timestamp"})
_NOT_THE_PAGES: Final = frozenset({"", "account", "landing_url", "_", "t", "timestamp", "v", "callback"})


def warnings_of(url: str, *, has_fragment: bool) -> tuple[SigningWarning, ...]:
    """What looks wrong with a URL that will be signed."""
    # Nearly every URL passes these plain searches: they are a tenth of a regular expression's cost.
    odd = (
        "&amp;" in url or "undefined" in url or "null" in url or "code=0" in url or " " in url or "%25" in url
    )
    address = no_browser_address(url)
    if not has_fragment and not odd and address is None:
        return ()
    found = (
        (FRAGMENT, has_fragment),
        (HTML_ENTITY, "&amp;" in url),
        (CUT_AT_AMPERSAND, _LONE_CODE.search(url)),
        (UNDEFINED, _EMPTY_VARIABLE.search(url)),
        (SPACE, " " in url),
        (ENCODED_AGAIN, any(_is_text(run[0]) for run in _ESCAPED_ESCAPES.finditer(url))),
    )
    told = tuple(warning for warning, applies in found if applies)
    return told if address is None else (*told, not_a_browser_address(address))


def _is_text(escapes: str) -> bool:
    """Whether `%25E4%25B8%25AD` is UTF-8 behind its two encodings; ASCII is left out, for addresses inside a query have it."""
    try:
        return not bytes.fromhex(escapes.replace("%25", "")).decode().isascii()
    except UnicodeError:
        return False


def query_warnings(raw_query: str) -> tuple[SigningWarning, ...]:
    """What a raw query, or form, shows of a page's URL that was put into it without being encoded, and of what is passed over.

    It was cut at an `&` where its value has a raw `://` and a raw `?`, and parameters follow that neither this service nor a
    cache breaker of the usual HTTP libraries uses: they were the page's own. Escapes in it that no encoder makes of a
    browser's address, for it would have encoded their `%`, were the page's own too.
    """
    told = []
    found = "://" in raw_query and _UNENCODED_URL.search(raw_query)
    if found:
        strays = {parameter.partition("=")[0] for parameter in (found[2] or "").split("&")} - _NOT_THE_PAGES
        if "?" in found[1] and strays:
            told.append(CUT_AT_AMPERSAND)
        if _OWN_ESCAPE.search(found[1]):
            told.append(NOT_ENCODED)
    if "noncestr=" in raw_query.lower() or "timestamp=" in raw_query:
        names = {parameter.partition("=")[0] for parameter in raw_query.split("&")}
        told += ignored_parameters(names)
    return tuple(told)


def ignored_parameters(names: Collection[str]) -> list[SigningWarning]:
    """What to say of parameters that are made here and not taken from a caller."""
    return [IGNORED_PARAMETER] if any(name.lower() in _OURS for name in names) else []
