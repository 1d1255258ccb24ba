"""Why a signature was refused: what people do wrong is tried with the tickets that the sandbox knows.

The mistakes are those of Tencent's JS-SDK guide (appendix 5) and of what pages' authors report in its community.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

Words = tuple[str, str]

# What WeChat or a log-in adds to the address of a page, so that another one was signed.
ADDED = frozenset({"from", "isappinstalled", "code", "state", "nsukey"})
ENCODE_URI_SAFE = ";,/?:@&=+$-_.!~*'()#"
ENCODE_COMPONENT_SAFE = "-_.!~*'()"

EXACT: Words = ("", "")
OTHER: dict[str, Words] = {
    "landing": (
        "iPhones compare the URL that the page was opened at, which pushState and replaceState do not change",
        "iPhone 上比对的是页面打开时的地址，pushState 和 replaceState 不会改变它",
    ),
    "current": (
        "here the present URL is compared, not the one that the page was opened at",
        "这里比对的是当前地址，而不是页面打开时的地址",
    ),
}
TICKETS: dict[str, Words] = {
    "wx_card": (
        "it was made with the wx_card ticket instead of the jsapi ticket",
        "签名用的是 wx_card 的 ticket，而不是 jsapi 的 ticket",
    ),
    "agent_config": (
        "it was made with the app's ticket; wx.config needs the corporation's (get_jsapi_ticket)",
        "签名用的是应用的 ticket；wx.config 需要企业的 jsapi_ticket（get_jsapi_ticket）",
    ),
    "jsapi": (
        "it was made with the corporation's ticket; wx.agentConfig needs the app's (ticket/get, type=agent_config)",
        "签名用的是企业的 jsapi_ticket；wx.agentConfig 需要应用的 ticket（ticket/get，type=agent_config）",
    ),
    "stale": (
        "it was made with a ticket that is no longer valid; another one has been issued since",
        "签名用的 ticket 已失效，之后已签发了新的 ticket",
    ),
}
RECIPES: dict[str, Words] = {
    "camel_case": (
        "string1 was built with the key nonceStr; it has to be noncestr",
        "string1 中用了 nonceStr，应为全小写的 noncestr",
    ),
    "milliseconds": (
        "it was made with another timestamp than wx.config got: milliseconds in one place, seconds in the other",
        "签名与 wx.config 的 timestamp 单位不一致：一处为毫秒，另一处为秒",
    ),
    "upper_case": (
        "the signature is written in capitals; WeChat wants lower-case hex",
        "签名是大写的；微信要求小写十六进制",
    ),
}
UNKNOWN: Words = (
    "no ticket of this sandbox gives this signature for any usual form of the URL, so ticket, nonce or timestamp were others",
    "用沙箱里的任何 ticket 和 URL 的常见写法都算不出这个签名，说明签名时所用的 ticket、随机串或时间戳与 wx.config 里的不同",
)


@dataclass(frozen=True)
class Asked:
    """What wx.config was given, the URL that is compared, and the other of landing and current URL, if it is another."""

    timestamp: str
    nonce: str
    signature: str = field(repr=False)
    url: str = field(repr=False)
    other_url: str = field(default="", repr=False)
    rule: str = "current"
    kind: str = "jsapi"


@dataclass(frozen=True)
class Known:
    """A ticket to try: whose it is, of which kind, and whether it is another account's than wx.config names."""

    value: str = field(repr=False)
    appid: str
    kind: str = "jsapi"
    foreign: bool = False
    stale: bool = False


@dataclass(frozen=True)
class Cause:
    """Why, as an id and a sentence in two languages, with the URL that was signed where that is known."""

    id: str
    en: str
    zh: str
    signed_url: str = ""


def cause_of(asked: Asked, tickets: Iterable[Known]) -> Cause:
    """The first mistake that gives this very signature."""
    signature = asked.signature.lower()
    urls = dict(_urls(asked))
    for ticket in tickets:
        for url, (form, form_words) in urls.items():
            for recipe, text in _texts(asked, ticket.value, url):
                if _sha1(text) == signature:
                    return _found(asked, ticket, (form, form_words, url), recipe)
    return _told(asked, "unknown", [UNKNOWN], "")


def _found(asked: Asked, ticket: Known, signed: tuple[str, Words, str], recipe: str) -> Cause:
    form, form_words, url = signed
    causes: list[tuple[str, Words]] = []
    if form:
        causes.append((form, form_words))
    if ticket.foreign:
        words = (f"it was made with a ticket of {ticket.appid}", f"签名用的是 {ticket.appid} 的 ticket")
        causes.append(("other_account", words))
    if ticket.kind != asked.kind:
        causes.append((ticket.kind, TICKETS[ticket.kind]))
    if ticket.stale:
        causes.append(("stale", TICKETS["stale"]))
    if recipe:
        causes.append((recipe, RECIPES[recipe]))
    elif asked.signature != asked.signature.lower():
        causes.append(("upper_case", RECIPES["upper_case"]))
    ids = "+".join(name for name, _ in causes) or "unknown"
    return _told(asked, ids, [words for _, words in causes] or [UNKNOWN], url)


def _told(asked: Asked, name: str, reasons: list[Words], url: str) -> Cause:
    compared = asked.url.partition("#")[0]
    en, zh = "; ".join(words[0] for words in reasons), "；".join(words[1] for words in reasons)
    if url and url != compared:
        signed_en, signed_zh = (
            f"Signed was {url}, compared is {compared}",
            f"签名的是 {url}，比对的是 {compared}",
        )
    else:
        signed_en, signed_zh = f"The page's URL is {compared}", f"页面地址是 {compared}"
    return Cause(name, f"{signed_en}: {en}.", f"{signed_zh}：{zh}。", url)


def _texts(asked: Asked, ticket: str, url: str) -> Iterator[tuple[str, str]]:
    """Each recipe's name and its string1."""
    yield "", _string1(ticket, "noncestr", asked.nonce, asked.timestamp, url)
    yield "camel_case", _string1(ticket, "nonceStr", asked.nonce, asked.timestamp, url)
    if asked.timestamp.isdecimal():
        for timestamp in {asked.timestamp[:10], f"{asked.timestamp}000"} - {asked.timestamp}:
            yield "milliseconds", _string1(ticket, "noncestr", asked.nonce, timestamp, url)


def _string1(ticket: str, nonce_key: str, nonce: str, timestamp: str, url: str) -> str:
    return f"jsapi_ticket={ticket}&{nonce_key}={nonce}&timestamp={timestamp}&url={url}"


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _urls(asked: Asked) -> Iterator[tuple[str, tuple[str, Words]]]:
    """What may have been signed, each with the mistake's id and words; the nearest come last, for later ones win."""
    page = asked.url.partition("#")[0]
    forms = list(_forms(asked.url))
    if asked.other_url and asked.other_url.partition("#")[0] != page:
        forms.append((asked.other_url.partition("#")[0], (f"{asked.rule}_url", OTHER[asked.rule])))
    yield from reversed([(page, ("", EXACT)), *((url, what) for url, what in forms if url != page)])


def _forms(href: str) -> Iterator[tuple[str, tuple[str, Words]]]:
    url = href.partition("#")[0]
    yield href, ("fragment", ("everything from the # on has to be cut off", "要去掉 # 及其后面的部分"))
    yield from _encodings(url)
    yield url.partition("?")[0], ("query_cut", ("the query is missing", "缺少 ? 后面的查询参数"))
    words = (
        "it was cut at the first &, because it was not encoded when it was sent",
        "发送时未编码，在第一个 & 处被截断",
    )
    yield url.partition("&")[0], ("cut_at_ampersand", words)
    for gone in (ADDED, {"code", "state"}, {"from", "isappinstalled"}):
        words = ("parameters that WeChat adds to the address are missing", "缺少微信在地址上附加的参数")
        yield _without(url, gone), ("parameters_stripped", words)
    yield from _origins(url)


def _encodings(url: str) -> Iterator[tuple[str, tuple[str, Words]]]:
    yield unquote(url), ("decoded", ("it was decoded before it was signed", "签名前被解码了"))
    yield unquote(url.replace("+", " ")), ("decoded", ("a + was read as a blank", "+ 被当成了空格"))
    for safe in (ENCODE_URI_SAFE, ENCODE_COMPONENT_SAFE):
        words = ("it was encoded once more before it was signed", "签名前又被编码了一次")
        yield quote(url, safe, errors="replace"), ("encoded_again", words)
        yield quote(unquote(url), safe, errors="replace"), ("encoded_again", words)
    yield (
        url.replace("&", "&amp;"),
        ("html_entity", ("each & became &amp; in HTML", "& 在 HTML 中变成了 &amp;")),
    )


def _origins(url: str) -> Iterator[tuple[str, tuple[str, Words]]]:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    other = "http" if scheme == "https" else "https"
    words = (f"{other} is another address to WeChat", f"对微信来说 {other} 是另一个地址")
    yield f"{other}://{rest}", ("other_scheme", words)
    www = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    words = ("with and without www. are two addresses", "有没有 www. 是不同的地址")
    yield f"{scheme}://{www}{slash}{path}", ("other_host", words)
    bare = host.rpartition(":")[0] or host
    yield f"{scheme}://{bare}{slash}{path}", ("port", ("the port is missing", "缺少端口"))
    for changed in (url.rstrip("/"), f"{url}/", f"{scheme}://{host}"):
        words = ("with and without the slash at the end are two addresses", "末尾有没有斜杠是不同的地址")
        yield changed, ("slash", words)


def _without(url: str, names: Iterable[str]) -> str:
    """The URL without these parameters, the others untouched."""
    base, mark, query = url.partition("?")
    gone = set(names)
    kept = "&".join(part for part in query.split("&") if part.partition("=")[0] not in gone)
    return f"{base}{mark}{kept}" if kept else base
