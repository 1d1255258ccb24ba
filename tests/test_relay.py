"""The relay: what goes out to WeChat, what comes back, and what it may never cost a signature."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode

import pytest
from at_sandbox import APP_IDS, READER_KEY, SECRET, control, service_at, wechat
from broker_desk import BOOT, START, Clock
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from wxsign import sandbox
from wxsign.accounts import ApiClient, OfficialAccount, sha256_of_key
from wxsign.accounts.relayed import covers, is_relay_path, is_relay_pattern
from wxsign.broker import Surroundings
from wxsign.broker.waiting import COLD_WAIT_SECONDS
from wxsign.http import relay as relay_module
from wxsign.http.relay import RELAY_BODY_BYTES, Places, RelayBusyError, with_token
from wxsign.logs import JsonFormatter
from wxsign.service import WxSign
from wxsign.settings import Settings
from wxsign.stores import MemoryStore
from wxsign.web import create_app

KEY, OTHER_KEY = "y" * 39 + "z", "y" * 39 + "o"
BASE = "/api/v1/accounts/shop/relay"
SEND, USER = f"{BASE}/cgi-bin/message/custom/send", f"{BASE}/cgi-bin/user/info"
MESSAGE = {"touser": "o-a-reader", "msgtype": "text", "text": {"content": "words-of-a-message"}}
BEARER = {"Authorization": f"Bearer {KEY}"}
STALE = json.dumps({"errcode": 40001, "errmsg": "invalid credential rid: 6000-1-2"}).encode()
PATIENCE_SECONDS = 20.0


def relaying(*paths, name="crm", key=KEY):
    return ApiClient(name, (sha256_of_key(key),), frozenset({"relay"}), relay_paths=paths)


CLIENTS = (
    relaying("/cgi-bin/message/*", "/cgi-bin/user/info", "/cgi-bin/media/get"),
    ApiClient("reader", (sha256_of_key(READER_KEY),)),
)
# Asked for by nobody else: every call that WeChat sees is a relayed one's.
ONE = {"accounts": (OfficialAccount("shop", APP_IDS["shop"], SECRET, warm=False),), "clients": CLIENTS}


class Upstream:
    """A WeChat by script: hands out tokens, and answers business calls with what `answer` says of them."""

    def __init__(self):
        upstream = self
        self.seen, self.tokens = [], 0
        self.answer = lambda _request: (200, {"Content-Type": "application/json"}, b'{"errcode":0}')
        self.let_go = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, body = upstream.about(self)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815 - as the library calls them

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def about(self, request):
        path, _, query = request.path.partition("?")
        if path == "/cgi-bin/stable_token":
            self.tokens += 1
            return 200, {}, json.dumps({"access_token": f"token-{self.tokens}", "expires_in": 7200}).encode()
        if path == "/cgi-bin/get_api_domain_ip":
            return 200, {}, b'{"ip_list": []}'
        self.seen.append((request.command, path, query, dict(request.headers), request.body))
        return self.answer(request)

    def hang(self, _request):
        self.let_go.wait(PATIENCE_SECONDS)
        return 200, {}, b"{}"

    def close(self):
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def client(upstream):
    with service_at(upstream.url, **ONE) as service:
        yield create_app(service).test_client()


@contextmanager
def at_sandbox():
    with wechat() as server, service_at(server.url, **ONE) as service:
        yield server, create_app(service).test_client()


def audits(caplog):
    return [
        json.loads(JsonFormatter().format(record))
        for record in caplog.records
        if record.name == "wxsign.relay"
    ]


# What goes out.


def test_a_message_is_sent_with_our_token_by_a_client_that_holds_none():
    with at_sandbox() as (server, client):
        sent = client.post(SEND, json=MESSAGE, headers=BEARER)
        assert (sent.status_code, sent.json) == (200, {"errcode": 0, "errmsg": "ok"})
        read = client.get(f"{USER}?openid=o-a-reader&lang=en", headers=BEARER)
        assert (read.json["openid"], read.json["language"]) == ("o-a-reader", "en")
        assert server.sandbox.state()["calls"]["custom_send"] == 1


def test_the_call_goes_out_as_it_came_but_for_the_token_and_the_callers_headers(client, upstream):
    body = bytes(range(256)) * 4
    headers = BEARER | {"Content-Type": 'multipart/form-data; boundary="x y"', "Cookie": "a=b", "X-Own": "1"}
    client.open(f"{SEND}?b=%2B+1&a=%E7%AD%BE&a=", method="POST", data=body, headers=headers)
    method, path, query, sent, received = upstream.seen[0]
    assert (method, path, received) == ("POST", "/cgi-bin/message/custom/send", body)
    assert query == "access_token=token-1&b=%2B+1&a=%E7%AD%BE&a="
    assert sent["Content-Type"] == 'multipart/form-data; boundary="x y"'
    assert {name.lower() for name in sent} == {
        "host", "user-agent", "accept", "accept-encoding", "content-type", "content-length",
    }  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_every_method_that_wechat_could_mean_is_sent_as_it_is(client, upstream, method):
    assert client.open(USER, method=method, headers=BEARER).status_code == 200
    assert upstream.seen[0][0] == method


@pytest.mark.parametrize(
    "own",
    ["access_token=theirs", "access%5Ftoken=theirs", "ACCESS_TOKEN=theirs", "+access_token=theirs",
     "access_token=a&access_token=theirs", "access_token"],
)  # fmt: skip
def test_a_callers_own_token_is_replaced_however_it_is_spelt(client, upstream, own):
    assert client.get(f"{USER}?openid=o1&{own}", headers=BEARER).status_code == 200
    assert upstream.seen[0][2] == "access_token=token-1&openid=o1"


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=5))
def test_whatever_the_query_the_token_is_there_once_and_the_rest_in_its_order(pairs):
    told = parse_qs(with_token(urlencode(pairs), "our token&"), keep_blank_values=True)
    assert told["access_token"] == ["our token&"]
    rest = [(name, value) for name, value in pairs if name.strip().lower() != "access_token"]
    assert {name: [v for n, v in rest if n == name] for name, _ in rest} == {
        name: values for name, values in told.items() if name != "access_token"
    }


# What comes back.


def test_the_answer_is_handed_on_as_it_is(client, upstream):
    picture = b"\x89PNG\r\n" + bytes(1000)
    told = {
        "Content-Type": "image/png",
        "Content-Disposition": 'attachment; filename="a.png"',
        "Set-Cookie": "a=b",
    }
    upstream.answer = lambda _request: (200, told, picture)
    answer = client.get(f"{BASE}/cgi-bin/media/get?media_id=1", headers=BEARER)
    assert (answer.status_code, answer.data) == (200, picture)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a.png"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


def test_an_error_of_wechats_or_of_its_gateway_is_the_callers_to_read(client, upstream):
    refusal = b'{"errcode":45015,"errmsg":"response out of time limit rid: 1-2-3"}'
    for status, body in ((200, refusal), (502, b"<html>Bad Gateway</html>")):
        upstream.answer = lambda _request, status=status, body=body: (status, {}, body)
        answer = client.post(SEND, json=MESSAGE, headers=BEARER)
        assert (answer.status_code, answer.data) == (status, body)


def test_a_long_answer_comes_in_pieces_and_its_place_is_free_when_it_was_read(client, upstream, caplog):
    video = bytes(range(256)) * 4096
    upstream.answer = lambda _request: (200, {"Content-Type": "video/mp4"}, video)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            answer = client.get(f"{BASE}/cgi-bin/media/get", headers=BEARER)
            assert not answer.is_sequence
            assert answer.headers["Content-Length"] == str(len(video))
            assert answer.data == video
            answer.close()
    assert [line["bytes"] for line in audits(caplog)] == [len(video)] * 5


def test_a_long_answer_that_nobody_reads_gives_its_place_back_all_the_same(client, upstream):
    upstream.answer = lambda _request: (200, {}, bytes(2_000_000))
    for _ in range(5):
        answer = client.get(f"{BASE}/cgi-bin/media/get", headers=BEARER)
        assert answer.status_code == 200
        answer.close()
        del answer


def test_a_long_answer_that_breaks_off_is_not_made_to_look_whole(client, upstream, caplog):
    upstream.answer = lambda _request: (200, {"Content-Length": "400000"}, bytes(300_000))
    with caplog.at_level(logging.INFO):
        answer = client.get(f"{BASE}/cgi-bin/media/get", headers=BEARER)
        with pytest.raises(Exception, match="ended too early"):
            answer.get_data()
        answer.close()
    assert audits(caplog)[0]["code"] == "wechat_truncated"
    upstream.answer = lambda _request: (200, {"Content-Length": "400"}, bytes(300))
    assert client.get(USER, headers=BEARER).status_code == 504, "a short one is refused as a whole"


def test_a_redirect_whose_address_would_hold_the_token_is_not_handed_on(client, upstream):
    upstream.answer = lambda request: (302, {"Location": f"https://elsewhere.example.com{request.path}"}, b"")
    answer = client.get(USER, headers=BEARER)
    assert (answer.status_code, answer.json["error"]["code"]) == (504, "relay_unanswered")
    assert "token-1" not in f"{answer.headers}{answer.text}"


# A token that died.


def test_a_dead_token_is_replaced_and_the_call_made_once_more(caplog):
    with at_sandbox() as (server, client):
        assert client.post(SEND, json=MESSAGE, headers=BEARER).json["errcode"] == 0
        control(server, "kill", appid=APP_IDS["shop"], credential="stable_token")
        with caplog.at_level(logging.INFO):
            assert client.post(SEND, json=MESSAGE, headers=BEARER).json["errcode"] == 0
        assert server.sandbox.state()["calls"]["stable_token"] == 2
    assert [(line["retried"], line["errcode"]) for line in audits(caplog)] == [(True, 0)]


@pytest.mark.parametrize("errcode", [40001, 40014, 42001])
def test_a_refusal_of_a_token_that_lives_is_the_callers_to_read_and_costs_one_question(errcode):
    with at_sandbox() as (server, client):
        control(server, "faults", endpoint="custom_send", kind="errcode", errcode=errcode, times=1)
        assert client.post(SEND, json=MESSAGE, headers=BEARER).json["errcode"] == errcode
        calls = server.sandbox.state()["calls"]
        assert (calls["custom_send"], calls["get_api_domain_ip"], calls["stable_token"]) == (1, 1, 1)


def test_a_refusal_that_comes_too_late_to_be_verified_in_time_is_a_503(client, upstream, monkeypatch):
    assert relay_module.REPORT_SECONDS >= COLD_WAIT_SECONDS
    upstream.answer = lambda _request: (200, {}, STALE)
    monkeypatch.setattr(relay_module, "REPORT_SECONDS", relay_module.DEADLINE_SECONDS + 1)
    answer = client.get(USER, headers=BEARER)
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "credential_unavailable")
    assert (answer.json["cause"], answer.json["errcode"]) == ("invalid_credential", 40001)


CALLS, KILLS, APART_SECONDS = 2_000, 20, 400


def test_twenty_kills_of_the_token_during_2000_calls_fail_none():
    wall, boot = Clock(START), Clock(BOOT)
    account = OfficialAccount("shop", sandbox.DEFAULT_APPID, sandbox.DEFAULT_SECRET)
    with sandbox.serve(clock=wall) as server:
        service = WxSign(
            Settings((account,), CLIENTS, store="memory:", api_base=server.url),
            open_store=lambda _url: MemoryStore(wall),
            surroundings=Surroundings(boot_clock=boot, wall_clock=wall, machine="m1"),
            threads=16,
        )
        app = create_app(service)

        def send(number):
            if number == CALLS // KILLS // 2:
                server.sandbox.kill(sandbox.DEFAULT_APPID, "stable_token")
            with app.test_client() as client:
                return client.post(SEND, json=MESSAGE, headers=BEARER)

        try:
            with ThreadPoolExecutor(4) as callers:
                for _ in range(KILLS):
                    answers = list(callers.map(send, range(CALLS // KILLS)))
                    assert {(answer.status_code, answer.text) for answer in answers} == {
                        (200, '{"errcode":0,"errmsg":"ok"}')
                    }
                    # Reports are rationed by the hour.
                    for clock in (wall, boot):
                        clock.now += APART_SECONDS
            assert server.sandbox.state()["calls"]["stable_token"] > KILLS
        finally:
            service.stop()


# Who may not.

REFUSED_PATHS = (
    "cgi-bin/menu/create", "cgi-bin/user/info/", "cgi-bin/user/infos", "cgi-bin/message", "cgi-bin/message/",
    "cgi-bin/message/../menu/create", "cgi-bin/message/%2e%2e/menu/create", "cgi-bin/message/.%2E/menu/create",
    "cgi-bin/message//custom/send", "cgi-bin/message/%2Fcustom/send", "cgi-bin/message/custom%252fsend",
    "cgi-bin/message/custom%5csend", "cgi-bin/message/a;b", "cgi-bin/message/a%3Fb", "cgi-bin/message/a%23b",
    "cgi-bin/message/a%00", "cgi-bin/message/%E7%AD%BE", "cgi-bin/message/.hidden",
    "CGI-BIN/message/custom/send", f"cgi-bin/message/{'a' * 300}", "cgi-bin/message/http:%2f%2fx",
)  # fmt: skip


@pytest.mark.parametrize("path", REFUSED_PATHS)
def test_a_path_that_is_not_allowed_or_not_written_plainly_goes_nowhere(client, upstream, path):
    answer = client.get(f"{BASE}/{path}", headers=BEARER)
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "relay_path_not_allowed")
    assert "relay_paths" in answer.json["error"]["hint"]
    assert upstream.seen == []


def test_a_slash_that_was_encoded_is_a_slash_to_the_list_and_to_wechat_alike(client, upstream):
    assert client.get(f"{BASE}/cgi-bin%2Fuser%2finfo", headers=BEARER).status_code == 200
    assert upstream.seen[0][1] == "/cgi-bin/user/info"


def test_an_empty_first_segment_or_a_line_break_is_no_path_of_ours(client, upstream):
    assert client.get(f"{BASE}/cgi-bin/message/a%0d%0a", headers=BEARER).status_code == 404
    assert client.get(f"{BASE}//cgi-bin/user/info", headers=BEARER).status_code == 404
    assert client.get(f"{BASE}/", headers=BEARER).status_code == 404
    assert upstream.seen == []


@given(st.text(alphabet="/.%2eEfF;\\a*", max_size=20))
def test_no_path_that_is_read_in_two_ways_is_covered(tail):
    path = f"/cgi-bin/message/{tail}"
    if covers(["/cgi-bin/message/*"], path):
        assert all(segment and segment.strip(".") for segment in path[1:].split("/"))
        assert not set(path) & set("%;\\*?#")


def test_what_has_a_path_of_its_own_here_is_never_relayed_even_where_everything_is_listed():
    assert covers(["/cgi-bin/*"], "/cgi-bin/menu/create")
    for path in (
        "/cgi-bin/ticket/getticket",
        "/cgi-bin/openapi/rid/get",
        "/cgi-bin/CLEAR_QUOTA",
        "/cgi-bin/token",
    ):
        assert not covers(["/cgi-bin/*", "/cgi-bin/ticket/*", path], path)
        assert not is_relay_path(path)
    assert is_relay_pattern("/cgi-bin/ticket/*"), "other calls may lie below"
    for word in (
        "",
        "*",
        "/*",
        "/**",
        "cgi-bin/*",
        "/cgi-bin/*/send",
        "/cgi-bin/*x",
        "/a?b=1",
        "https://x/y",
    ):
        assert not is_relay_pattern(word)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"Authorization": "Bearer wrong"}, 401, "unauthorized"),
        ({"Authorization": f"Bearer {READER_KEY}"}, 403, "forbidden"),
    ],
)
def test_without_a_key_or_its_scope_nothing_is_relayed_and_the_body_not_read(
    client, upstream, headers, status, code
):
    answer = client.post(SEND, data=bytes(RELAY_BODY_BYTES + 1), headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert upstream.seen == []


def test_a_denied_path_is_told_to_the_owner_with_its_client(client, caplog):
    client.get(f"{BASE}/cgi-bin/menu/create", headers=BEARER)
    denied = [record.fields for record in caplog.records if record.getMessage() == "wxsign.denied"]
    assert [(fields["client"], fields["reason"]) for fields in denied] == [("crm", "path")]


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
def test_a_method_that_wechat_does_not_have_is_a_405(client, method):
    answer = client.open(SEND, method=method, headers=BEARER)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, POST, PUT, PATCH, DELETE"


def test_10_mb_pass_and_a_byte_more_is_a_clear_error(client, upstream):
    for size, status in ((RELAY_BODY_BYTES, 200), (RELAY_BODY_BYTES + 1, 413)):
        answer = client.post(SEND, data=bytes(size), headers=BEARER | {"Accept-Language": "zh"})
        assert answer.status_code == status
    assert answer.json["error"]["code"] == "relay_body_too_large"
    assert "10 MB" in answer.json["error"]["message"]
    assert [len(request[4]) for request in upstream.seen] == [RELAY_BODY_BYTES]


def test_a_body_that_breaks_off_is_not_sent_on(upstream):
    with service_at(upstream.url, **ONE) as service:
        environ = EnvironBuilder(SEND, method="POST", data=b"half of it", headers=BEARER).get_environ()
        environ["CONTENT_LENGTH"] = "1000"
        answer = Response(*run_wsgi_app(create_app(service), environ))
    assert answer.status_code == 400
    assert json.loads(b"".join(answer.response))["error"]["code"] == "relay_body_unreadable"
    assert upstream.seen == []


# Never in the way.


def test_a_quarter_of_the_threads_may_relay_at_once_and_the_next_is_told_when_to_come_again(
    upstream, monkeypatch
):
    monkeypatch.setattr(relay_module, "DEADLINE_SECONDS", PATIENCE_SECONDS)
    upstream.answer = upstream.hang
    with service_at(upstream.url, **ONE) as service, ThreadPoolExecutor(2) as callers:
        app = create_app(service)
        hanging = [callers.submit(app.test_client().get, USER, headers=BEARER) for _ in range(2)]
        wait_for(lambda: len(upstream.seen) == 2)
        busy = app.test_client().get(USER, headers=BEARER)
        assert (busy.status_code, busy.json["error"]["code"]) == (503, "relay_busy")
        assert busy.headers["Retry-After"] == "1"
        upstream.let_go.set()
        assert [answer.result().status_code for answer in hanging] == [200, 200]
        assert app.test_client().get(USER, headers=BEARER).status_code == 200


def test_a_process_with_few_threads_relays_one_call_and_a_place_is_given_back_once():
    places = Places(lambda: 3)
    give_back = places.take()
    with pytest.raises(RelayBusyError):
        places.take()
    give_back()
    give_back()
    places.take()
    with pytest.raises(RelayBusyError):
        places.take()


def test_a_hanging_wechat_is_left_at_the_deadline_and_the_caller_told_to_look_first(
    client, upstream, monkeypatch
):
    upstream.answer = upstream.hang
    assert client.get("/api/v1/accounts", headers=BEARER).status_code == 200
    monkeypatch.setattr(relay_module, "DEADLINE_SECONDS", 0.3)
    answer = client.post(SEND, json=MESSAGE, headers=BEARER)
    assert (answer.status_code, answer.json["error"]["code"]) == (504, "relay_unanswered")
    assert answer.json["cause"] == "wechat_timeout"
    assert "look before you repeat it" in answer.json["error"]["hint"]
    assert "Retry-After" not in answer.headers


def test_a_call_that_was_never_sent_may_be_repeated(client, upstream):
    assert client.get(USER, headers=BEARER).status_code == 200
    upstream.server.shutdown()
    upstream.server.server_close()
    answer = client.get(USER, headers=BEARER)
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "wechat_connect")
    assert "Retry-After" in answer.headers


def test_without_a_token_the_callers_learn_why(caplog):
    with at_sandbox() as (server, client):
        control(server, "settings", ip_whitelist=["198.51.100.1"])
        answer = client.post(SEND, json=MESSAGE, headers=BEARER)
    assert (answer.status_code, answer.json["cause"]) == (503, "ip_not_whitelisted")


# What is told.


def test_the_log_says_who_called_what_and_nothing_of_query_or_body(caplog):
    with at_sandbox() as (server, client), caplog.at_level(logging.DEBUG):
        client.post(SEND, json=MESSAGE, headers=BEARER)
        client.get(f"{USER}?openid=o-a-reader&access_token=theirs-0123456789", headers=BEARER)
        client.get(USER, headers=BEARER)
        token = server.sandbox._accounts[APP_IDS["shop"]].stable.current.value
    told = [
        (line["client"], line["account"], line["method"], line["path"], line["errcode"])
        for line in audits(caplog)
    ]
    assert told == [
        ("crm", "shop", "POST", "/cgi-bin/message/custom/send", 0),
        ("crm", "shop", "GET", "/cgi-bin/user/info", None),
        ("crm", "shop", "GET", "/cgi-bin/user/info", 40003),
    ]
    everything = "\n".join(JsonFormatter().format(record) for record in caplog.records) + caplog.text
    assert "urllib3" in everything
    for secret in ("o-a-reader", "words-of-a-message", "theirs-0123456789", token, KEY, "openid="):
        assert secret not in everything


def wait_for(happened):
    for _ in range(2000):
        if happened():
            return
        threading.Event().wait(0.01)
    pytest.fail("it never happened")
