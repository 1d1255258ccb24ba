"""Which business calls of WeChat a client may have relayed: paths as they are written in WeChat's documents.

A path is compared, and sent on, in one and the same form: decoded once, of plain segments. What a server might read in
another way (`..`, `//`, a percent sign that is left, a backslash, a `;`) is no path here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PATH_CHARACTERS: Final = 200
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")
_EVERYTHING_BELOW: Final = "/*"
# Whoever could have these relayed would get tickets, and with `rid/get` the token itself, past the scopes of its key, or
# spend what the account has a few of a month. What needs them has paths of its own here.
NEVER_RELAYED: Final = frozenset(
    {
        "/cgi-bin/token",
        "/cgi-bin/stable_token",
        "/cgi-bin/gettoken",
        "/cgi-bin/ticket/getticket",
        "/cgi-bin/ticket/get",
        "/cgi-bin/get_jsapi_ticket",
        "/cgi-bin/clear_quota",
        "/cgi-bin/clear_quota/v2",
        "/cgi-bin/openapi/quota/clear",
        "/cgi-bin/openapi/rid/get",
    }
)


def is_relay_path(path: str) -> bool:
    """Whether it is a path of plain segments that may be relayed at all."""
    plain = len(path) <= MAX_PATH_CHARACTERS and _PATH.fullmatch(path) is not None
    return plain and path.lower() not in NEVER_RELAYED


def is_relay_pattern(word: str) -> bool:
    """Whether it is such a path, or one with `/*` at its end: everything below it."""
    below = word.removesuffix(_EVERYTHING_BELOW)
    return is_relay_path(word) or (below != word and _PATH.fullmatch(below) is not None)


def covers(patterns: Iterable[str], path: str) -> bool:
    """Whether one of `patterns` allows `path`. `/cgi-bin/message/*` allows what is below it, not `/cgi-bin/message`."""
    return is_relay_path(path) and any(
        path.startswith(pattern[:-1]) if pattern.endswith(_EVERYTHING_BELOW) else path == pattern
        for pattern in patterns
    )
