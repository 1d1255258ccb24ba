"""No secret, token, ticket or client key in anything that the processes of the whole session have written.

It runs after the tests of the fleet, whose logs, error bodies and pages it searches, and adds a fleet at log level DEBUG.
"""

from __future__ import annotations

import contextlib
import socket
import sys

import pytest
from fleet import (
    APP_SECRET,
    APPID,
    CLIENT_KEY,
    Load,
    eventually,
    fleet,
    one_account,
    wechat,
)

from wxsign.errcodes import ERRCODES
from wxsign.logs import redact

# The same application with everything logged that any library has to say.
DOOR = """
from wxsign.logs import configure
from wxsign.wsgi import app

configure("DEBUG")
"""
# What they write for others to read on purpose, and what the search needs to know.
NOT_LOGS = ("*.db*", "*.issued")
ENOUGH_TO_RECOGNISE = 20


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


def test_at_log_level_debug_every_way_to_fail_is_told_without_a_secret(here):
    (here / "door.py").write_text(DOOR)
    with (
        wechat(here, ticket_life_seconds=120) as sandbox,
        fleet(here, one_account(sandbox.url, here), debugging(here), workers=2) as service,
    ):
        eventually(lambda: service.jsconfig().status == 200)
        for path in ("/", "/demo", "/readyz", "/static/wxsign.js", "/nothing-here", "/jsconfig"):
            service.ask(f"{path}?code=oauth-code&access_token={CLIENT_KEY}")
        token = service.token()["access_token"]
        assert service.api("accounts", key=CLIENT_KEY[:-1]).status == 401
        send_nonsense(service.socket, f"GET /api/v1/accounts?key={CLIENT_KEY} HTTP/9.9\r\n\r\n")
        send_nonsense(service.socket, f"GET / HTTP/1.1\r\nAuthorization : Bearer {CLIENT_KEY}\r\n\r\n")
        with Load(service.socket, clients=1):
            # WeChat may well quote what it was sent.
            fail(sandbox, "errcode", errcode=40001, errmsg=f"invalid credential {token}")
            fail(sandbox, "reset")
            fail(sandbox, "html")
            fail(sandbox, "truncated")
            sandbox.post("kill", appid=APPID, credential="stable_token")
            sandbox.fault("stable_token", "errcode", times=1, errcode=40125, errmsg=f"bad {APP_SECRET}")
            assert service.report(token).status == 503
            sandbox.kill()
            eventually(lambda: '"wechat_connect"' in service.log.read_text())
        log = service.log.read_text()
    assert '"level": "debug"' in log
    assert "urllib3" in log
    assert '"wxsign.api"' in log
    assert "oauth-code" not in log
    assert found_in(here) == []


def debugging(here):
    command = [sys.executable, "-m", "gunicorn", "--config", "python:wxsign.serving", "--workers", "2"]
    return [*command, "--log-level", "debug", "--bind", f"unix:{here}/wxsign.sock", "door:app"]


def fail(sandbox, kind, **more):
    """Let one look at the ticket fail, and the next one succeed."""
    sandbox.fault("getticket", kind, times=1, **more)

    def over():
        calls = [call for call in sandbox.get("requests")["requests"] if call["endpoint"] == "getticket"]
        at = next((at for at, call in enumerate(calls) if call["fault"] == kind), len(calls))
        return any(call["errcode"] == 0 and call["seconds"] for call in calls[at + 1 :])

    eventually(over)


def send_nonsense(address, request):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(str(address))
        connection.sendall(request.encode())
        assert b"400" in connection.recv(4096)


def test_nothing_that_the_session_s_processes_wrote_holds_a_secret(tmp_path_factory):
    everything = tmp_path_factory.getbasetemp()
    installations = [notes.parent for notes in everything.rglob("values.issued")]
    assert installations, "no installation has run in this session"
    assert [hit for folder in installations for hit in found_in(folder)] == []
    assert hits(everything, [APP_SECRET, CLIENT_KEY]) == []


def found_in(folder):
    """The files of an installation that hold a secret of its configuration or a value that WeChat ever issued to it."""
    issued = (folder / "values.issued").read_text().split()
    assert issued
    return hits(folder, [APP_SECRET, CLIENT_KEY, *issued])


def hits(folder, values):
    needles = [value[:ENOUGH_TO_RECOGNISE].encode() for value in values]
    return [
        (str(file), needle)
        for file in folder.rglob("*")
        if file.is_file() and not any(file.match(pattern) for pattern in NOT_LOGS)
        for needle in needles
        if needle in file.read_bytes()
    ]


def test_the_search_would_find_one(here):
    (here / "values.issued").write_text("x" * 40)
    (here / "some.log").write_text(f"url=%2Ftoken%3Dxx{'x' * 40}")
    assert len(found_in(here)) == 1
    (here / "some.log").write_text(f"Bearer {CLIENT_KEY}")
    assert len(found_in(here)) == 1


@pytest.mark.parametrize("errcode", ERRCODES)
def test_what_we_say_of_an_error_reaches_the_log_in_whole_words(errcode):
    for text in (ERRCODES[errcode].message, ERRCODES[errcode].hint):
        assert redact(text.en) == text.en
        assert redact(text.zh) == text.zh
