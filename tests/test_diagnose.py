"""`/diagnose` and `/report` of a service whose WeChat is the sandbox: named causes, healed pages, and nothing for a flood."""

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from urllib.request import urlopen

import pytest
from at_sandbox import APP_IDS, SECRET, accounts, control, service_at, verdict, wechat
from werkzeug.test import Client

from wxsign.commands.status import as_dict
from wxsign.errors import StoreUnavailable
from wxsign.http.diagnose import Bucket, Rates, TooManyDiagnosesError
from wxsign.outcomes import outcomes_of
from wxsign.signing import signature, string_to_sign
from wxsign.web import create_app

PAGE = "https://m.example.com/a?b=1"
REFUSED = "config:invalid signature"
IPHONE = "Mozilla/5.0 (iPhone) MicroMessenger/8.0"


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture
def service(sandbox):
    control(sandbox, "faults/clear")
    # None is warm, or their first calls would be counted as ours.
    quiet = tuple(replace(account, warm=False) for account in accounts())
    with service_at(sandbox.url, accounts=quiet) as service:
        yield service


@pytest.fixture
def client(service):
    return Client(create_app(service))


def config_of(client, page=PAGE):
    answer = client.get("/jsconfig", query_string={"url": page})
    assert answer.status_code == 200
    return answer.json


def diagnose(client, language="en", **fields):
    answer = client.post("/diagnose", json=fields, headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.json
    return answer.json


def wx_config(config):
    return {name: config[name] for name in ("appId", "timestamp", "nonceStr", "signature")}


def report(client, config, words=REFUSED, **more):
    fields = wx_config(config) | {"url": config["url"], "errMsg": words, "userAgent": IPHONE} | more
    return client.post("/report", data=json.dumps(fields), content_type="text/plain;charset=UTF-8")


def calls(sandbox):
    with urlopen(f"{sandbox.url}/sandbox/state") as state:
        return json.load(state)["calls"]["getticket"]


def replace_ticket(sandbox):
    """WeChat has another ticket now, and tells nobody."""
    control(sandbox, "kill", appid=APP_IDS["shop"], credential="jsapi_ticket")


# asked by a person


def test_a_right_signature_is_called_right(client):
    found = diagnose(client, page=PAGE, config=wx_config(config_of(client)))
    assert found["verdict"] == "right"
    assert found["findings"] == []
    assert found["rules"] == 1
    assert found["request_id"]


def test_a_url_that_was_not_encoded_is_named_with_its_remedy_in_the_askers_language(client):
    config = config_of(client, "https://m.example.com/a?b=1")
    asked = {"page": "https://m.example.com/a?b=1&c=2", "config": wx_config(config), "errMsg": REFUSED}
    found = diagnose(client, **asked)
    assert found["verdict"] == "wrong"
    (first,) = found["findings"]
    assert (first["id"], first["certainty"]) == ("WXS103", "certain")
    assert first["evidence"] == {"form": "cut_at_ampersand"}
    assert first["docs"] == "docs/troubleshooting.md#wxs103"
    assert "截断" in diagnose(client, "zh-CN", **asked)["findings"][0]["message"]


def test_a_ticket_of_another_account_is_named_only_where_the_page_is_its_own(client, service):
    config_of(client, "https://news.example.com/x")
    ticket = service.ticket("news").value
    timestamp = int(time.time())
    made = signature(string_to_sign(ticket, "n" * 16, timestamp, PAGE))
    config = {"appId": APP_IDS["shop"], "timestamp": timestamp, "nonceStr": "n" * 16, "signature": made}
    config_of(client)
    (first,) = diagnose(client, page=PAGE, config=config)["findings"]
    assert (first["id"], first["evidence"]) == ("WXS110", {"ticket_of": "another account"})


def test_what_is_pasted_is_read(client):
    config = config_of(client)
    text = f"wx.config({json.dumps(wx_config(config))})\n{PAGE}#/route\nconfig:invalid url domain"
    found = diagnose(client, text=text)
    assert found["verdict"] == "right"
    assert [finding["id"] for finding in found["findings"]] == ["WXS114"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "json_malformed"),
        ("[]", "json_not_object"),
        ('{"config": 3}', "config_not_object"),
        ('{"config": [1, 2]}', "config_not_object"),
        ('{"page": {"a": 1}}', "page_not_text"),
        ('{"page": "a", "page": "b"}', "duplicate_parameter"),
        ("{" * 70_000, "body_too_large"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(client, body, code):
    answer = client.post("/diagnose", data=body)
    assert 400 <= answer.status_code < 500
    assert answer.json["error"]["code"] == code
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("nonce", ["\ud800", "\x00", "签", "n" * 5000, 12])
@pytest.mark.parametrize("path", ["/diagnose", "/report"])
def test_no_value_whatever_ends_in_a_failure_of_ours(client, path, nonce):
    config = {"appId": nonce, "timestamp": int(time.time()), "nonceStr": nonce, "signature": nonce}
    fields = config | {"page": PAGE, "url": PAGE, "config": config, "errMsg": nonce, "userAgent": nonce}
    assert client.post(path, data=json.dumps(fields)).status_code == 200


def test_a_flood_of_questions_is_answered_a_few_times_a_second():
    moment = 0.0
    bucket = Bucket(3, 10, lambda: moment)
    assert [bucket.take() for _ in range(12)].count(True) == 10
    moment = 1.0
    assert [bucket.take() for _ in range(5)].count(True) == 3
    assert TooManyDiagnosesError.status == 429


def test_a_browser_of_another_origin_may_ask(client):
    answer = client.options("/report", headers={"Origin": "https://m.example.com"})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"


# reported by a page


def test_a_page_that_was_signed_with_the_ticket_before_signs_again_at_once(client, sandbox, service):
    before = config_of(client)
    replace_ticket(sandbox)
    service.refresh("shop")
    assert report(client, before).json == {"retry": True, "after_seconds": 0}
    assert verdict(sandbox, config_of(client), PAGE) == "ok"


def test_a_ticket_that_wechat_replaced_unseen_is_found_by_the_first_report_and_heals_every_page(
    client, sandbox
):
    pages = [config_of(client) for _ in range(5)]
    replace_ticket(sandbox)
    before = calls(sandbox)
    assert verdict(sandbox, config_of(client), PAGE) != "ok"
    answers = [report(client, page).json for page in pages]
    assert answers == [{"retry": True, "after_seconds": 0}] * 5
    assert verdict(sandbox, config_of(client), PAGE) == "ok"
    assert calls(sandbox) == before + 1


def test_where_nothing_was_replaced_one_look_is_spent_and_the_causes_are_told(client, sandbox):
    page = config_of(client)
    before = calls(sandbox)
    told = report(client, page, landing_url="https://m.example.com/first").json
    assert told["retry"] is False
    assert [finding["id"] for finding in told["findings"]] == ["WXS102", "WXS108"]
    assert report(client, page).json == {"retry": True, "after_seconds": 2}
    assert calls(sandbox) == before + 1


def test_ten_thousand_forged_reports_make_no_call_and_leave_nothing_behind(client, sandbox, service):
    page = config_of(client)
    before, seats = calls(sandbox), len(service.broker._near.seats())
    for number in range(10_000):
        forged = page | {"signature": f"{number:040x}", "nonceStr": f"{number:016}"}
        assert report(client, forged).json == {"retry": False}
    assert calls(sandbox) == before
    assert len(service.broker._near.seats()) == seats


class Counting:
    """A store that counts what is asked of it."""

    def __init__(self, store):
        self._store, self.operations = store, []

    def __getattr__(self, name):
        operation = getattr(self._store, name)

        def counted(*given):
            self.operations.append(name)
            return operation(*given)

        return counted


@pytest.mark.parametrize("words", ["config:ok", REFUSED])
def test_one_true_signature_reported_five_hundred_times_is_counted_a_few_times_and_hardly_asks_the_store(
    client, service, words
):
    page, link = config_of(client), service.broker.link
    report(client, page, words=words)  # WeChat is asked once, which has operations of its own
    before = sum(row.pages for row in outcomes_of(service, ["shop"])["shop"])
    link.shared = store = Counting(link.shared)
    begun = time.monotonic()
    for _ in range(500):
        assert report(client, page, words=words).status_code == 200
    most = 50 + 5 * (time.monotonic() - begun)
    # Two for each that is counted, the clock among them; a watcher may look meanwhile.
    assert len(store.operations) <= 2 * most + 20
    counted = sum(row.pages for row in outcomes_of(service, ["shop"])["shop"]) - before
    assert 40 <= counted <= most


def test_a_store_that_is_away_is_not_asked_by_every_report(client, service):
    class Away:
        asked = 0

        def __getattr__(self, name):
            self.asked += 1
            raise StoreUnavailable

    page, link = config_of(client), service.broker.link
    link.shared = away = Away()
    begun = time.monotonic()
    for _ in range(200):
        assert report(client, page).status_code == 200
    assert away.asked <= 10 * (1 + (time.monotonic() - begun) / 2)


def test_the_flood_of_one_account_takes_the_count_of_no_other():
    rates = Rates()
    assert 50 <= [rates.may_count("shop") for _ in range(1000)].count(True) < 100
    assert rates.may_count("news")


@pytest.mark.parametrize("age", [601, -601, 10**9])
def test_a_report_of_an_old_signature_counts_for_nothing(client, service, age):
    timestamp = int(time.time()) - age
    made = signature(string_to_sign(service.ticket("shop").value, "n" * 16, timestamp, PAGE))
    old = {"appId": "", "timestamp": timestamp, "nonceStr": "n" * 16, "signature": made, "url": PAGE}
    assert report(client, old).json == {"retry": False}


def test_a_page_that_nobody_signs_for_is_refused(client):
    answer = report(
        client,
        {"appId": "", "timestamp": 1, "nonceStr": "n", "signature": "s", "url": "https://x.example.org/"},
    )
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "account_required")


@contextmanager
def counted(service):
    class Pages:
        def __init__(self):
            self.seen = []

        def note(self, _):
            pass

        def note_page(self, labels):
            self.seen.append(labels)

    before, service.metrics = service.metrics, Pages()
    try:
        yield service.metrics
    finally:
        service.metrics = before


def test_what_pages_report_is_counted_by_account_platform_and_outcome(client, service):
    page = config_of(client)
    with counted(service) as metrics:
        report(client, page)
        report(client, page, words="config:fail", userAgent="Android MicroMessenger wxwork")
        report(client, page | {"signature": "f" * 40})
    assert metrics.seen == [("shop", "ios", "invalid_signature"), ("shop", "wecom", "other")]


def test_what_pages_report_stands_in_the_store_by_the_day_and_in_the_status(client, service):
    page = config_of(client)
    for _ in range(2):
        report(client, page)
    report(client, page, words="config:fail", userAgent="Android MicroMessenger wxwork")
    counted = {
        (row.platform, row.outcome): row.pages for row in outcomes_of(service, ["shop", "news"])["shop"]
    }
    assert counted[("wecom", "other")] >= 1
    assert counted[("ios", "invalid_signature")] >= 2
    assert "news" not in outcomes_of(service, ["shop", "news"])
    told = as_dict(service.status(), outcomes_of(service, ["shop"]))
    (shop,) = (account for account in told["accounts"] if account["name"] == "shop")
    assert {
        "platform": "ios",
        "outcome": "invalid_signature",
        "pages": counted[("ios", "invalid_signature")],
    } in shop["pages_today"]


def test_no_answer_holds_a_ticket(client, service):
    page = config_of(client)
    ticket = service.ticket("shop").value
    said = str(diagnose(client, page=PAGE, config=wx_config(page))) + report(client, page).text
    assert ticket not in said
    assert SECRET not in said


def test_a_page_is_healed_where_the_token_died_together_with_the_ticket(client, sandbox):
    page = config_of(client)
    control(sandbox, "kill", appid=APP_IDS["shop"], credential="stable_token")
    replace_ticket(sandbox)
    assert report(client, page).json == {"retry": True, "after_seconds": 0}
    assert verdict(sandbox, config_of(client), PAGE) == "ok"


def test_of_fifty_pages_that_are_refused_at_once_none_stays_red(client, sandbox):
    pages = [config_of(client) for _ in range(50)]
    replace_ticket(sandbox)
    before = calls(sandbox)
    green = []

    def heal(page):
        browser = Client(client.application)
        told = report(browser, page).json
        for _ in range(3):
            if told["retry"]:
                time.sleep(told["after_seconds"])
                page = config_of(browser)
            if verdict(sandbox, page, PAGE) == "ok":
                green.append(page)
                return
            told = report(browser, page).json

    threads = [threading.Thread(target=heal, args=(page,)) for page in pages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(green) == 50
    assert calls(sandbox) == before + 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_for_people_is_there_in_both_languages(client, language):
    answer = client.get("/diagnose", headers={"Accept-Language": language})
    assert answer.status_code == 200
    assert ("粘贴" if language == "zh" else "Paste") in answer.text
