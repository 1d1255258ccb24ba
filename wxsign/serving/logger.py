"""gunicorn's logs as one JSON object a line, without what a client sent."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from gunicorn.glogging import Logger

from wxsign.logs import JsonFormatter
from wxsign.serving.access import access_line, is_quiet_probe

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from datetime import timedelta

    from gunicorn.config import Config
    from gunicorn.http import Request
    from gunicorn.http.wsgi import Response

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
        if not self.access_log_enabled or self.left_out:
            return
        status = str(resp.status)
        if not is_quiet_probe(status, environ):
            seconds = request_time.total_seconds()
            self.access_log.info(
                access_line("gunicorn.access", environ, status, resp.headers, resp.sent, seconds)
            )
