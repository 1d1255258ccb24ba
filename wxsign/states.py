"""What an operator, and the owner's other systems, may see of accounts and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from wxsign.credentials import asked_for, chain_of, sort_of
from wxsign.errors import FailureScope, NotRefreshed, Text
from wxsign.observers.faults import LASTING_SECONDS, Fault, faults_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wxsign.accounts import AccountRegistry, OfficialAccount
    from wxsign.broker import CredentialBroker, Failed, Held, Spending, Theft
    from wxsign.credentials import CredentialKey
    from wxsign.errors import WxSignError

# Whose failure these are: this machine's alone, or the same whatever account is asked for; and those that nobody mends by
# waiting.
MACHINE_SCOPES = frozenset({FailureScope.ADDRESS, FailureScope.CONFIRMATION, FailureScope.NETWORK})
COMMON_SCOPES = frozenset({FailureScope.BUSY, FailureScope.NETWORK})
LASTING_SCOPES = frozenset(
    {
        FailureScope.ACCOUNT,
        FailureScope.ADDRESS,
        FailureScope.CONFIRMATION,
        FailureScope.QUOTA_DAY,
        FailureScope.SECRET,
    }
)
CLOCK_SKEWED = Text(
    "This machine's clock and the store's are {seconds} s apart.", "本机时钟与存储的时钟相差 {seconds} 秒。"
)
CLOCK_HINT = Text(
    "Set the clock by NTP: the timestamps of signatures come from it.",
    "请用 NTP 校准时钟：签名的时间戳取自本机时钟。",
)
WATCH_FAILING = Text("Looks at the store end in a fault of wxsign.", "wxsign 在查看存储时内部出错。")
WATCH_HINT = Text(
    "See the log, `wxsign.watch_failed`, and report it.", "请查看日志中的 `wxsign.watch_failed` 并反馈。"
)
CONFIG_REJECTED = Text(
    "The configuration file cannot be used; the last good one goes on.",
    "配置文件无法使用，继续沿用上一份可用的配置。",
)
CONFIG_HINT = Text(
    "See the log, `wxsign.config_rejected`, or run `wxsign check`; mend it, then reload.",
    "请查看日志中的 `wxsign.config_rejected` 或运行 `wxsign check`，修正后重新加载。",
)

# A process looks for what others know of accounts that it has not tried itself, so many at once, once a second.
LOOKED_FOR = 100
LOOK_SECONDS = 1.0
STATUS_ACCOUNTS = 100


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
    """One credential as an operator may see it: no value. Times are seconds from now, None where nothing is held.

    `usable_seconds` is how long it may be served here; `expires_in_seconds` what a client is told, who cannot look again so soon.
    `confirmed_at` and `failing_since` are seconds since the epoch: WeChat's last good answer, and the first bad one since.
    """

    kind: str
    usable: bool
    expires_in_seconds: int | None = None
    refresh_in_seconds: int | None = None
    version: int | None = None
    error: WxSignError | None = None
    usable_seconds: int | None = None
    confirmed_at: float | None = None
    failing_since: float | None = None


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
class Status:
    """Is it OK? `faults` are what is wrong now, `past` what was and is over; `now` in seconds since the epoch.

    At most `STATUS_ACCOUNTS` accounts are listed, those in trouble first; `unlisted` is how many are not.
    """

    readiness: Readiness
    now: float
    accounts: tuple[AccountState, ...]
    unlisted: int
    faults: tuple[Fault, ...]
    past: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process knows of what an account is asked for: whether it holds any of it, and whether it was ever tried."""

    usable: bool
    tried: bool


def is_ready(accounts: Iterable[Standing]) -> bool:
    """Whether one of the configured accounts can be served, or may turn out to be; so it is where there is none."""
    known = tuple(accounts)
    return not known or any(account.usable or not account.tried for account in known)


def both(one: Fault, other: Fault) -> Fault:
    """Two failures that are one fault: of all their accounts, since the earlier of them."""
    accounts = tuple(dict.fromkeys((*one.accounts, *other.accounts)))
    return replace(one, accounts=accounts, since=min(one.since, other.since))


def told(broker: CredentialBroker, key: CredentialKey, held: Held) -> tuple[int, int]:
    """The seconds left and the expiry that a client is told, by the store's clock: at least a second, to the last."""
    now = broker.now(held)
    expiry = sort_of(key).told_expiry(held.credential, now)
    return max(1, int(expiry - now)), int(expiry)


class Overview:
    """What one process sees of all accounts; `keys` has those of each account by its name."""

    def __init__(
        self, registry: AccountRegistry, broker: CredentialBroker, keys: Mapping[str, Sequence[CredentialKey]]
    ) -> None:
        self._registry = registry
        self._broker = broker
        self._keys = keys
        self._looked_at = float("-inf")
        self.config_rejected = False
        self.more_faults: tuple[Fault, ...] = ()

    def account_states(self, accounts: Iterable[OfficialAccount] | None = None) -> tuple[AccountState, ...]:
        """Every account with the state of its credentials, as this process sees them, and today's calls; or some of them."""
        wanted = {key.owner for key in self._broker.wanted()}
        shown = tuple(self._registry if accounts is None else accounts)
        spending = self._broker.spending([key for account in shown for key in self._keys[account.name]])
        return tuple(
            AccountState(
                name=account.name,
                app_id=account.app_id,
                kind=str(account.kind),
                token_endpoint=str(account.token_endpoint),
                in_use=account.owner in wanted,
                credentials=tuple(self._credential_state(key) for key in self._keys[account.name]),
                theft=self._broker.thefts.get(account.owner),
                spending=spending[account.owner],
            )
            for account in shown
        )

    def faults(self, keys: Iterable[CredentialKey] | None = None) -> tuple[Fault, ...]:
        """What is wrong now with `keys`, by default those that this process keeps fresh, and with its surroundings."""
        found: dict[str, Fault] = {}
        for key in self._broker.wanted() if keys is None else keys:
            failed = self._broker.standing(key)[1]
            if failed is not None and not isinstance(failed.error, NotRefreshed):
                fault = self._account_fault(key, failed)
                found[fault.id] = both(found[fault.id], fault) if fault.id in found else fault
        thefts = (self._theft_fault(app_id, theft) for app_id, theft in self._broker.thefts.items())
        return (*found.values(), *thefts, *self._fleet_faults())

    def _account_fault(self, key: CredentialKey, failed: Failed) -> Fault:
        """A failure of WeChat's or of the network's is one fault, however many accounts it touches."""
        error, name = failed.error, self._registry.get(key.owner).name
        scope = getattr(error, "scope", None)
        machine = self._broker.machine if scope in MACHINE_SCOPES else ""
        # That a source is away says nothing of WeChat, nor of other accounts.
        of_all = scope in COMMON_SCOPES and error.code != "source_failed"
        return Fault(
            id="|".join((str(scope or error.code), "" if of_all else name, machine)),
            code=error.code,
            message=error.message,
            hint=error.operator_hint,
            accounts=(name,),
            machine=machine,
            since=failed.since,
            door="" if of_all else failed.door,
            passing=scope not in LASTING_SCOPES,
        )

    def _theft_fault(self, app_id: str, theft: Theft) -> Fault:
        name = self._registry.get(app_id).name
        return Fault(
            id=f"token_taken|{name}|",
            code="token_taken",
            message=theft.message,
            hint=theft.hint,
            accounts=(name,),
            since=theft.noticed_at,
        )

    def _fleet_faults(self) -> Iterator[Fault]:
        link, machine = self._broker.link, self._broker.machine
        if (lost := link.lost) is not None:
            hint = Text(f"({lost.detail}) ", f"（{lost.detail}）") + lost.hint if lost.detail else lost.hint
            store = Fault(f"store||{machine}", lost.code, lost.message, hint, machine=machine, passing=True)
            yield replace(store, since=link.lost_at)
        if (ahead := link.shared.schema_ahead) is not None:
            yield Fault("schema||", ahead.code, ahead.message, ahead.hint)
        if link.clock_skewed:
            seconds = round(link.clock_skew_seconds)
            message = CLOCK_SKEWED.filled(seconds=seconds)
            yield Fault(
                f"clock||{machine}", "clock_skewed", message, CLOCK_HINT, machine=machine, passing=True
            )
        if not self._broker.watching:
            yield Fault(f"watch||{machine}", "watch_failing", WATCH_FAILING, WATCH_HINT, machine=machine)
        yield from self.more_faults
        if self.config_rejected:
            yield Fault(
                f"config||{machine}", "config_rejected", CONFIG_REJECTED, CONFIG_HINT, machine=machine
            )

    def status(self, since_seconds: float) -> Status:
        """Everything at once, by what stands in the store; what ended in the last `since_seconds` is told too.

        Raises `StoreUnavailable`.
        """
        store = self._broker.link.shared
        now, events = store.now(), store.events()
        faults = {fault.id: fault for fault in self.faults(k for keys in self._keys.values() for k in keys)}
        faults = {
            id_: f for id_, f in faults.items() if not f.passing or now - (f.since or now) >= LASTING_SECONDS
        }
        told = faults_in(events, now)
        # What other machines say of themselves stands in the event log alone.
        faults |= {f.id: f for f in told if f.until is None and f.machine and f.id not in faults}
        past = tuple(f for f in told if f.until is not None and f.until >= now - since_seconds)
        troubled = dict.fromkeys(name for fault in faults.values() for name in fault.accounts)
        shown = self._worth_listing(troubled)
        return Status(
            self._judged(tuple(faults.values())),
            now,
            self.account_states(shown),
            len(self._registry) - len(shown),
            tuple(faults.values()),
            past,
        )

    def _worth_listing(self, troubled: Iterable[str]) -> tuple[OfficialAccount, ...]:
        """Those in trouble, then those that something is held of, then the rest."""
        held = [
            account.name
            for account in self._registry
            if any(self._broker.standing(key)[0] is not None for key in self._keys[account.name])
        ]
        names = dict.fromkeys((*troubled, *held, *(account.name for account in self._registry)))
        return tuple(self._registry.get(name) for name in islice(names, STATUS_ACCOUNTS))

    def _judged(self, faults: Sequence[Fault]) -> Readiness:
        ready = is_ready(self._standings().values())
        return Readiness(ready, tuple(dict.fromkeys(fault.code for fault in faults)))

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
        if self.config_rejected:
            problems["config_rejected"] = None
        problems |= dict.fromkeys(fault.code for fault in self.more_faults)
        return Readiness(is_ready(standings.values()), tuple(problems))

    def _standings(self) -> dict[str, Standing]:
        """By the account's name."""
        asked: dict[str, list[CredentialKey]] = {}
        for key in self._broker.in_use():
            asked.setdefault(key.owner, []).append(key)
        return {
            account.name: self._standing(asked.get(account.owner) or asked_for(self._keys[account.name]))
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
        since = (failed and failed.since) or None
        if held is None:
            return CredentialState(str(key.kind), usable=False, error=error, failing_since=since)
        now = self._broker.now(held)
        return CredentialState(
            kind=str(key.kind),
            usable=True,
            expires_in_seconds=told(self._broker, key, held)[0],
            refresh_in_seconds=max(0, int(sort_of(key).due_at(held.credential) - now)),
            version=held.credential.version,
            error=error,
            usable_seconds=int(held.usable_until - self._broker.boot_now()),
            confirmed_at=held.credential.started_at or None,
            failing_since=since,
        )
