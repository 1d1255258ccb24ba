"""Pages for everybody: axe finds nothing serious on any page of ours, in both languages, light and dark, on a phone and a desk."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_demo_page import browser, dev_service  # noqa: F401 - a fixture

pytestmark = pytest.mark.fleet

AXE = (Path(__file__).parent.parent / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
PAGES = ("/", "/demo", "/demo?probe=1", "/diagnose", "/docs/api")
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
SERIOUS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ['violations'] });
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).slice(0, 3).join(' | ')}`);
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with dev_service(tmp_path_factory.mktemp("dev")) as service:
        yield service


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious_on_any_page(browser, service, look):  # noqa: F811 - the fixture
    context = browser.new_context(**LOOKS[look])
    found = {}
    for address in (*(service.url + path for path in PAGES), f"{service.sandbox_url}/sandbox/"):
        page = context.new_page()
        page.goto(address)
        page.wait_for_timeout(300)
        page.evaluate(AXE)
        if serious := page.evaluate(SERIOUS):
            found[address.partition("//")[2].partition("/")[2]] = serious
    context.close()
    assert found == {}
