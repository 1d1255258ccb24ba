"""Faults begin and end, are told once over the fleet, and stand in the event log with both moments."""

import json
from dataclasses import replace

import pytest
from machines_desk import Machines
from service_desk import DEFAULT_APPID, DEFAULT_SECRET, START

from wxsign.errors import StoreUnavailable
from wxsign.observers.faults import NAMES, Fault, decode, encode, faults_in
from wxsign.sandbox.faults import Fault as SandboxFault
from wxsign.settings import AlertSettings
from wxsign.states import LASTING_SCOPES
from wxsign.stores import MemoryStore
from wxsign.text import Text

pytestmark = pytest.mark.days

HOUR = 3600


class Robot:
    """What the processes of a fleet told a group."""

    def __init__(self):
        self.begun, self.over, self.pings = [], [], 0

    def __call__(self, _settings):
        return self

    def tell(self, told):
        self.begun += told[0]
        self.over += told[1]

    def ping(self, _event):
        self.pings += 1

    def codes(self):
        return [fault.code for fault in self.begun], [fault.code for fault in self.over]


class FragileStore(MemoryStore):
    """A store that can be taken away, or be made read-only; all processes share its state."""

    away = readonly = False

    def view(self, names, notes=()):
        self._reach(write=False)
        return super().view(names, notes)

    def generation(self):
        self._reach(write=False)
        return super().generation()

    def replace(self, name, credential, lease=None):
        self._reach()
        return super().replace(name, credential, lease)

    def acquire(self, name, holder, lease_seconds, highest):
        self._reach()
        return super().acquire(name, holder, lease_seconds, highest)

    def note(self, name, text, lasts_seconds, *, event=False):
        self._reach()
        super().note(name, text, lasts_seconds, event=event)

    def record_event(self, text):
        self._reach()
        super().record_event(text)

    def _reach(self, *, write=True):
        if self.away or (write and self.readonly):
            raise StoreUnavailable("gone" if self.away else "attempt to write a readonly database")


class Desk(Machines):
    """Two machines with four workers each, and the robot that all of them tell."""

    def __init__(self, workers=8, *, shared_folders=True, **more):
        self.robot = Robot()
        self.machine_stores, self.shared_folders = {}, shared_folders
        super().__init__(workers, store=FragileStore, options={"make_alerts": self.robot}, **more)

    def start_afresh(self, workers):
        self.settings = replace(self.settings, alerts=AlertSettings("http://robot.example.com/"))
        super().start_afresh(workers)

    def machine_of(self, number):
        return f"m{number // 4}"

    def machine_store_of(self, number):
        return (
            self.machine_stores.setdefault(number // 4, MemoryStore(self.wall))
            if self.shared_folders
            else None
        )

    def fail(self, errcode, times=None):
        self.sandbox.add_fault(SandboxFault("getticket", "errcode", times, errcode))

    def status(self, hours=12):
        """As a process sees it that has only just started."""
        service = self._process(0)
        return service.status(hours * HOUR)


@pytest.fixture
def desk():
    desk = Desk()
    desk.until(60)
    return desk


def test_a_fault_is_told_once_over_the_fleet_within_a_minute_and_once_when_it_is_over(desk):
    desk.fail(50002)
    desk.pass_time(65)
    assert desk.robot.codes() == (["account_limited"], [])
    (fault,) = desk.robot.begun
    assert fault.accounts == ("default",)
    assert fault.since - START == pytest.approx(120, abs=62)
    desk.sandbox.clear_faults()
    desk.pass_time(700)
    assert desk.robot.codes() == (["account_limited"], ["account_limited"])
    assert desk.robot.over[0].until > desk.robot.over[0].since == fault.since


def test_what_passes_by_itself_is_told_to_nobody(desk):
    desk.fail(-1, times=1)
    desk.pass_time(300)
    assert desk.robot.codes() == ([], [])
    assert desk.status().past == ()


def test_what_ought_to_pass_and_lasts_is_told_within_a_minute(desk):
    desk.until(100)
    desk.fail(-1)
    desk.pass_time(80)
    assert desk.robot.codes() == (["wechat_busy"], [])


def test_twelve_hours_later_the_status_lists_a_fault_with_begin_and_end(desk):
    desk.sandbox._accounts[DEFAULT_APPID].secret = "f" * 32
    desk.pass_time(HOUR + 10, step=5.0)
    found = desk.status()
    assert (found.readiness.state, found.readiness.problems) == ("degraded", ("invalid_secret",))
    (fault,) = found.faults
    assert fault.accounts == ("default",)
    assert fault.hint.en
    since = fault.since
    desk.sandbox._accounts[DEFAULT_APPID].secret = DEFAULT_SECRET
    desk.pass_time(200)
    desk.pass_time(11 * HOUR, step=10.0)
    found = desk.status()
    assert (found.readiness.state, found.faults) == ("ready", ())
    (past,) = found.past
    assert (past.code, past.since) == ("invalid_secret", since)
    assert since < past.until < since + 300
    assert desk.status(hours=1).past == ()


def test_a_lost_store_is_told_once_a_machine_and_stands_in_the_event_log_once_it_is_back(desk):
    desk.store.away = True
    desk.pass_time(60)
    expected = [("store_unavailable", "m0"), ("store_unavailable", "m1")]
    assert [(fault.code, fault.machine) for fault in desk.robot.begun] == expected
    desk.store.away = False
    desk.pass_time(60)
    assert [(fault.code, fault.machine) for fault in desk.robot.over] == expected
    past = desk.status().past
    assert [(fault.code, fault.machine) for fault in past] == expected
    assert all(fault.until - fault.since >= 60 for fault in past)


def test_without_a_place_of_the_machines_own_each_process_tells_of_a_lost_store_itself():
    desk = Desk(workers=2, shared_folders=False)
    desk.until(10)
    desk.store.away = True
    desk.pass_time(60)
    desk.store.away = False
    desk.pass_time(60)
    assert [len(faults) for faults in desk.robot.codes()] == [2, 1], "of the end one alone: the store is back"


def test_a_store_that_can_only_be_read_is_a_lost_one(desk):
    desk.store.readonly = True
    desk.pass_time(150)
    assert {fault.code for fault in desk.robot.begun} == {"store_unavailable"}
    assert "readonly" in desk.robot.begun[0].hint.en
    with pytest.raises(StoreUnavailable):
        desk.status()


def test_a_theft_is_told_and_over_when_it_is_forgotten(desk):
    desk.until(600)
    assert desk.sign() == "ok"
    theft = {
        "app_id": DEFAULT_APPID,
        "kind": "jsapi",
        "last_seen_at": desk.wall() - 60,
        "noticed_at": desk.wall(),
    }
    key = desk.token_key
    desk.store.note(f"theft|{key.api_base}|{key.app_id}", json.dumps(theft), HOUR, event=True)
    desk.pass_time(20)
    assert desk.robot.codes() == (["token_taken"], [])
    assert desk.status().readiness.problems == ("token_taken",)
    desk.pass_time(HOUR, step=5.0)
    assert desk.robot.codes() == (["token_taken"], ["token_taken"])


def test_a_clock_that_is_off_is_told_with_its_machine():
    desk = Desk()
    desk.skews[4:] = [30] * 4
    desk.pass_time(60)
    assert [(fault.code, fault.machine) for fault in desk.robot.begun] == [("clock_skewed", "m1")]
    found = desk.status()
    assert [(fault.code, fault.machine) for fault in found.faults] == [("clock_skewed", "m1")]
    desk.skews[4:] = [0] * 4
    desk.pass_time(30)
    assert [fault.code for fault in desk.robot.over] == ["clock_skewed"]
    assert desk.status().faults == ()


def test_the_workers_that_restart_meanwhile_tell_nothing_anew_and_one_of_them_tells_the_end(desk):
    desk.fail(50002)
    desk.pass_time(90)
    desk.restart()
    desk.pass_time(90)
    assert desk.robot.codes() == (["account_limited"], [])
    desk.sandbox.clear_faults()
    desk.pass_time(700)
    assert desk.robot.codes() == (["account_limited"], ["account_limited"])


def test_a_good_refresh_pings(desk):
    before = desk.robot.pings
    desk.pass_time(120)
    assert desk.robot.pings > before


def test_a_configuration_that_was_rejected_is_told(desk):
    for service in desk.services:
        service.config_rejected = True
    desk.pass_time(30)
    assert {(fault.code, fault.machine) for fault in desk.robot.begun} == {
        ("config_rejected", "m0"),
        ("config_rejected", "m1"),
    }
    assert len(desk.robot.begun) == 2


# the event log

FAULT = Fault("id", "code", Text("a", "b"), Text("c", "d"), ("x",), "m", 5.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        "{",
        '{"event": "fault"}',
        '{"event": "token_taken"}',
        '{"event":"fault","id":1,"message":3}',
    ],
)
def test_what_is_no_fault_in_the_event_log_is_passed_over(text):
    assert decode(text) is None
    assert faults_in([(0.0, text)], 0.0) == ()


def test_a_fault_reads_as_it_was_written():
    assert decode(encode(FAULT)) == FAULT
    assert decode(encode(replace(FAULT, until=7.0))).until == 7.0
    many = replace(FAULT, accounts=tuple(f"a{number}" for number in range(99)))
    assert len(decode(encode(many)).accounts) == NAMES


def test_a_machine_that_fell_silent_has_no_fault_any_more():
    assert faults_in([(100.0, encode(FAULT))], 200.0)[0].until is None
    assert faults_in([(100.0, encode(FAULT))], 100.0 + 3 * HOUR)[0].until == 100.0


def test_only_what_nobody_mends_by_waiting_is_told_at_once():
    assert {str(scope) for scope in LASTING_SCOPES} == {
        "account",
        "address",
        "confirmation",
        "quota_day",
        "secret",
    }
