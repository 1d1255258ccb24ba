"""What stands before a call, and what its failures say about the next one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wxsign.broker.schedule import Doors, Failure, concerns_machine, decode, next_try_at
from wxsign.broker.seat import Failed, Seat
from wxsign.credentials import CLOCK_TOLERANCE_SECONDS
from wxsign.errors import FailureScope

if TYPE_CHECKING:
    from wxsign.credentials import Credential
    from wxsign.stores import View

# Who asks again with another token has that long before the others are told of the first one's refusal.
START_OVER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands before a call: the clocks, the failures at the doors, the credential until now, and the notes."""

    view: View
    boot: float
    doors: Doors
    failures: dict[str, Failure]
    before: Credential | None

    @property
    def attempt(self) -> int:
        return max((failure.failures for failure in self.failures.values()), default=0)


def failures_in(view: View, doors: Doors) -> dict[str, Failure]:
    """What failed at these doors, but for the future: that was noted before the store's clock was stepped back."""
    latest = view.now + CLOCK_TOLERANCE_SECONDS
    found = {name: decode(view.notes[name]) for name in doors if name in view.notes}
    return {name: failure for name, failure in found.items() if failure and failure.started_at <= latest}


def known_failure(view: View, doors: Doors, seat: Seat, boot: float) -> Failed | None:
    """The failure that stands at these doors, for those who only look; None where every door is open."""
    failures = failures_in(view, doors)
    if not failures:
        return None
    scene = Scene(view, boot, doors, failures, seat.last_as_of(view.now, boot))
    worst = max(failures.values(), key=lambda failure: next_try(failure, scene, empty=True))
    return failed_of(worst, scene)


def doors_of_the_future(view: View, doors: Doors) -> tuple[str, ...]:
    """The doors whose failures lie in the future."""
    latest = view.now + CLOCK_TOLERANCE_SECONDS
    found = {name: decode(view.notes[name]) for name in doors if name in view.notes}
    return tuple(name for name, failure in found.items() if failure and failure.started_at > latest)


def next_try(failure: Failure, scene: Scene, *, empty: bool) -> float:
    """When the next attempt may start, by the store's clock."""
    # While it is empty nobody else is seeing to it, whoever did so before.
    before = None if empty else scene.before
    since = before is not None and before.started_at > failure.started_at
    return next_try_at(failure, empty=empty, others_succeeded=since)


def failed_of(failure: Failure, scene: Scene) -> Failed:
    """A failure with the next try's times, moved from the store's clock to the boot clock."""
    offset = scene.boot - scene.view.now
    before, earlier = scene.before, scene.failures.get(scene.doors.machine)
    others = before is not None and earlier is not None and before.started_at > earlier.started_at
    machines = concerns_machine(failure.error)
    started_at = failure.started_at + offset
    stale = failure.scope is FailureScope.STALE_TOKEN and failure.failures == 1
    return Failed(
        failure.error,
        at=started_at,
        next_try=next_try(failure, scene, empty=False) + offset,
        next_try_empty=next_try(failure, scene, empty=True) + offset,
        others_fetch=machines and others,
        first_of_machine=machines and failure.failures == 1,
        untold_until=started_at + START_OVER_SECONDS if stale else float("-inf"),
        since=failure.began_at,
        door=scene.doors.for_scope(failure.scope),
    )
