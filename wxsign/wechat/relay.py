"""A business call made for somebody else: sent as it is, and its answer handed on piece by piece.

The call runs in a thread of its own, so that its deadline holds whatever the other side does, as in `exchange`. Of a
long answer at most `PIECES` pieces wait for a caller who reads slowly.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from wxsign.errors import WeChatBadAnswer, WeChatError, WeChatUnreachable
from wxsign.wechat.exchange import Lifeline, failure_of, host_of, session_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.errors import UnreachableReason

CONNECT_TIMEOUT_SECONDS: Final = 2.0
PIECE_BYTES: Final = 16 * 1024
PIECES: Final = 8
# An answer that ends within these is handed on whole: every refusal is, and most of what else WeChat says.
WHOLE_BYTES: Final = 64 * 1024
# What says how to read the body. A redirect's address, were there one, would hold the token.
_PASSED_ON: Final = ("Content-Type", "Content-Length", "Content-Encoding", "Content-Disposition")


@dataclass(frozen=True, slots=True)
class BusinessCall:
    """What to ask: `query` as it goes out, with the token in it."""

    method: str
    path: str
    query: str = field(repr=False)
    content_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Head:
    status: int
    headers: tuple[tuple[str, str], ...]


class BusinessAnswer:
    """What WeChat answered: `whole` is the body, None where it is a long one; that has to be iterated, then closed."""

    def __init__(self, call: BusinessCall, base: str, deadline_seconds: float) -> None:
        """Make the call, and wait until it is known what comes. Raises `WeChatUnreachable`, `WeChatBadAnswer`."""
        self._call = call
        self._base = base
        self._ends_at = time.monotonic() + deadline_seconds
        self._lifeline = Lifeline()
        self._pieces: queue.Queue[_Head | bytes | WeChatError | None] = queue.Queue(PIECES)
        self._first: list[bytes] = []
        # Starting a thread fails while the interpreter shuts down: then nothing comes.
        with suppress(RuntimeError):
            threading.Thread(target=self._run, name="wxsign-relay", daemon=True).start()
        try:
            head = self._next()
            assert isinstance(head, _Head)  # noqa: S101 - nothing else comes first
            self.status, self.headers = head.status, head.headers
            self.whole = self._read_first()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """The next piece. Raises `WeChatError` where the answer breaks off, or is not over at the deadline."""
        if self._first:
            return self._first.pop(0)
        piece = self._next()
        if not isinstance(piece, bytes):
            raise StopIteration
        return piece

    def close(self) -> None:
        """Let the connection go, wherever the answer is."""
        self._lifeline.cut()
        # The thread may wait for room.
        with suppress(queue.Empty):
            while True:
                self._pieces.get_nowait()

    def _read_first(self) -> bytes | None:
        size = 0
        while size <= WHOLE_BYTES:
            piece = self._next()
            if not isinstance(piece, bytes):
                whole, self._first = b"".join(self._first), []
                return whole
            self._first.append(piece)
            size += len(piece)
        return None

    def _next(self) -> _Head | bytes | None:
        found: _Head | bytes | WeChatError | None = None
        try:
            found = self._pieces.get(timeout=max(0.0, self._ends_at - time.monotonic()))
        except queue.Empty:
            reason: UnreachableReason = "timeout" if self._lifeline.cut() else "connect"
            found = WeChatUnreachable(reason, self._call.path, host=host_of(self._base))
        if isinstance(found, WeChatError):
            raise found
        return found

    # ------------------------------------------------------------------------------- in the call's own thread

    def _run(self) -> None:
        try:
            self._exchange(self._put)
        except queue.Full:
            # Nobody has read on until the deadline.
            return
        except Exception as error:  # noqa: BLE001 - an error of ours without the URL, whatever happens
            with suppress(queue.Full):
                self._put(failure_of(error, self._call.path, host_of(self._base)))
        finally:
            self._lifeline.release()

    def _exchange(self, put: Callable[[_Head | bytes | None], None]) -> None:
        call, left = self._call, max(0.1, self._ends_at - time.monotonic())
        with (
            session_for(self._base, self._lifeline) as session,
            session.request(
                call.method,
                f"{self._base}{call.path}?{call.query}",
                data=call.body or None,
                headers={"Accept": "*/*", "Content-Type": call.content_type or None},
                timeout=(min(CONNECT_TIMEOUT_SECONDS, left), left),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            if HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
                raise WeChatBadAnswer("http_status", call.path)
            named = ((name, response.headers.get(name)) for name in _PASSED_ON)
            put(_Head(response.status_code, tuple((name, value) for name, value in named if value)))
            while piece := response.raw.read1(PIECE_BYTES, decode_content=False):
                put(piece)
            put(None)

    def _put(self, piece: _Head | bytes | WeChatError | None) -> None:
        self._pieces.put(piece, timeout=max(0.0, self._ends_at - time.monotonic()))
