"""The addresses among the settings: store URL, API base, public URL. Pure checks that bring each into one form."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote_plus, unquote

from wxsign.errors import Text
from wxsign.logs import MASK, protect
from wxsign.stores import redis_url

if TYPE_CHECKING:
    from pathlib import Path

_BASE_URL: Final = re.compile(
    r"(https?)://([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([1-9]\d{0,4}))?((?:/[A-Za-z0-9._~-]+)*)/?",
    re.ASCII,
)
_MAX_PORT: Final = 65535
_MEMORY: Final = ("memory:", "memory://")
_SENTINEL_PASSWORD: Final = re.compile(r"(sentinel_password=)([^&]*)")
_STORE_HINT: Final = Text(
    "Write `sqlite:///var/wxsign.db` (relative), `sqlite:////var/lib/wxsign/wxsign.db` (absolute), "
    f"{redis_url.SCHEMES}, or `memory:`.",
    "请写 `sqlite:///var/wxsign.db`（相对路径）、`sqlite:////var/lib/wxsign/wxsign.db`（绝对路径）、"
    f"{redis_url.SCHEMES_ZH}，或 `memory:`。",
)


class UnusableError(ValueError):
    """A value that cannot be used: what is wrong with it, and what to write instead."""

    def __init__(self, message: Text, hint: Text) -> None:
        super().__init__(message.en)
        self.message = message
        self.hint = hint


def store_url(text: str, folder: Path) -> str:
    """Return the store's URL with absolute paths; a relative one starts at `folder`. Raises UnusableError."""
    if text in _MEMORY:
        return "memory:"
    scheme, separator, rest = text.partition("://")
    if scheme == "sqlite" and separator:
        return f"sqlite:///{_sqlite_path(rest, folder)}"
    _protect_passwords(text)
    if not redis_url.names_redis(text):
        raise UnusableError(Text("is not a store URL.", "不是有效的存储 URL。"), _STORE_HINT)
    try:
        redis_url.require_redis()
        return redis_url.anchored(text, folder)
    except redis_url.UnusableStoreUrlError as error:
        raise UnusableError(error.message, error.hint) from None


def shown_store_url(url: str) -> str:
    """Return a checked URL of a store as it may be shown: without user, password, or a Sentinel's password."""
    if not redis_url.names_redis(url):
        return url
    head, mark, query = url.partition("?")
    scheme, _, rest = head.partition("://")
    authority, slash, path = rest.partition("/")
    # By the last @, as the URL is read: a password may hold others.
    _, login, hosts = authority.rpartition("@")
    shown = f"{scheme}://{f'{MASK}@' if login else ''}{hosts}{slash}{path}"
    return shown + mark + _SENTINEL_PASSWORD.sub(rf"\1{MASK}", query)


def _protect_passwords(url: str) -> None:
    """Mask the passwords of a store's URL in every line of the log, as they are written and as they are meant."""
    head, _, query = url.partition("?")
    password = head.partition("://")[2].rpartition("@")[0].partition(":")[2]
    # A password under an unknown name is refused, and one all the same.
    parameters = [value for name, value in parse_qsl(query) if "password" in name]
    for secret in (password, unquote(password), *parameters, *map(quote_plus, parameters)):
        protect(secret)


def _sqlite_path(rest: str, folder: Path) -> Path:
    if not rest.startswith("/") or rest.endswith("/") or "\0" in rest:
        raise UnusableError(
            Text("is not a path to a SQLite file.", "不是有效的 SQLite 文件路径。"), _STORE_HINT
        )
    return folder / rest.removeprefix("/")


def api_base(text: str) -> str:
    """Return WeChat's API base without a slash at its end; `https` unless it is this machine. Raises UnusableError."""
    scheme, host = _base_url(text)
    if scheme == "http" and not is_loopback(host):
        raise UnusableError(
            Text("must be https: the AppSecret travels there.", "必须是 https：AppSecret 会发往该地址。"),
            Text("Plain http is accepted for a loopback address only.", "只有本机回环地址可以使用 http。"),
        )
    return text.rstrip("/")


def public_url(text: str) -> str:
    """Return the URL of this service without a slash at its end. Raises UnusableError."""
    _base_url(text)
    return text.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host name or IP literal means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _base_url(text: str) -> tuple[str, str]:
    match = _BASE_URL.fullmatch(text)
    if match is None or int(match[3] or 1) > _MAX_PORT:
        raise UnusableError(
            Text(
                "is not an http(s) URL of a host, at most with a path.",
                "不是 http(s) 地址（只能包含域名和路径）。",
            ),
            Text("For example: `https://wx.example.com`.", "例如：`https://wx.example.com`。"),
        )
    return match[1], match[2]
