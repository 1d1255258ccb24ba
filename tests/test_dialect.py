"""WeChat's own paths: an SDK that is given our address, and a client key as its secret, needs nothing else."""

import json
import statistics
import time
from dataclasses import replace
from urllib.request import urlopen

import pytest
from at_sandbox import (
    APP_IDS,
    FAR_KEY,
    KEEPER_KEY,
    READER_KEY,
    SECRET,
    SHOP_KEY,
    accounts,
    clients,
    control,
    service_at,
    wechat,
)
from werkzeug.test import Client

from wxsign.accounts import ApiClient, sha256_of_key
from wxsign.http.presets import NEVER_HEALS_SECONDS, PLAIN, PRESETS
from wxsign.web import create_app

SHOP = APP_IDS["shop"]
TICKET_KEY = "k" * 39 + "t"
TICKETS_ALONE = ApiClient("page", (sha256_of_key(TICKET_KEY),), frozenset({"ticket:read"}))


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture
def service(sandbox):
    control(sandbox, "faults/clear")
    quiet = tuple(replace(account, warm=False) for account in accounts())
    with service_at(sandbox.url, accounts=quiet, clients=(*clients(), TICKETS_ALONE)) as service:
        yield service


@pytest.fixture
def client(service):
    return Client(create_app(service))


def calls(sandbox):
    with urlopen(f"{sandbox.url}/sandbox/state") as state:
        return json.load(state)["calls"]


def token(client, key=KEEPER_KEY, appid=SHOP, base="", **more):
    query = {"grant_type": "client_credential", "appid": appid, "secret": key} | more
    return told(client.get(f"{base}/cgi-bin/token", query_string=query))


def stable(client, key=KEEPER_KEY, base="", **more):
    body = {"grant_type": "client_credential", "appid": SHOP, "secret": key} | more
    return told(client.post(f"{base}/cgi-bin/stable_token", json=body))


def ticket(client, access_token, base="", **more):
    query = {"access_token": access_token, "type": "jsapi"} | more
    return told(client.get(f"{base}/cgi-bin/ticket/getticket", query_string=query))


def told(answer):
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json


def happens(fact, seconds=10):
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def die(sandbox):
    control(sandbox, "kill", appid=SHOP, credential="stable_token")


# what is given


def test_token_and_ticket_are_those_of_the_fleet_and_nobody_asks_wechat_again(client, service, sandbox):
    first = token(client)
    assert first["access_token"] == service.access_token("shop").value
    assert type(first["expires_in"]) is int
    assert 7000 < first["expires_in"] <= 7200
    assert stable(client)["access_token"] == first["access_token"]
    answer = ticket(client, first["access_token"])
    assert (answer["errcode"], answer["errmsg"]) == (0, "ok")
    assert answer["ticket"] == service.ticket("shop").value
    before = calls(sandbox)
    for _ in range(3):
        assert ticket(client, token(client, key=READER_KEY)["access_token"])["ticket"] == answer["ticket"]
    assert calls(sandbox)["getticket"] == before["getticket"]


def test_the_ticket_is_given_for_the_token_before_too(client, service, sandbox):
    old = token(client)["access_token"]
    die(sandbox)
    service.report_rejected("shop", old)
    assert token(client)["access_token"] != old
    assert ticket(client, old)["errcode"] == 0


def test_a_worker_that_was_never_asked_for_a_token_knows_what_another_one_gave(sandbox, tmp_path):
    quiet = tuple(replace(account, warm=False) for account in accounts())
    at = {"accounts": quiet, "store": f"sqlite:///{tmp_path}/wxsign.db"}
    with service_at(sandbox.url, **at) as one, service_at(sandbox.url, **at) as other:
        given = token(Client(create_app(one)))["access_token"]
        read = one.access_token("news").value
        for value in (given, read):
            assert ticket(Client(create_app(other)), value)["errcode"] == 0


def test_a_token_whose_life_is_over_has_expired_and_is_not_unknown(client, service):
    given = token(client)["access_token"]
    service.broker.issued.note(service._tokens["shop"], "an-older-one", -1)
    answer = ticket(client, "an-older-one")
    assert (answer["errcode"], answer["errmsg"]) == (42001, "access_token expired")
    assert ticket(client, given)["errcode"] == 0


# who gets nothing


@pytest.mark.parametrize(
    "asked",
    [
        {"key": "x" * 40},
        {"key": SECRET},
        {"key": FAR_KEY},
        {"key": TICKET_KEY},
        {"appid": "wx9999999999999999"},
        {"appid": "shop"},
        {"appid": APP_IDS["news"], "key": SHOP_KEY},
    ],
)
def test_a_wrong_key_an_unknown_appid_and_a_missing_right_are_answered_alike(client, asked):
    answer = token(client, **asked)
    assert answer["errcode"] == 40125
    assert answer == token(client, key="z" * 40)


@pytest.mark.parametrize(
    ("asked", "errcode"),
    [
        ({"grant_type": "authorization_code"}, 40002),
        ({"appid": ""}, 41002),
        ({"secret": ""}, 41004),
    ],
)
def test_what_is_missing_is_said_by_wechats_own_numbers(client, asked, errcode):
    assert token(client, **asked)["errcode"] == errcode
    assert stable(client, **asked)["errcode"] == errcode


def test_the_wrong_method_and_an_unreadable_body_are_wechats_own_refusals(client):
    assert told(client.get("/cgi-bin/stable_token"))["errcode"] == 43002
    assert told(client.post("/cgi-bin/token"))["errcode"] == 43001
    for body in (b"", b"[1]", b"{", b"\xff", b"{" * 50_000):
        assert told(client.post("/cgi-bin/stable_token", data=body))["errcode"] == 47001


@pytest.mark.parametrize(
    ("asked", "errcode"),
    [
        ({"secret": "\ud800"}, 40125),
        ({"appid": "\ud800"}, 40125),
        ({"secret": "k" * 60_000}, 40125),
        ({"secret": "签" * 20_000}, 47001),  # over 64 kB
        ({"appid": 1}, 41002),
        ({"secret": ["k"]}, 41004),
        ({"grant_type": None}, 40002),
    ],
)
def test_whatever_is_sent_is_refused_by_a_number_and_never_an_error_of_ours(client, asked, errcode, caplog):
    assert stable(client, **asked)["errcode"] == errcode
    assert "wxsign.unexpected" not in caplog.text


@pytest.mark.parametrize(("given", "errcode"), [("", 41001), ("nobody's", 40001), ("签", 40001)])
def test_a_token_that_was_never_ours_brings_no_ticket(client, given, errcode):
    token(client)
    assert ticket(client, given)["errcode"] == errcode


def test_another_kind_of_ticket_is_refused(client):
    assert ticket(client, token(client)["access_token"], type="device")["errcode"] == 40097


@pytest.mark.parametrize("call", ["get_api_domain_ip", "getcallbackip"])
def test_wechat_s_addresses_are_fetched_once_for_all_who_ask(client, sandbox, call):
    query = f"access_token={token(client)['access_token']}"
    before = calls(sandbox)[call]
    answers = [client.get(f"/cgi-bin/{call}?{query}").json for _ in range(5)]
    assert all(answer["ip_list"] for answer in answers)
    assert calls(sandbox)[call] == before + 1
    assert client.get(f"/cgi-bin/{call}?access_token=x").json["errcode"] == 40001
    assert client.get(f"/cgi-bin/{call}").json["errcode"] == 41001


def test_wechats_own_refusal_is_handed_on(client, sandbox):
    control(sandbox, "faults", endpoint="stable_token", kind="errcode", errcode=40164, times=None)
    answer = token(client)
    assert answer["errcode"] == 40164
    assert "whitelist" in answer["errmsg"]
    control(sandbox, "faults/clear")


@pytest.mark.parametrize(("said", "told"), [(40001, 40125), (40125, 40125), (40014, -1), (42001, -1)])
def test_no_refusal_of_our_own_call_makes_an_sdk_ask_for_a_token_anew(client, sandbox, said, told):
    control(sandbox, "faults", endpoint="stable_token", kind="errcode", errcode=said, times=None)
    assert token(client)["errcode"] == told
    control(sandbox, "faults/clear")


def test_where_wechat_cannot_be_reached_it_is_busy(client, sandbox):
    control(sandbox, "faults", endpoint="stable_token", kind="reset", times=None)
    assert token(client)["errcode"] == -1
    control(sandbox, "faults/clear")


def test_it_can_be_switched_off_and_an_unknown_sdk_is_a_404(client, sandbox):
    assert client.get("/for/nothing/cgi-bin/token").status_code == 404
    with service_at(sandbox.url, dialect=False) as service:
        assert Client(create_app(service)).get("/cgi-bin/token").status_code == 404


@pytest.mark.timing
@pytest.mark.parametrize("asked", [{"appid": "wx9999999999999999"}, {"key": FAR_KEY}, {"key": TICKET_KEY}])
def test_a_wrong_key_and_what_else_is_refused_take_the_same_time(client, asked):
    token(client)

    def seconds(**asked):
        begun = time.perf_counter()
        assert token(client, **asked)["errcode"] == 40125
        return time.perf_counter() - begun

    ratios = [seconds(key="x" * 40) / seconds(**asked) for _ in range(300)]
    assert 0.8 < statistics.median(ratios) < 1.25


# a token that died


def test_force_refresh_of_a_living_token_changes_nothing(client, sandbox):
    first = stable(client)["access_token"]
    before = calls(sandbox)["stable_token"]
    assert stable(client, force_refresh=True)["access_token"] == first
    assert calls(sandbox)["stable_token"] == before


def test_force_refresh_of_a_dead_token_brings_another_at_once(client, sandbox):
    first = stable(client)["access_token"]
    die(sandbox)
    assert stable(client, force_refresh=True)["access_token"] != first


def test_a_client_that_asks_again_for_a_dead_token_makes_it_be_replaced_without_waiting(client, sandbox):
    first = token(client)["access_token"]
    die(sandbox)
    begun = time.monotonic()
    assert token(client)["access_token"] == first
    happens(lambda: token(client)["access_token"] != first)
    assert time.monotonic() - begun < 5


def test_whoever_asks_again_for_a_living_token_costs_one_question_a_minute_and_no_verdict(
    client, service, sandbox
):
    first = token(client)["access_token"]
    before = calls(sandbox)["get_api_domain_ip"]
    for _ in range(4):
        assert token(client)["access_token"] == first
    happens(lambda: calls(sandbox)["get_api_domain_ip"] == before + 1)
    # A true report a moment later is asked anew.
    die(sandbox)
    assert service.report_rejected("shop", first).value != first


def test_a_loop_over_a_living_token_is_broken_and_another_client_is_not(client, sandbox):
    first = token(client)["access_token"]
    before = calls(sandbox)["get_api_domain_ip"]
    token(client)
    happens(lambda: calls(sandbox)["get_api_domain_ip"] == before + 1)
    happens(lambda: "有效" in token(client).get("errmsg", ""))
    assert token(client)["errcode"] == 45011
    assert token(client, key=READER_KEY)["access_token"] == first


@pytest.mark.timing
def test_a_token_that_dies_a_moment_after_it_was_guessed_about_is_replaced_within_a_second(client, sandbox):
    first = token(client)["access_token"]
    before = calls(sandbox)["get_api_domain_ip"]
    token(client)
    happens(lambda: calls(sandbox)["get_api_domain_ip"] == before + 1)
    die(sandbox)
    begun = time.monotonic()
    happens(lambda: token(client).get("access_token", first) != first)
    assert time.monotonic() - begun < 1


# what the SDKs are told


def ends(sdk, left, *, ticket, stable):
    """When this SDK's cache ends, by its own formula."""
    preset = PRESETS[sdk]
    told = preset.told(left, ticket=ticket, stable=stable)
    margins = {
        "wechatpy": 60,
        "werobot": 60,
        "co-wechat-api": 10,
        "wechat-api": 10,
        "node-easywechat": 0,
        "easywechat": 0,
        "easywechat5": 500 if ticket else 0,
        "wxjava": 200,
        "silenceper": 1500 if ticket or not stable else 300,
        "powerwechat": 500 if ticket else 0,
    }
    if sdk == "senparc":
        return told - next(
            margin for least, margin in ((3600, 600), (1800, 300), (300, 30), (0, 0)) if told > least
        )
    return told - margins[sdk]


@pytest.mark.parametrize("sdk", PRESETS)
@pytest.mark.parametrize(("ticket", "stable"), [(False, False), (False, True), (True, False)])
def test_each_sdks_cache_ends_while_the_value_lives_and_never_before_it_began(sdk, ticket, stable):
    for left in range(1, 7201):
        assert 0 < ends(sdk, left, ticket=ticket, stable=stable) <= left
        if not PRESETS[sdk].heals:
            assert ends(sdk, left, ticket=ticket, stable=stable) <= NEVER_HEALS_SECONDS


def test_without_a_preset_the_true_seconds_are_told():
    assert [PLAIN.told(left) for left in (1, 7200)] == [1, 7200]


def test_the_base_address_says_which_sdk_it_is(client):
    left = token(client)["expires_in"]
    assert token(client, base="/for/wechatpy")["expires_in"] - left in {59, 60}
    assert token(client, base="/for/werobot")["expires_in"] == 210
    given = stable(client, base="/for/silenceper")
    assert given["expires_in"] == 450
    answer = ticket(client, given["access_token"], base="/for/easywechat5")
    assert answer["expires_in"] > 500


def test_nothing_of_a_key_or_a_token_is_in_the_log(client, caplog):
    with caplog.at_level("DEBUG"):
        given = token(client)["access_token"]
        ticket(client, given)
        token(client, key="w" * 40)
    said = "".join(str(record.__dict__) for record in caplog.records)
    for secret in (KEEPER_KEY, given, "w" * 40):
        assert secret not in said
    assert "unknown key" in said
