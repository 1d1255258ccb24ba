"""The settings: what is read from where, what is refused, and that every problem is told at once."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from wxsign import wechat
from wxsign.accounts import DEFAULT_SCOPES, sha256_of_key
from wxsign.credentials import TokenEndpoint
from wxsign.errors import ConfigError
from wxsign.logs import JsonFormatter, redact
from wxsign.settings import Settings, addresses, load_settings, table
from wxsign.signing import JS_API_LIST, parse_page_url

ROOT = Path(__file__).parent.parent
APP_ID = "wx0123456789abcdef"
SECRET = "0" * 32
KEY = "kG7pX2vQ9sLw4ZrT8bNf1YhJ6mDc3RaE"
ONE = {"WXSIGN_APPID": APP_ID, "WXSIGN_SECRET": SECRET, "WXSIGN_ALLOWED_HOSTS": "m.example.com"}
ACCOUNT = (
    f'[accounts.shop]\napp_id = "{APP_ID}"\napp_secret = "{SECRET}"\nallowed_hosts = ["m.example.com"]\n'
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(environ=None, toml=None) -> Settings:
    environ = dict(environ or {})
    if toml is not None:
        Path("wxsign.toml").write_text(toml, encoding="utf-8")
    return load_settings(environ=environ)


def problems(environ=None, toml=None) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(environ, toml)
    return {problem.key: f"{problem.message.en} {problem.hint.en}" for problem in caught.value.problems}


def test_one_account_comes_from_the_environment_alone():
    settings = load(ONE)
    (account,) = settings.accounts
    assert (account.name, account.app_id, account.app_secret) == ("default", APP_ID, SECRET)
    assert account.may_sign(parse_page_url("https://m.example.com/"))
    assert account.token_endpoint is TokenEndpoint.STABLE
    assert account.js_api_list == JS_API_LIST
    assert settings.clients == ()
    assert (settings.trusted_proxies, settings.pages, settings.public_url) == (0, True, None)


def test_the_default_api_base_is_the_one_of_the_wechat_client():
    assert load(ONE).api_base == table.DEFAULT_API_BASE == wechat.DEFAULT_API_BASE


def test_every_variable_of_the_table_is_read():
    settings = load(
        ONE
        | {
            "WXSIGN_STORE": "memory:",
            "WXSIGN_PUBLIC_URL": "https://wx.example.com/wx/",
            "WXSIGN_TRUSTED_PROXIES": "2",
            "WXSIGN_PAGES": "false",
            "WXSIGN_API_BASE": "http://127.0.0.1:8001/",
            "WXSIGN_TOKEN_ENDPOINT": "classic",
            "WXSIGN_CLIENT_KEY": KEY,
        }
    )
    assert settings.store == "memory:"
    assert settings.public_url == "https://wx.example.com/wx"
    assert (settings.trusted_proxies, settings.pages) == (2, False)
    assert settings.api_base == "http://127.0.0.1:8001"
    assert settings.accounts[0].token_endpoint is TokenEndpoint.CLASSIC
    (client,) = settings.clients
    assert (client.name, client.key_sha256) == ("default", (sha256_of_key(KEY),))
    assert client.scopes == DEFAULT_SCOPES == {"token:read", "token:refresh", "ticket:read"}
    assert client.accounts is None


def test_many_accounts_and_clients_come_from_the_file():
    settings = load(
        toml=ACCOUNT
        + f"""
[service]
store = "sqlite:///data/wx.db"
trusted_proxies = 1
pages = false

[accounts.news]
kind = "official"
app_id = "wx0123456789abcde0"
app_secret = "1111"
token_endpoint = "classic"
js_api_list = ["scanQRCode"]
open_tag_list = []
warm = true

[clients.billing]
key_sha256 = ["{"a" * 64}", "{"b" * 64}"]
scopes = ["token:read"]
accounts = ["shop"]
allow_from = ["10.0.0.0/8", "192.0.2.7"]

[clients.crm]
key_sha256 = ["{"c" * 64}"]
scopes = ["token:read", "relay"]
relay_paths = ["/cgi-bin/user/info", "/cgi-bin/message/*"]
"""
    )
    shop, news = settings.accounts
    assert (shop.name, news.name) == ("shop", "news")
    assert (news.js_api_list, news.open_tag_list, news.warm) == (("scanQRCode",), (), True)
    billing, crm = settings.clients
    assert crm.may_relay("/cgi-bin/message/custom/send")
    assert not crm.may_relay("/cgi-bin/user/get")
    assert not billing.may_relay("/cgi-bin/user/info")
    assert billing.key_sha256 == ("a" * 64, "b" * 64)
    assert billing.may_use("shop")
    assert not billing.may_use("news")
    assert billing.allow_from == (ip_network("10.0.0.0/8"), ip_network("192.0.2.7"))
    assert settings.config_path == Path("wxsign.toml").absolute()


def test_the_environment_beats_the_file_setting_by_setting():
    toml = ACCOUNT.replace("shop", "default") + '[service]\nstore = "memory:"\ntrusted_proxies = 3\n'
    settings = load({"WXSIGN_ALLOWED_HOSTS": "a.example.com", "WXSIGN_TRUSTED_PROXIES": "1"}, toml)
    (account,) = settings.accounts
    assert account.app_id == APP_ID
    assert not account.may_sign(parse_page_url("https://m.example.com/"))
    assert (settings.store, settings.trusted_proxies) == ("memory:", 1)


def test_a_secret_of_the_environment_beats_one_of_the_file_however_each_is_given():
    Path("secret").write_text("from-file\n", encoding="utf-8")
    toml = ACCOUNT.replace("shop", "default")
    assert load({"WXSIGN_SECRET_FILE": "secret"}, toml).accounts[0].app_secret == "from-file"


def test_variables_of_the_default_account_do_not_touch_the_others():
    settings = load(ONE | {"WXSIGN_ALLOWED_HOSTS": "a.example.com"}, ACCOUNT.replace("cdef", "cde0"))
    hosts = {account.name: [str(rule) for rule in account.allowed_hosts] for account in settings.accounts}
    assert hosts == {"default": ["a.example.com"], "shop": ["m.example.com"]}


def test_an_empty_variable_counts_as_not_set():
    assert load(ONE | {"WXSIGN_STORE": "", "WXSIGN_CLIENT_KEY": " ", "WXSIGN_CONFIG": ""}).clients == ()


@pytest.mark.parametrize("how", ["value", "env", "file"])
def test_a_secret_comes_by_value_from_a_variable_or_from_a_file(how):
    Path("shop.secret").write_bytes(f"{SECRET}\r\n".encode())
    line = {
        "value": f'app_secret = "{SECRET}"',
        "env": 'app_secret_env = "WXSIGN_SHOP"',
        "file": 'app_secret_file = "shop.secret"',
    }[how]
    settings = load({"WXSIGN_SHOP": SECRET}, ACCOUNT.replace(f'app_secret = "{SECRET}"', line))
    assert settings.accounts[0].app_secret == SECRET
    assert settings.warnings == () or how != "env"


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"WXSIGN_SECRET": SECRET, "WXSIGN_SECRET_FILE": "secret"}, "WXSIGN_SECRET"),
        ({"WXSIGN_SECRET_FILE": "absent"}, "WXSIGN_SECRET_FILE"),
        ({"WXSIGN_SECRET_FILE": "empty"}, "WXSIGN_SECRET_FILE"),
        ({"WXSIGN_SECRET_FILE": "binary"}, "WXSIGN_SECRET_FILE"),
        ({"WXSIGN_SECRET": "two words"}, "WXSIGN_SECRET"),
        ({}, "WXSIGN_SECRET"),
    ],
)
def test_a_secret_that_cannot_be_had_is_one_problem_with_its_source(environ, key):
    Path("secret").write_text(SECRET, encoding="utf-8")
    Path("empty").write_text("\n", encoding="utf-8")
    Path("binary").write_bytes(b"\xff\xfe\x00")
    given = {"WXSIGN_APPID": APP_ID, "WXSIGN_ALLOWED_HOSTS": "m.example.com"} | environ
    assert list(problems(given)) == [key]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('app_secret = "x"\napp_secret_env = "Y"', "accounts.shop.app_secret"),
        ('app_secret_env = "NOT_SET"', "accounts.shop.app_secret_env"),
        ('app_secret_file = "absent"', "accounts.shop.app_secret_file"),
        ("app_secret = 5", "accounts.shop.app_secret"),
        ('app_secret = ""', "accounts.shop.app_secret"),
    ],
)
def test_two_sources_or_an_unusable_one_in_the_file_are_a_problem(line, key):
    assert list(problems(toml=ACCOUNT.replace(f'app_secret = "{SECRET}"', line))) == [key]


def test_relative_paths_start_at_the_folder_of_the_configuration_file(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "s").write_text(SECRET, encoding="utf-8")
    (folder / "wx.toml").write_text(
        ACCOUNT.replace(f'app_secret = "{SECRET}"', 'app_secret_file = "s"'), encoding="utf-8"
    )
    settings = load({"WXSIGN_CONFIG": "etc/wx.toml"})
    assert settings.accounts[0].app_secret == SECRET
    assert settings.store == f"sqlite:///{folder}/var/wxsign.db"


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("sqlite:///a.db", "sqlite:///{cwd}/a.db"),
        ("sqlite:////var/lib/wxsign/a.db", "sqlite:////var/lib/wxsign/a.db"),
        ("memory:", "memory:"),
        ("memory://", "memory:"),
        ("redis://:hunter2hunter2@h/0", "redis://:hunter2hunter2@h/0"),
        ("rediss://h?ssl_ca_certs=tls/ca.pem", "rediss://h?ssl_ca_certs={cwd}/tls/ca.pem"),
    ],
)
def test_a_store_url_is_made_absolute(store, expected, tmp_path):
    assert load(ONE | {"WXSIGN_STORE": store}).store == expected.format(cwd=tmp_path)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis://:hunter2-0123@h/0", "redis://***@h/0"),
        ("unix://user:hunter2-0123@/run/r.sock?db=1", "unix://***@/run/r.sock?db=1"),
        ("unix:///run/r@b.sock", "unix:///run/r@b.sock"),
        ("valkeys://:hunter2%2D0123@h:1", "valkeys://***@h:1"),
        (
            "redis+sentinel://h/s?sentinel%5Fpassword=hunter2-0123&prefix=a",
            "redis+sentinel://h/s?sentinel_password=***&prefix=a",
        ),
        ("redis+cluster://:hunter2-0123@a:1,b:2?prefix=x", "redis+cluster://***@a:1,b:2?prefix=x"),
    ],
)
def test_the_password_of_a_store_is_never_shown_and_masked_in_the_log(given, shown, monkeypatch):
    monkeypatch.setattr("wxsign.logs._protected", ())
    settings = load(ONE | {"WXSIGN_STORE": given})
    assert addresses.shown_store_url(settings.store) == shown
    assert "hunter2" not in repr(settings)
    assert (redact("it is hunter2-0123.") == "it is ***.") == ("hunter2" in given)


def test_without_the_redis_extra_the_start_stops_and_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError) as refused:
        load(ONE | {"WXSIGN_STORE": "redis://:hunter2-0123@h/0"})
    (problem,) = refused.value.problems
    assert problem.key == "WXSIGN_STORE"
    assert "pip install 'wxsign[redis]'" in problem.hint.en
    assert "pip install 'wxsign[redis]'" in problem.hint.zh
    assert "hunter2" not in str(refused.value)
    assert load(ONE | {"WXSIGN_STORE": "memory:"}).store == "memory:", "nobody else needs it"


VALUE_PROBLEMS = [
    ("WXSIGN_STORE", "sqlite://a.db", "SQLite"),
    ("WXSIGN_STORE", "sqlite:///", "SQLite"),
    ("WXSIGN_STORE", "postgres://u:hunter2hunter2@h/d", "store URL"),
    ("WXSIGN_STORE", "redis://:hunter2hunter2@h:0/0", "no usable host and port"),
    ("WXSIGN_STORE", "redis+sentinel://:hunter2hunter2@h", "Sentinel service"),
    ("WXSIGN_API_BASE", "http://api.example.com", "https"),
    ("WXSIGN_API_BASE", "ftp://127.0.0.1", "http(s)"),
    ("WXSIGN_API_BASE", "https://user:pw@api.example.com", "http(s)"),
    ("WXSIGN_API_BASE", "https://api.example.com/?a=1", "http(s)"),
    ("WXSIGN_API_BASE", "http://127.0.0.1.example.com", "https"),
    ("WXSIGN_API_BASE", "http://127.0.0.1:99999", "http(s)"),
    ("WXSIGN_PUBLIC_URL", "wx.example.com", "http(s)"),
    ("WXSIGN_PUBLIC_URL", "https://wx.example.com/#a", "http(s)"),
    ("WXSIGN_TRUSTED_PROXIES", "one", "whole number"),
    ("WXSIGN_TRUSTED_PROXIES", "-1", "whole number"),
    ("WXSIGN_TRUSTED_PROXIES", "11", "0 to 10"),
    ("WXSIGN_TRUSTED_PROXY_ADDRESSES", "nginx", "not an address or network"),
    ("WXSIGN_TRUSTED_PROXY_ADDRESSES", "10.0.0.0/8", "no proxy is believed"),
    ("WXSIGN_TRUSTED_PROXIES", "²", "whole number"),
    ("WXSIGN_PAGES", "maybe", "true or false"),
    ("WXSIGN_TOKEN_ENDPOINT", "stabel", "`stable` or `classic`"),
    ("WXSIGN_ALLOWED_HOSTS", "https://m.example.com/", "without scheme"),
    ("WXSIGN_ALLOWED_HOSTS", "m.example.com:0", "port"),
    ("WXSIGN_ALLOWED_HOSTS", "*", "not a host"),
    ("WXSIGN_APPID", "gh_0123456789ab", "original ID"),
    ("WXSIGN_APPID", "wx 01", "not an AppID"),
    ("WXSIGN_CLIENT_KEY", "short", "at least 32"),
    ("WXSIGN_CLIENT_KEY", "with blank " * 4, "visible ASCII"),
    ("WXSIGN_CONFIG", "absent.toml", "no file"),
]


@pytest.mark.parametrize(("variable", "value", "words"), VALUE_PROBLEMS)
def test_an_unusable_value_is_told_with_its_variable_and_the_remedy(variable, value, words):
    found = problems(ONE | {variable: value})
    assert list(found) == [variable]
    assert words in found[variable]
    assert "hunter2" not in str(found)


RELAYING = f'[clients.c]\nkey = "{KEY}"\nscopes = ["relay"]\n'
FILE_PROBLEMS = [
    ("[servce]\n", "servce", "Did you mean `service`?"),
    ("[zzz]\n", "zzz", "Known: include, [service]"),
    ('service = "x"\n', "service", "Write [service]."),
    ("[service]\nstroe = 1\n", "service.stroe", "Did you mean `store`?"),
    ("[service]\nzzzzzz = 1\n", "service.zzzzzz", "Known keys here: store"),
    ('[service]\nserver = "uvicorn"\n', "service.server", "must be `granian` or `gunicorn`"),
    ("[service]\nworkers = 0\n", "service.workers", "must be 1 to 64"),
    ("[service]\nthreads = 65\n", "service.threads", "must be 1 to 64"),
    ("[service]\nstore = 1\n", "service.store", "must be a text"),
    ("[service]\ntrusted_proxies = true\n", "service.trusted_proxies", "whole number"),
    ('[service]\ntrusted_proxies = "1"\n', "service.trusted_proxies", "whole number"),
    ('[service]\npages = "true"\n', "service.pages", "without quotes"),
    ("[accounts]\nx = 1\n", "accounts.x", "Write [accounts.x]."),
    ('[accounts."a/b"]\n', "accounts.a/b", "not a usable name"),
    ("[clients.c]\n", "clients.c.key_sha256", "no key"),
    (f'[clients.c]\nkey_sha256 = ["{"A" * 64}"]\n', "clients.c.key_sha256", "lower-case hex"),
    (f'[clients.c]\nkey_sha256 = "{"a" * 64}"\n', "clients.c.key_sha256", "list of texts"),
    (f'[clients.c]\nkey = "{KEY}"\nscopes = ["token:raed"]\n', "clients.c.scopes", "Did you mean `token:read`?"),
    (f'[clients.c]\nkey = "{KEY}"\nscopes = ["token:*"]\n', "clients.c.scopes", "is not known"),
    (f'[clients.c]\nkey = "{KEY}"\naccounts = ["sohp"]\n', "clients.c.accounts", "Did you mean `shop`?"),
    (f'[clients.c]\nkey = "{KEY}"\nallow_from = ["10.0.0.1/8"]\n', "clients.c.allow_from", "network"),
    (RELAYING + 'relay_paths = ["/cgi-bin/../x"]\n', "clients.c.relay_paths", "not a path that can be relayed"),
    (RELAYING + 'relay_paths = ["https://api.weixin.qq.com/cgi-bin/x"]\n', "clients.c.relay_paths", "no host"),
    (RELAYING + 'relay_paths = ["/cgi-bin/clear_quota"]\n', "clients.c.relay_paths", "never relayed"),
    (RELAYING, "clients.c.relay_paths", "opens nothing while no path is listed"),
    (f'[clients.c]\nkey = "{KEY}"\nrelay_paths = ["/cgi-bin/user/info"]\n', "clients.c.scopes", "Add `relay`"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "key", "words"), FILE_PROBLEMS)
def test_an_unusable_file_entry_is_told_with_its_key_and_the_remedy(toml, key, words):
    found = problems(toml=ACCOUNT + toml if not toml.startswith("service") else toml + ACCOUNT)
    assert words in found[key]


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ('kind = "wecom"', "accounts.shop.app_id", "no such setting"),
        ('corp_id = "ww1"', "accounts.shop.corp_id", "WeCom alone"),
        ('kind = "x"', "accounts.shop.kind", "not a kind"),
        ("warm = 1", "accounts.shop.warm", "true or false"),
        ('js_api_list = ["scan qr"]', "accounts.shop.js_api_list", "not a name"),
        ("js_api_list = [1]", "accounts.shop.js_api_list", "list of texts"),
        ('app_secert = "x"', "accounts.shop.app_secert", "Did you mean `app_secret`?"),
    ],
)
def test_an_unusable_key_of_an_account_is_told(line, key, words):
    assert words in problems(toml=f"{ACCOUNT}{line}\n")[key]


def test_all_problems_are_told_at_once_numbered_and_in_both_languages():
    environ = {
        "WXSIGN_APPID": "gh_1",
        "WXSIGN_STORE": "x",
        "WXSIGN_TRUSTED_PROXIES": "x",
        "WXSIGN_ALLOWED_HOSTS": "*",
    }
    with pytest.raises(ConfigError) as caught:
        load(environ, "[service]\nstroe = 1\n")
    assert [problem.key for problem in caught.value.problems] == [
        "service.stroe", "WXSIGN_APPID", "WXSIGN_SECRET", "WXSIGN_ALLOWED_HOSTS", "WXSIGN_STORE", "WXSIGN_TRUSTED_PROXIES",
    ]  # fmt: skip
    english, chinese = str(caught.value), caught.value.in_language("zh")
    assert english.startswith("6 problems in the configuration.\n1. ")
    assert "6. WXSIGN_TRUSTED_PROXIES: must be a whole number." in english
    assert "必须是整数" in chinese
    assert all(problem.hint.zh and problem.message.zh for problem in caught.value.problems)


def test_no_account_at_all_points_to_the_sandbox():
    assert "wxsign dev" in problems()["WXSIGN_APPID"]


def test_no_allowed_host_and_no_client_is_a_problem_but_a_client_alone_is_not():
    bare = {name: value for name, value in ONE.items() if name != "WXSIGN_ALLOWED_HOSTS"}
    assert list(problems(bare)) == ["WXSIGN_ALLOWED_HOSTS"]
    assert load(bare | {"WXSIGN_CLIENT_KEY": KEY}).accounts[0].allowed_hosts == ()


def test_nothing_may_be_configured_twice():
    second = ACCOUNT.replace("shop", "news")
    assert "configured 2 times" in problems(toml=ACCOUNT + second)["app_id"]
    clients = "".join(f'[clients.{name}]\nkey = "{KEY}"\n' for name in "ab")
    found = problems(toml=ACCOUNT + clients)["clients"]
    assert "configured 2 times" in found
    assert KEY not in found
    named = ACCOUNT.replace("shop", APP_ID).replace(f'"{APP_ID}"', '"wx0123456789abcde0"')
    assert "name of another account" in problems(toml=ACCOUNT + named)["accounts.shop.app_id"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[service\n", "not valid TOML"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_cannot_be_read_as_toml_is_told(content, words):
    Path("wxsign.toml").write_bytes(content)
    assert words in problems(ONE)[str(Path("wxsign.toml").absolute())]


def test_a_file_with_a_byte_order_mark_is_read():
    Path("wxsign.toml").write_text(ACCOUNT, encoding="utf-8-sig")
    assert load_settings(environ={}).accounts[0].name == "shop"


def test_an_unknown_variable_is_a_warning_that_suggests_the_nearest_name(caplog):
    with caplog.at_level(logging.WARNING):
        settings = load(ONE | {"WXSIGN_STROE": "x", "WXSIGN_ZZZZZZZZ": "x"})
    hints = {warning.key: warning.hint.en for warning in settings.warnings}
    assert hints == {
        "WXSIGN_STROE": "Did you mean `WXSIGN_STORE`?",
        "WXSIGN_ZZZZZZZZ": "See docs/configuration.md.",
    }
    assert [json.loads(JsonFormatter().format(record))["key"] for record in caplog.records] == list(hints)


@pytest.mark.parametrize(
    "name",
    [
        "WXSIGN_PORT", "WXSIGN_SERVICE_HOST", "WXSIGN_SERVICE_PORT", "WXSIGN_SERVICE_PORT_HTTP", "WXSIGN_PORT_8000_TCP",
        "WXSIGN_PORT_8000_TCP_PROTO", "WXSIGN_REDIS_SERVICE_HOST", "WXSIGN_REDIS_PORT_6379_TCP_ADDR",
    ],
)  # fmt: skip
def test_what_kubernetes_injects_is_passed_over(name):
    assert load(ONE | {name: "tcp://10.0.0.1:8000"}).warnings == ()
    assert not any(row.env == name for row in table.SETTINGS)


def test_no_secret_stands_in_a_repr_and_keys_are_kept_as_hashes_only():
    settings = load(ONE | {"WXSIGN_SECRET": "5" * 32, "WXSIGN_CLIENT_KEY": KEY})
    assert "5" * 32 not in repr(settings)
    assert KEY not in repr(settings)
    assert sha256_of_key(KEY) not in repr(settings)


def test_secrets_are_masked_in_logs_from_the_moment_they_are_read():
    load(ONE | {"WXSIGN_SECRET": "7" * 32})
    assert "7" * 32 not in redact("somebody printed " + "7" * 32)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_a_client_calls_from_its_networks_only(address, allowed):
    toml = f'{ACCOUNT}[clients.c]\nkey = "{KEY}"\nallow_from = ["10.0.0.0/8"]\n'
    assert load(toml=toml).clients[0].may_call_from(address) is allowed


def test_a_client_without_networks_calls_from_anywhere():
    assert load(ONE | {"WXSIGN_CLIENT_KEY": KEY}).clients[0].may_call_from("")


def test_a_key_of_the_environment_replaces_those_of_the_file():
    toml = f'{ACCOUNT}[clients.default]\nkey_sha256 = ["{"a" * 64}"]\n'
    assert load(ONE | {"WXSIGN_APPID": "wx0123456789abcde0", "WXSIGN_CLIENT_KEY": KEY}, toml).clients[
        0
    ].key_sha256 == (sha256_of_key(KEY),)


def test_the_configuration_page_is_the_one_printed_from_the_table():
    printed = subprocess.run(
        [sys.executable, "-m", "wxsign.settings"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == printed
    assert all(name in printed for row in table.SETTINGS for name in (*row.variables, *row.keys))


def test_the_example_file_is_a_configuration_that_loads():
    text = (ROOT / "wxsign.example.toml").read_text(encoding="utf-8")
    for name in ("shop.secret", "news.secret", "crm.secret", "partner.key"):
        Path(name).write_text(SECRET, encoding="utf-8")
    settings = load(toml=text)
    assert len(settings.accounts) > 1
    assert settings.clients


def test_the_example_environment_names_known_variables_only():
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    names = {line.lstrip("# ").partition("=")[0] for line in lines if "=" in line}
    assert names <= table.known_variables()
    assert {"WXSIGN_APPID", "WXSIGN_SECRET_FILE", "WXSIGN_ALLOWED_HOSTS"} <= names


def test_an_empty_list_of_addresses_and_a_key_of_equal_letters_are_refused(tmp_path):
    file = tmp_path / "w.toml"
    for line, said in (("allow_from = []", "allow_from"), ('key = "' + "a" * 40 + '"', "different")):
        key = "" if line.startswith("key") else f'key_sha256 = ["{"0" * 64}"]\n'
        file.write_text(
            '[accounts.a]\napp_id = "wx0123456789abcdef"\napp_secret = "0123456789abcdef0123456789abcdef"\n'
            f"[clients.c]\n{key}{line}\n"
        )
        with pytest.raises(ConfigError) as refused:
            load_settings(file, {})
        assert said in str(refused.value)
        assert "a" * 40 not in str(refused.value)


@pytest.mark.parametrize(
    ("section", "key"),
    [("accounts.shop", "app_secret"), ("service", "store"), ("alerts", "webhook"), ("clients.a", "key")],
)
@pytest.mark.parametrize("suffix", ["_file", "_env"])
@pytest.mark.parametrize(
    "secret",
    [
        "0123456789abcdef0123456789abcdef",
        "Xk3vQ9_sLw4ZrT8bNf1YhJ6m-Dc3RaE0",
        "redis://:hunter2hunter2@host/0",
    ],
)
def test_a_secret_that_stands_where_its_file_or_variable_belongs_is_not_repeated(
    section, key, suffix, secret
):
    with pytest.raises(ConfigError) as refused:
        load(
            {},
            f'{ACCOUNT}\n[{section}]\n{key}{suffix} = "{secret}"\n'
            if section != "accounts.shop"
            else f'[accounts.shop]\napp_id = "wx0123456789abcdef"\nallowed_hosts = ["a.example.com"]\n{key}{suffix} = "{secret}"\n',
        )
    assert secret not in str(refused.value)
    assert f"{section}.{key}{suffix}" in str(refused.value)


def test_the_store_s_address_may_stand_in_a_file_like_every_secret(tmp_path):
    (tmp_path / "store").write_text("redis://:hunter2@127.0.0.1:6379/0\n")
    settings = load({"WXSIGN_STORE_FILE": str(tmp_path / "store")}, ACCOUNT)
    assert settings.store == "redis://:hunter2@127.0.0.1:6379/0"
