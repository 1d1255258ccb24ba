"""What a fleet asks of its Redis and of WeChat: `python -m bench.scaling`.

The workers are real brokers with a real Redis, in one process. Their clocks run slower than the real one, by `--slower` where
this machine could not keep up, so that any fleet can be tried; figures are for a second of their time. Where not all workers
fit, some of them are made (`--sample`), and what each of them asks is multiplied.
"""

from __future__ import annotations

import heapq
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
from redis import Redis
from redis.exceptions import ConnectionError as RedisUnreachable

from wxsign.broker import CredentialBroker, Surroundings
from wxsign.credentials import Credential, CredentialKey, CredentialKind, TokenEndpoint
from wxsign.stores import open_store
from wxsign.wechat import Granted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LIFE_SECONDS = 7200
TICKET_POLL_SECONDS = 60
CALL_SECONDS = 0.1
# Two looks, a lease, the quota, the record, the lease again.
SCRIPTS_OF_A_FETCH = 10
WARM_UP_SECONDS = 3.0
# So long before anybody would find it due.
AHEAD_SECONDS = 5.0
BASE = "https://api.weixin.qq.com"


class SlowClock:
    """Seconds since the epoch, and real waiting, for a time that runs slower than the real one."""

    def __init__(self, slower: float) -> None:
        self._slower = slower
        self._begun = time.monotonic()
        self._start = float(int(time.time()))

    def __call__(self) -> float:
        return self._start + (time.monotonic() - self._begun) / self._slower

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds) * self._slower)


@dataclass
class WeChat:
    """Answers every call after a tenth of a second with the value that it always has."""

    clock: SlowClock
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, key: CredentialKey, *, access_token: str | None, force: bool, attempt: int) -> Granted:
        del access_token, force, attempt
        with self.lock:
            self.calls += 1
        self.clock.sleep(CALL_SECONDS)
        return Granted(_value(key), LIFE_SECONDS)

    def probe(self, key: CredentialKey, access_token: str, *, attempt: int) -> None:
        del key, access_token, attempt

    def secret_fingerprint(self, key: CredentialKey) -> str:
        return key.app_id


def _value(key: CredentialKey) -> str:
    return f"{key.kind}-of-{key.app_id}-".ljust(100, "x")


@dataclass(frozen=True)
class Load:
    """What the whole fleet asks for in a second of its time."""

    scripts: float
    keys_read: float
    kilobytes: float
    redis_cpu: float
    worker_cpu: float
    wechat_calls_an_hour: float


@dataclass(frozen=True)
class Point:
    """A fleet: so many workers, of which `sample` are made, with so many accounts in use at each."""

    workers: int
    accounts: int
    sample: int
    slower: float
    seconds: float


POINTS = (
    Point(16, 1, sample=16, slower=1, seconds=120),
    Point(200, 100, sample=200, slower=4, seconds=30),
    Point(1000, 10_000, sample=4, slower=10, seconds=10),
)


def keys_of(number: int) -> tuple[CredentialKey, CredentialKey]:
    """Return the keys of an account's token and ticket."""
    token = CredentialKey(BASE, f"wx{number:016d}", CredentialKind.ACCESS_TOKEN, TokenEndpoint.STABLE)
    ticket = CredentialKey(BASE, token.app_id, CredentialKind.JSAPI_TICKET, TokenEndpoint.STABLE)
    return token, ticket


def fill(url: str, clock: SlowClock, accounts: int) -> None:
    """Put credentials in mid-life into the store, their next polls spread over a minute."""
    store, now = open_store(url, clock), clock()
    for number in range(accounts):
        for key in keys_of(number):
            seen_at = now - TICKET_POLL_SECONDS * (number + 0.5) / accounts
            until = now + LIFE_SECONDS / 2
            version = int(now * 1000)
            store.replace(key.name, Credential(_value(key), version, LIFE_SECONDS, seen_at, until, until))


class Workers:
    """Brokers that look once a second, and at once when a fetch of theirs ends, as their Watchers do."""

    def __init__(self, url: str, clock: SlowClock, wechat: WeChat, point: Point) -> None:
        self._clock = clock
        self._turns: list[tuple[float, int]] = []
        self._lock = threading.Lock()
        warm = [ticket for _, ticket in map(keys_of, range(point.accounts))]
        self.brokers = [
            CredentialBroker(
                open_store(url, clock),
                wechat,
                warm=warm,
                maxsize=2 * point.accounts,
                surroundings=Surroundings(boot_clock=clock, wall_clock=clock, sleep=clock.sleep),
            )
            for _ in range(point.sample)
        ]
        for number, broker in enumerate(self.brokers):
            self._take_the_watchers_place(number, broker)

    def run(self, until: float) -> None:
        """Let them look until that moment."""
        begun = self._clock()
        for number in range(len(self.brokers)):
            self._wake(number, begun + number / len(self.brokers))
        while self._turns[0][0] < until:
            with self._lock:
                at, number = heapq.heappop(self._turns)
                self._turns = [turn for turn in self._turns if turn[1] != number]
                heapq.heapify(self._turns)
            self._clock.sleep(at - self._clock())
            self.brokers[number].watch()
            self._wake(number, self._clock() + 1.0)

    def close(self) -> None:
        """Give back every lease."""
        for broker in self.brokers:
            broker.stop()

    def _take_the_watchers_place(self, number: int, broker: CredentialBroker) -> None:
        def wake() -> None:
            self._wake(number, self._clock())

        setattr(broker._watcher, "wake", wake)  # noqa: B010, SLF001 - hundreds of threads of their own would not keep up

    def _wake(self, number: int, at: float) -> None:
        with self._lock:
            heapq.heappush(self._turns, (at, number))


class Others:
    """The workers that are not made: they poll every ticket when it is due, so that those made have nothing to fetch."""

    def __init__(self, url: str, clock: SlowClock, accounts: int) -> None:
        self.calls = 0
        self._store = open_store(url, clock)
        self._clock = clock
        self._accounts = accounts
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop polling."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        begun, number = self._clock(), 0
        while not self._stopped.is_set():
            due = int((self._clock() - begun + AHEAD_SECONDS) * self._accounts / TICKET_POLL_SECONDS)
            while number < due and not self._stopped.is_set():
                # The oldest first.
                self._poll(keys_of(self._accounts - 1 - number % self._accounts)[1])
                number += 1
            self._clock.sleep(0.05)

    def _poll(self, key: CredentialKey) -> None:
        now = self._clock()
        record = Credential(
            _value(key), int(now * 1000) + self.calls, LIFE_SECONDS, now, now + 3600, now + 3600
        )
        self._store.replace(key.name, record)
        self.calls += 1


@contextmanager
def redis_server() -> Iterator[Redis]:
    """Run a Redis of our own that keeps nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        tempfile.TemporaryDirectory() as folder,
        Redis(port=port, protocol=2, decode_responses=True) as client,
    ):
        arguments = [
            "redis-server",
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
            "--save",
            "",
        ]
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command line
        try:
            _wait_for(lambda: bool(client.ping()))
            yield client
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            if ready():
                return
        except RedisUnreachable:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def measured(point: Point) -> Load:
    """Run a fleet for some seconds of its time and return what all of it asked for in a second."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        url = f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}/0"
        clock = SlowClock(point.slower)
        fill(url, clock, point.accounts)
        wechat = WeChat(clock)
        workers = stack.enter_context(closing(Workers(url, clock, wechat, point)))
        sampled = point.sample < point.workers
        others = stack.enter_context(closing(Others(url, clock, point.accounts))) if sampled else None
        workers.run(clock() + WARM_UP_SECONDS)
        before = _totals(redis, wechat, others, clock)
        workers.run(clock() + point.seconds)
        return _load(point, before, _totals(redis, wechat, others, clock))


def _load(point: Point, before: Mapping[str, float], after: Mapping[str, float]) -> Load:
    took = after["clock"] - before["clock"]
    rate = {name: (after[name] - before[name]) / took for name in after}
    # What the others' polls cost stands for itself; what the workers ask is multiplied by how many were not made.
    share = point.workers / point.sample
    fetches = rate["others"]
    return Load(
        scripts=(rate["scripts"] - fetches) * share + fetches * SCRIPTS_OF_A_FETCH,
        keys_read=(rate["keys"] - fetches) * share + fetches * SCRIPTS_OF_A_FETCH,
        kilobytes=rate["bytes"] * share / 1000,
        redis_cpu=rate["cpu"] * share,
        worker_cpu=rate["worker_cpu"] / point.sample,
        wechat_calls_an_hour=(rate["calls"] + rate["others"]) * 3600,
    )


def _totals(redis: Redis, wechat: WeChat, others: Others | None, clock: SlowClock) -> dict[str, float]:
    info: dict[str, Any] = redis.info("all")
    return {
        "clock": clock(),
        "scripts": sum(info.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval")),
        "keys": info["keyspace_hits"] + info["keyspace_misses"],
        "bytes": info["total_net_input_bytes"] + info["total_net_output_bytes"],
        "cpu": info["used_cpu_sys"] + info["used_cpu_user"],
        "worker_cpu": time.process_time(),
        "calls": wechat.calls,
        "others": others.calls if others else 0,
    }


def line(point: Point, load: Load) -> str:
    """Return a row of the table, for the whole fleet."""
    cells = (
        f"{point.workers} × {point.accounts}",
        str(point.sample),
        f"{load.scripts:,.0f}",
        f"{load.keys_read:,.0f}",
        f"{load.kilobytes:,.0f}",
        f"{100 * load.redis_cpu:,.1f} %",
        f"{100 * load.worker_cpu:,.2f} %",
        f"{load.wechat_calls_an_hour:,.0f}",
        f"{load.wechat_calls_an_hour / point.accounts:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


@click.command(help=__doc__)
@click.option("--seconds", default=20.0, show_default=True, help="How long it is watched, in its own time.")
@click.option("--workers", type=click.IntRange(1), help="One fleet of your own instead of the three.")
@click.option("--accounts", default=1, show_default=True, type=click.IntRange(1))
@click.option("--sample", type=click.IntRange(1), help="How many of the workers are made.  [default: all]")
@click.option("--slower", default=1.0, show_default=True, help="How much slower their time runs.")
def main(seconds: float, workers: int | None, accounts: int, sample: int | None, slower: float) -> None:
    """Measure each fleet and print a table."""
    own = Point(workers or 1, accounts, sample or workers or 1, slower, seconds)
    click.echo(
        "| workers × accounts | made | scripts/s | keys read/s | kB/s | Redis CPU | CPU of a worker | WeChat calls/h | per account |"
    )
    click.echo(f"|---|{'---:|' * 8}")
    for point in (own,) if workers else POINTS:
        click.echo(line(point, measured(point)))


if __name__ == "__main__":
    main()
