"""The bench runs, small, so that it is there when somebody wants its figures."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import find_program

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parent.parent


IN_GRANIAN = ["wxsign granian", "bare granian"] if find_spec("granian") else []


@pytest.mark.parametrize(
    "names",
    [
        ["wxsign", "nginx cache"],
        pytest.param(
            ["wxsign", "bare", "flask view", "nginx", "nginx cache", "nginx constant", *IN_GRANIAN],
            marks=pytest.mark.long,
        ),
    ],
    ids=["two", "all"],
)
def test_the_bench_prints_what_a_signature_costs_beside_its_yardsticks(names):
    for program in ("wrk", "nginx"):
        find_program(program)
    command = [sys.executable, "-m", "bench", "--rounds", "1", "--seconds", "1"]
    command += [word for name in names for word in ("--only", name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    inside = re.search(r"^in process +CPU +([\d.]+) us/answer", done.stdout, re.MULTILINE)
    assert 0 < float(inside[1]) < 500
    row = r"CPU +([\d,]+) .+us/request +([\d,]+) .+requests/s +(\d+) MB a process$"
    for name in names:
        figures = re.search(rf"^{name} +{row}", done.stdout, re.MULTILINE).groups()
        assert all(int(figure.replace(",", "")) > 0 for figure in figures)
    ratios = ("wxsign / bare +CPU", "wxsign / flask view +CPU", "nginx cache / nginx constant +requests/s")
    for ratio in ratios if len(names) > 2 else ():
        assert re.search(rf"^{ratio} +\d+\.\d\d \(\d+\.\d\d-\d+\.\d\d\)$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_the_bench_of_stores_prints_what_each_operation_costs(kind, stores_bench):
    rows = re.findall(
        rf"^{kind} +(\S.*?) +([\d.]+) us   p99 +([\d.]+) us   20 calls$", stores_bench, re.MULTILINE
    )
    assert {"generation", "replace", "view 10", "acquire + release", "take"} <= {name for name, _, _ in rows}
    assert all(float(middle) >= 0 and float(late) >= float(middle) for _, middle, late in rows)


@pytest.fixture(scope="module")
def stores_bench():
    find_program("redis-server")
    command = [sys.executable, "-m", "bench.stores", "--times", "20"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_bench_of_a_fleet_counts_what_it_asks_of_redis_and_of_wechat():
    find_program("redis-server")
    fleet = ("--workers", "6", "--sample", "3", "--accounts", "60", "--seconds", "4")
    command = [sys.executable, "-m", "bench.scaling", *fleet]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    cells = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    assert cells[:2] == ["6 × 60", "3"]
    scripts, keys = (float(cell.replace(",", "")) for cell in cells[2:4])
    # A look a second each, and what one of sixty accounts costs whose ticket is polled in that second.
    assert 6 < scripts < 60
    # All tokens and tickets, once a second by everybody, and once more where the end of a fetch wakes somebody.
    assert 6 < keys < 2 * (6 * 2 * 60)
    assert float(cells[7].replace(",", "")) == pytest.approx(3600, rel=0.5)
