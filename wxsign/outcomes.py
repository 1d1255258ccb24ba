"""How pages fare with our signatures: what they report, counted in the store by account, platform and outcome, by the day.

Counted are only reports whose signature was ours; of a visitor nothing is kept. Of the pages that WeChat accepts one in a
hundred says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wxsign.broker.schedule import DAY_SECONDS, china_day
from wxsign.stores import Ration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wxsign.service import WxSign
    from wxsign.stores import CredentialStore

PLATFORMS: Final = ("android", "ios", "wecom", "harmony", "devtools", "other")
OUTCOMES: Final = ("invalid_signature", "other", "ok_sampled")
# No limit: the counter is one all the same.
_MOST: Final = 10**9


class PageOutcome(NamedTuple):
    """So many pages of a platform reported this outcome today."""

    platform: str
    outcome: str
    pages: int


def note_outcome(service: WxSign, account: str, platform: str, outcome: str) -> None:
    """Count a page's report. Raises nothing: a store that is away counts it for this process alone."""

    def count(store: CredentialStore) -> None:
        name = _counter(account, platform, outcome, store.now())
        store.take([Ration(name, _MOST, 2 * DAY_SECONDS)])

    service.broker.link.call(count)


def outcomes_of(service: WxSign, accounts: Iterable[str]) -> Mapping[str, tuple[PageOutcome, ...]]:
    """What pages of these accounts reported today, by the account's name; only what there was. Raises nothing."""

    def read(store: CredentialStore) -> Mapping[str, tuple[PageOutcome, ...]]:
        now = store.now()
        names = {
            (account, platform, outcome): _counter(account, platform, outcome, now)
            for account in accounts
            for platform in PLATFORMS
            for outcome in OUTCOMES
        }
        used = store.used(tuple(names.values()))
        found: dict[str, tuple[PageOutcome, ...]] = {}
        for (account, platform, outcome), name in names.items():
            if pages := used.get(name, 0):
                found[account] = (*found.get(account, ()), PageOutcome(platform, outcome, pages))
        return found

    return service.broker.link.call(read)


def _counter(account: str, platform: str, outcome: str, now: float) -> str:
    return f"pages|{account}|{platform}|{outcome}|{china_day(now)}"
