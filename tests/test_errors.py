"""errors and errcodes: codes for programs, sentences for people, and nothing that does not belong into them."""

from __future__ import annotations

import inspect
import json
import logging
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsign import errors
from wxsign.errcodes import (
    BAD_ANSWER,
    BAD_ANSWER_HINT,
    ERRCODES,
    UNREACHABLE,
    entry_for,
    mask_errmsg,
    parse_errmsg,
)
from wxsign.errors import (
    ConfigError,
    CredentialUnavailable,
    FailureScope,
    Forbidden,
    HostNotAllowed,
    InvalidUrl,
    Problem,
    RequestError,
    StoreSchemaAhead,
    StoreUnavailable,
    Text,
    TooManyRefreshes,
    UnknownAccount,
    WeChatBadAnswer,
    WeChatRefused,
    WeChatUnreachable,
    WxSignError,
)
from wxsign.logs import JsonFormatter, redact

TOKEN = "/cgi-bin/token"
STABLE_TOKEN = "/cgi-bin/stable_token"
TICKET = "/cgi-bin/ticket/getticket"
PROBE = "/cgi-bin/get_api_domain_ip"
RID = "6aac005a-11112222-33334444"
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def every_error() -> list[WxSignError]:
    """One instance of every leaf of the tree, in each of its forms."""
    refusals = [
        WeChatRefused(errcode, "no", endpoint) for errcode in ERRCODES for endpoint in (TOKEN, TICKET)
    ]
    return [
        *refusals,
        WeChatRefused(123456, "no", TOKEN),
        WeChatRefused(45009, "no", TOKEN, used=3, limit=2000),
        *(WeChatUnreachable(reason, TOKEN) for reason in ("timeout", "connect", "dns", "tls", "reset")),
        WeChatUnreachable("tls", TOKEN, host="wechat.test", detail="certificate verify failed"),
        *(
            WeChatBadAnswer(reason, TOKEN)
            for reason in ("http_status", "not_json", "too_large", "bad_value", "truncated")
        ),
        *(Forbidden(reason) for reason in ("scope", "account", "address")),
        errors.AccountRequired(),
        UnknownAccount("shop"),
        errors.Unauthorized(),
        HostNotAllowed(None),
        HostNotAllowed("m.example.com"),
        HostNotAllowed("example.com", "*.example.com"),
        *(CredentialUnavailable(None, 3, what) for what in ("token", "ticket", "")),
        TooManyRefreshes(30),
        errors.QuotaSpent("token", 2000, 60, reserve_left=True),
        errors.NotRefreshed("reader"),
        errors.NotRefreshed("broken"),
        StoreUnavailable(),
        StoreSchemaAhead(3, 1),
    ]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: f"{type(error).__name__}-{error.code}")
def test_every_error_says_what_is_wrong_and_what_to_do_in_both_languages(error):
    for text in (error.message, error.hint, error.operator_hint):
        assert text.en
        assert not CHINESE.search(text.en.split("微信开发者平台")[0])
        assert CHINESE.search(text.zh)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", error.code)
    assert str(error).startswith(error.message.en)


def catalogue() -> list[Text]:
    """Every sentence of the catalogue, and of every error that can be made of it."""
    rows = (*ERRCODES.values(), entry_for(40001, token_endpoint=True), entry_for(1, token_endpoint=False))
    said = [text for row in rows for text in (row.message, row.hint, row.full_hint) if text]
    said += [text for _, message, hint in UNREACHABLE.values() for text in (message, hint)]
    said += [*BAD_ANSWER.values(), BAD_ANSWER_HINT]
    return said + [
        text for error in every_error() for text in (error.message, error.hint, error.operator_hint)
    ]


def logged(value: object) -> object:
    record = logging.LogRecord("wxsign.test", logging.INFO, __file__, 1, "wxsign.tested", (), None)
    record.fields = {"hint": value}
    return json.loads(JsonFormatter().format(record))["hint"]


def test_redaction_leaves_our_own_sentences_as_they_are():
    sentences = {words for text in catalogue() for words in (text.en, text.zh)}
    assert {words for words in sentences if not words == redact(words) == logged(words)} == set()


def test_the_same_words_from_outside_are_redacted():
    advice = errors.Unauthorized().hint.en
    assert "Bearer <client key>" in logged(advice)
    assert "Bearer ***" in logged("".join(list(advice)))


def test_the_tree_drawn_at_the_top_of_the_module_is_the_tree_of_the_classes():
    drawn = _drawn(errors.__doc__)
    real = {
        name: cls.__bases__[0].__name__
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, Exception)
    }
    assert drawn == real


def _drawn(doc: str) -> dict[str, str]:
    parents, tree = {0: "Exception"}, {}
    for branch, name in re.findall(r"^    ((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)\b", doc, re.MULTILINE):
        depth = len(branch) // 4
        tree[name] = parents[depth]
        parents[depth + 1] = name
    return tree


def test_everything_wxsign_raises_can_be_caught_as_one():
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]
    assert len(classes) > 15
    assert all(issubclass(cls, WxSignError) for cls in classes)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidUrl("url_required", Text("a", "b")), 400),
        (errors.BadRequest("bad_body", Text("a", "b")), 400),
        (errors.AccountRequired(), 400),
        (errors.Unauthorized(), 401),
        (HostNotAllowed("x.test"), 403),
        (Forbidden("scope"), 403),
        (UnknownAccount("x"), 404),
    ],
    ids=lambda value: getattr(value, "code", value),
)
def test_a_request_error_knows_its_http_status(error, status):
    assert isinstance(error, RequestError)
    assert error.status == status
    assert not error.retryable


def test_all_problems_of_a_configuration_are_listed_with_number_key_and_remedy():
    error = ConfigError(
        [
            Problem("accounts.shop.app_id", Text("is missing.", "缺失。"), Text("Write it.", "请填写。")),
            Problem("WXSIGN_STORE", Text("is no store URL.", "不是存储地址。")),
        ]
    )
    assert str(error).splitlines() == [
        "2 problems in the configuration.",
        "1. accounts.shop.app_id: is missing. Write it.",
        "2. WXSIGN_STORE: is no store URL.",
    ]
    assert error.in_language("zh").splitlines()[1] == "1. accounts.shop.app_id: 缺失。 请填写。"
    assert error.code == "config_error"


def test_an_unknown_account_of_any_length_and_content_stays_printable():
    error = UnknownAccount("\ud800\n" * 500)
    assert str(error).isprintable()
    assert len(str(error)) < 700


def test_a_missing_credential_speaks_with_its_causes_voice_and_keeps_the_ip_for_the_operator():
    cause = WeChatRefused(
        40164, f"invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist rid: {RID}", TOKEN
    )
    error = CredentialUnavailable(cause, 60)
    assert (error.code, error.status, error.retryable, error.retry_after_seconds) == (
        "credential_unavailable", 503, True, 60,
    )  # fmt: skip
    assert error.message == cause.message
    assert "192.0.2.7" not in f"{error.message}{error.hint.en}{error.hint.zh}"
    assert "192.0.2.7" in error.operator_hint.en
    assert "192.0.2.7" in str(error)


@pytest.mark.parametrize(
    ("what", "english", "chinese"),
    [("token", "first access_token", "第一个 access_token"), ("ticket", "first ticket", "第一张票据"),
     ("", "first token or ticket", "第一个 token 或票据")],
)  # fmt: skip
def test_a_missing_credential_without_a_cause_is_a_cold_start_of_what_was_asked_for(what, english, chinese):
    error = CredentialUnavailable(None, 2, what)
    assert english in error.message.en
    assert chinese in error.message.zh
    assert error.operator_hint == error.hint


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_page_of_the_bare_domain_is_told_that_the_wildcard_leaves_it_out(language):
    hint = HostNotAllowed("example.com", "*.example.com").hint.in_language(language)
    assert "`*.example.com`" in hint
    assert "`example.com`" in hint
    assert "*" not in HostNotAllowed("example.com").hint.in_language(language)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_operator_is_told_which_host_was_asked_and_why_it_failed_and_the_public_is_not(language):
    error = WeChatUnreachable("tls", TOKEN, host="wechat.test:8443", detail="certificate verify failed")
    assert "wechat.test:8443: certificate verify failed" in error.operator_hint.in_language(language)
    assert "REQUESTS_CA_BUNDLE" in error.hint.in_language(language)
    assert "wechat.test" not in error.hint.in_language(language) + error.message.in_language(language)
    assert WeChatUnreachable("tls", TOKEN).operator_hint == error.hint


@pytest.mark.parametrize("reason", ["connect", "dns", "tls", "timeout", "reset"])
def test_advice_about_the_network_says_that_a_container_has_its_own(reason):
    hint = WeChatUnreachable(reason, TOKEN).hint
    assert "inside the container" in hint.en
    assert "容器内" in hint.zh


def test_a_stores_detail_is_for_the_log_only():
    error = StoreUnavailable("database is locked")
    assert str(error).endswith("(database is locked)")
    assert "locked" not in error.message.en + error.hint.en


# --------------------------------------------------------------------------------------- the catalogue

DOCUMENTED = {
    TOKEN: (-1, 40001, 40002, 40013, 40125, 40164, 40243, 41004, 50004, 50007, 61024, 89501, 89503, 89506, 89507),
    STABLE_TOKEN: (
        -1, 40002, 40013, 40125, 40164, 41002, 41004, 43002, 45009, 45011, 89503, 89506, 89507,
    ),
    TICKET: (-1, 40001, 40014, 40097, 41001, 42001, 45009, 45011, 48001, 48004, 40164, 48017),
    "/cgi-bin/openapi/rid/get": (76001, 76002, 76003, 76004),
    "/cgi-bin/openapi/quota/get": (48006, 76021, 76022),
    "/cgi-bin/callback/check": (40201, 40202, 40203),
    "anything": (43003, 44002, 47001, 50002),
}  # fmt: skip


@pytest.mark.parametrize(
    ("endpoint", "errcode"), [(endpoint, code) for endpoint, codes in DOCUMENTED.items() for code in codes]
)
def test_every_errcode_that_tencent_documents_for_an_endpoint_is_in_the_catalogue(endpoint, errcode):
    assert errcode in ERRCODES
    assert WeChatRefused(errcode, "", endpoint).code != "wechat_refused"


def test_a_code_of_ours_names_one_meaning():
    meanings = {}
    for row in (*ERRCODES.values(), entry_for(40001, token_endpoint=True)):
        meanings.setdefault(row.code, set()).add(row.scope)
    assert {code: scopes for code, scopes in meanings.items() if len(scopes) > 1} == {}


@pytest.mark.parametrize(
    ("errcode", "endpoint", "scope", "retryable"),
    [
        (-1, TOKEN, FailureScope.BUSY, True),
        (40001, TOKEN, FailureScope.SECRET, False),
        (40001, STABLE_TOKEN, FailureScope.SECRET, False),
        (40001, TICKET, FailureScope.STALE_TOKEN, True),
        (40001, "/cgi-bin/get_api_domain_ip", FailureScope.STALE_TOKEN, True),
        (40014, TICKET, FailureScope.STALE_TOKEN, True),
        (42001, TICKET, FailureScope.STALE_TOKEN, True),
        (40125, STABLE_TOKEN, FailureScope.SECRET, False),
        (40013, TOKEN, FailureScope.ACCOUNT, False),
        (40243, TOKEN, FailureScope.ACCOUNT, False),
        (50007, TOKEN, FailureScope.ACCOUNT, False),
        (45009, TOKEN, FailureScope.QUOTA_DAY, False),
        (45011, STABLE_TOKEN, FailureScope.QUOTA_MINUTE, True),
        (40164, TICKET, FailureScope.ADDRESS, False),
        (61004, TICKET, FailureScope.ADDRESS, False),
        (61004, STABLE_TOKEN, FailureScope.ADDRESS, False),
        (89501, TOKEN, FailureScope.CONFIRMATION, False),
        (89503, TOKEN, FailureScope.CONFIRMATION, False),
        (89506, TOKEN, FailureScope.CONFIRMATION, False),
        (89507, TOKEN, FailureScope.CONFIRMATION, False),
        (48017, TICKET, FailureScope.NETWORK, False),
        (99999, TICKET, FailureScope.ACCOUNT, False),
    ],
)
def test_a_refusal_knows_whom_it_concerns(errcode, endpoint, scope, retryable):
    error = WeChatRefused(errcode, "", endpoint)
    assert (error.scope, error.retryable) == (scope, retryable)


def test_40001_means_a_wrong_secret_at_a_token_endpoint_and_a_dead_token_elsewhere():
    assert WeChatRefused(40001, "", TOKEN).code == "invalid_secret"
    assert "AppSecret" in WeChatRefused(40001, "", TOKEN).hint.en
    assert WeChatRefused(40001, "", TICKET).code == "invalid_credential"


@pytest.mark.parametrize(
    ("errcode", "english", "chinese"),
    [
        (40164, "whitelist", "白名单"),
        (45009, "midnight China time", "北京时间零点"),
        (89503, "administrator", "管理员"),
        (89506, "24 hours", "24 小时"),
        (89507, "1 hour", "1 小时"),
        (40243, "10 minutes", "10 分钟"),
        (40125, "kills the old one", "旧的 AppSecret 立即失效"),
        (40125, "verified real name", "实名认证"),
        (40001, "certification (a company's)", "微信认证才能启用"),
        (61004, "whitelist", "白名单"),
    ],
)
def test_the_remedy_says_who_has_to_act_and_how_long_it_takes(errcode, english, chinese):
    error = WeChatRefused(errcode, "", TOKEN)
    assert english in error.message.en + error.hint.en
    assert chinese in error.message.zh + error.hint.zh


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("errcode", "errmsg"),
    [
        (40164, "invalid ip 192.0.2.7, not in whitelist"),
        (61004, "access clientip is not registered hint: [ZJ6NTA0211e578] requestIP: 192.0.2.7"),
    ],
)
def test_a_whitelist_s_refusal_names_the_ip_to_add_and_where_when_wechat_named_it(errcode, errmsg, language):
    named = WeChatRefused(errcode, errmsg, TOKEN)
    assert named.code == "ip_not_whitelisted"
    assert "192.0.2.7" in named.operator_hint.in_language(language)
    assert "基础信息 → 开发密钥" in named.operator_hint.in_language(language)
    unnamed = WeChatRefused(errcode, "no", TOKEN)
    assert unnamed.operator_hint == unnamed.hint
    assert "{ip}" not in unnamed.hint.in_language(language)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("interface", "right"),
    [(TICKET, "JS-SDK"), (STABLE_TOKEN, "获取access_token"), (PROBE, "获取微信服务器IP地址")],
)
def test_48001_names_the_interface_and_the_right_that_the_account_lacks(interface, right, language):
    hint = WeChatRefused(48001, "api unauthorized", interface).hint.in_language(language)
    assert interface in hint
    assert f"接口权限与额度 → {'网页服务' if right == 'JS-SDK' else '基础支持'} → {right}" in hint


def test_48001_of_an_interface_without_a_known_right_says_where_rights_stand():
    hint = WeChatRefused(48001, "api unauthorized", "/cgi-bin/menu/get").hint
    assert "接口权限与额度" in hint.en
    assert "接口权限与额度" in hint.zh


@pytest.mark.parametrize("language", ["en", "zh"])
def test_45009_tells_the_operator_what_our_own_ledger_counted_and_the_public_not(language):
    error = WeChatRefused(45009, "api freq out of limit", STABLE_TOKEN, used=0, limit=2000)
    assert re.search(r"\b0\b.*\b2000\b", error.operator_hint.in_language(language))
    assert "2000" not in error.hint.in_language(language)
    assert WeChatRefused(45009, "no", STABLE_TOKEN).operator_hint == error.hint


def test_no_sentence_names_a_place_that_wechat_s_console_has_left():
    said = " ".join(f"{text.en} {text.zh}" for text in catalogue())
    assert re.search(r"开发信息|基本配置|设置与开发|公众号设置", said) is None


def test_an_errcode_that_is_not_listed_is_told_with_its_number():
    error = WeChatRefused(88888, "new refusal", TICKET)
    assert error.code == "wechat_refused"
    assert "88888" in error.message.en
    assert "88888" in error.message.zh
    assert "new refusal" in str(error)


# ----------------------------------------------------------------------------------------------- errmsg


@pytest.mark.parametrize(
    ("errmsg", "text", "rid", "egress_ip"),
    [
        (
            f"invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist rid: {RID}",
            "invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist", RID, "192.0.2.7",
        ),
        (
            f"invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist, rid: {RID}",
            "invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist", RID, "192.0.2.7",
        ),
        (
            "invalid ip 192.0.2.7, not in whitelist hint: [aB1 req_2]",
            "invalid ip 192.0.2.7, not in whitelist", "aB1 req_2", "192.0.2.7",
        ),
        (f"invalid ip ::ffff:192.0.2.7, not in whitelist rid: {RID}",
         "invalid ip ::ffff:192.0.2.7, not in whitelist", RID, "192.0.2.7"),
        ("invalid ip 2001:db8::7, not in whitelist", "invalid ip 2001:db8::7, not in whitelist", "", "2001:db8::7"),
        ("invalid ip 999.0.2.7, not in whitelist", "invalid ip 999.0.2.7, not in whitelist", "", ""),
        (f"invalid appid rid: {RID}", "invalid appid", RID, ""),
        (f"invalid appid, rid: {RID}", "invalid appid", RID, ""),
        (f"access_token expired rid: {RID}", "access_token expired", RID, ""),
        ("invalid credential hints: [ req_id: Kq7ma ]", "invalid credential", "Kq7ma", ""),
        (
            "not allow to access from your ip, hint: [1688706313], from ip: 192.0.2.7, more info at https://x.test/?e=60020",
            "not allow to access from your ip, from ip: 192.0.2.7, more info at https://x.test/?e=60020",
            "1688706313", "192.0.2.7",
        ),
        (
            (f"invalid credential, access_token is invalid or not latest, could get access_token by "
            f"getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r rid: {RID}"),
            ("invalid credential, access_token is invalid or not latest, could get access_token by "
            "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"), RID, "",
        ),
        ("api freq out of limit", "api freq out of limit", "", ""),
        ("", "", "", ""),
    ],
)  # fmt: skip
def test_an_errmsg_is_taken_apart_in_every_form_seen_since_2016(errmsg, text, rid, egress_ip):
    parsed = parse_errmsg(errmsg)
    assert (parsed.text, parsed.rid, parsed.egress_ip) == (text, rid, egress_ip)
    refused = WeChatRefused(40164, errmsg, TOKEN)
    assert (refused.rid, refused.egress_ip) == (rid, egress_ip)


@pytest.mark.parametrize(
    ("errmsg", "public"),
    [
        (
            f"invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist rid: {RID}",
            "invalid ip *** ipv6 ***, not in whitelist rid: ***",
        ),
        ("invalid ip 2001:db8::7, not in whitelist hint: [abc]", "invalid ip ***, not in whitelist rid: ***"),
        ("not allowed, hint: [168], from ip: 192.0.2.7, see https://x.test/?e=1",
         "not allowed rid: ***, from ip: ***, see https://x.test/?e=1"),
        ("api unauthorized", "api unauthorized"),
        ("not allowed from ip:10.9.8.7, see", "not allowed from ip:***, see"),
        ("invalid ip:2001:db8::7.", "invalid ip:***."),
        ("requestIP:10.9.8.7:443 v10.9.8.7", "requestIP:*** v***"),
        ("x" * 490 + " 10.9.8.77.", "x" * 490),
    ],
)  # fmt: skip
def test_the_public_errmsg_masks_addresses_and_request_ids_and_nothing_else(errmsg, public):
    assert WeChatRefused(40164, errmsg, TOKEN).public_errmsg == public


@given(
    st.text(),
    st.ip_addresses(),
    st.sampled_from(["invalid ip {}, not in whitelist", "from ip: {}", "x {} y {}"]),
)
def test_no_address_in_whatever_errmsg_reaches_the_public(noise, address, form):
    assert str(address) not in mask_errmsg(f"{form.format(address, address)} {noise}").replace(noise, "")


@given(st.text() | st.from_regex(r"(invalid ip|from ip:|rid:|hints?:) [\[\]0-9a-f:. ]*"))
def test_no_errmsg_breaks_the_parser(errmsg):
    parsed = parse_errmsg(errmsg)
    assert len(parsed.text) <= len(errmsg)
    mask_errmsg(errmsg)


GROWING = [",", " ,", "rid:", "rid: ", "hint:[", "hint: [", "from ip: ", "1.", "a:", "::", "1", "secret=", "secret: ",
           "bearer+", "://a:", "\\", "token%3D", "password \t"]  # fmt: skip


@pytest.mark.parametrize(
    "read",
    [mask_errmsg, parse_errmsg, redact, lambda errmsg: str(WeChatRefused(40164, errmsg, TOKEN))],
    ids=["mask", "parse", "redact", "error"],
)
@pytest.mark.parametrize("piece", GROWING)
def test_reading_an_errmsg_costs_time_in_proportion_to_its_length_at_the_most(read, piece):
    def seconds(characters: int) -> float:
        errmsg = (piece * characters)[:characters]
        started = time.perf_counter()
        read(errmsg)
        return time.perf_counter() - started

    # Squared growth is a factor of 64. The best of a round shows the work, the rest is the machine's other business.
    ratios = (min(seconds(8_000) for _ in range(3)) / min(seconds(1_000) for _ in range(3)) for _ in range(5))
    assert any(ratio < 24 for ratio in ratios)


def test_an_error_keeps_no_more_of_an_errmsg_than_a_line():
    assert len(WeChatRefused(40013, "," * 16_000, TOKEN).errmsg) == 500
