"""What was configured, checked and typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wxsign.accounts import AccountKind
from wxsign.settings.table import (
    DEFAULT_API_BASE,
    DEFAULT_STORE,
    DEFAULT_THREADS,
    DEFAULT_WECOM_API_BASE,
    DEFAULT_WORKERS,
)

if TYPE_CHECKING:
    from pathlib import Path

    from wxsign.accounts import OfficialAccount
    from wxsign.accounts.clients import ApiClient, Network
    from wxsign.credentials import CredentialKey, CredentialKind
    from wxsign.errors import Problem


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """`[alerts]`: a robot's address and kind, the language of messages, and what is asked for after a good refresh."""

    webhook: str = field(default="", repr=False)
    kind: str = "json"
    ping_url: str = field(default="", repr=False)
    language: str = "zh"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was configured, checked and typed. `store` is a URL with an absolute path."""

    accounts: tuple[OfficialAccount, ...]
    clients: tuple[ApiClient, ...] = ()
    store: str = field(default=DEFAULT_STORE, repr=False)
    server: str = "gunicorn"
    workers: int = DEFAULT_WORKERS
    threads: int = DEFAULT_THREADS
    socket_group: str = ""
    public_url: str | None = None
    trusted_proxies: int = 0
    trusted_proxy_addresses: tuple[Network, ...] = ()
    pages: bool = True
    dialect: bool = True
    verify_folder: Path | None = None
    nested_urls: str = "warn"
    access_log: bool = True
    metrics_allow_from: tuple[Network, ...] = ()
    refresh: bool = True
    api_base: str = DEFAULT_API_BASE
    wecom_api_base: str = DEFAULT_WECOM_API_BASE
    alerts: AlertSettings | None = None
    config_path: Path | None = None
    warnings: tuple[Problem, ...] = ()

    @property
    def has_console(self) -> bool:
        """Whether a client has the scope `admin`: without one there is no console."""
        return any("admin" in client.scopes for client in self.clients)

    def key_of(self, account: OfficialAccount, kind: CredentialKind) -> CredentialKey:
        """The name of an account's credential, which says from where it comes."""
        base = self.wecom_api_base if account.kind is AccountKind.WECOM else self.api_base
        return account.credential_key(kind, base)
