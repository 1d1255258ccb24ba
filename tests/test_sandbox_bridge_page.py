"""The bridge in Chromium, as each of its clients and as strict as WeChat: WeChat's unmodified script in both revisions, and the stand-in."""

from __future__ import annotations

import json
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from at_sandbox import on_a_port, service_at
from flask import Flask, Response, request
from playwright.sync_api import sync_playwright
from test_demo_page import ANDROID, CHROMIUM_ARGUMENTS, WAIT_MS, official_script

from wxsign import sandbox
from wxsign.accounts import LOOPBACK, OfficialAccount
from wxsign.sandbox.settings import MODES
from wxsign.web import create_app

pytestmark = pytest.mark.fleet

SCRIPTS = ("1.6.0", "later revision", "stand-in")
OFFICIAL_AND_OURS = ("1.6.0", "stand-in")
# `?sign` names a URL that is signed in the page's place, `?also` one more interface, `?tag` the only open tag.
PAGE = """<!doctype html><meta charset="utf-8"><title>an app</title><script>
  window.verdicts = [];
  window.heard = [];
  document.addEventListener('wxsign:verdict', (event) => window.verdicts.push(event.detail));
  window.shares = [];
  document.addEventListener('wxsign:share', (event) => window.shares.push(event.detail));
  window.tagErrors = [];
  document.addEventListener('WeixinOpenTagsError', (event) => window.tagErrors.push(event.detail.errMsg));
</script><script src="{bridge}"></script><script src="{script}"></script><script>
  const asked = new URLSearchParams(location.search);
  const url = asked.get('sign') || location.href;
  wx.error((res) => window.heard.push(res.errMsg));
  window.signed = fetch('/jsconfig?url=' + encodeURIComponent(url)).then((response) => response.json());
  window.settled = signed.then((config) => new Promise((resolve) => {{
    wx.ready(() => resolve(window.heard));
    if (asked.has('also')) config.jsApiList.push(asked.get('also'));
    if (asked.has('tag')) config.openTagList = [asked.get('tag')];
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
        asked = {
            key: request.args[key] for key in ("mode", "rule", "delay_ms", "mock") if key in request.args
        }
        bridge = f"{sandbox_url}/sandbox/bridge.js?" + urlencode(asked)
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
    with (
        service_at(wechat.url, accounts=(account,), clients=()) as service,
        on_a_port(application(service, wechat.url)) as url,
    ):
        yield url


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
        page.goto(f"{site}/app/{name}?" + urlencode(query))
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
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "none"])
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


def test_where_no_bridge_comes_nothing_is_ever_answered_and_wxsign_js_says_that(opened):
    page = opened("tag", mode="none")
    assert page.evaluate("typeof WeixinJSBridge") == "undefined"
    assert page.evaluate("wxsign.ready({ timeoutMs: 1500 }).catch(({ code }) => code)") == "no_answer"


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


# As strict as WeChat.

WEAPP = """<wx-open-launch-weapp username="gh_0123456789ab" path="pages/index.html">
  <script type="text/wxtag-template"><style>.go { color: rgb(1, 2, 3); }</style><b class="go">go</b></script>
</wx-open-launch-weapp>"""


def put(page, markup):
    """Add a tag to the page, and note each event of it."""
    page.evaluate(
        """(markup) => {
          document.body.insertAdjacentHTML('beforeend', markup);
          window.tag = document.body.lastElementChild;
          window.told = [];
          ['ready', 'launch', 'success', 'play', 'error'].forEach((name) => tag.addEventListener(name, ({ type, detail }) => told.push([type, detail])));
          return new Promise((done) => setTimeout(done, 10));
        }""",
        markup,
    )


def test_an_open_tag_is_drawn_with_a_label_and_can_be_tapped(opened):
    page = opened("hand")
    put(page, WEAPP)
    heard(page)
    page.wait_for_function("() => tag.shadowRoot")
    page.click("wx-open-launch-weapp .go")
    assert page.evaluate("told") == [["ready", {}], ["launch", {}]]
    assert "sandbox" in page.locator("wx-open-launch-weapp .label").inner_text()
    colour = "getComputedStyle(tag.shadowRoot.querySelector('.go')).color"
    assert page.evaluate(colour) == "rgb(1, 2, 3)"
    assert page.evaluate("tagErrors") == []


def test_no_open_tag_is_drawn_before_a_config_was_accepted(opened):
    page = opened("hand", sign="http://127.0.0.1/other")
    assert heard(page) == ["config:invalid signature"]
    put(page, WEAPP)
    assert page.evaluate("[tag.shadowRoot, told]") == [None, []]


def test_a_subscription_tells_each_template_of_the_tag(opened):
    page = opened("hand")
    heard(page)
    put(page, '<wx-open-subscribe template="one,two"><template><b>yes</b></template></wx-open-subscribe>')
    page.click("wx-open-subscribe b")
    (_, (name, detail)) = page.evaluate("told")
    assert (name, detail["errMsg"]) == ("success", "subscribe:ok")
    assert {key: json.loads(value) for key, value in json.loads(detail["subscribeDetails"]).items()} == {
        "one": {"status": "accept"},
        "two": {"status": "accept"},
    }


def test_an_open_tag_loses_its_right_when_the_page_s_url_changes_and_has_it_again_after_another_config(
    opened,
):
    page = opened("hand")
    put(page, WEAPP)
    heard(page)
    page.wait_for_function("() => tag.shadowRoot")
    page.evaluate("() => history.pushState({}, '', '/app/hand/route')")
    page.click("wx-open-launch-weapp .go")
    (_, (name, detail)) = page.evaluate("told")
    assert (name, detail["errMsg"]) == (
        "error",
        "wx-open-launch-weapp:fail the page’s URL has changed since wx.config: call it again",
    )
    put(page, WEAPP)
    assert "call it again" in page.evaluate("tagErrors.at(-1)"), "nor is a new one drawn"
    page.evaluate(
        """async () => {
          const config = await (await fetch('/jsconfig?url=' + encodeURIComponent(location.href))).json();
          wx.config(config);
        }"""
    )
    page.wait_for_function("() => tag.shadowRoot")


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("<wx-open-launch-app></wx-open-launch-app>", "missing attribute appid"),
        (WEAPP, "not in openTagList"),
    ],
)
def test_an_open_tag_that_cannot_work_is_an_event_of_the_document(opened, markup, words):
    page = opened("hand", **({"tag": "wx-open-audio"} if markup == WEAPP else {}))
    heard(page)
    put(page, markup)
    page.wait_for_function("() => tagErrors.length > 0")
    assert words in page.evaluate("tagErrors[0]")
    assert page.evaluate("tag.shadowRoot") is None


def share(page, item="Send to Chat"):
    """Share by WeChat's menu; returns what the friend gets, and the remarks."""
    page.click("wxsign-sandbox .menu")
    page.click(f'wxsign-sandbox .sheet button:has-text("{item}")')
    page.click("wxsign-sandbox .card")
    return page.evaluate("shares.at(-1)")


PICTURE = "https://127.0.0.1/a.png"


@pytest.mark.parametrize("script", OFFICIAL_AND_OURS)
def test_a_good_card_is_sent_as_it_is(opened, site, script):
    page = opened("hand", script=script)
    heard(page)
    card = {"title": "t", "desc": "d", "link": f"{site}/app/hand?a=1", "imgUrl": PICTURE}
    assert call(page, "updateAppMessageShareData", **card)["errMsg"] == "updateAppMessageShareData:ok"
    assert share(page) == {"card": card, "remarks": []}


@pytest.mark.parametrize(
    ("changed", "sent", "remarks"),
    [
        ({"link": "https://foreign.example/"}, {"title": "an app", "imgUrl": ""}, ["foreign_link"]),
        ({"link": "/app/other"}, {"title": "an app", "imgUrl": ""}, ["relative_link"]),
        ({"imgUrl": "/a.png"}, {"title": "t", "imgUrl": ""}, ["unusable_picture"]),
        ({"imgUrl": "data:image/png;base64,AA"}, {"title": "t", "imgUrl": ""}, ["unusable_picture"]),
        ({"title": " ", "desc": ""}, {"title": "an app"}, ["no_title", "no_desc"]),
    ],
)
def test_a_card_that_wechat_would_change_is_shown_as_it_would_and_remarked(
    opened, site, changed, sent, remarks
):
    page = opened("hand")
    heard(page)
    card = {"title": "t", "desc": "d", "link": f"{site}/app/hand?a=1", "imgUrl": PICTURE} | changed
    refused = "link" in changed
    told = call(page, "updateAppMessageShareData", **card)
    assert told["errMsg"] == f"updateAppMessageShareData:{'fail' if refused else 'ok'}"
    shared = share(page)
    assert shared["card"] == shared["card"] | sent
    assert shared["remarks"] == remarks
    assert shared["card"]["link"] == (page.url if refused else card["link"])


@pytest.mark.parametrize("script", OFFICIAL_AND_OURS)
def test_the_card_of_an_old_menu_call_is_judged_alike(opened, script):
    page = opened("hand", script=script)
    heard(page)
    page.evaluate(
        "() => { window.told = new Promise((done) => wx.onMenuShareTimeline({ title: 't', link: 'https://foreign.example/', complete: (res) => done(res.errMsg) })); }"
    )
    assert share(page, "Share on Moments")["remarks"] == ["foreign_link"]
    assert page.evaluate("told") == "shareTimeline:fail", "so WeChat's script names it"


def test_a_payment_by_the_bridge_itself_needs_no_config_and_one_by_wechat_s_script_does(opened):
    page = opened("hand", sign="http://127.0.0.1/other")
    heard(page)
    order = {"timeStamp": "1", "nonceStr": "n", "package": "prepay_id=1", "signType": "RSA", "paySign": "s"}
    page.evaluate(
        """(order) => {
          window.paid = new Promise((done) => WeixinJSBridge.invoke('getBrandWCPayRequest', order, (res) => done(res.err_msg)));
        }""",
        order,
    )
    page.click('wxsign-sandbox .sheet button:has-text("Paid")')
    assert page.evaluate("paid") == "get_brand_wcpay_request:ok"
    refused = call(page, "chooseWXPay", timestamp=1, nonceStr="n", package="prepay_id=1", paySign="s")
    assert refused["errMsg"] == "chooseWXPay:the permission value is offline verifying"


def test_a_payee_confirms_a_merchant_s_transfer(opened):
    page = opened("hand")
    heard(page)
    known = call(page, "checkJsApi", jsApiList=["requestMerchantTransfer"])
    assert known["checkResult"] == {"requestMerchantTransfer": True}
    page.evaluate(
        """() => { window.moved = new Promise((done) => WeixinJSBridge.invoke('requestMerchantTransfer',
          { mchId: '1', appId: 'wx0', package: 'p' }, (res) => done(res.err_msg))); }"""
    )
    page.click('wxsign-sandbox .sheet button:has-text("Accept")')
    assert page.evaluate("moved") == "requestMerchantTransfer:ok"


@pytest.mark.parametrize("script", OFFICIAL_AND_OURS)
@pytest.mark.parametrize("mode", ["wechat", "harmonyos"])
def test_a_chosen_picture_can_be_shown_by_its_local_id(opened, mode, script):
    page = opened("hand", mode=mode, script=script)
    heard(page)
    page.evaluate("() => { window.chosen = call('chooseImage', { count: 1 }); }")
    page.click('wxsign-sandbox .sheet button:has-text("Take Photo")')
    page.evaluate(
        """async () => {
          const { localIds: [src] } = await window.chosen;
          document.body.append(Object.assign(document.createElement('img'), { id: 'chosen', src }));
        }"""
    )
    page.wait_for_function("() => document.querySelector('#chosen').naturalWidth === 480")


def test_an_interface_that_only_the_page_s_owner_knows_answers_what_he_says(opened):
    mock = json.dumps({"openLuckyBag": {"bag": 7}, "geoLocation": "fail_no signal"})
    page = opened("hand", mock=mock, also="openLuckyBag")
    heard(page)
    assert call(page, "getLocation")["errMsg"] == "getLocation:no signal"
    asked = "new Promise((done) => wx.invoke('openLuckyBag', {}, done))"
    assert page.evaluate(asked) == {"err_msg": "openLuckyBag:ok", "bag": 7}
    assert opened("hand").evaluate(f"settled.then(() => {asked})")["err_msg"] == "system:function_not_exist"


def test_a_page_that_goes_to_wechat_s_own_address_to_log_in_comes_back_with_a_code(opened, site):
    page = opened("hand")
    heard(page)
    query = urlencode(
        {
            "appid": sandbox.DEFAULT_APPID,
            "redirect_uri": f"{site}/app/hand",
            "response_type": "code",
            "scope": "snsapi_base",
            "state": "s",
        }
    )
    page.evaluate(
        "address => { location.href = address; }",
        f"https://open.weixin.qq.com/connect/oauth2/authorize?{query}#wechat_redirect",
    )
    page.wait_for_url("**/app/hand?code=*&state=s")
    assert heard(page) == []


def test_what_is_triggered_on_the_sandbox_s_page_happens_to_pages(opened, browser, wechat):
    page = opened("hand")
    assert heard(page) == []
    control = browser.new_page()
    control.goto(f"{wechat.url}/sandbox/?lang=en")
    with control.expect_response("**/sandbox/trigger"):
        control.click('button:has-text("ticket-rotated")')
    control.close()
    page.evaluate("settled.then(async () => wx.config(await signed))")
    page.wait_for_function("() => verdicts.length > 1")
    refused = page.evaluate("verdicts[1]")
    assert refused["errMsg"] == "preVerifyJSAPI:fail_invalid signature"
    assert "no longer valid" in refused["message"]


def test_the_sandbox_s_page_says_what_its_calls_show(browser, wechat):
    query = f"grant_type=client_credential&appid={sandbox.DEFAULT_APPID}&secret={sandbox.DEFAULT_SECRET}"
    for _ in range(3):
        urlopen(f"{wechat.url}/cgi-bin/token?{query}").close()
    control = browser.new_page()
    control.goto(f"{wechat.url}/sandbox/?lang=zh")
    control.wait_for_selector('#remarks li:has-text("在一分钟内调用了 3 次 token")')
    control.close()
