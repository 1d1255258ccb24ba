"""The face of the library: a service without a web server, on a real sandbox over loopback or by a moving clock."""

import hashlib
import os
import threading
import time
from dataclasses import replace

import pytest
from running import wait_until
from service_desk import BOOT, DEFAULT_APPID, DEFAULT_SECRET, PAGE, START, ServiceDesk, Wire

from wxsign.accounts import HostRule, OfficialAccount
from wxsign.broker import Outcome, RefreshEvent, Surroundings
from wxsign.credentials import TokenEndpoint
from wxsign.errors import (
    AccountRequired,
    ConfigError,
    CredentialUnavailable,
    HostNotAllowed,
    InvalidUrl,
    StoreUnavailable,
    UnknownAccount,
)
from wxsign.observers.log import RefreshLog
from wxsign.sandbox import SandboxSettings, serve
from wxsign.sandbox.faults import Fault
from wxsign.sandbox.state import Sandbox
from wxsign.service import WxSign
from wxsign.settings import Settings
from wxsign.stores import MemoryStore, SqliteStore
from wxsign.stores.base import SCHEMA

OTHER_APPID, OTHER_SECRET = "wx0000000000000002", "other-secret-00000000000000000002"


def environment(api_base, tmp_path, **changes):
    return {
        "WXSIGN_APPID": DEFAULT_APPID,
        "WXSIGN_SECRET": DEFAULT_SECRET,
        "WXSIGN_ALLOWED_HOSTS": "m.example.com",
        "WXSIGN_API_BASE": api_base,
        "WXSIGN_STORE": f"sqlite:///{tmp_path}/wxsign.db",
        **changes,
    }


@pytest.fixture
def sandbox():
    with serve() as server:
        yield server


@pytest.fixture
def service(sandbox, tmp_path):
    service = WxSign.from_env(environment(sandbox.url, tmp_path))
    yield service
    service.stop()


def account(name, app_id=DEFAULT_APPID, secret=DEFAULT_SECRET, host="m.example.com", **changes):
    hosts = (HostRule.parse(host),) if host else ()
    return OfficialAccount(name, app_id, secret, hosts, **changes)


class Room:
    """One service by a moving clock, on a sandbox with two accounts, without a socket."""

    def __init__(self, *accounts, store=None, **sandbox):
        self.now = 0.0
        known = {DEFAULT_APPID: DEFAULT_SECRET, OTHER_APPID: OTHER_SECRET}
        self.sandbox = Sandbox(SandboxSettings(accounts=known, **sandbox), clock=self.wall)
        self.store = store or MemoryStore(self.wall)
        self.threads = []
        self.events = []
        self.service = WxSign(
            Settings(accounts=accounts or (account("default"),)),
            client=Wire(self.sandbox),
            open_store=lambda _url: self.store,
            surroundings=Surroundings(
                boot_clock=lambda: BOOT + self.now,
                wall_clock=self.wall,
                random=lambda: 0.5,
                sleep=lambda _seconds: None,
                spawn=self.spawn,
                machine="m1",
            ),
            observers=(self.events.append,),
        )
        self.service.broker._watcher.stop()

    def wall(self):
        return START + self.now

    def spawn(self, work):
        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()

    def tick(self, seconds=0.0):
        self.now += seconds
        self.service.broker.watch()
        self.join()

    def join(self):
        while self.threads:
            self.threads.pop().join(20)

    def fail(self, errcode, endpoint="*"):
        self.sandbox.add_fault(Fault(endpoint, "errcode", times=None, errcode=errcode))


# without a web server, over a real socket


def test_a_page_is_signed_without_a_web_server(service, sandbox):
    config = service.jsconfig(f"{PAGE}#fragment")
    text = f"noncestr={config.nonce_str}&timestamp={config.timestamp}&url={PAGE}"
    ticket = service.ticket("default").value
    assert config.signature == hashlib.sha1(f"jsapi_ticket={ticket}&{text}".encode()).hexdigest()
    assert (config.app_id, config.url) == (DEFAULT_APPID, PAGE)
    assert abs(config.timestamp - time.time()) < 5
    assert isinstance(config.timestamp, int), "seconds, no milliseconds"
    assert sandbox.sandbox.state()["calls"]["stable_token"] == 1
    assert sandbox.sandbox.state()["calls"]["getticket"] == 1


def test_every_signature_has_a_nonce_of_its_own(service):
    nonces = {service.jsconfig(PAGE).nonce_str for _ in range(50)}
    assert len(nonces) == 50
    assert {len(nonce) for nonce in nonces} == {16}


def test_a_library_user_reads_token_and_ticket(service, sandbox):
    token = service.access_token("default")
    assert sandbox.sandbox.check_token(token.value)["alive"]
    assert 7190 <= token.expires_in_seconds <= 7200
    assert abs(token.expires_at - time.time() - token.expires_in_seconds) <= 2
    assert token.recheck_after_seconds == 60
    assert not token.verified
    assert service.access_token(DEFAULT_APPID).value == token.value
    assert service.ticket("default").value


def test_a_report_of_a_living_token_is_verified_and_of_a_dead_one_brings_another(service, sandbox):
    token = service.access_token("default").value
    reported = service.report_rejected("default", token)
    assert (reported.value, reported.verified) == (token, True)
    assert sandbox.sandbox.state()["calls"]["stable_token"] == 1
    sandbox.sandbox.kill(DEFAULT_APPID, "stable_token")
    # The verdict of a moment ago answers reports for a second: it shall not answer this one, once it has been written.
    seat = service.broker._near.seat(service._tokens["default"])
    wait_until(lambda: not seat.busy)
    service.broker.link.call(lambda store: store.erase([f"verdict|{service._tokens['default'].name}"]))
    seat.verdict = None
    renewed = service.report_rejected("default", token)
    assert renewed.value != token
    assert not renewed.verified
    assert sandbox.sandbox.check_token(renewed.value)["alive"]


def test_a_second_service_on_the_same_store_makes_no_call(service, sandbox, tmp_path):
    service.jsconfig(PAGE)
    second = WxSign.from_env(environment(sandbox.url, tmp_path))
    try:
        assert second.ticket("default").value == service.ticket("default").value
        assert second.access_token("default").value == service.access_token("default").value
    finally:
        second.stop()
    assert sandbox.sandbox.state()["calls"]["stable_token"] == 1


def test_classic_tokens_are_fetched_from_the_classic_endpoint(sandbox, tmp_path):
    service = WxSign.from_env(environment(sandbox.url, tmp_path, WXSIGN_TOKEN_ENDPOINT="classic"))
    try:
        service.jsconfig(PAGE)
    finally:
        service.stop()
    calls = sandbox.sandbox.state()["calls"]
    assert (calls["token"], calls["stable_token"]) == (1, 0)
    assert service.account_states()[0].token_endpoint == "classic"


def test_an_unusable_environment_is_a_config_error():
    with pytest.raises(ConfigError):
        WxSign.from_env({"WXSIGN_APPID": "wx0123456789abcdef"})


def test_nothing_is_opened_or_started_before_the_first_use(tmp_path):
    before = threading.active_count()
    service = WxSign.from_env(environment("http://127.0.0.1:9", tmp_path))
    assert "accounts=1" in repr(service)
    assert DEFAULT_SECRET not in repr(service) + repr(service.settings)
    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []
    service.stop()
    assert service._brokers == {}


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_service_made_and_used_before_a_fork_works_in_the_child(service, sandbox):
    parents = service.jsconfig(PAGE)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # no exception may leave here: it would go on with the parent's tests
        try:
            signed = service.jsconfig(PAGE)
            os.write(writer, f"{signed.app_id} {service.readiness().state} {len(service._brokers)}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        assert told.read().decode() == f"{DEFAULT_APPID} ready 2"
    os.waitpid(child, 0)
    assert service.jsconfig(PAGE).signature != parents.signature
    assert sandbox.sandbox.state()["calls"]["stable_token"] == 1


def test_two_threads_that_come_first_share_one_broker():
    room = Room()
    room.service._brokers.clear()
    brokers = set()
    threads = [threading.Thread(target=lambda: brokers.add(room.service.broker)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(brokers) == 1


# whom and what


def test_two_accounts_are_told_apart_by_host_name_and_appid():
    room = Room(account("shop"), account("news", OTHER_APPID, OTHER_SECRET, "news.example.com"))
    assert room.service.jsconfig("https://m.example.com/").app_id == DEFAULT_APPID
    assert room.service.jsconfig("https://news.example.com/").app_id == OTHER_APPID
    assert room.service.jsconfig("https://news.example.com/", "news").app_id == OTHER_APPID
    assert room.service.access_token("shop").value != room.service.access_token(OTHER_APPID).value
    assert room.service.ticket("shop").value != room.service.ticket("news").value


@pytest.mark.parametrize(
    ("url", "account_name", "error"),
    [
        ("", None, InvalidUrl),
        ("https://evil.example.org/", "shop", HostNotAllowed),
        ("https://news.example.com/", "shop", HostNotAllowed),
        ("https://unknown.example.com/", None, AccountRequired),
        ("https://m.example.com/", "nobody", UnknownAccount),
    ],
)
def test_what_cannot_be_signed_is_refused_before_any_call(url, account_name, error):
    room = Room(account("shop"), account("news", OTHER_APPID, OTHER_SECRET, "news.example.com"))
    with pytest.raises(error):
        room.service.jsconfig(url, account_name)
    assert room.threads == []


@pytest.mark.parametrize("call", ["access_token", "ticket", "refresh"])
def test_an_unknown_account_is_said_to_be_unknown(call):
    with pytest.raises(UnknownAccount):
        getattr(Room().service, call)("nobody")
    with pytest.raises(UnknownAccount):
        Room().service.report_rejected("nobody", "token")


def test_two_environments_of_one_account_share_no_credential():
    room = Room()
    here = room.service._tokens["default"]
    elsewhere = WxSign(Settings(accounts=(account("default"),), api_base="http://127.0.0.1:9"))._tokens[
        "default"
    ]
    assert here != elsewhere


# what is told


def test_the_remaining_seconds_are_told_never_the_first_answers():
    room = Room()
    room.tick()
    for at in (0, 1000, 6000, 6899):
        room.now = at
        token = room.service.access_token("default")
        assert token.expires_in_seconds == 7200 - at
        assert token.expires_at == START + 7200
        assert token.recheck_after_seconds == 60
        room.join()


def test_recheck_is_never_past_the_expiry():
    room = Room()
    room.tick()
    room.fail(-1)
    room.now = 7200 - 20.5
    token = room.service.access_token("default")
    assert (token.expires_in_seconds, token.recheck_after_seconds) == (20, 20)
    assert token.expires_at == START + 7200
    room.join()


def test_a_ticket_of_unknown_age_is_told_one_poll_ahead_and_a_known_one_its_earliest_end():
    room = Room()
    room.tick()
    assert room.service.ticket("default").expires_in_seconds == 60
    for _ in range(60):
        room.tick(60)
    room.sandbox.rotate(DEFAULT_APPID, "jsapi_ticket")
    room.tick(60)
    known = room.service.ticket("default")
    assert 7200 - 60 <= known.expires_in_seconds <= 7200
    assert known.expires_at <= room.wall() + 7200


def test_when_there_is_nothing_to_give_the_cause_is_told():
    room = Room()
    room.fail(40125)
    for call in (lambda: room.service.jsconfig(PAGE), lambda: room.service.access_token("default")):
        with pytest.raises(CredentialUnavailable) as told:
            call()
        assert told.value.cause.errcode == 40125
        assert told.value.retry_after_seconds == 60
        assert DEFAULT_SECRET not in str(told.value)


def test_a_token_whose_last_second_passes_while_it_is_answered_is_not_given_out(monkeypatch):
    room = Room()
    room.tick()
    held = room.service.broker.get(room.service._tokens["default"])
    room.fail(-1)
    room.now = 7200
    monkeypatch.setattr(room.service.broker, "fresh", lambda _key: held)
    with pytest.raises(CredentialUnavailable):
        room.service.access_token("default")


def test_no_answer_shows_its_value_in_a_repr():
    room = Room()
    room.tick()
    token, ticket = room.service.access_token("default"), room.service.ticket("default")
    shown = (
        f"{token} {ticket} {room.service.account_states()} {room.service.readiness()} {room.service.settings}"
    )
    for value in (token.value, ticket.value, DEFAULT_SECRET):
        assert value not in shown


# what is kept fresh


def test_a_single_account_is_warm():
    room = Room()
    room.tick()
    assert room.service.broker.wanted() == (
        room.service._tokens["default"],
        room.service._tickets["default"],
    )
    assert room.service.readiness().state == "ready"


def test_up_to_ten_accounts_are_warm_by_default():
    accounts = [
        account(f"a{number}", f"wx{number:016}", host=f"a{number}.example.com") for number in range(11)
    ]
    assert all(Room(*accounts[:10]).service.is_warm(each) for each in accounts[:10])
    assert not any(Room(*accounts).service.is_warm(each) for each in accounts)


def test_a_single_account_without_hosts_needs_no_ticket():
    room = Room(account("default", host=None))
    room.tick()
    assert room.sandbox.state()["calls"]["getticket"] == 0
    assert room.service.readiness().state == "ready"


def test_of_many_accounts_the_warm_ones_are_fetched_and_the_others_when_asked():
    room = Room(account("shop"), account("news", OTHER_APPID, OTHER_SECRET, "news.example.com", warm=False))
    room.tick()
    assert room.sandbox.state()["calls"]["stable_token"] == 1
    room.service.jsconfig("https://news.example.com/")
    assert room.sandbox.state()["calls"]["stable_token"] == 2


# states


def test_before_anything_was_tried_the_only_account_may_well_be_served():
    room = Room()
    assert room.service.readiness() == room.service.readiness()
    readiness = room.service.readiness()
    assert (readiness.ready, readiness.state, readiness.problems) == (
        True,
        "degraded",
        ("credential_unavailable",),
    )


def test_pages_that_can_be_signed_keep_it_ready_though_the_token_has_ended():
    room = Room()
    room.tick()
    token, ticket = room.service._tokens["default"], room.service._tickets["default"]
    room.fail(40125)
    room.tick(7100)
    seat = room.service.broker._near.seat(ticket)
    seat.last = seat.last._replace(credential=replace(seat.last.credential, latest_expiry=9e9))
    room.tick(200)
    assert room.service.broker.standing(token)[0] is None
    assert room.service.broker.standing(ticket)[0] is not None
    assert room.service.readiness().state == "degraded"


def test_one_account_with_a_wrong_secret_does_not_take_the_other_out_of_the_load_balancer():
    room = Room(
        account("wrong", OTHER_APPID, "not its AppSecret", "wrong.example.com", warm=False),
        account("right", warm=False),
    )
    assert room.service.readiness().ready, "nothing was asked for"
    with pytest.raises(CredentialUnavailable):
        room.service.jsconfig("https://wrong.example.com/")
    readiness = room.service.readiness()
    assert readiness.ready, "the other one was never tried"
    assert readiness.problems == ("invalid_secret",)


def test_workers_of_which_only_one_was_asked_answer_alike(tmp_path):
    store = SqliteStore(tmp_path / "wxsign.db", lambda: START)
    asked, idle = (
        Room(account("default", warm=False), store=store),
        Room(account("default", warm=False), store=store),
    )
    asked.fail(40125)
    with pytest.raises(CredentialUnavailable):
        asked.service.jsconfig(PAGE)
    assert not asked.service.readiness().ready
    assert not idle.service.readiness().ready


@pytest.mark.parametrize(
    ("errcode", "code"), [(40125, "invalid_secret"), (40164, "ip_not_whitelisted"), (40013, "invalid_appid")]
)
def test_a_refused_account_is_unready_and_says_why(errcode, code):
    room = Room()
    room.fail(errcode)
    room.tick()
    readiness = room.service.readiness()
    state = room.service.account_states()[0]
    assert (readiness.ready, readiness.state) == (False, "unready")
    assert readiness.problems == state.problems == (code,)
    assert state.credentials[0].error.errcode == errcode
    assert not state.serving


def test_a_refresh_that_fails_while_the_ticket_lives_degrades():
    room = Room()
    room.tick()
    room.fail(-1)
    room.tick(120)
    readiness = room.service.readiness()
    assert (readiness.ready, readiness.state) == (True, "degraded")
    assert readiness.problems == room.service.account_states()[0].problems != ()
    room.sandbox.clear_faults()
    room.tick(60)
    assert room.service.readiness().state == "ready"


def test_a_store_that_is_away_degrades_and_does_not_make_unready():
    room = Room()
    room.tick()
    room.service.broker.link.lost = StoreUnavailable("gone")
    readiness = room.service.readiness()
    assert (readiness.ready, readiness.state, readiness.problems) == (
        True,
        "degraded",
        ("store_unavailable",),
    )


def test_a_clock_off_the_stores_degrades():
    room = Room()
    room.tick()
    room.service.broker.link.clock_skew_seconds = 60.0
    readiness = room.service.readiness()
    assert (readiness.ready, readiness.state, readiness.problems) == (True, "degraded", ("clock_skewed",))


def test_started_it_fetches_before_anybody_asks(service, sandbox):
    service.start()
    deadline = time.monotonic() + 20
    while service.readiness().state != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert sandbox.sandbox.state()["calls"]["getticket"] == 1


def test_a_record_too_new_degrades():
    room = Room()
    name = room.service._tickets["default"].name
    room.store._records[name] = f'{{"schema": {SCHEMA + 2}}}'
    room.tick()
    readiness = room.service.readiness()
    assert (readiness.ready, readiness.problems) == (True, ("store_schema_ahead",))


def test_one_broken_account_of_two_degrades():
    room = Room(
        account("shop", warm=True),
        account("news", OTHER_APPID, "a wrong secret", "news.example.com", warm=True),
    )
    room.tick()
    readiness = room.service.readiness()
    assert (readiness.ready, readiness.state) == (True, "degraded")


def test_an_account_that_nobody_needs_is_not_judged():
    room = Room(
        account("shop", warm=False),
        account("news", OTHER_APPID, OTHER_SECRET, "news.example.com", warm=False),
    )
    assert room.service.readiness().state == "ready"
    assert [state.in_use for state in room.service.account_states()] == [False, False]


def test_an_account_of_which_only_the_token_is_wanted_is_judged_by_its_token():
    room = Room(
        account("shop", warm=False),
        account("news", OTHER_APPID, OTHER_SECRET, "news.example.com", warm=False),
    )
    room.service.access_token("shop")
    room.join()
    readiness = room.service.readiness()
    assert (readiness.ready, readiness.state, readiness.problems) == (True, "ready", ())
    shop, news = room.service.account_states()
    assert (shop.in_use, news.in_use) == (True, False)
    assert [credential.usable for credential in shop.credentials] == [True, False]


def test_the_state_of_an_account_tells_times_and_versions():
    room = Room()
    room.tick()
    room.now = 30
    (state,) = room.service.account_states()
    token, ticket = state.credentials
    assert (state.name, state.app_id, state.kind, state.token_endpoint) == (
        "default",
        DEFAULT_APPID,
        "official",
        "stable",
    )
    assert (token.kind, token.usable, token.expires_in_seconds, token.refresh_in_seconds) == (
        "access_token",
        True,
        7170,
        3570,
    )
    assert (ticket.kind, ticket.expires_in_seconds, ticket.refresh_in_seconds) == ("jsapi", 60, 30)
    assert token.version
    assert token.error is None
    assert state.serving
    assert state.problems == ()


# an operator


def test_an_operators_refresh_probes_past_the_doors():
    room = Room()
    room.fail(40125)
    room.tick()
    (failed,) = room.service.refresh("default")
    assert (failed.outcome, failed.error.errcode) == (Outcome.FAILED, 40125)
    room.sandbox.clear_faults()
    assert [result.outcome for result in room.service.refresh("default")] == [Outcome.REFRESHED] * 2
    assert [result.outcome for result in room.service.refresh(DEFAULT_APPID)] == [Outcome.UNCHANGED] * 2
    assert room.service.readiness().state == "ready"


def test_a_process_that_only_looks_sees_what_the_store_holds_and_fetches_nothing():
    room = Room()
    room.tick()
    calls = room.sandbox.state()["calls"]
    looking = WxSign(
        room.service.settings,
        client=Wire(room.sandbox),
        open_store=lambda _url: room.store,
        surroundings=room.service._surroundings,
    )
    looking.read_store()
    assert looking.account_states()[0].serving
    assert room.sandbox.state()["calls"] == calls


# the log


def test_each_call_of_wechat_is_one_line_of_the_log_with_cause_and_remedy_and_no_value(caplog):
    caplog.set_level("INFO", logger="wxsign.refresh")
    room = Room()
    room.tick()
    room.fail(40164)
    room.tick(120)
    lines = [record for record in caplog.records if record.name == "wxsign.refresh"]
    assert [record.getMessage() for record in lines] == [
        "wxsign.refreshed",
        "wxsign.refreshed",
        "wxsign.failed",
    ]
    assert [record.levelname for record in lines] == ["INFO", "INFO", "WARNING"]
    assert lines[0].fields["expires_in_seconds"] == 7200
    assert {line.fields["account"] for line in lines} == {"default"}
    assert (lines[2].fields["errcode"], lines[2].fields["code"]) == (40164, "ip_not_whitelisted")
    assert "127.0.0.1" in lines[2].fields["hint"]
    token = room.service.access_token("default").value
    assert token not in " ".join(str(record.__dict__) for record in lines)


def test_a_forced_refresh_is_marked_in_the_log(caplog):
    caplog.set_level("INFO", logger="wxsign.refresh")
    room = Room()
    room.tick()
    event = next(event for event in room.events if isinstance(event, RefreshEvent))
    RefreshLog(room.service.registry)(RefreshEvent(event.key, Outcome.REFRESHED, 0.1, 2, forced=True))
    assert caplog.records[-1].fields["forced"] is True


def test_the_default_store_of_a_url_is_made_once_for_a_process(tmp_path):
    service = WxSign(Settings(accounts=(account("default"),), store=f"sqlite:///{tmp_path}/w.db"))
    assert isinstance(service.broker.link.shared, SqliteStore)
    assert service.broker is service.broker


def test_endpoints_are_the_accounts_own():
    desk = ServiceDesk(token_endpoint=TokenEndpoint.CLASSIC, workers=1)
    desk.tick()
    assert (desk.calls("token"), desk.calls("stable_token")) == (1, 0)
    assert desk.sign() == "ok"


def test_a_page_with_a_foreign_address_inside_is_warned_of_or_refused():
    page = f"{PAGE}&url=https://user-content.example.com/x"
    room = Room()
    room.tick()
    assert [warning.code for warning in room.service.jsconfig(page).warnings] == ["nested_url"]
    assert room.service.jsconfig(f"{PAGE}&url=https://m.example.com/").warnings == ()
    room.service.settings = replace(room.service.settings, nested_urls="refuse")
    with pytest.raises(HostNotAllowed):
        room.service.jsconfig(page)
