"""What the clients of the platforms have in common: their hosts, one deadline a call, and what a grant looks like."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from wxsign.errors import WeChatBadAnswer
from wxsign.logs import redact_http_library
from wxsign.wechat.exchange import Exchange, Request, checked

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE_SECONDS: Final = 4.0
CONNECT_TIMEOUT_SECONDS: Final = 2.0
MAX_LIFE_SECONDS: Final = 86_400
# Tencent asks for room for 512 characters; a value with a blank or a line break in it is none of WeChat's.
_VALUE: Final = re.compile(r"[\x21-\x7e]{1,2048}")


@dataclass(frozen=True, slots=True)
class Granted:
    """A token or ticket, and how many seconds WeChat says it lives. (For tickets it always says 7200.)"""

    value: str = field(repr=False)
    expires_in_seconds: int


class Caller:
    """Calls the API of one platform.

    Args:
        hosts: what `attempt` picks from, as URLs without a path.
        deadline_seconds: a call has ended after this time, whatever the other side does: resolving, connecting, TLS,
            headers and body included.
        connect_timeout_seconds: for each address of the host.

    Every method makes exactly one request and raises WeChatRefused, WeChatUnreachable or WeChatBadAnswer. Nothing is shared
    between calls, so an instance may be used from any thread and across a fork.
    """

    def __init__(
        self,
        hosts: tuple[str, ...],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        self.hosts = hosts
        self._deadline_seconds = deadline_seconds
        self._timeout = (min(connect_timeout_seconds, deadline_seconds), deadline_seconds)
        redact_http_library()

    def get_api_domain_ip(self, access_token: str, *, attempt: int = 0) -> tuple[str, ...]:
        """Fetch the addresses of WeChat's API. It changes nothing and is cheap, so it tells whether a token is alive."""
        return self._ip_list("/cgi-bin/get_api_domain_ip", access_token, attempt)

    def getcallbackip(self, access_token: str, *, attempt: int = 0) -> tuple[str, ...]:
        """Fetch the addresses from which WeChat calls an account's own server."""
        return self._ip_list("/cgi-bin/getcallbackip", access_token, attempt)

    def _ip_list(self, endpoint: str, access_token: str, attempt: int) -> tuple[str, ...]:
        query = {"access_token": access_token}
        addresses = self.call(Request("GET", endpoint, access_token, query=query), attempt).get("ip_list")
        if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
            raise WeChatBadAnswer("bad_value", endpoint)
        return tuple(addresses)

    def clock(self) -> float | None:
        """WeChat's clock, in Unix seconds, by the Date of an answer; None where it has none. It needs no credential.

        Raises WeChatUnreachable.
        """
        exchange = Exchange(Request("GET", "/cgi-bin/get_api_domain_ip", ""), self.hosts[0], self._timeout)
        with suppress(WeChatBadAnswer):
            exchange.answer_within(self._deadline_seconds)
        try:
            return parsedate_to_datetime(exchange.date).timestamp()
        except ValueError:
            return None

    def call(self, request: Request, attempt: int = 0) -> dict[str, Any]:
        """The checked answer to a request. Raises `WeChatError`."""
        base = self.hosts[attempt % len(self.hosts)]
        exchange = Exchange(request, base, self._timeout)
        return checked(exchange.answer_within(self._deadline_seconds), request)


def granted(answer: Mapping[str, object], name: str, endpoint: str) -> Granted:
    """The value called `name` in an answer, with its life. Raises `WeChatBadAnswer`."""
    value, life = answer.get(name), answer.get("expires_in")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise WeChatBadAnswer("bad_value", endpoint)
    if type(life) is not int or not 1 <= life <= MAX_LIFE_SECONDS:
        raise WeChatBadAnswer("bad_value", endpoint)
    return Granted(value, life)
