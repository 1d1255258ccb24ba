"""An account: who it is, what it may sign for, and the calls that WeChat grants it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from wxsign.accounts.wecom import HOURLY_LIMITS
from wxsign.credentials import CredentialKey, CredentialKind, TokenEndpoint, owner_of
from wxsign.errors import BadRequest, Text
from wxsign.signing import JS_API_LIST, OPEN_TAG_LIST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxsign.accounts.hosts import HostRule
    from wxsign.accounts.sinks import Sink
    from wxsign.accounts.source import Source
    from wxsign.accounts.wecom import Agent
    from wxsign.signing import PageUrl

DAILY_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        # Interface_field_description and API_Call_Limits: 2000 a day for new accounts.
        "token": 2_000,
        # getStableAccessToken: 500,000 a day.
        "stable_token": 500_000,
        # "Very limited" is all the guide says; the FAQ's number of the testing phase is the lowest ever named.
        "getticket": 10_000,
        # Nowhere documented; ours is the one call that reports of dead tokens cost, so it is bounded as well.
        "get_api_domain_ip": 5_000,
        # getStableAccessToken: force mode 20 a day.
        "force_refresh": 20,
        # No calls of WeChat's, but what another system is asked where the account's token comes from there.
        "source": 100_000,
        "source_refresh": 500,
    }
)
"""Calls a day that WeChat is known to grant an account, by endpoint."""


class SignsNoPages(BadRequest):
    """The account is a Mini Program: it has a token, and neither pages nor a jsapi_ticket."""

    def __init__(self) -> None:
        super().__init__(
            "miniprogram_signs_no_pages",
            Text(
                "This account is a Mini Program: it signs no pages and has no jsapi_ticket.",
                "该账号是小程序：不为网页签名，也没有 jsapi_ticket。",
            ),
            Text(
                "A page needs an Official Account, inside a web-view of the Mini Program too.",
                "网页需要公众号来签名，小程序 web-view 中的网页也一样。",
            ),
        )


class NoCards(BadRequest):
    """Only an Official Account has a wx_card ticket."""

    def __init__(self) -> None:
        super().__init__(
            "no_cards",
            Text("This account has no wx_card ticket.", "该账号没有 wx_card 的 ticket。"),
            Text("Cards are an Official Account's.", "卡券属于公众号。"),
        )


class AccountKind(StrEnum):
    """What an account is. A Mini Program (小程序) has an access_token of the same kind, and no web pages to sign for.

    One of kind WECOM (企业微信) is one app of a corporation.
    """

    OFFICIAL = "official"
    MINIPROGRAM = "miniprogram"
    WECOM = "wecom"


@dataclass(frozen=True, slots=True)
class OfficialAccount:
    """An Official Account (公众号/服务号) with what it may sign for and which interfaces its pages ask for by default.

    Or a Mini Program: then it has no hosts. Or an `agent` of a corporation of WeCom: then `app_id` is the corporation's id,
    `app_secret` the agent's, and the name is both, as in `corp/crm`. With a `source` another system hands out its token.
    """

    name: str
    app_id: str
    app_secret: str = field(repr=False)
    allowed_hosts: tuple[HostRule, ...] = ()
    token_endpoint: TokenEndpoint = TokenEndpoint.STABLE
    js_api_list: tuple[str, ...] = JS_API_LIST
    open_tag_list: tuple[str, ...] = OPEN_TAG_LIST
    warm: bool | None = None
    quota: Mapping[str, int] = field(default_factory=dict)
    kind: AccountKind = AccountKind.OFFICIAL
    sinks: tuple[Sink, ...] = ()
    agent: Agent | None = None
    source: Source | None = None

    @property
    def owner(self) -> str:
        """The AppID, or the corporation's id with the agent's behind it: the owner of this account's credentials."""
        return owner_of(self.app_id, self._agent_id)

    @property
    def _agent_id(self) -> str:
        return str(self.agent.agent_id) if self.agent else ""

    def limit(self, endpoint: str) -> int:
        """Calls that this account has for an endpoint: a day, or an hour where it is one of `HOURLY_LIMITS`."""
        known = HOURLY_LIMITS.get(endpoint)
        return self.quota.get(endpoint, DAILY_LIMITS[endpoint] if known is None else known)

    def may_sign(self, page: PageUrl) -> bool:
        """Whether one of the allowed hosts is the page's."""
        return any(rule.matches(page) for rule in self.allowed_hosts)

    def credential_key(self, kind: CredentialKind, api_base: str) -> CredentialKey:
        """Return the name under which this account's token or ticket is kept."""
        return CredentialKey(api_base, self.app_id, kind, self.token_endpoint, self._agent_id)
