"""When to try again: pure decisions on failures that the fleet shares."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from broker_desk import APP, CLASSIC, START, TICKET, TOKEN, refused
from hypothesis import given
from hypothesis import strategies as st

from wxsign.broker.schedule import (
    BACKOFF_FLOOR_SECONDS,
    Failure,
    china_day,
    china_midnight,
    decode,
    doors_of,
    encode,
    failure_of,
    next_try_at,
)
from wxsign.errors import FailureScope, WeChatBadAnswer, WeChatUnreachable

CHINA = timezone(timedelta(hours=8))
PATH = "/cgi-bin/stable_token"
ERRORS = [
    refused(-1),
    refused(40013),
    refused(40125),
    refused(40164, errmsg="invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 1-2-3"),
    refused(45009),
    refused(45011),
    refused(89503),
    refused(123456),
    *(WeChatUnreachable(reason, PATH) for reason in ("timeout", "connect", "dns", "tls", "reset")),
    *(
        WeChatBadAnswer(reason, PATH)
        for reason in ("http_status", "not_json", "too_large", "bad_value", "truncated")
    ),
]


def failure(scope, failures=1, jitter=1.0, at=START):
    return Failure("refused", scope, PATH, failures, at, jitter, errcode=-1)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_a_failure_says_the_same_everywhere_as_where_it_happened(error):
    told = decode(encode(failure_of(error, None, START, 0.25)))
    assert type(told.error) is type(error)
    assert (told.error.code, told.error.scope, told.error.endpoint) == (error.code, error.scope, PATH)
    assert str(told.error) == str(error)
    assert (told.failures, told.started_at, told.jitter) == (1, START, 0.25)


def test_failures_at_the_same_door_are_counted():
    first = failure_of(refused(-1), None, START, 0.5)
    second = failure_of(WeChatUnreachable("timeout", PATH), first, START + 2, 0.5)
    assert (first.failures, second.failures) == (1, 2)


def test_fields_that_a_later_version_added_are_left_alone():
    text = json.dumps({**json.loads(encode(failure_of(refused(40013), None, START, 0.5))), "later": {"a": 1}})
    assert decode(text).error.errcode == 40013


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        json.dumps(
            {**json.loads(encode(failure_of(refused(-1), None, START, 0.5))), "scope": "of a later version"}
        ),
        json.dumps(
            {
                **json.loads(encode(failure_of(WeChatUnreachable("dns", PATH), None, START, 0.5))),
                "reason": "later",
            }
        ),
    ],
    ids=["empty", "no fields", "list", "null", "unknown scope", "unknown reason"],
)
def test_a_note_that_cannot_be_read_is_no_failure(text):
    assert decode(text) is None


WHEN = [
    ("busy: full jitter under 2 s", failure(FailureScope.BUSY), False, False, 2),
    ("busy for the third time: under 8 s", failure(FailureScope.BUSY, 3), False, False, 8),
    ("busy for long: a minute at most", failure(FailureScope.BUSY, 500), False, False, 60),
    ("busy and empty: 3 s at most", failure(FailureScope.BUSY, 500), True, False, 3),
    (
        "a lucky draw is no hot loop",
        failure(FailureScope.BUSY, 9, jitter=0.0),
        True,
        False,
        BACKOFF_FLOOR_SECONDS,
    ),
    ("half a draw, half the time", failure(FailureScope.BUSY, 2, jitter=0.5), False, False, 2),
    ("the account's fault: a minute at first", failure(FailureScope.ACCOUNT), True, False, 60),
    ("then ten minutes", failure(FailureScope.ACCOUNT, 2), True, False, 600),
    ("for ever ten minutes", failure(FailureScope.ACCOUNT, 99), False, False, 600),
    ("too often in a minute", failure(FailureScope.QUOTA_MINUTE, 5), True, False, 60),
    ("too often today: an hourly probe", failure(FailureScope.QUOTA_DAY, 5), True, False, 3600),
    ("address not listed: every minute", failure(FailureScope.ADDRESS, 7), True, False, 60),
    ("though another machine may call: ten minutes", failure(FailureScope.ADDRESS), True, True, 600),
    ("somebody must confirm: every ten minutes", failure(FailureScope.CONFIRMATION), True, False, 600),
    ("no network here: ordinary backoff", failure(FailureScope.NETWORK, 2), False, False, 4),
    ("no network here, but elsewhere", failure(FailureScope.NETWORK, 2), True, True, 600),
    ("wrong secret: a minute", failure(FailureScope.SECRET, 9), True, False, 60),
    ("others' success says nothing of the secret", failure(FailureScope.SECRET, 9), True, True, 60),
    ("a refused token is tried again as if busy", failure(FailureScope.STALE_TOKEN, 1), True, False, 2),
]


@pytest.mark.parametrize(
    ("one", "empty", "others", "seconds"), [row[1:] for row in WHEN], ids=[r[0] for r in WHEN]
)
def test_the_next_try_is(one, empty, others, seconds):
    assert next_try_at(one, empty=empty, others_succeeded=others) == START + seconds


@given(
    st.sampled_from(FailureScope),
    st.integers(1, 10_000),
    st.floats(0, 0.999999),
    st.booleans(),
    st.booleans(),
)
def test_the_next_try_is_never_at_once_and_never_forgotten(scope, failures, jitter, empty, others):
    wait = next_try_at(failure(scope, failures, jitter), empty=empty, others_succeeded=others) - START
    assert BACKOFF_FLOOR_SECONDS <= wait <= 3600


def test_a_daily_quota_is_probed_at_midnight_in_china_though_the_hour_is_not_over():
    late = datetime(2026, 11, 21, 23, 50, tzinfo=CHINA)
    midnight = datetime(2026, 11, 22, tzinfo=CHINA)
    one = failure(FailureScope.QUOTA_DAY, jitter=0.5, at=late.timestamp())
    assert next_try_at(one, empty=True, others_succeeded=False) == midnight.timestamp() + 30


def test_days_are_chinas():
    before = datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC).timestamp()
    assert china_day(before + 1) == china_day(before) + 1
    assert china_midnight(before) == before + 1
    assert china_midnight(before + 1) == before + 1 + 86_400


def test_whom_a_failure_concerns_decides_which_door_it_closes():
    doors = doors_of(TOKEN, "m1", "fp")
    assert {scope: doors.for_scope(scope) for scope in FailureScope} == {
        FailureScope.BUSY: doors.fleet,
        FailureScope.STALE_TOKEN: doors.fleet,
        FailureScope.ACCOUNT: doors.fleet,
        FailureScope.QUOTA_DAY: doors.fleet,
        FailureScope.QUOTA_MINUTE: doors.fleet,
        FailureScope.ADDRESS: doors.machine,
        FailureScope.CONFIRMATION: doors.machine,
        FailureScope.NETWORK: doors.machine,
        FailureScope.SECRET: doors.secret,
    }


def test_doors_are_apart_where_they_must_be_and_shared_where_they_can():
    here, there = doors_of(TOKEN, "m1", "fp"), doors_of(TOKEN, "m2", "fp")
    assert here.fleet == there.fleet
    assert here.machine != there.machine
    assert doors_of(TICKET, "m1", "fp").machine == here.machine, (
        "the address is the same for token and ticket"
    )
    assert doors_of(TICKET, "m1", "fp").fleet != here.fleet
    assert doors_of(CLASSIC, "m1", "fp").fleet != here.fleet
    assert doors_of(TOKEN, "m1", "other").secret != here.secret
    assert APP in here.machine


def test_a_failure_knows_since_when_it_has_failed_in_this_way_whatever_the_clock_does():
    busy, secret = refused(-1), refused(40125)
    first = failure_of(busy, None, 1000.0, 0.5)
    second = failure_of(busy, first, 1010.0, 0.5)
    stepped_back = failure_of(busy, second, 970.0, 0.5)
    other = failure_of(secret, second, 1020.0, 0.5)
    assert [f.began_at for f in (first, second, stepped_back, other)] == [1000.0, 1000.0, 970.0, 1020.0]
    assert [decode(encode(f)) for f in (first, second, stepped_back, other)] == [
        first,
        second,
        stepped_back,
        other,
    ]
    old = json.dumps({name: value for name, value in json.loads(encode(second)).items() if name != "since"})
    assert decode(old).began_at == 1010.0
