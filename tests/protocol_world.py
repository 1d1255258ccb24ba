"""A world for brokers in which nothing happens by itself: no time passes and no thread goes on unless told to.

Every piece of work of a worker (a look, a request, a fetch) is a `Task` that stops before each step it makes with the
store, before and after each call of WeChat, and wherever it waits. Whoever drives the world says which task goes on.
Meanwhile the world itself judges every step: what is served, what is called, what replaces what.
"""

import logging
from contextlib import contextmanager
from types import SimpleNamespace

from broker_desk import BOOT, START, TICKET, TOKEN
from protocol_lines import StoreLine, UpstreamLine
from protocol_tasks import Task, Turnstile, shut_gate
from protocol_wechat import WeChat

from wxsign.broker import CredentialBroker, Surroundings
from wxsign.broker.link import CALL_SECONDS, LEASE_SECONDS
from wxsign.broker.reports import FORCE_GAP_SECONDS
from wxsign.broker.seat import REPORT_LAG_SECONDS
from wxsign.broker.waiting import FREE_WAIT_SECONDS
from wxsign.credentials import LONG_AGO, RefreshNeed, adopted, needed_by, sort_of
from wxsign.errors import CredentialUnavailable

A_LITTLE = 0.01


class ViolationError(AssertionError):
    """A judge of the world found something wrong, maybe where the code under test swallows exceptions."""


class Worker:
    """One process: a real broker, on a line to the store and a line to WeChat that stop at every step."""

    def __init__(self, world, number, machine):
        self.world, self.name, self.machine, self.dead = world, f"w{number}", machine, False
        self.broker = CredentialBroker(
            StoreLine(self),
            UpstreamLine(self),
            warm=[world.ticket_key],
            surroundings=Surroundings(
                boot_clock=self.boot,
                wall_clock=lambda: world.true + machine.wall_offset,
                random=lambda: world.jitter,
                sleep=lambda seconds: world.stop("sleep", seconds),
                spawn=lambda work: world.start(self, "fetch", work),
                machine=machine.name,
            ),
        )
        self.broker._watcher.stop()
        self.broker._near.changed = Turnstile(self)
        self.highest = {}

    def __repr__(self):
        return self.name

    def boot(self):
        return self.world.true - START + self.machine.boot

    def usable(self, key):
        return self.broker._near.usable(key)

    def check(self):
        """What must hold of a process after every step."""
        near = self.broker._near
        for key in self.world.keys:
            highest = near.seat(key).highest
            assert highest >= self.highest.get(key.name, 0), f"{self} forgot a version"
            self.highest[key.name] = highest
            held = near.usable(key)
            assert held is None or held.credential.version == highest, f"{self} serves an older version"


class World:
    """Machines, their workers, one store and one WeChat. `true` is the time that no clock of the fleet need show."""

    def __init__(self, open_store, *, life_seconds=7200, endpoint=TOKEN.endpoint, workers=2, machines=2):
        self.true, self.store_offset, self.jitter = START, 0.0, 0.5
        self.back, self.running, self.stepping = shut_gate(), None, False
        self.tasks, self.workers, self.violation = [], [], None
        self.store = open_store(lambda: self.true + self.store_offset)
        self.cut, self.losing_answers = False, 0
        # Leases and intervals count only within an epoch: when the store is lost or its clock is stepped, a new one begins.
        self.epoch, self.stepped_back, self.stepped = 0, 0.0, False
        self.robbed, self.longest_grant = False, 0.0
        self.ticket_key = TICKET.__class__(TICKET.api_base, TICKET.app_id, TICKET.kind, endpoint)
        self.token_key = needed_by(self.ticket_key)
        self.keys = (self.token_key, self.ticket_key)
        self.wechat = WeChat(self, life_seconds)
        self.machines = [
            SimpleNamespace(name="m1", boot=BOOT, wall_offset=0.0),
            SimpleNamespace(name="m2", boot=900_000.0, wall_offset=0.0),
        ]
        self.said = []
        self._log = _Listener(self.said)
        self._logger = logging.getLogger("wxsign")
        self._logger.addHandler(self._log)
        for _ in range(workers):
            self.new_worker(self.machines[len(self.workers) % machines])

    def close(self):
        self._logger.removeHandler(self._log)
        for worker in self.workers:
            self.crash(worker)

    # clocks

    def let_pass(self, seconds):
        self.true += seconds

    def step_store_clock(self, seconds):
        self.store_offset += seconds
        self.stepped_back += max(0.0, -seconds)
        self.stepped = True
        self.epoch += 1

    def set_wall_clock(self, machine, offset):
        self.stepped_back += max(0.0, machine.wall_offset - offset)
        machine.wall_offset = offset

    # workers and their tasks

    def new_worker(self, machine):
        self.workers.append(Worker(self, len(self.workers), machine))
        return self.workers[-1]

    @property
    def living(self):
        return [worker for worker in self.workers if not worker.dead]

    def crash(self, worker):
        worker.dead = True
        for task in [task for task in self.tasks if task.worker is worker]:
            while not task.done:
                task.resume()
            self.tasks.remove(task)

    def start(self, worker, what, work):
        self.tasks.append(Task(self, worker, what, work))

    def demand(self, fact, *what):
        """Let the run fail unless `fact`."""
        if not fact and self.violation is None:
            self.violation = ViolationError("; ".join(map(str, what)))

    def stop(self, at, wait_seconds=None):
        if self.running is None:
            assert wait_seconds is None, f"{at} outside of a task"
            return
        self.running.stop(at, wait_seconds)

    def go_on(self, task):
        task.resume()
        if task.done:
            self.tasks.remove(task)
        for worker in self.living:
            worker.check()
        if self.violation is not None:
            raise self.violation

    @contextmanager
    def swift(self):
        """Tasks stop only where they wait."""
        before, self.stepping = self.stepping, False
        try:
            yield
        finally:
            self.stepping = before

    def finish(self, tasks=None):
        """Run the tasks, and what they start, to their ends."""
        for _ in range(20_000):
            left = [task for task in self.tasks if tasks is None or task in tasks]
            if not left:
                return
            ready = [task for task in left if not task.waits]
            # Who waits may wait for one that is not among `tasks`: its wait then ends by time.
            self.go_on(ready[0] if ready else min(left, key=lambda task: task.until))
        raise AssertionError(f"these tasks do not end: {self.tasks}")

    def look(self, worker):
        """A whole look of one worker, with everything it starts."""
        with self.swift():
            worker.broker.watch()
            self.finish([task for task in self.tasks if task.worker is worker])
        worker.check()

    def run(self, seconds, step=1.0):
        """Let time pass for all, look by look."""
        until = self.true + seconds
        while self.true < until:
            self.let_pass(step)
            for worker in self.living:
                self.look(worker)

    def ask(self, worker, key):
        """A request for a credential; judged when it ends."""

        def work():
            task = self.running
            at_once, began = worker.usable(key) is not None, self.true
            crowded = worker.broker._near.seat(key).waiting > 0
            try:
                held = worker.broker.get(key)
            except CredentialUnavailable as error:
                self.demand(worker.usable(key) is None, "503 while something usable is held")
                waited = self.true - began
                self.demand(
                    error.cause or crowded or waited >= FREE_WAIT_SECONDS, "503 without a cause, and at once"
                )
                self.said.append(f"{error} {error!r} {error.cause!r}")
                return
            self.judge_served(worker, key, held)
            self.demand(not (at_once and task.steps), "somebody waited who need not")

        self.start(worker, f"get {key.kind}", work)

    def report(self, worker, rejected):
        """A report of a rejected token; judged when it ends."""
        key = self.token_key

        def work():
            known, arrived_at = worker.broker._near.seat(key).highest, self.true
            arrived_boot = worker.boot()
            try:
                held, verified = worker.broker.report(key, rejected)
            except CredentialUnavailable:
                return
            # Unverified it may come back only where WeChat was asked for a new one, and gave it again.
            verdict = worker.broker._near.seat(key).verdict
            given_again = (
                verdict and not verdict.error and verdict.asked_at >= arrived_boot - REPORT_LAG_SECONDS
            )
            asked = verified or given_again or held.credential.version > known
            self.demand(asked or held.value != rejected, "a reported token came back unverified")
            if verified:
                self.judge_verified(rejected, arrived_at)
            self.judge_served(worker, key, held)

        self.start(worker, "report", work)

    # judgement

    def judge_served(self, worker, key, held):
        self.demand(
            worker.broker.now(held) < held.credential.usable_until, f"{worker} served an expired {key.kind}"
        )
        # A process that starts after the store's clock was stepped back cannot know of the step.
        limit = self.wechat.believed_until[held.value] + self.stepped_back + A_LITTLE
        self.demand(
            self.true < limit, f"{worker} served a {key.kind} {self.true - limit:.3f} s after its end"
        )
        if (
            key == self.token_key
            and key.endpoint == TOKEN.endpoint
            and not (self.robbed or self.stepped_back)
        ):
            self.demand(self.wechat.alive(held.value), f"{worker} served a dead token that nobody had killed")

    def judge_verified(self, token, arrived_at):
        """A verdict is asked for after the report's own call could have failed."""
        tried = [call for call in self.wechat.calls if call.what == "probe" and call.used == token]
        found = [call for call in tried if call.outcome == "answered"]
        since = min((arrived_at - call.sent_at for call in found), default=1e9)
        limit = REPORT_LAG_SECONDS + self.longest_grant + 0.1 + self.stepped_back
        self.demand(since <= limit, "verified by what was asked before the report's own call", since)

    def judge_replaced(self, before, name, wanted, *, done):
        after = self.store.view((name,)).records.get(name)
        self.demand(after is not None, "what stood there is gone")
        self.demand(
            before is None or after.version >= before.version, "a lower version replaced a higher one"
        )
        lease = self.running and self.running.lease
        own = lease and (lease.name, lease.number) == (name, wanted.version)
        self.demand(done or not own or not self.holds(lease), "the holder of the lease was refused")
        # Who fetched without the store could not know since when another knew the same ticket.
        if before and own and after.value == before.value and not self.stepped:
            late = 1 + self.longest_grant
            self.demand(
                after.latest_expiry <= before.latest_expiry + late, "the same value was given a longer life"
            )

    def covered(self, call):
        """Whether a call is made under a lease that holds."""
        return call.lease is not None and self.holds(call.lease)

    def holds(self, lease):
        return lease.epoch == self.epoch and self.store.now() - lease.granted_at < LEASE_SECONDS

    def judge_call(self, call):
        if not self.covered(call):
            return
        left = call.lease.granted_at + LEASE_SECONDS - self.store.now()
        self.demand(left >= CALL_SECONDS - A_LITTLE, "a call that may outlive its lease", call, left)
        others = [other for other in self.wechat.in_flight if other.key == call.key and self.covered(other)]
        self.demand(not others, "two calls in flight for one credential", call, *others)
        before = [
            other
            for other in self.wechat.calls
            if other.key == call.key and other.lease and other.lease.epoch == self.epoch
        ]
        if call.what == "probe":
            self._judge_probe(call, [other for other in before if other.what == "probe"])
            return
        if call.what == "force":
            forced = [other for other in before if other.what == "force"]
            self.demand(
                all(self._since(other, call) >= FORCE_GAP_SECONDS - A_LITTLE for other in forced),
                "forced too soon",
            )
        self._judge_need(call)
        self._judge_backoff(call, [other for other in before if other.what != "probe"])

    def _since(self, other, call):
        return call.lease.granted_at - other.lease.granted_at

    def _judge_probe(self, call, before):
        alive = [other for other in before if other.used == call.used and other.outcome == "answered"]
        for other in alive:
            self.demand(
                self._since(other, call) >= REPORT_LAG_SECONDS - A_LITTLE,
                "asked again about a token just found alive",
            )

    def _judge_need(self, call):
        """A call is made only where what stands in the store needs it, or WeChat has refused that very token."""
        standing = self.store.view((call.key.name,)).records.get(call.key.name)
        now = call.lease.granted_at
        record = standing and adopted(standing, now)
        held = call.worker.broker._near.seat(call.key).last
        if held and held.credential.started_at == LONG_AGO:
            return  # It was adopted as a record from the future, before the clock was stepped back to it.
        # Who held it before the clock was stepped back knows better how long ago that was; who waited for the lease
        # counts from before it.
        late = self.stepped_back + self.longest_grant + 1
        if sort_of(call.key).need(record, now + late) is RefreshNeed.NONE:
            self.demand(call.key == self.token_key, f"a {call.what} call without need: {record}")
            self.demand(record.value in self.wechat.refused, f"a {call.what} call without need: {record}")

    def _judge_backoff(self, call, before):
        failed = [
            other for other in before if other.outcome not in {"answered", "in flight", "invalid_credential"}
        ]
        # A machine without a network holds back no other.
        here = call.worker.machine
        failed = [
            other for other in failed if other.outcome != "wechat_connect" or other.worker.machine is here
        ]
        for other in failed:
            self.demand(self._since(other, call) >= 0.5 - A_LITTLE, "no backoff", other, call)


class _Listener(logging.Handler):
    def __init__(self, said):
        super().__init__(level=logging.DEBUG)
        self._said = said

    def emit(self, record):
        self._said.append(f"{record.getMessage()} {getattr(record, 'fields', '')}")
        if record.exc_info:
            self._said.append(repr(record.exc_info[1]))
