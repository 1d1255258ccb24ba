"""The whole service as it is deployed: real nginx, a unix socket, gunicorn's workers, the sandbox as WeChat."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from click.testing import CliRunner
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
from test_deploy import DEPLOY, nginx_command

from wxsign.cli import main

if TYPE_CHECKING:
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
    with site_in(tmp_path, require_program) as found:
        yield found


def booted(here: Path, socket: Path) -> bool:
    """Say whether all four workers are there: one that is stopped before it stands keeps the others waiting."""
    return answers(socket) and (here / "gunicorn.out").read_text().count("Booting worker with pid") == 4


@contextmanager
def site_in(
    tmp_path: Path, require_program: Callable[[str], str], *, hot: bool = False, block: str = ""
) -> Iterator[Site]:
    """The service behind nginx with the configuration of deploy/, or with a server `block` in its place."""
    port, socket = free_port(), tmp_path / "wxsign.sock"
    nginx = nginx_command(require_program("nginx"), tmp_path, port, hot=hot)
    if block:
        ours = block.replace("/run/wxsign/wxsign.sock", str(socket))
        (tmp_path / "wxsign.conf").write_text(f"server {{ listen 127.0.0.1:{port}; {ours} }}")
    with sandbox(tmp_path) as api_base:
        environ = {**service_environ(api_base, tmp_path), "WXSIGN_TRUSTED_PROXIES": "1"}
        service = gunicorn("--bind", f"unix:{socket}", "wxsign.wsgi:app")
        with (
            running(
                service,
                lambda: booted(tmp_path, socket),
                log=tmp_path / "gunicorn.out",
                cwd=tmp_path,
                env=environ,
            ) as master,
            running(nginx, lambda: answers(port), log=tmp_path / "nginx.out"),
        ):
            yield Site(port, api_base, master, tmp_path)


@pytest.mark.timing
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


def proxy_line(site: Site) -> tuple[str, str]:
    """How the line of the proxy stands at `wxsign doctor`, and what is red first."""
    public = {"WXSIGN_PUBLIC_URL": f"http://127.0.0.1:{site.port}", "WXSIGN_TRUSTED_PROXIES": "1"}
    environ = {**service_environ(site.sandbox, site.folder), **public}
    lines = json.loads(CliRunner(env=environ).invoke(main, ["doctor", "--json"]).stdout)
    state = next(line["state"] for line in lines if line["check"] == "proxy")
    return state, next((line["check"] for line in lines if line["state"] == "failed"), "")


def test_doctor_sees_through_nginx_whether_it_says_whose_a_request_is(site, require_program):
    assert proxy_line(site) == ("ok", "")
    conf = site.folder / "wxsign.conf"
    lost, count = re.subn(r"\n *proxy_set_header X-Forwarded-For [^\n]*", "", conf.read_text())
    assert count
    conf.write_text(lost)
    reload = [
        require_program("nginx"),
        "-e",
        f"{site.folder}/logs/global.log",
        "-c",
        f"{site.folder}/nginx.conf",
    ]
    subprocess.run([*reload, "-s", "reload"], check=True)
    wait_until(lambda: proxy_line(site) == ("failed", "proxy"))


# The micro-cache of hot pages.


@pytest.fixture
def hot_site(tmp_path: Path, require_program: Callable[[str], str]) -> Iterator[Site]:
    with site_in(tmp_path, require_program, hot=True) as found:
        yield found


def test_all_who_ask_for_a_hot_page_get_one_signature_for_five_seconds(hot_site):
    first, second = (hot_site.ask().json["signature"] for _ in range(2))
    assert first != second, "what is asked for once is not kept"
    with ThreadPoolExecutor(20) as callers:
        replies = list(callers.map(lambda _: hot_site.ask(), range(100)))
    assert {reply.json["signature"] for reply in replies} == {second}
    assert all(hot_site.verifies(reply) for reply in replies[::25])
    assert len({reply.headers["x-request-id"] for reply in replies}) == len(replies)
    assert {reply.headers["cache-control"] for reply in replies} == {"no-store"}
    ages = []

    def renewed() -> bool:
        config = hot_site.ask().json
        ages.append(time.time() - config["timestamp"])
        return config["signature"] != second

    wait_until(renewed)
    # Five seconds, one that a timestamp does not tell, and two for a busy machine.
    assert 4 < max(ages) < 8


def test_no_other_page_origin_or_language_gets_it_and_no_refusal_is_kept(hot_site):
    known = [hot_site.ask() for _ in range(3)]
    assert known[1].json["signature"] == known[2].json["signature"]
    kept = known[2].json["signature"]
    for path, headers in (
        (SIGN + "%26c%3D1", {}),
        (SIGN, {"Origin": "https://m.example.com"}),
        (SIGN, {"Origin": "https://evil.test"}),
        (SIGN, {"Accept-Language": "zh"}),
        (SIGN, {"Host": "other.example.com"}),
        (SIGN + "&account=default", {}),
    ):
        assert hot_site.ask(path, headers=headers).json["signature"] != kept, (path, headers)
    assert "access-control-allow-origin" not in hot_site.ask(headers={"Origin": "https://evil.test"}).headers
    refused = "/jsconfig?url=https%3A%2F%2Fevil.test%2F"
    ids = {hot_site.ask(refused).json["error"]["request_id"] for _ in range(4)}
    assert len(ids) == 4
    body = json.dumps({"url": PAGE}).encode()
    posted = {
        hot_site.ask(
            "/jsconfig", method="POST", body=body, headers={"Content-Type": "application/json"}
        ).json["signature"]
        for _ in range(4)
    }
    assert len(posted) == 4


def test_without_the_option_every_answer_is_a_signature_of_its_own(site):
    assert len({site.ask().json["signature"] for _ in range(5)}) == 5


def test_below_a_prefix_every_address_of_every_page_leads_somewhere(tmp_path, require_program):
    document = (DEPLOY.parent / "docs/deployment.md").read_text(encoding="utf-8")
    location = document.partition("### Under a prefix")[2].partition("```nginx\n")[2].partition("```")[0]
    with site_in(tmp_path, require_program, block=location) as site:
        for page in ("/wxjs/", "/wxjs/demo", "/wxjs/diagnose", "/wxjs/docs/api"):
            text = ask(site.port, page).body.decode()
            found = set(re.findall(r'(?:href|src)="(/[^"]*)"', text))
            assert found
            assert {
                address: ask(site.port, address.replace("&amp;", "&")).status for address in found
            } == dict.fromkeys(found, 200)
        assert ask(site.port, f"/wxjs{SIGN}").json["signature"]
