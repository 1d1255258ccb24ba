"""`/metrics`: names and units that Prometheus takes, right over workers that come and go, and for the right eyes only."""

import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import prometheus_client
import pytest
from at_sandbox import SHOP_KEY, control, service_at, wechat
from fleet import eventually, fleet, one_account
from fleet import wechat as wechat_process
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict
from werkzeug.test import Client

from wxsign import __version__
from wxsign.observers.metrics import Metrics, exposition
from wxsign.service import WxSign
from wxsign.web import create_app

ROOT = Path(__file__).parents[1]
PAGE = "/jsconfig?url=https%3A%2F%2Fm.example.com%2F"
SAMPLE = re.compile(r"(?m)^(wxsign_\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def samples(text):
    """The samples of an exposition, by name and labels."""
    return {
        (name, frozenset(LABEL.findall(labels or ""))): float(value)
        for name, labels, value in SAMPLE.findall(text)
    }


def value(text, name, **labels):
    return samples(text).get((name, frozenset(labels.items())))


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@contextmanager
def serving(sandbox, **changes):
    with service_at(sandbox.url) as service:
        changed = WxSign(replace(service.settings, **changes))
        app = create_app(changed)
        registry = prometheus_client.CollectorRegistry()
        changed.metrics = Metrics(registry)

        def scrape():
            changed.metrics._next_gauges = changed.metrics._next_quota = float("-inf")
            changed.broker.watch()
            return prometheus_client.generate_latest(registry).decode()

        try:
            yield Client(app), changed, scrape
        finally:
            changed.stop()


def test_signatures_calls_lives_and_quota_are_counted_without_a_url_or_a_value(sandbox):
    with serving(sandbox) as (client, service, scrape):
        assert client.get(PAGE).status_code == 200
        assert client.get(PAGE).status_code == 200
        assert client.get("/jsconfig?url=nothing").status_code == 400
        text = scrape()
        account = service.registry.get(json.loads(client.get(PAGE).get_data())["appId"]).name
        assert value(text, "wxsign_signatures_total", account=account, result="ok") == 2
        assert value(text, "wxsign_signatures_total", account="", result="url_not_absolute") == 1
        assert value(text, "wxsign_wechat_calls_total", endpoint="getticket", errcode="0") >= 1
        assert value(text, "wxsign_refresh_total", account=account, kind="jsapi", outcome="refreshed") == 1
        assert 7000 < value(text, "wxsign_credential_usable_seconds", account=account, kind="jsapi") <= 7201
        assert value(text, "wxsign_quota_remaining", account=account, endpoint="getticket") == 9999
        assert value(text, "wxsign_store_operation_seconds_count", operation="acquire") >= 2
        assert "example.com" not in text
        assert service.ticket(account).value not in text


def test_a_refusal_has_wechats_errcode_and_an_account_without_a_ticket_is_named(sandbox):
    control(sandbox, "faults", endpoint="getticket", kind="errcode", errcode=50002, times=None)
    with serving(sandbox) as (client, _service, scrape):
        assert client.get(PAGE).status_code == 503
        text = scrape()
        assert value(text, "wxsign_wechat_calls_total", endpoint="getticket", errcode="50002") >= 1
        assert [labels for name, labels in samples(text) if name == "wxsign_signatures_total"] == [
            frozenset({("account", "shop"), ("result", "credential_unavailable")})
        ]
        assert value(text, "wxsign_faults", code="account_limited") >= 1
    control(sandbox, "faults/clear")


# who may read


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("10.1.2.3", {}, 200),
        ("192.0.2.1", {}, 401),
        ("", {}, 401),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, 401),
        ("127.0.0.1", {"Via": "1.1 proxy"}, 401),
        ("192.0.2.1", {"Authorization": f"Bearer {SHOP_KEY}"}, 403),
    ],
)
def test_only_who_is_near_or_has_an_admin_key_reads_them(sandbox, address, headers, status):
    with serving(sandbox, metrics_allow_from=(ipaddress.ip_network("10.0.0.0/8"),)) as (client, _, _):
        answer = client.get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == status
        assert ("# TYPE" in answer.get_data(as_text=True)) is (status == 200)
        assert answer.headers["Cache-Control"] == "no-store"


def test_without_the_extra_the_answer_names_it(sandbox):
    with serving(sandbox) as (client, service, _):
        service.metrics = None
        answer = client.get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"})
        assert (answer.status_code, answer.json["error"]["code"]) == (501, "metrics_missing")
        assert "wxsign[metrics]" in answer.json["error"]["hint"]


# over workers that come and go


def test_a_scrape_waits_for_the_file_of_a_worker_that_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue(lambda: 1))
    new = tmp_path / "counter_1.db"
    new.touch()
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            MmapedDict(str(new)).close()

    assert exposition(pause) == b""
    assert len(pauses) == 2
    new.write_bytes(b"")
    with pytest.raises(OSError, match="cannot be read"):
        exposition(pauses.append)


class Counters:
    """What was seen of the counters so far: none may go backwards."""

    def __init__(self, scrape):
        self._scrape = scrape
        self._before = {}
        self.text = ""

    def have(self, signed):
        """Look again; whether so many signatures are counted."""
        reply = self._scrape()
        assert reply.status == 200, reply.body
        self.text = reply.body.decode()
        found = samples(self.text)
        now = {
            key: number for key, number in found.items() if key[0].endswith(("_total", "_count", "_bucket"))
        }
        assert {key: number for key, number in self._before.items() if now.get(key, -1) < number} == {}
        self._before = now
        return signed == sum(number for (name, _), number in now.items() if name == "wxsign_signatures_total")


@pytest.mark.fleet
def test_no_counter_goes_backwards_over_restarts_of_each_of_four_workers(tmp_path_factory):
    here = tmp_path_factory.mktemp("metrics")
    with wechat_process(here) as sandbox:
        # A unix socket has no address: a key opens it.
        key = "m" * 20 + "etrics-key-1234567890"
        toml = here / "wxsign.toml"
        toml.write_text(f'[clients.prometheus]\nkey = "{key}"\nscopes = ["admin"]\n')
        env = one_account(sandbox.url, here) | {"WXSIGN_CONFIG": str(toml), "WXSIGN_CLIENT_KEY": ""}
        with fleet(here, env) as service:
            seen = Counters(lambda: service.ask("/metrics", headers={"Authorization": f"Bearer {key}"}))
            for number, asked in ((signal.SIGHUP, 40), (signal.SIGKILL, 80), (signal.SIGHUP, 120)):
                assert {service.jsconfig().status for _ in range(40)} == {200}
                # What waits in a worker is written down by its Watcher, once a second.
                eventually(partial(seen.have, asked))
                old = service.pids()
                if number is signal.SIGKILL:
                    for pid in old:
                        os.kill(pid, number)
                else:
                    service.signal(number)
                eventually(partial(service.replaced, old))
                assert seen.have(asked)
            text = seen.text
            assert value(text, "wxsign_build_info", version=__version__) == 1
            _check_with_promtool(text)
            folders = list(Path("/dev/shm").glob("wxsign-metrics-*"))
        assert set(folders) - set(Path("/dev/shm").glob("wxsign-metrics-*"))


def _check_with_promtool(text):
    if tool := shutil.which("promtool"):
        said = subprocess.run(
            [tool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        ours = [line for line in said.stderr.splitlines() if line.startswith("wxsign")]
        assert ours == []


# what is handed to Prometheus and Grafana

KNOWN = {
    f"wxsign_{name}"
    for name in (
        "signatures_total",
        "wechat_calls_total",
        "refresh_total",
        "refresh_seconds_bucket",
        "store_operation_seconds_bucket",
        "credential_usable_seconds",
        "quota_remaining",
        "faults",
        "build_info",
    )
}


def test_rules_and_board_ask_for_metrics_that_exist():
    for name in ("alerts.yml", "grafana.json"):
        named = set(re.findall(r"wxsign_\w+", (ROOT / "deploy" / name).read_text()))
        assert named
        assert named <= KNOWN
    registry = prometheus_client.CollectorRegistry()
    Metrics(registry)
    exist = {
        name
        for family in registry.collect()
        for name in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    assert exist >= KNOWN


def test_every_rule_says_what_it_is_and_where_to_read_on():
    rules = (ROOT / "deploy/alerts.yml").read_text().split("- alert: ")[1:]
    assert len(rules) == 6
    for rule in rules:
        anchor = re.search(r"runbook_url: docs/operations\.md#(\S+)", rule)[1]
        assert f"## {anchor.replace('-', ' ').capitalize()}" in (ROOT / "docs/operations.md").read_text()
        assert all(word in rule for word in ("expr:", "for:", "severity:", "summary:", "description:"))


def test_promtool_takes_the_rules():
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    subprocess.run([tool, "check", "rules", ROOT / "deploy/alerts.yml"], check=True, capture_output=True)


def test_the_board_is_whole():
    board = json.loads((ROOT / "deploy/grafana.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) == 8
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])
