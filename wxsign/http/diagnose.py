"""`POST /diagnose`: what is wrong with this signature. `POST /report`: a page says that WeChat refused one of ours.

Anybody may ask. What an answer tells of a ticket is the name of a mistake that gives the very signature that was sent,
which only somebody can have made who had the ticket; docs/security.md counts the bits.
"""

from __future__ import annotations

import hmac
import re
import threading
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from wxsign.broker import Look
from wxsign.credentials import CredentialKind
from wxsign.diagnosis import Page, diagnose, page_in
from wxsign.diagnosis.findings import CONFIG_FIELDS
from wxsign.diagnosis.known import known_of
from wxsign.errors import BadRequest, RequestError, Text
from wxsign.http.answers import (
    ANY_ORIGIN,
    Answer,
    BodyTooLargeError,
    MethodNotAllowedError,
    error_answer,
    json_answer,
    unexpected,
)
from wxsign.http.calls import json_pairs, unique, whole_characters
from wxsign.outcomes import note_outcome
from wxsign.signing import parse_page_url, signature, string_to_sign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxsign.http.calls import Call
    from wxsign.service import WxSign

DIAGNOSE_PATH: Final = "/diagnose"
REPORT_PATH: Final = "/report"

_MAX_AGE_SECONDS: Final = 600
# By then what somebody else's look at WeChat brought has reached every worker.
_OTHERS_LOOK_SECONDS: Final = 2
_TEXTS: Final = {"page": "url", "landing_url": "landing_url", "signed_url": "signed_url", "errMsg": "words"}
_LIMITS: Final = {"timestamp": 64, "nonce": 256, "signature": 256, "app_id": 128}
_MAX_CHARACTERS: Final = 8192
_PREFLIGHT: Final = (
    *ANY_ORIGIN,
    ("Access-Control-Allow-Methods", "POST"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "600"),
)
_HINT: Final = Text(
    'Send JSON: `{"page": location.href, "config": {…}, "errMsg": "…"}`, or `{"text": "whatever you have"}`.',
    '请发送 JSON：`{"page": location.href, "config": {…}, "errMsg": "…"}`，或 `{"text": "手头的任何内容"}`。',
)
_REPORT_HINT: Final = Text(
    "Send JSON with `url`, `timestamp`, `nonceStr`, `signature` and `errMsg`.",
    "请发送含 `url`、`timestamp`、`nonceStr`、`signature`、`errMsg` 的 JSON。",
)
# One page of a hundred that WeChat accepts says so.
_ACCEPTED: Final = re.compile(r":ok$")
_PLATFORMS: Final = (
    ("wxwork", "wecom"),
    ("wechatdevtools", "devtools"),
    ("openharmony", "harmony"),
    ("iphone", "ios"),
    ("ipad", "ios"),
    ("android", "android"),
)


class TooManyDiagnosesError(RequestError):
    """More questions than this process answers in a second."""

    status: ClassVar[int] = 429

    def __init__(self) -> None:
        super().__init__(
            "too_many_diagnoses",
            Text("Too many questions at once.", "同时提问过多。"),
            Text("Ask again in a second.", "请一秒后再问。"),
        )


class Bucket:
    """So many a second, and some at once. Safe to be used by several threads."""

    def __init__(self, a_second: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._a_second, self._at_once = a_second, at_once
        self._left, self._at = at_once, clock()

    def take(self) -> bool:
        """Whether one more may be answered now."""
        with self._lock:
            now = self._clock()
            self._left = min(self._at_once, self._left + (now - self._at) * self._a_second)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Rates:
    """How often this process does what anybody may ask for."""

    def __init__(self) -> None:
        # A diagnosis costs some ten milliseconds: a person needs one, a flood of them gets no further.
        self.questions = Bucket(3, 10)
        # To count is a write. Whoever has one signature of ours can report it again and again.
        self._of_account: defaultdict[str, Bucket] = defaultdict(lambda: Bucket(5, 50))
        self._of_all = Bucket(20, 100)

    def may_count(self, account: str) -> bool:
        """Whether one more report on a page of this account may be counted now."""
        return self._of_account[account].take() and self._of_all.take()


def answer_diagnose(service: WxSign, rates: Rates, call: Call) -> Answer:
    """Return the answer to a question. Raises nothing: every failure is an answer."""

    def answer(fields: Mapping[str, object]) -> Mapping[str, object]:
        if not rates.questions.take():
            raise TooManyDiagnosesError
        page = _page(fields)
        found = diagnose(page, known_of(service, page)).as_dict(call.language)
        return {**found, "at": int(time.time()), "request_id": call.request_id}

    return _answered(call, _HINT, answer)


def answer_report(service: WxSign, rates: Rates, call: Call) -> Answer:
    """Return what a page shall do whose signature was refused. Raises nothing: every failure is an answer."""
    return _answered(call, _REPORT_HINT, lambda fields: _reported(service, rates, fields, call))


def _answered(
    call: Call, hint: Text, answer: Callable[[Mapping[str, object]], Mapping[str, object]]
) -> Answer:
    try:
        if call.method == "OPTIONS":
            return Answer(204, [*_PREFLIGHT, ("X-Request-Id", call.request_id)], b"")
        return json_answer(200, answer(_fields(call, hint)), call.request_id, *ANY_ORIGIN)
    except Exception as error:  # noqa: BLE001 - whatever happens, the page gets an answer that it can read
        return error_answer(unexpected(error, call.request_id), call.request_id, call.language, *ANY_ORIGIN)


# ------------------------------------------------------------------------------- what was sent


def _fields(call: Call, hint: Text) -> Mapping[str, object]:
    """The JSON of a POST, whatever it is called: a beacon of the browser's says that it is plain text."""
    if call.method != "POST":
        raise MethodNotAllowedError(("POST", "OPTIONS"))
    body = call.read()
    if body is None:
        raise BodyTooLargeError
    return unique(json_pairs(body, hint))


def _page(fields: Mapping[str, object]) -> Page:
    """The page that the fields tell of: those given by name, else what `text` says."""
    found = page_in(_text(fields, "text", 16_384))
    given = {name: _text(fields, field) for field, name in _TEXTS.items()}
    config = fields.get("config")
    if config is not None and not (isinstance(config, list) and all(isinstance(p, tuple) for p in config)):
        raise BadRequest(
            "config_not_object", Text("`config` is not an object.", "`config` 不是对象。"), _HINT
        )
    named = dict(config or ())
    given |= {name: _text(named, field, _LIMITS[name]) for field, name in CONFIG_FIELDS.items()}
    missing = tuple(field for field in CONFIG_FIELDS if not named.get(field)) if named else ()
    given["user_agent"] = _text(fields, "userAgent", 1024)
    return replace(
        found, **{name: value for name, value in given.items() if value}, missing=missing or found.missing
    )


def _text(fields: Mapping[str, object], name: str, most: int = _MAX_CHARACTERS) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRequest(f"{name}_not_text", Text(f"`{name}` is not a text.", f"`{name}` 不是文本。"), _HINT)
    return whole_characters(str(value)[:most])


# ------------------------------------------------------------------------------- what a page reports


def _reported(
    service: WxSign, rates: Rates, fields: Mapping[str, object], call: Call
) -> Mapping[str, object]:
    page = Page(
        url=_text(fields, "url"),
        landing_url=_text(fields, "landing_url"),
        timestamp=_text(fields, "timestamp", 64),
        nonce=_text(fields, "nonceStr", 256),
        signature=_text(fields, "signature", 256),
        words=_text(fields, "errMsg"),
        user_agent=_text(fields, "userAgent", 1024) or call.user_agent[:1024],
    )
    parsed = parse_page_url(page.url)
    account = service.registry.for_page(parsed, _text(fields, "account", 128) or None)
    key = service.settings.key_of(account, CredentialKind.JSAPI_TICKET)
    values = service.broker.early.values(key)
    # Anybody can ask for a signature of ours, and nobody can make one: older ones, and others', count for nothing.
    if not page.timestamp.isdecimal() or abs(time.time() - int(page.timestamp)) > _MAX_AGE_SECONDS:
        return {"retry": False}
    present, previous = (bool(value) and _is_of(page, value, parsed.url) for value in values)
    if (present or previous) and rates.may_count(account.name):
        _count(service, account.name, page)
    if previous:
        return {"retry": True, "after_seconds": 0}
    if not present or not page.is_refused:
        return {"retry": False}
    look = service.broker.early.look(key)
    if look is Look.UNDER_WAY:
        return {"retry": True, "after_seconds": _OTHERS_LOOK_SECONDS}
    if look is Look.DONE and service.broker.early.values(key)[0] != values[0]:
        return {"retry": True, "after_seconds": 0}
    page = replace(page, app_id=account.app_id)
    told = rates.questions.take()
    findings = diagnose(page, known_of(service, page)).as_dict(call.language) if told else {}
    return {"retry": False, **findings}


def _is_of(page: Page, ticket: str, url: str) -> bool:
    """Whether the signature was made with this ticket."""
    made = signature(string_to_sign(ticket, page.nonce, int(page.timestamp), url))
    return hmac.compare_digest(made.encode(), page.signature.encode())


def _count(service: WxSign, account: str, page: Page) -> None:
    agent = page.user_agent.lower()
    platform = next((name for mark, name in _PLATFORMS if mark in agent), "other")
    accepted = _ACCEPTED.search(page.words)
    outcome = "ok_sampled" if accepted else "invalid_signature" if page.is_refused else "other"
    note_outcome(service, account, platform, outcome)
    if service.metrics is not None:
        service.metrics.note_page((account, platform, outcome))
