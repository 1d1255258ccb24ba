"""`python -m wxsign.sandbox`: a sandbox as a process of its own."""

import argparse
import json
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from wxsign.sandbox.server import SandboxServer, serve
from wxsign.sandbox.settings import SandboxSettings, SettingsError, checked, updated
from wxsign.sandbox.trigger import trigger

USAGE_ERROR = 2
STOPPING = (signal.SIGTERM, signal.SIGINT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT, or lets something happen to a sandbox that runs; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] and given[0] == "trigger":
        return trigger(given[1:])
    options = _parser().parse_args(given)
    try:
        settings = settings_from(options.account, options.setting)
        server = serve(options.host, options.port, settings, control_hosts=options.control_host)
    except SettingsError as error:
        return _failed(f"{error}. Known settings / 可用设置: {', '.join(error.known)}")
    except OSError as error:
        return _failed(
            f"cannot listen on / 无法监听 {options.host}:{options.port}: {error.strerror or error}"
        )
    _run(server, settings)
    return 0


def settings_from(accounts: Sequence[str], assignments: Sequence[str]) -> SandboxSettings:
    """Settings from APPID:SECRET and name=value arguments; a value is JSON or else a string. Raises SettingsError."""
    pairs = dict(entry.partition(":")[::2] for entry in accounts)
    settings = checked(SandboxSettings(accounts=pairs) if pairs else SandboxSettings())
    return updated(
        settings, {name: _value(text) for name, _, text in (a.partition("=") for a in assignments)}
    )


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _run(server: SandboxServer, settings: SandboxSettings) -> None:
    ready = {"event": "sandbox_ready", "host": server.host, "port": server.port, "url": server.url}
    with stop_signals() as wait_for_stop:
        print(json.dumps(ready | {"accounts": list(settings.accounts)}), flush=True)  # noqa: T201 - the contract
        wait_for_stop()
        server.close()


@contextmanager
def stop_signals() -> Iterator[Callable[[], object]]:
    """In the block SIGTERM and SIGINT are kept; what is yielded waits for the first of them.

    They come through a socket, which C code writes to: a lock or queue sleeps on where a signal comes just before its sleep.
    """
    stopped, told = socket.socketpair()
    with stopped, told:
        told.settimeout(0)
        before = signal.set_wakeup_fd(told.fileno())
        handlers = {number: signal.signal(number, lambda _number, _frame: None) for number in STOPPING}
        try:
            yield lambda: stopped.recv(1)
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _failed(message: str) -> int:
    sys.stderr.write(f"wxsign.sandbox: {message}\n")
    return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "wxsign sandbox",
        description="A simulated WeChat. 模拟的微信。",
        epilog="wxsign sandbox trigger NAME: let something happen to one that runs / 让正在运行的沙箱发生一件事",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on / 监听地址")
    add("--port", type=int, default=0, help="0 takes a free one / 0 表示任选空闲端口")
    add("--account", action="append", default=[], metavar="APPID:SECRET", help="repeatable / 可重复")
    add("--setting", action="append", default=[], metavar="NAME=VALUE", help="repeatable / 可重复")
    add("--control-host", action="append", default=[], help="another Host for /sandbox/ / 另一个允许的 Host")
    return parser


if __name__ == "__main__":
    sys.exit(main())
