"""Hours in seconds: whole services beside another system, and against tickets whose age nobody knows."""

import pytest
from service_desk import DEFAULT_APPID, ServiceDesk

from wxsign.credentials import TokenEndpoint
from wxsign.sandbox.faults import Fault

pytestmark = pytest.mark.days

HOUR = 3600
POLL_SECONDS, HUNT_SECONDS, LOOK_SECONDS = 60, 5, 1


class OldSystem:
    """What runs beside wxsign today: a timer that fetches a classic token, and calls that use it."""

    def __init__(self, desk, renews_after_seconds=7000):
        self._desk = desk
        self._every = renews_after_seconds
        self._fetched_at = None
        self.token = ""

    def act(self, now):
        if self._fetched_at is None or now - self._fetched_at >= self._every:
            account = self._desk.settings.accounts[0]
            self.token = self._desk.client.classic_token(account.app_id, account.app_secret).value
            self._fetched_at = now


def spells(moments, step):
    """The lengths of the runs of consecutive moments."""
    lengths = []
    for before, now in zip([None, *moments], moments, strict=False):
        if before is None or now - before > step * 1.5:
            lengths.append(0.0)
        lengths[-1] += step
    return lengths


@pytest.mark.long
def test_an_old_system_fetches_classic_tokens_beside_wxsign_for_ten_hours_and_neither_kills_the_others():
    desk = ServiceDesk()
    old = OldSystem(desk)
    for now in desk.run(10 * HOUR, step=2):
        old.act(now)
        if now % 20 == 0:
            worker = int(now / 20) % 2
            assert desk.alive(old.token), now
            assert desk.alive(desk.token(worker)), now
            assert desk.sign(worker) in {"ok", "stale"}
    assert desk.calls("token") == 6
    # A stable token is asked for in its last five minutes only, and then no oftener than every 15 s.
    assert 5 <= desk.calls("stable_token") <= 6 * 21
    assert all(not service.account_states()[0].problems for service in desk.services)


def test_with_classic_tokens_wxsign_would_kill_the_old_systems_token():
    """The counter-proof: what the stable endpoint spares, the sandbox does notice."""
    desk = ServiceDesk(token_endpoint=TokenEndpoint.CLASSIC)
    old = OldSystem(desk)
    dead = 0
    for now in desk.run(2.5 * HOUR, step=5):
        old.act(now)
        dead += not desk.alive(old.token)
    assert dead > 100


def test_a_classic_token_of_wxsign_alone_is_never_dead_before_the_expiry_that_clients_were_told():
    desk = ServiceDesk(token_endpoint=TokenEndpoint.CLASSIC)
    promised = {}
    for now in desk.run(4 * HOUR, step=5):
        held = desk.services[int(now) % 2].broker.standing(desk.token_key)[0]
        if held:
            promised[held.value] = held.credential.earliest_expiry
        for token, until in promised.items():
            assert desk.alive(token) or desk.wall() >= until - 1
    assert desk.calls("token") == 3


def test_after_a_lost_store_a_ticket_of_unknown_age_is_stale_for_one_poll_at_the_most():
    desk = ServiceDesk(ticket_issue="on_expiry")
    for _ in desk.run(7200 - 180, step=5):
        pass
    assert desk.sign() == "ok"
    desk.start_afresh(workers=2)
    stale = []
    for now in desk.run(600):
        for worker in (0, 1):
            verdict = desk.sign(worker)
            assert verdict in {"ok", "stale"}
            stale += [now] * (verdict == "stale")
    assert stale, "the ticket rotated while it was used"
    assert max(stale) - min(stale) <= POLL_SECONDS + LOOK_SECONDS


def test_once_its_age_is_known_a_ticket_is_stale_for_one_close_look_at_the_most():
    desk = ServiceDesk(ticket_issue="on_expiry")
    stale = [now for now in desk.run(3 * 7200) if desk.sign(int(now) % 2) != "ok"]
    after_the_first = [now for now in stale if now > 7200 + POLL_SECONDS + LOOK_SECONDS]
    assert max(spells(after_the_first, 1), default=0) <= HUNT_SECONDS + LOOK_SECONDS
    assert desk.calls("getticket") <= 3 * 7200 / POLL_SECONDS + 3 * 40


def test_a_ticket_that_another_system_rotates_is_found_within_a_poll():
    desk = ServiceDesk()
    for _ in desk.run(30):
        pass
    stale = []
    for now in desk.run(4000, step=1):
        if now % 1000 == 500:
            desk.sandbox.rotate(DEFAULT_APPID, "jsapi_ticket")
        if desk.sign(int(now) % 2) != "ok":
            stale.append(now)
    assert len(spells(stale, 1)) == 4
    assert max(spells(stale, 1)) <= POLL_SECONDS + LOOK_SECONDS


@pytest.mark.parametrize("issue", ["on_demand", "on_expiry"])
@pytest.mark.parametrize("token_life", [7200, 30], ids=["tokens of 2 h", "tokens of 30 s"])
@pytest.mark.parametrize("endpoint", [TokenEndpoint.STABLE, TokenEndpoint.CLASSIC])
def test_over_ten_lives_of_thirty_seconds_nobody_goes_unanswered_and_stale_are_only_those_of_one_look(
    issue, token_life, endpoint
):
    desk = ServiceDesk(
        token_endpoint=endpoint, ticket_life_seconds=30, ticket_issue=issue, token_life_seconds=token_life
    )
    desk.tick()
    stale = []
    for now in desk.run(300, step=0.5):
        for worker in (0, 1):
            verdict = desk.sign(worker)
            assert verdict in {"ok", "stale"}, now
            if verdict == "stale":
                stale.append(now)
        for service in desk.services:
            assert service.broker.standing(desk.token_key)[0] is not None, now
    rotations = 10 if issue == "on_expiry" else 11
    assert len(spells(sorted(set(stale)), 0.5)) <= rotations
    assert max(spells(sorted(set(stale)), 0.5), default=0) <= 2 * LOOK_SECONDS


def test_wechat_away_for_two_hours_costs_no_signature_while_the_ticket_lives():
    desk = ServiceDesk()
    for _ in desk.run(60):
        pass
    desk.sandbox.add_fault(Fault("*", "errcode", times=None, errcode=-1))
    for now in desk.run(7200 - 60, step=4):
        assert desk.sign(int(now / 4) % 2) == "ok", now
    for _ in desk.run(4):
        pass
    assert desk.sign() == "unanswered"
    desk.sandbox.clear_faults()
    for _ in desk.run(5):
        pass
    assert (desk.sign(0), desk.sign(1)) == ("ok", "ok")
