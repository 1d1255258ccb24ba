"""Credentials as frozen values. All times are seconds of one clock (the store's), handed in: nothing here reads a clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

CLOCK_TOLERANCE_SECONDS = 5
LONG_AGO = 0.0


class CredentialKind(StrEnum):
    """What a credential is; the values are WeChat's own names where it has one."""

    ACCESS_TOKEN = "access_token"  # noqa: S105 -- the name of a kind, not a token
    JSAPI_TICKET = "jsapi"
    CARD_TICKET = "wx_card"
    AGENT_TICKET = "agent_config"
    CANARY = "canary"


class TokenEndpoint(StrEnum):
    """Where an account's access_token comes from: `/cgi-bin/stable_token`, the classic `/cgi-bin/token`, WeCom's `gettoken`, or another system."""

    STABLE = "stable"
    CLASSIC = "classic"
    WECOM = "wecom"
    SOURCE = "source"


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
    def owner(self) -> str:
        """Whose it is: the AppID; with the AgentId behind it where an app of a WeCom corporation has it for itself."""
        return owner_of(self.app_id, self.agent)


def owner_of(app_id: str, agent: str) -> str:
    """The one name of an account that has an AppID, or a corporation's id and an AgentId."""
    return f"{app_id}/{agent}" if agent else app_id


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
