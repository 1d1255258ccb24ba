"""Why a signature is refused: each cause is found by its id, and nothing is called certain that is not so."""

import hashlib
import random
from pathlib import Path

import pytest

from wxsign.diagnosis import (
    CATALOG,
    Certainty,
    Known,
    KnownAccount,
    Page,
    Ticket,
    Verdict,
    cause_named,
    diagnose,
    page_in,
)
from wxsign.diagnosis.__main__ import page as troubleshooting
from wxsign.diagnosis.forms import forms_of, pairs_of
from wxsign.diagnosis.recipes import STANDARD, WRONG, Parts, other_nonces, other_units

APP, OTHER = "wx0123456789abcdef", "wx00000000000other"
TICKET, OLD, CARD, TOKEN, FOREIGN = ("HoagFKDcsGMVCIY2vOjf9" + letter * 65 for letter in "ABCDE")
URL = "https://m.example.com/a/b?id=1&from=singlemessage&q=%E7%AD%BE"
NONCE, TIMESTAMP = "Wm3WZYTPz0wzccnW", "1414587457"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) MicroMessenger/8.0.50"
ANDROID = "Mozilla/5.0 (Linux; Android 14) MicroMessenger/8.0.50"
HARMONY = "Mozilla/5.0 (Phone; OpenHarmony 5.0) ArkWeb/4.1 MicroMessenger/1.0.3.52"
REFUSED = "config:invalid signature"
KNOWN = Known(
    (KnownAccount(APP, signs=True), KnownAccount(OTHER, signs=False)),
    (
        Ticket(TICKET, APP),
        Ticket(OLD, APP, present=False),
        Ticket(CARD, APP, "wx_card"),
        Ticket(TOKEN, APP, "access_token"),
        Ticket(FOREIGN, OTHER),
    ),
)


def signed(url, ticket=TICKET, nonce=NONCE, timestamp=TIMESTAMP, recipe=STANDARD):
    return recipe.make(Parts(ticket, nonce, timestamp, url))


def page(signature="", url=URL, **more):
    return Page(
        **{"url": url, "app_id": APP, "timestamp": TIMESTAMP, "nonce": NONCE, "signature": signature} | more
    )


CAUSES = [
    ("WXS101", page(signed("https://api.example.com/sign"), signed_url="https://api.example.com/sign")),
    ("WXS101", Page(url=URL, signed_url="https://api.example.com/sign")),
    (
        "WXS102",
        page(signed(URL), landing_url="https://m.example.com/first", words=REFUSED, user_agent=IPHONE),
    ),
    ("WXS103", page(signed("https://m.example.com/a/b?id=1"))),
    ("WXS103", page(signed("https://m.example.com/a/b?id=1&from=singlemessage&q=签"))),
    ("WXS104", page(signed(URL.replace("&", "&amp;")))),
    ("WXS105", page(signed("https://m.example.com/a/b?id=1&q=%E7%AD%BE"))),
    ("WXS106", page(signed(URL.replace("https", "http")))),
    ("WXS107", page(signed(f"{URL}#/route"), url=f"{URL}#/route")),
    ("WXS108", page(signed(URL, OLD))),
    ("WXS109", page(signed(URL, "undefined"))),
    ("WXS109", page(signed(URL, ""))),
    ("WXS110", page(signed(URL), app_id="wxffffffffffffffff")),
    ("WXS110", page(signed(URL, FOREIGN))),
    ("WXS111", page(signed(URL, CARD))),
    ("WXS111", page(signed(URL, TOKEN))),
    ("WXS112", page(signed(URL, timestamp="1414587460"))),
    ("WXS112", page(signed(URL, nonce="undefined"))),
    ("WXS112", page(signed(URL), nonce="", missing=("nonceStr",))),
    *(("WXS113", page(signed(URL, recipe=recipe))) for recipe in WRONG),
    ("WXS113", page(signed(URL).upper())),
    ("WXS113", page("aGVsbG8gd29ybGQ=")),
    ("WXS114", page(signed(URL), words="config:invalid url domain")),
    ("WXS114", Page(url="http://192.168.1.7:5173/")),
    ("WXS115", page(signed(URL), timestamp=f"{TIMESTAMP}000")),
    ("WXS115", page(signed(URL, timestamp=f"{TIMESTAMP}000"))),
    ("WXS116", page(signed(URL), words="scanQRCode:the permission value is offline verifying")),
    ("WXS117", page(signed(URL), words=REFUSED, user_agent=HARMONY)),
]


@pytest.mark.parametrize(("cause", "asked"), CAUSES)
def test_each_cause_is_found_first_with_a_remedy_in_both_languages(cause, asked):
    found = diagnose(asked, KNOWN)
    assert found.findings[0].id == cause
    for language in ("en", "zh-CN"):
        told = found.as_dict(language)["findings"][0]
        assert told["message"]
        assert told["hint"]
    assert "签名" in found.as_dict("zh")["findings"][0]["message"] or cause in {
        "WXS102",
        "WXS112",
        "WXS113",
        "WXS114",
        "WXS115",
        "WXS110",
        "WXS117",
    }


def test_all_seventeen_are_among_them():
    assert {cause for cause, _ in CAUSES} == set(CATALOG)


@pytest.mark.parametrize(
    "url", [URL, "https://m.example.com/", "http://www.example.com:8080/x/index.html?a=b+c#/d"]
)
@pytest.mark.parametrize("agent", ["", IPHONE, ANDROID, HARMONY])
def test_a_right_signature_gets_no_certain_finding(url, agent):
    found = diagnose(page(signed(url.partition("#")[0]), url, user_agent=agent, words=REFUSED), KNOWN)
    assert found.verdict is Verdict.RIGHT
    assert [finding.id for finding in found.findings if finding.certainty is Certainty.CERTAIN] == []


def test_the_signature_of_the_landing_url_is_right_too():
    found = diagnose(
        page(signed("https://m.example.com/first"), landing_url="https://m.example.com/first"), KNOWN
    )
    assert found.verdict is Verdict.RIGHT


def test_without_any_ticket_nothing_is_certain_of_a_signature_of_the_usual_shape():
    found = diagnose(page("a" * 40), Known((KnownAccount(APP, signs=True),)))
    assert found.verdict is Verdict.UNKNOWN
    assert {finding.certainty for finding in found.findings} == {Certainty.POSSIBLE}


# two mistakes at once, and mere chance


def one_mistake(rng):
    """Something to do to the parts of a signature, and the id of the mistake."""
    kind = rng.choice(["url", "ticket", "time", "recipe", "nonce"])
    if kind == "url":
        form = rng.choice(list(forms_of(f"{URL}#/x").values()))
        return form.cause, {"url": form.url}
    if kind == "ticket":
        choices = [
            ("WXS108", OLD),
            ("WXS111", CARD),
            ("WXS111", TOKEN),
            ("WXS109", "None"),
            ("WXS110", FOREIGN),
        ]
        cause, ticket = rng.choice(choices)
        return cause, {"ticket": ticket}
    if kind == "time":
        return "WXS115", {"timestamp": next(other_units(TIMESTAMP))}
    if kind == "nonce":
        return "WXS112", {"nonce": rng.choice(list(other_nonces(NONCE)))}
    return "WXS113", {"recipe": rng.choice(WRONG)}


def test_two_mistakes_at_once_are_both_named():
    rng, named, tried = random.Random(1), 0, 0
    while tried < 200:
        (first, change), (second, other) = one_mistake(rng), one_mistake(rng)
        if change.keys() & other.keys():
            if "url" not in change:
                continue
            pair = rng.choice(list(pairs_of(f"{URL}#/x")))
            (first, second), change, other = (form.cause for form in pair), {"url": pair[1].url}, {}
        asked = page(signed(**{"url": URL} | change | other), url=f"{URL}#/x")
        found = {f.id for f in diagnose(asked, KNOWN).findings if f.certainty is Certainty.CERTAIN}
        named += {first, second} <= found
        tried += 1
    assert named >= 0.95 * tried


def random_page(rng):
    """A page of which anything may be so, and the ids of the mistakes that were made on purpose."""
    url = rng.choice(
        [URL, f"{URL}#/x", "https://m.example.com/", "https://m.example.com/x?from=timeline&code=1"]
    )
    base = url.partition("#")[0]
    more = {
        "words": rng.choice(["", REFUSED, "config:fail"]),
        "user_agent": rng.choice(["", IPHONE, ANDROID, HARMONY]),
        "landing_url": rng.choice(["", base, "https://m.example.com/first"]),
        "signed_url": rng.choice(["", base, "https://api.example.com/sign"]),
    }
    made = rng.random()
    if made < 0.4:
        return page(signed(base), url, **more), set()
    if made < 0.7:
        return page(hashlib.sha1(rng.randbytes(8)).hexdigest(), url, **more), set()
    cause, change = one_mistake(rng)
    if "url" in change:
        form = rng.choice(list(forms_of(url).values()))
        cause, change = form.cause, {"url": form.url}
    return page(signed(**{"url": base} | change), url, **more), {cause}


@pytest.mark.days
def test_in_two_thousand_random_inputs_no_certain_finding_is_wrong():
    rng = random.Random(2)
    for _ in range(2000):
        asked, made = random_page(rng)
        found = diagnose(asked, KNOWN)
        certain = {finding.id for finding in found.findings if finding.certainty is Certainty.CERTAIN}
        # The signature of the landing URL is a right one, whatever it was made for.
        assert certain <= made, asked


def test_no_ticket_is_shown_not_even_in_part():
    for _, asked in CAUSES:
        told = str(diagnose(asked, KNOWN).as_dict()) + repr(KNOWN) + repr(asked)
        for ticket in (TICKET, OLD, CARD, TOKEN, FOREIGN):
            assert ticket[-8:] not in told
            assert ticket[:12] not in told


# what is pasted


def test_a_pasted_block_an_address_and_wechats_words_are_read_in_any_mixture():
    text = f"""
    wx.config({{ debug: true, appId: '{APP}', timestamp: {TIMESTAMP}, nonceStr: "{NONCE}",
      signature: '{signed(URL)}', jsApiList: ['scanQRCode'] }})
    {{"errMsg":"config:invalid signature","realAuthUrl":"https://m.example.com/real"}}
    {URL}
    """
    asked = page_in(text)
    assert (asked.app_id, asked.timestamp, asked.nonce) == (APP, TIMESTAMP, NONCE)
    assert asked.signature == signed(URL)
    assert asked.url == URL
    assert asked.signed_url == "https://m.example.com/real"
    assert asked.words == "config:invalid signature"
    assert asked.missing == ()


@pytest.mark.parametrize(
    "told", ['"https://m.example.com/a#x"', '["https://m.example.com/a#x", "https://m.example.com/b"]']
)
def test_the_address_that_wechat_itself_names_may_be_a_text_or_a_list(told):
    asked = page_in(f'{{"errMsg": "config:invalid signature", "realAuthUrl": {told}}}')
    assert asked.signed_url == "https://m.example.com/a#x"


def test_a_field_that_wx_config_lacks_is_named():
    asked = page_in(
        f"wx.config({{appId: '{APP}', timestamp: {TIMESTAMP}, noncestr: undefined, signature: 'x'}})"
    )
    assert asked.missing == ("nonceStr",)


@pytest.mark.parametrize(
    "text", ["", "hello", "x" * 100_000, "nonceStr:" * 5000, "http://" * 3000, "config:" * 4000]
)
def test_whatever_is_pasted_is_read_at_once(text):
    assert diagnose(page_in(text), KNOWN).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("name", ["WXS103", "wxs103", "103"])
def test_a_cause_is_found_by_its_id_however_it_is_written(name):
    assert cause_named(name).id == "WXS103"
    assert cause_named("40164") is None


@pytest.mark.parametrize(
    ("language", "name"), [("en", "troubleshooting.md"), ("zh", "troubleshooting.zh-CN.md")]
)
def test_the_page_of_troubleshooting_is_the_catalog_and_every_id_is_an_anchor_of_it(language, name):
    text = (Path(__file__).parents[1] / "docs" / name).read_text(encoding="utf-8")
    assert text == troubleshooting(language)
    for cause in CATALOG.values():
        assert f"\n## {cause.id}\n" in text
        assert cause.docs(language) == f"docs/{name}#{cause.id.lower()}"
