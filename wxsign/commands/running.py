"""`wxsign dev`, `serve`, `sandbox`: what runs until it is stopped."""

from __future__ import annotations

import os
import sys

import click
import segno

from wxsign.accounts import HostRule
from wxsign.commands.dev import DEV_CLIENT_KEY, LOOPBACK_ADDRESS, DevServer, Plan, lan_address
from wxsign.commands.group import main, say, settings_of
from wxsign.errors import ConfigError, InvalidUrl, Problem, Text
from wxsign.sandbox.__main__ import main as run_sandbox
from wxsign.sandbox.__main__ import stop_signals
from wxsign.serving import launch
from wxsign.signing import parse_page_url


@main.command()
@click.option("--host", default=LOOPBACK_ADDRESS, show_default=True, help="Address to listen on. 监听地址。")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0 takes a free one. 端口。",
)
@click.option(
    "--sandbox-port", type=click.IntRange(0, 65535), help="Default: the next port. 沙箱端口，默认下一个。"
)
@click.option(
    "--allow-host",
    "entries",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Sign pages of this host too; may be repeated; or WXSIGN_ALLOWED_HOSTS. 同时允许该域名的页面，可重复。",
)
@click.option(
    "--lan", is_flag=True, help="Open to the network, with a QR code for a phone. 开放到局域网并打印二维码。"
)
@click.option(
    "--page",
    metavar="URL",
    help="Your own page, shown in a phone beside each wx.config of it. 在手机框里显示你自己的页面，并列出每次 wx.config。",
)
def dev(
    host: str, port: int, sandbox_port: int | None, entries: tuple[str, ...], page: str | None, *, lan: bool
) -> None:
    """Run sandbox, service and demo page together, without any account. 一起运行沙箱、服务和演示页，无需账号。

    \b
    Examples 示例:
      wxsign dev
      wxsign dev --port 8080
      wxsign dev --lan                  and open it on a phone in the same network
      wxsign dev --allow-host m.example.com --allow-host tunnel.example.net:8443
      wxsign dev --page http://localhost:5173/
    """
    following = (port + 1 if port else 0) if sandbox_port is None else sandbox_port
    listed = [*entries, *os.environ.get("WXSIGN_ALLOWED_HOSTS", "").split(",")]
    rules = tuple(_rule(entry.strip()) for entry in listed if entry.strip())
    if page:
        rules += (_rule_of_page(page),)
    plan = Plan(host, port, following, _lan_address() if lan else None, rules, page)
    # Whoever starts us may stop us before we have said anything.
    with stop_signals() as wait_for_stop, DevServer(plan) as server:
        _greet(server)
        wait_for_stop()
    say("Stopped.", "已停止。")


def _rule(entry: str) -> HostRule:
    try:
        return HostRule.parse(entry)
    except ValueError as error:
        message = Text(f"{entry!a} is no host: {error}.", f"{entry!a} 不是有效的域名：{error}。")
        hint = Text(
            "For example: m.example.com, or tunnel.example.net:8443.",
            "例如：m.example.com 或 tunnel.example.net:8443。",
        )
        raise ConfigError([Problem("--allow-host", message, hint)]) from None


def _rule_of_page(page: str) -> HostRule:
    try:
        read = parse_page_url(page)
    except InvalidUrl as error:
        hint = Text("For example: --page http://localhost:5173/", "例如：--page http://localhost:5173/")
        raise ConfigError([Problem("--page", error.message, hint)]) from None
    return HostRule(read.host, read.port)


def _lan_address() -> str:
    address = lan_address()
    if address is None:
        message = Text("this machine has no address in a network.", "本机没有局域网地址。")
        raise ConfigError(
            [Problem("--lan", message, Text("Connect it, or leave --lan out.", "请连接网络，或去掉 --lan。"))]
        )
    return address


def _greet(server: DevServer) -> None:
    origin = server.plan.origin
    page = f"{origin}/demo"
    say(
        "wxsign is running against the sandbox, a simulated WeChat.\n",
        "wxsign 正在沙箱（模拟的微信）上运行。\n",
    )
    say(f"  Demo page   {page}", f"  演示页      {page}")
    say(f"  Start page  {origin}/", f"  首页        {origin}/")
    say(f"  Sandbox     {server.sandbox_origin}/sandbox/", f"  沙箱        {server.sandbox_origin}/sandbox/")
    if server.phone_url:
        say(f"  Your page   {server.phone_url}", f"  你的页面    {server.phone_url}")
    say(f"  Signature   curl --get {origin}/jsconfig --data-urlencode url={page}",
        f"  取签名      curl --get {origin}/jsconfig --data-urlencode url={page}")  # fmt: skip
    command = (
        f"curl -H 'Authorization: Bearer {DEV_CLIENT_KEY}' {origin}/api/v1/accounts/default/access_token"
    )
    say(f"  Token       {command}\n", f"  取 token    {command}\n")
    if server.plan.lan:
        segno.make(page, error="m").terminal(out=sys.stdout, compact=True)
        say("  Scan it with a phone in the same network.\n", "  请用同一局域网内的手机扫码。\n")
    say("Ctrl-C stops it.", "按 Ctrl-C 停止。")
    sys.stdout.flush()


@main.command()
@click.option(
    "--bind",
    multiple=True,
    metavar="ADDRESS",
    help="host:port or unix:/path; may be repeated. 监听地址，可重复。",
)
@click.option(
    "--host", default=LOOPBACK_ADDRESS, show_default=True, help="Address, unless --bind is given. 监听地址。"
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port. 端口。")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes; default: `workers`, 4. 进程数，默认取 `workers`。"
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of each; default: `threads`, 8. 线程数，默认取 `threads`。",
)
@click.pass_obj
def serve(
    config: str | None,
    bind: tuple[str, ...],
    host: str,
    port: int,
    workers: int | None,
    threads: int | None,
) -> None:
    """Serve the configured accounts with gunicorn, or Granian (`server`). 用 gunicorn 或 Granian 提供服务。

    \b
    Examples 示例:
      wxsign serve
      wxsign serve --bind unix:/run/wxsign/wxsign.sock --workers 4
    """
    settings = settings_of(config)
    if settings.config_path is not None:
        # The server reads the configuration itself, at every reload anew.
        os.environ["WXSIGN_CONFIG"] = str(settings.config_path)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    addresses = bind or (address,)
    if launch.exposed(addresses):
        say(
            "Other machines may connect. Put a reverse proxy such as nginx between: here a few half-sent requests keep every thread.",
            "其他机器可以直接连接。请在前面放一层 nginx 之类的反向代理：直接暴露时，少量未发完的请求就能占满所有线程。",
            err=True,
        )
    launch.run(
        addresses,
        store=settings.store,
        server=settings.server,
        workers=workers or settings.workers,
        threads=threads or settings.threads,
        socket_group=settings.socket_group,
    )


@main.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def sandbox(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run the simulated WeChat alone (--help lists its options). 单独运行模拟的微信。"""
    ctx.exit(run_sandbox(arguments))
