"""While one worker replaces a refused token to ask for a ticket again, the others need not find out for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wxsign.broker.fleet import Fleet
    from wxsign.credentials import CredentialKey

# Who dies meanwhile keeps the others waiting so long, which is less than a cold caller waits.
RENEWAL_SECONDS = 8.0


class Renewals:
    """A note in the store, under the name of the ticket that waits for another token."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def begin(self, key: CredentialKey) -> None:
        """Keep the others from asking for `key`: eight workers would each be refused, and then each a second time."""
        self._fleet.call(lambda store: store.note(_name(key), "", RENEWAL_SECONDS))

    def under_way(self, key: CredentialKey) -> bool:
        """Whether somebody will be back with another token."""
        return not key.is_token and bool(self._fleet.call(lambda store: store.notes((_name(key),))))

    def end(self, key: CredentialKey) -> None:
        """Let the others ask again."""
        self._fleet.call(lambda store: store.erase((_name(key),)))


def _name(key: CredentialKey) -> str:
    return f"renewal|{key.name}"
