"""accounts: which page may be signed, and by whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsign.accounts import LOOPBACK, AccountRegistry, HostRule, OfficialAccount
from wxsign.credentials import CredentialKind, TokenEndpoint
from wxsign.errors import AccountRequired, HostNotAllowed, InvalidUrl, UnknownAccount
from wxsign.signing import parse_page_url

SECRET = "0" * 32


def account(name: str, *hosts: str | HostRule, app_id: str | None = None, **more) -> OfficialAccount:
    rules = tuple(HostRule.parse(host) if isinstance(host, str) else host for host in hosts)
    return OfficialAccount(name, app_id or f"wx-{name}", SECRET, rules, **more)


def allowed(rule: str, url: str) -> bool:
    return HostRule.parse(rule).matches(parse_page_url(url))


# --------------------------------------------------------------------------------------------- host rules


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("m.example.com", "https://m.example.com/"),
        ("m.example.com", "http://m.example.com/"),
        ("m.example.com", "https://M.EXAMPLE.com/"),
        ("M.Example.COM", "https://m.example.com/"),
        ("m.example.com", "https://m.example.com:443/"),
        ("m.example.com", "http://m.example.com:80/"),
        ("m.example.com:8443", "https://m.example.com:8443/"),
        ("m.example.com:8443", "http://m.example.com:8443/"),
        ("m.example.com:443", "https://m.example.com/"),
        ("*.example.com", "https://m.example.com/"),
        ("*.example.com", "https://a.b.example.com/"),
        ("*.example.com:8443", "https://m.example.com:8443/"),
        ("192.0.2.1", "http://192.0.2.1/"),
        ("[::1]:8000", "http://[0::1]:8000/"),
        ("[2001:DB8::7]", "https://[2001:db8:0::7]/"),
        ("xn--fiq228c.example.com", "https://xn--fiq228c.example.com/"),
        ("localhost:3000", "http://localhost:3000/"),
    ],
)
def test_a_listed_host_is_allowed(rule, url):
    assert allowed(rule, url)


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("m.example.com", "https://m.example.com.evil.test/"),
        ("m.example.com", "https://evil.test/?m.example.com"),
        ("m.example.com", "https://evil.test/m.example.com"),
        ("m.example.com", "https://evil.test#m.example.com"),
        ("m.example.com", "https://evil.test?@m.example.com/"),
        ("m.example.com", "https://example.com/"),
        ("m.example.com", "https://a.m.example.com/"),
        ("m.example.com", "https://mxexample.com/"),
        ("m.example.com", "https://xn--mexample-abc.com/"),
        ("m.example.com", "https://m.example.com:8443/"),
        ("m.example.com", "http://m.example.com:443/"),
        ("m.example.com", "https://m.example.com:80/"),
        ("m.example.com:8443", "https://m.example.com/"),
        ("*.example.com", "https://example.com/"),
        ("*.example.com", "https://badexample.com/"),
        ("*.example.com", "https://m.example.com.evil.test/"),
        ("*.example.com", "https://m.example.com:8443/"),
        ("192.0.2.1", "http://192.0.2.11/"),
        ("*.example.com", "http://192.0.2.1/"),
        ("[::1]", "http://localhost/"),
    ],
)
def test_a_host_or_port_that_is_not_listed_is_not_allowed(rule, url):
    assert not allowed(rule, url)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("", "not a host"),
        ("*", "not a host"),
        ("https://m.example.com", "host alone"),
        ("m.example.com/", "host alone"),
        ("user@m.example.com", "host alone"),
        ("m.example.com.", "not a host"),
        ("m..example.com", "not a host"),
        ("m example.com", "not a host"),
        ("ｍ.example.com", "not a host"),
        ("中文.example.com", "not a host"),
        ("m.*.com", "not a host"),
        ("m*.example.com", "not a host"),
        ("**.example.com", "not a host"),
        ("*.com", "wildcard"),
        ("*.192.0.2.1", "wildcard"),
        ("*.[::1]", "wildcard"),
        ("::1", "not a host"),
        ("127.1", "octets"),
        ("m.example.com:", "port"),
        ("m.example.com:0", "port"),
        ("m.example.com:https", "port"),
        ("m.example.com:65536", "port"),
        ("m.example.com:８０", "port"),
        ("m.example.com:80:80", "not a host"),
        (":80", "not a host"),
    ],
)
def test_an_entry_that_is_no_host_is_refused_with_a_reason(entry, reason):
    with pytest.raises(ValueError, match=reason):
        HostRule.parse(entry)


@given(st.text(st.sampled_from("abxn-.:*[]0123456789@/\\% é"), max_size=20))
def test_an_entry_is_read_or_refused_and_reads_back_as_itself(entry):
    try:
        rule = HostRule.parse(entry)
    except ValueError:
        return
    assert HostRule.parse(str(rule)) == rule


@given(st.text(max_size=30))
def test_no_trick_around_a_listed_host_gets_another_host_signed(trick):
    rule = HostRule.parse("m.example.com")
    for sent in (f"https://m.example.com{trick}", f"https://{trick}m.example.com/", f"https://{trick}"):
        try:
            page = parse_page_url(sent)
        except InvalidUrl:
            continue
        assert rule.matches(page) == (
            page.host == "m.example.com" and page.port in (80, 443) and page.port == 443
        )


@pytest.mark.parametrize(
    ("url", "matches"),
    [
        ("http://localhost:8000/", True),
        ("http://app.localhost:8000/", True),
        ("http://127.0.0.1:3000/", True),
        ("http://127.8.9.10/", True),
        ("http://[::1]:5173/", True),
        ("https://localhost/", True),
        ("http://127.example.com/", False),
        ("http://notlocalhost/", False),
        ("http://localhost.example.com/", False),
        ("http://192.168.1.2:8000/", False),
        ("http://[::2]/", False),
    ],
)
def test_loopback_allows_this_machines_own_names_on_any_port(url, matches):
    assert LOOPBACK.matches(parse_page_url(url)) is matches


def test_no_entry_of_a_configuration_means_loopback_on_any_port():
    assert HostRule.parse("localhost") != LOOPBACK
    assert not allowed("localhost", "http://localhost:8000/")


# ------------------------------------------------------------------------------------------------ accounts


def test_the_secret_stands_in_no_repr():
    assert SECRET not in repr(account("shop", "m.example.com"))


def test_an_account_names_its_credentials_by_base_appid_kind_and_endpoint_and_without_the_secret():
    key = account("shop", token_endpoint=TokenEndpoint.CLASSIC).credential_key(
        CredentialKind.JSAPI_TICKET, "https://api.weixin.qq.com"
    )
    assert (key.api_base, key.app_id, key.kind, key.endpoint) == (
        "https://api.weixin.qq.com", "wx-shop", CredentialKind.JSAPI_TICKET, TokenEndpoint.CLASSIC,
    )  # fmt: skip
    assert SECRET not in key.name


SHOP = account("shop", "shop.example.com", "*.shop.test")
CLUB = account("club", "club.example.com", "both.example.com")
DEFAULT = account("default", "www.example.com", "both.example.com")
BARE = account("bare")


def chosen(registry: AccountRegistry, url: str, wanted: str | None = None) -> str:
    return registry.for_page(parse_page_url(url), wanted).name


def test_an_account_is_found_by_name_and_by_appid():
    registry = AccountRegistry([SHOP, CLUB])
    assert registry.get("shop") is registry.get("wx-shop") is SHOP
    assert list(registry) == [SHOP, CLUB]
    assert len(registry) == 2
    with pytest.raises(UnknownAccount):
        registry.get("Shop")


def test_a_name_goes_before_another_accounts_appid():
    registry = AccountRegistry([account("a", app_id="b"), account("b", app_id="c")])
    assert registry.get("b").name == "b"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://shop.example.com/", "shop"),
        ("https://m.shop.test/", "shop"),
        ("https://club.example.com/", "club"),
        ("https://www.example.com/", "default"),
        ("https://both.example.com/", "default"),
    ],
)
def test_the_account_that_lists_the_pages_host_signs_and_default_where_two_do(url, name):
    assert chosen(AccountRegistry([SHOP, CLUB, DEFAULT]), url) == name


def test_a_host_that_two_accounts_list_and_none_is_default_needs_to_be_told_which():
    registry = AccountRegistry([account("a", "both.example.com"), CLUB])
    with pytest.raises(AccountRequired):
        chosen(registry, "https://both.example.com/")
    assert chosen(registry, "https://both.example.com/", "club") == "club"


def test_a_host_that_nobody_lists_is_refused_by_default_and_by_a_single_account():
    for registry in (AccountRegistry([SHOP, DEFAULT]), AccountRegistry([SHOP])):
        with pytest.raises(HostNotAllowed) as refused:
            chosen(registry, "https://evil.test:8443/")
        assert (refused.value.code, refused.value.host) == ("host_not_allowed", "evil.test:8443")


def test_a_host_that_nobody_lists_is_unclear_among_several_accounts_without_default():
    with pytest.raises(AccountRequired):
        chosen(AccountRegistry([SHOP, CLUB]), "https://evil.test/")


def test_the_account_wanted_signs_only_for_its_own_hosts():
    registry = AccountRegistry([SHOP, CLUB])
    assert chosen(registry, "https://club.example.com/", "wx-club") == "club"
    with pytest.raises(HostNotAllowed):
        chosen(registry, "https://club.example.com/", "shop")
    with pytest.raises(UnknownAccount):
        chosen(registry, "https://club.example.com/", "nobody")


def test_an_account_without_hosts_says_that_none_are_allowed_yet():
    for wanted in (None, "bare"):
        with pytest.raises(HostNotAllowed) as refused:
            chosen(AccountRegistry([BARE]), "https://m.example.com/", wanted)
        assert refused.value.code == "no_allowed_hosts"
        assert refused.value.host is None


@pytest.mark.parametrize("host", ["user-content.example.net", "example.org"])
def test_a_page_of_nobody_s_learns_nothing_of_which_accounts_there_are(host):
    below = account("below", "*.example.org", app_id="wx0000000000000009")
    registry = AccountRegistry([SHOP, BARE, below])
    answers = set()
    for wanted in ("shop", SHOP.app_id, "bare", "below", "nobody"):
        with pytest.raises(HostNotAllowed) as refused:
            chosen(registry, f"https://{host}/", wanted)
        answers.add((refused.value.code, refused.value.message, refused.value.hint))
    assert len(answers) == 1


def test_a_page_of_a_listed_host_is_told_that_there_is_no_such_account():
    with pytest.raises(UnknownAccount):
        chosen(AccountRegistry([SHOP, BARE]), f"https://{SHOP.allowed_hosts[0]}/", "nobody")


def test_a_registry_without_accounts_cannot_choose_one():
    with pytest.raises(AccountRequired):
        chosen(AccountRegistry([]), "https://m.example.com/")


def test_loopback_pages_go_to_the_account_that_wxsign_dev_opened_to_them():
    registry = AccountRegistry([SHOP, account("demo", LOOPBACK)])
    assert chosen(registry, "http://127.0.0.1:8000/demo") == "demo"
    assert chosen(registry, "http://localhost:5173/") == "demo"
    with pytest.raises(AccountRequired):
        chosen(registry, "http://192.168.1.2:8000/")


def test_a_page_of_the_bare_domain_is_told_of_the_wildcard_that_leaves_it_out():
    registry = AccountRegistry((account("shop", "m.test", "*.example.com", "*.other.example"),))
    with pytest.raises(HostNotAllowed) as refused:
        registry.for_page(parse_page_url("https://example.com/"), "shop")
    assert "`*.example.com`" in refused.value.hint.en
    for url in ("https://ample.com/", "https://example.com.test/", "https://m.test.example/"):
        with pytest.raises(HostNotAllowed) as refused:
            registry.for_page(parse_page_url(url), "shop")
        assert "*" not in refused.value.hint.en
