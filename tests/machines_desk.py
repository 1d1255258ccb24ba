"""Whole services on machines of their own: each has its clocks, its settings, may sleep, and can be restarted alone."""

from dataclasses import replace

from service_desk import BOOT, ServiceDesk

from wxsign.broker import Surroundings
from wxsign.service import WxSign
from wxsign.stores import MemoryStore


class Machines(ServiceDesk):
    """One worker on each of several machines, on one store with a clock of its own, or `apart` on a store each."""

    def __init__(self, machines=2, *, skews=None, store=MemoryStore, apart=False, options=None, **more):
        self.skews = list(skews or [0] * machines)
        self.store_step = 0.0
        self.asleep = set()
        self._make_store, self._apart = store, apart
        self._options = {} if options is None else options
        super().__init__(workers=len(self.skews), **more)

    def store_clock(self):
        return self.wall() + self.store_step

    def start_afresh(self, workers):
        self.configured = [self.settings] * workers
        self.store = self._make_store(self.store_clock)
        self.stores = [
            self._make_store(self.store_clock) if self._apart else self.store for _ in range(workers)
        ]
        self.services = [self._process(number) for number in range(workers)]

    def configure(self, *numbers, **changes):
        """Change the account on these machines, or all: it counts from their next restart."""
        for number in numbers or range(len(self.configured)):
            account = replace(self.configured[number].accounts[0], **changes)
            self.configured[number] = replace(self.configured[number], accounts=(account,))

    def restart(self, *numbers):
        for number in numbers or range(len(self.services)):
            self.services[number] = self._process(number)

    def machine_of(self, number):
        return f"m{number}"

    def machine_store_of(self, number):
        """None: each process is by itself while the store is away."""

    def _process(self, number):
        surroundings = Surroundings(
            boot_clock=lambda: BOOT * (number + 1) + self.seconds,
            wall_clock=lambda: self.wall() + self.skews[number],
            random=lambda: 0.5,
            sleep=lambda _seconds: None,
            spawn=self._spawn,
            machine=self.machine_of(number),
            machine_store=self.machine_store_of(number),
        )
        service = WxSign(
            self.configured[number],
            client=self.client,
            open_store=lambda _url: self.stores[number],
            surroundings=surroundings,
            **self._options,
        )
        service.broker._watcher.stop()
        return service

    def tick(self):
        everybody = self.services
        self.services = [service for number, service in enumerate(everybody) if number not in self.asleep]
        super().tick()
        self.services = everybody

    def pass_time(self, seconds, step=1.0):
        for _ in self.run(seconds, step):
            pass

    def until(self, moment, step=1.0):
        self.pass_time(moment - self.seconds, step)

    def all_calls(self):
        return {name: self.calls(name) for name in ("stable_token", "token", "getticket")}

    def usable_by_all(self):
        """Whether every machine that is awake signs so that WeChat takes it, with a token that lives."""
        awake = [number for number in range(len(self.services)) if number not in self.asleep]
        return all(self.sign(number) == "ok" and self.alive(self.token(number)) for number in awake)
