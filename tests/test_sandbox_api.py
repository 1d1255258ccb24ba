"""The sandbox's WeChat API: what it answers, in which order it checks, and what it does to tokens."""

import re

import pytest

from wxsign.sandbox import DEFAULT_APPID, DEFAULT_SECRET, SandboxSettings, create_app, sandbox_of

START = 1_800_000_000.0
OTHER = "wx0123456789abcdef"
OTHER_SECRET = "0" * 32
ACCOUNTS = {DEFAULT_APPID: DEFAULT_SECRET, OTHER: OTHER_SECRET}
GOOD = {"grant_type": "client_credential", "appid": DEFAULT_APPID, "secret": DEFAULT_SECRET}
RID = re.compile(r" rid: ([0-9a-f]{8})-[0-9a-f]{8}-[0-9a-f]{8}$")
LONG_40001 = (
    "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, "
    "more details at https://mmbizurl.cn/s/JtxxFh33r"
)


class WeChat:
    """A sandbox in this process whose time stands still."""

    def __init__(self, **settings):
        self.now = START
        app = create_app(SandboxSettings(accounts=ACCOUNTS, **settings), clock=lambda: self.now)
        self.sandbox = sandbox_of(app)
        self.client = app.test_client()

    def token(self, **changes):
        return self.client.get("/cgi-bin/token", query_string=GOOD | changes).json

    def stable(self, **changes):
        return self.client.post("/cgi-bin/stable_token", json=GOOD | changes).json

    def ticket(self, access_token, kind="jsapi"):
        query = {"access_token": access_token, "type": kind}
        return self.client.get("/cgi-bin/ticket/getticket", query_string=query).json

    def ips(self, access_token):
        return self.client.get("/cgi-bin/get_api_domain_ip", query_string={"access_token": access_token}).json


@pytest.fixture
def wechat():
    return WeChat()


def without_rid(answer):
    return answer["errcode"], RID.sub("", answer["errmsg"])


def test_a_token_answer_has_no_errcode(wechat):
    assert wechat.token().keys() == {"access_token", "expires_in"}
    assert wechat.token()["expires_in"] == 7200


def test_the_first_group_of_a_rid_is_the_unix_time(wechat):
    match = RID.search(wechat.token(appid="wx-nobody")["errmsg"])
    assert int(match[1], 16) == START


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"appid": ""}, (41002, "appid missing")),
        ({"appid": "wx-nobody"}, (40013, "invalid appid")),
        ({"appid": DEFAULT_APPID.upper()}, (40013, "invalid appid")),
        ({"appid": "wx-nobody", "grant_type": ""}, (40013, "invalid appid")),
        ({"grant_type": "authorization_code"}, (40002, "invalid grant_type")),
        ({"grant_type": "", "secret": "wrong"}, (40002, "invalid grant_type")),
        ({"secret": ""}, (41004, "appsecret missing")),
        ({"secret": "wrong"}, (40125, "invalid appsecret")),
        ({"secret": OTHER_SECRET}, (40125, "invalid appsecret")),
    ],
)
def test_both_token_endpoints_check_in_wechats_order(wechat, changes, expected):
    assert without_rid(wechat.token(**changes)) == expected
    assert without_rid(wechat.stable(**changes)) == expected


def test_every_error_is_http_200(wechat):
    response = wechat.client.get("/cgi-bin/token")
    assert response.status_code == 200
    assert response.content_type == "application/json; encoding=utf-8"


def test_methods_are_checked_first(wechat):
    assert wechat.client.get("/cgi-bin/stable_token").json["errcode"] == 43002
    assert wechat.client.post("/cgi-bin/token", query_string=GOOD).json["errcode"] == 43001
    assert wechat.client.post("/cgi-bin/ticket/getticket").json["errcode"] == 43001


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"", 44002),
        (b"  ", 44002),
        (b"not json", 47001),
        (b"[1]", 47001),
        (b"[" * 50_000, 47001),
        (b"\xff", 47001),
    ],
)
def test_a_stable_token_call_needs_a_json_object(wechat, body, errcode):
    assert wechat.client.post("/cgi-bin/stable_token", data=body).json["errcode"] == errcode


def test_a_secret_that_is_no_text_is_a_wrong_secret(wechat):
    body = b'{"grant_type":"client_credential","appid":"%s","secret":"\\ud800"}' % DEFAULT_APPID.encode()
    assert wechat.client.post("/cgi-bin/stable_token", data=body).json["errcode"] == 40125


def test_an_unknown_path_is_an_invalid_url(wechat):
    assert without_rid(wechat.client.get("/cgi-bin/nothing/here").json) == (40066, "invalid url")


def test_an_address_outside_the_whitelist_is_named_as_wechat_does():
    wechat = WeChat(ip_whitelist=("10.0.0.0/8",))
    expected = (40164, "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist")
    assert without_rid(wechat.token()) == expected
    assert without_rid(wechat.stable()) == expected


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1/24", "127.0.0.0/8"])
def test_the_whitelist_takes_addresses_and_networks(entry):
    assert "access_token" in WeChat(ip_whitelist=(entry, "::1")).token()


def test_the_whitelist_covers_calls_by_access_token_too(wechat):
    token = wechat.token()["access_token"]
    wechat.sandbox.change({"ip_whitelist": ["192.0.2.1"]})
    assert wechat.ticket(token)["errcode"] == 40164
    assert wechat.ips(token)["errcode"] == 40164


def test_a_day_s_quota_ends_at_midnight_in_china():
    wechat = WeChat(daily_quota={"token": 2})
    wechat.token(), wechat.token()
    assert without_rid(wechat.token()) == (45009, "reach max api daily quota limit")
    assert "access_token" in wechat.stable(), "each endpoint has its own"
    assert "access_token" in wechat.token(appid=OTHER, secret=OTHER_SECRET), "and each account"
    wechat.now += 86_400
    assert "access_token" in wechat.token()


def test_each_classic_call_rotates(wechat):
    first, second, third = (wechat.token()["access_token"] for _ in range(3))
    assert without_rid(wechat.ips(first)) == (40001, LONG_40001)
    assert "ip_list" in wechat.ips(second)
    assert "ip_list" in wechat.ips(third)
    wechat.now += 300
    assert wechat.ips(second)["errcode"] == 40001


def test_a_stable_answer_counts_down(wechat):
    first = wechat.stable()
    wechat.now += 6855
    assert wechat.stable() == first | {"expires_in": 345}
    wechat.now += 45
    second = wechat.stable()
    assert second["access_token"] != first["access_token"]
    assert second["expires_in"] == 7200
    assert "ip_list" in wechat.ips(first["access_token"])


def test_force_refresh_over_http_kills_the_old_token(wechat):
    old = wechat.stable()["access_token"]
    new = wechat.stable(force_refresh=True)["access_token"]
    assert wechat.ips(old)["errcode"] == 40001
    assert "ip_list" in wechat.ips(new)
    assert wechat.stable(force_refresh=True)["access_token"] == new, "30 s are not over"


def test_stable_and_classic_tokens_never_touch_each_other(wechat):
    stable = wechat.stable()["access_token"]
    classic = [wechat.token()["access_token"] for _ in range(5)][-1]
    assert "ip_list" in wechat.ips(stable)
    wechat.stable(force_refresh=True)
    assert "ip_list" in wechat.ips(classic)


def test_ten_hours_of_an_old_system_beside_a_stable_one(wechat):
    stable, classic = "", ""
    for minute in range(600):
        wechat.now = START + minute * 60
        stable = wechat.stable()["access_token"]
        classic = wechat.token()["access_token"] if minute % 100 == 0 else classic
        assert "ip_list" in wechat.ips(stable)
        assert "ip_list" in wechat.ips(classic)


@pytest.mark.parametrize(
    ("access_token", "expected"),
    [
        ("", (41001, "access_token missing")),
        ("fake", (40001, LONG_40001)),
        ("fake token", (40014, "invalid access_token")),
        ("x" * 513, (40014, "invalid access_token")),
    ],
)
def test_a_token_that_is_none_is_refused(wechat, access_token, expected):
    assert without_rid(wechat.ticket(access_token)) == expected
    assert without_rid(wechat.ips(access_token)) == expected


def test_a_token_at_the_end_of_its_life_is_expired(wechat):
    token = wechat.stable()["access_token"]
    wechat.now += 7199
    assert "ip_list" in wechat.ips(token)
    wechat.now += 1
    assert without_rid(wechat.ticket(token)) == (42001, "access_token expired")


def test_a_ticket_answer_always_says_its_full_life(wechat):
    first = wechat.ticket(wechat.token()["access_token"])
    assert first.keys() == {"errcode", "errmsg", "ticket", "expires_in"}
    assert (first["errcode"], first["errmsg"], first["expires_in"]) == (0, "ok", 7200)
    wechat.now += 7000
    assert wechat.ticket(wechat.stable()["access_token"]) == first, "even for another access_token"


def test_tickets_are_apart_by_type_and_by_account(wechat):
    mine = wechat.token()["access_token"]
    other = wechat.token(appid=OTHER, secret=OTHER_SECRET)["access_token"]
    answers = [wechat.ticket(mine), wechat.ticket(mine, "wx_card"), wechat.ticket(other)]
    assert len({answer["ticket"] for answer in answers}) == 3


@pytest.mark.parametrize("kind", ["", "agent_config", "JSAPI"])
def test_an_unknown_ticket_type_is_an_invalid_argument(wechat, kind):
    assert wechat.ticket(wechat.token()["access_token"], kind)["errcode"] == 40097


def test_a_ticket_on_expiry_has_any_age_when_first_fetched():
    wechat = WeChat(ticket_issue="on_expiry")
    wechat.now += 7000
    old = wechat.ticket(wechat.stable()["access_token"])
    assert old["expires_in"] == 7200, "although 200 s are left"
    wechat.now += 200
    assert wechat.ticket(wechat.stable()["access_token"])["ticket"] != old["ticket"]


def test_lives_of_thirty_seconds_scale_what_is_answered():
    wechat = WeChat(token_life_seconds=30, ticket_life_seconds=30)
    token = wechat.stable()
    assert token["expires_in"] == 30
    assert wechat.ticket(token["access_token"])["expires_in"] == 30
    wechat.now += 28
    assert wechat.stable() == token | {"expires_in": 2}
    wechat.now += 1
    assert wechat.stable()["access_token"] != token["access_token"]


def test_the_addresses_of_wechat_are_lists(wechat):
    token = wechat.token()["access_token"]
    callback = wechat.client.get("/cgi-bin/getcallbackip", query_string={"access_token": token}).json
    assert wechat.ips(token)["ip_list"]
    assert callback["ip_list"]


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b'{"touser": "o1", "msgtype": "text"}', 0),
        (b"", 44002),
        (b"[]", 47001),
        (b'{"msgtype": "text"}', 40003),
        (b'{"touser": "o1"}', 40008),
    ],
)
def test_a_message_needs_a_reader_and_a_kind(wechat, body, errcode):
    query = {"access_token": wechat.token()["access_token"]}
    sent = wechat.client.post("/cgi-bin/message/custom/send", query_string=query, data=body)
    assert sent.json["errcode"] == errcode
    assert wechat.client.get("/cgi-bin/message/custom/send", query_string=query).json["errcode"] == 43002


def test_business_calls_are_refused_without_a_living_token(wechat):
    for query, errcode in (({}, 41001), ({"access_token": "a.b"}, 40001), ({"access_token": "!"}, 40014)):
        assert (
            wechat.client.post("/cgi-bin/message/custom/send", query_string=query).json["errcode"] == errcode
        )
        assert wechat.client.get("/cgi-bin/user/info", query_string=query).json["errcode"] == errcode


def test_a_quota_is_counted_by_the_day_and_begins_anew_ten_times_a_month(wechat):
    def ask(path, body):
        query = {"access_token": wechat.stable()["access_token"]}
        return wechat.client.post(f"/cgi-bin/{path}", query_string=query, json=body).json

    asked = {"cgi_path": "/cgi-bin/stable_token"}
    assert ask("openapi/quota/get", asked)["quota"] == {"daily_limit": 500_000, "used": 1, "remain": 499_999}
    assert ask("openapi/quota/get", asked)["quota"]["used"] == 2
    answers = [ask("clear_quota", {"appid": DEFAULT_APPID})["errcode"] for _ in range(11)]
    assert answers == [0] * 10 + [48006]
    secret = {"appid": DEFAULT_APPID, "appsecret": DEFAULT_SECRET}
    assert wechat.client.post("/cgi-bin/clear_quota/v2", json=secret).json["errcode"] == 48006
    wechat.now += 31 * 86_400
    assert wechat.client.post("/cgi-bin/clear_quota/v2", json=secret).json["errcode"] == 0
