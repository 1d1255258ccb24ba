"""Who an account is: its kind, AppID and AppSecret, and what people write in their place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wxsign.accounts import AccountKind
from wxsign.errors import Text

if TYPE_CHECKING:
    from wxsign.settings.sources import Notes, Table

_LATER_KINDS: Final = ("wecom",)
_OF_PAGES: Final = ("allowed_hosts", "js_api_list", "open_tag_list")
_VISIBLE: Final = re.compile(r"[!-~]+")
_APP_ID: Final = re.compile(r"[A-Za-z0-9_-]{4,64}")


def account_kind(table: Table, notes: Notes) -> AccountKind:
    """The account's `kind`; a problem of it is noted."""
    word = table.text("kind", "official")
    if word == AccountKind.MINIPROGRAM:
        message = Text("a Mini Program has no web pages to sign for.", "小程序没有需要签名的网页。")
        hint = Text(
            "Leave it out; a page inside a web-view is signed by an Official Account.",
            "请删除此项；web-view 中的网页由公众号签名。",
        )
        for key in _OF_PAGES:
            if table.entry(key):
                notes.problem(table.name(key), message, hint)
        return AccountKind.MINIPROGRAM
    if word != AccountKind.OFFICIAL:
        later = Text(
            f"accounts of kind `{word}` are not supported by this version.",
            f"当前版本不支持 `{word}` 类型的账号。",
        )
        unknown = Text("is not a kind of account.", "不是有效的账号类型。")
        hint = Text("Write `official` or `miniprogram`.", "请写 `official` 或 `miniprogram`。")
        notes.problem(table.name("kind"), later if word in _LATER_KINDS else unknown, hint)
    return AccountKind.OFFICIAL


def app_id(table: Table, notes: Notes) -> str:
    """The account's AppID; what it is instead is noted."""
    app_id = table.text("app_id")
    if not app_id:
        hint = Text(
            "It stands in the WeChat developer platform: 微信开发者平台 → 我的业务 → 公众号/服务号 → 基础信息.",
            "它显示在：微信开发者平台 → 我的业务 → 公众号/服务号 → 基础信息。",
        )
        notes.problem(table.name("app_id"), Text("the AppID is missing.", "缺少 AppID。"), hint)
    elif app_id.startswith("gh_"):
        message = Text(
            "this is the account's original ID, not its AppID.", "这是公众号的原始 ID，不是 AppID。"
        )
        notes.problem(
            table.name("app_id"), message, Text("An AppID begins with `wx`.", "AppID 以 `wx` 开头。")
        )
    elif app_id.startswith("ww"):
        message = Text(
            "this is a corporation's ID of WeCom, not an AppID.", "这是企业微信的企业 ID，不是 AppID。"
        )
        hint = Text("An AppID begins with `wx`.", "AppID 以 `wx` 开头。")
        notes.problem(table.name("app_id"), message, hint)
    elif not _APP_ID.fullmatch(app_id):
        message = Text("is not an AppID.", "不是有效的 AppID。")
        hint = Text("For example: wx0123456789abcdef.", "例如：wx0123456789abcdef。")
        notes.problem(table.name("app_id"), message, hint)
    return app_id


def app_secret(table: Table, notes: Notes, *, required: bool) -> str:
    """The account's AppSecret; empty where there is none."""
    entry = table.secret("app_secret")
    if entry is not None and not _VISIBLE.fullmatch(str(entry.value)):
        message = Text(
            "the AppSecret contains blanks or unusual characters.", "AppSecret 含有空白或特殊字符。"
        )
        hint = Text("It is 32 letters and digits; copy it again.", "它由 32 个字母和数字组成，请重新复制。")
        notes.problem(entry.label, message, hint)
    elif required and entry is None and not table.has_secret("app_secret"):
        hint = Text(
            f"Set {table.name('app_secret')}, or better its file: WXSIGN_SECRET_FILE, `app_secret_file`.",
            f"请设置 {table.name('app_secret')}，最好用文件：WXSIGN_SECRET_FILE、`app_secret_file`。",
        )
        notes.problem(table.name("app_secret"), Text("the AppSecret is missing.", "缺少 AppSecret。"), hint)
    return str(entry.value) if entry else ""
