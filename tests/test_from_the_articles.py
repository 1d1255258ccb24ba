"""docs/from-the-articles.md, a test a row: what people build by hand is one feature each."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from at_sandbox import APP_IDS, KEEPER_KEY, SECRET, accounts, control, service_at, verdict, wechat
from click.testing import CliRunner
from redis_servers import redis_server
from running import wait_until
from werkzeug.test import Client

from wxsign.accounts import AccountKind, Agent, FileSink
from wxsign.cli import main
from wxsign.credentials import Credential, CredentialKind, TokenEndpoint
from wxsign.stores import open_store
from wxsign.web import create_app

PAGE = "https://m.example.com/"
BEARER = {"Authorization": f"Bearer {KEEPER_KEY}"}


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(sandbox):
    control(sandbox, "reset")


@pytest.mark.parametrize("errcode", [40001, 40014, 42001])
def test_a_token_that_wechat_refuses_is_renewed_once_and_the_fetch_of_the_ticket_started_over(
    sandbox, errcode
):
    control(sandbox, "faults", endpoint="getticket", kind="errcode", errcode=errcode)
    with service_at(sandbox.url, accounts=accounts()[:1]) as service:
        assert verdict(sandbox, service.jsconfig(PAGE).as_dict(), PAGE) == "ok"


def typed(sandbox, *arguments, secret=SECRET):
    env = {"WXSIGN_API_BASE": sandbox.url, "LC_ALL": "C.UTF-8"}
    return CliRunner().invoke(main, ["token", *arguments, "--secret-file", "-"], input=secret, env=env)


def test_an_appid_and_a_secret_that_are_typed_show_wechat_s_own_answer(sandbox):
    done = typed(sandbox, "--app-id", APP_IDS["shop"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["expires_in"] == 7200
    refused = typed(sandbox, "--app-id", APP_IDS["shop"], secret="a-wrong-secret-of-thirty-two-c")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["errcode"] == 40125
    assert "AppSecret" in refused.stderr
    assert "a-wrong-secret" not in refused.output


@pytest.mark.parametrize(
    ("app_id", "secret", "option"), [("", SECRET, "--app-id"), ("wx1", "", "--secret-file")]
)
def test_a_tip_is_given_where_one_of_them_is_empty(sandbox, app_id, secret, option):
    done = typed(sandbox, "--app-id", app_id, secret=secret)
    assert done.exit_code == 2
    assert option in done.stderr


def test_accounts_of_every_kind_are_kept_in_one_database(sandbox, tmp_path):
    """A service account, a test account that asks classically, a Mini Program, and an app of a corporation."""
    shop, news, bare = accounts()
    owner = f"{APP_IDS['shop']}/1000002"
    corp = replace(
        shop,
        name="corp/crm",
        kind=AccountKind.WECOM,
        agent=Agent(1000002),
        token_endpoint=TokenEndpoint.WECOM,
    )
    kinds = (
        shop,
        replace(news, token_endpoint=TokenEndpoint.CLASSIC),
        replace(bare, kind=AccountKind.MINIPROGRAM),
    )
    store = f"sqlite:///{tmp_path}/tokens.db"
    from wxsign import sandbox as wechats  # noqa: PLC0415

    with (
        wechats.serve(settings=wechats.SandboxSettings(accounts={owner: SECRET})) as wecom,
        service_at(sandbox.url, wecom_api_base=wecom.url, accounts=(*kinds, corp), store=store) as service,
    ):
        tokens = {account.name: service.access_token(account.name).value for account in service.registry}
        assert len(set(tokens.values())) == 4
    # Whoever starts next reads them there, and asks nobody.
    with service_at("http://127.0.0.1:9", accounts=kinds, store=store, refresh=False) as service:
        keys = {account.name: replace_base(service, account, sandbox.url) for account in kinds}
        held = open_store(store).view([key.name for key in keys.values()], ()).records
        assert {name: held[key.name].value for name, key in keys.items()} == {
            name: tokens[name] for name in keys
        }


def replace_base(service, account, base):
    return account.credential_key(CredentialKind.ACCESS_TOKEN, base)


def test_the_file_of_the_php_sample_is_kept_with_a_time_that_lies_ahead(sandbox, tmp_path):
    path = tmp_path / "access_token.php"
    sink = FileSink("php", CredentialKind.ACCESS_TOKEN, str(path), "php-sample", "access_token")
    shop = replace(accounts()[0], sinks=(sink,))
    with service_at(sandbox.url, accounts=(shop,)) as service:
        token = service.access_token("shop").value
        wait_until(path.exists)
        kept = json.loads(path.read_text().removeprefix("<?php exit();?>"))
        assert kept["access_token"] == token
        assert kept["expire_time"] > service.access_token("shop").expires_at - 10


def test_whether_a_token_lives_is_asked_without_spending_a_business_call(sandbox):
    with service_at(sandbox.url, accounts=accounts()[:1]) as service:
        client = Client(create_app(service))
        path = "/api/v1/accounts/shop/access_token?verify=1"
        alive = client.get(path, headers=BEARER).json
        assert alive["verified"] is True
        service.jsconfig(PAGE)
        control(sandbox, "kill", appid=APP_IDS["shop"], credential="stable_token")
        # A verdict answers reports for a second; this one is of a new process.
        dead = alive["access_token"]
    with service_at(sandbox.url, accounts=accounts()[:1]) as service:
        found = Client(create_app(service)).get(path, headers=BEARER).json
        assert found["verified"] is True
        assert found["access_token"] != dead


def test_a_token_comes_with_the_seconds_that_are_left_and_every_errcode_with_what_to_do(sandbox):
    with service_at(sandbox.url, accounts=accounts()[:1]) as service:
        service.access_token("shop")
        told = Client(create_app(service)).get("/api/v1/accounts/shop/access_token", headers=BEARER).json
        assert isinstance(told["access_token"], str)
        assert 0 < told["expires_in"] <= 7200
    for errcode in ("-1", "40001", "40002", "40164"):
        done = CliRunner().invoke(main, ["explain", errcode])
        assert done.exit_code == 0
        assert len(done.output.splitlines()) >= 2


@pytest.mark.parametrize("characters", [512, 2048])
@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_a_token_of_any_length_is_kept_whole(tmp_path, kind, characters):
    value = "x" * characters
    with redis_server() as server:
        urls = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/w.db", "redis": server.url}
        store = open_store(urls[kind])
        now = store.now()
        lease = store.acquire("k", "me", 5.0, 0)
        token = Credential(value, lease.number, 7200, now, now + 7200, now + 7200)
        assert store.replace("k", token, lease)
        assert store.view(["k"], ()).records["k"].value == value


def test_the_page_has_a_row_for_each():
    text = (Path(__file__).parent.parent / "docs/from-the-articles.md").read_text(encoding="utf-8")
    assert sum(line.startswith("| A ") for line in text.splitlines()) == 6
