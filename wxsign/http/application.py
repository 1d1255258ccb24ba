"""The Flask application: the API, pages and health checks put together, and one error shape for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from wxsign.errors import BadRequest, Text
from wxsign.http.answers import (
    ANY_ORIGIN,
    BodyTooLargeError,
    MethodNotAllowedError,
    NotFoundError,
    error_answer,
    unexpected,
)
from wxsign.http.blueprint import blueprint, response_of
from wxsign.http.calls import MAX_BODY_BYTES, language_of, request_id_of
from wxsign.http.console import console_routes
from wxsign.http.dialect import dialect_routes
from wxsign.http.health import health_routes
from wxsign.http.jsconfig import JsConfigLayer
from wxsign.http.metrics import metrics_routes
from wxsign.http.pages import description_routes, page_routes, static_routes, verify_routes
from wxsign.http.policy import DevMode, with_common_headers
from wxsign.http.protected import API_PREFIX
from wxsign.http.proxies import Proxies
from wxsign.http.rendering import assets
from wxsign.service import WxSign
from wxsign.settings import load_settings

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from wxsign.observers.metrics import Metrics
    from wxsign.settings import Settings


def create_app(
    service: WxSign | None = None,
    *,
    settings: Settings | None = None,
    dev: DevMode | None = None,
    config_rejected: bool = False,
) -> Flask:
    """Return the whole application around `service`, by default made from `settings`, by default those of the environment.

    `config_rejected` says that these settings are not what the file holds now: `/readyz` tells it.
    Nothing is started and no connection opened. `app.extensions["wxsign"]` is the service. Raises ConfigError.
    """
    service = service or WxSign(settings or load_settings())
    service.config_rejected = config_rejected
    service.metrics = _metrics()
    app = Flask("wxsign", static_folder=None, template_folder=str(assets("templates")))
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # A redirect would be absolute, built from a Host header that nobody has checked.
    app.url_map.merge_slashes = False
    app.extensions["wxsign"] = service
    app.extensions["wxsign.commands.dev"] = dev
    app.register_blueprint(blueprint(service))
    app.register_blueprint(health_routes())
    app.register_blueprint(metrics_routes(service))
    app.register_blueprint(static_routes())
    app.register_blueprint(description_routes())
    if service.settings.verify_folder:
        app.register_blueprint(verify_routes(service.settings.verify_folder))
    app.register_blueprint(console_routes(service))
    if service.settings.dialect:
        app.register_blueprint(dialect_routes(service))
    if service.settings.pages:
        app.register_blueprint(page_routes())
    app.register_error_handler(Exception, _error_response)
    app.after_request(with_common_headers)
    app.wsgi_app = _wsgi_stack(app, service)  # type: ignore[method-assign, assignment]  # Flask's own way to add a layer
    return app


def _metrics() -> Metrics | None:
    """This process's metrics, where the extra is installed."""
    try:
        from wxsign.observers.metrics import of_this_process  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return None
    return of_this_process()


def _wsgi_stack(app: Flask, service: WxSign) -> WSGIApplication:
    layer = JsConfigLayer(app.wsgi_app, service)
    return Proxies(layer, service.settings) if service.settings.trusted_proxies else layer


def _error_response(error: Exception) -> Response:
    """Answer any failure in the one error shape; pages of other origins may read it, except where keys are needed."""
    if isinstance(error, HTTPException) and (error.code or 500) < 400:  # noqa: PLR2004 - not an error
        return error.get_response()  # type: ignore[return-value]  # werkzeug's response class stands above Flask's
    request_id = request_id_of(request.environ)
    refusal = unexpected(_translated(error), request_id)
    cors = () if request.path.startswith(API_PREFIX) else ANY_ORIGIN
    language = language_of(request.headers.get("Accept-Language", ""))
    return response_of(error_answer(refusal, request_id, language, *cors))


def _translated(error: Exception) -> Exception:
    match error:
        case NotFound():
            return NotFoundError()
        case MethodNotAllowed():
            return MethodNotAllowedError(tuple(sorted(error.valid_methods or ())))
        case RequestEntityTooLarge():
            return BodyTooLargeError()
        case HTTPException() if (error.code or 500) < 500:  # noqa: PLR2004 - the caller's mistake
            return BadRequest("bad_request", Text("The request cannot be read.", "无法读取该请求。"))
    return error
