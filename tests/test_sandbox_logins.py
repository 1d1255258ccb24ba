"""A visitor's log-in at the sandbox, as at WeChat's: a code, a token of its own, the user's data."""

from urllib.parse import parse_qs, urlsplit

import pytest
from sandbox_desk import Desk

from wxsign.sandbox import DEFAULT_APPID, DEFAULT_SECRET

PAGE = "https://m.example.com/shop?a=1#part"


@pytest.fixture
def desk():
    return Desk(verify_domains=("example.com",))


def authorize(desk, **changes):
    query = {
        "appid": DEFAULT_APPID,
        "redirect_uri": PAGE,
        "response_type": "code",
        "scope": "snsapi_userinfo",
        "state": "x y",
    }
    return desk.client.get("/connect/oauth2/authorize", query_string=query | changes)


def code_of(desk, **changes):
    return parse_qs(urlsplit(authorize(desk, **changes).headers["Location"]).query)["code"][0]


def token(desk, given, **changes):
    query = {
        "appid": DEFAULT_APPID,
        "secret": DEFAULT_SECRET,
        "code": given,
        "grant_type": "authorization_code",
    }
    return desk.client.get("/sns/oauth2/access_token", query_string=query | changes).json


def userinfo(desk, **query):
    return desk.client.get("/sns/userinfo", query_string=query).json


def test_a_visitor_comes_back_with_a_code_and_the_state_before_the_fragment(desk):
    answer = authorize(desk)
    target = urlsplit(answer.headers["Location"])
    assert answer.status_code == 302
    assert target.geturl().startswith("https://m.example.com/shop?a=1&code=")
    assert parse_qs(target.query)["state"] == ["x y"]
    assert target.fragment == "part"


def test_a_code_is_changed_once_for_a_token_that_gives_the_user_s_data(desk):
    code = code_of(desk)
    granted = token(desk, code)
    assert set(granted) == {"access_token", "expires_in", "refresh_token", "openid", "scope"}
    told = userinfo(desk, access_token=granted["access_token"], openid=granted["openid"])
    assert told["openid"] == granted["openid"]
    assert told["nickname"]
    again = token(desk, code)
    assert again["errcode"] == 40163
    assert again["errmsg"].startswith("code been used, rid: ")


def test_a_code_is_of_no_use_after_five_minutes_or_to_another_account(desk):
    late = code_of(desk)
    desk.now += 300
    assert token(desk, late)["errcode"] == 40029
    assert token(desk, "nonsense")["errcode"] == 40029


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"appid": ""}, 41002),
        ({"appid": "wx0000000000000000"}, 40013),
        ({"secret": ""}, 41004),
        ({"secret": "wrong"}, 40125),
        ({"grant_type": "client_credential"}, 40002),
        ({"code": ""}, 41008),
    ],
)
def test_a_wrong_request_for_a_token_is_refused_as_wechat_does(desk, changes, errcode):
    code = code_of(desk)
    assert token(desk, code, **changes)["errcode"] == errcode
    assert "access_token" in token(desk, code), "and the code is still good"


def test_the_silent_scope_gives_the_openid_and_no_data(desk):
    granted = token(desk, code_of(desk, scope="snsapi_base"))
    assert userinfo(desk, access_token=granted["access_token"], openid=granted["openid"])["errcode"] == 48001


def test_the_account_s_own_token_opens_no_user_s_data_nor_the_reverse(desk):
    granted = token(desk, code_of(desk))
    assert userinfo(desk, access_token=desk.token(), openid=granted["openid"])["errcode"] == 40001
    query = {"access_token": granted["access_token"], "openid": granted["openid"]}
    assert desk.client.get("/cgi-bin/user/info", query_string=query).json["errcode"] == 40001
    assert userinfo(desk, access_token=granted["access_token"], openid="other")["errcode"] == 40003
    assert userinfo(desk)["errcode"] == 41001


def test_a_token_ends_after_two_hours_and_is_renewed_for_thirty_days(desk):
    granted = token(desk, code_of(desk))
    named = {"access_token": granted["access_token"], "openid": granted["openid"]}
    assert desk.client.get("/sns/auth", query_string=named).json == {"errcode": 0, "errmsg": "ok"}
    desk.now += 7_200
    assert userinfo(desk, **named)["errcode"] == 42001
    query = {
        "appid": DEFAULT_APPID,
        "grant_type": "refresh_token",
        "refresh_token": granted["refresh_token"],
    }
    renewed = desk.client.get("/sns/oauth2/refresh_token", query_string=query).json
    assert userinfo(desk, access_token=renewed["access_token"], openid=granted["openid"])["openid"]
    desk.now += 30 * 86_400
    assert desk.client.get("/sns/oauth2/refresh_token", query_string=query).json["errcode"] == 42002
    query["refresh_token"] = "other"
    assert desk.client.get("/sns/oauth2/refresh_token", query_string=query).json["errcode"] == 40030


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"appid": "wx0000000000000000"}, 10012),
        ({"redirect_uri": ""}, 10011),
        ({"redirect_uri": "javascript:alert(1)"}, 10011),
        ({"redirect_uri": "https://foreign.example.net/"}, 10003),
        ({"scope": ""}, 10010),
        ({"scope": "snsapi_login"}, 10005),
    ],
)
def test_a_log_in_that_cannot_be_is_a_page_with_tencent_s_number(desk, changes, number):
    answer = authorize(desk, **changes)
    assert answer.status_code == 200
    assert str(number) in answer.text


def test_the_user_who_logs_in_is_the_one_that_is_set(desk):
    first = token(desk, code_of(desk))["openid"]
    assert token(desk, code_of(desk))["openid"] == first
    desk.post("settings", user="2")
    assert token(desk, code_of(desk))["openid"] != first


def test_only_the_latest_thousand_logins_are_remembered(desk):
    first = code_of(desk)
    for _ in range(1_000):
        last = code_of(desk)
    assert token(desk, first)["errcode"] == 40029
    assert "access_token" in token(desk, last)


def test_a_fault_hits_a_log_in_and_no_secret_of_it_is_shown(desk):
    desk.post("faults", endpoint="sns_access_token", kind="errcode", errcode=-1)
    code = code_of(desk)
    assert token(desk, code)["errcode"] == -1
    granted = token(desk, code)
    shown = str(desk.state()) + desk.client.get("/sandbox/requests").text
    assert not any(secret in shown for secret in (code, granted["access_token"], granted["refresh_token"]))
