"""The console: a person with an admin key sees how it stands and tries an AppSecret; everybody else sees a form."""

import hashlib
import hmac
import ipaddress
import json
import re
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from at_sandbox import APP_IDS, SECRET, SHOP_KEY, control, service_at, wechat
from werkzeug.test import Client

from wxsign.accounts import sha256_of_key
from wxsign.accounts.clients import ApiClient
from wxsign.http import console
from wxsign.outcomes import note_outcome
from wxsign.service import WxSign
from wxsign.web import create_app

KEY, NARROW_KEY = "console-key-0123456789-abcdefghijkl", "narrow-key-0123456789-abcdefghijklm"
ADMIN = frozenset({"admin"})
HERE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@contextmanager
def serving(sandbox, **changes):
    with service_at(sandbox.url) as known:
        clients = (
            *known.settings.clients,
            ApiClient("boss", (sha256_of_key(KEY),), ADMIN),
            ApiClient("narrow", (sha256_of_key(NARROW_KEY),), ADMIN, accounts=frozenset({"shop"})),
        )
        service = WxSign(replace(known.settings, clients=clients, **changes))
        try:
            yield service, Client(create_app(service))
        finally:
            service.stop()


@pytest.fixture
def desk(sandbox):
    with serving(sandbox) as (service, client):
        yield service, client
    control(sandbox, "faults/clear")


def login(client, key=KEY, headers=HERE):
    return client.post("/console/login", data={"key": key}, headers=headers)


def version_of(service):
    """Which version of its ticket the account holds: every call of WeChat raises it."""
    service.ticket("shop")
    return service.broker.standing(service._tickets["shop"])[0].credential.version


def csrf(client):
    return re.search(r'name="csrf" value="(\w+)"', client.get("/console/token").text)[1]


def post(client, path, headers=HERE, **fields):
    return client.post(path, data={"csrf": csrf(client), **fields}, headers=headers)


def test_without_a_session_there_is_a_form_and_nothing_of_the_accounts(desk):
    _, client = desk
    answer = client.get("/console")
    assert answer.status_code == 200
    assert 'name="key"' in answer.text
    assert "shop" not in answer.text
    assert client.get("/console/token").status_code == 401
    assert client.post("/console/accounts/shop/refresh", headers=HERE).status_code == 401


def test_a_key_opens_the_overview_and_every_page_has_a_strict_policy_and_no_script(desk):
    service, client = desk
    service.jsconfig("https://m.example.com/")
    answer = login(client)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console")
    for path in ("/console", "/console/token"):
        page = client.get(path)
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "script" not in page.headers["Content-Security-Policy"]
        assert page.headers["Cache-Control"] == "no-store"
        assert "<script" not in page.text
        assert "style=" not in page.text
        assert KEY not in page.text
    text = client.get("/console").text
    assert "All is well" in text
    assert APP_IDS["shop"] in text
    assert service.access_token("shop").value not in text
    assert service.ticket("shop").value not in text
    assert "一切正常" in client.get("/console", headers={"Accept-Language": "zh"}).text


@pytest.mark.parametrize("key", ["", "wrong", SHOP_KEY, "x" * 5000, "密钥"])
def test_no_other_key_opens_it(desk, key):
    _, client = desk
    answer = login(client, key)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert 'name="key"' in client.get("/console").text


def test_a_key_may_be_kept_to_addresses(sandbox):
    with serving(sandbox) as (service, _):
        boss = replace(service.settings.clients[-2], allow_from=(ipaddress.ip_network("192.0.2.0/24"),))
        far = WxSign(replace(service.settings, clients=(boss,)))
        client = Client(create_app(far))
        assert login(client).status_code == 401
        assert (
            client.post(
                "/console/login", data={"key": KEY}, headers=HERE, environ_base={"REMOTE_ADDR": "192.0.2.7"}
            ).status_code
            == 303
        )
        far.stop()


def test_guessing_ends_after_ten_attempts(desk):
    _, client = desk
    assert [login(client, "wrong").status_code for _ in range(console.LOGINS_AN_ADDRESS)] == [
        401
    ] * console.LOGINS_AN_ADDRESS
    assert login(client, "wrong").status_code == 429
    assert login(client).status_code == 429
    assert (
        client.post(
            "/console/login", data={"key": KEY}, headers=HERE, environ_base={"REMOTE_ADDR": "192.0.2.7"}
        ).status_code
        == 303
    )


def test_a_session_is_never_one_that_somebody_brought_along(desk):
    _, client = desk
    client.set_cookie(console.COOKIE, "planted", path="/console")
    cookie = login(client).headers["Set-Cookie"]
    assert "planted" not in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/console"))
    planted = Client(client.application)
    planted.set_cookie(console.COOKIE, "planted", path="/console")
    assert 'name="key"' in planted.get("/console").text


def test_behind_https_the_cookie_is_for_https_alone(sandbox):
    with serving(sandbox, public_url="https://sign.example.com") as (_, client):
        assert "Secure" in login(client).headers["Set-Cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
    ],
)
def test_a_form_of_another_site_does_nothing(desk, headers):
    service, client = desk
    assert login(client, headers=headers).status_code == 403
    login(client)
    before = version_of(service)
    for path in ("/console/accounts/shop/refresh", "/console/token"):
        answer = post(client, path, headers, app_id=APP_IDS["shop"], app_secret=SECRET)
        assert answer.status_code == 403
        assert 'id="granted"' not in answer.text
    assert version_of(service) == before
    post(client, "/console/logout", headers)
    assert login(client).status_code == 303


def test_an_older_browser_names_the_origin(desk):
    _, client = desk
    assert login(client, headers={"Origin": "http://localhost"}).status_code == 303


@pytest.mark.parametrize("word", ["", "wrong", hmac.new(b"other", b"csrf", hashlib.sha256).hexdigest(), "中"])
def test_a_form_without_the_sessions_word_does_nothing(desk, word):
    _, client = desk
    login(client)
    assert client.post("/console/accounts/shop/refresh", data={"csrf": word}, headers=HERE).status_code == 403
    assert client.post("/console/token", data={"csrf": word}, headers=HERE).status_code == 403


def test_leaving_ends_the_session_for_whoever_has_copied_the_cookie(desk):
    _, client = desk
    cookie = login(client).headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    thief = Client(client.application)
    thief.set_cookie(console.COOKIE, cookie, path="/console")
    assert "All is well" in thief.get("/console").text
    post(client, "/console/logout")
    assert 'name="key"' in thief.get("/console").text
    assert 'name="key"' in client.get("/console").text


def test_a_session_is_known_to_all_workers_and_stands_in_the_store_as_a_digest_alone(desk):
    service, client = desk
    cookie = login(client).headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    other = WxSign(service.settings, open_store=lambda _url: service.broker.link.shared)
    worker = Client(create_app(other))
    worker.set_cookie(console.COOKIE, cookie, path="/console")
    assert "All is well" in worker.get("/console").text
    assert cookie not in json.dumps(service.broker.link.shared._notes)
    other.stop()


# the token page


def test_a_right_secret_is_answered_with_the_token_once(desk, caplog):
    service, client = desk
    login(client)
    answer = post(client, "/console/token", app_id=APP_IDS["shop"], app_secret=SECRET)
    assert answer.status_code == 200
    token = re.search(r'<small class="mono">(\S+)</small>', answer.text)[1]
    assert token == service.access_token("shop").value
    assert SECRET not in answer.text
    assert token not in client.get("/console/token").text
    assert not {SECRET, token} & {*caplog.text.split()}


def test_a_wrong_secret_is_answered_with_wechats_reason_in_plain_words(desk, caplog):
    _, client = desk
    login(client)
    answer = post(client, "/console/token", app_id=APP_IDS["shop"], app_secret="e" * 32)
    assert "AppSecret" in answer.text
    assert 'id="granted"' not in answer.text
    assert "e" * 32 not in answer.text + caplog.text


@pytest.mark.parametrize(
    ("app_id", "secret", "words"),
    [("", SECRET, "The AppID is missing"), ("wx1", "", "The AppSecret is missing")],
)
def test_what_is_missing_is_named(desk, app_id, secret, words):
    _, client = desk
    login(client)
    answer = post(client, "/console/token", app_id=app_id, app_secret=secret)
    assert answer.status_code == 400
    assert words in answer.text
    assert SECRET not in answer.text


def test_trials_are_rationed(desk):
    _, client = desk
    login(client)
    statuses = [
        post(client, "/console/token", app_id="wx1", app_secret="x").status_code
        for _ in range(console.TRIALS_A_CLIENT + 1)
    ]
    assert statuses[-2:] == [200, 429]


def test_what_was_typed_is_escaped(desk):
    _, client = desk
    login(client)
    assert '"><b>' not in post(client, "/console/token", app_id='"><b>x', app_secret="").text


# the buttons


def test_the_buttons_refresh_verify_and_acknowledge(desk):
    service, client = desk
    login(client)
    assert "shop: " in post(client, "/console/accounts/shop/refresh").text
    assert "WeChat takes the token" in post(client, "/console/accounts/shop/verify").text
    key = service._tokens["shop"]
    theft = {
        "app_id": key.app_id,
        "kind": "access_token",
        "last_seen_at": time.time() - 60,
        "noticed_at": time.time(),
    }
    service.broker.link.shared.note(f"theft|{key.api_base}|{key.app_id}", json.dumps(theft), 3600)
    assert "Another system" in client.get("/console").text
    assert "Another system" not in post(client, "/console/accounts/shop/acknowledge").text


def test_a_button_clears_the_quota_and_what_pages_report_is_shown(desk):
    service, client = desk
    login(client)
    assert "begin anew (1 of 10 this month)" in post(client, "/console/accounts/shop/clear-quota").text
    note_outcome(service, "shop", "ios", "invalid_signature")
    assert "pages ios invalid_signature" in client.get("/console").text


def test_a_failure_stands_on_the_page_with_its_remedy(desk, sandbox):
    _, client = desk
    login(client)
    control(sandbox, "faults", endpoint="stable_token", kind="errcode", errcode=40125, times=None)
    answer = post(client, "/console/accounts/shop/refresh")
    assert answer.status_code == 200
    assert "invalid_secret" in answer.text


@pytest.mark.parametrize("path", ["/console/accounts/nothing/refresh", "/console/accounts/shop/destroy"])
def test_what_does_not_exist_is_a_404(desk, path):
    _, client = desk
    login(client)
    assert post(client, path).status_code == 404


def test_a_key_for_some_accounts_sees_and_moves_those_alone(desk):
    _, client = desk
    login(client, NARROW_KEY)
    text = client.get("/console").text
    assert APP_IDS["shop"] in text
    others = [app_id for name, app_id in APP_IDS.items() if name != "shop"]
    assert not [app_id for app_id in others if app_id in text]
    other = next(name for name in APP_IDS if name != "shop")
    assert post(client, f"/console/accounts/{other}/refresh").status_code == 404


def test_without_an_admin_client_there_is_no_console(sandbox):
    with service_at(sandbox.url) as service:
        clients = tuple(client for client in service.settings.clients if "admin" not in client.scopes)
        bare = WxSign(replace(service.settings, clients=clients))
        assert Client(create_app(bare)).get("/console").status_code == 404
