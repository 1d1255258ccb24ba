"""logs: one JSON object a line, no secret in any of them, and no exception out of them."""

from __future__ import annotations

import io
import json
import logging
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsign import logs
from wxsign.broker.suspicion import Theft
from wxsign.logs import JsonFormatter, RedactionFilter, configure, printable, protect, redact
from wxsign.text import Text

if TYPE_CHECKING:
    from types import TracebackType

SECRET = "5ecre7" + "0123456789abcdef0123456789"
TOKEN = "57_" + "tOkEn-0123456789_abcdefghijklmnop"


@pytest.fixture(autouse=True)
def _nothing_protected(monkeypatch):
    monkeypatch.setattr(logs, "_protected", ())


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def record(msg: object, *args: object, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("wxsign.test", logging.INFO, __file__, 1, msg, args, None)
    vars(made).update(attributes)
    return made


def formatted(msg: object, *args: object, **attributes: object) -> dict[str, object]:
    line = JsonFormatter().format(record(msg, *args, **attributes))
    assert "\n" not in line
    return json.loads(line)


def raised(error: Exception) -> tuple[type[Exception], Exception, TracebackType | None]:
    try:
        raise error
    except type(error) as caught:
        return type(caught), caught, caught.__traceback__


class Unprintable:
    """Fails when it is printed."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    __repr__ = __str__


# ---------------------------------------------------------------------------------------------- the line


def test_an_event_is_one_json_object_with_its_fields_beside_its_name():
    entry = formatted(
        "wxsign.refreshed", fields={"account": "shop", "expires_in": 7200, "hosts": ["a", "b"]}, created=0
    )
    assert entry == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "logger": "wxsign.test",
        "host": platform.node(),
        "pid": os.getpid(),
        "event": "wxsign.refreshed",
        "account": "shop",
        "expires_in": 7200,
        "hosts": ["a", "b"],
    }


def test_the_time_is_utc_to_the_millisecond():
    entry = formatted("x")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(entry["time"])).total_seconds() < 5


def test_a_field_cannot_pass_itself_off_as_the_level_or_the_event():
    entry = formatted("real", fields={"level": "critical", "event": "forged", "time": "never"})
    assert (entry["level"], entry["event"]) == ("info", "real")


def test_chinese_stays_readable():
    line = JsonFormatter().format(record("签名 %s", "成功"))
    assert "签名 成功" in line


def test_a_traceback_is_one_field_of_the_line():
    entry = formatted("failed", exc_info=raised(ValueError(f"https://a.test/?secret={SECRET}")))
    assert entry["exception"].startswith("Traceback")
    assert "\n" in entry["exception"]
    assert SECRET not in entry["exception"]


def test_a_stack_is_one_field_of_the_line():
    assert formatted("x", stack_info="Stack:\n secret=abcdef123")["stack"] == "Stack:\n secret=***"


@pytest.mark.parametrize(
    ("msg", "args", "fields"),
    [
        ("%d", ("no number",), {}),
        ("%s %s", ("one",), {}),
        ("x", (), {"a": object()}),
        ("x", (), {("tuple",): {1, 2}}),
        ("x", (), {"a": b"bytes"}),
        ("x", (), {"a": float("nan")}),
        ("\ud800", (), {"a": "\udfff"}),
        (ValueError("x"), (), {}),
        (None, (), None),
        ("x", (), "not a dict"),
    ],
)
def test_whatever_is_logged_a_line_of_json_comes_out(msg, args, fields):
    assert "event" in formatted(msg, *args, fields=fields)


def test_what_cannot_be_printed_is_told_of_without_its_content():
    entry = formatted("x", fields={"a": Unprintable()})
    assert (entry["event"], entry["error"]) == ("wxsign.unloggable", "RuntimeError")
    assert SECRET not in str(entry)


def test_a_message_that_cannot_be_printed_is_named_by_its_type():
    assert formatted(Unprintable())["event"] == "<Unprintable>"
    assert RedactionFilter().filter(record(Unprintable()))


def test_a_field_that_contains_itself_does_not_raise():
    loop: dict[str, object] = {}
    loop["loop"] = loop
    assert formatted("x", fields=loop)["event"] == "wxsign.unloggable"


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_no_text_and_no_field_breaks_the_line(text, fields):
    entry = formatted("%s", text, fields=fields)
    assert entry["level"] == "info"


CONTROLS = "\x00\x07\x1b[31m\x7f\x9b2J\u2028\u202e\u2066\ud800"


def test_text_from_outside_is_printed_without_what_a_terminal_obeys():
    shown = printable(f"GET /{CONTROLS}/中文\n")
    assert shown.isprintable()
    assert shown.startswith(r"GET /\x00\x07\x1b[31m\x7f\x9b2J")
    assert "/中文" in shown
    assert printable("/a b?c=é") == "/a b?c=é"


def test_no_line_of_the_log_holds_what_a_terminal_obeys_and_a_program_reads_it_as_it_came():
    line = JsonFormatter().format(record("%s", CONTROLS, fields={"a": CONTROLS}))
    assert line.isprintable()
    assert json.loads(line)["a"] == CONTROLS


# --------------------------------------------------------------------------------------------- redaction


def test_a_sentence_of_ours_comes_out_whole_and_the_same_words_from_outside_do_not():
    advice = "Find who has this AppSecret: it may be at redis://user:password@host, sent as Bearer <key>."
    entry = formatted("x", fields={"hint": Text(advice, advice).en, "detail": advice})
    assert entry["hint"] == advice
    assert (
        entry["detail"] == "Find who has this AppSecret: *** may be at redis://***@host, sent as Bearer ***"
    )


def test_the_advice_about_a_taken_token_names_what_to_look_for():
    hint = Theft("wx0", "access_token", 0.0, 1.0).hint
    assert (formatted("x", fields={"hint": hint.en})["hint"], redact(hint.zh)) == (hint.en, hint.zh)


def test_a_protected_value_is_masked_in_a_sentence_of_ours_too():
    protect(SECRET)
    assert formatted("x", fields={"hint": Text(f"Not {SECRET}.", "").en})["hint"] == "Not ***."


@pytest.mark.parametrize(
    "text",
    [
        f"GET /cgi-bin/token?grant_type=client_credential&appid=wx0&secret={SECRET} HTTP/1.1",
        f"/cgi-bin/ticket/getticket?access_token={SECRET}&type=jsapi",
        f"jsapi_ticket={SECRET}&noncestr=a&timestamp=1&url=https://a.test/",
        f"url=https%3A%2F%2Fa.test%2F%3Fsecret%3D{SECRET}%26b%3D1",
        f'{{"appid": "wx0", "secret": "{SECRET}", "force_refresh": false}}',
        f'{{"access_token":"{SECRET}","expires_in":7200}}',
        f'{{"errcode":0,"ticket":"{SECRET}"}}',
        f'{{\\"secret\\": \\"{SECRET}\\"}}',
        f"{{'app_secret': '{SECRET}'}}",
        f'b\'{{"rejected": "{SECRET}"}}\'',
        f"{{'secret': b'{SECRET}'}}",
        f"appsecret={SECRET}",
        f"AppSecret: {SECRET}",
        f"corpsecret={SECRET}",
        f"client_key = {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f"authorization: bearer  {SECRET}",
        f"redis://user:{SECRET}@redis.test:6379/0",
        f"redis://:{SECRET}@redis.test:6379/0",
        f"refresh_token={SECRET}",
        f"secret={SECRET}; access_token={SECRET}",
    ],
)
def test_a_secret_is_masked_by_the_name_before_it(text):
    assert SECRET not in redact(text)
    assert redact(redact(text)) == redact(text)
    assert SECRET not in json.dumps(formatted("%s", text, fields={"a": {"b": [text]}}))


@pytest.mark.parametrize(
    "text",
    [
        "invalid credential, access_token is invalid or not latest",
        "access_token expired rid: 6aac005a-11112222-33334444",
        "GET /api/v1/accounts/shop/access_token 200",
        "kind=access_token account=shop",
        "https://m.example.com/a?b=1&code=abc",
        "The secret is out, the ticket too.",
        "https://m.example.com:8443/@shop",
        '{"kind": "access_token", "scope": "secret"}',
    ],
)
def test_an_ordinary_line_stays_as_it_is(text):
    assert redact(text) == text


def test_what_stands_around_a_secret_stays_readable():
    assert redact(f"GET /cgi-bin/token?appid=wx0&secret={SECRET}&x=1 HTTP/1.1") == (
        "GET /cgi-bin/token?appid=wx0&secret=***&x=1 HTTP/1.1"
    )


def test_a_field_named_after_a_secret_is_masked_whatever_it_holds():
    entry = formatted(
        "x", fields={"app_secret": "with blanks and ,;", "ticket": TOKEN, "inner": {"access_token": "a b"}}
    )
    assert (entry["app_secret"], entry["ticket"], entry["inner"]) == ("***", "***", {"access_token": "***"})


@pytest.mark.parametrize(
    "text", ["{}", "x{}y", "%3D{}%26", "\\n{}", "['{}']", "/path/{}/", "{0}{0}"], ids=lambda text: text
)
def test_a_protected_value_is_masked_wherever_it_stands(text):
    protect(SECRET)
    line = text.format(SECRET)
    assert SECRET not in redact(line)
    assert SECRET not in JsonFormatter().format(record("%s", line, fields={"a": [line], line: 1}))


def test_a_protected_value_is_masked_in_an_object_that_prints_it():
    protect(SECRET)
    assert SECRET not in JsonFormatter().format(record("x", fields={"a": ValueError(SECRET)}))


def test_a_short_value_is_not_protected_because_it_would_blot_out_words():
    protect("")
    protect("shop")
    assert redact("the shop") == "the shop"


def test_the_number_of_protected_values_is_bounded_and_the_oldest_goes_first():
    values = [f"protected-value-{number:05d}" for number in range(logs.MAX_PROTECTED_VALUES + 3)]
    for value in (*values, values[-1]):
        protect(value)
    assert len(logs._protected) == logs.MAX_PROTECTED_VALUES
    assert redact(values[2]) == values[2]
    assert redact(values[3]) == "***"


# ---------------------------------------------------------------------------------------------- handlers


def test_a_record_is_rewritten_before_any_handler_of_others_can_print_it():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactionFilter())
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("embedding application")
    logger.addHandler(handler)
    logger.error("secret=%s", SECRET, exc_info=raised(ValueError(f"ticket={TOKEN}")), stack_info=True)
    logger.error("%(ticket)s", {"ticket": f"ticket={TOKEN}"})
    logger.removeHandler(handler)
    text = stream.getvalue()
    assert "ValueError: ticket=***" in text
    assert "secret=***" in text
    assert SECRET not in text
    assert TOKEN not in text


def test_configuring_twice_logs_once(root_logger):
    first, second = io.StringIO(), io.StringIO()
    configure("INFO", first)
    configure("DEBUG", second)
    logging.getLogger("wxsign.test").debug("wxsign.tested", extra={"fields": {"secret": SECRET}})
    assert first.getvalue() == ""
    lines = second.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["wxsign.tested"]
    assert SECRET not in lines[0]


def test_by_default_the_log_goes_to_stderr_from_level_info_on(root_logger, capsys):
    configure()
    logging.getLogger("wxsign.test").debug("quiet")
    logging.getLogger("anything").warning("loud")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert json.loads(printed.err)["event"] == "loud"


def test_a_broken_stream_prints_no_secret_to_stderr(root_logger, capsys):
    closed = io.StringIO()
    configure("INFO", closed)
    closed.close()
    logging.getLogger("wxsign.test").info("secret=%s", SECRET)
    assert SECRET not in capsys.readouterr().err
