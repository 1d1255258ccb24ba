"""wechat: what is sent, what is believed, and that every call ends by its deadline, against real sockets."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import traceback
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug import Response

from wxsign import __version__, sandbox
from wxsign.errors import FailureScope, WeChatBadAnswer, WeChatError, WeChatRefused, WeChatUnreachable
from wxsign.wechat import BACKUP_API_BASE, DEFAULT_API_BASE, Granted, WeChatClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APP_ID = "wx0123456789abcdef"
# In pieces, so that no traceback that quotes this file's lines contains them.
SECRET = "5ecret" + "0123456789abcdef0123456789"
TOKEN = "57_" + "t0ken-0123456789_abcdefghijkl"
DEADLINE_SECONDS = 0.4
# What the machine may add to a deadline while other work runs on it.
SLACK_SECONDS = 3.0

TOKEN_ANSWER = {"access_token": TOKEN, "expires_in": 7200}
TICKET_ANSWER = {"errcode": 0, "errmsg": "ok", "ticket": "T" * 86, "expires_in": 7200}


def client(base: str, **more) -> WeChatClient:
    return WeChatClient(
        base, **{"deadline_seconds": DEADLINE_SECONDS, "connect_timeout_seconds": 0.3, **more}
    )


CALLS: dict[str, Callable[[WeChatClient], object]] = {
    "/cgi-bin/stable_token": lambda wechat: wechat.stable_token(APP_ID, SECRET),
    "/cgi-bin/token": lambda wechat: wechat.classic_token(APP_ID, SECRET),
    "/cgi-bin/ticket/getticket": lambda wechat: wechat.ticket(TOKEN),
    "/cgi-bin/get_api_domain_ip": lambda wechat: wechat.get_api_domain_ip(TOKEN),
}
each_call = pytest.mark.parametrize("endpoint", CALLS)


# -------------------------------------------------------------------------- against a simulated WeChat


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    settings = sandbox.SandboxSettings(accounts={APP_ID: SECRET})
    with sandbox.serve(settings=settings) as server:
        yield server.url


def test_tokens_and_tickets_of_a_simulated_wechat_are_granted_and_proved(sandbox_url):
    wechat = client(sandbox_url, deadline_seconds=5)
    stable = wechat.stable_token(APP_ID, SECRET)
    classic = wechat.classic_token(APP_ID, SECRET)
    assert wechat.stable_token(APP_ID, SECRET).value == stable.value != classic.value
    assert wechat.ticket(stable.value) == wechat.ticket(classic.value)
    assert wechat.get_api_domain_ip(stable.value)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda wechat: wechat.stable_token("wx0000000000000000", SECRET), "invalid_appid"),
        (lambda wechat: wechat.classic_token("wx0000000000000000", SECRET), "invalid_appid"),
        (lambda wechat: wechat.stable_token(APP_ID, "0" * 32), "invalid_secret"),
        (lambda wechat: wechat.classic_token(APP_ID, "0" * 32), "invalid_secret"),
        (lambda wechat: wechat.ticket("stale"), "invalid_credential"),
        (lambda wechat: wechat.get_api_domain_ip("stale"), "invalid_credential"),
    ],
)
def test_a_simulated_wechat_refuses_what_is_wrong_and_the_refusal_has_a_rid(sandbox_url, call, code):
    with pytest.raises(WeChatRefused) as refused:
        call(client(sandbox_url, deadline_seconds=5))
    assert refused.value.code == code
    assert refused.value.rid
    assert refused.value.rid not in refused.value.public_errmsg


# -------------------------------------------------------------------------------------------- what is sent


def test_a_stable_token_is_asked_for_by_post_with_the_secret_in_the_body(httpserver):
    httpserver.expect_oneshot_request(
        "/cgi-bin/stable_token",
        method="POST",
        query_string="",
        json={"grant_type": "client_credential", "appid": APP_ID, "secret": SECRET, "force_refresh": True},
    ).respond_with_json({"access_token": TOKEN, "expires_in": 345})
    granted = client(httpserver.url_for("")).stable_token(APP_ID, SECRET, force_refresh=True)
    assert granted == Granted(TOKEN, 345)


def test_a_classic_token_is_asked_for_by_get(httpserver):
    query = {"grant_type": "client_credential", "appid": APP_ID, "secret": SECRET}
    httpserver.expect_oneshot_request("/cgi-bin/token", method="GET", query_string=query).respond_with_json(
        TOKEN_ANSWER
    )
    assert client(httpserver.url_for("/")).classic_token(APP_ID, SECRET) == Granted(TOKEN, 7200)


@pytest.mark.parametrize("ticket_type", ["jsapi", "wx_card"])
def test_a_ticket_is_asked_for_with_the_token_and_its_type(httpserver, ticket_type):
    query = {"access_token": TOKEN, "type": ticket_type}
    httpserver.expect_oneshot_request("/cgi-bin/ticket/getticket", query_string=query).respond_with_json(
        TICKET_ANSWER
    )
    assert client(httpserver.url_for("")).ticket(TOKEN, ticket_type) == Granted("T" * 86, 7200)


def test_a_token_is_probed_by_asking_for_wechats_addresses(httpserver):
    httpserver.expect_oneshot_request(
        "/cgi-bin/get_api_domain_ip", query_string={"access_token": TOKEN}
    ).respond_with_json({"ip_list": ["192.0.2.1", "192.0.2.2"]})
    assert client(httpserver.url_for("")).get_api_domain_ip(TOKEN) == ("192.0.2.1", "192.0.2.2")


def test_a_request_says_who_asks_and_shows_no_credentials_of_the_machine(httpserver, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {httpserver.host} login me password mine\ndefault login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    httpserver.expect_request("/cgi-bin/stable_token").respond_with_json(TOKEN_ANSWER)
    client(httpserver.url_for("")).stable_token(APP_ID, SECRET)
    (request, _), *others = httpserver.log
    assert others == []
    assert request.headers["User-Agent"] == f"wxsign/{__version__}"
    assert "Authorization" not in request.headers
    assert "Cookie" not in request.headers


def test_a_value_stands_in_no_repr():
    assert TOKEN not in repr(Granted(TOKEN, 7200))
    assert SECRET not in repr(client("https://127.0.0.1:1"))


# ------------------------------------------------------------------------------------- which host, which proxy


def test_the_backup_host_takes_every_second_attempt():
    assert WeChatClient().hosts == (DEFAULT_API_BASE, BACKUP_API_BASE)
    assert WeChatClient("https://api.weixin.qq.com/").hosts == (DEFAULT_API_BASE, BACKUP_API_BASE)


def test_where_an_api_base_is_set_no_other_host_is_ever_asked(httpserver):
    httpserver.expect_request("/base/cgi-bin/token").respond_with_json(TOKEN_ANSWER)
    wechat = client(httpserver.url_for("/base/"))
    assert wechat.hosts == (httpserver.url_for("/base"),)
    for attempt in range(3):
        assert wechat.classic_token(APP_ID, SECRET, attempt=attempt).value == TOKEN


def test_an_attempt_picks_its_host(monkeypatch, httpserver):
    wechat = client("https://127.0.0.1:1")
    wechat.hosts = (httpserver.url_for("/first"), httpserver.url_for("/second"))
    for path in ("/first", "/second"):
        httpserver.expect_request(f"{path}/cgi-bin/token").respond_with_json(TOKEN_ANSWER)
    for attempt in range(3):
        wechat.classic_token(APP_ID, SECRET, attempt=attempt)
    assert [request.path.split("/")[1] for request, _ in httpserver.log] == ["first", "second", "first"]


def test_the_proxy_of_the_environment_is_used(monkeypatch, httpserver):
    monkeypatch.setenv("HTTP_PROXY", httpserver.url_for(""))
    httpserver.expect_request("/cgi-bin/token").respond_with_json(TOKEN_ANSWER)
    assert client("http://wechat.test").classic_token(APP_ID, SECRET).value == TOKEN
    assert httpserver.log[0][0].host == "wechat.test"


def test_a_proxied_request_carries_no_login_from_netrc(monkeypatch, httpserver, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine wechat.test login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", httpserver.url_for(""))
    httpserver.expect_request("/cgi-bin/token").respond_with_json(TOKEN_ANSWER)
    client("http://wechat.test").classic_token(APP_ID, SECRET)
    assert "Authorization" not in httpserver.log[0][0].headers


def test_no_proxy_is_honoured(monkeypatch, httpserver):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "wechat.test")
    monkeypatch.setattr(socket, "getaddrinfo", _loopback_for("wechat.test"))
    httpserver.expect_request("/cgi-bin/token").respond_with_json(TOKEN_ANSWER)
    assert client(f"http://wechat.test:{httpserver.port}").classic_token(APP_ID, SECRET).value == TOKEN


def _loopback_for(name: str) -> Callable[..., object]:
    real = socket.getaddrinfo
    return lambda host, *args, **kwargs: real("127.0.0.1" if host == name else host, *args, **kwargs)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_loopback_base_is_spoken_to_without_any_proxy(monkeypatch, httpserver, host):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    httpserver.expect_request("/cgi-bin/token").respond_with_json(TOKEN_ANSWER)
    assert client(f"http://{host}:{httpserver.port}").classic_token(APP_ID, SECRET).value == TOKEN


def test_a_proxy_that_is_down_is_a_fault_of_the_network(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert _error(client("https://wechat.test")).code == "wechat_connect"


# --------------------------------------------------------------------------------------- what is believed


def _error(wechat: WeChatClient, endpoint: str = "/cgi-bin/token") -> WeChatError:
    with pytest.raises(WeChatError) as raised:
        CALLS[endpoint](wechat)
    _has_no_secret(raised.value)
    return raised.value


def _has_no_secret(error: WeChatError) -> None:
    assert error.__cause__ is None
    assert error.__context__ is None
    printed = "".join(traceback.format_exception(error)) + repr(error) + str(error) + repr(error.args)
    for secret in (SECRET, TOKEN):
        assert secret not in printed


@each_call
@pytest.mark.parametrize("content_type", ["application/json; encoding=utf-8", "text/plain", "text/html", ""])
def test_json_is_read_whatever_its_content_type(httpserver, endpoint, content_type):
    body = json.dumps({**TOKEN_ANSWER, **TICKET_ANSWER, "ip_list": []})
    httpserver.expect_request(endpoint).respond_with_data(body, content_type=content_type)
    assert CALLS[endpoint](client(httpserver.url_for(""))) is not None


def test_a_byte_order_mark_and_chinese_text_do_not_harm(httpserver):
    body = "\ufeff" + json.dumps({**TOKEN_ANSWER, "note": "好"}, ensure_ascii=False)
    httpserver.expect_request("/cgi-bin/token").respond_with_data(body.encode())
    assert client(httpserver.url_for("")).classic_token(APP_ID, SECRET).value == TOKEN


@each_call
def test_an_errcode_is_a_refusal_with_its_text_and_scope(httpserver, endpoint):
    errmsg = "invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist rid: 6aac005a-11112222-33334444"
    httpserver.expect_request(endpoint).respond_with_json({"errcode": 40164, "errmsg": errmsg})
    error = _error(client(httpserver.url_for("")), endpoint)
    assert isinstance(error, WeChatRefused)
    assert (error.errcode, error.errmsg, error.endpoint) == (40164, errmsg, endpoint)
    assert (error.scope, error.egress_ip, error.rid) == (
        FailureScope.ADDRESS, "192.0.2.7", "6aac005a-11112222-33334444",
    )  # fmt: skip


def test_an_errcode_beside_a_value_is_still_a_refusal(httpserver):
    httpserver.expect_request("/cgi-bin/token").respond_with_json(
        {**TOKEN_ANSWER, "errcode": -1, "errmsg": "busy"}
    )
    assert _error(client(httpserver.url_for(""))).code == "wechat_busy"


@pytest.mark.parametrize(
    ("errmsg", "kept"),
    [
        (f"bad secret {SECRET} sent", "bad secret *** sent"),
        ("two\r\nlines\x00", "two lines"),
        ("x" * 2000, "x" * 500),
        ("\ud800", ""),
        (None, ""),
        (["list"], ""),
    ],
)
def test_an_errmsg_is_cut_to_one_short_line_without_the_secret(httpserver, errmsg, kept):
    httpserver.expect_request("/cgi-bin/token").respond_with_json({"errcode": 40125, "errmsg": errmsg})
    error = _error(client(httpserver.url_for("")))
    assert isinstance(error, WeChatRefused)
    assert error.errmsg == kept


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>login</html>", b"null", b"[]", b'"ok"', b"7200", b'{"access_token":', b"\xff\xfe", b"[" * 60_000,
     b'{"expires_in": ' + b"9" * 5000 + b"}"],
    ids=lambda body: body[:20],
)  # fmt: skip
def test_what_is_no_json_object_is_not_believed(httpserver, body):
    httpserver.expect_request("/cgi-bin/token").respond_with_data(body)
    error = _error(client(httpserver.url_for("")))
    assert isinstance(error, WeChatBadAnswer)
    assert (error.reason, error.scope, error.retryable) == ("not_json", FailureScope.BUSY, True)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"errcode": 0, "errmsg": "ok"},
        {"access_token": "", "expires_in": 7200},
        {"access_token": None, "expires_in": 7200},
        {"access_token": 5, "expires_in": 7200},
        {"access_token": ["x"], "expires_in": 7200},
        {"access_token": "with blank", "expires_in": 7200},
        {"access_token": "line\nbreak", "expires_in": 7200},
        {"access_token": "\x00", "expires_in": 7200},
        {"access_token": "ünïcode", "expires_in": 7200},
        {"access_token": "x" * 2049, "expires_in": 7200},
        {"access_token": TOKEN},
        {"access_token": TOKEN, "expires_in": "7200"},
        {"access_token": TOKEN, "expires_in": 7200.0},
        {"access_token": TOKEN, "expires_in": True},
        {"access_token": TOKEN, "expires_in": None},
        {"access_token": TOKEN, "expires_in": 0},
        {"access_token": TOKEN, "expires_in": -7200},
        {"access_token": TOKEN, "expires_in": 86401},
        {**TOKEN_ANSWER, "errcode": "40001"},
        {**TOKEN_ANSWER, "errcode": False},
        {**TOKEN_ANSWER, "errcode": None},
        {**TOKEN_ANSWER, "errcode": 0.5},
        TICKET_ANSWER,
    ],
    ids=str,
)
def test_a_value_or_life_of_the_wrong_kind_is_not_believed(httpserver, answer):
    httpserver.expect_request("/cgi-bin/token").respond_with_json(answer)
    error = _error(client(httpserver.url_for("")))
    assert isinstance(error, WeChatBadAnswer)
    assert error.reason == "bad_value"


@pytest.mark.parametrize(("value", "life"), [("x", 1), ("x" * 2048, 86400), ("a.b~c=d", 300)])
def test_the_bounds_of_a_value_and_a_life_are_believed(httpserver, value, life):
    httpserver.expect_request("/cgi-bin/token").respond_with_json({"access_token": value, "expires_in": life})
    assert client(httpserver.url_for("")).classic_token(APP_ID, SECRET) == Granted(value, life)


def test_a_token_is_not_taken_for_a_ticket(httpserver):
    httpserver.expect_request("/cgi-bin/ticket/getticket").respond_with_json(TOKEN_ANSWER)
    assert _error(client(httpserver.url_for("")), "/cgi-bin/ticket/getticket").code == "wechat_bad_value"


@pytest.mark.parametrize("addresses", [None, "192.0.2.1", [1], {}])
def test_a_list_of_addresses_of_the_wrong_kind_proves_nothing(httpserver, addresses):
    httpserver.expect_request("/cgi-bin/get_api_domain_ip").respond_with_json({"ip_list": addresses})
    assert _error(client(httpserver.url_for("")), "/cgi-bin/get_api_domain_ip").code == "wechat_bad_value"


@each_call
@pytest.mark.parametrize("status", [204, 301, 302, 307, 400, 403, 404, 429, 500, 502, 503])
def test_another_status_than_200_is_not_believed_and_no_redirect_followed(httpserver, endpoint, status):
    headers = {"Location": httpserver.url_for("/elsewhere")}
    httpserver.expect_request("/elsewhere").respond_with_json(TOKEN_ANSWER)
    httpserver.expect_request(endpoint).respond_with_response(
        Response(json.dumps(TOKEN_ANSWER), status=status, headers=headers)
    )
    error = _error(client(httpserver.url_for("")), endpoint)
    assert error.code == "wechat_http_status"
    assert [request.path for request, _ in httpserver.log] == [endpoint]


def test_an_answer_of_a_busy_proxy_in_gzip_is_read(httpserver):
    body = gzip.compress(json.dumps(TOKEN_ANSWER).encode())
    httpserver.expect_request("/cgi-bin/token").respond_with_data(body, headers={"Content-Encoding": "gzip"})
    assert client(httpserver.url_for("")).classic_token(APP_ID, SECRET).value == TOKEN
    assert httpserver.log[0][0].headers["Accept-Encoding"] == "identity"


# ------------------------------------------------------------------- faults on the wire, and the deadline


@dataclass
class RawServer:
    """Accepts on loopback and lets `behave` do what it wants with each connection."""

    behave: Callable[[socket.socket], None]
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.listener.getsockname()[1]}"
        self.https_url = self.url.replace("http://", "https://")
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self.threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection), closing(self._wrapped(connection)) as channel:
            if _whole_request(channel):
                self.behave(channel)

    def _wrapped(self, connection: socket.socket) -> socket.socket:
        return self.tls.wrap_socket(connection, server_side=True) if self.tls else connection

    def stop(self) -> None:
        self.stopped.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)


def _whole_request(channel: socket.socket) -> bool:
    """Read to the end of a request, or whatever else was said.

    A connection that is closed while the body of a POST is unread is reset, and the answer may be lost with it.
    """
    said = channel.recv(65536)
    while said.startswith(b"POST "):
        head, end, body = said.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= int(length[1] if length else 0):
            break
        more = channel.recv(65536)
        if not more:
            return False
        said += more
    return bool(said)


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def start(behave: Callable[[socket.socket], None], **more) -> RawServer:
        servers.append(RawServer(behave, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def answering(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


def dripping(start: bytes, drop: bytes = b"a", seconds: float = 20) -> Callable[[socket.socket], None]:
    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(int(seconds / 0.05)):
            connection.sendall(drop)
            time.sleep(0.05)

    return drip


def silent(connection: socket.socket) -> None:
    connection.settimeout(20)
    connection.recv(1)


def resetting(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


OK = b"HTTP/1.1 200 OK\r\n"
BODY = json.dumps(TOKEN_ANSWER).encode()
WITH_LENGTH = OK + b"Content-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        pytest.param(silent, "wechat_timeout", id="never answers"),
        pytest.param(dripping(b""), "wechat_timeout", id="status line drips"),
        pytest.param(dripping(OK + b"X-Slow: "), "wechat_timeout", id="one header drips"),
        pytest.param(dripping(OK, b"X-A: b\r\n"), "wechat_timeout", id="headers without end"),
        pytest.param(dripping(WITH_LENGTH % 5000), "wechat_timeout", id="body drips"),
        pytest.param(dripping(OK + b"\r\n"), "wechat_timeout", id="body without length drips"),
        pytest.param(
            dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"), "wechat_timeout", id="chunks drip"
        ),
        pytest.param(
            dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"), "wechat_timeout", id="chunk length drips"
        ),
        pytest.param(
            dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"X: y\r\n"),
            "wechat_timeout",
            id="trailers drip",
        ),
        pytest.param(dripping(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
                     "wechat_timeout", id="continue without end"),
    ],
)  # fmt: skip
def test_a_call_ends_by_its_deadline_however_slowly_the_other_side_drips(raw_server, behave, code):
    server = raw_server(behave)
    started = time.monotonic()
    error = _error(client(server.url))
    took = time.monotonic() - started
    assert isinstance(error, WeChatUnreachable)
    assert (error.code, error.scope) == (code, FailureScope.BUSY)
    assert DEADLINE_SECONDS * 0.9 <= took < DEADLINE_SECONDS + SLACK_SECONDS
    _the_connection_is_gone(server)


def _the_connection_is_gone(server: RawServer) -> None:
    for thread in server.threads[1:]:
        thread.join(5)
        assert not thread.is_alive()
    _no_call_is_left_running()


def _no_call_is_left_running() -> None:
    for thread in threading.enumerate():
        if thread.name == "wxsign-call":
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        pytest.param(lambda _: None, "wechat_reset", id="closes without an answer"),
        pytest.param(resetting, "wechat_reset", id="resets"),
        pytest.param(
            answering(b"\x00\x01\x02 no http\r\n\r\n"), "wechat_not_json", id="speaks something else"
        ),
        pytest.param(answering(OK + b"X" * 70_000), "wechat_not_json", id="header without end"),
        pytest.param(answering(OK + b"X: y\r\n" * 500 + b"\r\n"), "wechat_not_json", id="too many headers"),
        pytest.param(answering(WITH_LENGTH % 500 + BODY), "wechat_truncated", id="ends before its length"),
        pytest.param(
            answering(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + BODY),
            "wechat_truncated",
            id="ends in a chunk",
        ),
        pytest.param(
            answering(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY),
            "wechat_truncated",
            id="no chunk length",
        ),
        pytest.param(answering(OK + b"\r\n" + BODY[:-1]), "wechat_not_json", id="ends without a length"),
        pytest.param(
            answering(OK + b"\r\n" + b" " * 70_000 + BODY), "wechat_too_large", id="larger than 64 kB"
        ),
        pytest.param(
            answering(OK + b"Content-Length: 99999999\r\n\r\n" + b" " * 70_000),
            "wechat_too_large",
            id="99 MB promised",
        ),
        pytest.param(
            answering(OK + b"Content-Encoding: gzip\r\n\r\n" + BODY),
            "wechat_not_json",
            id="gzip that is none",
        ),
        pytest.param(
            answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\n<html>502"),
            "wechat_http_status",
            id="502",
        ),
    ],
)
def test_a_broken_answer_is_told_by_its_kind_and_leaves_nothing_running(raw_server, behave, code):
    server = raw_server(behave)
    started = time.monotonic()
    error = _error(client(server.url))
    assert error.code == code
    assert error.scope is FailureScope.BUSY
    assert time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS
    _the_connection_is_gone(server)


@each_call
def test_every_call_has_the_deadline_and_hides_its_secret(raw_server, endpoint):
    server = raw_server(dripping(OK + b"X-Slow: "))
    error = _error(client(server.url), endpoint)
    assert (error.code, error.endpoint) == ("wechat_timeout", endpoint)


def test_a_body_in_many_small_pieces_is_put_together(raw_server):
    def pieces(connection: socket.socket) -> None:
        connection.sendall(WITH_LENGTH % len(BODY))
        for byte in BODY:
            connection.sendall(bytes([byte]))

    assert client(raw_server(pieces).url).classic_token(APP_ID, SECRET).value == TOKEN


def test_a_refused_connection_is_a_fault_of_the_network(unused_port):
    error = _error(client(f"http://127.0.0.1:{unused_port}"))
    assert (error.code, error.scope, error.retryable) == ("wechat_connect", FailureScope.NETWORK, True)


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """The port of a listener that lets nobody in any more: connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for each in waiting:
            each.settimeout(0)
            each.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield listener.getsockname()[1]
        for each in waiting:
            each.close()


def test_a_connection_that_nobody_accepts_ends_by_the_connect_timeout(full_backlog):
    started = time.monotonic()
    error = _error(client(f"http://127.0.0.1:{full_backlog}", deadline_seconds=5))
    assert (error.code, error.scope) == ("wechat_connect", FailureScope.NETWORK)
    assert time.monotonic() - started < 0.3 + SLACK_SECONDS


def test_a_host_with_many_dead_addresses_ends_by_the_deadline(monkeypatch, full_backlog):
    dead = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", full_backlog))] * 10
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: dead)
    started = time.monotonic()
    error = _error(client("http://wechat.test"))
    assert error.code == "wechat_connect"
    assert time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS


def test_a_name_that_does_not_resolve_is_a_fault_of_the_network(monkeypatch):
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = _error(client("https://wechat.test"))
    assert (error.code, error.scope) == ("wechat_dns", FailureScope.NETWORK)
    assert (error.host, error.detail) == ("wechat.test", "Name or service not known")


def test_a_resolver_that_hangs_does_not_hold_the_caller_and_nothing_is_sent_afterwards(
    monkeypatch, raw_server
):
    heard: list[bytes] = []
    server = raw_server(lambda connection: heard.append(b"a request"))
    resolved, real = threading.Event(), socket.getaddrinfo

    def hanging(host: str, *args: object, **kwargs: object) -> object:
        resolved.wait(20)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    started = time.monotonic()
    error = _error(client(server.url.replace("127.0.0.1", "wechat.test")))
    assert time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS
    assert (error.code, error.scope) == ("wechat_connect", FailureScope.NETWORK)
    resolved.set()
    _no_call_is_left_running()
    assert heard == []


def test_a_machine_that_cannot_start_a_thread_gets_an_error_of_ours(monkeypatch, httpserver):
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    wechat = client(httpserver.url_for(""))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert _error(wechat).code == "wechat_connect"


@pytest.mark.parametrize(
    "base", ["nonsense", "http://", "http://[::1", "ftp://127.0.0.1", "http://127.0.0.1:99999"]
)
def test_a_base_that_is_none_is_an_error_of_ours_and_not_of_the_http_library(base):
    assert _error(client(base)).code == "wechat_connect"


def test_whoever_refuses_a_connection_is_named_and_whether_it_was_asked_through_the_proxy(monkeypatch):
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{sock.getsockname()[1]}"
    error = _error(client(f"http://{nobody}"))
    assert (error.code, error.host, error.detail) == ("wechat_connect", nobody, "Connection refused")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@{nobody}")
    error = _error(client("https://wechat.test"))
    assert (error.host, error.detail) == ("wechat.test", "through the proxy: Connection refused")
    assert SECRET not in str(error)


def test_the_host_that_hangs_is_named_without_a_user_of_its_address(raw_server):
    server = raw_server(silent)
    error = _error(client(server.url.replace("http://", f"http://user:{SECRET}@")))
    assert (error.code, error.host) == ("wechat_timeout", server.url.removeprefix("http://"))
    assert SECRET not in str(error)
    assert (error.host in error.operator_hint.en, error.host in error.hint.en) == (True, False)


# ----------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=wechat.test",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", folder / "key.pem",
         "-out", folder / "cert.pem"],
        capture_output=True, check=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def tls(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused(raw_server, tls):
    heard: list[bytes] = []
    server = raw_server(lambda connection: heard.append(b"request"), tls=tls)
    error = _error(client(server.url))
    assert (error.code, error.scope) == ("wechat_tls", FailureScope.NETWORK)
    assert error.host == server.url.removeprefix("https://")
    assert error.detail.startswith("certificate verify failed: self")
    assert error.detail in str(error)
    assert heard == []


def test_a_plain_server_behind_an_https_address_is_a_fault_of_tls(raw_server):
    error = _error(client(raw_server(answering(OK + b"\r\n" + BODY)).https_url))
    assert error.code == "wechat_tls"
    assert re.fullmatch("[a-z ]+", error.detail)


def test_a_peer_that_hangs_up_during_the_handshake_has_reset_it(raw_server):
    assert _error(client(raw_server(lambda _: None).https_url)).code == "wechat_reset"


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(silent, id="silent"),
        pytest.param(dripping(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb"), id="dripping"),
    ],
)
@pytest.mark.parametrize("connect_timeout_seconds", [0.3, 60])
def test_a_handshake_ends_by_the_deadline_too(raw_server, behave, connect_timeout_seconds):
    server = raw_server(behave)
    started = time.monotonic()
    error = _error(client(server.https_url, connect_timeout_seconds=connect_timeout_seconds))
    assert error.code == "wechat_timeout"
    assert time.monotonic() - started < DEADLINE_SECONDS + SLACK_SECONDS
    _the_connection_is_gone(server)


# The environment, and with it the CA bundle, is not read for loopback bases: for this test, loopback is none.
@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        pytest.param(answering(WITH_LENGTH % len(BODY) + BODY), TOKEN, id="answers"),
        pytest.param(dripping(OK + b"X-Slow: "), "wechat_timeout", id="drips in a header"),
        pytest.param(dripping(WITH_LENGTH % 5000), "wechat_timeout", id="drips in the body"),
        pytest.param(resetting, "wechat_reset", id="resets"),
    ],
)
def test_over_tls_with_a_ca_of_ones_own_everything_is_as_without(
    raw_server, tls, certificate, monkeypatch, behave, expected
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "cert.pem"))
    monkeypatch.setattr("wxsign.wechat.exchange._is_loopback", lambda _base: False)
    server = raw_server(behave, tls=tls)
    started = time.monotonic()
    if expected == TOKEN:
        assert client(server.url, deadline_seconds=5).classic_token(APP_ID, SECRET).value == TOKEN
    else:
        assert _error(client(server.url, deadline_seconds=1)).code == expected
    assert time.monotonic() - started < 1 + SLACK_SECONDS
    _the_connection_is_gone(server)


# ---------------------------------------------------------------------------------- what it leaves behind


def test_many_calls_leave_no_descriptor_and_no_thread_behind(httpserver, raw_server):
    httpserver.expect_request("/cgi-bin/token").respond_with_json(TOKEN_ANSWER)
    reset = raw_server(resetting)
    wechat = client(httpserver.url_for(""))
    wechat.classic_token(APP_ID, SECRET)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        wechat.classic_token(APP_ID, SECRET)
        _error(client(reset.url))
    _no_call_is_left_running()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 4


def test_calls_of_many_threads_do_not_disturb_each_other(httpserver):
    httpserver.expect_request("/cgi-bin/token").respond_with_json(TOKEN_ANSWER)
    wechat = client(httpserver.url_for(""), deadline_seconds=10)
    values: list[str] = []
    threads = [
        threading.Thread(target=lambda: values.append(wechat.classic_token(APP_ID, SECRET).value))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == [TOKEN] * 10


@each_call
def test_the_http_librarys_debug_log_shows_no_secret_even_where_the_application_logs_everything(
    endpoint, raw_server
):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        everything = json.dumps({**TOKEN_ANSWER, **TICKET_ANSWER, "ip_list": []}).encode()
        CALLS[endpoint](client(raw_server(answering(OK + b"\r\n" + everything)).url))
        _error(client(raw_server(resetting).url), endpoint)
        _error(client("http://127.0.0.1:1"), endpoint)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    text = stream.getvalue()
    assert endpoint in text, "urllib3 logged the request"
    assert SECRET not in text
    assert TOKEN not in text
