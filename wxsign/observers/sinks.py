"""Files and keys of Redis that mirror a credential where other systems already look for it, as long as they have not been changed.

A file is replaced whole, so a reader never sees half of one. Nothing waits for a sink: it is written by a thread of its
own, and one that cannot be written is told and tried again while the last good value stays.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from wxsign.accounts import RedisSink
from wxsign.broker import Adopted
from wxsign.errors import StoreUnavailable, Text
from wxsign.observers.faults import Fault
from wxsign.stores import mirror_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wxsign.accounts import FileSink, Sink
    from wxsign.broker import RefreshEvent, Surroundings
    from wxsign.credentials import CredentialKey

logger = logging.getLogger("wxsign.sinks")

RETRY_SECONDS: Final = 5.0
FAILED: Final = Text(
    "The sink {name} cannot be written; what stood there last stays.",
    "无法写入镜像 {name}，保留上次的内容。",
)
HINT: Final = Text(
    "See the log, `wxsign.sink_failed`: it names the place and the reason.",
    "请查看日志中的 `wxsign.sink_failed`，其中写明了位置和原因。",
)
# The classic PHP sample of Tencent's JS-SDK guide begins its files so, that a browser which asks for one sees nothing.
PHP_PREFIX: Final = "<?php exit();?>"


class Value(NamedTuple):
    """What is to be written: its version, and when it ends, in seconds since the epoch."""

    value: str
    version: int
    expires_at: int

    def __repr__(self) -> str:
        return f"Value(version={self.version}, expires_at={self.expires_at})"


class Sinks:
    """All sinks of one process: it observes the broker, and the Watcher's looks try again what failed."""

    def __init__(
        self,
        sinks: Iterable[tuple[CredentialKey, Sink]],
        surroundings: Surroundings,
    ) -> None:
        self._sinks: dict[CredentialKey, list[Sink]] = {}
        for key, sink in sinks:
            self._sinks.setdefault(key, []).append(sink)
        self._boot = surroundings.boot_clock
        self._wall = surroundings.wall_clock
        self._machine = surroundings.machine
        self._lock = threading.Lock()
        self._waiting: dict[Sink, Value] = {}
        self._busy = False
        self._next_look = float("-inf")
        self._spawn = surroundings.spawn
        self.failing: frozenset[Sink] = frozenset()

    def __call__(self, event: RefreshEvent | Adopted) -> None:
        """Write down a value that this process holds now."""
        sinks = self._sinks.get(event.key)
        if not sinks or not isinstance(event, Adopted) or event.credential.value is None:
            return
        ends = int(self._wall() + event.usable_until - self._boot())
        value = Value(event.credential.value, event.credential.version, ends)
        with self._lock:
            self._waiting |= dict.fromkeys(sinks, value)
        self._begin()

    def look(self) -> tuple[Fault, ...]:
        """Try again what failed, and say what does. Called by the Watcher. Raises nothing."""
        if self._waiting and self._boot() >= self._next_look:
            self._begin()
        machine = self._machine
        return tuple(
            Fault(
                f"sink|{_place(sink)}|{machine}",
                "sink_failed",
                FAILED.filled(name=sink.name),
                HINT,
                machine=machine,
            )
            for sink in sorted(self.failing, key=_place)
        )

    def _begin(self) -> None:
        with self._lock:
            if self._busy or not self._waiting:
                return
            self._busy = True
        self._spawn(self._work)

    def _work(self) -> None:
        """Write what waits; what fails waits on."""
        failed: dict[Sink, Value] = {}
        while True:
            with self._lock:
                if not self._waiting:
                    self._waiting = failed
                    self._busy = False
                    self._next_look = self._boot() + RETRY_SECONDS
                    return
                sink, value = self._waiting.popitem()
            if not self._written(sink, value):
                failed[sink] = value

    def _written(self, sink: Sink, value: Value) -> bool:
        try:
            if isinstance(sink, RedisSink):
                self._mirror(sink, value)
            else:
                put(sink, value, self._wall())
        except (OSError, StoreUnavailable) as error:
            if sink not in self.failing:
                fields = {"sink": sink.name, "path": _place(sink), "reason": _reason(error)}
                logger.error("wxsign.sink_failed", extra={"fields": fields})  # noqa: TRY400 - the path and the reason say it
            self.failing |= {sink}
            return False
        if sink in self.failing:
            logger.warning("wxsign.sink_returned", extra={"fields": {"sink": sink.name}})
        self.failing -= {sink}
        return True

    def _mirror(self, sink: RedisSink, value: Value) -> None:
        """Set the key. Raises StoreUnavailable."""
        left = int(value.expires_at - self._wall())
        mirror_at(sink.url).put(sink.key, _text(sink, value, self._wall()), value.version, left)


def _place(sink: Sink) -> str:
    return sink.key if isinstance(sink, RedisSink) else sink.path


def _reason(error: OSError | StoreUnavailable) -> str:
    return error.detail if isinstance(error, StoreUnavailable) else error.strerror or str(error)


def put(sink: FileSink, value: Value, now: float) -> None:
    """Replace the file, unless another process of this machine has put a newer version there. Raises OSError."""
    path = Path(sink.path)
    if path.is_symlink() or path.is_dir():
        raise OSError("it is a link or a folder, not a file of ours: remove it")
    mark = path.with_name(f".{path.name}.version")
    with os.fdopen(os.open(mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+") as version:
        fcntl.flock(version, fcntl.LOCK_EX)
        standing = version.read(32)
        if path.exists() and standing.isdecimal() and int(standing) > value.version:
            return
        _replace(path, sink.mode, _text(sink, value, now))
        version.seek(0)
        version.truncate()
        version.write(str(value.version))


def _replace(path: Path, mode: int, text: str) -> None:
    """Write beside the file, then put it in its place. Under the lock one name will do: what a killed process left is written over."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(beside, flags, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), mode)
    beside.replace(path)


def _text(sink: Sink, value: Value, now: float) -> str:
    left = max(0, int(value.expires_at - now))
    if sink.format in {"value", "wxjava"}:
        return value.value
    if sink.format == "wechatpy":
        return json.dumps(value.value)
    if sink.format == "json":
        return json.dumps({sink.field: value.value, "expires_in": left, "expires_at": value.expires_at})
    if sink.format == "php-sample":
        prefix = PHP_PREFIX if _place(sink).endswith(".php") else ""
        return prefix + json.dumps({"expire_time": value.expires_at, sink.field: value.value})
    places = {"{value}": value.value, "{expires_in}": str(left), "{expires_at}": str(value.expires_at)}
    text = sink.format
    for place, put_in in places.items():
        text = text.replace(place, put_in)
    return text
