"""What `[accounts.NAME]` means, and what `[defaults]` says of all of them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from wxsign.accounts import DAILY_LIMITS, WECOM_API_LIST, AccountKind, HostRule, OfficialAccount
from wxsign.credentials import TokenEndpoint
from wxsign.errors import Text
from wxsign.settings import identity
from wxsign.settings.sinks import sink_settings
from wxsign.settings.source import source_setting
from wxsign.settings.wecom import agents_of
from wxsign.signing import JS_API_LIST, OPEN_TAG_LIST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxsign.settings.sources import Notes, Table

_INTERFACE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_:.-]{0,63}")


class Defaults(NamedTuple):
    """What an account has that does not say otherwise."""

    token_endpoint: TokenEndpoint
    js_api_list: tuple[str, ...]
    open_tag_list: tuple[str, ...]
    warm: bool | None


def defaults_of(table: Table, notes: Notes) -> Defaults:
    """Read `[defaults]`."""
    return Defaults(
        _token_endpoint(table, notes, TokenEndpoint.STABLE),
        _interfaces("js_api_list", JS_API_LIST, table, notes),
        _interfaces("open_tag_list", OPEN_TAG_LIST, table, notes),
        _warm(table, None),
    )


def accounts_of(
    name: str, table: Table, defaults: Defaults, notes: Notes, *, refresh: bool
) -> Iterator[OfficialAccount]:
    """The account of a table, or those of a corporation's agents; none where its identity is missing."""
    kind = identity.account_kind(table, notes)
    wecom = kind is AccountKind.WECOM
    app_id = "" if wecom else identity.app_id(table, notes)
    source = None if wecom else source_setting(table, notes)
    secret = "" if wecom else identity.app_secret(table, notes, required=refresh and source is None)
    if wecom:
        lists: tuple[tuple[str, ...], tuple[str, ...]] = (WECOM_API_LIST, ())
        endpoint = TokenEndpoint.WECOM
    else:
        lists = (defaults.js_api_list, defaults.open_tag_list)
        endpoint = TokenEndpoint.SOURCE if source else _token_endpoint(table, notes, defaults.token_endpoint)
    account = OfficialAccount(
        name=name,
        app_id=app_id,
        app_secret=secret,
        allowed_hosts=_allowed_hosts(table, notes),
        token_endpoint=endpoint,
        js_api_list=_interfaces("js_api_list", lists[0], table, notes),
        open_tag_list=_interfaces("open_tag_list", lists[1], table, notes),
        warm=_warm(table, defaults.warm),
        kind=kind,
        source=source,
    )
    if wecom:
        yield from agents_of(account, table, notes, refresh=refresh)
        return
    quota, sinks = table.limits("quota", DAILY_LIMITS), sink_settings(table, notes, app_id)
    if app_id and (secret or source or not refresh):
        yield replace(account, quota=quota, sinks=sinks)


def _allowed_hosts(table: Table, notes: Notes) -> tuple[HostRule, ...]:
    rules = []
    for word in table.words("allowed_hosts") or ():
        try:
            rules.append(HostRule.parse(word))
        except ValueError as error:
            message = Text(f"{word!a} is not a host: {error}.", f"{word!a} 不是有效的域名。")
            hint = Text(
                "Write `m.example.com`, `m.example.com:8443` or `*.example.com`, without scheme and path.",
                "请写 `m.example.com`、`m.example.com:8443` 或 `*.example.com`，不带协议和路径。",
            )
            notes.problem(table.name("allowed_hosts"), message, hint)
    return tuple(rules)


def _warm(table: Table, default: bool | None) -> bool | None:  # noqa: FBT001 - a value, not a switch
    return table.boolean("warm", default=False) if table.entry("warm") else default


def _token_endpoint(table: Table, notes: Notes, default: TokenEndpoint) -> TokenEndpoint:
    word = table.text("token_endpoint", default.value)
    if word not in {TokenEndpoint.STABLE, TokenEndpoint.CLASSIC}:
        message = Text("must be `stable` or `classic`.", "必须是 `stable` 或 `classic`。")
        hint = Text("`stable` is right unless you know better.", "一般使用 `stable` 即可。")
        notes.problem(table.name("token_endpoint"), message, hint)
    return TokenEndpoint.CLASSIC if word == TokenEndpoint.CLASSIC else TokenEndpoint.STABLE


def _interfaces(key: str, default: tuple[str, ...], table: Table, notes: Notes) -> tuple[str, ...]:
    words = table.words(key)
    for word in words or ():
        if not _INTERFACE.fullmatch(word):
            message = Text(f"{word!a} is not a name.", f"{word!a} 不是有效的名称。")
            hint = Text(f"For example: `{default[0]}`.", f"例如：`{default[0]}`。")
            notes.problem(table.name(key), message, hint)
    return default if words is None else words
