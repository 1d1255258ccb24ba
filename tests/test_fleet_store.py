"""The store fails under a real fleet: locked, overwritten, impossible, or written to by a worker that slept."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time

import pytest
from fleet import APPID, Load, eventually, fleet, one_account, wechat

pytestmark = pytest.mark.fleet


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


@contextlib.contextmanager
def locked(file):
    """Keep every reader and writer out."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


def test_while_the_store_is_locked_signatures_go_on_at_once_and_wechat_is_not_called(here):
    with wechat(here) as sandbox, fleet(here, one_account(sandbox.url, here)) as service:
        eventually(lambda: service.jsconfig().status == 200)
        # All workers have seen both credentials.
        time.sleep(2.5)
        before, token = sandbox.calls(), service.token()["access_token"]
        with Load(service.socket, check=lambda body: sandbox.verify(json.loads(body))["ok"]) as load:
            with locked(here / "wxsign.db"):
                eventually(lambda: service.ask("/readyz").json["state"] == "degraded", 10)
                locked_since = time.time()
                assert service.ask("/readyz").status == 200
                assert service.token()["access_token"] == token
                time.sleep(1)
                unlocked_at = time.time()
            # Each of the four is asked often enough.
            eventually(lambda: {service.ask("/readyz").json["state"] for _ in range(20)} == {"ready"}, 15)
        assert {(shot.status, shot.verdict) for shot in load.shots} == {(200, True)}
        during = sorted(shot.seconds for shot in load.shots if locked_since < shot.at < unlocked_at)
        assert during[len(during) // 2] < 0.1
        assert during[-1] < 1.5
        assert sandbox.calls() == before


def test_a_store_overwritten_with_rubbish_is_set_aside_and_filled_again_without_a_call(here):
    with wechat(here) as sandbox, fleet(here, one_account(sandbox.url, here)) as service:
        eventually(lambda: service.jsconfig().status == 200)
        time.sleep(2.5)
        before, token = sandbox.calls(), service.token()["access_token"]
        with Load(service.socket) as load:
            (here / "wxsign.db").write_bytes(b"rubbish " * 4096)
            eventually(lambda: list(here.glob("wxsign.db.corrupt-*")))
            time.sleep(2.5)
        assert load.failed == []
        assert service.token()["access_token"] == token
        service.stop()
        service.start()
        assert service.token()["access_token"] == token
        assert sandbox.calls() == before
        assert (here / "wxsign.db").stat().st_mode & 0o777 == 0o600


def test_without_any_store_each_worker_serves_from_what_it_fetched_itself(here):
    (here / "not-a-folder").write_text("")
    with wechat(here) as sandbox:
        env = {
            **one_account(sandbox.url, here),
            "WXSIGN_STORE": f"sqlite:///{here}/not-a-folder/wxsign.db",
        }
        with fleet(here, env, workers=2) as service:
            eventually(lambda: service.jsconfig().status == 200)
            with Load(service.socket, check=lambda body: sandbox.verify(json.loads(body))["ok"]) as load:
                time.sleep(2)
            assert {(shot.status, shot.verdict) for shot in load.shots} == {(200, True)}
            ready = service.ask("/readyz")
            assert (ready.status, ready.json["state"]) == (200, "degraded")
            # A stable token is the same for whoever asks: one call for each worker, and no more.
            assert max(sandbox.calls().values()) <= 2


def test_a_worker_that_slept_through_its_lease_and_wakes_with_an_old_ticket_changes_nothing(here):
    with (
        wechat(here, ticket_life_seconds=120) as sandbox,
        fleet(here, one_account(sandbox.url, here)) as service,
    ):
        eventually(lambda: service.jsconfig().status == 200)
        sandbox.fault("getticket", "latency", times=1, seconds=1)
        sleeper = eventually(lambda: service.lease_holder("jsapi") if in_flight(sandbox, "latency") else None)
        os.kill(sleeper, signal.SIGSTOP)
        try:
            # WeChat's answer with the old ticket lies in the sleeper's socket when the ticket is replaced.
            eventually(lambda: not in_flight(sandbox, "latency"))
            sandbox.post("rotate", appid=APPID, credential="jsapi_ticket")
            calls = sandbox.calls()["getticket"]
            eventually(lambda: sandbox.calls()["getticket"] > calls)
        finally:
            os.kill(sleeper, signal.SIGCONT)
        time.sleep(2.5)
        assert sleeper in service.pids()
        with Load(service.socket, check=lambda body: sandbox.verify(json.loads(body))["ok"]) as load:
            time.sleep(1)
        assert {(shot.status, shot.verdict) for shot in load.shots} == {(200, True)}


def in_flight(sandbox, fault):
    calls = sandbox.get("requests")["requests"]
    return any(call["fault"] == fault and call["seconds"] is None for call in calls)
