"""What every HTTP answer of wxsign has in common, without a web framework: the error shape and the headers.

{"error": {"code", "message", "hint", "docs", "request_id"}} + "cause", "errcode", "errmsg" where WeChat is the reason
"""

from __future__ import annotations

import json
import logging
from hashlib import sha256
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from wxsign.errors import (
    CredentialUnavailable,
    RequestError,
    Text,
    WeChatRefused,
    WxSignError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wxsign.settings import Settings

logger = logging.getLogger("wxsign.http")

RETRY_AFTER_SECONDS: Final = 5
_HSTS_SECONDS: Final = 365 * 24 * 3600
DOCS: Final = "docs/http-api.md"

Headers = list[tuple[str, str]]

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_STATUS_LINES: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_COMMON: Final = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)

VARY_ORIGIN: Final = ("Vary", "Origin")
EXPOSED: Final = ("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
# On error answers of public endpoints, so that a page can read why it got no signature.
ANY_ORIGIN: Final = (VARY_ORIGIN, ("Access-Control-Allow-Origin", "*"), EXPOSED)


class Answer(NamedTuple):
    """A finished HTTP answer."""

    status: int
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, bytes={len(self.body)})"

    @property
    def status_line(self) -> str:
        """The status as WSGI wants it: `200 OK`."""
        return _STATUS_LINES[self.status]


class Stream(NamedTuple):
    """An answer whose body comes piece by piece; the server closes it."""

    status: int
    headers: Headers
    body: Iterator[bytes]

    def __repr__(self) -> str:
        return f"Stream(status={self.status})"


class NotFoundError(RequestError):
    """There is nothing at this path."""

    status: ClassVar[int] = 404

    def __init__(self) -> None:
        super().__init__(
            "not_found",
            Text("There is nothing at this path.", "这个路径下没有内容。"),
            Text(f"The paths of this service are listed in {DOCS}.", f"本服务的路径见 {DOCS}。"),
        )


class MethodNotAllowedError(RequestError):
    """The path is right, the method is not; `allowed` are those that it takes."""

    status: ClassVar[int] = 405

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.allowed = allowed
        listed = ", ".join(allowed)
        super().__init__(
            "method_not_allowed",
            Text("This path does not take that method.", "该路径不支持这个请求方法。"),
            Text(f"Use {listed}.", f"请使用 {listed}。"),
        )


class BodyTooLargeError(RequestError):
    """The body has more than `MAX_BODY_BYTES` bytes."""

    status: ClassVar[int] = 413

    def __init__(self) -> None:
        super().__init__(
            "body_too_large",
            Text("The body is larger than 64 kB.", "请求体超过 64 kB。"),
            Text("Send the page's URL and nothing else.", "只需发送页面的 URL。"),
        )


class UnsupportedMediaTypeError(RequestError):
    """The body is neither JSON nor a form."""

    status: ClassVar[int] = 415

    def __init__(self) -> None:
        super().__init__(
            "unsupported_media_type",
            Text("The body is neither JSON nor a form.", "请求体既不是 JSON 也不是表单。"),
            Text(
                "Send `Content-Type: application/json` or `application/x-www-form-urlencoded`.",
                "请使用 `Content-Type: application/json` 或 `application/x-www-form-urlencoded`。",
            ),
        )


class InternalError(WxSignError):
    """Something unexpected happened; what it was stands in the log under the request id."""

    def __init__(self) -> None:
        super().__init__(
            "internal_error",
            Text("Something went wrong in wxsign.", "wxsign 内部出错。"),
            Text("Look for the request id in the log.", "请在日志中查找该 request id。"),
        )


def status_of(error: WxSignError) -> int:
    """Return the HTTP status that says what `error` says."""
    if isinstance(error, RequestError):
        return error.status
    # What is left of ours has a cause that passes, or that an operator removes: the caller may ask again.
    broken = isinstance(error, InternalError)
    return HTTPStatus.INTERNAL_SERVER_ERROR if broken else HTTPStatus.SERVICE_UNAVAILABLE


def json_answer(
    status: int, payload: Mapping[str, object], request_id: str, *more: tuple[str, str]
) -> Answer:
    """Return a JSON answer that nobody may store, with the headers that every answer has and `more`."""
    return encoded_answer(status, json_text(payload), request_id, *more)


def tagged_answer(
    payload: Mapping[str, object], passing: Iterable[str], request_id: str, known: str
) -> Answer:
    """Return a JSON answer with an `ETag`, or a 304 without a body where `known` (`If-None-Match`) has it.

    The tag is weak (RFC 9110, 8.8.1): the fields named `passing`, which change by themselves, are none of it.
    """
    stays = {name: value for name, value in payload.items() if name not in passing}
    tag = sha256(json_text(stays).encode()).hexdigest()[:32]
    header = ("ETag", f'W/"{tag}"')
    if f'"{tag}"' not in {given.strip().removeprefix("W/") for given in known.split(",")}:
        return json_answer(200, payload, request_id, header)
    kept = [(name, value) for name, value in _COMMON if name != "Content-Type"]
    return Answer(304, [*kept, ("X-Request-Id", request_id), header], b"")


def json_text(value: object) -> str:
    """Return the value as JSON; Chinese stands there as it reads."""
    return _ENCODER.encode(value)


def encoded_answer(status: int, text: str, request_id: str, *more: tuple[str, str]) -> Answer:
    """Return a JSON answer whose text is there already."""
    # A lone surrogate becomes the escape that JSON has for it.
    body = text.encode("utf-8", "backslashreplace")
    return Answer(
        status, [*_COMMON, ("X-Request-Id", request_id), ("Content-Length", str(len(body))), *more], body
    )


def error_answer(
    error: WxSignError, request_id: str, language: str, *more: tuple[str, str], keyed: bool = False
) -> Answer:
    """Return the answer to a request that failed with `error`, and log it.

    `keyed` says that the caller has shown a client key: it is told the outbound IP and WeChat's own words in full.
    """
    status = status_of(error)
    headers = [*more]
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        seconds = getattr(error, "retry_after_seconds", RETRY_AFTER_SECONDS)
        headers.append(("Retry-After", str(max(1, ceil(seconds)))))
    if isinstance(error, MethodNotAllowedError):
        headers.append(("Allow", ", ".join(error.allowed)))
    fields = {"code": error.code, "status": status, "request_id": request_id, "cause": _cause_code(error)}
    logger.info("wxsign.refused", extra={"fields": {name: value for name, value in fields.items() if value}})
    return json_answer(status, error_payload(error, request_id, language, keyed=keyed), request_id, *headers)


def unexpected(error: Exception, request_id: str) -> WxSignError:
    """Return `error` if it is one of ours; anything else is logged with its traceback and becomes an `InternalError`."""
    if isinstance(error, WxSignError):
        return error
    logger.error("wxsign.unexpected", exc_info=error, extra={"fields": {"request_id": request_id}})
    return InternalError()


def error_payload(
    error: WxSignError, request_id: str, language: str, *, keyed: bool = False
) -> dict[str, object]:
    """Return the error shape. No secret stands in it; without a key, no IP address either."""
    hint = error.operator_hint if keyed else error.hint
    payload: dict[str, object] = {
        "error": {
            "code": error.code,
            "message": error.message.in_language(language),
            "hint": hint.in_language(language),
            "docs": f"{DOCS}#{error.code}",
            "request_id": request_id,
        }
    }
    if code := _cause_code(error):
        payload["cause"] = code
    cause = error.cause if isinstance(error, CredentialUnavailable) else error
    if isinstance(cause, WeChatRefused):
        payload |= {"errcode": cause.errcode, "errmsg": cause.errmsg if keyed else cause.public_errmsg}
    return payload


def _cause_code(error: WxSignError) -> str:
    cause = getattr(error, "cause", None)
    return cause.code if isinstance(cause, WxSignError) else ""


def hsts_of(settings: Settings) -> Headers:
    """The header that keeps browsers on https, where the service is reached so."""
    if not (settings.public_url or "").startswith("https:"):
        return []
    return [("Strict-Transport-Security", f"max-age={_HSTS_SECONDS}")]
