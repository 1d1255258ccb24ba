"""What `[alerts]` means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxsign.errors import Text
from wxsign.settings.values import AlertSettings

if TYPE_CHECKING:
    from wxsign.settings.sources import Notes, Table

KINDS: Final = ("wecom", "dingtalk", "feishu", "slack", "json")
_HOSTS: Final = {
    "qyapi.weixin.qq.com": "wecom",
    "oapi.dingtalk.com": "dingtalk",
    "open.feishu.cn": "feishu",
    "open.larksuite.com": "feishu",
    "hooks.slack.com": "slack",
}
_ENGLISH: Final = frozenset({"slack", "json"})


def alert_settings(table: Table, notes: Notes) -> AlertSettings | None:
    """Read `[alerts]`; None where nobody is to be told anything."""
    webhook, ping_url = (_address(key, table, notes) for key in ("webhook", "ping_url"))
    kind = _choice("kind", KINDS, table, notes) or _HOSTS.get(urlsplit(webhook).hostname or "", "json")
    language = _choice("language", ("zh", "en"), table, notes) or ("en" if kind in _ENGLISH else "zh")
    return AlertSettings(webhook, kind, ping_url, language) if webhook or ping_url else None


def _address(key: str, table: Table, notes: Notes) -> str:
    entry = table.secret(key)
    address = str(entry.value).strip() if entry else ""
    try:
        parts = urlsplit(address)
        usable = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and address.isascii()
            and " " not in address
        )
    except ValueError:
        usable = False
    if entry is None or usable:
        return address
    message = Text("is not an http(s) address.", "不是 http(s) 地址。")
    notes.problem(entry.label, message, Text("Copy it from the robot's page.", "请从机器人的设置页复制。"))
    return ""


def _choice(key: str, known: tuple[str, ...], table: Table, notes: Notes) -> str:
    word = table.text(key)
    if not word or word in known:
        return word
    listed = ", ".join(f"`{name}`" for name in known)
    message = Text("is not known.", "无法识别。")
    notes.problem(table.name(key), message, Text(f"Known: {listed}.", f"可用：{listed}。"))
    return ""
