"""`/console`: the status for a person, behind a client key of scope `admin`; a page that tries an AppID and AppSecret.

No script runs here. A session is a random name in a cookie that only this path gets; every form carries a word that follows
from it, and a form of another site is refused by its origin as well.
"""

from __future__ import annotations

import hmac
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from wxsign.errors import StoreUnavailable, Text, Unauthorized, WxSignError
from wxsign.http.answers import NotFoundError
from wxsign.http.gate import Gate
from wxsign.http.rendering import address, language, mount, rendered
from wxsign.outcomes import outcomes_of
from wxsign.quota import clear_quota
from wxsign.service import WxSign

if TYPE_CHECKING:
    from wxsign.accounts import ApiClient
    from wxsign.observers.faults import Fault
    from wxsign.states import Status

CONSOLE_PATH: Final = "/console"
COOKIE: Final = "wxsign_console"
WINDOW_SECONDS: Final = 600.0
# A key is too long to be guessed at any rate; this keeps guessing from costing us anything.
LOGINS_AN_ADDRESS: Final = 10
TRIALS_A_CLIENT: Final = 20
DAY_SECONDS: Final = 86_400.0
_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_WRONG_KEY: Final = Text(
    "This is not a key of scope `admin`, or not from this address.",
    "密钥无效、没有 `admin` 权限，或不允许从此地址使用。",
)
_TOO_OFTEN: Final = Text("Too many attempts. Wait ten minutes.", "尝试次数过多，请十分钟后再试。")
_FOREIGN: Final = Text(
    "This form was not sent from the console. Open it anew.", "该表单不是从控制台发出的，请重新打开控制台。"
)
_ACKNOWLEDGED: Final = Text("Acknowledged.", "已确认。")
_NO_APP_ID: Final = Text(
    "The AppID is missing: it begins with wx and stands beside the AppSecret.",
    "缺少 AppID：以 wx 开头，与 AppSecret 在同一页面。",
)
_NO_SECRET: Final = Text("The AppSecret is missing.", "缺少 AppSecret。")


def console_routes(service: WxSign) -> Blueprint:
    """The console, if there is a client with scope `admin`; else these paths do not exist."""
    console = Console(service)
    routes = Blueprint("console", __name__)
    if service.settings.has_console:
        add = routes.add_url_rule
        add(CONSOLE_PATH, view_func=console.overview)
        add(f"{CONSOLE_PATH}/login", view_func=console.login, methods=["POST"])
        add(f"{CONSOLE_PATH}/logout", view_func=console.logout, methods=["POST"])
        add(f"{CONSOLE_PATH}/token", view_func=console.token, methods=["GET", "POST"])
        add(f"{CONSOLE_PATH}/accounts/<path:name>/<action>", view_func=console.act, methods=["POST"])
    return routes


class Console:
    """The pages of the console, around one service."""

    def __init__(self, service: WxSign) -> None:
        self._service = service
        self._gate = Gate(service.settings.clients)
        self._clients = {client.name: client for client in service.settings.clients}

    def overview(self) -> Response:
        """How it stands; without a session, the form that asks for a key."""
        client = self._client()
        return _page("login.html") if client is None else self._overview(client)

    def login(self) -> Response:
        """Begin a session for whoever shows a key of scope `admin`."""
        if not _is_from_here():
            return _page("login.html", 403, said=_FOREIGN)
        if not self._service.sessions.admits(
            f"login|{request.remote_addr or '-'}", LOGINS_AN_ADDRESS, WINDOW_SECONDS
        ):
            return _page("login.html", 429, said=_TOO_OFTEN)
        try:
            client = self._gate.key(f"Bearer {request.form.get('key', '').strip()}").client
        except Unauthorized:
            return _page("login.html", 401, said=_WRONG_KEY)
        if not self._may_enter(client):
            return _page("login.html", 401, said=_WRONG_KEY)
        answer = _to_the_overview()
        secure = request.is_secure or (self._service.settings.public_url or "").startswith("https:")
        session = self._service.sessions.begin(client.name)
        answer.set_cookie(
            COOKIE, session, path=f"{mount()}{CONSOLE_PATH}", secure=secure, httponly=True, samesite="Strict"
        )
        return answer

    def logout(self) -> Response:
        """End the session, for everybody who has its cookie."""
        if self._client() is not None and self._is_ours():
            self._service.sessions.end(_session())
        answer = _to_the_overview()
        answer.delete_cookie(COOKIE, path=f"{mount()}{CONSOLE_PATH}")
        return answer

    def act(self, name: str, action: str) -> Response:
        """Do something for an account, and show what came of it."""
        client = self._client()
        if client is None:
            return _page("login.html", 401)
        if not self._is_ours():
            return self._overview(client, _FOREIGN, 403)
        doing = {
            "refresh": self._refresh,
            "verify": self._verify,
            "acknowledge": self._acknowledge,
            "clear-quota": self._clear_quota,
        }.get(action)
        if doing is None or not client.may_use(name) or name not in {a.name for a in self._service.registry}:
            raise NotFoundError
        try:
            said = doing(name)
        except WxSignError as error:
            said = _told(error)
        return self._overview(client, said)

    def token(self) -> Response:
        """Try an AppID and an AppSecret: WeChat's answer in plain words. They are used once, and kept nowhere."""
        client = self._client()
        if client is None:
            return _page("login.html", 401)
        if request.method == "GET":
            return self._token_page()
        if not self._is_ours():
            return self._token_page(_FOREIGN, 403)
        app_id, secret = (request.form.get(name, "").strip() for name in ("app_id", "app_secret"))
        refusal = self._trial_refused(client, app_id, secret)
        if refusal is not None:
            return self._token_page(*refusal, app_id=app_id)
        try:
            granted = self._service.client.stable_token(app_id, secret)
        except WxSignError as error:
            return self._token_page(_told(error), app_id=app_id)
        return self._token_page(app_id=app_id, granted=granted)

    def _trial_refused(self, client: ApiClient, app_id: str, secret: str) -> tuple[Text, int] | None:
        if not app_id or not secret:
            return (_NO_SECRET if app_id else _NO_APP_ID), 400
        allowed = self._service.sessions.admits(f"trial|{client.name}", TRIALS_A_CLIENT, WINDOW_SECONDS)
        return None if allowed else (_TOO_OFTEN, 429)

    def _token_page(self, said: Text | None = None, status: int = 200, **context: object) -> Response:
        return _page("token.html", status, said=said, csrf=_csrf(_session()), **context)

    # ------------------------------------------------------------------------------- what the buttons do

    def _refresh(self, name: str) -> Text:
        results = self._service.refresh(name)
        failed = next((result.error for result in results if result.error is not None), None)
        outcomes = ", ".join(str(result.outcome) for result in results)
        return _told(failed) if failed else Text(f"{name}: {outcomes}.", f"{name}：{outcomes}。")

    def _verify(self, name: str) -> Text:
        token = self._service.access_token(name).value
        answer = self._service.report_rejected(name, token, "console")
        if answer.verified:
            return Text(f"{name}: WeChat takes the token.", f"{name}：微信接受该 token。")
        return Text(
            f"{name}: WeChat had refused the token; there is a new one.",
            f"{name}：微信已拒绝原 token，已换新。",
        )

    def _clear_quota(self, name: str) -> Text:
        cleared = clear_quota(self._service, name)
        return Text(
            f"{name}: today's counts begin anew ({cleared.used} of {cleared.limit} this month).",
            f"{name}：今日计数已清零（本月第 {cleared.used} 次，共 {cleared.limit} 次）。",
        )

    def _acknowledge(self, name: str) -> Text:
        self._service.acknowledge(name)
        return _ACKNOWLEDGED

    # ------------------------------------------------------------------------------- who it is

    def _client(self) -> ApiClient | None:
        session = _session()
        name = self._service.sessions.name_of(session) if session else None
        client = self._clients.get(name or "")
        return client if client is not None and self._may_enter(client) else None

    def _may_enter(self, client: ApiClient) -> bool:
        return "admin" in client.scopes and client.may_call_from(request.remote_addr or "")

    def _is_ours(self) -> bool:
        given = request.form.get("csrf", "").encode()
        return _is_from_here() and hmac.compare_digest(given, _csrf(_session()).encode())

    def _overview(self, client: ApiClient, said: Text | None = None, status: int = 200) -> Response:
        try:
            found = self._status()
        except StoreUnavailable as error:
            return _page(
                "down.html", 503, said=_told(error) + Text(f"({error.detail})", f"（{error.detail}）")
            )
        names = {account.name for account in found.accounts if client.may_use(account.name)}

        def seen(fault: Fault) -> bool:
            return client.accounts is None or bool(names & {*fault.accounts})

        return _page(
            "overview.html",
            status,
            said=said,
            csrf=_csrf(_session()),
            found=found,
            accounts=[account for account in found.accounts if account.name in names],
            pages=outcomes_of(self._service, names),
            faults=[fault for fault in found.faults if seen(fault)],
            past=[fault for fault in reversed(found.past) if seen(fault)],
            clock=lambda moment: time.strftime("%m-%d %H:%M:%S", time.localtime(moment)),
            percent=lambda moment: _percent_of_the_day(found.now - moment),
        )

    def _status(self) -> Status:
        """As a process sees it that has only just started: what this one knows stays what it needs itself."""
        service = self._service
        reader = WxSign(
            service.settings, client=service.client, open_store=lambda _url: service.broker.link.shared
        )
        return reader.status(DAY_SECONDS)


def _percent_of_the_day(seconds_ago: float) -> float:
    return round(max(0.0, min(100.0, 100 - seconds_ago / DAY_SECONDS * 100)), 2)


def _told(error: WxSignError) -> Text:
    return Text(f"{error.message.en} {error.operator_hint.en}", f"{error.message.zh}{error.operator_hint.zh}")


def _session() -> str:
    return request.cookies.get(COOKIE, "")


def _csrf(session: str) -> str:
    return hmac.new(session.encode(), b"csrf", "sha256").hexdigest()


def _is_from_here() -> bool:
    """Whether a browser sent a form from a page of ours: it says so itself, or names the origin."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("Origin", "")).hostname
    return origin is not None and origin == urlsplit(f"//{request.host}").hostname


def _to_the_overview() -> Response:
    # Relative to this host: an absolute address would be built from a Host header that nobody has checked.
    return Response(status=303, headers={"Location": address(CONSOLE_PATH), "Cache-Control": "no-store"})


def _page(template: str, status: int = 200, said: Text | None = None, **context: object) -> Response:
    told = said.in_language(language()) if said else None
    answer = rendered(f"console/{template}", said=told, **context)
    answer.status_code = status
    answer.headers["Content-Security-Policy"] = _POLICY
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer
