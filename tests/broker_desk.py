"""Brokers at arm's length: workers that share a store, a WeChat that follows a script, and clocks that stand still.

The test is the Watcher: `worker.tick()` makes one look and waits for the fetches that it started.
"""

import itertools
import tempfile
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wxsign.broker import Adopted, CredentialBroker, Surroundings
from wxsign.credentials import CredentialKey, CredentialKind, TokenEndpoint
from wxsign.errors import StoreUnavailable, WeChatRefused, WeChatUnreachable
from wxsign.stores import MemoryStore, SqliteStore
from wxsign.wechat import Granted

START, BOOT = 1_800_000_000.0, 5_000.0
BASE, APP = "https://api.weixin.qq.com", "wx0123456789abcdef"
SHARED_MEMORY = Path("/dev/shm")
PATIENCE_SECONDS = 20.0

TOKEN_PATH, TICKET_PATH, PROBE_PATH = (
    "/cgi-bin/stable_token",
    "/cgi-bin/ticket/getticket",
    "/cgi-bin/get_api_domain_ip",
)
DOWN = WeChatUnreachable("timeout", TOKEN_PATH)


def key(kind=CredentialKind.ACCESS_TOKEN, endpoint=TokenEndpoint.STABLE, app=APP):
    return CredentialKey(BASE, app, kind, endpoint)


TOKEN, TICKET = key(), key(CredentialKind.JSAPI_TICKET)
CLASSIC = key(endpoint=TokenEndpoint.CLASSIC)
CLASSIC_TICKET = key(CredentialKind.JSAPI_TICKET, TokenEndpoint.CLASSIC)


def refused(errcode, path=TOKEN_PATH, errmsg="no rid: 6000-1-2"):
    return WeChatRefused(errcode, errmsg, path)


class Clock:
    """A moment that stands still until moved."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@dataclass(frozen=True)
class Call:
    what: str
    at: float
    app: str = APP
    attempt: int = 0
    force: bool = False
    access_token: str | None = None


class WeChat:
    """The network's edge: answers by script, else with its present values. `what` is a kind, or `probe`."""

    def __init__(self, clock):
        self._clock = clock
        self._lock = threading.Lock()
        self.calls = []
        self.values = {"access_token": "token-1", "jsapi": "ticket-1", "canary": "token-of-the-canary"}
        self.lives = {"access_token": 7200, "jsapi": 7200, "canary": 7200}
        self.script = {what: deque() for what in ("access_token", "jsapi", "canary", "probe")}
        self.always = {}
        self.dead = set()
        self.refuse_ticket_with = set()
        self.secret = "fingerprint-1"

    def fetch(self, key, *, access_token, force, attempt):
        what = str(key.kind)
        answer = self._meet(what, Call(what, self._clock(), key.app_id, attempt, force, access_token))
        if access_token in self.refuse_ticket_with:
            raise refused(40001, TICKET_PATH)
        value = answer or (self.values[what] if key.app_id == APP else f"{what}-of-{key.app_id}")
        return value if isinstance(value, Granted) else Granted(value, self.lives[what])

    def probe(self, key, access_token, *, attempt):
        self._meet("probe", Call("probe", self._clock(), key.app_id, attempt, access_token=access_token))
        if access_token in self.dead:
            raise refused(40001, PROBE_PATH)

    def secret_fingerprint(self, key):
        return self.secret + key.app_id

    def count(self, what):
        return len([call for call in self.calls if call.what == what])

    def gaps(self, what):
        """The seconds between these calls."""
        return [after - before for before, after in itertools.pairwise(self.at(what))]

    def at(self, what):
        """The moments of these calls, in seconds from the first call of all."""
        return [round(call.at - self.calls[0].at, 3) for call in self.calls if call.what == what]

    def _meet(self, what, call):
        with self._lock:
            self.calls.append(call)
            act = self.script[what].popleft() if self.script[what] else self.always.get(what)
        while callable(act) and not isinstance(act, Granted):
            act = act()
        if isinstance(act, Exception):
            raise act
        return act


class Desk:
    """A fleet of workers on one store, with the clocks of its machines."""

    def __init__(self, kind="memory", folder=None):
        self.boot, self.wall = Clock(BOOT), Clock(START)
        self.store = (
            MemoryStore(self.wall) if kind == "memory" else SqliteStore(folder / "wxsign.db", self.wall)
        )
        self.wechat = WeChat(self.wall)
        self.random = 0.5
        self.sleep = lambda _seconds: time.sleep(0.001)
        self.workers = []

    def advance(self, seconds):
        self.boot.now += seconds
        self.wall.now += seconds

    def worker(self, **changes):
        self.workers.append(Worker(self, **changes))
        return self.workers[-1]

    def fleet(self, count=4, **changes):
        return [self.worker(**changes) for _ in range(count)]

    def run(self, seconds, step=1.0):
        """Let time pass for all workers, look by look."""
        for _ in range(round(seconds / step)):
            self.advance(step)
            for worker in self.workers:
                worker.tick()

    def empty_store(self):
        if isinstance(self.store, MemoryStore):
            self.store.__init__(self.wall)
        else:
            self.store.path.unlink()

    def notes(self, *names):
        return self.store.view((), names).notes

    def stored(self, name):
        return self.store.view([name.name]).records.get(name.name)


@contextmanager
def desks(kind):
    """A desk with a store of that kind; SQLite's file lies in memory where it can: fsync costs nothing there."""
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        desk = Desk(kind, Path(folder))
        yield desk
        for worker in desk.workers:
            worker.join()
            worker.broker.stop()


class Worker:
    """One process: a broker whose looks the test makes, and whose threads it can wait for."""

    def __init__(
        self, desk, *, machine="m1", machine_store=None, wechat=None, store=None, watching=False, **broker
    ):
        self._desk = desk
        self._threads = []
        self.refuse_threads = False
        self.events, self.adopted = [], []
        self.broker = CredentialBroker(
            store or desk.store,
            wechat or desk.wechat,
            **broker,
            observers=[self._note],
            surroundings=Surroundings(
                boot_clock=desk.boot,
                wall_clock=desk.wall,
                random=lambda: desk.random,
                sleep=lambda seconds: desk.sleep(seconds),  # noqa: PLW0108 -- a test may change it later
                spawn=self._spawn,
                machine=machine,
                machine_store=machine_store,
            ),
        )
        if not watching:
            self.broker._watcher.stop()

    def _note(self, event):
        (self.adopted if isinstance(event, Adopted) else self.events).append(event)

    def _spawn(self, work):
        if self.refuse_threads:
            raise RuntimeError("can't start new thread")
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        # After its start: who joins may meet a thread that another one is about to start.
        self._threads.append(thread)

    def join(self):
        while self._threads:
            thread = self._threads.pop()
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "a fetch did not end"

    def tick(self):
        self.broker.watch()
        self.join()

    def get(self, name=TICKET):
        return self.broker.get(name).value

    def hold(self, name=TICKET):
        """Get it, and wait until its fetch has cleared away what it had taken."""
        value = self.get(name)
        self.join()
        return value

    def fresh(self, name=TOKEN):
        self.broker.watch()
        return self.broker.get(name).value

    def report(self, rejected, name=TOKEN):
        self.broker.watch()
        held, verified = self.broker.report(name, rejected)
        return held.value, verified

    def outcomes(self):
        return [str(event.outcome) for event in self.events]


class Wire:
    """A store at the end of a wire: it can be cut, be read but not written, or be watched."""

    WRITES = frozenset({"replace", "acquire", "release", "note", "erase", "take", "record_event"})

    def __init__(self, store):
        self.store = store
        self.cut = False
        self.read_only = False
        self.before = lambda _name: None
        self.after = lambda _name: None

    def __getattr__(self, name):
        found = getattr(self.store, name)
        if not callable(found):
            return found

        def call(*arguments, **named):
            self.before(name)
            if self.cut or (self.read_only and name in self.WRITES):
                raise StoreUnavailable(f"cut at {name}")
            result = found(*arguments, **named)
            self.after(name)
            return result

        return call


def together(works):
    """Run all at once in threads; the results in order, exceptions as such."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def run(index, work):
        barrier.wait()
        try:
            results[index] = work()
        except Exception as error:  # noqa: BLE001 -- it is a result
            results[index] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads), "somebody still waits"
    return results


def eventually(happened):
    """Wait for another thread, not for time to pass."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)
