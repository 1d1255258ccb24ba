"""`wxsign dev`: sandbox, service and demo page in one process, for a machine without a WeChat account.

Only here is there a `DevMode`: the demo page carries the sandbox's bridge, and loopback hosts on any port are signed.
Everything is made of values in this file; no setting that the real service reads can bring it about.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from wxsign import sandbox
from wxsign.accounts import (
    DEFAULT_SCOPES,
    LOOPBACK,
    AnyPort,
    ApiClient,
    HostRule,
    OfficialAccount,
    sha256_of_key,
)
from wxsign.broker import Adopted
from wxsign.credentials import CredentialKind, digest
from wxsign.errors import ConfigError, HostNotAllowed, Problem, Text
from wxsign.logs import printable
from wxsign.service import WxSign
from wxsign.settings import Settings
from wxsign.web import DevMode, create_app

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from wxsign.broker import RefreshEvent
    from wxsign.credentials import CredentialKey
    from wxsign.sandbox import SandboxServer
    from wxsign.signing import JSConfig

BACKLOG: Final = 1024
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost")
LOOPBACK_ADDRESS: Final = "127.0.0.1"
EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - only after --lan, which asks for it
DEV_CLIENT_KEY: Final = "sandbox-client-key-00000000000000000001"
"""Opens the protected API of `wxsign dev`, which hands out the sandbox's tokens and nothing else."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to listen. `lan` is this machine's address in its network, None to stay on loopback.

    Pages of loopback are signed on any port, those of the `lan` address too, and those of `allowed_hosts`. `page` is shown in the
    sandbox's phone.
    """

    host: str
    port: int
    sandbox_port: int
    lan: str | None = None
    allowed_hosts: tuple[HostRule, ...] = ()
    page: str | None = None

    @property
    def origin(self) -> str:
        """Where a browser finds the service: a phone's too, where there is a LAN address."""
        return f"http://{_in_url(self.lan or self.host)}:{self.port}"

    @property
    def bind(self) -> str:
        """The address to listen on."""
        return EVERY_ADDRESS if self.lan else self.host


class DevService(WxSign):
    """Says in a line what was signed, and why a page was not: the page's URL too, which no log of the real service has."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, observers=(self._note,))
        self._known: dict[CredentialKey, str] = {}

    def jsconfig(
        self,
        url: str,
        account: str | None = None,
        landing_url: str | None = None,
        agent: str | None = None,
    ) -> JSConfig:
        """As the real service; a host that is not allowed is told how to allow it."""
        try:
            config = super().jsconfig(url, account, landing_url, agent)
        except HostNotAllowed as error:
            host = error.host or "HOST"
            error.hint = Text(
                f"Allow it here: wxsign dev --allow-host {host}",
                f"在这里允许它：wxsign dev --allow-host {host}",
            )
            _print(f"not signed {url}: {error.message.en} {error.hint.en} {error.message.zh}{error.hint.zh}")
            raise
        told = "".join(f" [{warning.code}]" for warning in config.warnings)
        landing = f" (opened at {config.landing.url})" if config.landing else ""
        _print(f"signed {config.url}{landing}{told}")
        return config

    def _note(self, event: RefreshEvent | Adopted) -> None:
        if not isinstance(event, Adopted) or event.key.kind is not CredentialKind.JSAPI_TICKET:
            return
        known = digest(event.credential.value or "")
        if self._known.get(event.key, known) != known:
            _print("the ticket was replaced: pages signed before are red 票据已更换：之前的签名已失效")
        self._known[event.key] = known


def _print(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {printable(line)}\n")


class DevServer:
    """Sandbox, service and pages, running. Ends with `close()` or as a context manager."""

    def __init__(self, plan: Plan) -> None:
        """Listen and serve at once. Raises ConfigError where a port is taken."""
        with ExitStack() as opened:
            self.sandbox = opened.enter_context(_sandbox(plan))
            listener = opened.enter_context(_listener("--port", plan.bind, plan.port))
            self.plan = replace(plan, port=listener.getsockname()[1], sandbox_port=self.sandbox.port)
            self.service = DevService(_settings(self.plan, self.sandbox.port))
            self._server = _server(self.plan, self.service, self._mode(), listener)
            opened.pop_all()
        listener.close()
        self.service.start()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def sandbox_origin(self) -> str:
        """Where a browser finds the sandbox."""
        return f"http://{_in_url(self.plan.lan or self.plan.host)}:{self.sandbox.port}"

    @property
    def bridge_src(self) -> str:
        """The bridge as the demo page loads it."""
        return f"{self.sandbox_origin}/sandbox/bridge.js"

    @property
    def phone_url(self) -> str | None:
        """The sandbox's phone with the page of the plan: under the page's own loopback name, or it would get no cookie of its own."""
        if not self.plan.page:
            return None
        host = urlsplit(self.plan.page).hostname or ""
        ours = self.plan.host in LOOPBACK_NAMES and host in LOOPBACK_NAMES and not self.plan.lan
        origin = f"http://{_in_url(host)}:{self.sandbox.port}" if ours else self.sandbox_origin
        return f"{origin}/sandbox/phone?{urlencode({'page': self.plan.page})}"

    def _mode(self) -> DevMode:
        origin = self.plan.origin if self.plan.lan else None
        return DevMode(self.bridge_src, origin, DEV_CLIENT_KEY, self.phone_url)

    def close(self) -> None:
        """Stop everything; requests under way are let go."""
        self._server.shutdown()
        self._thread.join()
        self.service.stop()
        self.sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lan_address() -> str | None:
    """Return this machine's address in its network, None where it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if address.startswith(("127.", "0.")) else address


def _settings(plan: Plan, sandbox_port: int) -> Settings:
    hosts: tuple[HostRule, ...] = (LOOPBACK, *plan.allowed_hosts)
    if plan.lan:
        hosts = (*hosts, AnyPort(HostRule.parse(_in_url(plan.lan)).host))
    account = OfficialAccount("default", sandbox.DEFAULT_APPID, sandbox.DEFAULT_SECRET, hosts)
    client = ApiClient(
        "sandbox",
        (sha256_of_key(DEV_CLIENT_KEY),),
        DEFAULT_SCOPES | {"relay"},
        relay_paths=("/cgi-bin/message/*", "/cgi-bin/user/info"),
    )
    # The sandbox forgets its tokens when it ends, so must the store.
    return Settings(
        (account,), (client,), store="memory:", api_base=f"http://{_reachable(plan)}:{sandbox_port}"
    )


def _reachable(plan: Plan) -> str:
    return LOOPBACK_ADDRESS if plan.lan else _in_url(plan.host)


def _sandbox(plan: Plan) -> SandboxServer:
    try:
        return sandbox.serve(plan.bind, plan.sandbox_port, control_hosts=[plan.lan] if plan.lan else ())
    except OSError as error:
        raise _taken("--sandbox-port", plan.bind, plan.sandbox_port, error) from None


def _listener(option: str, host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _taken(option, host, port, error) from None
    return listener


def _taken(option: str, host: str, port: int, error: OSError) -> ConfigError:
    reason = error.strerror or str(error)
    message = Text(f"cannot listen on {host}:{port}: {reason}.", f"无法监听 {host}:{port}：{reason}。")
    make = f" make run PORT={port + 2}" if option == "--port" else ""
    hint = Text(
        f"Choose another port: {option} {port + 2}.{make}", f"请换一个端口：{option} {port + 2}。{make}"
    )
    return ConfigError([Problem(option, message, hint)])


def _server(plan: Plan, service: WxSign, dev: DevMode, listener: socket.socket) -> _Server:
    app = create_app(service, dev=dev)
    # Werkzeug is handed a socket of ours: by itself it exits the process when the port is taken.
    return _Server(plan.bind, plan.port, app, _Handler, fd=listener.fileno())


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _Handler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write one line for people: the path, never the query."""
        del size
        # What is no HTTP has neither.
        method, path = self.command or "-", getattr(self, "path", "-").partition("?")[0]
        _print(f"{method} {path} {code}")

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's signature
        """Write nothing else: request lines may carry codes and keys."""


class _Server(ThreadedWSGIServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Pass over a browser that leaves in the middle."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
