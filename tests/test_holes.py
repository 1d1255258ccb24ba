"""What use of the first version found: each of these was an outage, or a step towards one."""

import threading
import time

import pytest
from broker_desk import (
    APP,
    BASE,
    DOWN,
    PATIENCE_SECONDS,
    TICKET,
    TOKEN,
    TOKEN_PATH,
    Wire,
    desks,
    eventually,
    key,
    together,
)

from wxsign.credentials import CredentialKind
from wxsign.errors import CredentialUnavailable, WeChatUnreachable
from wxsign.stores import MemoryStore


@pytest.fixture
def desk():
    with desks("memory") as desk:
        yield desk


def test_a_worker_restarted_in_an_outage_serves_what_the_store_holds_though_the_token_has_ended(desk):
    desk.wechat.lives["access_token"] = 1800
    first = desk.worker(warm=[TICKET])
    first.tick()
    desk.wechat.always = {"access_token": DOWN, "jsapi": DOWN}
    desk.run(1830)
    restarted = desk.worker()
    restarted.tick()
    assert restarted.get(TICKET) == "ticket-1"


@pytest.mark.parametrize("skew", [30, 3600])
def test_the_clocks_of_store_and_machine_apart_do_not_lengthen_a_backoff_when_both_are_lost_at_once(
    desk, skew
):
    wire = Wire(MemoryStore(lambda: desk.wall.now + skew))
    desk.sleep = desk.advance
    worker = desk.worker(store=wire)

    def outage():
        wire.cut = True
        raise WeChatUnreachable("timeout", TOKEN_PATH)

    desk.wechat.script["access_token"].append(outage)
    with pytest.raises(CredentialUnavailable) as told:
        worker.get(TOKEN)
    worker.join()
    assert told.value.retry_after_seconds <= 3
    wire.cut = False
    desk.run(5)
    assert worker.get(TOKEN) == "token-1"


def test_four_hanging_accounts_leave_threads_for_a_fifth(desk):
    worker, gate = desk.worker(), threading.Event()
    fetch = desk.wechat.fetch

    def hang(wanted, **more):
        if wanted.app_id.startswith("hang"):
            gate.wait(PATIENCE_SECONDS)
        return fetch(wanted, **more)

    desk.wechat.fetch = hang
    hanging = [key(CredentialKind.JSAPI_TICKET, app=f"hang{number}") for number in range(4)]
    callers = [
        threading.Thread(target=lambda one=one: together([lambda: worker.broker.get(one)]), daemon=True)
        for one in hanging
    ]
    for caller in callers:
        caller.start()
    eventually(lambda: worker.broker._fetches.running == 4)
    healthy = key(CredentialKind.JSAPI_TICKET, app="healthy")
    assert worker.broker.get(healthy).value == "jsapi-of-healthy"
    gate.set()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "text",
    ['{"event": "token_taken", "app_id": "wx", "seen_at": 1}', "", "[", '{"noticed_at": 1e400}', "null"],
)
def test_a_theft_note_of_another_version_ends_no_look(desk, text):
    worker = desk.worker(warm=[TICKET])
    worker.tick()
    desk.store.note(f"theft|{BASE}|{APP}", text, 86_400)
    for _ in range(3):
        desk.advance(61)
        worker.tick()
    assert desk.wechat.count("jsapi") == 4
    assert worker.broker.thefts == {}


def test_beyond_the_free_second_one_account_keeps_one_of_eight_threads_waiting(desk):
    worker, gate = desk.worker(threads=8), threading.Event()
    desk.wechat.always["access_token"] = lambda: gate.wait(PATIENCE_SECONDS) and None
    results = []

    def call():
        try:
            results.append(worker.get(TICKET))
        except CredentialUnavailable as error:
            results.append((error.cause, error.retry_after_seconds))

    callers = [threading.Thread(target=call, daemon=True) for _ in range(6)]
    for caller in callers:
        caller.start()
    seat = worker.broker._near.seat(TICKET)
    eventually(lambda: seat.waiting == 6)
    desk.advance(1.0)
    eventually(lambda: len(results) == 5)
    assert results == [(None, 1)] * 5, "told to come back in a second"
    before = time.monotonic()
    call()
    assert time.monotonic() - before < 0.3, "who comes later is told at once"
    gate.set()
    for caller in callers:
        caller.join(PATIENCE_SECONDS)
    assert results[-1] == "ticket-1"


def test_of_a_tickets_failure_and_its_tokens_the_fresher_one_is_told(desk):
    worker = desk.worker()
    desk.wechat.always["jsapi"] = DOWN
    with pytest.raises(CredentialUnavailable):
        worker.get(TICKET)
    worker.join()
    desk.advance(7200)
    desk.wechat.always = {"access_token": WeChatUnreachable("reset", TOKEN_PATH)}
    with pytest.raises(CredentialUnavailable):
        worker.get(TICKET)
    worker.join()
    before = time.monotonic()
    with pytest.raises(CredentialUnavailable) as told:
        worker.get(TICKET)
    assert time.monotonic() - before < 0.3
    assert told.value.cause.code == "wechat_reset"


def test_a_tombstone_that_the_store_lost_is_put_back(desk):
    worker, late = desk.worker(), desk.worker()
    worker.hold(TOKEN)
    old = dict(desk.store._records)
    desk.wechat.dead.add("token-1")
    desk.wechat.always["access_token"] = DOWN
    with pytest.raises(CredentialUnavailable):
        worker.report("token-1")
    worker.join()
    desk.store._records = old
    desk.advance(11)
    worker.tick()
    assert desk.stored(TOKEN).value is None
    with pytest.raises(CredentialUnavailable):
        late.get(TOKEN)
