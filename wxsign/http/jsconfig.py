"""`/jsconfig`: one function answers it, whatever brought the request; a WSGI layer and a Flask view are its adapters.

The layer stands in front of Flask's dispatch, because this is the path that every page view takes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_plus, unquote_to_bytes

from wxsign.accounts import NoAgent
from wxsign.credentials import owner_of
from wxsign.errors import BadRequest, CredentialUnavailable, InvalidUrl, Text
from wxsign.http.answers import (
    ANY_ORIGIN,
    EXPOSED,
    VARY_ORIGIN,
    Answer,
    BodyTooLargeError,
    Headers,
    MethodNotAllowedError,
    UnsupportedMediaTypeError,
    encoded_answer,
    error_answer,
    hsts_of,
    json_text,
    unexpected,
)
from wxsign.http.calls import FORM, JSON, Call, call_of, json_pairs, text_of, unique
from wxsign.signing import ignored_parameters, parse_page_url, query_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from wxsign.accounts import OfficialAccount
    from wxsign.service import WxSign
    from wxsign.signing import JSConfig, PageUrl, SigningWarning

JSCONFIG_PATH: Final = "/jsconfig"
AGENTCONFIG_PATH: Final = "/agentconfig"
_PATHS: Final = frozenset({JSCONFIG_PATH, AGENTCONFIG_PATH})
METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")

_NAMES: Final = ("url", "account", "landing_url", "agent")
# Those of nearly every page's URL. None of these characters can become part of another escape, so the order is free.
_COMMON_ESCAPES: Final = (("%3A", ":"), ("%2F", "/"), ("%3F", "?"), ("%3D", "="), ("%26", "&"))
_PREFLIGHT: Final = (
    ("Access-Control-Allow-Methods", "GET, POST"),
    ("Access-Control-Max-Age", "600"),
)


_WITH_COOKIES: Final = ("Access-Control-Allow-Credentials", "true")
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9-]+(?:, ?[A-Za-z0-9-]+){0,49}")
_ORIGIN: Final = re.compile(r"https?://[^/?#%\\\s]+")
_JSON_HINT: Final = Text('Send `{"url": "https://…"}`.', '请发送 `{"url": "https://…"}`。')


class _Wanted(NamedTuple):
    url: str
    account: str | None
    landing_url: str | None
    agent: str | None
    warnings: tuple[SigningWarning, ...]


def answer_jsconfig(service: WxSign, call: Call, *, of_agent: bool = False) -> Answer:
    """Return the answer to a request for a signature; `of_agent`: what `wx.agentConfig` needs, alone.

    Raises nothing: every failure is an answer.
    """
    try:
        return _preflight(service, call) if call.method == "OPTIONS" else _signed(service, call, of_agent)
    except Exception as error:  # noqa: BLE001 - whatever happens, the page gets an answer that it can read
        refusal = unexpected(error, call.request_id)
        if service.metrics is not None and not isinstance(refusal, CredentialUnavailable):
            service.metrics.note(("", refusal.code))
        return error_answer(
            refusal, call.request_id, call.language, *(_readable(service, call) or ANY_ORIGIN)
        )


def _signed(service: WxSign, call: Call, of_agent: bool) -> Answer:  # noqa: FBT001 - as it came
    if call.method not in METHODS:
        raise MethodNotAllowedError(METHODS)
    wanted = _wanted(call)
    config = service.jsconfig(wanted.url, wanted.account, wanted.landing_url, wanted.agent)
    if of_agent:
        if config.agent is None:
            raise NoAgent
        text = json_text(config.agent.as_dict())
    else:
        text = _text(config, wanted.warnings, call)
    # A corporation's id alone may name several accounts.
    account = service.registry.get(
        owner_of(config.app_id, str(config.agent.agent_id))
        if config.agent
        else wanted.account or config.app_id
    )
    if call.origin and (_is_of(config.url, call.origin) or _may_read(account, call.origin)):
        return encoded_answer(200, text, call.request_id, *_readable_from(call.origin))
    return encoded_answer(200, text, call.request_id, VARY_ORIGIN)


def _is_of(url: str, origin: str) -> bool:
    """Whether a URL that was signed begins with this very origin: its pages may read their own answers."""
    end = len(origin)
    return url.startswith(origin) and origin.count("/") == 2 and url[end : end + 1] in {"/", "?", ""}  # noqa: PLR2004 - https://


def _text(config: JSConfig, warnings: tuple[SigningWarning, ...], call: Call) -> str:
    if warnings:
        config = config._replace(warnings=tuple(dict.fromkeys((*config.warnings, *warnings))))
    if config.warnings or config.landing is not None or config.agent is not None:
        return json_text(config.as_dict(call.language))
    # What `json_text(config.as_dict())` gives; only the URL is anybody's, and may need an escape.
    return (
        f'{{"appId":"{config.app_id}","timestamp":{config.timestamp},"nonceStr":"{config.nonce_str}",'
        f'"signature":"{config.signature}","url":{json_text(config.url)},'
        f"{_lists(config.js_api_list, config.open_tag_list)}}}"
    )


@lru_cache(maxsize=1024)
def _lists(js_api_list: tuple[str, ...], open_tag_list: tuple[str, ...]) -> str:
    """The members that are an account's and always the same, encoded once."""
    return f'"jsApiList":{json_text(js_api_list)},"openTagList":{json_text(open_tag_list)}'


def _preflight(service: WxSign, call: Call) -> Answer:
    """Answer the browser's question before a POST of JSON; which account will sign is not known yet."""
    headers = [VARY_ORIGIN, ("X-Request-Id", call.request_id), ("Cache-Control", "no-store")]
    if readable := _readable(service, call):
        headers += [*readable[1:], *_PREFLIGHT]
        # An app's HTTP client adds headers of its own, tokens and traces; they are passed over, so they do no harm.
        asked = call.requested_headers
        headers.append(
            ("Access-Control-Allow-Headers", asked if _HEADER_NAMES.fullmatch(asked) else "Content-Type")
        )
    else:
        headers.append(("Allow", ", ".join(METHODS)))
    return Answer(204, headers, b"")


def _readable(service: WxSign, call: Call) -> Headers:
    """The headers by which pages of the call's origin may read the answer; none where no account signs for them."""
    allowed = call.origin and any(_may_read(account, call.origin) for account in service.registry)
    return _readable_from(call.origin) if allowed else []


def _readable_from(origin: str) -> Headers:
    """Also where the page's client sends cookies along, as some do everywhere: nothing here depends on one."""
    return [VARY_ORIGIN, ("Access-Control-Allow-Origin", origin), _WITH_COOKIES, EXPOSED]


def _may_read(account: OfficialAccount, origin: str) -> bool:
    """Whether pages of `origin` may read the account's answers: those that it may sign for. `null` is none of them."""
    page = _page_of(origin)
    return page is not None and account.may_sign(page)


@lru_cache(maxsize=1024)
def _page_of(origin: str) -> PageUrl | None:
    """The page that stands for an origin in the rules of hosts; None where it is no http(s) origin."""
    try:
        return parse_page_url(origin) if _ORIGIN.fullmatch(origin) else None
    except InvalidUrl:
        return None


def _wanted(call: Call) -> _Wanted:
    form, pairs = call.query, []
    if call.method == "POST":
        body = call.read()
        if body is None:
            raise BodyTooLargeError
        if call.media_type == JSON:
            pairs = json_pairs(body, _JSON_HINT)
        elif call.media_type == FORM or not body:
            form = f"{form}&{body.decode('latin-1')}"
        else:
            raise UnsupportedMediaTypeError
    given = unique([*_form_fields(form), *_json_fields(pairs)])
    return _Wanted(
        given.get("url", ""),
        given.get("account") or None,
        given.get("landing_url") or None,
        given.get("agent") or None,
        tuple(dict.fromkeys((*query_warnings(form), *ignored_parameters([name for name, _ in pairs])))),
    )


def _form_fields(form: str) -> Iterator[tuple[str, str]]:
    """Decode `url` and `account` from a query or a form, by the rules of forms: a raw `+` means a space."""
    for part in form.split("&"):
        name, _, value = part.partition("=")
        name = unquote_plus(name) if "%" in name else name
        if name in _NAMES:
            yield name, _decoded(name, value)


def _decoded(name: str, value: str) -> str:
    for escape, character in _COMMON_ESCAPES:
        value = value.replace(escape, character)
    value = value.replace("+", " ") if "+" in value else value
    if "%" not in value and value.isascii():
        return value
    try:
        # WSGI hands bytes over as Latin-1 text (PEP 3333).
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeError:
        raise BadRequest(
            "not_utf8",
            Text(f"`{name}` is not UTF-8.", f"参数 `{name}` 不是 UTF-8 编码。"),
            Text("Encode it with `encodeURIComponent`.", "请用 `encodeURIComponent` 编码。"),
        ) from None


def _json_fields(pairs: Iterable[tuple[str, object]]) -> list[tuple[str, str]]:
    return [
        (name, "" if value is None else text_of(name, value, _JSON_HINT))
        for name, value in pairs
        if name in _NAMES
    ]


class JsConfigLayer:
    """Answers `/jsconfig` and `/agentconfig` before the application behind it is asked; every other path is the application's."""

    def __init__(self, application: WSGIApplication, service: WxSign) -> None:
        self._application = application
        self._service = service
        self._extra = hsts_of(service.settings)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path not in _PATHS:
            return self._application(environ, start_response)
        answer = answer_jsconfig(self._service, call_of(environ), of_agent=path != JSCONFIG_PATH)
        start_response(answer.status_line, [*answer.headers, *self._extra])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
