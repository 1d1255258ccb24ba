"""The canary: a reset AppSecret or a lost entry of the whitelist is noticed within the hour, while pages are still signed."""

import pytest
from machines_desk import Machines
from service_desk import DEFAULT_APPID, DEFAULT_SECRET

from wxsign.credentials import TokenEndpoint

pytestmark = pytest.mark.days

HOUR = 3600
# The look of the next second, and the call that it starts.
NOTICED = HOUR + 5


class Desk(Machines):
    def reset_secret(self):
        self.sandbox._accounts[DEFAULT_APPID].secret = "f" * 32

    def lose_whitelist(self):
        self.sandbox.change({"ip_whitelist": ["203.0.113.9"]})

    def restore_secret(self):
        self.sandbox._accounts[DEFAULT_APPID].secret = DEFAULT_SECRET

    def problems(self, number=0):
        return self.services[number].readiness().problems


@pytest.fixture(params=[TokenEndpoint.STABLE, TokenEndpoint.CLASSIC])
def desk(request):
    desk = Desk(token_endpoint=request.param)
    desk.until(60)
    return desk


def test_a_reset_secret_is_noticed_within_the_hour_while_pages_are_signed(desk):
    desk.reset_secret()
    desk.until(60 + NOTICED)
    assert [desk.problems(number) for number in (0, 1)] == [("invalid_secret",)] * 2
    assert [desk.sign(number) for number in (0, 1)] == ["ok", "ok"]


def test_a_lost_entry_of_the_whitelist_is_noticed_within_the_hour(desk):
    desk.lose_whitelist()
    desk.until(60 + NOTICED)
    assert "ip_not_whitelisted" in (*desk.problems(0), *desk.problems(1))
    assert desk.usable_by_all()


def test_what_the_canary_noticed_is_over_once_it_is_put_right(desk):
    desk.reset_secret()
    desk.until(60 + NOTICED)
    desk.restore_secret()
    desk.pass_time(120)
    assert [desk.problems(number) for number in (0, 1)] == [(), ()]
    assert desk.usable_by_all()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (TokenEndpoint.STABLE, {"stable_token": 24}),
        (TokenEndpoint.CLASSIC, {"stable_token": 24, "token": 14}),
    ],
)
def test_a_day_of_canaries_costs_one_call_an_hour_over_the_fleet(endpoint, expected):
    desk = Desk(token_endpoint=endpoint)
    desk.until(24 * HOUR, step=20.0)
    found = desk.all_calls()
    assert found["stable_token"] <= 2 * expected["stable_token"]
    assert found["token"] <= expected.get("token", 0)
    assert desk.usable_by_all()


def test_the_canary_of_a_classic_account_leaves_its_token_alone(desk):
    token = desk.token()
    desk.until(60 + NOTICED + 600, step=5.0)
    assert desk.token() == token
    assert desk.alive(token)
    assert desk.problems() == ()
