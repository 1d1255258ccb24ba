"""The ticket trap over real processes: WeChat never says how old a ticket is, and replaces it at a moment of its own.

`LONG_TESTS=1` runs 10 lives of 30 s in each issue mode, which takes 5 minutes; by default they are fewer and shorter.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

import pytest
from fleet import Fleet, Load, eventually, fleet, jsconfig_path, one_account, wechat

pytestmark = pytest.mark.fleet

LIVES, LIFE_SECONDS = (10, 30) if os.environ.get("LONG_TESTS") == "1" else (3, 6)
# Tickets that live no longer than 120 s are looked at every second; what one worker found, the others see a second later.
POLL_SECONDS = 1
SPREAD_SECONDS = 1
# What the calls themselves take, on a machine that does other things too.
SLACK_SECONDS = 1.5


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


class Rotations:
    """Watches WeChat's current ticket, and notes when each one ended."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.ends = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def _watch(self):
        while not self._stopped.wait(0.1):
            ticket = self.sandbox.ticket()
            self.ends[ticket["digest"]] = ticket["ends_at"]

    def excuse(self, shot, offset_seconds=0.0):
        """Say whether a refusal of this signature came within a poll of a rotation, as all workers could know it."""
        lag = POLL_SECONDS + SPREAD_SECONDS + SLACK_SECONDS
        return any(
            end - 0.1 <= shot.ends_at + offset_seconds <= end + lag + shot.seconds
            for end in self.ends.values()
        )


def shown_to(sandbox):
    return lambda body: sandbox.verify(json.loads(body))["ok"]


def test_over_many_lives_everybody_is_answered_and_refused_only_just_after_a_rotation(tmp_path_factory):
    modes = ("on_demand", "on_expiry")
    ends = []

    def live(mode, here):
        ends.append((mode, *many_lives(here, mode)))

    # Side by side, because most of it is waiting.
    folders = [tmp_path_factory.mktemp("fleet") for _ in modes]
    threads = [threading.Thread(target=live, args=lives) for lives in zip(modes, folders, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(mode for mode, *_ in ends) == sorted(modes)
    for mode, rotations, shots in ends:
        assert len(rotations.ends) > LIVES, mode
        assert {shot.status for shot in shots} == {200}, mode
        assert max(shot.seconds for shot in shots) < 5, mode
        refused = [shot for shot in shots if not shot.verdict]
        assert [shot for shot in refused if not rotations.excuse(shot)] == [], mode
        assert len(refused) < len(shots) / 2, mode


def many_lives(here, issue):
    """The rotations of a ticket's many lives, and the signatures that were asked for meanwhile."""
    with (
        wechat(here, ticket_life_seconds=LIFE_SECONDS, ticket_issue=issue) as sandbox,
        fleet(here, one_account(sandbox.url, here), workers=2) as service,
    ):
        eventually(lambda: service.jsconfig().status == 200)
        with (
            Rotations(sandbox) as rotations,
            Load(service.socket, clients=4, pause_seconds=0.05, check=shown_to(sandbox)) as load,
        ):
            eventually(lambda: len(rotations.ends) > LIVES, LIVES * LIFE_SECONDS * 1.5 + 10)
        return rotations, load.shots


def test_after_a_lost_store_a_ticket_of_unknown_age_is_served_no_longer_than_a_poll_beyond_its_end(here):
    with wechat(here, ticket_life_seconds=120) as sandbox:
        service = Fleet(here, one_account(sandbox.url, here))
        with contextlib.closing(service):
            service.start()
            eventually(lambda: service.jsconfig().status == 200)
            service.stop()
            for file in here.glob("wxsign.db*"):
                file.unlink()
            # By now the ticket has 5 s left, of which WeChat tells the new fleet nothing.
            sandbox.post("clock", advance_seconds=sandbox.ticket()["ends_at"] - time.time() - 7)
            offset = sandbox.get("state")["offset_seconds"]
            before = sandbox.calls()
            service.start()
            eventually(lambda: service.jsconfig().status == 200)
            assert sandbox.calls()["stable_token"] == before["stable_token"] + 1
            with (
                Rotations(sandbox) as rotations,
                Load(service.socket, clients=4, check=shown_to(sandbox)) as load,
            ):
                eventually(lambda: len(rotations.ends) == 2)
                time.sleep(3)
                assert all(sandbox.verify(service.jsconfig().json)["ok"] for _ in range(20))
            assert load.failed == []
            refused = [shot for shot in load.shots if not shot.verdict]
            assert [shot for shot in refused if not rotations.excuse(shot, offset)] == []


def test_a_store_that_is_deleted_under_a_running_fleet_is_filled_again_without_a_call(here):
    with wechat(here) as sandbox, fleet(here, one_account(sandbox.url, here)) as service:
        eventually(lambda: service.jsconfig().status == 200)
        token = service.token()
        # All workers have seen both credentials.
        time.sleep(2.5)
        before = sandbox.calls()
        with Load(service.socket) as load:
            for file in here.glob("wxsign.db*"):
                file.unlink()
            eventually((here / "wxsign.db").exists)
            eventually(lambda: service.lease_holder("jsapi") is None)
            time.sleep(3)
        assert load.failed == []
        assert service.token()["access_token"] == token["access_token"]
        service.stop()
        service.start()
        assert service.ask(jsconfig_path()).status == 200
        assert sandbox.calls() == before
