"""`examples/`: what docs/sdks.md tells people to copy, run as it stands."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import ssl
import subprocess
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest
from fleet import APPID, Fleet, eventually, fleet, one_account, wechat
from running import answers, ask, free_port, running
from test_deploy import nginx_command

from wxsign.serving import launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fleet import WeChat

pytestmark = pytest.mark.fleet

EXAMPLES = Path(__file__).parent.parent / "examples"
DOCUMENT = (EXAMPLES.parent / "docs/sdks.md").read_text("utf-8")
QUERY = f"grant_type=client_credential&appid={APPID}&secret="


class Site:
    """WeChat, the service, and the nginx of the examples, with a client for every system."""

    def __init__(self, here: Path, sandbox: WeChat, systems: tuple[str, ...]) -> None:
        self.token_file = here / "access_token.php"
        self.here, self.sandbox = here, sandbox
        self.port, self.tls_port, self.direct_port = free_port(), free_port(), free_port()
        self.keys = {name: secrets.token_urlsafe(32) for name in systems}
        self.authority = here / "ca.pem"

    @property
    def url(self) -> str:
        """The base address of SDKs that can be told one."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def service_url(self) -> str:
        """The service, without nginx."""
        return f"http://127.0.0.1:{self.direct_port}"

    def ask(self, path: str, **more: object) -> object:
        """Send one request through nginx."""
        reply = ask(self.port, path, **more)  # type: ignore[arg-type]
        assert reply.status == 200, reply.body
        return reply.json

    def environ(self) -> dict[str, str]:
        """What the service is told."""
        clients = [
            f'[clients.{name}]\nkey_sha256 = ["{sha256(key.encode()).hexdigest()}"]\nscopes = ["token:read"]\n'
            for name, key in self.keys.items()
        ]
        sink = f'[accounts.default.sinks.php]\npath = "{self.token_file}"\nformat = "php-sample"\n'
        (self.here / "wxsign.toml").write_text("".join((sink, *clients)))
        account = one_account(self.sandbox.url, self.here)
        del account["WXSIGN_CLIENT_KEY"]
        return account | {
            "WXSIGN_CONFIG": str(self.here / "wxsign.toml"),
            "WXSIGN_TRUSTED_PROXIES": "1",
        }

    def certify(self) -> None:
        """Make an authority of one's own, and a certificate of WeChat's name, as the document says."""
        commands = [line for line in DOCUMENT.splitlines() if line.startswith("openssl ")]
        assert len(commands) == 3
        for command in commands:
            subprocess.run(shlex.split(command), cwd=self.here, capture_output=True, check=True)

    def nginx(self, program: str) -> list[str]:
        """Return the command of an nginx with deploy/nginx.conf and the example beside it."""
        command = nginx_command(program, self.here, free_port())
        text = (EXAMPLES / "nginx-sdks.conf").read_text("utf-8")
        for there, ours in (
            ("listen 8301;", f"listen 127.0.0.1:{self.port};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.tls_port} ssl;"),
            ("/etc/ssl/wxsign-sdks/fullchain.pem", f"{self.here}/fullchain.pem"),
            ("/etc/ssl/wxsign-sdks/privkey.pem", f"{self.here}/privkey.pem"),
            ("https://api.weixin.qq.com;", f"{self.sandbox.url};"),
            ("/var/log/nginx", f"{self.here}/logs"),
        ):
            assert text.count(there) == 1, there
            text = text.replace(there, ours)
        with (self.here / "wxsign.conf").open("a") as site:
            site.write(text)
        return command


@contextmanager
def site_in(here: Path, program: str, systems: tuple[str, ...], **settings: object) -> Iterator[Site]:
    """Run all of it, with a sandbox of these settings."""
    with wechat(here, **settings) as sandbox:
        site = Site(here, sandbox, systems)
        site.certify()
        doors = [f"unix:{here}/wxsign.sock", f"127.0.0.1:{site.direct_port}"]
        service = Fleet(here, site.environ(), launch.command(doors, workers=4, threads=8))
        with (
            fleet(here, service.env, service._command),
            running(site.nginx(program), lambda: answers(site.port), log=here / "nginx.out"),
        ):
            yield site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[Site]:
    require_program("openssl")
    with site_in(tmp_path_factory.mktemp("site"), require_program("nginx"), ("shop",)) as found:
        yield found


def test_an_sdk_with_one_address_for_all_gets_its_token_here_and_speaks_to_wechat_itself(site):
    before = site.sandbox.calls().get("stable_token", 0)
    given = site.ask(f"/for/wechat-api/cgi-bin/token?{QUERY}{site.keys['shop']}")
    token = given["access_token"]
    assert site.sandbox.life_left(token) > 7000
    assert site.ask(f"/for/wechat-api/cgi-bin/getcallbackip?access_token={token}")["ip_list"]
    ticket = site.ask(f"/for/wechat-api/cgi-bin/ticket/getticket?type=jsapi&access_token={token}")
    assert ticket["errcode"] == 0
    body = json.dumps({"touser": "o1", "msgtype": "text", "text": {"content": "签"}})
    path = f"/for/wechat-api/cgi-bin/message/custom/send?access_token={token}"
    assert site.ask(path, method="POST", body=body.encode()) == {"errcode": 0, "errmsg": "ok"}
    assert site.sandbox.calls()["stable_token"] <= before + 1


def test_without_an_sdks_name_it_is_the_true_seconds_and_wechat_itself_as_well(site):
    given = site.ask(f"/cgi-bin/token?{QUERY}{site.keys['shop']}")
    assert given["expires_in"] <= 7200
    assert site.ask(f"/cgi-bin/getcallbackip?access_token={given['access_token']}")["ip_list"]


def test_an_sdk_with_a_fixed_address_is_met_under_wechats_name_by_a_certificate_of_ones_own(site):
    context = ssl.create_default_context(cafile=site.authority)
    context.check_hostname = False
    url = f"https://127.0.0.1:{site.tls_port}/cgi-bin"

    def get(path):
        return json.load(urlopen(Request(f"{url}{path}"), context=context))

    given = get(f"/token?{QUERY}{site.keys['shop']}")
    # What werobot is told: 150 s at the most, and the minute that it takes off.
    assert given["expires_in"] == 210
    assert get(f"/getcallbackip?access_token={given['access_token']}")["ip_list"]


def test_every_example_is_named_where_people_look():
    names = {file.name for file in EXAMPLES.iterdir() if file.is_file()}
    assert {name for name in names if f"(../examples/{name})" not in DOCUMENT} == set()


def test_nobody_else_may_go_out_through_it_and_no_log_has_a_key_or_a_token(site):
    assert ask(site.port, "/cgi-bin/token", source="127.0.0.2").status == 403
    site.ask("/cgi-bin/getcallbackip?access_token=a-token-of-this-test")
    site.ask(f"/cgi-bin/token?{QUERY}a-key-of-this-test-which-is-long-enough")
    logs = [*site.here.glob("logs/*"), *site.here.glob("*.log"), *site.here.glob("*.out")]
    for file in logs:
        text = file.read_text(errors="replace")
        assert "of-this-test" not in text, file.name
        assert site.keys["shop"] not in text, file.name


def test_a_shell_script_gets_the_token_and_its_key_stands_in_no_command_line(site, require_program, tmp_path):
    key, seen = tmp_path / "wxsign.key", tmp_path / "seen"
    key.write_text(f"{site.keys['shop']}\n")
    # What `ps` would show.
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {seen}\nexec {require_program("curl")} "$@"\n')
    curl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environ = {"PATH": path, "WXSIGN": site.service_url, "APPID": APPID, "KEY_FILE": str(key)}
    script = EXAMPLES / "token.sh"
    done = subprocess.run([script], env=environ, capture_output=True, text=True, check=True)
    assert site.sandbox.life_left(done.stdout.strip()) > 7000
    assert APPID in seen.read_text()
    assert site.keys["shop"] not in seen.read_text()
    key.write_text("another-key")
    done = subprocess.run([script], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(done.stderr)["errcode"] == 40125


def test_php_reads_the_file_that_is_kept_for_it(site, require_program, tmp_path):
    php, example = require_program("php"), EXAMPLES / "token.php"
    eventually(site.token_file.exists)
    done = subprocess.run([php, example, site.token_file], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == site.ask(f"/cgi-bin/token?{QUERY}{site.keys['shop']}")["access_token"]
    gone = subprocess.run([php, example, tmp_path / "nothing"], capture_output=True, text=True, check=False)
    assert gone.returncode
    assert "wxsign status" in gone.stdout + gone.stderr
