"""Tokens and tickets of Official Accounts: one method an endpoint."""

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


DEFAULT_API_BASE: Final = "https://api.weixin.qq.com"
BACKUP_API_BASE: Final = "https://api2.weixin.qq.com"
"""Disaster recovery, for when the first cannot be reached. Source: doc/service/Basic_Information."""

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


@dataclass(frozen=True, slots=True)
class Quota:
    """The calls of one API that WeChat grants an account a day, and has counted today."""

    daily_limit: int
    used: int


class WeChatClient:
    """Fetches tokens and tickets.

    Args:
        api_base: replaces WeChat's hosts (a sandbox, an egress proxy); then no other host is ever asked.
        deadline_seconds: a call has ended after this time, whatever the other side does: resolving, connecting, TLS,
            headers and body included.
        connect_timeout_seconds: for each address of the host.

    Every method makes exactly one request and raises WeChatRefused, WeChatUnreachable or WeChatBadAnswer. Nothing is shared
    between calls, so an instance may be used from any thread and across a fork.
    """

    def __init__(
        self,
        api_base: str = DEFAULT_API_BASE,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        base = api_base.rstrip("/")
        self.hosts = (base, BACKUP_API_BASE) if base == DEFAULT_API_BASE else (base,)
        self._deadline_seconds = deadline_seconds
        self._timeout = (min(connect_timeout_seconds, deadline_seconds), deadline_seconds)
        redact_http_library()

    def stable_token(
        self, app_id: str, secret: str, *, force_refresh: bool = False, attempt: int = 0
    ) -> Granted:
        """Fetch a stable access_token: the same one with the remaining seconds, until its last 5 minutes.

        `force_refresh` kills the current token at once; WeChat allows it 20 times a day, at least 30 s apart.
        Source: doc/service/api/base/api_getstableaccesstoken.html.
        """
        body = {
            "grant_type": "client_credential",
            "appid": app_id,
            "secret": secret,
            "force_refresh": force_refresh,
        }
        answer = self._call(Request("POST", "/cgi-bin/stable_token", secret, body=body), attempt)
        return _granted(answer, "access_token", "/cgi-bin/stable_token")

    def classic_token(self, app_id: str, secret: str, *, attempt: int = 0) -> Granted:
        """Fetch a new classic access_token; the one before lives 5 minutes more. 2000 calls a day.

        Source: doc/oplatform/developers/dev/AccessToken.html.
        """
        query = {"grant_type": "client_credential", "appid": app_id, "secret": secret}
        answer = self._call(Request("GET", "/cgi-bin/token", secret, query=query), attempt)
        return _granted(answer, "access_token", "/cgi-bin/token")

    def ticket(self, access_token: str, ticket_type: str = "jsapi", *, attempt: int = 0) -> Granted:
        """Fetch the current ticket: inside its life the same one, with `expires_in` 7200 whatever its age.

        Source: doc/service/api/invoice/auth/api_getticket.html.
        """
        query = {"access_token": access_token, "type": ticket_type}
        answer = self._call(Request("GET", "/cgi-bin/ticket/getticket", access_token, query=query), attempt)
        return _granted(answer, "ticket", "/cgi-bin/ticket/getticket")

    def get_api_domain_ip(self, access_token: str, *, attempt: int = 0) -> tuple[str, ...]:
        """Fetch the addresses of WeChat's API. It changes nothing and is cheap, so it tells whether a token is alive."""
        endpoint = "/cgi-bin/get_api_domain_ip"
        answer = self._call(
            Request("GET", endpoint, access_token, query={"access_token": access_token}), attempt
        )
        addresses = answer.get("ip_list")
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

    def quota(self, access_token: str, cgi_path: str, *, attempt: int = 0) -> Quota:
        """Fetch how much of a day's calls of the API at `cgi_path` WeChat has counted.

        Source: doc/service, openapi/quota/get. 76021 and 76022 refuse a path.
        """
        endpoint, query = "/cgi-bin/openapi/quota/get", {"access_token": access_token}
        request = Request("POST", endpoint, access_token, query=query, body={"cgi_path": cgi_path})
        counts = self._call(request, attempt).get("quota")
        counts = counts if isinstance(counts, dict) else {}
        limit, used = counts.get("daily_limit"), counts.get("used")
        if type(limit) is not int or type(used) is not int:
            raise WeChatBadAnswer("bad_value", endpoint)
        return Quota(limit, used)

    def clear_quota(self, app_id: str, access_token: str, *, attempt: int = 0) -> None:
        """Have the account's counts of the day begin anew; 10 times a month. Source: doc/service, clear_quota."""
        endpoint, query = "/cgi-bin/clear_quota", {"access_token": access_token}
        self._call(Request("POST", endpoint, access_token, query=query, body={"appid": app_id}), attempt)

    def clear_quota_by_secret(self, app_id: str, secret: str, *, attempt: int = 0) -> None:
        """The same without a token, for an account that gets none any more. Source: doc/service, clear_quota/v2."""
        body = {"appid": app_id, "appsecret": secret}
        self._call(Request("POST", "/cgi-bin/clear_quota/v2", secret, body=body), attempt)

    def _call(self, request: Request, attempt: int) -> dict[str, Any]:
        base = self.hosts[attempt % len(self.hosts)]
        exchange = Exchange(request, base, self._timeout)
        return checked(exchange.answer_within(self._deadline_seconds), request)


def _granted(answer: Mapping[str, object], name: str, endpoint: str) -> Granted:
    value, life = answer.get(name), answer.get("expires_in")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise WeChatBadAnswer("bad_value", endpoint)
    if type(life) is not int or not 1 <= life <= MAX_LIFE_SECONDS:
        raise WeChatBadAnswer("bad_value", endpoint)
    return Granted(value, life)
