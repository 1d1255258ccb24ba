"""The way to the one Redis that has the keys: found anew after every failure, with a client per process.

All keys of a store share one hash tag, so that at any moment one server has them all: the one of the URL, the primary that
a Sentinel names, or the node of a Cluster that the others point to. Whatever fails, the client is dropped and the next
call looks for the primary again: after a fail-over nothing has to be restarted. Nothing here sleeps.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from wxsign.errors import StoreUnavailable
from wxsign.logs import protect
from wxsign.stores.redis_causes import cause_of
from wxsign.stores.redis_url import Host, Kind, Login, RedisAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wxsign.stores.redis_scripts import Script

TIMEOUT_SECONDS: Final = 1.0
# Bytes that are no UTF-8 become halves of surrogate pairs: no text to anybody, and yet the same bytes again.
UNDECODABLE: Final = "surrogateescape"

_MOVED: Final = re.compile(r"\bMoved(?:Error)? \d+ (\S*):(\d+)", re.IGNORECASE)


class NoSuchServiceError(RedisError):
    """Sentinels answer, and none knows the service."""


class TlsFilesError(RedisError):
    """A file of the URL's TLS parameters cannot be read."""


class RedisLink:
    """Runs scripts on the primary. `probe_key` is any key of the store: in a Cluster it tells which node has them.

    Safe in any thread and after a fork. A call waits at most `timeout_seconds` to connect to a server and as long for an
    answer, and is tried once more, at once, where the connection was lost or the primary is another one now.
    """

    def __init__(
        self, address: RedisAddress, probe_key: str, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._address = address
        self._probe_key = probe_key
        self._timeout_seconds = timeout_seconds
        self._mine: tuple[int, Redis] | None = None
        # For the log alone: where the last client was to connect to.
        self._tried: Host | str = ""
        for login in (address.login, address.sentinel_login):
            protect(login.password)

    def run(
        self, script: Script, keys: Sequence[str], moment: str, arguments: Sequence[str | float]
    ) -> list[Any]:
        """Run a script at `moment` and return its answer, texts decoded. Raises `StoreUnavailable`.

        The script is told which try it is: the answer of the first may have been lost on the way, and not its effect.
        """
        try:
            return self._attempt(script, keys, (moment, 0, *arguments))
        except Exception as error:  # noqa: BLE001 - a client's own faults, too, mean that the store cannot be used now
            cause = cause_of(error)
            if cause.again:
                with suppress(Exception):
                    return self._attempt(script, keys, (moment, 1, *arguments))
        # Not raised from the client's error, whose text may hold what was configured.
        raise StoreUnavailable(f"{self._address.kind} at {self._tried}: {cause.detail}", cause.hint)

    def _attempt(self, script: Script, keys: Sequence[str], arguments: Sequence[str | float]) -> list[Any]:
        client = self._client()
        try:
            return _evaluate(client, script, keys, arguments)
        except Exception:
            self._drop(client)
            raise

    def _client(self) -> Redis:
        # Two threads may come here at once; the loser's client is dropped unused, and no lock can be forked while held.
        mine = self._mine
        if mine is None or mine[0] != os.getpid():
            mine = self._mine = (os.getpid(), self._find())
        return mine[1]

    def _drop(self, client: Redis) -> None:
        mine = self._mine
        if mine is not None and mine[1] is client:
            self._mine = None
        # Only the idle connections: another thread may be in the middle of a call.
        client.connection_pool.disconnect(inuse_connections=False)

    def _find(self) -> Redis:
        """A client of the primary; connects by itself on first use."""
        if self._address.kind is Kind.SENTINEL:
            return self._open(self._ask_each(self._asked_sentinel), self._address.login)
        if self._address.kind is Kind.CLUSTER:
            return self._open(self._ask_each(self._asked_node), self._address.login)
        return self._open(next(iter(self._address.hosts), None), self._address.login)

    def _ask_each(self, ask: Callable[[Host], Host]) -> Host:
        """The first answer of the URL's hosts, or the error of the last."""
        last: Exception = RedisError()
        for host in self._address.hosts:
            try:
                return ask(host)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the next may know
                last = error
        raise last

    def _asked_sentinel(self, host: Host) -> Host:
        with self._open(host, self._address.sentinel_login, sentinel=True) as sentinel:
            found = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
        if not found:
            raise NoSuchServiceError
        return Host(str(found[0]), int(found[1]))

    def _asked_node(self, host: Host) -> Host:
        """The node that has the keys: `host` itself, or the one it points to, which must say so too."""
        with self._open(host, self._address.login) as node:
            try:
                node.exists(self._probe_key)
            except ResponseError as error:
                moved = _MOVED.search(f"{type(error).__name__} {error}")
                if moved is None:
                    raise
                return Host(moved[1].strip("[]?") or host.name, int(moved[2]))
        return host

    def _open(self, host: Host | None, login: Login, *, sentinel: bool = False) -> Redis:
        self._tried = host or self._address.path
        place: dict[str, Any] = {"unix_socket_path": self._address.path}
        if host is not None:
            place = {"host": host.name, "port": host.port}
        return Redis(
            **place,
            **self._tls(),
            db=0 if sentinel else self._address.db,
            username=login.username or None,
            password=login.password or None,
            # RESP3 is the default of redis-py 8, without a fall-back for Redis 5; its retries would sleep for seconds.
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=self._timeout_seconds,
            socket_connect_timeout=self._timeout_seconds,
            health_check_interval=0,
            decode_responses=True,
            encoding_errors=UNDECODABLE,
        )

    def _tls(self) -> dict[str, Any]:
        tls = self._address.tls
        if tls is None:
            return {}
        for file in filter(None, (tls.ca_certs, tls.certfile, tls.keyfile)):
            try:
                Path(file).open("rb").close()
            except OSError:
                raise TlsFilesError from None
        return {
            "ssl": True,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": tls.check_hostname,
            "ssl_ca_certs": tls.ca_certs,
            "ssl_certfile": tls.certfile,
            "ssl_keyfile": tls.keyfile,
        }


def _evaluate(
    client: Redis, script: Script, keys: Sequence[str], arguments: Sequence[str | float]
) -> list[Any]:
    answer: Any
    try:
        answer = client.evalsha(script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        # A server that was restarted, or became the primary, has not met it yet.
        answer = client.eval(script.lua, len(keys), *keys, *arguments)
    return list(answer)
