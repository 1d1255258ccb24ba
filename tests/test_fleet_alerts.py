"""A fault of a whole installation: two fleets of four workers on one store, one message, one when it is over, and the status."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from fleet import eventually, fleet, one_account, wechat
from robot_desk import serving

pytestmark = [pytest.mark.fleet, pytest.mark.long]

WXSIGN = Path(sys.executable).with_name("wxsign")


@pytest.fixture
def robot():
    with serving() as server:
        yield server


def status(env, *arguments):
    began = time.monotonic()
    said = subprocess.run(
        [WXSIGN, "status", "--json", *arguments],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return said.returncode, json.loads(said.stdout), time.monotonic() - began


def test_eight_workers_tell_once_that_wechat_is_busy_and_once_that_it_is_over(tmp_path_factory, robot):
    here = tmp_path_factory.mktemp("alerts")
    with wechat(here, token_life_seconds=60, ticket_life_seconds=60) as sandbox, ExitStack() as stack:
        env = one_account(sandbox.url, here) | {"WXSIGN_ALERT_WEBHOOK": robot.url}
        for name in ("a", "b"):
            folder = here / name
            folder.mkdir()
            command = [WXSIGN, "serve", "--bind", f"unix:{folder}/wxsign.sock", "--workers", "4"]
            service = stack.enter_context(fleet(folder, env, command))
            assert service.jsconfig().status == 200
        sandbox.fault("getticket", "errcode", errcode=-1)
        began = time.monotonic()
        eventually(lambda: robot.got, seconds=45)
        assert time.monotonic() - began < 60
        code, found, seconds = status(env)
        assert (code, found["problems"]) == (1, ["wechat_busy"])
        assert found["faults"][0]["accounts"] == ["default"]
        assert seconds < 2
        sandbox.post("faults/clear")
        eventually(lambda: len(robot.got) > 1, seconds=60)
        # Longer than all workers take for their next looks.
        time.sleep(8)
        told = [(len(message["begun"]), len(message["over"])) for message in robot.got]
        assert told == [(1, 0), (0, 1)]
        code, found, _ = status(env)
        (past,) = found["events"]
        assert (code, past["code"]) == (0, "wechat_busy")
        assert past["since"] < past["until"]
