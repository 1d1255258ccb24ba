"""Who may sign for which hosts, and who may ask with which keys."""

from wxsign.accounts.clients import DEFAULT_SCOPES, SCOPES, ApiClient, address_within, sha256_of_key
from wxsign.accounts.hosts import LOOPBACK, AnyPort, HostRule
from wxsign.accounts.official import DAILY_LIMITS, AccountKind, OfficialAccount, SignsNoPages
from wxsign.accounts.registry import DEFAULT_ACCOUNT, AccountRegistry
from wxsign.accounts.sinks import FileSink, RedisSink, Sink

__all__ = [
    "DAILY_LIMITS",
    "DEFAULT_ACCOUNT",
    "DEFAULT_SCOPES",
    "LOOPBACK",
    "SCOPES",
    "AccountKind",
    "AccountRegistry",
    "AnyPort",
    "ApiClient",
    "FileSink",
    "HostRule",
    "OfficialAccount",
    "RedisSink",
    "SignsNoPages",
    "Sink",
    "address_within",
    "sha256_of_key",
]
