"""All errors of wxsign.

    WxSignError                 code, message, hint, retryable; text in English and Chinese, never a secret
    ├── ConfigError             every problem of the configuration at once
    ├── RequestError            the caller's mistake; has a `status`
    │   ├── InvalidUrl          400  url_required, url_not_absolute, url_scheme, url_control_characters, …
    │   ├── BadRequest          400  any other code
    │   ├── AccountRequired     400  account_required
    │   ├── Unauthorized        401  unauthorized
    │   ├── HostNotAllowed      403  host_not_allowed, no_allowed_hosts
    │   ├── Forbidden           403  forbidden
    │   └── UnknownAccount      404  unknown_account
    ├── CredentialUnavailable   503  credential_unavailable: nothing usable to sign with now, and why
    ├── TooManyRefreshes        too_many_refreshes: refreshes by report are rationed
    ├── QuotaSpent              quota_spent: our own ledger refuses a call before WeChat would
    ├── NotRefreshed            not_refreshed_reader, not_refreshed_broken: this process does not, or cannot
    ├── StoreError
    │   ├── StoreUnavailable    store_unavailable
    │   └── StoreSchemaAhead    store_schema_ahead
    └── WeChatError             scope: whom the failure concerns; endpoint: the path called
        ├── WeChatRefused       WeChat answered with an errcode
        ├── WeChatUnreachable   no answer: wechat_timeout, wechat_connect, wechat_dns, wechat_tls, wechat_reset
        └── WeChatBadAnswer     an answer that cannot be used: wechat_not_json, wechat_http_status, …

`message` and `hint` may be shown to anybody. `operator_hint` may name the machine's outbound IP, the host that was asked and
the calls of the day: it is for the log, the command line and callers with a key. `str(error)` is the message and the operator's hint, in English.
"""

# ruff: noqa: N818 - an error is named by what happened; "Error" at the end marks the branches of the tree

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from wxsign.errcodes import (
    HINT_ASKED,
    HINT_JS_DOMAIN,
    FailureScope,
    bounded_errmsg,
    mask_errmsg,
    parse_errmsg,
    rights_hint,
)
from wxsign.platforms import bad_answer_at, entry_at, unreachable_at
from wxsign.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# fmt: off
__all__ = [
    "AccountRequired", "BadAnswerReason", "BadRequest", "ConfigError", "CredentialUnavailable",
    "FailureScope", "Forbidden", "ForbiddenReason", "HostNotAllowed", "InvalidUrl", "NotRefreshed", "Problem",
    "QuotaSpent", "RequestError", "StoreError", "StoreSchemaAhead", "StoreUnavailable", "Text",
    "TooManyRefreshes", "Unauthorized", "UnknownAccount", "UnreachableReason", "WeChatBadAnswer",
    "WeChatError", "WeChatRefused", "WeChatUnreachable", "WxSignError",
]
# fmt: on

ForbiddenReason = Literal["scope", "account", "address"]
UnreachableReason = Literal["timeout", "connect", "dns", "tls", "reset"]
BadAnswerReason = Literal["http_status", "not_json", "too_large", "bad_value", "truncated"]

_NO_TEXT: Final = Text("", "")


class WxSignError(Exception):
    """Whatever wxsign raises on purpose.

    `code` is stable and for programs, `message` says what is wrong, `hint` what to do about it, `retryable` whether the
    same call may succeed later without anybody changing anything.
    """

    retryable: bool = False

    def __init__(self, code: str, message: Text, hint: Text = _NO_TEXT) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.hint = hint

    @property
    def operator_hint(self) -> Text:
        """The hint for the operator; unlike `hint` it may name the machine's outbound IP."""
        return self.hint

    def __str__(self) -> str:
        return f"{self.message.en} {self.operator_hint.en}".strip()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration: the key it stands under, what is wrong, what to write instead."""

    key: str
    message: Text
    hint: Text = _NO_TEXT

    def in_language(self, language: str) -> str:
        """Return the problem as one line."""
        return f"{self.key}: {self.message.in_language(language)} {self.hint.in_language(language)}".strip()


class ConfigError(WxSignError):
    """The configuration cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        headline = f"{count} problem{'' if count == 1 else 's'} in the configuration."
        super().__init__("config_error", Text(headline, f"配置中有 {count} 处问题。"))

    def __str__(self) -> str:
        return self.in_language("en")

    def in_language(self, language: str) -> str:
        """Return the headline and the numbered problems, one a line."""
        lines = (f"{n}. {problem.in_language(language)}" for n, problem in enumerate(self.problems, 1))
        return "\n".join((self.message.in_language(language), *lines))


class RequestError(WxSignError):
    """The caller asked for something that cannot be given; `status` is the HTTP status that says so."""

    status: ClassVar[int] = 400


class InvalidUrl(RequestError):
    """The page's URL cannot be signed. The codes and texts are those of `signing`."""


class BadRequest(RequestError):
    """The request is not what the interface takes."""


# fmt: off
class AccountRequired(RequestError):
    """Several accounts are configured and none of them claims the page's host."""

    def __init__(self) -> None:
        super().__init__("account_required",
            Text("It is not clear which account should sign this page.", "无法判断应由哪个账号为该页面签名。"),
            Text("Pass `account=` (name or AppID), or list the page's host in `allowed_hosts` of one account.", "请传入 `account=`（账号名或 AppID），或把页面域名写入某个账号的 `allowed_hosts`。"))


class UnknownAccount(RequestError):
    """No account bears that name or AppID."""

    status = 404

    def __init__(self, wanted: str) -> None:
        shown = ascii(wanted[:64])
        super().__init__("unknown_account",
            Text(f"There is no account named {shown}.", f"没有名为 {shown} 的账号。"),
            Text("Check the spelling; names and AppIDs are case-sensitive.", "请检查拼写；账号名和 AppID 区分大小写。"))


class Unauthorized(RequestError):
    """No client key, or not one that is known: the two are not told apart."""

    status = 401

    def __init__(self) -> None:
        super().__init__("unauthorized",
            Text("A valid client key is required.", "需要有效的客户端密钥。"),
            Text("Send `Authorization: Bearer <client key>`; `wxsign client new NAME` makes one.", "请发送 `Authorization: Bearer <客户端密钥>`；可用 `wxsign client new 名称` 生成密钥。"))


_FORBIDDEN: Final[Mapping[str, Text]] = MappingProxyType({
    "scope": Text("Its `scopes` do not include this operation.", "该密钥的 `scopes` 不包含此操作。"),
    "account": Text("Its `accounts` do not include this account.", "该密钥的 `accounts` 不包含此账号。"),
    "address": Text("Its `allow_from` does not include the address of this request.", "该密钥的 `allow_from` 不包含本次请求的来源地址。"),
})


class Forbidden(RequestError):
    """The client key is good, but not for this: `reason` is `scope`, `account` or `address`."""

    status = 403

    def __init__(self, reason: ForbiddenReason) -> None:
        self.reason = reason
        super().__init__("forbidden", Text("This client key may not do that.", "该客户端密钥无权执行此操作。"), _FORBIDDEN[reason])


class HostNotAllowed(RequestError):
    """The page's host is not one that the account may sign for. `host=None`: the account has no hosts at all.

    `wildcard` is the account's entry that covers everything below `host`, but not `host` itself: `*.example.com`.
    """

    status = 403

    def __init__(self, host: str | None, wildcard: str = "") -> None:
        self.host = host
        if host is None:
            super().__init__("no_allowed_hosts",
                Text("No host may be signed for yet.", "尚未配置任何允许签名的域名。"),
                Text("Set WXSIGN_ALLOWED_HOSTS (or `allowed_hosts` of the account) to the host of your pages.", "请把页面域名写入 WXSIGN_ALLOWED_HOSTS（或账号的 `allowed_hosts`）。"))
            return
        hint = Text("Add the host (and its port, unless 80 or 443) to `allowed_hosts`.", "请把该域名（端口不是 80 或 443 时连同端口）加入 `allowed_hosts`。")
        if wildcard:
            hint = Text(f"`{wildcard}` covers the hosts below {host}, not {host} itself: add `{host}` to `allowed_hosts` as well.", f"`{wildcard}` 只包含 {host} 的下级域名，不包含 {host} 本身：请把 `{host}` 也加入 `allowed_hosts`。")
        super().__init__("host_not_allowed", Text(f"Pages of {host} are not signed here.", f"这里不为 {host} 的页面签名。"), hint + HINT_JS_DOMAIN)


_STILL_FETCHED: Final[Mapping[str, Text]] = MappingProxyType({
    "token": Text("The first access_token is still being fetched.", "正在向微信获取第一个 access_token。"),
    "ticket": Text("The first ticket is still being fetched.", "正在向微信获取第一张票据。"),
    "": Text("The first token or ticket is still being fetched.", "正在向微信获取第一个 token 或票据。"),
})


class CredentialUnavailable(WxSignError):
    """There is no usable token or ticket now, and asking again at once will not help.

    `cause` is the last failure, if one is known: its message and hint are taken over. `retry_after_seconds` is when the
    next attempt is due, rounded up. `what` says which of the two was asked for.
    """

    status: ClassVar[int] = 503
    retryable = True

    def __init__(self, cause: WxSignError | None, retry_after_seconds: int, what: Literal["token", "ticket", ""] = "") -> None:
        self.cause = cause
        self.retry_after_seconds = retry_after_seconds
        message = cause.message if cause else _STILL_FETCHED[what]
        hint = cause.hint if cause else Text("Ask again in a few seconds.", "请几秒后重试。")
        super().__init__("credential_unavailable", message, hint)

    @property
    def operator_hint(self) -> Text:
        """The cause's hint for the operator."""
        return self.hint if self.cause is None else self.cause.operator_hint


class TooManyRefreshes(WxSignError):
    """An access_token was reported dead again too soon: refreshes by report are rationed, per account."""

    retryable = True

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__("too_many_refreshes",
            Text("This account's token was refreshed after a report only moments ago.", "该账号的 token 刚刚因上报失效而刷新过。"),
            Text("Find out which other system fetches this account's token, then ask again later.", "请查明还有哪个系统在获取该账号的 token，稍后再试。"))


class QuotaSpent(WxSignError):
    """Our own ledger refuses a call: the account's calls of the day (`hourly`: of the hour) are used up, or but for the reserve."""

    retryable = True

    def __init__(self, endpoint: str, limit: int, retry_after_seconds: float, *, reserve_left: bool, hourly: bool = False) -> None:
        self.endpoint = endpoint
        self.reserve_left = reserve_left
        self.retry_after_seconds = retry_after_seconds
        super().__init__("quota_spent",
            Text(f"{'This hour' if hourly else 'Today'}'s {limit} calls of {endpoint} are used up{', but for the reserve' if reserve_left else ''}.", f"{'本小时' if hourly else '今天'} {endpoint} 的 {limit} 次调用已用完{'（仅剩保留额度）' if reserve_left else ''}。"),
            Text("They start anew with the hour. Find out what uses them (`wxsign accounts`).", "额度在下一小时恢复。请用 `wxsign accounts` 查明消耗来源。") if hourly else
            Text("They start anew at midnight in China. Find out what uses them (`wxsign accounts`); if WeChat grants this account more, raise `quota`.", "额度在北京时间零点恢复。请用 `wxsign accounts` 查明消耗来源；若微信给该账号的额度更高，可调高 `quota`。"))


_NOT_REFRESHED: Final[Mapping[str, tuple[Text, Text]]] = MappingProxyType({
    "reader": (Text("Nobody has fetched this credential yet.", "还没有人获取过该凭据。"),
        Text("This machine only reads. See that another wxsign on the same store refreshes this account, with `warm = true`.", "本机只读。请确认有另一个共用同一存储的 wxsign 在刷新该账号，并为其设置 `warm = true`。")),
    "broken": (Text("Refreshing failed inside wxsign.", "wxsign 内部刷新出错。"),
        Text("Look for `wxsign.fetch_failed` in the log.", "请在日志中查找 `wxsign.fetch_failed`。")),
})


class NotRefreshed(WxSignError):
    """Not WeChat, but this process is why: `reason` is `reader` (`refresh = false`) or `broken` (a fault of ours)."""

    retryable = True

    def __init__(self, reason: Literal["reader", "broken"]) -> None:
        super().__init__(f"not_refreshed_{reason}", *_NOT_REFRESHED[reason])


class StoreError(WxSignError):
    """Something is wrong with the credential store."""


class StoreUnavailable(StoreError):
    """The store does not answer. `detail` is for the log and must hold no address with a password.

    `hint` takes the place of the general remedy where the cause is known.
    """

    retryable = True

    def __init__(self, detail: str = "", hint: Text | None = None) -> None:
        self.detail = detail
        super().__init__("store_unavailable",
            Text("The credential store cannot be reached.", "无法访问凭据存储。"),
            hint or Text("Check WXSIGN_STORE, and that the store runs and this process may use it.", "请检查 WXSIGN_STORE，并确认存储正在运行且本进程有权访问。"))

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.detail})" if self.detail else super().__str__()


class StoreSchemaAhead(StoreError):
    """A record was written by a wxsign two or more schema versions newer: it is neither read nor overwritten."""

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__("store_schema_ahead",
            Text(f"The store was written by a newer wxsign (schema {found}, this one knows {known}).", f"存储由更新版本的 wxsign 写入（schema 为 {found}，当前版本只认识 {known}）。"),
            Text("Upgrade this machine, or give it a store of its own.", "请升级本机的 wxsign，或为它配置单独的存储。"))
# fmt: on


class WeChatError(WxSignError):
    """A call of WeChat's API brought nothing usable. `endpoint` is the path called, without its query."""

    def __init__(self, code: str, message: Text, hint: Text, *, scope: FailureScope, endpoint: str) -> None:
        super().__init__(code, message, hint)
        self.scope = scope
        self.endpoint = endpoint


_PASSING: Final = frozenset({FailureScope.BUSY, FailureScope.STALE_TOKEN, FailureScope.QUOTA_MINUTE})


class WeChatRefused(WeChatError):
    """WeChat answered with an errcode. `entry` is the catalogue's row; `rid` and `egress_ip` are taken from the errmsg.

    `errmsg` is WeChat's text as it came, at most 500 characters, and belongs into the log only; `public_errmsg` has its IPs
    and rid masked. `used` of `limit` are the day's calls of this endpoint by our own ledger, where the caller knows both.
    """

    def __init__(
        self, errcode: int, errmsg: str, endpoint: str, *, used: int | None = None, limit: int | None = None
    ) -> None:
        self.errcode = errcode
        self.errmsg = bounded_errmsg(errmsg)
        self.used, self.limit = used, limit
        self.entry = entry = entry_at(errcode, endpoint)
        parsed = parse_errmsg(errmsg)
        self.rid, self.egress_ip = parsed.rid, parsed.egress_ip
        hint = rights_hint(endpoint) if entry.code == "api_unauthorized" else entry.hint
        super().__init__(entry.code, entry.message, hint, scope=entry.scope, endpoint=endpoint)
        self.retryable = self.scope in _PASSING

    @property
    def public_errmsg(self) -> str:
        """The errmsg with every IP address and request id masked."""
        return mask_errmsg(self.errmsg)

    @property
    def operator_hint(self) -> Text:
        """The catalogue's hint, with the IP to add to the whitelist, or the calls of the day, where they are known."""
        full = self.entry.full_hint
        known = self.used is not None if self.scope is FailureScope.QUOTA_DAY else self.egress_ip
        if full is None or not known:
            return self.hint
        return full.filled(ip=self.egress_ip, used=self.used, limit=self.limit)

    def __str__(self) -> str:
        return f"{super().__str__()} (errcode {self.errcode} from {self.endpoint}: {self.errmsg})"


class WeChatUnreachable(WeChatError):
    """No answer came: `reason` is `timeout`, `connect`, `dns`, `tls` or `reset`; the code is `wechat_<reason>`.

    `host` is the one that was asked (with its port, where it names one), and `detail` the system's or OpenSSL's reason;
    neither ever holds a path or a query. Both are for the operator.
    """

    retryable = True

    def __init__(self, reason: UnreachableReason, endpoint: str, *, host: str = "", detail: str = "") -> None:
        self.reason = reason
        self.host, self.detail = host, detail
        code, scope, message, hint = unreachable_at(reason, endpoint)
        super().__init__(code, message, hint, scope=scope, endpoint=endpoint)

    @property
    def operator_hint(self) -> Text:
        """The hint, with the host that was asked and the reason, where they are known."""
        asked = ": ".join(filter(None, (self.host, self.detail)))
        return self.hint + HINT_ASKED.filled(asked=asked) if asked else self.hint


class WeChatBadAnswer(WeChatError):
    """An answer came that cannot be used: `reason` is one of `BadAnswerReason`; the code is `wechat_<reason>`."""

    retryable = True

    def __init__(self, reason: BadAnswerReason, endpoint: str) -> None:
        self.reason = reason
        code, message, hint = bad_answer_at(reason, endpoint)
        super().__init__(code, message, hint, scope=FailureScope.BUSY, endpoint=endpoint)
