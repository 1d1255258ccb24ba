"""`/metrics`, for Prometheus: from this machine, from `metrics_allow_from`, or with a key of scope `admin`."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, ClassVar, Final

from flask import Blueprint, Response, request

from wxsign.errors import RequestError, Text, Unauthorized
from wxsign.http.answers import error_answer, unexpected
from wxsign.http.blueprint import response_of
from wxsign.http.calls import call_of
from wxsign.http.gate import Gate, admit
from wxsign.http.protected import CHALLENGE

if TYPE_CHECKING:
    from wxsign.http.calls import Call
    from wxsign.service import WxSign

# Whoever is forwarded is not of this machine, whatever address the proxy has.
_FORWARDED: Final = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


class MetricsMissingError(RequestError):
    """prometheus-client is not installed."""

    status: ClassVar[int] = 501

    def __init__(self) -> None:
        super().__init__(
            "metrics_missing",
            Text("The metrics need prometheus-client.", "指标功能需要 prometheus-client。"),
            Text(
                "pip install 'wxsign[metrics]', then restart.",
                "请执行 pip install 'wxsign[metrics]' 并重启。",
            ),
        )


def metrics_routes(service: WxSign) -> Blueprint:
    """`/metrics`."""
    routes, gate = Blueprint("metrics", __name__), Gate(service.settings.clients)

    def metrics() -> Response:
        call = call_of(request.environ)
        try:
            _check(service, gate, call)
            return _exposition(service)
        except Exception as error:  # noqa: BLE001 - whatever happens, the answer is in our shape
            refusal = unexpected(error, call.request_id)
            challenge = (CHALLENGE,) if isinstance(refusal, Unauthorized) else ()
            return response_of(error_answer(refusal, call.request_id, call.language, *challenge))

    routes.add_url_rule("/metrics", view_func=metrics)
    return routes


def _exposition(service: WxSign) -> Response:
    if service.metrics is None:
        raise MetricsMissingError
    # Not imported before somebody has it: it is an extra.
    from wxsign.observers.metrics import CONTENT_TYPE, exposition  # noqa: PLC0415

    service.start()
    service.metrics.flush()
    return Response(exposition(), content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def _check(service: WxSign, gate: Gate, call: Call) -> None:
    """Raises `Unauthorized` without a key, `Forbidden` with one that does not open this."""
    if _is_near(service, call.remote_addr):
        return
    admit(gate.key(call.authorization).client, "admin", call.remote_addr)


def _is_near(service: WxSign, remote_addr: str) -> bool:
    try:
        address = ipaddress.ip_address(remote_addr.partition("%")[0])
    except ValueError:
        return False  # a unix socket has no address: nginx stands there
    address = getattr(address, "ipv4_mapped", None) or address
    if any(address in network for network in service.settings.metrics_allow_from):
        return True
    forwarded = any(name in request.environ for name in _FORWARDED)
    return address.is_loopback and (service.settings.trusted_proxies > 0 or not forwarded)
