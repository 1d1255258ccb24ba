"""`wxsign jsconfig`, `token`, `refresh`, `accounts`: what is asked of the store and of WeChat."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from wxsign.commands.group import FAILED, explain, language, main, say, service_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxsign.states import AccountState, CredentialState


@main.command()
@click.argument("url")
@click.option("--account", help="Name or AppID; default: the one that lists the host. 账号。")
@click.pass_obj
def jsconfig(config: str | None, url: str, account: str | None) -> None:
    """Print what wx.config needs on the page at URL, as JSON. 打印 wx.config 所需的 JSON。"""
    answer = service_of(config).jsconfig(url, account).as_dict(language())
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
    answer = service_of(config).access_token(name)
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
    results = service_of(ctx.obj).refresh(name)
    for kind, result in zip(("access_token", "jsapi_ticket"), results, strict=False):
        click.echo(f"{kind}: {result.outcome}")
        if result.error is not None:
            explain(result.error)
    if any(result.error is not None for result in results):
        ctx.exit(FAILED)


@main.command()
@click.pass_obj
def accounts(config: str | None) -> None:
    """List the accounts and the state of their credentials, no values. 列出账号及凭据状态。"""
    service = service_of(config)
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
