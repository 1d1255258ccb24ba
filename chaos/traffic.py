"""A constant stream of requests, and what was seen meanwhile from outside."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from fleet import Gun, Shot, jsconfig_path
from running import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fleet import WeChat

CLIENTS = 16
LOOK_SECONDS = 0.15


class Traffic:
    """`rate` requests a second from a number of clients, each with a connection of its own, until the block ends.

    Requests go out by the clock, not when the last one was answered: a server that hangs is not spared. A client that still
    waits for an answer leaves its turn out.
    """

    def __init__(self, port: int, rate: float) -> None:
        self.shots: list[Shot] = []
        self._rate = rate
        self._guns = [Gun(port) for _ in range(CLIENTS)]
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(CLIENTS)
        ]

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for gun in self._guns:
            gun.close()

    def _run(self, number: int) -> None:
        every = CLIENTS / self._rate
        turn = self._begun + number / self._rate
        path = jsconfig_path()
        while not self._stopped.wait(max(0.0, turn - time.monotonic())):
            self.shots.append(self._guns[number].shoot(path))
            turn += every * max(1, -(-(time.monotonic() - turn) // every))


class Ticket(NamedTuple):
    """A ticket of WeChat, by its true life."""

    issued_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class Look:
    """What one worker of a machine said of itself."""

    at: float
    state: str
    problems: tuple[str, ...]


class Watch:
    """Notes WeChat's tickets and what the machines say of themselves, until the block ends."""

    def __init__(self, sandbox: WeChat, sockets: Sequence[Path]) -> None:
        self.looks: list[Look] = []
        self._tickets: dict[str, Ticket] = {}
        self._sandbox = sandbox
        self._sockets = sockets
        self._stopped = threading.Event()
        looks = [lambda socket=socket: self._look_at(socket) for socket in sockets]
        self._threads = [
            threading.Thread(target=self._run, args=(look,), daemon=True)
            for look in (self._look_at_wechat, *looks)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        """Every ticket that was seen, in the order of their issue; each ends at the latest when the next begins."""
        found = sorted(self._tickets.values())
        begins = [ticket.issued_at for ticket in found[1:]] + [float("inf")]
        return tuple(
            Ticket(ticket.issued_at, min(ticket.ends_at, begin))
            for ticket, begin in zip(found, begins, strict=True)
        )

    def _run(self, look: Callable[[], None]) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            # Nobody is there at times: that is what the requests tell.
            with contextlib.suppress(OSError, ValueError):
                look()

    def _look_at_wechat(self) -> None:
        ticket = self._sandbox.ticket()
        if ticket:
            self._tickets[ticket["digest"]] = Ticket(ticket["issued_at"], ticket["ends_at"])

    def _look_at(self, socket: Path) -> None:
        at = time.time()
        answer = ask(socket, "/readyz").json
        if "state" in answer:
            self.looks.append(Look(at, answer["state"], tuple(answer["problems"])))


PORTION = 100


def verdicts_on(sandbox: WeChat, shots: Sequence[Shot], page: str) -> list[bool | None]:
    """Say of each request whether WeChat took its signature when it was answered; None where there was none."""
    signed = [_signature(shot, page) if shot.status == 200 else None for shot in shots]
    entries = [entry for entry in signed if entry is not None]
    verdicts: list[bool] = []
    for start in range(0, len(entries), PORTION):
        answer = sandbox.post("verify_many", signatures=entries[start : start + PORTION])
        verdicts += [verdict["ok"] for verdict in answer["verdicts"]]
    taken = iter(verdicts)
    return [None if entry is None else next(taken) for entry in signed]


def _signature(shot: Shot, page: str) -> dict[str, Any]:
    names = ("appId", "timestamp", "nonceStr", "signature")
    answer = json.loads(shot.body)
    return {**{name: answer[name] for name in names}, "url": page, "at": shot.ends_at}
