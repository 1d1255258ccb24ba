"""What can be said without computing a signature: of WeChat's words, of addresses, of the platform."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxsign.diagnosis.findings import Certainty, Finding, Page
from wxsign.diagnosis.forms import forms_of, without_fragment
from wxsign.diagnosis.recipes import MILLISECONDS_DIGITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_WORDS: Final = (
    (re.compile(r"invalid[ _]url[ _]domain|63002", re.IGNORECASE), "WXS114", Certainty.CERTAIN),
    (
        re.compile(
            r"offline[ _]verifying|permission[ _](?:value|denied)|access[ _](?:control|denied)|no permission to execute",
            re.IGNORECASE,
        ),
        "WXS116",
        Certainty.LIKELY,
    ),
)
_APPLE: Final = re.compile(r"iphone|ipad|ipod", re.IGNORECASE)
_SHAPE: Final = re.compile(r"[0-9A-Fa-f]{40}")
_BOUND_PORTS: Final = {None, 80, 443}


def from_words(page: Page) -> Iterator[Finding]:
    """What WeChat itself says."""
    for pattern, cause, certainty in _WORDS:
        if pattern.search(page.words):
            yield Finding(cause, certainty, {"errMsg": page.words[:200]})


def where_right(page: Page) -> Iterator[Finding]:
    """What may be wrong although the signature is the page's own."""
    yield from _of_host(page, Certainty.POSSIBLE)
    if not page.is_refused:
        return
    if "openharmony" in page.user_agent.lower():
        yield Finding("WXS117", Certainty.LIKELY, {"platform": "HarmonyOS"})
    landing = without_fragment(page.landing_url)
    if landing and landing != without_fragment(page.url):
        yield Finding("WXS102", Certainty.LIKELY, {"landing_url": landing[:512]})
    elif _APPLE.search(page.user_agent):
        yield Finding("WXS102", Certainty.POSSIBLE, {"platform": "iOS"})
    yield Finding("WXS108", Certainty.POSSIBLE, {"ticket": "WeChat may have replaced it a moment ago"})


def from_page(page: Page, signing: Collection[str], known: Collection[str]) -> Iterator[Finding]:
    """What the addresses and the shape of the values say, where the signature could not be found out."""
    yield from _of_signature(page)
    yield from _of_urls(page)
    if page.app_id and signing and page.app_id not in signing:
        certainty = Certainty.LIKELY if page.app_id not in known else Certainty.POSSIBLE
        yield Finding("WXS110", certainty, {"appId": page.app_id[:64]})
    yield from _of_host(page, Certainty.LIKELY)
    if page.url and not signing:
        yield Finding("WXS114", Certainty.POSSIBLE, {"host": urlsplit(page.url).netloc[:255]})
    if page.signature and not page.missing:
        for cause in ("WXS112", "WXS109", "WXS108"):
            yield Finding(cause, Certainty.POSSIBLE, {})


def _of_signature(page: Page) -> Iterator[Finding]:
    if page.signature and not _SHAPE.fullmatch(page.signature):
        yield Finding(
            "WXS113", Certainty.CERTAIN, {"signature": f"{len(page.signature)} characters, not 40 hex digits"}
        )
    if page.timestamp.isdecimal() and len(page.timestamp) == MILLISECONDS_DIGITS:
        yield Finding("WXS115", Certainty.LIKELY, {"timestamp": page.timestamp})


def _of_urls(page: Page) -> Iterator[Finding]:
    url, signed, landing = without_fragment(page.url), page.signed_url, without_fragment(page.landing_url)
    if not url or not signed or signed == url:
        return
    # What was said to be signed; where a signature is at hand that does not come of it, it is less than sure.
    certainty = Certainty.LIKELY if page.signature else Certainty.CERTAIN
    if signed == landing:
        if not _APPLE.search(page.user_agent):
            yield Finding("WXS102", Certainty.LIKELY, {"signed_url": signed[:512]})
        return
    form = forms_of(page.url).get(signed)
    shown = {"signed_url": signed[:512]}
    yield (
        Finding(form.cause, certainty, shown | {"form": form.name})
        if form
        else Finding("WXS101", certainty, shown)
    )


def _of_host(page: Page, certainty: Certainty) -> Iterator[Finding]:
    """A host that no account can register."""
    try:
        parts = urlsplit(page.url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return
    if parts.scheme == "file" or (host and (_is_local(host) or port not in _BOUND_PORTS)):
        yield Finding("WXS114", certainty, {"host": parts.netloc[:255] or parts.scheme})


def _is_local(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local")) or "." not in host
    return True
