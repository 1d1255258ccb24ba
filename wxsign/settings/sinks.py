"""What `[accounts.NAME.sinks.X]` means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wxsign.accounts import FileSink
from wxsign.credentials import CredentialKind
from wxsign.errors import Text

if TYPE_CHECKING:
    from wxsign.settings.sources import Notes, Table

_KEYS: Final = ("kind", "path", "credential", "format", "mode")
_CREDENTIALS: Final = {
    "access_token": CredentialKind.ACCESS_TOKEN,
    "jsapi_ticket": CredentialKind.JSAPI_TICKET,
}
_FORMATS: Final = ("value", "json", "php-sample")
_MODE: Final = re.compile(r"0?[0-7]{3}")


def sink_settings(table: Table, notes: Notes) -> tuple[FileSink, ...]:
    """Read the sinks of an account."""
    found = []
    for name, values in table.tables("sinks").items():
        label = f"{table.name('sinks')}.{name}"
        texts = {key: value for key, value in values.items() if key in _KEYS and isinstance(value, str)}
        for key in values.keys() - texts.keys():
            notes.problem(
                f"{label}.{key}",
                Text("is not a text under a known name.", "不是已知名称下的文本。"),
                Text(f"Known: {', '.join(_KEYS)}.", f"可用：{', '.join(_KEYS)}。"),
            )
        sink = _sink(label, name, texts, notes)
        if sink is not None:
            found.append(sink)
    return tuple(found)


def _sink(label: str, name: str, texts: dict[str, str], notes: Notes) -> FileSink | None:
    path, form = Path(texts.get("path", "")), texts.get("format", "value")
    credential, mode = texts.get("credential", "access_token"), texts.get("mode", "0600")
    problems = {
        "kind": texts.get("kind", "file") != "file" and Text("must be `file`.", "必须是 `file`。"),
        "path": not path.is_absolute() and Text("is not an absolute path.", "不是绝对路径。"),
        "credential": credential not in _CREDENTIALS
        and Text("must be `access_token` or `jsapi_ticket`.", "必须是 `access_token` 或 `jsapi_ticket`。"),
        "format": form not in _FORMATS
        and "{value}" not in form
        and Text(
            "must be `value`, `json`, `php-sample`, or a text with `{value}`.",
            "必须是 `value`、`json`、`php-sample`，或含 `{value}` 的文本。",
        ),
        "mode": not _MODE.fullmatch(mode) and Text("is not a mode like `0640`.", "不是 `0640` 这样的权限。"),
    }
    for key, message in problems.items():
        if message:
            hint = Text("docs/sinks.md has examples.", "示例见 docs/sinks.md。")
            notes.problem(f"{label}.{key}", message, hint)
    if any(problems.values()):
        return None
    return FileSink(name, _CREDENTIALS[credential], str(path), form, credential, int(mode, 8))
