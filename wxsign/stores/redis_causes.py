"""Why a Redis store did not answer, in words that say what to do. A table over the texts of errors; imports no client.

The text of an error is only searched, never passed on: it may repeat what was configured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wxsign.errors import Text

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Cause:
    """A way to fail: the pattern that betrays it, what to log, what to do, and whether another try at once may help.

    Another try goes over a new connection to whoever is the primary by then.
    """

    pattern: re.Pattern[str]
    detail: str
    hint: Text
    again: bool = False


def _cause(pattern: str, detail: str, hint: Text, *, again: bool = False) -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE), detail, hint, again)


_REACH: Final = Text(
    "Check that Redis runs, and that host, port and firewall let this machine reach it.",
    "请检查 Redis 是否在运行，以及主机、端口、防火墙是否允许本机访问。",
)

# The first that matches counts. Redis 7 and redis-py say the error's code in one place or another, hence both spellings.
CAUSES: Final = (
    _cause(
        # Without a password Redis also refuses a command of more than ten words, as a "Protocol error".
        r"NOAUTH|authentication required|unauthenticated",
        "it asks for a password, and the URL has none",
        Text(
            "Write the password into WXSIGN_STORE: redis://:password@host.",
            "请在 WXSIGN_STORE 中写上密码：redis://:密码@host。",
        ),
    ),
    _cause(
        r"WRONGPASS|invalid (username-)?password|AuthenticationError|AUTH.*no password is set|called without any password",
        "it refuses the user or password (WRONGPASS)",
        Text(
            "Check user and password in WXSIGN_STORE; special characters are percent-encoded.",
            "请检查 WXSIGN_STORE 中的用户名和密码；特殊字符要做百分号编码。",
        ),
    ),
    _cause(
        r"NOPERM|no permissions|can't run this command|can't access",
        "this user may not run a needed command, or not on these keys (NOPERM)",
        Text(
            "Give the user the commands and keys that docs/redis.md lists.",
            "请按 docs/redis.md 给该用户授予所需命令和键的权限。",
        ),
    ),
    _cause(
        r"unknown (redis )?command|unknown subcommand",
        "it lacks a needed command, or has it renamed",
        Text(
            "wxsign needs Redis 5 or newer, or Valkey, with EVAL and EVALSHA allowed: see docs/redis.md.",
            "需要 Redis 5 或更高版本（或 Valkey），并允许 EVAL 和 EVALSHA：见 docs/redis.md。",
        ),
    ),
    _cause(
        r"READONLY|read only replica",
        "it is a read-only replica",
        Text(
            "Name the primary, or use redis+sentinel:// or redis+cluster://, which find it.",
            "请填写主节点地址，或使用能自动找到主节点的 redis+sentinel://、redis+cluster://。",
        ),
        again=True,
    ),
    _cause(
        r"OutOfMemory|\bOOM\b",
        "its memory is full (OOM)",
        Text(
            "Raise maxmemory, or give wxsign a Redis of its own: it needs a few hundred bytes a credential.",
            "请调大 maxmemory，或为 wxsign 单独准备一个 Redis：每个凭据只需几百字节。",
        ),
    ),
    _cause(
        r"MISCONF",
        "it refuses writes because it cannot save to its disk (MISCONF)",
        Text(
            "Make room on the disk of Redis, or fix its permissions; its log says why.",
            "请为 Redis 的磁盘腾出空间或修正权限；原因见 Redis 日志。",
        ),
    ),
    _cause(
        r"NOREPLICAS",
        "it refuses writes because too few replicas follow it (NOREPLICAS)",
        Text(
            "Bring its replicas back, or lower min-replicas-to-write.",
            "请恢复从节点，或调低 min-replicas-to-write。",
        ),
    ),
    _cause(
        r"BusyLoading|\bLOADING\b",
        "it is still loading its data (LOADING)",
        Text("Wait: it will answer soon.", "请稍候，加载完成后即可恢复。"),
    ),
    _cause(
        r"MASTERDOWN|ClusterDown|TRYAGAIN|\bASK(Error)?\b|hash slot not served",
        "no primary serves the keys right now: a fail-over or a move of slots is under way",
        Text(
            "Wait a moment; if it lasts, look at the state of the Cluster or of the replication.",
            "请稍候；若持续不恢复，请检查集群或主从复制的状态。",
        ),
        again=True,
    ),
    _cause(
        r"MovedError|\bMOVED\b",
        "it is a node of a Cluster, and another one has the keys",
        Text("Write redis+cluster:// and several of its nodes.", "请使用 redis+cluster:// 并写上多个节点。"),
        again=True,
    ),
    _cause(
        r"NoSuchServiceError",
        "no Sentinel knows a primary of that service name",
        Text(
            "Check the service name in WXSIGN_STORE against `sentinel monitor` in sentinel.conf.",
            "请对照 sentinel.conf 中的 `sentinel monitor` 检查 WXSIGN_STORE 里的服务名。",
        ),
    ),
    _cause(
        r"DB index|invalid DB|SELECT is not allowed",
        "it has no database of that number",
        Text(
            "Use database 0, or raise `databases` in redis.conf.",
            "请使用 0 号数据库，或调大 redis.conf 中的 `databases`。",
        ),
    ),
    _cause(
        r"max number of clients|too many connections",
        "it has as many clients as it takes (maxclients)",
        Text(
            "Raise maxclients; a worker holds a connection or two.",
            "请调大 maxclients；每个 worker 占用一两个连接。",
        ),
    ),
    _cause(
        r"CERTIFICATE_VERIFY_FAILED|doesn't match|not valid for",
        "its TLS certificate is not trusted here",
        Text(
            "Name its CA by ?ssl_ca_certs=, and the host as the certificate does (or ssl_check_hostname=false).",
            "请用 ?ssl_ca_certs= 指定 CA，主机名要与证书一致（或 ssl_check_hostname=false）。",
        ),
    ),
    _cause(
        r"certificate required|handshake failure|bad certificate|unknown ca",
        "it refuses this client's TLS certificate, or wants one",
        Text(
            "Name one it trusts by ssl_certfile= and ssl_keyfile=.",
            "请用 ssl_certfile= 和 ssl_keyfile= 指定它信任的证书。",
        ),
    ),
    _cause(
        # TLS 1.3 lets a server refuse after the handshake; what is read then depends on who was faster.
        r"SSL\w*EOFError|EOF occurred",
        "it broke the TLS connection: does it refuse this client's TLS certificate, or want one",
        Text(
            "Name one it trusts by ssl_certfile= and ssl_keyfile=, and see the log of Redis.",
            "请用 ssl_certfile= 和 ssl_keyfile= 指定它信任的证书，并查看 Redis 日志。",
        ),
        again=True,
    ),
    _cause(
        r"WRONG_VERSION_NUMBER|record layer|PACKET_LENGTH|handshake operation timed out",
        "it does not speak TLS on that port",
        Text("Write redis:// with one s, or the TLS port.", "请写 redis://（一个 s），或填写 TLS 端口。"),
    ),
    _cause(
        r"SSLError|\bPEM\b|KEY_VALUES_MISMATCH|TlsFilesError",
        "a TLS file cannot be read or used",
        Text(
            "Check ssl_ca_certs, ssl_certfile and ssl_keyfile in WXSIGN_STORE.",
            "请检查 WXSIGN_STORE 中的 ssl_ca_certs、ssl_certfile 和 ssl_keyfile。",
        ),
    ),
    _cause(
        r"name or service|name resolution|nodename|gaierror|no address associated",
        "its host name cannot be resolved",
        Text(
            "Check the host in WXSIGN_STORE and this machine's DNS.",
            "请检查 WXSIGN_STORE 中的主机名和本机 DNS。",
        ),
    ),
    _cause(r"refused", "nothing listens there (connection refused)", _REACH, again=True),
    _cause(r"timed? ?out", "it did not answer in time", _REACH),
    _cause(
        r"No such file",
        "there is no socket of that path",
        Text(
            "Check the path in WXSIGN_STORE and that Redis runs.",
            "请检查 WXSIGN_STORE 中的路径以及 Redis 是否在运行。",
        ),
    ),
    _cause(
        r"permission denied",
        "this user may not open its socket",
        Text("Add the user to the group of the socket.", "请把运行 wxsign 的用户加入套接字所属的组。"),
    ),
    _cause(
        r"clos(ed|ing)|reset|broken pipe",
        "it closed the connection",
        Text(
            "If it always does: does that port expect TLS (rediss://), or only loopback clients (protected mode)?",
            "如果总是这样：该端口是否要求 TLS（rediss://），或只接受本机连接（protected mode）？",
        ),
        again=True,
    ),
    _cause(r"unreachable|no route", "the network does not reach it", _REACH),
)


def cause_of(error: BaseException) -> Cause:
    """Return the first cause that the error, or one behind it, betrays."""
    text = "\n".join(_texts(error))
    return next((cause for cause in CAUSES if cause.pattern.search(text)), _unknown(error))


def _texts(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{type(error).__name__} {error}"
        error = error.__cause__ or error.__context__


def _unknown(error: BaseException) -> Cause:
    return _cause("", f"it failed with {type(error).__name__}", _REACH)
