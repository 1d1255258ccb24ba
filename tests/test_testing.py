"""The plugin of pytest for users' own tests: run as users run it, the recipe of the documents in Chromium included."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parent.parent
# What a user's conftest and pytest-playwright give: a browser's page, and an app of his own.
CONFTEST = """
import http.server
import threading

import pytest
from playwright.sync_api import sync_playwright

PAGE = b'''<!doctype html><title>shop</title><script>
  const sign = new URLSearchParams(location.search).get('sign');
  document.write(`<script src="${sign}/static/wxsign.js" data-wxsign-auto></` + 'script>');
</script>'''


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def shop():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()
"""
# A page that signs by hand, without a browser: what WeChat's bridge would ask the sandbox.
BY_HAND = """
import json
import urllib.request
from urllib.parse import quote

import pytest


def config_of(dev, page):
    with urllib.request.urlopen(f"{dev.url}/jsconfig?url={quote(page, safe='')}") as answer:
        return json.load(answer)


def show(dev, config, page):
    given = {"appId": config["appId"], "verifyTimestamp": config["timestamp"], "verifyNonceStr": config["nonceStr"],
             "verifySignature": config["signature"], "url": page}
    request = urllib.request.Request(f"{dev.sandbox_url}/sandbox/bridge/verify", json.dumps(given).encode())
    urllib.request.urlopen(request).close()


PAGE = "http://127.0.0.1:3000/shop"
"""


def run(folder, tests, *options, conftest=""):
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_users.py").write_text(tests)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "wxsign.testing",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_a_user_s_tests_are_told_what_wechat_says_of_his_pages(tmp_path):
    code, shown = run(
        tmp_path,
        BY_HAND
        + """
def test_right(wxsign_dev):
    show(wxsign_dev, config_of(wxsign_dev, PAGE), PAGE)
    assert wxsign_dev.expect_accepted(PAGE).cause == "ok"
    assert [each.url for each in wxsign_dev.verdicts] == [PAGE]

def test_each_verdict_counts_once_and_none_is_left_of_another_test(wxsign_dev):
    assert wxsign_dev.verdicts == []
    config = config_of(wxsign_dev, PAGE)
    show(wxsign_dev, config, PAGE + "?a=1")
    show(wxsign_dev, config, PAGE)
    assert wxsign_dev.expect_refused().url == PAGE + "?a=1"
    wxsign_dev.expect_accepted()
    with pytest.raises(pytest.fail.Exception, match="no page called wx.config within 0.1 s"):
        wxsign_dev.expect_accepted(timeout_seconds=0.1)
    with pytest.raises(pytest.fail.Exception, match="no page called"):
        wxsign_dev.expect_refused(timeout_seconds=0.1)

def test_a_second_try_that_is_accepted_is_green(wxsign_dev):
    config = config_of(wxsign_dev, PAGE)
    show(wxsign_dev, config, PAGE + "?a=1")
    show(wxsign_dev, config, PAGE)
    wxsign_dev.expect_accepted()

def test_a_happening_ends_with_its_test(wxsign_dev):
    config_of(wxsign_dev, PAGE)
    wxsign_dev.trigger("hang")
    with pytest.raises(LookupError, match="known: account-frozen"):
        wxsign_dev.trigger("hangs")

def test_it_has_ended(wxsign_dev):
    with urllib.request.urlopen(f"{wxsign_dev.sandbox_url}/sandbox/state") as state:
        assert json.load(state)["faults"] == []

def test_hosts_of_ones_own(wxsign_dev):
    assert config_of(wxsign_dev, "https://shop.example.com/")["appId"]

def test_wrong(wxsign_dev):
    show(wxsign_dev, config_of(wxsign_dev, PAGE), PAGE + "?a=1")
    wxsign_dev.expect_accepted()

def test_wrong_cause(wxsign_dev):
    show(wxsign_dev, config_of(wxsign_dev, PAGE), PAGE + "?a=1")
    wxsign_dev.expect_refused("landing_url")

def test_not_refused(wxsign_dev):
    show(wxsign_dev, config_of(wxsign_dev, PAGE), PAGE)
    wxsign_dev.expect_refused()
""",
        conftest="""
import pytest

@pytest.fixture(scope="session")
def wxsign_allowed_hosts():
    return ["shop.example.com"]
""",
    )
    assert "3 failed, 6 passed" in shown, shown
    assert code == 1
    assert "WeChat would refuse this signature of http://127.0.0.1:3000/shop?a=1: " in shown
    assert "refused, but as " in shown
    assert "WeChat would accept this signature of http://127.0.0.1:3000/shop." in shown


def test_the_recipe_of_the_documents_passes_in_chromium(tmp_path, require_program):
    path = require_program("chromium")
    from test_demo_page import CHROMIUM_ARGUMENTS  # noqa: PLC0415 - used here alone

    (recipe,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs/sandbox.md").read_text(), re.MULTILINE | re.DOTALL
    )
    conftest = f"CHROMIUM, ARGUMENTS = {path!r}, {CHROMIUM_ARGUMENTS!r}\n{CONFTEST}"
    code, shown = run(tmp_path, recipe, conftest=conftest)
    assert code == 0, shown
    assert "2 passed" in shown


def test_a_run_that_does_not_ask_for_it_loads_nothing_of_the_service(tmp_path):
    code, shown = run(
        tmp_path,
        """
import sys

def test_it():
    assert "wxsign.testing" in sys.modules
    assert [name for name in sys.modules if name.startswith(("wxsign.", "flask"))] == ["wxsign.testing"]
""",
    )
    assert code == 0, shown
