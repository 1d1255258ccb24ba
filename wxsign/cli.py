"""The `wxsign` command. Exit codes: 0 done, 1 failed (WeChat or the store refused, nothing to sign with), 2 wrong usage or configuration."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click
import segno

from wxsign import __version__, logs, serving
from wxsign.addresses import shown_store_url
from wxsign.config import Settings, load_settings, sha256_of_key
from wxsign.dev import DEV_CLIENT_KEY, LOOPBACK_ADDRESS, DevServer, Plan, lan_address
from wxsign.errors import ConfigError, Problem, RequestError, StoreUnavailable, Text, WxSignError
from wxsign.options import DEFAULT_API_BASE, SCOPES
from wxsign.sandbox.__main__ import main as run_sandbox
from wxsign.sandbox.__main__ import stop_signals
from wxsign.service import WxSign
from wxsign.signing import parse_page_url, sign, string_to_sign
from wxsign.stores import SqliteStore, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wxsign.service import AccountState, CredentialState

FAILED: Final = 1
UNUSABLE: Final = 2
MASK: Final = "***"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def language() -> str:
    """`zh` where the locale is a Chinese one, else `en`."""
    locale = next(
        (os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), ""
    )
    return "zh" if locale.lower().startswith("zh") else "en"


def say(en: str, zh: str, *, err: bool = False) -> None:
    """Print a sentence in the user's language."""
    click.echo(zh if language() == "zh" else en, err=err)


class Commands(click.Group):
    """Turns our own errors into sentences and exit codes; whatever is not ours stays a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(error.in_language(language()), err=True)
            ctx.exit(UNUSABLE)
        except WxSignError as error:
            _explain(error)
            ctx.exit(UNUSABLE if isinstance(error, RequestError) else FAILED)


def _explain(error: WxSignError) -> None:
    cause = f"({error.detail}) " if isinstance(error, StoreUnavailable) and error.detail else ""
    message, hint = (text.in_language(language()) for text in (error.message, error.operator_hint))
    click.echo(f"{message} {cause}{hint}".strip(), err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config", metavar="PATH", help="The TOML file; default WXSIGN_CONFIG, else wxsign.toml. 配置文件。"
)
@click.version_option(__version__, prog_name="wxsign")
@click.pass_context
def main(ctx: click.Context, config: str | None) -> None:
    """WeChat JS-SDK signatures, and the central token server behind them. 微信 JS-SDK 签名服务与中控服务器。

    \b
    No WeChat account yet? 还没有微信账号:
      wxsign dev                        sandbox, service and demo page on this machine
    \b
    With an account 已有账号:
      export WXSIGN_APPID=wx0123456789abcdef WXSIGN_SECRET_FILE=/etc/wxsign/secret
      export WXSIGN_ALLOWED_HOSTS=m.example.com
      wxsign check                      is the configuration complete?
      wxsign jsconfig https://m.example.com/
      wxsign serve --port 8000

    Exit codes 退出码: 0 done, 1 failed (e.g. WeChat refused), 2 wrong usage or configuration.
    """
    logs.configure("ERROR")
    ctx.obj = config


def _settings(config: str | None) -> Settings:
    settings = load_settings(config)
    for warning in settings.warnings:
        click.echo(warning.in_language(language()), err=True)
    return settings


def _service(config: str | None) -> WxSign:
    service = WxSign(_settings(config))
    click.get_current_context().call_on_close(service.stop)
    return service


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
    "--lan", is_flag=True, help="Open to the network, with a QR code for a phone. 开放到局域网并打印二维码。"
)
def dev(host: str, port: int, sandbox_port: int | None, *, lan: bool) -> None:
    """Run sandbox, service and demo page together, without any account. 一起运行沙箱、服务和演示页，无需账号。

    \b
    Examples 示例:
      wxsign dev
      wxsign dev --port 8080
      wxsign dev --lan                  and open it on a phone in the same network
    """
    following = (port + 1 if port else 0) if sandbox_port is None else sandbox_port
    plan = Plan(host, port, following, _lan_address() if lan else None)
    # Whoever starts us may stop us before we have said anything.
    stopped = stop_signals()
    with DevServer(plan) as server:
        _greet(server)
        stopped.get()
    say("Stopped.", "已停止。")


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
    "--workers",
    default=serving.workers,
    show_default=True,
    type=click.IntRange(1),
    help="Processes. 进程数。",
)
@click.option(
    "--threads",
    default=serving.threads,
    show_default=True,
    type=click.IntRange(1),
    help="Threads of each. 线程数。",
)
@click.pass_obj
def serve(
    config: str | None, bind: tuple[str, ...], host: str, port: int, workers: int, threads: int
) -> None:
    """Serve the configured accounts with gunicorn. 用 gunicorn 提供服务。

    \b
    Examples 示例:
      wxsign serve
      wxsign serve --bind unix:/run/wxsign/wxsign.sock --workers 4
    """
    settings = _settings(config)
    if settings.config_path is not None:
        # gunicorn's workers read the configuration themselves, at every reload anew.
        os.environ["WXSIGN_CONFIG"] = str(settings.config_path)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    serving.run(bind or (address,), store=settings.store, workers=workers, threads=threads)


@main.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def sandbox(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run the simulated WeChat alone (--help lists its options). 单独运行模拟的微信。"""
    ctx.exit(run_sandbox(arguments))


@main.command()
@click.option("--offline", is_flag=True, help="Leave the store alone. 不访问存储。")
@click.pass_obj
def check(config: str | None, *, offline: bool) -> None:
    """Check the configuration, show what was found, and try the store. 检查配置、列出结果并试用存储。

    Every problem is listed with its remedy; exit code 2 if there is one. A store that cannot be read and written is a 1:
    the service would start all the same, and serve what it can. Nothing is sent to WeChat.
    """
    settings = _settings(config)
    for line in _findings(settings):
        click.echo(line)
    say("The configuration is usable.", "配置可用。")
    if not offline:
        _try_store(settings.store)
        say("The store is usable.", "存储可用。")


def _try_store(url: str) -> None:
    """Read and write the store. Raises StoreUnavailable."""
    store = open_store(url)
    if isinstance(store, SqliteStore) and not store.path.exists():
        # Not made here: whoever checks may be another user than the service, which could not write it then.
        _expect_writable(store.path.parent)
        return
    store.generation()
    store.note("check", "", 1.0)


def _expect_writable(folder: Path) -> None:
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise StoreUnavailable(
            f"no file can be made in {folder}: {nearest} is not a folder that may be written"
        )


def _findings(settings: Settings) -> Iterator[str]:
    yield f"config   {settings.config_path or '-'}"
    yield f"store    {shown_store_url(settings.store)}"
    if settings.api_base != DEFAULT_API_BASE:
        yield f"api_base {settings.api_base}"
    for account in settings.accounts:
        hosts = ", ".join(str(rule) for rule in account.allowed_hosts) or "-"
        yield f"account  {account.name}  {account.app_id}  {account.token_endpoint}  {hosts}"
    for client in settings.clients:
        accounts = "*" if client.accounts is None else ", ".join(sorted(client.accounts))
        yield f"client   {client.name}  {', '.join(sorted(client.scopes))}  {accounts}"


@main.command("sign")
@click.argument("url")
@click.option("--account", help="Name or AppID; default: the one that lists the host. 账号。")
@click.option("--noncestr", help="Repeat a page's own value, to compare signatures. 指定随机串，用于比对。")
@click.option("--timestamp", type=click.IntRange(0), help="The same, in seconds. 指定时间戳（秒）。")
@click.pass_obj
def sign_command(
    config: str | None, url: str, account: str | None, noncestr: str | None, timestamp: int | None
) -> None:
    """Sign URL and print every stage, the ticket masked. 对 URL 签名并打印每一步（ticket 已遮盖）。

    \b
    Examples 示例:
      wxsign sign 'https://m.example.com/a?b=1'
      wxsign sign URL --noncestr Wm3WZYTPz0wzccnW --timestamp 1414587457
    """
    service = _service(config)
    page = parse_page_url(url)
    chosen = service.registry.for_page(page, account)
    noncestr, timestamp = noncestr or secrets.token_hex(8), timestamp or int(time.time())
    ticket = service.ticket(chosen.name).value
    signed = sign(ticket, app_id=chosen.app_id, page=page, noncestr=noncestr, timestamp=timestamp)
    click.echo(f"account    {chosen.name} ({chosen.app_id})")
    click.echo(f"sent       {page.sent}")
    click.echo(f"url        {signed.url}")
    click.echo(f"noncestr   {noncestr}")
    click.echo(f"timestamp  {timestamp}")
    click.echo(f"string1    {string_to_sign(MASK, noncestr, timestamp, signed.url)}")
    click.echo(f"signature  {signed.signature}")
    for warning in signed.warnings:
        text = warning.message.in_language(language()), warning.hint.in_language(language())
        click.echo(f"{warning.code}: {' '.join(text)}", err=True)


@main.command()
@click.argument("url")
@click.option("--account", help="Name or AppID; default: the one that lists the host. 账号。")
@click.pass_obj
def jsconfig(config: str | None, url: str, account: str | None) -> None:
    """Print what wx.config needs on the page at URL, as JSON. 打印 wx.config 所需的 JSON。"""
    answer = _service(config).jsconfig(url, account).as_dict(language())
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


@main.command()
@click.argument("name")
@click.pass_obj
def token(config: str | None, name: str) -> None:
    """Print the access_token of account NAME: the token on stdout, its expiry on stderr. 打印 access_token。

    \b
    Example 示例:
      TOKEN=$(wxsign token default)
    """
    answer = _service(config).access_token(name)
    click.echo(answer.value)
    seconds = answer.expires_in_seconds
    say(f"expires in {seconds} s", f"{seconds} 秒后过期", err=True)


@main.command()
@click.argument("name")
@click.pass_context
def refresh(ctx: click.Context, name: str) -> None:
    """Fetch token and ticket of account NAME now, past schedule and backoff. 立即刷新账号的 token 和 ticket。

    Useful after a remedy, such as adding this machine's IP to WeChat's whitelist. "unchanged" is an ordinary outcome.
    """
    results = _service(ctx.obj).refresh(name)
    for kind, result in zip(("access_token", "jsapi_ticket"), results, strict=False):
        click.echo(f"{kind}: {result.outcome}")
        if result.error is not None:
            _explain(result.error)
    if any(result.error is not None for result in results):
        ctx.exit(FAILED)


@main.command()
@click.pass_obj
def accounts(config: str | None) -> None:
    """List the accounts and the state of their credentials, no values. 列出账号及凭据状态。"""
    service = _service(config)
    service.look()
    for state in service.account_states():
        for line in _account_lines(state):
            click.echo(line)


def _account_lines(state: AccountState) -> Iterator[str]:
    yield f"{state.name}  {state.app_id}  {state.kind}  {state.token_endpoint}"
    for credential in state.credentials:
        yield f"  {credential.kind:<13} {_credential_line(credential)}"
    for spending in state.spending:
        yield f"  calls today   {spending.endpoint} {spending.used} of {spending.limit}"
    if state.theft is not None:
        yield f"  ! {state.theft.message.in_language(language())} {state.theft.hint.in_language(language())}"


def _credential_line(state: CredentialState) -> str:
    standing = f"usable, {state.expires_in_seconds} s" if state.usable else "empty"
    return f"{standing} ({state.error.code})" if state.error else standing


@main.group()
def client() -> None:
    """Keys of the protected API. 受保护接口的客户端密钥。"""


@client.command("new")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="May be repeated. 权限，可重复。"
)
@click.option(
    "--account", "names", multiple=True, metavar="NAME", help="May be repeated; default all. 账号，默认全部。"
)
def new_client(name: str, scopes: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Make a key for a client called NAME: prints it once, and the TOML to paste. 生成客户端密钥（只显示一次）。

    \b
    Example 示例:
      wxsign client new shop-backend --scope token:read --account shop
    """
    if not _NAME.fullmatch(name):
        raise click.BadParameter(
            "letters, digits, - and _ only / 只能用字母、数字、- 和 _", param_hint="NAME"
        )
    key = secrets.token_urlsafe(32)
    say("The key, shown only now. Give it to the client:", "密钥只显示这一次，请交给客户端:", err=True)
    click.echo(f"{key}\n")
    say("Paste into wxsign.toml:", "粘贴到 wxsign.toml:", err=True)
    click.echo(f'[clients.{name}]\nkey_sha256 = ["{sha256_of_key(key)}"]')
    click.echo(f"scopes = {json.dumps(list(scopes or ('token:read', 'token:refresh', 'ticket:read')))}")
    if names:
        click.echo(f"accounts = {json.dumps(list(names))}")
