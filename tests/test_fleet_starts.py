"""Starts, restarts, reloads and kills of a real fleet: what WeChat sees of them, and what callers see."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from fleet import (
    APPID,
    Fleet,
    Load,
    at_once,
    children,
    eventually,
    fleet,
    gone,
    jsconfig_path,
    many_accounts,
    one_account,
    one_shot,
    volley,
    wechat,
)

pytestmark = pytest.mark.fleet

OTHER = "wx0000000000000002"
PAGE_OF_ONE = "https://one.example.com/page"


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


def two_accounts(sandbox, here):
    """With two accounts neither is warm: nothing is fetched before somebody asks."""
    return many_accounts(sandbox.url, here, {"one": APPID, "two": OTHER})


@pytest.mark.timing
def test_200_first_requests_on_a_cold_store_make_one_token_call_and_one_ticket_call(here, server):
    with wechat(here, (APPID, OTHER), latency_seconds=0.25) as sandbox:
        with fleet(here, two_accounts(sandbox, here), server=server) as service:
            assert sandbox.calls() == {}
            shots = volley(service.socket, 200, jsconfig_path(PAGE_OF_ONE))
            assert sandbox.calls() == {"stable_token": 1, "getticket": 1}
        assert [shot.status for shot in shots] == [200] * 200
        assert all(sandbox.verify(shot.json, PAGE_OF_ONE)["ok"] for shot in shots)
        assert len({shot.json["nonceStr"] for shot in shots}) == 200


def test_a_worker_shares_the_modules_of_its_master(here, server):
    with wechat(here) as sandbox, fleet(here, one_account(sandbox.url, here), server=server) as service:
        eventually(lambda: service.jsconfig().status == 200)
        for pid in service.pids():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kb = {
                line.split(":")[0]: int(line.split()[1])
                for line in rollup.splitlines()
                if line.endswith("kB")
            }
            assert kb["Pss"] < 0.7 * kb["Rss"]
            assert kb["Pss"] < 30_000


def test_a_restart_of_all_workers_makes_no_call(here, server):
    with wechat(here) as sandbox:
        service = Fleet(here, one_account(sandbox.url, here), server=server)
        with contextlib.closing(service):
            service.start()
            eventually(lambda: service.jsconfig().status == 200)
            before = sandbox.calls()
            for _ in range(2):
                service.stop()
                service.start()
                shots = volley(service.socket, 40)
                assert [shot.status for shot in shots] == [200] * 40
            assert sandbox.verify(shots[0].json)["ok"]
            assert ("readyz", service.ask("/readyz").json["state"]) == ("readyz", "ready")
            # Longer than a look of the Watchers, shorter than the 60 s to the next poll of a ticket.
            time.sleep(2)
            assert sandbox.calls() == before


def test_workers_that_are_killed_one_after_another_come_back_without_a_call(here, server):
    with wechat(here) as sandbox, fleet(here, one_account(sandbox.url, here), server=server) as service:
        # Told once it is written: before, a killed worker takes what it alone holds with it.
        eventually(lambda: any(line["kind"] == "jsapi" for line in service.events("wxsign.refreshed")))
        before, old = sandbox.calls(), service.pids()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: service.replaced(old))
        # On a busy machine the first look may take longer than the second that callers wait freely.
        assert {shot.status for shot in volley(service.socket, 40)} <= {200, 503}
        eventually(lambda: {shot.status for shot in volley(service.socket, 40)} == {200}, 10)
        assert sandbox.calls() == before


def test_a_reload_under_load_fails_no_request_and_makes_no_call(here, server):
    with wechat(here) as sandbox, fleet(here, one_account(sandbox.url, here), server=server) as service:
        eventually(lambda: service.jsconfig().status == 200)
        before = sandbox.calls()
        with Load(service.socket) as load:
            for _ in range(2):
                old = service.pids()
                service.signal(signal.SIGHUP)
                eventually(lambda old=old: service.replaced(old))
            seen = len(load.shots)
            eventually(lambda: len(load.shots) > seen + 100)
        assert load.failed == []
        assert sandbox.calls() == before


def test_a_rolling_restart_onto_a_new_master_under_load_fails_no_request_and_makes_no_call(here):
    with wechat(here) as sandbox, fleet(here, one_account(sandbox.url, here)) as service:
        eventually(lambda: service.jsconfig().status == 200)
        before, old_workers = sandbox.calls(), service.pids()
        with contextlib.ExitStack() as stack, Load(service.socket) as load:
            # gunicorn's own way to a new version: SIGUSR2 starts a second master on the same socket.
            service.signal(signal.SIGUSR2)
            successor = eventually(lambda: next(iter(children(service.master) - old_workers), 0))
            # It is nobody's child once the first one has ended, so nobody else ends it.
            stack.callback(end, successor)
            eventually(lambda: len(children(successor)) == service.workers)
            service.stop()
            seen = len(load.shots)
            eventually(lambda: len(load.shots) > seen + 100)
            assert load.failed == []
        assert sandbox.calls() == before


def end(pid):
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: gone(pid))


def test_killing_the_worker_that_fetches_costs_no_caller_a_signature_while_a_ticket_is_held(here):
    # A ticket of 120 s is looked at every second.
    with (
        wechat(here, ticket_life_seconds=120) as sandbox,
        fleet(here, one_account(sandbox.url, here)) as service,
    ):
        eventually(lambda: service.jsconfig().status == 200)
        with Load(service.socket, check=lambda body: sandbox.verify(json.loads(body))["ok"]) as load:
            sandbox.fault("getticket", "latency", times=1, seconds=3.5)
            holder = eventually(lambda: service.lease_holder("jsapi") if slow_call(sandbox) else None)
            calls = sandbox.calls()["getticket"]
            killed_at = time.time()
            os.kill(holder, signal.SIGKILL)
            # Nobody asks before the lease lapses, 8 s after it was taken; then somebody does.
            eventually(lambda: sandbox.calls()["getticket"] > calls, 15)
            taken_over_after = time.time() - killed_at
            time.sleep(0.5)
        assert 4 < taken_over_after < 11
        assert holder not in service.pids()
        lost = [shot for shot in load.failed if shot.status == 0]
        assert load.failed == lost
        assert all(shot.at <= killed_at + 0.1 for shot in lost)
        assert all(shot.verdict for shot in load.shots if shot.status == 200)
        assert max(shot.seconds for shot in load.shots) < 10


def test_killing_the_worker_that_makes_the_first_fetch_leaves_the_callers_of_the_others_an_answer(here):
    """Who waits longer than a second is answered, or told to come back: no thread is kept for the whole of the lease."""
    with wechat(here, (APPID, OTHER)) as sandbox, fleet(here, two_accounts(sandbox, here)) as service:
        sandbox.fault("stable_token", "latency", times=1, seconds=3.5)
        killed = []

        def kill_the_holder():
            pid = eventually(lambda: service.lease_holder("access_token") if slow_call(sandbox) else None)
            # The others have taken requests as well by then.
            time.sleep(1)
            killed.append(time.time())
            os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_the_holder)
        killer.start()
        path = jsconfig_path(PAGE_OF_ONE)
        shots = at_once(30, lambda: one_shot(service.socket, path), within_seconds=0.8)
        killer.join()
        answered = [shot for shot in shots if shot.status]
        assert all(shot.ends_at < killed[0] + 1 for shot in shots if not shot.status)
        assert len(answered) >= 5
        assert {shot.status for shot in answered} <= {200, 503}
        assert max(shot.seconds for shot in answered) < 10.5
        last = eventually(lambda: (shot := one_shot(service.socket, path)).status == 200 and shot, 12)
        assert all(
            sandbox.verify(shot.json, PAGE_OF_ONE)["ok"] for shot in (*answered, last) if shot.status == 200
        )
        assert sandbox.calls() == {"stable_token": 2, "getticket": 1}


def slow_call(sandbox):
    """Whether a call that a latency was queued for has arrived."""
    return any(call["fault"] == "latency" for call in sandbox.get("requests")["requests"])
