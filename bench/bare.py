"""The floor: a WSGI application that answers every request with one constant, with the size and headers of a real answer."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

_BODY = b"x" * int(os.environ["BENCH_BODY_BYTES"])
_HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(_BODY))),
    ("X-Request-Id", "0123456789abcdef"),
    *json.loads(os.environ["BENCH_HEADERS"]).items(),
]


def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the constant."""
    start_response("200 OK", _HEADERS)
    return [_BODY]
