"""One HTTP request, and one deadline for all of it.

Every failure comes out as a `WeChatError` that carries neither the URL nor the exception of the HTTP library, because both
hold the AppSecret or a token.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import queue
import re
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from wxsign import __version__
from wxsign.errors import WeChatBadAnswer, WeChatError, WeChatRefused, WeChatUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wxsign.errors import UnreachableReason
MAX_BODY_BYTES: Final = 64 * 1024

_CHUNK_BYTES: Final = 8 * 1024
_MAX_ERRMSG_CHARACTERS: Final = 500
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, without the host."""

    method: str
    endpoint: str
    secret: str = field(repr=False)  # scrubbed from WeChat's errmsg, should it ever be echoed there
    query: Mapping[str, str] | None = field(default=None, repr=False)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    bearer: str = field(default="", repr=False)


# ------------------------------------------------------------------------------------------- one request


class Exchange:
    """One request in a thread of its own, so that its deadline holds.

    Timeouts of the HTTP library bound one read or one address, and nothing bounds a resolver: a body, a header or a TLS
    handshake that drips, or a host with many dead addresses, would outlast them. At the deadline the caller goes on and the
    connection is shut down, which ends the thread; one that is still resolving ends before it sends anything.
    """

    def __init__(self, request: Request, base: str, timeout: tuple[float, float]) -> None:
        self._request = request
        self._base = base
        self._timeout = timeout
        self.date = ""  # the other side's clock, once it has answered
        self._lifeline = Lifeline()
        self._outcome: queue.SimpleQueue[bytes | WeChatError] = queue.SimpleQueue()

    def answer_within(self, deadline_seconds: float) -> bytes:
        """Return the body of an answer with status 200. Raises WeChatUnreachable, WeChatBadAnswer."""
        outcome: bytes | WeChatError | None = None
        # Starting a thread fails while the interpreter shuts down; an error leaves without the context of another.
        with suppress(queue.Empty, RuntimeError):
            threading.Thread(target=self._run, name="wxsign-call", daemon=True).start()
            outcome = self._outcome.get(timeout=deadline_seconds)
        if outcome is None:
            connected = self._lifeline.cut()
            reason: UnreachableReason = "timeout" if connected else "connect"
            outcome = WeChatUnreachable(reason, self._request.endpoint, host=host_of(self._base))
        if isinstance(outcome, WeChatError):
            raise outcome
        return outcome

    def _run(self) -> None:
        try:
            self._outcome.put(self._exchange())
        except Exception as error:  # noqa: BLE001 - whatever happens, the caller gets an error of ours without the URL
            self._outcome.put(failure_of(error, self._request.endpoint, host_of(self._base)))
        finally:
            self._lifeline.release()

    def _exchange(self) -> bytes:
        request = self._request
        with (
            session_for(self._base, self._lifeline) as session,
            session.request(
                request.method,
                self._base + request.endpoint,
                params=request.query,
                json=request.body,
                headers={"Authorization": f"Bearer {request.bearer}"} if request.bearer else None,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            self.date = response.headers.get("Date", "")
            if response.status_code != http.client.OK:
                raise WeChatBadAnswer("http_status", request.endpoint)
            return _body(response, request.endpoint)


class Lifeline:
    """Holds on to a call's connection, to shut it down from another thread.

    It keeps a duplicate of the descriptor: wrapping a socket into TLS takes the original away, and its number may be
    another connection's by the time it is used.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_cut = False

    def hold(self, sock: socket.socket) -> None:
        with self._lock:
            if self._is_cut:
                raise TimeoutError
            self._sockets.append(sock.dup())

    def cut(self) -> bool:
        """Shut the connection down, or see to it that none is made any more; returns whether there was one."""
        with self._lock:
            self._is_cut = True
            for sock in self._sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            return bool(self._sockets)

    def release(self) -> None:
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()


class _Adapter(HTTPAdapter):
    def __init__(self, lifeline: Lifeline) -> None:
        self._lifeline = lifeline
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - handed on
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _held(pool.ConnectionCls, self._lifeline)
        return pool


def _held(connection_class: type[Any], lifeline: Lifeline) -> type[Any]:
    """Return a connection class whose sockets hang on the lifeline from before TLS on."""

    class Held(connection_class):  # type: ignore[misc]  # plain or TLS, direct or by proxy: only urllib3 knows
        def _new_conn(self) -> socket.socket:
            sock: socket.socket = super()._new_conn()
            try:
                lifeline.hold(sock)
            except OSError:
                sock.close()
                raise
            return sock

    return Held


def session_for(base: str, lifeline: Lifeline) -> requests.Session:
    """Return a session for one call: proxies and CA bundle of the environment, but no `.netrc`; nothing for loopback."""
    session = requests.Session()
    session.trust_env = not _is_loopback(base)
    session.auth = _no_auth
    session.headers = requests.structures.CaseInsensitiveDict(
        {"User-Agent": f"wxsign/{__version__}", "Accept": "application/json", "Accept-Encoding": "identity"}
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(lifeline))
    return session


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Where a session has an `auth`, requests does not look into .netrc.
    return request


def _is_loopback(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _body(response: requests.Response, endpoint: str) -> bytes:
    """Read at most MAX_BODY_BYTES. `iter_content` would wait until its chunk is full; `read1` takes what has come."""
    body = bytearray()
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise WeChatBadAnswer("too_large", endpoint)
    return bytes(body)


# ------------------------------------------------------------------------------------------- what went wrong

# The first row that any exception of the chain belongs to decides.
_REASONS: Final[tuple[tuple[UnreachableReason, tuple[type[BaseException], ...]], ...]] = (
    ("dns", (socket.gaierror, urllib3.exceptions.NameResolutionError)),
    (
        "connect",
        (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            urllib3.exceptions.ProxyError,
            requests.exceptions.ProxyError,
        ),
    ),
    ("reset", (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)),
    ("tls", (ssl.SSLError, urllib3.exceptions.SSLError, requests.exceptions.SSLError)),
    ("timeout", (TimeoutError, urllib3.exceptions.TimeoutError)),
)


def failure_of(error: Exception, endpoint: str, host: str) -> WeChatError:
    """Turn any exception of a call into ours, by its types alone: its text holds the URL."""
    if isinstance(error, WeChatError):
        return error
    chain = tuple(_chain(error))
    for reason, types in _REASONS:
        if any(isinstance(link, types) for link in chain):
            return WeChatUnreachable(reason, endpoint, host=host, detail=_detail(chain))
    if any(
        isinstance(link, http.client.IncompleteRead | urllib3.exceptions.IncompleteRead) for link in chain
    ):
        return WeChatBadAnswer("truncated", endpoint)
    if any(isinstance(link, http.client.HTTPException | urllib3.exceptions.DecodeError) for link in chain):
        return WeChatBadAnswer("not_json", endpoint)
    return WeChatUnreachable("connect", endpoint, host=host)


def host_of(base: str) -> str:
    """The host of an API base, with its port where it names one; `""` for a base that is none."""
    with suppress(ValueError):
        return urlsplit(base).netloc.rpartition("@")[2]
    return ""


def _detail(chain: tuple[BaseException, ...]) -> str:
    """The reason of OpenSSL or of the system: words from their own tables, where every other text may hold the URL."""
    proxy = any(
        isinstance(link, urllib3.exceptions.ProxyError | requests.exceptions.ProxyError) for link in chain
    )
    return f"{'through the proxy: ' if proxy else ''}{next(filter(None, map(_words, chain)), '')}"


def _words(link: BaseException) -> str:
    if isinstance(link, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {link.verify_message}"
    if isinstance(link, ssl.SSLError):
        return (link.reason or "").replace("_", " ").lower()
    if isinstance(link, OSError) and not isinstance(link, requests.exceptions.RequestException):
        return link.strerror or ""
    return ""


def _chain(error: BaseException, depth: int = 8) -> Iterator[BaseException]:
    """Yield an exception and those inside it: requests and urllib3 keep them in `args`, `reason` and the context."""
    yield error
    inner = (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__)
    for link in inner if depth else ():
        if isinstance(link, BaseException):
            yield from _chain(link, depth - 1)


# ------------------------------------------------------------------------------------------- what came back


def checked(body: bytes, request: Request) -> dict[str, Any]:
    """Return the answer's object; its Content-Type does not matter.

    Raises:
        WeChatRefused: it has an errcode other than 0.
        WeChatBadAnswer: it is no JSON object, or the errcode no number.
    """
    answer = json_object(body)
    if answer is None:
        raise WeChatBadAnswer("not_json", request.endpoint)
    errcode = answer.get("errcode", 0)
    if type(errcode) is not int:
        raise WeChatBadAnswer("bad_value", request.endpoint)
    if errcode != 0:
        raise WeChatRefused(errcode, _errmsg(answer, request.secret), request.endpoint)
    return answer


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a body, with or without a mark of its byte order; None for anything else."""
    try:
        answer = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _errmsg(answer: Mapping[str, object], secret: str) -> str:
    errmsg = answer.get("errmsg")
    text = errmsg if isinstance(errmsg, str) else ""
    return _UNPRINTABLE.sub(" ", text.replace(secret, "***"))[:_MAX_ERRMSG_CHARACTERS].strip()
