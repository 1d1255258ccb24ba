"""Lives of tokens and tickets inside the sandbox, told by a clock that stands still until moved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsign.sandbox import SandboxSettings
from wxsign.sandbox.credentials import (
    StableTokens,
    TicketLine,
    TokenLine,
    china_day,
    ticket_value,
    token_value,
)
from wxsign.sandbox.settings import updated

NOON_IN_CHINA = 1_800_000_000 // 86_400 * 86_400 + 4 * 3600
NORMAL = SandboxSettings()
ON_EXPIRY = SandboxSettings(ticket_issue="on_expiry")


def test_values_look_like_the_real_ones():
    assert len(ticket_value()) == 86
    assert 100 < len(token_value()) <= 512


def test_a_superseded_classic_token_lives_five_minutes_more():
    line = TokenLine()
    old = line.issue(0, 7200, 300)
    line.issue(1000, 7200, 300)
    assert line.find(old.value).alive(1299)
    assert not line.find(old.value).alive(1300)


def test_the_overlap_never_outlives_what_was_promised():
    line = TokenLine()
    old = line.issue(0, 7200, 300)
    line.issue(7100, 7200, 300)
    assert line.find(old.value).alive(7199)
    assert not line.find(old.value).alive(7200)


@given(st.lists(st.floats(0, 200), min_size=3, max_size=30))
def test_only_the_last_two_classic_tokens_are_ever_alive(pauses):
    line, now, values = TokenLine(), 0.0, []
    for pause in pauses:
        now += pause
        values.append(line.issue(now, 7200, 300).value)
        alive = [value for value in values if line.find(value).alive(now)]
        assert alive == values[-2:]


def test_a_killed_token_is_dead_but_not_expired():
    line = TokenLine()
    token = line.issue(0, 7200, 300)
    line.kill(10)
    assert not line.find(token.value).alive(10)
    assert not line.find(token.value).expired(10)


def test_killing_when_there_is_nothing_leaves_the_line_as_it_was():
    tokens, tickets = TokenLine(), TicketLine(0)
    tokens.kill(10)
    tickets.kill(10, NORMAL)
    assert tokens.issue(20, 7200, 300).alive(21)
    assert tickets.fetch(20, NORMAL)[0].value


def grant(line, now, *, force=False, settings=NORMAL):
    return line.grant(now, settings, force=force)


def test_a_stable_token_stays_the_same_until_its_last_five_minutes():
    line = StableTokens()
    first, rotated = grant(line, 0)
    assert rotated
    assert grant(line, 6899) == (first, False)
    second, rotated = grant(line, 6900)
    assert rotated
    assert line.find(first.value).alive(7199)
    assert line.find(second.value).alive(7199)


@given(st.lists(st.floats(0, 4000), max_size=40))
def test_a_stable_answer_always_has_five_minutes_left(pauses):
    line, now = StableTokens(), 0.0
    for pause in pauses:
        now += pause
        token, _ = grant(line, now)
        assert token.dies_at - now > 300


def test_force_refresh_kills_the_old_token_at_once():
    line = StableTokens()
    old, _ = grant(line, 0)
    new, rotated = grant(line, 100, force=True)
    assert rotated
    assert new.value != old.value
    assert not line.find(old.value).alive(100)


def test_force_refresh_within_thirty_seconds_gives_the_same_token():
    line = StableTokens()
    forced, _ = grant(line, 0, force=True)
    assert grant(line, 29, force=True) == (forced, False)
    assert grant(line, 30, force=True)[1]


def test_force_refresh_works_twenty_times_a_day_and_again_after_midnight_in_china():
    line, long = StableTokens(), SandboxSettings(token_life_seconds=86_400)
    outcomes = [grant(line, NOON_IN_CHINA + 60 * n, force=True, settings=long)[1] for n in range(21)]
    assert outcomes == [True] * 20 + [False]
    midnight = NOON_IN_CHINA + 12 * 3600
    assert not grant(line, midnight - 1, force=True, settings=long)[1]
    assert grant(line, midnight, force=True, settings=long)[1]


def test_the_day_of_quotas_begins_at_midnight_in_china():
    sixteen_utc = 86_400 * 100 + 16 * 3600
    assert china_day(sixteen_utc - 1) + 1 == china_day(sixteen_utc)


def test_short_lives_scale_the_change_over():
    short = updated(NORMAL, {"token_life_seconds": 30})
    assert short.overlap_seconds == short.rotate_window_seconds == 1.25
    line = StableTokens()
    first, _ = grant(line, 0, settings=short)
    assert grant(line, 28, settings=short) == (first, False)
    assert grant(line, 28.75, settings=short)[1]


def test_explicit_change_over_times_are_kept():
    settings = SandboxSettings(token_life_seconds=30, token_overlap_seconds=9, stable_rotate_window_seconds=0)
    assert (settings.overlap_seconds, settings.rotate_window_seconds) == (9, 0)
    line = StableTokens()
    first, _ = grant(line, 0, settings=settings)
    assert grant(line, 28.9, settings=settings) == (first, False)
    assert grant(line, 29.5, settings=settings)[1], "an answer never says expires_in 0"


@given(st.lists(st.floats(0, 7199), min_size=1, max_size=20))
def test_inside_its_life_a_ticket_is_always_the_same(moments):
    line = TicketLine(0)
    first, made = line.fetch(0, NORMAL)
    assert made
    assert all(line.fetch(now, NORMAL) == (first, False) for now in sorted(moments))


def test_a_ticket_on_demand_is_issued_by_the_first_call_after_the_end():
    line = TicketLine(0)
    line.fetch(0, NORMAL)
    second, made = line.fetch(9000, NORMAL)
    assert made
    assert second.issued_at == 9000


def test_a_ticket_on_expiry_is_already_old_when_first_fetched():
    line = TicketLine(0)
    line.fetch(100, ON_EXPIRY)
    second, made = line.fetch(7200 * 3 + 7000, ON_EXPIRY)
    assert not made, "no call of ours made it"
    assert second.issued_at == 7200 * 3
    assert second.ends_at == 7200 * 4


@given(st.lists(st.floats(0, 20_000), min_size=1, max_size=30))
def test_on_expiry_tickets_follow_each_other_without_a_gap(pauses):
    line, now = TicketLine(0), 0.0
    for pause in pauses:
        now += pause
        ticket, _ = line.fetch(now, ON_EXPIRY)
        assert ticket.issued_at <= now < ticket.ends_at
        assert ticket.issued_at % 7200 == pytest.approx(0)


def test_a_killed_ticket_has_no_successor_until_somebody_asks():
    line = TicketLine(0)
    old, _ = line.fetch(0, ON_EXPIRY)
    line.kill(50, ON_EXPIRY)
    line.roll(9000, ON_EXPIRY)
    assert line.current.value == old.value
    new, made = line.fetch(9100, ON_EXPIRY)
    assert made
    assert new.issued_at == 9100


def test_values_stay_out_of_reprs():
    tokens, tickets = TokenLine(), TicketLine(0)
    token, (ticket, _) = tokens.issue(0, 10, 1), tickets.fetch(0, NORMAL)
    assert token.value not in repr(token)
    assert ticket.value not in repr(ticket)
    assert "sandbox-secret" not in repr(SandboxSettings())
