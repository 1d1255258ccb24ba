"""Logs: one JSON object a line, and no secret in any of them.

Loggers are named `wxsign.…`; an event is a dotted name with fields: `logger.info("wxsign.refreshed", extra={"fields": {…}})`.
Redaction works twice: by pattern (what follows `secret=`, `access_token=`, `Bearer` …) and by value (`protect`). Sentences of
ours (`Text`) are searched for values only: they speak of AppSecrets and bearers, and their advice has to arrive whole.
"""

from __future__ import annotations

import json
import logging
import platform
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from wxsign.text import Sentence

if TYPE_CHECKING:
    from typing import TextIO

MASK: Final = "***"
MAX_PROTECTED_VALUES: Final = 512
_MIN_PROTECTED_CHARACTERS: Final = 8
_HOST: Final = platform.node()

_KEYS = (
    r"(?:app_?|corp_?|client_?)?secret|(?:access_|refresh_)?token|ticket|client_key|password|passwd|rejected"
)
_KEY_WORDS: Final = (
    "secret",
    "token",
    "ticket",
    "client_key",
    "passw",
    "rejected",
)  # each of _KEYS has one of them
_SECRET_NAME: Final = re.compile(rf"(?:.*_)?(?:{_KEYS})", re.IGNORECASE)
# `name=value` of a query or of string1, plain or percent-encoded, and `"name": "value"` of JSON or a repr, escaped or not.
_PAIR: Final = re.compile(
    rf"""((?:(?<![A-Za-z0-9])|(?<=%[0-9A-F]{{2}}))(?:{_KEYS})\\*["']?\s*(?:[=:]|%3D)\s*b?\\*["']?)(?:(?!%26)[^\s&"'\\,;<>{{}}()\[\]])+""",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"""(\bbearer(?:\s|%20|\+)+)[^\s"'\\,;]+""", re.IGNORECASE)
_USER_INFO: Final = re.compile(r"""(://)[^\s/?#@:"']*:[^\s/?#@"']*(@)""")
_QUERY: Final = re.compile(r"""\?[^\s"']+""")
# What a terminal obeys: C0, DEL and C1 controls, line separators, and the marks that turn the direction of writing round.
_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

# Insertion order is age. Replaced as a whole, never changed: a reader on another thread needs no lock.
_protected: tuple[str, ...] = ()


def protect(value: str) -> None:
    """Mask this exact value in every line from now on; beyond 512 values the oldest is forgotten.

    Values under 8 characters are not taken: masking them would blot out ordinary words.
    """
    global _protected  # noqa: PLW0603 - one process has one log
    if len(value) >= _MIN_PROTECTED_CHARACTERS and value not in _protected:
        _protected = (*_protected, value)[-MAX_PROTECTED_VALUES:]


def redact(text: str) -> str:
    """Return the text with every secret in it replaced by `***`; redacting twice changes nothing more.

    In a `Sentence` only protected values are replaced.
    """
    ours = isinstance(text, Sentence)
    for value in _protected:
        if value in text:
            text = text.replace(value, MASK)
    return text if ours else _without_pairs(text)


def _without_pairs(text: str) -> str:
    # Most lines name no secret at all, and a plain search says so at a tenth of a pattern's cost.
    lowered = text.lower()
    if any(word in lowered for word in _KEY_WORDS):
        text = _PAIR.sub(rf"\1{MASK}", text)
    if "bearer" in lowered:
        text = _BEARER.sub(rf"\1{MASK}", text)
    return _USER_INFO.sub(rf"\1{MASK}\2", text)


def printable(text: str) -> str:
    """Return text from outside fit for a terminal: what a terminal would obey becomes its escape, `\\x1b` or `\\u202e`."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class RedactionFilter(logging.Filter):
    """Rewrites a record, so that no handler behind it can print a secret: message, arguments, traceback. Lets all pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(_message(record))
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        # A formatter prints `exc_text` where there is one, and does not look at the exception again.
        record.exc_text = record.exc_text and redact(record.exc_text)
        record.stack_info = record.stack_info and redact(record.stack_info)
        return True


class _HttpLibraryFilter(RedactionFilter):
    """Takes whole queries out as well: those of relayed calls are their caller's, whatever stands in them."""

    def filter(self, record: logging.LogRecord) -> bool:
        super().filter(record)
        record.msg = _QUERY.sub(f"?{MASK}", record.msg)
        return True


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line: time (UTC), level, event, logger, the event's fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            entry = self._entry(record)
            line = json.dumps(entry, ensure_ascii=False, default=lambda value: redact(str(value)))
        except Exception as error:  # noqa: BLE001 - a log line must never break what it tells of
            line = json.dumps(
                {**self._head(record), "event": "wxsign.unloggable", "error": type(error).__name__}
            )
        # JSON escapes C0 controls only. A lone surrogate could not be encoded by any stream.
        return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", line)

    def _head(self, record: logging.LogRecord) -> dict[str, Any]:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "host": _HOST,
            "pid": record.process,
        }

    def _entry(self, record: logging.LogRecord) -> dict[str, Any]:
        head = {**self._head(record), "event": redact(_message(record))}
        fields = getattr(record, "fields", None)
        entry = {**_redacted(fields if isinstance(fields, dict) else {}), **head}
        if record.exc_info or record.exc_text:
            entry["exception"] = redact(
                record.exc_text or self.formatException(record.exc_info or (None, None, None))
            )
        if record.stack_info:
            entry["stack"] = redact(record.stack_info)
        return {**head, **entry}


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everything this process logs to one stream (stderr), as JSON lines without secrets. Calling again replaces."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(_FILTER)
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, JsonFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    redact_http_library()


def redact_http_library() -> None:
    """Redact at its source what urllib3 logs at DEBUG level, the URL with its query, for handlers that are not ours too."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_HTTP_LIBRARY_FILTER)  # adding it again changes nothing


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit the message, or a `__str__` that fails
        return record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__name__}>"


def _redacted(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and the same shape back
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(name)): _redacted_field(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    return value


def _redacted_field(name: str, value: Any) -> Any:  # noqa: ANN401 - see above
    return MASK if isinstance(value, str) and _SECRET_NAME.fullmatch(name) else _redacted(value)


_FILTER: Final = RedactionFilter()
_HTTP_LIBRARY_FILTER: Final = _HttpLibraryFilter()
