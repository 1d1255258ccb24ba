"""What `token_from` of an account means: the system that hands out its access_token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxsign.accounts import Fields, FileSource, HttpSource, RedisSource
from wxsign.errors import Text
from wxsign.settings.addresses import is_loopback
from wxsign.settings.sources import check_keys
from wxsign.settings.table import Kind, Section, Setting
from wxsign.stores.redis_url import parse_redis_url

if TYPE_CHECKING:
    from wxsign.accounts import Source
    from wxsign.settings.sources import Notes, Table

_NO_TEXT: Final = Text("", "")
_SECRETS: Final = ("url", "bearer", "redis")
_TEXTS: Final = ("refresh_url", "file", "key", "token", "expires_in", "expires_at")
_ROWS: Final = {
    name: Setting(Section.ACCOUNTS, name, kind, None, "", _NO_TEXT)
    for names, kind in ((_SECRETS, Kind.SECRET), (_TEXTS, Kind.TEXT))
    for name in names
}
_KEYS: Final = tuple(key for row in _ROWS.values() for key in row.keys)
_EXAMPLES: Final = Text("docs/sources.md has examples.", "示例见 docs/sources.zh-CN.md。")


def source_setting(table: Table, notes: Notes) -> Source | None:
    """Read `token_from`; what is wrong with it is noted."""
    values = table.table("token_from")
    if not values:
        return None
    own = replace(table, label=table.name("token_from"), rows=_ROWS, values=values, over={})
    check_keys(own.label, values, _KEYS, _EXAMPLES, notes)
    given = [
        name
        for name in ("url", "file", "redis")
        if (name == "file" and "file" in values) or own.has_secret(name)
    ]
    if len(given) != 1:
        message = Text("needs one of `url`, `file` and `redis`.", "须在 `url`、`file`、`redis` 中给出一个。")
        notes.problem(own.label, message, _EXAMPLES)
        return None
    if given == ["url"]:
        return _http(own, notes)
    fields = _fields(own, expires_at="expires_at")
    if given == ["file"]:
        return _file(own, fields, notes)
    return _redis(own, fields, notes)


def _fields(table: Table, *, expires_in: str = "", expires_at: str = "") -> Fields:
    return Fields(
        table.text("token", "access_token"),
        table.text("expires_in", expires_in),
        table.text("expires_at", expires_at),
    )


def _http(table: Table, notes: Notes) -> HttpSource | None:
    url, bearer = table.secret("url"), table.secret("bearer")
    if url is None:
        return None
    address, refresh_url = str(url.value), table.text("refresh_url")
    for key, value in (("url", address), ("refresh_url", refresh_url)):
        if value or key == "url":
            _check_url(f"{table.label}.{key}", value, notes)
    fields = _fields(table, expires_in="expires_in")
    return HttpSource(address, str(bearer.value) if bearer else "", refresh_url, fields)


def _check_url(label: str, url: str, notes: Notes) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None or not url.isascii():
        message = Text("is not an http(s) URL.", "不是 http(s) 地址。")
        notes.problem(label, message, _EXAMPLES)
    elif parts.scheme == "http" and not is_loopback(host):
        message = Text("the token travels in plain text.", "token 会以明文传输。")
        notes.warning(label, message, Text("Use https.", "请使用 https。"))


def _file(table: Table, fields: Fields, notes: Notes) -> FileSource | None:
    path = table.text("file")
    if not Path(path).is_absolute():
        message = Text("is not an absolute path.", "不是绝对路径。")
        notes.problem(f"{table.label}.file", message, _EXAMPLES)
        return None
    return FileSource(path, fields)


def _redis(table: Table, fields: Fields, notes: Notes) -> RedisSource | None:
    entry, key = table.secret("redis"), table.text("key")
    if not key:
        notes.problem(f"{table.label}.key", Text("the key is missing.", "缺少键名。"), _EXAMPLES)
    if entry is None:
        return None
    try:
        parse_redis_url(str(entry.value))
    except ValueError:
        message = Text("is not the address of a Redis.", "不是 Redis 地址。")
        notes.problem(f"{table.label}.redis", message, _EXAMPLES)
    return RedisSource(str(entry.value), key, fields)
