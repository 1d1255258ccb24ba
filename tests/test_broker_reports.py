"""A report is a hint (rule 4), and WeChat's refusal of our own token (rule 5)."""

import itertools
import threading
import time
from contextlib import suppress

import pytest
from broker_desk import (
    CLASSIC,
    CLASSIC_TICKET,
    DOWN,
    PATIENCE_SECONDS,
    TICKET,
    TICKET_PATH,
    TOKEN,
    Wire,
    desks,
    eventually,
    refused,
    together,
)

from wxsign.broker.reports import PROBES_A_CLIENT_A_DAY, REPORT_GAP_SECONDS, REPORTS_A_CLIENT_AN_HOUR
from wxsign.credentials import Credential
from wxsign.errors import CredentialUnavailable

STALE = refused(40001, TICKET_PATH)


@pytest.fixture(params=["memory", "sqlite"])
def desk(request):
    with desks(request.param) as desk:
        yield desk


@pytest.fixture
def swift():
    with desks("memory") as desk:
        yield desk


def die(desk, value="token-1", successor="token-2"):
    """WeChat declares a token dead; the next fetch gives its successor."""
    desk.wechat.dead.add(value)
    desk.wechat.values["access_token"] = successor


# rule 4


def test_a_report_of_another_token_than_the_current_one_makes_no_call(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    assert worker.report("an old token") == ("token-1", False)
    assert len(desk.wechat.calls) == 1


def test_a_report_of_a_living_token_returns_it_as_verified_and_fetches_nothing(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    assert worker.report("token-1") == ("token-1", True)
    assert [call.what for call in desk.wechat.calls] == ["access_token", "probe"]
    assert desk.wechat.calls[1].access_token == "token-1"


def test_a_verdict_answers_the_reports_of_the_fleet_that_come_within_a_second_of_it(desk):
    workers = desk.fleet(4)
    for worker in workers:
        worker.hold(TOKEN)
    for worker in workers:
        assert worker.report("token-1") == ("token-1", True)
        worker.join()
        desk.advance(0.25)
    assert desk.wechat.count("probe") == 1
    desk.advance(0.25)
    workers[0].report("token-1")
    assert desk.wechat.count("probe") == 2


def test_after_a_false_report_a_true_one_is_not_answered_by_the_old_verdict(desk):
    worker, other = desk.fleet(2)
    for each in (worker, other):
        each.hold(TOKEN)
    assert worker.report("token-1") == ("token-1", True)
    worker.join()
    die(desk)
    desk.advance(1.5)
    assert other.report("token-1") == ("token-2", False)
    assert worker.report("token-1") == ("token-2", False)


def test_one_clients_false_reports_cost_another_ones_true_report_nothing(desk):
    worker = desk.worker(limit_of=lambda _key, _call: 100_000)
    worker.hold(TOKEN)
    for _ in range(PROBES_A_CLIENT_A_DAY):
        assert worker.broker.report(TOKEN, "token-1", "talkative")[1]
        worker.join()
        desk.advance(2)
    desk.advance(600)
    die(desk)
    assert worker.broker.report(TOKEN, "token-1", "honest")[0].value == "token-2"


def test_where_no_probe_may_be_spent_a_rationed_refresh_takes_its_place(desk):
    worker = desk.worker(limit_of=lambda _key, call: 0 if call == "get_api_domain_ip" else 1000)
    worker.hold(TOKEN)
    assert worker.report("token-1") == ("token-1", False), "WeChat was asked, and gave it again"
    worker.join()
    die(desk)
    desk.advance(REPORT_GAP_SECONDS)
    assert worker.report("token-1") == ("token-2", False)
    assert desk.wechat.count("probe") == 0
    assert not any(call.force for call in desk.wechat.calls)


def test_the_refreshes_of_one_client_are_rationed_and_another_still_has_its_own(swift):
    worker = swift.worker()
    numbers = itertools.count(2)
    worker.hold(TOKEN)

    def report(client):
        token = worker.get(TOKEN)
        die(swift, token, f"token-{next(numbers)}")
        swift.advance(REPORT_GAP_SECONDS + 1)
        return worker.broker.report(TOKEN, token, client)[0].value != token

    assert all(report("often") for _ in range(REPORTS_A_CLIENT_AN_HOUR))
    with pytest.raises(CredentialUnavailable) as told:
        report("often")
    assert told.value.cause.code == "too_many_refreshes"
    worker.join()
    assert report("seldom")


def test_a_verdict_that_failed_leaves_a_known_failure_known(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.always = {"access_token": DOWN, "probe": DOWN}
    desk.advance(6950)
    worker.tick()
    known = worker.broker.standing(TOKEN)[1]
    assert known.error.code == "wechat_timeout"
    with pytest.raises(CredentialUnavailable):
        worker.report("token-1")
    worker.join()
    assert worker.broker.standing(TOKEN)[1] == known


def test_a_report_of_a_dead_token_makes_one_refresh_for_which_all_reporters_wait(desk):
    workers = desk.fleet(4)
    for worker in workers:
        worker.hold(TOKEN)
    die(desk)
    results = together(
        [lambda worker=worker: worker.report("token-1") for worker in workers for _ in range(25)]
    )
    assert set(results) == {("token-2", False)}
    assert [call.what for call in desk.wechat.calls] == ["access_token", "probe", "access_token"]
    assert not desk.wechat.calls[-1].force


def test_a_hundred_late_reports_make_no_call(desk):
    workers = desk.fleet(4)
    for worker in workers:
        worker.hold(TOKEN)
    die(desk)
    workers[0].report("token-1")
    desk.wechat.calls.clear()
    results = together(
        [lambda worker=worker: worker.report("token-1") for worker in workers for _ in range(25)]
    )
    assert set(results) == {("token-2", False)}
    assert desk.wechat.calls == []


def test_a_dead_token_is_not_served_any_more_by_any_worker(desk):
    reporter, other = desk.fleet(2)
    reporter.hold(TOKEN)
    other.hold(TOKEN)
    desk.wechat.dead.add("token-1")
    gate = threading.Event()
    desk.wechat.script["access_token"].append(lambda: gate.wait(PATIENCE_SECONDS) and "token-2")
    results = []
    reporting = threading.Thread(target=lambda: results.append(reporter.report("token-1")))
    reporting.start()
    eventually(lambda: desk.wechat.count("access_token") == 2)
    assert desk.stored(TOKEN).value is None, "a tombstone stands in its place"
    assert reporter.broker.standing(TOKEN)[0] is None
    other.broker.watch()
    assert other.broker.standing(TOKEN)[0] is None, "seen at the next look"
    gate.set()
    reporting.join(PATIENCE_SECONDS)
    other.join()
    assert results == [("token-2", False)]
    assert other.fresh(TOKEN) == "token-2"
    assert desk.wechat.count("access_token") == 2


def test_until_wechat_says_that_it_is_dead_it_is_served_to_everyone_else(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    gate = threading.Event()
    desk.wechat.script["probe"].append(lambda: gate.wait(PATIENCE_SECONDS) and None)
    reporting = threading.Thread(target=worker.report, args=("token-1",))
    reporting.start()
    eventually(lambda: desk.wechat.count("probe"))
    assert worker.get(TOKEN) == "token-1"
    gate.set()
    reporting.join(PATIENCE_SECONDS)


@pytest.mark.parametrize("trouble", [DOWN, refused(-1), refused(45009)], ids=lambda error: error.code)
def test_where_wechat_cannot_be_asked_only_the_reporter_suffers(desk, trouble):
    worker, other = desk.fleet(2)
    worker.hold(TOKEN)
    desk.wechat.always["probe"] = trouble
    before = time.monotonic()
    with pytest.raises(CredentialUnavailable) as told:
        worker.report("token-1")
    assert time.monotonic() - before < 2
    assert told.value.cause.code == trouble.code
    assert told.value.retry_after_seconds >= 1
    assert (worker.get(TOKEN), other.fresh(TOKEN)) == ("token-1", "token-1")
    assert desk.wechat.count("access_token") == 1
    assert desk.stored(TOKEN).value == "token-1"


def test_after_wechat_could_not_be_asked_it_is_asked_again_soon_but_not_for_each_report(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.always["probe"] = DOWN
    for _ in range(5):
        with pytest.raises(CredentialUnavailable):
            worker.report("token-1")
    assert desk.wechat.count("probe") == 1
    desk.wechat.always = {}
    worker.join()
    desk.advance(2)
    assert worker.report("token-1") == ("token-1", True)


def test_a_report_by_one_worker_of_what_another_has_replaced_makes_no_call(desk):
    reporter, other = desk.fleet(2)
    reporter.hold(TOKEN)
    other.hold(TOKEN)
    die(desk)
    other.report("token-1")
    desk.wechat.calls.clear()
    # Its own look has not come yet: the report itself looks.
    assert reporter.broker.report(TOKEN, "token-1") == (reporter.broker.get(TOKEN), False)
    assert reporter.get(TOKEN) == "token-2"
    assert desk.wechat.calls == []


def test_a_report_of_an_empty_credential_is_an_ordinary_request(desk):
    worker = desk.worker()
    assert worker.report("token-0") == ("token-1", False)
    assert [call.what for call in desk.wechat.calls] == ["access_token"]


def test_a_dead_stable_token_given_again_is_forced_out(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.dead.add("token-1")
    desk.wechat.script["access_token"].extend(["token-1", "token-2"])
    assert worker.report("token-1") == ("token-2", False)
    assert [call.force for call in desk.wechat.calls if call.what == "access_token"] == [False, False, True]
    worker.join()
    assert worker.outcomes() == ["refreshed", "dead", "given_again", "refreshed"], "one event for each call"


def test_a_dead_classic_token_is_fetched_anew_without_force(desk):
    worker = desk.worker()
    worker.hold(CLASSIC)
    die(desk)
    assert worker.report("token-1", CLASSIC) == ("token-2", False)
    assert not any(call.force for call in desk.wechat.calls)


def test_forced_in_vain_is_an_event_and_no_force_for_an_hour(swift, caplog):
    worker = swift.worker()
    worker.hold(TOKEN)
    swift.wechat.dead.add("token-1")
    for _ in range(60):
        # WeChat gives back what it calls dead, whatever we do.
        with suppress(CredentialUnavailable):
            assert worker.report("token-1") == ("token-1", False)
        worker.join()
        swift.advance(181)
    forces = [call.at for call in swift.wechat.calls if call.force]
    assert 1 < len(forces) <= 60 * 181 / 3600 + 1
    assert all(after - before >= 3600 for before, after in itertools.pairwise(forces))
    assert "wxsign.forced_in_vain" in caplog.messages
    assert [text for _, text in swift.store.events() if text.startswith("forced_in_vain")]


def test_reports_are_rationed_thirty_seconds_apart(swift):
    worker = swift.worker()
    worker.hold(TOKEN)
    die(swift, "token-1", "token-2")
    assert worker.report("token-1") == ("token-2", False)
    worker.join()
    die(swift, "token-2", "token-3")
    swift.advance(10)
    with pytest.raises(CredentialUnavailable) as told:
        worker.report("token-2")
    assert told.value.cause.code == "too_many_refreshes"
    assert told.value.retry_after_seconds == 20
    assert worker.get(TOKEN) == "token-2", "served to the others until it may be replaced"
    with pytest.raises(CredentialUnavailable):
        worker.report("token-2")
    assert swift.wechat.count("probe") == 2, "refused without another call"
    worker.join()
    swift.advance(20)
    assert worker.report("token-2") == ("token-3", False)


def test_reports_are_rationed_to_twenty_an_hour(swift):
    worker = swift.worker()
    worker.hold(TOKEN)
    for number in range(1, 200):
        current = worker.get(TOKEN)
        die(swift, current, f"token-{number + 1}")
        with suppress(CredentialUnavailable):
            worker.report(current)
        worker.join()
        swift.advance(31)
    fetches = swift.wechat.at("access_token")
    for since in fetches:
        assert len([at for at in fetches if since <= at < since + 3600]) <= 2 * 20
    assert len(fetches) - 1 <= 20 * (199 * 31 // 3600 + 1)


def test_forces_are_at_least_thirty_seconds_apart_and_twenty_a_day(swift):
    worker, values = swift.worker(), itertools.count(2)
    worker.hold(TOKEN)

    def next_only_by_force():
        return f"token-{next(values)}" if swift.wechat.calls[-1].force else worker_value

    for _ in range(120):
        worker_value = worker.get(TOKEN)
        swift.wechat.dead.add(worker_value)
        swift.wechat.always["access_token"] = next_only_by_force
        with suppress(CredentialUnavailable):
            worker.report(worker_value)
        worker.join()
        swift.advance(300)
    forces = [call.at for call in swift.wechat.calls if call.force]
    assert 0 < len(forces) <= 40, "two days of China at the most"
    assert all(after - before >= 30 for before, after in itertools.pairwise(forces))


def test_a_burial_spares_a_token_that_came_while_wechat_was_asked(desk):
    """A late writer put a good token in place; the verdict on its predecessor must not kill it."""
    worker = desk.worker()
    worker.hold(TOKEN)
    late = desk.store.acquire(TOKEN.name, "a worker that hangs", 5, 0)
    desk.advance(6)

    def meanwhile():
        token = Credential(
            "token-late", late.number, 7200, desk.wall(), desk.wall() + 7200, desk.wall() + 7200
        )
        assert desk.store.replace(TOKEN.name, token)
        worker.broker.watch()

    desk.wechat.script["probe"].append(meanwhile)
    desk.wechat.dead.add("token-1")
    assert worker.report("token-1") == ("token-late", False)
    worker.join()
    assert desk.stored(TOKEN).value == "token-late"
    assert desk.wechat.count("access_token") == 1


def test_a_token_replaced_before_the_lease_was_had_is_not_asked_about(desk):
    wire = Wire(desk.store)
    worker = desk.worker(store=wire)
    worker.hold(TOKEN)
    other = Credential(
        "token-2", int(desk.wall() * 1000) + 10**9, 7200, desk.wall(), desk.wall() + 7200, desk.wall() + 7200
    )
    wire.before = lambda name: name == "acquire" and desk.store.replace(TOKEN.name, other)
    assert worker.report("token-1") == ("token-2", False)
    worker.join()
    assert desk.wechat.count("probe") == 0


def test_a_dead_classic_token_that_is_given_again_is_taken_as_it_is(desk):
    worker = desk.worker()
    worker.hold(CLASSIC)
    desk.wechat.dead.add("token-1")
    with suppress(CredentialUnavailable):
        worker.report("token-1", CLASSIC)
    worker.join()
    assert worker.get(CLASSIC) == "token-1"
    assert [call.force for call in desk.wechat.calls if call.what == "access_token"] == [False] * 3


def test_a_force_within_thirty_seconds_of_the_last_one_waits_its_time(desk):
    worker = desk.worker()
    worker.hold(TOKEN)

    def three_seconds_later():
        desk.advance(3)
        return "token-1"

    desk.wechat.dead |= {"token-1", "token-2"}
    desk.wechat.script["access_token"].extend([three_seconds_later, *["token-2"] * 3, "token-3"])
    assert worker.report("token-1") == ("token-2", False)
    worker.join()
    desk.advance(27)
    with pytest.raises(CredentialUnavailable) as told:
        worker.report("token-2")
    assert told.value.cause.code == "too_many_refreshes"
    assert told.value.retry_after_seconds == 3
    worker.join()
    desk.advance(3)
    worker.tick()
    assert worker.get(TOKEN) == "token-3"
    assert [call.force for call in desk.wechat.calls if call.what == "access_token"].count(True) == 2


def test_a_burial_that_the_store_refuses_adopts_what_stands(desk):
    wire = Wire(desk.store)
    worker = desk.worker(store=wire)
    worker.hold(TOKEN)
    desk.wechat.dead.add("token-1")
    far = Credential(
        "token-far",
        int(desk.wall() * 1000) + 10**9,
        7200,
        desk.wall(),
        desk.wall() + 7200,
        desk.wall() + 7200,
    )

    def before(name):
        if name == "replace":
            wire.before = lambda _name: None
            desk.store.replace(TOKEN.name, far)

    wire.before = before
    assert worker.report("token-1") == ("token-far", False)
    assert desk.wechat.count("access_token") == 1


def test_signatures_go_on_while_a_dead_token_is_replaced(desk):
    worker = desk.worker()
    worker.hold(TICKET)
    desk.wechat.dead.add("token-1")
    gate = threading.Event()
    desk.wechat.script["access_token"].append(lambda: gate.wait(PATIENCE_SECONDS) and "token-2")
    reporting = threading.Thread(target=worker.report, args=("token-1",))
    reporting.start()
    eventually(lambda: desk.wechat.count("access_token") == 2)
    assert worker.get(TICKET) == "ticket-1"
    gate.set()
    reporting.join(PATIENCE_SECONDS)


def test_a_report_waits_ten_seconds_at_most(desk):
    worker, gate = desk.worker(), threading.Event()
    worker.hold(TOKEN)
    desk.wechat.script["probe"].append(lambda: gate.wait(PATIENCE_SECONDS) and None)
    results = []
    reporting = threading.Thread(target=lambda: results.extend(together([lambda: worker.report("token-1")])))
    reporting.start()
    eventually(lambda: desk.wechat.count("probe"))
    desk.advance(10)
    reporting.join(PATIENCE_SECONDS)
    gate.set()
    assert isinstance(results[0], CredentialUnavailable)
    assert results[0].retry_after_seconds == 1
    worker.join()


# rule 5


@pytest.mark.parametrize("errcode", [40001, 40014, 42001])
def test_a_token_refused_on_our_own_ticket_fetch_is_refreshed_once_and_the_fetch_started_over(desk, errcode):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.script["jsapi"].append(refused(errcode, TICKET_PATH))
    desk.wechat.values["access_token"] = "token-2"
    assert worker.hold(TICKET) == "ticket-1"
    assert [call.what for call in desk.wechat.calls] == ["access_token", "jsapi", "access_token", "jsapi"]
    assert [call.access_token for call in desk.wechat.calls] == [None, "token-1", None, "token-2"]


@pytest.mark.parametrize(("token", "ticket"), [(TOKEN, TICKET), (CLASSIC, CLASSIC_TICKET)])
def test_a_token_refused_for_ever_ends_in_a_backoff_and_not_in_a_loop(swift, token, ticket):
    worker = swift.worker(warm=[ticket])
    swift.wechat.always["jsapi"] = STALE
    with pytest.raises(CredentialUnavailable) as told:
        worker.get(ticket)
    assert told.value.cause.errcode == 40001
    worker.join()
    assert [call.what for call in swift.wechat.calls] == ["access_token", "jsapi", "access_token", "jsapi"]
    assert worker.get(token) == "token-1"
    swift.wechat.calls.clear()
    swift.run(600)
    assert swift.wechat.count("access_token") <= 20, "within the ration of reports"
    assert swift.wechat.count("jsapi") <= 2 * 600


def test_a_stable_token_that_is_given_again_is_kept_and_not_forced(desk):
    worker = desk.worker()
    desk.wechat.script["jsapi"].append(STALE)
    assert worker.hold(TICKET) == "ticket-1"
    assert not any(call.force for call in desk.wechat.calls)
    assert worker.get(TOKEN) == "token-1"
    assert desk.stored(TOKEN).value == "token-1"


def test_a_ticket_in_use_is_served_while_its_token_is_refused(swift):
    worker = swift.worker(warm=[TICKET])
    worker.tick()
    swift.wechat.always["jsapi"] = STALE
    for _ in range(7190):
        swift.run(1)
        assert worker.get(TICKET) == "ticket-1"


def test_the_refresh_after_a_refusal_is_shared_by_the_fleet(desk):
    workers = desk.fleet(4)
    workers[0].hold(TOKEN)
    desk.wechat.refuse_ticket_with.add("token-1")
    desk.wechat.values["access_token"] = "token-2"
    assert set(together([worker.get for worker in workers for _ in range(5)])) == {"ticket-1"}
    assert desk.wechat.count("access_token") == 2
    assert desk.wechat.count("jsapi") == 2


def test_who_only_looks_at_the_closed_door_does_not_keep_out_the_call_that_starts_over(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.refuse_ticket_with.add("token-1")
    looking = []

    def meanwhile():
        looking.append(desk.store.acquire(TICKET.name, "somebody who looks", 8, 0))
        return "token-2"

    def one_poll_later(_seconds):
        while looking:
            desk.store.release(looking.pop())

    desk.wechat.script["access_token"].append(meanwhile)
    desk.sleep = one_poll_later
    assert worker.get(TICKET) == "ticket-1"
    assert desk.wechat.count("jsapi") == 2


def test_a_good_token_that_is_refused_is_tried_by_one_worker_and_not_by_each(desk):
    workers = desk.fleet(8, warm=[TICKET])
    workers[0].hold(TICKET)
    for worker in workers:
        worker.tick()
    desk.advance(61)
    desk.wechat.calls.clear()

    def refuse_slowly():
        time.sleep(0.02)
        return STALE

    desk.wechat.always["jsapi"] = refuse_slowly
    together([worker.tick for worker in workers])
    assert [call.what for call in desk.wechat.calls] == ["jsapi", "access_token", "jsapi"]
    assert {worker.get(TICKET) for worker in workers} == {"ticket-1"}


def test_a_worker_that_dies_while_it_replaces_a_refused_token_keeps_the_others_waiting_for_two_seconds(desk):
    died, other = desk.fleet(2)
    desk.wechat.script["jsapi"].append(STALE)
    died.broker._refresher._renewed = lambda _key, _refused: (_ for _ in ()).throw(SystemExit)
    with suppress(SystemExit):
        died.broker._fetches.refresh(TICKET)
    results = []
    caller = threading.Thread(target=lambda: results.append(other.get(TICKET)))
    caller.start()
    for _ in range(4):
        time.sleep(0.02)
        desk.advance(0.5)
        other.tick()
    caller.join(PATIENCE_SECONDS)
    assert results == ["ticket-1"], (
        "it waited for what the first one was about to fetch, then fetched by itself"
    )


def test_a_ticket_fetch_waits_for_the_token_that_another_worker_fetches(desk):
    first, second = desk.fleet(2)
    gate = threading.Event()
    desk.wechat.script["access_token"].append(lambda: gate.wait(PATIENCE_SECONDS) and None)
    getting = threading.Thread(target=first.get, args=(TOKEN,))
    getting.start()
    eventually(lambda: desk.wechat.calls)
    results = []
    signing = threading.Thread(target=lambda: results.append(second.get(TICKET)))
    signing.start()
    time.sleep(0.02)
    assert desk.wechat.count("access_token") == 1
    gate.set()
    for thread in (getting, signing):
        thread.join(PATIENCE_SECONDS)
    assert results == ["ticket-1"]
    assert [call.what for call in desk.wechat.calls] == ["access_token", "jsapi"]


def test_a_thread_holds_one_lease_at_a_time_and_a_lease_covers_one_call(desk):
    wire, held, most = Wire(desk.store), set(), []
    worker = desk.worker(store=wire)

    def after(name):
        if name == "acquire":
            held.add(len(held))
            most.append((len(held), len(desk.wechat.calls)))
        if name in {"release", "replace"}:
            held.pop()

    wire.after = after
    desk.wechat.script["jsapi"].append(STALE)
    worker.hold(TICKET)
    assert [leases for leases, _ in most] == [1, 1, 1, 1]
    assert [calls for _, calls in most] == [0, 1, 2, 3]
