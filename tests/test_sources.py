"""An account without an AppSecret: another system hands out its token, and pages are signed all the same."""

import itertools
import json
import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from at_sandbox import APP_IDS, KEEPER_KEY, SECRET, control, on_a_port, service_at, verdict, wechat
from broker_desk import desks, key
from redis_servers import redis_server

from wxsign.accounts import Fields, FileSource, HostRule, HttpSource, OfficialAccount, RedisSource
from wxsign.credentials import (
    Credential,
    CredentialKey,
    CredentialKind,
    RefreshNeed,
    Sighting,
    TokenEndpoint,
    sort_of,
)
from wxsign.errors import ConfigError, StoreUnavailable, WeChatBadAnswer, WeChatError, WeChatUnreachable
from wxsign.settings import load_settings
from wxsign.stores.redis_mirror import RedisMirror
from wxsign.web import create_app
from wxsign.wechat.source import SourceReader

PAGE = "https://m.example.com/a?b=1"
NOW = 1_700_000_000.0
KEY = CredentialKey("https://api.weixin.qq.com", "wx1", CredentialKind.ACCESS_TOKEN, TokenEndpoint.SOURCE)
HEAD = '[accounts.shop]\napp_id = "wx0123456789abcdef"\nallowed_hosts = ["m.example.com"]\n'


def no_redis(url, key):
    raise StoreUnavailable("nothing listens")


READER = SourceReader(no_redis, lambda: NOW)


class Keeper:
    """A system of somebody's that hands out a token: what it answers is told it."""

    def __init__(self):
        keeper = self
        self.status, self.body = 200, {"access_token": "token-of-somebody", "expires_in": 5000}
        self.asked = []
        self.replace = lambda: None

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                keeper.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
                if self.command == "POST":
                    keeper.replace()
                text = keeper.body if isinstance(keeper.body, str) else json.dumps(keeper.body)
                self.send_response(keeper.status)
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self):
                self.answer()

            def do_POST(self):
                self.answer()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/wx"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def keeper():
    keeper = Keeper()
    yield keeper
    keeper.server.shutdown()
    keeper.server.server_close()


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


def account(source):
    hosts = (HostRule.parse("m.example.com"),)
    return OfficialAccount(
        "shop", APP_IDS["shop"], "", hosts, token_endpoint=TokenEndpoint.SOURCE, source=source
    )


def of_keeper(keeper, **fields):
    return HttpSource(keeper.url, "bearer-of-ours", "", Fields(**({"expires_in": "expires_in"} | fields)))


# ------------------------------------------------------------------------------- what a source says


def test_a_service_is_asked_with_the_bearer_and_what_is_left_counts(keeper):
    granted = READER.token(of_keeper(keeper))
    assert (granted.value, granted.expires_in_seconds) == ("token-of-somebody", 5000)
    assert keeper.asked == [("GET", "/wx", "Bearer bearer-of-ours", b"")]


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ({"data": {"token": "t"}, "ttl": "60"}, Fields("data.token", "ttl"), ("t", 60)),
        ({"access_token": "t", "end": NOW + 90}, Fields(expires_at="end"), ("t", 90)),
        ({"access_token": "t", "expires_in": 10**12}, Fields(expires_in="expires_in"), ("t", 86_400)),
        ({"access_token": "t"}, Fields(expires_in="expires_in"), ("t", 0)),
        ("plain-token\n", Fields(), ("plain-token", 0)),
        ('"a-json-string"', Fields(), ("a-json-string", 0)),
        (
            '<?php exit();?>{"access_token":"t","expire_time":1700000060}',
            Fields(expires_at="expire_time"),
            ("t", 60),
        ),
    ],
)
def test_the_token_is_found_in_what_systems_keep(tmp_path, text, fields, expected):
    file = tmp_path / "token"
    file.write_text(text if isinstance(text, str) else json.dumps(text))
    granted = READER.token(FileSource(str(file), fields))
    assert (granted.value, granted.expires_in_seconds) == expected


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>log in</html>",
        "[]",
        '{"access_token": null}',
        '{"access_token": {"a": 1}}',
        '{"access_token": "a b"}',
        '{"access_token": "t", "expires_in": 0}',
        '{"access_token": "t", "expires_in": -5}',
        "[" * 60_000,
        '{"errcode": 40001}',
        "{",
    ],
)
def test_nonsense_is_no_token(keeper, body):
    keeper.body = body
    with pytest.raises(WeChatError) as told:
        READER.token(of_keeper(keeper))
    assert told.value.code == "source_failed"
    assert "bearer-of-ours" not in f"{told.value} {told.value!r}"


@pytest.mark.parametrize("status", [302, 401, 404, 500, 503])
def test_a_service_that_refuses_is_told_as_such(keeper, status):
    keeper.status = status
    with pytest.raises(WeChatBadAnswer) as told:
        READER.token(of_keeper(keeper))
    assert "HTTP status" in told.value.message.en
    assert "状态码" in told.value.message.zh


def test_one_that_does_not_answer_is_named_to_the_operator_alone():
    with pytest.raises(WeChatUnreachable) as told:
        READER.token(HttpSource("http://127.0.0.1:9/wx?key=hidden-in-the-query", "b", "", Fields()))
    assert "127.0.0.1:9" in told.value.operator_hint.en
    assert "127.0.0.1:9" not in told.value.hint.en
    assert "hidden" not in str(told.value)
    with pytest.raises(WeChatUnreachable):
        READER.token(FileSource("/nowhere/token", Fields()))
    with pytest.raises(WeChatUnreachable, match="nothing listens"):
        READER.token(RedisSource("redis://127.0.0.1:9", "k", Fields()))


def test_a_dead_token_is_reported_where_the_source_takes_reports(keeper):
    source = of_keeper(keeper)._replace(refresh_url=f"{keeper.url}/refresh")
    READER.token(source)
    READER.token(source, replace=True)
    assert [(method, path) for method, path, *_ in keeper.asked] == [("GET", "/wx"), ("POST", "/wx/refresh")]
    assert json.loads(keeper.asked[1][3]) == {"rejected": "token-of-somebody"}
    keeper.asked.clear()
    READER.token(of_keeper(keeper), replace=True)
    assert [method for method, *_ in keeper.asked] == ["GET"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    make(tmp_path / "token")
    with pytest.raises(WeChatUnreachable) as told:
        READER.token(FileSource(str(tmp_path / "token"), Fields()))
    assert told.value.detail


# ------------------------------------------------------------------------------- how long it is believed


def witnessed(value, seconds, at, before=None):
    return sort_of(KEY).witnessed(before, Sighting(value, seconds, at, at + 0.1), 1)


def test_a_source_is_asked_every_minute_and_sooner_at_the_end_of_a_life():
    sort, token = sort_of(KEY), witnessed("t", 7200, NOW)
    assert sort.due_at(token) == NOW + 60
    assert sort.due_at(witnessed("t", 40, NOW)) == NOW + 10
    assert sort.need(token, NOW + 61) is RefreshNeed.DUE


def test_where_nobody_says_how_long_it_lives_it_is_told_for_minutes_and_kept_for_a_life():
    sort, token = sort_of(KEY), witnessed("t", 0, NOW)
    assert sort.told_expiry(token, NOW) == NOW + 300
    assert token.usable(NOW + 7000)
    assert sort.told_expiry(token, NOW + 400) == NOW + 460


def test_what_the_source_says_now_counts_more_than_what_it_said():
    before = witnessed("t", 100, NOW)
    assert witnessed("t", 900, NOW + 10, before).latest_expiry == NOW + 910


def test_a_change_of_it_is_nobody_s_theft():
    from wxsign.broker.suspicion import inside_its_life  # noqa: PLC0415

    token = Credential("t", 1, 7200, NOW, NOW + 7200, NOW + 7200)
    assert not inside_its_life(KEY, token, NOW + 60)


# ------------------------------------------------------------------------------- the whole


def token_of(server):
    """What another system would fetch from WeChat."""
    import urllib.request  # noqa: PLC0415

    body = {"grant_type": "client_credential", "appid": APP_IDS["shop"], "secret": SECRET}
    request = urllib.request.Request(f"{server.url}/cgi-bin/stable_token", json.dumps(body).encode())
    with urllib.request.urlopen(request) as response:
        return json.load(response)["access_token"]


def test_pages_are_signed_without_an_appsecret(sandbox, tmp_path):
    file = tmp_path / "token"
    file.write_text(token_of(sandbox))
    with service_at(sandbox.url, accounts=(account(FileSource(str(file), Fields())),)) as service:
        config = service.jsconfig(PAGE)
        assert verdict(sandbox, config.as_dict(), PAGE) == "ok"
        assert service.access_token("shop").value == file.read_text()


def test_the_last_good_token_is_served_while_the_source_talks_nonsense(sandbox, keeper):
    keeper.body = {"access_token": token_of(sandbox), "expires_in": 7000}
    with service_at(sandbox.url, accounts=(account(of_keeper(keeper)),)) as service:
        first = service.access_token("shop").value
        service.jsconfig(PAGE)
        keeper.body = "<html>maintenance</html>"
        (failed,) = service.refresh("shop")
        assert failed.error.code == "source_failed"
        assert service.access_token("shop").value == first
        assert service.readiness().state == "degraded"
        assert service.readiness().problems == ("source_failed",)


def test_wxsign_behind_wxsign_heals_a_dead_token_by_reporting_it(sandbox):
    with service_at(sandbox.url) as central, on_a_port(create_app(central)) as url:
        base = f"{url}/api/v1/accounts/shop/access_token"
        source = HttpSource(base, KEEPER_KEY, f"{base}/refresh", Fields(expires_in="expires_in"))
        with service_at(sandbox.url, accounts=(account(source),)) as outpost:
            # Nobody is in the middle of a fetch when it dies.
            for service in (central, outpost):
                service.jsconfig(PAGE)
            dead = outpost.access_token("shop").value
            assert dead == central.access_token("shop").value
            control(sandbox, "kill", appid=APP_IDS["shop"], credential="stable_token")
            answer = outpost.report_rejected("shop", dead)
            assert answer.value != dead
            assert answer.value == central.access_token("shop").value
            assert verdict(sandbox, outpost.jsconfig(PAGE).as_dict(), PAGE) == "ok"


def test_a_token_found_dead_where_the_ticket_is_fetched_is_reported_to_its_source(sandbox, keeper):
    keeper.body = {"access_token": token_of(sandbox), "expires_in": 7000}
    keeper.replace = lambda: keeper.body.update(access_token=token_of(sandbox))
    source = of_keeper(keeper)._replace(refresh_url=f"{keeper.url}/refresh")
    with service_at(sandbox.url, accounts=(account(source),)) as service:
        service.jsconfig(PAGE)
        dead = service.access_token("shop").value
        control(sandbox, "kill", appid=APP_IDS["shop"], credential="stable_token")
        # No client ever says that it is dead.
        assert [result.error for result in service.refresh("shop")] == [None, None]
        assert service.access_token("shop").value == keeper.body["access_token"] != dead
        reports = [body for method, *_, body in keeper.asked if method == "POST"]
        assert [json.loads(body) for body in reports] == [{"rejected": dead}]


SOURCE_TICKET = key(CredentialKind.JSAPI_TICKET, TokenEndpoint.SOURCE)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_source_that_insists_on_a_dead_token_is_asked_at_a_bounded_rate(workers):
    with desks("memory") as desk:
        first, *_ = desk.fleet(workers)
        first.hold(SOURCE_TICKET)
        asked = desk.wechat.count("access_token")
        desk.wechat.refuse_ticket_with = {"token-1"}
        desk.run(600)
        assert desk.wechat.count("access_token") - asked <= 2 * 600 / 30
        forced = [call.at for call in desk.wechat.calls if call.force]
        assert forced
        assert all(later - sooner >= 30 for sooner, later in itertools.pairwise(forced))
        desk.wechat.values |= {"access_token": "token-2", "jsapi": "ticket-2"}
        desk.run(90)
        assert first.get(SOURCE_TICKET) == "ticket-2"


def polls_of_the_ticket(down):
    with desks("memory") as desk:
        worker = desk.worker()
        worker.hold(SOURCE_TICKET)
        desk.wechat.always["access_token"] = down
        desk.run(1200)
        assert worker.get(SOURCE_TICKET) == "ticket-1"
        return desk.wechat.at("jsapi")


def test_the_ticket_is_watched_as_closely_while_the_source_is_away():
    away = WeChatUnreachable("connect", "token_from", host="token.example.com")
    assert polls_of_the_ticket(away) == polls_of_the_ticket(None)


def test_a_source_that_is_away_is_a_fault_of_its_own_account(sandbox):
    nowhere = account(HttpSource("http://127.0.0.1:9/wx", "", "", Fields()))
    other = replace(nowhere, name="news", app_id=APP_IDS["news"])
    with service_at(sandbox.url, accounts=(nowhere, other)) as service:
        for name in ("shop", "news"):
            service.refresh(name)
        faults = service._overview().faults()
        assert {(fault.code, fault.accounts) for fault in faults} == {
            ("source_failed", ("shop",)),
            ("source_failed", ("news",)),
        }


def test_a_key_of_a_redis_gives_its_token_and_its_life():
    with redis_server() as server:
        mirror = RedisMirror(server.url)
        mirror.put("wx:token", "token-in-redis", 1, 900)
        reader = SourceReader(lambda url, key: RedisMirror(url).get(key))
        granted = reader.token(RedisSource(server.url, "wx:token", Fields()))
        assert granted.value == "token-in-redis"
        assert 890 <= granted.expires_in_seconds <= 900
        with pytest.raises(StoreUnavailable):
            mirror.get("wx:nothing")


# ------------------------------------------------------------------------------- configuration


def settings_of(tmp_path, text):
    file = tmp_path / "wxsign.toml"
    file.write_text(text)
    return load_settings(file, environ={})


def test_an_account_with_a_source_needs_no_appsecret(tmp_path):
    (tmp_path / "bearer").write_text("the-bearer\n")
    line = (
        'token_from = { url = "https://token.example.com/wx", bearer_file = "bearer", token = "data.token" }'
    )
    (shop,) = settings_of(tmp_path, HEAD + line).accounts
    assert shop.source == HttpSource(
        "https://token.example.com/wx", "the-bearer", "", Fields("data.token", "expires_in")
    )
    assert "the-bearer" not in repr(shop)
    (shop,) = settings_of(tmp_path, f'{HEAD}token_from = {{ file = "/run/token" }}').accounts
    assert shop.source == FileSource("/run/token", Fields(expires_at="expires_at"))
    line = 'token_from = { redis = "redis://127.0.0.1/1", key = "wx", expires_at = "end" }'
    (shop,) = settings_of(tmp_path, HEAD + line).accounts
    assert shop.source == RedisSource("redis://127.0.0.1/1", "wx", Fields(expires_at="end"))


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ('token_from = "x"', "token_from", "must be a table"),
        ("token_from = { token = 'a' }", "token_from", "needs one of"),
        ("token_from = { url = 'https://a.example/', file = '/x' }", "token_from", "needs one of"),
        ("token_from = { url = 'ftp://a.example/' }", "token_from.url", "not an http(s) URL"),
        ("token_from = { url = 'https://u:p@a.example/' }", "token_from.url", "not an http(s) URL"),
        ("token_from = { file = 'token' }", "token_from.file", "not an absolute path"),
        ("token_from = { redis = 'x', key = 'k' }", "token_from.redis", "not the address"),
        ("token_from = { redis = 'redis://127.0.0.1' }", "token_from.key", "key is missing"),
        ("token_from = { url = 'https://a.example/', tokn = 'a' }", "token_from.tokn", "unknown key"),
        ("token_from = { file = '/x' }\napp_secret = 'abc'", "app_secret", "two ways"),
    ],
)
def test_what_is_wrong_with_a_source_is_told_with_its_key(tmp_path, line, key, words):
    with pytest.raises(ConfigError) as told:
        settings_of(tmp_path, HEAD + line)
    problems = {problem.key: problem.message.en for problem in told.value.problems}
    assert words in problems[f"accounts.shop.{key}"]


def test_a_variable_that_a_source_names_is_not_unknown(tmp_path):
    file = tmp_path / "wxsign.toml"
    line = 'token_from = { url = "https://token.example.com/wx", bearer_env = "WXSIGN_THEIR_KEY" }'
    file.write_text(HEAD + line)
    settings = load_settings(file, environ={"WXSIGN_THEIR_KEY": "the-bearer"})
    assert settings.accounts[0].source.bearer == "the-bearer"
    assert not settings.warnings


def test_a_token_over_plain_http_is_warned_of(tmp_path):
    line = "token_from = { url = 'http://token.internal/wx' }"
    (warning,) = settings_of(tmp_path, HEAD + line).warnings
    assert warning.key == "accounts.shop.token_from.url"
