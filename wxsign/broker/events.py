"""What a broker needs from outside, and what it tells: the upstream it is handed, and the events it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wxsign.credentials import CredentialKey
    from wxsign.errors import WxSignError


class Granted(Protocol):
    """A checked answer: a value and the seconds it was granted for."""

    @property
    def value(self) -> str: ...

    @property
    def expires_in_seconds(self) -> int: ...


class Upstream(Protocol):
    """WeChat, as a broker sees it. Each method makes exactly one call and raises `WeChatError` when it fails."""

    def fetch(self, key: CredentialKey, *, access_token: str | None, force: bool, attempt: int) -> Granted:
        """Fetch a credential; `access_token` for tickets, `force` for stable tokens, `attempt` picks the host."""

    def probe(self, key: CredentialKey, access_token: str, *, attempt: int) -> None:
        """Try an access_token on a cheap read-only call; raises with scope STALE_TOKEN when it is dead."""

    def secret_fingerprint(self, key: CredentialKey) -> str:
        """Tells one AppSecret of the account from another, without saying either."""


class Outcome(StrEnum):
    """How a look at a credential ended."""

    FRESH = "fresh"  # nothing to do: somebody else was faster, or there is no need
    REFRESHED = "refreshed"  # a new value
    UNCHANGED = "unchanged"  # the same value, an ordinary outcome
    FAILED = "failed"
    WAITING = "waiting"  # an earlier failure keeps the door closed
    HELD = "held"  # somebody else has the lease
    STALE = "stale"  # WeChat refused our own access_token on a ticket fetch
    GIVEN_AGAIN = "given_again"  # the stable endpoint returned the value that WeChat had declared dead
    ALIVE = "alive"  # a reported token is not dead
    DEAD = "dead"  # a reported token is dead


@dataclass(frozen=True, slots=True)
class RefreshEvent:
    """One call of WeChat for a credential, or its verdict on one. No value, no secret."""

    key: CredentialKey
    outcome: Outcome
    seconds: float
    version: int
    expires_in_seconds: int | None = None
    error: WxSignError | None = None
    forced: bool = False


Observer = Callable[[RefreshEvent], None]
