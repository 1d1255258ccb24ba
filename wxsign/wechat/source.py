"""The access_token of an account whose AppSecret another system keeps: read from there, as often as we like.

The other system is a service, a file or a key of Redis. It may be another wxsign: then a dead token is reported to it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
from typing import TYPE_CHECKING, Final

from wxsign.accounts import FileSource, HttpSource
from wxsign.errors import StoreUnavailable, WeChatBadAnswer, WeChatUnreachable
from wxsign.platforms import SOURCE
from wxsign.wechat.caller import CONNECT_TIMEOUT_SECONDS, DEADLINE_SECONDS, MAX_LIFE_SECONDS, Granted
from wxsign.wechat.exchange import MAX_BODY_BYTES, Exchange, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxsign.accounts import Source
    from wxsign.accounts.source import Fields

# WeChat's tokens are of these; a page that somebody's proxy shows instead is not.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.~+/=-]{1,2048}")
# What the classic PHP sample writes before the object, so that nobody reads the file over the web.
_PHP_PREFIX: Final = "<?php exit();?>"


class SourceReader:
    """Reads sources. `read_redis` gives the text of a key of the Redis at a URL, and the seconds until it ends, if it does."""

    def __init__(
        self,
        read_redis: Callable[[str, str], tuple[str, float | None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._read_redis = read_redis
        self._clock = clock
        self._given: dict[HttpSource, str] = {}  # the last token of each, which is the one to report

    def token(self, source: Source, *, replace: bool = False) -> Granted:
        """The token that stands there, with 0 seconds where nobody says how long it lives.

        `replace`: the present one is dead; have it replaced, where the source takes reports. Raises `WeChatUnreachable`,
        `WeChatBadAnswer`.
        """
        left: float | None = None
        try:
            if isinstance(source, HttpSource):
                rejected = self._given.get(source, "") if replace and source.refresh_url else ""
                text = _asked(source, rejected)
            elif isinstance(source, FileSource):
                text = _file(source)
            else:
                text, left = self._read_redis(source.url, source.key)
        except WeChatUnreachable as error:
            raise WeChatUnreachable(error.reason, SOURCE, host=error.host, detail=error.detail) from None
        except WeChatBadAnswer as error:
            raise WeChatBadAnswer(error.reason, SOURCE) from None
        except (OSError, StoreUnavailable) as error:
            reason = error.detail if isinstance(error, StoreUnavailable) else error.strerror or ""
            raise WeChatUnreachable("connect", SOURCE, detail=reason) from None
        granted = self._granted(text, source.fields, left)
        if isinstance(source, HttpSource):
            self._given[source] = granted.value
        return granted

    def _granted(self, text: str, fields: Fields, left: float | None) -> Granted:
        value, given = _value_in(text, fields)
        seconds = given.get("expires_in", left)
        if "expires_at" in given:
            seconds = given["expires_at"] - self._clock()
        if not _TOKEN.fullmatch(value) or (seconds is not None and seconds < 1):
            raise WeChatBadAnswer("bad_value", SOURCE)
        return Granted(value, min(MAX_LIFE_SECONDS, int(seconds or 0)))


def _asked(source: HttpSource, rejected: str = "") -> str:
    """The body of a service's answer. Raises `WeChatError`."""
    url, body = (source.refresh_url, {"rejected": rejected}) if rejected else (source.url, None)
    method = "POST" if rejected else "GET"
    request = Request(method, "", source.bearer, body=body, bearer=source.bearer)
    exchange = Exchange(request, url, (CONNECT_TIMEOUT_SECONDS, DEADLINE_SECONDS))
    return exchange.answer_within(DEADLINE_SECONDS).decode("utf-8", "replace")


def _file(source: FileSource) -> str:
    # A pipe in its place would be waited for without end.
    with open(source.path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(MAX_BODY_BYTES).decode("utf-8-sig", "replace")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _value_in(text: str, fields: Fields) -> tuple[str, Mapping[str, float]]:
    """The token in a text, and what is said of its end: the text is the token, or JSON."""
    text = text.strip().removeprefix(_PHP_PREFIX).strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text, {}
    if not isinstance(found, dict):
        return (found if isinstance(found, str) else text), {}
    numbers = {"expires_in": _at(found, fields.expires_in), "expires_at": _at(found, fields.expires_at)}
    value = _at(found, fields.token)
    return (value if isinstance(value, str) else ""), {
        name: number for name, told in numbers.items() if (number := _number(told)) is not None
    }


def _at(found: object, name: str) -> object:
    """The member of that name; each dot goes one object deeper."""
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _number(told: object) -> float | None:
    """A count of seconds that JSON gives as a number or, with PHP, as a text."""
    if isinstance(told, str) and told.strip().isdecimal():
        return float(told)
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) else None
