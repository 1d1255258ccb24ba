"""The signature check of WeChat's client, written import re
from the formula and from nothing of the signing side.

https://developers.weixin.qq.com/doc/service/guide/h5/jssdk : sha1 over
`jsapi_ticket=T&noncestr=N&timestamp=S&url=U`, where U is the page's URL without `#` and what follows.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from wxsign.sandbox.api import World
from wxsign.sandbox.credentials import Account, Ticket

DETAILS = {
    "ok": ("The signature is right.", "签名正确。"),
    "fail": (
        "A parameter of wx.config is missing: appId, timestamp, nonceStr or signature.",
        "wx.config 缺少参数：appId、timestamp、nonceStr 或 signature。",
    ),
    "invalid appid": ("This sandbox has no such appId.", "沙箱里没有这个 appId。"),
    "invalid url domain": (
        "The page's host is not bound to this appId (setting verify_domains).",
        "页面域名未绑定到该 appId（设置项 verify_domains）。",
    ),
    "invalid signature": (
        "No jsapi_ticket of this appId gives this signature for this URL, timestamp and nonceStr.",
        "用该 appId 的任何 jsapi_ticket 都算不出这个签名，请检查 URL、timestamp、nonceStr。",
    ),
    "stale": (
        "It was signed with a jsapi_ticket that is no longer valid.",
        "签名使用了已失效的 jsapi_ticket。",
    ),
    "wx_card": (
        "It was signed with the wx_card ticket instead of the jsapi ticket.",
        "签名用的是 wx_card 的 ticket，而不是 jsapi 的 ticket。",
    ),
}


_NONCE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Signed:
    """What wx.config was given, and the page's URL."""

    appid: str
    timestamp: str
    nonce: str
    signature: str = field(repr=False)
    url: str = field(repr=False)

    def made_with(self, ticket: Ticket) -> bool:
        """Whether this ticket gives the signature."""
        page = self.url.partition("#")[0]
        text = f"jsapi_ticket={ticket.value}&noncestr={self.nonce}&timestamp={self.timestamp}&url={page}"
        digest = hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(digest.encode(), self.signature.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Verdict:
    """`matched` says which ticket gave the signature; `reason` is a key of DETAILS."""

    err_msg: str
    matched: str | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.err_msg == "ok"

    def detail(self) -> dict[str, str]:
        """Why, for people, in both languages."""
        english, chinese = DETAILS[self.reason or self.err_msg]
        return {"en": english, "zh": chinese}


def signed_from(fields: Mapping[str, object], names: tuple[str, str, str]) -> Signed:
    """Reads timestamp, nonce and signature under the caller's `names`; what is absent is empty."""

    def text(name: str) -> str:
        value = fields.get(name)
        return "" if value is None else str(value)

    timestamp, nonce, signature = names
    return Signed(text("appId"), text(timestamp), text(nonce), text(signature), text("url"))


def verify(world: World, signed: Signed) -> Verdict:
    """WeChat's verdict at this moment, judged by the tickets' true lives."""
    if not all((signed.appid, signed.timestamp, signed.nonce, signed.signature, signed.url)):
        return Verdict("fail")
    # string1 is joined without escaping: with other characters than WeChat documents it could be split anew.
    if not (signed.timestamp.isdecimal() and _NONCE.fullmatch(signed.nonce)):
        return Verdict("fail")
    account = world.accounts.get(signed.appid)
    if account is None:
        return Verdict("invalid appid")
    if not _bound(signed.url, world.settings.verify_domains):
        return Verdict("invalid url domain")
    return _judge(world, account, signed)


def _judge(world: World, account: Account, signed: Signed) -> Verdict:
    for line in account.tickets.values():
        line.roll(world.now, world.settings)
    tickets = account.tickets["jsapi"].newest_first()
    for age, ticket in enumerate(tickets):
        if signed.made_with(ticket):
            return _by_ticket(world, ticket, age)
    if any(signed.made_with(ticket) for ticket in account.tickets["wx_card"].newest_first()):
        return Verdict("invalid signature", reason="wx_card")
    return Verdict("invalid signature")


def _by_ticket(world: World, ticket: Ticket, age: int) -> Verdict:
    if ticket.alive(world.now):
        return Verdict("ok", "current")
    overlap_ends_at = ticket.ends_at + world.settings.ticket_overlap_seconds
    if not ticket.killed and world.now < overlap_ends_at:
        return Verdict("ok", "previous")
    return Verdict("invalid signature", "previous" if age == 1 else "expired", "stale")


def _bound(url: str, domains: tuple[str, ...] | None) -> bool:
    """A bound domain covers its sub-domains."""
    if domains is None:
        return True
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return any(host == domain or host.endswith(f".{domain}") for domain in map(str.lower, domains))
