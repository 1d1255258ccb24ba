"""nginx as in `deploy/`, before the service: without its micro-cache, with it, and a constant of the same size beside them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bench.servers import PROCESSES, Server, free_port, running, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SITE = Path(__file__).parent.parent / "deploy/nginx.conf"
_OUTER = """
daemon off;
pid {here}/nginx.pid;
error_log /dev/null;
worker_processes {processes};
{user}
events {{}}
http {{
    client_body_temp_path {here}/temp-body;
    proxy_temp_path {here}/temp-proxy;
    fastcgi_temp_path {here}/temp-fastcgi;
    uwsgi_temp_path {here}/temp-uwsgi;
    scgi_temp_path {here}/temp-scgi;
    include {here}/site.conf;
}}
"""


def program() -> str | None:
    """Return the path of nginx, None where it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def nginx(name: str, folder: str, *, backend: Server, hot: bool = False) -> Iterator[Server]:
    """Run nginx before `backend`, whose workers count as part of it; `hot`: with the micro-cache."""
    site = _with_ours(_SITE.read_text(encoding="utf-8"), {
        "server unix:/run/wxsign/wxsign.sock": f"server 127.0.0.1:{backend.port}",
        # One client sends all of it.
        "rate=100r/s": "rate=1000000r/s",
        "burst=400": "burst=1000000",
    })  # fmt: skip
    if hot:
        site = _with_ours(site, {"$wxsign_micro_cache off;": "$wxsign_micro_cache wxsign_hot;"})
    with _running(name, site, Path(folder, name.replace(" ", "-")), (*backend.masters,)) as server:
        yield server


@contextlib.contextmanager
def constant(name: str, folder: str, body: bytes, headers: Mapping[str, str]) -> Iterator[Server]:
    """Run an nginx that answers /jsconfig with `body` by itself, under the same log and limits."""
    lines = "".join(f'add_header {field} "{value}";\n' for field, value in headers.items())
    answer = f"default_type application/json; {lines} return 200 '{'x' * len(body)}';"
    site = re.sub(
        r"location = /jsconfig \{.*?\n    \}",
        lambda _: f"location = /jsconfig {{ {answer} }}",
        _SITE.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    with _running(name, site, Path(folder, "constant"), ()) as server:
        yield server


def _with_ours(site: str, changes: Mapping[str, str]) -> str:
    for there, ours in changes.items():
        if there not in site:
            raise RuntimeError(f"deploy/nginx.conf has no {there!r} any more")
        site = site.replace(there, ours)
    return site


@contextlib.contextmanager
def _running(name: str, site: str, here: Path, behind: tuple[int, ...]) -> Iterator[Server]:
    port, found = free_port(), program()
    if found is None:
        raise RuntimeError("nginx is not installed")
    (here / "logs").mkdir(parents=True)
    paths = {
        "/var/cache/nginx-wxsign-hot": f"{here}/hot",
        "/var/cache/nginx-wxsign ": f"{here}/cache ",
        "/var/log/nginx": f"{here}/logs",
        "listen 80;": f"listen 127.0.0.1:{port};",
    }
    (here / "site.conf").write_text(_with_ours(site, paths))
    # As root nginx would hand over to a user who cannot enter this folder.
    user = "user root root;" if os.geteuid() == 0 else ""
    (here / "nginx.conf").write_text(_OUTER.format(here=here, processes=PROCESSES, user=user))
    with running([found, "-e", "/dev/null", "-c", str(here / "nginx.conf")], {}) as process:
        wait_for(port, process)
        yield Server(name, port, (process.pid, *behind))
