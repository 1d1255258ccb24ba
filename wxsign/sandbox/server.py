"""A threaded server for the sandbox that is quiet, takes bursts, and ends at once."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from wxsign.sandbox.app import create_app
from wxsign.sandbox.settings import SandboxSettings
from wxsign.sandbox.web import sandbox_of

BACKLOG = 1024
# Wildcard addresses, and where this machine reaches them.
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names them, does not bind


class _Handler(WSGIRequestHandler):
    """HTTP/1.0: one request per connection, so that a fault may do with the socket what it likes."""

    protocol_version = "HTTP/1.0"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's signature
        """Nothing: request lines carry secrets."""

    def version_string(self) -> str:
        return "wxsign-sandbox"


class _Server(ThreadedWSGIServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """A client that leaves in the middle is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class SandboxServer:
    """A running sandbox. Ends with `close()` or as a context manager."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        """Listens at once; raises OSError when the address cannot be had."""
        self.sandbox = sandbox_of(app)
        self.host = host
        # The server is handed a socket of ours: by itself it exits the process when the port is taken.
        with _listen(host, port) as listener:
            self._server = _Server(host, port, app, _Handler, fd=listener.fileno())
        self.port: int = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its origin, without a slash at the end."""
        host = ANY_ADDRESS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stops listening and lets go of every call that hangs."""
        self._server.shutdown()
        self._thread.join()
        self.sandbox.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    settings: SandboxSettings | None = None,
    clock: Callable[[], float] = time.time,
    control_hosts: Iterable[str] = (),
) -> SandboxServer:
    """Starts a sandbox in a thread; port 0 takes a free one. Raises OSError and SettingsError."""
    own = () if host in ANY_ADDRESS else (host,)
    return SandboxServer(create_app(settings, clock, (*own, *control_hosts)), host, port)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
