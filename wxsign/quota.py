"""An account's quota of calls: WeChat's own count beside ours, and how it begins anew.

Sources: doc/service, openapi/quota/get, clear_quota, clear_quota/v2.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wxsign.broker.ledger import CLEARINGS_A_MONTH, begin_anew, clearings
from wxsign.credentials import CredentialKind
from wxsign.errcodes import ERRCODES, FailureScope
from wxsign.errors import BadRequest, CredentialUnavailable, Text, WeChatRefused, WxSignError

if TYPE_CHECKING:
    from wxsign.accounts import OfficialAccount
    from wxsign.broker import Spending
    from wxsign.service import WxSign
    from wxsign.stores import CredentialStore
    from wxsign.wechat import Quota

logger = logging.getLogger("wxsign.quota")

# The APIs of the ledger that WeChat has counts of, by its own names.
_CGI_PATHS: Final = {
    "token": "/cgi-bin/token",
    "stable_token": "/cgi-bin/stable_token",
    "getticket": "/cgi-bin/ticket/getticket",
    "get_api_domain_ip": "/cgi-bin/get_api_domain_ip",
}
_CLEARED_TOO_OFTEN: Final = ERRCODES[48006]
# WeChat has no count of this path, or none for this account.
_NOT_TOLD: Final = frozenset({"quota_path_not_found", "quota_path_foreign"})
# A call with a token that does not pass may do so without one.
_BY_SECRET_INSTEAD: Final = frozenset({FailureScope.STALE_TOKEN, FailureScope.QUOTA_DAY})


class ClearingsSpentError(WxSignError):
    """By our count the account's quota was cleared ten times this month."""

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        row = _CLEARED_TOO_OFTEN
        super().__init__(row.code, row.message, row.hint)


class NoClearingError(BadRequest):
    """The account is an app of WeCom, whose counts nobody can clear by a call."""

    def __init__(self) -> None:
        super().__init__(
            "quota_not_clearable",
            Text("WeCom has no call that clears an app's quota.", "企业微信没有清零接口调用次数的接口。"),
            Text("Its counts begin anew with the hour.", "调用次数在下一小时重新计数。"),
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """The calls of one API today: by our count, and by WeChat's; None where WeChat does not tell it."""

    ours: Spending
    wechat: Quota | None


@dataclass(frozen=True, slots=True)
class Cleared:
    """That a quota was cleared: `by` is `access_token` or `app_secret`; so many of `limit` clearings of this month are `used`."""

    by: str
    used: int
    limit: int = CLEARINGS_A_MONTH


def quota_of(service: WxSign, account: str) -> tuple[Counted, ...]:
    """Ask WeChat how much of today's calls it has counted, for each API that the account uses here.

    Raises `UnknownAccount`, `CredentialUnavailable`, `WeChatError`.
    """
    chosen = service.registry.get(account)
    token = service.access_token(account).value
    states = service.account_states()
    spending = next(state.spending for state in states if state.name == chosen.name)
    # WeCom tells nobody.
    return tuple(
        Counted(row, None if chosen.agent else _told(service, token, row.endpoint)) for row in spending
    )


def _told(service: WxSign, access_token: str, endpoint: str) -> Quota | None:
    try:
        return service.client.quota(access_token, _CGI_PATHS[endpoint])
    except WeChatRefused as error:
        if error.code in _NOT_TOLD:
            return None
        raise


def clear_quota(service: WxSign, account: str) -> Cleared:
    """Have WeChat's counts of the account's calls of today, and ours, begin anew: ten times a month.

    Raises `UnknownAccount`, `NoClearingError`, `ClearingsSpentError`, `CredentialUnavailable`, `WeChatError`.
    """
    chosen, link = service.registry.get(account), service.broker.link
    if chosen.agent is not None:
        raise NoClearingError
    key = service.settings.key_of(chosen, CredentialKind.ACCESS_TOKEN)
    # Counted before it is asked for: what gets no answer may have been counted by WeChat.
    wait = link.call(lambda store: store.take([clearings(key, store.now())]))
    if wait:
        raise ClearingsSpentError(wait)
    by = _clear(service, chosen)

    def count_anew(store: CredentialStore) -> int:
        now = store.now()
        begin_anew(store, key, now)
        name = clearings(key, now).name
        return store.used([name]).get(name, 0)

    cleared = Cleared(by, link.call(count_anew))
    logger.info(
        "wxsign.quota_cleared", extra={"fields": {"account": chosen.name, "by": by, "used": cleared.used}}
    )
    return cleared


def _clear(service: WxSign, account: OfficialAccount) -> str:
    try:
        service.client.clear_quota(account.app_id, service.access_token(account.name).value)
    except (CredentialUnavailable, WeChatRefused) as error:
        no_use = isinstance(error, WeChatRefused) and error.scope not in _BY_SECRET_INSTEAD
        if no_use or not account.app_secret:
            raise
    else:
        return "access_token"
    service.client.clear_quota_by_secret(account.app_id, account.app_secret)
    return "app_secret"
