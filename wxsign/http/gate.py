"""Who asks, with which key, and what is written down of it: for the protected API, WeChat's dialect, metrics and console.

A key opens what its scopes, accounts and addresses say. A missing and a wrong one are answered alike, in the same time.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from cachetools import TTLCache

from wxsign.accounts import key_id, sha256_of_key
from wxsign.errors import Forbidden, RequestError, Text, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wxsign.accounts import ApiClient
    from wxsign.http.calls import Call

logger = logging.getLogger("wxsign.api")

WINDOW_SECONDS: Final = 60
# Beyond so many wrong keys a minute an address is told to wait, and the log says it once. A right key passes all the same:
# others may share the address.
ATTEMPTS: Final = 30
_ADDRESSES: Final = 4096


class TooManyAttemptsError(RequestError):
    """An address has sent wrong keys, or none, too often."""

    status: ClassVar[int] = 429
    retry_after_seconds: ClassVar[int] = WINDOW_SECONDS

    def __init__(self) -> None:
        super().__init__(
            "too_many_attempts",
            Text("This address has sent too many wrong keys.", "该地址发送了过多错误的密钥。"),
            Text("Correct the key, then wait a minute.", "请更正密钥，并等待一分钟。"),
        )


class Key(NamedTuple):
    """A key that is known: whose it is, and the first digits of its SHA-256, which tell keys apart and open nothing."""

    client: ApiClient
    id: str


class Gate:
    """Knows the clients by the hashes of their keys, and counts what does not fit."""

    def __init__(self, clients: Iterable[ApiClient], timer: Callable[[], float] = time.monotonic) -> None:
        self._known = tuple((digest.encode(), client) for client in clients for digest in client.key_sha256)
        # A list of one number: counting in place leaves the end of the minute where its first failure has put it.
        self._failed: TTLCache[str, list[int]] = TTLCache(_ADDRESSES, WINDOW_SECONDS, timer)
        # Made before a fork, perhaps; nobody holds it there.
        self._lock = threading.Lock()

    def key(self, authorization: str) -> Key:
        """Return the key that an `Authorization` header holds. Raises Unauthorized, after the same work in every case."""
        scheme, _, text = authorization.partition(" ")
        text = text.strip() if scheme.lower() == "bearer" else ""
        presented = sha256_of_key(text).encode()
        found = None
        for digest, client in self._known:
            if hmac.compare_digest(presented, digest):
                found = client
        if found is None or not text:
            raise Unauthorized
        return Key(found, key_id(presented.decode()))

    def failed(self, address: str) -> int:
        """Count one more failure of an address; returns how many there were in this minute."""
        with self._lock:
            count = self._failed.setdefault(address, [0])
            count[0] += 1
            return count[0]


def admit(client: ApiClient, scope: str | None, address: str) -> None:
    """Raise `Forbidden` where a client may not call from there, or lacks the scope."""
    if not client.may_call_from(address):
        raise Forbidden("address")
    if scope is not None and scope not in client.scopes:
        raise Forbidden("scope")


def note_read(call: Call, key: Key | None, account: str, path: str) -> None:
    """Write the audit line of a call that was answered: who got what."""
    fields = {
        "client": key.client.name if key else "",
        "key": key.id if key else "",
        "account": account,
        "remote_addr": call.remote_addr,
        "path": path,
        "request_id": call.request_id,
    }
    logger.info("wxsign.api", extra={"fields": fields})


def note_denied(call: Call, key: Key | None, reason: str, path: str) -> None:
    """Say who was turned away and why: an owner looks for a forgotten system, or for somebody who tries keys."""
    fields = {
        "client": key.client.name if key else "",
        "key": key.id if key else "",
        "remote_addr": call.remote_addr,
        "reason": reason,
        "path": path,
        "request_id": call.request_id,
    }
    logger.warning("wxsign.denied", extra={"fields": fields})


def note_unknown(gate: Gate, call: Call, *, sent: bool, path: str) -> bool:
    """Count, and write down, a call without a key that is known; returns whether its address sent too many."""
    count = gate.failed(call.remote_addr)
    if count <= ATTEMPTS:
        note_denied(call, None, "unknown key" if sent else "no key", path)
    elif count == ATTEMPTS + 1:
        note_denied(call, None, "too many attempts", path)
    return count > ATTEMPTS
