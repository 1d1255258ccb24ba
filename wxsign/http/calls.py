"""What wxsign reads from an HTTP request, without a web framework: WSGI in, one small value out."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from wxsign.errors import BadRequest, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import WSGIEnvironment

T = TypeVar("T")

MAX_BODY_BYTES: Final = 64 * 1024
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

_QUALITY: Final = re.compile(r"[01](?:\.[0-9]{0,3})?")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,128}")
_REQUEST_ID_KEY: Final = "wxsign.request_id"
_LENGTH: Final = re.compile(r"[0-9]{1,9}")


class Call(NamedTuple):
    """A request. `query` is raw, as in WSGI; `read` returns the body of a POST, None where it is too large.

    It is read where it is needed, so that who has no key is refused before anything that it sent is looked at.
    """

    method: str
    query: str
    content_type: str
    read: Callable[[], bytes | None]
    origin: str
    requested_headers: str
    accept_language: str
    authorization: str
    remote_addr: str
    request_id: str
    user_agent: str = ""
    if_none_match: str = ""

    def __repr__(self) -> str:
        return f"Call(method={self.method!r}, request_id={self.request_id!r})"

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def language(self) -> str:
        """`zh` or `en`, as the caller prefers."""
        return language_of(self.accept_language)


def call_of(environ: WSGIEnvironment, read: Callable[[], bytes | None] | None = None) -> Call:
    """Read a request from its WSGI environment; `read` takes the place of the server's own way to the body."""
    get = environ.get
    method = environ["REQUEST_METHOD"]
    return Call(
        method,
        get("QUERY_STRING", ""),
        get("CONTENT_TYPE", ""),
        read or (lambda: read_body(environ) if method == "POST" else b""),
        get("HTTP_ORIGIN", ""),
        get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""),
        get("HTTP_ACCEPT_LANGUAGE", ""),
        get("HTTP_AUTHORIZATION", ""),
        get("REMOTE_ADDR") or "",
        request_id_of(environ),
        get("HTTP_USER_AGENT", ""),
        get("HTTP_IF_NONE_MATCH", ""),
    )


def read_body(environ: WSGIEnvironment) -> bytes | None:
    """Return the request's body, None where it is larger than `MAX_BODY_BYTES`."""
    given = environ.get("CONTENT_LENGTH") or ""
    if not given:
        # A chunked body: servers that end it by themselves say so, others must not be read from.
        length = MAX_BODY_BYTES + 1 if environ.get("wsgi.input_terminated") else 0
    else:
        length = int(given) if _LENGTH.fullmatch(given) else MAX_BODY_BYTES + 1
        if length > MAX_BODY_BYTES:
            return None
    try:
        body: bytes = environ["wsgi.input"].read(length) if length else b""
    except Exception:  # noqa: BLE001 - each server has errors of its own
        # Chunks that are malformed or break off: as good as nothing sent, and the sender is told so.
        return b""
    return body if len(body) <= MAX_BODY_BYTES else None


class _Pairs(list[tuple[str, object]]):
    """A JSON object with its names as they came, so that one given twice is seen."""


def json_pairs(body: bytes, hint: Text) -> list[tuple[str, object]]:
    """Return the names and values of the JSON object in `body`. Raises BadRequest with `hint`."""
    try:
        pairs = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise BadRequest(
            "json_malformed", Text("The body is not JSON.", "请求体不是有效的 JSON。"), hint
        ) from None
    if not isinstance(pairs, _Pairs):
        raise BadRequest(
            "json_not_object", Text("The body is not a JSON object.", "请求体不是 JSON 对象。"), hint
        )
    return pairs


def whole_characters(text: str) -> str:
    """The text without halves of surrogate pairs: JSON can carry one, no browser sends it, and no hash takes it."""
    return text.encode("utf-8", "replace").decode()


def unique(fields: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return parameters by name. Raises BadRequest where one is given twice: which of them is meant nobody can tell."""
    given: dict[str, T] = {}
    for name, value in fields:
        if name in given:
            shown = ascii(name[:64])[1:-1]
            raise BadRequest(
                "duplicate_parameter",
                Text(f"`{shown}` is given more than once.", f"参数 `{shown}` 出现了不止一次。"),
                Text(
                    "Send it once; an `&` inside the URL is written %26.",
                    "只发送一次；URL 中的 `&` 要写成 %26。",
                ),
            )
        given[name] = value
    return given


def text_of(name: str, value: object, hint: Text) -> str:
    """Return a value that has to be a text. Raises BadRequest `<name>_not_text` with `hint`."""
    if isinstance(value, str):
        return value
    raise BadRequest(f"{name}_not_text", Text(f"`{name}` is not a text.", f"`{name}` 不是文本。"), hint)


def language_of(accept_language: str) -> str:
    """Return `zh` where the header prefers Chinese to English, else `en`."""
    header = accept_language.lower()
    if "zh" not in header:
        return "en"
    entries = [entry.strip().partition(";") for entry in header.split(",")]
    ranked = sorted(entries, key=lambda entry: -_quality(entry[2]))
    names = (tag.partition("-")[0].strip() for tag, _, parameter in ranked if _quality(parameter))
    return next((name for name in names if name in {"zh", "en"}), "en")


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    found = _QUALITY.fullmatch(value.strip())
    return float(found[0]) if found else 0.0


def request_id_of(environ: WSGIEnvironment) -> str:
    """Return the request's id: the proxy's where it is a sane one, else a new one; the same at every call."""
    known = environ.get(_REQUEST_ID_KEY)
    if isinstance(known, str):
        return known
    given = environ.get("HTTP_X_REQUEST_ID", "")
    request_id: str = given if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
    environ[_REQUEST_ID_KEY] = request_id
    return request_id
