"""A service in this process, with a sandbox in this process as its WeChat."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from werkzeug.serving import make_server

from wxsign import sandbox
from wxsign.accounts import ApiClient, HostRule, OfficialAccount, sha256_of_key
from wxsign.service import WxSign
from wxsign.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import WSGIApplication

    from wxsign.sandbox import SandboxServer

SECRET = "sandbox-secret-at-least-this-long"
HOSTS = {
    "shop": ("m.example.com", "*.shop.example.com", "m.example.com:8443", "192.0.2.1", "shared.example.com"),
    "news": ("news.example.com", "shared.example.com"),
    "bare": (),
}
APP_IDS = {name: f"wx00000000000000{number:02}" for number, name in enumerate(HOSTS)}
READER_KEY, KEEPER_KEY, SHOP_KEY, FAR_KEY = ("k" * 39 + letter for letter in "rksf")


def accounts() -> tuple[OfficialAccount, ...]:
    """Return three accounts: two with hosts of which they share one, and one without any."""
    return tuple(
        OfficialAccount(name, APP_IDS[name], SECRET, tuple(HostRule.parse(host) for host in hosts))
        for name, hosts in HOSTS.items()
    )


def clients() -> tuple[ApiClient, ...]:
    """Return four clients: one that reads, one that may do everything, one kept to `shop`, one from another network."""
    from ipaddress import ip_network  # noqa: PLC0415 - used here alone

    return (
        ApiClient("reader", (sha256_of_key(READER_KEY),), frozenset({"token:read"})),
        ApiClient("keeper", ("0" * 64, sha256_of_key(KEEPER_KEY))),
        ApiClient("shop-only", (sha256_of_key(SHOP_KEY),), accounts=frozenset({"shop"})),
        ApiClient("far", (sha256_of_key(FAR_KEY),), allow_from=(ip_network("198.51.100.0/24"),)),
    )


def settings_at(api_base: str, **more: Any) -> Settings:
    """Return the settings of a service whose WeChat is at `api_base`."""
    given = {"accounts": accounts(), "clients": clients(), "store": "memory:", "api_base": api_base}
    return Settings(**(given | more))


@contextmanager
def wechat() -> Iterator[SandboxServer]:
    """Run a sandbox that knows the three accounts."""
    with sandbox.serve(
        settings=sandbox.SandboxSettings(accounts=dict.fromkeys(APP_IDS.values(), SECRET))
    ) as server:
        yield server


@contextmanager
def service_at(api_base: str, **more: Any) -> Iterator[WxSign]:
    """Run a service with the three accounts, or with what `more` says instead."""
    service = WxSign(settings_at(api_base, **more))
    try:
        yield service
    finally:
        service.stop()


def control(server: SandboxServer, name: str, **fields: object) -> Any:
    """Use a control of the sandbox."""
    body = json.dumps(fields).encode()
    request = Request(f"{server.url}/sandbox/{name}", body, {"Content-Type": "application/json"})
    with urlopen(request) as response:
        return json.load(response)


def verdict(server: SandboxServer, config: dict[str, Any], page: str) -> str:
    """Return what WeChat says to the signature on `page`."""
    names = ("appId", "timestamp", "nonceStr", "signature")
    answer: str = control(server, "verify", **{name: config[name] for name in names}, url=page)["err_msg"]
    return answer


@contextmanager
def on_a_port(application: WSGIApplication) -> Iterator[str]:
    """Serve an application on a free port of 127.0.0.1 until the block ends; yields its address."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
