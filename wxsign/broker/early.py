"""What a page brings about that says that WeChat refused its signature: one look at the ticket before it is due.

WeChat never tells that it has replaced a ticket (docs/design.md, the ticket trap); a page that is refused is the first
to know. Anybody may say so, so these looks are few.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from wxsign.broker.events import Intent
from wxsign.credentials import RefreshNeed
from wxsign.stores import Ration

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.broker.attempt import Refresher
    from wxsign.broker.link import Link
    from wxsign.broker.near import NearCache
    from wxsign.credentials import CredentialKey

GAP_SECONDS: Final = 30.0
LOOKS_A_MINUTE: Final = 10
MINUTE_SECONDS: Final = 60.0
# A store that is away answers after its timeout, and each who asks it holds a thread meanwhile.
AWAY_SECONDS: Final = 2.0
# A call of WeChat takes no longer, and what it brings reaches every worker within two seconds.
UNDER_WAY_SECONDS: Final = 6.0


class Look(Enum):
    """What came of the wish for a look: none may be spent, somebody else is at it, or WeChat was asked."""

    NONE = auto()
    UNDER_WAY = auto()
    DONE = auto()


class EarlyLooks:
    """Looks at tickets out of turn: one an account in 30 s, ten a minute over the fleet."""

    def __init__(
        self,
        near: NearCache,
        link: Link,
        refresher: Refresher,
        boot_clock: Callable[[], float],
        *,
        reader: bool,
    ) -> None:
        self._near = near
        self._link = link
        self._refresher = refresher
        self._boot = boot_clock
        self._reader = reader
        # Until when the store will grant no look: a flood of reports does not ask it each time.
        self._closed_until: dict[CredentialKey, float] = {}

    def values(self, key: CredentialKey) -> tuple[str, str]:
        """The value that this process serves, and the one that it replaced; empty where there is none."""
        seat = self._near.seat(key)
        held = seat.usable(self._boot())
        return held.value if held else "", seat.previous

    def look(self, key: CredentialKey) -> Look:
        """Ask WeChat whether the ticket is still the one, unless that was asked a moment ago.

        Blocks for the call, 4 s at the most. Raises nothing.
        """
        seat = self._near.seat(key)
        if self._reader or not seat.time_to_try(RefreshNeed.DUE, self._boot()):
            return Look.NONE
        wait = self._wait(key)
        if wait is None or wait:
            begun = wait is not None and GAP_SECONDS - UNDER_WAY_SECONDS < wait <= GAP_SECONDS
            return Look.UNDER_WAY if begun else Look.NONE
        result = self._refresher.alone(key, lambda: self._refresher.refresh(key, Intent.ASKED))
        self._near.settle(key, result)
        return Look.DONE

    def _wait(self, key: CredentialKey) -> float | None:
        """Seconds until a look may be had; 0 where one was taken, None where the store is away."""
        if (left := self._closed_until.get(key, 0.0) - self._boot()) > 0:
            return left
        rations = [
            Ration(f"early|{key.name}", 1, GAP_SECONDS),
            Ration("early", LOOKS_A_MINUTE, MINUTE_SECONDS),
        ]
        wait = self._link.ask(lambda store: store.take(rations))
        self._closed_until[key] = self._boot() + (AWAY_SECONDS if wait is None else wait or GAP_SECONDS)
        return wait
