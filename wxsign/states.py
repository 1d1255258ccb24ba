"""What an operator, and the owner's other systems, may see of accounts and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wxsign.credentials import chain_of, sort_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wxsign.accounts import AccountRegistry
    from wxsign.broker import CredentialBroker, Held, Spending, Theft
    from wxsign.credentials import CredentialKey
    from wxsign.errors import WxSignError


# A process looks for what others know of accounts that it has not tried itself, so many at once, once a second.
LOOKED_FOR = 100
LOOK_SECONDS = 1.0


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
    problems: tuple[str, ...]

    @property
    def state(self) -> str:
        if not self.ready:
            return "unready"
        return "degraded" if self.problems else "ready"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process knows of what an account is asked for: whether it holds any of it, and whether it was ever tried."""

    usable: bool
    tried: bool


def is_ready(accounts: Iterable[Standing]) -> bool:
    """Whether one of the configured accounts can be served, or may turn out to be; so it is where there is none."""
    known = tuple(accounts)
    return not known or any(account.usable or not account.tried for account in known)


def told(broker: CredentialBroker, key: CredentialKey, held: Held) -> tuple[int, int]:
    """The seconds left and the expiry that a client is told, by the store's clock: at least a second, to the last."""
    now = broker.now(held)
    expiry = sort_of(key).told_expiry(held.credential, now)
    return max(1, int(expiry - now)), int(expiry)


class Overview:
    """What one process sees of all accounts; `keys` has those of each account by its name, the last what it is for."""

    def __init__(
        self, registry: AccountRegistry, broker: CredentialBroker, keys: Mapping[str, Sequence[CredentialKey]]
    ) -> None:
        self._registry = registry
        self._broker = broker
        self._keys = keys
        self._looked_at = float("-inf")

    def account_states(self) -> tuple[AccountState, ...]:
        """Every account with the state of its credentials, as this process sees them, and today's calls."""
        wanted = {key.app_id for key in self._broker.wanted()}
        spending = self._broker.spending([key for keys in self._keys.values() for key in keys])
        return tuple(
            AccountState(
                name=account.name,
                app_id=account.app_id,
                kind="official",
                token_endpoint=str(account.token_endpoint),
                in_use=account.app_id in wanted,
                credentials=tuple(self._credential_state(key) for key in self._keys[account.name]),
                theft=self._broker.thefts.get(account.app_id),
                spending=spending[account.app_id],
            )
            for account in self._registry
        )

    def readiness(self) -> Readiness:
        """Whether this process can serve one of the configured accounts, and what is wrong.

        An account is judged by what it is asked for, or kept warm for, not by what that is fetched with.
        """
        standings = self._standings()
        if not any(account.usable for account in standings.values()):
            self._learn_of([name for name, account in standings.items() if not account.tried])
            standings = self._standings()
        problems = dict.fromkeys(self._account_problems())
        problems |= dict.fromkeys(self._fleet_problems())
        return Readiness(is_ready(standings.values()), tuple(problems))

    def _standings(self) -> dict[str, Standing]:
        """By the account's name."""
        asked: dict[str, list[CredentialKey]] = {}
        for key in self._broker.in_use():
            asked.setdefault(key.app_id, []).append(key)
        return {
            account.name: self._standing(asked.get(account.app_id) or self._keys[account.name][-1:])
            for account in self._registry
        }

    def _standing(self, keys: Sequence[CredentialKey]) -> Standing:
        usable = any(self._broker.standing(key)[0] is not None for key in keys)
        # Where what it is fetched with failed, it was tried as well.
        failed = any(self._broker.standing(link)[1] is not None for key in keys for link in chain_of(key))
        return Standing(usable=usable, tried=usable or failed)

    def _learn_of(self, names: Sequence[str]) -> None:
        """See what the other workers know of accounts that were never tried here, so that all answer alike."""
        now = self._broker.boot_now()
        if names and now >= self._looked_at + LOOK_SECONDS:
            self._looked_at = now
            accounts = [self._registry.get(name) for name in names[:LOOKED_FOR]]
            self._broker.follow(key for account in accounts for key in self._keys[account.name])

    def _account_problems(self) -> Iterator[str]:
        in_use = set(self._broker.in_use())
        for key in self._broker.wanted():
            held, failed = self._broker.standing(key)
            if failed is not None:
                yield failed.error.code
            elif held is None and key in in_use:
                yield "credential_unavailable"
        if self._broker.thefts:
            yield "token_taken"

    def _fleet_problems(self) -> Iterator[str]:
        link = self._broker.link
        for trouble in (link.lost, link.shared.schema_ahead):
            if trouble is not None:
                yield trouble.code
        if link.clock_skewed:
            yield "clock_skewed"
        if not self._broker.watching:
            yield "watch_failing"

    def _credential_state(self, key: CredentialKey) -> CredentialState:
        held, failed = self._broker.standing(key)
        error = failed.error if failed else None
        if held is None:
            return CredentialState(str(key.kind), usable=False, error=error)
        now = self._broker.now(held)
        return CredentialState(
            kind=str(key.kind),
            usable=True,
            expires_in_seconds=told(self._broker, key, held)[0],
            refresh_in_seconds=max(0, int(sort_of(key).due_at(held.credential) - now)),
            version=held.credential.version,
            error=error,
        )
