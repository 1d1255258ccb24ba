"""The clients that the bridge can be, in Chromium: WeChat's unmodified script in both revisions, and the stand-in."""

from __future__ import annotations

import threading

import pytest
from at_sandbox import service_at
from flask import Flask, Response, request
from playwright.sync_api import sync_playwright
from test_demo_page import ANDROID, CHROMIUM_ARGUMENTS, WAIT_MS, official_script
from werkzeug.serving import make_server

from wxsign import sandbox
from wxsign.accounts import LOOPBACK, OfficialAccount
from wxsign.sandbox.settings import MODES
from wxsign.web import create_app

pytestmark = pytest.mark.fleet

SCRIPTS = ("1.6.0", "later revision", "stand-in")
OFFICIAL_AND_OURS = ("1.6.0", "stand-in")
# `?sign` names a URL that is signed in the page's place.
PAGE = """<!doctype html><meta charset="utf-8"><title>an app</title><script>
  window.verdicts = [];
  window.heard = [];
  document.addEventListener('wxsign:verdict', (event) => window.verdicts.push(event.detail));
</script><script src="{bridge}"></script><script src="{script}"></script><script>
  const url = new URLSearchParams(location.search).get('sign') || location.href;
  wx.error((res) => window.heard.push(res.errMsg));
  window.signed = fetch('/jsconfig?url=' + encodeURIComponent(url)).then((response) => response.json());
  window.settled = signed.then((config) => new Promise((resolve) => {{
    wx.ready(() => resolve(window.heard));
    wx.config(config);
  }}));
  window.call = (name, given) => new Promise((resolve) => wx[name](Object.assign({{ complete: (res) => resolve(res) }}, given)));
</script>"""
TAG = """<!doctype html><meta charset="utf-8"><title>an app</title><script src="{bridge}"></script><script src="{script}"></script>
<script src="/static/wxsign.js"></script>"""


def application(service, sandbox_url):
    """The service with two pages of a site: one that uses WeChat's script by hand, one with the tag alone."""
    app: Flask = create_app(service)

    def page(name):
        asked = {key: request.args[key] for key in ("mode", "rule", "delay_ms") if key in request.args}
        bridge = f"{sandbox_url}/sandbox/bridge.js?" + "&".join(f"{k}={v}" for k, v in asked.items())
        which = request.args.get("script", "1.6.0")
        script = f"{sandbox_url}/sandbox/jweixin.js" if which == "stand-in" else f"/official?which={which}"
        html = {"hand": PAGE, "tag": TAG}[name].format(bridge=bridge, script=script)
        return Response(html, headers={"Content-Security-Policy": "default-src * data: 'unsafe-inline'"})

    app.add_url_rule("/app/<name>", "app", page)
    app.add_url_rule(
        "/official",
        "official",
        lambda: Response(official_script(request.args["which"]), mimetype="text/javascript"),
    )
    return app


@pytest.fixture(scope="module")
def wechat():
    with sandbox.serve() as running:
        yield running


@pytest.fixture(scope="module")
def site(wechat):
    account = OfficialAccount("default", sandbox.DEFAULT_APPID, sandbox.DEFAULT_SECRET, (LOOPBACK,))
    with service_at(wechat.url, accounts=(account,), clients=()) as service:
        server = make_server("127.0.0.1", 0, application(service, wechat.url), threaded=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser(require_program):
    path = require_program("chromium")
    official_script("1.6.0")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        context = chromium.new_context(user_agent=ANDROID, locale="en")
        context.set_default_timeout(WAIT_MS)
        yield context
        chromium.close()


@pytest.fixture
def opened(browser, site):
    pages = []

    def open_page(name, **query):
        page = browser.new_page()
        pages.append(page)
        page.goto(f"{site}/app/{name}?" + "&".join(f"{key}={value}" for key, value in query.items()))
        return page

    yield open_page
    for page in pages:
        page.close()


def heard(page):
    """What wx.error was told before wx.ready ran."""
    return page.evaluate("settled")


def call(page, name, **given):
    return page.evaluate("([name, given]) => call(name, given)", [name, given])


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("mode", ["wechat", "wecom", "devtools", "harmonyos", "old", "slow"])
def test_every_client_accepts_a_right_signature(opened, mode, script):
    page = opened("hand", mode=mode, script=script, delay_ms=50)
    assert heard(page) == []
    assert page.evaluate("verdicts.map(({ accepted, mode }) => [accepted, mode])") == [[True, mode]]
    assert call(page, "getNetworkType")["networkType"] == "wifi"


@pytest.mark.parametrize("script", OFFICIAL_AND_OURS)
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("wechat", "config:invalid signature"),
        ("devtools", "config:fail,Error: 系统错误,错误码:63002,invalid signature ["),
    ],
)
def test_a_refusal_is_told_in_the_client_s_own_words(opened, site, mode, words, script):
    (told,) = heard(opened("hand", mode=mode, script=script, sign=f"{site}/other"))
    assert told.startswith(words)


@pytest.mark.parametrize("script", OFFICIAL_AND_OURS)
def test_on_harmonyos_wx_error_is_deaf_and_ready_comes_all_the_same(opened, site, script):
    page = opened("hand", mode="harmonyos", script=script, sign=f"{site}/other")
    assert heard(page) == []
    assert page.evaluate("verdicts[0].accepted") is False
    agent = page.evaluate("navigator.userAgent")
    assert "OpenHarmony" in agent
    assert "MicroMessenger/1.0.3.52" in agent
    assert "Android" not in agent


def test_wxsign_js_sees_through_the_false_green_of_harmonyos(opened, site):
    page = opened("tag", mode="harmonyos")
    assert page.evaluate("wxsign.ready().then(() => 'ready')") == "ready"
    script = "url => wxsign.ready({ url }).catch(({ code }) => code)"
    assert page.evaluate(script, f"{site}/other") == "invalid_signature"


def test_on_harmonyos_a_page_loses_its_rights_when_an_iframe_is_loaded(opened):
    page = opened("hand", mode="harmonyos")
    heard(page)
    assert call(page, "getNetworkType")["errMsg"] == "getNetworkType:ok"
    page.evaluate(
        "() => new Promise((done) => document.body.append(Object.assign(document.createElement('iframe'), { onload: done })))"
    )
    assert call(page, "getLocation")["errMsg"] == "getLocation:invalid signature"


@pytest.mark.parametrize("script", OFFICIAL_AND_OURS)
def test_an_old_client_lacks_the_newer_interfaces_and_says_so_when_asked(opened, script):
    page = opened("hand", mode="old", script=script)
    heard(page)
    told = call(page, "checkJsApi", jsApiList=["updateAppMessageShareData", "scanQRCode"])
    assert told["checkResult"] == {"updateAppMessageShareData": False, "scanQRCode": True}
    refused = call(page, "updateAppMessageShareData", title="a", link="b")
    assert refused["errMsg"] == "updateAppMessageShareData:function not exist"


@pytest.mark.parametrize("script", OFFICIAL_AND_OURS)
def test_where_no_bridge_comes_nothing_is_ever_answered_and_wxsign_js_says_that(opened, script):
    page = opened("tag", mode="none", script=script)
    assert page.evaluate("typeof WeixinJSBridge") == "undefined"
    assert page.evaluate("wxsign.ready({ timeoutMs: 100 }).catch(({ code }) => code)") == "no_answer"


def test_the_sandbox_s_page_switches_the_client_of_every_page(opened, browser, wechat):
    control = browser.new_page()
    control.goto(f"{wechat.url}/sandbox/?lang=en")
    options = control.locator("select[data-setting=mode] option")
    assert [option.get_attribute("value") for option in options.all()] == list(MODES)
    with control.expect_response("**/sandbox/settings"):
        control.select_option("select[data-setting=mode]", "harmonyos")
    page = opened("hand")
    assert "OpenHarmony" in page.evaluate("navigator.userAgent")
    with control.expect_response("**/sandbox/settings"):
        control.select_option("select[data-setting=mode]", "wechat")
    assert "OpenHarmony" in opened("hand", mode="harmonyos").evaluate("navigator.userAgent")
    control.close()


def test_a_mode_that_there_is_not_is_named_with_those_that_there_are(browser, site):
    page = browser.new_page()
    with page.expect_console_message() as told:
        page.goto(f"{site}/app/hand?mode=harmony")
    assert f"known: {', '.join(MODES)}" in told.value.text
    page.close()
