"""A store in one SQLite file, shared by the processes of one machine.

Every operation opens the file, runs one transaction and closes it again. That costs some 0.2 ms a few times a second,
and in return there is nothing to carry over a fork, between threads, or when the file was replaced by a new one.
The rollback journal is used because WAL can corrupt before SQLite 3.51.3 (Debian 12 has 3.40.1).
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from wxsign.stores.base import (
    EVENT_LIMIT,
    LONGEST_NOTE_SECONDS,
    SCHEMA,
    Lease,
    Ration,
    ReadByView,
    View,
    believed_generation,
    encode,
    is_number,
    is_text,
    lease_held,
    lease_lapsed,
    living_counts,
    living_notes,
    next_generation,
    next_number,
    portions,
    sendable,
    taking,
    version_to_beat,
)
from wxsign.stores.sqlite_file import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wxsign.credentials import Credential

logger = logging.getLogger("wxsign.stores.sqlite")
T = TypeVar("T")

LAYOUT = 1
MAX_EVENT = 2**53
_TABLES = f"""
CREATE TABLE IF NOT EXISTS generation (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS credentials (name TEXT PRIMARY KEY, version INTEGER NOT NULL, schema INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, number INTEGER NOT NULL, holder TEXT NOT NULL, ends_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL, ends_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, used INTEGER NOT NULL, ends_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, text TEXT NOT NULL);
PRAGMA user_version = {LAYOUT};
"""
# A child forked in the middle of an operation would believe for ever that the lost thread holds SQLite's locks.
_ERASURES = ("DELETE FROM notes WHERE name IN", "DELETE FROM counters WHERE name IN")
_operation = threading.Lock()
os.register_at_fork(
    before=_operation.acquire, after_in_parent=_operation.release, after_in_child=_operation.release
)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# What is met between the two steps of somebody else's repair: the file is not there, or is not under its name any more.
_MOVED_AWAY = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DBMOVED})


class SqliteStore(ReadByView):
    """`sqlite:///path`; see `CredentialStore` for what each method does.

    `clock` gives seconds since the epoch. An operation waits at most `busy_seconds` for other processes, then raises
    `StoreUnavailable`. The file is created with mode 0600, its folder with 0700.
    """

    def __init__(
        self, path: str | Path, clock: Callable[[], float] = time.time, busy_seconds: float = 2.0
    ) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.now = clock
        self._busy_seconds = busy_seconds
        self._uri = f"file:{quote(str(self.path))}?mode=rw"

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})"

    def generation(self) -> int:
        return self._read(lambda db: believed_generation(_generation(db), self.now()))

    def view(self, names: Sequence[str], notes: Sequence[str] = ()) -> View:
        now, generation, records, noted = self._read(
            lambda db: (self.now(), _generation(db), *_view(db, names, notes))
        )
        read = self._reader.read(names, dict(records), now)
        return View(now, believed_generation(generation, now), read, living_notes(noted, now))

    def replace(self, name: str, credential: Credential, lease: Lease | None = None) -> bool:
        return self._write(lambda db: _replace(db, name, credential, lease, self.now()))

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        return self._write(lambda db: _acquire(db, name, holder, lease_seconds, highest, self.now()))

    def release(self, lease: Lease) -> None:
        self._write(lambda db: _release(db, lease))

    def note(self, name: str, text: str, lasts_seconds: float, *, event: bool = False) -> None:
        now = self.now()
        ends_at = now + min(lasts_seconds, LONGEST_NOTE_SECONDS)
        self._write(lambda db: _note(db, name, sendable(text), now, ends_at, event=event))

    def erase(self, names: Sequence[str]) -> None:
        self._write(lambda db: [_rows(db, erasure, names) for erasure in _ERASURES])

    def take(self, rations: Sequence[Ration]) -> float:
        return self._write(lambda db: _take(db, rations, self.now()))

    def used(self, names: Sequence[str]) -> Mapping[str, int]:
        rows = self._read(
            lambda db: _rows(db, "SELECT name, used, ends_at FROM counters WHERE name IN", names)
        )
        return living_counts(rows, self.now())

    def record_event(self, text: str) -> None:
        self._write(lambda db: _record_event(db, sendable(text), self.now()))

    def events(self) -> Sequence[tuple[float, str]]:
        rows = self._read(lambda db: db.execute("SELECT at, text FROM events ORDER BY id").fetchall())
        return [(at, text) for at, text in rows if is_number(at, 0, math.inf) and is_text(text)]

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._transact("BEGIN", work)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._transact("BEGIN IMMEDIATE", work)

    def _transact(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with _operation:
                return self._repaired(begin, work)
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self.path, error) from error

    def _repaired(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction; a damaged file is first set aside, by this process or by another one meanwhile."""
        for _ in range(2):
            try:
                return self._attempt(begin, work)
            except sqlite3.DatabaseError as error:
                if _damaged(error):
                    self._set_aside()
                elif not _moved_away(error):
                    raise
        return self._attempt(begin, work)

    def _attempt(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if not self.path.exists():
            self._create_file()
        with closing(self._connect()) as db:
            db.execute(begin)
            result = work(db)
            db.execute("COMMIT")
            return result

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._uri, uri=True, timeout=self._busy_seconds, isolation_level=None)
        # Python's own way to read a text raises where it is no UTF-8: one broken note would stop everybody.
        db.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            db.execute("PRAGMA journal_mode = TRUNCATE")
            db.execute("PRAGMA synchronous = FULL")
            if db.execute("PRAGMA user_version").fetchone()[0] < LAYOUT:
                db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        except BaseException:
            db.close()
            raise
        return db

    def _create_file(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    def _set_aside(self) -> None:
        with self._repair_lock():
            # Another process may have put a sound file in place while we waited for the lock.
            if not self._really_damaged():
                return
            aside = self.path.with_name(f"{self.path.name}.corrupt-{int(self.now())}")
            # First the journal: once the file is gone another process may have begun a new one, and a journal for it.
            Path(f"{self.path}-journal").unlink(missing_ok=True)
            self.path.replace(aside)
            logger.error("wxsign.store_set_aside", extra={"fields": {"path": str(aside)}})

    @contextmanager
    def _repair_lock(self) -> Iterator[None]:
        descriptor = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _really_damaged(self) -> bool:
        if not self.path.exists():
            return False
        try:
            with closing(self._connect()) as db:
                return bool(db.execute("PRAGMA quick_check").fetchone()[0] != "ok")
        except sqlite3.DatabaseError as error:
            return _damaged(error)


def _damaged(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def _moved_away(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", None) in _MOVED_AWAY


def _rows(db: sqlite3.Connection, sql: str, names: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for some in portions(names):
        found += db.execute(f"{sql} ({','.join('?' * len(some))})", tuple(some))
    return found


def _view(
    db: sqlite3.Connection, names: Sequence[str], notes: Sequence[str]
) -> tuple[list[tuple[str, object]], list[tuple[str, object, object]]]:
    return (
        _rows(db, "SELECT name, record FROM credentials WHERE name IN", names),
        _rows(db, "SELECT name, text, ends_at FROM notes WHERE name IN", notes),
    )


def _generation(db: sqlite3.Connection) -> object:
    row = db.execute("SELECT number FROM generation WHERE id = 1").fetchone()
    return row[0] if row else 0


def _to_beat(db: sqlite3.Connection, name: str, now: float) -> float:
    """By the record alone: its columns may say something else, and are there for those who look into the file."""
    row = db.execute("SELECT record FROM credentials WHERE name = ?", (name,)).fetchone()
    return version_to_beat(row[0] if row else None, now)


def _replace(
    db: sqlite3.Connection, name: str, credential: Credential, lease: Lease | None, now: float
) -> bool:
    if lease is not None:
        _release(db, lease)
    if credential.version <= _to_beat(db, name, now):
        return False
    db.execute(
        "INSERT INTO credentials (name, version, schema, record) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
        " SET version = excluded.version, schema = excluded.schema, record = excluded.record",
        (name, credential.version, SCHEMA, encode(credential)),
    )
    db.execute(
        "INSERT OR REPLACE INTO generation (id, number) VALUES (1, ?)",
        (next_generation(_generation(db), now),),
    )
    return True


def _release(db: sqlite3.Connection, lease: Lease) -> None:
    sql = "UPDATE leases SET ends_at = 0 WHERE name = ? AND number = ? AND holder = ?"
    db.execute(sql, (lease.name, lease.number, lease.holder))


def _acquire(
    db: sqlite3.Connection, name: str, holder: str, lease_seconds: float, highest: int, now: float
) -> Lease | None:
    lease = db.execute("SELECT number, ends_at FROM leases WHERE name = ?", (name,)).fetchone()
    last, ends_at = lease or (0, 0.0)
    if lease_held(ends_at, now, lease_seconds):
        return None
    number = next_number(last, _to_beat(db, name, now), highest, now)
    db.execute(
        "INSERT OR REPLACE INTO leases (name, number, holder, ends_at) VALUES (?, ?, ?, ?)",
        (name, number, holder, now + lease_seconds),
    )
    return Lease(name, holder, number, now, follows_lapse=lease_lapsed(ends_at, now))


def _sweep(db: sqlite3.Connection, table: str, now: float) -> None:
    """Take away what has ended, or ends when nothing of ours does: SQLite orders texts and blobs behind all numbers."""
    db.execute(
        f"DELETE FROM {table} WHERE ends_at <= ? OR ends_at > ?",  # noqa: S608 - the name is one of ours
        (now, now + LONGEST_NOTE_SECONDS),
    )


def _note(db: sqlite3.Connection, name: str, text: str, now: float, ends_at: float, *, event: bool) -> None:
    _sweep(db, "notes", now)
    db.execute("INSERT OR REPLACE INTO notes (name, text, ends_at) VALUES (?, ?, ?)", (name, text, ends_at))
    if event:
        _record_event(db, text, now)


def _take(db: sqlite3.Connection, rations: Sequence[Ration], now: float) -> float:
    _sweep(db, "counters", now)
    rows = _rows(
        db, "SELECT name, used, ends_at FROM counters WHERE name IN", [ration.name for ration in rations]
    )
    standing = {name: (used, ends_at) for name, used, ends_at in rows}
    wait, taken = taking(rations, [standing.get(ration.name, (0, 0.0)) for ration in rations], now)
    db.executemany(
        "INSERT OR REPLACE INTO counters (name, used, ends_at) VALUES (?, ?, ?)",
        [(name, *counter) for name, counter in taken.items()],
    )
    return wait


def _record_event(db: sqlite3.Connection, text: str, now: float) -> None:
    # With a number of its own, for SQLite gives none after the highest there is, which anybody may have used.
    db.execute("DELETE FROM events WHERE id NOT BETWEEN 1 AND ?", (MAX_EVENT,))
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    db.execute("INSERT INTO events (id, at, text) VALUES (?, ?, ?)", (last + 1, now, text))
    db.execute("DELETE FROM events WHERE id <= ?", (last + 1 - EVENT_LIMIT,))
