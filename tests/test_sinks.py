"""Files that mirror a credential: whole at every moment, written by whoever holds the newest, and in nobody's way."""

import json
import stat
import threading
import time
from dataclasses import replace

import pytest
from at_sandbox import APP_IDS, accounts, control, service_at, wechat
from fleet import APPID, eventually, fleet
from fleet import wechat as wechat_process
from redis_servers import redis_server
from running import free_port

from wxsign.accounts import FileSink, RedisSink
from wxsign.broker import Surroundings
from wxsign.credentials import CredentialKind
from wxsign.errors import ConfigError
from wxsign.observers.sinks import Sinks, Value, put
from wxsign.settings import load_settings

TOKEN, TICKET = CredentialKind.ACCESS_TOKEN, CredentialKind.JSAPI_TICKET
ACCOUNT = """
[accounts.shop]
app_id = "wx0123456789abcdef"
app_secret = "0123456789abcdef0123456789abcdef"
allowed_hosts = ["m.example.com"]
[accounts.shop.sinks.php]
"""


def sink(path, form="value", field="access_token", **more):
    return FileSink("php", TOKEN, str(path), form, field, **more)


# what is written


@pytest.mark.parametrize(
    ("name", "form", "text"),
    [
        ("token", "value", "the-value"),
        ("token.json", "json", '{"access_token": "the-value", "expires_in": 100, "expires_at": 1100}'),
        ("token.json", "php-sample", '{"expire_time": 1100, "access_token": "the-value"}'),
        ("token.php", "php-sample", '<?php exit();?>{"expire_time": 1100, "access_token": "the-value"}'),
        ("env", "TOKEN={value}\nLEFT={expires_in}\n{x}", "TOKEN=the-value\nLEFT=100\n{x}"),
    ],
)
def test_each_format_is_what_its_readers_look_for(tmp_path, name, form, text):
    put(sink(tmp_path / name, form, mode=0o640), Value("the-value", 1, 1100), 1000.0)
    assert (tmp_path / name).read_text() == text
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640


def test_an_older_version_never_takes_the_place_of_a_newer_one(tmp_path):
    path = tmp_path / "token"
    put(sink(path), Value("new", 2, 1100), 1000.0)
    put(sink(path), Value("old", 1, 1100), 1000.0)
    assert path.read_text() == "new"
    path.unlink()
    put(sink(path), Value("again", 1, 1100), 1000.0)
    assert path.read_text() == "again"


def test_a_link_and_a_folder_are_left_alone(tmp_path):
    target = tmp_path / "somebody-elses"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(OSError, match="remove it"):
            put(sink(tmp_path / name), Value("v", 1, 1100), 1000.0)
    assert target.read_text() == "precious"


def test_of_ten_thousand_reads_during_a_hundred_changes_none_is_torn(tmp_path):
    path, torn, reads = tmp_path / "token.json", [], []
    put(sink(path, "json"), Value("v0", 1, 9999), 1000.0)
    done = threading.Event()

    def read():
        while not done.is_set() or len(reads) < 10_000:
            try:
                reads.append(json.loads(path.read_text())["access_token"])
            except (OSError, ValueError) as error:
                torn.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(100):
        put(sink(path, "json"), Value(f"v{number}" * 40, number + 2, 9999), 1000.0)
    done.set()
    for reader in readers:
        reader.join()
    assert len(reads) >= 10_000
    assert torn == []


# a service that mirrors


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


def mirrored(path, **more):
    """The accounts, of which `shop` has a sink for its token and one for its ticket."""
    sinks = (
        FileSink("token", TOKEN, str(path / "token"), "value", "access_token"),
        FileSink("ticket", TICKET, str(path / "ticket"), "value", "jsapi_ticket"),
    )
    return tuple(
        replace(account, warm=False, sinks=sinks if account.name == "shop" else ()) for account in accounts()
    )


def test_token_and_ticket_are_there_before_anybody_asks_and_follow_every_change(sandbox, tmp_path):
    with service_at(sandbox.url, accounts=mirrored(tmp_path)) as service:
        service.start()
        eventually(lambda: (tmp_path / "token").exists() and (tmp_path / "ticket").exists(), 10)
        first = service.access_token("shop").value
        assert (tmp_path / "token").read_text() == first
        assert (tmp_path / "ticket").read_text() == service.ticket("shop").value
        control(sandbox, "kill", appid=APP_IDS["shop"], credential="stable_token")
        now = service.report_rejected("shop", first).value
        begun = time.monotonic()
        eventually(lambda: (tmp_path / "token").read_text() == now, 10)
        assert time.monotonic() - begun < 2


def test_a_sink_that_cannot_be_written_is_told_and_filled_when_it_can(sandbox, tmp_path, caplog):
    away = tmp_path / "away"
    with service_at(sandbox.url, accounts=mirrored(away)) as service:
        service.start()
        assert service.jsconfig("https://m.example.com/").signature
        eventually(lambda: "sink_failed" in service.readiness().problems, 10)
        assert service.readiness().ready
        told = [fault for fault in service.status(0.0).faults if fault.code == "sink_failed"]
        assert "{name}" not in str(told)
        away.mkdir()
        eventually((away / "token").exists, 20)
        eventually(lambda: "sink_failed" not in service.readiness().problems, 10)
    said = "".join(str(record.__dict__) for record in caplog.records)
    assert "wxsign.sink_failed" in said
    assert str(away) in said


# its configuration


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('path = "token"', "path"),
        ("", "path"),
        ('path = "/t"\nkind = "ftp"', "kind"),
        ('path = "/t"\nformat = "xml"', "format"),
        ('path = "/t"\ncredential = "wx_card"', "credential"),
        ('path = "/t"\nmode = "999"', "mode"),
        ('path = "/t"\nmode = 640', "mode"),
        ('path = "/t"\nowner = "www-data"', "owner"),
        ('kind = "redis"\nurl = "redis://localhost/0"', "key"),
        ('kind = "redis"\nkey = "k"', "url"),
        ('kind = "redis"\nkey = "k"\nurl = "http://localhost/"', "url"),
        ('kind = "redis"\nkey = "k"\nurl_env = "NOT_SET"', "url_env"),
        ('kind = "redis"\nkey = "k"\nurl = "redis://localhost/0"\npath = "/t"', "path"),
        ('kind = "redis"\nkey = "k"\nurl = "redis://localhost/0"\nformat = "php-sample"', "format"),
    ],
)
def test_what_cannot_be_used_is_a_line_that_names_it(tmp_path, lines, key):
    file = tmp_path / "wxsign.toml"
    file.write_text(ACCOUNT + lines)
    with pytest.raises(ConfigError) as told:
        load_settings(file, environ={})
    assert [problem.key for problem in told.value.problems] == [f"accounts.shop.sinks.php.{key}"]


def test_what_can_is_read(tmp_path):
    file = tmp_path / "wxsign.toml"
    file.write_text(
        f'{ACCOUNT}path = "{tmp_path}/t.php"\nformat = "php-sample"\ncredential = "jsapi_ticket"\nmode = "0640"'
    )
    (found,) = load_settings(file, environ={}).accounts[0].sinks
    assert found == FileSink("php", TICKET, str(tmp_path / "t.php"), "php-sample", "jsapi_ticket", 0o640)
    file.write_text(ACCOUNT.replace("[accounts.shop.sinks.php]", "sinks = 3"))
    with pytest.raises(ConfigError, match="table of tables"):
        load_settings(file, environ={})


def test_a_redis_and_its_password_are_read_from_a_file_and_shown_nowhere(tmp_path):
    (tmp_path / "url").write_text("redis://:the-password@localhost:6379/1")
    file = tmp_path / "wxsign.toml"
    file.write_text(f'{ACCOUNT}kind = "redis"\nurl_file = "{tmp_path}/url"\nformat = "wechatpy"\n')
    settings = load_settings(file, environ={})
    (found,) = settings.accounts[0].sinks
    assert (found.key, found.url) == (
        "wechatpy:wx0123456789abcdef_access_token",
        "redis://:the-password@localhost:6379/1",
    )
    assert "the-password" not in repr(settings) + repr(found)


# a Redis that is read by others


@pytest.fixture(scope="module")
def redis(require_program):
    require_program("redis-server")
    with redis_server() as server:
        yield server


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("value", "the-value"),
        ("wxjava", "the-value"),
        ("wechatpy", '"the-value"'),
        ("v={value}", "v=the-value"),
    ],
)
def test_a_key_has_the_value_as_its_readers_expect_it_and_ends_with_it(redis, form, text):
    redis.ask("FLUSHALL")
    sinks = Sinks([], Surroundings(wall_clock=lambda: 1000.0))
    place = RedisSink("r", TOKEN, redis.url, "the:key", form, "access_token")
    sinks._mirror(place, Value("the-value", 2, 1100))
    assert redis.ask("GET", "the:key") == text
    assert 98 <= redis.ask("TTL", "the:key") <= 100
    # A slow worker's older one changes nothing.
    sinks._mirror(place, Value("older", 1, 1100))
    assert redis.ask("GET", "the:key") == text


def test_a_service_keeps_the_key_and_tells_of_a_redis_that_is_away(sandbox, redis, caplog):
    redis.ask("FLUSHALL")
    key = f"wechatpy:{APP_IDS['shop']}_access_token"
    gone = RedisSink("gone", TOKEN, f"redis://127.0.0.1:{free_port()}/0", "k", "value", "access_token")
    here = RedisSink("here", TOKEN, redis.url, key, "wechatpy", "access_token")
    shops = tuple(
        replace(account, warm=False, sinks=(here, gone) if account.name == "shop" else ())
        for account in accounts()
    )
    with service_at(sandbox.url, accounts=shops) as service:
        service.start()
        eventually(lambda: redis.ask("GET", key), 10)
        assert json.loads(redis.ask("GET", key)) == service.access_token("shop").value
        eventually(lambda: "sink_failed" in service.readiness().problems, 10)
    failed = [record.__dict__["fields"] for record in caplog.records if record.msg == "wxsign.sink_failed"]
    assert [fields["sink"] for fields in failed] == ["gone"]


@pytest.mark.fleet
def test_four_workers_keep_one_file_and_a_stolen_token_is_in_it_two_seconds_after_it_is_known(
    tmp_path_factory,
):
    here = tmp_path_factory.mktemp("sinks")
    with wechat_process(here) as sandbox:
        file = here / "token.secret"
        toml = here / "wxsign.toml"
        toml.write_text(
            f'[accounts.shop]\napp_id = "{APPID}"\napp_secret_env = "THE_SECRET"\nallowed_hosts = ["m.example.com"]\n'
            f'[accounts.shop.sinks.old]\npath = "{file}"\n'
            '[clients.crm]\nkey_env = "THE_KEY"\n'
        )
        from fleet import APP_SECRET, CLIENT_KEY  # noqa: PLC0415 - the session's own

        env = {
            "WXSIGN_CONFIG": str(toml),
            "THE_SECRET": APP_SECRET,
            "THE_KEY": CLIENT_KEY,
            "WXSIGN_API_BASE": sandbox.url,
            "WXSIGN_STORE": f"sqlite:///{here}/wxsign.db",
        }
        with fleet(here, env) as service:
            eventually(file.exists)
            first = file.read_text()
            assert service.token("shop")["access_token"] == first
            sandbox.post("kill", appid=APPID, credential="stable_token")
            now = service.report(first, "shop").json["access_token"]
            begun = time.monotonic()
            eventually(lambda: file.read_text() == now)
            assert time.monotonic() - begun < 2
            for _ in range(8):
                assert service.jsconfig().status == 200
            assert file.read_text() == now
