"""Tells a token of ours from a stranger's when it comes back: which tokens were handed out, and for how long.

Noted in the store by their digests, so that a worker knows what another one gave, and one that has only just started
what stood before.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from wxsign.credentials import CredentialKind, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.broker.link import Link
    from wxsign.broker.near import NearCache
    from wxsign.credentials import CredentialKey
    from wxsign.stores import CredentialStore

# So long after its life a token is said to have expired, and not to be unknown.
REMEMBERED_SECONDS: Final = 7200.0


class Owner(NamedTuple):
    """The account, by AppID, whose token it is, and whether it may still be alive."""

    app_id: str
    alive: bool


class Issued:
    """The tokens that were handed out."""

    def __init__(self, near: NearCache, link: Link, boot_clock: Callable[[], float]) -> None:
        self._near = near
        self._link = link
        self._boot = boot_clock
        self._noted: dict[str, str] = {}

    def note(self, key: CredentialKey, value: str, left_seconds: float) -> None:
        """`value` is about to be handed out, with so much of its life left. Raises nothing."""
        mark = digest(value)
        if self._noted.get(key.name) == mark:
            return

        def write(store: CredentialStore) -> None:
            text = f"{key.owner}@{store.now() + left_seconds}"
            store.note(_name(mark), text, left_seconds + REMEMBERED_SECONDS)

        self._link.call(write)
        self._noted[key.name] = mark

    def whose(self, value: str) -> Owner | None:
        """The owner of a token that came back; None where it was never handed out here. Raises nothing."""
        owner = None
        for seat in self._near.seats():
            held = seat.usable(self._boot()) if seat.key.kind is CredentialKind.ACCESS_TOKEN else None
            if held and hmac.compare_digest(held.value.encode(), value.encode()):
                owner = Owner(seat.key.owner, alive=True)
        return owner or self._link.call(lambda store: _noted(store, value))


def _noted(store: CredentialStore, value: str) -> Owner | None:
    name = _name(digest(value))
    view = store.view((), [name])
    app_id, _, expires_at = view.notes.get(name, "").rpartition("@")
    try:
        return Owner(app_id, alive=view.now < float(expires_at)) if app_id else None
    except ValueError:
        return None


def _name(mark: str) -> str:
    return f"issued|{mark}"
