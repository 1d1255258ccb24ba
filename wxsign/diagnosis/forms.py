"""What becomes of a page's URL on its way to the signature: each form with the id of the mistake that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What WeChat's shares and its log-in add to an address.
ADDED: Final = frozenset({"from", "isappinstalled", "code", "state", "nsukey"})
_ENCODE_URI_SAFE: Final = ";,/?:@&=+$-_.!~*'()#"
_ENCODE_COMPONENT_SAFE: Final = "-_.!~*'()"
_INDEX_PAGES: Final = ("index.html", "index.htm", "index.php")


class Form(NamedTuple):
    """A URL that may have been signed instead, by which mistake, and what is done to the URL."""

    url: str
    cause: str
    name: str


def without_fragment(href: str) -> str:
    """The part of an address that is signed."""
    return href.partition("#")[0]


def forms_of(href: str) -> dict[str, Form]:
    """Every usual wrong form of a page's URL, the likeliest mistake first where two give the same; not the URL itself."""
    url = without_fragment(href)
    found: dict[str, Form] = {}
    for form in _forms(href, url):
        if form.url != url:
            found.setdefault(form.url, form)
    return found


def pairs_of(href: str) -> Iterator[tuple[Form, Form]]:
    """Two mistakes one after the other; the second one's URL is what was signed."""
    for first in forms_of(href).values():
        for second in forms_of(first.url).values():
            if second.cause != first.cause:
                yield first, second


def _forms(href: str, url: str) -> Iterator[Form]:
    yield Form(href, "WXS107", "fragment_kept")
    yield Form(url.replace("&", "&amp;"), "WXS104", "html_entity")
    yield from _stripped(url)
    yield from _origins(url)
    yield from _ends(url)
    yield from _encodings(url)
    yield Form(url.partition("?")[0], "WXS101", "query_missing")


def _stripped(url: str) -> Iterator[Form]:
    for names in (ADDED, {"code", "state"}, {"from", "isappinstalled"}, {"code"}, {"nsukey"}):
        yield Form(_without(url, names), "WXS105", "added_parameters_missing")


def _encodings(url: str) -> Iterator[Form]:
    yield Form(url.partition("&")[0], "WXS103", "cut_at_ampersand")
    yield Form(unquote(url), "WXS103", "decoded")
    yield Form(unquote(url.replace("+", " ")), "WXS103", "decoded")
    yield Form(url.replace("+", " "), "WXS103", "plus_became_blank")
    for safe in (_ENCODE_URI_SAFE, _ENCODE_COMPONENT_SAFE):
        yield Form(quote(url, safe, errors="replace"), "WXS103", "encoded")
        yield Form(quote(unquote(url), safe, errors="replace"), "WXS103", "encoded")


def _origins(url: str) -> Iterator[Form]:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    other = "http" if scheme == "https" else "https"
    yield Form(f"{other}://{rest}", "WXS106", "other_scheme")
    www = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    yield Form(f"{scheme}://{www}{slash}{path}", "WXS106", "other_host")
    bare = host.rpartition(":")[0]
    if bare:
        yield Form(f"{scheme}://{bare}{slash}{path}", "WXS106", "port_missing")
    else:
        for added in ("443", "80", "8080", "3000", "5000", "8000"):
            yield Form(f"{scheme}://{host}:{added}{slash}{path}", "WXS106", "port_added")
    yield Form(f"/{path}", "WXS106", "origin_missing")
    yield Form(f"{host}{slash}{path}", "WXS106", "scheme_missing")


def _ends(url: str) -> Iterator[Form]:
    base, mark, query = url.partition("?")
    for changed in (base.rstrip("/"), f"{base}/", *(base.removesuffix(name) for name in _INDEX_PAGES)):
        yield Form(f"{changed}{mark}{query}", "WXS107", "end_of_path")
    if base.endswith("/"):
        for name in _INDEX_PAGES:
            yield Form(f"{base}{name}{mark}{query}", "WXS107", "end_of_path")
    yield Form(url.rstrip("?&"), "WXS107", "end_of_query")
    yield Form(url.lower(), "WXS107", "lower_case")


def _without(url: str, names: Iterable[str]) -> str:
    """The URL without these parameters, the others untouched."""
    base, mark, query = url.partition("?")
    gone = frozenset(names)
    kept = "&".join(part for part in query.split("&") if part.partition("=")[0] not in gone)
    return f"{base}{mark}{kept}" if kept else base
