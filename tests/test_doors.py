"""The WSGI doors, with the real service behind them: `app:app` of a checkout, `wxsign.wsgi:app` of the wheel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from running import PAGE, answers, ask, free_port, running, sandbox, service_environ

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parent.parent
SIGN = f"/jsconfig?url={quote(PAGE, safe='')}"
GUNICORN = (sys.executable, "-m", "gunicorn")


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (("app:app",), ROOT),
        (("--pythonpath", str(ROOT), "--workers", "2", "--no-control-socket", "app:app"), None),
        (("--preload", "--workers", "2", "--threads", "4", "--no-control-socket", "wxsign.wsgi:app"), None),
        (("--preload", "--worker-class", "sync", "--no-control-socket", "wxsign.wsgi:app"), None),
    ],
    ids=["in a checkout", "without our settings", "preloaded", "sync and preloaded"],
)
def test_a_plain_gunicorn_serves_signatures_and_fetches_once(tmp_path, arguments, folder):
    port = free_port()
    with sandbox(tmp_path) as wechat:
        command = [*GUNICORN, "--bind", f"127.0.0.1:{port}", *arguments]
        env = {**service_environ(wechat, tmp_path), "HOME": str(tmp_path)}
        with running(
            command, lambda: answers(port), log=tmp_path / "out", cwd=folder or tmp_path, env=env
        ) as master:
            replies = [ask(port, SIGN) for _ in range(12)]
            state = ask(urlsplit(wechat).port, "/sandbox/state").json
    assert {reply.status for reply in replies} == {200}
    assert (state["calls"].get("stable_token"), state["calls"].get("getticket")) == (1, 1)
    assert master.returncode == 0
    assert not (tmp_path / ".gunicorn").exists()


def test_a_checkout_s_gunicorn_takes_our_settings_by_itself(tmp_path):
    port = free_port()
    command = [*GUNICORN, "--bind", f"127.0.0.1:{port}", "app:app"]
    env = service_environ("http://127.0.0.1:9", tmp_path)
    with running(command, lambda: answers(port), log=tmp_path / "out", cwd=ROOT, env=env):
        assert ask(port, "/healthz?code=oauth-code").status == 200
        assert ask(port, "/jsconfig?url=" + "a" * 8000).status == 400
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert sum(line["event"].startswith("Booting worker") for line in lines) == 4
    assert {line["path"] for line in lines if line["event"] == "access"} == {"/jsconfig"}


def test_an_unusable_configuration_halts_gunicorn_with_every_problem_listed(tmp_path):
    env = {"PATH": "/usr/bin:/bin", "WXSIGN_APPID": "wx0123456789abcdef", "WXSIGN_STORE": "mysql://nowhere"}
    command = [*GUNICORN, "--bind", f"127.0.0.1:{free_port()}", "app:app"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "WXSIGN_SECRET" in done.stderr
    assert "WXSIGN_STORE" in done.stderr
