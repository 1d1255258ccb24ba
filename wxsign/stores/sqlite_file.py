"""The file of a SQLite store: why it cannot be used, in words that say what to do, and who else may read it."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import sqlite3
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wxsign.errors import StoreUnavailable, Text

if TYPE_CHECKING:
    from pathlib import Path

_NO_ACCESS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NOT_OPENED: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})


def readable_by_others(path: Path) -> bool:
    """Whether every user of this machine may read the file, as far as its mode and its folder's say. It holds tokens."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH and path.parent.stat().st_mode & stat.S_IXOTH)
    except OSError:
        return False


def unavailable(path: Path, error: sqlite3.Error | OSError) -> StoreUnavailable:
    """Say of `error` which file it concerns and, where access is the trouble, whose that is and who wants it."""
    detail = f"{path}: {type(error).__name__}: {error}"
    if isinstance(error, OSError):
        return _no_access(path, detail) if error.errno in _NO_ACCESS else StoreUnavailable(detail)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _NOT_OPENED:
        return _no_access(path, detail)
    return StoreUnavailable(detail, _OTHER_TABLES if code == sqlite3.SQLITE_ERROR else None)


_OTHER_TABLES: Final = Text(
    "Its tables are not those of wxsign: move the file away, and wxsign makes a new one, or name another path in"
    " WXSIGN_STORE.",
    "其中的表不是 wxsign 的：请移走该文件（wxsign 会新建一个），或在 WXSIGN_STORE 中换一个路径。",
)


def _no_access(path: Path, detail: str) -> StoreUnavailable:
    found = _in_the_way(path)
    if found is None:
        return StoreUnavailable(detail)
    place, owner_id = found
    owner, user = _user(owner_id), _user(os.geteuid())
    whose = f"{detail}; {place} belongs to {owner}, and this process runs as {user}"
    if owner_id == os.geteuid():
        return StoreUnavailable(
            whose,
            Text(
                f"Allow this user to write there (`chmod u+rwX {shlex.quote(str(place))}`), see that the file system"
                " is not read-only, or name another path in WXSIGN_STORE.",
                f"请允许该用户写入（`chmod u+rwX {shlex.quote(str(place))}`），并确认文件系统不是只读；"
                "或在 WXSIGN_STORE 中换一个路径。",
            ),
        )
    command = shlex.join(["chown", str(os.geteuid()), str(place)])
    return StoreUnavailable(
        whose,
        Text(
            f"Give it to the user that runs wxsign (`{command}`; a folder only if it is wxsign's alone), run wxsign as"
            f" {owner}, or name another path in WXSIGN_STORE.",
            f"请把它交给运行 wxsign 的用户（`{command}`；目录仅限 wxsign 专用的目录），或以 {owner} 身份运行 wxsign，"
            "或在 WXSIGN_STORE 中换一个路径。",
        ),
    )


def _in_the_way(path: Path) -> tuple[Path, int] | None:
    """What this process may not write, and its owner: the file, or its folder, or the nearest that is there to be seen."""
    there: list[tuple[Path, int]] = []
    for place in (path, *path.parents):
        with suppress(OSError):
            there.append((place, place.stat().st_uid))
    return next((found for found in there[:2] if not os.access(found[0], os.W_OK)), None)


def _user(number: int) -> str:
    try:
        return f"{pwd.getpwuid(number).pw_name} (uid {number})"
    except KeyError:
        return f"uid {number}"
