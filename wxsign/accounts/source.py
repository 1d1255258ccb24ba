"""Where the access_token of an account comes from that has no AppSecret here: another system hands it out."""

from __future__ import annotations

from typing import NamedTuple


class Fields(NamedTuple):
    """What the values are called in a JSON object; a dot goes one object deeper. Empty where there is none.

    `expires_in` is the seconds left, `expires_at` the Unix time of the end.
    """

    token: str = "access_token"  # noqa: S105 - a name
    expires_in: str = ""
    expires_at: str = ""


class HttpSource(NamedTuple):
    """A service: GET `url` gives the token; POST `{"rejected": "…"}` to `refresh_url`, if there is one, has a dead one replaced."""

    url: str
    bearer: str
    refresh_url: str
    fields: Fields

    def __repr__(self) -> str:
        return "HttpSource()"


class FileSource(NamedTuple):
    """A file that holds the token alone, or a JSON object."""

    path: str
    fields: Fields


class RedisSource(NamedTuple):
    """A key of a Redis that holds the token alone, or JSON; it ends when the token does."""

    url: str
    key: str
    fields: Fields

    def __repr__(self) -> str:
        return f"RedisSource(key={self.key!r})"


Source = HttpSource | FileSource | RedisSource
