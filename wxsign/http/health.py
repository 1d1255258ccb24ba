"""Health checks: does the process answer, and can it serve?"""

from __future__ import annotations

from flask import Blueprint, Response, request

from wxsign.http.answers import (
    RETRY_AFTER_SECONDS,
    json_answer,
)
from wxsign.http.blueprint import response_of
from wxsign.http.calls import request_id_of
from wxsign.http.policy import the_service
from wxsign.http.proxies import forwarded


def health_routes() -> Blueprint:
    """The health checks."""
    routes = Blueprint("health", __name__)
    routes.add_url_rule("/healthz", view_func=healthz)
    routes.add_url_rule("/readyz", view_func=readyz)
    return routes


def healthz() -> Response:
    """Say that the process answers, and behind proxies which of their headers came; touches nothing else."""
    payload: dict[str, object] = {"status": "ok"}
    if number := the_service().settings.trusted_proxies:
        payload["forwarded"] = forwarded(request.environ, number)
    return response_of(json_answer(200, payload, request_id_of(request.environ)))


def readyz() -> Response:
    """Say whether this process can serve: 503 only while it can serve no account that it needs now."""
    service = the_service()
    service.start()
    readiness = service.readiness()
    payload = {"state": readiness.state, "problems": list(readiness.problems)}
    retry = () if readiness.ready else (("Retry-After", str(RETRY_AFTER_SECONDS)),)
    status = 200 if readiness.ready else 503
    return response_of(json_answer(status, payload, request_id_of(request.environ), *retry))
