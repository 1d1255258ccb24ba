"""What a service knows that a diagnosis may try: its accounts, and the values of those that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxsign.credentials import CredentialKind
from wxsign.diagnosis.causes import Known, KnownAccount, Ticket
from wxsign.errors import InvalidUrl
from wxsign.signing import PageUrl, parse_page_url

if TYPE_CHECKING:
    from wxsign.accounts import OfficialAccount
    from wxsign.diagnosis.findings import Page
    from wxsign.service import WxSign

# Bounds what one diagnosis costs where a service has thousands of accounts.
MOST_ACCOUNTS: Final = 16
_KINDS: Final = {CredentialKind.JSAPI_TICKET: "jsapi", CredentialKind.ACCESS_TOKEN: "access_token"}


def known_of(service: WxSign, page: Page) -> Known:
    """What `service` knows of the accounts that come into question; it fetches nothing and asks no store."""
    parsed = _parsed(page)
    signing = {account.app_id for account in service.registry if parsed and account.may_sign(parsed)}
    asked = [account for account in service.registry if account.app_id in {*signing, page.app_id}]
    in_use = {key.owner for key in service.broker.in_use()}
    others = [account for account in service.registry if account.owner in in_use and account not in asked]
    tried = [*asked, *others][:MOST_ACCOUNTS]
    return Known(
        [KnownAccount(account.app_id, account.app_id in signing) for account in tried],
        [ticket for account in tried for ticket in _tickets(service, account, own=account in asked)],
    )


def _parsed(page: Page) -> PageUrl | None:
    for url in (page.url, page.landing_url, page.signed_url):
        try:
            return parse_page_url(url)
        except InvalidUrl:
            continue
    return None


def _tickets(service: WxSign, account: OfficialAccount, *, own: bool) -> list[Ticket]:
    found = []
    for kind, name in _KINDS.items():
        if kind is not CredentialKind.JSAPI_TICKET and not own:
            continue
        key = service.settings.key_of(account, kind)
        for value, present in zip(service.broker.early.values(key), (True, False), strict=True):
            if value:
                found.append(Ticket(value, account.app_id, name, present))
    return found
