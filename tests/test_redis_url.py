"""The URLs that name a Redis store, and how a failure of Redis is read; both without a Redis."""

from pathlib import Path

import pytest

from wxsign.errors import ConfigError
from wxsign.settings import load_settings
from wxsign.stores import open_store, redis_url
from wxsign.stores.redis_causes import CAUSES, cause_of
from wxsign.stores.redis_url import (
    Host,
    Kind,
    Login,
    RedisAddress,
    Tls,
    UnusableStoreUrlError,
    anchored,
    names_redis,
    parse_redis_url,
)

LOCAL = (Host("localhost", 6379),)
ONE = {
    "WXSIGN_APPID": "wx0123456789abcdef",
    "WXSIGN_SECRET": "0" * 32,
    "WXSIGN_ALLOWED_HOSTS": "m.example.com",
}

ADDRESSES = {
    "redis://localhost": RedisAddress(Kind.SERVER, LOCAL),
    "redis://localhost/": RedisAddress(Kind.SERVER, LOCAL),
    "redis://10.0.0.5:6380/3": RedisAddress(Kind.SERVER, (Host("10.0.0.5", 6380),), db=3),
    "redis://localhost?db=3": RedisAddress(Kind.SERVER, LOCAL, db=3),
    "redis://[2001:db8::1]:7000/": RedisAddress(Kind.SERVER, (Host("2001:db8::1", 7000),)),
    "redis://:p%40ss%2Fw:rd@localhost": RedisAddress(Kind.SERVER, LOCAL, login=Login("", "p@ss/w:rd")),
    "redis://:p@ss@localhost": RedisAddress(Kind.SERVER, LOCAL, login=Login("", "p@ss")),
    "redis://user:pass@localhost/1": RedisAddress(Kind.SERVER, LOCAL, login=Login("user", "pass"), db=1),
    "valkey://localhost?prefix=prod:eu": RedisAddress(Kind.SERVER, LOCAL, prefix="prod:eu"),
    "rediss://localhost": RedisAddress(Kind.SERVER, LOCAL, tls=Tls()),
    "valkeys://localhost?ssl_ca_certs=/a/ca.pem&ssl_certfile=/a/c.pem&ssl_keyfile=/a/c.key": RedisAddress(
        Kind.SERVER, LOCAL, tls=Tls("/a/ca.pem", "/a/c.pem", "/a/c.key")
    ),
    "rediss://localhost?ssl_check_hostname=false": RedisAddress(
        Kind.SERVER, LOCAL, tls=Tls(check_hostname=False)
    ),
    "unix:///run/redis/redis.sock": RedisAddress(Kind.SERVER, (), path="/run/redis/redis.sock"),
    "unix://:pass@/run/r%20s?db=2": RedisAddress(
        Kind.SERVER, (), path="/run/r s", db=2, login=Login("", "pass")
    ),
    "unix:///run/a@b:c/redis.sock": RedisAddress(Kind.SERVER, (), path="/run/a@b:c/redis.sock"),
    "redis+sentinel://h1,h2:26380/main": RedisAddress(
        Kind.SENTINEL, (Host("h1", 26379), Host("h2", 26380)), service="main"
    ),
    "redis+sentinel://:pass@h1:1/main/4?sentinel_username=u&sentinel_password=s%26": RedisAddress(
        Kind.SENTINEL,
        (Host("h1", 1),),
        service="main",
        db=4,
        login=Login("", "pass"),
        sentinel_login=Login("u", "s&"),
    ),
    "valkeys+sentinel://h1/main": RedisAddress(
        Kind.SENTINEL, (Host("h1", 26379),), service="main", tls=Tls()
    ),
    "redis+cluster://h1:7000,h2:7001,h3": RedisAddress(
        Kind.CLUSTER, (Host("h1", 7000), Host("h2", 7001), Host("h3", 6379))
    ),
    "rediss+cluster://u:p@h1/0": RedisAddress(
        Kind.CLUSTER, (Host("h1", 6379),), login=Login("u", "p"), tls=Tls()
    ),
}

UNUSABLE = {
    "redis://": "not a Redis URL",
    "redis:///0": "no usable host",
    "redis://:top-secret@": "no usable host",
    "redis://:top-secret@h:0": "no usable host",
    "redis://:top-secret@h:65536": "no usable host",
    "redis://:top-secret@h:port": "no usable host",
    "redis://:top-secret@h_/../x": "not a number",
    "redis://:top/secret@h": "no usable host",
    "redis://:top?secret@h": "",
    "redis://:top#secret@h": "a blank, `#`",
    "redis://:top secret@h": "a blank, `#`",
    "redis://:top\\secret@h": "a blank, `#`",
    "redis://:top-secret@h\n": "",
    "redis://:top-secret@h.中国": "non-ASCII",
    "redis://:top-secret@h1,h2": "several hosts",
    "redis://:top-secret@h/one": "not a number",
    "redis://:top-secret@h?prefix=": "empty or given twice",
    "redis://:top-secret@h?prefix=a&prefix=b": "empty or given twice",
    "redis://:top-secret@h?prefix={x}": "prefix that cannot be used",
    "redis://:top-secret@h?password=top-secret": "unknown parameter",
    "redis://:top-secret@h?ssl_ca_certs=/ca.pem": "a scheme without TLS",
    "rediss://:top-secret@h?ssl_keyfile=/a.key": "ssl_keyfile without ssl_certfile",
    "rediss://:top-secret@h?ssl_check_hostname=no": "neither true nor false",
    "redis://:top-secret@h?sentinel_password=top-secret": "only redis+sentinel",
    "unix://:top-secret@run/redis.sock": "absolute path",
    "unix:///run/redis/": "absolute path",
    "redis+sentinel://:top-secret@h1": "Sentinel service",
    "redis+sentinel://:top-secret@h1//0": "Sentinel service",
    "redis+sentinel://:top-secret@h1/ma%20in": "unusual name",
    "redis+sentinel://:top-secret@h1/main/x": "not a number",
    "redis+cluster://:top-secret@h1/1": "a Cluster has only 0",
    "redis+cluster://:top-secret@": "no usable host",
}


@pytest.mark.parametrize(("url", "address"), ADDRESSES.items())
def test_a_url_is_read(url, address):
    assert names_redis(url)
    assert parse_redis_url(url) == address


@pytest.mark.parametrize(("url", "words"), UNUSABLE.items())
def test_an_unusable_url_is_explained_without_repeating_it(url, words):
    with pytest.raises(UnusableStoreUrlError) as refused:
        open_store(url)
    assert words in str(refused.value)
    assert refused.value.message.zh != refused.value.message.en
    assert refused.value.hint.zh != refused.value.hint.en
    assert "secret" not in str(refused.value) + repr(refused.value)


@pytest.mark.parametrize(
    "url", ["memory:", "sqlite:///a", "http://h", "redis:h", "unix", "redi://h", "redis+x://h", ""]
)
def test_other_urls_are_somebody_elses(url):
    assert not names_redis(url)


def test_no_password_stands_in_a_repr():
    address = parse_redis_url("redis+sentinel://u:top-secret@h1/main?sentinel_password=top-secret")
    assert "secret" not in f"{address!r} {address}"


def test_files_of_tls_start_at_the_folder_of_the_configuration():
    url = "rediss://:p%40@h?ssl_ca_certs=tls/ca.pem&ssl_certfile=/etc/c%2B.pem&ssl_keyfile=a b.key&prefix=x".replace(
        " ", "%20"
    )
    found = parse_redis_url(anchored(url, Path("/srv/my wxsign")))
    assert found.tls == Tls("/srv/my wxsign/tls/ca.pem", "/etc/c+.pem", "/srv/my wxsign/a b.key")
    assert (found.login.password, found.prefix) == ("p@", "x")


def test_without_the_extra_the_start_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(redis_url, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refused:
        load_settings(environ={**ONE, "WXSIGN_STORE": "redis://:top-secret@h"})
    (problem,) = refused.value.problems
    assert problem.key == "WXSIGN_STORE"
    assert "pip install 'wxsign[redis]'" in problem.hint.en
    assert "secret" not in str(refused.value)
    with pytest.raises(ValueError, match="needs the `redis` extra"):
        open_store("redis://h")


def test_an_unknown_scheme_is_told_what_there_is():
    with pytest.raises(ConfigError) as refused:
        load_settings(environ={**ONE, "WXSIGN_STORE": "memcached://:top-secret@h"})
    assert "redis+sentinel://" in str(refused.value)
    assert "secret" not in str(refused.value)


# Where the code of an error stands depends on the versions of Redis and of redis-py; those that no test server shows:
TEXTS = {
    "ResponseError: ERR Error running script (call to f_0): @user_script:3: @user_script: 3: -READONLY You can't write "
    "against a read only replica.": "read-only replica",
    "BusyLoadingError: Redis is loading the dataset in memory": "still loading",
    "ResponseError: LOADING Redis is loading the dataset in memory": "still loading",
    "ResponseError: NOREPLICAS Not enough good replicas to write.": "too few replicas",
    "ClusterDownError: CLUSTERDOWN Hash slot not served": "no primary serves the keys",
    "MasterDownError: Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "no primary serves the keys",
    "AskError: 12182 127.0.0.1:7000": "no primary serves the keys",
    "ResponseError: ERR unknown command `EVALSHA`, with args beginning with: ": "lacks a needed command",
    "ResponseError: DENIED Redis is running in protected mode": "failed with ResponseError",
    "SSLError: [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required": "refuses this client's TLS",
    "ConnectionError: Error 101 connecting to 10.0.0.1:6379. Network is unreachable.": "network does not reach it",
    "PermissionError: Error 13 connecting to unix socket: /s. Permission denied.": "may not open its socket",
    "KeyError: 'whatever'": "failed with KeyError",
}


@pytest.mark.parametrize(("text", "words"), TEXTS.items())
def test_an_error_is_read_whatever_version_speaks(text, words):
    name, _, message = text.partition(": ")
    error = type(name, (Exception,), {})(message)
    assert words in cause_of(error).detail


def test_the_cause_may_stand_behind_the_error():
    error = RuntimeError("something")
    error.__cause__ = OSError("Connection refused")
    assert "refused" in cause_of(error).detail


def test_every_remedy_is_told_in_both_languages():
    assert [cause for cause in CAUSES if cause.hint.en == cause.hint.zh] == []
