"""A refused signature is told by its cause: what people do wrong, built for real."""

from __future__ import annotations

import hashlib
import re

import pytest

from wxsign.sandbox.causes import Asked, Known, cause_of

PAGE = "https://m.example.com/a?b=1&from=singlemessage&c=签".replace("签", "%E7%AD%BE")
TICKET, NONCE, STAMP = (
    "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl",
    "Wm3WZYTPz0wzccnW",
    "1414587457",
)
OURS = Known(TICKET, "wx1")
TICKETS = [
    OURS,
    Known("old", "wx1", stale=True),
    Known("card", "wx1", "wx_card"),
    Known("theirs", "wx2", foreign=True),
]


def sha1(ticket=TICKET, url=PAGE, stamp=STAMP, key="noncestr"):
    return hashlib.sha1(
        f"jsapi_ticket={ticket}&{key}={NONCE}&timestamp={stamp}&url={url}".encode()
    ).hexdigest()


def cause(signature, url=PAGE, **more):
    return cause_of(Asked(STAMP, NONCE, signature, url, **more), TICKETS)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (sha1(url="https://m.example.com/a"), "query_cut"),
        (sha1(url="https://m.example.com/a?b=1"), "cut_at_ampersand"),
        (sha1(url="https://m.example.com/a?b=1&c=%E7%AD%BE"), "parameters_stripped"),
        (sha1(url="https://m.example.com/a?b=1&from=singlemessage&c=签"), "decoded"),
        (
            sha1(url="https%3A%2F%2Fm.example.com%2Fa%3Fb%3D1%26from%3Dsinglemessage%26c%3D%25E7%25AD%25BE"),
            "encoded_again",
        ),
        (sha1(url=PAGE.replace("&", "&amp;")), "html_entity"),
        (sha1(url=PAGE.replace("https", "http")), "other_scheme"),
        (sha1(url=PAGE.replace("m.example", "www.m.example")), "other_host"),
        (sha1(url="https://m.example.com"), "slash"),
        (sha1(key="nonceStr"), "camel_case"),
        (sha1(stamp=STAMP + "000"), "milliseconds"),
        (sha1().upper(), "upper_case"),
        (sha1("old"), "stale"),
        (sha1("card"), "wx_card"),
        (sha1("theirs"), "other_account"),
        (sha1("theirs", url="https://m.example.com/a"), "query_cut+other_account"),
        ("0" * 40, "unknown"),
    ],
)
def test_each_mistake_is_named(signature, expected):
    found = cause(signature)
    assert found.id == expected
    assert found.en.endswith(".")
    assert re.search("[一-鿿]", found.zh)
    assert "https://m.example.com" in found.en
    assert not re.search(r"check.*timestamp.*nonce", found.en, re.IGNORECASE)


def test_a_fragment_that_was_left_and_a_port_that_was_lost_are_named():
    assert cause(sha1(url=PAGE + "#top"), PAGE + "#top").id == "fragment"
    assert cause(sha1(url="http://m.example.com/a"), "http://m.example.com:8000/a").id == "port"


def test_landing_and_present_url_are_told_apart_by_the_rule_in_force():
    later = "https://m.example.com/later"
    found = cause(sha1(url=later), other_url=later, rule="landing")
    assert found.id == "landing_url"
    assert found.signed_url == later
    assert later in found.en
    assert PAGE in found.en
    assert "iPhone" in found.en
    assert cause(sha1(url=later), other_url=later, rule="current").id == "current_url"


def test_no_ticket_stands_in_what_is_told():
    for signature in (sha1(), sha1("old"), sha1("theirs"), "0" * 40):
        found = cause(signature)
        assert not any(
            known.value in found.en + found.zh + found.signed_url for known in TICKETS if len(known.value) > 6
        )
