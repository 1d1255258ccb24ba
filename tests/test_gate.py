"""Keys at the gate: which one was used is written down, and who tries many is told to wait without anybody else waiting."""

import pytest
from at_sandbox import KEEPER_KEY, clients, service_at, wechat
from click.testing import CliRunner
from werkzeug.test import Client

from wxsign.accounts import key_id, sha256_of_key
from wxsign.cli import main
from wxsign.http.gate import ATTEMPTS, WINDOW_SECONDS, Gate
from wxsign.web import create_app

PATH = "/api/v1/accounts/shop/access_token"
RIGHT = {"Authorization": f"Bearer {KEEPER_KEY}"}
WRONG = {"Authorization": "Bearer a-wrong-key-that-somebody-tries"}


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture
def client(sandbox):
    with service_at(sandbox.url) as service:
        yield Client(create_app(service))


def lines(caplog, name):
    return [record.fields for record in caplog.records if record.getMessage() == name]


def test_the_audit_line_names_the_key_by_the_first_digits_of_its_hash(client, caplog):
    caplog.set_level("INFO", logger="wxsign.api")
    client.get(PATH, headers=RIGHT)
    client.get(f"/cgi-bin/token?grant_type=client_credential&appid=wx0000000000000000&secret={KEEPER_KEY}")
    assert {line["key"] for line in lines(caplog, "wxsign.api")} == {key_id(sha256_of_key(KEEPER_KEY))}


@pytest.mark.parametrize("headers", [WRONG, {}], ids=["a wrong key", "no key"])
def test_an_address_that_sends_many_is_told_to_wait_and_the_log_says_it_once(client, caplog, headers):
    caplog.set_level("INFO", logger="wxsign.api")
    answers = [client.get(PATH, headers=headers) for _ in range(ATTEMPTS + 20)]
    assert [answer.status_code for answer in answers] == [401] * ATTEMPTS + [429] * 20
    assert answers[-1].json["error"]["code"] == "too_many_attempts"
    assert int(answers[-1].headers["Retry-After"]) == 60
    denied = lines(caplog, "wxsign.denied")
    assert len(denied) == ATTEMPTS + 1
    assert denied[-1]["reason"] == "too many attempts"


def test_a_right_key_from_that_address_passes_and_another_address_is_nobody_s_victim(client):
    for _ in range(ATTEMPTS + 5):
        client.get(PATH, headers=WRONG)
    assert client.get(PATH, headers=RIGHT).status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get(PATH, headers=WRONG, environ_base=elsewhere).status_code == 401


def test_the_dialect_keeps_its_shape_and_its_log_is_bounded_as_well(client, caplog):
    query = "grant_type=client_credential&appid=wx0000000000000000&secret=wrong"
    answers = [client.get(f"/cgi-bin/token?{query}") for _ in range(ATTEMPTS + 20)]
    assert {answer.json["errcode"] for answer in answers} == {40125}
    assert len(lines(caplog, "wxsign.denied")) == ATTEMPTS + 1


def test_the_command_lists_clients_with_the_ids_of_their_keys(tmp_path):
    first, second = (sha256_of_key(letter * 40) for letter in "ab")
    file = tmp_path / "wxsign.toml"
    file.write_text(
        '[accounts.shop]\napp_id = "wx0123456789abcdef"\napp_secret = "0123456789abcdef0123456789abcdef"\n'
        f'[clients.billing]\nkey_sha256 = ["{first}", "{second}"]\nscopes = ["relay"]\n'
        'accounts = ["shop"]\nallow_from = ["10.0.0.0/8"]\nrelay_paths = ["/cgi-bin/message/*"]\n'
    )
    result = CliRunner().invoke(main, ["--config", str(file), "clients"])
    assert result.exit_code == 0
    for word in (
        "billing",
        key_id(first),
        key_id(second),
        "relay",
        "shop",
        "10.0.0.0/8",
        "/cgi-bin/message/*",
    ):
        assert word in result.output
    assert first not in result.output


def test_ids_of_the_keys_of_a_service_differ():
    ids = [key_id(digest) for known in clients() for digest in known.key_sha256]
    assert len(set(ids)) == len(ids)


def test_the_minute_of_an_address_ends_though_it_goes_on_failing():
    now = [0.0]
    gate = Gate([], timer=lambda: now[0])
    counts = []
    for _ in range(3 * ATTEMPTS):
        counts.append(gate.failed("203.0.113.9"))
        now[0] += WINDOW_SECONDS * 0.9
    assert max(counts) == 2
