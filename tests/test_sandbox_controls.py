"""The sandbox's controls and its page, and what they never show."""

import html
import re
from pathlib import Path

import pytest
from sandbox_desk import Desk

from wxsign.sandbox import DEFAULT_APPID, DEFAULT_SECRET, SandboxSettings, SettingsError, create_app, page
from wxsign.sandbox.hosts import control_host_allowed
from wxsign.sandbox.settings import MODES, RULES

START = 1_800_000_000.0


@pytest.fixture
def desk():
    return Desk()


def test_rotating_a_classic_token_gives_it_a_successor(desk):
    old = desk.token()
    desk.rotate("access_token")
    assert not desk.check(old)["alive"]
    assert desk.account()["access_token"]["alive"]


def test_rotating_a_stable_token_leaves_the_new_one_to_the_next_caller(desk):
    old = desk.token("stable_token")
    desk.rotate("stable_token")
    assert not desk.account()["stable_token"]["alive"]
    new = desk.token("stable_token")
    assert new != old
    assert desk.check(new)["alive"]


@pytest.mark.parametrize("endpoint", ["token", "stable_token"])
def test_a_killed_token_is_dead_at_once(desk, endpoint):
    token = desk.token(endpoint)
    desk.kill("access_token" if endpoint == "token" else endpoint)
    assert not desk.check(token)["alive"]


def test_a_token_is_known_with_its_kind_and_the_seconds_it_has_left(desk):
    classic, stable = desk.token(), desk.token("stable_token")
    desk.now += 100
    expected = {"alive": True, "kind": "classic", "expires_in": 7100, "appid": DEFAULT_APPID}
    assert desk.check(classic) == expected
    assert desk.check(stable) == expected | {"kind": "stable"}
    assert desk.check("fake") == {"alive": False, "kind": None, "expires_in": 0, "appid": None}


def test_the_clock_can_be_moved(desk):
    token = desk.token()
    assert desk.post("clock", advance_seconds=7200).json["now"] == START + 7200
    assert not desk.check(token)["alive"]


def test_reset_keeps_the_settings_of_the_start():
    desk = Desk(token_life_seconds=30)
    token = desk.token()
    desk.post("settings", token_life_seconds=60, latency_seconds=1)
    desk.post("clock", advance_seconds=5)
    desk.post("faults", kind="html")
    desk.post("reset")
    state = desk.state()
    assert state["settings"]["token_life_seconds"] == 30
    assert (state["now"], state["faults"], state["calls"]["token"]) == (START, [], 0)
    assert not desk.check(token)["alive"]


def test_settings_change_in_part_and_show_what_is_in_force(desk):
    answer = desk.post("settings", token_life_seconds=30).json["settings"]
    assert answer["token_life_seconds"] == 30
    assert answer["token_overlap_seconds"] == 1.25
    assert answer["ticket_life_seconds"] == 7200


def test_an_unknown_setting_is_refused_with_the_known_names_and_changes_nothing(desk):
    response = desk.post("settings", token_lief_seconds=30, ticket_life_seconds=30)
    assert response.status_code == 400
    assert "token_lief_seconds" in response.json["error"]["message"]
    assert "token_life_seconds" in response.json["error"]["known"]
    assert desk.state()["settings"]["ticket_life_seconds"] == 7200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_life_seconds", 0),
        ("token_life_seconds", True),
        ("token_life_seconds", "30"),
        ("token_life_seconds", 10**400),
        ("ticket_issue", "sometimes"),
        ("ticket_issue", []),
        ("ip_whitelist", "127.0.0.1"),
        ("ip_whitelist", ["localhost"]),
        ("daily_quota", {"tokens": 1}),
        ("daily_quota", {"token": -1}),
        ("force_refresh_daily", 1.5),
        ("verify_domains", [""]),
    ],
)
def test_an_unusable_value_is_refused(desk, name, value):
    before = desk.state()["settings"]
    assert desk.post("settings", **{name: value}).status_code == 400
    assert desk.state()["settings"] == before


def test_start_settings_are_checked_too():
    with pytest.raises(SettingsError, match="ticket_issue"):
        create_app(SandboxSettings(ticket_issue="sometimes"))
    with pytest.raises(SettingsError, match="accounts"):
        create_app(SandboxSettings(accounts={"wx0123456789abcdef": ""}))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("rotate", {"appid": "wx-nobody", "credential": "access_token"}),
        ("rotate", {"appid": DEFAULT_APPID, "credential": "password"}),
        ("kill", {}),
        ("clock", {}),
        ("clock", {"advance_seconds": "1"}),
        ("clock", {"advance_seconds": 10**400}),
        ("faults", {}),
        ("faults", {"kind": "explode"}),
        ("faults", {"kind": []}),
        ("faults", {"kind": "hang", "endpoint": "tokens"}),
        ("faults", {"kind": "hang", "times": 0}),
        ("faults", {"kind": "hang", "seconds": -1}),
        ("faults", {"kind": "errcode", "errmsg": 5}),
        ("faults", {"kind": "hang", "color": "red"}),
    ],
)
def test_a_control_that_makes_no_sense_is_a_400(desk, path, body):
    response = desk.post(path, **body)
    assert response.status_code == 400
    assert response.json["error"]["message"]


def test_controls_need_json(desk):
    form = desk.client.post("/sandbox/reset", data="x=1", content_type="text/plain")
    assert form.status_code == 415
    broken = desk.client.post("/sandbox/reset", data="{", content_type="application/json")
    assert broken.status_code == 400
    assert desk.client.get("/sandbox/reset").status_code == 405


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:8001", True),
        ("LOCALHOST", True),
        ("dev.localhost:1", True),
        ("127.9.9.9:65535", True),
        ("[::1]:80", True),
        ("::1", False),
        ("192.168.1.5:8001", False),
        ("lan.example.com:9", True),
        ("evil.test", False),
        ("localhost.evil.test", False),
        ("127.0.0.1.evil.test", False),
        ("user@localhost", False),
        ("", False),
    ],
)
def test_controls_answer_loopback_and_given_hosts_only(host, allowed):
    assert control_host_allowed(host, {"lan.example.com"}) is allowed


def test_a_foreign_host_reaches_the_bridge_but_no_control(desk):
    foreign = {"Host": "evil.test"}
    assert desk.client.get("/sandbox/state", headers=foreign).status_code == 403
    assert desk.client.get("/sandbox/", headers=foreign).status_code == 403
    assert desk.client.post("/sandbox/reset", json={}, headers=foreign).status_code == 403
    assert desk.client.get("/sandbox/bridge.js", headers=foreign).status_code == 200


def test_the_request_log_says_what_happened(desk):
    desk.token()
    desk.post("faults", kind="errcode", errcode=40164, endpoint="getticket")
    desk.client.get("/cgi-bin/ticket/getticket?access_token=x")
    first, second = desk.client.get("/sandbox/requests").json["requests"]
    assert first == {
        "at": START,
        "endpoint": "token",
        "method": "GET",
        "appid": DEFAULT_APPID,
        "remote_addr": "127.0.0.1",
        "fault": None,
        "errcode": 0,
        "status": 200,
        "seconds": first["seconds"],
        "rotated": True,
        "client": first["client"],
    }
    assert first["client"].startswith("127.0.0.1 Werkzeug/")
    assert (second["fault"], second["errcode"], second["rotated"]) == ("errcode", 40164, False)


def test_the_request_log_is_bounded(desk):
    for _ in range(2_010):
        desk.client.get("/cgi-bin/token")
    assert len(desk.client.get("/sandbox/requests").json["requests"]) == 2_000
    assert desk.state()["calls"]["token"] == 2_010


def test_no_view_shows_a_secret_or_a_value(desk):
    values = [desk.token(), desk.token("stable_token"), desk.ticket(), desk.ticket("wx_card"), DEFAULT_SECRET]
    desk.client.get(f"/cgi-bin/token?appid={DEFAULT_SECRET}&secret={DEFAULT_SECRET}")
    views = [desk.client.get(f"/sandbox/{name}").text for name in ("state", "requests", "")]
    assert [value for value in values for view in views if value in view] == []


def test_the_state_tells_values_apart_by_digest(desk):
    desk.token()
    first = desk.account()["access_token"]["digest"]
    desk.token()
    assert desk.account()["access_token"]["digest"] != first
    assert desk.account()["wx_card_ticket"] is None


@pytest.mark.parametrize(
    ("query", "language", "expected"),
    [("", "zh-CN,zh;q=0.9", "微信沙箱"), ("", "fr", "WeChat sandbox"), ("?lang=zh", "en", "微信沙箱")],
)
def test_the_page_speaks_the_readers_language(desk, query, language, expected):
    response = desk.client.get(f"/sandbox/{query}", headers={"Accept-Language": language})
    assert expected in response.text
    assert "script src=&#34;" not in response.text
    assert '&lt;script src="http://localhost/sandbox/bridge.js"&gt;&lt;/script&gt;' in response.text


def test_the_page_has_every_text_in_both_languages_and_a_label_for_each_choice(desk):
    source = (Path(page.__file__).parent / "pages/sandbox.html").read_text(encoding="utf-8")
    pairs = re.findall(r"(?:text|title)\('([^']*)', '([^']*)'\)", source)
    assert len(pairs) > 30
    labels = {name: {**words} for name, words in page.CHOICES.items()}
    assert [tuple(labels["mode"]), tuple(labels["rule"])] == [MODES, RULES]
    pairs += [words for names in labels.values() for words in names.values()]
    for which, language in enumerate(("zh", "en")):
        shown = html.unescape(desk.client.get(f"/sandbox/?lang={language}").text)
        assert [pair[which] for pair in pairs if pair[which] not in shown] == []


def test_the_page_runs_nothing_inline(desk):
    response = desk.client.get("/sandbox/")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert desk.client.get("/sandbox/page.js").mimetype == "text/javascript"
    assert desk.client.get("/sandbox/page.css").mimetype == "text/css"
    assert desk.client.get("/").headers["Location"] == "/sandbox/"


def test_an_unknown_page_is_a_404_in_json(desk):
    assert desk.client.get("/nothing").json["error"]["code"] == "not_found"


def test_the_page_for_people_shows_the_latest_verdicts_with_their_cause(desk):
    client = desk.client
    assert "No page has called wx.config yet." in client.get("/sandbox/?lang=en").text
    config = {
        "appId": DEFAULT_APPID,
        "verifyTimestamp": "1414587457",
        "verifyNonceStr": "a-nonce",
        "verifySignature": "0" * 40,
    }
    for number in range(60):
        client.post("/sandbox/bridge/verify", json=config | {"url": f"http://127.0.0.1/{number}?a=<b>"})
    for language, words in (
        ("en", "no ticket of this sandbox gives this signature"),
        ("zh", "用沙箱里的任何 ticket"),
    ):
        text = client.get(f"/sandbox/?lang={language}").text
        assert words in text
        assert "http://127.0.0.1/59?a=&lt;b&gt;" in text
        assert "http://127.0.0.1/9?" not in text
    assert len(desk.state()["verdicts"]) == 50
