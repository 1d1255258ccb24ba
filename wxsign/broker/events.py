"""What a broker needs from outside, and what it tells: the upstream it is handed, and the two events it reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wxsign.credentials import Credential, CredentialKey
    from wxsign.errors import WxSignError


logger = logging.getLogger("wxsign.broker")


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
    UNTRIED = "untried"  # whether a reported token is dead could not be asked: no call may be spent on it


class Intent(Enum):
    """Why an attempt is made, and what it may do about it."""

    KEEP_FRESH = (
        auto()
    )  # what is due or missing, as the doors allow; a value declared dead is not taken again
    ASKED = auto()  # an operator wants it now, whatever schedule and doors say
    RENEW = auto()  # in place of a value that was refused; where WeChat gives it again, it is kept
    START_OVER = (
        auto()
    )  # with another token, after WeChat refused the first one: that failure holds nobody back
    TAKE_AGAIN = auto()  # even the value that was declared dead, if WeChat gives no other
    FORCE = auto()  # WeChat is to replace the value


@dataclass(frozen=True, slots=True)
class RefreshEvent:
    """A call of ours ended: it fetched a credential, or gave a verdict on one. No value, no secret."""

    key: CredentialKey
    outcome: Outcome
    seconds: float
    version: int
    expires_in_seconds: int | None = None
    error: WxSignError | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Adopted:
    """This process holds a new version, whoever fetched it. `usable_until` is on this machine's boot clock, in seconds.

    `credential` may be a tombstone. Its value is in no repr.
    """

    key: CredentialKey
    credential: Credential
    usable_until: float


Observer = Callable[[RefreshEvent | Adopted], None]


def teller(observers: Iterable[Observer]) -> Observer:
    """Tell all of `observers`; one that fails keeps nothing from the others."""
    known = tuple(observers)

    def tell(event: RefreshEvent | Adopted) -> None:
        for observer in known:
            try:
                observer(event)
            except Exception:
                logger.exception("wxsign.observer_failed")

    return tell
