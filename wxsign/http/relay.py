"""The relay: a business call of WeChat from this service's address, with the account's token put in.

A whitelist covers calls by access_token as well as by AppSecret, so a system at another address is refused (40164)
although it holds the right token. Bounded by places, bytes and a deadline, so that a signature never waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import quote, unquote_plus

from wxsign.accounts import AccountKind
from wxsign.errcodes import FailureScope, entry_for
from wxsign.errors import (
    BadRequest,
    CredentialUnavailable,
    RequestError,
    Text,
    WeChatError,
    WeChatRefused,
    WeChatUnreachable,
    WxSignError,
)
from wxsign.http.answers import Answer, Stream
from wxsign.wechat.exchange import json_object
from wxsign.wechat.relay import BusinessAnswer, BusinessCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.http.protected import Asked
    from wxsign.service import WxSign

logger = logging.getLogger("wxsign.relay")

RELAY_PATH: Final = "/accounts/<path:account>/relay/<path:path>"
RELAY_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
RELAY_BODY_BYTES: Final = 10 * 1024 * 1024
DEADLINE_SECONDS: Final = 15.0
# A report may wait as long for its verdict; one that could not end in time is left to the next call.
REPORT_SECONDS: Final = 10.0
BUSY_SECONDS: Final = 1
# What failed before anything was sent: the call may be repeated.
_NEVER_SENT: Final = frozenset({"connect", "dns", "tls"})


class RelayPathError(RequestError):
    """The client may not have this path relayed."""

    status: ClassVar[int] = 403

    def __init__(self, path: str) -> None:
        shown = ascii(path[:80])[1:-1]
        super().__init__(
            "relay_path_not_allowed",
            Text("This client key may not have that path relayed.", "该客户端密钥无权转发此路径。"),
            Text(
                f"`{shown}` has to stand in the client's `relay_paths`, by itself or as part of `…/*`, and be written plainly; some paths are never relayed: docs/relay.md.",
                f"请把 `{shown}` 写入该客户端的 `relay_paths`（单独列出或用 `…/*` 表示），路径须为普通写法；有些路径不能转发，见 docs/relay.zh-CN.md。",
            ),
        )


class RelayBodyError(RequestError):
    """The body has more than `RELAY_BODY_BYTES` bytes."""

    status: ClassVar[int] = 413

    def __init__(self) -> None:
        super().__init__(
            "relay_body_too_large",
            Text("The body is larger than 10 MB.", "请求体超过 10 MB。"),
            Text(
                "Larger files need a proxy with a fixed address: docs/relay.md shows nginx's form.",
                "更大的文件请使用固定出口地址的代理：docs/relay.zh-CN.md 给出了 nginx 的写法。",
            ),
        )


def unreadable_body() -> BadRequest:
    """The error for a body that broke off, or that the host application has taken apart before us."""
    return BadRequest(
        "relay_body_unreadable",
        Text("The body did not arrive whole.", "请求体没有完整到达。"),
        Text(
            "Send it again. An application that mounts this API must not parse forms before it.",
            "请重新发送。挂载本接口的应用不得先行解析表单。",
        ),
    )


class RelayBusyError(WxSignError):
    """All places of this process are taken."""

    retryable = True
    retry_after_seconds = BUSY_SECONDS

    def __init__(self) -> None:
        super().__init__(
            "relay_busy",
            Text("As many calls are being relayed as may be at once.", "同时转发的调用已达上限。"),
            Text(
                "Repeat it in a second; nothing was sent. If it recurs, give the service more workers, or use a proxy: docs/relay.md.",
                "调用尚未发出，请一秒后重试。如经常出现，请增加 worker 数量，或改用代理：docs/relay.zh-CN.md。",
            ),
        )


class RelayUnansweredError(RequestError):
    """The call was sent, and no whole answer came: `cause` says why."""

    status: ClassVar[int] = 504

    def __init__(self, cause: WeChatError) -> None:
        self.cause = cause
        careful = Text(
            "WeChat may have carried the call out: look before you repeat it. ",
            "微信可能已经执行了该调用，重试前请先确认。",
        )
        super().__init__("relay_unanswered", cause.message, careful + cause.operator_hint)


class Places:
    """How many calls a process relays at once: a quarter of the requests that it serves at once, but one."""

    def __init__(self, threads: Callable[[], int]) -> None:
        self._threads = threads
        self._taken = 0
        # Made before a fork, perhaps; nobody holds it there.
        self._lock = threading.Lock()

    def take(self) -> Callable[[], None]:
        """Take a place; returns what gives it back, once. Raises `RelayBusyError`."""
        with self._lock:
            if self._taken >= max(1, self._threads() // 4):
                raise RelayBusyError
            self._taken += 1
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            with self._lock:
                self._taken -= not given_back
                given_back = True

        return give_back


class Relay:
    """Relays the calls of one process."""

    def __init__(self, service: WxSign) -> None:
        self._service = service
        self._places = Places(lambda: service.threads)

    def relay(self, asked: Asked) -> Answer | Stream:
        """The answer of WeChat. Raises what else there is to say, as `WxSignError`."""
        path = f"/{asked.path}"
        if not asked.client.may_relay(path):
            raise RelayPathError(path)
        give_back = self._places.take()
        audit = Audit(asked, path)
        try:
            answer = self._answered(asked, path, audit)
        except WxSignError as error:
            give_back()
            audit.end(0, error.code)
            raise
        except BaseException:
            give_back()
            raise
        headers = [*_OURS, ("X-Request-Id", asked.call.request_id), *answer.headers]
        if answer.whole is None:
            return Stream(answer.status, headers, Pieces(answer, audit, give_back))
        answer.close()
        give_back()
        audit.end(len(answer.whole))
        length = ("Content-Length", str(len(answer.whole)))
        return Answer(
            answer.status, [pair for pair in headers if pair[0] != length[0]] + [length], answer.whole
        )

    def _answered(self, asked: Asked, path: str, audit: Audit) -> BusinessAnswer:
        body = asked.call.read()
        if body is None:
            raise RelayBodyError
        token = self._service.access_token(asked.account).value
        answer = self._call(asked, path, body, token, audit)
        if (refused := stale_errcode(answer)) is None:
            return answer
        answer.close()
        if audit.seconds_left < REPORT_SECONDS:
            raise CredentialUnavailable(WeChatRefused(refused, "", path), BUSY_SECONDS, what="token")
        current = self._service.report_rejected(asked.account, token, asked.client.name)
        if current.value == token:
            # It lives: WeChat means something else by it.
            return answer
        audit.retried = True
        return self._call(asked, path, body, current.value, audit)

    def _host_of(self, account: str) -> str:
        service = self._service
        of_wecom = service.registry.get(account).kind is AccountKind.WECOM
        return (service.wecom if of_wecom else service.client).hosts[0]

    def _call(self, asked: Asked, path: str, body: bytes, token: str, audit: Audit) -> BusinessAnswer:
        call = asked.call
        sent = BusinessCall(call.method, path, with_token(call.query, token), call.content_type, body)
        try:
            answer = BusinessAnswer(sent, self._host_of(asked.account), audit.seconds_left)
        except WeChatUnreachable as error:
            if error.reason in _NEVER_SENT:
                raise
            raise RelayUnansweredError(error) from None
        except WeChatError as error:
            raise RelayUnansweredError(error) from None
        audit.status, audit.errcode = answer.status, errcode_of(answer)
        return answer


_OURS: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


class Audit:
    """What the log says of one relayed call: who, which path, what came of it. No query, no body."""

    def __init__(self, asked: Asked, path: str) -> None:
        self._asked = asked
        self._path = path
        self._began_at = time.monotonic()
        self.status = 0
        self.errcode: int | None = None
        self.retried = False

    @property
    def seconds_left(self) -> float:
        """Until the deadline."""
        return max(0.0, self._began_at + DEADLINE_SECONDS - time.monotonic())

    def end(self, sent_bytes: int, code: str = "") -> None:
        """Write the line; `code` is that of the error, where one ended the call."""
        asked = self._asked
        fields = {
            "client": asked.client.name,
            "account": asked.account,
            "method": asked.call.method,
            "path": self._path,
            "status": self.status,
            "errcode": self.errcode,
            "bytes": sent_bytes,
            "seconds": round(time.monotonic() - self._began_at, 3),
            "retried": self.retried,
            "code": code,
            "request_id": asked.call.request_id,
        }
        logger.info("wxsign.relayed", extra={"fields": fields})


class Pieces:
    """A long answer on its way to the caller; its place is given back when it has ended, however."""

    def __init__(self, answer: BusinessAnswer, audit: Audit, give_back: Callable[[], None]) -> None:
        self._answer = answer
        self._audit = audit
        self._give_back = give_back
        self._sent_bytes = 0
        self._code = ""
        self._is_closed = False

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> bytes:
        try:
            piece = next(self._answer)
        except WeChatError as error:
            # The caller has its status already: an answer that breaks off is all that can be said to it.
            self._code = error.code
            raise
        self._sent_bytes += len(piece)
        return piece

    def close(self) -> None:
        """Called by the server when the answer was sent, or nobody wants it any more."""
        if not self._is_closed:
            self._is_closed = True
            self._answer.close()
            self._give_back()
            self._audit.end(self._sent_bytes, self._code)

    def __del__(self) -> None:
        # An answer that a host application has thrown away is never closed.
        self.close()


def with_token(query: str, access_token: str) -> str:
    """The query with our token in the place of the caller's own, however that is spelt; the rest as it came."""
    own = (part for part in query.split("&") if part and _name(part) != "access_token")
    return "&".join((f"access_token={quote(access_token, safe='')}", *own))


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0]).strip().lower()


def errcode_of(answer: BusinessAnswer) -> int | None:
    """The errcode of an answer that has one; whatever its Content-Type says, WeChat's refusals are small JSON objects."""
    whole = answer.whole
    if whole is None or b'"errcode"' not in whole:
        return None
    errcode = (json_object(whole) or {}).get("errcode")
    return errcode if type(errcode) is int else None


def stale_errcode(answer: BusinessAnswer) -> int | None:
    """The errcode by which WeChat refuses the token itself: 40001, 40014, 42001."""
    errcode = errcode_of(answer)
    if errcode is None or answer.status != HTTPStatus.OK:
        return None
    return errcode if entry_for(errcode, token_endpoint=False).scope is FailureScope.STALE_TOKEN else None
