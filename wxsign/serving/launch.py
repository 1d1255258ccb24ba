"""What `wxsign serve` becomes, and what would keep it from listening."""

from __future__ import annotations

import grp
import os
import socket
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wxsign.errors import ConfigError, Problem, Text
from wxsign.serving import threads, workers
from wxsign.settings.addresses import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


# Set where gunicorn takes over a socket that is open already: from systemd, or from the process that it replaces.
_INHERITED_SOCKET: Final = frozenset({"LISTEN_FDS", "GUNICORN_FD"})


def command(bind: Sequence[str], *, workers: int = workers, threads: int = threads) -> tuple[str, ...]:
    """Return gunicorn's command line for the configured accounts on `bind` (`host:port`, `[::1]:8000`, `unix:/path`)."""
    binds = (argument for address in bind for argument in ("--bind", address))
    counts = ("--workers", str(workers), "--threads", str(threads))
    return (*_gunicorn(), "--config", "python:wxsign.serving", *binds, *counts, "wxsign.wsgi:app")


def _gunicorn() -> tuple[str, ...]:
    # After `python -m gunicorn`, SIGUSR2 starts the second master as a script out of gunicorn's folder, whose `http` then
    # hides Python's own; gunicorn's console script has no such neighbours.
    script = Path(sysconfig.get_path("scripts"), "gunicorn")
    return (sys.executable, str(script)) if script.exists() else (sys.executable, "-m", "gunicorn")


def run(
    bind: Sequence[str],
    *,
    store: str,
    server: str = "gunicorn",
    workers: int = workers,
    threads: int = threads,
    socket_group: str = "",
) -> None:
    """Become the server, serving the configured accounts on `bind`; `store` is the configured store's address.

    Raises ConfigError where that cannot work: an address that is taken, a store that these workers cannot share, a server
    that is not installed.
    """
    problems = [
        *_store_problems(store, workers),
        *(problem for address in bind for problem in _bind_problems(address)),
        *_group_problems(socket_group),
        *(_granian_problems(bind) if server == "granian" else ()),
    ]
    if problems:
        raise ConfigError(problems)
    if server == "granian":
        from wxsign.serving import granian  # noqa: PLC0415 - an extra

        granian.serve(bind[0], workers=workers, threads=threads)
    else:
        arguments = command(bind, workers=workers, threads=threads)
        os.execv(arguments[0], arguments)  # noqa: S606 - no shell is wanted: this process becomes gunicorn


def _granian_problems(bind: Sequence[str]) -> Iterator[Problem]:
    if find_spec("granian") is None:
        yield Problem(
            "server",
            Text("Granian is not installed.", "没有安装 Granian。"),
            Text("Install it: pip install 'wxsign[granian]'.", "请安装：pip install 'wxsign[granian]'。"),
        )
    if len(bind) > 1:
        yield Problem(
            "bind",
            Text("Granian listens on one address.", "Granian 只能监听一个地址。"),
            Text("Keep one --bind, or use gunicorn.", "请只保留一个 --bind，或使用 gunicorn。"),
        )


def _store_problems(store: str, workers: int) -> Iterator[Problem]:
    if store.startswith("memory:") and workers > 1:
        yield Problem(
            "store",
            Text(
                f"memory: lives in one process, but {workers} workers would each fetch tokens of their own.",
                f"memory: 只存在于单个进程中，而 {workers} 个工作进程会各自获取 token。",
            ),
            Text(
                "Use the default, sqlite:///var/wxsign.db, or serve with --workers 1.",
                "请使用默认的 sqlite:///var/wxsign.db，或加上 --workers 1。",
            ),
        )


def _group_problems(name: str) -> Iterator[Problem]:
    try:
        number = grp.getgrnam(name).gr_gid if name else None
    except KeyError:
        message = Text(f"There is no group {name}.", f"没有用户组 {name}。")
    else:
        if number is None or os.geteuid() == 0 or number in os.getgroups():
            return
        message = Text(f"This user is no member of the group {name}.", f"当前用户不属于用户组 {name}。")
    hint = Text(
        "Name nginx's group, and make the user of this service a member: usermod -aG GROUP USER.",
        "请填写 nginx 的用户组，并把运行本服务的用户加入该组：usermod -aG 组 用户。",
    )
    yield Problem("socket_group", message, hint)


def exposed(bind: Sequence[str]) -> bool:
    """Whether other machines may connect: with nobody in front, some half-sent requests would keep every thread."""
    hosts = [
        host.strip("[]")
        for host, _, port in (address.rpartition(":") for address in bind)
        if port.isdecimal()
    ]
    return not all(map(is_loopback, hosts))


def _bind_problems(address: str) -> Iterator[Problem]:
    """Say in a sentence what gunicorn would only log, after five tries, about a TCP address that it cannot listen on."""
    host, separator, port = address.rpartition(":")
    if not separator or host == "unix" or not port.isdecimal() or _INHERITED_SOCKET & os.environ.keys():
        return
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "not a port"
            yield Problem(
                "bind",
                Text(f"Cannot listen on {address}: {reason}.", f"无法监听 {address}：{reason}。"),
                Text("Choose another port: --port 8001.", "请换一个端口：--port 8001。"),
            )
