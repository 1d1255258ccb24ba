"""The access log: one JSON object for each answered request, its path and never its query."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

PROBES: Final = ("/healthz", "/readyz")


def is_quiet_probe(status: str, environ: Mapping[str, Any]) -> bool:
    """Whether a load balancer asked and all was well: many lines a minute that say nothing."""
    return environ.get("PATH_INFO") in PROBES and status.startswith("200")


def access_line(
    logger: str,
    environ: Mapping[str, Any],
    status: str,
    headers: Iterable[tuple[str, str]],
    sent_bytes: int,
    seconds: float,
) -> str:
    """Return the line of one answer; `logger` says which server wrote it."""
    # The same keys as in the error log. Redaction, many times the cost of the rest, has nothing to find here.
    fields = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "info",
        "logger": logger,
        "event": "access",
        "method": environ.get("REQUEST_METHOD"),
        # WSGI hands the bytes of a path over as Latin-1.
        "path": environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace"),
        "status": int(status.partition(" ")[0]),
        "bytes": sent_bytes,
        "milliseconds": round(seconds * 1000, 1),
        "remote_addr": environ.get("REMOTE_ADDR") or "unix",
    }
    for name, value in headers:
        if name == "X-Request-Id":
            fields["request_id"] = value
    return json.dumps(fields)


class AccessLog:
    """Writes the line of each answer of `application` on stdout, for a server whose own log would quote queries."""

    def __init__(self, application: WSGIApplication, logger: str) -> None:
        self._application = application
        self._logger = logger

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        status, headers = "500 Internal Server Error", list[tuple[str, str]]()

        def start(
            told: str,
            fields: list[tuple[str, str]],
            error: Any = None,  # noqa: ANN401 - WSGI's signature
        ) -> Callable[[bytes], object]:
            nonlocal status, headers
            status, headers = told, fields
            return start_response(told, fields, error)

        def tell(sent_bytes: int) -> None:
            if not is_quiet_probe(status, environ):
                seconds = time.perf_counter() - began
                line = access_line(self._logger, environ, status, headers, sent_bytes, seconds)
                # In one piece: the lines of all workers go the same way.
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()

        try:
            body = self._application(environ, start)
        except BaseException:
            tell(0)
            raise
        if isinstance(body, list | tuple):
            tell(sum(map(len, body)))
            return body
        return _Counted(body, tell)


class _Counted:
    """A body that comes by and by: what it had is told when the server closes it."""

    def __init__(self, body: Iterable[bytes], tell: Callable[[int], None]) -> None:
        self._body = body
        self._pieces: Iterator[bytes] = iter(body)
        self._tell = tell
        self._sent_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        self._sent_bytes += len(piece)
        return piece

    def close(self) -> None:
        """End the body."""
        try:
            if close := getattr(self._body, "close", None):
                close()
        finally:
            self._tell(self._sent_bytes)
