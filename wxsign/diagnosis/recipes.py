"""How people build the signature in other ways than WeChat's, tried one after the other."""

from __future__ import annotations

import hashlib
import hmac
from itertools import permutations
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# How far the moments of signing and of wx.config lie apart where each makes its own.
DRIFT_SECONDS: Final = 600
MILLISECONDS_DIGITS: Final = 13
# Until the year 2286.
SECONDS_DIGITS: Final = 10
_STANDARD: Final = ("jsapi_ticket", "noncestr", "timestamp", "url")


class Parts(NamedTuple):
    """What goes into a signature."""

    ticket: str
    nonce: str
    timestamp: str
    url: str

    def __repr__(self) -> str:
        return "Parts(…)"


class Recipe(NamedTuple):
    """A way to the signature, by name; `digits` is the length of its hex."""

    name: str
    digits: int
    make: Callable[[Parts], str]


def _hashed(text: str, name: str = "sha1") -> str:
    return hashlib.new(name, text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def standard_text(parts: Parts) -> str:
    """The string1 of WeChat's rule."""
    return _text(_STANDARD, parts)


def _text(names: tuple[str, ...], parts: Parts) -> str:
    return "&".join(f"{name}={value}" for name, value in zip(names, parts, strict=True))


def _renamed(*names: str) -> Callable[[Parts], str]:
    return lambda parts: _hashed(_text(names, parts))


def _ordered(order: tuple[int, ...]) -> Callable[[Parts], str]:
    def make(parts: Parts) -> str:
        return _hashed("&".join(f"{_STANDARD[at]}={parts[at]}" for at in order))

    return make


def _keyed(parts: Parts) -> str:
    text = standard_text(parts).encode("utf-8", "surrogatepass")
    return hmac.new(parts.ticket.encode(), text, hashlib.sha1).hexdigest()


STANDARD: Final = Recipe("standard", 40, lambda parts: _hashed(standard_text(parts)))
WRONG: Final = (
    Recipe("key_nonceStr", 40, _renamed("jsapi_ticket", "nonceStr", "timestamp", "url")),
    Recipe("key_timeStamp", 40, _renamed("jsapi_ticket", "noncestr", "timeStamp", "url")),
    Recipe("keys_nonceStr_timeStamp", 40, _renamed("jsapi_ticket", "nonceStr", "timeStamp", "url")),
    Recipe("key_nonce_str", 40, _renamed("jsapi_ticket", "nonce_str", "timestamp", "url")),
    Recipe("key_ticket", 40, _renamed("ticket", "noncestr", "timestamp", "url")),
    Recipe("key_jsapiTicket", 40, _renamed("jsapiTicket", "noncestr", "timestamp", "url")),
    *(
        Recipe("order", 40, _ordered(order))
        for order in permutations(range(len(_STANDARD)))
        if order != (0, 1, 2, 3)
    ),
    Recipe("ticket_quoted", 40, lambda parts: STANDARD.make(parts._replace(ticket=f'"{parts.ticket}"'))),
    Recipe("ticket_lower_case", 40, lambda parts: STANDARD.make(parts._replace(ticket=parts.ticket.lower()))),
    Recipe("ticket_shortened", 40, lambda parts: STANDARD.make(parts._replace(ticket=parts.ticket[:64]))),
    Recipe("values_sorted_without_keys", 40, lambda parts: _hashed("".join(sorted(parts)))),
    Recipe("values_without_keys", 40, lambda parts: _hashed("".join(parts))),
    Recipe("without_ampersands", 40, lambda parts: _hashed(standard_text(parts).replace("&", ""))),
    Recipe("text_encoded", 40, lambda parts: _hashed(quote(standard_text(parts), safe=""))),
    Recipe("text_lower_case", 40, lambda parts: _hashed(standard_text(parts).lower())),
    Recipe("text_upper_case", 40, lambda parts: _hashed(standard_text(parts).upper())),
    Recipe("new_line_at_end", 40, lambda parts: _hashed(f"{standard_text(parts)}\n")),
    Recipe("hmac_sha1", 40, _keyed),
    Recipe("md5", 32, lambda parts: _hashed(standard_text(parts), "md5")),
    Recipe("sha256", 64, lambda parts: _hashed(standard_text(parts), "sha256")),
)


def other_units(timestamp: str) -> Iterator[str]:
    """The same moment in milliseconds, or in seconds."""
    if len(timestamp) == MILLISECONDS_DIGITS and timestamp.isdecimal():
        yield timestamp[:-3]
    elif len(timestamp) == SECONDS_DIGITS and timestamp.isdecimal():
        yield f"{timestamp}000"


def near_moments(timestamp: str) -> Iterator[str]:
    """Moments shortly before and after, the nearest first."""
    if len(timestamp) == SECONDS_DIGITS and timestamp.isdecimal():
        for away in range(1, DRIFT_SECONDS + 1):
            yield str(int(timestamp) - away)
            yield str(int(timestamp) + away)


def other_nonces(nonce: str) -> Iterator[str]:
    """What becomes of a nonce on its way, or stands in its place."""
    changed = (nonce.lower(), nonce.upper(), nonce.strip(), nonce[:32], nonce[:16], "", "undefined", "null")
    yield from dict.fromkeys(other for other in changed if other != nonce)
