"""The files by which WeChat checks whose a domain is: those of one folder, by their strict names, and nothing else."""

import pytest
from at_sandbox import service_at
from werkzeug.test import Client

from wxsign.errors import ConfigError
from wxsign.settings import load_settings
from wxsign.web import create_app

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def folder(tmp_path):
    here = tmp_path / "mp"
    here.mkdir()
    (here / "MP_verify_aB3dE5gH7jK9mN1p.txt").write_text("aB3dE5gH7jK9mN1p")
    (here / "secret.txt").write_text("a secret")
    (tmp_path / "MP_verify_above.txt").write_text("a secret")
    return here


@pytest.fixture
def client(folder):
    with service_at(NOBODY, verify_folder=folder) as service:
        yield Client(create_app(service))


def test_a_file_is_served_at_the_root_and_one_that_is_added_too(client, folder):
    answer = client.get("/MP_verify_aB3dE5gH7jK9mN1p.txt")
    assert (answer.status_code, answer.text) == (200, "aB3dE5gH7jK9mN1p")
    assert answer.content_type.startswith("text/plain")
    assert client.get("/MP_verify_later.txt").status_code == 404
    (folder / "MP_verify_later.txt").write_text("later")
    assert client.get("/MP_verify_later.txt").text == "later"


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/MP_verify_../secret.txt",
        "/MP_verify_..%2fabove.txt",
        "/MP_verify_.txt",
        "/MP_verify_a b.txt",
        "/x/MP_verify_later.txt",
    ],
)
def test_nothing_else_is(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_without_a_folder_there_is_no_such_path(folder):
    with service_at(NOBODY) as service:
        assert Client(create_app(service)).get("/MP_verify_aB3dE5gH7jK9mN1p.txt").status_code == 404


def test_a_folder_that_is_not_there_is_told_at_the_start(tmp_path):
    file = tmp_path / "wxsign.toml"
    file.write_text(
        '[service]\nverify_folder = "nowhere"\n[accounts.a]\napp_id = "wx0123456789abcdef"\n'
        'app_secret = "0123456789abcdef0123456789abcdef"\nallowed_hosts = ["m.example.com"]\n'
    )
    with pytest.raises(ConfigError, match="not a folder"):
        load_settings(file, environ={})
    (tmp_path / "nowhere").mkdir()
    assert load_settings(file, environ={}).verify_folder == tmp_path / "nowhere"
