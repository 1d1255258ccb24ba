"""Pages of every kind in Chromium, with WeChat's unmodified script: green by the tag alone, whichever URL WeChat compares."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import sync_playwright
from test_demo_page import ANDROID, CHROMIUM_ARGUMENTS, WAIT_MS, dev_service, official_script

pytestmark = pytest.mark.fleet

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
WECOM = f"{IPHONE} wxwork/4.1.20"
# Agent of the browser, and which of the pages below it opens.
PLATFORMS = {
    "Android": (ANDROID, ""),
    "iPhone": (IPHONE, ""),
    "WeCom": (WECOM, "current"),
    "HarmonyOS": (ANDROID, "harmonyos"),
    "DevTools": (ANDROID, "devtools"),
}
REVISIONS = ("1.6.0", "later revision")
BY_TAG = """<!doctype html><meta charset="utf-8"><title>an app</title><script>
  window.verdicts = [];
  document.addEventListener('wxsign:verdict', (event) => window.verdicts.push(event.detail));
</script><script src="{bridge}"></script><script src="/official.js"></script>
<script src="{service}/static/wxsign.js" data-wxsign-auto></script>"""
NAIVE = """<!doctype html><meta charset="utf-8"><title>naive</title><script>
  window.verdicts = [];
  document.addEventListener('wxsign:verdict', (event) => window.verdicts.push(event.detail));
</script><script src="{bridge}"></script><script src="/official.js"></script><script>
  window.sign = async () => {{
    const config = await (await fetch('{service}/jsconfig?url=' + encodeURIComponent(location.href.split('#')[0]))).json();
    wx.config(config);
  }};
</script>"""


class Site:
    """An app of its own on loopback: every path has the same page."""

    def __init__(self, pages):
        site = self
        self.pages = pages
        self.revision = REVISIONS[0]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                script = self.path.startswith("/official.js")
                name = next((name for name in site.pages if self.path.startswith(f"/{name}")), None)
                body = official_script(site.revision) if script else site.pages.get(name, "")
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/javascript" if script else "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with dev_service(tmp_path_factory.mktemp("dev")) as running_service:
        yield running_service


@pytest.fixture(scope="module")
def browser(require_program):
    path = require_program("chromium")
    official_script("1.6.0")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(service):
    pages = {}
    for name, query in (
        ("", ""),
        ("current", "?rule=current"),
        ("landing", "?rule=landing"),
        ("harmonyos", "?mode=harmonyos"),
        ("devtools", "?mode=devtools"),
    ):
        bridge = f"{service.sandbox_url}/sandbox/bridge.js{query}"
        pages[f"tag{name}"] = BY_TAG.format(bridge=bridge, service=service.url)
        pages[f"naive{name}"] = NAIVE.format(bridge=bridge, service=service.url)
    site = Site(dict(sorted(pages.items(), key=lambda entry: -len(entry[0]))))
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def opened(browser, site):
    """Open a page of the site with a platform's agent; nothing leaves loopback."""
    contexts = []

    def open_page(path, platform="Android", revision="1.6.0", locale="en"):
        agent, _ = PLATFORMS[platform]
        context = browser.new_context(user_agent=agent, locale=locale)
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        site.revision = revision
        page = context.new_page()
        page.goto(site.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()


def ready(page):
    """The URL that was accepted."""
    return page.evaluate("() => wxsign.ready().then(({ config }) => config.url)")


def asked(page):
    """How often the page has asked for a signature."""
    script = "() => performance.getEntriesByType('resource').filter(({ name }) => name.includes('/jsconfig')).length"
    return page.evaluate(script)


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_kind_of_page_is_green_by_the_tag_alone(opened, platform, revision):
    start = f"/tag{PLATFORMS[platform][1]}"
    page = opened(start + "/a?from=singlemessage&b=1%2B1&c=%E7%AD%BE#/first", platform, revision)
    ready(page)
    page.evaluate("() => { location.hash = '/second'; }")
    ready(page)
    assert asked(page) == 1, "a hash route is no other address"
    for route in range(5):
        page.evaluate("route => history.pushState({}, '', `/route/${route}?名=签`)", route)
        ready(page)
    assert asked(page) == (1 if platform == "iPhone" else 6)
    page.goto(f"{page.url.split('/route')[0]}{start}/b?code=061VqKFa1bcdefghijklmnopqrstuvwx&state=x")
    page.evaluate("() => history.replaceState({}, '', location.pathname)")
    ready(page)
    assert page.evaluate("() => window.verdicts.at(-1).accepted")


@pytest.mark.parametrize("milliseconds", [0, 5, 20, 50])
@pytest.mark.parametrize("platform", ["Android", "iPhone"])
def test_a_url_that_is_cleaned_while_ready_is_under_way_does_no_harm(opened, platform, milliseconds):
    page = opened("/tag/c?code=061VqKFa1bcdefghijklmnopqrstuvwx&state=x", platform)
    page.evaluate(
        "ms => { wxsign.ready(); setTimeout(() => history.replaceState({}, '', '/tag/c'), ms); return wxsign.ready(); }",
        milliseconds,
    )
    ready(page)


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en", "iPhones compare the URL that the page was opened at"),
        ("zh-CN", "iPhone 上比对的是页面打开时的地址"),
    ],
)
def test_a_page_that_signs_its_present_url_alone_is_red_where_the_landing_url_is_compared_and_told_so(
    opened, locale, words
):
    page = opened("/naive/first", "iPhone", locale=locale)
    page.evaluate("() => { history.pushState({}, '', '/naive/second'); return sign(); }")
    page.wait_for_function("() => window.verdicts.length > 0")
    verdict = page.evaluate("() => window.verdicts[0]")
    assert (verdict["accepted"], verdict["cause"], verdict["rule"]) == (False, "landing_url", "landing")
    assert words in verdict["message"]
    assert verdict["signedUrl"].endswith("/naive/second")
    assert verdict["comparedUrl"].endswith("/naive/first")
    page.reload()
    page.evaluate("() => sign()")
    page.wait_for_function("() => window.verdicts.length > 0")
    assert page.evaluate("() => window.verdicts[0].accepted"), (
        "a reload makes the present URL the landing URL"
    )


def test_the_rule_can_be_chosen_for_any_agent(opened):
    page = opened("/naivelanding/first")
    page.evaluate("() => { history.pushState({}, '', '/naivelanding/second'); return sign(); }")
    page.wait_for_function("() => window.verdicts.length > 0")
    assert page.evaluate("() => window.verdicts[0].cause") == "landing_url"


def test_an_app_s_http_client_with_headers_and_cookies_of_its_own_gets_its_signature(opened, service):
    page = opened("/naive/axios")
    status = page.evaluate(
        """async (service) => {
          const url = `${service}/jsconfig?url=${encodeURIComponent(location.href)}`;
          const headers = { token: 'x', Authorization: 'Bearer y', 'X-Requested-With': 'XMLHttpRequest' };
          const response = await fetch(url, { headers, credentials: 'include' });
          return [response.status, (await response.json()).appId.length > 0];
        }""",
        service.url,
    )
    assert status == [200, True]
