"""The field probe in Chromium: what it finds out of the sandbox is what the sandbox does."""

import json
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from test_demo_page import ANDROID, WAIT_MS, browser, service  # noqa: F401 - fixtures
from test_routes_page import IPHONE

pytestmark = pytest.mark.fleet


def probed(context, service):  # noqa: F811 - the fixture
    page = context.new_page()
    page.goto(f"{service.url}/demo?probe=1")
    page.wait_for_selector("html[data-probe]")
    return json.loads(page.locator("#probe-report").input_value())


@pytest.mark.parametrize(
    ("agent", "pushed"),
    [
        (ANDROID, {"pushed_present": "ok", "pushed_landing": "refused"}),
        (IPHONE, {"pushed_present": "refused", "pushed_landing": "ok"}),
    ],
    ids=["Android", "iPhone"],
)
def test_it_tells_which_url_is_compared_and_on_a_second_visit_of_an_old_signature(
    browser,  # noqa: F811 - the fixture
    service,  # noqa: F811
    agent,
    pushed,
):
    context = browser.new_context(user_agent=agent)
    context.set_default_timeout(WAIT_MS)
    found = {name: words(said) for name, said in probed(context, service)["answers"].items()}
    assert found == {"present": "ok", "again": "ok"} | pushed
    second = probed(context, service)
    assert second["answers"]["earlier"].startswith("preVerifyJSAPI:ok")
    assert second["earlier_seconds"] >= 0
    assert second["earlier_ticket"] == "present"
    text = json.dumps(second)
    assert "signature" not in text.replace("invalid signature", "")
    assert "127.0.0.1" not in text
    context.close()


def test_a_refusal_for_a_ticket_that_was_replaced_is_told_from_one_for_an_old_timestamp(browser, service):  # noqa: F811
    context = browser.new_context(user_agent=ANDROID)
    context.set_default_timeout(WAIT_MS)
    probed(context, service)
    service.sandbox("rotate", appid=service.app_id(), credential="jsapi_ticket")
    make_the_service_look(service)
    second = probed(context, service)
    assert words(second["answers"]["present"]) == "ok"
    assert second["answers"]["earlier"].startswith("preVerifyJSAPI:fail")
    assert second["earlier_ticket"] == "replaced"
    context.close()


def make_the_service_look(service):  # noqa: F811
    """Report a page as refused, as wxsign.js does."""
    with urlopen(f"{service.url}/jsconfig?{urlencode({'url': f'{service.url}/demo'})}") as answer:
        config = json.load(answer)
    report = {name: config[name] for name in ("url", "timestamp", "nonceStr", "signature")}
    body = json.dumps(report | {"errMsg": "config:invalid signature"}).encode()
    with urlopen(f"{service.url}/report", body) as answer:
        assert json.load(answer)["retry"]


def words(said):
    return {"preVerifyJSAPI:ok": "ok", "preVerifyJSAPI:fail_invalid signature": "refused"}.get(said, said)
