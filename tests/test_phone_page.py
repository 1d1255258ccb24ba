"""`wxsign dev --page`: somebody's own page in the sandbox's phone, and beside it what each wx.config of it was, in Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode, urlsplit

import pytest
from at_sandbox import on_a_port
from playwright.sync_api import expect
from sandbox_desk import Desk
from test_axe_page import serious
from test_demo_page import browser, visit  # noqa: F401 - fixtures
from werkzeug.wrappers import Request, Response

from wxsign.accounts import HostRule
from wxsign.commands.dev import DevServer, Plan
from wxsign.signing import parse_page_url

pytestmark = pytest.mark.fleet

PAGE = """<!doctype html><title>own</title><script src="{bridge}"></script>
<script src="{service}/static/wxsign.js"></script><script>wxsign.ready({{ openTagList: ['wx-open-subscribe'] }});</script>
<wx-open-subscribe template="a"><script type="text/wxtag-template"><button>subscribe</button></script></wx-open-subscribe>"""

# No script of its own inside, as a strict policy has it.
STRICT = """<!doctype html><title>strict</title><script src="{bridge}"></script>
<script src="{service}/static/wxsign.js" data-wxsign-auto></script><p>strict</p>"""


@pytest.fixture
def phone(visit):  # noqa: F811 - the fixture
    """A service that was told of the page, and the phone that shows it."""
    pages, policy = {}, {}

    @Request.application
    def application(request):
        headers = policy if request.path == "/strict" else None
        return Response(pages.get(request.path, ""), content_type="text/html", headers=headers)

    with on_a_port(application) as origin:
        own = origin.replace("127.0.0.1", "localhost") + "/own?a=1"
        with DevServer(Plan("127.0.0.1", 0, 0, page=own)) as server:
            pages["/own"] = PAGE.format(bridge=server.bridge_src, service=server.plan.origin)

            pages["/strict"] = STRICT.format(bridge=server.bridge_src, service=server.plan.origin)

            def opened(url=server.phone_url, **options):
                seen = visit(url, locale="en-US", viewport={"width": 1200, "height": 900}, **options)
                return seen.page, seen.page.frame_locator("#screen")

            yield SimpleNamespace(server=server, own=own, opened=opened, policy=policy)


def test_each_config_of_the_page_stands_beside_it_with_route_url_signature_and_verdict(phone):
    page, screen = phone.opened()
    first = page.locator("#configs li[data-state=success]")
    expect(first).to_contain_text("/own?a=1")
    expect(first).to_contain_text(f"compared  {phone.own}")
    expect(first).to_contain_text("signature  ")
    expect(screen.locator("wx-open-subscribe")).to_be_visible()
    route = "(url) => { history.pushState(null, '', url); return wxsign.ready().then(() => 'ok', ({ code }) => code); }"
    assert page.frames[1].evaluate(route, "/own?a=2#part") == "ok"
    expect(page.locator("#route")).to_have_text(phone.own.replace("a=1", "a=2#part"))
    expect(page.locator("#configs li")).to_have_count(2)
    # wxsign.js asks the bridge itself where WeChat's script would tell the old verdict: the same signature twice.
    expect(page.locator("#configs li").first).to_contain_text("/own?a=2#part ×2")
    page.frames[1].evaluate(
        "() => wx.config(Object.assign({}, { appId: 'wxsandbox000000001', timestamp: 1, nonceStr: 'n', signature: '0'.repeat(40), jsApiList: ['scanQRCode'] }))"
    )
    refused = page.locator("#configs li[data-state=fail]")
    expect(refused).to_contain_text("invalid signature: ")
    expect(page.locator("#no-bridge")).to_be_hidden()
    assert serious(page) == []


def test_a_page_without_the_bridge_is_told_of_the_line_that_is_missing(phone):
    bare = (
        phone.server.phone_url.partition("?")[0]
        + "?"
        + urlencode({"page": phone.own.replace("own?a=1", "bare")})
    )
    page, _ = phone.opened(bare)
    expect(page.locator("#no-bridge")).to_be_visible()
    expect(page.locator("#no-bridge")).to_contain_text(
        f'<script src="http://localhost:{phone.server.plan.sandbox_port}/sandbox/bridge.js"></script>'
    )


def test_the_start_page_and_the_sandbox_s_page_lead_to_the_phone(phone, visit):  # noqa: F811 - the fixture
    page, _ = phone.opened(f"{phone.server.plan.origin}/")
    page.click("a:has-text('/sandbox/phone')")
    expect(page.locator("#configs li[data-state=success]")).to_have_count(1)
    page.goto(f"{phone.server.sandbox_origin}/sandbox/")
    page.fill("input[name=page]", phone.own)
    page.click("button:has-text('Open')")
    expect(page.locator("#configs li[data-state=success]")).to_have_count(1)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "/relative", "data:text/html,x", "http:///x", ""])
def test_what_is_no_address_of_the_web_is_shown_in_no_phone(address):
    answer = Desk().client.get("/sandbox/phone", query_string={"page": address})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("page", ["http://localhost:5173/", "http://app.test:5173/shop"])
def test_a_page_is_shown_under_its_own_loopback_name_and_its_host_is_signed(page):
    parsed = parse_page_url(page)
    rules = (HostRule(parsed.host, parsed.port),)
    with DevServer(Plan("127.0.0.1", 0, 0, allowed_hosts=rules, page=page)) as server:
        assert server.service.jsconfig(page).url == page
        host = urlsplit(server.phone_url).hostname
        assert host == ("localhost" if "localhost" in page else "127.0.0.1")


def documented_policy(server):
    """The policy of docs/developing.md, with the addresses of this service and this sandbox."""
    text = (Path(__file__).parent.parent / "docs/developing.md").read_text(encoding="utf-8")
    (policy,) = re.findall(r"```\n(default-src.*?)```", text, flags=re.DOTALL)
    ports = {"127.0.0.1:8000": server.plan.origin[7:], "127.0.0.1:8001": server.sandbox_origin[7:]}
    return re.sub(r"127\.0\.0\.1:800[01]", lambda found: ports[found[0]], " ".join(policy.split()))


def test_a_page_with_the_documented_policy_turns_green_and_its_panel_works(phone, visit):  # noqa: F811
    phone.policy["Content-Security-Policy"] = documented_policy(phone.server)
    seen = visit(phone.own.replace("/own", "/strict"), locale="en-US", viewport={"width": 800, "height": 800})
    assert seen.state() == "ready"
    seen.page.click("wxsign-sandbox .menu")
    expect(seen.page.locator("wxsign-sandbox .verdict .accepted")).to_be_visible()
    assert seen.page.locator("wxsign-sandbox .panel").bounding_box()["width"] == 480
    assert (seen.blocked(), seen.errors) == ([], [])
