"""Credentials as values: what a sighting makes of them, when each is due, and what a client is told."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsign.credentials import (
    LONG_AGO,
    Credential,
    CredentialKey,
    CredentialKind,
    RefreshNeed,
    Sighting,
    TokenEndpoint,
    adopted,
    chain_of,
    digest,
    needed_by,
    poll_seconds,
    sort_of,
    tombstone,
)

START = 1_800_000_000.0
BASE, APP = "https://api.weixin.qq.com", "wx0123456789abcdef"
STABLE = CredentialKey(BASE, APP, CredentialKind.ACCESS_TOKEN, TokenEndpoint.STABLE)
CLASSIC = CredentialKey(BASE, APP, CredentialKind.ACCESS_TOKEN, TokenEndpoint.CLASSIC)
TICKET = CredentialKey(BASE, APP, CredentialKind.JSAPI_TICKET, TokenEndpoint.STABLE)


def seen(value, at, expires_in=7200, lasted=0.5):
    return Sighting(value, expires_in, START + at, START + at + lasted)


def held(value="v", *, life=7200, started=0.0, earliest=None, latest=7200.0, alive_until=0.0):
    """A credential whose times are seconds after START; without `earliest`, as a token: one expiry."""
    return Credential(
        value=value,
        version=1,
        life_seconds=life,
        started_at=START + started,
        earliest_expiry=LONG_AGO
        if earliest == "unknown"
        else START + (latest if earliest is None else earliest),
        latest_expiry=START + latest,
        alive_until=START + alive_until if alive_until else 0.0,
    )


@dataclass(frozen=True)
class Due:
    documentation: str
    key: CredentialKey
    credential: Credential
    due_at: float
    empty_at: float


DUE = [
    Due(
        "a stable token is asked for once an hour, to see whether the secret still counts",
        STABLE,
        held(),
        3600,
        7200,
    ),
    Due("asked an hour ago, it rests until its last five minutes", STABLE, held(started=3600), 6900, 7200),
    Due("granted with 400 s left, half of it", STABLE, held(life=400, latest=400), 200, 400),
    Due("a life of 30 s, half of it", STABLE, held(life=30, latest=30), 15, 30),
    Due("given again in the window: after 15 s", STABLE, held(started=6900), 6915, 7200),
    Due("given again near the end: a quarter of what is left", STABLE, held(started=7180), 7185, 7200),
    Due("given again at the very end: never under a second", STABLE, held(started=7198), 7199, 7200),
    Due("a classic token is left alone until its last 270 s", CLASSIC, held(), 6930, 7200),
    Due("a shorter classic one, its last 24th", CLASSIC, held(life=3600, latest=3600), 3450, 3600),
    Due("a classic life of 30 s, its last 24th", CLASSIC, held(life=30, latest=30), 28.75, 30),
    Due("a fresh ticket after one poll", TICKET, held(earliest=7199), 60, 7200),
    Due("a ticket of unknown age too: it may end at any time", TICKET, held(earliest="unknown"), 60, 7200),
    Due("between two near expiries every 5 s", TICKET, held(started=7110, earliest=7100), 7115, 7200),
    Due("from the earlier on at once", TICKET, held(started=7090, earliest=7100), 7100, 7200),
    Due("but not 5 s after the last look", TICKET, held(started=7099, earliest=7100), 7104, 7200),
    Due("between two far expiries every 60 s", TICKET, held(started=6500, earliest=6000), 6560, 7200),
    Due("ten minutes apart is near", TICKET, held(started=6700, earliest=6600), 6705, 7200),
    Due(
        "after the latest expiry every 5 s",
        TICKET,
        held(started=7201, earliest="unknown", alive_until=7261),
        7206,
        7261,
    ),
    Due("half the life, half the intervals", TICKET, held(life=3600, earliest=3599, latest=3600), 30, 3600),
    Due(
        "half the life, the hunt is twice as close",
        TICKET,
        held(life=3600, started=3550, earliest=3500, latest=3600),
        3552.5,
        3600,
    ),
    Due(
        "half the life, near means five minutes",
        TICKET,
        held(life=3600, started=3300, earliest=3299, latest=3600),
        3330,
        3600,
    ),
    Due(
        "a life of 30 s: every second, never more often", TICKET, held(life=30, earliest=29, latest=30), 1, 30
    ),
    Due("a longer life does not stretch the poll", TICKET, held(life=86_400, latest=86_400), 60, 86_400),
]


@pytest.mark.parametrize("case", DUE, ids=[case.documentation for case in DUE])
def test_a_credential_is_due(case):
    policy = sort_of(case.key)
    assert policy.due_at(case.credential) == START + case.due_at
    assert policy.need(case.credential, START + case.due_at - 0.01) is RefreshNeed.NONE
    assert policy.need(case.credential, START + case.due_at) is RefreshNeed.DUE
    assert policy.need(case.credential, START + case.empty_at - 0.01) is RefreshNeed.DUE
    assert policy.need(case.credential, START + case.empty_at) is RefreshNeed.EMPTY


@pytest.mark.parametrize("key", [STABLE, CLASSIC, TICKET])
def test_nothing_held_and_a_tombstone_are_both_empty(key):
    dead = tombstone(held("old"), 2, START)
    assert sort_of(key).need(None, START) is RefreshNeed.EMPTY
    assert sort_of(key).need(dead, START) is RefreshNeed.EMPTY
    assert dead.rejected_digest == digest("old")


@pytest.mark.parametrize("key", [STABLE, CLASSIC])
def test_a_token_lives_from_the_start_of_the_attempt(key):
    token = sort_of(key).witnessed(None, seen("a", 100, 7200, lasted=3), 5)
    assert token.earliest_expiry == token.latest_expiry == START + 7300
    assert (token.version, token.life_seconds, token.started_at) == (5, 7200, START + 100)


def test_the_margin_of_a_token_never_reaches_the_moment_it_was_granted():
    for life in range(1, 86_400, 37):
        token = sort_of(STABLE).witnessed(None, seen("a", 0, life), 1)
        assert sort_of(STABLE).need(token, START) is RefreshNeed.NONE


SAME_TOKEN = [
    ("the same token with more time left does not push its expiry out", 6000, 7200, 7200),
    ("the same token with less time left brings its expiry nearer", 6000, 100, 6100),
    ("the same token after its end has outlived what was known", 7300, 500, 7800),
]


@pytest.mark.parametrize(
    ("at", "granted", "expiry"), [row[1:] for row in SAME_TOKEN], ids=[r[0] for r in SAME_TOKEN]
)
def test_the_same_token_again(at, granted, expiry):
    first = sort_of(STABLE).witnessed(None, seen("a", 0), 1)
    again = sort_of(STABLE).witnessed(first, seen("a", at, granted), 2)
    assert again.latest_expiry == START + expiry
    assert again.life_seconds == 7200, "the window stays the one of what was first granted"
    assert again.started_at == START + at


def test_another_token_starts_a_life_of_its_own():
    first = sort_of(STABLE).witnessed(None, seen("a", 0), 1)
    other = sort_of(STABLE).witnessed(first, seen("b", 6900), 2)
    assert (other.latest_expiry, other.life_seconds) == (START + 14_100, 7200)


def test_a_token_after_a_tombstone_starts_a_life_of_its_own():
    dead = tombstone(held("a"), 2, START)
    token = sort_of(STABLE).witnessed(dead, seen("b", 10), 3)
    assert token.latest_expiry == START + 7210
    assert token.rejected_digest == ""


def test_a_ticket_on_a_cold_start_may_be_of_any_age():
    ticket = sort_of(TICKET).witnessed(None, seen("a", 0, lasted=2), 1)
    assert ticket.earliest_expiry == LONG_AGO
    assert ticket.latest_expiry == START + 7202, "issued before the call ended"


def test_a_ticket_was_issued_after_the_last_call_that_gave_its_predecessor():
    first = sort_of(TICKET).witnessed(None, seen("a", 0), 1)
    same = sort_of(TICKET).witnessed(first, seen("a", 60), 2)
    other = sort_of(TICKET).witnessed(same, seen("b", 120, lasted=0.5), 3)
    assert other.earliest_expiry == START + 60 + 7200
    assert other.latest_expiry == START + 120.5 + 7200


def test_a_ticket_after_a_long_silence_has_far_bounds():
    first = sort_of(TICKET).witnessed(None, seen("a", 0), 1)
    other = sort_of(TICKET).witnessed(first, seen("b", 50_000), 2)
    assert other.earliest_expiry == START + 7200
    assert other.latest_expiry == START + 57_200.5


def test_the_same_ticket_says_7200_again_and_is_not_believed():
    ticket = sort_of(TICKET).witnessed(None, seen("a", 0), 1)
    for at in range(60, 7200, 60):
        ticket = sort_of(TICKET).witnessed(ticket, seen("a", at), 1 + at)
    assert ticket.latest_expiry == START + 7200.5
    assert ticket.alive_until == 0.0


def test_the_same_ticket_with_a_shorter_life_brings_its_end_nearer():
    ticket = sort_of(TICKET).witnessed(None, seen("a", 0), 1)
    shorter = sort_of(TICKET).witnessed(ticket, seen("a", 60, expires_in=600), 2)
    assert shorter.latest_expiry == START + 660.5


def test_the_same_ticket_after_its_latest_end_is_proven_alive_for_a_moment():
    ticket = sort_of(TICKET).witnessed(None, seen("a", 0), 1)
    late = sort_of(TICKET).witnessed(ticket, seen("a", 7205), 2)
    assert late.latest_expiry == START + 7200.5, "its end is not pushed out"
    assert late.usable_until == START + 7205 + 60
    assert not late.usable(START + 7265)


def test_a_call_that_began_before_the_latest_end_proves_nothing():
    ticket = sort_of(TICKET).witnessed(None, seen("a", 0), 1)
    assert sort_of(TICKET).witnessed(ticket, seen("a", 7199, lasted=3), 2).usable_until == START + 7200.5


def test_a_short_lived_ticket_is_proven_for_a_second():
    ticket = sort_of(TICKET).witnessed(None, seen("a", 0, expires_in=30), 1)
    late = sort_of(TICKET).witnessed(ticket, seen("a", 31, expires_in=30), 2)
    assert late.usable_until == START + 32


@st.composite
def histories(draw):
    """A life, the moments at which WeChat issues tickets, and the calls that look at them: (start, end)."""
    life = draw(st.integers(30, 7200))
    issued = [draw(st.floats(-life, 0))]
    for _ in range(draw(st.integers(1, 4))):
        issued.append(issued[-1] + draw(st.floats(1, 2 * life)))
    calls, now = [], 0.0
    for _ in range(draw(st.integers(1, 12))):
        now += draw(st.floats(0.5, life))
        calls.append((now, now + draw(st.floats(0, 4))))
        now = calls[-1][1]
    return life, issued, calls


@given(histories(), st.floats(0, 1))
def test_the_true_end_of_a_ticket_always_lies_between_its_two_bounds(history, moment):
    life, issued, calls = history
    ticket = None
    for version, (start, end) in enumerate(calls, 1):
        answered = start + moment * (end - start)
        current = max((at for at in issued if at <= answered), default=issued[0])
        before = ticket
        ticket = sort_of(TICKET).witnessed(before, Sighting(str(current), life, start, end), version)
        assert ticket.earliest_expiry <= current + life + 1e-6
        # A ticket that WeChat still gives out beyond its life is proven alive, not believed for another one.
        if answered <= current + life:
            assert current + life <= ticket.latest_expiry + 1e-6
        if before is not None and before.value == ticket.value:
            assert ticket.latest_expiry <= before.latest_expiry
            assert ticket.earliest_expiry <= before.earliest_expiry


def test_a_record_of_now_is_adopted_as_it_is():
    record = held(earliest=7000)
    assert adopted(record, START - 5) is record, "five seconds ahead is within the tolerance of clocks"


def test_a_record_from_the_future_is_due_at_once_and_lives_one_life_at_most():
    record = replace(
        held(life=600, started=3600, earliest=3600 + 500, latest=3600 + 600), alive_until=START + 9000
    )
    trusted = adopted(record, START)
    assert sort_of(TICKET).need(trusted, START) is RefreshNeed.DUE
    assert trusted.usable_until == START + 600
    assert sort_of(TICKET).told_expiry(trusted, START) <= START + poll_seconds(trusted)


@pytest.mark.parametrize("key", [STABLE, CLASSIC, TICKET])
def test_a_record_whose_start_nobody_knows_is_due_but_served(key):
    record = adopted(held(started=100), START)
    assert sort_of(key).need(record, START) is RefreshNeed.DUE
    assert sort_of(key).need(record, START + 7100) is RefreshNeed.DUE
    assert sort_of(key).need(record, START + 7200) is RefreshNeed.EMPTY


TOLD = [
    ("a token's expiry", STABLE, held(), 0, 7200),
    ("a ticket's earliest expiry", TICKET, held(earliest=7100), 0, 7100),
    ("once that has passed, one poll interval", TICKET, held(earliest=7000), 7050, 7110),
    ("but no longer than it can live at all", TICKET, held(earliest=7100), 7150, 7200),
    ("of unknown age, one poll interval", TICKET, held(earliest="unknown"), 100, 160),
    (
        "of a short life, one shorter interval",
        TICKET,
        held(life=3600, earliest="unknown", latest=3600),
        100,
        130,
    ),
]


@pytest.mark.parametrize(
    ("key", "credential", "at", "told"), [row[1:] for row in TOLD], ids=[r[0] for r in TOLD]
)
def test_a_client_is_told(key, credential, at, told):
    assert sort_of(key).told_expiry(credential, START + at) == START + told


def test_no_repr_shows_a_value():
    value = "TOP-SECRET-VALUE"
    token = sort_of(STABLE).witnessed(None, seen(value, 0), 1)
    for shown in (token, seen(value, 0), tombstone(token, 2, START), (token,), {"held": token}):
        assert value not in repr(shown)
        assert value not in f"{shown}"


def test_a_key_tells_environments_accounts_kinds_endpoints_and_agents_apart():
    keys = {
        STABLE,
        CLASSIC,
        TICKET,
        replace(STABLE, api_base="http://127.0.0.1:9000"),
        replace(STABLE, app_id="wxfedcba9876543210"),
        replace(TICKET, agent="1000002"),
        replace(TICKET, agent="1000003"),
    }
    assert len({key.name for key in keys}) == len(keys)


def test_what_a_credential_needs_forms_a_chain_that_ends_at_the_accounts_own_secret():
    assert needed_by(TICKET) == STABLE
    assert needed_by(STABLE) is None
    assert chain_of(TICKET) == (TICKET, STABLE)
    assert chain_of(CLASSIC) == (CLASSIC,)


@pytest.mark.parametrize("left", [7200, 61, 59, 5, 1])
def test_nobody_is_told_of_a_life_that_a_ticket_of_unknown_age_cannot_have_any_more(left):
    ticket = sort_of(TICKET).witnessed(None, seen("a", 0), 1)
    now = ticket.usable_until - left
    assert sort_of(TICKET).told_expiry(ticket, now) - now == min(60, left)
