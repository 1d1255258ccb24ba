"""Clients of the protected API: with which keys, for which accounts, from where."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from wxsign.accounts.relayed import covers

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SCOPES: Final = ("token:read", "token:refresh", "ticket:read", "relay", "admin")
DEFAULT_SCOPES: Final = frozenset({"token:read", "token:refresh", "ticket:read"})


@dataclass(frozen=True, slots=True)
class ApiClient:
    """A client of the protected API: only hashes of its keys are kept.

    `accounts` are names, or patterns with `*`: `corp/crm`, `corp/*`, `shop-*`; None means all of them.
    """

    name: str
    key_sha256: tuple[str, ...] = field(repr=False)
    scopes: frozenset[str] = DEFAULT_SCOPES
    accounts: frozenset[str] | None = None
    allow_from: tuple[Network, ...] = ()
    relay_paths: tuple[str, ...] = ()

    def may_use(self, account_name: str) -> bool:
        """Whether this client may read the account of that name."""
        if self.accounts is None or account_name in self.accounts:
            return True
        return any("*" in pattern and fnmatchcase(account_name, pattern) for pattern in self.accounts)

    def may_relay(self, path: str) -> bool:
        """Whether this client may have the business call at that path of WeChat relayed."""
        return covers(self.relay_paths, path)

    def may_call_from(self, address: str) -> bool:
        """Whether this client may call from that address; one that cannot be read is refused where a list is kept."""
        return not self.allow_from or address_within(address, self.allow_from)


def address_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address is of one of these networks; one that cannot be read is of none."""
    try:
        caller = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    caller = getattr(caller, "ipv4_mapped", None) or caller
    return any(caller in network for network in networks)


def key_id(sha256: str) -> str:
    """Return by what a key is called in the log: the first digits of its hash tell keys apart, and open nothing."""
    return sha256[:6]


def sha256_of_key(key: str) -> str:
    """Return the form in which client keys are kept. They are long and random: a slow hash would gain nothing."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
