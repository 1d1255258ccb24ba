"""The files of deploy/, each tried with the real program that reads it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket as socket_module
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fleet import eventually
from running import Reply, answers, ask, free_port, gunicorn, running

from wxsign.serving import launch
from wxsign.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}

# A backend that tells what reached it, and that caches like the service's static files.
ECHO = """
import json

def app(environ, start_response):
    environ["wsgi.input"].read()
    seen = {name: value for name, value in environ.items() if isinstance(value, str)}
    body = json.dumps(seen).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if environ["PATH_INFO"].startswith("/static/"):
        headers.append(("Cache-Control", "public, max-age=1"))
    start_response("200 OK", headers)
    return [body]
"""
OUTER = """
daemon off;
pid {here}/nginx.pid;
error_log {here}/logs/global.log notice;
{user}
events {{}}
http {{
    client_body_temp_path {here}/temp-body;
    proxy_temp_path {here}/temp-proxy;
    fastcgi_temp_path {here}/temp-fastcgi;
    uwsgi_temp_path {here}/temp-uwsgi;
    scgi_temp_path {here}/temp-scgi;
    include {here}/wxsign.conf;
}}
"""


def nginx_command(nginx: str, here: Path, port: int, *, hot: bool = False) -> list[str]:
    """Write deploy/nginx.conf with the paths and the port of a test, and return the command that reads it."""
    site = (DEPLOY / "nginx.conf").read_text()
    for there, ours in (
        ("/run/wxsign/wxsign.sock", f"{here}/wxsign.sock"),
        ("/var/cache/nginx-wxsign-hot", f"{here}/hot"),
        ("/var/cache/nginx-wxsign ", f"{here}/cache "),
        ("/var/log/nginx", f"{here}/logs"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
    ):
        assert there in site
        site = site.replace(there, ours)
    if hot:
        site = site.replace("$wxsign_micro_cache off;", "$wxsign_micro_cache wxsign_hot;")
    (here / "logs").mkdir()
    (here / "wxsign.conf").write_text(site)
    # As root nginx would hand over to www-data, which cannot enter a test's folder.
    user = "user root root;" if os.geteuid() == 0 else ""
    (here / "nginx.conf").write_text(OUTER.format(here=here, user=user))
    return [nginx, "-e", f"{here}/logs/global.log", "-c", f"{here}/nginx.conf"]


class Front:
    """nginx before an echoing backend, both real."""

    def __init__(self, here: Path, port: int) -> None:
        self.here = here
        self.port = port

    def ask(self, path: str, source: str = "127.0.0.1", **more: object) -> Reply:
        """Send a request through nginx."""
        return ask(self.port, path, source=source, **more)  # type: ignore[arg-type]

    def lines(self, key: str, value: str) -> list[dict[str, Any]]:
        """Return the lines of the access log with this value, once there are: nginx logs after it has answered."""
        file = self.here / "logs/access.log"
        return eventually(
            lambda: [
                line
                for line in map(json.loads, file.read_bytes().decode().splitlines())
                if line[key] == value
            ]
        )

    def logs(self) -> str:
        """Return everything that nginx has logged."""
        return "".join(file.read_text() for file in sorted((self.here / "logs").iterdir()))

    @property
    def backend(self) -> list[str | Path]:
        """The command of the backend."""
        return gunicorn("--bind", f"unix:{self.here}/wxsign.sock", "--workers", "1", "echo:app")


@pytest.fixture(scope="module")
def front_without_backend(
    tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]
) -> Iterator[Front]:
    """nginx alone."""
    here = tmp_path_factory.mktemp("nginx")
    (here / "echo.py").write_text(ECHO)
    port = free_port()
    command = nginx_command(require_program("nginx"), here, port)
    with running(command, lambda: answers(port), log=here / "nginx.out"):
        yield Front(here, port)


@pytest.fixture
def front(front_without_backend: Front) -> Iterator[Front]:
    """nginx with its backend."""
    front = front_without_backend
    socket = front.here / "wxsign.sock"
    with running(front.backend, lambda: answers(socket), log=front.here / "gunicorn.out", cwd=front.here):
        yield front


def test_forwarded_headers_say_what_nginx_saw_whatever_the_caller_claims(front):
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "Script-Name": "/evil",
        "Host": "m.example.com",
    }
    seen = front.ask("/jsconfig", headers=claims).json
    assert seen["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert seen["HTTP_X_FORWARDED_PROTO"] == "http"
    assert seen["HTTP_X_FORWARDED_HOST"] == seen["HTTP_HOST"] == "m.example.com"
    assert seen["HTTP_X_FORWARDED_PORT"] == str(front.port)
    assert seen["SCRIPT_NAME"] == ""
    assert seen["wsgi.url_scheme"] == "http"
    assert not {"HTTP_X_FORWARDED_PREFIX", "HTTP_X_REAL_IP", "HTTP_FORWARDED"} & seen.keys()


def test_a_request_id_from_outside_is_kept_where_it_is_one(front):
    kept = front.ask("/jsconfig", headers={"X-Request-Id": "trace-0123456789"}).json
    assert kept["HTTP_X_REQUEST_ID"] == "trace-0123456789"
    for claimed in ({}, {"X-Request-Id": '"}{"event":"forged"'}, {"X-Request-Id": "x" * 65}):
        made = front.ask("/jsconfig", headers=claimed).json
        assert re.fullmatch("[0-9a-f]{32}", made["HTTP_X_REQUEST_ID"])


def test_an_8_kb_address_passes_and_a_longer_one_is_answered_414(front):
    assert front.ask("/jsconfig?url=" + "a" * 8100).status == 200
    assert front.ask("/jsconfig?url=" + "a" * 8300).status == 414


@pytest.mark.parametrize(
    "path",
    [
        "/readyz",
        "/metrics",
        "/console",
        "/status",
        "/api/v1/accounts",
        "//api/v1/accounts",
        "/%61pi/v1/accounts",
        "/x/../api/v1/accounts",
        "/api/v1/accounts/default/relay/cgi-bin/user/info",
    ],
)
def test_ops_paths_are_not_there_for_the_outside(front, path):
    assert front.ask(path).status == 200
    outside = front.ask(path, source="127.0.0.2")
    assert outside.status == 404
    assert outside.json["error"]["code"] == "not_found"
    assert front.ask("/jsconfig", source="127.0.0.2").status == 200


def test_a_body_over_64_kb_is_refused_in_our_error_shape(front):
    reply = front.ask("/jsconfig", method="POST", body=b"x" * 70_000)
    assert reply.status == 413
    assert reply.json["error"]["code"] == "body_too_large"


def test_10_mb_reach_the_relay_and_no_other_path_by_way_of_it(front):
    relay, size = "/api/v1/accounts/default/relay/cgi-bin/media/upload", 10 * 1024 * 1024
    sent = front.ask(relay, method="POST", body=b"x" * size)
    assert (sent.status, sent.json["CONTENT_LENGTH"]) == (200, str(size))
    for path in (
        "/jsconfig",
        "/api/v1/accounts/default/access_token/refresh",
        f"{relay}/../../../../../../../jsconfig",
    ):
        assert front.ask(path, method="POST", body=b"x" * 70_000).status == 413


def test_a_flood_from_one_address_is_answered_with_a_json_429_that_a_page_can_read(front):
    replies = (
        front.ask("/jsconfig?code=in-the-flood", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
        for _ in range(5000)
    )
    refused = next(reply for reply in replies if reply.status != 200)
    assert refused.status == 429
    assert refused.headers["content-type"] == "application/json"
    assert refused.headers["access-control-allow-origin"] == "*"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"] == refused.json["error"]["request_id"]
    assert refused.json["error"]["code"] == "too_many_requests"
    assert "请求过多" in refused.json["error"]["message"]
    assert "in-the-flood" not in front.logs()


def test_the_access_log_is_json_with_the_path_and_never_the_query(front):
    front.ask(
        "/jsconfig?url=https%3A%2F%2Fm.example.com%2F%3Fcode%3Doauth-code",
        headers={"X-Request-Id": "a-known-request"},
    )
    front.ask("/api/v1/accounts?key=client-key", source="127.0.0.2")
    (known,) = front.lines("request_id", "a-known-request")
    assert known["path"] == "/jsconfig"
    assert known["status"] == 200
    assert not {"oauth-code", "client-key"} & set(re.findall("oauth-code|client-key", front.logs()))
    assert "oauth-code" not in (front.here / "gunicorn.out").read_text()


def test_a_log_line_is_utf_8_whatever_bytes_a_path_has(front):
    with closing(socket_module.create_connection(("127.0.0.1", front.port))) as connection:
        connection.sendall(b"GET /\xff\xfe?code=oauth-code HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 ")
    front.ask("/%E7%AD%BE?code=oauth-code")
    assert front.lines("path", "(not ASCII)")
    assert front.lines("path", "/%E7%AD%BE")
    assert "oauth-code" not in front.logs()


def test_why_the_service_cannot_be_reached_stands_in_a_log_without_a_query(front_without_backend):
    front = front_without_backend
    (front.here / "wxsign.sock").unlink(missing_ok=True)
    assert front.ask("/jsconfig?code=oauth-code").status == 503
    assert front.ask("/healthz?code=oauth-code").status == 404
    assert front.ask("/healthz").status == 503
    eventually(lambda: "No such file or directory" in (front.here / "logs/wxsign-error.log").read_text())
    assert "oauth-code" not in front.logs()


def test_a_file_is_kept_once_whatever_query_it_is_asked_for_with(front_without_backend):
    front = front_without_backend
    with running(
        front.backend,
        lambda: answers(front.here / "wxsign.sock"),
        log=front.here / "gunicorn.out",
        cwd=front.here,
    ):
        assert front.ask("/static/once.js?v=1").status == 200
    assert front.ask("/static/once.js?v=2").status == 200
    statuses = [front.ask("/static/once.js?v=3", source="127.0.0.9").status for _ in range(3000)]
    assert set(statuses) == {200, 429}


def test_half_sent_requests_keep_nobody_from_an_answer(front):
    with ExitStack() as held:
        for _ in range(128):
            connection = held.enter_context(
                closing(socket_module.create_connection(("127.0.0.1", front.port)))
            )
            connection.sendall(b"GET /jsconfig HTTP/1.1\r\nHost: m.example.com\r\nX-Slow: ")
        begun = time.monotonic()
        assert front.ask("/jsconfig").status == 200
        assert time.monotonic() - begun < 1.2


def test_the_image_listens_for_this_machine_alone():
    command = re.search(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert command is not None
    addresses = [word for word in json.loads(command[1]) if ":" in word]
    assert addresses
    assert not launch.exposed(addresses)
    assert [name for name, service in OURS.items() if "command" in service] == []


def test_without_the_service_callers_get_a_json_503_and_pages_keep_their_script(front_without_backend):
    front = front_without_backend
    socket = front.here / "wxsign.sock"
    with running(front.backend, lambda: answers(socket), log=front.here / "gunicorn.out", cwd=front.here):
        assert front.ask("/static/wxsign.js").status == 200
    reply = front.ask("/jsconfig?code=while-down")
    assert reply.status == 503
    assert reply.headers["retry-after"] == "3"
    assert reply.json["error"]["code"] == "service_unavailable"
    assert front.ask("/static/wxsign.js").status == 200
    assert "while-down" not in front.logs()


def test_systemd_accepts_the_units(tmp_path, require_program):
    analyze = require_program("systemd-analyze")
    program = tmp_path / "wxsign"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("wxsign.service", "wxsign.socket"):
        unit = (DEPLOY / name).read_text().replace("/opt/wxsign/bin/wxsign", str(program))
        (tmp_path / name).write_text(unit)
    verdict = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "wxsign.service", tmp_path / "wxsign.socket"],
        capture_output=True,
        text=True,
        check=False,
    )
    about_ours = [line for line in verdict.stderr.splitlines() if str(tmp_path) in line or "wxsign" in line]
    assert (verdict.returncode, about_ours) == (0, [])


def run_steps(stage: str) -> list[str]:
    """Return the RUN commands of a stage of the Dockerfile, as a shell would get them."""
    return [step.replace("\\\n", "") for step in re.findall(r"^RUN ((?:.*\\\n)*.*)$", stage, re.MULTILINE)]


def test_all_that_the_wheel_is_made_of_reaches_the_build_of_the_image():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    build_stage = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")[1]
    lines = re.findall(r"^COPY (.+)$", build_stage, re.MULTILINE)
    copied = {name for line in lines for name in line.split()[:-1]}
    assert {*wheel["packages"], *wheel["force-include"]} <= copied
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert copied <= {line.removeprefix("!") for line in let_in if line.startswith("!")}


@pytest.mark.long
def test_the_dockerfile_s_build_makes_a_program_that_starts(tmp_path, require_program):
    build_stage = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")[1]
    source = tmp_path / "src"
    source.mkdir()
    for line in re.findall(r"^COPY (.+)$", build_stage, re.MULTILINE):
        *names, target = line.split()
        for name in names:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, source / (name if target == "./" else target))
    python = Path(require_program("python3"))
    for step in run_steps(build_stage):
        command = step.replace("/opt/", f"{tmp_path}/opt/").replace("python -m venv", f"{python} -m venv")
        done = subprocess.run(
            ["sh", "-euc", command], cwd=source, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    program = tmp_path / "opt/wxsign/bin/wxsign"
    assert "serve" in subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout


def test_every_variable_of_the_example_environment_is_one_that_compose_reads_and_the_reverse():
    example = set(re.findall(r"^(\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    read = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    # The one that compose itself reads.
    assert example - {"COMPOSE_PROFILES"} == read


def test_each_profile_of_compose_has_one_service_behind_nginx_and_what_it_needs_is_declared():
    profiles = {name: service["profiles"] for name, service in OURS.items()}
    assert profiles == {"wxsign": ["default"], "wxsign-fleet": ["fleet"]}
    nginx = COMPOSE["services"]["nginx"]
    assert "profiles" not in nginx
    assert nginx["depends_on"].keys() == OURS.keys()
    # A service whose profile is off must not keep nginx from starting.
    assert not any(condition["required"] for condition in nginx["depends_on"].values())
    for service in COMPOSE["services"].values():
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
        named = {volume.partition(":")[0] for volume in service.get("volumes", ()) if volume[0] not in "./"}
        assert named <= COMPOSE["volumes"].keys()


@pytest.mark.parametrize("name", OURS)
def test_the_configuration_of_compose_is_read_from_where_it_is_mounted(name, tmp_path):
    service = OURS[name]
    for secret, value in (("app-secret", "0123456789abcdef" * 2), ("store", "redis://:password@127.0.0.1/0")):
        (tmp_path / secret).write_text(f"{value}\n")
    text = (DEPLOY / "config/wxsign.example.toml").read_text()
    (tmp_path / "wxsign.toml").write_text(text.replace("/run/secrets", str(tmp_path)))
    image = re.search(r" (WXSIGN_STORE)=(\S+)", (DEPLOY / "Dockerfile").read_text())
    environ = {
        variable: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value)
        .replace("/etc/wxsign", str(tmp_path))
        .replace("/run/secrets", str(tmp_path))
        for variable, value in {image[1]: image[2], **service["environment"]}.items()
    }
    settings = load_settings(environ=environ)
    assert (settings.server, settings.workers, settings.threads) == ("gunicorn", 4, 8)
    assert settings.store.partition(":")[0] == ("redis" if "store" in service["secrets"] else "sqlite")
    assert settings.warnings == ()


def test_the_health_check_of_the_image_asks_the_socket_that_its_command_makes(tmp_path):
    text = (DEPLOY / "Dockerfile").read_text()
    check, command = (json.loads(found) for found in re.findall(r"^ *CMD (\[.*\])$", text, re.MULTILINE))
    (bind,) = (word.removeprefix("unix:") for word in command if word.startswith("unix:"))
    assert bind in check[-1]
    path = tmp_path / "sock"
    (tmp_path / "echo.py").write_text(ECHO)
    code = check[-1].replace(bind, str(path))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1
    with running(
        gunicorn("--bind", f"unix:{path}", "echo:app"),
        lambda: answers(path),
        log=tmp_path / "out",
        cwd=tmp_path,
    ):
        subprocess.run([sys.executable, "-c", code], check=True)
