"""The AppSecret is reset in WeChat's console: no page notices, if the new one is put in place within a token's life."""

import json
import secrets
import signal
import time
from itertools import pairwise

import pytest
from fleet import APPID, Load, eventually, fleet, one_account
from fleet import PAGE as PAGE_OF_FLEET
from machines_desk import Machines
from service_desk import DEFAULT_APPID, PAGE

from wxsign import sandbox
from wxsign.errors import CredentialUnavailable, WeChatRefused
from wxsign.sandbox import SandboxSettings
from wxsign.sandbox.verification import Signed

pytestmark = pytest.mark.days

NEW_SECRET = "f" * 32
TOKEN_ENDS, TICKET_ENDS = 7201, 7201


class Desk(Machines):
    """A fleet whose account may get a new secret."""

    def reset_secret(self):
        """What the owner does in the console."""
        self.sandbox._accounts[DEFAULT_APPID].secret = NEW_SECRET

    def refusal(self, number=0):
        with pytest.raises(CredentialUnavailable) as refused:
            self.services[number].jsconfig(PAGE)
        return refused.value


@pytest.fixture
def desk():
    desk = Desk()
    desk.until(5)
    return desk


def test_after_a_reset_token_and_ticket_are_served_to_their_end(desk):
    token = desk.token()
    desk.until(3000, step=10)
    desk.reset_secret()
    for now in desk.run(TOKEN_ENDS - 2 - desk.seconds, step=1.0):
        if now % 20 == 0 or now > TOKEN_ENDS - 10:
            assert desk.sign(int(now) % 2) == "ok", now
            assert desk.token(int(now) % 2) == token, now
    for now in desk.run(20):
        # The ticket's end is known to a second: its age was that of the first call.
        expected = (
            {"ok"}
            if now < TICKET_ENDS
            else {"unanswered"}
            if now > TICKET_ENDS + 2
            else {"ok", "stale", "unanswered"}
        )
        assert desk.sign() in expected, now


@pytest.mark.parametrize(
    ("language", "question"), [("en", "Was the secret reset?"), ("zh", "是否重置过 AppSecret？")]
)
def test_the_refusal_that_follows_asks_whether_the_secret_was_reset(desk, language, question):
    desk.reset_secret()
    desk.until(7000, step=10)
    service = desk.services[0]
    (token, ticket) = service.account_states()[0].credentials
    assert (token.usable, ticket.usable) == (True, True)
    assert token.error.errcode == 40125
    assert question in token.error.hint.in_language(language)
    readiness = service.readiness()
    assert (readiness.ready, readiness.state, readiness.problems) == (True, "degraded", ("invalid_secret",))
    desk.until(7300, step=5)
    refusal = desk.refusal()
    assert refusal.cause.errcode == 40125
    assert question in refusal.hint.in_language(language)
    assert desk.services[0].readiness().state == "unready"


def test_a_token_endpoint_that_says_40001_asks_the_same():
    hint = WeChatRefused(40001, "invalid credential", "/cgi-bin/stable_token").hint
    assert hint == WeChatRefused(40125, "invalid appsecret", "/cgi-bin/stable_token").hint
    assert "reset" not in WeChatRefused(40001, "invalid credential", "/cgi-bin/ticket/getticket").hint.en


def test_the_old_secret_is_tried_once_a_minute_by_the_whole_fleet(desk):
    desk.reset_secret()
    desk.until(6900, step=10)
    before = desk.calls("stable_token")
    desk.until(6900 + 301)
    assert desk.calls("stable_token") - before <= 6
    moments = [visit["at"] for visit in desk.sandbox.requests() if visit["endpoint"] == "stable_token"][
        before:
    ]
    assert all(later - earlier >= 60 for earlier, later in pairwise(moments))


def test_the_new_secret_is_tried_at_once_though_the_old_one_was_refused_a_moment_ago(desk):
    desk.reset_secret()
    desk.until(6961)
    before = desk.calls("stable_token")
    desk.configure(app_secret=NEW_SECRET)
    desk.restart(0)
    desk.tick()
    assert desk.calls("stable_token") == before + 1
    assert desk.services[0].account_states()[0].problems == ()


def test_a_rolling_restart_with_the_new_secret_loses_no_signature_and_no_token(desk):
    desk.reset_secret()
    restarts = {7000: 0, 7030: 1}
    for now in desk.run(2.5 * 7200 - desk.seconds):
        if now == 6990:
            desk.configure(app_secret=NEW_SECRET)
        if now in restarts:
            desk.restart(restarts[now])
        if now % 10 == 0 or 6980 < now < 7300:
            # A ticket's end is known to a poll or so, which has nothing to do with the secret.
            assert desk.sign(int(now) % 2) in {"ok", "stale"}, now
            assert desk.alive(desk.token(int(now) % 2)), now
    assert desk.services[0].readiness().state == "ready"


def test_processes_that_still_have_the_old_secret_live_on_what_the_new_one_fetches(desk):
    desk.reset_secret()
    desk.until(7300, step=5)
    assert desk.sign(1) == "unanswered"
    desk.configure(app_secret=NEW_SECRET)
    desk.restart(0)
    desk.tick()
    desk.until(desk.seconds + 2)
    assert [desk.sign(0), desk.sign(1)] == ["ok", "ok"]
    assert desk.services[1].readiness().state == "ready"


def test_a_wrong_new_secret_does_not_take_away_what_is_held(desk):
    desk.reset_secret()
    desk.until(6950)
    desk.configure(app_secret="0" * 32)
    desk.restart(0)
    for now in desk.run(200):
        assert desk.sign(0) == "ok", now
    desk.configure(app_secret=NEW_SECRET)
    desk.restart(0)
    desk.tick()
    assert desk.services[0].readiness().state == "ready"


@pytest.mark.fleet
@pytest.mark.long
def test_a_real_fleet_is_reloaded_with_the_new_secret_under_load_and_fails_no_request(tmp_path_factory):
    here = tmp_path_factory.mktemp("fleet")
    old, new = secrets.token_hex(16), secrets.token_hex(16)
    file = here / "app_secret"
    file.write_text(old)
    lives = SandboxSettings(
        accounts={APPID: old}, token_life_seconds=14, ticket_life_seconds=16, ticket_overlap_seconds=30
    )
    with sandbox.serve(settings=lives) as wechat:
        env = one_account(wechat.url, here)
        del env["WXSIGN_SECRET"]
        with fleet(here, {**env, "WXSIGN_SECRET_FILE": str(file)}) as service:
            eventually(lambda: service.jsconfig().status == 200)
            with Load(service.socket, clients=4, check=lambda body: taken(wechat, json.loads(body))) as load:
                wechat.sandbox._accounts[APPID].secret = new
                eventually(lambda: service.ask("/readyz").json["problems"] == ["invalid_secret"])
                assert service.ask("/readyz").status == 200
                file.write_text(new)
                before = service.pids()
                service.signal(signal.SIGHUP)
                eventually(lambda: service.replaced(before))
                eventually(lambda: service.ask("/readyz").json == {"state": "ready", "problems": []})
                # Until nothing that was fetched with the old secret can be alive any more.
                time.sleep(17)
            assert load.failed == []
            assert {shot.verdict for shot in load.shots} == {True}
    said = "".join(path.read_text() for path in here.glob("*.log"))
    assert "invalid_secret" in said
    assert old not in said
    assert new not in said


def taken(wechat, config):
    signed = Signed(
        *(str(config[name]) for name in ("appId", "timestamp", "nonceStr", "signature")), PAGE_OF_FLEET
    )
    return wechat.sandbox.verify(signed).ok
