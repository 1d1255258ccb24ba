"""What an attempt is told, what it finds, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from wxsign.broker.events import Outcome
    from wxsign.broker.schedule import Doors, Failure
    from wxsign.credentials import Credential
    from wxsign.errors import WxSignError


class Result(NamedTuple):
    """How an attempt ended. The two times are on the boot clock: when the next one may start, if a failure says so.

    `others_fetch`: this machine failed while another one has gone on fetching. `first_failure`: whether another one has
    is not known yet.
    """

    outcome: Outcome
    error: WxSignError | None = None
    next_try: float = 0.0
    next_try_empty: float = 0.0
    others_fetch: bool = False
    first_failure: bool = False


class Scene(NamedTuple):
    """What stands before a call: the credential until now, and the failures at the three doors."""

    doors: Doors
    failures: dict[str, Failure]
    before: Credential | None

    @property
    def attempt(self) -> int:
        return max((failure.failures for failure in self.failures.values()), default=0)


@dataclass(frozen=True)
class Mode:
    """How an attempt treats what it finds: go `anyway`, `force`, `replacing` a value.

    A try that is not `final` is followed by another one with another token, which is `following`.
    """

    anyway: bool = False
    force: bool = False
    accept_again: bool = False
    final: bool = True
    following: bool = False
    replacing: str = ""


ORDINARY = Mode()
