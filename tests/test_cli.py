"""The `wxsign` command: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from at_sandbox import control, verdict
from click.testing import CliRunner
from running import accepts, ask, free_port, running

from wxsign import cli, sandbox, serving
from wxsign.accounts import HostRule, sha256_of_key
from wxsign.commands import asking, checking, dev, remarks
from wxsign.commands import running as commands
from wxsign.commands.dev import DEV_CLIENT_KEY, DevServer, Plan
from wxsign.errors import ConfigError
from wxsign.serving import launch
from wxsign.settings import load_settings
from wxsign.signing import parse_page_url, signature, string_to_sign
from wxsign.stores import SqliteStore, open_store

SECRET = "0123456789abcdef0123456789abcdef"
APP_ID = "wx0123456789abcdef"
PAGE = "https://m.example.com/a?b=1"
COMMANDS = (
    "dev",
    "serve",
    "sandbox",
    "check",
    "sign",
    "jsconfig",
    "token",
    "quota",
    "refresh",
    "accounts",
    "status",
    "alerts test",
    "doctor",
    "explain",
    "diagnose",
    "client new",
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def wechat():
    settings = sandbox.SandboxSettings(accounts={APP_ID: SECRET})
    with sandbox.serve(settings=settings) as server:
        yield server


@pytest.fixture
def account(wechat, monkeypatch):
    """One account in the environment, whose WeChat is the sandbox."""
    given = {"APPID": APP_ID, "SECRET": SECRET, "ALLOWED_HOSTS": "m.example.com", "API_BASE": wechat.url}
    for name, value in given.items():
        monkeypatch.setenv(f"WXSIGN_{name}", value)
    yield wechat
    control(wechat, "reset")


def run(*arguments, code=0):
    result = CliRunner().invoke(cli.main, [*arguments])
    assert result.exit_code == code, result.output
    assert SECRET not in result.output
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    words = command.split()
    if command == "sandbox":
        printed = subprocess.run(
            [sys.executable, "-m", "wxsign.sandbox", "--help"], capture_output=True, text=True, check=True
        )
        assert "--account" in printed.stdout
        return
    text = run(*words, "--help").output
    assert "Usage:" in text
    assert re.search("[\u4e00-\u9fff]", text)


def test_the_help_of_the_whole_teaches_the_first_steps_and_the_exit_codes():
    text = run("--help").output
    assert all(word in text for word in ("wxsign dev", "wxsign check", "Exit codes", "WXSIGN_APPID"))
    assert all(f"  {command.split()[0]} " in text for command in COMMANDS)


def test_a_usage_error_is_a_2():
    assert "No such command" in run("nothing", code=2).output
    assert "--app-id" in run("token", code=2).output


# Configuration.


def test_check_remarks_on_what_is_usable_and_worth_a_second_look(account, monkeypatch, tmp_path):
    monkeypatch.setenv("WXSIGN_STORE", "redis://:secret@redis.example.com:6379/0")
    plain = run("check", "--offline").stdout
    assert "! Tokens travel to redis.example.com in plain text" in plain
    assert "secret" not in plain
    for local in ("redis://127.0.0.1:6379/0", "rediss://redis.example.com/0"):
        monkeypatch.setenv("WXSIGN_STORE", local)
        assert "!" not in run("check", "--offline").stdout
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        open_file = Path(folder, "open.db")
        open_file.touch(0o644)
        monkeypatch.setenv("WXSIGN_STORE", f"sqlite:///{open_file}")
        assert f"! Other users of this machine may read {open_file}" in run("check", "--offline").stdout
        monkeypatch.delenv("WXSIGN_STORE")
    cold = tmp_path / "cold.toml"
    cold.write_text(
        f'[accounts.cold]\napp_id = "{APP_ID}"\napp_secret = "{SECRET}"\nallowed_hosts = ["m.example.com"]\nwarm = false\n'
    )
    monkeypatch.delenv("WXSIGN_APPID")
    monkeypatch.delenv("WXSIGN_SECRET")
    monkeypatch.delenv("WXSIGN_ALLOWED_HOSTS")
    assert "! Not warm: cold (1)." in run("--config", str(cold), "check", "--offline").stdout


def test_check_names_the_group_that_keeps_nginx_from_the_socket(account, monkeypatch, tmp_path):
    nginx = SimpleNamespace(pw_name="www-data", pw_uid=65_533, pw_gid=65_534)
    monkeypatch.setattr(remarks.pwd, "getpwnam", lambda _name: nginx)
    path = tmp_path / "wxsign.sock"
    path.touch()
    path.chmod(0o770)
    monkeypatch.setattr(checking, "SOCKET", path)
    assert f"nginx (www-data) may not open {path}" in run("check", "--offline").stdout
    nginx.pw_gid = path.stat().st_gid
    assert "nginx" not in run("check", "--offline").stdout


def test_check_says_that_the_server_is_not_installed(account, monkeypatch):
    monkeypatch.setattr(remarks, "find_spec", lambda _: None)
    assert "Granian" not in run("check", "--offline").stdout
    monkeypatch.setenv("WXSIGN_SERVER", "granian")
    assert "! Granian is not installed" in run("check", "--offline").stdout


def test_serve_hands_server_and_counts_of_the_environment_on(account, monkeypatch):
    for name, value in (("SERVER", "granian"), ("WORKERS", "2"), ("THREADS", "3")):
        monkeypatch.setenv(f"WXSIGN_{name}", value)
    called = []
    monkeypatch.setattr(launch, "run", lambda *_, **named: called.append(named))
    run("serve", "--threads", "5")
    assert (called[0]["server"], called[0]["workers"], called[0]["threads"]) == ("granian", 2, 5)


def test_check_shows_what_was_found(account, monkeypatch):
    monkeypatch.setenv("WXSIGN_CLIENT_KEY", "kG7pX2vQ9sLw4ZrT8bNf1YhJ6mDc3RaE")
    monkeypatch.setenv("WXSIGN_STROE", "x")
    result = run("check")
    assert f"account  default  {APP_ID}  stable  m.example.com" in result.stdout
    assert f"api_base {account.url}" in result.stdout
    assert "client   default  ticket:read, token:read, token:refresh  *" in result.stdout
    assert "The configuration is usable." in result.stdout
    assert "Did you mean `WXSIGN_STORE`?" in result.stderr
    assert "kG7pX2vQ9sLw4ZrT8bNf1YhJ6mDc3RaE" not in result.output


def test_check_lists_every_problem_with_its_remedy_in_the_users_language(monkeypatch):
    monkeypatch.setenv("WXSIGN_APPID", "gh_1")
    monkeypatch.setenv("WXSIGN_STORE", "x")
    english = run("check", code=2).stderr
    assert english.startswith("3 problems in the configuration.\n1. ")
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "配置中有 3 处问题" in run("check", code=2).stderr
    monkeypatch.setenv("LC_ALL", "C")
    assert run("check", code=2).stderr == english


def test_check_tries_the_store_and_makes_no_file_that_the_service_could_not_write(account, tmp_path):
    assert "The store is usable." in run("check").stdout
    assert list(tmp_path.iterdir()) == []
    store = SqliteStore(tmp_path / "var" / "wxsign.db")
    store.generation()
    assert "The store is usable." in run("check").stdout


@pytest.mark.parametrize("place", ["/dev/null/wxsign.db", "/dev/null/sub/wxsign.db"])
def test_check_fails_where_no_store_can_be_made_and_says_where(account, place, monkeypatch):
    monkeypatch.setenv("WXSIGN_STORE", f"sqlite:///{place}")
    result = run("check", code=1)
    assert "The configuration is usable." in result.stdout
    assert "The credential store cannot be reached." in result.stderr
    assert "/dev/null is not a folder" in result.stderr


def test_check_fails_at_a_store_that_can_be_read_and_not_written(account, tmp_path):
    store = SqliteStore(tmp_path / "var" / "wxsign.db")
    store.generation()
    with closing(sqlite3.connect(store.path)) as db:
        db.executescript(
            "CREATE TRIGGER full BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    assert "disk full" in run("check", code=1).stderr


@pytest.mark.parametrize(
    "url",
    [
        "redis://:{password}@127.0.0.1:{port}/0",
        "redis://user:p%40ss%2F{password}@127.0.0.1:{port}/0?prefix=shop",
        "valkey://:{password}@127.0.0.1:{port}",
        "redis+sentinel://:{password}@127.0.0.1:{port}/service/0?sentinel_password={password}",
        "redis+cluster://:{password}@127.0.0.1:{port},127.0.0.1:{port}",
    ],
)
def test_check_says_what_to_do_about_a_redis_that_is_away_and_shows_no_password(account, url, monkeypatch):
    port = free_port()
    monkeypatch.setenv("WXSIGN_STORE", url.format(password="hunter2-hunter2", port=port))
    result = run("check", code=1)
    assert f"***@127.0.0.1:{port}" in result.stdout
    assert f"127.0.0.1:{port}: nothing listens there" in result.stderr
    assert "Check that Redis runs" in result.stderr
    assert not re.search(r"hunter2|p%40ss|p@ss", result.output)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "请检查 Redis 是否在运行" in run("check", code=1).stderr
    monkeypatch.delenv("LANG")
    assert "usable" in run("check", "--offline").stdout, "a reload need not wait for the store"


def test_a_configuration_file_may_be_named(tmp_path):
    path = tmp_path / "etc" / "w.toml"
    path.parent.mkdir()
    path.write_text(
        f'[accounts.shop]\napp_id = "{APP_ID}"\napp_secret = "{SECRET}"\n[clients.c]\nkey = "kG7pX2vQ9sLw4ZrT8bNf1YhJ6mDc3RaE"\naccounts = ["shop"]\n'
    )
    text = run("--config", str(path), "check").stdout
    assert f"config   {path}" in text
    assert "client   c  ticket:read, token:read, token:refresh  shop" in text
    assert "no file" in run("--config", "absent.toml", "check", code=2).stderr


@pytest.mark.parametrize(
    "arguments",
    [["serve"], ["jsconfig", PAGE], ["sign", PAGE], ["token", "default"], ["accounts"], ["refresh", "x"]],
)
def test_without_a_configuration_every_command_says_so_and_ends_with_2(arguments):
    assert "no account is configured" in run(*arguments, code=2).stderr


# Signatures and credentials.


def test_jsconfig_prints_what_wx_config_needs(account):
    config = json.loads(run("jsconfig", PAGE).stdout)
    assert verdict(account, config, PAGE) == "ok"


def test_sign_prints_every_stage_and_masks_the_ticket(account):
    token = run("token", "default").stdout.strip()
    ticket = ask(account.port, f"/cgi-bin/ticket/getticket?type=jsapi&access_token={token}").json["ticket"]
    result = run("sign", f"{PAGE}#top", "--noncestr", "Wm3WZYTPz0wzccnW", "--timestamp", "1414587457")
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert lines["account"] == f"default ({APP_ID})"
    assert lines["sent"] == f"{PAGE}#top"
    assert lines["url"] == PAGE
    assert lines["string1"] == f"jsapi_ticket=***&noncestr=Wm3WZYTPz0wzccnW&timestamp=1414587457&url={PAGE}"
    assert lines["signature"] == signature(string_to_sign(ticket, "Wm3WZYTPz0wzccnW", 1414587457, PAGE))
    assert "fragment:" in result.stderr
    assert ticket not in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jsconfig", "m.example.com"], "not absolute"),
        (["jsconfig", "https://evil.test/"], "not signed here"),
        (["sign", "https://evil.test/"], "not signed here"),
        (["sign", PAGE, "--account", "nobody"], "no account named 'nobody'"),
        (["token", "nobody"], "no account named 'nobody'"),
        (["refresh", "nobody"], "no account named 'nobody'"),
    ],
)
def test_a_wrong_page_or_account_is_a_sentence_and_a_2(account, arguments, words):
    assert words in run(*arguments, code=2).stderr


def test_token_prints_the_token_alone_so_that_a_script_can_take_it(account):
    result = run("token", "default")
    assert control(account, "check_token", access_token=result.stdout.strip())["alive"]
    assert re.fullmatch(r"expires in 7\d{3} s\n", result.stderr)


def test_refresh_tells_how_each_credential_fared(account):
    run("jsconfig", PAGE)
    assert run("refresh", "default").stdout.splitlines() == [
        "access_token: unchanged",
        "jsapi_ticket: unchanged",
    ]


def test_a_refusal_of_wechat_is_a_1_with_the_remedy(account):
    control(account, "settings", ip_whitelist=["198.51.100.1"])
    for arguments in (["jsconfig", PAGE], ["token", "default"]):
        assert "127.0.0.1" in run(*arguments, code=1).stderr
    refused = run("refresh", "default", code=1)
    assert refused.stdout.startswith("access_token: failed")
    assert "127.0.0.1" in refused.stderr


def test_accounts_lists_the_states_without_values(account):
    token = run("token", "default").stdout.strip()
    text = run("accounts").stdout
    assert f"default  {APP_ID}  official  stable" in text
    assert "access_token" in text
    assert token not in text


@pytest.mark.parametrize(("errcode", "code"), [(40164, "ip_not_whitelisted"), (40125, "invalid_secret")])
def test_accounts_tells_a_failure_that_another_process_met_and_asks_wechat_nothing(account, errcode, code):
    control(account, "faults", endpoint="stable_token", kind="errcode", errcode=errcode)
    run("token", "default", code=1)
    asked = len(ask(account.port, "/sandbox/requests").json["requests"])
    result = run("accounts", code=2)
    assert f"empty ({code})" in result.stdout
    assert "calls today   stable_token 1 of" in result.stdout
    assert len(ask(account.port, "/sandbox/requests").json["requests"]) == asked


def test_accounts_of_a_store_that_cannot_be_reached_says_so(account, monkeypatch):
    monkeypatch.setenv("WXSIGN_STORE", f"redis://127.0.0.1:{free_port()}/0")
    assert "127.0.0.1" in run("accounts", code=2).stderr


def test_a_theft_is_degraded_until_somebody_acknowledges_it(account):
    run("token", "default")
    store = open_store(load_settings().store)
    theft = {
        "app_id": APP_ID,
        "kind": "access_token",
        "last_seen_at": time.time() - 60,
        "noticed_at": time.time(),
    }
    store.note(f"theft|{account.url}|{APP_ID}", json.dumps(theft), 3600)
    assert "Another system" in run("accounts", code=1).stdout
    run("accounts", "ack", "default")
    assert "Another system" not in run("accounts").stdout


def test_a_timestamp_of_zero_is_signed_as_it_is(account):
    assert "timestamp  0\n" in run("sign", PAGE, "--timestamp", "0").stdout


def test_a_credential_that_failed_is_listed_with_the_code_of_its_failure():
    from wxsign.errors import WeChatUnreachable  # noqa: PLC0415 - used here alone
    from wxsign.states import CredentialState  # noqa: PLC0415 - used here alone

    error = WeChatUnreachable("timeout", "/cgi-bin/token")
    assert (
        asking._credential_line(CredentialState("jsapi", usable=False, error=error))
        == "empty (wechat_timeout)"
    )
    assert (
        asking._credential_line(CredentialState("jsapi", usable=True, expires_in_seconds=60))
        == "usable, 60 s"
    )


# Client keys.


def test_client_new_prints_a_key_once_and_the_table_that_lets_it_in(monkeypatch):
    result = run("client", "new", "billing", "--scope", "token:read", "--account", "shop")
    key, toml = result.stdout.split("\n\n", 1)
    assert len(key) >= 32
    Path("wxsign.toml").write_text(
        f'[accounts.shop]\napp_id = "{APP_ID}"\napp_secret = "{SECRET}"\n{toml}', encoding="utf-8"
    )
    (client,) = load_settings(environ={}).clients
    assert (client.name, client.key_sha256) == ("billing", (sha256_of_key(key),))
    assert (client.scopes, client.accounts) == ({"token:read"}, {"shop"})
    assert run("client", "new", "billing").stdout.partition("\n")[0] != key


def test_client_new_prints_the_paths_that_a_client_may_have_relayed():
    paths = ["--relay-path", "/cgi-bin/message/*", "--relay-path", "/cgi-bin/user/info"]
    key, toml = run("client", "new", "crm", "--scope", "relay", *paths).stdout.split("\n\n", 1)
    Path("wxsign.toml").write_text(f'[accounts.shop]\napp_id = "{APP_ID}"\napp_secret = "{SECRET}"\n{toml}')
    (client,) = load_settings(environ={}).clients
    assert (client.key_sha256, client.scopes) == ((sha256_of_key(key),), {"relay"})
    assert client.relay_paths == ("/cgi-bin/message/*", "/cgi-bin/user/info")
    for wrong in (["--scope", "relay"], paths, ["--scope", "relay", "--relay-path", "/*"]):
        assert "/cgi-bin/message/*" in run("client", "new", "crm", *wrong, code=2).stderr


def test_a_client_has_every_scope_but_admin_by_default_and_a_plain_name():
    assert 'scopes = ["token:read", "token:refresh", "ticket:read"]' in run("client", "new", "x").stdout
    assert "letters, digits" in run("client", "new", "a b", code=2).stderr


# Serving.


@pytest.mark.parametrize(
    ("arguments", "bind", "workers"),
    [
        ([], ("127.0.0.1:8000",), serving.workers),
        (["--host", "::1", "--port", "8001", "--workers", "1"], ("[::1]:8001",), 1),
        (["--bind", "unix:/run/a", "--bind", "127.0.0.1:9"], ("unix:/run/a", "127.0.0.1:9"), serving.workers),
    ],
)
def test_serve_hands_the_addresses_to_gunicorn(account, monkeypatch, arguments, bind, workers):
    called = []
    monkeypatch.setattr(launch, "run", lambda *given, **named: called.append((given, named)))
    run("serve", *arguments)
    ((given, named),) = called
    assert tuple(given[0]) == bind
    assert (named["workers"], named["threads"]) == (workers, serving.threads)
    assert named["store"].startswith("sqlite:///")


def test_serve_lets_the_workers_find_the_named_file(monkeypatch):
    Path("w.toml").write_text(
        f'[accounts.shop]\napp_id = "{APP_ID}"\napp_secret = "{SECRET}"\nallowed_hosts = ["a.example.com"]\n'
    )
    monkeypatch.setenv("WXSIGN_CONFIG", "")
    monkeypatch.setattr(launch, "run", lambda *_, **__: None)
    run("--config", "w.toml", "serve")
    assert Path("w.toml").absolute() == Path(os.environ["WXSIGN_CONFIG"])


def test_serve_says_in_a_sentence_that_its_port_is_taken(account, monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("gunicorn was started"))
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        assert f"127.0.0.1:{port}" in run("serve", "--port", str(port), code=2).stderr


# The sandbox, and `wxsign dev`.


@pytest.fixture(scope="module")
def development():
    with DevServer(Plan("127.0.0.1", 0, 0)) as server:
        yield server


def test_dev_signs_loopback_pages_on_any_port_and_its_sandbox_verifies_them(development):
    for page in (f"{development.plan.origin}/demo", "http://localhost:5173/", "http://[::1]:3000/"):
        config = ask(development.plan.port, f"/jsconfig?url={quote(page, safe='')}").json
        assert verdict(development.sandbox, config, page) == "ok"
    assert ask(development.plan.port, "/jsconfig?url=http://192.0.2.1/").status == 403


def test_dev_puts_the_bridge_of_its_sandbox_on_the_demo_page(development):
    page = ask(development.plan.port, "/demo").body.decode()
    assert f'<script src="{development.bridge_src}"></script>' in page
    assert ask(development.sandbox.port, "/sandbox/bridge.js").status == 200
    assert "<svg" not in page


def test_dev_hands_the_sandboxes_token_to_the_key_that_it_prints(development):
    headers = {"Authorization": f"Bearer {DEV_CLIENT_KEY}"}
    token = ask(development.plan.port, "/api/v1/accounts/default/access_token", headers=headers).json[
        "access_token"
    ]
    assert control(development.sandbox, "check_token", access_token=token)["alive"]


def test_dev_writes_the_path_of_a_request_and_never_its_query(development, capfd):
    ask(development.plan.port, "/healthz?code=very-private")
    said = capfd.readouterr().err
    assert "GET /healthz 200" in said
    assert "very-private" not in said


def test_dev_in_a_network_opens_to_it_and_signs_its_own_address(monkeypatch):
    with DevServer(Plan("127.0.0.1", 0, 0, lan="127.0.0.2")) as server:
        assert server.plan.bind == "0.0.0.0"
        page = f"{server.plan.origin}/demo"
        assert page.startswith("http://127.0.0.2:")
        assert ask(server.plan.port, f"/jsconfig?url={quote(page, safe='')}").status == 200
        assert "<svg" in ask(server.plan.port, "/demo").body.decode()
        assert server.bridge_src.startswith("http://127.0.0.2:")


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_dev_says_in_a_sentence_that_a_port_is_taken_and_lets_go_of_the_other(option):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        taken, free = other.getsockname()[1], free_port()
        ports = {"--port": str(free), "--sandbox-port": str(free)} | {option: str(taken)}
        text = run("dev", *(word for pair in ports.items() for word in pair), code=2).stderr
        assert f"{option}: cannot listen on 127.0.0.1:{taken}: Address already in use." in text
        assert f"Choose another port: {option} {taken + 2}." in text
        assert not accepts(free)


def test_dev_greets_with_addresses_and_in_a_network_with_a_qr_code(monkeypatch):
    monkeypatch.setattr(commands, "stop_signals", lambda: nullcontext(lambda: None))
    text = run("dev", "--port", "0").stdout
    assert "/demo" in text
    assert DEV_CLIENT_KEY in text
    assert "█" not in text
    monkeypatch.setattr(commands, "lan_address", lambda: "127.0.0.2")
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    text = run("dev", "--port", "0", "--lan").stdout
    assert "http://127.0.0.2:" in text
    assert "扫码" in text
    assert "█" in text


def test_dev_in_a_network_needs_a_network(monkeypatch):
    monkeypatch.setattr(commands, "lan_address", lambda: None)
    assert "no address in a network" in run("dev", "--lan", code=2).stderr


def test_the_address_in_the_network_is_one_of_this_machine_and_not_loopback(monkeypatch):
    address = dev.lan_address()
    assert address is None or not address.startswith("127.")

    class Unrouted(socket.socket):
        def connect(self, _):
            raise OSError("no route")

    monkeypatch.setattr(dev.socket, "socket", Unrouted)
    assert dev.lan_address() is None


def test_dev_refuses_an_address_that_is_not_this_machines():
    with pytest.raises(ConfigError):
        DevServer(Plan("192.0.2.1", 0, 0))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_dev_ends_cleanly_when_it_is_told_to(tmp_path, number):
    port, log = free_port(), tmp_path / "dev.log"
    command = [
        sys.executable,
        "-c",
        "from wxsign.cli import main; main()",
        "dev",
        "--port",
        str(port),
        "--sandbox-port",
        "0",
    ]
    with running(command, lambda: b"Ctrl-C" in log.read_bytes(), log=log) as process:
        assert ask(port, "/healthz").status == 200
        for nonsense in (
            b"GARBAGE\r\n\r\n",
            b"GET /\x1b[31mred\x1b[0m HTTP/1.1\r\nConnection: close\r\n\r\n",
        ):
            with closing(socket.create_connection(("127.0.0.1", port))) as connection:
                connection.sendall(nonsense)
                while connection.recv(4096):
                    pass
        process.send_signal(number)
        assert process.wait(10) == 0
    said = log.read_text()
    assert "Stopped." in said
    assert "GET /healthz 200" in said
    assert "Traceback" not in said
    assert "\x1b" not in said


def test_sandbox_runs_the_simulated_wechat_alone(monkeypatch):
    given = []
    monkeypatch.setattr(commands, "run_sandbox", lambda arguments: given.append(arguments) or 2)
    run("sandbox", "--port", "0", "--setting", "ticket_life_seconds=30", code=2)
    assert given == [("--port", "0", "--setting", "ticket_life_seconds=30")]


def test_dev_signs_for_hosts_that_it_is_told_of_and_says_how_to_tell_it(capfd):
    with DevServer(
        Plan("127.0.0.1", 0, 0, allowed_hosts=(HostRule.parse("tunnel.example.net:8443"),))
    ) as server:
        ask(server.plan.port, f"/jsconfig?url={quote('https://tunnel.example.net:8443/a?x=1', safe='')}")
        refused = ask(server.plan.port, f"/jsconfig?url={quote('https://other.example.net/', safe='')}")
    said = capfd.readouterr().err
    assert "signed https://tunnel.example.net:8443/a?x=1" in said
    assert "wxsign dev --allow-host other.example.net" in said
    assert refused.status == 403
    assert "--allow-host other.example.net" in refused.json["error"]["hint"]


def test_dev_takes_hosts_from_options_and_the_environment_and_names_one_that_is_none(monkeypatch):
    seen = []
    monkeypatch.setattr(commands, "stop_signals", lambda: nullcontext(lambda: None))
    monkeypatch.setattr(commands, "DevServer", lambda plan: seen.append(plan) or DevServer(plan))
    monkeypatch.setenv("WXSIGN_ALLOWED_HOSTS", "a.example.com, b.example.com:8443")
    run("dev", "--port", "0", "--allow-host", "c.example.com")
    assert [str(rule) for rule in seen[0].allowed_hosts] == [
        "c.example.com",
        "a.example.com",
        "b.example.com:8443",
    ]
    assert (
        "--allow-host: 'https://x' is no host"
        in run("dev", "--port", "0", "--allow-host", "https://x", code=2).stderr
    )


def test_dev_in_a_network_signs_its_address_on_any_port():
    with DevServer(Plan("127.0.0.1", 0, 0, lan="127.0.0.2")) as server:
        (account,) = server.service.settings.accounts
        assert account.may_sign(parse_page_url("http://127.0.0.2:5173/"))


def test_dev_says_when_the_ticket_was_replaced(capfd):
    with DevServer(Plan("127.0.0.1", 0, 0)) as server:
        page = quote(f"{server.plan.origin}/demo", safe="")
        ask(server.plan.port, f"/jsconfig?url={page}")
        server.sandbox.sandbox.rotate(sandbox.DEFAULT_APPID, "jsapi_ticket")
        server.service.refresh("default")
    assert "the ticket was replaced" in capfd.readouterr().err
