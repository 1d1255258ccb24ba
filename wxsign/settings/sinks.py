"""What `[accounts.NAME.sinks.X]` means."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wxsign.accounts import FileSink, RedisSink
from wxsign.credentials import CredentialKind
from wxsign.errors import Text
from wxsign.settings.table import Kind, Section, Setting
from wxsign.stores.redis_url import parse_redis_url

if TYPE_CHECKING:
    from wxsign.accounts import Sink
    from wxsign.settings.sources import Notes, Table

_SECRETS: Final = ("url", "url_env", "url_file")
_KEYS: Final = {
    "file": ("kind", "path", "credential", "format", "mode"),
    "redis": ("kind", *_SECRETS, "key", "credential", "format"),
}
_CREDENTIALS: Final = {
    "access_token": CredentialKind.ACCESS_TOKEN,
    "jsapi_ticket": CredentialKind.JSAPI_TICKET,
}
_FORMATS: Final = {
    "file": ("value", "json", "php-sample"),
    "redis": ("value", "json", "wechatpy", "wxjava"),
}
_MODE: Final = re.compile(r"0?[0-7]{3}")
_NO_TEXT: Final = Text("", "")
_URL: Final = {"url": Setting(Section.ACCOUNTS, "url", Kind.SECRET, None, "", _NO_TEXT)}
_EXAMPLES: Final = Text("docs/sinks.md has examples.", "示例见 docs/sinks.md。")


def sink_settings(table: Table, notes: Notes, app_id: str) -> tuple[Sink, ...]:
    """Read the sinks of the account with this AppID."""
    found = []
    for name, values in table.tables("sinks").items():
        # One table of its own for each, so that a secret is read as everywhere.
        own = replace(table, label=f"{table.name('sinks')}.{name}", rows=_URL, values=values, over={})
        sink = _sink(own, name, notes, app_id)
        if sink is not None:
            found.append(sink)
    return tuple(found)


def _sink(table: Table, name: str, notes: Notes, app_id: str) -> Sink | None:
    texts = {key: value for key, value in table.values.items() if isinstance(value, str)}
    kind = texts.get("kind", "file")
    keys = _KEYS.get(kind, _KEYS["file"])
    wrong = {
        key: Text("is not a text under a known name.", "不是已知名称下的文本。")
        for key in table.values
        if key not in texts or key not in keys
    }
    form, credential = texts.get("format", "value"), texts.get("credential", "access_token")
    if credential not in _CREDENTIALS:
        wrong["credential"] = Text(
            "must be `access_token` or `jsapi_ticket`.", "必须是 `access_token` 或 `jsapi_ticket`。"
        )
    if kind not in _KEYS:
        wrong["kind"] = Text("must be `file` or `redis`.", "必须是 `file` 或 `redis`。")
    elif form not in _FORMATS[kind] and "{value}" not in form:
        known = ", ".join(f"`{known}`" for known in _FORMATS[kind])
        wrong["format"] = Text(
            f"must be {known} or a text with `{{value}}`.", f"必须是 {known} 或含 `{{value}}` 的文本。"
        )
    make = _redis if kind == "redis" else _file
    made = make(table, texts, wrong, app_id)
    for key, message in wrong.items():
        notes.problem(f"{table.label}.{key}", message, _EXAMPLES)
    if wrong or made is None:
        return None
    return made._replace(name=name, credential=_CREDENTIALS[credential], format=form, field=credential)


def _file(_table: Table, texts: dict[str, str], wrong: dict[str, Text], _app_id: str) -> FileSink | None:
    path, mode = texts.get("path", ""), texts.get("mode", "0600")
    if not Path(path).is_absolute():
        wrong.setdefault("path", Text("is not an absolute path.", "不是绝对路径。"))
    if not _MODE.fullmatch(mode):
        wrong.setdefault("mode", Text("is not a mode like `0640`.", "不是 `0640` 这样的权限。"))
        return None
    return FileSink("", CredentialKind.ACCESS_TOKEN, path, "", "", int(mode, 8))


def _redis(table: Table, texts: dict[str, str], wrong: dict[str, Text], app_id: str) -> RedisSink | None:
    entry, key = table.secret("url"), texts.get("key", "")
    if not key and texts.get("format") == "wechatpy":
        key = f"wechatpy:{app_id}_{texts.get('credential', 'access_token')}"
    if not key:
        wrong.setdefault("key", Text("the key is missing.", "缺少键名。"))
    if entry is None:
        if not table.has_secret("url"):
            wrong["url"] = Text("the address of the Redis is missing.", "缺少 Redis 地址。")
        return None
    try:
        parse_redis_url(str(entry.value))
    except ValueError:
        wrong["url"] = Text("is not the address of a Redis.", "不是 Redis 地址。")
    return RedisSink("", CredentialKind.ACCESS_TOKEN, str(entry.value), key, "", "")
