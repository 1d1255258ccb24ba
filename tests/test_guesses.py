"""Systems that cannot report are guessed about: who asks again for a token may have seen it refused."""

import pytest
from broker_desk import DOWN, TICKET, TOKEN, Wire, desks

from wxsign.broker import Asking
from wxsign.http.presets import NEVER_HEALS_SECONDS

LIFE = 7200


@pytest.fixture
def desk():
    with desks("memory") as desk:
        yield desk


@pytest.fixture
def worker(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    return worker


def asks(worker, times=1, value="token-1", caller="shop@10.0.0.1", asks_a_loop=10):
    """Whether each of so many asks is one too many; after each, WeChat has answered what it was asked."""
    said = []
    for _ in range(times):
        said.append(worker.broker.guesses.given(TOKEN, value, Asking(caller, LIFE, asks_a_loop)))
        worker.join()
    return said


def test_who_asks_for_the_first_time_brings_no_question_about(desk, worker):
    asks(worker)
    asks(worker, caller="crm@10.0.0.2")
    assert desk.wechat.count("probe") == 0


def test_a_hundred_workers_that_ask_again_cost_one_question_in_a_minute(desk, worker):
    fleet = [worker, *desk.fleet(3)]
    for number in range(100):
        asks(fleet[number % 4], 2, caller=f"shop@{number}")
    assert desk.wechat.count("probe") == 1
    desk.advance(61)
    asks(worker, caller="shop@1")
    assert desk.wechat.count("probe") == 2


def test_a_dead_token_that_is_asked_for_again_is_replaced(desk, worker):
    asks(worker)
    desk.wechat.dead.add("token-1")
    desk.wechat.values["access_token"] = "token-2"
    asks(worker)
    assert worker.fresh() == "token-2"


def test_one_that_asks_again_later_in_the_tokens_life_is_guessed_about_too(desk, worker):
    asks(worker)
    desk.advance(600)
    asks(worker)
    assert desk.wechat.count("probe") == 1


def test_where_no_system_heals_a_dead_token_is_used_for_five_minutes_at_the_most(desk, worker):
    used, longest, dead_since = {}, 0, 301
    for second in range(1200):
        if second == dead_since:
            desk.wechat.dead.add("token-1")
            desk.wechat.values["access_token"] = "token-2"
        for process in range(3):
            # Each asks when its own cache ends, and then uses what it got.
            if second % NEVER_HEALS_SECONDS == 0:
                used[process] = worker.get(TOKEN)
                asks(worker, value=used[process])
            if second >= dead_since and used[process] == "token-1":
                longest = second - dead_since
        desk.advance(1)
    assert set(used.values()) == {"token-2"}
    assert 140 < longest <= 300


def test_a_guess_answers_no_report(desk, worker):
    asks(worker, 2)
    desk.wechat.dead.add("token-1")
    desk.wechat.values["access_token"] = "token-2"
    assert worker.report("token-1") == ("token-2", False)


def test_a_token_that_dies_a_second_after_a_guess_is_replaced_when_it_is_insisted_on(desk, worker):
    asks(worker, 2)
    desk.advance(1)
    desk.wechat.dead.add("token-1")
    desk.wechat.values["access_token"] = "token-2"
    said = asks(worker, 6)
    assert not any(said)
    assert worker.fresh() == "token-2"


def test_who_insists_costs_one_question_a_second_and_no_more_than_an_hour_allows(desk, worker):
    for _ in range(30):
        asks(worker, 40)
        desk.advance(1)
    assert desk.wechat.count("probe") <= 31
    for _ in range(300):
        asks(worker, 7)
        desk.advance(1.1)
    assert desk.wechat.count("probe") <= 120 + 7


@pytest.mark.parametrize("asks_a_loop", [6, 10])
def test_who_goes_on_asking_for_a_living_token_is_told_that_it_is_a_loop(worker, asks_a_loop):
    said = asks(worker, 40, asks_a_loop=asks_a_loop)
    given = said.index(True)
    # The first, the one that is guessed about, and the one that insists.
    assert given == asks_a_loop + 3
    assert said.count(False) == given
    assert asks(worker, caller="crm@10.0.0.2", times=2) == [False, False]


def test_who_asks_once_in_a_while_is_no_loop(desk, worker):
    for _ in range(50):
        assert asks(worker) == [False]
        desk.advance(2)


def test_while_a_token_is_dead_nobody_is_told_of_a_loop(desk, worker):
    desk.wechat.dead.add("token-1")
    desk.wechat.always["access_token"] = DOWN
    assert not any(asks(worker, 40))


def test_a_lost_store_is_not_waited_for(desk):
    wire, asked = Wire(desk.store), []
    worker = desk.worker(store=wire)
    worker.hold(TOKEN)
    wire.cut = True
    asks(worker)
    wire.before = asked.append
    assert asks(worker, 4) == [False] * 4
    worker.broker.issued.note(TOKEN, "token-1", LIFE)
    assert worker.broker.issued.whose("token-0") is None
    assert asked == []


def test_a_machine_that_can_start_no_thread_answers_all_the_same(desk, worker):
    worker.refuse_threads = True
    assert asks(worker, 3) == [False] * 3


def test_a_ticket_has_no_call_that_tells_whether_it_lives(desk, worker):
    worker.hold(TICKET)
    for _ in range(3):
        worker.broker.guesses.given(TICKET, "ticket-1", Asking("shop@10.0.0.1", LIFE, 10))
    worker.join()
    assert desk.wechat.count("probe") == 0


# a token that comes back


def handed_out(worker, value="token-1"):
    worker.broker.issued.note(TOKEN, value, LIFE)


def test_the_present_token_is_known_whoever_fetched_it(desk, worker):
    handed_out(worker)
    other = desk.worker()
    for one in (worker, other):
        assert one.broker.issued.whose("token-1") == (TOKEN.app_id, True)
    assert other.broker.issued.whose("token-0") is None


def test_a_token_is_known_to_its_end_and_then_to_have_expired(desk, worker):
    handed_out(worker)
    desk.wechat.values["access_token"] = "token-2"
    worker.broker.refresh_now(TOKEN)
    for one in (worker, desk.worker()):
        assert one.broker.issued.whose("token-1") == (TOKEN.app_id, True)
    desk.advance(LIFE)
    assert worker.broker.issued.whose("token-1") == (TOKEN.app_id, False)
    desk.advance(LIFE)
    assert worker.broker.issued.whose("token-1") is None


def test_a_token_handed_out_again_and_again_is_noted_once(desk):
    wire, asked = Wire(desk.store), []
    worker = desk.worker(store=wire)
    worker.hold(TOKEN)
    wire.before = asked.append
    for _ in range(5):
        handed_out(worker)
    assert asked.count("note") == 1


@pytest.mark.parametrize("note", ["", "@", "wx0@", "wx0@soon", "@1"])
def test_a_note_that_is_none_names_nobody(desk, worker, note):
    handed_out(worker, "token-0")
    (name,) = [name for name in desk.store._notes if name.startswith("issued|")]
    desk.store.note(name, note, 60)
    assert worker.broker.issued.whose("token-0") is None
