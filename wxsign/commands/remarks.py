"""What `wxsign check` remarks on although the configuration can be used."""

from __future__ import annotations

import grp
import pwd
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxsign.errors import Text
from wxsign.settings.addresses import is_loopback
from wxsign.stores import SqliteStore, open_store, readable_by_others

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wxsign.service import WxSign

# The users as whom nginx runs on Debian and elsewhere.
NGINX_USERS: Final = ("www-data", "nginx", "http")
NAMES: Final = 5


def remarks(service: WxSign, socket: Path) -> Iterator[Text]:
    """What is worth a second look: accounts that are not warm, a store that others may read, a socket closed to nginx, a server that
    is not installed.
    """
    yield from _not_warm(service)
    yield from _open_store(service.settings.store)
    yield from _closed_socket(socket)
    if service.settings.server == "granian" and find_spec("granian") is None:
        yield Text(
            "Granian is not installed, so `wxsign serve` will not start: pip install 'wxsign[granian]'.",
            "没有安装 Granian，`wxsign serve` 将无法启动：pip install 'wxsign[granian]'。",
        )


def _not_warm(service: WxSign) -> Iterator[Text]:
    cold = [account.name for account in service.registry if not service.is_warm(account)]
    if cold:
        names = ", ".join(cold[:NAMES]) + (", …" if len(cold) > NAMES else "")
        yield Text(
            f"Not warm: {names} ({len(cold)}). Their first page waits for WeChat; `warm = true` keeps one fresh before that. By "
            "itself an account is warm while there are ten or fewer.",
            f"未预热：{names}（共 {len(cold)} 个）。它们的第一个页面需要等待微信；`warm = true` 可提前保持凭据可用。"
            "账号不超过十个时默认预热。",
        )


def _open_store(store: str) -> Iterator[Text]:
    address = urlsplit(store)
    if address.scheme in {"redis", "valkey"} and address.hostname and not is_loopback(address.hostname):
        yield Text(
            f"Tokens travel to {address.hostname} in plain text: use rediss:// unless that network is yours alone.",
            f"凭据以明文传输到 {address.hostname}：除非网络完全属于自己，请使用 rediss://。",
        )
    if address.scheme == "sqlite":
        opened = open_store(store)
        if isinstance(opened, SqliteStore) and readable_by_others(opened.path):
            yield Text(
                f"Other users of this machine may read {opened.path}, where the tokens are: chmod 600 that file.",
                f"本机其他用户可以读取保存 token 的 {opened.path}：请对该文件执行 chmod 600。",
            )


def _closed_socket(socket: Path) -> Iterator[Text]:
    """A socket that gunicorn made of root's group keeps nginx out, which then says for ever that the service is starting."""
    try:
        found = socket.stat()
        group = grp.getgrgid(found.st_gid)
    except (OSError, KeyError):
        return
    nginx = next(filter(None, map(_user, NGINX_USERS)), None)
    if nginx is None or nginx.pw_uid == found.st_uid or found.st_mode & 0o002:
        return
    if found.st_mode & 0o020 and (nginx.pw_gid == found.st_gid or nginx.pw_name in group.gr_mem):
        return
    yield Text(
        f"nginx ({nginx.pw_name}) may not open {socket}, which is of the group {group.gr_name}: set `socket_group`, or `SocketGroup=` "
        "of wxsign.socket.",
        f"nginx（{nginx.pw_name}）无权打开 {socket}，它属于用户组 {group.gr_name}：请设置 `socket_group`，"
        "或 wxsign.socket 中的 `SocketGroup=`。",
    )


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
