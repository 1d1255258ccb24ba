"""A bounded load: processes with a few keep-alive connections each, over loopback."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from multiprocessing import get_context

CLIENT_PROCESSES = 2
CONNECTIONS_A_PROCESS = 8
_MAX_SECONDS = 20.0
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the load did."""

    requests: int
    seconds: float


def request_to(port: int, path: str) -> bytes:
    """Return a request as a phone's browser sends it through nginx."""
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Origin: https://m.example.com",
        "Referer: https://m.example.com/",
        "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 MicroMessenger/8.0.50",
        "Accept: */*",
        "Accept-Language: zh-CN,zh-Hans;q=0.9",
        "Accept-Encoding: gzip, deflate, br",
    )
    return "\r\n".join((*lines, "", "")).encode()


def run_load(port: int, path: str, requests: int) -> Load:
    """Send `requests` GET requests for `path`; raises RuntimeError unless every answer has status 200."""
    share = requests // CLIENT_PROCESSES
    with get_context("fork").Pool(CLIENT_PROCESSES) as pool:
        done = pool.starmap(_client, [(port, request_to(port, path), share)] * CLIENT_PROCESSES)
    return Load(
        sum(answered for answered, _, _ in done),
        max(end for *_, end in done) - min(start for _, start, _ in done),
    )


def _client(port: int, request: bytes, requests: int) -> tuple[int, float, float]:
    """Keep one request in flight on each connection; return how many were answered, and from when to when."""
    connections = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(CONNECTIONS_A_PROCESS)]
    started = time.monotonic()
    answered = 0
    while answered < requests and time.monotonic() < started + _MAX_SECONDS:
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            read_answer(connection)
        answered += len(connections)
    ended = time.monotonic()
    for connection in connections:
        connection.close()
    return answered, started, ended


def read_answer(connection: socket.socket) -> bytes:
    """Read one answer with a Content-Length and return its body; raises RuntimeError when its status is not 200."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(_READ_BYTES)
        if not chunk:
            raise RuntimeError("the server closed the connection")
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        status_line = head.partition(b"\r\n")[0]
        raise RuntimeError(f"{status_line!r} instead of a signature: {body!r}")
    missing = _content_length(head) - len(body)
    while missing > 0:
        chunk = connection.recv(_READ_BYTES)
        body, missing = body + chunk, missing - len(chunk)
    return body


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])
