"""Who an account is: its kind, AppID and AppSecret, and what people write in their place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wxsign.accounts import AccountKind
from wxsign.errors import Text

if TYPE_CHECKING:
    from wxsign.settings.sources import Notes, Table

_OF_OTHERS: Final = (
    "app_id",
    "app_secret",
    "app_secret_env",
    "app_secret_file",
    "token_from",
    "token_endpoint",
    "open_tag_list",
    "quota",
    "sinks",
)
_OF_PAGES: Final = ("allowed_hosts", "js_api_list", "open_tag_list")
_NO_PAGES: Final = (
    Text("a Mini Program has no web pages to sign for.", "小程序没有需要签名的网页。"),
    Text(
        "Leave it out; a page inside a web-view is signed by an Official Account.",
        "请删除此项；web-view 中的网页由公众号签名。",
    ),
)
_NOT_OF_CORPS: Final = (
    Text("a corporation of WeCom has no such setting.", "企业微信的企业没有此项设置。"),
    Text(
        "It has `corp_id`, `allowed_hosts`, `js_api_list`, `warm` and `agents`: docs/wecom.md.",
        "可用的有 `corp_id`、`allowed_hosts`、`js_api_list`、`warm` 和 `agents`，见 docs/wecom.md。",
    ),
)
_OF_CORPS: Final = (
    Text("is of a corporation of WeCom alone.", "只用于企业微信的企业。"),
    Text('Write `kind = "wecom"`, or leave it out.', '请写 `kind = "wecom"`，或删除此项。'),
)
VISIBLE: Final = re.compile(r"[!-~]+")
_APP_ID: Final = re.compile(r"[A-Za-z0-9_-]{4,64}")


def account_kind(table: Table, notes: Notes) -> AccountKind:
    """The account's `kind`; a problem of it is noted."""
    word = table.text("kind", "official")
    if word == AccountKind.MINIPROGRAM:
        _leave_out(_OF_PAGES, _NO_PAGES, table, notes)
        return AccountKind.MINIPROGRAM
    if word == AccountKind.WECOM:
        _leave_out(_OF_OTHERS, _NOT_OF_CORPS, table, notes)
        return AccountKind.WECOM
    _leave_out(("corp_id", "agents"), _OF_CORPS, table, notes)
    if word != AccountKind.OFFICIAL:
        unknown = Text("is not a kind of account.", "不是有效的账号类型。")
        hint = Text(
            "Write `official`, `miniprogram` or `wecom`.", "请写 `official`、`miniprogram` 或 `wecom`。"
        )
        notes.problem(table.name("kind"), unknown, hint)
    return AccountKind.OFFICIAL


def _leave_out(keys: tuple[str, ...], why: tuple[Text, Text], table: Table, notes: Notes) -> None:
    for key in keys:
        if key in table.values:
            notes.problem(f"{table.label}.{key}", *why)


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
        hint = Text(
            'An AppID begins with `wx`; a corporation has `kind = "wecom"` and `corp_id`.',
            'AppID 以 `wx` 开头；企业微信请写 `kind = "wecom"` 和 `corp_id`。',
        )
        notes.problem(table.name("app_id"), message, hint)
    elif not _APP_ID.fullmatch(app_id):
        message = Text("is not an AppID.", "不是有效的 AppID。")
        hint = Text("For example: wx0123456789abcdef.", "例如：wx0123456789abcdef。")
        notes.problem(table.name("app_id"), message, hint)
    return app_id


def app_secret(table: Table, notes: Notes, *, required: bool) -> str:
    """The account's AppSecret; empty where there is none."""
    entry = table.secret("app_secret")
    if entry is not None and not VISIBLE.fullmatch(str(entry.value)):
        message = Text(
            "the AppSecret contains blanks or unusual characters.", "AppSecret 含有空白或特殊字符。"
        )
        hint = Text("It is 32 letters and digits; copy it again.", "它由 32 个字母和数字组成，请重新复制。")
        notes.problem(entry.label, message, hint)
    elif entry is not None and table.entry("token_from") is not None:
        message = Text("and `token_from` are two ways to a token.", "与 `token_from` 只能二选一。")
        hint = Text("Keep one of them.", "请只保留其中一个。")
        notes.problem(entry.label, message, hint)
    elif required and entry is None and not table.has_secret("app_secret"):
        hint = Text(
            f"Set {table.name('app_secret')}, or better its file: WXSIGN_SECRET_FILE, `app_secret_file`.",
            f"请设置 {table.name('app_secret')}，最好用文件：WXSIGN_SECRET_FILE、`app_secret_file`。",
        )
        notes.problem(table.name("app_secret"), Text("the AppSecret is missing.", "缺少 AppSecret。"), hint)
    return str(entry.value) if entry else ""
