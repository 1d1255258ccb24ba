"""The servers of others, in Node: installed by npm into a folder of their own, outside the repository."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.servers import APP_ID, PROCESSES, SECRET, Server, free_port, running, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PEERS = ("wechat-jssdk", "co-wechat-api", "fastify")
_PACKAGES = ("wechat-jssdk@5.1.0", "express@5", "co-wechat-api@3.11.0", "koa@3", "fastify@5")


def installed() -> Path | None:
    """Return the folder of their packages, filled on the first run; None, with a word why, where they cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        click.echo(
            "node or npm is not installed: no figures of wechat-jssdk, co-wechat-api and Fastify", err=True
        )
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "wxsign-bench")
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--prefix",
        str(folder),
    ]
    done = subprocess.run([*arguments, *_PACKAGES], check=False)  # noqa: S603 - our own command line
    if done.returncode:
        click.echo("npm could not install the packages of others: no figures of them", err=True)
        return None
    return folder / "node_modules"


@contextlib.contextmanager
def peer(
    name: str, modules: Path, api_base: str, lists: Mapping[str, object], folder: str
) -> Iterator[Server]:
    """Run one of them against the sandbox at `api_base`; it answers with `lists` beside the signature."""
    port = free_port()
    environ = {
        "NODE_PATH": str(modules),
        "NODE_ENV": "test",  # co-wechat-api warns of its memory in production, at each call
        "APP_ID": APP_ID,
        "APP_SECRET": SECRET,
        "API_BASE": api_base,
        "PORT": str(port),
        "PROCESSES": str(PROCESSES),
        "LISTS": json.dumps(dict(lists)),
        "STORE": f"{folder}/{name}.json",
    }
    script = str(Path(__file__).with_name("peers.cjs"))
    with running(["node", script, name], environ) as process:
        wait_for(port, process)
        yield Server(name, port, (process.pid,))
