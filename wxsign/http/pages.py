"""The start and demo pages, and the files that they and other sites load."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import segno
from flask import Blueprint, Response, request
from markupsafe import Markup

from wxsign.errors import InvalidUrl, Text, UnknownAccount
from wxsign.http.answers import NotFoundError
from wxsign.http.description import description
from wxsign.http.documents import page_of, title_of
from wxsign.http.jsconfig import JSCONFIG_PATH
from wxsign.http.policy import dev_mode, the_service
from wxsign.http.rendering import assets, language, mount, rendered
from wxsign.settings.addresses import is_loopback
from wxsign.signing import parse_page_url

if TYPE_CHECKING:
    from pathlib import Path

    from wxsign.http.schemas import Node

_STATIC_SECONDS: Final = 3600
_PROXY_SECONDS: Final = 60
_FOR_GOOD_SECONDS: Final = 365 * 24 * 3600
_CLIENT: Final = "wxsign.js"
# As WeChat's console names them.
_VERIFY_NAME: Final = re.compile(r"[A-Za-z0-9]{4,64}")
_VERIFY_BYTES: Final = 1024
_TWIN: Final = ".zh-CN.md"
# Another name with each release that changes the file: docs/javascript.md has its hash.
_CLIENT_OF_A_VERSION: Final = "wxsign.v2.js"
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


def verify_routes(folder: Path) -> Blueprint:
    """The files by which WeChat checks whose a domain is, read anew each time: an owner adds one while the service runs."""
    routes = Blueprint("verify", __name__)

    def verify(name: str) -> Response:
        path = folder / f"MP_verify_{name}.txt"
        if not _VERIFY_NAME.fullmatch(name) or not path.is_file():
            raise NotFoundError
        return Response(path.read_bytes()[:_VERIFY_BYTES], mimetype="text/plain")

    routes.add_url_rule("/MP_verify_<name>.txt", view_func=verify)
    return routes


def static_routes() -> Blueprint:
    """The files."""
    routes = Blueprint("files", __name__)
    routes.add_url_rule("/static/<path:name>", view_func=static)
    return routes


def page_routes() -> Blueprint:
    """The pages."""
    routes = Blueprint("pages", __name__)
    routes.add_url_rule("/", view_func=index)
    routes.add_url_rule("/demo", view_func=demo)
    routes.add_url_rule("/docs/api", view_func=api_page)
    routes.add_url_rule("/docs/", view_func=documents, strict_slashes=False)
    routes.add_url_rule("/docs/<path:name>", view_func=document)
    # The question itself is a POST to the same path; the blueprint answers it.
    routes.add_url_rule("/diagnose", view_func=diagnose_page, methods=["GET"])
    return routes


@cache
def _files(folder: Path) -> dict[str, Path]:
    """What there is, by name: no name that somebody sends ever becomes a path."""
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def static(name: str) -> Response:
    """Serve a file; the client script is there for pages of other origins."""
    path = _files(assets("static")).get(_CLIENT if name == _CLIENT_OF_A_VERSION else name)
    if path is None:
        raise NotFoundError
    response = Response(path.read_bytes(), mimetype=_MEDIA_TYPES.get(path.suffix))
    _keep(response, name)
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Access-Control-Allow-Origin"] = "*"
    # Of the content, not of the file's time: the same on every machine of a fleet.
    response.add_etag()
    response.make_conditional(request)
    return response


def _keep(response: Response, name: str) -> None:
    """How long browsers keep a file: the client under its version's name for good, under its own until the next visit."""
    response.cache_control.public = True
    if dev_mode():
        response.cache_control.max_age = 0
    elif name == _CLIENT_OF_A_VERSION:
        response.cache_control.max_age = _FOR_GOOD_SECONDS
        response.cache_control.immutable = True
    elif name == _CLIENT:
        response.cache_control.max_age = 0
        # A proxy of ours may keep it while the service restarts.
        response.cache_control.s_maxage = _PROXY_SECONDS
    else:
        response.cache_control.max_age = _STATIC_SECONDS


def index() -> Response:
    """Serve the start page."""
    service = the_service()
    service.start()
    return rendered("index.html", ready_state=service.readiness().state, dev=dev_mode())


def documents() -> Response:
    """Serve the list of documents, in the visitor's language where they are."""
    files = _files(assets("docs"))
    chinese = language() == "zh"
    names = sorted(name for name in files if name.endswith(".md") and not name.endswith(_TWIN))
    twins = {name: name.replace(".md", _TWIN) for name in names}
    found = [twins[name] if chinese and twins[name] in files else name for name in names]
    titles = {name: title_of(files[name].read_text(encoding="utf-8")) for name in found}
    return rendered("documents.html", titles=titles)


def document(name: str) -> Response:
    """Serve a document as a page, or a picture in one."""
    path = _files(assets("docs")).get(name)
    if path is None:
        raise NotFoundError
    if path.suffix != ".md":
        return Response(path.read_bytes(), mimetype=_MEDIA_TYPES.get(path.suffix))
    text = path.read_text(encoding="utf-8")
    body = Markup(page_of(text))  # noqa: S704 - made of our own files, escaped there
    tag = "zh-CN" if name.endswith(_TWIN) else "en"
    return rendered("document.html", title=title_of(text), body=body, document_lang=tag)


def description_routes() -> Blueprint:
    """The API's description for programs."""
    routes = Blueprint("description", __name__)
    routes.add_url_rule("/openapi.yaml", view_func=openapi)
    return routes


def _described() -> Node:
    settings = the_service().settings
    return description(dialect=settings.dialect, pages=settings.pages, console=settings.has_console)


def openapi() -> Response:
    """Serve the description. JSON is YAML."""
    text = json.dumps(_described(), ensure_ascii=False, indent=1)
    response = Response(text, mimetype="application/yaml")
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def api_page() -> Response:
    """Serve the description as a page."""
    found = _described()
    tags = {
        "page": Text("For pages", "供网页使用"),
        "api": Text("For your other systems, with a client key", "供其他系统使用（需要客户端密钥）"),
        "dialect": Text("WeChat's own paths", "微信自己的路径"),
        "operators": Text("For operators", "供运维使用"),
        "people": Text("For people", "供人浏览"),
    }
    rows: dict[str, list[tuple[str, str, Node]]] = {tag: [] for tag in tags}
    for path, methods in found["paths"].items():
        if not path.startswith("/for/"):
            for method, operation in methods.items():
                rows[operation["tags"][0]].append((method.upper(), path, operation))
    named = {tag: text.in_language(language()) for tag, text in tags.items()}
    return rendered("api.html", rows=rows, tags=named, schemas=found["components"]["schemas"])


def diagnose_page() -> Response:
    """Serve the page where somebody pastes what he has, and is told why it is refused."""
    return rendered("diagnose.html")


def demo() -> Response:
    """Serve the demo page; `?account=` chooses one where several are configured, `?probe=1` asks WeChat what nobody says."""
    dev = dev_mode()
    prefix = mount()
    phone_url = _phone_url(f"{prefix}/demo")
    return rendered(
        "demo.html",
        jsconfig_url=f"{prefix}{JSCONFIG_PATH}",
        account=_known_account(request.args.get("account", "")),
        probe=request.args.get("probe") == "1",
        bridge_src=dev.bridge_src if dev else None,
        page_url=phone_url,
        qr_svg=qr_svg(phone_url) if phone_url else None,
    )


def _known_account(wanted: str) -> str | None:
    """The account as it was asked for: who knows an AppID, which is public, does not learn the owner's name for it."""
    try:
        the_service().registry.get(wanted)
    except UnknownAccount:
        return None
    return wanted


def _phone_url(path: str) -> str | None:
    """The page's URL as a phone can open it, from an origin that is certainly ours: a Host header alone proves nothing."""
    settings, dev = the_service().settings, dev_mode()
    if settings.public_url:
        return settings.public_url + path.removeprefix(urlsplit(settings.public_url).path)
    if dev and dev.origin:
        return dev.origin + path
    url = f"{request.scheme}://{request.host}{path}"
    return url if _is_ours(url) else None


def _is_ours(url: str) -> bool:
    try:
        page = parse_page_url(url)
    except InvalidUrl:
        return False
    return not is_loopback(page.host) and any(account.may_sign(page) for account in the_service().registry)


def qr_svg(text: str) -> Markup:
    """Return a QR code as inline SVG without any style attribute, dark on light in dark mode too."""
    code = segno.make(text, error="m")
    return Markup(code.svg_inline(scale=4, border=2, dark="#000", light="#fff", omitsize=True))  # noqa: S704 - segno draws it, no text of ours is in it
