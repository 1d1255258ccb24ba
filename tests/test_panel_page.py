"""The sandbox's panel in a page's corner, in Chromium: the last verdict and why, the share card, the client; by keyboard too."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from test_demo_page import browser, by_hand, service, site, visit  # noqa: F401 - fixtures

pytestmark = pytest.mark.fleet

ENGLISH = {"locale": "en-US"}
# What has the focus, inside the sandbox's layer.
FOCUSED = """() => {
  const inside = document.querySelector('wxsign-sandbox').shadowRoot.activeElement;
  return inside && (inside.closest('dialog') ? 'dialog' : inside.className);
}"""


def opened(seen):
    """Open the panel and return it."""
    seen.page.click("wxsign-sandbox .menu")
    return seen.page.locator("wxsign-sandbox .panel")


def test_it_shows_that_a_signature_was_accepted_and_the_card_that_a_share_would_send(service, visit):  # noqa: F811
    seen = visit(f"{service.url}/demo", **ENGLISH)
    seen.state()
    expect(seen.page.locator("wxsign-sandbox .menu")).to_have_attribute("data-verdict", "accepted")
    seen.press("updateAppMessageShareData")
    panel = opened(seen)
    expect(panel.locator(".verdict")).to_contain_text("The signature is valid")
    expect(panel.locator(".verdict")).to_contain_text(f"compared  {service.url}/demo")
    expect(panel).to_contain_text("This card was made by the JS-SDK")
    expect(panel.locator(".shares button")).to_have_count(5)
    assert (seen.blocked(), seen.errors) == ([], [])


def test_it_says_why_a_signature_was_refused(service, visit, site):  # noqa: F811
    seen = visit(site(by_hand(service, timestamp=1_414_587_457_000)), **ENGLISH)
    seen.page.wait_for_selector("html[data-done]", state="attached")
    expect(seen.page.locator("wxsign-sandbox .menu")).to_have_attribute("data-verdict", "refused")
    panel = opened(seen)
    expect(panel.locator(".refused")).to_have_text("Refused: invalid signature")
    expect(panel.locator(".verdict p").first).to_contain_text("timestamp")


def test_a_page_that_hides_wechats_menu_offers_no_way_to_share(service, visit):  # noqa: F811
    seen = visit(f"{service.url}/demo", **ENGLISH)
    seen.state()
    expect(seen.press("hideOptionMenu")).to_contain_text("hideOptionMenu:ok")
    expect(opened(seen).locator(".shares button")).to_have_count(0)


def test_the_platform_that_is_chosen_is_the_page_s_until_the_tab_is_closed(service, visit):  # noqa: F811
    seen = visit(f"{service.url}/demo", **ENGLISH)
    seen.state()
    panel = opened(seen)
    with seen.page.expect_navigation():
        panel.locator("select[name=mode]").select_option("iphone")
    assert seen.state() == "ready"
    assert "iPhone" in seen.page.evaluate("() => navigator.userAgent")
    seen.page.goto(f"{service.url}/demo?other=1")
    assert seen.state() == "ready"
    assert "iPhone" in seen.page.evaluate("() => navigator.userAgent")
    with seen.page.expect_navigation():
        opened(seen).locator("select[name=rule]").select_option("current")
    seen.state()
    expect(opened(seen).locator("select[name=rule]")).to_have_value("current")
    other = seen.page.context.new_page()
    other.goto(f"{service.url}/demo")
    assert "iPhone" not in other.evaluate("() => navigator.userAgent")


def test_a_page_without_a_bridge_still_has_the_panel_to_get_one_again(service, visit):  # noqa: F811
    seen = visit(f"{service.url}/demo", **ENGLISH)
    seen.state()
    with seen.page.expect_navigation():
        opened(seen).locator("select[name=mode]").select_option("none")
    assert seen.page.evaluate("() => typeof WeixinJSBridge") == "undefined"
    with seen.page.expect_navigation():
        opened(seen).locator("select[name=mode]").select_option("wechat")
    assert seen.state() == "ready"


@pytest.mark.parametrize("kind", ["panel", "sheet"])
def test_escape_closes_a_dialog_focus_stays_in_it_and_then_goes_back(service, visit, kind):  # noqa: F811
    seen = visit(f"{service.url}/demo", **ENGLISH)
    seen.state()
    control = "wxsign-sandbox .menu" if kind == "panel" else "[data-api=scanQRCode]"
    seen.page.focus(control)
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("wxsign-sandbox dialog")).to_have_count(1)
    for _ in range(12):
        seen.page.keyboard.press("Tab")
        # Between last and first stands the browser itself, never the page.
        assert seen.page.evaluate(FOCUSED) in {"dialog", None}
        assert seen.page.evaluate("() => document.activeElement.tagName") in {"WXSIGN-SANDBOX", "BODY"}
    seen.page.keyboard.press("Escape")
    expect(seen.page.locator("wxsign-sandbox dialog")).to_have_count(0)
    expect(seen.page.locator(control)).to_be_focused()
    if kind == "sheet":
        expect(seen.page.locator(f".interface:has({control}) .result")).to_contain_text("scanQRCode:cancel")
