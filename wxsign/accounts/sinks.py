"""Where an account's credentials are mirrored for systems that look for a file."""

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
