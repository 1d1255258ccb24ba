"""What `docs/redis.md` promises, at a real Redis, and what `wxsign check` says of one that does not do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis_servers import redis_server
from store_conformance import NAME, credential

from wxsign import cli
from wxsign.errors import StoreUnavailable
from wxsign.stores import Ration, open_store

PAGE = (Path(__file__).parent.parent / "docs" / "redis.md").read_text(encoding="utf-8")
PASSWORD = "0123456789abcdef"


@pytest.fixture(scope="module")
def server():
    with redis_server() as server:
        yield server


def granted():
    """The words of the page's ACL SETUSER."""
    return re.search(r"```\n(ACL SETUSER [^`]+)```", PAGE)[1].split()


def as_user(server, name="wxsign", password=PASSWORD, query=""):
    return f"redis://{name}:{password}@127.0.0.1:{server.port}/0{query}"


def use_everything(url):
    store = open_store(url)
    store.generation()
    store.replace(NAME, credential(store.now() * 1000 // 1))
    store.view([NAME])
    store.release(store.acquire(NAME, "a", 5, 0))
    store.note("n", "text", 5)
    store.view((), ["n"])
    store.erase(["n"])
    store.take([Ration("c", 1, 5)])
    store.used(["c"])
    store.record_event("e")
    return store.events()


def test_the_rights_that_the_page_grants_are_enough_for_everything(server):
    server.ask("FLUSHALL")
    server.ask(*granted())
    assert use_everything(as_user(server))


# EXISTS is asked of a Cluster's nodes alone.
@pytest.mark.parametrize("right", sorted({word for word in granted() if word[0] == "+"} - {"+exists"}))
def test_none_of_the_rights_that_the_page_grants_can_be_left_out(server, right):
    server.ask("FLUSHALL")
    server.ask("SCRIPT", "FLUSH")
    server.ask(*granted(), f"-{right[1:]}")
    with pytest.raises(StoreUnavailable, match="NOPERM"):
        use_everything(as_user(server))


@pytest.fixture
def check(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    account = {"APPID": "wxfedcba9876543210", "SECRET": "0" * 32, "ALLOWED_HOSTS": "m.example.com"}

    def run(url):
        for name, value in {**account, "STORE": url}.items():
            monkeypatch.setenv(f"WXSIGN_{name}", value)
        return CliRunner().invoke(cli.main, ["check"])

    return run


def test_check_reads_and_writes_the_store(server, check):
    server.ask(*granted())
    result = check(as_user(server))
    assert (result.exit_code, PASSWORD in result.output) == (0, False)
    assert "The store is usable." in result.stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "wrong-0123456789"}, "WRONGPASS"),
        ({"query": "?prefix=another"}, "NOPERM"),
        ({"name": "", "password": ""}, "NOAUTH"),
    ],
)
def test_check_says_why_a_redis_refuses_and_what_to_do_without_the_password(server, check, changes, said):
    server.ask(*granted())
    server.ask("CONFIG", "SET", "requirepass", PASSWORD)
    try:
        result = check(as_user(server, **changes).replace(":@", ""))
    finally:
        server.ask("CONFIG", "SET", "requirepass", "", password=PASSWORD)
    assert result.exit_code == 1
    assert said in result.stderr or (said == "NOAUTH" and "asks for a password" in result.stderr)
    assert "WXSIGN_STORE" in result.stderr or "docs/redis.md" in result.stderr
    assert not re.search(rf"wrong-0123456789|{PASSWORD}", result.output)


def test_check_finds_a_replica_that_answers_and_takes_nothing(check):
    with redis_server("--replicaof", "127.0.0.1 9") as replica:
        result = check(replica.url)
    assert result.exit_code == 1
    assert "read-only replica" in result.stderr
    assert "redis+sentinel://" in result.stderr
