"""What every answer of the application carries: the security policy of its pages, and the common headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import Response, current_app, request

from wxsign.http.answers import hsts_of
from wxsign.http.calls import request_id_of

if TYPE_CHECKING:
    from wxsign.service import WxSign

_OFFICIAL_SCRIPTS: Final = "https://res.wx.qq.com https://res2.wx.qq.com"
# WeChat's script reports to open.weixin.qq.com; chosen pictures are shown under WeChat's own schemes; old clients reach
# their bridge through an iframe of the `weixin:` scheme.
_PICTURES: Final = "data: blob: https://open.weixin.qq.com weixin: wxlocalresource: wxLocalResource:"


@dataclass(frozen=True, slots=True)
class DevMode:
    """What `wxsign dev` adds: the bridge on the demo page. No setting can bring this about.

    `bridge_src` is the absolute URL of the sandbox's bridge; `origin` is where a phone in the same network finds us, if it can.
    `client_key` opens the protected API, which has nothing but the sandbox's tokens; `phone_url` shows the developer's own page.
    """

    bridge_src: str
    origin: str | None = None
    client_key: str = ""
    phone_url: str | None = None

    @property
    def sandbox_url(self) -> str:
        """The sandbox's page, and the folder of its controls."""
        return self.bridge_src.removesuffix("bridge.js")


def the_service() -> WxSign:
    """The service of the current application."""
    service: WxSign = current_app.extensions["wxsign"]
    return service


def dev_mode() -> DevMode | None:
    """What `wxsign dev` adds to the current application, if it is one of those."""
    dev: DevMode | None = current_app.extensions["wxsign.commands.dev"]
    return dev


def with_common_headers(response: Response) -> Response:
    """Give a response what every one of them carries."""
    headers = response.headers
    headers["X-Request-Id"] = request_id_of(request.environ)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "strict-origin-when-cross-origin")
    headers.setdefault("Content-Security-Policy", content_security_policy(dev_mode()))
    for name, value in hsts_of(the_service().settings):
        headers.setdefault(name, value)
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
