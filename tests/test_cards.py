"""Cards: their ticket, their two signatures, and the sandbox's word on them."""

import json
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from at_sandbox import KEEPER_KEY, READER_KEY, accounts, control, on_a_port, service_at, wechat
from flask import Response
from fleet import eventually
from test_demo_page import WAIT_MS, browser, official_script  # noqa: F401 - a fixture
from werkzeug.test import Client

from wxsign.accounts import LOOPBACK
from wxsign.credentials import CredentialKind
from wxsign.signing import Card, card_ext, card_sign, card_signature
from wxsign.web import create_app

BEARER = {"Authorization": f"Bearer {KEEPER_KEY}"}
PATH = "/api/v1/accounts/shop"
VECTOR = next(
    vector
    for vector in json.loads((Path(__file__).parent / "vectors/official.json").read_text(encoding="utf-8"))
    if vector["kind"] == "wx_card_cardExt"
)


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture
def service(sandbox):
    with service_at(sandbox.url) as service:
        yield service


@pytest.fixture
def client(service):
    return Client(create_app(service))


def test_the_published_example_gives_its_digest_without_the_blank_that_the_guide_has():
    assert card_signature(VECTOR["inputs"].values()) == VECTOR["expected"]
    given = VECTOR["inputs"]
    card = Card(card_id=given["card_id"], code=given["code"])
    ext = card_ext(given["api_ticket"], card, timestamp=int(given["timestamp"]), nonce_str=given["nonce_str"])
    assert json.loads(ext) == {
        "code": given["code"],
        "timestamp": given["timestamp"],
        "nonce_str": given["nonce_str"],
        "signature": VECTOR["expected"],
    }


def test_nothing_is_signed_with_an_empty_ticket():
    with pytest.raises(ValueError, match="ticket"):
        card_ext("", Card("c"), timestamp=1, nonce_str="n")
    with pytest.raises(ValueError, match="ticket"):
        card_sign("", "wx1", Card("c"), timestamp=1, nonce_str="n")


def test_the_ticket_of_cards_is_another_one_and_fetched_only_where_it_is_asked_for(sandbox):
    control(sandbox, "reset")
    with service_at(sandbox.url, accounts=accounts()[:1]) as service:
        service.jsconfig("https://m.example.com/")
        assert calls(sandbox) == 1
        answer = Client(create_app(service)).get(f"{PATH}/tickets/wx_card", headers=BEARER)
        card = service.ticket("shop", CredentialKind.CARD_TICKET).value
        assert answer.json["ticket"] == card != service.ticket("shop").value
        assert calls(sandbox) == 2


def calls(sandbox):
    with urllib.request.urlopen(f"{sandbox.url}/sandbox/state") as response:
        return json.load(response)["calls"]["getticket"]


def test_the_dialect_gives_it_by_its_type(client, service):
    token = service.access_token("shop").value
    told = client.get(f"/cgi-bin/ticket/getticket?access_token={token}&type=wx_card").json
    assert told["ticket"] == service.ticket("shop", CredentialKind.CARD_TICKET).value
    assert client.get(f"/cgi-bin/ticket/getticket?access_token={token}&type=x").json["errcode"] == 40097


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "card_required"),
        ({"card_id": ""}, 400, "card_required"),
        ({"card_id": 1}, 400, "card_id_not_text"),
        ({"card_id": "x" * 300}, 400, "card_required"),
        ([], 400, "json_not_object"),
    ],
)
def test_a_card_that_is_not_named_is_told(client, body, status, code):
    answer = client.post(f"{PATH}/cards/sign", headers=BEARER, json=body)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)


def test_a_key_that_may_not_read_tickets_signs_no_cards(client):
    headers = {"Authorization": f"Bearer {READER_KEY}"}
    assert client.post(f"{PATH}/cards/sign", headers=headers, json={"card_id": "p1"}).status_code == 403


PAGE = """<!doctype html><meta charset="utf-8"><title>cards</title>
<script src="{bridge}/sandbox/bridge.js"></script><script src="/official.js"></script><script>
  window.ask = (name, params) => new Promise((resolve) => wx[name](Object.assign(params, {{
    success: (res) => resolve(res.errMsg), fail: (res) => resolve(res.errMsg), cancel: (res) => resolve(res.errMsg),
  }})));
  window.ready = fetch('/jsconfig?account=shop&url=' + encodeURIComponent(location.href)).then((answer) => answer.json())
    .then((config) => new Promise((resolve) => {{ wx.error(resolve); wx.ready(() => resolve('ready')); wx.config(config); }}));
</script>"""


@pytest.mark.fleet
def test_wechat_s_script_adds_and_chooses_a_card_that_is_signed_here_and_no_other(sandbox, browser):  # noqa: F811 - the fixture
    shop = replace(accounts()[0], allowed_hosts=(LOOPBACK,))
    with service_at(sandbox.url, accounts=(shop,)) as service, ExitStack() as stack:
        app = create_app(service)
        policy = {"Content-Security-Policy": "default-src * 'unsafe-inline'"}
        app.add_url_rule("/app", "app", lambda: Response(PAGE.format(bridge=sandbox.url), headers=policy))
        script = official_script("1.6.0")
        app.add_url_rule("/official.js", "js", lambda: Response(script, mimetype="text/javascript"))
        url = stack.enter_context(on_a_port(app))
        signed = Client(app).post(f"{PATH}/cards/sign", headers=BEARER, json={"card_id": "pShopCard1"}).json
        context = stack.enter_context(browser.new_context())
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{url}/app")
        assert page.evaluate("window.ready") == "ready"
        add = {"cardList": [{"cardId": "pShopCard1", "cardExt": signed["card_ext"]}]}
        assert asked(page, "addCard", add) == "addCard:ok"
        assert asked(page, "chooseCard", signed["card_sign"]) == "chooseCard:ok"
        wrong = {"cardList": [{"cardId": "pAnother", "cardExt": signed["card_ext"]}]}
        assert asked(page, "addCard", wrong) == "addCard:invalid card signature"
        assert asked(page, "chooseCard", signed["card_sign"] | {"cardId": "pAnother"}) == "chooseCard:cancel"


def asked(page, name, params):
    """What the script says after the sandbox's sheet was confirmed, if one came."""
    page.evaluate(
        "([name, params]) => { window.said = ''; ask(name, params).then((errMsg) => { window.said = errMsg; }); }",
        [name, params],
    )
    confirm = page.locator(".mask button").first

    def answered():
        if confirm.is_visible():
            confirm.click()
        return page.evaluate("window.said")

    return eventually(answered)
