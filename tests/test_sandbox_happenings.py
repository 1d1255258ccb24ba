"""What may happen to an account of the sandbox: each by its file, its control or its command; and what the journal says."""

import json
from pathlib import Path

import pytest
from at_sandbox import control
from sandbox_desk import Desk

from wxsign import sandbox
from wxsign.sandbox import DEFAULT_APPID, DEFAULT_SECRET
from wxsign.sandbox.__main__ import main
from wxsign.sandbox.faults import KINDS, Fault, FaultQueue
from wxsign.sandbox.happenings import CONTROLS, happenings
from wxsign.sandbox.journal import Visit
from wxsign.sandbox.judging import remarks_on

ROOT = Path(__file__).parent.parent
QUERY = {"grant_type": "client_credential", "appid": DEFAULT_APPID, "secret": DEFAULT_SECRET}


@pytest.fixture
def desk():
    return Desk()


def trigger(desk, name, **more):
    answer = desk.post("trigger", happening=name, **more)
    assert answer.status_code == 200, answer.json
    return answer.json["appid"]


def code(desk, endpoint="token"):
    """What a fetch is answered with: an errcode, 0 where it is granted."""
    if endpoint == "token":
        return desk.client.get("/cgi-bin/token", query_string=QUERY).json.get("errcode", 0)
    return desk.client.post("/cgi-bin/stable_token", json=QUERY).json.get("errcode", 0)


@pytest.mark.parametrize(
    ("name", "errcode"),
    [
        ("secret-reset", 40125),
        ("secret-frozen", 40243),
        ("account-frozen", 50007),
        ("whitelist-lost", 40164),
        ("confirmation-needed", 89503),
        ("quota-gone", 45009),
        ("minute-quota", 45011),
        ("busy", -1),
    ],
)
def test_what_happens_is_answered_with_its_errcode_until_all_is_calm(desk, name, errcode):
    held = desk.token("stable_token")
    assert trigger(desk, name) == DEFAULT_APPID
    assert (code(desk), code(desk, "stable_token")) == (errcode, errcode)
    trigger(desk, "calm")
    assert (code(desk), code(desk, "stable_token")) == (0, 0)
    assert desk.check(held)["alive"], "what was issued lives on"


def test_a_quota_that_is_gone_can_be_cleared(desk):
    trigger(desk, "quota-gone")
    given = {"appid": DEFAULT_APPID, "appsecret": DEFAULT_SECRET}
    assert desk.client.post("/cgi-bin/clear_quota/v2", json=given).json["errcode"] == 0
    assert code(desk) == 0


@pytest.mark.parametrize("name", ["ticket-rotated", "thief"])
def test_a_ticket_that_is_taken_ends_the_signatures_made_with_it(desk, name):
    ticket = desk.ticket()
    assert desk.verify(ticket)["ok"]
    trigger(desk, name)
    assert desk.verify(ticket)["matched"] == "previous"


@pytest.mark.parametrize("name", ["thief", "token-dead", "token-taken"])
def test_a_token_that_is_taken_is_dead(desk, name):
    held = desk.token("stable_token")
    trigger(desk, name)
    assert not desk.check(held)["alive"]


@pytest.mark.parametrize(
    ("name", "kind"), [("hang", "hang"), ("drip", "drip"), ("reset-connections", "reset"), ("html", "html")]
)
def test_a_fault_on_the_wire_waits_for_every_call_of_the_account(desk, name, kind):
    trigger(desk, name)
    (fault,) = desk.state()["faults"]
    assert (fault["kind"], fault["endpoint"], fault["times"]) == (kind, "*", None)
    assert fault["appid"] == DEFAULT_APPID


def test_slow_answers_take_three_seconds_each(desk):
    trigger(desk, "slow")
    assert desk.state()["settings"]["latency_seconds"] == 3


def test_a_flaky_wechat_fails_a_part_of_the_calls(desk):
    trigger(desk, "flaky")
    assert desk.state()["faults"][0]["probability"] == 0.33
    chances = iter([0.5, 0.1, 0.33])
    queue = FaultQueue(lambda: next(chances))
    queue.add(Fault("*", "errcode", None, probability=0.33))
    assert [queue.take("token", "") is not None for _ in range(3)] == [False, True, False]


def test_a_fault_that_is_passed_over_by_chance_is_not_used_up():
    chances = iter([0.9, 0.1, 0.1])
    queue = FaultQueue(lambda: next(chances))
    queue.add(Fault("*", "errcode", 1, probability=0.5))
    assert [queue.take("token", "") is not None for _ in range(3)] == [False, True, False]


def test_it_happens_to_the_account_that_is_named_and_to_no_other():
    desk = Desk(accounts={"wx0000000000000001": "secret-one", "wx0000000000000002": "secret-two"})
    assert trigger(desk, "busy", appid="wx0000000000000002") == "wx0000000000000002"
    assert desk.state()["faults"][0]["appid"] == "wx0000000000000002"
    assert trigger(desk, "thief") == "wx0000000000000001"
    assert desk.post("trigger", happening="busy", appid="wx9").status_code == 400


def test_an_app_of_wecom_is_robbed_of_what_it_has():
    desk = Desk(accounts={"ww0000000000000001/1000002": "secret"})
    query = {"corpid": "ww0000000000000001", "corpsecret": "secret"}
    held = desk.client.get("/cgi-bin/gettoken", query_string=query).json["access_token"]
    trigger(desk, "thief")
    assert not desk.check(held)["alive"]


@pytest.mark.parametrize("each", happenings().values(), ids=lambda each: each.name)
def test_every_file_says_what_it_is_in_both_languages_and_can_be_played(desk, each):
    assert each.en.endswith(".")
    assert each.zh.endswith("。")
    assert trigger(desk, each.name) == DEFAULT_APPID
    listed = {each["name"] for each in desk.client.get("/sandbox/happenings").json["happenings"]}
    assert each.name in listed


@pytest.mark.parametrize(("page", "language"), [("sandbox.md", "en"), ("sandbox.zh-CN.md", "zh")])
def test_the_documents_list_what_there_is_in_the_words_of_the_files(page, language):
    text = (ROOT / "docs" / page).read_text()
    rows = [f"| `{each.name}` | {getattr(each, language)} |" for each in happenings().values()]
    assert [row for row in rows if row not in text] == []


def test_the_documents_name_every_control_and_kind_of_fault():
    text = (ROOT / "docs/sandbox.md").read_text()
    assert [name for name in (*CONTROLS, *KINDS) if f"`{name}`" not in text] == []


def test_the_chaos_harness_plays_files_that_there_are():
    scenarios = (ROOT / "chaos/scenarios.py").read_text()
    played = set(scenarios.split('faults.happening("')[1:])
    assert len(played) >= 3
    assert {name.partition('"')[0] for name in played} <= set(happenings())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"happening": "thieff"}, "known: account-frozen"),
        ({}, "unknown happening"),
        ({"steps": "thief"}, "must be a list"),
        ({"steps": [{"control": "shutdown"}]}, "one of rotate, kill"),
        ({"steps": ["rotate"]}, "one of rotate, kill"),
        ({"steps": [{"control": "faults", "kind": "no"}]}, "kind must be one of"),
        ({"steps": [{"control": "settings", "no": 1}]}, "unknown setting no"),
        ({"steps": [{"control": "secret", "secret": ""}]}, "secret must be a text"),
    ],
)
def test_what_cannot_happen_is_refused_with_what_can(desk, given, words):
    answer = desk.post("trigger", **given)
    assert answer.status_code == 400
    assert words in answer.json["error"]["message"]


# The command.


@pytest.fixture(scope="module")
def running():
    with sandbox.serve() as server:
        yield server


def test_the_command_lets_it_happen_and_says_so(running, capsys):
    assert main(["trigger", "busy", "--url", running.url]) == 0
    assert capsys.readouterr().out == f"{DEFAULT_APPID}: WeChat is busy: -1. 微信繁忙：-1。\n"
    assert running.sandbox.state()["faults"][0]["errcode"] == -1
    control(running, "reset")


def test_a_file_of_one_s_own_happens_too(running, capsys, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(
        json.dumps(
            {"en": "Mine.", "zh": "我的。", "steps": [{"control": "settings", "latency_seconds": 0.5}]}
        )
    )
    assert main(["trigger", str(file), "--url", running.url]) == 0
    assert running.sandbox.state()["settings"]["latency_seconds"] == 0.5
    control(running, "reset")
    file.write_text('{"steps": []}')
    assert main(["trigger", str(file)]) == 2
    assert main(["trigger", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_the_command_without_a_name_lists_what_there_is(capsys):
    assert main(["trigger"]) == 0
    shown = capsys.readouterr().out
    assert all(each.en in shown and each.zh in shown for each in happenings().values())


def test_a_wrong_name_or_address_or_account_is_told(running, capsys):
    assert main(["trigger", "thieff"]) == 2
    assert "thief" in capsys.readouterr().err
    assert main(["trigger", "thief", "--url", "http://127.0.0.1:9"]) == 1
    assert "--url" in capsys.readouterr().err
    assert main(["trigger", "thief", "--url", running.url, "--appid", "wx9"]) == 1
    assert f"known: {DEFAULT_APPID}" in capsys.readouterr().err


# Any AppID.


def test_any_appid_is_an_account_from_its_first_call_on_where_that_is_set():
    desk = Desk(any_appid=True)
    mine = {"grant_type": "client_credential", "appid": "wx0123456789abcdef", "secret": "mine"}
    token = desk.client.post("/cgi-bin/stable_token", json=mine).json["access_token"]
    assert desk.check(token)["appid"] == "wx0123456789abcdef"
    wrong = desk.client.post("/cgi-bin/stable_token", json=mine | {"secret": "other"}).json
    assert wrong["errcode"] == 40125, "the first secret is its secret"
    query = {"access_token": token, "type": "jsapi"}
    assert desk.client.get("/cgi-bin/ticket/getticket", query_string=query).json["ticket"]
    strange = desk.client.post("/cgi-bin/stable_token", json=mine | {"appid": "no-appid"}).json
    assert strange["errcode"] == 40013


def test_an_account_that_a_log_in_opened_takes_the_secret_that_comes_first():
    desk = Desk(any_appid=True)
    query = {"appid": "wx0123456789abcdef", "redirect_uri": "https://a.example/", "scope": "snsapi_base"}
    answer = desk.client.get("/connect/oauth2/authorize", query_string=query)
    given = answer.headers["Location"].partition("code=")[2].partition("&")[0]
    query = {
        "appid": "wx0123456789abcdef",
        "secret": "mine",
        "code": given,
        "grant_type": "authorization_code",
    }
    assert desk.client.get("/sns/oauth2/access_token", query_string=query).json["openid"]


def test_an_unknown_appid_is_refused_where_that_is_not_set(desk):
    mine = {"grant_type": "client_credential", "appid": "wx0123456789abcdef", "secret": "mine"}
    assert desk.client.post("/cgi-bin/stable_token", json=mine).json["errcode"] == 40013
    assert desk.post("settings", any_appid="yes").status_code == 400


# What the journal says.


def visit(at, endpoint="token", client="10.0.0.1 shop/1.0", errcode=0):
    return Visit(
        at, endpoint, "GET", "wx1", client.partition(" ")[0], None, errcode, 200, 0.1, errcode == 0, client
    )


def told(*visits):
    return [(remark.code, remark.client) for remark in remarks_on(visits)]


def test_a_client_that_fetches_the_token_seven_times_in_a_minute_is_told_to_keep_it(desk):
    for _ in range(7):
        desk.client.get(
            "/cgi-bin/token", query_string=QUERY, headers={"User-Agent": "shop/1.0 (secret-name)"}
        )
        desk.now += 8
    (remark,) = desk.client.get("/sandbox/requests").json["remarks"]
    assert remark["code"] == "fetched_often"
    assert remark["en"].startswith("127.0.0.1 shop/1.0 called token 7 times in a minute;")
    assert remark["zh"].startswith("127.0.0.1 shop/1.0 在一分钟内调用了 7 次 token；")


def test_two_fetches_in_a_minute_or_one_a_minute_are_nothing_to_remark_on():
    assert told(visit(0), visit(10)) == []
    assert told(*(visit(60 * minute) for minute in range(10))) == []


def test_two_clients_of_the_classic_token_end_each_other_s():
    first, second = visit(0), visit(1_000, client="10.0.0.2 pay/2.1")
    assert told(first, second, visit(2_000)) == [("two_fetchers", "10.0.0.2 pay/2.1")]
    assert told(visit(0, "stable_token"), visit(1, "stable_token", client="10.0.0.2")) == []


def test_who_asks_again_where_only_a_person_helps_is_told_so():
    refused = [visit(second, "stable_token", errcode=40164) for second in range(5)]
    assert told(*refused) == [("asked_in_vain", "10.0.0.1 shop/1.0")]
    assert told(*refused[:4]) == []


def test_who_goes_on_with_a_dead_token_is_told_so():
    refused = [visit(second, "custom_send", errcode=42001) for second in range(5)]
    assert told(*refused) == [("dead_token_used", "10.0.0.1 shop/1.0")]


def test_wxsign_itself_gives_nothing_to_remark_on(running):
    from at_sandbox import service_at  # noqa: PLC0415 - used here alone

    from wxsign.accounts import LOOPBACK, OfficialAccount  # noqa: PLC0415 - the same

    account = OfficialAccount("default", DEFAULT_APPID, DEFAULT_SECRET, (LOOPBACK,))
    with service_at(running.url, accounts=(account,), clients=()) as service:
        for number in range(20):
            service.jsconfig(f"http://127.0.0.1/{number}")
    assert remarks_on(running.sandbox.visits()) == []
    assert any("wxsign" in each.client for each in running.sandbox.visits())
