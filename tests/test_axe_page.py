"""Pages for everybody: axe finds nothing serious on any page of ours, in both languages, light and dark, on a phone and a desk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_console_page import desk, enter, sandbox  # noqa: F401 - fixtures
from test_demo_page import WAIT_MS, browser, dev_service, official_script  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.fleet

AXE = Path(__file__).parent.parent / "node_modules/axe-core/axe.min.js"
PAGES = ("/", "/diagnose", "/docs/", "/docs/sandbox.md", "/docs/api", "/demo?probe=1")
LOOKS = {
    "phone, Chinese, light": {
        "viewport": {"width": 390, "height": 844},
        "locale": "zh-CN",
        "color_scheme": "light",
    },
    "desk, English, dark": {
        "viewport": {"width": 1280, "height": 800},
        "locale": "en-US",
        "color_scheme": "dark",
    },
}
# Colours that are on their way would be measured half-way.
FIND = """async () => {
  document.getAnimations().forEach((animation) => { try { animation.finish(); } catch (endless) { animation.cancel(); } });
  const { violations } = await axe.run(document, { resultTypes: ['violations'] });
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).slice(0, 3).join(' | ')}`);
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm ci)")
    with dev_service(tmp_path_factory.mktemp("dev")) as running_service:
        yield running_service


@pytest.fixture(params=LOOKS)
def context(request, browser):  # noqa: F811 - the fixture
    context = browser.new_context(reduced_motion="reduce", **LOOKS[request.param])
    context.set_default_timeout(WAIT_MS)
    script = official_script("1.6.0")
    context.route(
        "https://res*.wx.qq.com/**", lambda route: route.fulfill(body=script, content_type="text/javascript")
    )
    yield context
    context.close()


def serious(page: Page) -> list[str]:
    """Return what axe finds serious or critical on a page, in the sandbox's layer too."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(FIND)
    return found


def test_axe_finds_nothing_serious_on_any_page(context, service):
    page, found = context.new_page(), {}
    for address in (*(f"{service.url}{path}" for path in PAGES), f"{service.sandbox_url}/sandbox/"):
        page.goto(address)
        if "probe" in address:
            page.wait_for_selector("html[data-probe]", state="attached")
        found[address] = serious(page)
    assert {address: faults for address, faults in found.items() if faults} == {}


def test_axe_finds_nothing_serious_on_the_demo_when_it_is_green_or_red_and_in_the_panel(context, service):
    page = context.new_page()
    page.goto(f"{service.url}/demo?a=%2500")
    page.wait_for_selector("html[data-wxsign-state=ready]", state="attached")
    page.click("[data-api=getNetworkType]")
    page.click("[data-api=getLocalImgData]")
    found = {"green": serious(page)}
    page.click("wxsign-sandbox .menu")
    found["panel"] = serious(page)
    page.keyboard.press("Escape")
    page.click("[data-api=scanQRCode]")
    found["sheet"] = serious(page)
    context.route("**/bridge.js", lambda route: route.abort())
    page.goto(f"{service.url}/demo")
    page.wait_for_selector("html[data-wxsign-state=error]", state="attached")
    found["red"] = serious(page)
    assert {state: faults for state, faults in found.items() if faults} == {}


def test_axe_finds_nothing_serious_in_the_console(context, desk):  # noqa: F811 - the fixture
    _, url = desk
    page = context.new_page()
    page.goto(url)
    found = {"login": serious(page)}
    enter(page)
    page.wait_for_selector("main.console")
    found["overview"] = serious(page)
    page.goto(f"{url}/token")
    found["token"] = serious(page)
    assert {state: faults for state, faults in found.items() if faults} == {}


def test_axe_would_find_a_page_without_a_name_or_words_too_pale(context, service):
    page = context.new_page()
    page.goto(f"{service.url}/")
    page.evaluate(
        "() => { document.title = ''; document.querySelector('h1').style.color = 'rgba(128, 128, 128, .4)'; }"
    )
    assert [fault.partition(":")[0] for fault in serious(page)] == ["color-contrast", "document-title"]
