"""A bounded load over loopback, by wrk; and one answer, read by hand."""

from __future__ import annotations

import http.client
import re
import subprocess
from contextlib import closing
from dataclasses import dataclass

CONNECTIONS = 16
_THREADS = 2
# A request as a phone's browser sends it.
HEADERS = {
    "Host": "127.0.0.1",
    "Origin": "https://m.example.com",
    "Referer": "https://m.example.com/",
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 MicroMessenger/8.0.50",
    "Accept": "*/*",
    "Accept-Language": "zh-CN,zh-Hans;q=0.9",
    "Accept-Encoding": "gzip, deflate, br",
}
# What a server or proxy writes by itself.
_THEIRS = {"server", "date", "connection", "content-length", "content-type", "x-request-id", "keep-alive"}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the load did."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: its body, and those headers that its application wrote."""

    body: bytes
    headers: dict[str, str]


def run_load(port: int, path: str, seconds: int, *, warming_up: bool = False) -> Load:
    """Ask for `path` for so many seconds; raises RuntimeError unless every answer has status 200.

    While `warming_up` some may fail: two processes of an SDK fetch a token each, and the later one kills the earlier.
    """
    fields = (argument for name, value in HEADERS.items() for argument in ("-H", f"{name}: {value}"))
    size = (f"-t{_THREADS}", f"-c{CONNECTIONS}", f"-d{seconds}s")
    command = ["wrk", *size, *fields, f"http://127.0.0.1:{port}{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout  # noqa: S603 - our own command line
    if ("Non-2xx" in said or "Socket errors" in said) and not warming_up:
        raise RuntimeError(f"not every request was answered: {said}")
    requests = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec: +([\d.]+)", said)
    if requests is None or rate is None:
        raise RuntimeError(f"wrk has other words: {said}")
    return Load(int(requests[1]), int(requests[1]) / float(rate[1]))


def answer_of(port: int, path: str) -> Reply:
    """Ask once; raises RuntimeError when the status is not 200."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=15)) as connection:
        connection.request("GET", path, headers=HEADERS)
        response = connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"status {response.status} instead of a signature: {body!r}")
        fields = {name: value for name, value in response.getheaders() if name.lower() not in _THEIRS}
        return Reply(body, fields)
