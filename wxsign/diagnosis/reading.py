"""From pasted text to a page: a `wx.config` block, an address, WeChat's words, in any mixture."""

from __future__ import annotations

import re
from typing import Final

from wxsign.diagnosis.findings import CONFIG_FIELDS, Page

MAX_CHARACTERS: Final = 16_384
# As wx.config names them, and as people write them; a quoted or a bare value behind a colon or an equals sign. WeChat's
# realAuthUrl may be a list: its first entry counts.
_VALUE: Final = r"""["']?\s*[:=]\s*\[?\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s,;}"'&]+))"""
_FIELDS: Final = {
    name: re.compile(rf"""(?<![A-Za-z0-9_])(?:{names}){_VALUE}""")
    for name, names in {
        "app_id": "appId|appid|app_id|corpId",
        "timestamp": "timestamp|timeStamp",
        "nonce": "nonceStr|noncestr|nonce_str",
        "signature": "signature",
        "landing_url": "landing_url|landingUrl",
        "signed_url": "url|signed_url|realAuthUrl",
        "url": "page|href|location.href",
        "user_agent": "userAgent|user_agent",
    }.items()
}
_ADDRESS: Final = re.compile(r"(?<![A-Za-z])https?://[^\s\"'<>]+")
_WORDS: Final = re.compile(
    r"(?:config|preVerifyJSAPI|[A-Za-z]{3,40}):\s?(?:fail|invalid|permission|access|require|the permission)[^\"'\n}]*|invalid (?:signature|url domain)[^\"'\n}]*"
)
_AGENT: Final = re.compile(r"Mozilla/5\.0[^\n\"']*")
_IS_CONFIG: Final = re.compile(r"wx\.config|jsApiList|nonceStr|noncestr")


def page_in(text: str) -> Page:
    """What a pasted text says of a page. It may be cut at 16,384 characters; nothing in it is ever run."""
    text = text[:MAX_CHARACTERS]
    found = {name: _value(pattern, text) for name, pattern in _FIELDS.items()}
    words = _WORDS.search(text)
    agent = _AGENT.search(text)
    claimed = {found["signed_url"], found["landing_url"], found["url"]}
    loose = [address for address in _ADDRESS.findall(text) if address.rstrip(",;") not in claimed]
    url = found["url"] or (loose[0].rstrip(",;") if loose else "")
    missing: tuple[str, ...] = ()
    if _IS_CONFIG.search(text) and sum(bool(found[name]) for name in CONFIG_FIELDS.values()) > 1:
        missing = tuple(
            shown
            for shown, name in CONFIG_FIELDS.items()
            if not found[name] or found[name] in {"undefined", "null", "NaN"}
        )
    return Page(
        url=url,
        landing_url=found["landing_url"],
        signed_url=found["signed_url"],
        app_id=found["app_id"],
        timestamp=found["timestamp"],
        nonce=found["nonce"],
        signature=found["signature"],
        words=words[0].partition(" http")[0].strip() if words else "",
        user_agent=found["user_agent"] or (agent[0] if agent else ""),
        missing=missing,
    )


def _value(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return next((group for group in found.groups() if group is not None), "") if found else ""
