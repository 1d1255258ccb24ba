"""Clocks, randomness, threads and the machine's name: everything a broker takes from the system it runs on."""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.stores import MachineStore


def boot_clock() -> float:
    """Seconds since the machine started, suspended time included: no step of the wall clock moves it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def spawn_thread(work: Callable[[], None]) -> None:
    """Run `work` in a short-lived daemon thread."""
    threading.Thread(target=work, name="wxsign-fetch", daemon=True).start()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The system around a broker, with the real one as default. Clocks are in seconds, `random` draws from [0, 1).

    Without `machine_store` each process is by itself while the shared store is away.
    """

    boot_clock: Callable[[], float] = boot_clock
    wall_clock: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    sleep: Callable[[float], None] = time.sleep
    spawn: Callable[[Callable[[], None]], None] = spawn_thread
    machine: str = field(default_factory=socket.gethostname)
    machine_store: MachineStore | None = None
