"""The quota ledger: counts calls as WeChat does, and refuses before WeChat would.

The counters stand in the store, so they are the fleet's and survive restarts. Days are China's: WeChat's quotas start
anew at midnight there. A reserve is kept for the empty: an ordinary look ahead of time must never use up the call that
a dead token will need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wxsign.accounts import DAILY_LIMITS
from wxsign.broker.schedule import DAY_SECONDS, china_day, china_midnight
from wxsign.credentials import TokenEndpoint
from wxsign.errors import QuotaSpent

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.broker.fleet import Fleet
    from wxsign.credentials import CredentialKey

RESERVED_SHARE = 0.1


def default_limit(_key: CredentialKey, endpoint: str) -> int:
    """The calls a day that an account has for an endpoint where nobody says otherwise."""
    return DAILY_LIMITS[endpoint]


class Spending(NamedTuple):
    """How much of a day's calls of one endpoint is used."""

    endpoint: str
    used: int
    limit: int


def fetch_endpoint(key: CredentialKey) -> str:
    """The endpoint that a fetch of `key` calls."""
    if not key.is_token:
        return "getticket"
    return "token" if key.endpoint is TokenEndpoint.CLASSIC else "stable_token"


class Ledger:
    """Admits calls. `limit_of` gives the calls a day that an account has for an endpoint."""

    def __init__(self, fleet: Fleet, limit_of: Callable[[CredentialKey, str], int]) -> None:
        self._fleet = fleet
        self._limit_of = limit_of

    def admit(self, key: CredentialKey, endpoint: str, *, urgent: bool) -> QuotaSpent | None:
        """Count one call, or say why it must not be made and how many seconds to wait. Only the urgent may use the reserve."""
        limit = self._limit_of(key, endpoint)
        allowed = limit if urgent else limit - int(limit * RESERVED_SHARE)
        now = self._fleet.call(lambda store: store.now())
        name = _counter(key, endpoint, now)
        if self._fleet.call(lambda store: store.take(name, allowed, 2 * DAY_SECONDS)) == 0.0:
            return None
        return QuotaSpent(endpoint, limit, china_midnight(now) - now, reserve_left=not urgent)

    def spending(self, key: CredentialKey) -> tuple[Spending, ...]:
        """What is used today of the calls that `key` and its reports cost."""
        now = self._fleet.call(lambda store: store.now())
        endpoints = (fetch_endpoint(key.token_key), "getticket", "get_api_domain_ip")
        names = {endpoint: _counter(key, endpoint, now) for endpoint in endpoints}
        used = self._fleet.call(lambda store: store.used(tuple(names.values())))
        return tuple(
            Spending(endpoint, used.get(name, 0), self._limit_of(key, endpoint))
            for endpoint, name in names.items()
        )


def _counter(key: CredentialKey, endpoint: str, now: float) -> str:
    return f"quota|{key.api_base}|{key.app_id}|{endpoint}|{china_day(now)}"
