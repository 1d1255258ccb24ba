"""The console in Chromium, on a phone and in the dark: log in, see, refresh, try an AppSecret, leave; nothing stays behind."""

import re

import pytest
from at_sandbox import APP_IDS, SECRET, control, on_a_port, wechat
from playwright.sync_api import expect, sync_playwright
from test_console import KEY, serving, version_of
from test_demo_page import CHROMIUM_ARGUMENTS, PHONE, WATCH

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture(scope="module")
def browser(require_program):
    path = require_program("chromium")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def desk(sandbox):
    with serving(sandbox) as (service, client), on_a_port(client.application) as origin:
        yield service, f"{origin}/console"
    control(sandbox, "faults/clear")


def opened(browser, url, **options):
    context = browser.new_context(**(PHONE | options))
    context.set_default_timeout(15_000)
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(url)
    return page


def enter(page):
    page.fill("input[name=key]", KEY)
    page.click("form button")


def test_a_person_logs_in_sees_the_status_refreshes_and_leaves(desk, browser):
    service, url = desk
    service.jsconfig("https://m.example.com/")
    page = opened(browser, url, color_scheme="dark")
    enter(page)
    expect(page.locator("h1")).to_have_text(re.compile("一切正常"))
    expect(page.get_by_text(APP_IDS["shop"])).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 17)"
    assert page.evaluate("blocked") == []
    page.click("button[formaction$='/accounts/shop/refresh']")
    expect(page.locator(".said")).to_have_text(re.compile("shop：unchanged, unchanged|shop：refreshed"))
    page.click("form[action$=logout] button")
    expect(page.locator("input[name=key]")).to_be_visible()
    page.goto(url)
    expect(page.locator("input[name=key]")).to_be_visible()


def test_the_console_renews_itself_where_that_is_asked_for_and_not_by_itself(desk, browser):
    _, url = desk
    page = opened(browser, url, locale="en-US")
    enter(page)
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)
    page.click("text=Renew every 30 seconds")
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(1)
    page.click("text=stop that")
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)


def test_the_token_page_tells_right_wrong_and_missing_apart_and_keeps_nothing(desk, browser):
    service, url = desk
    page = opened(browser, url, locale="en")
    enter(page)
    page.click("a[href$='/console/token']")

    def fetch(app_id, secret):
        page.fill("input[name=app_id]", app_id)
        page.fill("input[name=app_secret]", secret)
        page.click("form button")

    fetch("", SECRET)
    expect(page.locator(".said")).to_contain_text("The AppID is missing")
    fetch(APP_IDS["shop"], "e" * 32)
    expect(page.locator(".said")).to_contain_text("AppSecret")
    fetch(APP_IDS["shop"], SECRET)
    token = page.locator("#granted small").inner_text()
    assert token == service.access_token("shop").value
    assert page.locator("input[name=app_secret]").input_value() == ""
    assert SECRET not in page.content() + page.url
    page.click("a[href$='/console']")
    assert token not in page.content() + page.url
    assert page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0
    # The cookie is no script's.
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("blocked") == []


def test_a_fault_is_on_the_page_with_its_remedy_and_since_when(desk, browser, sandbox):
    service, url = desk
    control(sandbox, "faults", endpoint="stable_token", kind="errcode", errcode=40125, times=None)
    service.refresh("shop")
    page = opened(browser, url, locale="en", viewport={"width": 1280, "height": 900})
    enter(page)
    expect(page.locator("h1")).to_contain_text("1 fault")
    cell = page.locator(".cell", has_text="invalid_secret").first
    expect(cell).to_contain_text("shop")
    expect(cell).to_contain_text("since")


def test_another_sites_form_reaches_nothing(desk, browser):
    service, url = desk
    page = opened(browser, url)
    enter(page)
    expect(page.locator("h1")).to_be_visible()
    before = version_of(service)
    evil = f'<form method="post" action="{url}/accounts/shop/refresh"><button>x</button></form>'
    with on_a_port(
        lambda _environ, start: (start("200 OK", [("Content-Type", "text/html")]), [evil.encode()])[1]
    ) as other:
        page.goto(other.replace("127.0.0.1", "localhost"))
        page.click("button")
        # SameSite=Strict: the cookie did not come along.
        expect(page.locator("input[name=key]")).to_be_visible()
    assert version_of(service) == before
