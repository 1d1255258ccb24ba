"""All accounts of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxsign.accounts.hosts import LOOPBACK
from wxsign.accounts.official import AccountKind, SignsNoPages
from wxsign.errors import AccountRequired, HostNotAllowed, UnknownAccount
from wxsign.signing import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wxsign.accounts.official import OfficialAccount
    from wxsign.errors import RequestError
    from wxsign.signing import PageUrl

DEFAULT_ACCOUNT: Final = "default"
DECISIONS: Final = 4096


class AccountRegistry:
    """All accounts of a service, found by name, by AppID or by a page's host."""

    def __init__(self, accounts: Iterable[OfficialAccount]) -> None:
        self._accounts = tuple(accounts)
        by_owner = {account.owner: account for account in self._accounts}
        self._by_name = _agents(self._accounts) | by_owner | {a.name: a for a in self._accounts}
        self._by_host, self._by_pattern = _index(self._accounts)
        self._pages = tuple(account for account in self._accounts if account.kind is AccountKind.OFFICIAL)
        self._decided: dict[tuple[str, str, int, str | None], OfficialAccount] = {}

    def __iter__(self) -> Iterator[OfficialAccount]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, name_or_app_id: str) -> OfficialAccount:
        """Return an account by its name or AppID. Raises UnknownAccount.

        An app of WeCom is `corp/crm`, by the names or the numbers of both; or `corp` alone where it is the only one there.
        """
        try:
            return self._by_name[name_or_app_id]
        except KeyError:
            raise UnknownAccount(name_or_app_id) from None

    def for_page(self, page: PageUrl, wanted: str | None = None) -> OfficialAccount:
        """Return the account that signs a page: the wanted one, else the only one that lists the host, else `default`.

        Apps of WeCom come into question by themselves only where no Official Account does.

        Raises:
            SignsNoPages: the wanted account is a Mini Program, or there is no other.
            HostNotAllowed: no account lists the page's host, whatever was wanted; or the account may not sign for it.
            UnknownAccount: `wanted` names none.
            AccountRequired: nothing was wanted and none, or several, come into question.
        """
        asked = (page.scheme, page.host, page.port, wanted)
        account = self._decided.get(asked)
        if account is None:
            account = self._decide(page, wanted)
            # Only what was allowed is kept, so nobody's guesses fill it but subdomains of a wildcard.
            if len(self._decided) < DECISIONS:
                self._decided[asked] = account
        return account

    def _decide(self, page: PageUrl, wanted: str | None) -> OfficialAccount:
        if wanted and not self._claiming(page):
            # A page of nobody's shall not learn which accounts there are.
            raise _not_allowed(page, self._accounts)
        account = self.get(wanted) if wanted else self._by_page(page)
        if account.may_sign(page):
            return account
        raise _not_allowed(page, (account,))

    def _by_page(self, page: PageUrl) -> OfficialAccount:
        claiming = self._claiming(page)
        official = tuple(account for account in claiming if account.kind is AccountKind.OFFICIAL)
        choice = official or claiming or self._pages or self._accounts
        for account in choice:
            if len(choice) == 1 or account.name == DEFAULT_ACCOUNT:
                return account
        raise AccountRequired

    def _claiming(self, page: PageUrl) -> tuple[OfficialAccount, ...]:
        """The accounts that list the page's host."""
        candidates = [*self._by_host.get(page.host, ()), *self._by_pattern]
        return tuple({account.name: account for account in candidates if account.may_sign(page)}.values())


def _agents(accounts: Iterable[OfficialAccount]) -> dict[str, OfficialAccount]:
    """The apps of WeCom by the names that are not theirs alone; and by their corporation's, where there is no other."""
    found: dict[str, list[OfficialAccount]] = {}
    for account in accounts:
        if account.agent is not None:
            corp, _, name = account.name.partition("/")
            number = account.agent.agent_id
            for known in (corp, account.app_id, f"{corp}/{number}", f"{account.app_id}/{name}"):
                found.setdefault(known, []).append(account)
    return {name: those[0] for name, those in found.items() if len(those) == 1}


def _not_allowed(page: PageUrl, accounts: Iterable[OfficialAccount]) -> RequestError:
    accounts = tuple(accounts)
    if all(account.kind is AccountKind.MINIPROGRAM for account in accounts):
        return SignsNoPages()
    rules = [rule for account in accounts for rule in account.allowed_hosts]
    if not rules:
        return HostNotAllowed(None)
    below = (str(rule) for rule in rules if rule.subdomains and rule.host == page.host)
    host = page.host if page.port == DEFAULT_PORTS[page.scheme] else f"{page.host}:{page.port}"
    return HostNotAllowed(host, next(below, ""))


def _index(
    accounts: tuple[OfficialAccount, ...],
) -> tuple[dict[str, list[OfficialAccount]], tuple[OfficialAccount, ...]]:
    """Sort accounts by the exact hosts they list; those with patterns have to be asked one by one."""
    exact: dict[str, list[OfficialAccount]] = {}
    patterned = []
    for account in accounts:
        for rule in account.allowed_hosts:
            exact.setdefault(rule.host, []).append(account)
        if any(rule.subdomains or rule is LOOPBACK for rule in account.allowed_hosts):
            patterned.append(account)
    return exact, tuple(patterned)
