"""Where credentials are kept. `open_store` makes the store that a URL names."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from wxsign.stores.base import LONGEST_NOTE_SECONDS, CredentialStore, Lease, Ration, View
from wxsign.stores.machine import MachineStore
from wxsign.stores.memory import MemoryStore
from wxsign.stores.redis_url import names_redis, require_redis
from wxsign.stores.sqlite import SqliteStore
from wxsign.stores.sqlite_file import readable_by_others

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.stores.redis_mirror import RedisMirror

__all__ = [
    "LONGEST_NOTE_SECONDS",
    "CredentialStore",
    "Lease",
    "MachineStore",
    "MemoryStore",
    "Ration",
    "SqliteStore",
    "View",
    "mirror_at",
    "open_store",
    "readable_by_others",
]


def open_store(url: str, clock: Callable[[], float] | None = None) -> CredentialStore:
    """The store that `url` names: `memory:`, `sqlite:///path`, or a Redis (`redis_url` lists the forms).

    `clock` gives seconds since the epoch; without it Redis counts by its own clock, the others by this machine's. Nothing
    is opened before the first use. Raises `ValueError` for a URL that names no store, or one whose extra is missing.
    """
    if url == "memory:":
        return MemoryStore(clock or time.time)
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return SqliteStore(url.removeprefix("sqlite:///"), clock or time.time)
    if names_redis(url):
        return _redis_store(url, clock)
    scheme = url.partition(":")[0]
    raise ValueError(f"a store is named by memory: or sqlite:///path or a Redis URL, not by {scheme}:")


def _redis_store(url: str, clock: Callable[[], float] | None) -> CredentialStore:
    require_redis()
    # Imported here, so that nobody without a Redis needs the client.
    from wxsign.stores.redis import RedisStore  # noqa: PLC0415

    return RedisStore(url, clock)


@cache
def mirror_at(url: str) -> RedisMirror:
    """Keys of other systems in the Redis that `url` names; one for each URL. Raises `ValueError` for a URL that names none."""
    from wxsign.stores.redis_mirror import RedisMirror  # noqa: PLC0415 - an extra

    return RedisMirror(url)
