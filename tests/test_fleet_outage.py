"""WeChat fails in every way that it can, under a real fleet: what is held is served to its last second."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from pathlib import Path

import pytest
from fleet import (
    APP_SECRET,
    Load,
    eventually,
    fleet,
    jsconfig_path,
    many_accounts,
    one_account,
    percentile,
    signed_with,
    wechat,
)
from running import ask

pytestmark = pytest.mark.fleet

LIFE_SECONDS = 12
# WeChat's way of failing for the account of that name.
FAULTS = {
    "busy": {"kind": "errcode", "errcode": -1},
    "hanging": {"kind": "hang"},
    "dripping": {"kind": "drip"},
    "html": {"kind": "html"},
    "reset": {"kind": "reset"},
    "refused": {"kind": "errcode", "errcode": 48001},
}
# Such a refusal does not go away by itself: the next try is a minute later.
SLOW_TO_RETURN = {"refused"}
ACCOUNTS = {name: f"wx{number:016d}" for number, name in enumerate(("sound", *FAULTS))}


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


def page_of(name):
    return f"https://{name}.example.com/page"


class Account:
    """One account under load, each of its signatures shown to WeChat at once."""

    def __init__(self, name, number, service, sandbox):
        self.name = name
        self.number = number
        self.path = jsconfig_path(page_of(name))
        self.load = Load(service.socket, clients=1, pause_seconds=0.05, path=self.path, check=self.verify)
        self.sandbox = sandbox

    def verify(self, body):
        return self.sandbox.verify(json.loads(body), page_of(self.name))["ok"]

    def shots(self, since, until):
        return [shot for shot in tuple(self.load.shots) if since <= shot.at and shot.ends_at < until]


@pytest.mark.long
def test_in_every_kind_of_outage_a_held_ticket_is_served_to_its_last_second_and_found_again_within_five(here):
    with (
        wechat(here, tuple(ACCOUNTS.values()), ticket_life_seconds=LIFE_SECONDS) as sandbox,
        fleet(here, many_accounts(sandbox.url, here, ACCOUNTS)) as service,
    ):
        accounts = [Account(name, number, service, sandbox) for number, name in enumerate(ACCOUNTS)]
        failing = [account for account in accounts if account.name in FAULTS]
        for account in accounts:
            assert service.ask(account.path).status == 200
        begun = time.time()
        for name, fault in FAULTS.items():
            sandbox.fault("getticket", appid=ACCOUNTS[name], **fault)
        ends = {account.name: sandbox.ticket(account.number)["ends_at"] for account in accounts}
        for account in accounts:
            account.load.__enter__()
        try:
            time.sleep(max(ends.values()) + 3.5 - time.time())
            refusals = {account.name: service.ask(account.path) for account in failing}
            returned_at = time.time()
            sandbox.post("faults/clear")
            time.sleep(6)
        finally:
            for account in accounts:
                account.load.__exit__()
        for account in failing:
            # WeChat is asked about each of them a moment after it was answered, on a busy machine a longer one.
            held = account.shots(begun, ends[account.name] - 0.5)
            assert len(held) > 20, account.name
            assert {(shot.status, shot.verdict) for shot in held} == {(200, True)}, account.name
            # A moment after the ticket's end, because its holders count from the end of the call that brought it.
            empty = account.shots(ends[account.name] + 0.5, returned_at)
            assert {shot.status for shot in empty} == {503}, account.name
            assert statistics.median(shot.seconds for shot in empty) < 0.05, account.name
            assert_tells_why(refusals[account.name])
            if account.name not in SLOW_TO_RETURN:
                back = account.shots(returned_at + 5, time.time())
                assert {(shot.status, shot.verdict) for shot in back} == {(200, True)}, account.name
        sound = accounts[0].load.shots
        assert {shot.status for shot in sound} == {200}
        # A rotation of a ticket is seen within a poll, and told to all workers within two seconds.
        assert max(shot.seconds for shot in sound) < 3


def assert_tells_why(refusal):
    assert refusal.status == 503
    assert int(refusal.headers["retry-after"]) >= 1
    error = refusal.json["error"]
    assert error["code"] == "credential_unavailable"
    assert error["message"]
    assert error["hint"]
    assert "127.0.0.1" not in refusal.body.decode()
    assert APP_SECRET not in refusal.body.decode()


def test_wechat_is_killed_and_comes_back_having_forgotten_everything(here):
    with (
        wechat(here, ticket_life_seconds=6) as sandbox,
        fleet(here, one_account(sandbox.url, here)) as service,
    ):
        eventually(lambda: service.jsconfig().status == 200)
        # Just after a rotation, so that all workers hold the one ticket that will be the last.
        first = sandbox.ticket()["digest"]
        eventually(lambda: sandbox.ticket()["digest"] != first)
        time.sleep(2.5)
        ends_at = sandbox.ticket()["ends_at"]
        ticket = service.api("accounts/default/tickets/jsapi").json["ticket"]
        sandbox.kill()
        killed_at = time.time()
        with Load(service.socket, check=lambda body: signed_with(ticket, json.loads(body))) as load:
            time.sleep(ends_at + 2 - time.time())
            refusal, unready = service.jsconfig(), service.ask("/readyz")
            returned_at = time.time()
            sandbox.start()
            eventually(lambda: service.jsconfig().status == 200)
            recovered_after = time.time() - returned_at
            time.sleep(2.5)
            assert all(sandbox.verify(service.jsconfig().json)["ok"] for _ in range(20))
        held = [shot for shot in load.shots if killed_at <= shot.at and shot.ends_at < ends_at - 0.1]
        assert len(held) > 20
        assert {(shot.status, shot.verdict) for shot in held} == {(200, True)}
        empty = [shot for shot in load.shots if ends_at + 0.5 < shot.at and shot.ends_at < returned_at]
        assert {shot.status for shot in empty} == {503}
        assert_tells_why(refusal)
        assert (unready.status, unready.json["state"]) == (503, "unready")
        # From the start of WeChat's process, which itself takes a second.
        assert recovered_after < 5 + 2
        assert service.ask("/readyz").status == 200


@pytest.mark.timing
def test_while_wechat_hangs_the_slowest_signatures_take_no_longer_than_on_a_quiet_day(here):
    # A ticket of 120 s is looked at every second, so that there is hardly a moment without a call that hangs.
    with (
        wechat(here, ticket_life_seconds=120) as sandbox,
        fleet(here, one_account(sandbox.url, here)) as service,
    ):
        eventually(lambda: service.jsconfig().status == 200)
        percentile_of(service)
        # Other work on the machine may spoil a measurement, but hardly three: a wait for WeChat spoils them all.
        seen = []
        while len(seen) < 3 and not any(median <= 1.5 for median in seen):
            seen.append(statistics.median(ratio_when_hanging(service, sandbox) for _ in range(3)))
        assert sandbox.calls()["getticket"] > 3
        assert min(seen) <= 1.5, seen


def ratio_when_hanging(service, sandbox):
    """The slowest signatures while WeChat hangs to those of a quiet moment just before, with a floor of 5 ms."""
    sandbox.post("faults/clear")
    quiet = percentile_of(service)
    sandbox.fault("*", "hang")
    return max(percentile_of(service), 0.005) / max(quiet, 0.005)


@pytest.mark.timing
@pytest.mark.long
@pytest.mark.parametrize("true", [False, True], ids=["forged", "one true one again and again"])
def test_a_flood_of_ten_thousand_reports_delays_no_signature_and_costs_nothing(here, true):
    with wechat(here) as sandbox, fleet(here, one_account(sandbox.url, here)) as service:
        eventually(lambda: service.jsconfig().status == 200)
        percentile_of(service)
        calls, store = sandbox.calls(), (here / "wxsign.db").stat().st_size
        memory = service_memory(service)
        page = service.jsconfig().json
        config = {name: page[name] for name in ("url", "timestamp", "nonceStr", "signature")}
        sent = json.dumps(config | ({} if true else {"signature": "0" * 40}) | {"errMsg": "x"})
        seen = []
        while len(seen) < 5 and not any(ratio <= 1.2 for ratio in seen):
            quiet = percentile_of(service)
            with Flood(service.socket, "/report", sent, a_second=300) as flood:
                loud = statistics.median(percentile_of(service) for _ in range(3))
            seen.append(max(loud, 0.005) / max(quiet, 0.005))
        with Flood(service.socket, "/report", sent, a_second=10**6) as rest:
            eventually(lambda: flood.sent + rest.sent >= 10_000, seconds=60)
        assert set(flood.statuses + rest.statuses) == {200}
        assert min(seen) <= 1.2, seen
        assert sandbox.calls() == calls
        assert (here / "wxsign.db").stat().st_size <= store + 64 * 1024
        assert service_memory(service) <= 1.1 * memory


def service_memory(service):
    """The resident bytes of all workers."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in service.pids()) * os.sysconf(
        "SC_PAGE_SIZE"
    )


class Flood:
    """One client that posts the same body again and again, so many times a second, until the block ends."""

    def __init__(self, address, path, body, a_second):
        self.sent, self.statuses = 0, []
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(address, path, body, 1 / a_second), daemon=True
        )

    def _run(self, address, path, body, pause):
        while not self._stopped.wait(pause):
            self.statuses.append(ask(address, path, method="POST", body=body).status)
            self.sent += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()


def percentile_of(service):
    with Load(service.socket, clients=4, pause_seconds=0.005) as load:
        time.sleep(1)
    assert load.failed == []
    return percentile(load.shots, 0.99)


# A second, and what a busy machine adds to it.
PATIENCE_SECONDS = 1.2


@pytest.mark.timing
def test_an_account_that_hangs_from_its_first_call_keeps_nobody_else_waiting(here):
    sound, cold = ("sound", "hanging")
    accounts = {name: ACCOUNTS[name] for name in (sound, cold)}
    with (
        wechat(here, tuple(accounts.values())) as sandbox,
        fleet(here, many_accounts(sandbox.url, here, accounts)) as service,
    ):
        eventually(lambda: service.ask(jsconfig_path(page_of(sound))).status == 200)
        sandbox.fault("*", "hang", appid=accounts[cold])
        with (
            Load(service.socket, clients=2, path=jsconfig_path(page_of(sound))) as innocent,
            Load(service.socket, clients=1, path="/healthz") as probe,
            Load(
                service.socket, clients=40, pause_seconds=1.0, path=jsconfig_path(page_of(cold))
            ) as visitors,
        ):
            time.sleep(10)
        assert innocent.failed == []
        assert probe.failed == []
        for load in (innocent, probe):
            assert percentile(load.shots, 0.999) < PATIENCE_SECONDS
        assert {shot.status for shot in visitors.shots} == {503}
        # Known after the first call, of 4 s: from then on who waits for a second call does so with what was kept for that.
        known_at = min(shot.at for shot in visitors.shots) + 5
        later = [shot for shot in visitors.shots if shot.at > known_at]
        assert len(later) > 100
        assert sum(shot.seconds > PATIENCE_SECONDS for shot in later) / len(later) < 0.1
