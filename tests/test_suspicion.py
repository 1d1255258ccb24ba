"""Who took our token? Real thefts are told with their time; what only looks like one is not."""

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from broker_desk import CLASSIC, TICKET, TOKEN
from click.testing import CliRunner
from machines_desk import Machines
from service_desk import DEFAULT_APPID, DEFAULT_SECRET

from wxsign import cli
from wxsign.accounts import ApiClient, sha256_of_key
from wxsign.broker.suspicion import inside_its_life
from wxsign.credentials import LONG_AGO, Credential, TokenEndpoint
from wxsign.errors import WeChatBadAnswer, WeChatUnreachable
from wxsign.sandbox.faults import Fault
from wxsign.stores import SqliteStore
from wxsign.web import create_app

pytestmark = pytest.mark.days

HOUR = 3600
CLIENT_KEY = "k" * 40


def thefts(desk, number=0):
    """The events of theft in that machine's store."""
    told = [json.loads(text) for _, text in desk.stores[number].events()]
    return [event for event in told if event["event"] == "token_taken"]


def of_age(**more):
    """Machines that have seen two tickets come and so know the age of the one they hold."""
    desk = Machines(**more)
    desk.until(7260, step=10)
    assert desk.usable_by_all()
    assert thefts(desk) == []
    return desk


def rotate(desk, credential="jsapi_ticket"):
    desk.sandbox.rotate(DEFAULT_APPID, credential)


# the pure decision


def credential(kind, life=7200, **changes):
    fields = {
        "value": "v",
        "version": 1,
        "life_seconds": life,
        "started_at": 0.0,
        "earliest_expiry": 100.0 + life,
    }
    expiry = {"latest_expiry": 100.0 + life}
    return Credential(**{**fields, **expiry, **changes})


@pytest.mark.parametrize(
    ("key", "before", "now", "expected"),
    [
        (TOKEN, None, 50.0, False),
        (TOKEN, credential(TOKEN), 50.0, True),
        (TOKEN, credential(TOKEN), 6999.0, True),
        (TOKEN, credential(TOKEN), 7000.0, False),
        (TOKEN, credential(TOKEN), 7299.0, False),
        (TOKEN, credential(TOKEN), 7300.0, False),
        (CLASSIC, credential(CLASSIC), 6999.0, True),
        (CLASSIC, credential(CLASSIC), 7000.0, False),
        (TOKEN, credential(TOKEN, life=120), 214.9, True),
        (TOKEN, credential(TOKEN, life=120), 215.0, False),
        (TICKET, credential(TICKET), 6999.0, True),
        (TICKET, credential(TICKET), 7000.0, False),
        (TICKET, credential(TICKET, earliest_expiry=LONG_AGO), 50.0, False),
        (TICKET, credential(TICKET, earliest_expiry=4000.0), 3699.0, True),
        (TICKET, credential(TICKET, earliest_expiry=4000.0), 3700.0, False),
        (TICKET, credential(TICKET, alive_until=9000.0), 8000.0, False),
        (TOKEN, credential(TOKEN, value=None), 50.0, False),
    ],
)
def test_only_well_inside_a_life_of_known_length_a_change_tells_of_somebody_else(key, before, now, expected):
    assert inside_its_life(key, before, now) is expected


# thefts


def test_two_wxsign_with_a_store_each_on_classic_tokens_tell_on_each_other():
    desk = Machines(2, apart=True, token_endpoint=TokenEndpoint.CLASSIC)
    desk.pass_time(2 * HOUR, step=10)
    for number, service in enumerate(desk.services):
        told = thefts(desk, number)
        assert told
        assert all(theft["kind"] == "access_token" for theft in told)
        assert service.account_states()[0].theft.app_id == DEFAULT_APPID
        assert service.readiness().problems == ("token_taken",)


def test_stable_tokens_beside_a_wxsign_on_classic_ones_accuse_nobody():
    desk = Machines(2, apart=True)
    desk.configure(0, token_endpoint=TokenEndpoint.CLASSIC)
    desk.restart(0)
    desk.pass_time(5 * HOUR, step=10)
    assert desk.calls("token") > 1
    assert desk.calls("stable_token") > 1
    assert thefts(desk, 0) == []
    assert thefts(desk, 1) == []
    assert {service.readiness().state for service in desk.services} == {"ready"}


def test_two_wxsign_with_a_store_each_on_stable_tokens_accuse_nobody():
    desk = Machines(2, apart=True)
    desk.pass_time(5 * HOUR, step=10)
    assert [thefts(desk, 0), thefts(desk, 1)] == [[], []]


@pytest.mark.parametrize("endpoint", [TokenEndpoint.STABLE, TokenEndpoint.CLASSIC])
def test_one_wxsign_of_two_machines_accuses_nobody(endpoint):
    desk = Machines(2, token_endpoint=endpoint)
    desk.pass_time(5 * HOUR, step=10)
    assert thefts(desk) == []


@pytest.mark.parametrize("stolen", ["access_token", "jsapi_ticket"])
def test_the_evidence_holds_the_moment_of_the_theft(stolen):
    desk = of_age(token_endpoint=TokenEndpoint.CLASSIC)
    desk.until(9000, step=10)
    rotate(desk, stolen)
    at = desk.wall()
    desk.pass_time(120)
    (theft,) = thefts(desk)
    assert theft["kind"] == {"access_token": "access_token", "jsapi_ticket": "jsapi"}[stolen]
    assert theft["last_seen_at"] <= at <= theft["noticed_at"]
    assert theft["noticed_at"] - at <= 61
    if stolen == "jsapi_ticket":
        assert at - theft["last_seen_at"] <= 61


def test_a_stable_token_that_is_forced_elsewhere_was_taken():
    desk = of_age()
    desk.until(9000, step=10)
    desk.client.stable_token(DEFAULT_APPID, DEFAULT_SECRET, force_refresh=True)
    desk.pass_time(120)
    assert [theft["kind"] for theft in thefts(desk)] == ["access_token"]
    assert desk.usable_by_all()


# what only looks like one


@pytest.mark.parametrize("endpoint", [TokenEndpoint.STABLE, TokenEndpoint.CLASSIC])
def test_an_ordinary_end_is_no_theft_not_even_a_little_early(endpoint):
    desk = of_age(token_endpoint=endpoint)
    # The ticket lives to 14 401 or so; WeChat may renew it a few minutes before.
    desk.until(14_401 - 280, step=10)
    rotate(desk)
    desk.pass_time(2 * HOUR, step=10)
    assert thefts(desk) == []
    assert desk.usable_by_all()


def test_a_ticket_of_unknown_age_that_changes_is_none():
    desk = Machines()
    desk.until(600, step=10)
    rotate(desk)
    desk.pass_time(120)
    assert thefts(desk) == []
    rotate(desk)
    desk.pass_time(120)
    assert len(thefts(desk)) == 1, "of the second the age is known"


NO_ANSWER = {
    "timeout": WeChatUnreachable("timeout", "/cgi-bin/token"),
    "reset": WeChatUnreachable("reset", "/cgi-bin/token"),
    "truncated": WeChatBadAnswer("truncated", "/cgi-bin/token"),
    "html": WeChatBadAnswer("not_json", "/cgi-bin/token"),
    "5xx": WeChatBadAnswer("http_status", "/cgi-bin/token"),
}


@pytest.mark.parametrize("how", NO_ANSWER)
def test_a_change_within_ten_minutes_of_a_call_of_ours_without_an_answer_is_none(how):
    """A classic token is rotated by WeChat though we never hear of it."""
    desk = of_age(token_endpoint=TokenEndpoint.CLASSIC)
    desk.until(9000, step=10)
    answer_us = desk.client.classic_token

    def no_answer(*arguments, **more):
        desk.client.classic_token = answer_us
        answer_us(*arguments, **more)
        raise NO_ANSWER[how]

    desk.client.classic_token = no_answer
    desk.services[0].broker.refresh_now(desk.token_key)
    desk.pass_time(590, step=10)
    assert desk.usable_by_all()
    assert thefts(desk) == []
    desk.pass_time(60, step=10)
    rotate(desk, "access_token")
    desk.pass_time(120, step=10)
    assert len(thefts(desk)) == 1, "after that it is one again"


def test_a_call_that_never_reached_wechat_excuses_nothing():
    desk = of_age()
    desk.until(9000, step=10)
    ask = desk.client.ticket

    def no_route(*arguments, **more):
        desk.client.ticket = ask
        raise WeChatUnreachable("connect", "/cgi-bin/ticket/getticket")

    desk.client.ticket = no_route
    desk.pass_time(120)
    rotate(desk)
    desk.pass_time(120)
    assert len(thefts(desk)) == 1


def test_a_lapsed_lease_counts_as_a_call_without_an_answer():
    desk = of_age()
    desk.until(9000, step=10)
    ticket_key = desk.services[0]._tickets["default"]
    desk.store.acquire(ticket_key.name, "killed in the middle of a call", 5, 0)
    desk.pass_time(120)
    rotate(desk)
    desk.pass_time(120)
    assert thefts(desk) == []


def test_a_token_that_we_forced_out_ourselves_is_none():
    desk = of_age()
    desk.until(9000, step=10)
    token = desk.token()
    # WeChat refuses a token once that it goes on giving out: we force another.
    desk.sandbox.add_fault(Fault("get_api_domain_ip", "errcode", errcode=40001))
    desk.services[0].report_rejected("default", token)
    assert desk.token() != token
    assert len(thefts(desk)) == 1, "the refusal is the event, the force is not another"


@pytest.mark.parametrize("step", [-HOUR, -60, 60, HOUR])
def test_a_step_of_the_stores_clock_makes_no_thief(step):
    desk = of_age()
    desk.until(9000, step=10)
    desk.store_step = step
    desk.until(5 * HOUR, step=10)
    assert thefts(desk) == []
    assert desk.usable_by_all()


@pytest.mark.parametrize("endpoint", [TokenEndpoint.STABLE, TokenEndpoint.CLASSIC])
def test_a_store_that_was_emptied_makes_no_thief(endpoint):
    desk = of_age(token_endpoint=endpoint)
    desk.until(9000, step=10)
    desk.store.__init__(desk.store_clock)
    desk.until(5 * HOUR, step=10)
    assert thefts(desk) == []


def test_a_reset_of_the_secret_makes_no_thief():
    desk = of_age()
    desk.sandbox._accounts[DEFAULT_APPID].secret = "f" * 32
    desk.until(14_000, step=10)
    desk.configure(app_secret="f" * 32)
    desk.restart()
    desk.until(5 * HOUR, step=10)
    assert thefts(desk) == []
    assert desk.usable_by_all()


# where it is told


@pytest.fixture
def robbed():
    """A wxsign whose ticket was taken."""
    desk = of_age()
    clients = (ApiClient("reader", (sha256_of_key(CLIENT_KEY),)),)
    desk.configured = [replace(settings, clients=clients) for settings in desk.configured]
    desk.restart()
    desk.until(9000, step=10)
    rotate(desk)
    desk.pass_time(120, step=10)
    return desk


def clock_time(theft):
    middle = (theft["last_seen_at"] + theft["noticed_at"]) / 2
    return datetime.fromtimestamp(middle, UTC).astimezone().strftime("%H:%M")


def test_it_degrades_but_does_not_end_readiness_and_every_worker_tells_it(robbed):
    for service in robbed.services:
        readiness = service.readiness()
        assert (readiness.ready, readiness.state, readiness.problems) == (True, "degraded", ("token_taken",))
    for service in robbed.services:
        answer = create_app(service).test_client().get("/readyz")
        assert (answer.status_code, answer.json) == (200, {"state": "degraded", "problems": ["token_taken"]})


def test_a_process_that_starts_later_tells_it_too(robbed):
    robbed.restart(0)
    robbed.tick()
    assert robbed.services[0].readiness().problems == ("token_taken",)


@pytest.mark.parametrize(
    ("language", "says", "remedy"),
    [
        ("en", "Another system (or another wxsign with its own store)", "Find the system"),
        ("zh-CN", "另一个系统", "请找出"),
    ],
)
def test_the_api_tells_what_when_and_what_to_do(robbed, language, says, remedy):
    client = create_app(robbed.services[1]).test_client()
    headers = {"Authorization": f"Bearer {CLIENT_KEY}", "Accept-Language": language}
    (account,) = client.get("/api/v1/accounts", headers=headers).json["accounts"]
    (evidence,) = thefts(robbed)
    assert account["problems"] == ["token_taken"]
    assert account["theft"]["kind"] == "jsapi"
    assert account["theft"]["between"] == [int(evidence["last_seen_at"]), int(evidence["noticed_at"])]
    assert says in account["theft"]["message"]
    assert clock_time(evidence) in account["theft"]["message"]
    assert remedy in account["theft"]["hint"]


def test_the_command_line_tells_it(robbed, tmp_path, monkeypatch):
    (evidence,) = thefts(robbed)
    given = {
        "APPID": DEFAULT_APPID,
        "SECRET": DEFAULT_SECRET,
        "ALLOWED_HOSTS": "m.example.com",
        "STORE": f"sqlite:///{tmp_path}/wxsign.db",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"WXSIGN_{name}", value)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name, (text, _) in robbed.store._notes.items():
        SqliteStore(tmp_path / "wxsign.db").note(name, text, 60)
    shown = CliRunner().invoke(cli.main, ["accounts"]).output
    assert (
        f"! Another system (or another wxsign with its own store) fetched this account's jsapi at about {clock_time(evidence)}."
        in shown
    )
    assert "stable_token keeps the others from harming you" in shown


def test_the_log_has_one_line_for_it_without_a_value(caplog):
    desk = of_age()
    desk.until(9000, step=10)
    caplog.clear()
    rotate(desk)
    desk.pass_time(600, step=10)
    (line,) = [record for record in caplog.records if record.getMessage() == "wxsign.token_taken"]
    assert line.levelno == logging.WARNING
    assert line.fields["appid"] == DEFAULT_APPID
    assert "at about" in line.fields["message"]
    for value in (desk.token(), desk.services[0].ticket("default").value):
        assert value not in f"{line.fields} {desk.stores[0].events()}"


def test_a_day_later_it_is_no_problem_any_more(robbed):
    robbed.seconds += 86_400
    robbed.pass_time(30)
    assert "token_taken" not in robbed.services[0].readiness().problems
    assert robbed.services[0].account_states()[0].theft is None
    assert len(thefts(robbed)) >= 1, "the event log keeps it"
