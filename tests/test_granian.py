"""Granian under `wxsign serve`: real masters and workers, with a small application in them; the fleets run on it as well."""

from __future__ import annotations

import grp
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from conftest import GRANIAN
from fleet import children, eventually, gone
from running import Master, ask, free_port, running

from wxsign.errors import ConfigError
from wxsign.serving import launch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.fleet, GRANIAN]

# Stands where a worker looks for the application.
PRELUDE = """
import json, os, sys, time
from types import ModuleType, SimpleNamespace

def note(word):
    with open("hooks.txt", "a") as notes:
        notes.write(f"{word} {os.getpid()}\\n")

class App:
    settings = SimpleNamespace(access_log=True)
    extensions = {"wxsign": SimpleNamespace(
        start=lambda: note("start"), stop=lambda: note("stop"), settings=settings)}

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/broken":
            raise RuntimeError("broken on purpose")
        if path == "/slow":
            note("accept")
            time.sleep(0.5)
        seen = {name: value for name, value in environ.items() if isinstance(value, str)}
        body = json.dumps({**seen, "pid": os.getpid()}).encode()
        start_response("200 OK", [("Content-Length", str(len(body))), ("X-Request-Id", "an-id-0123456789")])
        return self.pieces(body) if path == "/pieces" else (body,)

    def pieces(self, body):
        try:
            yield body[:5]
            yield body[5:]
        finally:
            note("closed")

module = ModuleType("wxsign.wsgi")
module.app = App()
sys.modules["wxsign.wsgi"] = module
if held := os.environ.pop("HELD", ""):
    os.dup2(int(held), 3)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
from wxsign.serving import granian
granian.serve(sys.argv[1], workers=int(sys.argv[2]), threads=4)
"""
CONFIG = """
[service]
store = "memory:"
socket_group = "{group}"
[accounts.default]
app_id = "wx0123456789abcdef"
app_secret_env = "THE_SECRET"
allowed_hosts = ["m.example.com"]
"""


class Running(Master):
    """A master of Granian's."""

    @property
    def workers(self) -> set[int]:
        return children(self.process.pid)


@contextmanager
def granian(folder: Path, address: int | Path, workers: int = 2, **env: str) -> Iterator[Running]:
    (folder / "wxsign.toml").write_text(CONFIG.format(group=grp.getgrgid(os.getgid()).gr_name))
    bind = f"127.0.0.1:{address}" if isinstance(address, int) else f"unix:{address}"
    command = [sys.executable, "-c", PRELUDE, bind, str(workers)]
    environ = {"WXSIGN_CONFIG": str(folder / "wxsign.toml"), "THE_SECRET": "0123456789abcdef" * 2, **env}

    def ready() -> bool:
        return (folder / "out").read_text().count('"Started worker-') >= workers

    with running(command, ready, log=folder / "out", cwd=folder, env=environ) as process:
        yield Running(process, address, folder)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """One to be stopped and killed."""
    with granian(tmp_path, free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that is only asked."""
    with granian(tmp_path_factory.mktemp("granian"), free_port(), workers=1) as server:
        yield server


def test_each_worker_starts_its_watcher_after_the_fork_and_stops_it_at_its_end(server):
    started = server.notes("start")
    assert set(started) == server.workers
    server.process.terminate()
    assert server.process.wait(20) == 0
    assert sorted(server.notes("stop")) == sorted(started)


def test_a_request_that_was_accepted_is_answered_and_idle_connections_keep_nobody_waiting(server):
    with socket.create_connection(("127.0.0.1", server.address)), ThreadPoolExecutor(1) as caller:
        slow = caller.submit(ask, server.address, "/slow")
        eventually(lambda: server.notes("accept"))
        server.process.terminate()
        assert slow.result().status == 200
        assert server.process.wait(10) == 0


def test_ctrl_c_ends_it_as_sigterm_does(server):
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == 0
    assert len(server.notes("stop")) == 2


def test_a_killed_worker_is_replaced_and_so_is_its_successor(server):
    for _ in range(2):
        before = server.workers
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda before=before: len(server.workers - before) == 2)
        assert ask(server.address, "/").status == 200


def test_connections_are_shared_out_among_the_workers(server):
    assert {ask(server.address, "/").json["pid"] for _ in range(40)} == server.workers


def test_a_killed_master_leaves_no_worker_behind(server):
    workers = server.workers
    server.process.kill()
    eventually(lambda: all(map(gone, workers)))
    assert len(server.notes("stop")) == 2


def test_signals_that_mean_something_to_gunicorn_end_nothing(asked):
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        asked.process.send_signal(number)
    assert ask(asked.address, "/").status == 200
    assert asked.process.poll() is None


def test_the_access_log_has_the_path_and_the_request_id_and_never_the_query(asked):
    assert ask(asked.address, "/healthz").status == 200
    ask(asked.address, "/jsconfig/%E7%AD%BE?code=oauth-code")
    whole = ask(asked.address, "/pieces").body
    (line,) = eventually(lambda: [line for line in asked.lines if line.get("path") == "/jsconfig/签"])
    assert (line["method"], line["status"], line["request_id"]) == ("GET", 200, "an-id-0123456789")
    (line,) = eventually(lambda: [line for line in asked.lines if line.get("path") == "/pieces"])
    assert line["bytes"] == len(whole)
    assert asked.notes("closed")
    assert not {"/healthz", "oauth-code"} & set(asked.output.replace("?", '"').split('"'))


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /jsconfig?code=oauth-code\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /jsconfig?code=oauth-code and more HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization Bearer oauth-code\r\n\r\n",
        b"GET /broken?code=oauth-code HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["raw bytes", "blanks", "header", "broken application"],
)
def test_a_request_that_fails_leaves_neither_its_query_nor_a_header_in_the_log(asked, request_line):
    with socket.create_connection(("127.0.0.1", asked.address), 10) as connection:
        connection.sendall(request_line)
        assert connection.recv(200).startswith(b"HTTP/1.1 ")
    assert ask(asked.address, "/after").status == 200
    eventually(lambda: any(line.get("path") == "/after" for line in asked.lines))
    assert "oauth-code" not in asked.output


def test_a_request_carries_nothing_of_the_environment(asked):
    seen = ask(asked.address, "/", headers={"Script_Name": "/evil"}).json
    assert (seen["SCRIPT_NAME"], seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("", "127.0.0.1", "http")
    assert not seen.keys() & {*os.environ, "THE_SECRET", "WXSIGN_CONFIG"}


def test_a_header_with_an_underscore_takes_the_place_of_the_real_one_so_a_proxy_must_drop_it(asked):
    """What docs/deployment.md warns of; the day this fails, the warning can go."""
    with socket.create_connection(("127.0.0.1", asked.address), 10) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.1\r\n"
            b"X_Forwarded_For: 203.0.113.9\r\n\r\n"
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["HTTP_X_FORWARDED_FOR"] == "203.0.113.9"


def test_a_unix_socket_opens_to_its_group_and_goes_away_with_its_master(tmp_path):
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with granian(tmp_path, path) as server:
        assert ask(path, "/").json["REMOTE_ADDR"] == ""
        assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (0o770, os.getgid())
        server.process.terminate()
        assert server.process.wait(10) == 0
    assert not path.exists()


def test_callers_of_a_socket_that_systemd_holds_wait_while_the_service_restarts(tmp_path):
    path = tmp_path / "held"
    with socket.socket(socket.AF_UNIX) as held, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        held.bind(str(path))
        held.listen(64)
        held.set_inheritable(True)
        systemd.bind(f"{tmp_path}/notify")
        systemd.settimeout(10)
        with activated(held, tmp_path):
            before = ask(path, "/").json["pid"]
            assert systemd.recv(100) == b"READY=1"
        with ThreadPoolExecutor(8) as callers:
            meanwhile = [callers.submit(ask, path, "/") for _ in range(8)]
            with activated(held, tmp_path):
                assert {reply.result().status for reply in meanwhile} == {200}
                assert ask(path, "/").json["pid"] != before


@contextmanager
def activated(held: socket.socket, folder: Path) -> Iterator[None]:
    """Run it as systemd does for a socket that it holds: as descriptor 3, and naming the process."""
    (folder / "wxsign.toml").write_text(CONFIG.format(group=""))
    env = {
        **os.environ,
        "WXSIGN_CONFIG": str(folder / "wxsign.toml"),
        "THE_SECRET": "0123456789abcdef" * 2,
        "HELD": str(held.fileno()),
        "NOTIFY_SOCKET": f"{folder}/notify",
    }
    command = [sys.executable, "-c", PRELUDE, "unix:/nowhere/at/all", "1"]
    with (folder / "out").open("ab") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=env, pass_fds=[held.fileno()], stdout=out, stderr=out
        )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_a_second_address_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match="Granian listens on one address"):
        launch.run(["127.0.0.1:0", "unix:/tmp/s"], store="sqlite:///x", server="granian")


def test_where_it_is_not_installed_the_command_that_does_it_is_named(monkeypatch):
    monkeypatch.setattr(launch, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'wxsign\[granian\]'"):
        launch.run(["127.0.0.1:0"], store="sqlite:///x", server="granian")
