"""`wxsign check`, `sign`, `client new`: what needs nobody else."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from wxsign.accounts import SCOPES, key_id, sha256_of_key
from wxsign.accounts.relayed import is_relay_pattern
from wxsign.commands.group import language, main, say, service_of
from wxsign.commands.remarks import remarks
from wxsign.errors import StoreUnavailable
from wxsign.settings import load_settings
from wxsign.settings.addresses import shown_store_url
from wxsign.settings.table import DEFAULT_API_BASE
from wxsign.signing import parse_page_url, sign, string_to_sign
from wxsign.stores import SqliteStore, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxsign.settings import Settings

MASK: Final = "***"
# Where deploy/ puts it.
SOCKET: Final = Path("/run/wxsign/wxsign.sock")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@main.command()
@click.option("--offline", is_flag=True, help="Leave the store alone. 不访问存储。")
@click.pass_obj
def check(config: str | None, *, offline: bool) -> None:
    """Check the configuration, show what was found, and try the store. 检查配置、列出结果并试用存储。

    Every problem is listed with its remedy; exit code 2 if there is one. A store that cannot be read and written is a 1:
    the service would start all the same, and serve what it can. Nothing is sent to WeChat.
    """
    service = service_of(config)
    settings = service.settings
    for line in _findings(settings):
        click.echo(line)
    for remark in remarks(service, SOCKET):
        click.echo(f"! {remark.in_language(language())}")
    say("The configuration is usable.", "配置可用。")
    if not offline:
        try_store(settings.store)
        say("The store is usable.", "存储可用。")


def try_store(url: str) -> None:
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
    service = service_of(config)
    page = parse_page_url(url)
    chosen = service.registry.for_page(page, account)
    noncestr = secrets.token_hex(8) if noncestr is None else noncestr
    timestamp = int(time.time()) if timestamp is None else timestamp
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
@click.option(
    "--relay-path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="With scope relay; may be repeated. 可转发的微信路径，可重复。",
)
def new_client(name: str, scopes: tuple[str, ...], names: tuple[str, ...], paths: tuple[str, ...]) -> None:
    """Make a key for a client called NAME: prints it once, and the TOML to paste. 生成客户端密钥（只显示一次）。

    \b
    Examples 示例:
      wxsign client new shop-backend --scope token:read --account shop
      wxsign client new crm --scope relay --relay-path '/cgi-bin/message/*'
    """
    if ("relay" in scopes) != bool(paths) or not all(map(is_relay_pattern, paths)):
        raise click.BadParameter(
            "give --scope relay and paths such as /cgi-bin/message/* / 须同时给出 --scope relay 和路径，例如 /cgi-bin/message/*",
            param_hint="--relay-path",
        )
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
    if paths:
        click.echo(f"relay_paths = {json.dumps(list(paths))}")


@main.command()
@click.pass_obj
def clients(config: str | None) -> None:
    """List the clients with what they may do, and the ids of their keys. 列出客户端、权限和密钥编号。

    The id is the first six digits of a key's SHA-256; the log names it with each call, so it tells when the old key of a
    rotation is not used any more. 编号是密钥 SHA-256 的前六位；日志在每次调用中写出它，轮换密钥时可据此判断旧密钥是否仍在使用。
    """
    for known in load_settings(config).clients:
        ids = ", ".join(key_id(digest) for digest in known.key_sha256) or "-"
        names = "*" if known.accounts is None else ", ".join(sorted(known.accounts))
        places = ", ".join(map(str, known.allow_from)) or "*"
        click.echo(f"{known.name}  keys {ids}  scopes {', '.join(sorted(known.scopes))}")
        click.echo(f"  accounts {names}  from {places}")
        if known.relay_paths:
            click.echo(f"  relay    {', '.join(known.relay_paths)}")
