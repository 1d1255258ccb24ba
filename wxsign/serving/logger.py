"""gunicorn's logs as one JSON object a line, without what a client sent."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gunicorn.glogging import Logger

from wxsign.logs import JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from datetime import timedelta

    from gunicorn.config import Config
    from gunicorn.http import Request
    from gunicorn.http.wsgi import Response

PROBES: Final = ("/healthz", "/readyz")
_WHAT_A_CLIENT_SENT: Final = re.compile(r"(: b?['\"(]|\?).*", re.DOTALL)


def without_request_data(message: str) -> str:
    """Return a message of gunicorn without the query or header that it quotes: keys and OAuth codes travel there."""
    if message.startswith("Invalid request"):
        return _WHAT_A_CLIENT_SENT.sub("", message)
    return message.partition("?")[0]


class _RequestDataFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_request_data(record.getMessage()), ()
        return True


class JsonLogger(Logger):
    """gunicorn's logs as one JSON object a line: the error log on stderr, the access log on stdout unless it is `left_out`."""

    left_out = False

    def setup(self, cfg: Config) -> None:
        """Configure both logs; gunicorn calls this again at every reload."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())
            handler.addFilter(_RequestDataFilter())
        for handler in self.access_log.handlers:
            handler.setFormatter(logging.Formatter("%(message)s"))

    def access(
        self,
        resp: Response,
        req: Request,  # noqa: ARG002 - gunicorn passes it
        environ: MutableMapping[str, Any],
        request_time: timedelta,
    ) -> None:
        """Log one answered request: its path, never its query."""
        if self.access_log_enabled and not self.left_out and not _is_quiet_probe(resp, environ):
            self.access_log.info(json.dumps(_access_fields(resp, environ, request_time)))


def _is_quiet_probe(resp: Response, environ: Mapping[str, Any]) -> bool:
    """Whether a load balancer asked and all was well: many lines a minute that say nothing."""
    return environ.get("PATH_INFO") in PROBES and str(resp.status).startswith("200")


def _access_fields(resp: Response, environ: Mapping[str, Any], request_time: timedelta) -> dict[str, object]:
    # The same keys as in the error log. Redaction, many times the cost of the rest, has nothing to find here.
    fields = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "info",
        "logger": "gunicorn.access",
        "event": "access",
        "method": environ.get("REQUEST_METHOD"),
        # WSGI hands the bytes of a path over as Latin-1.
        "path": environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace"),
        "status": int(str(resp.status).partition(" ")[0]),
        "bytes": resp.sent,
        "milliseconds": round(request_time.total_seconds() * 1000, 1),
        "remote_addr": environ.get("REMOTE_ADDR") or "unix",
    }
    for name, value in resp.headers:
        if name == "X-Request-Id":
            fields["request_id"] = value
    return fields
