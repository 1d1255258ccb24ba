"""`wxsign status`: is it OK, and what was not; `wxsign alerts test`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import click

from wxsign.commands.group import FAILED, UNUSABLE, language, main, say, service_of, settings_of
from wxsign.errors import StoreUnavailable, Text
from wxsign.observers.alerts import AlertRefusedError, send
from wxsign.outcomes import PageOutcome, outcomes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wxsign.observers.faults import Fault
    from wxsign.states import AccountState, CredentialState, Status

Pages = Mapping[str, tuple[PageOutcome, ...]]
_NO_PAGES: Final[Pages] = MappingProxyType({})
EXIT: Final = {"ready": 0, "degraded": FAILED, "unready": UNUSABLE}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHOWN_EVENTS: Final = 50


def _seconds(_ctx: click.Context, _parameter: click.Parameter, value: str) -> float:
    """`90s`, `30m`, `12h`, `7d` as seconds."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", value)
    if found is None:
        raise click.BadParameter("90s, 30m, 12h, 7d")
    return float(int(found[1]) * _SECONDS[found[2]])


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs. 供程序读取。")
@click.option(
    "--since",
    metavar="DURATION",
    callback=_seconds,
    default="12h",
    show_default=True,
    help="What ended so long ago is told too. 也列出这段时间内的故障。",
)
@click.pass_context
def status(ctx: click.Context, since: float, *, as_json: bool) -> None:
    """Say whether all is well, and what is or was not; no values. 是否一切正常；有无故障、原因与处理办法。

    It reads what stands in the store, on any machine that reaches it, and asks WeChat nothing.

    \b
    Examples 示例:
      wxsign status
      wxsign status --since 7d

    Exit codes 退出码: 0 all well, 1 degraded, 2 nothing can be served.
    """
    service = service_of(ctx.obj)
    try:
        found = service.status(since)
    except StoreUnavailable as error:
        _tell_store(error, as_json=as_json)
        ctx.exit(UNUSABLE)
    pages = outcomes_of(service, [account.name for account in found.accounts])
    lines = (
        [json.dumps(as_dict(found, pages), ensure_ascii=False, indent=2)] if as_json else _lines(found, pages)
    )
    click.echo("\n".join(lines))
    ctx.exit(EXIT[found.readiness.state])


def _tell_store(error: StoreUnavailable, *, as_json: bool) -> None:
    if as_json:
        told = {
            "code": error.code,
            "message": _both(error.message),
            "hint": _both(error.hint),
            "detail": error.detail,
        }
        click.echo(json.dumps({"state": "unready", "faults": [told]}, ensure_ascii=False, indent=2))
        return
    detail = f" ({error.detail})" if error.detail else ""
    say(
        f"Not OK: the store cannot be used{detail}. Pages are signed with what the workers hold.",
        f"异常：存储不可用{detail}。页面暂由各工作进程已持有的凭据签名。",
    )
    click.echo(f"  {error.hint.in_language(language())}")


def _lines(found: Status, pages: Pages) -> Iterator[str]:
    yield _sentence(found).in_language(language())
    for fault in found.faults:
        yield from _fault_lines(fault, found.now)
    for account in found.accounts:
        yield from _account_lines(account, found)
        if told := ", ".join(
            f"{row.platform} {row.outcome} {row.pages}" for row in pages.get(account.name, ())
        ):
            yield Text(f"  pages today   {told}", f"  今日页面上报  {told}").in_language(language())
    if found.unlisted:
        yield Text(f"… and {found.unlisted} more accounts", f"…… 另有 {found.unlisted} 个账号").in_language(
            language()
        )
    if found.past:
        yield Text("What was and is over:", "已恢复的故障：").in_language(language())
        yield from (_past_line(fault) for fault in found.past[-_SHOWN_EVENTS:])


def _sentence(found: Status) -> Text:
    count = len(found.accounts) + found.unlisted
    usable = sum(account.serving for account in found.accounts)
    if found.readiness.state == "unready":
        return Text("Not OK: nothing can be served.", "异常：没有任何账号可用。")
    if found.faults:
        first = found.faults[0]
        more = len(found.faults) - 1
        return Text(
            f"Degraded: {_whom(first)}{first.message.en}{f' And {more} more.' if more else ''}",
            f"有故障：{_whom(first)}{first.message.zh}{f'另有 {more} 项。' if more else ''}",
        )
    if not usable:
        return Text(
            f"OK: nothing is wrong, and nothing was asked for yet ({count} accounts).",
            f"正常：没有故障，目前也没有请求（{count} 个账号）。",
        )
    shown = f"{usable} of {count}" if not found.unlisted else f"{usable} or more of {count}"
    shown_zh = f"{usable}/{count}" if not found.unlisted else f"至少 {usable}/{count}"
    return Text(
        f"OK: {shown} accounts have all they need, nothing is wrong.",
        f"正常：{shown_zh} 个账号的凭据齐备，没有故障。",
    )


def _fault_lines(fault: Fault, now: float) -> Iterator[str]:
    since = f"{_clock(fault.since or now)} ({_span(now - (fault.since or now))})"
    yield f"! {_whom(fault)}{fault.message.in_language(language())} [{fault.code}]"
    yield f"  {fault.hint.in_language(language())}"
    yield Text(f"  since {since}", f"  始于 {since}").in_language(language())


def _past_line(fault: Fault) -> str:
    span = f"{_clock(fault.since)} – {_clock(fault.until or 0)}"
    return f"  {span}  {_whom(fault)}{fault.message.in_language(language())} [{fault.code}]"


def _account_lines(state: AccountState, found: Status) -> Iterator[str]:
    yield f"{state.name}  {state.app_id}"
    for credential in state.credentials:
        yield f"  {credential.kind:<13} {_credential_line(credential, found.now)}"
    last = next((fault for fault in reversed(found.past) if state.name in fault.accounts), None)
    if last is not None:
        told = f"{_clock(last.since)} – {_clock(last.until or 0)} {last.code}"
        yield Text(f"  last failure  {told}", f"  上次故障      {told}").in_language(language())
    used = ", ".join(
        f"{spending.endpoint} {spending.used}/{spending.limit}"
        for spending in state.spending
        if spending.used
    )
    if used:
        yield Text(f"  calls today   {used}", f"  今日调用      {used}").in_language(language())


def _credential_line(state: CredentialState, now: float) -> str:
    left = _span(state.usable_seconds or 0)
    told = [Text(f"usable, {left} left", f"可用，剩余 {left}") if state.usable else Text("none", "无")]
    if state.confirmed_at is not None:
        ago = _span(now - state.confirmed_at)
        told.append(Text(f"last success {ago} ago", f"上次成功 {ago} 前"))
    if state.error is not None:
        since = _clock(state.failing_since) if state.failing_since else "?"
        told.append(
            Text(f"failing since {since}: {state.error.code}", f"自 {since} 起失败：{state.error.code}")
        )
    return "; ".join(text.in_language(language()) for text in told)


def _whom(fault: Fault) -> str:
    more = len(fault.accounts) - len(fault.named)
    names = (*fault.named, *((f"+{more}",) if more else ()), *((fault.machine,) if fault.machine else ()))
    return f"{', '.join(names)}: " if names else ""


def _clock(moment: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(moment))


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "m")):
        if whole >= 2 * unit:
            return f"{whole // unit}{name}"
    return f"{whole}s"


# ------------------------------------------------------------------------------------------- for programs


def as_dict(found: Status, pages: Pages = _NO_PAGES) -> dict[str, Any]:
    """A status for programs: seconds, moments since the epoch, texts in both languages, no value of a credential."""
    return {
        "state": found.readiness.state,
        "problems": list(found.readiness.problems),
        "message": _both(_sentence(found)),
        "time": int(found.now),
        "faults": [_fault(fault) for fault in found.faults],
        "events": [_fault(fault) for fault in found.past],
        "accounts": [
            _account(account, found.past)
            | {"pages_today": [row._asdict() for row in pages.get(account.name, ())]}
            for account in found.accounts
        ],
        "accounts_not_listed": found.unlisted,
    }


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code,
        "accounts": list(fault.named),
        "account_count": len(fault.accounts),
        "machine": fault.machine,
        "message": _both(fault.message),
        "hint": _both(fault.hint),
        "since": int(fault.since) or None,
        "until": None if fault.until is None else int(fault.until),
    }


def _account(state: AccountState, past: Iterable[Fault]) -> dict[str, Any]:
    last = [fault for fault in past if state.name in fault.accounts]
    return {
        "name": state.name,
        "app_id": state.app_id,
        "problems": list(state.problems),
        "credentials": [_credential(credential) for credential in state.credentials],
        "last_failure": _fault(last[-1]) if last else None,
        "calls_today": [spending._asdict() for spending in state.spending],
        "theft": state.theft and {"message": _both(state.theft.message), "at": int(state.theft.noticed_at)},
    }


def _credential(state: CredentialState) -> dict[str, Any]:
    return {
        "kind": state.kind,
        "usable": state.usable,
        "usable_for": state.usable_seconds,
        "last_success": state.confirmed_at and int(state.confirmed_at),
        "error": state.error and state.error.code,
        "failing_since": state.failing_since and int(state.failing_since),
    }


def _both(text: Text) -> dict[str, str]:
    return {"en": text.en, "zh": text.zh}


# ------------------------------------------------------------------------------------------- alerts


@main.group()
def alerts() -> None:
    """Messages to a group's robot when something is wrong. 故障通知。"""


@alerts.command("test")
@click.pass_context
def alerts_test(ctx: click.Context) -> None:
    """Send a test message to the configured webhook. 向配置的群机器人发送一条测试消息。"""
    configured = settings_of(ctx.obj).alerts
    if configured is None or not configured.webhook:
        say(
            "No webhook is configured: set alerts.webhook.",
            "没有配置 webhook：请设置 alerts.webhook。",
            err=True,
        )
        ctx.exit(UNUSABLE)
    text = Text("[wxsign] This is a test: alerts arrive here.", "[wxsign] 测试消息：告警会发送到这里。")
    try:
        send(configured, text.in_language(configured.language), ((), ()))
    except AlertRefusedError as error:
        say(f"The robot refused the message: {error}", f"机器人拒绝了消息：{error}", err=True)
    except (OSError, ValueError) as error:
        # Its text may hold the address, which is a secret.
        reason = getattr(error, "code", "") or type(getattr(error, "reason", error)).__name__
        say(f"The message could not be sent: {reason}", f"消息发送失败：{reason}", err=True)
    else:
        say("Sent.", "已发送。")
        return
    ctx.exit(FAILED)
