"""What is wrong, as faults that begin and end: each is told once over the fleet, and stands in the store's event log.

Every process sees the faults that concern it; which of them tells one is settled by a note in the store, under a short
lease. A fault of one machine (its network, its clock, its way to the store) is settled in that machine's own file.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from wxsign.errors import StoreUnavailable, Text
from wxsign.stores.base import Ration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wxsign.broker import CredentialBroker
    from wxsign.stores import CredentialStore

logger = logging.getLogger("wxsign.faults")

LOOK_SECONDS: Final = 5.0
# What may pass by itself, such as a timeout, is a fault only once it has lasted.
LASTING_SECONDS: Final = 15.0
TURN_SECONDS: Final = 10.0
NOTED_SECONDS: Final = 30 * 86_400.0
# So often the event log repeats that a machine's own fault goes on: who reads it elsewhere has no other sign of it.
STILL_SECONDS: Final = 3600.0
SILENT_SECONDS: Final = 2 * STILL_SECONDS
# The names of so many accounts are told.
NAMES: Final = 5
# So many wait for the event log to come back.
UNWRITTEN: Final = 50


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong. Moments are seconds since the epoch; `until` is None while it goes on.

    `id` tells it from all others, `machine` is empty where it is the fleet's. `door` is the note that stands in the store
    for as long. `passing`: it may be over by itself. `since` is 0 where only the moment of noticing is known.
    """

    id: str
    code: str
    message: Text
    hint: Text
    accounts: tuple[str, ...] = ()
    machine: str = ""
    since: float = 0.0
    until: float | None = None
    door: str = ""
    passing: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """The first of the accounts that it concerns."""
        return self.accounts[:NAMES]


def encode(fault: Fault) -> str:
    """A fault as an event of the store."""
    record = asdict(replace(fault, accounts=fault.named)) | {"event": "fault", "count": len(fault.accounts)}
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False)


def decode(text: str | None) -> Fault | None:
    """An event of the store as a fault; None for one that is none: anybody may have written it."""
    try:
        record = json.loads(text or "{}")
        if record.get("event") != "fault":
            return None
        until = record["until"]
        return Fault(
            id=str(record["id"]),
            code=str(record["code"]),
            message=Text(str(record["message"]["en"]), str(record["message"]["zh"])),
            hint=Text(str(record["hint"]["en"]), str(record["hint"]["zh"])),
            accounts=tuple(str(name) for name in record["accounts"]),
            machine=str(record["machine"]),
            since=float(record["since"]),
            until=None if until is None else float(until),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def faults_in(events: Iterable[tuple[float, str]], now: float) -> tuple[Fault, ...]:
    """The faults of an event log, oldest first; what was written of one at its end takes the place of its beginning.

    A machine that says nothing more of its fault is gone, and so is the fault: it ended when it was last heard of.
    """
    found: dict[tuple[str, float], Fault] = {}
    for at, text in events:
        fault = decode(text)
        if fault is not None:
            silent = fault.until is None and fault.machine and now - at > SILENT_SECONDS
            found[fault.id, fault.since] = replace(fault, until=at) if silent else fault
    return tuple(found.values())


Told = tuple[tuple[Fault, ...], tuple[Fault, ...]]
"""What is to be told of: the faults that began, and those that ended."""


class FaultBook:
    """Compares, every five seconds, what is wrong with what was; `tell` gets what this process is to tell of.

    `look` is called by the Watcher, so it must never wait for anything but the store. Clocks are in seconds.
    """

    def __init__(
        self,
        broker: Callable[[], CredentialBroker],
        faults: Callable[[], Sequence[Fault]],
        machine_store: CredentialStore | None,
        wall_clock: Callable[[], float],
        tell: Callable[[Told], None],
    ) -> None:
        self._broker = broker
        self._faults = faults
        self._machine_store = machine_store
        self._now = wall_clock
        self._tell = tell
        self._holder = f"faults:{os.getpid()}"
        self._next_look = float("-inf")
        self._seen: dict[str, float] = {}
        self._open: dict[str, Fault] = {}
        self._told_here: set[str] = set()
        self._unwritten: list[Fault] = []

    def look(self) -> None:
        """One look, if it is time for one. Raises nothing."""
        now = self._broker().boot_now()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        try:
            told = self._compared()
            if any(told):
                self._tell(told)
        except Exception:
            logger.exception("wxsign.faults_failed")

    def _compared(self) -> Told:
        standing = self._standing()
        now = self._now()
        lasting = [f for f in standing.values() if not f.passing or now - f.since >= LASTING_SECONDS]
        gone = [fault for id_, fault in self._open.items() if id_ not in standing]
        begun = tuple(fault for fault in lasting if self._begins(fault))
        ended = tuple(over for fault in gone if (over := self._ended(fault)) is not None)
        self._write((*begun, *ended, *(fault for fault in self._open.values() if self._goes_on(fault))))
        return begun, ended

    def _standing(self) -> Mapping[str, Fault]:
        """What is wrong now, with the moment since when; first seen counts where nothing else is known."""
        faults = {fault.id: fault for fault in self._faults()}
        now = self._now()
        self._seen = {id_: self._seen.get(id_, now) for id_ in faults}
        return {id_: replace(fault, since=fault.since or self._seen[id_]) for id_, fault in faults.items()}

    def _begins(self, fault: Fault) -> bool:
        """Whether it is for this process to tell that `fault` has begun."""
        if fault.id in self._open:
            return False
        new = False

        def settle(known: Fault | None) -> Fault | None:
            nonlocal new
            new = known is None or (known.until is not None and fault.since > known.until)
            if new or (known is not None and known.until is None):
                # As it was told: two processes notice a lost store at two moments.
                self._open[fault.id] = fault if new or known is None else replace(fault, since=known.since)
            return fault if new else None

        self._settled(fault, settle)
        if new:
            self._told_here.add(fault.id)
        return new

    def _ended(self, fault: Fault) -> Fault | None:
        """The fault with its end, where it is for this process to tell of it."""
        link = self._broker().link
        if fault.door and fault.door in link.call(lambda store: store.view((), (fault.door,))).notes:
            # This process has no more to do with it, but it stands.
            del self._open[fault.id]
            return None
        over: Fault | None = None

        def settle(known: Fault | None) -> Fault | None:
            nonlocal over
            del self._open[fault.id]
            # Where this process told of it, but left the note in a place that is gone, it tells of the end as well.
            mine = known.until is None if known is not None else fault.id in self._told_here
            self._told_here.discard(fault.id)
            over = replace(fault, until=self._now()) if mine else None
            return over

        self._settled(fault, settle)
        return over

    def _settled(self, fault: Fault, settle: Callable[[Fault | None], Fault | None]) -> None:
        """Have `settle` make of the note on `fault` what it is to be, None to leave it, while no other process does.

        Where one does, the next look sees what came of it.
        """
        name = f"fault|{fault.id}"

        def work(store: CredentialStore) -> None:
            lease = store.acquire(name, self._holder, TURN_SECONDS, 0)
            if lease is None:
                return
            try:
                noted = settle(decode(store.view((), (name,)).notes.get(name)))
                if noted is not None:
                    store.note(name, encode(noted), NOTED_SECONDS)
            finally:
                store.release(lease)

        if fault.machine and self._machine_store is not None:
            try:
                return work(self._machine_store)
            except StoreUnavailable:
                pass  # the machine has no place of its own: the fleet's will do
        return self._broker().link.call(work)

    def _goes_on(self, fault: Fault) -> bool:
        """Whether the event log should hear again that a machine's own fault goes on."""
        if not fault.machine or self._now() - fault.since < STILL_SECONDS:
            return False
        ration = Ration(f"fault-still|{fault.id}", 1, STILL_SECONDS)
        return self._broker().link.call(lambda store: store.take([ration])) == 0.0

    def _write(self, faults: Iterable[Fault]) -> None:
        """Into the fleet's event log, once that can be reached."""
        self._unwritten = [*self._unwritten, *faults][-UNWRITTEN:]
        link = self._broker().link
        while self._unwritten and link.lost is None:
            try:
                link.shared.record_event(encode(self._unwritten[0]))
            except StoreUnavailable as error:
                link.lose(error)
            else:
                self._unwritten.pop(0)
