"""When to try again after a failure: pure decisions about values that the fleet shares through the store.

A failure closes a *door*. Whom it concerns decides which one: the credential's own (the whole fleet waits), this
machine's (its address or its network is the fault, the others go on), or the AppSecret's.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from wxsign.credentials import sort_of
from wxsign.errors import (
    FailureScope,
    WeChatBadAnswer,
    WeChatError,
    WeChatRefused,
    WeChatUnreachable,
)

if TYPE_CHECKING:
    from wxsign.credentials import CredentialKey
    from wxsign.errors import WxSignError

DOOR_MEMORY_SECONDS = 2 * 86_400
BACKOFF_CAP_SECONDS = 60.0
EMPTY_CAP_SECONDS = 3.0
BACKOFF_FLOOR_SECONDS = 0.5
ELSEWHERE_FINE_SECONDS = 600.0
DAY_SECONDS = 86_400
MAX_FAILURES = 1_000_000_000
MAX_TEXT_CHARACTERS = 4096
# No clock shows a later moment.
YEAR_5138 = 1e11
_CHINA_OFFSET_SECONDS = 8 * 3600

_MACHINE = frozenset({FailureScope.ADDRESS, FailureScope.CONFIRMATION, FailureScope.NETWORK})
_FIXED_SECONDS = {
    FailureScope.QUOTA_MINUTE: 60.0,
    FailureScope.ADDRESS: 60.0,
    FailureScope.CONFIRMATION: 600.0,
    FailureScope.SECRET: 60.0,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt as the fleet remembers it: enough to say the cause anywhere and to compute the next try.

    `started_at` is the start of the attempt by the store's clock, in seconds; `jitter` was drawn once, in [0, 1), so
    that the schedule is the same for everybody. `kind` says which error it was: refused, unreachable or bad_answer.
    `since` is the start of the first of those in a row that were of this scope.
    """

    kind: str
    scope: FailureScope
    endpoint: str
    failures: int
    started_at: float
    jitter: float
    errcode: int = 0
    errmsg: str = ""
    reason: str = ""
    host: str = ""
    detail: str = ""
    used: int | None = None
    limit: int | None = None
    since: float = 0.0

    @property
    def began_at(self) -> float:
        """When this failing began, by the store's clock; versions before this one did not write it down."""
        return self.since or self.started_at

    @property
    def error(self) -> WeChatError:
        """The error that it was."""
        if self.kind == "refused":
            return WeChatRefused(self.errcode, self.errmsg, self.endpoint, used=self.used, limit=self.limit)
        if self.kind == "unreachable":
            return WeChatUnreachable(
                self.reason,  # type: ignore[arg-type]  # it came from one
                self.endpoint,
                host=self.host,
                detail=self.detail,
            )
        return WeChatBadAnswer(self.reason, self.endpoint)  # type: ignore[arg-type]  # it came from one


_FIELDS = frozenset(field.name for field in fields(Failure))


def failure_of(error: WeChatError, before: Failure | None, started_at: float, jitter: float) -> Failure:
    """`error` as a failure, counted on from the one `before` it at the same door."""
    failures = before.failures + 1 if before else 1
    common = (error.scope, error.endpoint, failures, started_at, jitter)
    # Where the store's clock was stepped back since, it began no later than now.
    since = min(before.began_at, started_at) if before and before.scope is error.scope else started_at
    if isinstance(error, WeChatRefused):
        return Failure(
            "refused",
            *common,
            errcode=error.errcode,
            errmsg=error.errmsg,
            used=error.used,
            limit=error.limit,
            since=since,
        )
    if isinstance(error, WeChatUnreachable):
        return Failure(
            "unreachable",
            *common,
            reason=error.reason,
            host=error.host,
            detail=error.detail,
            since=since,
        )
    return Failure("bad_answer", *common, reason=getattr(error, "reason", ""), since=since)


def encode(failure: Failure) -> str:
    """A failure as the note that it is stored as."""
    return json.dumps(asdict(failure), separators=(",", ":"))


def decode(text: str) -> Failure | None:
    """A stored note as a failure. None for one that this version cannot read: it must not end every refresh."""
    try:
        record = json.loads(text)
        known = {name: record[name] for name in _FIELDS & record.keys()}
        failure = Failure(**{**known, "scope": FailureScope(record["scope"])})
        failure.error  # noqa: B018 -- raises where this version does not know the reason
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return failure if _is_sound(failure) else None


def _is_sound(failure: Failure) -> bool:
    """Whether a failure from a store is one that its moments can be computed from."""
    texts = (failure.kind, failure.endpoint, failure.errmsg, failure.reason, failure.host, failure.detail)
    return (
        all(type(text) is str and len(text) <= MAX_TEXT_CHARACTERS for text in texts)
        and type(failure.failures) is int
        and 1 <= failure.failures <= MAX_FAILURES
        and type(failure.errcode) is int
        and all(count is None or type(count) is int for count in (failure.used, failure.limit))
        and type(failure.started_at) in {int, float}
        and 0 <= failure.started_at < YEAR_5138
        and type(failure.since) in {int, float}
        and 0 <= failure.since < YEAR_5138
        and type(failure.jitter) in {int, float}
        and 0 <= failure.jitter <= 1
    )


def concerns_machine(error: WxSignError | None) -> bool:
    """Whether a failure is of this machine's address or network, so that others may well succeed."""
    return isinstance(error, WeChatError) and error.scope in _MACHINE


class Doors(NamedTuple):
    """The notes that may hold back a fetch of one credential on one machine."""

    fleet: str
    machine: str
    secret: str

    def for_scope(self, scope: FailureScope) -> str:
        """The door that a failure of this scope closes."""
        if scope in _MACHINE:
            return self.machine
        return self.secret if scope is FailureScope.SECRET else self.fleet


def doors_of(key: CredentialKey, machine: str, secret_fingerprint: str) -> Doors:
    """The doors of `key` for the machine called `machine`."""
    fleet, sort = f"door|{key.name}", sort_of(key)
    # The way to another system is not the way to WeChat: while that is away, tickets are watched as ever.
    whose = f"{key.owner}|source" if sort.handed_on else key.owner
    return Doors(
        fleet=fleet,
        machine=f"door|machine|{machine}|{key.api_base}|{whose}",
        # What is fetched with a token proves nothing of the secret.
        secret=f"door|secret|{secret_fingerprint}" if sort.needs is None else fleet,
    )


def next_try_at(failure: Failure, *, empty: bool, others_succeeded: bool) -> float:
    """When the next attempt may start, by the store's clock.

    `empty`: nothing usable is left, so ordinary backoff is short. `others_succeeded`: another machine has succeeded
    since, so this one's address or network is at fault and it can wait.
    """
    if failure.scope in _MACHINE and others_succeeded:
        return failure.started_at + ELSEWHERE_FINE_SECONDS
    if failure.scope is FailureScope.QUOTA_DAY:
        return min(failure.started_at + 3600, china_midnight(failure.started_at) + 60 * failure.jitter)
    if failure.scope is FailureScope.ACCOUNT:
        return failure.started_at + (60 if failure.failures == 1 else 600)
    fixed = _FIXED_SECONDS.get(failure.scope)
    return failure.started_at + (_backoff_seconds(failure, empty=empty) if fixed is None else fixed)


def _backoff_seconds(failure: Failure, *, empty: bool) -> float:
    # Exponential with full jitter; the floor keeps a lucky draw from becoming a hot loop.
    cap = EMPTY_CAP_SECONDS if empty else BACKOFF_CAP_SECONDS
    ceiling = min(cap, 2.0 ** min(failure.failures, 16))
    return max(BACKOFF_FLOOR_SECONDS, failure.jitter * ceiling)


def china_day(now: float) -> int:
    """The day in China (UTC+8, no daylight saving), counted from 1970: WeChat's daily quotas go by it."""
    return int((now + _CHINA_OFFSET_SECONDS) // DAY_SECONDS)


def china_month(now: float) -> str:
    """The month in China, as in `2026-11`: some of WeChat's quotas go by it."""
    return datetime.fromtimestamp(now + _CHINA_OFFSET_SECONDS, UTC).strftime("%Y-%m")


def china_midnight(now: float) -> float:
    """The next midnight in China, when WeChat's daily quotas start anew."""
    return (china_day(now) + 1) * DAY_SECONDS - _CHINA_OFFSET_SECONDS
