"""Who may sign for which hosts, and who may ask with which keys."""

from wxsign.accounts.clients import DEFAULT_SCOPES, SCOPES, ApiClient, address_within, key_id, sha256_of_key
from wxsign.accounts.hosts import LOOPBACK, AnyPort, HostRule
from wxsign.accounts.official import DAILY_LIMITS, AccountKind, NoCards, OfficialAccount, SignsNoPages
from wxsign.accounts.registry import DEFAULT_ACCOUNT, AccountRegistry
from wxsign.accounts.sinks import FileSink, RedisSink, Sink
from wxsign.accounts.source import Fields, FileSource, HttpSource, RedisSource, Source
from wxsign.accounts.wecom import (
    AGENT_API_LIST,
    CORP_HOURLY_LIMITS,
    HOURLY_LIMITS,
    WECOM_API_LIST,
    Agent,
    NoAgent,
)

__all__ = [
    "AGENT_API_LIST",
    "CORP_HOURLY_LIMITS",
    "DAILY_LIMITS",
    "DEFAULT_ACCOUNT",
    "DEFAULT_SCOPES",
    "HOURLY_LIMITS",
    "LOOPBACK",
    "SCOPES",
    "WECOM_API_LIST",
    "AccountKind",
    "AccountRegistry",
    "Agent",
    "AnyPort",
    "ApiClient",
    "Fields",
    "FileSink",
    "FileSource",
    "HostRule",
    "HttpSource",
    "NoAgent",
    "NoCards",
    "OfficialAccount",
    "RedisSink",
    "RedisSource",
    "SignsNoPages",
    "Sink",
    "Source",
    "address_within",
    "key_id",
    "sha256_of_key",
]
