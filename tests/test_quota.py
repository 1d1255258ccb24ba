"""An account's quota, by WeChat's own count and by ours; its clearing; and a token that WeChat is asked about."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from at_sandbox import APP_IDS, KEEPER_KEY, READER_KEY, SECRET, control, service_at, wechat
from click.testing import CliRunner

from wxsign import cli
from wxsign.accounts import ApiClient, OfficialAccount, sha256_of_key
from wxsign.errors import CredentialUnavailable, WeChatBadAnswer, WeChatRefused
from wxsign.quota import Cleared, ClearingsSpentError, clear_quota, quota_of
from wxsign.stores import LONGEST_NOTE_SECONDS
from wxsign.web import create_app
from wxsign.wechat import Quota, WeChatClient

ADMIN_KEY = "k" * 39 + "a"
TOKEN = "/api/v1/accounts/shop/access_token"
CLEAR = "/api/v1/accounts/shop/quota/clear"
CLIENTS = (
    ApiClient("reader", (sha256_of_key(READER_KEY),), frozenset({"token:read"})),
    ApiClient("keeper", (sha256_of_key(KEEPER_KEY),)),
    ApiClient("operator", (sha256_of_key(ADMIN_KEY),), frozenset({"admin"})),
)


@contextmanager
def installation(secret=SECRET, quota=None, **settings):
    """A sandbox, and a service whose one account nobody keeps warm."""
    account = OfficialAccount("shop", APP_IDS["shop"], secret, warm=False, quota=quota or {})
    with (
        wechat() as server,
        service_at(server.url, accounts=(account,), clients=CLIENTS, **settings) as service,
    ):
        yield server, service


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def calls(server, name):
    return server.sandbox.state()["calls"][name]


# The counts.


def test_our_count_stands_beside_wechats():
    with installation() as (_, service):
        # A call that another system makes is WeChat's to count.
        service.client.get_api_domain_ip(service.access_token("shop").value)
        rows = {row.ours.endpoint: (row.ours.used, row.wechat) for row in quota_of(service, "shop")}
    assert rows["stable_token"] == (1, Quota(500_000, 1))
    assert rows["get_api_domain_ip"][0] == 0
    assert rows["get_api_domain_ip"][1].used == 1


@pytest.mark.parametrize("errcode", [76021, 76022])
def test_what_wechat_has_no_count_of_is_left_open(errcode):
    with installation() as (server, service):
        control(server, "faults", endpoint="quota_get", kind="errcode", errcode=errcode, times=1)
        first, *others = quota_of(service, "shop")
    assert first.wechat is None
    assert all(row.wechat for row in others)


def test_a_refusal_or_an_answer_without_counts_is_told():
    with installation() as (server, service):
        control(server, "faults", endpoint="quota_get", kind="errcode", errcode=48001, times=1)
        with pytest.raises(WeChatRefused):
            quota_of(service, "shop")


@pytest.mark.parametrize(
    "answer", [{}, {"quota": []}, {"quota": {"daily_limit": 1}}, {"quota": {"daily_limit": "1", "used": 0}}]
)
def test_a_count_that_is_none_is_no_answer(httpserver, answer):
    httpserver.expect_request("/cgi-bin/openapi/quota/get", method="POST").respond_with_json(answer)
    with pytest.raises(WeChatBadAnswer):
        WeChatClient(httpserver.url_for("")).quota("token", "/cgi-bin/token")


# Clearing.


def test_cleared_counts_begin_anew_at_wechat_and_here():
    with installation(quota={"get_api_domain_ip": 2}) as (server, service):
        app = create_app(service).test_client()
        read = f"{TOKEN}?verify=1"
        for _ in range(2):
            assert app.get(read, headers=bearer(KEEPER_KEY)).json["verified"]
            service.broker._near.seat(key_of(service)).verdict = None
            service.broker.link.call(lambda store: store.erase([f"verdict|{key_of(service).name}"]))
        assert {row.ours.endpoint: row.ours.used for row in quota_of(service, "shop")}[
            "get_api_domain_ip"
        ] == 2
        assert clear_quota(service, "shop") == Cleared("access_token", 1)
        assert {row.ours.used for row in quota_of(service, "shop")} == {0}
        assert {row.wechat.used for row in quota_of(service, "shop")} == {0}
        assert app.get(read, headers=bearer(KEEPER_KEY)).json["verified"], "there is a call left to ask with"
        assert calls(server, "stable_token") == 1


def key_of(service):
    return service._tokens["shop"]


def test_an_account_that_gets_no_token_any_more_is_cleared_by_its_secret():
    with installation() as (server, service):
        control(server, "settings", daily_quota={"stable_token": 0})
        with pytest.raises(CredentialUnavailable):
            service.access_token("shop")
        assert clear_quota(service, "shop").by == "app_secret"
        assert calls(server, "clear_quota") == 0
        assert calls(server, "clear_quota_v2") == 1


@pytest.mark.parametrize(("errcode", "by"), [(42001, "app_secret"), (45009, "app_secret"), (48001, None)])
def test_a_token_that_does_not_pass_is_done_without_and_another_refusal_is_told(errcode, by):
    with installation() as (server, service):
        control(server, "faults", endpoint="clear_quota", kind="errcode", errcode=errcode, times=1)
        if by:
            assert clear_quota(service, "shop").by == by
        else:
            with pytest.raises(WeChatRefused):
                clear_quota(service, "shop")
        assert calls(server, "clear_quota_v2") == (1 if by else 0)


def test_without_a_secret_there_is_no_other_way():
    with installation(secret="", refresh=False) as (server, service):
        with pytest.raises(CredentialUnavailable):
            clear_quota(service, "shop")
        assert calls(server, "clear_quota_v2") == 0


def test_the_eleventh_time_in_a_month_is_refused_here_before_wechat_is_asked():
    with installation() as (server, service):
        assert [clear_quota(service, "shop").used for _ in range(10)] == list(range(1, 11))
        with pytest.raises(ClearingsSpentError) as refused:
            clear_quota(service, "shop")
        assert calls(server, "clear_quota") == 10
    assert refused.value.code == "clear_quota_used_up"
    assert 0 < refused.value.retry_after_seconds <= LONGEST_NOTE_SECONDS


def test_a_month_that_the_console_has_used_up_is_told_by_wechat():
    with installation() as (server, service):
        for _ in range(10):
            server.sandbox._accounts[APP_IDS["shop"]].clear(server.sandbox._now())
        answer = create_app(service).test_client().post(CLEAR, headers=bearer(ADMIN_KEY))
    assert (answer.status_code, answer.json["errcode"]) == (503, 48006)
    assert answer.json["error"]["code"] == "clear_quota_used_up"


def test_an_admin_key_clears_and_no_other():
    with installation() as (server, service):
        client = create_app(service).test_client()
        assert client.post(CLEAR, headers=bearer(ADMIN_KEY)).json == {
            "cleared": True, "by": "access_token", "used": 1, "limit": 10,
        }  # fmt: skip
        assert client.post(CLEAR, headers=bearer(KEEPER_KEY)).status_code == 403
        assert client.post(CLEAR).status_code == 401
        assert client.get(CLEAR, headers=bearer(ADMIN_KEY)).status_code == 405
        assert calls(server, "clear_quota") == 1


# Does it live?


def test_a_token_that_wechat_takes_comes_back_verified():
    with installation() as (server, service):
        client = create_app(service).test_client()
        plain = client.get(TOKEN, headers=bearer(KEEPER_KEY)).json
        verified = client.get(f"{TOKEN}?verify=1", headers=bearer(KEEPER_KEY)).json
        assert (verified["verified"], verified["access_token"]) == (True, plain["access_token"])
        assert "verified" not in client.get(f"{TOKEN}?verify=0", headers=bearer(KEEPER_KEY)).json
        assert (calls(server, "get_api_domain_ip"), calls(server, "stable_token")) == (1, 1)


def test_a_token_that_is_dead_comes_back_replaced():
    with installation() as (server, service):
        client = create_app(service).test_client()
        dead = client.get(TOKEN, headers=bearer(KEEPER_KEY)).json["access_token"]
        control(server, "kill", appid=APP_IDS["shop"], credential="stable_token")
        answer = client.get(f"{TOKEN}?verify=1", headers=bearer(KEEPER_KEY)).json
        assert not answer["verified"]
        assert answer["access_token"] != dead
        assert server.sandbox.check_token(answer["access_token"])["alive"]


def test_who_may_only_read_asks_wechat_nothing_and_a_question_must_be_plain():
    with installation() as (server, service):
        client = create_app(service).test_client()
        assert client.get(f"{TOKEN}?verify=1", headers=bearer(READER_KEY)).status_code == 403
        odd = client.get(f"{TOKEN}?verify=yes", headers=bearer(KEEPER_KEY))
        assert (odd.status_code, odd.json["error"]["code"]) == (400, "verify_malformed")
        assert client.get(f"{TOKEN}?verify=1&verify=0", headers=bearer(KEEPER_KEY)).status_code == 400
        assert calls(server, "get_api_domain_ip") == 0


# The commands.


@pytest.fixture
def account(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANG", "C")
    with wechat() as server:
        given = {
            "APPID": APP_IDS["shop"],
            "SECRET": SECRET,
            "API_BASE": server.url,
            "ALLOWED_HOSTS": "m.example.com",
        }
        for name, value in given.items():
            monkeypatch.setenv(f"WXSIGN_{name}", value)
        yield server


def run(*arguments):
    result = CliRunner().invoke(cli.main, [*arguments])
    assert result.exit_code == 0, result.output
    return result


def test_the_command_asks_wechat_whether_the_token_lives(account):
    before = run("token", "default").stdout
    alive = run("token", "default", "--verify")
    assert (alive.stdout, "takes this token" in alive.stderr) == (before, True)


def test_the_command_replaces_a_token_that_is_dead(account):
    before = run("token", "default").stdout
    control(account, "kill", appid=APP_IDS["shop"], credential="stable_token")
    replaced = run("token", "default", "--verify")
    assert replaced.stdout != before
    assert "had refused" in replaced.stderr


def test_the_command_shows_both_counts_and_clears_them(account, monkeypatch):
    run("token", "default", "--verify")
    lines = run("quota", "default").stdout.splitlines()
    assert any(
        line.split() == ["stable_token", "WeChat", "1", "/", "500000", "here", "1", "/", "500000"]
        for line in lines
    )
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    cleared = run("quota", "default", "--clear")
    assert "本月第 1 次，共 10 次" in cleared.stderr
    assert all("微信 0 / " in " ".join(line.split()) for line in cleared.stdout.splitlines())


def test_the_command_says_of_an_api_without_a_count_that_wechat_does_not_tell(account):
    control(account, "faults", endpoint="quota_get", kind="errcode", errcode=76021, times=1)
    assert run("quota", "default").stdout.splitlines()[0].split()[:3] == ["stable_token", "WeChat", "?"]


# WeChat's side, as the sandbox has it.


def test_the_sandbox_refuses_as_wechat_does():
    with installation() as (_, service):
        token = service.access_token("shop").value
        for errcode, call in (
            (76021, lambda: service.client.quota(token, "/cgi-bin/nothing")),
            (40013, lambda: service.client.clear_quota("wx-of-another", token)),
            (40125, lambda: service.client.clear_quota_by_secret(APP_IDS["shop"], "wrong")),
        ):
            with pytest.raises(WeChatRefused) as refused:
                call()
            assert refused.value.errcode == errcode
            assert json.dumps(refused.value.errmsg)
