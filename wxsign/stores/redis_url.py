"""What the URL of a Redis store says: which server, Sentinels or Cluster, how to log in, and under which prefix. Pure.

    redis://[[user]:password@]host[:port][/db]           rediss:// with TLS; valkey:// and valkeys:// mean the same
    unix://[[user]:password@]/path/of/the/socket[?db=0]
    redis+sentinel://[[user]:password@]h1:26379,h2:26379/service[/db]
    redis+cluster://[[user]:password@]h1:6379,h2:6379

No message of this module repeats any part of the URL but its scheme and the names of its parameters: it may hold a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from wxsign.errors import Text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_PREFIX: Final = "wxsign"

_SCHEME: Final = re.compile(r"(?:redis|valkey)(s?)(?:\+(sentinel|cluster))?|unix")
_HOST: Final = re.compile(
    r"([A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?"
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_DB: Final = re.compile(r"[0-9]{1,5}")
_MAX_PORT: Final = 65535
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS: Final = (*_FILES, "ssl_check_hostname")
_SENTINEL: Final = ("sentinel_username", "sentinel_password")

SCHEMES: Final = (
    "`redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://`, `redis+cluster://` (or `valkey…`)"
)
SCHEMES_ZH: Final = (
    "`redis://`、`rediss://`（TLS）、`unix://`、`redis+sentinel://`、`redis+cluster://`（或 `valkey…`）"
)
_HINT: Final = Text(
    "For example: `redis://:password@10.0.0.5:6379/0`; special characters of a password are percent-encoded (`@` is %40).",
    "例如：`redis://:密码@10.0.0.5:6379/0`；密码中的特殊字符要做百分号编码（`@` 写成 %40）。",
)


class UnusableStoreUrlError(ValueError):
    """A URL that names no store: what is wrong with it, and what to write instead."""

    def __init__(self, message: Text, hint: Text = _HINT) -> None:
        super().__init__(f"The store URL {message} {hint}")
        self.message = message
        self.hint = hint


class Kind(StrEnum):
    """What listens at the hosts of a URL."""

    SERVER = "redis"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


class Host(NamedTuple):
    """A name or address, IPv6 without brackets, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """A user name (empty for the default user) and a password."""

    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of the CA, of the client's certificate and of its key; the system's CAs where none is given."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A parsed URL. `path` is that of a unix socket, and then there are no hosts. `tls` is None without TLS."""

    kind: Kind
    hosts: tuple[Host, ...]
    path: str = ""
    service: str = ""
    db: int = 0
    login: Login = Login()
    sentinel_login: Login = Login()
    tls: Tls | None = None
    prefix: str = DEFAULT_PREFIX

    def __str__(self) -> str:
        where = self.path or ",".join(str(host) for host in self.hosts)
        return f"{self.kind} at {where}"


def names_redis(url: str) -> bool:
    """Whether the URL is one that this module understands, by its scheme."""
    return _SCHEME.fullmatch(url.partition("://")[0]) is not None and "://" in url


def require_redis() -> None:
    """Make sure that redis-py is installed, without importing it. Raises UnusableStoreUrlError."""
    if find_spec("redis") is None:
        raise UnusableStoreUrlError(
            Text("needs the `redis` extra, which is not installed.", "需要 `redis` 附加依赖，但没有安装。"),
            Text("Install it: pip install 'wxsign[redis]'.", "请安装：pip install 'wxsign[redis]'。"),
        )


def anchored(url: str, folder: Path) -> str:
    """Return the URL, checked, with absolute paths of its TLS files: a relative one starts at `folder`.

    Raises UnusableStoreUrlError.
    """
    parse_redis_url(url)
    head, mark, query = url.partition("?")
    pairs = [(name, str(folder / value) if name in _FILES else value) for name, value in parse_qsl(query)]
    return f"{head}{mark}{urlencode(pairs, safe='/:')}"


def parse_redis_url(url: str) -> RedisAddress:
    """Return what the URL says. Raises UnusableStoreUrlError."""
    scheme, _, rest = url.partition("://")
    match = _SCHEME.fullmatch(scheme)
    if match is None or not rest:
        raise UnusableStoreUrlError(
            Text("is not a Redis URL.", "不是 Redis 地址。"),
            Text(f"Write {SCHEMES}.", f"请写 {SCHEMES_ZH}。"),
        )
    kind = Kind(f"redis+{match[2]}") if match[2] else Kind.SERVER
    return _parse(rest, kind, unix=scheme == "unix", tls=bool(match[1]))


def _parse(rest: str, kind: Kind, *, unix: bool, tls: bool) -> RedisAddress:
    head, _, query = rest.partition("?")
    authority, slash, path = head.partition("/")
    # The last @, so that one left plain in a password does no harm.
    user_info, _, hosts = authority.rpartition("@")
    if not head.isascii() or not head.isprintable() or any(mark in rest for mark in "# \\"):
        raise UnusableStoreUrlError(
            Text(
                "holds a blank, `#`, `\\` or a non-ASCII character.", "含有空格、`#`、`\\` 或非 ASCII 字符。"
            )
        )
    parameters = _parameters(query, kind, tls=tls)
    service, db = ("", "") if unix else _service_and_db(path, kind)
    if kind is Kind.SENTINEL and not service:
        raise UnusableStoreUrlError(
            Text("does not name the Sentinel service.", "没有写 Sentinel 的服务名。"),
            Text(
                "For example: `redis+sentinel://h1:26379,h2:26379/mymaster/0`.",
                "例如：`redis+sentinel://h1:26379,h2:26379/mymaster/0`。",
            ),
        )
    return RedisAddress(
        kind=kind,
        hosts=() if unix else _hosts(hosts, kind),
        path=_socket_path(f"{hosts}{slash}{path}") if unix else "",
        service=service,
        db=_db(parameters.get("db", db), kind),
        login=_login(user_info),
        sentinel_login=Login(parameters.get(_SENTINEL[0], ""), parameters.get(_SENTINEL[1], "")),
        tls=_tls(parameters) if tls else None,
        prefix=_prefix(parameters.get("prefix", DEFAULT_PREFIX)),
    )


def _parameters(query: str, kind: Kind, *, tls: bool) -> Mapping[str, str]:
    known = ("prefix", "db", *_TLS, *_SENTINEL)
    pairs = parse_qsl(query, keep_blank_values=True)
    parameters = dict(pairs)
    if len(parameters) < len(pairs) or not all(parameters.values()):
        raise UnusableStoreUrlError(
            Text("has a parameter that is empty or given twice.", "有空的或重复的参数。")
        )
    if not set(parameters) <= set(known):
        listed = ", ".join(known)
        raise UnusableStoreUrlError(
            Text("has an unknown parameter.", "含有未知参数。"),
            Text(f"Known: {listed}.", f"可用：{listed}。"),
        )
    if not tls and set(parameters) & set(_TLS):
        raise UnusableStoreUrlError(
            Text("has TLS parameters, and a scheme without TLS.", "带有 TLS 参数，但协议不是 TLS。"),
            Text("Write rediss:// with two s.", "请写 rediss://（两个 s）。"),
        )
    if kind is not Kind.SENTINEL and set(parameters) & set(_SENTINEL):
        raise UnusableStoreUrlError(
            Text("has parameters that only redis+sentinel:// knows.", "含有仅用于 redis+sentinel:// 的参数。")
        )
    return parameters


def _service_and_db(path: str, kind: Kind) -> tuple[str, str]:
    service, _, db = path.partition("/") if kind is Kind.SENTINEL else ("", "", path)
    if service and not _NAME.fullmatch(unquote(service)):
        raise UnusableStoreUrlError(
            Text("has an unusual name of the Sentinel service.", "Sentinel 服务名含有特殊字符。")
        )
    return unquote(service), db


def _hosts(text: str, kind: Kind) -> tuple[Host, ...]:
    port = 26379 if kind is Kind.SENTINEL else 6379
    matches = [_HOST.fullmatch(part) for part in text.split(",")]
    hosts = tuple(Host(found[1].strip("[]"), int(found[2] or port)) for found in matches if found)
    if len(hosts) < len(matches) or not all(0 < host.port <= _MAX_PORT for host in hosts):
        raise UnusableStoreUrlError(Text("has no usable host and port.", "没有可用的主机和端口。"))
    if kind is Kind.SERVER and len(hosts) > 1:
        raise UnusableStoreUrlError(
            Text("names several hosts.", "写了多个主机。"),
            Text(
                "Several hosts are for redis+sentinel:// and redis+cluster://.",
                "多个主机只用于 redis+sentinel:// 和 redis+cluster://。",
            ),
        )
    return hosts


def _socket_path(path: str) -> str:
    if not path.startswith("/") or path.endswith("/"):
        raise UnusableStoreUrlError(
            Text("is not the absolute path of a socket.", "不是套接字文件的绝对路径。"),
            Text("For example: `unix:///run/redis/redis.sock`.", "例如：`unix:///run/redis/redis.sock`。"),
        )
    return unquote(path)


def _db(text: str, kind: Kind) -> int:
    if text and not _DB.fullmatch(text):
        raise UnusableStoreUrlError(Text("has a database that is not a number.", "数据库编号不是数字。"))
    if int(text or 0) and kind is Kind.CLUSTER:
        raise UnusableStoreUrlError(
            Text("names a database, and a Cluster has only 0.", "指定了数据库，而 Cluster 只有 0 号。")
        )
    return int(text or 0)


def _login(user_info: str) -> Login:
    username, _, password = user_info.partition(":")
    return Login(unquote(username), unquote(password))


def _prefix(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise UnusableStoreUrlError(
            Text("has a prefix that cannot be used.", "前缀不可用。"),
            Text("1 to 64 letters, digits and `_.:-`.", "1 到 64 个字母、数字或 `_.:-`。"),
        )
    return text


def _tls(parameters: Mapping[str, str]) -> Tls:
    check = parameters.get("ssl_check_hostname", "true")
    if check not in {"true", "false"}:
        raise UnusableStoreUrlError(
            Text(
                "has an ssl_check_hostname that is neither true nor false.",
                "ssl_check_hostname 必须是 true 或 false。",
            )
        )
    if ("ssl_keyfile" in parameters) > ("ssl_certfile" in parameters):
        raise UnusableStoreUrlError(
            Text("has ssl_keyfile without ssl_certfile.", "只有 ssl_keyfile，没有 ssl_certfile。")
        )
    ca_certs, certfile, keyfile = (parameters.get(name) for name in _FILES)
    return Tls(ca_certs, certfile, keyfile, check_hostname=check == "true")
