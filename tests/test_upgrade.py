"""Old and new wheels on one store, forward and back, under load behind nginx: nobody notices, and WeChat least of all."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from fleet import PAGE, eventually
from running import ask

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))

from chaos.scenarios import LONG  # noqa: E402 -- the checkout is on the path only now
from chaos.site import Site  # noqa: E402 -- the same
from chaos.traffic import Traffic, verdicts_on  # noqa: E402 -- the same
from wxsign.stores.base import SCHEMA  # noqa: E402 -- beside the others

pytestmark = pytest.mark.fleet

RATE = 30.0
# With these lives a ticket is looked at every second, so that every worker of the fleet soon writes a record.
POLL_SECONDS = 1.0
PARTS = ("wxsign", "static", "templates", "pyproject.toml", "README.md", "LICENSE")


def wheel_of(folder, schemas_ahead):
    """Build a wheel of this tree whose records are so many schema numbers ahead, with a field more, and install it."""
    source, target = folder / "source", folder / "installed"
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        source.mkdir(parents=True, exist_ok=True)
        copy(ROOT / part, source / part)
    if schemas_ahead:
        edit(
            source / "wxsign/stores/base.py",
            r"^SCHEMA = \d+$",
            f"SCHEMA = {SCHEMA + schemas_ahead}",
        )
        edit(
            source / "wxsign/credentials/values.py",
            r'^    rejected_digest: str = ""$',
            r'\g<0>\n    added: str = "new"',
        )
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        folder / "dist",
        cwd=source,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    run(sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index", "--target", target, wheel)
    return target


def edit(file, pattern, replacement):
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{file.name} has changed: {pattern}"
    file.write_text(text)


def run(*command, cwd=ROOT):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """This version, the next one, and the one after that."""
    return [wheel_of(tmp_path_factory.mktemp("wheel"), ahead) for ahead in range(3)]


@pytest.fixture(params=["redis", "shared-sqlite"])
def site(request, wheels, require_program, tmp_path_factory):
    require_program("nginx")
    require_program("redis-server")
    here = tmp_path_factory.mktemp("fleet")
    return Site(here, request.param, LONG, python_path(wheels[0]))


def python_path(wheel):
    """Where a machine finds the service, and the door that chaos built for it."""
    return f"{wheel}:{ROOT}"


def install(machine, wheel):
    """Restart a machine's service with another wheel."""
    machine.stop()
    machine.env["PYTHONPATH"] = python_path(wheel)
    machine.start()
    eventually(lambda: machine.jsconfig().status == 200)


def stored_records(site):
    """The ticket's record in the store, as it is written; the token's is seldom written anew."""
    if site.store == "redis":
        return [
            json.loads(site.redis.ask("GET", key)) for key in site.redis.ask("KEYS", "*:credential:*|jsapi|*")
        ]
    with contextlib.closing(
        sqlite3.connect(f"file:{site.here}/wxsign.db?mode=ro", uri=True, timeout=5)
    ) as db:
        return [
            json.loads(text)
            for (text,) in db.execute("SELECT record FROM credentials WHERE name LIKE '%|jsapi|%'")
        ]


def schemas(site):
    return {record["schema"] for record in stored_records(site)}


def all_ready(site, problem=None):
    """Whether all workers of the first machine say `ready`, or name the problem."""
    answers = [ask(site.machine.socket, "/readyz").json for _ in range(12)]
    return all(problem in answer["problems"] if problem else answer["state"] == "ready" for answer in answers)


def assert_nobody_noticed(site, traffic):
    shots = list(traffic.shots)
    assert len(shots) > RATE
    assert [shot for shot in shots if shot.status != 200] == []
    assert set(verdicts_on(site.sandbox, shots, PAGE)) == {True}


def moments_of(site, *endpoints):
    calls = site.sandbox.get("requests")["requests"]
    return [call["at"] for call in calls if call["endpoint"] in endpoints]


@pytest.mark.long
def test_a_rolling_upgrade_and_its_rollback_lose_no_request_and_fetch_nothing_that_was_not_due(site, wheels):
    this, following, _ = wheels
    with site:
        one, other = site.machines
        with Traffic(site.port, RATE) as traffic:
            assert schemas(site) == {SCHEMA}
            install(one, following)
            # Both write, and each reads and replaces what the other wrote.
            eventually(lambda: SCHEMA + 1 in schemas(site))
            assert any(record.get("added") == "new" for record in stored_records(site))
            eventually(lambda: SCHEMA + 1 not in schemas(site))
            eventually(lambda: SCHEMA + 1 in schemas(site))
            install(other, following)
            eventually(lambda: schemas(site) == {SCHEMA + 1})
            for machine in (one, other):
                install(machine, this)
            eventually(lambda: schemas(site) == {SCHEMA})
            assert all_ready(site)
        assert_nobody_noticed(site, traffic)
        tickets = moments_of(site, "getticket")
        # Counted over the whole, as a call that was held up on its way stands close to the next one.
        assert len(tickets) - 1 <= (tickets[-1] - tickets[0]) / (0.9 * POLL_SECONDS)
        assert_tokens_were_due(moments_of(site, "stable_token"))


def assert_tokens_were_due(moments):
    """A token of 60 s is asked for again in its second half only, and there at its own pace."""
    first, *later = moments
    assert [moment for moment in later if moment < first + 29] == []
    assert min((after - before for before, after in pairwise(moments)), default=60) > 0.9


# Restarted beside what it cannot read, each worker fetches for itself, one after the other: beside other tests that takes
# longer than the second that all callers may wait.
@pytest.mark.long
def test_what_a_version_two_ahead_wrote_is_neither_read_nor_overwritten_and_is_reported(site, wheels):
    this, _, ahead = wheels
    with site:
        _, other = site.machines
        with Traffic(site.port, RATE) as traffic:
            install(other, ahead)
            eventually(lambda: schemas(site) == {SCHEMA + 2})
            eventually(lambda: all_ready(site, "store_schema_ahead"))
            seen = set()
            until = time.time() + 5
            while time.time() < until:
                seen |= schemas(site)
            assert seen == {SCHEMA + 2}
            # Back again: what the newer one left stands, and the old one serves all the same.
            install(other, this)
            time.sleep(2)
            assert schemas(site) == {SCHEMA + 2}
        assert_nobody_noticed(site, traffic)
