"""What address a browser would have for a URL: no page can be at one that no `location.href` can be.

Source of the rules: the URL standard of WHATWG, url.spec.whatwg.org, sections 1.3 and 4.4, for http and https.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_URL: Final = re.compile(r"([A-Za-z]+)://([^/?#]*)([^?#]*)(\?[^#]*)?", re.DOTALL)
# What both of them leave as it is, besides letters and digits; everything that is not ASCII is encoded.
_PATH_SAFE: Final = "!$%&'()*+,-./:;=@[\\]_|~^"
_QUERY_SAFE: Final = "!$%&()*+,-./:;=?@[\\]_|~^`{}"
# A character that a browser never leaves in an address, and what else only such an address has.
_SUSPECT: Final = re.compile(r'["<> `{}\\]|[^\x21-\x7e]|/\.')


def browser_address(url: str) -> str:
    """Return what `location.href` says, without its fragment, of a page that was opened at this http(s) URL."""
    found = _URL.match(url)
    if found is None:
        return url
    scheme, authority, path, query = found[1].lower(), found[2].lower(), found[3], found[4] or ""
    authority = authority.removesuffix(f":{DEFAULT_PORTS.get(scheme, '')}")
    segments = _without_dots(path.replace("\\", "/").split("/")[1:]) if path else [""]
    address = f"{scheme}://{authority}/" + quote("/".join(segments), safe=_PATH_SAFE)
    return address + quote(query, safe=_QUERY_SAFE)


def no_browser_address(url: str) -> str | None:
    """Return the browser's form of a URL that is none, None for one that is: most are, and a plain search says so."""
    origin, _, path = url.partition("://")[2].partition("/")
    plain = path or url.endswith("/")
    if (
        plain
        and origin == origin.lower()
        and ":" not in origin
        and url[:4] == "http"
        and not _SUSPECT.search(url)
    ):
        return None
    address = browser_address(url)
    # A blank has a warning of its own.
    return address if address != url.replace(" ", "%20") else None


def _without_dots(segments: list[str]) -> list[str]:
    """The segments of a path, `.` and `..` resolved, in any of their forms: `%2e` too."""
    kept: list[str] = []
    for at, segment in enumerate(segments):
        dots = segment.lower().replace("%2e", ".")
        last = at == len(segments) - 1
        if dots == "..":
            kept = kept[:-1]
        elif dots != ".":
            kept.append(segment)
        if last and dots in {".", ".."}:
            kept.append("")
    return kept
