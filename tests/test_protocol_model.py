"""The protocol against an adversary: any step of any worker at any moment, crashes, lost stores, clocks and thieves.

The brokers and stores are the real ones; the world around them (`protocol_world`) does nothing unless told to, and judges
every step. `LONG_TESTS=1` searches longer.
"""

import os
import sys
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from broker_desk import CLASSIC, SHARED_MEMORY, TOKEN
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from protocol_wechat import FAULTS, MARK
from protocol_world import World

from wxsign.broker.broker import FOLLOW_SECONDS
from wxsign.stores import MemoryStore, SqliteStore

pytestmark = pytest.mark.days

LONG = os.environ.get("LONG_TESTS") == "1"
CONTENTS = ("_generation", "_records", "_leases", "_notes", "_counters")
SOME = st.integers(0, 7)
CALM_SECONDS = 450
# After a step back, a success of before it looks like one of another machine after our failure.
HELD_BACK_SECONDS = 600


class Protocol(RuleBasedStateMachine):
    """One to three workers on one or two machines, with a store in memory."""

    world = None

    def open_store(self, clock):
        self.store = MemoryStore(clock)
        return self.store

    def copy_of_store(self):
        return {name: copy(getattr(self.store, name)) for name in CONTENTS}

    def put_into_store(self, contents):
        for name, value in contents.items():
            setattr(self.store, name, copy(value))

    @initialize(
        life=st.sampled_from([7200, 7200, 600, 120]),
        endpoint=st.sampled_from([TOKEN.endpoint, TOKEN.endpoint, CLASSIC.endpoint]),
        workers=st.sampled_from([1, 2, 3]),
        machines=st.sampled_from([1, 2]),
        skew=st.sampled_from([0.0, 30.0, -30.0]),
        warm=st.booleans(),
    )
    def begin(self, life, endpoint, workers, machines, skew, warm):
        self.world = World(
            self.open_store, life_seconds=life, endpoint=endpoint, workers=workers, machines=machines
        )
        self.world.machines[1].wall_offset = skew
        self.saved = self.nothing = self.copy_of_store()
        if warm:
            for worker in self.world.living:
                self.world.look(worker)
        self.world.stepping = True

    def worker(self, number):
        living = self.world.living
        return living[number % len(living)]

    def of_worker(self, worker, what):
        return [task for task in self.world.tasks if task.worker is worker and task.what == what]

    # what a fleet does

    @rule(number=SOME)
    def a_watcher_looks(self, number):
        worker = self.worker(number)
        if not self.of_worker(worker, "look"):
            self.world.start(worker, "look", worker.broker.watch)

    @rule(number=SOME, token=st.booleans())
    def somebody_asks(self, number, token):
        key = self.world.token_key if token else self.world.ticket_key
        self.world.ask(self.worker(number), key)
        self.world.go_on(self.world.tasks[-1])

    @rule(number=SOME, back=st.integers(0, 2))
    def somebody_reports(self, number, back):
        tokens = list(self.world.wechat.dies_at)
        if tokens:
            self.world.report(self.worker(number), tokens[-1 - back % len(tokens)])

    @rule(stale=st.booleans(), seconds=st.sampled_from([0, 2, 9, 11, 31]))
    def everybody_reports_the_token_of_which_wechat_may_say_that_it_is_dead(self, stale, seconds):
        tokens = list(self.world.wechat.dies_at)
        if tokens:
            if stale:
                self.wechat_fails_once("stale")
            for worker in self.world.living:
                self.world.report(worker, tokens[-1])
            with self.world.swift():
                self.world.finish()
            self.world.let_pass(seconds)

    @precondition(lambda self: self.world and self.world.tasks)
    @rule(number=SOME, steps=st.sampled_from([1, 2, 3, 5, 8, 13, 30]))
    def a_task_goes_on(self, number, steps):
        task = self.world.tasks[number % len(self.world.tasks)]
        for _ in range(steps):
            if task.done:
                break
            self.world.go_on(task)

    @precondition(lambda self: self.world and self.world.tasks)
    @rule(number=SOME)
    def a_task_goes_to_its_end(self, number):
        task = self.world.tasks[number % len(self.world.tasks)]
        with self.world.swift():
            self.world.finish([task])

    @precondition(lambda self: self.world and self.world.tasks)
    @rule(number=SOME, steps=st.integers(0, 8), seconds=st.sampled_from([0, 0, 5.1]))
    def a_task_stalls_under_its_lease_and_the_others_go_on(self, number, steps, seconds):
        task = self.world.tasks[number % len(self.world.tasks)]
        while not (task.done or task.waits or task.lease):
            self.world.go_on(task)
        for _ in range(steps):
            if not (task.done or task.waits):
                self.world.go_on(task)
        self.world.let_pass(seconds)
        with self.world.swift():
            for worker in self.world.living:
                if worker is not task.worker:
                    worker.broker.watch()
            self.world.finish([other for other in self.world.tasks if other.worker is not task.worker])

    @rule()
    def everybody_goes_to_the_end(self):
        with self.world.swift():
            self.world.finish()

    @rule(seconds=st.sampled_from([0.1, 0.5, 1, 2, 3, 5.1, 6, 10, 15, 31, 60, 300, 570, 3600, 6905, 7200]))
    def time_passes(self, seconds):
        self.world.let_pass(seconds)

    # what happens to it

    @rule(number=SOME)
    def a_process_dies_between_two_steps_and_is_started_again(self, number):
        worker = self.worker(number)
        self.world.crash(worker)
        self.world.new_worker(worker.machine)

    @rule(fault=st.sampled_from(sorted(FAULTS)))
    def wechat_fails_once(self, fault):
        # "stale" is WeChat refusing a token that lives.
        self.world.robbed |= fault == "stale"
        self.world.wechat.faults.append(fault)

    @rule(what=st.sampled_from(["force", "token", "ticket"]))
    def another_system_interferes(self, what):
        wechat = self.world.wechat
        self.world.robbed |= what != "ticket"
        {
            "force": lambda: wechat.take_stable(force=True),
            "token": wechat.take_classic,
            "ticket": wechat.rotate_ticket,
        }[what]()

    @rule(jitter=st.sampled_from([0.0, 0.5, 0.99]))
    def chance_changes(self, jitter):
        self.world.jitter = jitter

    @rule(cut=st.booleans())
    def the_store_goes_or_returns(self, cut):
        self.world.cut = cut
        self.world.epoch += cut

    @rule()
    def the_store_takes_a_write_but_its_answer_is_lost(self):
        self.world.losing_answers = 1

    @rule(what=st.sampled_from(["copied", "rolled back", "emptied"]))
    def the_store_is(self, what):
        if what == "copied":
            self.saved = self.copy_of_store()
            return
        self.put_into_store(self.saved if what == "rolled back" else self.nothing)
        self.world.epoch += 1

    @rule(
        which=st.sampled_from(["store", "m1", "m2"]),
        seconds=st.sampled_from([-30, -6, -0.5, 0.5, 6, 30]),
    )
    def a_clock_is_stepped(self, which, seconds):
        if which == "store":
            self.world.step_store_clock(seconds)
        else:
            self.world.set_wall_clock(self.world.machines[which == "m2"], seconds)

    # what must hold

    @precondition(lambda self: self.world and not self.world.cut and not self.world.losing_answers)
    @rule(number=SOME)
    def a_look_puts_back_what_a_process_holds(self, number):
        worker = self.worker(number)
        if self.of_worker(worker, "look"):
            return
        self.world.look(worker)
        # Where a rolled back store shows the generation that was seen last, it takes this long at most.
        self.world.let_pass(FOLLOW_SECONDS)
        self.world.look(worker)
        if self.world.losing_answers or worker.broker.link.lost:
            return
        for key in self.world.keys:
            held, standing = worker.usable(key), self.world.store.view((key.name,)).records.get(key.name)
            assert held is None or standing is not None, f"{worker} holds a {key.kind} that the store lacks"
            assert held is None or standing.version >= held.credential.version, (
                f"the store's {key.kind} is older"
            )

    def teardown(self):
        if self.world is None:
            return
        try:
            if sys.exception() is None:
                self.calm()
        finally:
            self.world.close()

    def calm(self):
        """All faults end; a while later everything is as it should be."""
        world = self.world
        world.cut, world.losing_answers = False, 0
        world.wechat.faults.clear()
        with world.swift():
            world.finish()
            # Rations are by the store's clock: set back, it makes a forced refresh wait so much longer.
            world.run(10 + min(world.stepped_back, HELD_BACK_SECONDS), 1.0)
            for worker in world.living:
                for key in world.keys:
                    assert worker.usable(key), f"{worker} has no {key.kind} ten seconds after the last fault"
            world.run(CALM_SECONDS + (HELD_BACK_SECONDS if world.stepped_back else 0), 10.0)
            for worker in world.living:
                world.look(worker)
        assert not [text for text in world.said if text.startswith("wxsign.fetch_failed")], world.said
        for key in world.keys:
            versions = {worker.broker._near.seat(key).highest for worker in world.living}
            assert versions == {world.store.view((key.name,)).records[key.name].version}, key.kind
        for worker in world.living:
            assert worker.broker._fetches.running == 0
            assert not any(seat.busy or seat.waiting for seat in worker.broker._near.seats())
            assert worker.usable(world.ticket_key).value == world.wechat.ticket
            assert world.wechat.alive(worker.usable(world.token_key).value)
            assert (
                MARK
                not in f"{world.said} {vars(worker.broker)} {vars(worker.broker._near)} {vars(worker.broker._refresher)}"
            )


class SqliteProtocol(Protocol):
    """The same on a file; it lies in memory where it can: fsync costs nothing there."""

    def open_store(self, clock):
        self.folder = TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
        self.store = SqliteStore(Path(self.folder.name) / "wxsign.db", clock)
        return self.store

    def copy_of_store(self):
        return self.store.path.read_bytes() if self.store.path.exists() else None

    def put_into_store(self, contents):
        self.store.path.unlink(missing_ok=True)
        if contents is not None:
            self.store.path.write_bytes(contents)

    def teardown(self):
        try:
            super().teardown()
        finally:
            if self.world is not None:
                self.folder.cleanup()


def profile(examples, steps):
    return settings(
        max_examples=examples * 80 if LONG else examples,
        stateful_step_count=steps * 2 if LONG else steps,
        derandomize=bool(os.environ.get("CI")),
        print_blob=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


TestProtocol = Protocol.TestCase
TestProtocol.settings = profile(50, 50)
TestProtocolOnSqlite = SqliteProtocol.TestCase
TestProtocolOnSqlite.settings = profile(8, 40)
