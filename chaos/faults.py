"""Ways to break a site: each a context manager that breaks something and, at its end, repairs it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from fleet import eventually, gone
from redis_servers import Cluster

from chaos.servers import remount
from chaos.site import EGRESS, NO_SUCH_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from chaos.site import Machine, Site

    Fault = Callable[[Site], AbstractContextManager[None]]

# ------------------------------------------------------------------------------------------------ processes


@contextlib.contextmanager
def workers_killed(site: Site) -> Iterator[None]:
    with _again_and_again(1.5, lambda: _kill(site.some_worker())):
        yield


@contextlib.contextmanager
def workers_stopped(site: Site) -> Iterator[None]:
    with _stopped(*(min(machine.pids()) for machine in site.machines)):
        yield


@contextlib.contextmanager
def holder_killed(site: Site) -> Iterator[None]:
    site.sandbox.fault("getticket", "latency", times=2, seconds=2)
    _kill(site.lease_holder())
    yield


@contextlib.contextmanager
def holder_stopped(site: Site) -> Iterator[None]:
    # The call outlives the lease: whoever takes over makes a second one.
    site.sandbox.fault("getticket", "hang", times=1, seconds=30)
    with _stopped(site.lease_holder()):
        yield


@contextlib.contextmanager
def machine_lost(site: Site) -> Iterator[None]:
    machine = site.machines[1]
    machine.lose_power()
    yield
    machine.close()
    machine.start()


@contextlib.contextmanager
def reloaded(site: Site) -> Iterator[None]:
    for machine in site.machines:
        machine.reload()
    yield


@contextlib.contextmanager
def _stopped(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: gone(pid))


@contextlib.contextmanager
def _again_and_again(every_seconds: float, work: Callable[[], object]) -> Iterator[None]:
    stopped = threading.Event()

    def run() -> None:
        work()
        while not stopped.wait(every_seconds):
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


# ------------------------------------------------------------------------------------------------ the store


@contextlib.contextmanager
def redis_killed(site: Site) -> Iterator[None]:
    site.redis.kill()
    yield
    site.redis.start()


@contextlib.contextmanager
def redis_stopped(site: Site) -> Iterator[None]:
    site.redis.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        site.redis.signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_emptied(site: Site) -> Iterator[None]:
    with _again_and_again(2.0, lambda: site.redis.ask("FLUSHALL")):
        yield


@contextlib.contextmanager
def redis_slow(site: Site) -> Iterator[None]:
    assert site.relay is not None
    site.relay.delay_seconds = 0.3
    yield
    site.relay.delay_seconds = 0.0


@contextlib.contextmanager
def redis_full(site: Site) -> Iterator[None]:
    site.redis.ask("CONFIG", "SET", "maxmemory", "1")
    yield
    site.redis.ask("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def redis_read_only(site: Site) -> Iterator[None]:
    site.redis.ask("REPLICAOF", "127.0.0.1", "1")
    yield
    site.redis.ask("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def primary_lost(site: Site) -> Iterator[None]:
    group = site.group
    primary = group.owner if isinstance(group, Cluster) else group.primary if group else site.redis
    primary.kill()
    yield


@contextlib.contextmanager
def redis_down_and_all_restarted(site: Site) -> Iterator[None]:
    site.redis.kill()
    for machine in site.machines:
        machine.kill_workers()
    yield
    site.redis.start()


@contextlib.contextmanager
def sqlite_locked(site: Site) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(site.database, timeout=10, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


@contextlib.contextmanager
def sqlite_read_only(site: Site) -> Iterator[None]:
    folder = site.database.parent
    eventually(lambda: _remounted(site, "ro"))
    yield
    remount(folder, "rw")


def _remounted(site: Site, how: str) -> bool:
    # Refused while somebody writes.
    with contextlib.suppress(PermissionError):
        remount(site.database.parent, how)
        return True
    return False


@contextlib.contextmanager
def disk_full(site: Site) -> Iterator[None]:
    filler = site.database.with_name("filler")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    yield
    filler.unlink()


@contextlib.contextmanager
def sqlite_corrupt(site: Site) -> Iterator[None]:
    with site.database.open("r+b") as file:
        file.write(b"\xa5" * 4096)
    yield


# ------------------------------------------------------------------------------------------------ WeChat


def wechat(kind: str, *endpoints: str, **more: Any) -> Fault:  # noqa: ANN401 - fields of a fault
    """Let every call of these endpoints fail, by default of all."""

    @contextlib.contextmanager
    def fault(site: Site) -> Iterator[None]:
        for endpoint in endpoints or ("*",):
            site.sandbox.fault(endpoint, kind, **more)
        yield
        site.sandbox.post("faults/clear")

    return fault


@contextlib.contextmanager
def quota_spent(site: Site) -> Iterator[None]:
    with wechat("errcode", errcode=45009)(site):
        yield
    # By itself the next probe comes within the hour.
    site.machine.operator_refreshes()


def whitelist(*addresses: str) -> Fault:
    @contextlib.contextmanager
    def fault(site: Site) -> Iterator[None]:
        site.sandbox.post("settings", ip_whitelist=addresses)
        yield
        site.sandbox.post("settings", ip_whitelist=None)

    return fault


@contextlib.contextmanager
def one_machine_cut_off(site: Site) -> Iterator[None]:
    machine = site.machines[1]
    machine.tell("egress", NO_SUCH_ADDRESS)
    yield
    machine.tell("egress", EGRESS[1])


def happening(name: str) -> Fault:
    """One of the sandbox's own happenings, which users trigger too."""

    @contextlib.contextmanager
    def fault(site: Site) -> Iterator[None]:
        site.sandbox.post("trigger", happening=name)
        yield

    return fault


# ------------------------------------------------------------------------------------------------ clocks


def clock(seconds: float, which: int = 0) -> Fault:
    @contextlib.contextmanager
    def fault(site: Site) -> Iterator[None]:
        machine: Machine = site.machines[which]
        machine.tell("clock", str(seconds))
        yield
        machine.tell("clock", "0")

    return fault
