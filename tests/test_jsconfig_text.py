"""What `/jsconfig` does by plain comparisons and by texts encoded once comes to what the long way comes to."""

import json
from urllib.parse import unquote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wxsign.http import jsconfig
from wxsign.http.answers import json_text
from wxsign.http.calls import call_of
from wxsign.signing import ENCODED_TWICE, JSConfig

CALL = call_of({"REQUEST_METHOD": "GET", "HTTP_ACCEPT_LANGUAGE": "zh"})


@given(st.text(), st.lists(st.text(max_size=5), max_size=3).map(tuple))
@example('https://a/"\\\n\u2028\x7f', ("scan",))
def test_the_text_is_the_json_of_the_configuration(url, names):
    config = JSConfig("wx0123456789abcdef", 1, "n" * 16, "s" * 40, url, names, names)
    assert jsconfig._text(config, (), CALL) == json_text(config.as_dict())


def test_with_a_warning_it_is_in_the_callers_language():
    config = JSConfig("wx0123456789abcdef", 1, "n" * 16, "s" * 40, "https://a/", (), ())
    text = jsconfig._text(config, (ENCODED_TWICE,), CALL)
    assert json.loads(text)["warnings"] == [ENCODED_TWICE.as_dict("zh")]


ESCAPES = st.sampled_from(
    [
        "%",
        "%25",
        "%3A",
        "%3a",
        "%2F",
        "%3",
        "%253A",
        "%E4%BD%A0",
        "%FF",
        "+",
        "%2B",
        "a",
        ":",
        "A",
        "2",
        "5",
        "\xe4",
    ]
)


@given(st.lists(ESCAPES, max_size=12).map("".join) | st.text(st.characters(max_codepoint=255)))
@example("%%3A")
@example("%2%3A5")
def test_a_value_is_decoded_once_by_the_rules_of_forms(value):
    try:
        expected = unquote_plus(value.encode("latin-1").decode(), errors="strict")
    except UnicodeError:
        with pytest.raises(jsconfig.BadRequest):
            jsconfig._decoded("url", value)
    else:
        assert jsconfig._decoded("url", value) == expected


@pytest.mark.parametrize(
    ("url", "origin", "expected"),
    [
        ("https://m.example.com/a", "https://m.example.com", True),
        ("https://m.example.com", "https://m.example.com", True),
        ("https://m.example.com?a", "https://m.example.com", True),
        ("https://m.example.com:8443/", "https://m.example.com", False),
        ("https://m.example.com.evil.example/", "https://m.example.com", False),
        ("https://m.example.com@evil.example/", "https://m.example.com", False),
        ("https://m.example.com/a", "https", False),
        ("https://m.example.com/a", "https:", False),
        ("https://m.example.com/a", "https:/", False),
        ("https://m.example.com/a/b", "https://m.example.com/a", False),
        ("https://m.example.com/a", "null", False),
    ],
)
def test_whether_a_page_is_of_an_origin_is_decided_by_the_whole_origin(url, origin, expected):
    assert jsconfig._is_of(url, origin) is expected
