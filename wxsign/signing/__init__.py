"""The JS-SDK signature, stage by stage, and which URLs it may be made for.

    sent ──canonical_url──▶ url ──string_to_sign──▶ string1 ──signature──▶ sha1 hex ──▶ JSConfig

Pure: time and randomness are handed in.
"""

from wxsign.signing.interfaces import JS_API_LIST, OPEN_TAG_LIST
from wxsign.signing.signature import JSConfig, sign, signature, string_to_sign
from wxsign.signing.urls import (
    DEFAULT_PORTS,
    MAX_PORT,
    MAX_URL_CHARACTERS,
    PageUrl,
    canonical_url,
    nested_pages,
    parse_host,
    parse_page_url,
)
from wxsign.signing.warnings import (
    CUT_AT_AMPERSAND,
    ENCODED_TWICE,
    FRAGMENT,
    HTML_ENTITY,
    NESTED_URL,
    OTHER_SCHEME,
    SPACE,
    UNDEFINED,
    SigningWarning,
    query_warning,
)

__all__ = [
    "CUT_AT_AMPERSAND",
    "DEFAULT_PORTS",
    "ENCODED_TWICE",
    "FRAGMENT",
    "HTML_ENTITY",
    "JS_API_LIST",
    "MAX_PORT",
    "MAX_URL_CHARACTERS",
    "NESTED_URL",
    "OPEN_TAG_LIST",
    "OTHER_SCHEME",
    "SPACE",
    "UNDEFINED",
    "JSConfig",
    "PageUrl",
    "SigningWarning",
    "canonical_url",
    "nested_pages",
    "parse_host",
    "parse_page_url",
    "query_warning",
    "sign",
    "signature",
    "string_to_sign",
]
