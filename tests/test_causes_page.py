"""Each cause built for real: a page in Chromium makes the mistake, WeChat's script says its few words, /diagnose says why."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request

import pytest
from playwright.sync_api import sync_playwright
from test_demo_page import CHROMIUM_ARGUMENTS, dev_service, official_script

from wxsign.commands.dev import DEV_CLIENT_KEY

pytestmark = pytest.mark.fleet

NONCE = "Wm3WZYTPz0wzccnW"
# The bridge leaves the real WeChat alone, so none of them says that it is one.
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15"
ANDROID = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36"
HARMONY = "Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 ArkWeb/4.1"
PAGE = """<!doctype html><title>case</title><script src="{bridge}"></script>
<script src="https://res.wx.qq.com/open/js/jweixin-1.6.0.js"></script>"""
CONFIGURE = """(config) => new Promise((resolve) => {
  wx.error((res) => resolve(res.errMsg)); // comes before ready, which follows a refusal too
  wx.ready(() => resolve('ok'));
  wx.config(config);
  setTimeout(() => resolve('no answer'), 5000);
})"""
CALL = """() => new Promise((resolve) => {
  wx.scanQRCode({ complete: (res) => resolve(res.errMsg) });
  setTimeout(() => resolve('no answer'), 5000);
})"""
ASK = """(asked) => fetch(asked.at, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({
  page: location.href, userAgent: navigator.userAgent, ...asked.fields }) }).then((answer) => answer.json())"""


class Desk:
    """A running `wxsign dev`, and pages that are opened at it."""

    def __init__(self, service, chromium):
        self.service = service
        self._browser = chromium

    def open(self, path, agent=ANDROID, origin=""):
        context = self._browser.new_context(user_agent=agent, locale="en-US")
        page = context.new_page()
        page.route("**/*", self._deliver)
        page.goto((origin or self.service.url) + path)
        return page

    def _deliver(self, route):
        url = route.request.url
        if "/case" in url:
            bridge = f"{self.service.sandbox_url}/sandbox/bridge.js"
            route.fulfill(body=PAGE.format(bridge=bridge), content_type="text/html")
        elif url.startswith("https://res.wx.qq.com/"):
            route.fulfill(body=official_script("1.6.0"), content_type="text/javascript")
        else:
            route.continue_()

    def value(self, path, field):
        request = urllib.request.Request(
            f"{self.service.url}/api/v1/accounts/default/{path}",
            headers={"Authorization": f"Bearer {DEV_CLIENT_KEY}"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)[field]

    def ticket(self):
        return self.value("tickets/jsapi", "ticket")

    def signed(self, url, ticket=None, key="noncestr", timestamp=None, **more):
        timestamp = timestamp or int(time.time())
        ticket = self.ticket() if ticket is None else ticket
        text = f"jsapi_ticket={ticket}&{key}={NONCE}&timestamp={timestamp}&url={url}"
        config = {"appId": self.service.app_id(), "timestamp": timestamp, "nonceStr": NONCE}
        return (
            config
            | {"signature": hashlib.sha1(text.encode()).hexdigest(), "jsApiList": ["scanQRCode"]}
            | more
        )

    def told(self, page, config, words, **fields):
        names = ("appId", "timestamp", "nonceStr", "signature")
        fields |= {"config": {name: config[name] for name in names if name in config}, "errMsg": words}
        asked = {"at": f"{self.service.url}/diagnose", "fields": fields}
        time.sleep(0.34)  # three questions a second are answered
        return page.evaluate(ASK, asked)["findings"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory, require_program):
    path = require_program("chromium")
    official_script("1.6.0")
    # The pages are made up by the test, so Chromium does not know them for neighbours of the sandbox.
    arguments = [*CHROMIUM_ARGUMENTS, "--disable-features=LocalNetworkAccessChecks"]
    with sync_playwright() as driver, dev_service(tmp_path_factory.mktemp("dev")) as service:
        chromium = driver.chromium.launch(executable_path=path, args=arguments)
        yield Desk(service, chromium)
        chromium.close()


def first(findings):
    assert findings[0]["hint"]
    return findings[0]["id"]


def refused(desk, page, config, **fields):
    words = page.evaluate(CONFIGURE, config)
    assert words not in {"ok", "no answer"}
    return desk.told(page, config, words, **fields)


URLS = [
    ("WXS101", "/case?id=1", lambda _: "https://api.example.com/sign"),
    ("WXS103", "/case?id=1&b=2", lambda url: url.partition("&")[0]),
    ("WXS104", "/case?id=1&b=2", lambda url: url.replace("&", "&amp;")),
    ("WXS105", "/case?id=1&from=singlemessage", lambda url: url.partition("&")[0]),
    ("WXS106", "/case?id=1", lambda url: url.replace("http:", "https:")),
    ("WXS107", "/case?id=1#/route", lambda url: f"{url}#/route"),
]


@pytest.mark.parametrize(("cause", "path", "mistake"), URLS)
def test_a_wrong_url_is_named(desk, cause, path, mistake):
    page = desk.open(path)
    signed = mistake(desk.service.url + path.partition("#")[0])
    assert first(refused(desk, page, desk.signed(signed), signed_url=signed)) == cause


def test_a_route_on_an_iphone_is_named(desk):
    page = desk.open("/case?first", agent=IPHONE)
    page.evaluate("() => history.pushState(null, '', '/case?second')")
    config = desk.signed(f"{desk.service.url}/case?second")
    found = refused(desk, page, config, landing_url=f"{desk.service.url}/case?first")
    assert first(found) == "WXS102"


@pytest.mark.parametrize(
    ("cause", "changes"),
    [
        ("WXS109", {"ticket": "undefined"}),
        ("WXS110", {"appId": "wxffffffffffffffff"}),
        ("WXS112", {"timestamp": "later"}),
        ("WXS113", {"key": "nonceStr"}),
        ("WXS115", {"timestamp": "milliseconds"}),
    ],
)
def test_a_wrong_ingredient_is_named(desk, cause, changes):
    page = desk.open("/case?id=1")
    moment, given = int(time.time()), changes.get("timestamp")
    rest = {name: value for name, value in changes.items() if name != "timestamp"}
    config = desk.signed(f"{desk.service.url}/case?id=1", timestamp=moment, **rest)
    config["timestamp"] = {"later": moment + 3, "milliseconds": moment * 1000}.get(given, moment)
    assert first(refused(desk, page, config)) == cause


def test_a_token_in_the_place_of_the_ticket_and_a_ticket_that_was_replaced_are_named(desk):
    page = desk.open("/case?id=1")
    url = f"{desk.service.url}/case?id=1"
    config = desk.signed(url, ticket=desk.value("access_token", "access_token"))
    assert first(refused(desk, page, config)) == "WXS111"
    old = desk.signed(url)
    desk.service.sandbox("kill", appid=desk.service.app_id(), credential="jsapi_ticket")
    # A page that reports makes the service look.
    body = json.dumps(old | {"url": url, "errMsg": "config:invalid signature"}).encode()
    with urllib.request.urlopen(f"{desk.service.url}/report", body) as answer:
        assert json.load(answer)["retry"]
    page = desk.open("/case?id=1")
    assert first(refused(desk, page, old)) == "WXS108"


def test_a_host_that_is_not_bound_is_named(desk):
    desk.service.sandbox("settings", verify_domains=["127.0.0.1"])
    page = desk.open("/case", origin="http://unbound.example.com")
    config = desk.signed(page.url)
    found = refused(desk, page, config)
    assert first(found) == "WXS114"


def test_a_call_outside_the_list_is_named_and_the_right_signature_is_not_blamed(desk):
    page = desk.open("/case?id=1")
    config = desk.signed(f"{desk.service.url}/case?id=1") | {"jsApiList": ["chooseImage"]}
    assert page.evaluate(CONFIGURE, config) == "ok"
    found = desk.told(page, config, page.evaluate(CALL))
    assert first(found) == "WXS116"


def test_on_harmonyos_a_right_signature_that_is_refused_later_is_the_iframe(desk):
    page = desk.open("/case?id=1", agent=HARMONY)
    config = desk.signed(f"{desk.service.url}/case?id=1")
    assert page.evaluate(CONFIGURE, config) == "ok"
    # What that client says once an iframe has loaded: the sandbox's does not.
    assert first(desk.told(page, config, "scanQRCode:invalid signature")) == "WXS117"
