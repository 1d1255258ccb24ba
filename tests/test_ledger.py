"""The quota ledger of whole services against WeChat's own count: refused before WeChat would, until China's midnight."""

import itertools
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import pytest
from broker_desk import APP, TOKEN, desks
from click.testing import CliRunner
from machines_desk import Machines
from service_desk import DEFAULT_APPID, DEFAULT_SECRET, PAGE

from wxsign import cli
from wxsign.accounts import DAILY_LIMITS, ApiClient, sha256_of_key
from wxsign.broker.ledger import Ledger
from wxsign.broker.schedule import china_midnight
from wxsign.credentials import TokenEndpoint
from wxsign.errors import ConfigError, CredentialUnavailable
from wxsign.service import WxSign
from wxsign.settings import load_settings
from wxsign.stores import MemoryStore, SqliteStore
from wxsign.web import create_app

pytestmark = pytest.mark.days

CLIENT_KEY = "k" * 40
DAY = 86_400


def used(service):
    return {spending.endpoint: spending.used for spending in service.account_states()[0].spending}


def events(desk, code):
    return [visit for visit in desk.sandbox.requests() if visit["errcode"] == code]


def limited(**quota):
    """Two machines whose WeChat, and whose ledger, allow so many calls a day."""
    desk = Machines(daily_quota={name: count for name, count in quota.items() if name != "force_refresh"})
    desk.configure(quota=quota)
    desk.restart()
    return desk


# what is counted


@pytest.mark.parametrize("endpoint", [TokenEndpoint.STABLE, TokenEndpoint.CLASSIC])
def test_the_ledger_counts_what_wechat_counts_over_machines_and_restarts(endpoint):
    desk = Machines(token_endpoint=endpoint)
    for now in desk.run(3 * 3600, step=5):
        if now % 3000 == 0:
            desk.restart(0)
        if now == 3600:
            desk.services[1].report_rejected("default", desk.token())
    name = "token" if endpoint is TokenEndpoint.CLASSIC else "stable_token"
    counted = {count: desk.calls(count) for count in (name, "getticket", "get_api_domain_ip")}
    assert counted["get_api_domain_ip"] == 1
    assert [used(service) for service in desk.services] == [counted, counted]


def test_the_count_survives_the_end_of_every_process(tmp_path):
    desk = Machines(store=lambda clock: SqliteStore(tmp_path / "wxsign.db", clock))
    desk.pass_time(300, step=10)
    before = used(desk.services[0])
    desk.stores = [SqliteStore(tmp_path / "wxsign.db", desk.store_clock)] * 2
    desk.restart()
    desk.tick()
    assert used(desk.services[1]) == before
    assert before["getticket"] == desk.calls("getticket")


def test_a_call_without_an_answer_counts_for_wechat_may_have_counted_it():
    with desks("memory") as desk:
        worker = desk.worker()
        desk.wechat.script["access_token"].append(OSError("never seen outside of a test"))
        with suppress(CredentialUnavailable):
            worker.get(TOKEN)
        worker.join()
        assert worker.broker.spending([TOKEN])[APP][0].used == 1


@pytest.mark.parametrize(
    ("start", "seconds"),
    [
        ("2027-01-15T15:59:59Z", 1),
        ("2027-01-15T16:00:00Z", DAY),
        ("2027-01-15T00:00:00Z", 16 * 3600),
        ("2028-02-29T20:00:00Z", 20 * 3600),
    ],
)
def test_a_day_ends_at_midnight_in_china_wherever_the_machine_stands(start, seconds, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    clock = [datetime.fromisoformat(start).timestamp()]
    assert china_midnight(clock[0]) == clock[0] + seconds
    with desks("memory") as desk:
        desk.wall.now = clock[0]
        ledger = Ledger(lambda _key, _call: 1)
        assert ledger.admit(desk.store, TOKEN, "token", desk.wall(), urgent=True) is None
        spent = ledger.admit(desk.store, TOKEN, "token", desk.wall(), urgent=True)
        assert spent.retry_after_seconds == seconds
        desk.advance(seconds - 0.5)
        assert ledger.admit(desk.store, TOKEN, "token", desk.wall(), urgent=True) is not None
        desk.advance(0.5)
        assert ledger.admit(desk.store, TOKEN, "token", desk.wall(), urgent=True) is None


def test_a_refusal_is_not_counted():
    with desks("memory") as desk:
        ledger = Ledger(lambda _key, _call: 2)
        answers = [
            ledger.admit(desk.store, TOKEN, "stable_token", desk.wall(), urgent=True) for _ in range(9)
        ]
        assert [answer is None for answer in answers] == [True, True, *[False] * 7]
        assert ledger.spending(desk.store, [TOKEN])[APP][0].used == 2


# refused before WeChat would


def test_wechat_never_has_to_say_45009_and_what_is_held_is_served_on():
    desk = limited(getticket=60)
    answers = set()
    for now in desk.run(7200, step=5):
        answers.add(desk.sign(int(now / 5) % 2))
    assert answers == {"ok"}
    assert desk.calls("getticket") <= 60
    assert events(desk, 45009) == []
    for service in desk.services:
        readiness = service.readiness()
        assert (readiness.ready, readiness.state, readiness.problems) == (True, "degraded", ("quota_spent",))


def test_the_reserve_brings_the_next_ticket_when_the_last_one_has_ended():
    desk = limited(getticket=60)
    desk.until(7300, step=5)
    assert used(desk.services[0])["getticket"] > 54
    assert [desk.sign(0), desk.sign(1)] == ["ok", "ok"]


@pytest.mark.parametrize(("language", "words"), [("en", "midnight in China"), ("zh", "北京时间零点")])
def test_once_all_is_used_up_callers_are_told_until_when(language, words):
    desk = limited(getticket=3)
    desk.until(7300, step=10)
    for service in desk.services:
        with pytest.raises(CredentialUnavailable) as told:
            service.jsconfig(PAGE)
        assert told.value.cause.code == "quota_spent"
        assert words in told.value.hint.in_language(language)
        assert abs(told.value.retry_after_seconds - (china_midnight(desk.wall()) - desk.wall())) <= 1
        assert service.readiness().state == "unready"
    assert desk.calls("getticket") == 3


def test_the_next_day_begins_anew_by_itself():
    desk = limited(getticket=60)
    desk.until(3 * 3600, step=5)
    assert used(desk.services[0])["getticket"] <= 60
    left = china_midnight(desk.wall()) - desk.wall()
    desk.pass_time(left + 1, step=60)
    assert used(desk.services[0])["getticket"] <= 2
    desk.pass_time(130, step=5)
    assert desk.usable_by_all()
    assert desk.services[0].readiness().state == "ready"
    assert events(desk, 45009) == []


# force


def test_forces_are_thirty_seconds_apart_and_twenty_a_day_over_all_processes_and_restarts():
    with desks("memory") as desk:
        workers, values = desk.fleet(3), itertools.count(2)
        current = workers[0].hold(TOKEN)

        def next_only_by_force():
            return f"token-{next(values)}" if desk.wechat.calls[-1].force else current

        desk.wechat.always["access_token"] = next_only_by_force
        for turn in range(150):
            # While a tombstone stands it is still the last one that WeChat gives out unless it is forced.
            current = desk.stored(TOKEN).value or current
            desk.wechat.dead.add(current)
            if turn % 10 == 9:
                workers[turn % 3] = desk.worker()
            worker = workers[turn % 3]
            with suppress(CredentialUnavailable):
                worker.report(current)
            worker.join()
            desk.advance(190)
        forces = [call.at for call in desk.wechat.calls if call.force]
        assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(forces))
        days = [int((at + 8 * 3600) // DAY) for at in forces]
        assert max(days.count(day) for day in days) == 20


# limits


def test_the_limits_are_wechats_published_ones_unless_the_file_says_otherwise(tmp_path):
    file = tmp_path / "wxsign.toml"
    file.write_text(
        f'[accounts.shop]\napp_id = "{DEFAULT_APPID}"\napp_secret = "{DEFAULT_SECRET}"\n'
        'allowed_hosts = ["m.example.com"]\nquota = { getticket = 77 }\n'
    )
    service = WxSign(load_settings(str(file), {}), open_store=lambda _url: MemoryStore())
    limits = {spending.endpoint: spending.limit for spending in service.account_states()[0].spending}
    assert limits == {**{name: DAILY_LIMITS[name] for name in limits}, "getticket": 77}
    assert (DAILY_LIMITS["token"], DAILY_LIMITS["stable_token"], DAILY_LIMITS["force_refresh"]) == (
        2000,
        500_000,
        20,
    )


@pytest.mark.parametrize(
    ("quota", "says"),
    [
        ("{ getticket = 0 }", "whole numbers above 0"),
        ("{ getticket = true }", "whole numbers above 0"),
        ("{ getticket = 1.5 }", "whole numbers above 0"),
        ("7", "whole numbers above 0"),
        ("{ get_ticket = 7 }", "getticket"),
    ],
)
def test_a_limit_that_cannot_be_is_a_start_up_error_with_the_remedy(tmp_path, quota, says):
    file = tmp_path / "wxsign.toml"
    file.write_text(
        f'[accounts.shop]\napp_id = "{DEFAULT_APPID}"\napp_secret = "{DEFAULT_SECRET}"\n'
        f'allowed_hosts = ["m.example.com"]\nquota = {quota}\n'
    )
    with pytest.raises(ConfigError) as refused:
        load_settings(str(file), {})
    assert "accounts.shop.quota" in str(refused.value)
    assert says in str(refused.value)


# shown


def test_what_is_used_is_shown_over_http(tmp_path):
    desk = Machines(1)
    clients = (ApiClient("reader", (sha256_of_key(CLIENT_KEY),)),)
    desk.configured[0] = replace(desk.settings, clients=clients)
    desk.restart()
    desk.pass_time(200, step=5)
    client = create_app(desk.services[0]).test_client()
    answer = client.get("/api/v1/accounts", headers={"Authorization": f"Bearer {CLIENT_KEY}"}).json
    assert answer["accounts"][0]["calls_today"] == [
        {"endpoint": "stable_token", "used": 1, "limit": 500_000},
        {"endpoint": "getticket", "used": desk.calls("getticket"), "limit": 10_000},
        {"endpoint": "get_api_domain_ip", "used": 0, "limit": 5_000},
    ]


def test_what_is_used_is_shown_by_the_command_line(tmp_path, monkeypatch):
    path = tmp_path / "wxsign.db"
    desk = Machines(1, store=lambda _clock: SqliteStore(path))
    desk.tick()
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "APPID": DEFAULT_APPID,
        "SECRET": DEFAULT_SECRET,
        "ALLOWED_HOSTS": "m.example.com",
        "STORE": f"sqlite:///{path}",
    }.items():
        monkeypatch.setenv(f"WXSIGN_{name}", value)
    shown = CliRunner().invoke(cli.main, ["accounts"]).output
    assert "calls today   stable_token 1 of 500000" in shown
    assert "calls today   getticket 1 of 10000" in shown
