"""A key of somebody else's in a Redis: kept in step with a credential for systems that read it there, or read by us."""

from __future__ import annotations

from wxsign.errors import StoreUnavailable
from wxsign.stores.redis_link import RedisLink
from wxsign.stores.redis_scripts import FOREIGN, MIRROR
from wxsign.stores.redis_url import parse_redis_url


class RedisMirror:
    """Keys in the Redis of a URL: a server, Sentinels or a Cluster. Raises `UnusableStoreUrlError` for another URL."""

    def __init__(self, url: str) -> None:
        self._address = parse_redis_url(url)
        self._links: dict[str, RedisLink] = {}

    def put(self, key: str, text: str, version: int, seconds: int) -> None:
        """Set `key` for so many seconds, unless a higher version stands there. Raises StoreUnavailable."""
        # In a Cluster both keys have to lie in one slot.
        beside = f"{key}.version" if "{" in key else f"{{{key}}}.version"
        self._link(key).run(MIRROR, [key, beside], "", [text, version, max(1, seconds)])

    def get(self, key: str) -> tuple[str, float | None]:
        """The text of `key`, and the seconds until it ends, None where it does not. Raises StoreUnavailable."""
        _now, *found = self._link(key).run(FOREIGN, [key], "", [])
        if not found:
            raise StoreUnavailable("there is no such key")
        text, left = str(found[0]), int(found[1])
        return text, None if left < 0 else left / 1000

    def _link(self, key: str) -> RedisLink:
        return self._links.get(key) or self._links.setdefault(key, RedisLink(self._address, key))
