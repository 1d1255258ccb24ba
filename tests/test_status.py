"""`wxsign status`: is it OK, what is not and since when; from the store alone, in no time, however many accounts there are."""

import json
import time
from pathlib import Path

import pytest
from at_sandbox import control
from click.testing import CliRunner
from running import ask, free_port

from wxsign import cli, sandbox
from wxsign.accounts import HostRule, OfficialAccount
from wxsign.broker.schedule import encode as encode_failure
from wxsign.broker.schedule import failure_of
from wxsign.credentials import Credential
from wxsign.errors import WeChatRefused
from wxsign.service import WxSign
from wxsign.settings import Settings, load_settings
from wxsign.states import STATUS_ACCOUNTS
from wxsign.stores import open_store

SECRET = "0123456789abcdef0123456789abcdef"
APP_ID = "wx0123456789abcdef"


@pytest.fixture(scope="module")
def wechat():
    with sandbox.serve(settings=sandbox.SandboxSettings(accounts={APP_ID: SECRET})) as server:
        yield server


@pytest.fixture(autouse=True)
def account(wechat, monkeypatch, tmp_path):
    """One account in the environment, whose WeChat is the sandbox."""
    monkeypatch.chdir(tmp_path)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    given = {"APPID": APP_ID, "SECRET": SECRET, "ALLOWED_HOSTS": "m.example.com", "API_BASE": wechat.url}
    for name, value in given.items():
        monkeypatch.setenv(f"WXSIGN_{name}", value)
    yield wechat
    control(wechat, "reset")


def run(*arguments, code=0):
    began = time.monotonic()
    result = CliRunner().invoke(cli.main, [*arguments])
    assert result.exit_code == code, result.output
    assert SECRET not in result.output
    assert "Traceback" not in result.output
    if arguments[0] == "status":
        assert time.monotonic() - began < 2
    return result


def first_line(*arguments, code=0):
    return run("status", *arguments, code=code).stdout.splitlines()[0]


def test_before_anybody_asked_all_is_well():
    assert first_line() == "OK: nothing is wrong, and nothing was asked for yet (1 accounts)."


def test_with_token_and_ticket_all_is_well_and_wechat_is_asked_nothing(account):
    token = run("token", "default").stdout.strip()
    run("jsconfig", "https://m.example.com/")
    asked = len(ask(account.port, "/sandbox/requests").json["requests"])
    text = run("status").stdout
    assert text.startswith("OK: 1 of 1 accounts have all they need, nothing is wrong.\n")
    assert f"default  {APP_ID}" in text
    assert "usable, 119m left; last success" in text
    assert "calls today   stable_token 1/500000, getticket 1/10000" in text
    assert token not in text
    assert len(ask(account.port, "/sandbox/requests").json["requests"]) == asked


@pytest.mark.parametrize(
    ("errcode", "code"),
    [
        (40164, "ip_not_whitelisted"),
        (40125, "invalid_secret"),
        (45009, "daily_quota_used_up"),
        (50002, "account_limited"),
    ],
)
def test_a_refusal_names_account_cause_remedy_and_since_when(account, errcode, code):
    control(account, "faults", endpoint="stable_token", kind="errcode", errcode=errcode)
    run("token", "default", code=1)
    lines = run("status", code=2).stdout.splitlines()
    assert lines[0] == "Not OK: nothing can be served."
    assert lines[1].startswith("! default")
    assert lines[1].endswith(f"[{code}]")
    assert len(lines[2]) > 20
    assert lines[3].startswith("  since ")
    found = json.loads(run("status", "--json", code=2).stdout)
    assert (found["state"], found["problems"]) == ("unready", [code])
    assert abs(found["faults"][0]["since"] - time.time()) < 60
    assert found["faults"][0]["hint"]["zh"]
    assert found["accounts"][0]["credentials"][0]["error"] == code


def test_with_one_account_serving_it_is_degraded(account):
    run("jsconfig", "https://m.example.com/")
    control(account, "faults", endpoint="stable_token", kind="errcode", errcode=40125)
    run("refresh", "default", code=1)
    assert first_line(code=1).startswith("Degraded: default: ")


def test_the_sentence_is_in_the_users_language(monkeypatch):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert first_line().startswith("正常：")


def test_a_theft_is_told_until_somebody_acknowledges_it(account):
    run("token", "default")
    theft = {
        "app_id": APP_ID,
        "kind": "access_token",
        "last_seen_at": time.time() - 60,
        "noticed_at": time.time(),
    }
    open_store(load_settings().store).note(f"theft|{account.url}|{APP_ID}", json.dumps(theft), 3600)
    assert "Another system" in first_line(code=1)
    assert "at" in json.loads(run("status", "--json", code=1).stdout)["accounts"][0]["theft"]
    run("accounts", "ack", "default")
    assert first_line().startswith("OK")


def test_a_store_that_cannot_be_reached_is_named(monkeypatch):
    monkeypatch.setenv("WXSIGN_STORE", f"redis://127.0.0.1:{free_port()}/0")
    assert first_line(code=2).startswith("Not OK: the store cannot be used (")
    assert json.loads(run("status", "--json", code=2).stdout)["faults"][0]["code"] == "store_unavailable"


def test_a_store_that_can_only_be_read_is_named(monkeypatch, tmp_path):
    run("token", "default")
    path = Path(load_settings().store.removeprefix("sqlite:///"))
    real = open_store(load_settings().store)
    monkeypatch.setattr(
        type(real),
        "_write",
        lambda self, work: real._read(lambda db: (db.execute("PRAGMA query_only = 1"), work(db))[1]),
    )
    assert path.exists()
    assert "readonly" in first_line(code=2)


def test_what_nobody_can_read_as_a_duration_is_a_wrong_usage():
    assert "12h" in run("status", "--since", "yesterday", code=2).output


@pytest.mark.timing
def test_ten_thousand_accounts_a_thousand_in_use_take_less_than_a_second_and_a_bounded_answer(tmp_path):
    settings = Settings(
        accounts=tuple(
            OfficialAccount(
                f"a{number}", f"wx{number:016}", SECRET, (HostRule.parse(f"a{number}.example.com"),)
            )
            for number in range(10_000)
        ),
        store=f"sqlite:///{tmp_path}/many.db",
    )
    service = WxSign(settings)
    store = open_store(settings.store)
    now = store.now()
    for number in range(100):
        for key in service._keys[f"a{number}"]:
            store.replace(key.name, Credential("value", 1, 7200, now, now + 7200, now + 7200))
    lost = service._keys["a7000"][0]
    doors = service.broker._attempts.doors_of(lost)
    failure = failure_of(WeChatRefused(40125, "no", "/cgi-bin/stable_token"), None, now - 100, 0.5)
    store.note(doors.secret, encode_failure(failure), 3600)
    began = time.monotonic()
    found = service.status()
    assert time.monotonic() - began < 1.5
    service.stop()
    assert found.readiness.state == "degraded"
    assert found.faults[0].accounts == ("a7000",)
    assert (len(found.accounts), found.unlisted) == (STATUS_ACCOUNTS, 10_000 - STATUS_ACCOUNTS)
    assert found.accounts[0].name == "a7000"


def test_the_sample_of_the_documentation_speaks_the_sentences_of_the_catalogue():
    root = Path(__file__).parents[1]
    for page in ("docs/operations.md", "docs/operations.zh-CN.md"):
        text = (root / page).read_text()
        refused = WeChatRefused(40125, "no", "/cgi-bin/stable_token")
        assert f"Degraded: shop: {refused.message.en}" in text
        assert f"! shop: {refused.message.en} [{refused.code}]" in text
        assert refused.operator_hint.en[:50] in text
