"""A Mini Program's account: its token is kept like any other's; pages are told that it signs none."""

from dataclasses import replace

import pytest
from at_sandbox import APP_IDS, KEEPER_KEY, accounts, service_at, wechat
from werkzeug.test import Client

from wxsign.accounts import AccountKind, SignsNoPages
from wxsign.errors import ConfigError, HostNotAllowed
from wxsign.settings import load_settings
from wxsign.web import create_app

BEARER = {"Authorization": f"Bearer {KEEPER_KEY}"}
TOML = """
[accounts.mini]
kind = "miniprogram"
app_id = "wx0123456789abcdef"
app_secret = "0123456789abcdef0123456789abcdef"
"""
CLIENT = '[clients.shop]\nkey = "0123456789abcdefghijklmnopqrstuvwxyz"\n'


def with_mini():
    """`bare` is a Mini Program; the two others sign pages."""
    return tuple(
        replace(account, kind=AccountKind.MINIPROGRAM) if account.name == "bare" else account
        for account in accounts()
    )


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture
def client(sandbox):
    with service_at(sandbox.url, accounts=with_mini()) as service:
        yield Client(create_app(service))


def test_it_is_configured_by_its_kind(tmp_path):
    file = tmp_path / "wxsign.toml"
    file.write_text(TOML + CLIENT)
    (account,) = load_settings(file, environ={}).accounts
    assert account.kind is AccountKind.MINIPROGRAM


@pytest.mark.parametrize("line", ['allowed_hosts = ["m.example.com"]', 'js_api_list = ["scanQRCode"]'])
def test_what_only_pages_need_is_an_error_of_its_configuration(tmp_path, line):
    file = tmp_path / "wxsign.toml"
    file.write_text(f"{TOML}{line}\n{CLIENT}")
    with pytest.raises(ConfigError) as told:
        load_settings(file, environ={})
    assert [problem.key for problem in told.value.problems] == [f"accounts.mini.{line.split()[0]}"]
    assert "小程序" in told.value.in_language("zh")


def test_a_corporation_s_id_is_named_as_such(tmp_path):
    file = tmp_path / "wxsign.toml"
    file.write_text(TOML.replace("wx0123456789abcdef", "ww0123456789abcdef") + CLIENT)
    with pytest.raises(ConfigError, match="WeCom"):
        load_settings(file, environ={})


def test_its_token_is_read_like_any_other_s_and_its_state_says_what_it_is(client):
    answer = client.get("/api/v1/accounts/bare/access_token", headers=BEARER)
    assert answer.status_code == 200
    kinds = {
        account["name"]: account["kind"]
        for account in client.get("/api/v1/accounts", headers=BEARER).json["accounts"]
    }
    assert kinds == {"shop": "official", "news": "official", "bare": "miniprogram"}


def test_it_has_no_ticket_and_says_what_a_page_needs(client):
    answer = client.get("/api/v1/accounts/bare/tickets/jsapi", headers=BEARER)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "miniprogram_signs_no_pages")
    asked = {"grant_type": "client_credential", "appid": APP_IDS["bare"], "secret": KEEPER_KEY}
    token = client.get("/cgi-bin/token", query_string=asked).json["access_token"]
    refused = client.get("/cgi-bin/ticket/getticket", query_string={"access_token": token, "type": "jsapi"})
    assert refused.json["errcode"] == 48001


def test_a_page_that_asks_for_it_by_name_is_told_that_it_needs_an_official_account(client):
    page = {"url": "https://m.example.com/", "account": "bare"}
    answer = client.get("/jsconfig", query_string=page, headers={"Accept-Language": "zh"})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "miniprogram_signs_no_pages")
    assert "公众号" in answer.json["error"]["hint"]


def test_beside_an_official_account_it_is_never_chosen_for_a_page(sandbox):
    two = tuple(account for account in with_mini() if account.name != "news")
    with service_at(sandbox.url, accounts=two, clients=()) as service:
        assert service.jsconfig("https://m.example.com/").app_id == APP_IDS["shop"]
        with pytest.raises(HostNotAllowed):
            service.jsconfig("https://elsewhere.example.org/")
    with (
        service_at(sandbox.url, accounts=with_mini()[-1:], clients=()) as service,
        pytest.raises(SignsNoPages),
    ):
        service.jsconfig("https://m.example.com/")
