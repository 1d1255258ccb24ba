"""A whole installation: the sandbox as WeChat, machines with four workers each, their store, nginx in front."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet import Fleet, WeChat, children, eventually, one_account
from redis_servers import Cluster, RedisServer, SentinelGroup, folder
from running import accepts, ask, free_port, running

from chaos.servers import Relay, small_disk
from wxsign.serving import launch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

ROOT = Path(__file__).parent.parent
WORKERS = 4
# By these addresses the machines call WeChat.
EGRESS = ("127.0.0.1", "127.0.0.2")
NO_SUCH_ADDRESS = "192.0.2.1"

_NGINX = """
daemon off;
pid {here}/nginx.pid;
error_log {here}/nginx.log notice;
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


class Machine(Fleet):
    """gunicorn with four workers, whose name, clock and address are its own."""

    def __init__(self, here: Path, env: Mapping[str, str], egress: str) -> None:
        here.mkdir()
        (here / "var").mkdir()
        command = launch.command([f"unix:{here}/wxsign.sock"], workers=WORKERS)
        told = {
            "CHAOS_MACHINE": str(here),
            "WXSIGN_TRUSTED_PROXIES": "1",
            "WXSIGN_CONFIG": "",
        }
        super().__init__(here, {**env, **told}, (*command[:-1], "chaos.door:app"), WORKERS)
        self.tell("egress", egress)

    def tell(self, name: str, text: str) -> None:
        """Change the machine's `egress` or `clock`."""
        (self.here / f"{name}.new").write_text(text)
        (self.here / f"{name}.new").replace(self.here / name)

    def reload(self) -> None:
        """Put a new worker in the place of each, as at a change of the configuration."""
        old = self.pids()
        self.signal(signal.SIGHUP)
        eventually(lambda: self.replaced(old))

    def log_ends(self) -> dict[Path, int]:
        """Return how long each of its logs is now."""
        return {file: file.stat().st_size for file in self.here.glob("gunicorn-*.log")}

    def logged_since(self, ends: Mapping[Path, int]) -> str:
        """Return what was logged after `log_ends`."""
        files = sorted(self.here.glob("gunicorn-*.log"))
        return "".join(file.read_bytes()[ends.get(file, 0) :].decode(errors="replace") for file in files)

    def kill_workers(self) -> None:
        """End all workers at once, and wait for the new ones."""
        old = self.pids()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.replaced(old) and self.jsconfig().status == 200)

    def lose_power(self) -> None:
        """End the whole machine at once."""
        pids = [self.master, *children(self.master)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        (self.here / "wxsign.sock").unlink()

    def operator_refreshes(self) -> None:
        """Run `wxsign refresh`, as an operator does after a repair."""
        command: list[str | Path] = [Path(sysconfig.get_path("scripts"), "wxsign"), "refresh", "default"]
        done = subprocess.run(  # noqa: S603 - our own command line
            command,
            cwd=self.here,
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)


class Site:
    """Everything that one scenario needs. `store` is `redis`, `slow`, `sentinel`, `cluster`, `sqlite`, `disk` or `shared-sqlite`.

    The SQLite ones have a single gunicorn, because such a store is one machine's; `disk` is a small file system for it. With
    `shared-sqlite` two gunicorns have one file, as while one takes over from the other.
    """

    def __init__(
        self, here: Path, store: str, lives: Mapping[str, Any], python_path: str = str(ROOT)
    ) -> None:
        self.here = here
        self.sandbox = WeChat(here, **lives)
        self.redis: RedisServer
        self.relay: Relay | None = None
        self.group: SentinelGroup | Cluster | None = None
        self.machines: list[Machine] = []
        self.port = free_port()
        self.store = store
        self._python_path = python_path
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def machine(self) -> Machine:
        """The first machine."""
        return self.machines[0]

    @property
    def database(self) -> Path:
        """The file of a SQLite store."""
        return self.machine.here / "var/wxsign.db"

    def workers(self) -> list[int]:
        """Return the process ids of all workers."""
        return [pid for machine in self.machines for pid in sorted(machine.pids())]

    def some_worker(self) -> int:
        """Return the process id of any worker."""
        return random.choice(self.workers())  # noqa: S311 - which one does not matter

    def lease_holder(self) -> int:
        """Return the process id of the worker that fetches the ticket, once one does."""
        return int(eventually(self._holder).rpartition(":")[2])

    def ready(self) -> bool:
        """Say whether every worker is ready; those of a machine answer as chance has it."""
        answers = [ask(machine.socket, "/readyz") for machine in self.machines for _ in range(3 * WORKERS)]
        return all(answer.json.get("state") == "ready" for answer in answers)

    def _holder(self) -> str:
        for key in self.redis.ask("KEYS", "*:lease:*|jsapi|*"):
            holder, ends_at = self.redis.ask("HMGET", key, "holder", "ends_at")
            if float(ends_at or 0) > time.time():
                return str(holder)
        return ""

    def _start(self, stack: contextlib.ExitStack) -> None:
        stack.callback(self.sandbox.close)
        self.sandbox.start()
        url = self._start_store(stack)
        names = ("machine-a", "machine-b") if url else ("machine-a",)
        for name, egress in zip(names, EGRESS, strict=False):
            here = self.here / name
            env = {
                **one_account(self.sandbox.url, here),
                "WXSIGN_STORE": url or f"sqlite:///{here}/var/wxsign.db",
                "PYTHONPATH": self._python_path,
            }
            self.machines.append(Machine(here, env, egress))
        if self.store == "disk":
            stack.enter_context(small_disk(self.machine.here / "var"))
        for machine in self.machines:
            stack.callback(machine.close)
            machine.start()
        stack.enter_context(running(self._nginx(), lambda: accepts(self.port), log=self.here / "nginx.out"))
        eventually(lambda: ask(self.port, "/healthz").status == 200)
        eventually(lambda: all(machine.jsconfig().status == 200 for machine in self.machines))
        eventually(self.ready)

    def _start_store(self, stack: contextlib.ExitStack) -> str:
        """Start what the store needs, and return its address; empty for a single machine's own SQLite."""
        if self.store in {"sqlite", "disk"}:
            return ""
        if self.store == "shared-sqlite":
            return f"sqlite:///{self.here}/wxsign.db"
        # The path of a server's unix socket must be short.
        here = stack.enter_context(folder())
        if self.store in {"sentinel", "cluster"}:
            self.group = SentinelGroup(here) if self.store == "sentinel" else Cluster(here)
            stack.callback(self.group.close)
            return self.group.start().url
        self.redis = RedisServer(here)
        stack.callback(self.redis.close)
        self.redis.start()
        if self.store == "slow":
            self.relay = Relay(self.redis.port)
            stack.callback(self.relay.close)
            return f"redis://127.0.0.1:{self.relay.port}/0"
        return self.redis.url

    def _nginx(self) -> list[str]:
        """Write deploy/nginx.conf with the machines and the port, and return the command that reads it."""
        # By fail_timeout=0 one that failed is left out for the rest of that second, and the other may be restarted just then.
        servers = "\n".join(f"    server unix:{machine.socket} max_fails=0;" for machine in self.machines)
        site = (ROOT / "deploy/nginx.conf").read_text()
        for there, ours in (
            ("    server unix:/run/wxsign/wxsign.sock fail_timeout=0;", servers),
            ("/var/cache/nginx-wxsign", f"{self.here}/cache"),
            ("/var/log/nginx", str(self.here)),
            ("listen 80;", f"listen 127.0.0.1:{self.port};"),
        ):
            if there not in site:
                raise LookupError(f"deploy/nginx.conf has no {there!r}")
            site = site.replace(there, ours)
        (self.here / "site.conf").write_text(site)
        user = "user root root;" if os.geteuid() == 0 else ""
        (self.here / "nginx.conf").write_text(_NGINX.format(here=self.here, user=user))
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"
        return [program, "-e", f"{self.here}/nginx.log", "-c", f"{self.here}/nginx.conf"]
