"""One row a sort of credential: how it is fetched, when it is due, what an answer makes of what stood before.

`needs` may form a chain of any length: an agent's ticket needs a token, a token needs the account's own secret.

Why a ticket carries two expiries: inside its life `getticket` returns the *same* ticket and always says
`expires_in: 7200` (six independent reports, 2016–2024), so `now + 7200` may be two hours too late. What is certain:
the ticket was issued after the start of the last call that still gave its predecessor, and before the end of the call
that first gave it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, Literal

from wxsign.credentials.values import (
    LONG_AGO,
    Credential,
    CredentialKey,
    CredentialKind,
    RefreshNeed,
    Sighting,
    TokenEndpoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FULL_LIFE_SECONDS: Final = 7200
STABLE_WINDOW_SECONDS: Final = 300
CLASSIC_WINDOW_SECONDS: Final = 270
TICKET_POLL_SECONDS: Final = 60
SOURCE_POLL_SECONDS: Final = 60
SOURCE_TRUST_SECONDS: Final = 300
CANARY_SECONDS: Final = 3600
CANARY_KEPT_SECONDS: Final = 86_400
TICKET_HUNT_SECONDS: Final = 5
# WeCom grants 100 looks an hour at an app's ticket, and 400 to all apps of a corporation together.
WECOM_POLL_SECONDS: Final = 300
WECOM_HUNT_SECONDS: Final = 30
NARROW_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Sort:
    """What distinguishes one sort of credential from another; everything else treats them alike.

    `call` is the client's method and the ledger's name for it. `needs` is the kind that it is fetched with, None for
    the account's own secret. `rotates`: each call of ours retires the value before. `forced_by`: the ledger's name of
    a call that replaces a value WeChat would give again. `alive_by`: the cheap call that tells a living value from a
    dead one. `handed_on`: another system fetches the value for us, so a change of it is nobody's theft. `canary`: the kind that is called once an hour, where a call of its own would do harm. Without `served`
    nobody ever asks for the value, so nothing of it is urgent.
    """

    kind: CredentialKind
    call: str
    needs: CredentialKind | None
    ordinary_due_at: Callable[[Credential], float]
    witnessed: Callable[[Credential | None, Sighting, int], Credential]
    told_expiry: Callable[[Credential, float], float]
    rotates: bool = False
    forced_by: str | None = None
    alive_by: str | None = None
    handed_on: bool = False
    canary: CredentialKind | None = None
    served: bool = True

    @property
    def what(self) -> Literal["token", "ticket"]:
        """What a sentence calls it."""
        return "token" if self.kind is CredentialKind.ACCESS_TOKEN else "ticket"

    def due_at(self, credential: Credential) -> float:
        """The moment from which a refresh is due; long ago where nobody knows when the credential was last seen."""
        return LONG_AGO if credential.started_at == LONG_AGO else self.ordinary_due_at(credential)

    def need(self, credential: Credential | None, now: float) -> RefreshNeed:
        """What `credential` needs at `now` (seconds of the clock that its times are of)."""
        if credential is None or not credential.usable(now):
            return RefreshNeed.EMPTY if self.served else RefreshNeed.DUE
        return RefreshNeed.DUE if now >= self.due_at(credential) else RefreshNeed.NONE

    def certain_until(self, credential: Credential) -> float:
        """Until when a value certainly lives, if nobody interferes."""
        return credential.latest_expiry if self.needs is None else credential.earliest_expiry


def sort_of(key: CredentialKey) -> Sort:
    """The row of a key."""
    return _ROWS[key.kind, key.endpoint]


@lru_cache(maxsize=65_536)
def needed_by(key: CredentialKey) -> CredentialKey | None:
    """The key of the credential that `key` is fetched with; None where that is the account's own secret."""
    kind = sort_of(key).needs
    return None if kind is None else replace(key, kind=kind)


@lru_cache(maxsize=65_536)
def canary_of(key: CredentialKey) -> CredentialKey | None:
    """The key of the call that tells, once an hour, whether the account's secret and address are still taken."""
    kind = sort_of(key).canary
    return None if kind is None else replace(key, kind=kind, endpoint=TokenEndpoint.STABLE)


@lru_cache(maxsize=65_536)
def chain_of(key: CredentialKey) -> tuple[CredentialKey, ...]:
    """`key`, what it is fetched with, and so on to the one that the account's secret fetches."""
    needed = needed_by(key)
    return (key,) if needed is None else (key, *chain_of(needed))


def asked_for(keys: Sequence[CredentialKey]) -> Sequence[CredentialKey]:
    """Of an account's credentials those that it is for: its tickets; its token, where it has none."""
    return [key for key in keys if sort_of(key).needs is not None] or keys


# ------------------------------------------------------------------------------------------- tokens


def _token_witnessed(before: Credential | None, seen: Sighting, version: int) -> Credential:
    expiry = seen.started_at + seen.expires_in_seconds
    life = seen.expires_in_seconds
    if before is not None and before.value == seen.value:
        life = before.life_seconds
        # The same value may bring its expiry nearer, never push it out, unless it outlived what we knew.
        if before.usable(seen.started_at):
            expiry = min(expiry, before.latest_expiry)
    return Credential(seen.value, version, life, seen.started_at, expiry, expiry)


def _stable_due_at(token: Credential) -> float:
    # WeChat rotates a stable token in its last 5 minutes and returns the same one before: UNCHANGED is an ordinary
    # outcome there (getStableAccessToken), asked again after min(15 s, a quarter of what is left). Once an hour it is
    # asked all the same: a reset secret or a lost entry of the whitelist shows itself while there is time to see to it.
    window = min(STABLE_WINDOW_SECONDS, token.life_seconds / 2)
    left = token.latest_expiry - token.started_at
    last = max(token.latest_expiry - window, token.started_at + max(1.0, min(15.0, left / 4)))
    return min(last, token.started_at + CANARY_SECONDS)


def _classic_due_at(token: Credential) -> float:
    # Each call rotates, and the old token lives 5 minutes more: asking earlier would kill it before the expiry that
    # our clients were told.
    return token.latest_expiry - min(CLASSIC_WINDOW_SECONDS, token.life_seconds / 24)


def _token_told_expiry(token: Credential, _now: float) -> float:
    return token.earliest_expiry


def _source_witnessed(_before: Credential | None, seen: Sighting, version: int) -> Credential:
    # The source knows: what it says is left counts, also where it is more than before. One that does not say it is
    # believed for a while, and what it gave is kept for a life.
    said = seen.expires_in_seconds
    earliest = seen.started_at + (said or SOURCE_TRUST_SECONDS)
    latest = seen.started_at + (said or FULL_LIFE_SECONDS)
    return Credential(seen.value, version, said or FULL_LIFE_SECONDS, seen.started_at, earliest, latest)


def _source_due_at(token: Credential) -> float:
    left = token.latest_expiry - token.started_at
    return token.started_at + max(1.0, min(SOURCE_POLL_SECONDS, left / 4))


def _source_told_expiry(token: Credential, now: float) -> float:
    return (
        token.earliest_expiry
        if token.earliest_expiry > now
        else min(now + SOURCE_POLL_SECONDS, token.usable_until)
    )


def _canary_witnessed(_before: Credential | None, seen: Sighting, version: int) -> Credential:
    # The value is nobody's: what counts is that WeChat gave one.
    kept_until = seen.started_at + CANARY_KEPT_SECONDS
    return Credential(
        f"granted-{version}", version, CANARY_KEPT_SECONDS, seen.started_at, kept_until, kept_until
    )


# ------------------------------------------------------------------------------------------- tickets


def _ticket_witnessed(before: Credential | None, seen: Sighting, version: int) -> Credential:
    if before is not None and before.value == seen.value:
        return _same_ticket(before, seen, version)
    return _new_ticket(before, seen, version)


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


def _ticket_due_at(
    ticket: Credential, poll: float = TICKET_POLL_SECONDS, hunt: float = TICKET_HUNT_SECONDS
) -> float:
    narrow = ticket.latest_expiry - ticket.earliest_expiry <= _scaled(NARROW_SECONDS, ticket)
    hunt_from = ticket.earliest_expiry if narrow else ticket.latest_expiry
    hunted_at = max(hunt_from, ticket.started_at + _scaled(hunt, ticket))
    return min(hunted_at, ticket.started_at + poll_seconds(ticket, poll))


def poll_seconds(ticket: Credential, poll: float = TICKET_POLL_SECONDS) -> float:
    """The ordinary interval between two looks at a ticket, in seconds."""
    return _scaled(poll, ticket)


def _scaled(seconds: float, ticket: Credential) -> float:
    """WeChat may shorten lives: a ticket of 30 s is watched as closely, for its life, as one of two hours."""
    return max(1.0, seconds * min(1.0, ticket.life_seconds / FULL_LIFE_SECONDS))


def _ticket_told_expiry(ticket: Credential, now: float, poll: float = TICKET_POLL_SECONDS) -> float:
    """The earliest expiry; once that has passed, one poll interval from now, but never what cannot be any more."""
    if ticket.earliest_expiry > now:
        return ticket.earliest_expiry
    return min(now + poll_seconds(ticket, poll), ticket.usable_until)


# ------------------------------------------------------------------------------------------- the rows

_STABLE_TOKEN: Final = Sort(
    kind=CredentialKind.ACCESS_TOKEN,
    call="stable_token",
    needs=None,
    ordinary_due_at=_stable_due_at,
    witnessed=_token_witnessed,
    told_expiry=_token_told_expiry,
    forced_by="force_refresh",
    alive_by="get_api_domain_ip",
)
_CLASSIC_TOKEN: Final = replace(
    _STABLE_TOKEN,
    call="token",
    ordinary_due_at=_classic_due_at,
    rotates=True,
    forced_by=None,
    canary=CredentialKind.CANARY,
)
# It may change at any moment there, without our being told; asking costs WeChat nothing.
_SOURCE_TOKEN: Final = replace(
    _STABLE_TOKEN,
    call="source",
    ordinary_due_at=_source_due_at,
    witnessed=_source_witnessed,
    told_expiry=_source_told_expiry,
    forced_by="source_refresh",
    handed_on=True,
)
# A stable token of its own, which retires no classic one (getStableAccessToken); the value is thrown away.
_CANARY: Final = Sort(
    kind=CredentialKind.CANARY,
    call="stable_token",
    needs=None,
    ordinary_due_at=lambda credential: credential.started_at + CANARY_SECONDS,
    witnessed=_canary_witnessed,
    told_expiry=_token_told_expiry,
    rotates=True,
    served=False,
)
_JSAPI_TICKET: Final = Sort(
    kind=CredentialKind.JSAPI_TICKET,
    call="getticket",
    needs=CredentialKind.ACCESS_TOKEN,
    ordinary_due_at=_ticket_due_at,
    witnessed=_ticket_witnessed,
    told_expiry=_ticket_told_expiry,
)

_CARD_TICKET: Final = replace(_JSAPI_TICKET, kind=CredentialKind.CARD_TICKET)
# Inside its life WeCom gives an app's token again, like a stable one; nothing forces another (path/91039).
_WECOM_TOKEN: Final = replace(_STABLE_TOKEN, call="gettoken", forced_by=None)
# The corporation's ticket and the app's (path/96909): each is fetched with the token of the app's own secret.
_CORP_TICKET: Final = replace(
    _JSAPI_TICKET,
    call="get_jsapi_ticket",
    ordinary_due_at=partial(_ticket_due_at, poll=WECOM_POLL_SECONDS, hunt=WECOM_HUNT_SECONDS),
    told_expiry=partial(_ticket_told_expiry, poll=WECOM_POLL_SECONDS),
)
_AGENT_TICKET: Final = replace(_CORP_TICKET, kind=CredentialKind.AGENT_TICKET, call="agent_ticket")

_ROWS: Final = {
    (CredentialKind.ACCESS_TOKEN, TokenEndpoint.STABLE): _STABLE_TOKEN,
    (CredentialKind.JSAPI_TICKET, TokenEndpoint.STABLE): _JSAPI_TICKET,
    (CredentialKind.CARD_TICKET, TokenEndpoint.STABLE): _CARD_TICKET,
    (CredentialKind.CANARY, TokenEndpoint.STABLE): _CANARY,
    (CredentialKind.ACCESS_TOKEN, TokenEndpoint.CLASSIC): _CLASSIC_TOKEN,
    (CredentialKind.JSAPI_TICKET, TokenEndpoint.CLASSIC): _JSAPI_TICKET,
    (CredentialKind.CARD_TICKET, TokenEndpoint.CLASSIC): _CARD_TICKET,
    (CredentialKind.ACCESS_TOKEN, TokenEndpoint.WECOM): _WECOM_TOKEN,
    (CredentialKind.JSAPI_TICKET, TokenEndpoint.WECOM): _CORP_TICKET,
    (CredentialKind.ACCESS_TOKEN, TokenEndpoint.SOURCE): _SOURCE_TOKEN,
    (CredentialKind.JSAPI_TICKET, TokenEndpoint.SOURCE): _JSAPI_TICKET,
    (CredentialKind.CARD_TICKET, TokenEndpoint.SOURCE): _CARD_TICKET,
    (CredentialKind.AGENT_TICKET, TokenEndpoint.WECOM): _AGENT_TICKET,
}
