"""Where an account's credentials are mirrored for systems that look for a file or a key of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from wxsign.credentials import CredentialKind


class FileSink(NamedTuple):
    """A file: `format` is `value`, `json`, `php-sample`, or a text with `{value}`, `{expires_in}`, `{expires_at}`.

    `field` is what the value is called in JSON.
    """

    name: str
    credential: CredentialKind
    path: str
    format: str
    field: str
    mode: int = 0o600


class RedisSink(NamedTuple):
    """A key of a Redis, which ends when the value does; `format` also `wechatpy` (a JSON string) and `wxjava` (the value)."""

    name: str
    credential: CredentialKind
    url: str
    key: str
    format: str
    field: str

    def __repr__(self) -> str:
        return f"RedisSink({self.name!r}, key={self.key!r})"


Sink = FileSink | RedisSink
