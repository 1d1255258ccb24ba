"""A whole installation of real processes: a sandbox as WeChat, gunicorn with the service, and load upon it.

Everything these processes say lies in the installation's folder, which is searched for secrets when it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import secrets
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from running import Reply, _UnixConnection, ask, free_port, running, wait_until

from wxsign.serving import launch

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent
APPID = "wx0123456789abcdef"
# Made anew for each session, so that finding one of them anywhere means that it was written by these processes.
APP_SECRET = secrets.token_hex(16)
CLIENT_KEY = secrets.token_urlsafe(32)
PAGE = "https://m.example.com/page?id=1"
SAID = "said.log"
# What is there to hold a credential, stores among it, and what the search needs to know.
NOT_LOGS = ("*.db*", "*.issued", "*.secret", "access_token.php", ".*.new")
ENOUGH_TO_RECOGNISE = 20


def jsconfig_path(page: str = PAGE) -> str:
    """Return the path that asks for the signature of a page."""
    return f"/jsconfig?url={quote(page, safe='')}"


class WeChat:
    """A sandbox as a process of its own, with its controls."""

    def __init__(self, here: Path, accounts: Sequence[str] = (APPID,), **settings: object) -> None:
        self.here = here
        self.accounts = accounts
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = [f"--setting={name}={json.dumps(value)}" for name, value in settings.items()]
        self._starts = 0
        self._stack = contextlib.ExitStack()

    @property
    def url(self) -> str:
        """The API base that the service is told."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; again after `kill` at the same port, and then it has forgotten everything."""
        self._starts += 1
        log = self.here / f"sandbox-{self._starts}.log"
        accounts = [f"--account={appid}:{APP_SECRET}" for appid in self.accounts]
        command = [
            sys.executable,
            ROOT / "tests/sandbox_process.py",
            f"--port={self.port}",
            *accounts,
            *self._settings,
        ]
        env = {"ISSUED": str(self.here / "values.issued")}
        started = running(command, lambda: b"sandbox_ready" in log.read_bytes(), log=log, env=env)
        self.process = self._stack.enter_context(started)
        ready = next(line for line in log.read_text().splitlines() if "sandbox_ready" in line)
        self.port = json.loads(ready)["port"]

    def kill(self) -> None:
        """End it at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it for good; fails where a file of the installation holds a secret."""
        self._stack.close()
        require_no_secret(self.here)

    def get(self, name: str) -> Any:
        """Ask a control."""
        return ask(self.port, f"/sandbox/{name}").json

    def post(self, name: str, **fields: object) -> Any:
        """Use a control."""
        reply = ask(
            self.port,
            f"/sandbox/{name}",
            method="POST",
            body=json.dumps(fields),
            headers={"Content-Type": "application/json"},
        )
        assert reply.status == 200, reply.body
        return reply.json

    def calls(self) -> dict[str, int]:
        """Return how often each endpoint was called so far, those never called left out."""
        return {name: count for name, count in self.get("state")["calls"].items() if count}

    def fault(self, endpoint: str, kind: str, times: int | None = None, **more: object) -> None:
        """Queue a fault, until cleared unless `times` is given."""
        self.post("faults", endpoint=endpoint, kind=kind, times=times, **more)

    def verify(self, config: Mapping[str, object], page: str = PAGE) -> dict[str, Any]:
        """Return WeChat's verdict on what a page got, at this moment."""
        names = ("appId", "timestamp", "nonceStr", "signature")
        verdict: dict[str, Any] = self.post("verify", **{name: config[name] for name in names}, url=page)
        return verdict

    def life_left(self, token: str) -> float:
        """Return the seconds that an access_token has left, 0 for a dead one."""
        return float(self.post("check_token", access_token=token)["expires_in"])

    def ticket(self, account: int = 0) -> dict[str, Any]:
        """Return digest, `issued_at` and `ends_at` of an account's current ticket."""
        view: dict[str, Any] = self.get("state")["accounts"][account]["jsapi_ticket"]
        return view

    def fetch_ticket_elsewhere(self) -> None:
        """Fetch a ticket as another system of the owner would."""
        query = f"grant_type=client_credential&appid={APPID}&secret={APP_SECRET}"
        token = ask(self.port, f"/cgi-bin/token?{query}").json["access_token"]
        assert ask(self.port, f"/cgi-bin/ticket/getticket?type=jsapi&access_token={token}").json["ticket"]


@contextmanager
def wechat(here: Path, accounts: Sequence[str] = (APPID,), **settings: object) -> Iterator[WeChat]:
    """Run a sandbox; each account has the session's AppSecret."""
    sandbox = WeChat(here, accounts, **settings)
    with contextlib.closing(sandbox):
        sandbox.start()
        yield sandbox


def one_account(api_base: str, here: Path) -> dict[str, str]:
    """Return the environment of a service with one account, and one client of its protected API."""
    return {
        "WXSIGN_APPID": APPID,
        "WXSIGN_SECRET": APP_SECRET,
        "WXSIGN_ALLOWED_HOSTS": "m.example.com",
        "WXSIGN_CLIENT_KEY": CLIENT_KEY,
        "WXSIGN_API_BASE": api_base,
        "WXSIGN_STORE": f"sqlite:///{here}/wxsign.db",
    }


def many_accounts(api_base: str, here: Path, accounts: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service with an account for each name and AppID; none of them is warm."""
    blocks = [
        f'[accounts.{name}]\nkind = "official"\napp_id = "{appid}"\napp_secret_env = "THE_SECRET"\n'
        "warm = false\n"
        f'allowed_hosts = ["{name}.example.com"]\n'
        for name, appid in accounts.items()
    ]
    file = here / "wxsign.toml"
    file.write_text("\n".join(blocks))
    store = f"sqlite:///{here}/wxsign.db"
    return {
        "WXSIGN_CONFIG": str(file),
        "THE_SECRET": APP_SECRET,
        "WXSIGN_API_BASE": api_base,
        "WXSIGN_STORE": store,
    }


class Fleet:
    """gunicorn or Granian and its workers, serving on a unix socket."""

    def __init__(
        self,
        here: Path,
        env: Mapping[str, str],
        command: Sequence[str | Path] = (),
        workers: int = 4,
        server: str = "gunicorn",
    ) -> None:
        self.here = here
        self.env = {**env, "WXSIGN_SERVER": server}
        self.socket = here / "wxsign.sock"
        self.workers = workers
        self.master = 0
        counts = ("--workers", str(workers), "--threads", "8")
        address = f"unix:{self.socket}"
        serve = (
            sys.executable,
            "-c",
            "from wxsign.cli import main; main()",
            "serve",
            "--bind",
            address,
            *counts,
        )
        self._command = command or (
            serve if server == "granian" else launch.command([address], workers=workers, threads=8)
        )
        self._starts = 0
        self._stack = contextlib.ExitStack()

    def start(self) -> None:
        """Start it and wait until all of its workers are there."""
        self._starts += 1
        self.log = self.here / f"gunicorn-{self._starts}.log"
        started = running(self._command, self.complete, log=self.log, cwd=self.here, env=self.env)
        process = self._stack.enter_context(started)
        self.master = process.pid
        wait_until(lambda: ask(self.socket, "/healthz").status == 200, process)

    def stop(self) -> None:
        """Stop it by SIGTERM, and wait for its end."""
        self._stack.close()

    close = stop

    def complete(self) -> bool:
        """Say whether as many workers serve as there should be."""
        text = self.log.read_text()
        there = text.count('"Booting worker with pid') + text.count('"Started worker-')
        return there >= self.workers and self.socket.exists()

    def pids(self) -> set[int]:
        """Return the process ids of the workers."""
        return children(self.master)

    def signal(self, number: signal.Signals) -> None:
        """Send the master a signal."""
        os.kill(self.master, number)

    def replaced(self, old: set[int]) -> bool:
        """Say whether none of the workers `old` is there any more, and all of the new ones are."""
        now = self.pids()
        return not now & old and len(now) == self.workers

    def ask(self, path: str, **more: Any) -> Reply:
        """Send one request, on a connection of its own."""
        reply = ask(self.socket, path, **more)
        if reply.status != 200 or not path.startswith("/api/"):
            say(self.here, reply)
        return reply

    def jsconfig(self, page: str = PAGE) -> Reply:
        """Ask for a signature."""
        return self.ask(jsconfig_path(page))

    def api(self, path: str, key: str = CLIENT_KEY, **fields: str) -> Reply:
        """Call the protected API: a POST of `fields`, or a GET where there are none."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        body = json.dumps(fields) if fields else None
        return self.ask(f"/api/v1/{path}", method="POST" if fields else "GET", body=body, headers=headers)

    def token(self, account: str = "default") -> dict[str, Any]:
        """Read the account's access_token."""
        reply = self.api(f"accounts/{account}/access_token")
        assert reply.status == 200, reply.body
        answer: dict[str, Any] = reply.json
        return answer

    def report(self, rejected: str, account: str = "default") -> Reply:
        """Report an access_token as rejected by WeChat."""
        return self.api(f"accounts/{account}/access_token/refresh", rejected=rejected)

    def lease_holder(self, part: str) -> int | None:
        """Return the process id of the worker that fetches a credential now; `part` of its name says which one."""
        sql = "SELECT holder FROM leases WHERE ends_at > ? AND name LIKE ?"
        file = f"file:{self.here}/wxsign.db?mode=ro"
        with contextlib.closing(sqlite3.connect(file, uri=True, timeout=5)) as db:
            try:
                row = db.execute(sql, (time.time(), f"%|{part}|%")).fetchone()
            except sqlite3.OperationalError:  # A store that was deleted is being made anew.
                return None
        return int(row[0].rpartition(":")[2]) if row else None

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of its log with an event of that name."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == name]


@contextmanager
def fleet(
    here: Path,
    env: Mapping[str, str],
    command: Sequence[str | Path] = (),
    workers: int = 4,
    server: str = "gunicorn",
) -> Iterator[Fleet]:
    """Run the service until the block ends."""
    service = Fleet(here, env, command, workers, server)
    with contextlib.closing(service):
        service.start()
        yield service


def require_no_secret(here: Path) -> None:
    """Fail where a file below `here` holds an AppSecret, a client key or a value that WeChat ever issued to it."""
    notes = here / "values.issued"
    issued = notes.read_text().split() if notes.exists() else []
    needles = {value[:ENOUGH_TO_RECOGNISE].encode() for value in (APP_SECRET, CLIENT_KEY, *issued)}
    for file in here.rglob("*"):
        if file.is_file() and not any(file.match(pattern) for pattern in NOT_LOGS):
            content = file.read_bytes()
            assert not any(needle in content for needle in needles), f"{file.name} holds a secret"


def children(pid: int) -> set[int]:
    """Return the process ids of a process's children."""
    with contextlib.suppress(OSError):
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return set()


def gone(pid: int) -> bool:
    """Say whether there is no such process any more."""
    return not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


def say(here: Path, reply: Reply) -> None:
    """Keep what an answer said for the search for secrets."""
    with (here / SAID).open("a") as said:
        said.write(f"{reply.status} {reply.headers}\n{reply.body.decode(errors='replace')}\n")


def signed_with(ticket: str, config: Mapping[str, object], page: str = PAGE) -> bool:
    """Say whether `config` was signed with `ticket`, for when WeChat cannot be asked."""
    text = (
        f"jsapi_ticket={ticket}&noncestr={config['nonceStr']}&timestamp={config['timestamp']}"
        f"&url={page.partition('#')[0]}"
    )
    return hashlib.sha1(text.encode()).hexdigest() == config["signature"]


@dataclass(frozen=True)
class Shot:
    """One request of a load: when it started (wall clock), how long it took, and what came of it.

    `status` is 0 where no answer came, `verdict` what the load's `check` said of the answer.
    """

    at: float
    seconds: float
    status: int
    body: bytes = field(repr=False)
    verdict: Any = None
    error: str = ""

    @property
    def ends_at(self) -> float:
        return self.at + self.seconds

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Gun:
    """One client with one keep-alive connection.

    Where the server closes an idle connection just as a request is sent, that request goes out once more on a new one,
    as RFC 9110 (9.2.2) allows and every browser and proxy does.
    """

    def __init__(self, address: int | Path, check: Callable[[bytes], Any] | None = None) -> None:
        self._address = address
        self._check = check
        self._connection: http.client.HTTPConnection | None = None

    def shoot(self, path: str) -> Shot:
        at, begun = time.time(), time.monotonic()
        reused = self._connection is not None
        try:
            status, body = self._send(path)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # Only where nothing of the answer had come: then the server has not taken the request.
            if reused and isinstance(error, ConnectionError):
                return self.shoot(path)
            return Shot(at, time.monotonic() - begun, 0, b"", error=repr(error))
        seconds = time.monotonic() - begun
        verdict = self._check(body) if self._check and status == 200 else None
        return Shot(at, seconds, status, body, verdict)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, path: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = (
                http.client.HTTPConnection("127.0.0.1", self._address, timeout=15)
                if isinstance(self._address, int)
                else _UnixConnection(self._address)
            )
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        body = response.read()
        if response.will_close:
            self.close()
        return response.status, body


class Load:
    """`clients` threads that ask for signatures, each with a pause between two requests, until the block ends."""

    def __init__(
        self,
        address: int | Path,
        *,
        clients: int = 8,
        pause_seconds: float = 0.05,
        path: str = "",
        check: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.shots: list[Shot] = []
        self._path = path or jsconfig_path()
        self._pause_seconds = pause_seconds
        self._guns = [Gun(address, check) for _ in range(clients)]
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(gun,), daemon=True) for gun in self._guns]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for gun in self._guns:
            gun.close()

    @property
    def failed(self) -> list[Shot]:
        """The requests that were not answered with 200."""
        return [shot for shot in tuple(self.shots) if shot.status != 200]

    def _run(self, gun: Gun) -> None:
        while not self._stopped.is_set():
            self.shots.append(gun.shoot(self._path))
            self._stopped.wait(self._pause_seconds)


def volley(address: int | Path, count: int, path: str = "") -> list[Shot]:
    """Send `count` requests at the same moment, each on a connection of its own."""
    return at_once(count, lambda: one_shot(address, path))


def one_shot(address: int | Path, path: str = "") -> Shot:
    """Send one request, on a connection of its own."""
    with contextlib.closing(Gun(address)) as gun:
        return gun.shoot(path or jsconfig_path())


def at_once(count: int, work: Callable[[], Any], within_seconds: float = 0) -> list[Any]:
    """Run `work` in `count` threads that start together, or spread over a while; return what each returned."""
    barrier = threading.Barrier(count)
    results: list[Any] = []

    def run() -> None:
        time.sleep(barrier.wait() * within_seconds / count)
        results.append(work())

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def eventually(fact: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until `fact` is true and return it; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
    return found


def percentile(shots: Sequence[Shot], share: float) -> float:
    """Return the latency that `share` of the requests stayed below, in seconds."""
    ranked = sorted(shot.seconds for shot in shots)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]
