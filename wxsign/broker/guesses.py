"""Systems that cannot report: one that asks again for the token it was just given may have seen it refused.

That is a guess, for a restart looks the same. So WeChat is asked about a token once in 60 s over the fleet, nobody waits
for it, and the verdict answers no report: those are asked anew. Who asks and asks within a second insists: then it is
asked once more, for the token may have died since. Only a token found dead is reported, by us. Who goes on asking for a
token found alive goes round in circles.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from wxsign.credentials import digest, sort_of
from wxsign.errors import CredentialUnavailable, FailureScope, StoreUnavailable, WeChatError
from wxsign.stores import Ration

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.broker.events import Upstream
    from wxsign.broker.ledger import Ledger
    from wxsign.broker.link import Link
    from wxsign.credentials import CredentialKey
    from wxsign.stores import CredentialStore

GUESS_SECONDS: Final = 60.0
INSISTS_SECONDS: Final = 1.0
ASKS_TO_INSIST: Final = 5
LOOP_SECONDS: Final = 10.0
ALIVE_SECONDS: Final = 2.0
INSISTING_AN_HOUR: Final = 120
HOUR_SECONDS: Final = 3600.0


class Asking(NamedTuple):
    """Who asks for a token, with how much of its life left; asking oftener than `asks_a_loop` times in ten seconds is a loop."""

    caller: str
    left_seconds: float
    asks_a_loop: int


class Guesses:
    """Remembers in the store who was given which token. `report` is what a true report does."""

    def __init__(
        self,
        link: Link,
        upstream: Upstream,
        ledger: Ledger,
        spawn: Callable[[Callable[[], None]], None],
        report: Callable[[CredentialKey, str], object],
    ) -> None:
        self._link = link
        self._upstream = upstream
        self._ledger = ledger
        self._spawn = spawn
        self._report = report

    def given(self, key: CredentialKey, value: str, asking: Asking) -> bool:
        """A caller is about to be given `value`. Says whether it goes round in circles. Raises nothing."""
        return self._link.call(lambda store: self._noted(store, key, value, asking))

    def _noted(self, store: CredentialStore, key: CredentialKey, value: str, asking: Asking) -> bool:
        mark, told = digest(value), f"told|{key.name}|{asking.caller}"
        notes = store.view((), [told, _alive(key)]).notes
        if notes.get(told) != mark:
            store.note(told, mark, asking.left_seconds)
            return False

        def spent(what: str, limit: int, seconds: float) -> bool:
            return store.take([Ration(f"{what}|{key.name}|{mark}|{asking.caller}", limit, seconds)]) > 0

        if self._may_ask(store, key, mark, insists=spent("insists", ASKS_TO_INSIST, INSISTS_SECONDS)):
            # Without a thread to be had, the next one who asks again is guessed about.
            with suppress(RuntimeError):
                self._spawn(lambda: self._find_out(key, value, mark))
            return False
        # Only what is asked for after WeChat took it makes a loop: while a token is dead, all ask again and again.
        return notes.get(_alive(key)) == mark and spent("loops", asking.asks_a_loop, LOOP_SECONDS)

    @staticmethod
    def _may_ask(store: CredentialStore, key: CredentialKey, mark: str, *, insists: bool) -> bool:
        if store.take([Ration(f"guess|{key.name}|{mark}", 1, GUESS_SECONDS)]) == 0.0:
            return True
        hour = Ration(f"insist-hour|{key.name}", INSISTING_AN_HOUR, HOUR_SECONDS)
        return insists and store.take([Ration(f"insist|{key.name}|{mark}", 1, INSISTS_SECONDS), hour]) == 0.0

    def _find_out(self, key: CredentialKey, value: str, mark: str) -> None:
        call = sort_of(key).alive_by
        with suppress(StoreUnavailable, CredentialUnavailable):
            store = self._link.store
            if call is None or self._ledger.admit(store, key, call, store.now(), urgent=False):
                return
            try:
                self._upstream.probe(key, value, attempt=0)
            except WeChatError as error:
                if error.scope is FailureScope.STALE_TOKEN:
                    store.erase([_alive(key)])
                    self._report(key, value)
                return
            store.note(_alive(key), mark, ALIVE_SECONDS)


def _alive(key: CredentialKey) -> str:
    return f"alive|{key.name}"
