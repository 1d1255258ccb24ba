"""What a sandbox can be told: one table of names, checks and defaults."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

DEFAULT_APPID = "wxsandbox000000001"
DEFAULT_SECRET = "sandbox-secret-0000000000000001"  # noqa: S105 - opens nothing but the sandbox
ENDPOINTS = (
    "token",
    "stable_token",
    "getticket",
    "get_api_domain_ip",
    "getcallbackip",
    "custom_send",
    "user_info",
    "quota_get",
    "clear_quota",
    "clear_quota_v2",
    "gettoken",
    "get_jsapi_ticket",
    "agent_ticket",
    "sns_access_token",
    "sns_refresh_token",
    "sns_userinfo",
    "sns_auth",
)
TICKET_ISSUES = ("on_demand", "on_expiry")
# The clients that the bridge can be (modes.js), and which URL they compare; `auto`: what the client would.
MODES = ("wechat", "iphone", "android", "wecom", "devtools", "harmonyos", "old", "slow", "none")
RULES = ("auto", "landing", "current")

# The daily limits of a real account that are published; the other endpoints have none that anybody could name.
PUBLISHED_QUOTA = {"token": 2_000, "stable_token": 500_000}
LONGEST_CHANGE_OVER_SECONDS = 300.0
BILLION = 10**9
LONGEST_TEXT = 64


class SettingsError(ValueError):
    """A setting is unknown or its value unusable. The message names every problem, `known` every name."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.known = sorted(CHECKS)


@dataclass(frozen=True)
class SandboxSettings:
    """Start settings of a sandbox; all but `accounts` can be changed while it runs. Times in seconds.

    `None` for the overlap of tokens or the rotation window means: 5 minutes, in proportion for shorter lives.
    """

    accounts: Mapping[str, str] = field(default_factory=lambda: {DEFAULT_APPID: DEFAULT_SECRET}, repr=False)
    token_life_seconds: float = 7200
    token_overlap_seconds: float | None = None
    stable_rotate_window_seconds: float | None = None
    ticket_life_seconds: float = 7200
    ticket_issue: str = "on_demand"
    ticket_overlap_seconds: float = 0
    ip_whitelist: tuple[str, ...] | None = None
    daily_quota: Mapping[str, int] = field(default_factory=lambda: dict(PUBLISHED_QUOTA))
    force_refresh_daily: int = 20
    force_refresh_gap_seconds: float = 30
    latency_seconds: float = 0
    verify_domains: tuple[str, ...] | None = None
    mode: str = "wechat"
    rule: str = "auto"
    user: str = "1"
    any_appid: bool = False

    @property
    def overlap_seconds(self) -> float:
        """How long a superseded access_token lives on."""
        return self._scaled(self.token_overlap_seconds)

    @property
    def rotate_window_seconds(self) -> float:
        """The last part of a stable token's life, in which a call gets a new one."""
        return self._scaled(self.stable_rotate_window_seconds)

    def public(self) -> dict[str, object]:
        """What is in force, without the accounts' secrets."""
        shown = {name: getattr(self, name) for name in CHECKS}
        in_force = {
            "token_overlap_seconds": self.overlap_seconds,
            "stable_rotate_window_seconds": self.rotate_window_seconds,
        }
        return shown | in_force

    def _scaled(self, explicit: float | None) -> float:
        if explicit is not None:
            return explicit
        return min(LONGEST_CHANGE_OVER_SECONDS, self.token_life_seconds / 24)


def updated(settings: SandboxSettings, changes: Mapping[str, object]) -> SandboxSettings:
    """`settings` with `changes`; raises SettingsError that names every unknown name and unusable value."""
    problems = [f"unknown setting {name}" for name in changes if name not in CHECKS]
    accepted: dict[str, Any] = {}
    for name in changes.keys() & CHECKS.keys():
        try:
            accepted[name] = CHECKS[name](changes[name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise SettingsError(problems)
    return replace(settings, **accepted)


def checked(settings: SandboxSettings) -> SandboxSettings:
    """The same settings, normalised; raises SettingsError."""
    problems = [
        "accounts: each needs an appid and a secret" for item in settings.accounts.items() if not all(item)
    ]
    if problems:
        raise SettingsError(problems)
    return updated(settings, {item.name: getattr(settings, item.name) for item in fields(settings)[1:]})


def bounded(value: object, minimum: float, maximum: float) -> float:
    """A number between two bounds (NaN is none); raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
        raise ValueError(f"must be a number between {minimum:g} and {maximum:g}")
    return value


def whole(value: object, minimum: int, maximum: int) -> int:
    """A whole number between two bounds; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise ValueError(f"must be a whole number between {minimum} and {maximum}")
    return value


def _number(minimum: float, maximum: float = BILLION) -> Callable[[object], float]:
    return lambda value: bounded(value, minimum, maximum)


def _optional(check: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else check(value)


def _count(value: object) -> int:
    return whole(value, 0, BILLION)


def _flag(value: object) -> bool:
    if value is not True and value is not False:
        raise ValueError("must be true or false")
    return bool(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT:
        raise ValueError(f"must be a text of 1 to {LONGEST_TEXT} characters")
    return value


def _one_of(names: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return str(value)

    return check


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("a list of strings is needed")
    return tuple(value)


def _networks(value: object) -> tuple[str, ...]:
    for entry in _strings(value):
        ipaddress.ip_network(entry, strict=False)
    return _strings(value)


def _quota(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping) or not set(value) <= set(ENDPOINTS):
        raise ValueError(f"an object with some of these names is needed: {', '.join(ENDPOINTS)}")
    return {name: _count(limit) for name, limit in value.items()}


CHECKS: dict[str, Callable[[object], object]] = {
    "token_life_seconds": _number(1, 86_400),
    "token_overlap_seconds": _optional(_number(0)),
    "stable_rotate_window_seconds": _optional(_number(0)),
    "ticket_life_seconds": _number(1, 86_400),
    "ticket_issue": _one_of(TICKET_ISSUES),
    "ticket_overlap_seconds": _number(0),
    "ip_whitelist": _optional(_networks),
    "daily_quota": _quota,
    "force_refresh_daily": _count,
    "force_refresh_gap_seconds": _number(0),
    "latency_seconds": _number(0, 3_600),
    "verify_domains": _optional(_strings),
    "mode": _one_of(MODES),
    "rule": _one_of(RULES),
    "user": _text,
    "any_appid": _flag,
}
