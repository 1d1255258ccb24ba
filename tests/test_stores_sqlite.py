"""The SQLite store: the conformance suite, and what may happen to a file."""

import fcntl
import multiprocessing
import os
import pwd
import re
import resource
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from store_conformance import (
    NAME,
    START,
    ForeignConformance,
    Rig,
    StoreConformance,
    compete,
    credential,
    run_together,
)

from wxsign.errors import StoreUnavailable
from wxsign.stores import Ration, SqliteStore, readable_by_others

PROCESSES = multiprocessing.get_context("spawn")
SHARED_MEMORY = Path("/dev/shm")
NAMELESS = 54_321
GARBAGE = b"this is no database " * 500
# The layout of a store without its NOT NULL, so that anything can stand in it.
LOOSE_LAYOUT = "".join(
    f"DROP TABLE {name}; CREATE TABLE {name} ({columns});"
    for name, columns in {
        "generation": "id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER",
        "credentials": "name TEXT PRIMARY KEY, version INTEGER, schema INTEGER, record TEXT",
        "leases": "name TEXT PRIMARY KEY, number INTEGER, holder TEXT, ends_at REAL",
        "notes": "name TEXT PRIMARY KEY, text TEXT, ends_at REAL",
        "counters": "name TEXT PRIMARY KEY, used INTEGER, ends_at REAL",
        "events": "id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, text TEXT",
    }.items()
)
SPOILING = (
    "INSERT INTO generation VALUES (1, :foreign)",
    "INSERT INTO credentials VALUES (:name, :foreign, :foreign, :text)",
    "INSERT INTO leases VALUES (:name, :foreign, :text, :foreign)",
    "INSERT INTO notes VALUES (:name, :text, :foreign)",
    f"INSERT INTO notes VALUES ('m', :text, {START + 5})",
    "INSERT INTO counters VALUES (:name, :foreign, :foreign)",
    f"INSERT INTO counters VALUES ('m', :foreign, {START - 5})",
    f"INSERT INTO events (at, text) VALUES ({START}, :text)",
    "INSERT INTO events VALUES (9223372036854775807, :foreign, :text)",
)


class SqliteRig(Rig):
    def __init__(self, path):
        self.time = START
        self.path = path

    def open(self):
        return SqliteStore(self.path, lambda: self.time)

    def advance(self, seconds):
        self.time += seconds

    def empty(self):
        self.path.unlink(missing_ok=True)

    def plant(self, name, text, version, schema):
        self.open().generation()
        execute(self.path, "INSERT INTO credentials VALUES (?, ?, ?, ?)", (name, version, schema, text))

    def spoil(self, foreign):
        self.open().generation()
        # A text that is no UTF-8 gets in by a cast alone.
        text = "CAST(:foreign AS TEXT)" if isinstance(foreign, bytes) else ":foreign"
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.executescript(LOOSE_LAYOUT)
            for sql in SPOILING:
                db.execute(sql.replace(":text", text), {"name": NAME, "foreign": foreign})


class TestSqliteStore(StoreConformance, ForeignConformance):
    @pytest.fixture
    def rig(self, path):
        return SqliteRig(path)


@pytest.fixture
def path():
    # In memory where there is such a folder: fsync costs nothing there.
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        yield Path(folder) / "store" / "wxsign.db"


@pytest.fixture
def store(path):
    return SqliteStore(path, lambda: START)


def execute(path, sql, values=()):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(sql, values)


def in_processes(work, *arguments, count=4):
    """Run `work(barrier, queue, number, *arguments)` in real processes at the same moment; return what they put."""
    barrier, queue = PROCESSES.Barrier(count), PROCESSES.Queue()
    running = [PROCESSES.Process(target=work, args=(barrier, queue, n, *arguments)) for n in range(count)]
    for process in running:
        process.start()
    results = [queue.get(timeout=30) for _ in running]
    for process in running:
        process.join(30)
    queue.close()
    assert [process.exitcode for process in running] == [0] * count
    return results


# the file


def test_nothing_is_created_before_the_first_use(path):
    SqliteStore(path)
    assert not path.parent.exists()


def test_the_file_is_for_its_owner_alone_and_so_is_its_folder(store, path):
    mask = os.umask(0)
    try:
        store.replace(NAME, credential(1))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_path_with_signs_of_a_uri_names_that_very_file(tmp_path):
    odd = tmp_path / "a?mode=memory&b#c%20 d.db"
    SqliteStore(odd).replace(NAME, credential(1))
    assert odd.is_file()
    assert SqliteStore(odd).view([NAME]).records


def test_a_relative_path_means_the_folder_of_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("wxsign.db")
    monkeypatch.chdir("/")
    store.replace(NAME, credential(1))
    assert (tmp_path / "wxsign.db").is_file()


def test_no_file_stays_open_between_uses(store):
    before = set(Path("/proc/self/fd").iterdir())
    store.replace(NAME, credential(1))
    store.view([NAME])
    assert set(Path("/proc/self/fd").iterdir()) == before


# what may happen to it


def test_a_file_deleted_under_it_is_made_anew(store, path):
    store.replace(NAME, credential(1))
    path.unlink()
    assert store.generation() == 0
    assert store.view([NAME]).records == {}
    assert store.replace(NAME, credential(1))


def test_a_folder_deleted_under_it_is_made_anew(store, path):
    store.replace(NAME, credential(1))
    shutil.rmtree(path.parent)
    assert store.replace(NAME, credential(1))


def test_a_file_replaced_under_it_is_read_at_once(store, path):
    store.replace(NAME, credential(1, "old"))
    restored = SqliteStore(path.with_name("restored.db"), lambda: START + 60)
    restored.replace(NAME, credential(2, "restored"))
    generation = store.generation()
    restored.path.replace(path)
    assert store.view([NAME]).records[NAME].value == "restored"
    assert store.generation() != generation


def test_what_is_no_database_is_set_aside_and_the_service_goes_on(store, path, caplog):
    path.parent.mkdir()
    path.write_bytes(GARBAGE)
    assert store.replace(NAME, credential(1))
    assert store.view([NAME]).records
    (aside,) = path.parent.glob("*.corrupt-*")
    assert aside.read_bytes() == GARBAGE
    assert "wxsign.store_set_aside" in caplog.messages


@pytest.mark.parametrize("content", [b"", b"x"], ids=["empty", "less than a page"])
def test_a_file_with_nothing_in_it_becomes_a_store(store, path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert store.replace(NAME, credential(1))
    assert not list(path.parent.glob("*.corrupt-*"))


def test_a_database_with_overwritten_pages_is_set_aside(store, path):
    store.replace(NAME, credential(1))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (size - 100))
    assert store.view([NAME]).records == {}
    assert store.replace(NAME, credential(2))
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def test_a_truncated_database_is_set_aside(store, path):
    for number in range(40):
        store.replace(f"{NAME}{number}", credential(1, "v" * 500))
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)
    assert store.replace(f"{NAME}39", credential(5))
    assert store.view([f"{NAME}39"]).records
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def _meet_corruption(barrier, queue, number, path):
    store = SqliteStore(path)
    barrier.wait()
    queue.put(store.replace(f"{NAME}{number}", credential(1)))


def test_many_processes_set_a_corrupt_file_aside_once_and_lose_nothing_after_it(path):
    path.parent.mkdir()
    path.write_bytes(GARBAGE)
    assert in_processes(_meet_corruption, path) == [True] * 4
    (aside,) = path.parent.glob("*.corrupt-*")
    assert aside.read_bytes() == GARBAGE
    assert len(SqliteStore(path).view([f"{NAME}{number}" for number in range(4)]).records) == 4


def test_a_file_that_another_process_sets_aside_before_it_is_opened_is_met_anew(store, path, monkeypatch):
    store.replace(NAME, credential(1))
    connect = store._connect

    def connect_late():
        monkeypatch.setattr(store, "_connect", connect)
        path.unlink()
        return connect()

    monkeypatch.setattr(store, "_connect", connect_late)
    assert store.replace(NAME, credential(1))


def test_a_file_that_another_process_sets_aside_while_it_is_open_is_met_anew(store, path):
    moved = []

    def write(db):
        if not moved:
            moved.append(path.rename(path.with_name("aside")))
        db.execute("INSERT INTO events (at, text) VALUES (1, 'kept')")

    store._write(write)
    assert [text for _, text in store.events()] == ["kept"]


def test_a_sound_file_put_in_place_while_waiting_for_the_lock_is_kept(store, path):
    """The second look: what was damaged a moment ago may have been repaired by another process."""
    SqliteStore(path).replace(NAME, credential(1, "sound"))
    store._set_aside()
    assert store.view([NAME]).records[NAME].value == "sound"
    path.unlink()
    store._set_aside()
    assert not list(path.parent.glob("*.corrupt-*"))


def test_a_file_that_is_only_locked_is_not_taken_for_damaged(path):
    store = SqliteStore(path, busy_seconds=0.05)
    store.replace(NAME, credential(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        store._set_aside()
    assert store.view([NAME]).records


def test_locked_for_longer_than_it_waits_it_is_unavailable_and_then_back(path):
    store = SqliteStore(path, busy_seconds=0.05)
    store.replace(NAME, credential(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for use in (
            store.generation,
            lambda: store.replace(NAME, credential(2)),
            lambda: store.view([NAME]).records,
        ):
            before = time.monotonic()
            with pytest.raises(StoreUnavailable, match="locked"):
                use()
            assert time.monotonic() - before < 1
    assert store.replace(NAME, credential(2))


def test_one_who_waits_no_longer_than_it_may_gets_its_turn(path):
    store = SqliteStore(path, busy_seconds=5)
    store.replace(NAME, credential(1))
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        run_together(
            [lambda: store.replace(NAME, credential(2)), lambda: (time.sleep(0.1), other.execute("COMMIT"))]
        )
    assert store.view([NAME]).records[NAME].version == 2


@pytest.mark.parametrize("place", ["/proc/wxsign/wxsign.db", "/dev/null/wxsign.db", "/dev"])
def test_a_place_where_no_file_can_be_is_unavailable(place):
    with pytest.raises(StoreUnavailable):
        SqliteStore(place).generation()


def _read_and_write(path):
    store = SqliteStore(path)
    found = list(store.view([NAME]).records)
    try:
        store.replace(NAME, credential(2))
    except StoreUnavailable as error:
        return found, error.code
    return found, "written"


def _with_a_full_disk(barrier, queue, number, path):
    del barrier, number
    SqliteStore(path).generation()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    queue.put(_read_and_write(path))


def test_on_a_full_disk_it_is_read_and_says_that_it_cannot_be_written(store, path):
    store.replace(NAME, credential(1))
    assert in_processes(_with_a_full_disk, path, count=1) == [([NAME], "store_unavailable")]
    assert store.view([NAME]).records[NAME].version == 1
    assert not list(path.parent.glob("*.corrupt-*"))


def _as_a_stranger(barrier, queue, number, path):
    del barrier, number
    if os.getuid() == 0:
        os.setuid(65_534)
    queue.put(_read_and_write(path))


def test_a_read_only_file_is_read_and_says_that_it_cannot_be_written():
    # Not in pytest's folder: that one is closed to the stranger.
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "wxsign.db"
        SqliteStore(path).replace(NAME, credential(1))
        path.chmod(0o444)
        folder.chmod(0o555)
        try:
            assert in_processes(_as_a_stranger, path, count=1) == [([NAME], "store_unavailable")]
        finally:
            folder.chmod(0o700)


def _told_to_a_stranger(barrier, queue, number, path, user=65_534):
    del barrier, number
    os.setuid(user)
    store = SqliteStore(path)
    try:
        store.generation()
        store.replace(NAME, credential(2))
    except StoreUnavailable as error:
        queue.put((error.detail, error.hint.en, error.hint.zh))
    else:
        queue.put("written")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_file_or_folder_of_another_user_is_named_with_its_owner_this_user_and_the_remedy():
    root, nobody = pwd.getpwuid(0).pw_name, pwd.getpwuid(65_534).pw_name
    for prepare, way in (
        (lambda path: path.parent.chmod(0o755), ""),
        (lambda path: (path.parent.chmod(0o777), path.chmod(0o600)), ""),
        (lambda path: (path.parent.chmod(0o755), path.chmod(0o666)), ".."),
        (lambda path: path.parent.chmod(0o700), ".."),
        (lambda path: path.parent.parent.chmod(0o755) or shutil.rmtree(path.parent), "../.."),
    ):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "store" / "wxsign.db"
            SqliteStore(path).replace(NAME, credential(1))
            Path(name).chmod(0o755)
            prepare(path)
            place = os.path.normpath(path / way)
            ((detail, en, zh),) = in_processes(_told_to_a_stranger, path, count=1)
        assert detail.startswith(str(path))
        assert f"{place} belongs to {root} (uid 0), and this process runs as {nobody} (uid 65534)" in detail
        for hint in (en, zh):
            assert f"`chown 65534 {place}`" in hint
            assert "WXSIGN_STORE" in hint


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_file_of_ones_own_that_may_not_be_written_is_named_with_the_remedy():
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "wxsign.db"
        SqliteStore(path).replace(NAME, credential(1))
        path.chmod(0o444)
        for place in (Path(name), path):
            os.chown(place, NAMELESS, -1)
        ((detail, en, zh),) = in_processes(_told_to_a_stranger, path, NAMELESS, count=1)
        assert f"{path} belongs to uid {NAMELESS}, and this process runs as uid {NAMELESS}" in detail
        assert f"`chmod u+rwX {path}`" in en
        assert f"`chmod u+rwX {path}`" in zh


def test_a_file_is_readable_by_others_where_its_mode_and_its_folders_let_them(store, path):
    assert not readable_by_others(path), "there is none"
    store.generation()
    for folder, file, others in (
        (0o700, 0o600, False),
        (0o755, 0o600, False),
        (0o750, 0o644, False),
        (0o755, 0o640, False),
        (0o711, 0o644, True),
    ):
        path.parent.chmod(folder)
        path.chmod(file)
        assert readable_by_others(path) == others


def test_tables_of_another_program_are_named_and_left_alone(store, path):
    store.generation()
    for change in (
        "ALTER TABLE {} RENAME TO another",
        "ALTER TABLE {} RENAME COLUMN name TO another",
        "CREATE TRIGGER no BEFORE INSERT ON {} BEGIN SELECT RAISE(ABORT, 'no'); END",
    ):
        for table, use in (
            ("credentials", lambda: (store.view([NAME]).records, store.replace(NAME, credential(1)))),
            ("leases", lambda: store.acquire(NAME, "a", 5, 0)),
            ("notes", lambda: (store.view((), ["n"]).notes, store.note("n", "text", 5))),
            ("counters", lambda: (store.used(["c"]), store.take([Ration("c", 1, 5)]))),
        ):
            path.unlink()
            store.generation()
            execute(path, change.format(table))
            with pytest.raises(StoreUnavailable) as raised:
                use()
            if "TRIGGER" not in change:
                assert "move the file away" in raised.value.hint.en
                assert "移走" in raised.value.hint.zh


def test_the_error_of_the_store_holds_no_value(store, path):
    store.replace(NAME, credential(1))
    execute(path, "DROP TABLE credentials")
    with pytest.raises(StoreUnavailable) as broken:
        store.replace(NAME, credential(2, "TOP-SECRET-VALUE"))
    assert "TOP-SECRET" not in f"{broken.value} {broken.value.detail} {broken.value.__cause__!r}"


def test_a_file_of_a_later_layout_is_used_as_far_as_it_is_known(store, path):
    store.replace(NAME, credential(1))
    execute(path, "ALTER TABLE notes ADD COLUMN later TEXT")
    execute(path, "PRAGMA user_version = 9")
    assert store.replace(NAME, credential(2))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (9,)


def test_a_column_that_a_later_version_added_does_not_stop_this_one(store, path):
    store.generation()
    for table in ("generation", "credentials", "leases", "notes", "counters", "events"):
        execute(path, f"ALTER TABLE {table} ADD COLUMN later TEXT")
    assert store.replace(NAME, credential(1))
    assert store.view([NAME]).records
    store.release(store.acquire(NAME, "a", 5, 0))
    store.note("n", "text", 10)
    assert store.view((), ["n"]).notes == {"n": "text"}
    assert store.take([Ration("c", 1, 10)]) == 0.0
    store.record_event("e")
    assert [text for _, text in store.events()] == ["e"]


def test_the_rollback_journal_is_used_and_every_commit_reaches_the_disk(store):
    store.generation()
    with closing(store._connect()) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


# many processes


def _compete(barrier, queue, number, path):
    store, wins = SqliteStore(path), []
    barrier.wait()
    lease = store.acquire(NAME, str(number), 60, 0)
    compete(store, barrier, 20, wins.append)
    queue.put((wins, bool(lease)))


def test_of_many_processes_one_gets_the_lease_of_a_new_store_and_exactly_one_wins_each_version(path):
    results = in_processes(_compete, path)
    assert sorted(version for wins, _ in results for version in wins) == list(range(1, 21))
    assert [leased for _, leased in results].count(True) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_store_used_before_a_fork_works_on_both_sides(store):
    store.replace(NAME, credential(1))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # no exception may leave here: it would go on with the parent's tests
        try:
            os.write(writer, b"child" if store.replace(NAME, credential(2, "child")) else b"refused")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        assert told.read() == b"child"
    os.waitpid(child, 0)
    assert store.view([NAME]).records[NAME].value == "child"
    assert store.replace(NAME, credential(3, "parent"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_another_threads_write_leaves_the_child_a_working_store(path):
    """SQLite would believe in the child, for as long as it lives, that the lost thread still holds its lock."""
    store, writing = SqliteStore(path, busy_seconds=0.2), threading.Event()
    store.replace(NAME, credential(1))
    writer = threading.Thread(target=lambda: store._write(lambda _db: (writing.set(), time.sleep(0.1))))
    writer.start()
    writing.wait(5)
    child = os.fork()
    if child == 0:
        works = 1
        with suppress(StoreUnavailable):
            works = 0 if store.replace(NAME, credential(2)) else 1
        os._exit(works)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    writer.join()
    assert store.replace(NAME, credential(3))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_that_dies_in_the_middle_of_a_write_leaves_the_store_whole(store, path):
    store.replace(NAME, credential(1))
    child = os.fork()
    if child == 0:
        try:
            db = store._connect()
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE credentials SET version = 99, record = 'half'")
        finally:
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert store.view([NAME]).records[NAME] == credential(1)
    assert store.replace(NAME, credential(2))


def test_the_lock_of_the_repair_is_free_after_it(store, path):
    path.parent.mkdir()
    path.write_bytes(GARBAGE)
    store.generation()
    with Path(f"{path}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert re.fullmatch(r"wxsign\.db\.corrupt-\d+", next(path.parent.glob("*.corrupt-*")).name)
