"""Sessions of people in the console: notes in the store, so that all workers of a fleet know them, and one word ends them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from wxsign.credentials import digest
from wxsign.stores.base import Ration

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.stores.base import CredentialStore

T = TypeVar("T")
SESSION_SECONDS: Final = 8 * 3600.0


class CallStore(Protocol):
    """Does one thing with the store of this moment."""

    def __call__(self, work: Callable[[CredentialStore], T], /) -> T: ...


class Sessions:
    """Begins, finds and ends sessions. What names one stands in its owner's cookie; the store has a digest of it."""

    def __init__(self, call: CallStore) -> None:
        self._call = call

    def begin(self, name: str) -> str:
        """Begin a session of the client `name`, and return what names it; never one that somebody brings along."""
        session = secrets.token_urlsafe(32)
        self._call(lambda store: store.note(_note(session), name, SESSION_SECONDS))
        return session

    def name_of(self, session: str) -> str | None:
        """Whose session it is, None for none."""
        note = _note(session)
        return self._call(lambda store: store.view((), (note,))).notes.get(note)

    def end(self, session: str) -> None:
        """End it, everywhere."""
        self._call(lambda store: store.erase((_note(session),)))

    def admits(self, what: str, limit: int, window_seconds: float) -> bool:
        """Count one `what`; whether it is among the `limit` that a window may have."""
        return self._call(lambda store: store.take([Ration(f"console|{what}", limit, window_seconds)])) == 0.0


def _note(session: str) -> str:
    return f"session|{digest(session)}"
