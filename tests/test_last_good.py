"""The last good configuration: a file that somebody is in the middle of editing costs no request and no worker."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest
from fleet import APP_SECRET, APPID, Fleet, Load, eventually, wechat

pytestmark = pytest.mark.fleet

GOOD = f'[accounts.default]\napp_id = "{APPID}"\napp_secret_file = "app.secret"\nallowed_hosts = ["m.example.com"]\n'
BAD = {
    "a typo": GOOD.replace("allowed_hosts", "alowed_hosts"),
    "half a file": GOOD[: len(GOOD) // 2],
    "an empty file": "",
    "a secret file that is not there": GOOD.replace('"app.secret"', '"not-there-yet"'),
}


@pytest.fixture
def here(tmp_path):
    (tmp_path / "app.secret").write_text(APP_SECRET)
    (tmp_path / "wxsign.toml").write_text(GOOD)
    yield tmp_path
    # It holds what no other file may: the search for secrets reads all that is left behind.
    (tmp_path / "app.secret").unlink()


@contextlib.contextmanager
def serving(here, sandbox, server="gunicorn", workers=2):
    env = {
        "WXSIGN_CONFIG": str(here / "wxsign.toml"),
        "WXSIGN_API_BASE": sandbox.url,
        "WXSIGN_STORE": f"sqlite:///{here}/wxsign.db",
    }
    service = Fleet(here, env, workers=workers, server=server)
    with contextlib.closing(service):
        service.start()
        eventually(lambda: service.ask("/readyz").json["state"] == "ready")
        yield service


def problems(service):
    return service.ask("/readyz").json["problems"]


def rejections(service):
    return len(service.events("wxsign.config_rejected"))


def reload(service):
    old = service.pids()
    service.signal(signal.SIGHUP)
    eventually(lambda: service.replaced(old))


def test_a_bad_file_costs_no_request_whatever_makes_workers_start_and_the_mended_one_takes_over(here, server):
    with wechat(here) as sandbox, serving(here, sandbox, server) as service, Load(service.socket) as load:
        for told, text in enumerate(BAD.values(), 1):
            (here / "wxsign.toml").write_text(text)
            before, killed_at = service.pids(), time.time()
            os.kill(min(before), signal.SIGKILL)
            eventually(lambda before=before: len(service.pids() - before) == 1)
            lost = [shot for shot in load.failed if shot.at < killed_at + 0.2]
            reload(service)
            assert rejections(service) == told
            eventually(lambda: problems(service) == ["config_rejected"])
            assert service.jsconfig().status == 200
            assert [shot for shot in load.failed if shot not in lost and shot.status] == []
        (here / "wxsign.toml").write_text(GOOD.replace("m.example.com", 'm.example.com", "new.example.com'))
        reload(service)
        eventually(lambda: problems(service) == [])
        assert service.jsconfig("https://new.example.com/").status == 200
        assert rejections(service) == len(BAD)
    assert APP_SECRET not in service.log.read_text()


def test_a_second_master_with_a_bad_file_ends_and_the_first_goes_on(here):
    with wechat(here) as sandbox, serving(here, sandbox) as service, Load(service.socket) as load:
        (here / "wxsign.toml").write_text(BAD["a typo"])
        before = service.pids()
        service.signal(signal.SIGUSR2)
        eventually(lambda: "alowed_hosts" in service.log.read_text())
        eventually(lambda: service.pids() == before)
        assert service.jsconfig().status == 200
    assert load.failed == []


@pytest.mark.long
@pytest.mark.parametrize("bad", BAD)
def test_each_of_four_workers_in_turn_may_die_over_a_bad_file_under_a_hundred_requests_a_second(here, bad):
    with wechat(here) as sandbox, serving(here, sandbox, workers=4) as service:
        master = service.master
        with Load(service.socket, clients=4, pause_seconds=0.035) as load:
            began = time.time()
            (here / "wxsign.toml").write_text(BAD[bad])
            killed = []
            for pid in sorted(service.pids()):
                before = service.pids()
                killed.append(time.time())
                os.kill(pid, signal.SIGKILL)
                eventually(lambda before=before: len(service.pids() - before) == 1)
            reload(service)
            eventually(lambda: problems(service) == ["config_rejected"])
            before = service.pids()
            service.signal(signal.SIGUSR2)
            time.sleep(3)
            assert service.pids() >= before
            (here / "wxsign.toml").write_text(GOOD)
            reload(service)
            eventually(lambda: problems(service) == [])
            seconds = time.time() - began
        assert service.master == master
        assert len(load.shots) > 80 * seconds
        # What a killed worker had in hand, and nothing else.
        others = [
            shot
            for shot in load.failed
            if not any(shot.at <= moment + 0.2 and moment <= shot.ends_at for moment in killed)
        ]
        assert others == []
        assert len(load.failed) <= 2 * len(killed)
