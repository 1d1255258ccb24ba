"""Credentials as frozen values, and one row a sort: how it is fetched, when it is due, what an answer makes of it.

A *sighting* is one good answer of WeChat. A sort's `witnessed` turns the credential that stood before and a sighting
into the credential that stands now; its `need` says what to do with it at a given moment.
"""

from wxsign.credentials.sorts import (
    CANARY_SECONDS,
    Sort,
    asked_for,
    canary_of,
    chain_of,
    needed_by,
    poll_seconds,
    sort_of,
)
from wxsign.credentials.values import (
    CLOCK_TOLERANCE_SECONDS,
    LONG_AGO,
    Credential,
    CredentialKey,
    CredentialKind,
    RefreshNeed,
    Sighting,
    TokenEndpoint,
    adopted,
    digest,
    owner_of,
    tombstone,
)

__all__ = [
    "CANARY_SECONDS",
    "CLOCK_TOLERANCE_SECONDS",
    "LONG_AGO",
    "Credential",
    "CredentialKey",
    "CredentialKind",
    "RefreshNeed",
    "Sighting",
    "Sort",
    "TokenEndpoint",
    "adopted",
    "asked_for",
    "canary_of",
    "chain_of",
    "digest",
    "needed_by",
    "owner_of",
    "poll_seconds",
    "sort_of",
    "tombstone",
]
