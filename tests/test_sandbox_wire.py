"""The sandbox on real sockets: its faults, its bursts, its end."""

import concurrent.futures
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
import requests

from wxsign.sandbox import DEFAULT_APPID, DEFAULT_SECRET, SandboxSettings, serve
from wxsign.sandbox.__main__ import main, settings_from
from wxsign.sandbox.faults import parse_fault

QUERY = {"grant_type": "client_credential", "appid": DEFAULT_APPID, "secret": DEFAULT_SECRET}


@pytest.fixture
def server():
    with serve("127.0.0.1", 0) as started:
        yield started


def fetch(server, timeout=5.0, **changes):
    return requests.get(f"{server.url}/cgi-bin/token", params=QUERY | changes, timeout=timeout)


def queue(server, kind, **fields):
    server.sandbox.add_fault(parse_fault({"kind": kind, **fields}))


def raw(server, timeout=5.0):
    """A connection with the request sent and nothing read."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=timeout)
    query = "&".join(f"{name}={value}" for name, value in QUERY.items())
    connection.sendall(f"GET /cgi-bin/token?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def read_all(connection):
    parts = []
    while data := connection.recv(65_536):
        parts.append(data)
    return b"".join(parts)


def wait_until(condition, seconds=5.0):
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, "it did not come about"
        time.sleep(0.01)


def last(server):
    wait_until(server.sandbox.requests)
    return server.sandbox.requests()[-1]


def test_hang_accepts_and_never_answers(server):
    queue(server, "hang")
    with raw(server, timeout=0.5) as connection, pytest.raises(TimeoutError):
        connection.recv(1)
    assert "access_token" in fetch(server).json(), "the next one is served"


def test_hang_ends_without_an_answer_after_its_seconds(server):
    queue(server, "hang", seconds=0.1)
    with raw(server) as connection:
        assert read_all(connection) == b""
    wait_until(lambda: last(server)["seconds"] is not None)
    assert (last(server)["status"], last(server)["errcode"], last(server)["rotated"]) == (0, None, False)


def test_a_hung_call_is_over_when_its_client_leaves(server):
    queue(server, "hang", times=2)
    raw(server).close()
    wait_until(lambda: last(server)["seconds"] is not None)
    with raw(server):
        wait_until(lambda: len(server.sandbox.requests()) == 2)
        assert server.sandbox.state()["in_flight_max"]["token"] == 1


def test_a_lost_answer_can_have_been_worked_on(server):
    queue(server, "hang", seconds=0, processed=True)
    with raw(server) as connection:
        assert read_all(connection) == b""
    wait_until(lambda: last(server)["seconds"] is not None)
    assert last(server)["rotated"]


def test_drip_sends_right_json_byte_by_byte(server):
    queue(server, "drip", seconds=0.002)
    with raw(server) as connection:
        began = time.monotonic()
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert "access_token" in json.loads(body)
    assert time.monotonic() - began > 0.002 * len(body)


def test_dripped_headers_come_byte_by_byte_too(server):
    queue(server, "drip_headers", seconds=0.2)
    with raw(server) as connection:
        received = [connection.recv(100) for _ in range(3)]
    assert received == [b"H", b"T", b"T"]


def test_dripped_headers_end_in_a_right_answer(server):
    queue(server, "drip_headers", seconds=0)
    assert fetch(server).json()["expires_in"] == 7200


def test_reset_is_a_real_rst(server):
    queue(server, "reset")
    with raw(server) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_truncated_promises_more_than_it_sends(server):
    queue(server, "truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        fetch(server)
    assert last(server)["rotated"], "WeChat did its work"


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        ({"kind": "html"}, 200, "text/html", "<html>"),
        ({"kind": "status"}, 502, "text/html", "<html>"),
        ({"kind": "status", "status": 503}, 503, "text/html", "<html>"),
        ({"kind": "empty"}, 200, "application/json; encoding=utf-8", ""),
    ],
)
def test_answers_that_are_no_json(server, fault, status, content_type, body):
    queue(server, **fault)
    response = fetch(server)
    assert (response.status_code, response.headers["Content-Type"]) == (status, content_type)
    assert response.text.startswith(body)
    assert (last(server)["status"], last(server)["rotated"]) == (status, False)


def test_bad_values_in_a_right_answer(server):
    queue(server, "bad_expires_in")
    queue(server, "bad_expires_in", value="7200")
    queue(server, "empty_value")
    answers = [fetch(server).json() for _ in range(3)]
    assert [answer["expires_in"] for answer in answers] == [0, "7200", 7200]
    assert answers[2]["access_token"] == ""


def test_an_errcode_fault_speaks_wechats_words_unless_told_otherwise(server):
    queue(server, "errcode", errcode=45011)
    queue(server, "errcode", errcode=40164)
    queue(server, "errcode", errcode=1, errmsg="my words")
    queue(server, "errcode", errcode=99999)
    texts = [fetch(server).json()["errmsg"].partition(" rid: ")[0] for _ in range(4)]
    assert texts[0] == "api minute-quota reach limit, must slower, retry next minute"
    assert texts[1] == "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist"
    assert texts[2:] == ["my words", "system error"]


def test_latency_delays_and_then_proceeds(server):
    queue(server, "latency", seconds=0.3)
    began = time.monotonic()
    assert "access_token" in fetch(server).json()
    assert 0.3 <= time.monotonic() - began < 2
    server.sandbox.change({"latency_seconds": 0.25})
    assert "access_token" in fetch(server).json()
    assert last(server)["seconds"] >= 0.25


def test_faults_hit_their_endpoint_and_account_in_order_and_so_often(server):
    queue(server, "status", endpoint="getticket")
    queue(server, "status", appid="wx0123456789abcdef")
    queue(server, "html", times=2)
    queue(server, "status", status=500, times=None)
    statuses = [fetch(server).status_code for _ in range(4)]
    assert statuses == [200, 200, 500, 500]
    server.sandbox.clear_faults()
    assert "access_token" in fetch(server).json()


def test_clients_that_leave_print_nothing(server, capfd):
    for kind in ("latency", "drip", "drip_headers", "hang", "truncated"):
        queue(server, kind, seconds=0.05)
        raw(server).close()
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(b"GET /cgi-bin/token HT")
    with socket.create_connection(("127.0.0.1", server.port)) as garbage:
        garbage.sendall(b"\x00\xff secret=abc\r\n\r\n")
        garbage.recv(1000)
    wait_until(lambda: sum(call["seconds"] is not None for call in server.sandbox.requests()) == 5)
    assert capfd.readouterr() == ("", "")


def test_reset_lets_go_of_calls_that_hang(server):
    queue(server, "hang")
    with raw(server) as connection:
        wait_until(lambda: len(server.sandbox.requests()) == 1)
        server.sandbox.reset()
        assert read_all(connection) == b""
    state = server.sandbox.state()
    assert (state["calls"]["token"], state["in_flight_max"]["token"]) == (0, 0)


def test_a_slow_call_from_before_a_reset_leaves_the_new_state_alone(server):
    queue(server, "latency", seconds=30)
    with raw(server) as connection:
        wait_until(lambda: len(server.sandbox.requests()) == 1)
        server.sandbox.reset()
        assert read_all(connection) == b""
    assert server.sandbox.state()["accounts"][0]["access_token"] is None


def test_a_burst_is_taken_whole_and_counted(server):
    server.sandbox.change({"latency_seconds": 0.5})
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: fetch(server, timeout=20).json(), range(100)))
    assert all("access_token" in answer for answer in answers)
    state = server.sandbox.state()
    assert state["calls"]["token"] == 100
    assert 10 < state["in_flight_max"]["token"] <= 100


def test_a_taken_port_is_an_error_and_no_exit(server):
    with pytest.raises(OSError, match="in use"):
        serve("127.0.0.1", server.port)


def test_a_host_given_at_start_may_use_the_controls(server):
    def state(host):
        request = urllib.request.Request(f"{server.url}/sandbox/state", headers={"Host": host})
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status

    assert state("localhost:1") == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        state("evil.test")


def test_ipv6_works_too():
    with serve("::1", 0, SandboxSettings(ip_whitelist=("::1",))) as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert "access_token" in fetch(server).json()
        server.sandbox.change({"ip_whitelist": ["10.0.0.1"]})
        assert "invalid ip ::1 ipv6 ::1, not in whitelist" in fetch(server).json()["errmsg"]


def test_closing_leaves_no_thread_behind():
    before = threading.active_count()
    with serve("127.0.0.1", 0) as server:
        queue(server, "hang")
        connection = raw(server)
        wait_until(lambda: len(server.sandbox.requests()) == 1)
    wait_until(lambda: threading.active_count() <= before)
    connection.close()
    assert threading.active_count() <= before


@pytest.fixture
def process():
    command = [sys.executable, "-m", "wxsign.sandbox", "--account", "wx0123456789abcdef:" + "0" * 32]
    command += ["--setting", "token_life_seconds=30", "--setting", "ticket_issue=on_expiry"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_where_it_listens_and_ends_at_once_with_calls_hanging(process, number):
    ready = json.loads(process.stdout.readline())
    assert ready["event"] == "sandbox_ready"
    assert ready["accounts"] == ["wx0123456789abcdef"]
    settings = requests.get(f"{ready['url']}/sandbox/state", timeout=5).json()["settings"]
    assert (settings["token_life_seconds"], settings["ticket_issue"]) == (30, "on_expiry")
    requests.post(f"{ready['url']}/sandbox/faults", json={"kind": "hang", "seconds": 600}, timeout=5)
    with socket.create_connection(("127.0.0.1", ready["port"])) as connection:
        connection.sendall(b"GET /cgi-bin/token HTTP/1.1\r\n\r\n")
        state = f"{ready['url']}/sandbox/state"
        wait_until(lambda: requests.get(state, timeout=5).json()["calls"]["token"] == 1)
        process.send_signal(number)
        assert process.wait(timeout=3) == 0
    assert (process.stdout.read(), process.stderr.read()) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--setting", "colour=red"], "token_life_seconds"),
        (["--setting", "ticket_issue=sometimes"], "on_demand"),
        (["--account", "wx0123456789abcdef"], "secret"),
    ],
)
def test_unusable_arguments_are_explained(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_taken_port_is_a_sentence(server, capsys):
    assert main(["--port", str(server.port)]) == 2
    assert "cannot listen" in capsys.readouterr().err


def test_arguments_are_json_or_plain_text():
    settings = settings_from(
        [], ['ip_whitelist=["10.0.0.0/8"]', "ticket_issue=on_expiry", "latency_seconds=0.5"]
    )
    assert settings.ip_whitelist == ("10.0.0.0/8",)
    assert (settings.ticket_issue, settings.latency_seconds) == ("on_expiry", 0.5)
