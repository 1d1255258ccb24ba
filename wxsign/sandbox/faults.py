"""Faults that can be queued: which call each one hits, and what it does to the answer on the wire."""

import json
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from http import HTTPStatus
from typing import NoReturn

from wxsign.sandbox.checks import Answer
from wxsign.sandbox.settings import BILLION, ENDPOINTS, bounded, whole

# seconds that each kind takes unless told otherwise
DEFAULT_SECONDS = {"latency": 1.0, "hang": 30.0, "drip": 1.0, "drip_headers": 1.0}
# WeChat never gets to work on these calls, unless the fault says `processed`.
UNPROCESSED = frozenset({"errcode", "hang", "reset", "html", "status", "empty"})
WIRE = frozenset({"hang", "drip", "drip_headers", "reset", "truncated"})
KINDS = UNPROCESSED | WIRE | {"latency", "bad_expires_in", "empty_value"}

JSON_TYPE = "application/json; encoding=utf-8"
HTML_BODY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)
WATCH_SECONDS = 0.2
MISSING_BYTES = 64
LONGEST_SECONDS = 3_600


class FaultError(ValueError):
    """A fault was described badly; the message says how."""


@dataclass(frozen=True)
class Fault:
    """One entry of the queue. `times` None: until cleared. `processed`: WeChat did the work, the answer was lost.

    `probability`: in how many of the calls that it could hit it does, from 0 to 1.
    """

    endpoint: str
    kind: str
    times: int | None = 1
    errcode: int = -1
    errmsg: str | None = None
    seconds: float = 0
    status: int = HTTPStatus.BAD_GATEWAY
    appid: str | None = None
    value: object = 0
    processed: bool = False
    probability: float = 1

    def hits(self, endpoint: str, appid: str) -> bool:
        return self.endpoint in ("*", endpoint) and self.appid in (None, appid)

    def lets_wechat_work(self) -> bool:
        return self.processed or self.kind not in UNPROCESSED


@dataclass(frozen=True)
class Reply:
    """An HTTP answer before it goes out."""

    status: int
    content_type: str
    body: bytes


class FaultQueue:
    """Queued faults in order. Not thread-safe: its owner holds the lock."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def take(self, endpoint: str, appid: str) -> Fault | None:
        """The first fault that hits this call; it has one time less then."""
        for at, fault in enumerate(self._faults):
            if fault.hits(endpoint, appid) and self._chance() < fault.probability:
                self._use(at, fault)
                return fault
        return None

    def pending(self) -> list[dict[str, object]]:
        return [asdict(fault) for fault in self._faults]

    def _use(self, at: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times > 1:
            self._faults[at] = replace(fault, times=fault.times - 1)
        else:
            del self._faults[at]


def parse_fault(described: Mapping[str, object]) -> Fault:
    """A fault from its JSON description; raises FaultError."""
    known = {item.name for item in fields(Fault)}
    if unknown := sorted(set(described) - known):
        raise FaultError(f"unknown field {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    kind = _choice(described, "kind", None, sorted(KINDS))
    try:
        return Fault(
            endpoint=_choice(described, "endpoint", "*", ("*", *ENDPOINTS)),
            kind=kind,
            times=_times(described.get("times", 1)),
            errcode=whole(described.get("errcode", -1), -BILLION, BILLION),
            errmsg=_optional_text(described, "errmsg"),
            seconds=bounded(described.get("seconds", DEFAULT_SECONDS.get(kind, 0)), 0, LONGEST_SECONDS),
            status=whole(described.get("status", 502), 200, 599),
            appid=_optional_text(described, "appid"),
            value=described.get("value", 0),
            processed=described.get("processed") is True,
            probability=bounded(described.get("probability", 1), 0, 1),
        )
    except ValueError as error:
        raise FaultError(f"times, errcode, seconds, status or probability: {error}") from error


def _times(value: object) -> int | None:
    return None if value is None else whole(value, 1, BILLION)


def _choice(described: Mapping[str, object], name: str, default: str | None, choices: Sequence[str]) -> str:
    value = described.get(name, default)
    if not isinstance(value, str) or value not in choices:
        raise FaultError(f"{name} must be one of {', '.join(choices)}")
    return value


def reply_with(fault: Fault | None, answer: Answer) -> Reply:
    """What goes out for `answer` when `fault` has had its way with it."""
    if fault is not None and fault.kind == "html":
        return Reply(HTTPStatus.OK, "text/html", HTML_BODY)
    if fault is not None and fault.kind == "status":
        return Reply(fault.status, "text/html", HTML_BODY)
    if fault is not None and fault.kind == "empty":
        return Reply(HTTPStatus.OK, JSON_TYPE, b"")
    body = answer.body if fault is None or answer.errcode else _spoilt(fault, answer.body)
    return Reply(HTTPStatus.OK, JSON_TYPE, json.dumps(body, separators=(",", ":")).encode())


def play(fault: Fault, reply: Reply, connection: socket.socket | None, released: threading.Event) -> NoReturn:
    """Does a WIRE fault to the bare socket and raises ConnectionError, which ends the request without a sound."""
    if connection is not None:
        head, body = _head(reply, MISSING_BYTES if fault.kind == "truncated" else 0), reply.body
        match fault.kind:
            case "hang":
                wait(fault.seconds, connection, released)
            case "drip":
                connection.sendall(head)
                _drip(body, fault.seconds, connection, released)
            case "drip_headers":
                _drip(head + body, fault.seconds, connection, released)
            case "truncated":
                connection.sendall(head + body)
            case _:
                _reset(connection)
    raise ConnectionAbortedError(fault.kind)


def wait(seconds: float, connection: socket.socket | None, released: threading.Event) -> bool:
    """Waits in real time; False as soon as the client has gone or `released` is set."""
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        if connection is None or left < WATCH_SECONDS:
            return not released.wait(left)
        if released.wait(WATCH_SECONDS) or _gone(connection):
            return False
    return True


def _gone(connection: socket.socket) -> bool:
    """Whether the client has closed its end."""
    watch = select.poll()
    watch.register(connection, select.POLLIN)
    if not watch.poll(0):
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _drip(data: bytes, seconds: float, connection: socket.socket, released: threading.Event) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in data:
        connection.sendall(bytes((byte,)))
        if not wait(seconds, connection, released):
            return


def _reset(connection: socket.socket) -> None:
    """Closes with RST. The reader still holds the socket object: only a detached descriptor closes now."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())


def _head(reply: Reply, missing_bytes: int) -> bytes:
    status = HTTPStatus(reply.status)
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body) + missing_bytes}",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


def _spoilt(fault: Fault, body: dict[str, object]) -> dict[str, object]:
    if fault.kind == "bad_expires_in" and "expires_in" in body:
        return body | {"expires_in": fault.value}
    if fault.kind == "empty_value":
        return body | {name: "" for name in ("access_token", "ticket") if name in body}
    return body


def _optional_text(described: Mapping[str, object], name: str) -> str | None:
    value = described.get(name)
    if value is not None and not isinstance(value, str):
        raise FaultError(f"{name} must be a string")
    return value
