"""gunicorn under the service's settings: real masters and workers, with small applications in them."""

from __future__ import annotations

import grp
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from gunicorn.config import Config
from running import Master, accepts, answers, ask, free_port, gunicorn, running, service_environ, wait_until

from wxsign import serving
from wxsign.errors import ConfigError
from wxsign.serving import launch
from wxsign.serving.logger import JsonLogger
from wxsign.settings.snapshot import SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
from types import ModuleType

pytestmark = pytest.mark.fleet

APPLICATIONS = '''
import json, os, time
from types import SimpleNamespace
from wxsign.errors import ConfigError, Problem, Text

def _note(word):
    with open("hooks.txt", "a") as notes:
        notes.write(f"{word} {os.getpid()}\\n")

class App:
    """Answers with what it saw; carries a service as a Flask application does."""
    extensions = {"wxsign": SimpleNamespace(start=lambda: _note("start"), stop=lambda: _note("stop"))}

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/broken":
            raise RuntimeError("broken on purpose")
        if environ["PATH_INFO"] == "/slow":
            _note("accept")
            time.sleep(0.5)
        seen = {name: value for name, value in environ.items() if isinstance(value, str)}
        body = json.dumps({**seen, "pid": os.getpid()}).encode()
        headers = [("Content-Length", str(len(body))), ("X-Request-Id", "an-id-0123456789")]
        start_response("200 OK", headers)
        return [body]

app = App()

def bare(environ, start_response):
    start_response("204 No Content", [])
    return []
'''
UNUSABLE = """
from wxsign.errors import ConfigError, Problem, Text
raise ConfigError([Problem("first", Text("Wrong.", "")), Problem("second", Text("Also wrong.", ""))])
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "applications.py").write_text(APPLICATIONS)
    (tmp_path / "unusable.py").write_text(UNUSABLE)
    return tmp_path


@pytest.fixture
def server(folder) -> Iterator[Master]:
    port = free_port()
    command = gunicorn("--bind", f"127.0.0.1:{port}", "--workers", "2", "applications:app")
    with running(
        command, lambda: answers(port), log=folder / "out", cwd=folder, env={"HOME": str(folder)}
    ) as process:
        server = Master(process, port, folder)
        # A worker that is told to end in the middle of its start hears nothing of it, and is waited for.
        wait_until(lambda: len(server.notes("start")) == 2)
        yield server


def test_every_setting_is_one_that_gunicorn_knows_and_nothing_else_is_taken_for_one():
    public = {name: value for name, value in vars(serving).items() if name.islower() and name[0] != "_"}
    modules = {name for name, value in public.items() if isinstance(value, ModuleType)} | {"annotations"}
    settings = public.keys() - modules
    assert settings <= Config().settings.keys()
    assert not modules & Config().settings.keys()
    assert {
        "worker_class",
        "workers",
        "threads",
        "control_socket_disable",
        "post_worker_init",
        "worker_exit",
    } <= settings


def test_probes_fill_the_log_only_while_they_tell_of_something(server):
    assert ask(server.address, "/healthz").status == 200
    ask(server.address, "/a-page")
    wait_until(lambda: '"/a-page"' in server.output)
    assert "/healthz" not in server.output


def test_the_access_log_has_the_path_and_the_request_id_and_never_the_query(server):
    ask(
        server.address,
        "/jsconfig/%E7%AD%BE?code=oauth-code",
        headers={"Referer": "https://m.example.com/?code=oauth-code"},
    )
    wait_until(lambda: '"/jsconfig' in server.output)
    line = next(line for line in server.lines if line.get("path") == "/jsconfig/签")
    assert (line["method"], line["status"], line["request_id"]) == ("GET", 200, "an-id-0123456789")
    assert line["bytes"] > 0
    assert line["milliseconds"] >= 0
    assert "oauth-code" not in server.output


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /jsconfig?code=oauth-code\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /jsconfig?code=oauth-code and more HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /jsconfig?code=oauth-code HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization Bearer oauth-code\r\n\r\n",
        b"GET /broken?code=oauth-code HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["raw bytes", "blanks", "version", "header", "broken application"],
)
def test_a_request_that_fails_leaves_neither_its_query_nor_a_header_in_the_log(server, request_line):
    with socket.create_connection(("127.0.0.1", server.address), 10) as connection:
        connection.sendall(request_line)
        assert connection.recv(200).startswith(b"HTTP/1.1 ")
    wait_until(lambda: '"warning"' in server.output or '"error"' in server.output)
    assert all(line["event"] for line in server.lines)
    assert "oauth-code" not in server.output


def test_forwarded_headers_are_believed_from_nobody(server):
    claims = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Ssl": "on",
        "X-Forwarded-Protocol": "ssl",
        "Script_Name": "/evil",
    }
    seen = ask(server.address, "/", headers=claims).json
    assert seen["wsgi.url_scheme"] == "http"
    assert seen["SCRIPT_NAME"] == ""
    assert seen["REMOTE_ADDR"] == "127.0.0.1"


def test_each_worker_starts_its_watcher_after_the_fork_and_stops_it_at_its_end(server):
    wait_until(lambda: len(server.notes("start")) == 2)
    started = server.notes("start")
    assert str(server.process.pid) not in started
    server.process.terminate()
    assert server.process.wait(20) == 0
    assert sorted(server.notes("stop")) == sorted(started)


def test_no_control_socket_is_opened_that_a_second_gunicorn_could_take(server):
    ask(server.address, "/")
    assert not (server.folder / ".gunicorn").exists()
    assert "Control socket" not in server.output


def test_a_reload_under_load_loses_no_request(server):
    before = {ask(server.address, "/").json["pid"] for _ in range(20)}
    with ThreadPoolExecutor(4) as callers:
        replies = [callers.submit(ask, server.address, "/") for _ in range(400)]
        server.process.send_signal(signal.SIGHUP)
        replies += [callers.submit(ask, server.address, "/slow") for _ in range(8)]
        assert {reply.result().status for reply in replies} == {200}
    wait_until(lambda: len(server.notes("stop")) == 2)
    assert not before & {ask(server.address, "/").json["pid"] for _ in range(20)}


def test_a_worker_told_to_stop_finishes_the_request_that_it_accepted(server):
    with ThreadPoolExecutor(1) as caller:
        slow = caller.submit(ask, server.address, "/slow")
        wait_until(lambda: server.notes("accept") != [])
        server.process.terminate()
        assert slow.result().status == 200


@pytest.mark.parametrize(
    ("environ", "given", "expected"),
    [
        ({}, "-", False),
        ({"WXSIGN_TRUSTED_PROXIES": "1"}, "-", True),
        ({"WXSIGN_TRUSTED_PROXIES": "1", "WXSIGN_ACCESS_LOG": "json"}, "-", False),
        ({"WXSIGN_ACCESS_LOG": "off"}, "-", True),
        ({"WXSIGN_ACCESS_LOG": "off"}, "/var/log/own.log", False),
    ],
)
def test_the_access_log_is_left_to_a_trusted_proxy_unless_asked_for(monkeypatch, environ, given, expected):
    account = {
        "WXSIGN_APPID": "wx0123456789abcdef",
        "WXSIGN_SECRET": "0" * 32,
        "WXSIGN_ALLOWED_HOSTS": "a.example",
    }
    for name, value in (account | environ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(SNAPSHOT, "settings", None)
    configured = Config()
    configured.set("accesslog", given)
    arbiter = SimpleNamespace(
        app=SimpleNamespace(app_uri="wxsign.wsgi:app"), cfg=configured, log=JsonLogger(Config())
    )
    serving.on_starting(arbiter)
    assert arbiter.log.left_out is expected
    monkeypatch.setenv("WXSIGN_ACCESS_LOG", "json")
    serving.on_reload(arbiter)
    assert not arbiter.log.left_out


def test_an_application_without_the_service_runs_under_the_same_settings_its_access_log_switched_off(folder):
    port = free_port()
    (folder / "own.py").write_text("from wxsign.serving import *\naccesslog = None\nworkers = 1\n")
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        "own.py",
        "--bind",
        f"127.0.0.1:{port}",
        "applications:bare",
    ]
    with running(command, lambda: answers(port), log=folder / "out", cwd=folder) as process:
        assert ask(port, "/").status == 204
    assert process.returncode == 0
    assert '"access"' not in (folder / "out").read_text()


def test_an_unusable_configuration_halts_gunicorn_instead_of_respawning_for_ever(folder):
    command = gunicorn("--bind", f"127.0.0.1:{free_port()}", "unusable:app")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    # 3, or 1 where a second worker fails while gunicorn is halting already.
    assert done.returncode in {1, 3}
    assert "1. first: Wrong." in done.stderr
    assert "2. second: Also wrong." in done.stderr
    assert done.stderr.count("Booting worker") <= serving.workers


def test_a_unix_socket_opens_to_its_group_and_not_to_everybody(folder):
    path = folder / "socket"
    command = gunicorn("--bind", f"unix:{path}", "--workers", "1", "applications:app")
    with running(command, lambda: answers(path), log=folder / "out", cwd=folder):
        assert path.stat().st_mode & 0o777 == 0o770
        assert ask(path, "/", headers={"X-Forwarded-Proto": "https"}).json["wsgi.url_scheme"] == "http"


def test_a_unix_socket_opens_to_the_configured_group(folder, tmp_path):
    group = next(
        entry for entry in grp.getgrall() if entry.gr_gid != os.getgid() and may_give_to(entry.gr_gid)
    )
    path = tmp_path / "socket"
    env = {**service_environ("http://127.0.0.1:9", tmp_path), "WXSIGN_SOCKET_GROUP": group.gr_name}
    command = gunicorn("--bind", f"unix:{path}", "--workers", "1", "wxsign.wsgi:app")
    with running(command, lambda: answers(path), log=folder / "out", cwd=folder, env=env):
        assert path.stat().st_gid == group.gr_gid
        assert path.stat().st_mode & 0o777 == 0o770


def may_give_to(number):
    return os.geteuid() == 0 or number in os.getgroups()


@contextmanager
def activated(held: socket.socket, folder: Path) -> Iterator[None]:
    """Run gunicorn as systemd does for a socket that it holds: as descriptor 3, and naming the process."""
    prelude = (
        f"import os; os.dup2({held.fileno()}, 3); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
        "from wxsign.serving.launch import command;"
        "arguments = command(['unix:/nowhere/at/all'], workers=1)[:-1];"
        "os.execv(arguments[0], (*arguments, 'applications:app'))"
    )
    with (folder / "out").open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", prelude], cwd=folder, pass_fds=[held.fileno()], stdout=out, stderr=out
        )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_callers_of_a_socket_that_systemd_holds_wait_while_the_service_restarts(folder):
    path = folder / "held"
    with socket.socket(socket.AF_UNIX) as held, ThreadPoolExecutor(8) as callers:
        held.bind(str(path))
        held.listen(64)
        with activated(held, folder):
            before = ask(path, "/").json["pid"]
        meanwhile = [callers.submit(ask, path, "/") for _ in range(8)]
        with activated(held, folder):
            assert {reply.result().status for reply in meanwhile} == {200}
            assert ask(path, "/").json["pid"] != before


def test_the_command_names_every_address_and_the_door_of_the_wheel():
    command = launch.command(["127.0.0.1:8000", "unix:/run/wxsign.sock"], workers=2, threads=3)
    assert command[0] == sys.executable
    assert command[-1] == "wxsign.wsgi:app"
    text = " ".join(command)
    assert "--bind 127.0.0.1:8000 --bind unix:/run/wxsign.sock --workers 2 --threads 3" in text


def test_a_new_master_that_sigusr2_starts_can_import_all_of_python(folder):
    (folder / "importing.py").write_text("from http import HTTPStatus\nfrom applications import app\n")
    port = free_port()
    command = [*launch.command([f"127.0.0.1:{port}"], workers=1)[:-1], "importing:app"]
    with running(command, lambda: answers(port), log=folder / "out", cwd=folder) as old:
        server = Master(old, port, folder)
        wait_until(lambda: len(server.notes("start")) == 1)
        old.send_signal(signal.SIGUSR2)
        wait_until(lambda: len(server.notes("start")) == 2)
        successor = int((folder / "out").read_text().rpartition(f":{port} (")[2].partition(")")[0])
        old.terminate()
        old.wait(20)
        try:
            assert ask(port, "/").json["pid"] == int(server.notes("start")[1])
        finally:
            os.kill(successor, signal.SIGTERM)
        wait_until(lambda: not accepts(port))


def test_without_gunicorn_s_script_its_module_is_started(monkeypatch):
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    assert launch.command(["127.0.0.1:8000"])[:3] == (sys.executable, "-m", "gunicorn")


@pytest.fixture
def executed(monkeypatch) -> list[tuple]:
    calls: list[tuple] = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: calls.append((path, arguments)))
    return calls


def test_memory_shared_by_several_workers_is_refused_with_the_remedy(executed):
    with pytest.raises(ConfigError) as refused:
        launch.run([f"127.0.0.1:{free_port()}"], store="memory:", workers=4)
    assert [problem.key for problem in refused.value.problems] == ["store"]
    assert "--workers 1" in str(refused.value)
    assert executed == []


def test_memory_for_one_worker_is_served(executed):
    address = f"127.0.0.1:{free_port()}"
    launch.run([address], store="memory:", workers=1)
    assert executed == [(sys.executable, launch.command([address], workers=1))]


def test_an_address_that_is_taken_is_a_sentence(executed):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            launch.run([f"127.0.0.1:{port}", "127.0.0.1:99999"], store="sqlite:///var/wxsign.db")
    assert [problem.key for problem in refused.value.problems] == ["bind", "bind"]
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in str(refused.value)
    assert executed == []


def test_a_group_that_is_not_there_is_a_sentence(executed):
    with pytest.raises(ConfigError, match="There is no group nobody-at-all"):
        launch.run(["unix:/tmp/s"], store="sqlite:///var/wxsign.db", socket_group="nobody-at-all")
    assert executed == []


@pytest.mark.parametrize(
    ("bind", "exposed"),
    [
        (["127.0.0.1:8000", "unix:/run/s"], False),
        (["[::1]:80"], False),
        (["0.0.0.0:8000"], True),
        (["127.0.0.1:1", "[::]:8000"], True),
        (["192.0.2.7:80"], True),
    ],
)
def test_who_listens_for_other_machines_is_told_to_put_a_proxy_between(bind, exposed):
    assert launch.exposed(bind) is exposed


def test_an_address_that_systemd_holds_is_not_tried(executed, monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "1")
    with socket.create_server(("127.0.0.1", 0)) as held:
        launch.run([f"127.0.0.1:{held.getsockname()[1]}"], store="sqlite:///var/wxsign.db")
    assert len(executed) == 1


def test_a_free_ipv6_address_is_served(executed):
    launch.run(["[::1]:0"], store="sqlite:///var/wxsign.db")
    assert len(executed) == 1
