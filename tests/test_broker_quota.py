"""The quota ledger (rule 9), the token thief (rule 10), and a process that only reads."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from broker_desk import (
    APP,
    CLASSIC,
    DOWN,
    START,
    TICKET,
    TICKET_PATH,
    TOKEN,
    desks,
    key,
    refused,
)

from wxsign.broker.ledger import default_limit
from wxsign.errors import CredentialUnavailable

CHINA = timezone(timedelta(hours=8))


@pytest.fixture(params=["memory", "sqlite"])
def desk(request):
    with desks(request.param) as desk:
        yield desk


def limits(**changes):
    return lambda name, endpoint: changes.get(endpoint, default_limit(name, endpoint))


def to_midnight(desk):
    now = datetime.fromtimestamp(desk.wall(), CHINA)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.timestamp() - desk.wall()


# rule 9


def test_calls_are_counted_for_the_fleet_and_across_restarts(desk):
    for _ in range(2):
        for worker in desk.fleet(2):
            worker.broker.refresh_now(TICKET)
        desk.workers.clear()
    spent = {spending.endpoint: spending.used for spending in desk.worker().broker.spending([TICKET])[APP]}
    assert spent == {
        "stable_token": desk.wechat.count("access_token"),
        "getticket": 4,
        "get_api_domain_ip": 0,
    }


def test_a_reserve_is_kept_for_a_credential_that_is_empty(desk):
    worker = desk.worker(warm=[TICKET], limit_of=limits(getticket=20))
    desk.run(25 * 60, step=60)
    assert desk.wechat.count("jsapi") == 18
    assert worker.broker.standing(TICKET)[1].error.code == "quota_spent"
    assert worker.get() == "ticket-1", "what is held is served all the same"
    desk.advance(7200)
    worker.tick()
    assert worker.get() == "ticket-1"
    assert desk.wechat.count("jsapi") == 19


def test_when_the_days_calls_are_used_up_callers_are_told_when_they_start_anew(desk):
    worker = desk.worker(warm=[TOKEN], limit_of=limits(stable_token=1))
    desk.wechat.script["access_token"].append(DOWN)
    with pytest.raises(CredentialUnavailable):
        worker.get(TOKEN)
    worker.join()
    desk.advance(3)
    worker.tick()
    with pytest.raises(CredentialUnavailable) as told:
        worker.get(TOKEN)
    assert told.value.cause.code == "quota_spent"
    assert told.value.retry_after_seconds == pytest.approx(to_midnight(desk), abs=1)
    assert desk.wechat.count("access_token") == 1
    desk.advance(to_midnight(desk) + 1)
    worker.tick()
    assert worker.get(TOKEN) == "token-1"


def test_reports_of_living_tokens_cannot_use_up_more_than_their_share(desk):
    worker = desk.worker(limit_of=limits(get_api_domain_ip=3))
    worker.hold(TOKEN)
    for _ in range(3):
        assert worker.report("token-1") == ("token-1", True)
        worker.join()
        desk.advance(11)
    assert worker.report("token-1") == ("token-1", False), (
        "a refresh within the rations took the probe's place"
    )
    assert [call.what for call in desk.wechat.calls][-2:] == ["probe", "access_token"]
    worker.join()
    desk.advance(11)
    with pytest.raises(CredentialUnavailable) as told:
        worker.report("token-1")
    assert told.value.cause.code == "too_many_refreshes"
    assert worker.get(TOKEN) == "token-1"


def test_force_is_rationed_by_the_ledger_too(desk):
    worker = desk.worker(limit_of=limits(force_refresh=0))
    worker.hold(TOKEN)
    desk.wechat.dead.add("token-1")
    # Nothing may be forced: the token that is given again is taken as it is.
    desk.wechat.script["access_token"].extend(["token-1", "token-2"])
    assert worker.report("token-1")[0] == "token-2"
    assert not any(call.force for call in desk.wechat.calls)


def test_accounts_and_endpoints_have_a_quota_each(desk):
    worker = desk.worker(limit_of=limits(stable_token=1))
    other = key(app="wxfedcba9876543210")
    assert worker.hold(TOKEN) == "token-1"
    assert worker.hold(other) == "access_token-of-wxfedcba9876543210"
    assert worker.hold(CLASSIC) == "token-1"


# rule 10


def thefts(desk):
    return [json.loads(text) for _, text in desk.store.events() if "token_taken" in text]


def grow_old(desk, worker):
    """Look at a ticket often enough to know its age, then let another take its place."""
    desk.run(60 * 3, step=60)
    desk.wechat.values["jsapi"] = "ticket-2"
    desk.run(60, step=60)
    assert worker.get() == "ticket-2"


def test_a_token_that_dies_inside_its_life_was_taken_by_another_system(desk, caplog):
    worker, other = desk.fleet(2)
    worker.hold(TOKEN)
    other.hold(TOKEN)
    desk.advance(1000)
    desk.wechat.dead.add("token-1")
    desk.wechat.values["access_token"] = "token-2"
    worker.report("token-1")
    (taken,) = thefts(desk)
    assert (taken["last_seen_at"], taken["noticed_at"]) == (START, START + 1000)
    other.tick()
    theft = other.broker.thefts[TOKEN.app_id]
    assert "Another system" in theft.message.en
    assert "stable_token" in theft.hint.en
    assert "token-1" not in f"{taken} {caplog.text}"


def test_a_ticket_of_known_age_that_changes_was_taken(desk):
    worker = desk.worker(warm=[TICKET])
    grow_old(desk, worker)
    assert thefts(desk) == [], "the first was of unknown age"
    desk.wechat.values["jsapi"] = "ticket-3"
    desk.run(60, step=60)
    assert len(thefts(desk)) == 1


def test_the_ordinary_end_of_a_life_is_no_theft(desk):
    worker = desk.worker(warm=[TICKET])
    grow_old(desk, worker)
    # Both came four minutes ago.
    for number, seconds in ((3, 6900), (4, 7140), (5, 7140)):
        desk.run(seconds, step=60)
        desk.wechat.values = {"access_token": f"token-{number}", "jsapi": f"ticket-{number}"}
        desk.run(60, step=5)
    assert thefts(desk) == []


@pytest.mark.parametrize("trouble", [DOWN, "lapsed"])
def test_a_change_after_a_call_of_ours_without_an_answer_is_no_theft(desk, trouble):
    worker = desk.worker(warm=[TICKET])
    grow_old(desk, worker)
    if trouble == "lapsed":
        desk.store.acquire(TICKET.name, "killed", 5, 0)
    else:
        desk.wechat.script["jsapi"].append(trouble)
    desk.run(60, step=60)
    desk.wechat.values["jsapi"] = "ticket-3"
    desk.run(180, step=60)
    assert worker.get() == "ticket-3"
    assert thefts(desk) == []


def test_a_forced_refresh_of_ours_is_no_theft(desk):
    worker = desk.worker()
    worker.hold(TOKEN)
    desk.wechat.dead.add("token-1")
    desk.wechat.script["access_token"].extend(["token-1", "token-2"])
    assert worker.report("token-1") == ("token-2", False)
    assert len(thefts(desk)) == 1, "of the one that was dead, none for the one forced out"


def test_a_classic_token_refused_on_a_ticket_fetch_was_taken_and_one_of_our_own_was_not(desk):
    worker = desk.worker()
    worker.hold(CLASSIC)
    desk.wechat.values["access_token"] = "token-2"
    worker.broker.refresh_now(CLASSIC)
    assert thefts(desk) == []
    desk.wechat.values["access_token"] = "token-3"
    desk.wechat.script["jsapi"].append(refused(40001, TICKET_PATH))
    desk.advance(100)
    assert worker.hold(key(TICKET.kind, CLASSIC.endpoint)) == "ticket-1"
    assert len(thefts(desk)) == 1


# a process that only reads


def test_a_reader_serves_what_others_fetch_and_never_calls(desk):
    reader = desk.worker(reader=True, warm=[TICKET])
    reader.tick()
    with pytest.raises(CredentialUnavailable) as told:
        reader.get(TICKET)
    assert told.value.cause.code == "not_refreshed_reader"
    assert desk.wechat.calls == []
    reader.join()
    desk.worker().hold(TICKET)
    desk.advance(1)
    reader.tick()
    assert (reader.get(TICKET), reader.get(TOKEN)) == ("ticket-1", "token-1")
    desk.advance(6950)
    desk.wechat.calls.clear()
    reader.tick()
    assert reader.get(TICKET) == "ticket-1"
    assert desk.wechat.calls == []


def test_a_reader_cannot_verify_and_only_its_reporter_suffers(desk):
    desk.worker().hold(TOKEN)
    reader = desk.worker(reader=True)
    assert reader.hold(TOKEN) == "token-1"
    with pytest.raises(CredentialUnavailable) as told:
        reader.report("token-1")
    assert told.value.cause.code == "not_refreshed_reader"
    assert reader.get(TOKEN) == "token-1"
    assert desk.wechat.count("probe") == 0


def test_a_clock_that_is_off_the_stores_is_reported(desk, caplog):
    worker = desk.worker()
    worker.tick()
    assert not worker.broker.link.clock_skewed
    ahead = desk.worker()
    ahead.broker.link._wall_clock = lambda: desk.wall() + 6
    ahead.tick()
    ahead.tick()
    assert ahead.broker.link.clock_skewed
    assert caplog.messages.count("wxsign.clock_skewed") == 1
