"""The HTTP API as a Flask blueprint, to be mounted in any application; `jsconfig` and `protected` have what it answers.

app.register_blueprint(wxsign.api.blueprint(WxSign.from_env()), url_prefix="/wx")
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge

from wxsign.http.calls import MAX_BODY_BYTES, call_of
from wxsign.http.cards import SIGN_CARD
from wxsign.http.diagnose import DIAGNOSE_PATH, REPORT_PATH, Rates, answer_diagnose, answer_report
from wxsign.http.gate import Gate
from wxsign.http.jsconfig import AGENTCONFIG_PATH, JSCONFIG_PATH, answer_jsconfig
from wxsign.http.protected import API_PREFIX, OPERATIONS, Operation, answer_protected
from wxsign.http.relay import RELAY_BODY_BYTES, RELAY_METHODS, RELAY_PATH, Relay, unreadable_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxsign.http.answers import Answer, Stream
    from wxsign.http.calls import Call
    from wxsign.service import WxSign

# Every method comes to us, so that a wrong one is answered in our error shape wherever the blueprint is mounted.
_ALL_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# A page for people may stand at the same path.
_POSTED: Final = ("POST", "OPTIONS")


def blueprint(service: WxSign, name: str = "wxsign") -> Blueprint:
    """Return `/jsconfig`, `/agentconfig` and `/api/v1/…` for an existing Flask application. The rest of that application is left alone."""
    routes = Blueprint(name, __name__)
    for path in (JSCONFIG_PATH, AGENTCONFIG_PATH):
        _add(routes, path, path[1:], partial(_config, service, of_agent=path == AGENTCONFIG_PATH))
    rates = Rates()
    for path, answer in ((DIAGNOSE_PATH, answer_diagnose), (REPORT_PATH, answer_report)):
        view = partial(_asked, service, rates, answer)
        routes.add_url_rule(path, answer.__name__, view, methods=_POSTED, provide_automatic_options=False)
    gate = Gate(service.settings.clients)
    relay = Relay(service).relay
    relayed = Operation(RELAY_PATH, RELAY_METHODS, "relay", relay)
    ours = ((operation, _body) for operation in (*OPERATIONS, SIGN_CARD))
    for operation, read in (*ours, (relayed, _body_to_relay)):
        endpoint = operation.answer.__name__.strip("_")
        _add(routes, API_PREFIX + operation.path, endpoint, _view(service, gate, operation, read))
    return routes


def _config(service: WxSign, *, of_agent: bool) -> Response:
    return response_of(answer_jsconfig(service, call_of(request.environ, _body), of_agent=of_agent))


def _asked(service: WxSign, rates: Rates, answer: Callable[[WxSign, Rates, Call], Answer]) -> Response:
    return response_of(answer(service, rates, call_of(request.environ, _body)))


def _view(
    service: WxSign, gate: Gate, operation: Operation, read: Callable[[], bytes | None]
) -> Callable[..., Response]:
    def view(account: str = "", path: str = "") -> Response:
        call = call_of(request.environ, read)
        return response_of(answer_protected(service, gate, operation, call, account, path))

    return view


def _body() -> bytes | None:
    """The request's body by Flask's own way, for the host application may have read it before us: CSRF, audit, metrics."""
    if request.method != "POST":
        return b""
    request.max_content_length = MAX_BODY_BYTES
    try:
        body = request.get_data(cache=True)
        # A host that has parsed a form leaves nothing of the body, only the form.
        body = body or urlencode(list(request.form.items(multi=True))).encode()
    except RequestEntityTooLarge:
        return None
    except Exception:  # noqa: BLE001 - chunks that are malformed or break off: as good as nothing sent
        return b""
    return body if len(body) <= MAX_BODY_BYTES else None


def _body_to_relay() -> bytes | None:
    """The body as it came, None where it is too large. Raises `BadRequest` where it cannot be had so."""
    request.max_content_length = RELAY_BODY_BYTES
    try:
        body = request.get_data(cache=True)
    except RequestEntityTooLarge:
        return None
    except Exception:  # noqa: BLE001 - each server has errors of its own
        raise unreadable_body() from None
    if not body and request.content_length:
        raise unreadable_body()
    return body


def _add(routes: Blueprint, path: str, endpoint: str, view: Callable[..., Response]) -> None:
    routes.add_url_rule(path, endpoint, view, methods=_ALL_METHODS, provide_automatic_options=False)


def response_of(answer: Answer | Stream) -> Response:
    """Return an answer as Flask's response, with its headers and no others."""
    response = Response(answer.body, answer.status)
    response.headers = Headers(answer.headers)
    return response
