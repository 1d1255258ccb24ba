"""The leases of one machine, which its processes take while the store that they share is away."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from wxsign.errors import StoreUnavailable
from wxsign.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.stores.base import Lease

BUSY_SECONDS = 0.5


class MachineLeases:
    """Leases in a file of this user's in the system's folder for temporary files. It holds no value and no secret.

    `machine` is in the file's name, for containers may share such a folder. `clock` gives seconds since the epoch.
    """

    def __init__(
        self, machine: str, clock: Callable[[], float] = time.time, folder: Path | None = None
    ) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"wxsign-{os.getuid()}"
        name = hashlib.sha256(machine.encode()).hexdigest()[:16]
        self._store = SqliteStore(self._folder / f"leases-{name}.db", clock, BUSY_SECONDS)

    def acquire(self, name: str, holder: str, lease_seconds: float, highest: int) -> Lease | None:
        """See `CredentialStore.acquire`. Raises `StoreUnavailable`, also where others may write into the folder."""
        self._require_own_folder()
        return self._store.acquire(name, holder, lease_seconds, highest)

    def release(self, lease: Lease) -> None:
        """See `CredentialStore.release`. Raises `StoreUnavailable`."""
        self._require_own_folder()
        self._store.release(lease)

    def _require_own_folder(self) -> None:
        """Anybody may make a folder of that name first, and lay links in it to files of ours."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            found = self._folder.lstat()
        except OSError as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise StoreUnavailable(f"{self._folder} is not a folder of this user alone")
