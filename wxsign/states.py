"""What an operator, and the owner's other systems, may see of accounts and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wxsign.broker import Spending, Theft
    from wxsign.errors import WxSignError


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """An access_token for another system of the owner. Times are seconds; `expires_at` counts from the epoch.

    Ask again after `recheck_after_seconds`: the token may be replaced before it expires. `verified` says that the very
    token reported as rejected was tried, and lives.
    """

    value: str = field(repr=False)
    expires_in_seconds: int
    expires_at: int
    recheck_after_seconds: int
    verified: bool = False


@dataclass(frozen=True, slots=True)
class TicketAnswer:
    """A jsapi_ticket for another system of the owner. Times are seconds; `expires_at` counts from the epoch.

    The expiry is the earliest possible one: WeChat does not say how old a ticket is.
    """

    value: str = field(repr=False)
    expires_in_seconds: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class CredentialState:
    """One credential as an operator may see it: no value. Times are seconds from now, None where nothing is held."""

    kind: str
    usable: bool
    expires_in_seconds: int | None = None
    refresh_in_seconds: int | None = None
    version: int | None = None
    error: WxSignError | None = None


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account and its credentials, without any value."""

    name: str
    app_id: str
    kind: str
    token_endpoint: str
    in_use: bool
    credentials: tuple[CredentialState, ...]
    theft: Theft | None = None
    spending: tuple[Spending, ...] = ()

    @property
    def serving(self) -> bool:
        """Whether all of its credentials are usable."""
        return all(credential.usable for credential in self.credentials)

    @property
    def problems(self) -> tuple[str, ...]:
        """The codes of what is wrong with it now."""
        codes = [state.error.code for state in self.credentials if state.error]
        return tuple(dict.fromkeys([*codes, *(["token_taken"] if self.theft else [])]))


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this process can serve; `state` is `ready`, `degraded` or `unready`, `problems` are codes."""

    ready: bool
    state: str
    problems: tuple[str, ...]
