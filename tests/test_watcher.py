"""The Watcher's thread: it looks, can be woken and waited for, survives what a look raises, and is replaced when it is gone."""

import threading
import time

import pytest
from broker_desk import BOOT, PATIENCE_SECONDS, TOKEN, Clock, desks, eventually

from wxsign.broker import watcher as module
from wxsign.broker.watcher import SILENT_SECONDS, Watcher


class Looks:
    """A look that can be counted, held up and made to fail."""

    def __init__(self):
        self.count = 0
        self.threads = set()
        self.gate = threading.Event()
        self.gate.set()
        self.trouble = None

    def __call__(self):
        self.count += 1
        self.threads.add(threading.current_thread())
        self.gate.wait(PATIENCE_SECONDS)
        if self.trouble:
            raise self.trouble


@pytest.fixture
def clock():
    return Clock(BOOT)


@pytest.fixture
def looks():
    return Looks()


@pytest.fixture
def watcher(looks, clock):
    watcher = Watcher(looks, clock)
    yield watcher
    watcher.stop()
    looks.gate.set()
    for thread in looks.threads:
        thread.join(PATIENCE_SECONDS)


def test_nothing_runs_before_it_is_asked_to(watcher, looks):
    assert not watcher.alive
    assert looks.count == 0


def test_it_looks_again_and_again(watcher, looks, monkeypatch):
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.001)
    watcher.ensure_running()
    eventually(lambda: looks.count > 3)
    assert watcher.alive
    assert len(looks.threads) == 1


def test_it_looks_once_a_second_when_nobody_wakes_it(watcher, looks):
    watcher.ensure_running()
    eventually(lambda: looks.count == 1)
    time.sleep(0.1)
    assert looks.count == 1
    assert module.WATCH_SECONDS == 1.0


def test_asked_twice_it_runs_once(watcher, looks):
    for _ in range(5):
        watcher.ensure_running()
    eventually(lambda: looks.count)
    assert len(looks.threads) == 1


def test_woken_it_looks_at_once(watcher, looks):
    watcher.ensure_running()
    eventually(lambda: looks.count == 1)
    watcher.wake()
    eventually(lambda: looks.count == 2)
    assert len(looks.threads) == 1


def test_a_wake_during_a_look_is_not_lost(watcher, looks):
    looks.gate.clear()
    watcher.ensure_running()
    eventually(lambda: looks.count == 1)
    watcher.wake()
    looks.gate.set()
    eventually(lambda: looks.count == 2)
    assert len(looks.threads) == 1


def test_who_waits_for_a_look_gets_one_that_began_after_the_asking(watcher, looks):
    looks.gate.clear()
    watcher.ensure_running()
    eventually(lambda: looks.count == 1)
    assert not watcher.sync(0.01), "the look that is under way does not count"
    looks.gate.set()
    before = looks.count
    assert watcher.sync(PATIENCE_SECONDS)
    assert looks.count > before or looks.count >= 2


def test_who_waits_starts_it(watcher, looks):
    assert watcher.sync(PATIENCE_SECONDS)
    assert looks.count >= 1


def test_it_survives_whatever_a_look_raises(watcher, looks, caplog):
    looks.trouble = ZeroDivisionError()
    watcher.ensure_running()
    for _ in range(3):
        assert watcher.sync(PATIENCE_SECONDS)
    assert watcher.alive
    assert "wxsign.watch_failed" in caplog.messages


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_is_replaced(watcher, looks):
    looks.trouble = SystemExit()
    watcher.ensure_running()
    watcher._thread.join(PATIENCE_SECONDS)
    assert not watcher.alive
    looks.trouble = None
    watcher.ensure_running()
    eventually(lambda: len(looks.threads) == 2)
    assert watcher.alive


def test_a_thread_silent_for_thirty_seconds_is_replaced_and_does_not_come_back(watcher, looks, clock):
    looks.gate.clear()
    watcher.ensure_running()
    eventually(lambda: looks.count == 1)
    clock.now += SILENT_SECONDS - 0.1
    watcher.ensure_running()
    assert watcher.alive
    clock.now += 0.1
    watcher.ensure_running()
    eventually(lambda: looks.count == 2)
    looks.gate.set()
    silent, running = sorted(looks.threads, key=lambda thread: thread is watcher._thread)
    silent.join(PATIENCE_SECONDS)
    assert not silent.is_alive()
    assert running.is_alive()


def test_stopped_it_ends_and_does_not_start_again(watcher, looks):
    watcher.ensure_running()
    eventually(lambda: looks.count)
    watcher.stop()
    for thread in looks.threads:
        thread.join(PATIENCE_SECONDS)
    watcher.ensure_running()
    assert not watcher.alive
    assert not watcher.sync(PATIENCE_SECONDS), "at once: nobody will look"


def test_where_no_thread_can_be_had_it_says_so_and_is_started_later(watcher, looks, monkeypatch, caplog):
    def no_thread(_self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as system:
        system.setattr(threading.Thread, "start", no_thread)
        watcher.ensure_running()
        assert not watcher.sync(0.001)
    assert "wxsign.no_thread" in caplog.messages
    watcher.ensure_running()
    eventually(lambda: looks.count)


@pytest.fixture
def desk():
    with desks("memory") as desk:
        yield desk


def test_a_request_starts_the_watcher_of_its_process(desk):
    worker = desk.worker(watching=True)
    assert not worker.broker._watcher.alive
    worker.get(TOKEN)
    assert worker.broker._watcher.alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_request_that_finds_the_watcher_dead_starts_it_again(desk):
    worker = desk.worker(watching=True)
    worker.get(TOKEN)
    broker = worker.broker
    broker._watcher._watch = lambda: (_ for _ in ()).throw(SystemExit)
    broker._watcher.wake()
    broker._watcher._thread.join(PATIENCE_SECONDS)
    broker._watcher._watch = broker.watch
    worker.get(TOKEN)
    assert not broker._watcher.alive, "looked after every two seconds, not with every request"
    desk.advance(2.1)
    worker.get(TOKEN)
    assert broker._watcher.alive


def test_the_end_of_a_fetch_wakes_the_watcher_which_goes_on_with_what_is_due(desk):
    worker = desk.worker(watching=True, warm=[TOKEN])
    worker.broker.start()
    eventually(lambda: desk.wechat.calls)
    worker.join()
    assert worker.get(TOKEN) == "token-1"
    worker.broker.stop()
    worker.broker.start()
    assert worker.get(TOKEN) == "token-1"
