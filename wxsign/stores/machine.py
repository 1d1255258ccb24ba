"""What the processes of one machine share while the store of the fleet is away: who is at it, and what has failed."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from wxsign.errors import StoreUnavailable
from wxsign.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

BUSY_SECONDS = 0.5
T = TypeVar("T")


class MachineStore(SqliteStore):
    """A store for leases and notes, in a file of this user's in the system's folder for temporary files.

    `machine` is in the file's name, for containers may share such a folder. `clock` gives seconds since the epoch.
    Every method raises `StoreUnavailable` where others may write into the folder. Credentials do not belong here.
    """

    def __init__(
        self, machine: str, clock: Callable[[], float] = time.time, folder: Path | None = None
    ) -> None:
        folder = folder or Path(tempfile.gettempdir()) / f"wxsign-{os.getuid()}"
        name = hashlib.sha256(machine.encode()).hexdigest()[:16]
        super().__init__(folder / f"machine-{name}.db", clock, BUSY_SECONDS)

    def _repaired(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        self._require_own_folder()
        return super()._repaired(begin, work)

    def _require_own_folder(self) -> None:
        """Anybody may make a folder of that name first, and lay links in it to files of ours."""
        folder = self.path.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise StoreUnavailable(f"{folder} is not a folder of this user alone")
