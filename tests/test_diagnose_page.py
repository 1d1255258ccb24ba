"""The page /diagnose in Chromium: what is pasted is found out, and a ticket that is typed in never leaves the browser."""

import json
import urllib.parse
import urllib.request

import pytest
from playwright.sync_api import expect
from test_demo_page import browser, dev_service, visit  # noqa: F401 - fixtures

pytestmark = pytest.mark.fleet

VECTOR = {
    "jsapi_ticket": "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg",
    "noncestr": "Wm3WZYTPz0wzccnW",
    "timestamp": "1414587457",
    "url": "http://mp.weixin.qq.com?params=value#x",
    "signature": "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with dev_service(tmp_path_factory.mktemp("dev")) as service:
        yield service


def config_for(service, page):
    query = urllib.parse.urlencode({"url": page})
    with urllib.request.urlopen(f"{service.url}/jsconfig?{query}") as answer:
        return json.load(answer)


@pytest.mark.parametrize(
    ("locale", "words"), [("en-US", "Send `encodeURIComponent"), ("zh-CN", "请发送 `encodeURIComponent")]
)
def test_a_pasted_mistake_is_named_with_its_remedy(service, visit, locale, words):  # noqa: F811 - the fixture
    signed = config_for(service, f"{service.url}/demo?a=1")
    pasted = f"wx.config({json.dumps(signed)})\nconfig:invalid signature\n{service.url}/demo?a=1&b=2"
    seen = visit(f"{service.url}/diagnose", locale=locale)
    seen.page.locator("textarea").fill(pasted)
    seen.page.locator("#ask button").click()
    first = seen.page.locator("[data-finding]").first
    expect(first).to_have_attribute("data-finding", "WXS103")
    expect(first).to_contain_text(words)
    assert seen.blocked() == []


def test_a_page_may_lead_there_with_everything_filled_in(service, visit):  # noqa: F811 - the fixture
    text = urllib.parse.quote("config:invalid url domain https://m.example.com/", safe="")
    seen = visit(f"{service.url}/diagnose#{text}")
    expect(seen.page.locator("[data-finding]").first).to_have_attribute("data-finding", "WXS114")


def test_in_debug_mode_a_page_that_is_refused_shows_why_and_leads_on(service, visit):  # noqa: F811 - the fixture
    seen = visit(f"{service.url}/demo", locale="en-US")
    # The demo's own run is over: a later one would take this one's place.
    seen.page.wait_for_selector("html[data-wxsign-state=ready]")
    seen.page.on("dialog", lambda dialog: dialog.dismiss())
    code = seen.page.evaluate(
        "history.pushState({}, '', '?b=2');"
        "wxsign.ready({ debug: true, url: location.origin + '/elsewhere' }).catch((error) => error.code)"
    )
    assert code == "invalid_signature"
    panel = seen.page.locator("#wxsign-debug")
    expect(panel).to_contain_text("WXS1")
    expect(panel).to_contain_text("→")
    assert seen.blocked() == []
    with seen.page.context.expect_page() as opened:
        panel.get_by_text("Diagnose").click()
    expect(opened.value.locator("[data-finding]").first).to_be_visible()
    panel.locator("button").click()
    expect(panel).to_have_count(0)


def test_the_panel_speaks_the_browser_s_language(service, visit):  # noqa: F811 - the fixture
    seen = visit(f"{service.url}/demo", locale="zh-CN")
    seen.page.evaluate(
        "wxsign.error = { code: 'network', message: '无法访问', hint: '请检查', errMsg: '', findings: [] }"
    )
    seen.page.add_script_tag(url=f"{service.url}/static/wxsign-debug.js")
    expect(seen.page.locator("#wxsign-debug")).to_contain_text("→ 请检查")
    expect(seen.page.locator("#wxsign-debug")).to_contain_text("详细诊断")


def test_a_ticket_that_is_typed_in_never_leaves_the_browser(service, visit):  # noqa: F811 - the fixture
    seen = visit(f"{service.url}/diagnose", locale="en-US")
    sent = []
    seen.page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
    for name, value in VECTOR.items():
        seen.page.locator(f"[name={name}]").fill(value)
    seen.page.locator("#compute button").click()
    expect(seen.page.locator("#computed")).to_contain_text(
        f"{VECTOR['signature']} · It is the signature given"
    )
    seen.page.locator("[name=timestamp]").fill("1414587458")
    seen.page.locator("#compute button").click()
    expect(seen.page.locator("#computed")).to_contain_text("It is not the signature given")
    assert VECTOR["jsapi_ticket"] not in "".join(sent)
    assert VECTOR["noncestr"] not in "".join(sent)
