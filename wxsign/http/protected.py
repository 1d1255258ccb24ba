"""The protected API: the account's tokens and tickets for the owner's other systems, against a client key.

An account that does not exist and one that a client may not use are not told apart. Nothing here is for browsers: no CORS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from wxsign.credentials import CredentialKind
from wxsign.errors import BadRequest, Forbidden, Text, Unauthorized, UnknownAccount
from wxsign.http.answers import (
    Answer,
    BodyTooLargeError,
    MethodNotAllowedError,
    Stream,
    UnsupportedMediaTypeError,
    error_answer,
    json_answer,
    tagged_answer,
    unexpected,
)
from wxsign.http.calls import JSON, json_pairs, text_of, unique
from wxsign.http.gate import Gate, TooManyAttemptsError, admit, note_denied, note_read, note_unknown
from wxsign.quota import clear_quota

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxsign.accounts import ApiClient
    from wxsign.broker import Theft
    from wxsign.errors import WxSignError
    from wxsign.http.calls import Call
    from wxsign.service import WxSign
    from wxsign.states import AccountState, CredentialState, TicketAnswer, TokenAnswer

API_PREFIX: Final = "/api/v1"

# What is told of a value that stays; a ticket's `expires_at` moves with every look that finds it unchanged.
_PASSING: Final = frozenset({"expires_in", "expires_at", "recheck_after_seconds"})
CHALLENGE: Final = ("WWW-Authenticate", 'Bearer realm="wxsign"')
_REJECTED_HINT: Final = Text(
    'Send the token that WeChat refused: `{"rejected": "<access_token>"}`.',
    '请发送被微信拒绝的 token：`{"rejected": "<access_token>"}`。',
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has passed the gate: who asks, for which account (by name, or empty), for what path, with what body."""

    service: WxSign
    client: ApiClient
    account: str
    call: Call
    path: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the protected API; `path` in Flask's notation, `scope` None where any key will do.

    What is no JSON answers in full by itself, and logs by itself. A `tagged` one is not sent again to who has it already.
    """

    path: str
    methods: tuple[str, ...]
    scope: str | None
    answer: Callable[[Asked], Mapping[str, object] | Answer | Stream]
    tagged: bool = False


def answer_protected(
    service: WxSign, gate: Gate, operation: Operation, call: Call, wanted: str = "", path: str = ""
) -> Answer | Stream:
    """Return the answer to a request of the protected API. Raises nothing: every failure is an answer."""
    key = None
    try:
        _check_method(operation, call)
        key = gate.key(call.authorization)
        asked = replace(_admitted(service, key.client, operation, call, wanted), path=path)
        payload = operation.answer(asked)
        if isinstance(payload, Answer | Stream):
            return payload
        note_read(call, key, asked.account, operation.path)
        if operation.tagged:
            return tagged_answer(payload, _PASSING, call.request_id, call.if_none_match)
        return json_answer(200, payload, call.request_id)
    except Exception as error:  # noqa: BLE001 - whatever happens, the caller gets an answer in our shape
        refusal = unexpected(error, call.request_id)
        challenge = (CHALLENGE,) if isinstance(refusal, Unauthorized) else ()
        if isinstance(refusal, Unauthorized):
            sent = bool(call.authorization)
            if note_unknown(gate, call, sent=sent, path=operation.path):
                refusal = TooManyAttemptsError()
        elif isinstance(refusal, Forbidden):
            note_denied(call, key, refusal.reason, operation.path)
        elif refusal.code == "relay_path_not_allowed":
            note_denied(call, key, "path", operation.path)
        return error_answer(refusal, call.request_id, call.language, *challenge, keyed=key is not None)


def _check_method(operation: Operation, call: Call) -> None:
    if call.method not in operation.methods:
        raise MethodNotAllowedError(operation.methods)


def _admitted(service: WxSign, client: ApiClient, operation: Operation, call: Call, wanted: str) -> Asked:
    admit(client, operation.scope, call.remote_addr)
    return Asked(service, client, _account_name(service, client, wanted) if wanted else "", call)


def _account_name(service: WxSign, client: ApiClient, wanted: str) -> str:
    try:
        name = service.registry.get(wanted).name
    except UnknownAccount:
        # A client that is kept to some accounts shall not learn which others exist.
        if client.accounts is None:
            raise
        raise Forbidden("account") from None
    if not client.may_use(name):
        raise Forbidden("account")
    return name


def _accounts(asked: Asked) -> Mapping[str, object]:
    states = asked.service.account_states()
    seen = [state for state in states if asked.client.may_use(state.name)]
    return {"accounts": [_account(state, asked.call.language) for state in seen]}


def _account(state: AccountState, language: str) -> dict[str, object]:
    return {
        "name": state.name,
        "app_id": state.app_id,
        "kind": state.kind,
        "token_endpoint": state.token_endpoint,
        "in_use": state.in_use,
        "problems": list(state.problems),
        "credentials": [_credential(credential, language) for credential in state.credentials],
        "calls_today": [spending._asdict() for spending in state.spending],
        "theft": state.theft and _told(state.theft, language),
    }


def _told(theft: Theft, language: str) -> dict[str, object]:
    return {
        "kind": theft.kind,
        "between": [int(theft.last_seen_at), int(theft.noticed_at)],
        "message": theft.message.in_language(language),
        "hint": theft.hint.in_language(language),
    }


def _credential(state: CredentialState, language: str) -> dict[str, object]:
    return {
        "kind": state.kind,
        "state": "usable" if state.usable else "empty",
        "expires_in": state.expires_in_seconds,
        "refresh_in": state.refresh_in_seconds,
        "version": state.version,
        "error": state.error and _failure(state.error, language),
    }


def _failure(error: WxSignError, language: str) -> dict[str, str]:
    return {
        "code": error.code,
        "message": error.message.in_language(language),
        "hint": error.operator_hint.in_language(language),
    }


def _access_token(asked: Asked) -> Mapping[str, object]:
    answer = asked.service.access_token(asked.account)
    if not _wants_verdict(asked.call):
        return _token(answer)
    # It asks WeChat, and may end in a refresh: a report of its own kind.
    if "token:refresh" not in asked.client.scopes:
        raise Forbidden("scope")
    answer = asked.service.report_rejected(asked.account, answer.value, asked.client.name)
    return {**_token(answer), "verified": answer.verified}


def _wants_verdict(call: Call) -> bool:
    given = unique(parse_qsl(call.query, keep_blank_values=True)).get("verify")
    if given in {None, "", "0", "1"}:
        return given == "1"
    message = Text("`verify` is neither 0 nor 1.", "`verify` 既不是 0 也不是 1。")
    raise BadRequest("verify_malformed", message, Text("Write `?verify=1`.", "请写 `?verify=1`。"))


def _refresh(asked: Asked) -> Mapping[str, object]:
    answer = asked.service.report_rejected(asked.account, _rejected(asked.call), asked.client.name)
    return {**_token(answer), "verified": answer.verified}


def _token(answer: TokenAnswer) -> dict[str, object]:
    return {
        "access_token": answer.value,
        "expires_in": answer.expires_in_seconds,
        "expires_at": answer.expires_at,
        "recheck_after_seconds": answer.recheck_after_seconds,
    }


def _ticket(asked: Asked) -> Mapping[str, object]:
    return _ticket_of(asked.service.ticket(asked.account))


def _agent_ticket(asked: Asked) -> Mapping[str, object]:
    return _ticket_of(asked.service.ticket(asked.account, CredentialKind.AGENT_TICKET))


def _card_ticket(asked: Asked) -> Mapping[str, object]:
    return _ticket_of(asked.service.ticket(asked.account, CredentialKind.CARD_TICKET))


def _ticket_of(answer: TicketAnswer) -> Mapping[str, object]:
    return {"ticket": answer.value, "expires_in": answer.expires_in_seconds, "expires_at": answer.expires_at}


def _rejected(call: Call) -> str:
    body = call.read()
    if body is None:
        raise BodyTooLargeError
    if body and call.media_type != JSON:
        raise UnsupportedMediaTypeError
    given = unique(json_pairs(body, _REJECTED_HINT)) if body else {}
    rejected = text_of("rejected", given.get("rejected", ""), _REJECTED_HINT)
    if not rejected:
        message = Text("The rejected token is missing.", "缺少被拒绝的 token。")
        raise BadRequest("rejected_required", message, _REJECTED_HINT)
    return rejected


def _clear_quota(asked: Asked) -> Mapping[str, object]:
    cleared = clear_quota(asked.service, asked.account)
    return {"cleared": True, "by": cleared.by, "used": cleared.used, "limit": cleared.limit}


_READ: Final = ("GET", "HEAD")

OPERATIONS: Final = (
    Operation("/accounts", _READ, None, _accounts),
    Operation("/accounts/<path:account>/access_token", _READ, "token:read", _access_token, tagged=True),
    Operation("/accounts/<path:account>/access_token/refresh", ("POST",), "token:refresh", _refresh),
    Operation("/accounts/<path:account>/tickets/jsapi", _READ, "ticket:read", _ticket, tagged=True),
    Operation(
        "/accounts/<path:account>/tickets/agent_config", _READ, "ticket:read", _agent_ticket, tagged=True
    ),
    Operation("/accounts/<path:account>/tickets/wx_card", _READ, "ticket:read", _card_ticket, tagged=True),
    Operation("/accounts/<path:account>/quota/clear", ("POST",), "admin", _clear_quota),
)
