"""What a load balancer is told by real workers: 503 only where nobody could be served."""

from __future__ import annotations

import time

import pytest
from fleet import eventually, fleet, jsconfig_path, many_accounts, one_account, wechat

pytestmark = pytest.mark.fleet

PROBES = 90
ACCOUNTS = {"broken": "wx0000000000000001", "sound": "wx0000000000000002"}


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


def probes(service):
    return [service.ask("/readyz").status for _ in range(PROBES)]


@pytest.mark.parametrize("workers", [1, 4])
def test_one_account_with_a_wrong_secret_takes_no_worker_out_and_the_other_is_served(here, workers):
    with (
        wechat(here, tuple(ACCOUNTS.values())) as sandbox,
        fleet(here, many_accounts(sandbox.url, here, ACCOUNTS), workers=workers) as service,
    ):
        sandbox.fault("*", "errcode", errcode=40125, errmsg="invalid appsecret", appid=ACCOUNTS["broken"])
        paths = {name: jsconfig_path(f"https://{name}.example.com/page") for name in ACCOUNTS}
        assert {service.ask(paths["broken"]).status for _ in range(3 * workers)} == {503}
        assert probes(service) == [200] * PROBES
        assert {service.ask(paths["sound"]).status for _ in range(3 * workers)} == {200}
        assert probes(service) == [200] * PROBES


def test_a_token_that_ended_before_its_ticket_takes_no_worker_out_while_pages_are_signed(here):
    with (
        wechat(here, token_life_seconds=6, ticket_life_seconds=600) as sandbox,
        fleet(here, one_account(sandbox.url, here), workers=2) as service,
    ):
        eventually(lambda: service.jsconfig().status == 200)
        sandbox.fault("stable_token", "errcode", errcode=40125, errmsg="invalid appsecret")
        ends_at = time.time() + 6
        eventually(lambda: time.time() > ends_at + 1)
        assert probes(service) == [200] * PROBES
        assert {service.jsconfig().status for _ in range(8)} == {200}
        assert "invalid_secret" in service.ask("/readyz").json["problems"]
