"""Who is believed about the client's address and scheme: so many proxies in front, where they are told by address too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from werkzeug.middleware.proxy_fix import ProxyFix

from wxsign.accounts import address_within

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from wxsign.settings import Settings

_PREFIX_NAME: Final = "HTTP_X_FORWARDED_PREFIX"
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+(?:, ?(?:/[A-Za-z0-9_.~-]+)*)*")
BELIEVED: Final = ("X-Forwarded-For", "X-Forwarded-Proto")


def forwarded(environ: WSGIEnvironment, number: int) -> list[str]:
    """Which of the headers that are believed came with a request through `number` proxies.

    `X-Forwarded-For` counts with an address for each of them: with fewer the connection's own is taken, so that every
    visitor looks like the last proxy, or like this machine.
    """
    if "werkzeug.proxy_fix.orig" not in environ:
        return []
    came = [name for name in BELIEVED if f"HTTP_{name.upper().replace('-', '_')}" in environ]
    if environ.get("HTTP_X_FORWARDED_FOR", "").count(",") + 1 < number:
        came = [name for name in came if name != "X-Forwarded-For"]
    return came


class Proxies:
    """Puts what the trusted proxies say of the client in the place of what the connection says."""

    def __init__(self, application: WSGIApplication, settings: Settings) -> None:
        number = settings.trusted_proxies
        self._addresses = settings.trusted_proxy_addresses
        self._application = application
        self._believing = ProxyFix(application, x_for=number, x_proto=number, x_host=0, x_prefix=number)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # A unix socket has no address: only what the file system lets near it can speak there.
        peer = environ.get("REMOTE_ADDR")
        if peer and self._addresses and not address_within(peer, self._addresses):
            return self._application(environ, start_response)
        if not _PREFIX.fullmatch(environ.get(_PREFIX_NAME, "")):
            # It stands in addresses of pages: what is no plain path is none of a proxy's.
            environ.pop(_PREFIX_NAME, None)
        return self._believing(environ, start_response)
