"""One configuration in several files, and what all accounts have in common said once."""

import pytest

from wxsign.credentials import TokenEndpoint
from wxsign.errors import ConfigError
from wxsign.settings import load_settings
from wxsign.settings.snapshot import Snapshot

SECRET = "0123456789abcdef0123456789abcdef"


def account(name, number, more=""):
    return f"""[accounts.{name}]
app_id = "wx00000000000000{number:02}"
app_secret_file = "{name}.secret"
allowed_hosts = ["{name}.example.com"]
{more}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "accounts.d").mkdir()
    for name in ("shop", "news", "one", "two"):
        for place in (tmp_path, tmp_path / "accounts.d"):
            (place / f"{name}.secret").write_text(f"{place.name[:1]}{name}{SECRET}")
    (tmp_path / "accounts.d/10-one.toml").write_text(account("one", 1))
    (tmp_path / "accounts.d/20-two.toml").write_text(account("two", 2))
    return tmp_path


def settings_of(folder, text):
    (folder / "wxsign.toml").write_text(text)
    return load_settings(folder / "wxsign.toml", environ={})


def problems_of(folder, text):
    with pytest.raises(ConfigError) as told:
        settings_of(folder, text)
    assert told.value.in_language("zh")
    return {problem.key: problem.message.en for problem in told.value.problems}


def test_accounts_of_included_files_stand_beside_those_of_the_main_file(folder):
    settings = settings_of(folder, f'include = ["accounts.d/*.toml"]\n{account("shop", 9)}')
    assert [each.name for each in settings.accounts] == ["shop", "one", "two"]
    # A secret file is looked for beside the file that names it.
    assert settings.accounts[1].app_secret == f"aone{SECRET}"
    assert settings.accounts[0].app_secret != f"ashop{SECRET}"


def test_a_client_may_be_included_and_name_accounts_of_other_files(folder):
    (folder / "accounts.d/clients.toml").write_text(
        '[clients.billing]\nkey = "0123456789abcdefghijklmnopqrstuvwxyz"\naccounts = ["one", "shop"]\n'
    )
    settings = settings_of(folder, f'include = ["accounts.d/*.toml"]\n{account("shop", 9)}')
    assert settings.clients[0].accounts == {"one", "shop"}


def test_a_file_that_two_patterns_match_counts_once(folder):
    settings = settings_of(folder, f'include = ["accounts.d/*.toml", "{folder}/accounts.d/10-one.toml"]\n')
    assert [each.name for each in settings.accounts] == ["one", "two"]


def test_a_name_that_stands_twice_is_an_error_that_names_both_files(folder):
    (folder / "accounts.d/30-again.toml").write_text(account("one", 3))
    said = problems_of(folder, 'include = ["accounts.d/*.toml"]\n')["accounts.one"]
    assert "10-one.toml" in said
    assert "30-again.toml" in said
    said = problems_of(folder, f'include = ["accounts.d/10-one.toml"]\n{account("one", 4)}')["accounts.one"]
    assert "wxsign.toml" in said


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('include = "a.toml"\n', "include", "list of texts"),
        ("include = [1]\n", "include", "list of texts"),
        ('include = ["nothing.toml"]\n', "include", "there is no file"),
    ],
)
def test_what_is_wrong_with_the_list_is_told(folder, text, key, words):
    assert words in problems_of(folder, text + account("shop", 9))[key]


def test_a_pattern_may_match_nothing_yet(folder):
    assert settings_of(folder, f'include = ["later.d/*.toml"]\n{account("shop", 9)}').accounts


@pytest.mark.parametrize("text", ["[service]\nrefresh = false\n", 'include = ["x"]\n', "accounts = 1\n"])
def test_an_included_file_has_accounts_and_clients_alone(folder, text):
    (folder / "accounts.d/30.toml").write_text(text)
    told = problems_of(folder, 'include = ["accounts.d/*.toml"]\n')
    assert any("30.toml" in key and "does not belong" in words for key, words in told.items())


def test_a_broken_included_file_is_named(folder):
    (folder / "accounts.d/30.toml").write_text("[accounts.x")
    assert any(
        "30.toml" in key and "TOML" in words
        for key, words in problems_of(folder, 'include = ["accounts.d/*.toml"]\n').items()
    )


def test_the_last_good_configuration_is_that_of_all_files(folder, monkeypatch, caplog):
    (folder / "wxsign.toml").write_text('include = ["accounts.d/*.toml"]\n')
    monkeypatch.setenv("WXSIGN_CONFIG", str(folder / "wxsign.toml"))
    snapshot = Snapshot()
    snapshot.read()
    good = snapshot.settings
    (folder / "accounts.d/20-two.toml").write_text("[accounts.tw")
    snapshot.read_again()
    assert snapshot.rejected
    assert snapshot.settings is good
    assert [each.name for each in good.accounts] == ["one", "two"]
    (told,) = caplog.records
    assert "20-two.toml" in told.fields["problems"]


def test_defaults_are_those_of_every_account_that_does_not_say_otherwise(folder):
    settings = settings_of(
        folder,
        'include = ["accounts.d/*.toml"]\n'
        '[defaults]\ntoken_endpoint = "classic"\njs_api_list = ["scanQRCode"]\nwarm = true\n'
        + account("shop", 9, 'token_endpoint = "stable"\nwarm = false'),
    )
    shop, one, _two = settings.accounts
    assert (shop.token_endpoint, shop.js_api_list, shop.warm) == (
        TokenEndpoint.STABLE,
        ("scanQRCode",),
        False,
    )
    assert (one.token_endpoint, one.js_api_list, one.warm) == (TokenEndpoint.CLASSIC, ("scanQRCode",), True)


@pytest.mark.parametrize(
    ("line", "key"),
    [('token_endpoint = "x"', "token_endpoint"), ("warm = 1", "warm"), ('app_id = "wx1"', "app_id")],
)
def test_what_is_wrong_with_the_defaults_is_told_once(folder, line, key):
    told = problems_of(folder, f'include = ["accounts.d/*.toml"]\n[defaults]\n{line}\n')
    assert told.keys() == {f"defaults.{key}"}
