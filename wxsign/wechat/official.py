"""Tokens and tickets of Official Accounts: one method an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wxsign.errors import WeChatBadAnswer
from wxsign.wechat.caller import CONNECT_TIMEOUT_SECONDS, DEADLINE_SECONDS, Caller, Granted, granted
from wxsign.wechat.exchange import Request

DEFAULT_API_BASE: Final = "https://api.weixin.qq.com"
BACKUP_API_BASE: Final = "https://api2.weixin.qq.com"
"""Disaster recovery, for when the first cannot be reached. Source: doc/service/Basic_Information."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The calls of one API that WeChat grants an account a day, and has counted today."""

    daily_limit: int
    used: int


class WeChatClient(Caller):
    """Fetches tokens and tickets of Official Accounts and Mini Programs.

    `api_base` replaces WeChat's hosts (a sandbox, an egress proxy); then no other host is ever asked.
    """

    def __init__(
        self,
        api_base: str = DEFAULT_API_BASE,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        base = api_base.rstrip("/")
        super().__init__(
            (base, BACKUP_API_BASE) if base == DEFAULT_API_BASE else (base,),
            deadline_seconds=deadline_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
        )

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
        answer = self.call(Request("POST", "/cgi-bin/stable_token", secret, body=body), attempt)
        return granted(answer, "access_token", "/cgi-bin/stable_token")

    def classic_token(self, app_id: str, secret: str, *, attempt: int = 0) -> Granted:
        """Fetch a new classic access_token; the one before lives 5 minutes more. 2000 calls a day.

        Source: doc/oplatform/developers/dev/AccessToken.html.
        """
        query = {"grant_type": "client_credential", "appid": app_id, "secret": secret}
        answer = self.call(Request("GET", "/cgi-bin/token", secret, query=query), attempt)
        return granted(answer, "access_token", "/cgi-bin/token")

    def ticket(self, access_token: str, ticket_type: str = "jsapi", *, attempt: int = 0) -> Granted:
        """Fetch the current ticket: inside its life the same one, with `expires_in` 7200 whatever its age.

        Source: doc/service/api/invoice/auth/api_getticket.html.
        """
        query = {"access_token": access_token, "type": ticket_type}
        answer = self.call(Request("GET", "/cgi-bin/ticket/getticket", access_token, query=query), attempt)
        return granted(answer, "ticket", "/cgi-bin/ticket/getticket")

    def quota(self, access_token: str, cgi_path: str, *, attempt: int = 0) -> Quota:
        """Fetch how much of a day's calls of the API at `cgi_path` WeChat has counted.

        Source: doc/service, openapi/quota/get. 76021 and 76022 refuse a path.
        """
        endpoint, query = "/cgi-bin/openapi/quota/get", {"access_token": access_token}
        request = Request("POST", endpoint, access_token, query=query, body={"cgi_path": cgi_path})
        counts = self.call(request, attempt).get("quota")
        counts = counts if isinstance(counts, dict) else {}
        limit, used = counts.get("daily_limit"), counts.get("used")
        if type(limit) is not int or type(used) is not int:
            raise WeChatBadAnswer("bad_value", endpoint)
        return Quota(limit, used)

    def clear_quota(self, app_id: str, access_token: str, *, attempt: int = 0) -> None:
        """Have the account's counts of the day begin anew; 10 times a month. Source: doc/service, clear_quota."""
        endpoint, query = "/cgi-bin/clear_quota", {"access_token": access_token}
        self.call(Request("POST", endpoint, access_token, query=query, body={"appid": app_id}), attempt)

    def clear_quota_by_secret(self, app_id: str, secret: str, *, attempt: int = 0) -> None:
        """The same without a token, for an account that gets none any more. Source: doc/service, clear_quota/v2."""
        body = {"appid": app_id, "appsecret": secret}
        self.call(Request("POST", "/cgi-bin/clear_quota/v2", secret, body=body), attempt)
