"""string1, its SHA-1, and what `wx.config` needs.

Source of the algorithm: Tencent's JS-SDK guide, appendix 1 (developers.weixin.qq.com/doc/service/guide/h5/jssdk).
"""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from wxsign.signing.agent import AgentConfig
from wxsign.signing.interfaces import JS_API_LIST, OPEN_TAG_LIST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxsign.signing.urls import PageUrl
    from wxsign.signing.warnings import SigningWarning


def string_to_sign(ticket: str, noncestr: str, timestamp: int, url: str) -> str:
    """Return `string1`: raw values, fixed order, all keys lower-case. It holds the ticket: never print it."""
    return f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url}"


def signature(string1: str) -> str:
    """Return the lower-case hex SHA-1 of `string1` in UTF-8."""
    return sha1(string1.encode(), usedforsecurity=False).hexdigest()


class Landing(NamedTuple):
    """The URL that a page was opened at, signed with the nonce and timestamp of its present one.

    Pages in WeChat on iOS are compared with it, on Android with the present one (by consensus of those who tried, not by
    Tencent's word).
    """

    url: str
    signature: str


class JSConfig(NamedTuple):
    """What `wx.config` needs. `timestamp` is in seconds since 1970; nothing in here is secret.

    `landing` is there where a landing URL was given that is another one than `url`; `agent` where an app of WeCom was named.
    """

    app_id: str
    timestamp: int
    nonce_str: str
    signature: str
    url: str
    js_api_list: tuple[str, ...]
    open_tag_list: tuple[str, ...]
    warnings: tuple[SigningWarning, ...] = ()
    landing: Landing | None = None
    agent: AgentConfig | None = None

    def as_dict(self, language: str = "en") -> dict[str, object]:
        """Return the JSON form, which `wx.config` takes as it is; what stands below `openTagList` only if there is any."""
        answer: dict[str, object] = {
            "appId": self.app_id,
            "timestamp": self.timestamp,
            "nonceStr": self.nonce_str,
            "signature": self.signature,
            "url": self.url,
            "jsApiList": list(self.js_api_list),
            "openTagList": list(self.open_tag_list),
        }
        if self.landing is not None:
            answer["landing"] = self.landing._asdict()
        if self.agent is not None:
            answer["agentConfig"] = self.agent.as_dict()
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
    landing: PageUrl | None = None,
    js_api_list: Sequence[str] = JS_API_LIST,
    open_tag_list: Sequence[str] = OPEN_TAG_LIST,
) -> JSConfig:
    """Sign a page.

    Args:
        ticket: the account's jsapi_ticket. It must be the account's that `app_id` names.
        noncestr: up to 32 characters, fresh for each signature, from a cryptographic source.
        timestamp: seconds since 1970, not milliseconds.
        landing: the page at the URL that it was opened at, if that is known.

    Raises:
        ValueError: the ticket is empty. Signing with nothing would bring "invalid signature" without a trace.
    """
    if not ticket:
        raise ValueError("a signature needs a ticket")

    def signed(url: str) -> str:
        return signature(string_to_sign(ticket, noncestr, timestamp, url))

    return JSConfig(
        app_id,
        timestamp,
        noncestr,
        signed(page.url),
        page.url,
        tuple(js_api_list),
        tuple(open_tag_list),
        page.warnings,
        Landing(landing.url, signed(landing.url)) if landing and landing.url != page.url else None,
    )


def sign_agent(  # noqa: PLR0913 - keyword-only, and each of them goes into the answer
    ticket: str,
    *,
    corp_id: str,
    agent_id: int,
    url: str,
    noncestr: str,
    timestamp: int,
    js_api_list: Sequence[str],
) -> AgentConfig:
    """Sign a page for `wx.agentConfig`. `ticket` is the app's own (`agent_config`). Raises ValueError if it is empty."""
    if not ticket:
        raise ValueError("a signature needs a ticket")
    signed = signature(string_to_sign(ticket, noncestr, timestamp, url))
    return AgentConfig(corp_id, agent_id, timestamp, noncestr, signed, url, tuple(js_api_list))
