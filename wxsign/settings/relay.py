"""What a client may have relayed: its `relay_paths`, and that they and its scopes agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxsign.accounts.relayed import NEVER_RELAYED, is_relay_pattern
from wxsign.errors import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxsign.settings.sources import Notes, Table

_EXAMPLE: Final = Text(
    "For example: `/cgi-bin/user/info`, or `/cgi-bin/message/*` for everything below it; no host, no query.",
    "例如：`/cgi-bin/user/info`，或用 `/cgi-bin/message/*` 表示其下的全部路径；不带域名和查询参数。",
)


def relay_paths(table: Table, scopes: Sequence[str], notes: Notes) -> tuple[str, ...]:
    """The paths of WeChat that the client of this table may have called. Notes what cannot be meant."""
    words = table.words("relay_paths") or ()
    for word in words:
        if not is_relay_pattern(word):
            _refuse(word, table.name("relay_paths"), notes)
    if words and "relay" not in scopes:
        message = Text(
            "paths are listed, but the scope `relay` is missing.", "列出了路径，但缺少 `relay` 权限。"
        )
        hint = Text("Add `relay` to the client's `scopes`.", "请在该客户端的 `scopes` 中加入 `relay`。")
        notes.problem(table.name("scopes"), message, hint)
    elif not words and "relay" in scopes:
        message = Text(
            "the scope `relay` opens nothing while no path is listed.",
            "没有列出任何路径，`relay` 权限不起作用。",
        )
        notes.problem(table.name("relay_paths"), message, _EXAMPLE)
    return tuple(words)


def _refuse(word: str, key: str, notes: Notes) -> None:
    if word.lower() in NEVER_RELAYED:
        message = Text(f"{word!a} is never relayed.", f"{word!a} 不能经由转发调用。")
        hint = Text(
            "Tokens, tickets and quotas have paths of their own: docs/http-api.md.",
            "token、ticket 和调用额度有各自的接口，见 docs/http-api.zh-CN.md。",
        )
        notes.problem(key, message, hint)
        return
    message = Text(f"{word!a} is not a path that can be relayed.", f"{word!a} 不是可以转发的路径。")
    notes.problem(key, message, _EXAMPLE)
