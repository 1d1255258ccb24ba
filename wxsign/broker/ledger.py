"""The quota ledger: counts calls as WeChat does, and refuses before WeChat would.

The counters stand in the store, so they are the fleet's and survive restarts. Days are China's: WeChat's quotas start
anew at midnight there; WeCom counts by the hour, for an app and for its corporation. A reserve is kept for the empty: an ordinary look ahead of time must never use up the call that
a dead token will need.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from wxsign.accounts import CORP_HOURLY_LIMITS, DAILY_LIMITS, HOURLY_LIMITS
from wxsign.broker.schedule import DAY_SECONDS, china_day, china_midnight, china_month
from wxsign.credentials import chain_of, sort_of
from wxsign.errors import QuotaSpent
from wxsign.stores import LONGEST_NOTE_SECONDS, Ration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wxsign.credentials import CredentialKey
    from wxsign.stores import CredentialStore

HOUR_SECONDS = 3600
RESERVED_SHARE = 0.1
# clear_quota: ten a month, together with the console's.
CLEARINGS_A_MONTH = 10
# What WeChat counts as one API, and starts anew when an account's quota is cleared; forced refreshes it counts apart.
CLEARED = frozenset(DAILY_LIMITS) - {"force_refresh", "source", "source_refresh"}


def default_limit(_key: CredentialKey, call: str) -> int:
    """The calls of one kind that an account has, a day or an hour, where nobody says otherwise."""
    return HOURLY_LIMITS[call] if call in HOURLY_LIMITS else DAILY_LIMITS[call]


class Spending(NamedTuple):
    """How much of the calls of one endpoint is used, of a day's; of an hour's with WeCom."""

    endpoint: str
    used: int
    limit: int


class Ledger:
    """Admits calls. `limit_of` gives the calls, a day or an hour, that an account has of one kind, by the sort's name for it."""

    def __init__(self, limit_of: Callable[[CredentialKey, str], int]) -> None:
        self._limit_of = limit_of

    def admit(
        self,
        store: CredentialStore,
        key: CredentialKey,
        call: str,
        now: float,
        *,
        urgent: bool,
        also: Sequence[Ration] = (),
    ) -> QuotaSpent | None:
        """Count one call at `now` (the store's clock), or say why it must not be made and how many seconds to wait.

        Only the urgent may use the reserve. Other rations that the call uses up are taken in the same step. Raises `StoreUnavailable`.
        """
        limit = self._limit_of(key, call)
        rations = [_ration(key, call, now, limit, urgent=urgent), *also]
        if call in CORP_HOURLY_LIMITS:
            corp = replace(key, agent="")
            rations.append(_ration(corp, call, now, CORP_HOURLY_LIMITS[call], urgent=urgent))
        if store.take(rations) == 0.0:
            return None
        hourly = call in HOURLY_LIMITS
        wait = HOUR_SECONDS - now % HOUR_SECONDS if hourly else china_midnight(now) - now
        return QuotaSpent(call, limit, wait, reserve_left=not urgent, hourly=hourly)

    def spent(self, store: CredentialStore, key: CredentialKey, call: str, now: float) -> Spending:
        """How much of the calls of one kind is used at `now`. Raises `StoreUnavailable`."""
        name = _counter(key, call, now)
        return Spending(call, store.used([name]).get(name, 0), self._limit_of(key, call))

    def spending(
        self, store: CredentialStore, keys: Iterable[CredentialKey]
    ) -> Mapping[str, tuple[Spending, ...]]:
        """What each account has used, by its owner, of the calls that `keys` and their reports cost.

        Raises `StoreUnavailable`.
        """
        now = store.now()
        counters: dict[str, tuple[CredentialKey, str]] = {}
        known = tuple(dict.fromkeys(link for key in keys for link in reversed(chain_of(key))))
        fetched = ((key, sort_of(key).call) for key in known)
        tried = ((key, alive_by) for key in known if (alive_by := sort_of(key).alive_by))
        for key, call in (*fetched, *tried):
            counters.setdefault(_counter(key, call, now), (key, call))
        used = store.used(tuple(counters))
        spent: dict[str, list[Spending]] = {}
        for name, (key, call) in counters.items():
            spent.setdefault(key.owner, []).append(
                Spending(call, used.get(name, 0), self._limit_of(key, call))
            )
        return {owner: tuple(rows) for owner, rows in spent.items()}


def _ration(key: CredentialKey, call: str, now: float, limit: int, *, urgent: bool) -> Ration:
    allowed = limit if urgent else limit - int(limit * RESERVED_SHARE)
    return Ration(_counter(key, call, now), allowed, 2 * DAY_SECONDS)


def clearings(key: CredentialKey, now: float) -> Ration:
    """The month's ration of clearings of an account's quota, at `now` (the store's clock)."""
    name = f"clearings|{key.api_base}|{key.owner}|{china_month(now)}"
    return Ration(name, CLEARINGS_A_MONTH, LONGEST_NOTE_SECONDS)


def begin_anew(store: CredentialStore, key: CredentialKey, now: float) -> None:
    """WeChat has cleared the account's quota: the day's counts begin anew here as well. Raises `StoreUnavailable`."""
    store.erase([_counter(key, call, now) for call in sorted(CLEARED)])


def _counter(key: CredentialKey, call: str, now: float) -> str:
    period = f"hour {int(now // HOUR_SECONDS)}" if call in HOURLY_LIMITS else china_day(now)
    return f"quota|{key.api_base}|{key.owner}|{call}|{period}"
