"""What all pages have in common: the visitor's language, a sentence in two of them, and addresses under the prefix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from flask import Response, render_template, request
from markupsafe import Markup

from wxsign import __version__
from wxsign.http.calls import language_of
from wxsign.http.policy import the_service
from wxsign.settings.table import DEFAULT_API_BASE

if TYPE_CHECKING:
    from collections.abc import Callable

_TAGS: Final = {"en": "en", "zh": "zh-CN"}
_OTHER: Final = {"en": "zh", "zh": "en"}
# The parameters of our pages that go along into the other language.
_OURS: Final = ("account", "probe")


def assets(folder: str) -> Path:
    """The folder inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def rendered(template: str, **context: object) -> Response:
    """A page in the visitor's language, that nobody may store."""
    chosen = language()
    base = the_service().settings.api_base
    common = {
        "lang": chosen,
        "html_lang": _TAGS[chosen],
        "text": speaker(chosen),
        "to": address,
        "switch": _switch(chosen),
        "version": __version__,
        "api_base_notice": None if base == DEFAULT_API_BASE else urlsplit(base).netloc,
        "mount": mount(),
    }
    response = Response(render_template(template, **common, **context))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept-Language"
    response.headers["Content-Language"] = chosen
    return response


def language() -> str:
    """`zh` or `en`: what the visitor has chosen by `?lang=`, else what the browser prefers."""
    chosen = request.args.get("lang", "")
    return chosen if chosen in _TAGS else language_of(request.headers.get("Accept-Language", ""))


def speaker(chosen: str) -> Callable[..., Markup]:
    """Return `text(zh, en, **values)`, by which templates say a sentence: it may hold markup, `values` are escaped."""

    def text(zh: str, en: str, **values: object) -> Markup:
        said = Markup(zh if chosen == "zh" else en)  # noqa: S704 - it stands in a template of ours
        return said.format(**values) if values else said

    return text


def mount() -> str:
    """The path prefix under which browsers see us: the server's, or that of the public URL where a proxy strips it."""
    return request.script_root or urlsplit(the_service().settings.public_url or "").path


def address(path: str, **query: str) -> str:
    """The address of a page of ours, in the language that the visitor has chosen."""
    chosen = request.args.get("lang", "")
    asked = query | ({"lang": chosen} if chosen in _TAGS else {})
    return f"{mount()}{path}{'?' if asked else ''}{urlencode(asked)}"


def _switch(chosen: str) -> str | None:
    """The same page in the other language; None where it answers a form.

    Only parameters of ours go along: WeChat's log-in leaves its `code` in the address of a page, and a page must not repeat it.
    """
    if request.method != "GET":
        return None
    return "?" + urlencode(
        [
            *((name, request.args[name]) for name in _OURS if name in request.args),
            ("lang", _OTHER[chosen]),
        ]
    )
