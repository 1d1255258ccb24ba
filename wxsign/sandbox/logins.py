"""Log-in of a page's visitor (网页授权): codes, and the tokens that they are changed for.

Rules: https://developers.weixin.qq.com/doc/service/guide/h5/auth.html : a code lives 5 minutes and is good for one call; its
access_token is another one than the account's, for one user, of 2 hours; the refresh_token of 30 days.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from wxsign.sandbox.checks import Answer, ApiCall, RefusedError, World, bound, need_method, same
from wxsign.sandbox.credentials import Account

CODE_LIFE_SECONDS = 300
TOKEN_LIFE_SECONDS = 7_200
REFRESH_LIFE_SECONDS = 30 * 86_400
# So many logins are known at once; the oldest one is forgotten first.
REMEMBERED = 1_000
SCOPES = ("snsapi_base", "snsapi_userinfo")
# What the authorisation page says instead of sending the visitor back, with Tencent's numbers.
PROBLEMS = {
    10003: ("the redirect_uri is not of a bound domain (verify_domains)", "redirect_uri域名与后台配置不一致"),
    10005: ("the account has no right to this scope", "该公众号没有这些scope的权限"),
    10010: ("scope is empty", "scope不能为空"),
    10011: ("redirect_uri is empty or no http(s) address", "redirect_uri不能为空"),
    10012: ("appid is empty or unknown to this sandbox", "appid不能为空"),
}


class LoginError(Exception):
    """WeChat shows a page instead of sending the visitor back."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class Grant:
    """What one code has led to. Values are secrets."""

    account: Account
    openid: str
    scope: str
    issued_at: float
    used: bool = False
    token: str = field(default="", repr=False)
    token_ends_at: float = 0
    refresh_token: str = field(default="", repr=False)
    refresh_ends_at: float = 0


class Logins:
    """The codes that were given out, all accounts together. Not thread-safe: its owner holds the lock."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def authorize(self, world: World, query: Mapping[str, str], user: str) -> str:
        """Where the visitor is sent, with a new code; raises LoginError."""
        account = world.accounts.get(query.get("appid", ""))
        if account is None:
            raise LoginError(10012)
        target = query.get("redirect_uri", "")
        if not target.startswith(("http://", "https://")):
            raise LoginError(10011)
        if not bound(target, world.settings.verify_domains):
            raise LoginError(10003)
        scope = query.get("scope", "")
        if scope not in SCOPES:
            raise LoginError(10005 if scope else 10010)
        if len(self._grants) >= REMEMBERED:
            del self._grants[next(iter(self._grants))]
        code = secrets.token_hex(16)
        self._grants[code] = Grant(account, openid_of(account.appid, user), scope, world.now)
        return _with_query(target, {"code": code, "state": query.get("state", "")})

    def redeem(self, code: str, account: Account, now: float) -> Grant:
        """The grant of a code, once; raises RefusedError."""
        grant = self._grants.get(code)
        if grant is None or grant.account is not account or now >= grant.issued_at + CODE_LIFE_SECONDS:
            raise RefusedError(40029)
        if grant.used:
            raise RefusedError(40163)
        grant.used = True
        grant.refresh_token, grant.refresh_ends_at = _value(), now + REFRESH_LIFE_SECONDS
        return self._renew(grant, now)

    def refresh(self, value: str, appid: str, now: float) -> Grant:
        """The grant of a refresh_token, with a new token; raises RefusedError."""
        for grant in self._grants.values():
            if grant.refresh_token and same(value, grant.refresh_token) and grant.account.appid == appid:
                if now >= grant.refresh_ends_at:
                    raise RefusedError(42002)
                return self._renew(grant, now)
        raise RefusedError(40030)

    def of_token(self, value: str, openid: str, now: float) -> Grant:
        """The grant of an access_token; raises RefusedError, for the account's own token too."""
        if not value:
            raise RefusedError(41001)
        for grant in self._grants.values():
            if grant.token and same(value, grant.token):
                if now >= grant.token_ends_at:
                    raise RefusedError(42001)
                if grant.openid != openid:
                    raise RefusedError(40003)
                return grant
        raise RefusedError(40001)

    def _renew(self, grant: Grant, now: float) -> Grant:
        grant.token, grant.token_ends_at = _value(), now + TOKEN_LIFE_SECONDS
        return grant


def openid_of(appid: str, user: str) -> str:
    """The openid of a user of the sandbox: 28 characters, another one for each account."""
    return "o" + hashlib.sha256(f"{appid}/{user}".encode()).hexdigest()[:27]


def answer(logins: Logins, world: World, call: ApiCall) -> Answer:
    """WeChat's answer to a call below /sns; raises RefusedError."""
    need_method(call, "GET", 43001)
    return SNS[call.endpoint](logins, world, call.query)


def _access_token(logins: Logins, world: World, given: Mapping[str, str]) -> Answer:
    account = _account(world, given)
    if not given.get("secret"):
        raise RefusedError(41004)
    if not same(given["secret"], account.secret):
        raise RefusedError(40125)
    if given.get("grant_type") != "authorization_code":
        raise RefusedError(40002)
    if not given.get("code"):
        raise RefusedError(41008)
    return _granted(logins.redeem(given["code"], account, world.now))


def _refresh_token(logins: Logins, world: World, given: Mapping[str, str]) -> Answer:
    account = _account(world, given)
    if given.get("grant_type") != "refresh_token":
        raise RefusedError(40002)
    return _granted(logins.refresh(given.get("refresh_token", ""), account.appid, world.now))


def _userinfo(logins: Logins, world: World, given: Mapping[str, str]) -> Answer:
    grant = logins.of_token(given.get("access_token", ""), given.get("openid", ""), world.now)
    if grant.scope != "snsapi_userinfo":
        raise RefusedError(48001)
    return Answer(
        {"openid": grant.openid, "nickname": f"沙箱用户 {grant.openid[-4:]}", "sex": 0, "language": given.get("lang", ""),
         "city": "", "province": "", "country": "", "headimgurl": "", "privilege": []}
    )  # fmt: skip


def _auth(logins: Logins, world: World, given: Mapping[str, str]) -> Answer:
    logins.of_token(given.get("access_token", ""), given.get("openid", ""), world.now)
    return Answer({"errcode": 0, "errmsg": "ok"})


SNS: dict[str, Callable[[Logins, World, Mapping[str, str]], Answer]] = {
    "sns_access_token": _access_token,
    "sns_refresh_token": _refresh_token,
    "sns_userinfo": _userinfo,
    "sns_auth": _auth,
}


def _account(world: World, given: Mapping[str, str]) -> Account:
    if not given.get("appid"):
        raise RefusedError(41002)
    if given["appid"] not in world.accounts:
        raise RefusedError(40013)
    return world.accounts[given["appid"]]


def _granted(grant: Grant) -> Answer:
    told: dict[str, object] = {
        "access_token": grant.token,
        "expires_in": TOKEN_LIFE_SECONDS,
        "refresh_token": grant.refresh_token,
        "openid": grant.openid,
        "scope": grant.scope,
    }
    return Answer(told, rotated=True)


def _value() -> str:
    return f"{secrets.randbelow(90) + 10}_{secrets.token_urlsafe(64)}"


def _with_query(address: str, more: Mapping[str, str]) -> str:
    """The address with parameters added before its fragment."""
    parts = urlsplit(address)
    query = "&".join(filter(None, (parts.query, urlencode(more))))
    return parts._replace(query=query).geturl()
