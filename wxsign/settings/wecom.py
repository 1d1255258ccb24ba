"""What `[accounts.NAME]` of kind `wecom` means: each of its agents is an account called `NAME/AGENT`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from wxsign.accounts import AGENT_API_LIST, Agent
from wxsign.errors import Text
from wxsign.settings.identity import VISIBLE
from wxsign.settings.sinks import sink_settings
from wxsign.settings.sources import check_keys
from wxsign.settings.table import Kind, Section, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxsign.accounts import OfficialAccount
    from wxsign.settings.sources import Notes, Table

_CORP_ID: Final = re.compile(r"w[wx][A-Za-z0-9_-]{2,62}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MOST: Final = 2**53
_NO_TEXT: Final = Text("", "")
_ROWS: Final = {
    key: Setting(Section.ACCOUNTS, key, kind, None, "", _NO_TEXT)
    for key, kind in (
        ("agent_id", Kind.INTEGER),
        ("secret", Kind.SECRET),
        ("js_api_list", Kind.LIST),
        ("sinks", Kind.TABLES),
    )
}
_KEYS: Final = (*_ROWS, "secret_env", "secret_file")


def agents_of(
    base: OfficialAccount, table: Table, notes: Notes, *, refresh: bool
) -> Iterator[OfficialAccount]:
    """The accounts of a corporation's agents; `base` has what they have in common."""
    corp_id = table.text("corp_id")
    if not _CORP_ID.fullmatch(corp_id):
        hint = Text(
            "It begins with `ww`: WeCom's admin console, 我的企业 → 企业信息.",
            "它以 `ww` 开头：企业微信管理后台 → 我的企业 → 企业信息。",
        )
        message = Text("is not a corporation's id.", "不是企业 ID。")
        notes.problem(table.name("corp_id"), message, hint)
    agents = table.tables("agents")
    if not agents:
        hint = Text(
            f"Write [{table.label}.agents.NAME] with `agent_id` and `secret_file`.",
            f"请写 [{table.label}.agents.名称]，含 `agent_id` 和 `secret_file`。",
        )
        notes.problem(table.name("agents"), Text("the corporation has no app.", "该企业没有应用。"), hint)
    seen: set[int] = set()
    for name, values in agents.items():
        own = replace(table, label=f"{table.name('agents')}.{name}", rows=_ROWS, values=values, over={})
        agent_id, secret = _agent_id(own, name, notes, seen), _secret(own, notes, required=refresh)
        seen.add(agent_id)
        agent = Agent(agent_id, own.words("js_api_list") or AGENT_API_LIST)
        if corp_id and (secret or not refresh):
            yield replace(
                base,
                name=f"{base.name}/{name}",
                app_id=corp_id,
                app_secret=secret,
                agent=agent,
                sinks=sink_settings(own, notes, corp_id),
            )


def _agent_id(table: Table, name: str, notes: Notes, seen: set[int]) -> int:
    otherwise = Text(f"Known: {', '.join(_KEYS)}.", f"可用：{', '.join(_KEYS)}。")
    check_keys(table.label, table.values, _KEYS, otherwise, notes)
    if not _NAME.fullmatch(name):
        hint = Text("Use letters, digits, `-` and `_`.", "请使用字母、数字、`-` 和 `_`。")
        notes.problem(table.label, Text("is not a usable name.", "不是可用的名称。"), hint)
    agent_id = table.integer("agent_id", 0)
    hint = Text(
        "It is a number such as 1000002: WeCom's admin console, 应用管理 → the app → AgentId.",
        "它是数字，例如 1000002：企业微信管理后台 → 应用管理 → 该应用 → AgentId。",
    )
    if not 0 < agent_id < _MOST:
        notes.problem(table.name("agent_id"), Text("is not an AgentId.", "不是 AgentId。"), hint)
    elif agent_id in seen:
        twice = Text("is another app's as well.", "与另一个应用的相同。")
        notes.problem(table.name("agent_id"), twice, hint)
    return agent_id


def _secret(table: Table, notes: Notes, *, required: bool) -> str:
    entry = table.secret("secret")
    hint = Text(
        "Each app has its own: `secret_file`, or `secret_env`; WeCom's admin console, 应用管理 → the app → Secret.",
        "每个应用各有一个，请用 `secret_file` 或 `secret_env` 给出：企业微信管理后台 → 应用管理 → 该应用 → Secret。",
    )
    if entry is not None and not VISIBLE.fullmatch(str(entry.value)):
        message = Text("the Secret contains blanks or unusual characters.", "Secret 含有空白或特殊字符。")
        notes.problem(entry.label, message, hint)
    elif required and entry is None and not table.has_secret("secret"):
        notes.problem(
            table.name("secret"), Text("the app's Secret is missing.", "缺少该应用的 Secret。"), hint
        )
    return str(entry.value) if entry else ""
