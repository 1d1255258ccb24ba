"""An account that WeChat refuses from the first call on: the service starts, says why, and does not storm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fleet import APP_SECRET, APPID, CLIENT_KEY, Load, eventually, fleet, one_account, wechat

pytestmark = pytest.mark.fleet

WXSIGN = Path(sys.executable).with_name("wxsign")
ELSEWHERE = "203.0.113.1"
CASES = {
    "wrong appid": (40013, "invalid_appid", {"WXSIGN_APPID": "wx0000000000000009"}, {}),
    "wrong secret": (40125, "invalid_secret", {"WXSIGN_SECRET": "1" * 32}, {}),
    "address not in the whitelist": (40164, "ip_not_whitelisted", {}, {"ip_whitelist": [ELSEWHERE]}),
}


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


def serve(here):
    return [WXSIGN, "serve", "--bind", f"unix:{here}/wxsign.sock", "--workers", "4"]


def wxsign(env, *arguments):
    return subprocess.run(
        [WXSIGN, *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# One of them each time; the others with the longest.
SLOW = {"wrong appid", "wrong secret"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.long) if case in SLOW else case for case in CASES]
)
def test_the_service_starts_and_says_why_and_asks_wechat_once_a_minute(here, case):
    errcode, code, wrong, settings = CASES[case]
    with wechat(here, **settings) as sandbox:
        env = {**one_account(sandbox.url, here), **wrong}
        with fleet(here, env, serve(here)) as service:
            eventually(lambda: service.ask("/readyz").json["problems"] == [code])
            with Load(service.socket, clients=4) as load:
                time.sleep(2)
            assert {shot.status for shot in load.shots} == {503}
            refusal, unready = service.jsconfig(), service.ask("/readyz")
            service.stop()
            service.start()
            eventually(lambda: service.jsconfig().json.get("errcode") == errcode)
            time.sleep(1.5)
            assert sandbox.calls() == {"stable_token": 1}
        assert (unready.status, unready.json["state"]) == (503, "unready")
        assert refusal.status == 503
        assert int(refusal.headers["retry-after"]) > 40
        assert refusal.json["errcode"] == errcode
        assert refusal.json["error"]["hint"]
        assert "127.0.0.1" not in refusal.body.decode()


def test_an_operator_who_has_mended_it_need_not_wait_for_the_minute(here):
    with wechat(here, ip_whitelist=[ELSEWHERE]) as sandbox:
        env = one_account(sandbox.url, here)
        with fleet(here, env, serve(here)) as service:
            eventually(lambda: service.jsconfig().json.get("errcode") == 40164)
            # Whoever shows a key is told the address that has to be added; nobody else is.
            assert "127.0.0.1" in service.api("accounts/default/access_token").body.decode()
            refused = wxsign(env, "refresh", "default")
            assert refused.returncode == 1
            assert "127.0.0.1" in refused.stdout + refused.stderr
            sandbox.post("settings", ip_whitelist=None)
            refreshed = wxsign(env, "refresh", "default")
            assert refreshed.returncode == 0, refreshed.stderr
            since = time.monotonic()
            eventually(lambda: service.jsconfig().status == 200)
            assert time.monotonic() - since < 5
            time.sleep(2.5)
            assert {service.jsconfig().status for _ in range(20)} == {200}
            assert service.ask("/readyz").status == 200


def test_an_unusable_configuration_ends_serve_and_check_with_2_and_every_problem(here):
    env = {
        "WXSIGN_APPID": APPID,
        "WXSIGN_SECRET_FILE": f"{here}/missing",
        "WXSIGN_STORE": "mysql://nowhere",
        "WXSIGN_CLIENT_KEY": "short",
    }
    for command in (("serve", "--bind", f"unix:{here}/wxsign.sock"), ("check",)):
        done = wxsign(env, *command)
        assert done.returncode == 2
        for name in ("WXSIGN_SECRET_FILE", "WXSIGN_STORE", "WXSIGN_CLIENT_KEY"):
            assert name in done.stderr
        assert "Traceback" not in done.stderr
    assert not (here / "wxsign.sock").exists()


def test_check_shows_a_usable_configuration_without_its_secrets_and_without_a_call(here):
    with wechat(here) as sandbox:
        done = wxsign(one_account(sandbox.url, here), "check")
        assert done.returncode == 0
        assert APPID in done.stdout
        assert APP_SECRET not in done.stdout + done.stderr
        assert CLIENT_KEY not in done.stdout + done.stderr
        assert sandbox.calls() == {}
