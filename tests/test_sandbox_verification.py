"""The sandbox's verdict on signatures, as tests and as pages hear it."""

import json

import pytest
from sandbox_desk import NONCE, STAMP, URL, Desk, signed

from wxsign.sandbox import DEFAULT_APPID, sandbox_of


@pytest.fixture
def desk():
    return Desk()


def verdict(answer):
    return answer["ok"], answer["err_msg"], answer["matched"]


GOOD = (True, "ok", "current")


def test_the_published_vector_verifies(desk, monkeypatch):
    published = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
    line = sandbox_of(desk.app)._accounts[DEFAULT_APPID].tickets["jsapi"]
    monkeypatch.setattr(line, "_make_value", lambda: published)
    desk.ticket()
    answer = desk.verify("any", signature="0f9de62fce790f9a083d5c99e95740ceb90c27ed")
    assert verdict(answer) == GOOD


def test_the_fragment_of_a_page_takes_no_part(desk):
    ticket = desk.ticket()
    assert verdict(desk.verify(ticket, url=URL + "#/route")) == GOOD
    signed_with_it = desk.verify(ticket, signed_url=URL + "#/route", url=URL + "#/route")
    assert verdict(signed_with_it) == (False, "invalid signature", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": STAMP + 1},
        {"nonceStr": "other"},
        {"url": URL + "/"},
        {"url": "\ud800"},
        {"signature": "0" * 40},
        {"signature": "é"},
    ],
)
def test_one_wrong_part_makes_the_signature_invalid(desk, changes):
    assert verdict(desk.verify(desk.ticket(), **changes)) == (False, "invalid signature", None)


def test_an_upper_case_signature_is_invalid(desk):
    ticket = desk.ticket()
    upper = signed(ticket)["signature"].upper()
    assert not desk.verify(ticket, signature=upper)["ok"]


@pytest.mark.parametrize("name", ["timestamp", "nonceStr", "signature", "appId", "url"])
def test_a_missing_part_fails_the_config(desk, name):
    assert desk.verify(desk.ticket(), **{name: None})["err_msg"] == "fail"


def test_a_foreign_appid_is_invalid(desk):
    assert desk.verify(desk.ticket(), appId="wx0123456789abcdef")["err_msg"] == "invalid appid"


@pytest.mark.parametrize(
    ("url", "ok"),
    [
        ("https://example.com/a", True),
        ("https://m.EXAMPLE.com:8443/a", True),
        ("https://badexample.com/", False),
        ("https://example.com.evil.test/", False),
        ("https://[bad/", False),
    ],
)
def test_a_bound_domain_covers_its_subdomains_only(url, ok):
    desk = Desk(verify_domains=("example.com",))
    expected = "ok" if ok else "invalid url domain"
    assert desk.verify(desk.ticket(), url, url=url)["err_msg"] == expected


def test_a_ticket_verifies_to_the_end_of_its_true_life(desk):
    ticket = desk.ticket()
    desk.now += 7199
    assert verdict(desk.verify(ticket)) == GOOD
    desk.now += 1
    assert verdict(desk.verify(ticket)) == (False, "invalid signature", "expired")


def test_a_rotated_ticket_is_invalid_at_once(desk):
    old = desk.ticket()
    desk.rotate("jsapi_ticket")
    assert verdict(desk.verify(old)) == (False, "invalid signature", "previous")
    desk.rotate("jsapi_ticket")
    assert verdict(desk.verify(old)) == (False, "invalid signature", "expired")
    assert verdict(desk.verify(desk.ticket())) == GOOD


def test_an_overlap_keeps_the_old_ticket_good_that_long():
    desk = Desk(ticket_overlap_seconds=30)
    old = desk.ticket()
    desk.rotate("jsapi_ticket")
    desk.now += 29
    assert verdict(desk.verify(old)) == (True, "ok", "previous")
    desk.now += 1
    assert verdict(desk.verify(old)) == (False, "invalid signature", "previous")


def test_an_overlap_counts_from_the_true_end_even_without_a_successor():
    desk = Desk(ticket_overlap_seconds=30)
    ticket = desk.ticket()
    desk.now += 7229
    assert verdict(desk.verify(ticket)) == (True, "ok", "previous")
    desk.now += 1
    assert verdict(desk.verify(ticket)) == (False, "invalid signature", "expired")


def test_many_signatures_are_judged_each_at_its_own_moment(desk):
    ticket = desk.ticket()
    desk.now += 10
    desk.rotate("jsapi_ticket")
    moments = [desk.now - 5, desk.now + 1]
    entries = [signed(ticket) | {"at": at} for at in moments] + [signed("other") | {"at": moments[0]}]
    verdicts = desk.post("verify_many", signatures=entries).json["verdicts"]
    assert [verdict(answer) for answer in verdicts] == [
        GOOD,
        (False, "invalid signature", "previous"),
        (False, "invalid signature", None),
    ]


@pytest.mark.parametrize("signatures", [None, ["text"], [{"at": "now"}]])
def test_signatures_without_a_moment_are_refused_as_a_whole(desk, signatures):
    assert desk.post("verify_many", signatures=signatures).status_code == 400


def test_a_ticket_on_expiry_is_replaced_without_anybody_asking():
    desk = Desk(ticket_issue="on_expiry")
    ticket = desk.ticket()
    desk.now += 7200
    assert verdict(desk.verify(ticket)) == (False, "invalid signature", "previous")


def test_a_killed_ticket_has_no_overlap():
    desk = Desk(ticket_overlap_seconds=30)
    ticket = desk.ticket()
    desk.kill("jsapi_ticket")
    assert verdict(desk.verify(ticket)) == (False, "invalid signature", "expired")
    assert desk.ticket() != ticket


def test_the_card_ticket_is_recognised_as_the_wrong_one(desk):
    card = desk.ticket("wx_card")
    answer = desk.verify(card)
    assert verdict(answer) == (False, "invalid signature", None)
    assert "wx_card" in answer["detail"]["en"]


def page_fields(ticket):
    fields = signed(ticket)
    return {
        "appId": fields["appId"],
        "verifyTimestamp": str(STAMP),
        "verifyNonceStr": NONCE,
        "verifySignature": fields["signature"],
        "verifyJsApiList": ["scanQRCode"],
        "url": URL,
    }


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
def test_the_bridge_hears_what_wechats_client_would_say(desk, content_type):
    fields = page_fields(desk.ticket())

    def ask(**changes):
        body = json.dumps(fields | changes)
        return desk.client.post("/sandbox/bridge/verify", data=body, content_type=content_type)

    assert ask().json["err_msg"] == "preVerifyJSAPI:ok"
    assert ask().headers["Access-Control-Allow-Origin"] == "*"
    assert ask(url=URL + "/").json["err_msg"] == "preVerifyJSAPI:fail_invalid signature"
    assert ask(verifySignature=None).json["err_msg"] == "preVerifyJSAPI:fail"
    desk.post("settings", verify_domains=["example.com"])
    assert ask().json["err_msg"] == "preVerifyJSAPI:fail_invalid url domain"
    assert desk.state()["calls"]["bridge_verify"] == 5


def test_the_bridge_answers_nonsense_without_breaking(desk):
    response = desk.client.post("/sandbox/bridge/verify", data=b"[" * 40_000)
    assert response.json["err_msg"] == "preVerifyJSAPI:fail"


def test_a_page_of_any_origin_may_use_the_bridge(desk):
    preflight = desk.client.options("/sandbox/bridge/verify", headers={"Origin": "https://m.example.com"})
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert preflight.headers["Access-Control-Allow-Private-Network"] == "true"
    script = desk.client.get("/sandbox/bridge.js")
    assert script.status_code == 200
    assert script.mimetype == "text/javascript"
    assert script.headers["Cache-Control"] == "no-store"
    assert script.headers["Access-Control-Allow-Origin"] == "*"


def test_a_card_s_signature_of_any_characters_gets_a_verdict(desk):
    desk.ticket("wx_card")
    given = {"appId": DEFAULT_APPID, "values": ["1"], "signature": "签名"}
    told = desk.client.post("/sandbox/bridge/card", json=given)
    assert (told.status_code, told.json["ok"]) == (200, False)
