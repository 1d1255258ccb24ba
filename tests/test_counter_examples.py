"""What the model of the protocol (test_protocol_model) has found, each as a story of its own."""

import threading
import time
from itertools import pairwise

import pytest
from broker_desk import CLASSIC, PATIENCE_SECONDS, TICKET, TOKEN, Wire, desks, refused, together

from wxsign.broker.broker import FOLLOW_SECONDS
from wxsign.credentials import Credential
from wxsign.errors import CredentialUnavailable, WeChatUnreachable


@pytest.fixture
def desk():
    with desks("memory") as desk:
        yield desk


def test_a_token_reported_to_a_process_that_has_just_started_is_tried_as_well(desk):
    desk.worker().hold(TOKEN)
    started = desk.worker()
    held, verified = started.broker.report(TOKEN, "token-1")
    assert (held.value, verified) == ("token-1", True)
    assert desk.wechat.count("probe") == 1


def test_a_dead_token_reported_to_a_process_that_has_just_started_does_not_come_back(desk):
    desk.worker().hold(TOKEN)
    desk.wechat.dead.add("token-1")
    desk.wechat.values["access_token"] = "token-2"
    held, _ = desk.worker().broker.report(TOKEN, "token-1")
    assert held.value == "token-2"


def test_burying_a_token_is_no_success_that_holds_back_a_machine_with_a_bad_moment_behind_it(desk):
    worker = desk.worker(warm=[TICKET])
    worker.tick()
    desk.wechat.script["jsapi"].append(WeChatUnreachable("connect", "/cgi-bin/ticket/getticket"))
    desk.advance(60)
    worker.tick()
    assert desk.wechat.count("jsapi") == 2
    desk.wechat.dead.add("token-1")
    desk.wechat.values["access_token"] = "token-2"
    desk.advance(1.5)
    assert worker.broker.report(TOKEN, "token-1")[0].value == "token-2"


def test_a_store_rolled_back_to_the_generation_seen_last_gets_back_what_is_held(desk):
    worker = desk.worker()
    worker.hold(TICKET)
    worker.tick()
    store = desk.store
    records, generation = dict(store._records), store._generation
    desk.advance(61)
    worker.tick()
    newer = desk.stored(TICKET)
    store._records, store._generation = records, generation
    desk.advance(FOLLOW_SECONDS)
    worker.tick()
    assert desk.stored(TICKET) == newer


def test_two_processes_that_drew_the_same_number_without_the_store_agree_after_it(desk):
    wire = Wire(desk.store)
    wire.cut = True
    desk.wechat.script["access_token"].extend(["token-1", "token-2"])
    workers = [desk.worker(store=wire) for _ in range(2)]
    assert [worker.hold(CLASSIC) for worker in workers] == ["token-1", "token-2"]
    wire.cut = False
    for worker in (*workers, *workers):
        worker.tick()
    assert {worker.get(CLASSIC) for worker in workers} == {"token-1"}
    assert desk.stored(CLASSIC).value == "token-1"


@pytest.mark.parametrize("name", [TOKEN, TICKET], ids=["token", "ticket"])
def test_the_time_that_a_lease_took_to_come_is_added_to_no_life(desk, name):
    """The store grants it at once, but is long in saying so, or long in doing so."""
    for slow in ("before", "after"):
        desk.empty_store()
        wire = Wire(desk.store)
        setattr(wire, slow, lambda operation: desk.advance(4) if operation == "acquire" else None)
        desk.worker(store=wire).hold(name)
        answered_at = desk.wall()
        other = desk.worker()
        other.broker.follow([name])
        desk.wechat.always = {"access_token": refused(-1), "jsapi": refused(-1)}
        for worker in desk.workers[-2:]:
            held, _ = worker.broker.standing(name)
            left = held.credential.usable_until - worker.broker.now(held)
            assert left <= 7200 + answered_at - desk.wall()
        desk.advance(7200)
        for worker in desk.workers[-2:]:
            with pytest.raises(CredentialUnavailable):
                worker.get(name)
        desk.wechat.always = {}
        desk.advance(10)


def test_a_refused_secret_holds_back_no_ticket_and_a_ticket_proves_nothing_of_the_secret(desk):
    """Found by a reset of the AppSecret under two machines."""
    desk.fleet(2, warm=[TICKET])
    desk.run(30)
    desk.wechat.always["access_token"] = refused(40125)
    desk.advance(6875)
    before = desk.wechat.count("access_token"), desk.wechat.count("jsapi")
    desk.run(240)
    tokens = [call.at for call in desk.wechat.calls if call.what == "access_token"][before[0] :]
    assert len(tokens) == 4
    assert all(later - earlier >= 60 for earlier, later in pairwise(tokens))
    assert desk.wechat.count("jsapi") - before[1] == 4


def test_who_waits_for_what_another_machine_may_fetch_does_not_hammer_the_store(desk):
    wire, looks = Wire(desk.store), []
    worker = desk.worker(store=wire)
    worker.hold(TOKEN)
    desk.wechat.always["access_token"] = WeChatUnreachable("connect", "/cgi-bin/stable_token")
    desk.random = 1.0
    desk.advance(7199)
    worker.tick()
    desk.advance(1)
    wire.before = looks.append
    caller = threading.Thread(target=together, args=([lambda: worker.broker.get(TOKEN)],))
    caller.start()
    time.sleep(0.2)
    desk.advance(2)
    caller.join(PATIENCE_SECONDS)
    assert len(looks) < 20


def test_callers_of_a_machine_that_is_cut_off_wait_until_another_one_may_have_fetched(desk):
    """Found by the scenario `wechat-one-cut-off` of chaos, on a machine that was busy with other work."""
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.always["access_token"] = WeChatUnreachable("connect", "/cgi-bin/stable_token")
    desk.random = 1.0
    desk.advance(7199)
    worker.tick()
    seat = worker.broker._near.seat(TOKEN)
    # Another machine has succeeded since: this one asks only every ten minutes.
    seat.failed = seat.failed._replace(
        others_fetch=True, next_try=desk.boot() + 600, next_try_empty=desk.boot() + 600
    )
    desk.advance(1)
    answers = []
    callers = threading.Thread(target=lambda: answers.extend(together([lambda: worker.get(TOKEN)] * 3)))
    callers.start()
    time.sleep(0.1)
    desk.advance(1.5)
    time.sleep(0.6)
    now, ended = desk.wall(), desk.stored(TOKEN)
    fetched = Credential("token-2", ended.version + 1, 7200, now, now + 7200, now + 7200)
    desk.store.replace(TOKEN.name, fetched)
    worker.tick()
    callers.join(PATIENCE_SECONDS)
    assert answers == ["token-2"] * 3
