"""No secret, token, ticket or client key in anything that our processes write, at log level DEBUG either.

Every installation of the other tests is searched in the same way when it ends (`fleet.require_no_secret`).
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
    WeChat,
    eventually,
    fleet,
    one_account,
    wechat,
)

pytestmark = pytest.mark.fleet

# The same application with everything logged that any library has to say.
DOOR = """
from wxsign.logs import configure
from wxsign.wsgi import app

configure("DEBUG")
"""


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


@pytest.mark.parametrize("secret", [CLIENT_KEY, APP_SECRET, ""], ids=["client key", "AppSecret", "ticket"])
def test_an_installation_that_wrote_a_secret_fails_when_it_ends(here, secret):
    sandbox = WeChat(here)
    sandbox.start()
    sandbox.fetch_ticket_elsewhere()
    issued = (here / "values.issued").read_text().split()[-1]
    (here / "some.log").write_text(f"url=%2Ftoken%3Dxx{secret or issued}")
    with pytest.raises(AssertionError, match=r"some\.log"):
        sandbox.close()
