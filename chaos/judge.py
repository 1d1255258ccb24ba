"""What came of a scenario: pure functions from what was seen to a row of the table, and to what it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fleet import Shot

    from chaos.scenarios import Scenario
    from chaos.traffic import Look, Ticket

OK: Final = 200
# A ticket of these lives is looked at every second; what one worker finds reaches all workers within two more.
POLL_SECONDS: Final = 1.0
SPREAD_SECONDS: Final = 2.0
# Where a ticket ends a request may be under way, and two clocks are read.
EDGE_SECONDS: Final = 0.1
# How late the sandbox may notice that a caller has hung up.
HANG_UP_SECONDS: Final = 0.5
CREDENTIAL_OF: Final = {"token": "token", "stable_token": "token", "getticket": "ticket"}
STORE_TROUBLE: Final = frozenset({"store_unavailable", "store_schema_ahead"})


@dataclass(frozen=True)
class Seen:
    """Everything that was seen of one scenario. Times are seconds since the epoch."""

    shots: Sequence[Shot]
    verdicts: Sequence[bool | None]
    tickets: Sequence[Ticket]
    looks: Sequence[Look]
    calls: Sequence[Mapping[str, Any]]
    log: str
    fault_from: float
    fault_until: float


@dataclass(frozen=True)
class Row:
    """One line of the table. `refused_late`: outside the seconds that a rotation excuses."""

    name: str
    requests: int
    answered: int
    refused: int
    refused_late: int
    lost: int
    none_to_be_had: int
    calls: int
    in_flight: int
    shut_out: int
    quiet_ms: tuple[float, float]
    fault_ms: tuple[float, float]
    recovery_seconds: float
    felt: bool

    def breaches(self, scenario: Scenario) -> list[str]:
        """Say which of the scenario's criteria were not met."""
        limits = [
            (self.lost, 0, "requests not answered while a usable credential existed"),
            (0 if scenario.outage else self.none_to_be_had, 0, "requests for which there was no ticket"),
            (self.shut_out, 1, "calls of the machine that WeChat refuses"),
            (self.refused_late, 0, "signatures that WeChat refused outside the seconds after a rotation"),
            (self.in_flight, scenario.in_flight, "calls in flight for one credential"),
            (self.recovery_seconds, scenario.recovery_seconds, "seconds to recovery"),
        ]
        unfelt = [] if self.felt else ["the fault left no trace in the logs"]
        return unfelt + [
            f"{value:g} {what} (at most {limit:g})" for value, limit, what in limits if value > limit
        ]


def judged(scenario: Scenario, seen: Seen) -> Row:
    """Return the scenario's row."""
    calls = [call for call in seen.calls if call["at"] >= seen.fault_from]
    pairs = tuple(zip(seen.shots, seen.verdicts, strict=True))
    refused = [shot for shot, verdict in pairs if verdict is False]
    late = [shot for shot in refused if not (scenario.rotation_excuses and _excused(shot, seen.tickets))]
    failed = [shot for shot in seen.shots if shot.status != OK]
    usable = [ticket for ticket in (_as_ours(ticket, seen.calls) for ticket in seen.tickets) if ticket]
    lost = [shot for shot in failed if _usable_during(shot, usable)]
    return Row(
        name=scenario.name,
        requests=len(seen.shots),
        answered=sum(shot.status == OK for shot in seen.shots),
        refused=len(refused),
        refused_late=len(late),
        lost=len(lost),
        none_to_be_had=len(failed) - len(lost),
        calls=len(calls),
        in_flight=most_in_flight(calls),
        shut_out=sum(call["remote_addr"] == scenario.shut_out for call in calls),
        quiet_ms=_latencies(shot for shot in seen.shots if shot.ends_at < seen.fault_from),
        fault_ms=_latencies(shot for shot in seen.shots if seen.fault_from <= shot.at < seen.fault_until),
        recovery_seconds=_recovery_seconds(
            pairs, seen.looks, seen.fault_from if scenario.instant else seen.fault_until
        ),
        felt=scenario.trace in seen.log,
    )


def _excused(shot: Shot, tickets: Sequence[Ticket]) -> bool:
    """Say whether the request ended within a poll and a spread of the end of a ticket."""
    window = POLL_SECONDS + SPREAD_SECONDS
    return any(
        ticket.ends_at - EDGE_SECONDS <= shot.ends_at <= ticket.ends_at + window + EDGE_SECONDS
        for ticket in tickets
    )


def _as_ours(ticket: Ticket, calls: Sequence[Mapping[str, Any]]) -> Ticket | None:
    """Return the ticket from when WeChat first gave it to us; None where its every answer was lost."""
    given = [
        call["at"] + call["seconds"]
        for call in calls
        if call["endpoint"] == "getticket" and call["seconds"] is not None
        if call["errcode"] == 0 and call["fault"] in {None, "latency"}
    ]
    ours = [at for at in given if ticket.issued_at <= at < ticket.ends_at]
    return ticket._replace(issued_at=min(ours)) if ours else None


def _usable_during(shot: Shot, tickets: Sequence[Ticket]) -> bool:
    """Say whether one ticket was good all the time that the request took, and known to every worker."""
    return any(
        ticket.issued_at + SPREAD_SECONDS <= shot.at and shot.ends_at < ticket.ends_at - EDGE_SECONDS
        for ticket in tickets
    )


def _recovery_seconds(
    pairs: Sequence[tuple[Shot, bool | None]], looks: Sequence[Look], since: float
) -> float:
    """Return the seconds until every page got a good signature and every worker had its store."""
    bad = [shot.ends_at for shot, verdict in pairs if shot.status != OK or verdict is False]
    bad += [look.at for look in looks if troubled(look)]
    return max(0.0, max(bad, default=0.0) - since)


def troubled(look: Look) -> bool:
    """Say whether a worker serves nobody, or is without its store."""
    return look.state == "unready" or bool(STORE_TROUBLE & set(look.problems))


def most_in_flight(calls: Iterable[Mapping[str, Any]]) -> int:
    """Return how many calls for one credential were in flight at once, at the most."""
    most = 0
    for credential in set(CREDENTIAL_OF.values()):
        steps = []
        for call in calls:
            if CREDENTIAL_OF.get(call["endpoint"]) == credential:
                steps += [(call["at"], 1), (_left_at(call), -1)]
        flying = 0
        for _, step in sorted(steps):
            flying += step
            most = max(most, flying)
    return most


def _left_at(call: Mapping[str, Any]) -> float:
    if call["seconds"] is None:
        return float("inf")
    noticed = HANG_UP_SECONDS if call["status"] == 0 else 0.0
    return float(call["at"] + max(0.0, call["seconds"] - noticed))


def _latencies(shots: Iterable[Shot]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    ranked = sorted(shot.seconds * 1000 for shot in shots)
    if not ranked:
        return 0.0, 0.0
    return ranked[len(ranked) // 2], ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
