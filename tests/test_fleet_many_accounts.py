"""Two thousand accounts configured, twenty of them in use: what the others cost."""

from __future__ import annotations

import contextlib
import statistics
import time
from pathlib import Path

import pytest
from fleet import Fleet, at_once, jsconfig_path, many_accounts, wechat
from redis_servers import redis_server

pytestmark = pytest.mark.fleet

CONFIGURED, IN_USE = 2_000, 20
WORKERS = 2
WATCH_SECONDS = 4.0


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


def accounts(count):
    return {f"a{number}": f"wx{number:016d}" for number in range(count)}


class Cost:
    """What a fleet with so many accounts costs while the first twenty are in use."""

    def __init__(self, here, server, sandbox, count):
        here.mkdir()
        server.ask("FLUSHALL")
        env = {**many_accounts(sandbox.url, here, accounts(count)), "WXSIGN_STORE": server.url}
        service = Fleet(here, env, workers=WORKERS)
        with contextlib.closing(service):
            begun = time.monotonic()
            service.start()
            self.start_seconds = time.monotonic() - begun
            for name in accounts(IN_USE):
                path = jsconfig_path(f"https://{name}.example.com/")
                replies = at_once(3 * WORKERS, lambda path=path: service.ask(path))
                assert {reply.status for reply in replies} == {200}
            time.sleep(2)
            before = totals(server)
            time.sleep(WATCH_SECONDS)
            self.scripts, self.bytes = (now - then for now, then in zip(totals(server), before, strict=True))
            self.resident = statistics.mean(resident_bytes(pid) for pid in service.pids())


def totals(server):
    """The scripts that Redis ran so far, and the bytes that went to and fro."""
    scripts = server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
    stats = server.ask("INFO", "stats")
    traffic = stats["total_net_input_bytes"] + stats["total_net_output_bytes"]
    return scripts, traffic


def resident_bytes(pid):
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024


@pytest.mark.long
def test_two_thousand_accounts_of_which_twenty_are_used_cost_what_twenty_do(here, require_program):
    require_program("redis-server")
    with redis_server() as server, wechat(here, tuple(accounts(IN_USE).values())) as sandbox:
        few = Cost(here / "few", server, sandbox, IN_USE)
        many = Cost(here / "many", server, sandbox, CONFIGURED)
    # And what a busy machine adds to a start.
    assert many.start_seconds < 3 * few.start_seconds + 2
    assert many.scripts <= 1.2 * few.scripts + 2
    assert many.bytes <= 1.2 * few.bytes
    # What reading the configuration leaves behind, and nothing for each credential that nobody asked for.
    assert many.resident - few.resident < 2500 * CONFIGURED
