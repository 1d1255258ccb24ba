"""The signature of a card as WeChat's client checks it: the values sorted, joined, hashed. JS-SDK guide, appendix 4."""

import hashlib
from collections.abc import Sequence

from wxsign.sandbox.checks import World, same
from wxsign.sandbox.verification import Verdict

REASONS = {
    "jsapi": (
        "It was made with the jsapi ticket; cards have a ticket of their own (type=wx_card).",
        "签名用的是 jsapi 的 ticket；卡券要用 type=wx_card 的 ticket。",
    ),
    "unknown": (
        "No wx_card ticket gives this signature: the values have to be sorted, joined without anything between, and hashed.",
        "没有任何 wx_card ticket 能得到这个签名：各个值须排序、直接拼接后再做 SHA-1。",
    ),
}


def verify_card(
    world: World, appid: str, values: Sequence[str], signature: str
) -> tuple[Verdict, tuple[str, str]]:
    """The verdict, and why it is so, in English and Chinese."""
    account = world.accounts.get(appid)
    if account is None:
        return Verdict("invalid appid"), ("This sandbox has no such appId.", "沙箱里没有这个 appId。")
    for kind in ("wx_card", "jsapi"):
        for ticket in account.tickets[kind].newest_first() if kind in account.tickets else ():
            if same(signature, _signature([ticket.value, *values])):
                if kind == "wx_card" and ticket.alive(world.now):
                    return Verdict("ok", "current"), ("The signature is right.", "签名正确。")
                return Verdict("invalid signature"), REASONS["jsapi" if kind == "jsapi" else "unknown"]
    return Verdict("invalid signature"), REASONS["unknown"]


def _signature(values: Sequence[str]) -> str:
    joined = b"".join(sorted(value.encode("utf-8", "surrogatepass") for value in values if value))
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()
