"""The whole service as it is deployed: real nginx, a unix socket, gunicorn's workers, the sandbox as WeChat."""

from __future__ import annotations

import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from running import (
    APP_ID,
    PAGE,
    SECRET,
    Reply,
    answers,
    ask,
    free_port,
    gunicorn,
    running,
    sandbox,
    service_environ,
    wait_until,
)
from test_deploy import nginx_command

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.fleet

SIGN = f"/jsconfig?url={quote(PAGE + '&code=oauth-code', safe='')}"


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that a request passes."""

    port: int
    sandbox: str
    gunicorn: subprocess.Popen[bytes]
    folder: Path

    def ask(self, path: str = SIGN, **more: Any) -> Reply:
        """Send a request through nginx."""
        return ask(self.port, path, **more)

    def wechat(self, path: str, body: dict | None = None) -> Any:
        """Speak to the sandbox's controls."""
        port = urlsplit(self.sandbox).port
        headers = {"Content-Type": "application/json"}
        method = "GET" if body is None else "POST"
        return ask(port, path, method=method, body=json.dumps(body or {}), headers=headers).json

    def verifies(self, reply: Reply) -> bool:
        """Say whether WeChat would accept this answer of /jsconfig on its page."""
        return reply.status == 200 and self.wechat("/sandbox/verify", reply.json)["ok"]

    def logs(self) -> str:
        """Return what all processes have logged."""
        files = [*self.folder.glob("*.out"), *(self.folder / "logs").iterdir()]
        return "".join(file.read_text() for file in files)


@pytest.fixture
def site(tmp_path: Path, require_program: Callable[[str], str]) -> Iterator[Site]:
    port, socket = free_port(), tmp_path / "wxsign.sock"
    nginx = nginx_command(require_program("nginx"), tmp_path, port)
    with sandbox(tmp_path) as api_base:
        environ = {**service_environ(api_base, tmp_path), "WXSIGN_TRUSTED_PROXIES": "1"}
        service = gunicorn("--bind", f"unix:{socket}", "wxsign.wsgi:app")
        with (
            running(
                service, lambda: answers(socket), log=tmp_path / "gunicorn.out", cwd=tmp_path, env=environ
            ) as master,
            running(nginx, lambda: answers(port), log=tmp_path / "nginx.out"),
        ):
            yield Site(port, api_base, master, tmp_path)


def test_200_first_requests_on_a_cold_store_make_one_token_call_and_one_ticket_call(site):
    with ThreadPoolExecutor(40) as callers:
        replies = list(callers.map(lambda _: site.ask(), range(200)))
    assert {reply.status for reply in replies} == {200}
    assert all(site.verifies(reply) for reply in replies[::20])
    calls = site.wechat("/sandbox/state")["calls"]
    assert (calls.get("stable_token"), calls.get("getticket")) == (1, 1)


def test_get_form_and_json_are_signed_exactly_as_sent(site):
    raw = "https://m.example.com/签名?a=1"
    forms = {
        "application/x-www-form-urlencoded": f"url={quote(raw, safe='')}",
        "application/json": json.dumps({"url": raw}),
    }
    replies = [site.ask(f"/jsconfig?url={quote(raw, safe='')}")]
    replies += [
        site.ask("/jsconfig", method="POST", body=body.encode(), headers={"Content-Type": kind})
        for kind, body in forms.items()
    ]
    assert [reply.json["url"] for reply in replies] == [raw] * 3
    assert all(site.verifies(reply) for reply in replies)


def test_a_reload_under_load_loses_no_request_and_calls_wechat_no_more(site):
    assert site.verifies(site.ask())
    stop = time.monotonic() + 4.0

    def keep_asking(_: int) -> set[int]:
        statuses = set()
        while time.monotonic() < stop:
            statuses.add(site.ask(source="127.0.0.3").status)
            time.sleep(0.02)
        return statuses

    with ThreadPoolExecutor(4) as callers:
        seen = callers.map(keep_asking, range(4))
        for _ in range(2):
            site.gunicorn.send_signal(signal.SIGHUP)
            time.sleep(1.5)
        assert set().union(*seen) == {200}
    calls = site.wechat("/sandbox/state")["calls"]
    assert (calls.get("stable_token"), calls.get("getticket")) == (1, 1)


def test_an_error_reaches_the_page_readable_and_under_the_request_id_of_nginx(site):
    refused = site.ask("/jsconfig?url=https%3A%2F%2Fevil.test%2F", headers={"Origin": "https://evil.test"})
    assert refused.status == 403
    assert refused.headers["access-control-allow-origin"] == "*"
    request_id = refused.json["error"]["request_id"]
    assert refused.headers["x-request-id"] == request_id
    # nginx's access log and the service's own; gunicorn's is off behind a trusted proxy.
    wait_until(lambda: site.logs().count(request_id) >= 2)
    assert "gunicorn.access" not in site.logs()


def test_no_log_shows_a_query_a_secret_a_token_or_a_ticket(site):
    site.ask(headers={"Referer": PAGE + "&code=oauth-code"})
    site.ask("/demo?code=oauth-code")
    site.ask("/nothing-here?code=oauth-code")
    site.gunicorn.terminate()
    site.gunicorn.wait(30)
    site.ask()
    logs = site.logs()
    assert '"path":"/jsconfig"' in logs
    assert "oauth-code" not in logs
    assert SECRET not in logs
    assert APP_ID in logs
    stored = (site.folder / "store/wxsign.db").read_bytes().decode("latin-1")
    values = set(re.findall(r"[A-Za-z0-9_-]{60,}", stored))
    assert values
    assert not {value for value in values if value in logs}
