"""Messages to a group's robot: in the form that each takes, retried, never with the address in a log, never waited for."""

from dataclasses import replace

import pytest
from click.testing import CliRunner
from robot_desk import HIDDEN, serving
from running import free_port, wait_until

from wxsign import cli
from wxsign.broker import Outcome, RefreshEvent
from wxsign.errors import ConfigError
from wxsign.observers.alerts import MESSAGE_BYTES, AlertRefusedError, Alerts, send, text_of
from wxsign.observers.faults import Fault
from wxsign.settings import AlertSettings, load_settings
from wxsign.text import Text

ONE = {
    "WXSIGN_APPID": "wx0123456789abcdef",
    "WXSIGN_SECRET": "0123456789abcdef0123456789abcdef",
    "WXSIGN_ALLOWED_HOSTS": "m.example.com",
}
FAULT = Fault(
    "id",
    "invalid_secret",
    Text("WeChat refuses.", "微信拒绝。"),
    Text("Mend it.", "请修正。"),
    ("shop",),
    since=1e9,
)
OVER = replace(FAULT, until=1e9 + 60)


@pytest.fixture
def robot():
    with serving() as server:
        yield server


def alerts(robot, *, kind="json", pauses=None, **more):
    pauses = [] if pauses is None else pauses
    return Alerts(AlertSettings(robot.url, kind, language="en", **more), sleep=pauses.append)


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        (
            "wecom",
            b'{"errcode":0,"errmsg":"ok"}',
            lambda text: {"msgtype": "text", "text": {"content": text}},
        ),
        (
            "dingtalk",
            b'{"errcode":0,"errmsg":"ok"}',
            lambda text: {"msgtype": "text", "text": {"content": text}},
        ),
        (
            "feishu",
            b'{"code":0,"msg":"success"}',
            lambda text: {"msg_type": "text", "content": {"text": text}},
        ),
        ("slack", b"ok", lambda text: {"text": text}),
    ],
)
def test_each_robot_gets_a_message_in_its_form(robot, kind, answer, expected):
    robot.answers = [(200, answer)]
    alerts(robot, kind=kind).tell(((FAULT,), (OVER,)))
    wait_until(lambda: robot.got)
    text = text_of(((FAULT,), (OVER,)), "en")
    assert robot.got == [expected(text)]
    first, remedy, since, over = text.splitlines()
    assert first == "[wxsign] shop: WeChat refuses."
    assert remedy == "Mend it."
    assert since.startswith("since 2001-09-09")
    assert over.startswith("[wxsign] Over (2001-09-09")


def test_a_program_gets_the_faults_as_data(robot):
    alerts(robot).tell(((FAULT,), (OVER,)))
    wait_until(lambda: robot.got)
    (got,) = robot.got
    assert got["begun"][0]["code"] == got["over"][0]["code"] == "invalid_secret"
    assert (got["begun"][0]["until"], got["over"][0]["until"]) == (None, 1_000_000_060)
    assert got["begun"][0]["accounts"] == ["shop"]


def test_many_faults_are_one_message_that_every_robot_takes():
    many = tuple(replace(FAULT, id=str(number), accounts=(f"shop-{number}" * 9,)) for number in range(500))
    text = text_of((many, many), "zh")
    assert len(text.encode()) <= MESSAGE_BYTES
    assert text.startswith("[wxsign] ")


@pytest.mark.parametrize("kind", ["wecom", "dingtalk", "feishu"])
def test_a_robot_that_says_no_with_a_200_has_not_taken_the_message(robot, kind):
    words = (
        b'{"code":19001,"msg":"param invalid"}'
        if kind == "feishu"
        else b'{"errcode":93000,"errmsg":"invalid webhook"}'
    )
    robot.answers = [(200, words)]
    with pytest.raises(AlertRefusedError, match="invalid"):
        send(AlertSettings(robot.url, kind), "text", ((), ()))


def test_a_message_is_tried_again_and_the_address_stands_in_no_log(robot, caplog):
    robot.answers = [(500, b""), (502, b""), (200, b"")]
    pauses = []
    alerts(robot, pauses=pauses).tell(((FAULT,), ()))
    wait_until(lambda: len(robot.got) == 3)
    assert pauses[:2] == sorted(pauses[:2])
    assert [record.getMessage() for record in caplog.records] == ["wxsign.alert_failed"] * 2
    assert HIDDEN not in "".join(f"{record.getMessage()}{record.__dict__}" for record in caplog.records)


def test_a_robot_that_is_away_keeps_nobody_waiting_and_ends_in_a_line_of_the_log(caplog):
    unreachable = Alerts(
        AlertSettings(f"http://127.0.0.1:{free_port()}/{HIDDEN}"), sleep=lambda _seconds: None
    )
    unreachable.tell(((FAULT,), ()))
    wait_until(lambda: len(caplog.records) == 4)
    assert {record.getMessage() for record in caplog.records} == {"wxsign.alert_failed"}
    assert HIDDEN not in caplog.text


def test_a_good_refresh_asks_for_the_ping_url_at_most_twice_a_minute(robot):
    moment = [0.0]
    teller = Alerts(
        AlertSettings(ping_url=robot.url), sleep=lambda _seconds: None, boot_clock=lambda: moment[0]
    )
    good, bad = (RefreshEvent(None, outcome, 0.1, 1) for outcome in (Outcome.UNCHANGED, Outcome.FAILED))
    for at, event in ((0, bad), (1, good), (20, good), (32, good)):
        moment[0] = at
        teller.ping(event)
        wait_until(lambda: not teller._running)
    assert len(robot.got) == 2


# settings


def load(**more):
    return load_settings(
        environ=ONE | {f"WXSIGN_ALERT_{name.upper()}": value for name, value in more.items()}
    ).alerts


def test_without_an_address_there_are_no_alerts():
    assert load() is None


@pytest.mark.parametrize(
    ("address", "kind", "language"),
    [
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x", "wecom", "zh"),
        ("https://oapi.dingtalk.com/robot/send?access_token=x", "dingtalk", "zh"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/x", "feishu", "zh"),
        ("https://hooks.slack.com/services/x", "slack", "en"),
        ("https://alerts.example.com/x", "json", "en"),
    ],
)
def test_the_kind_of_a_robot_follows_from_its_address(address, kind, language):
    found = load(webhook=address)
    assert (found.kind, found.language) == (kind, language)
    assert address not in repr(found)


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"webhook": "ftp://x/"}, "WXSIGN_ALERT_WEBHOOK", "http(s) address"),
        ({"webhook": "http://[x/"}, "WXSIGN_ALERT_WEBHOOK", "http(s) address"),
        ({"ping_url": "nothing"}, "WXSIGN_ALERT_PING_URL", "http(s) address"),
        ({"kind": "teams"}, "WXSIGN_ALERT_KIND", "`wecom`"),
        ({"language": "fr"}, "WXSIGN_ALERT_LANGUAGE", "`zh`"),
    ],
)
def test_an_unusable_setting_is_told_with_its_remedy(given, key, words):
    with pytest.raises(ConfigError) as caught:
        load(**given)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert words in str(caught.value)


def test_the_address_may_stand_in_a_file_of_its_own(tmp_path):
    (tmp_path / "hook").write_text("https://hooks.slack.com/services/x\n")
    (tmp_path / "wxsign.toml").write_text('[alerts]\nwebhook_file = "hook"\nlanguage = "zh"\n')
    found = load_settings(tmp_path / "wxsign.toml", environ=ONE).alerts
    assert (found.kind, found.language) == ("slack", "zh")


# wxsign alerts test


def run(monkeypatch, tmp_path, code, **more):
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ONE | {f"WXSIGN_ALERT_{name.upper()}": value for name, value in more.items()}
    ).items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli.main, ["alerts", "test"])
    assert result.exit_code == code, result.output
    assert HIDDEN not in result.output
    return result.output


def test_a_test_message_arrives(robot, monkeypatch, tmp_path):
    assert "Sent." in run(monkeypatch, tmp_path, 0, webhook=robot.url)
    assert "This is a test" in robot.got[0]["text"]


def test_a_test_message_that_does_not_arrive_says_why(robot, monkeypatch, tmp_path):
    robot.answers = [(200, b'{"errcode":93000,"errmsg":"invalid webhook url"}')]
    assert "invalid webhook url" in run(monkeypatch, tmp_path, 1, webhook=robot.url, kind="wecom")
    robot.answers = [(404, b"")]
    assert "404" in run(monkeypatch, tmp_path, 1, webhook=robot.url)
    gone = f"http://127.0.0.1:{free_port()}/{HIDDEN}"
    assert "ConnectionRefusedError" in run(monkeypatch, tmp_path, 1, webhook=gone)


def test_without_a_webhook_the_test_names_the_setting(monkeypatch, tmp_path):
    assert "alerts.webhook" in run(monkeypatch, tmp_path, 2)
