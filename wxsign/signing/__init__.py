"""The JS-SDK signature, stage by stage, and which URLs it may be made for.

    sent ──canonical_url──▶ url ──string_to_sign──▶ string1 ──signature──▶ sha1 hex ──▶ JSConfig

Pure: time and randomness are handed in.
"""

from wxsign.signing.agent import AgentConfig
from wxsign.signing.card import Card, card_ext, card_sign, card_signature
from wxsign.signing.interfaces import JS_API_LIST, OPEN_TAG_LIST
from wxsign.signing.signature import JSConfig, Landing, sign, sign_agent, signature, string_to_sign
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
    ENCODED_AGAIN,
    ENCODED_TWICE,
    FRAGMENT,
    HTML_ENTITY,
    IGNORED_PARAMETER,
    NESTED_URL,
    NOT_ENCODED,
    OTHER_SCHEME,
    SPACE,
    UNDEFINED,
    SigningWarning,
    ignored_parameters,
    query_warnings,
)

__all__ = [
    "CUT_AT_AMPERSAND",
    "DEFAULT_PORTS",
    "ENCODED_AGAIN",
    "ENCODED_TWICE",
    "FRAGMENT",
    "HTML_ENTITY",
    "IGNORED_PARAMETER",
    "JS_API_LIST",
    "MAX_PORT",
    "MAX_URL_CHARACTERS",
    "NESTED_URL",
    "NOT_ENCODED",
    "OPEN_TAG_LIST",
    "OTHER_SCHEME",
    "SPACE",
    "UNDEFINED",
    "AgentConfig",
    "Card",
    "JSConfig",
    "Landing",
    "PageUrl",
    "SigningWarning",
    "canonical_url",
    "card_ext",
    "card_sign",
    "card_signature",
    "ignored_parameters",
    "nested_pages",
    "parse_host",
    "parse_page_url",
    "query_warnings",
    "sign",
    "sign_agent",
    "signature",
    "string_to_sign",
]
