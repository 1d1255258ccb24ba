"""signing: every stage against golden files and published vectors; which host a URL has; what is refused, what is warned of.

Each folder of `tests/golden/` is a case: what was sent, and what each stage makes of it. The files were made with
`sha1sum`, not with wxsign; their last line break is not part of the value.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from wxsign.errors import InvalidUrl
from wxsign.signing import (
    CUT_AT_AMPERSAND,
    IGNORED_PARAMETER,
    JS_API_LIST,
    MAX_URL_CHARACTERS,
    NOT_ENCODED,
    OPEN_TAG_LIST,
    Landing,
    PageUrl,
    canonical_url,
    nested_pages,
    parse_host,
    parse_page_url,
    query_warnings,
    sign,
    signature,
    string_to_sign,
)
from wxsign.signing.browser import browser_address, no_browser_address

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "vectors" / "official.json").read_text(encoding="utf-8"))
TICKET = VECTORS[0]["inputs"]["jsapi_ticket"]
NONCESTR = VECTORS[0]["inputs"]["noncestr"]
TIMESTAMP = int(VECTORS[0]["inputs"]["timestamp"])


class Golden:
    """One case of `tests/golden/`."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.stages = {
            path.stem: path.read_bytes().decode().removesuffix("\n") for path in folder.glob("*.txt")
        }

    def __getattr__(self, stage: str) -> str:
        return self.stages[stage]


GOLDEN = [Golden(folder) for folder in sorted((HERE / "golden").iterdir())]
each_golden_case = pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)


def codes(sent: str, **site) -> list[str]:
    return [warning.code for warning in parse_page_url(sent, **site).warnings]


# ---------------------------------------------------------------------------------------------- stages


def test_the_golden_folder_is_whole():
    assert len(GOLDEN) >= 30
    stages = {"sent", "canonical_url", "string_to_sign", "signature", "warnings"}
    assert {case.name: stages ^ case.stages.keys() for case in GOLDEN if case.stages.keys() != stages} == {}


@each_golden_case
def test_golden_canonical_url(case):
    assert canonical_url(case.sent) == case.canonical_url


@each_golden_case
def test_golden_string_to_sign(case):
    assert string_to_sign(TICKET, NONCESTR, TIMESTAMP, case.canonical_url) == case.string_to_sign


@each_golden_case
def test_golden_signature(case):
    assert signature(case.string_to_sign) == case.signature


@each_golden_case
def test_golden_warnings(case):
    assert codes(case.sent) == case.warnings.split()


@each_golden_case
def test_golden_js_config(case):
    config = sign(
        TICKET,
        app_id="wx0123456789abcdef",
        page=parse_page_url(case.sent),
        noncestr=NONCESTR,
        timestamp=TIMESTAMP,
        js_api_list=["scanQRCode"],
        open_tag_list=[],
    )
    answer = config.as_dict("zh")
    warnings = answer.pop("warnings", [])
    assert answer == {
        "appId": "wx0123456789abcdef",
        "timestamp": TIMESTAMP,
        "nonceStr": NONCESTR,
        "signature": case.signature,
        "url": case.canonical_url,
        "jsApiList": ["scanQRCode"],
        "openTagList": [],
    }
    assert [warning["code"] for warning in warnings] == case.warnings.split()
    assert all(re.search(r"[\u4e00-\u9fff]", warning["message"]) and warning["hint"] for warning in warnings)
    assert TICKET not in repr(config)


PAGE_VECTORS = [vector for vector in VECTORS if not vector["kind"].startswith("wx_card")]


@pytest.mark.parametrize(
    "vector", PAGE_VECTORS, ids=lambda vector: f"{vector['kind']}-{vector['inputs']['url']}"
)
def test_a_published_vector_comes_out(vector):
    given_ = vector["inputs"]
    config = sign(
        given_["jsapi_ticket"],
        app_id="wx0123456789abcdef",
        page=parse_page_url(given_["url"]),
        noncestr=given_["noncestr"],
        timestamp=int(given_["timestamp"]),
    )
    assert config.signature == vector["expected"]


def test_by_default_every_interface_and_open_tag_is_asked_for():
    config = sign(TICKET, app_id="wx0", page=parse_page_url("https://a.test/"), noncestr="n", timestamp=1)
    assert config.js_api_list == JS_API_LIST
    assert config.open_tag_list == OPEN_TAG_LIST
    assert "warnings" not in config.as_dict()


def test_the_list_of_interfaces_is_that_of_tencents_script():
    script = HERE.parent / "node_modules" / "weixin-js-sdk" / "index.original.js"
    if not script.exists():
        pytest.skip("the official script is a development dependency: npm ci")
    text = script.read_text(encoding="utf-8")
    defined = set(re.findall(r"[{,]\s*(\w+):\s*function", text))
    not_for_config = {
        "config", "ready", "error", "invoke", "on", "success", "fail", "complete", "cancel", "trigger", "get", "set",
        "navigateBack", "navigateTo", "redirectTo", "switchTab", "reLaunch", "postMessage", "getEnv", "path",
    }  # fmt: skip
    assert set(JS_API_LIST) - defined == {"requestMerchantTransfer"}, "which pages ask the bridge for"
    assert defined - set(JS_API_LIST) - not_for_config == set()
    assert len(JS_API_LIST) == len(set(JS_API_LIST))


def test_an_empty_ticket_is_never_signed_with():
    with pytest.raises(ValueError, match="ticket"):
        sign("", app_id="wx0", page=parse_page_url("https://a.test/"), noncestr="n", timestamp=1)


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("", "url_required"),
        ("  ", "url_required"),
        ("/jsconfig", "url_not_absolute"),
        ("m.example.com/a", "url_not_absolute"),
        ("m.example.com:8443/a", "url_not_absolute"),
        ("//m.example.com/a", "url_not_absolute"),
        ("https:/m.example.com/", "url_not_absolute"),
        ("https:m.example.com", "url_not_absolute"),
        (" https://m.example.com/", "url_not_absolute"),
        ("undefined", "url_not_absolute"),
        ("https%253A%252F%252Fm.example.com%252F", "url_not_absolute"),
        ("file:///sdcard/index.html", "url_scheme"),
        ("ftp://m.example.com/", "url_scheme"),
        ("javascript:alert(1)", "url_scheme"),
        ("data:text/html,x", "url_scheme"),
        ("about:blank", "url_scheme"),
        ("ws://m.example.com/", "url_scheme"),
        ("https://m.example.com/\n", "url_control_characters"),
        ("https://m.example.com/\r\nSet-Cookie: a", "url_control_characters"),
        ("https://m.example.com/a\tb", "url_control_characters"),
        ("https://m.exam\tple.com/", "url_control_characters"),
        ("https://m.example.com/\x00", "url_control_characters"),
        ("https://m.example.com/\x7f", "url_control_characters"),
        ("https://m.example.com/\x85", "url_control_characters"),
        ("https://m.example.com/\u2028", "url_control_characters"),
        ("https://m.example.com/#\n", "url_control_characters"),
        ("\nhttps://m.example.com/", "url_control_characters"),
        ("https%3A%2F%2Fm.example.com%2F%0A", "url_control_characters"),
        ("https://m.example.com/" + "a" * MAX_URL_CHARACTERS, "url_too_long"),
        ("https%3A%2F%2Fm.example.com%2F" + "a" * MAX_URL_CHARACTERS, "url_too_long"),
        ("https://m.example.com/\ud800", "url_malformed"),
        ("https://\udfff/", "url_malformed"),
        ("https://m.example.com@evil.test/", "url_user_info"),
        ("https://m.example.com:443@evil.test/", "url_user_info"),
        ("https://user:password@m.example.com/", "url_user_info"),
        ("https://@m.example.com/", "url_user_info"),
        ("https%3A%2F%2Fm.example.com%40evil.test%2F", "url_user_info"),
        ("https://evil.test\\@m.example.com/", "url_backslash"),
        ("https://evil.test\\.m.example.com/", "url_backslash"),
        ("https:\\\\m.example.com/", "url_not_absolute"),
        ("https:///m.example.com/", "url_host"),
        ("https://", "url_host"),
        ("https://?m.example.com", "url_host"),
        ("https://#", "url_host"),
        ("https://m.example.com./", "url_host"),
        ("https://.m.example.com/", "url_host"),
        ("https://m..example.com/", "url_host"),
        ("https://-m.example.com/", "url_host"),
        ("https://m.example.com-/", "url_host"),
        ("https://m.example.com;evil.test/", "url_host"),
        ("https://m.example.com,evil.test/", "url_host"),
        ("https://m.example.com evil.test/", "url_host"),
        ("https://m.example.com%2eevil.test/", "url_host"),
        ("https://m.example.com%00.evil.test/", "url_host"),
        ("https://m.example.com%23.evil.test/", "url_host"),
        ("https://ｍ.example.com/", "url_host"),
        ("https://m。example.com/", "url_host"),
        ("https://m\u2024example.com/", "url_host"),
        ("https://еxample.com/", "url_host"),  # a Cyrillic е
        ("https://exampⅼe.com/", "url_host"),  # a Roman numeral fifty
        ("https://m.example.com\u200b/", "url_host"),
        ("https://中文.example.com/", "url_host"),
        ("https://" + "a" * 64 + ".test/", "url_host"),
        ("https://" + "a." * 127 + "test/", "url_host"),
        ("http://127.1/", "url_host"),
        ("http://2130706433/", "url_host"),
        ("http://0x7f000001/", "url_host"),
        ("http://0x7f.0.0.1/", "url_host"),
        ("http://0177.0.0.1/", "url_host"),
        ("http://192.0.2.256/", "url_host"),
        ("http://m.example.com.1/", "url_host"),
        ("http://[::1/", "url_host"),
        ("http://[::g]/", "url_host"),
        ("http://[fe80::1%25eth0]/", "url_host"),
        ("http://[1:2]/", "url_host"),
        ("http://[::1]evil.test/", "url_host"),
        ("https://m.example.com:/", "url_port"),
        ("https://m.example.com:0/", "url_port"),
        ("https://m.example.com:0443/", "url_port"),
        ("https://m.example.com:65536/", "url_port"),
        ("https://m.example.com:99999/", "url_port"),
        ("https://m.example.com:443a/", "url_port"),
        ("https://m.example.com:-1/", "url_port"),
        ("https://m.example.com:４４３/", "url_port"),
        ("http://[::1]:x/", "url_port"),
    ],
)
def test_a_url_that_cannot_be_signed_is_refused_with_a_code_of_its_own(sent, code):
    with pytest.raises(InvalidUrl) as refused:
        parse_page_url(sent)
    assert (refused.value.code, refused.value.status) == (code, 400)
    assert refused.value.hint.en
    assert refused.value.hint.zh


@pytest.mark.parametrize(
    ("sent", "host", "port"),
    [
        ("https://m.example.com/", "m.example.com", 443),
        ("http://m.example.com", "m.example.com", 80),
        ("HTTPS://M.EXAMPLE.com:443?x", "m.example.com", 443),
        ("https://m.example.com:8443#x", "m.example.com", 8443),
        ("https://m.example.com.evil.test/", "m.example.com.evil.test", 443),
        ("https://evil.test/?m.example.com", "evil.test", 443),
        ("https://evil.test?@m.example.com/", "evil.test", 443),
        ("https://evil.test#@m.example.com/", "evil.test", 443),
        ("https://evil.test/\\@m.example.com/", "evil.test", 443),
        ("https://evil.test/https://m.example.com/", "evil.test", 443),
        ("http://localhost:3000/", "localhost", 3000),
        ("http://my_host/", "my_host", 80),
        ("https://xn--fiq228c.example.com/", "xn--fiq228c.example.com", 443),
        ("http://192.0.2.7/", "192.0.2.7", 80),
        ("http://[::1]:8000/", "[::1]", 8000),
        ("http://[0:0:0:0:0:0:0:1]/", "[::1]", 80),
        ("http://[2001:DB8::7]/", "[2001:db8::7]", 80),
        ("http://1and1.example/", "1and1.example", 80),
        ("https://m.example.com:65535/", "m.example.com", 65535),
    ],
)
def test_the_host_is_what_a_browser_would_connect_to(sent, host, port):
    page = parse_page_url(sent)
    assert (page.host, page.port) == (host, port)
    assert page.url == sent.partition("#")[0]


@pytest.mark.parametrize(
    "host", ["", "m.example.com.", "m.example.com:80", "a b", "中文.test", "127.1", "[::1", "*"]
)
def test_what_is_no_host_is_none(host):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is for people
        parse_host(host)


# ---------------------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("https://m.example.com/undefined", ["undefined"]),
        ("https://m.example.com/null/", ["undefined"]),
        ("https://m.example.com/a/null?b=1", ["undefined"]),
        ("https://m.example.com/a?b=undefined", ["undefined"]),
        ("https://m.example.com/a?b=1&c=null", ["undefined"]),
        ("https://null/", []),
        ("https://undefined/a", []),
        ("https://m.example.com/nullable", []),
        ("https://m.example.com/a-null", []),
        ("https://m.example.com/undefined-behaviour/a", []),
        ("https://m.example.com/a?null=1", []),
        ("https://m.example.com/a?b=nullable", []),
        ("https://m.example.com/a?b=x/null", []),
        ("https://m.example.com/a#null", ["fragment"]),
        ("https://m.example.com/a?b=%26amp;c", []),
        ("https://m.example.com/a?b=1&amp=2", []),
        ("https://m.example.com/a?b=1&amp;c=null", ["html_entity", "undefined"]),
        ("https://m.example.com/a b", ["space"]),
    ],
)
def test_a_warning_comes_for_a_whole_segment_or_value_and_not_for_a_part_of_a_word(sent, expected):
    assert codes(sent) == expected


@pytest.mark.parametrize(
    "sent",
    [
        "https://m.example.com/a?code=061VqKFa1bcdefghijklmnopqrstuvwx&state=",
        "https://m.example.com/a?a=1&code=061VqKFa1bcdefghijklmnopqrstuvwx",
        "https://m.example.com/a?code=0123456789abcdef0123456789abcdef",  # a hash
        "https://m.example.com/a?code=061VqKFa1",
        "https://m.example.com/a?code=161VqKFa1bcdefghijklmnopqrstuvwx",
        "https://m.example.com/a?promocode=061VqKFa1bcdefghijklmnopqrstuvwx",
        "https://m.example.com/a?from=singlemessage",
        "https://m.example.com/a?a=1",
        "https://m.example.com/a",
    ],
)
def test_an_ordinary_url_is_not_suspected_of_being_cut(sent):
    assert codes(sent) == []


@pytest.mark.parametrize(
    "query",
    [
        "url=https://m.example.com/a?b=1&c=2",
        "account=shop&url=https://m.example.com/a?b=1&c=2&_=1700000000",
        "url=http://m.example.com?b&c",
        "url=HTTPS://m.example.com/?x=&from=singlemessage&isappinstalled=0",
    ],
)
def test_a_query_whose_url_was_not_encoded_shows_that_it_was_cut(query):
    assert query_warnings(query) == (CUT_AT_AMPERSAND,)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "url=https%3A%2F%2Fm.example.com%2Fa%3Fb%3D1%26c%3D2",
        "url=https%3A%2F%2Fm.example.com%2Fa%3Fb%3D1&debug=1",
        "url=https://m.example.com/a&debug=1",  # no query of its own that could have been cut
        "url=https://m.example.com/a?b=1",
        "url=https://m.example.com/a?b=1&account=shop",
        "url=https://m.example.com/a?b=1&_=1700000000&account=shop&",
        "url=https://m.example.com/a?b=1&callback=jsonp1",
        "debug=1&url=https://m.example.com/a?b=1",
        "myurl=https://m.example.com/a?b=1&c=2",
    ],
)
def test_a_query_that_may_be_whole_is_not_suspected(query):
    assert query_warnings(query) == ()


@pytest.mark.parametrize(
    "query",
    [
        "url=https://m.example.com/?name=%E4%B8%AD",
        "url=https://m.example.com/a%20b",
        "url=https://m.example.com/?next=https%3A%2F%2Fx.example.com",
    ],
)
def test_a_url_whose_own_escapes_were_sent_bare_was_changed_by_decoding(query):
    assert query_warnings(query) == (NOT_ENCODED,)


@pytest.mark.parametrize(
    "query",
    [
        # What encodeURI, and clients that leave `:` and `/` alone, make of a browser's address.
        "url=https://m.example.com/?name=%25E4%25B8%25AD%26b%3D1",
        "url=https%3A%2F%2Fm.example.com%2F%3Fname%3D%25E4",
        "url=https://m.example.com/?a%3Db%2Bc%23",
    ],
)
def test_a_url_that_a_sparing_encoder_encoded_is_whole(query):
    assert query_warnings(query) == ()


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ("https://m.example.com/活动?名=值", "https://m.example.com/%E6%B4%BB%E5%8A%A8?%E5%90%8D=%E5%80%BC"),
        ("https://M.Example.com/", "https://m.example.com/"),
        ("https://m.example.com:443/a", "https://m.example.com/a"),
        ("http://m.example.com:80/a", "http://m.example.com/a"),
        ("https://m.example.com/a/../b/./c/..", "https://m.example.com/b/"),
        ("https://m.example.com/%2e%2e/b/.", "https://m.example.com/b/"),
        ("https://m.example.com?a=1", "https://m.example.com/?a=1"),
        ("https://m.example.com", "https://m.example.com/"),
        ('https://m.example.com/?a="1"<', "https://m.example.com/?a=%221%22%3C"),
        ("https://m.example.com/{id}", "https://m.example.com/%7Bid%7D"),
        ("https://m.example.com/\\a", "https://m.example.com//a"),
    ],
)
def test_what_no_location_href_can_be_is_told_with_what_it_would_be(sent, address):
    assert codes(sent) == ["not_a_browser_address"]
    (warning,) = parse_page_url(sent).warnings
    assert f"`{address}`" in warning.message.en
    assert codes(address) == []


@given(st.text(st.sampled_from("abZ09-._~!$&()*+,;=:@%/?"), max_size=40))
def test_the_browser_s_form_of_an_address_is_its_own(path):
    address = browser_address(f"https://m.example.com/{path}")
    assert browser_address(address) == address
    assert no_browser_address(address) is None


def test_text_that_was_encoded_twice_is_warned_of_and_an_address_inside_a_query_is_not():
    assert codes("https://m.example.com/?a=%25E4%25B8%25AD") == ["encoded_again"]
    assert codes("https://m.example.com/?to=https%253A%252F%252Fx.example.com") == []
    assert codes("https://m.example.com/?a=%25E4%25B8") == []


@pytest.mark.parametrize("query", ["url=x&noncestr=a", "nonceStr=a", "timestamp=1700000000&url=x"])
def test_a_nonce_or_timestamp_of_the_caller_s_is_passed_over_with_a_word(query):
    assert IGNORED_PARAMETER in query_warnings(query)


def test_the_landing_url_is_signed_with_the_same_nonce_and_timestamp():
    landing = parse_page_url("https://m.example.com/first?code=1#x")
    page = parse_page_url("https://m.example.com/second")
    config = sign(TICKET, app_id="wx0", page=page, noncestr=NONCESTR, timestamp=TIMESTAMP, landing=landing)
    alone = sign(TICKET, app_id="wx0", page=landing, noncestr=NONCESTR, timestamp=TIMESTAMP)
    assert config.landing == Landing("https://m.example.com/first?code=1", alone.signature)
    assert config.as_dict()["landing"] == {"url": landing.url, "signature": alone.signature}
    same = sign(TICKET, app_id="wx0", page=page, noncestr=NONCESTR, timestamp=TIMESTAMP, landing=page)
    assert same.landing is None
    assert "landing" not in same.as_dict()


def test_the_other_scheme_is_warned_of_only_where_the_sites_own_is_known():
    assert codes("http://m.example.com/", site_scheme="https") == ["other_scheme"]
    assert codes("https://m.example.com/#x", site_scheme="http") == ["fragment", "other_scheme"]
    assert codes("HTTPS://m.example.com/", site_scheme="https") == ["not_a_browser_address"]
    assert codes("http://m.example.com/") == []


def test_every_warning_says_what_and_what_to_do_in_both_languages():
    found = {}
    for sent in ("https://m.example.com/a?code=061VqKFa1bcdefghijklmnopqrstuvwx", "https%3A%2F%2Fm.example.com%2F a%23",
                 "https://m.example.com/null?a&amp;b"):  # fmt: skip
        for warning in parse_page_url(sent, site_scheme="http").warnings:
            found[warning.code] = (warning.as_dict("en"), warning.as_dict("zh"))
    assert found.keys() == {
        "fragment", "encoded_twice", "html_entity", "cut_at_ampersand", "undefined", "space", "other_scheme",
    }  # fmt: skip
    for english, chinese in found.values():
        assert english["message"].isascii()
        assert re.search(r"[\u4e00-\u9fff]", chinese["message"] + chinese["hint"])


# -------------------------------------------------------------------------------------------- properties


def accepted(sent: str) -> PageUrl | None:
    try:
        return parse_page_url(sent)
    except InvalidUrl:
        return None


NASTY = st.text(
    st.sampled_from("https:/?#@\\.%[]&=;:0123456789abcxX-_ \t\n\x00é中ｍ。\ud800\u2028null"), max_size=60
)
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
HOST = NAME | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
TAIL = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=40)
URL = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTPS"]),
    HOST,
    st.just("") | st.integers(1, 65535).map(":{}".format),
    st.sampled_from(["/", "?", "#"]),
    TAIL,
)


@given(st.text() | NASTY | NASTY.map("https://".__add__) | NASTY.map("https%3A%2F%2F".__add__))
@example("http://[")
@example("https%3A%2F%2F%ff")
@example("%")
@example("https://a/%ud800")
def test_whatever_is_sent_is_signed_or_refused_and_nothing_else_happens(sent):
    page = accepted(sent)
    if page is None:
        return
    assert re.fullmatch(r"[a-z0-9._\[\]:-]+", page.host)
    assert 1 <= page.port <= 65535
    if "encoded_twice" not in [warning.code for warning in page.warnings]:
        assert sent.startswith(page.url)
    assert "#" not in page.url
    assert len(signature(string_to_sign(TICKET, NONCESTR, 1, page.url))) == 40


@given(URL)
def test_an_accepted_url_has_the_host_that_a_strict_parser_sees(sent):
    page = accepted(sent)
    assume(page is not None)
    reference = urlsplit(sent)
    assert page.scheme == reference.scheme
    assert page.host.strip("[]") == reference.hostname
    assert page.port == (reference.port or {"http": 80, "https": 443}[page.scheme])
    assert reference.username is None


@given(URL)
def test_a_well_formed_url_is_signed_as_sent_up_to_the_hash(sent):
    host = re.split(r"[/?#]", sent.split("://")[1])[0].partition(":")[0]
    assume(not host.rpartition(".")[2][:1].isdigit() or re.fullmatch(r"[0-9.]+|\[.*", host))
    assume(not re.fullmatch(r"[0-9.]+", host) or _is_ipv4(host))
    assert parse_page_url(sent).url == sent.partition("#")[0]


def _is_ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(part == str(int(part)) and int(part) < 256 for part in parts)


@given(URL)
def test_encoding_a_url_once_more_changes_nothing_but_the_warning(sent):
    page = accepted(sent)
    assume(page is not None)
    encoded = quote(sent, safe="")
    assume(len(encoded) <= MAX_URL_CHARACTERS)
    again = parse_page_url(encoded)
    assert (again.url, again.host, again.port, again.sent) == (page.url, page.host, page.port, encoded)
    assert [warning.code for warning in again.warnings] == ["encoded_twice", *(w.code for w in page.warnings)]


@pytest.mark.parametrize(
    "sent",
    [
        "https://m.example.com/" + "?" * 8000 + "null",
        "https://m.example.com/" + "/" * 8000 + "null",
        "https://m.example.com/" + "&amp;=" * 1300,
        "https://" + "a-" * 4000,
        "https://" + "a." * 4000,
        "https://m.example.com/?code=0" + "a" * 8000,
        "https://m.example.com/?" + "&null=" * 1300,
    ],
    ids=lambda sent: sent[8:40],
)
def test_no_url_of_the_greatest_length_costs_more_than_a_moment(sent):
    started = time.process_time()
    accepted(sent)
    assert time.process_time() - started < 0.05


AMBIGUOUS = (
    "https://m.example.com/&timestamp=1414587457&url=https://user-content.example.com/x",
    "https://m.example.com/?a=1&timestamp=1&b=2&url=HTTP://user-content.example.com/x",
)


@pytest.mark.parametrize("url", AMBIGUOUS)
def test_a_url_that_could_be_read_as_the_end_of_another_pages_string1_is_refused(url):
    with pytest.raises(InvalidUrl) as refused:
        parse_page_url(url)
    assert refused.value.code == "url_ambiguous"


def test_one_string1_can_indeed_be_split_in_two_ways():
    inner = "https://user-content.example.com/x"
    signed = string_to_sign("T", "N", 1, f"https://m.example.com/&timestamp=2&url={inner}")
    assert signed == string_to_sign("T", "N&timestamp=1&url=https://m.example.com/", 2, inner)


def test_addresses_that_stand_bare_inside_a_page_are_found_and_encoded_ones_are_not():
    page = parse_page_url("https://m.example.com/?x=1&url=https://a.test/?y=2&url=http://b.test/")
    assert [inner.host for inner in nested_pages(page)] == ["a.test", "b.test"]
    assert not list(nested_pages(parse_page_url("https://m.example.com/?x=1&url=https%3A%2F%2Fa.test%2F")))


_CONTROL, _SURROGATE = r"\x00-\x1f\x7f-\x9f\u2028\u2029", r"\ud800-\udfff"
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
GRAMMAR = re.compile(
    rf"[Hh][Tt][Tt][Pp][Ss]?://(?:{_NAME}(?:\.{_NAME})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::[1-9][0-9]{{0,4}})?"
    rf"(?:[/?][^#{_CONTROL}{_SURROGATE}]*)?(?:#[^{_CONTROL}{_SURROGATE}]*)?"
)


@given(NASTY.map("https://".__add__) | NASTY.map("https://a.example".__add__) | URL)
@example("https://a?#/")
@example("https://a#?/")
@example("https://a#\n")
@example("http://a/\x85")
@example("https://a?x=https://b/")
def test_only_what_the_grammar_of_a_page_says_is_signed_as_sent(sent):
    page = accepted(sent)
    if page is not None:
        assert GRAMMAR.fullmatch(sent)
        assert page.url == sent.partition("#")[0]


@given(NAME, TAIL)
def test_whatever_the_grammar_of_a_page_says_is_signed(name, tail):
    sent = f"https://m.{name}.example/{tail}"
    assume("&timestamp=" not in sent and len(name) < 200)
    assert (accepted(sent) is not None) == (GRAMMAR.fullmatch(sent) is not None)
