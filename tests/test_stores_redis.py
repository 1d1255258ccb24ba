"""The Redis store: the conformance suite on a server alone, by TLS, under Sentinels and in a Cluster, and what Redis may do."""

import os
import re
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
import redis
from redis_servers import SERVICE, lossy_line, redis_cluster, redis_server, sentinel_group, tls_server
from running import wait_until
from store_conformance import (
    NAME,
    OTHER,
    START,
    ForeignConformance,
    Rig,
    StoreConformance,
    check_usable,
    credential,
    run_together,
)

from wxsign.errors import StoreUnavailable
from wxsign.stores import Lease, Ration, open_store
from wxsign.stores.redis import KEPT_MILLISECONDS, RedisStore

DOCUMENTATION = Path(__file__).resolve().parents[1] / "docs" / "redis.md"
PASSWORD = "0123456789-secret-0123456789"


class RedisRig(Rig):
    """Its clock can be moved; Redis's own cannot, so that has tests of its own below."""

    def __init__(self, url, client):
        self.url, self.client, self.time = url, client, START
        self.empty()

    def open(self):
        return open_store(self.url, lambda: self.time)

    def advance(self, seconds):
        self.time += seconds

    def empty(self):
        self.client("FLUSHALL")

    def plant(self, name, text, version, schema):
        self.client("SET", f"{{wxsign}}:credential:{name}", text)

    def spoil(self, foreign):
        raw = foreign if isinstance(foreign, bytes) else str(foreign).encode()
        self.client("SET", f"{{wxsign}}:credential:{NAME}", raw)
        self.client("SET", "{wxsign}:generation", raw)
        self.client("SET", f"{{wxsign}}:note:{NAME}", raw + b" text")
        self.client("SET", "{wxsign}:note:m", f"{START + 5} ".encode() + raw)
        for kind in ("lease", "counter"):
            fields = ("number", "holder", "ends_at", "request", "lapsed", "used")
            self.client(
                "HSET", f"{{wxsign}}:{kind}:{NAME}", *(word for field in fields for word in (field, raw))
            )
        self.client("RPUSH", "{wxsign}:events", raw, raw + b" text")


@pytest.fixture(scope="module")
def server():
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def tls():
    with tls_server() as server:
        yield server


@pytest.fixture(scope="module")
def group():
    with sentinel_group() as group:
        yield group


@pytest.fixture(scope="module")
def cluster():
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture
def store(server):
    server.ask("FLUSHALL")
    return open_store(server.url)


class TestRedisStore(StoreConformance, ForeignConformance):
    @pytest.fixture
    def rig(self, server):
        return RedisRig(server.url, server.ask)


class TestRedisStoreByUnixSocket(StoreConformance):
    @pytest.fixture
    def rig(self, server):
        return RedisRig(f"unix://{server.socket}", server.ask)


class TestRedisStoreByTls(StoreConformance):
    @pytest.fixture
    def rig(self, tls):
        return RedisRig(tls.tls_url(), tls.ask)


class TestRedisStoreUnderSentinels(StoreConformance):
    @pytest.fixture
    def rig(self, group):
        return RedisRig(group.url, group.primary.ask)


class TestRedisStoreInACluster(StoreConformance):
    @pytest.fixture
    def rig(self, cluster):
        return RedisRig(cluster.url, cluster.owner.ask)


def lasting(work, seconds=20.0):
    """Repeat until the store answers, as the Watcher does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except StoreUnavailable:
            assert time.monotonic() < deadline, "the store did not come back"
            time.sleep(0.1)


# fail-overs


def test_after_a_fail_over_of_sentinels_the_same_store_finds_the_new_primary():
    with sentinel_group() as group:
        store = open_store(group.url)
        assert store.replace(NAME, credential(1))
        wait_until(lambda: group.replica.ask("EXISTS", f"{{wxsign}}:credential:{NAME}") == 1)
        group.primary.kill()
        group.sentinels[0].kill()
        assert lasting(lambda: store.replace(NAME, credential(2, "after")))
        assert group.replica.ask("INFO", "replication")["role"] == "master"
        assert store.view([NAME]).records[NAME].value == "after"
        assert open_store(group.url).view([NAME]).records[NAME].value == "after"


def test_a_primary_that_was_demoted_is_left_at_the_next_write():
    with sentinel_group() as group:
        store = open_store(group.url)
        store.note("n", "1", 60)
        group.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
        wait_until(lambda: group.replica.ask("INFO", "replication")["role"] == "master")
        lasting(lambda: store.note("n", "2", 60))
        assert store.view((), ["n"]).notes == {"n": "2"}
        assert group.replica.ask("INFO", "replication")["role"] == "master"


def test_a_lost_node_of_a_cluster_is_replaced_by_its_replica_for_the_same_store():
    with redis_cluster() as cluster:
        store = open_store(cluster.url)
        assert store.replace(NAME, credential(1))
        wait_until(lambda: cluster.owner.ask("WAIT", 1, 100) == 1)
        cluster.owner.kill()
        assert lasting(lambda: store.replace(NAME, credential(2, "after")))
        assert store.view([NAME]).records[NAME].value == "after"


def test_all_keys_of_a_store_share_one_slot_whatever_the_prefix(cluster):
    cluster.owner.ask("FLUSHALL")
    for prefix in ("wxsign", "a", "b.2", "prod:eu"):
        store = open_store(f"{cluster.url}?prefix={prefix}")
        assert store.replace(NAME, credential(1))
        store.note("n", "text", 60)
        store.note("m", "text", 60)
        assert store.view((), ["n", "m"]).notes == {"n": "text", "m": "text"}
        assert store.acquire(NAME, "a", 5, 0)


def test_slots_that_moved_are_followed(cluster):
    cluster.owner.ask("FLUSHALL")
    store = open_store(cluster.url)
    store.erase(["n"])
    other = next(node for node in cluster.nodes[:3] if node is not cluster.owner)
    slot = cluster.owner.ask("CLUSTER", "KEYSLOT", "{wxsign}")
    for owner in (other, cluster.owner):
        for node in (other, cluster.owner):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", owner.ask("CLUSTER", "MYID"))
        store.note("n", "text", 60)
        assert owner.ask("EXISTS", "{wxsign}:note:n") == 1
        store.erase(["n"])


# connections


def test_a_connection_that_was_closed_meanwhile_is_not_noticed(server, store):
    store.note("n", "text", 60)
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert store.view((), ["n"]).notes == {"n": "text"}


def test_scripts_that_redis_forgot_are_sent_again(server, store):
    store.note("n", "text", 60)
    server.ask("SCRIPT", "FLUSH")
    assert store.view((), ["n"]).notes == {"n": "text"}


def test_a_redis_that_was_restarted_empty_is_used_at_once():
    with redis_server() as server:
        store = open_store(server.url)
        store.replace(NAME, credential(1))
        server.kill()
        with pytest.raises(StoreUnavailable):
            store.generation()
        server.start()
        assert store.generation() == 0
        assert store.replace(NAME, credential(1))


def test_a_redis_that_hangs_keeps_nobody_longer_than_the_timeout():
    with redis_server() as server:
        store = open_store(server.url)
        store.note("n", "text", 60)
        server.signal(signal.SIGSTOP)
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                store.generation()
            assert time.monotonic() - started < 1.9
        server.signal(signal.SIGCONT)
        assert store.view((), ["n"]).notes == {"n": "text"}


def test_many_threads_share_a_store(store):
    def work(name):
        for number in range(1, 30):
            assert store.replace(name, credential(number))
            assert store.view([name]).records[name].version == number

    run_together([lambda name=f"t{number}": work(name) for number in range(8)])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_store_used_before_a_fork_works_on_both_sides_over_connections_of_their_own(server, store):
    store.replace(NAME, credential(1))
    child = os.fork()
    if child == 0:  # no exception may leave here: it would go on with the parent's tests
        works = 1
        with suppress(Exception):
            works = 0 if all(store.replace(OTHER, credential(number)) for number in range(1, 50)) else 1
        os._exit(works)
    assert all(store.replace(NAME, credential(number)) for number in range(2, 50))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {found.version for found in store.view([NAME, OTHER]).records.values()} == {49}


def test_nothing_is_opened_before_the_first_use():
    assert "127.0.0.1:9" in repr(open_store("redis://127.0.0.1:9"))
    assert "secret" not in repr(open_store(f"redis://:{PASSWORD}@127.0.0.1:9"))


def test_nobody_without_a_redis_url_imports_the_client():
    code = "import sys, wxsign.service, wxsign.settings; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Redis's own clock


def test_time_is_that_of_redis(store):
    assert store.now() == pytest.approx(time.time(), abs=1)
    lease = store.acquire(NAME, "a", 0.2, 0)
    assert lease.granted_at == pytest.approx(time.time(), abs=1)
    assert lease.number >= int(lease.granted_at * 1000) - 1
    assert store.acquire(NAME, "b", 0.2, 0) is None
    wait_until(lambda: store.acquire(NAME, "b", 0.2, 0) is not None)


def test_the_generation_is_never_below_the_clock_in_milliseconds(store):
    before = int(store.now() * 1000) - 1000
    store.replace(NAME, credential(1))
    assert before < store.generation() < before + 60_000


def test_now_is_carried_on_from_the_last_answer(server, store):
    store.view([NAME])
    asked = server.ask("INFO", "stats")["total_commands_processed"]
    moments = [store.now() for _ in range(10)]
    assert moments == sorted(moments)
    # The client that asks counts for a few commands itself.
    assert server.ask("INFO", "stats")["total_commands_processed"] - asked < 8


def test_now_fails_where_redis_never_answered():
    with pytest.raises(StoreUnavailable):
        open_store("redis://127.0.0.1:9").now()


# what stays behind


def test_every_key_but_the_generation_and_the_events_goes_away_by_itself(server, store):
    store.replace(NAME, credential(1))
    store.acquire(NAME, "a", 5, 0)
    store.note("n", "text", 5)
    store.take([Ration("c", 1, 30)])
    store.record_event("e")
    left = {key: server.ask("PTTL", key) for key in server.ask("KEYS", "*")}
    assert set(left) == {
        "{wxsign}:generation",
        f"{{wxsign}}:credential:{NAME}",
        f"{{wxsign}}:lease:{NAME}",
        "{wxsign}:note:n",
        "{wxsign}:counter:c",
        "{wxsign}:events",
    }
    assert {key for key, milliseconds in left.items() if milliseconds == -1} == {
        "{wxsign}:generation",
        "{wxsign}:events",
    }
    assert 0 < left[f"{{wxsign}}:credential:{NAME}"] <= KEPT_MILLISECONDS
    assert 5_000 < left["{wxsign}:note:n"] <= 65_000
    assert 30_000 < left["{wxsign}:counter:c"] <= 90_000


def test_stores_of_different_prefixes_do_not_meet(server, store):
    other = open_store(f"{server.url}?prefix=staging")
    store.replace(NAME, credential(1))
    assert other.view([NAME]).records == {}
    assert other.generation() == 0


def test_a_key_of_any_other_type_counts_as_missing_and_is_replaced(server):
    keys = [f"{{wxsign}}:{kind}:{NAME}" for kind in ("credential", "lease", "note", "counter")]
    for words in (("SET",), ("RPUSH",), ("HSET", "field"), ("SADD",), ("ZADD", "1"), ("XADD", "*", "field")):
        server.ask("FLUSHALL")
        for key in (*keys, "{wxsign}:generation", "{wxsign}:events"):
            server.ask(words[0], key, *words[1:], "x")
        store = open_store(server.url)
        store.release(Lease(NAME, "a", 1, 0.0))
        check_usable(store)


def test_every_operation_is_one_round_trip(server, store):
    versions = count(1)
    operations = {
        "view": lambda: store.view([NAME, OTHER], ["n", "m"]),
        "generation": store.generation,
        "replace": lambda: store.replace(NAME, credential(next(versions))),
        "acquire": lambda: store.acquire(NAME, "a", 5, 0),
        "note": lambda: store.note("n", "text", 5),
        "take": lambda: store.take([Ration("c", 1, 5)]),
        "used": lambda: store.used(["c", "d"]),
        "record_event": lambda: store.record_event("e"),
        "events": store.events,
    }
    for name, work in operations.items():
        work()
        server.ask("CONFIG", "RESETSTAT")
        work()
        calls = server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
        assert calls == 1, name


# an answer that is lost on its way


@pytest.fixture
def lossy(server, store):
    """A store whose next answer can be lost: what was asked has been done by then, and is tried again."""
    with lossy_line(server.port) as line:
        lossy = open_store(f"redis://127.0.0.1:{line.port}", lambda: START)
        # Redis shall know the scripts: the answer that it does not is the first one else.
        lossy.acquire(OTHER, "a", 5, 0)
        lossy.take([Ration("another", 1, 30)])
        lossy.replace(OTHER, credential(1))
        lossy.record_event("before")

        def once_lost(work):
            line.losing = True
            answer = work(lossy)
            assert not line.losing, "the answer was lost"
            return answer

        yield once_lost


def test_a_lease_whose_grant_was_lost_is_the_askers_and_nobody_elses(server, lossy):
    store = open_store(server.url, lambda: START)
    lease = lossy(lambda store: store.acquire(NAME, "a", 5, 0))
    assert lease.granted_at == pytest.approx(START)
    assert not lease.follows_lapse
    assert store.acquire(NAME, "a", 5, 0) is None, "not for another request of the same holder"
    store.release(lease)
    assert store.acquire(NAME, "b", 5, 0).number == lease.number + 1


def test_a_lease_whose_grant_was_lost_tells_that_the_one_before_it_lapsed(server, lossy):
    open_store(server.url, lambda: START - 6).acquire(NAME, "killed", 5, 0)
    assert lossy(lambda store: store.acquire(NAME, "a", 5, 0)).follows_lapse


def test_a_use_whose_grant_was_lost_is_counted_once(server, lossy):
    store = open_store(server.url, lambda: START)
    assert lossy(lambda store: store.take([Ration("c", 1, 30)])) == 0.0
    assert store.take([Ration("c", 1, 30)]) > 0
    assert lossy(lambda store: store.take([Ration("c", 1, 30)])) > 0
    assert store.used(["c"]) == {"c": 1}


def test_a_replacement_whose_answer_was_lost_is_told_as_what_it_was(server, lossy):
    store = open_store(server.url, lambda: START)
    assert lossy(lambda store: store.replace(NAME, credential(5, "ours")))
    generation = store.generation()
    assert not lossy(lambda store: store.replace(NAME, credential(4, "lower")))
    assert not store.replace(NAME, credential(5, "ours")), "only what was lost is told again"
    assert store.generation() == generation


def test_an_event_whose_answer_was_lost_is_recorded_once(server, lossy):
    store = open_store(server.url, lambda: START)
    lossy(lambda store: store.record_event("told"))
    assert [text for _, text in store.events()] == ["before", "told"]
    store.record_event("told")
    assert [text for _, text in store.events()] == ["before", "told", "told"]


# every trouble says its cause and the remedy, and no password


def trouble(url, work=lambda store: store.note("n", "text", 5)):
    """What a store says that cannot be used."""
    with pytest.raises(StoreUnavailable) as raised:
        work(RedisStore(url))
    told = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert "secret" not in told
    assert raised.value.hint.en != raised.value.hint.zh
    return f"{raised.value.detail} · {raised.value.hint.en}"


def usable(url):
    """Whether a store can at least be read."""
    return RedisStore(url).now() > 0


def with_login(server, login):
    return server.url.replace("redis://", f"redis://{login}@")


def test_a_wrong_password_is_named():
    with redis_server("--requirepass", PASSWORD) as server:
        assert "asks for a password" in trouble(server.url)
        assert "refuses the user or password" in trouble(with_login(server, f":not-{PASSWORD}"))
        assert "refuses the user or password" in trouble(with_login(server, f"nobody:{PASSWORD}"))
        assert usable(with_login(server, f":{PASSWORD}"))
        assert usable(with_login(server, f"default:{PASSWORD}"))


def test_a_password_that_was_not_asked_for_is_named(server):
    assert "refuses the user or password" in trouble(with_login(server, f":{PASSWORD}"))


def test_a_user_without_a_needed_command_is_named(server):
    server.ask("ACL", "SETUSER", "poor", "on", f">{PASSWORD}", "~*", "+@all", "-evalsha", "-eval")
    assert "NOPERM" in trouble(with_login(server, f"poor:{PASSWORD}"))
    server.ask("ACL", "SETUSER", "inner", "on", f">{PASSWORD}", "~*", "+@all", "-set")
    assert "NOPERM" in trouble(with_login(server, f"inner:{PASSWORD}"))
    server.ask("ACL", "SETUSER", "keys", "on", f">{PASSWORD}", "~elsewhere:*", "+@all")
    assert "NOPERM" in trouble(with_login(server, f"keys:{PASSWORD}"))


def test_the_rights_that_the_documentation_grants_are_enough(server, store):
    text = DOCUMENTATION.read_text(encoding="utf-8")
    words = re.search(r"ACL SETUSER wxsign (on .*?)```", text, re.DOTALL)[1].split()
    server.ask("ACL", "SETUSER", "just", "reset", *words)
    password = next(word.removeprefix(">") for word in words if word.startswith(">"))
    store = open_store(with_login(server, f"just:{password}"))
    assert store.replace(NAME, credential(1))
    store.release(store.acquire(NAME, "a", 5, 0))
    store.note("n", "text", 5)
    store.erase(["n"])
    store.take([Ration("c", 1, 5)])
    store.record_event("e")
    assert (
        store.used(["c"]),
        len(store.events()),
        len(store.view([NAME]).records),
        store.view((), ["n"]).notes,
    ) == (
        {"c": 1},
        1,
        1,
        {},
    )


def test_a_redis_without_eval_is_named():
    with redis_server("--rename-command", "EVALSHA", "", "--rename-command", "EVAL", "") as server:
        assert "lacks a needed command" in trouble(server.url)


def test_a_read_only_replica_can_be_read_and_says_what_it_is(server):
    with redis_server("--replicaof", "127.0.0.1 9") as replica:
        assert usable(replica.url)
        assert "read-only replica" in trouble(replica.url)


def test_a_full_memory_is_named_and_does_not_keep_from_reading():
    with redis_server() as server:
        store = open_store(server.url)
        store.replace(NAME, credential(1))
        server.ask("CONFIG", "SET", "maxmemory", "1")
        assert "memory is full" in trouble(server.url)
        assert store.view([NAME]).records == {NAME: credential(1)}
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert store.replace(NAME, credential(2))


def test_a_full_disk_of_redis_is_named():
    with redis_server("--dbfilename", "full.rdb", "--save", "3600 1000000") as server:
        # Where it should save, nothing can be written: to Redis the same as a disk without room.
        (server.here / "full.rdb").mkdir()
        server.ask("BGSAVE")
        wait_until(lambda: server.ask("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
        assert "cannot save to its disk" in trouble(server.url)
        assert usable(server.url)
        server.kill()  # asked to end, it would insist on saving first


def test_too_few_replicas_are_named():
    with redis_server("--min-replicas-to-write", 1) as server:
        assert "too few replicas" in trouble(server.url)


def test_too_many_clients_are_named(server):
    with redis.Redis(port=server.port, protocol=2) as holder:
        holder.config_set("maxclients", 1)
        try:
            assert "as many clients as it takes" in trouble(server.url)
        finally:
            holder.config_set("maxclients", 1000)


def test_a_node_of_a_cluster_without_its_scheme_is_named(cluster):
    other = next(node for node in cluster.nodes[:3] if node is not cluster.owner)
    assert "redis+cluster://" in trouble(other.url)


def test_a_cluster_that_is_none_works_as_a_single_node(server):
    assert usable(f"redis+cluster://127.0.0.1:{server.port}")


def test_a_database_that_does_not_exist_is_named(server):
    assert "no database of that number" in trouble(f"redis://127.0.0.1:{server.port}/4000")


def test_a_port_where_nothing_listens_is_named():
    assert "connection refused" in trouble(f"redis://:{PASSWORD}@127.0.0.1:9")
    assert "no socket of that path" in trouble("unix:///nowhere/redis.sock")


def test_a_name_that_cannot_be_resolved_is_named():
    assert "cannot be resolved" in trouble("redis://redis.invalid")


def test_a_service_that_no_sentinel_knows_is_named(group):
    assert "service name" in trouble(group.url.replace(SERVICE, "another"))
    hosts = ",".join(["127.0.0.1:9", *(f"127.0.0.1:{sentinel.port}" for sentinel in group.sentinels[1:])])
    assert usable(f"redis+sentinel://{hosts}/{SERVICE}")
    assert "connection refused" in trouble(f"redis+sentinel://127.0.0.1:9/{SERVICE}")


def test_sentinels_may_have_a_login_of_their_own(group):
    for sentinel in group.sentinels:
        sentinel.ask("ACL", "SETUSER", "default", "resetpass", f">{PASSWORD}")
    try:
        assert "asks for a password" in trouble(group.url)
        assert usable(f"{group.url}?sentinel_password={PASSWORD}")
    finally:
        for sentinel in group.sentinels:
            sentinel.ask("ACL", "SETUSER", "default", "nopass", password=PASSWORD)


def test_tls_that_does_not_fit_is_named(tls):
    assert usable(tls.tls_url())
    assert "not trusted here" in trouble(tls.tls_url(ca="other-ca"))
    assert "this client's TLS certificate" in trouble(tls.tls_url(client=""))
    assert "this client's TLS certificate" in trouble(tls.tls_url(client="stranger"))
    assert "TLS file" in trouble(tls.tls_url(ca="absent"))
    plain = tls.tls_url().replace(str(tls.tls_port), str(tls.port))
    assert "does not speak TLS" in trouble(plain)
    assert "closed the connection" in trouble(f"redis://127.0.0.1:{tls.tls_port}")


def test_a_certificate_of_another_host_is_refused_unless_told_otherwise():
    with tls_server("elsewhere") as tls:
        assert "not trusted here" in trouble(tls.tls_url())
        assert usable(tls.tls_url(more="&ssl_check_hostname=false"))
