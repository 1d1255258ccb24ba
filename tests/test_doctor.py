"""`wxsign doctor`: of eleven broken installations the right line is red, it is the first one, and no other is."""

import json
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress

import pytest
from at_sandbox import APP_IDS, SECRET, control, on_a_port, service_at, wechat
from click.testing import CliRunner
from redis_servers import redis_server

from wxsign.cli import main
from wxsign.web import create_app
from wxsign.wechat import WeChatClient

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture(autouse=True)
def env(sandbox, tmp_path, monkeypatch):
    control(sandbox, "faults/clear")
    monkeypatch.chdir(tmp_path)
    return {
        "WXSIGN_APPID": APP_IDS["shop"],
        "WXSIGN_SECRET": SECRET,
        "WXSIGN_ALLOWED_HOSTS": "m.example.com",
        "WXSIGN_API_BASE": sandbox.url,
        "WXSIGN_STORE": f"sqlite:///{tmp_path}/wxsign.db",
        "LANG": "en_US.UTF-8",
    }


def examined(env, *more):
    done = CliRunner(env=env).invoke(main, ["doctor", "--json", *more])
    lines = json.loads(done.stdout)
    return done.exit_code, lines


def red(lines):
    return [line["check"] for line in lines if line["state"] == "failed"]


def test_a_sound_installation_is_green_before_its_first_start_and_replaces_nobodys_token(env, sandbox):
    for _ in range(2):
        code, lines = examined(env)
        assert (code, red(lines)) == (0, [])
        assert [line["check"] for line in lines] == [
            "configuration",
            "store",
            "network",
            "clock",
            "secret",
            "ticket",
            "quota",
        ]


def test_it_may_be_read_by_a_person_in_both_languages(env):
    done = CliRunner(env=env | {"LANG": "zh_CN.UTF-8"}).invoke(main, ["doctor"])
    assert done.exit_code == 0
    assert "✓ secret default: 微信接受 AppSecret。" in done.output
    assert SECRET not in done.output


# ten broken ones


@contextmanager
def wrong_secret(env, _sandbox, _tmp_path):
    yield env | {"WXSIGN_SECRET": "f" * 31 + "e"}


@contextmanager
def refused(errcode, env, sandbox, _tmp_path):
    control(sandbox, "faults", endpoint="stable_token", kind="errcode", errcode=errcode, times=None)
    yield env


@contextmanager
def not_in_the_whitelist(env, sandbox, tmp_path):
    with refused(40164, env, sandbox, tmp_path) as same:
        yield same


@contextmanager
def frozen_account(env, sandbox, tmp_path):
    with refused(50007, env, sandbox, tmp_path) as same:
        yield same


@contextmanager
def unknown_host_of_wechat(env, _sandbox, _tmp_path):
    yield env | {"WXSIGN_API_BASE": "https://wechat.invalid"}


@contextmanager
def own_authority(env, _sandbox, tmp_path):
    """A proxy in between whose certificate nobody vouches for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=proxy.test",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        capture_output=True, check=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield env | {"WXSIGN_API_BASE": f"https://127.0.0.1:{listener.getsockname()[1]}"}
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@contextmanager
def clock_ten_minutes_off(env, _sandbox, _tmp_path):
    with pytest.MonkeyPatch.context() as patched:
        # The sandbox lives in this process: it is its clock that is moved.
        patched.setattr(WeChatClient, "clock", lambda client, real=WeChatClient.clock: real(client) - 600)
        yield env


@contextmanager
def store_in_no_folder(env, _sandbox, _tmp_path):
    yield env | {"WXSIGN_STORE": "sqlite:////dev/null/wxsign.db"}


@contextmanager
def redis_password(env, _sandbox, _tmp_path):
    with redis_server("--requirepass", "right-password") as server:
        yield env | {"WXSIGN_STORE": server.url.replace("redis://", "redis://:wrong-password@")}


@contextmanager
def unknown_host_of_redis(env, _sandbox, _tmp_path):
    yield env | {"WXSIGN_STORE": "redis://redis.invalid:6379/0"}


@contextmanager
def behind(env, sandbox, headers, number=1):
    """A proxy that sets these headers, before a service that believes so many."""
    with service_at(sandbox.url, trusted_proxies=number) as service:
        application = create_app(service)

        def proxy(environ, start_response):
            return application(environ | headers, start_response)

        with on_a_port(proxy) as address:
            yield env | {"WXSIGN_PUBLIC_URL": address, "WXSIGN_TRUSTED_PROXIES": str(number)}


@contextmanager
def a_proxy_that_says_nothing(env, sandbox, _tmp_path):
    with behind(env, sandbox, {}) as changed:
        yield changed


def test_a_proxy_that_says_whose_a_request_is_is_green(env, sandbox):
    said = {"HTTP_X_FORWARDED_FOR": "192.0.2.1", "HTTP_X_FORWARDED_PROTO": "https"}
    with behind(env, sandbox, said) as changed:
        code, lines = examined(changed)
    assert (code, red(lines)) == (0, [])
    assert {line["check"]: line["state"] for line in lines}["proxy"] == "ok"


def test_two_proxies_of_which_one_keeps_the_visitor_s_address_to_itself_are_red(env, sandbox):
    said = {"HTTP_X_FORWARDED_PROTO": "https"}
    for addresses, expected in (("192.0.2.1", ["proxy"]), ("192.0.2.1, 192.0.2.9", [])):
        with behind(env, sandbox, said | {"HTTP_X_FORWARDED_FOR": addresses}, 2) as changed:
            assert red(examined(changed)[1]) == expected


def test_a_public_url_where_nobody_answers_yet_is_no_fault(env):
    code, lines = examined(env | {"WXSIGN_PUBLIC_URL": "http://127.0.0.1:9", "WXSIGN_TRUSTED_PROXIES": "1"})
    assert code == 0
    assert {line["check"]: line["state"] for line in lines}["proxy"] == "warning"


def test_a_quota_that_is_nearly_spent_is_a_warning(env, sandbox):
    control(sandbox, "reset")
    control(sandbox, "settings", daily_quota={"getticket": 2})
    for _ in range(2):
        _, lines = examined(env)
    control(sandbox, "reset")
    assert {line["check"]: line["state"] for line in lines}["quota"] == "warning"


@contextmanager
def no_secret_file(env, _sandbox, tmp_path):
    rest = {name: value for name, value in env.items() if name != "WXSIGN_SECRET"}
    yield rest | {"WXSIGN_SECRET_FILE": str(tmp_path / "not-there")}


@pytest.mark.parametrize(
    ("broken", "check", "says"),
    [
        (wrong_secret, "secret", "AppSecret"),
        (not_in_the_whitelist, "whitelist", "0.0.0.0/0"),
        (frozen_account, "account", "frozen"),
        (unknown_host_of_wechat, "dns", "wechat.invalid"),
        (own_authority, "tls", "REQUESTS_CA_BUNDLE"),
        (clock_ten_minutes_off, "clock", "chrony"),
        (store_in_no_folder, "store", "/dev/null"),
        (redis_password, "store", "password"),
        (unknown_host_of_redis, "store", "redis.invalid"),
        (a_proxy_that_says_nothing, "proxy", "X-Forwarded-For"),
        (no_secret_file, "configuration", "not-there"),
    ],
)
def test_of_eleven_broken_installations_the_right_line_is_red_and_no_other(
    broken, check, says, env, sandbox, tmp_path
):
    with broken(env, sandbox, tmp_path) as changed:
        code, lines = examined(changed)
    assert red(lines) == [check]
    assert code == (2 if check == "configuration" else 1)
    line = next(line for line in lines if line["state"] == "failed")
    assert says in line["message"] + line["hint"]
    assert "right-password" not in str(lines)
    assert "wrong-password" not in str(lines)
