"""Another system says that WeChat refused the token it was given: real reports, many at once, over a real fleet."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from fleet import APPID, Fleet, Load, at_once, eventually, one_account, wechat

pytestmark = pytest.mark.fleet

MANY = 100
TOKEN_CALLS = ("stable_token", "token")


@pytest.fixture
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture
def sandbox(here):
    with wechat(here) as sandbox:
        yield sandbox


@pytest.fixture
def service(here, sandbox):
    service = Fleet(here, one_account(sandbox.url, here))
    with contextlib.closing(service):
        service.start()
        eventually(lambda: service.jsconfig().status == 200)
        yield service


def token_calls(sandbox):
    return sum(sandbox.calls().get(name, 0) for name in TOKEN_CALLS)


def test_reports_of_a_dead_token_make_one_fetch_and_everybody_gets_the_new_one(sandbox, service):
    dead = service.token()["access_token"]
    sandbox.post("kill", appid=APPID, credential="stable_token")
    before = token_calls(sandbox)
    with Load(service.socket, clients=4, check=lambda body: sandbox.verify(json.loads(body))["ok"]) as load:
        replies = at_once(MANY, lambda: service.report(dead))
        assert {reply.status for reply in replies} == {200}
        (living,) = {reply.json["access_token"] for reply in replies}
        assert living != dead
        assert sandbox.life_left(living) > 7000
        assert token_calls(sandbox) == before + 1
        # Whoever comes late is told, and WeChat is not asked again.
        calls = sandbox.calls()
        late = at_once(MANY, lambda: service.report(dead))
        assert {(reply.status, reply.json["access_token"]) for reply in late} == {(200, living)}
        assert sandbox.calls() == calls
        eventually(lambda: len(load.shots) > 20)
    # A signature needs no token: nobody who asked for one has noticed.
    assert {(shot.status, shot.verdict) for shot in load.shots} == {(200, True)}


def test_reports_of_a_living_token_make_no_fetch_and_return_it_as_verified(sandbox, service):
    living = service.token()["access_token"]
    before = token_calls(sandbox)
    started = time.monotonic()
    replies = at_once(MANY, lambda: service.report(living))
    elapsed_seconds = time.monotonic() - started
    assert {(reply.status, reply.json["access_token"]) for reply in replies} == {(200, living)}
    assert {reply.json["verified"] for reply in replies} == {True}
    assert token_calls(sandbox) == before
    # A verdict answers for a second.
    assert 1 <= sandbox.calls()["get_api_domain_ip"] <= 1 + elapsed_seconds


def test_a_report_while_wechat_cannot_be_asked_costs_the_reporter_alone_his_token(sandbox, service):
    token = service.token()["access_token"]
    sandbox.fault("get_api_domain_ip", "errcode", errcode=-1)
    refusal = service.report(token)
    assert refusal.status == 503
    assert int(refusal.headers["retry-after"]) >= 1
    assert token not in refusal.body.decode()
    assert service.token()["access_token"] == token
    assert service.jsconfig().status == 200


def test_the_seconds_that_a_token_has_left_are_told_exactly_by_every_worker_and_after_a_restart(
    sandbox, service
):
    for _ in range(2):
        for answer in at_once(12, service.token):
            left = sandbox.life_left(answer["access_token"])
            assert abs(answer["expires_in"] - left) <= 2
            assert abs(answer["expires_at"] - sandbox.get("state")["now"] - left) <= 2
            assert 0 < answer["recheck_after_seconds"] <= 60
        service.stop()
        service.start()
