"""Credentials as frozen values, and the pure decision when to refresh them.

A *sighting* is one good answer of WeChat. `witnessed` turns the credential that stood before and a sighting into the
credential that stands now; `RefreshPolicy.need` says what to do with it at a given moment. All times are seconds of
one clock (the store's), handed in by the caller: nothing here reads a clock.

Why a ticket carries two expiries: inside its life `getticket` returns the *same* ticket and always says
`expires_in: 7200` (six independent reports, 2016–2024), so `now + 7200` may be two hours too late. What is certain:
the ticket was issued after the start of the last call that still gave its predecessor, and before the end of the call
that first gave it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FULL_LIFE_SECONDS = 7200
STABLE_WINDOW_SECONDS = 300
CLASSIC_WINDOW_SECONDS = 270
TICKET_POLL_SECONDS = 60
TICKET_HUNT_SECONDS = 5
NARROW_SECONDS = 600
CLOCK_TOLERANCE_SECONDS = 5
LONG_AGO = 0.0


class CredentialKind(StrEnum):
    """What a credential is; the values are WeChat's own names where it has one."""

    ACCESS_TOKEN = "access_token"  # noqa: S105 -- the name of a kind, not a token
    JSAPI_TICKET = "jsapi"


class TokenEndpoint(StrEnum):
    """Where an account's access_token comes from: `/cgi-bin/stable_token` or the classic `/cgi-bin/token`."""

    STABLE = "stable"
    CLASSIC = "classic"


@dataclass(frozen=True, order=True)
class CredentialKey:
    """Names one credential. The API base is part of it, so that two environments never share one by accident."""

    api_base: str
    app_id: str
    kind: CredentialKind
    endpoint: TokenEndpoint
    agent: str = ""

    @cached_property
    def name(self) -> str:
        """The key in a store: readable, and free of secrets and values."""
        return f"{self.api_base}|{self.app_id}|{self.agent}|{self.kind}|{self.endpoint}"

    @cached_property
    def token_key(self) -> CredentialKey:
        """The key of the access_token that this credential is fetched with."""
        return replace(self, kind=CredentialKind.ACCESS_TOKEN)

    @property
    def is_token(self) -> bool:
        return self.kind is CredentialKind.ACCESS_TOKEN


@dataclass(frozen=True, slots=True)
class Credential:
    """One version of a credential. `version` is the fencing number: a higher one always wins.

    `value` is None in a tombstone: WeChat said that the value with `rejected_digest` is dead, and nothing has taken
    its place yet. `life_seconds` is what was granted when the value was first seen. `started_at` is the start of the
    last call that brought or confirmed the value. Usable until the later of `latest_expiry` and `alive_until`.
    """

    value: str | None = field(repr=False)
    version: int
    life_seconds: int
    started_at: float
    earliest_expiry: float
    latest_expiry: float
    alive_until: float = 0.0
    rejected_digest: str = ""

    @property
    def usable_until(self) -> float:
        return max(self.latest_expiry, self.alive_until) if self.value is not None else 0.0

    def usable(self, now: float) -> bool:
        return now < self.usable_until


class Sighting(NamedTuple):
    """A checked answer of WeChat: the value, what it granted, and when the call started and ended."""

    value: str
    expires_in_seconds: int
    started_at: float
    ended_at: float

    def __repr__(self) -> str:
        return f"Sighting(expires_in_seconds={self.expires_in_seconds}, started_at={self.started_at})"


def digest(value: str) -> str:
    """A fingerprint that can be stored and compared where the value itself must not stand."""
    return sha256(value.encode()).hexdigest()


def tombstone(dead: Credential, version: int, now: float) -> Credential:
    """The credential that says: WeChat told us that `dead` is dead."""
    return Credential(
        value=None,
        version=version,
        life_seconds=dead.life_seconds,
        started_at=now,
        earliest_expiry=LONG_AGO,
        latest_expiry=LONG_AGO,
        rejected_digest=digest(dead.value or ""),
    )


def witnessed(key: CredentialKey, before: Credential | None, seen: Sighting, version: int) -> Credential:
    """The credential after a good answer: `before` is what stood until then (None on a cold start)."""
    known = before is not None and before.value == seen.value
    if key.is_token:
        return _token(before if known else None, seen, version)
    if known and before is not None:
        return _same_ticket(before, seen, version)
    return _new_ticket(before, seen, version)


def _token(before: Credential | None, seen: Sighting, version: int) -> Credential:
    expiry = seen.started_at + seen.expires_in_seconds
    life = seen.expires_in_seconds
    if before is not None:
        life = before.life_seconds
        # The same value may bring its expiry nearer, never push it out, unless it outlived what we knew.
        if before.usable(seen.started_at):
            expiry = min(expiry, before.latest_expiry)
    return Credential(seen.value, version, life, seen.started_at, expiry, expiry)


def _new_ticket(before: Credential | None, seen: Sighting, version: int) -> Credential:
    life = seen.expires_in_seconds
    latest = seen.ended_at + life
    # Without a predecessor the ticket may be of any age: its earliest expiry counts as long past.
    earliest = min(before.started_at + life, latest) if before and before.value else LONG_AGO
    return Credential(seen.value, version, life, seen.started_at, earliest, latest)


def _same_ticket(before: Credential, seen: Sighting, version: int) -> Credential:
    life = seen.expires_in_seconds
    latest = min(before.latest_expiry, seen.ended_at + life)
    # Answered after it should have been gone: it was alive when the call started, and for a moment after.
    proven = seen.started_at >= before.latest_expiry
    alive_until = seen.started_at + max(1.0, life / 120) if proven else before.alive_until
    earliest = min(before.earliest_expiry, latest)
    return Credential(seen.value, version, life, seen.started_at, earliest, latest, alive_until)


def adopted(credential: Credential, now: float) -> Credential:
    """The credential as a process may trust it at `now`: a record from the future is due at once and lives one life.

    Such a record was written by a machine whose clock ran ahead, or before our own clock stepped back.
    """
    if credential.started_at <= now + CLOCK_TOLERANCE_SECONDS:
        return credential
    limit = now + credential.life_seconds
    return replace(
        credential,
        started_at=LONG_AGO,
        earliest_expiry=min(credential.earliest_expiry, now),
        latest_expiry=min(credential.latest_expiry, limit),
        alive_until=min(credential.alive_until, limit),
    )


class RefreshNeed(StrEnum):
    """`NONE` serve · `DUE` serve and refresh in the background · `EMPTY` expired or never had."""

    NONE = "none"
    DUE = "due"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """The pure decision when a credential wants a refresh."""

    ordinary_due_at: Callable[[Credential], float]

    def due_at(self, credential: Credential) -> float:
        """The moment from which a refresh is due; long ago where nobody knows when the credential was last seen."""
        return LONG_AGO if credential.started_at == LONG_AGO else self.ordinary_due_at(credential)

    def need(self, credential: Credential | None, now: float) -> RefreshNeed:
        """What `credential` needs at `now` (seconds of the clock that its times are of)."""
        if credential is None or not credential.usable(now):
            return RefreshNeed.EMPTY
        return RefreshNeed.DUE if now >= self.due_at(credential) else RefreshNeed.NONE


def policy_for(key: CredentialKey) -> RefreshPolicy:
    """The policy of a key's kind and endpoint."""
    if not key.is_token:
        return RefreshPolicy(_ticket_due_at)
    return RefreshPolicy(_stable_due_at if key.endpoint is TokenEndpoint.STABLE else _classic_due_at)


def _stable_due_at(token: Credential) -> float:
    # WeChat rotates a stable token in its last 5 minutes and returns the same one before: UNCHANGED is an ordinary
    # outcome there (getStableAccessToken), asked again after min(15 s, a quarter of what is left).
    window = min(STABLE_WINDOW_SECONDS, token.life_seconds / 2)
    left = token.latest_expiry - token.started_at
    return max(token.latest_expiry - window, token.started_at + max(1.0, min(15.0, left / 4)))


def _classic_due_at(token: Credential) -> float:
    # Each call rotates, and the old token lives 5 minutes more: asking earlier would kill it before the expiry that
    # our clients were told.
    return token.latest_expiry - min(CLASSIC_WINDOW_SECONDS, token.life_seconds / 24)


def _ticket_due_at(ticket: Credential) -> float:
    narrow = ticket.latest_expiry - ticket.earliest_expiry <= _scaled(NARROW_SECONDS, ticket)
    hunt_from = ticket.earliest_expiry if narrow else ticket.latest_expiry
    hunt = max(hunt_from, ticket.started_at + _scaled(TICKET_HUNT_SECONDS, ticket))
    return min(hunt, ticket.started_at + poll_seconds(ticket))


def poll_seconds(ticket: Credential) -> float:
    """The ordinary interval between two looks at a ticket, in seconds."""
    return _scaled(TICKET_POLL_SECONDS, ticket)


def _scaled(seconds: float, ticket: Credential) -> float:
    """WeChat may shorten lives: a ticket of 30 s is watched as closely, for its life, as one of two hours."""
    return max(1.0, seconds * min(1.0, ticket.life_seconds / FULL_LIFE_SECONDS))


def told_expiry(key: CredentialKey, credential: Credential, now: float) -> float:
    """The expiry that a client may be told: the earliest one; once that has passed, one poll interval from now."""
    if key.is_token or credential.earliest_expiry > now:
        return credential.earliest_expiry
    return now + poll_seconds(credential)
