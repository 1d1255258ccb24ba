"""The demo page in Chromium: WeChat's unmodified script, the sandbox's bridge and the real service, on loopback only."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright
from running import answers, free_ports, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, Route

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parent.parent
SDK_1_6_0 = ROOT / "node_modules/weixin-js-sdk/index.original.js"
SDK_LATER = ROOT / "node_modules/weixin-js-sdk-latest/index.js"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 15_000
PHONE = {"viewport": {"width": 390, "height": 844}, "locale": "zh-CN"}
ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36"
GREEN, RED = "rgb(6, 127, 64)", "rgb(198, 47, 47)"
SETTLED = "html[data-wxsign-state=ready], html[data-wxsign-state=error]"
# Counts what the page's policy blocks, and what wxsign.js announces, from before the first script on.
WATCH = """
  window.blocked = [];
  document.addEventListener('securitypolicyviolation', (event) => window.blocked.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
# A page that uses WeChat's script by hand, without wxsign.js: an oracle of its own.
BY_HAND = """<!doctype html><title>by hand</title><script src="{bridge}"></script>
<script src="https://res.wx.qq.com/open/js/jweixin-1.6.0.js"></script><script>
  window.calls = [];
  wx.error((res) => calls.push(res.errMsg));
  wx.ready(() => {{ calls.push('ready'); document.documentElement.dataset.done = ''; }});
  fetch('{service}/jsconfig?url=' + encodeURIComponent(location.href.split('#')[0])).then((response) => response.json())
    .then((config) => wx.config(Object.assign(config, {overrides})));
</script>"""


@dataclass(frozen=True)
class Service:
    """A running `wxsign dev`."""

    url: str
    sandbox_url: str

    def sandbox(self, control: str, **fields: object) -> None:
        """Use one of the sandbox's controls."""
        request = urllib.request.Request(
            f"{self.sandbox_url}/sandbox/{control}",
            data=json.dumps(fields).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def app_id(self) -> str:
        """Return the AppID of the sandbox's first account."""
        with urllib.request.urlopen(f"{self.sandbox_url}/sandbox/state", timeout=10) as answer:
            account: dict[str, str] = json.load(answer)["accounts"][0]
        return account["appid"]


@dataclass
class Visit:
    """A page that was opened, what it printed, and which hosts of the world it asked."""

    page: Page
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def state(self) -> str | None:
        """Wait for the verdict of wxsign.js and return it."""
        self.page.wait_for_selector(SETTLED, state="attached")
        return self.page.get_attribute("html", "data-wxsign-state")

    def press(self, interface: str) -> Any:
        """Press the button of a JS interface; returns the place of its result."""
        self.page.click(f'[data-api="{interface}"]')
        return self.page.locator(f'.interface:has([data-api="{interface}"]) .result')

    def choose(self, label: str) -> None:
        """Choose an item of the sandbox's sheet."""
        self.page.click(f'wxsign-sandbox .sheet button:has-text("{label}")')

    def background(self, selector: str) -> str:
        """Return the colour behind an element."""
        colour: str = self.page.locator(selector).evaluate("node => getComputedStyle(node).backgroundColor")
        return colour

    def blocked(self) -> list[str]:
        """Return what the Content-Security-Policy has blocked."""
        blocked: list[str] = self.page.evaluate("() => window.blocked")
        return blocked


def official_script(revision: str) -> str:
    """Return WeChat's script as npm carries it; the later revision is CommonJS and needs its two globals set."""
    path = SDK_1_6_0 if revision == "1.6.0" else SDK_LATER
    if not path.exists():
        reason = "WeChat's script is not installed (npm ci)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    text = path.read_text()
    if revision == "1.6.0":
        return text
    return (
        f"(function (module) {{{text}\n;window.wx = window.jWeixin = module.exports;}})({{exports: {{}}}});"
    )


@contextmanager
def dev_service(folder: Path) -> Iterator[Service]:
    """Run `wxsign dev` until the block ends."""
    port, sandbox_port = free_ports(2)
    program = Path(sys.executable).with_name("wxsign")
    command = [program, "dev", "--port", str(port), "--sandbox-port", str(sandbox_port)]
    with running(
        command, lambda: answers(port) and answers(sandbox_port), log=folder / "dev.log", cwd=folder
    ):
        yield Service(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}")


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with dev_service(tmp_path_factory.mktemp("dev")) as running_service:
        yield running_service


@pytest.fixture(scope="module")
def browser(require_program) -> Iterator[Browser]:
    path = require_program("chromium")
    official_script("1.6.0")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    contexts: list[BrowserContext] = []

    def open_page(
        url: str, *, sdk="1.6.0", down=(), bridge=True, stand_in=True, report=True, **options
    ) -> Visit:
        context = browser.new_context(**(PHONE | options))
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(WATCH)
        visited = Visit(context.new_page())
        files = {"bridge.js": bridge, "jweixin.js": stand_in, "report": report}
        kept_back = [name for name, there in files.items() if not there]
        context.route("**/*", lambda route: deliver(route, visited, sdk, down, kept_back))
        visited.page.on("pageerror", lambda error: visited.errors.append(str(error)))
        # A script that never comes keeps the load event back, but not the page.
        visited.page.goto(url, wait_until="domcontentloaded" if sdk == "blackholed" else "load")
        return visited

    yield open_page
    for context in contexts:
        context.close()


def deliver(route: Route, visited: Visit, sdk: str, down: tuple[str, ...], kept_back: list[str]) -> None:
    """Let loopback through but for the files kept back, answer for Tencent's script hosts from npm, and let nothing else out.

    With `blackholed` as the sdk these hosts never answer.
    """
    address = urlsplit(route.request.url)
    official = address.hostname in {"res.wx.qq.com", "res2.wx.qq.com"}
    if address.hostname in {"127.0.0.1", "localhost"} and address.path.rpartition("/")[2] not in kept_back:
        route.continue_()
    elif official and sdk == "blackholed":
        visited.outside.append(address.hostname or "")
    elif address.hostname in {"res.wx.qq.com", "res2.wx.qq.com"} - set(down):
        visited.outside.append(address.hostname)
        route.fulfill(body=official_script(sdk), content_type="text/javascript")
    else:
        visited.outside.append(address.hostname or "")
        route.abort()


@pytest.fixture
def site(httpserver) -> Callable[[str], str]:
    """Put a page on a site of its own, as another system of the owner would; returns its URL."""

    def publish(html: str) -> str:
        httpserver.expect_request("/page").respond_with_data(html, content_type="text/html")
        url: str = httpserver.url_for("/page")
        return url

    return publish


def by_hand(service: Service, **overrides: object) -> str:
    """Return a page that calls wx.config itself, with some parameters of its own."""
    bridge = f"{service.sandbox_url}/sandbox/bridge.js"
    return BY_HAND.format(bridge=bridge, service=service.url, overrides=json.dumps(overrides))


@pytest.mark.parametrize("sdk", ["1.6.0", "later revision"])
def test_the_page_turns_green_and_interfaces_answer_under_a_strict_policy(service, visit, sdk):
    seen = visit(f"{service.url}/demo?name=%E4%B8%AD&a=1#part", sdk=sdk)

    assert seen.state() == "ready"
    expect(seen.page.locator(".verdict")).to_have_css("background-color", GREEN)
    expect(seen.page.locator("[data-step][data-state=done]")).to_have_count(4)
    expect(seen.press("checkJsApi")).to_contain_text('"scanQRCode": true')
    expect(seen.press("getNetworkType")).to_contain_text('"networkType": "wifi"')
    expect(seen.press("getLocation")).to_contain_text("getLocation:ok")
    assert (seen.blocked(), seen.errors, seen.outside) == ([], [], ["res.wx.qq.com"])


@pytest.mark.parametrize("agent", [None, ANDROID])
def test_where_wechats_hosts_never_answer_a_stand_in_turns_the_page_green_and_says_so(service, visit, agent):
    began = time.monotonic()
    seen = visit(f"{service.url}/demo", sdk="blackholed", **({"user_agent": agent} if agent else {}))

    assert seen.state() == "ready"
    assert time.monotonic() - began < 6
    since_start = seen.page.evaluate("() => performance.now()")
    assert since_start < 6000
    expect(seen.page.locator("wxsign-sandbox .line")).to_contain_text("替身")
    expect(seen.press("checkJsApi")).to_contain_text('"scanQRCode": true')
    expect(seen.press("getNetworkType")).to_contain_text('"networkType": "wifi"')
    expect(seen.press("getLocation")).to_contain_text("getLocation:ok")
    result = seen.press("chooseImage")
    seen.choose("拍照")
    expect(result).to_contain_text("weixin://resourceid/" if agent else "wxLocalResource://")
    result = seen.press("scanQRCode")
    seen.choose("取消")
    expect(result).to_contain_text("scanQRCode:cancel")
    result = seen.press("onMenuShareAppMessage")
    seen.page.click("wxsign-sandbox .menu")
    seen.choose("发送给朋友")
    expect(result).to_contain_text("sendAppMessage:ok")
    assert (seen.blocked(), seen.errors) == ([], [])


def test_the_stand_in_has_every_interface_of_wechats_script(service, visit):
    names = """() => Object.keys(wx).filter((name) => typeof wx[name] === 'function').sort()
        .concat(Object.keys(wx.miniProgram).sort())"""
    real = visit(f"{service.url}/demo")
    real.state()
    stand_in = visit(f"{service.url}/demo", down=("res.wx.qq.com", "res2.wx.qq.com"))
    stand_in.state()
    assert stand_in.page.evaluate(names) == real.page.evaluate(names)


@pytest.mark.parametrize("sdk", ["1.6.0", "later revision"])
def test_wechats_script_by_hand_calls_ready_and_not_error(service, visit, site, sdk):
    seen = visit(site(by_hand(service)) + "?a=1#part", sdk=sdk)

    seen.page.wait_for_selector("html[data-done]", state="attached")
    assert seen.page.evaluate("() => window.calls") == ["ready"]


def test_a_page_with_a_very_long_url_turns_green(service, visit):
    seen = visit(f"{service.url}/demo?q={'%25' * 900}")

    assert seen.state() == "ready"


def test_a_page_that_is_refused_because_the_ticket_was_replaced_turns_green_by_itself(tmp_path, visit):
    with dev_service(tmp_path) as service:
        assert visit(f"{service.url}/demo").state() == "ready"
        service.sandbox("rotate", appid=service.app_id(), credential="jsapi_ticket")
        seen = visit(f"{service.url}/demo")

        assert seen.state() == "ready"
        assert seen.blocked() == []


def test_a_ticket_made_invalid_under_the_page_turns_it_red_and_names_the_reason(tmp_path, visit):
    with dev_service(tmp_path) as service:
        assert visit(f"{service.url}/demo").state() == "ready"
        service.sandbox("rotate", appid=service.app_id(), credential="jsapi_ticket")
        # The service, which would look at once, is not told.
        seen = visit(f"{service.url}/demo", report=False)

        assert seen.state() == "error"
        expect(seen.page.locator(".verdict")).to_have_css("background-color", RED)
        expect(seen.page.locator("#verdict-words")).to_have_text("config:invalid signature")
        expect(seen.page.locator("#advice")).to_contain_text("ticket")
        expect(seen.press("getLocation")).to_contain_text("the permission value is offline verifying")


def test_outside_wechat_the_page_says_so(service, visit):
    seen = visit(f"{service.url}/demo", bridge=False, locale="en-US")

    assert seen.state() == "error"
    expect(seen.page.locator("#verdict-title")).to_have_text("Open this page in WeChat")
    expect(seen.page.locator("#verdict-text")).to_contain_text("not open in WeChat")
    expect(seen.press("scanQRCode")).to_contain_text("not in WeChat")


def test_the_backup_host_is_used_when_the_first_one_fails(service, visit):
    seen = visit(f"{service.url}/demo", down=("res.wx.qq.com",))

    assert seen.state() == "ready"
    assert seen.outside == ["res.wx.qq.com", "res2.wx.qq.com"]
    expect(seen.page.locator("[data-step=script] .step-note")).to_contain_text("https://res.wx.qq.com/")


def test_without_wechats_script_the_page_names_the_hosts_and_can_try_again(service, visit):
    seen = visit(f"{service.url}/demo", down=("res.wx.qq.com", "res2.wx.qq.com"), stand_in=False)

    assert seen.state() == "error"
    expect(seen.page.locator("#verdict-text")).to_contain_text("res.wx.qq.com, res2.wx.qq.com")
    seen.page.unroute_all()
    seen.page.context.route(
        "https://res*.wx.qq.com/**", lambda route: route.fulfill(body=official_script("1.6.0"))
    )
    seen.page.click("#again")
    expect(seen.page.locator("html")).to_have_attribute("data-wxsign-state", "ready")


@pytest.mark.parametrize("sdk", ["1.6.0", "later revision"])
def test_every_interface_of_wechats_script_has_a_button(service, visit, sdk):
    seen = visit(f"{service.url}/demo", sdk=sdk)
    seen.state()

    offered = seen.page.evaluate(
        """() => Object.keys(wx).filter((name) => typeof wx[name] === 'function')
            .concat(Object.keys(wx.miniProgram).map((name) => `miniProgram.${name}`))"""
    )
    buttons = seen.page.locator("[data-api]").evaluate_all("nodes => nodes.map((node) => node.dataset.api)")
    assert sorted(buttons) == sorted(set(offered) - {"config", "ready", "error", "invoke", "on"})


def test_a_chosen_picture_can_be_shown_uploaded_and_read(service, visit):
    seen = visit(f"{service.url}/demo")
    seen.state()

    result = seen.press("chooseImage")
    seen.choose("从相册选择")
    expect(result).to_contain_text("wxLocalResource://")
    expect(seen.press("getLocalImgData")).to_contain_text("data:image/jpeg")
    expect(seen.press("uploadImage")).to_contain_text('"serverId"')
    expect(seen.press("downloadImage")).to_contain_text("downloadImage:ok")


def test_a_sheet_that_is_cancelled_cancels_the_call(service, visit):
    seen = visit(f"{service.url}/demo")
    seen.state()

    result = seen.press("scanQRCode")
    seen.choose("取消")
    expect(result).to_contain_text("scanQRCode:cancel")


def test_a_share_from_the_menu_reaches_the_page(service, visit):
    seen = visit(f"{service.url}/demo")
    seen.state()

    result = seen.press("onMenuShareAppMessage")
    seen.page.click("wxsign-sandbox .menu")
    seen.choose("发送给朋友")
    expect(result).to_contain_text("sendAppMessage:ok")


def test_a_phone_emulated_by_the_browser_gets_answers_in_androids_shapes(service, visit):
    seen = visit(f"{service.url}/demo", user_agent=ANDROID)

    assert seen.state() == "ready"
    expect(seen.press("checkJsApi")).to_contain_text('"scanQRCode": true')
    result = seen.press("chooseImage")
    seen.choose("拍照")
    expect(result).to_contain_text("weixin://resourceid/")
    assert seen.outside == ["res.wx.qq.com"]


def test_an_interface_outside_the_verified_list_fails_as_in_wechat(service, visit, site):
    seen = visit(site(by_hand(service, jsApiList=["getNetworkType"])))
    seen.page.wait_for_selector("html[data-done]", state="attached")

    ask = "(name) => new Promise((resolve) => wx[name]({ complete: (res) => resolve(res.errMsg) }))"
    assert seen.page.evaluate(ask, "getNetworkType") == "getNetworkType:ok"
    assert seen.page.evaluate(ask, "getLocation") == "getLocation:the permission value is offline verifying"


def test_a_config_without_a_signature_fails_as_in_wechat(service, visit, site):
    seen = visit(site(by_hand(service, signature=None)))

    seen.page.wait_for_selector("html[data-done]", state="attached")
    assert seen.page.evaluate("() => window.calls") == ["config:fail", "ready"]


def test_the_bridge_leaves_the_real_wechat_alone(service, visit, site):
    agent = f"{ANDROID} MicroMessenger/8.0.49.2600(0x28003133) NetType/WIFI Language/zh_CN"
    seen = visit(site(by_hand(service)), user_agent=agent)

    assert seen.page.evaluate("() => [typeof window.WeixinJSBridge, navigator.userAgent]") == [
        "undefined",
        agent,
    ]


@pytest.mark.parametrize("query", ["?a=1", f"?q={'%25' * 900}"])
def test_a_script_tag_alone_makes_a_page_of_another_site_work(service, visit, site, query):
    bridge = f'<script src="{service.sandbox_url}/sandbox/bridge.js"></script>'
    page = site(f'{bridge}<script src="{service.url}/static/wxsign.js" data-wxsign-auto></script>')

    assert visit(page + query).state() == "ready"


def test_the_module_makes_a_page_of_another_site_work(service, visit, site):
    bridge = f'<script src="{service.sandbox_url}/sandbox/bridge.js"></script>'
    load = f"import {{ ready }} from '{service.url}/static/wxsign.mjs'; await ready();"

    assert visit(site(f'{bridge}<script type="module">{load}</script>')).state() == "ready"


@pytest.mark.parametrize(("scheme", "page", "sheet"), [("light", "237", "255"), ("dark", "17", "25")])
def test_the_page_follows_the_phones_dark_mode_and_fits_its_width(service, visit, scheme, page, sheet):
    seen = visit(f"{service.url}/demo", color_scheme=scheme)
    seen.state()

    assert seen.background("body") == f"rgb({page}, {page}, {page})"
    assert seen.background(".cells >> nth=1") == f"rgb({sheet}, {sheet}, {sheet})"
    assert seen.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
