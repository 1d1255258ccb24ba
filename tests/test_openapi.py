"""The description of the API against the API: both ways by its routes, and by a tool that tries what is described."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema_rs
import pytest
import schemathesis
from at_sandbox import APP_IDS, KEEPER_KEY, service_at, wechat
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.test import Client

from wxsign.accounts import SCOPES, ApiClient, sha256_of_key
from wxsign.diagnosis.findings import CONFIG_FIELDS
from wxsign.http.cards import SIGN_CARD
from wxsign.http.description import description
from wxsign.http.protected import API_PREFIX, OPERATIONS
from wxsign.http.relay import RELAY_METHODS
from wxsign.web import create_app

PLACES = {
    "<path:account>": "{NAME}",
    "<path:path>": "{PATH}",
    "<sdk>": "{SDK}",
    "<path:name>/<action>": "{NAME}/{ACTION}",
    "<path:name>": "{FILE}",
}
EXAMPLES = 100 if os.environ.get("LONG_TESTS") else 4
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ADMIN_KEY = "a" * 39 + "Z-9_dmin"


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture(scope="module")
def service(sandbox):
    admin = ApiClient("admin", (sha256_of_key(ADMIN_KEY),), frozenset(SCOPES), relay_paths=("/cgi-bin/*",))
    keeper = ApiClient("keeper", (sha256_of_key(KEEPER_KEY),))
    with service_at(sandbox.url, clients=(admin, keeper)) as service:
        yield service


@pytest.fixture(scope="module")
def app(service):
    return create_app(service)


def routes(app):
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for ours, theirs in PLACES.items():
            path = path.replace(ours, theirs)
        yield path, (rule.methods or set()) - {"HEAD", "OPTIONS"}


def test_every_route_is_described_and_every_description_is_a_route(app):
    assert {path for path, _ in routes(app)} == set(description()["paths"])


def test_the_methods_described_are_those_that_are_taken(app):
    taken = {API_PREFIX + row.path: row.methods for row in (*OPERATIONS, SIGN_CARD)}
    taken = {path.replace("<path:account>", "{NAME}"): methods for path, methods in taken.items()}
    taken |= {"/jsconfig": ("GET", "POST"), "/agentconfig": ("GET", "POST")}
    taken |= {f"{API_PREFIX}/accounts/{{NAME}}/relay/{{PATH}}": RELAY_METHODS}
    described = {path: {method.upper() for method in row} for path, row in description()["paths"].items()}
    for path, methods in taken.items():
        assert described[path] == set(methods) - {"HEAD"}, path
    found: dict[str, set[str]] = {}
    for path, methods in routes(app):
        found.setdefault(path, set()).update(methods)
    for path, methods in described.items():
        assert methods <= found[path], path


def test_it_is_served_for_programs_and_for_people_in_both_languages(app):
    client = Client(app)
    served = client.get("/openapi.yaml")
    assert served.content_type == "application/yaml"
    assert json.loads(served.data) == json.loads(json.dumps(description()))
    for language, word in (("en", "Report a dead token"), ("zh-CN", "上报失效的 token")):
        page = client.get("/docs/api", headers={"Accept-Language": language})
        assert page.status_code == 200
        assert word in page.text
        assert "<script" not in page.text
    anchors = set(re.findall(r'href="#(\w+)"', client.get("/docs/api").text))
    assert anchors <= set(re.findall(r'id="(\w+)"', client.get("/docs/api").text))


def test_what_the_settings_leave_out_is_not_described(sandbox):
    with service_at(sandbox.url, dialect=False, pages=False) as service:
        app = create_app(service)
        paths = json.loads(Client(app).get("/openapi.yaml").data)["paths"]
        assert set(paths) == {path for path, _ in routes(app)}


def test_every_scope_is_named():
    text = json.dumps(description())
    assert all(f"scope: {scope}" in text for scope in SCOPES)


# What a program of the owner's sends, and what it is told by the schema that stands there.
KEY = {"Authorization": f"Bearer {KEEPER_KEY}"}
PAGE = "https%3A%2F%2Fm.example.com%2Fa%3Fb%3D1"
APP_ID = APP_IDS["shop"]
CALLS = [
    ("GET", "/jsconfig", f"/jsconfig?url={PAGE}&landing_url={PAGE}x", None),
    ("POST", "/jsconfig", "/jsconfig", {"url": "https://m.example.com/#x"}),
    ("POST", "/diagnose", "/diagnose", {"text": "config:invalid url domain"}),
    ("POST", "/report", "/report", {"url": "https://m.example.com/"}),
    ("GET", f"{API_PREFIX}/accounts", f"{API_PREFIX}/accounts", None),
    ("GET", f"{API_PREFIX}/accounts/{{NAME}}/access_token", f"{API_PREFIX}/accounts/shop/access_token", None),
    (
        "GET",
        f"{API_PREFIX}/accounts/{{NAME}}/tickets/jsapi",
        f"{API_PREFIX}/accounts/shop/tickets/jsapi",
        None,
    ),
    (
        "GET",
        f"{API_PREFIX}/accounts/{{NAME}}/tickets/wx_card",
        f"{API_PREFIX}/accounts/shop/tickets/wx_card",
        None,
    ),
    (
        "POST",
        f"{API_PREFIX}/accounts/{{NAME}}/cards/sign",
        f"{API_PREFIX}/accounts/shop/cards/sign",
        {"card_id": "p1"},
    ),
    (
        "GET",
        "/cgi-bin/token",
        f"/cgi-bin/token?grant_type=client_credential&appid={APP_ID}&secret={KEEPER_KEY}",
        None,
    ),
    ("GET", "/readyz", "/readyz", None),
    ("GET", "/healthz", "/healthz", None),
]


@pytest.mark.parametrize(("method", "path", "sent", "body"), CALLS, ids=[f"{m} {p}" for m, p, *_ in CALLS])
def test_a_good_answer_has_the_shape_that_is_described(app, method, path, sent, body):
    answer = Client(app).open(sent, method=method, headers=KEY, json=body)
    assert answer.status_code == 200, answer.text
    assert_described(path, method, answer)


def assert_described(path, method, answer):
    whole = description()
    schema = whole["paths"][path][method.lower()]["responses"]["200"]["content"]["application/json"]["schema"]
    problem = {**schema, "components": whole["components"]}
    jsonschema_rs.validator_for(problem).validate(answer.json)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("/jsconfig", 400),
        (f"/jsconfig?url={PAGE}&account=x", 404),
        (f"{API_PREFIX}/accounts/x/access_token", 404),
    ],
)
def test_an_error_has_the_shape_that_is_described(app, sent, status):
    answer = Client(app).get(sent, headers=KEY)
    assert answer.status_code == status
    whole = description()
    problem = {**whole["components"]["schemas"]["Error"], "components": whole["components"]}
    jsonschema_rs.validator_for(problem).validate(answer.json)


ROOT = Path(__file__).parents[1]
# WeChat's own paths answer in WeChat's shape, which has no links.
IN_JSON = {
    path: tuple(row["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"])
    for path, row in description()["paths"].items()
    if "cgi-bin" not in path
    and "application/json" in row.get("post", {}).get("requestBody", {}).get("content", {})
}
FIELDS = [(path, {name: ["a list"]}) for path, names in IN_JSON.items() for name in names]
FIELDS += [("/diagnose", {"config": {name: ["a list"]}}) for name in CONFIG_FIELDS]


@pytest.mark.parametrize(
    ("path", "body"), FIELDS, ids=[f"{path} {json.dumps(body)}" for path, body in FIELDS]
)
def test_a_field_of_another_type_is_refused_with_a_link_that_leads_somewhere_in_both_languages(
    service, path, body
):
    page = {} if path == "/diagnose" else {"url": "https://m.example.com/"}
    # An application of its own: /diagnose answers ten at once.
    client = Client(create_app(service))
    answer = client.post(path.replace("{NAME}", "shop"), json={**page, **body}, headers=KEY)
    assert answer.status_code == 400, answer.text
    file, _, anchor = answer.json["error"]["docs"].partition("#")
    assert anchor == answer.json["error"]["code"]
    for twin in (file, file.replace(".md", ".zh-CN.md")):
        assert f'<a id="{anchor}"></a>`{anchor}`' in (ROOT / twin).read_text("utf-8"), twin


LABELS = [(path, method) for path, row in description()["paths"].items() for method in row]


@pytest.fixture(scope="module")
def tool(app):
    return schemathesis.openapi.from_wsgi("/openapi.yaml", app)


@pytest.mark.parametrize(("path", "method"), LABELS, ids=[f"{method} {path}" for path, method in LABELS])
def test_whatever_is_sent_there_is_no_server_error_and_no_answer_outside_the_description(tool, path, method):
    operation = tool[path][method]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def tried(case):
        case.call_and_validate(headers={"Authorization": f"Bearer {ADMIN_KEY}"}, checks=CHECKS)

    tried()
