"""`wxsign doctor`: what stands between this machine and a signature, one line a thing, the cause first."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from wxsign.accounts import AccountKind
from wxsign.commands.checking import try_store
from wxsign.commands.group import FAILED, UNUSABLE, language, main
from wxsign.credentials import CredentialKind
from wxsign.errors import (
    ConfigError,
    FailureScope,
    StoreUnavailable,
    Text,
    WeChatBadAnswer,
    WeChatError,
    WeChatUnreachable,
)
from wxsign.http.proxies import BELIEVED
from wxsign.service import WxSign
from wxsign.settings import load_settings
from wxsign.wechat.exchange import Exchange, Request, json_object

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from wxsign.accounts import OfficialAccount
    from wxsign.errors import WxSignError
    from wxsign.settings import Settings
    from wxsign.wechat import Caller

# WeChat says of no window, but its servers' certificates and our own schedule need a clock that is about right.
CLOCK_SECONDS: Final = 60
PROXY_TIMEOUT: Final = (2.0, 2.0)
NEARLY_SPENT: Final = 0.9
_NO_TEXT: Final = Text("", "")
_MARKS: Final = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "-"}
_NEVER_ALL: Final = Text(
    "Never list 0.0.0.0/0: whoever gets hold of the AppSecret could use it from anywhere.",
    "不要填写 0.0.0.0/0：否则任何拿到 AppSecret 的人都能在任何地方使用它。",
)
_SKIPPED: Final = Text("Not tried: what it needs has failed.", "未检查：它所依赖的项目失败了。")
# Which line an account's refusal belongs to.
_LINES: Final = {
    FailureScope.SECRET: "secret",
    FailureScope.ADDRESS: "whitelist",
    FailureScope.CONFIRMATION: "whitelist",
    FailureScope.QUOTA_DAY: "quota",
    FailureScope.QUOTA_MINUTE: "quota",
    FailureScope.NETWORK: "network",
}


class Line(NamedTuple):
    """What was looked at, of which account, how it is, and what to do."""

    check: str
    state: str
    message: Text
    hint: Text = _NO_TEXT
    account: str = ""

    def as_dict(self, lang: str) -> dict[str, str]:
        """Return the JSON form."""
        return {
            "check": self.check,
            "account": self.account,
            "state": self.state,
            "message": self.message.in_language(lang),
            "hint": self.hint.in_language(lang),
        }


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs. 输出 JSON。")
@click.option("--account", help="This one alone; by name or AppID. 只检查这个账号。")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool, account: str | None) -> None:
    """Look at everything that a signature needs, and name what is wrong. 逐项检查签名所需的一切并指出问题。

    Configuration, store, network, clock, and of each account AppSecret, whitelist, ticket, hosts and quota. It may be run
    before the first start and beside a running service: no token of anybody's is replaced. One stable_token and one
    getticket call an account are spent.

    Exit codes 退出码: 0 all well, 1 something is wrong, 2 the configuration cannot be used.
    """
    lines = list(_lines(ctx.obj, account))
    if as_json:
        click.echo(json.dumps([line.as_dict(language()) for line in lines], indent=2, ensure_ascii=False))
    else:
        for line in lines:
            subject = f"{line.check} {line.account}".strip()
            told = line.message.in_language(language()), line.hint.in_language(language())
            click.echo(f"{_MARKS[line.state]} {subject}: {' '.join(filter(None, told))}")
    failed = {line.check for line in lines if line.state == "failed"}
    ctx.exit(UNUSABLE if "configuration" in failed else FAILED if failed else 0)


def _lines(config: str | None, wanted: str | None) -> Iterator[Line]:
    try:
        settings = load_settings(config)
    except ConfigError as error:
        for problem in error.problems:
            text = Text(f"{problem.key}: {problem.message.en}", f"{problem.key}：{problem.message.zh}")
            yield Line("configuration", "failed", text, problem.hint)
        return
    count = len(settings.accounts)
    yield Line("configuration", "ok", Text(f"{count} account(s).", f"{count} 个账号。"))
    yield _store(settings)
    if settings.public_url and settings.trusted_proxies:
        yield _proxy(settings.public_url)
    service = WxSign(settings)
    chosen = [service.registry.get(wanted)] if wanted else list(service.registry)
    for of_wecom, client in ((False, service.client), (True, service.wecom)):
        accounts = [account for account in chosen if (account.agent is not None) is of_wecom]
        reached = bool(accounts) and (yield from _network(client))
        for account in accounts:
            yield from _account(service, account) if reached else _unreached(account)


def _store(settings: Settings) -> Line:
    try:
        try_store(settings.store)
    except StoreUnavailable as error:
        return _failed("store", error, detail=error.detail)
    return Line("store", "ok", Text("It can be read and written.", "可以读写。"))


def _proxy(public_url: str) -> Line:
    """Whether the proxy in front says whose a request is: the service tells which of its headers came."""
    request = Request("GET", "/healthz", "")
    try:
        body = Exchange(request, public_url, PROXY_TIMEOUT).answer_within(sum(PROXY_TIMEOUT))
    except (WeChatUnreachable, WeChatBadAnswer):
        message = Text(f"{public_url} does not answer.", f"{public_url} 没有应答。")
        return Line(
            "proxy", "warning", message, Text("Ask again once the service runs.", "服务启动后请再检查一次。")
        )
    told = json_object(body) or {}
    came = told.get("forwarded")
    if not isinstance(came, list):
        message = Text(f"Something else answers at {public_url}.", f"{public_url} 上应答的是其他服务。")
        hint = Text(
            "Look at `public_url` and `trusted_proxies` of the service that runs.",
            "请检查正在运行的服务的 `public_url` 和 `trusted_proxies`。",
        )
        return Line("proxy", "warning", message, hint)
    missing = [name for name in BELIEVED if name not in came]
    if missing:
        listed = ", ".join(missing)
        return Line(
            "proxy",
            "failed",
            Text(
                f"{listed} does not arrive: the proxy does not send it, is not trusted, or `trusted_proxies` counts too many.",
                f"没有收到 {listed}：反向代理没有发送、不受信任，或 `trusted_proxies` 大于实际层数。",
            ),
            Text(
                "In nginx: `proxy_set_header X-Forwarded-For $remote_addr;` and `proxy_set_header X-Forwarded-Proto $scheme;` (deploy/nginx.conf); "
                "and see that `trusted_proxy_addresses` has its address.",
                "nginx 中请设置 `proxy_set_header X-Forwarded-For $remote_addr;` 和 `proxy_set_header X-Forwarded-Proto $scheme;`（见 deploy/nginx.conf）；"
                "并确认 `trusted_proxy_addresses` 包含其地址。",
            ),
        )
    return Line("proxy", "ok", Text("It says whose a request is.", "它转告了请求的来源。"))


def _network(client: Caller) -> Generator[Line, None, bool]:
    """The way to WeChat, then its clock; whether it was reached."""
    host = client.hosts[0].partition("://")[2]
    try:
        theirs = client.clock()
    except WeChatUnreachable as error:
        yield _failed(error.reason if error.reason in {"dns", "tls"} else "network", error)
        yield Line("clock", "skipped", _SKIPPED)
        return False
    yield Line("network", "ok", Text(f"{host} answers.", f"{host} 有应答。"))
    off = 0 if theirs is None else round(time.time() - theirs)
    if abs(off) > CLOCK_SECONDS:
        yield Line(
            "clock",
            "failed",
            Text(f"This machine's clock is {off:+d} s off WeChat's.", f"本机时钟与微信相差 {off:+d} 秒。"),
            Text(
                "Set it, and keep it right with chrony or ntpd.", "请校准时钟，并用 chrony 或 ntpd 保持准确。"
            ),
        )
    else:
        yield Line("clock", "ok", Text(f"{off:+d} s off WeChat's.", f"与微信相差 {off:+d} 秒。"))
    return True


def _unreached(account: OfficialAccount) -> Iterator[Line]:
    for check in ("secret", "ticket"):
        yield Line(check, "skipped", _SKIPPED, account=account.name)


def _account(service: WxSign, account: OfficialAccount) -> Iterator[Line]:
    try:
        if account.agent or account.source:
            key = service.settings.key_of(account, CredentialKind.ACCESS_TOKEN)
            token = service.upstream.fetch(key, access_token=None, force=False, attempt=0)
        else:
            # Not by the account's own endpoint: a classic call would retire the token that stands.
            token = service.client.stable_token(account.app_id, account.app_secret)
    except WeChatError as error:
        check = "source" if error.code == "source_failed" else _LINES.get(error.scope, "account")
        line = _failed(check, error, account.name)
        if line.check == "whitelist":
            line = line._replace(hint=line.hint + _NEVER_ALL)
        yield line
        yield Line("ticket", "skipped", _SKIPPED, account=account.name)
        return
    if account.source:
        yield Line("source", "ok", Text("It gives a token.", "可以取得 token。"), account=account.name)
    else:
        yield Line("secret", "ok", Text("WeChat takes it.", "微信接受 AppSecret。"), account=account.name)
    if account.allowed_hosts:
        ticket = _ticket(service, account, token.value)
        yield ticket
        if ticket.state == "ok" and account.agent is None:
            yield _quota(service, account, token.value)
    elif account.kind is not AccountKind.MINIPROGRAM:
        yield Line(
            "hosts",
            "warning",
            Text("No page is signed for this account.", "没有为该账号签名的域名。"),
            Text("Set allowed_hosts, if pages are to use it.", "如果有网页要使用它，请设置 allowed_hosts。"),
            account.name,
        )


def _ticket(service: WxSign, account: OfficialAccount, token: str) -> Line:
    try:
        if account.agent:
            service.wecom.corp_ticket(token)
            service.wecom.agent_ticket(token)
        else:
            service.client.ticket(token)
    except WeChatError as error:
        return _failed("ticket", error, account.name)
    return Line("ticket", "ok", Text("WeChat gives it.", "微信签发了 jsapi_ticket。"), account=account.name)


def _quota(service: WxSign, account: OfficialAccount, token: str) -> Line:
    """WeChat's own count of the tickets asked for today."""
    try:
        counted = service.client.quota(token, "/cgi-bin/ticket/getticket")
    except WeChatError as error:
        return Line("quota", "skipped", error.message, account=account.name)
    figures = f"{counted.used} / {counted.daily_limit}"
    message = Text(f"getticket: {figures} today, by WeChat's count.", f"getticket：微信计数今日 {figures}。")
    if counted.used < counted.daily_limit * NEARLY_SPENT:
        return Line("quota", "ok", message, account=account.name)
    hint = Text(
        "Nearly all is used: find who else asks; `wxsign quota` tells more.",
        "额度即将用完：请查明还有谁在调用；`wxsign quota` 可查看详情。",
    )
    return Line("quota", "warning", message, hint, account.name)


def _failed(check: str, error: WxSignError, account: str = "", detail: str = "") -> Line:
    message = (
        Text(f"{error.message.en} ({detail})", f"{error.message.zh}（{detail}）") if detail else error.message
    )
    return Line(check, "failed", message, error.operator_hint, account)
