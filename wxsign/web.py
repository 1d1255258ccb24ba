"""The Flask application: the API, the start and demo pages, health checks, static files, security headers, error answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import segno
from flask import Blueprint, Flask, Response, current_app, render_template, request
from markupsafe import Markup
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.security import safe_join

from wxsign import __version__
from wxsign.addresses import is_loopback
from wxsign.answers import (
    ANY_ORIGIN,
    RETRY_AFTER_SECONDS,
    BodyTooLargeError,
    MethodNotAllowedError,
    NotFoundError,
    error_answer,
    json_answer,
    unexpected,
)
from wxsign.api import blueprint, response_of
from wxsign.calls import MAX_BODY_BYTES, language_of, request_id_of
from wxsign.config import load_settings
from wxsign.errors import BadRequest, InvalidUrl, Text, UnknownAccount
from wxsign.jsconfig import JSCONFIG_PATH, JsConfigLayer
from wxsign.options import DEFAULT_API_BASE
from wxsign.protected import API_PREFIX
from wxsign.service import WxSign
from wxsign.signing import parse_page_url

if TYPE_CHECKING:
    from wxsign.config import Settings

_HSTS_SECONDS: Final = 365 * 24 * 3600
_STATIC_SECONDS: Final = 3600
# By our own table: the system's may know .js by another name, and .ts as a video.
_MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".mts": "text/plain",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain",
}
_OFFICIAL_SCRIPTS: Final = "https://res.wx.qq.com https://res2.wx.qq.com"
# WeChat's script reports to open.weixin.qq.com; chosen pictures are shown under WeChat's own schemes; old clients reach
# their bridge through an iframe of the `weixin:` scheme.
_PICTURES: Final = "data: blob: https://open.weixin.qq.com weixin: wxlocalresource: wxLocalResource:"


@dataclass(frozen=True, slots=True)
class DevMode:
    """What `wxsign dev` adds: the bridge on the demo page. No setting can bring this about.

    `bridge_src` is the absolute URL of the sandbox's bridge; `origin` is where a phone in the same network finds us, if it can.
    """

    bridge_src: str
    origin: str | None = None


def create_app(
    service: WxSign | None = None, *, settings: Settings | None = None, dev: DevMode | None = None
) -> Flask:
    """Return the whole application around `service`, by default made from `settings`, by default those of the environment.

    Nothing is started and no connection opened. `app.extensions["wxsign"]` is the service. Raises ConfigError.
    """
    service = service or WxSign(settings or load_settings())
    app = Flask("wxsign", static_folder=None, template_folder=str(_assets("templates")))
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # A redirect would be absolute, built from a Host header that nobody has checked.
    app.url_map.merge_slashes = False
    app.extensions["wxsign"] = service
    app.extensions["wxsign.dev"] = dev
    app.register_blueprint(blueprint(service))
    app.register_blueprint(_health_routes())
    if service.settings.pages:
        app.register_blueprint(_page_routes())
    app.register_error_handler(Exception, _error_response)
    app.after_request(_with_common_headers)
    app.wsgi_app = _wsgi_stack(app, service)  # type: ignore[method-assign]  # Flask's own way to add a layer
    return app


def _wsgi_stack(app: Flask, service: WxSign) -> JsConfigLayer:
    inner: Any = app.wsgi_app
    proxies = service.settings.trusted_proxies
    if proxies:
        inner = ProxyFix(inner, x_for=proxies, x_proto=proxies, x_host=0, x_port=0, x_prefix=0)
    return JsConfigLayer(inner, service)


def _assets(folder: str) -> Path:
    """The folder inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def _service() -> WxSign:
    service: WxSign = current_app.extensions["wxsign"]
    return service


def _dev() -> DevMode | None:
    dev: DevMode | None = current_app.extensions["wxsign.dev"]
    return dev


def _health_routes() -> Blueprint:
    routes = Blueprint("health", __name__)
    routes.add_url_rule("/healthz", view_func=healthz)
    routes.add_url_rule("/readyz", view_func=readyz)
    routes.add_url_rule("/static/<path:name>", view_func=static)
    return routes


def _page_routes() -> Blueprint:
    routes = Blueprint("pages", __name__)
    routes.add_url_rule("/", view_func=index)
    routes.add_url_rule("/demo", view_func=demo)
    return routes


def healthz() -> Response:
    """Say that the process answers; touches nothing else."""
    return response_of(json_answer(200, {"status": "ok"}, request_id_of(request.environ)))


def readyz() -> Response:
    """Say whether this process can serve: 503 only while it can serve no account that it needs now."""
    service = _service()
    service.start()
    readiness = service.readiness()
    payload = {"state": readiness.state, "problems": list(readiness.problems)}
    retry = () if readiness.ready else (("Retry-After", str(RETRY_AFTER_SECONDS)),)
    status = 200 if readiness.ready else 503
    return response_of(json_answer(status, payload, request_id_of(request.environ), *retry))


def static(name: str) -> Response:
    """Serve a file; the client script is there for pages of other origins."""
    path = safe_join(str(_assets("static")), name)
    if path is None or not Path(path).is_file():
        raise NotFoundError
    response = Response(Path(path).read_bytes(), mimetype=_MEDIA_TYPES.get(Path(path).suffix))
    response.cache_control.public = True
    response.cache_control.max_age = 0 if _dev() else _STATIC_SECONDS
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Access-Control-Allow-Origin"] = "*"
    # Of the content, not of the file's time: the same on every machine of a fleet.
    response.add_etag()
    response.make_conditional(request)
    return response


def index() -> Response:
    """Serve the start page."""
    service = _service()
    service.start()
    return _page("index.html", ready_state=service.readiness().state, has_demo=True)


def demo() -> Response:
    """Serve the demo page; `?account=` chooses one where several are configured."""
    dev = _dev()
    mount = _mount()
    phone_url = _phone_url(f"{mount}/demo")
    return _page(
        "demo.html",
        jsconfig_url=f"{mount}{JSCONFIG_PATH}",
        account=_known_account(request.args.get("account", "")),
        bridge_src=dev.bridge_src if dev else None,
        page_url=phone_url,
        qr_svg=qr_svg(phone_url) if phone_url else None,
    )


def _page(template: str, **context: object) -> Response:
    language = language_of(request.headers.get("Accept-Language", ""))
    base = _service().settings.api_base
    notice = None if base == DEFAULT_API_BASE else urlsplit(base).netloc
    common = {"lang": language, "version": __version__, "api_base_notice": notice, "mount": _mount()}
    response = Response(render_template(template, **common, **context))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept-Language"
    response.headers["Content-Language"] = language
    return response


def _mount() -> str:
    """The path prefix under which browsers see us: the server's, or that of the public URL where a proxy strips it."""
    return request.script_root or urlsplit(_service().settings.public_url or "").path


def _known_account(wanted: str) -> str | None:
    try:
        return _service().registry.get(wanted).name if wanted else None
    except UnknownAccount:
        return None


def _phone_url(path: str) -> str | None:
    """The page's URL as a phone can open it, from an origin that is certainly ours: a Host header alone proves nothing."""
    settings, dev = _service().settings, _dev()
    if settings.public_url:
        return settings.public_url + path.removeprefix(urlsplit(settings.public_url).path)
    if dev and dev.origin:
        return dev.origin + path
    url = f"{request.scheme}://{request.host}{path}"
    return url if _is_our_page(url) else None


def _is_our_page(url: str) -> bool:
    try:
        page = parse_page_url(url)
    except InvalidUrl:
        return False
    return not is_loopback(page.host) and any(account.may_sign(page) for account in _service().registry)


def qr_svg(text: str) -> Markup:
    """Return a QR code as inline SVG without any style attribute, dark on light in dark mode too."""
    code = segno.make(text, error="m")
    return Markup(code.svg_inline(scale=4, border=2, dark="#000", light="#fff", omitsize=True))  # noqa: S704 - segno draws it, no text of ours is in it


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


def _with_common_headers(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-Id"] = request_id_of(request.environ)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "strict-origin-when-cross-origin")
    headers.setdefault("Content-Security-Policy", content_security_policy(_dev()))
    if (_service().settings.public_url or "").startswith("https:"):
        headers.setdefault("Strict-Transport-Security", f"max-age={_HSTS_SECONDS}")
    return response


def content_security_policy(dev: DevMode | None) -> str:
    """Return a policy under which WeChat's official script works and nothing else does; in dev mode the bridge too."""
    parts = urlsplit(dev.bridge_src) if dev else None
    bridge = f" {parts.scheme}://{parts.netloc}" if parts else ""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {_OFFICIAL_SCRIPTS}{bridge}",
            f"connect-src 'self'{bridge}",
            "style-src 'self'",
            f"img-src 'self' {_PICTURES}",
            "media-src 'self' data: blob:",
            "frame-src weixin: wxlocalresource:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
