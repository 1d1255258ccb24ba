"""The signature check of WeChat's client, written from the formula and from nothing of the signing side.

https://developers.weixin.qq.com/doc/service/guide/h5/jssdk : sha1 over
`jsapi_ticket=T&noncestr=N&timestamp=S&url=U`, where U is the page's URL without `#` and what follows.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wxsign.sandbox.causes import Asked, Cause, Known, cause_of
from wxsign.sandbox.checks import World, bound
from wxsign.sandbox.credentials import Account, Ticket
from wxsign.sandbox.wecom import agents_of

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
}


# The names of timestamp, nonce and signature as the service's answer has them.
SIGNED_AS_GIVEN = ("timestamp", "nonceStr", "signature")
_NONCE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Signed:
    """What wx.config was given, and the page's URL."""

    appid: str
    timestamp: str
    nonce: str
    signature: str = field(repr=False)
    url: str = field(repr=False)
    other_url: str = field(default="", repr=False)
    rule: str = "current"
    agent: str = ""

    @property
    def kind(self) -> str:
        """Which ticket it has to be made with."""
        return "agent_config" if self.agent else "jsapi"

    def made_with(self, ticket: Ticket) -> bool:
        """Whether this ticket gives the signature."""
        page = self.url.partition("#")[0]
        text = f"jsapi_ticket={ticket.value}&noncestr={self.nonce}&timestamp={self.timestamp}&url={page}"
        digest = hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(digest.encode(), self.signature.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Verdict:
    """`matched` says which ticket gave the signature; `cause` why none did that counts."""

    err_msg: str
    matched: str | None = None
    cause: Cause | None = None

    @property
    def ok(self) -> bool:
        return self.err_msg == "ok"

    def detail(self) -> dict[str, str]:
        """Why, for people, in both languages."""
        english, chinese = (self.cause.en, self.cause.zh) if self.cause else DETAILS[self.err_msg]
        return {"en": english, "zh": chinese}


def signed_from(fields: Mapping[str, object], names: tuple[str, str, str]) -> Signed:
    """Reads timestamp, nonce and signature under the caller's `names`; what is absent is empty."""

    def text(name: str) -> str:
        value = fields.get(name)
        return "" if value is None else str(value)

    timestamp, nonce, signature = names
    return Signed(
        text("appId") or text("corpid"),
        text(timestamp),
        text(nonce),
        text(signature),
        text("url"),
        text("otherUrl"),
        "landing" if text("rule") == "landing" else "current",
        text("agentid"),
    )


def verify(world: World, signed: Signed) -> Verdict:
    """WeChat's verdict at this moment, judged by the tickets' true lives."""
    if not all((signed.appid, signed.timestamp, signed.nonce, signed.signature, signed.url)):
        return Verdict("fail")
    # string1 is joined without escaping: with other characters than WeChat documents it could be split anew.
    if not (signed.timestamp.isdecimal() and _NONCE.fullmatch(signed.nonce)):
        return Verdict("fail")
    accounts = _accounts_of(world, signed)
    if not accounts:
        return Verdict("invalid appid")
    if not bound(signed.url, world.settings.verify_domains):
        return Verdict("invalid url domain")
    return _judge(world, accounts, signed)


def _accounts_of(world: World, signed: Signed) -> list[Account]:
    """The account that may have signed; where WeCom's `wx.config` names the corporation alone, any of its apps."""
    if signed.agent or signed.appid in world.accounts:
        wanted = f"{signed.appid}/{signed.agent}" if signed.agent else signed.appid
        return [world.accounts[wanted]] if wanted in world.accounts else []
    return agents_of(world, signed.appid)


def _judge(world: World, accounts: list[Account], signed: Signed) -> Verdict:
    for account in accounts:
        for line in account.tickets.values():
            line.roll(world.now, world.settings)
        for age, ticket in enumerate(account.tickets[signed.kind].newest_first()):
            if signed.made_with(ticket):
                return _by_ticket(world, account, signed, ticket, age)
    return Verdict("invalid signature", cause=_cause(world, accounts[0], signed))


def _cause(world: World, account: Account, signed: Signed) -> Cause:
    others = [other for other in world.accounts.values() if other is not account]
    asked = Asked(
        signed.timestamp,
        signed.nonce,
        signed.signature,
        signed.url,
        signed.other_url,
        signed.rule,
        signed.kind,
    )
    return cause_of(asked, [*_known(world, signed, account), *_known(world, signed, *others, foreign=True)])


def _known(world: World, signed: Signed, *accounts: Account, foreign: bool = False) -> Iterator[Known]:
    for account in accounts:
        for kind, line in account.tickets.items():
            for ticket in line.newest_first():
                stale = kind == signed.kind and not _counts(world, ticket)
                yield Known(ticket.value, account.appid, kind, foreign, stale)


def _counts(world: World, ticket: Ticket) -> bool:
    overlap_ends_at = ticket.ends_at + world.settings.ticket_overlap_seconds
    return ticket.alive(world.now) or (not ticket.killed and world.now < overlap_ends_at)


def _by_ticket(world: World, account: Account, signed: Signed, ticket: Ticket, age: int) -> Verdict:
    if ticket.alive(world.now):
        return Verdict("ok", "current")
    if _counts(world, ticket):
        return Verdict("ok", "previous")
    matched = "previous" if age == 1 else "expired"
    return Verdict("invalid signature", matched, _cause(world, account, signed))
