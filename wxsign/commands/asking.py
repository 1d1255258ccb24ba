"""`wxsign jsconfig`, `token`, `quota`, `refresh`, `accounts`: what is asked of the store and of WeChat."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, TextIO

import click

from wxsign.commands.group import FAILED, UNUSABLE, explain, language, main, say, service_of
from wxsign.errors import StoreUnavailable, WeChatError, WeChatRefused
from wxsign.logs import protect
from wxsign.quota import clear_quota, quota_of
from wxsign.settings import load_settings
from wxsign.wechat import DEFAULT_API_BASE, WeChatClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxsign.states import AccountState, CredentialState


@main.command()
@click.argument("url")
@click.option("--account", help="Name or AppID; default: the one that lists the host. 账号。")
@click.option("--agent", help="App of a corporation of WeCom. 企业微信应用。")
@click.pass_obj
def jsconfig(config: str | None, url: str, account: str | None, agent: str | None) -> None:
    """Print what wx.config needs on the page at URL, as JSON. 打印 wx.config 所需的 JSON。"""
    answer = service_of(config).jsconfig(url, account, agent=agent).as_dict(language())
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


@main.command()
@click.argument("name", required=False)
@click.option(
    "--verify",
    is_flag=True,
    help="Ask WeChat whether it lives; a dead one is replaced. 向微信验证，失效则换新。",
)
@click.option("--app-id", help="Try an AppID that is configured nowhere. 试用一个未配置的 AppID。")
@click.option("--secret-file", type=click.File(), help="Its AppSecret; - for stdin. AppSecret 文件。")
@click.pass_context
def token(
    ctx: click.Context, name: str | None, app_id: str | None, secret_file: TextIO | None, *, verify: bool
) -> None:
    """Print the access_token of account NAME: the token on stdout, its expiry on stderr. 打印 access_token。

    With --app-id and --secret-file: WeChat's own answer, by stable_token, which retires nobody's token; used once and kept
    nowhere. 加上 --app-id 和 --secret-file 时打印微信的原始应答；使用 stable_token，不影响任何现有 token，也不保存。

    \b
    Examples 示例:
      TOKEN=$(wxsign token default)
      wxsign token --app-id wx0123456789abcdef --secret-file secret
    """
    if app_id is not None or secret_file is not None:
        ctx.exit(_trial(app_id or "", secret_file, ctx.obj))
    if not name:
        raise click.UsageError(
            "NAME, or --app-id and --secret-file / 请给出账号名，或 --app-id 和 --secret-file"
        )
    service = service_of(ctx.obj)
    answer = service.access_token(name)
    if verify:
        answer = service.report_rejected(name, answer.value, "command line")
    click.echo(answer.value)
    seconds = answer.expires_in_seconds
    say(f"expires in {seconds} s", f"{seconds} 秒后过期", err=True)
    if verify and answer.verified:
        say("WeChat takes this token.", "微信接受该 token。", err=True)
    elif verify:
        say("WeChat had refused the token; this is a new one.", "微信已拒绝原 token，这是新的。", err=True)


def _trial(app_id: str, secret_file: TextIO | None, config: str | None) -> int:
    """Print WeChat's answer for an AppID and an AppSecret that are typed; returns the exit code."""
    secret = secret_file.read().strip() if secret_file else ""
    protect(secret)
    for missing, option in ((not app_id.strip(), "--app-id"), (not secret, "--secret-file")):
        if missing:
            say(f"{option} is empty: type the AppID, and the file that holds its AppSecret.",
                f"{option} 为空：请填写 AppID，以及存放其 AppSecret 的文件。", err=True)  # fmt: skip
            return UNUSABLE
    base = os.environ.get("WXSIGN_API_BASE", "") or (
        load_settings(config).api_base if config else DEFAULT_API_BASE
    )
    try:
        granted = WeChatClient(base).stable_token(app_id.strip(), secret)
    except WeChatRefused as error:
        click.echo(json.dumps({"errcode": error.errcode, "errmsg": error.errmsg}, ensure_ascii=False))
        explain(error)
        return FAILED
    except WeChatError as error:
        explain(error)
        return FAILED
    click.echo(json.dumps({"access_token": granted.value, "expires_in": granted.expires_in_seconds}))
    return 0


@main.command()
@click.argument("name")
@click.option(
    "--clear",
    is_flag=True,
    help="Have today's counts begin anew, 10 times a month. 清零今日计数（每月 10 次）。",
)
@click.pass_obj
def quota(config: str | None, name: str, *, clear: bool) -> None:
    """Print today's calls of account NAME, by WeChat's own count and by ours. 打印今日调用量：微信的计数与本服务的计数。

    \b
    Examples 示例:
      wxsign quota default
      wxsign quota default --clear && wxsign refresh default
    """
    service = service_of(config)
    if clear:
        cleared = clear_quota(service, name)
        say(
            f"Cleared: {cleared.used} of {cleared.limit} times this month, by our count.",
            f"已清零：按本服务的计数，本月第 {cleared.used} 次，共 {cleared.limit} 次。",
            err=True,
        )
    for row in quota_of(service, name):
        ours = f"{row.ours.used} / {row.ours.limit}"
        theirs = f"{row.wechat.used} / {row.wechat.daily_limit}" if row.wechat else "?"
        say(
            f"{row.ours.endpoint:<18} WeChat {theirs:<18} here {ours}",
            f"{row.ours.endpoint:<18} 微信 {theirs:<18} 本服务 {ours}",
        )


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


@main.group(invoke_without_command=True)
@click.pass_context
def accounts(ctx: click.Context) -> None:
    """List the accounts, what fails and why, and today's calls; no values. 列出账号、失败原因与当日调用量。

    It reads what stands in the store, on any machine, and asks WeChat nothing.

    Exit codes 退出码: 0 all well, 1 degraded, 2 nothing can be served.
    """
    if ctx.invoked_subcommand is not None:
        return
    service = service_of(ctx.obj)
    try:
        service.read_store()
    except StoreUnavailable as error:
        explain(error)
        ctx.exit(UNUSABLE)
    states = service.account_states()
    for state in states:
        for line in _account_lines(state):
            click.echo(line)
    troubled = [state for state in states if state.problems]
    if troubled and not any(credential.usable for state in states for credential in state.credentials):
        ctx.exit(UNUSABLE)
    ctx.exit(FAILED if troubled else 0)


@accounts.command("ack")
@click.argument("name")
@click.pass_obj
def acknowledge(config: str | None, name: str) -> None:
    """Say that the theft of account NAME's token has been seen to. 确认已处理账号 NAME 的 token 被抢占。"""
    service_of(config).acknowledge(name)
    say("Acknowledged.", "已确认。")


def _account_lines(state: AccountState) -> Iterator[str]:
    yield f"{state.name}  {state.app_id}  {state.kind}  {state.token_endpoint}"
    for credential in state.credentials:
        yield f"  {credential.kind:<13} {_credential_line(credential)}"
        if credential.error is not None:
            error = credential.error
            yield f"  ! {error.message.in_language(language())} {error.operator_hint.in_language(language())}"
    for spending in state.spending:
        yield f"  calls today   {spending.endpoint} {spending.used} of {spending.limit}"
    if state.theft is not None:
        yield f"  ! {state.theft.message.in_language(language())} {state.theft.hint.in_language(language())}"


def _credential_line(state: CredentialState) -> str:
    standing = f"usable, {state.expires_in_seconds} s" if state.usable else "empty"
    return f"{standing} ({state.error.code})" if state.error else standing
