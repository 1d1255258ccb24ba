"""A key of somebody else's in a Redis, kept in step with a credential: for systems that already read it there."""

from __future__ import annotations

from wxsign.stores.redis_link import RedisLink
from wxsign.stores.redis_scripts import MIRROR
from wxsign.stores.redis_url import parse_redis_url


class RedisMirror:
    """Writes keys into the Redis of a URL: a server, Sentinels or a Cluster. Raises `UnusableStoreUrlError` for another URL."""

    def __init__(self, url: str) -> None:
        self._address = parse_redis_url(url)
        self._links: dict[str, RedisLink] = {}

    def put(self, key: str, text: str, version: int, seconds: int) -> None:
        """Set `key` for so many seconds, unless a higher version stands there. Raises StoreUnavailable."""
        link = self._links.setdefault(key, RedisLink(self._address, key))
        # In a Cluster both keys have to lie in one slot.
        beside = f"{key}.version" if "{" in key else f"{{{key}}}.version"
        link.run(MIRROR, [key, beside], "", [text, version, max(1, seconds)])
