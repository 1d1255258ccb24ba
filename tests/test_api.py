"""The HTTP API against a service whose WeChat is the sandbox; `/jsconfig` through both of its adapters."""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import pytest
from at_sandbox import (
    APP_IDS,
    FAR_KEY,
    KEEPER_KEY,
    READER_KEY,
    SECRET,
    SHOP_KEY,
    control,
    service_at,
    verdict,
    wechat,
)
from flask import Flask, Request, request
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Response

from wxsign.accounts import sha256_of_key
from wxsign.api import blueprint
from wxsign.http import answers, calls, gate, jsconfig
from wxsign.http.jsconfig import JsConfigLayer
from wxsign.logs import JsonFormatter
from wxsign.signing import JS_API_LIST
from wxsign.web import create_app

PAGE = "https://m.example.com/a?b=1"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Reply(Response):
    """An answer as an adapter gave it, with nothing of a test client's in between."""

    @property
    def text(self):
        return self.get_data(as_text=True)


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture(scope="module")
def service(sandbox):
    with service_at(sandbox.url) as service:
        yield service


@pytest.fixture(params=["layer", "view"])
def ask(request, service):
    """Send one request to `/jsconfig` through one of its adapters, with the query as it is."""
    return asker(service, request.param)


def asker(service, adapter):
    if adapter == "layer":
        application, prefix = create_app(service).wsgi_app, ""
        assert isinstance(application, JsConfigLayer)
    else:
        app, prefix = Flask("host"), "/wx"
        app.register_blueprint(blueprint(service), url_prefix=prefix)
        application = app

    def ask(query="", *, method="GET", body=None, headers=None):
        environ = EnvironBuilder(
            f"{prefix}/jsconfig", method=method, data=body, headers=headers or {}
        ).get_environ()
        environ["QUERY_STRING"] = query
        return Reply.from_app(application, environ)

    return ask


def page_query(page=PAGE, **more):
    return urlencode({"url": page, **more}, quote_via=quote)


def assert_error(response, status, code):
    """The one error shape, with everything that an error answer of a public endpoint carries."""
    assert response.status_code == status, response.text
    error = response.json["error"]
    assert set(error) == {"code", "message", "hint", "docs", "request_id"}
    assert error["code"] == code
    assert error["message"]
    assert error["docs"] == f"docs/http-api.md#{code}"
    assert error["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    return error


def test_an_answer_can_be_passed_to_wx_config_as_it_is_and_its_signature_verifies(ask, sandbox):
    response = ask(page_query())
    assert response.status_code == 200
    config = response.json
    assert list(config) == ["appId", "timestamp", "nonceStr", "signature", "url", "jsApiList", "openTagList"]
    assert config["appId"] == APP_IDS["shop"]
    assert config["jsApiList"] == list(JS_API_LIST)
    assert verdict(sandbox, config, PAGE) == "ok"
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Origin" not in response.headers


WAYS = {
    "query": {"query": page_query()},
    "query, unencoded": {"query": f"url={PAGE}"},
    "query with an empty account": {"query": page_query(account="")},
    "query with a name that is percent-encoded": {"query": f"u%72l={quote(PAGE, safe='')}"},
    "form": {"method": "POST", "body": page_query(), "headers": FORM},
    "form with a charset": {
        "method": "POST",
        "body": page_query(),
        "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"},
    },
    "query of a post without body": {"query": page_query(), "method": "POST"},
    "json": {"method": "POST", "body": json.dumps({"url": PAGE}), "headers": JSON},
    "json with nothing as account": {
        "method": "POST",
        "body": json.dumps({"url": PAGE, "account": None, "other": [1]}),
        "headers": JSON,
    },
    "json with the account in the query": {
        "query": "account=shop",
        "method": "POST",
        "body": json.dumps({"url": PAGE}),
        "headers": {"Content-Type": "Application/JSON; charset=utf-8"},
    },
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_url_may_come_by_query_form_or_json(ask, sandbox, way):
    response = ask(**way)
    assert response.status_code == 200, response.text
    assert response.json["url"] == PAGE
    assert verdict(sandbox, response.json, PAGE) == "ok"


SIGNED_AS_SENT = {
    "upper-case host": "https://M.Example.COM/",
    "default port written out": "https://m.example.com:443/",
    "port that is listed": "https://m.example.com:8443/",
    "no path": "https://m.example.com",
    "non-ASCII": "https://m.example.com/活动?名=值",
    "percent-encoded inside": "https://m.example.com/%E6%B4%BB?a=%2F%26",
    "plus": "https://m.example.com/?a=1+1",
    "long": "https://m.example.com/?a=" + "x" * 4000,
    "subdomain of a wildcard": "http://a.b.shop.example.com/",
    "listed IP": "http://192.0.2.1/",
}


@pytest.mark.parametrize("page", SIGNED_AS_SENT.values(), ids=SIGNED_AS_SENT)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_url_is_signed_exactly_as_it_was_sent(ask, sandbox, page, method):
    if method == "GET":
        response = ask(page_query(page))
    else:
        response = ask(
            method="POST", body=json.dumps({"url": page}, ensure_ascii=False).encode(), headers=JSON
        )
    assert response.status_code == 200, response.text
    assert response.json["url"] == page
    told = {warning["code"] for warning in response.json.get("warnings", ())}
    assert told <= {"not_a_browser_address"}
    assert verdict(sandbox, response.json, page) == "ok"


def test_raw_non_ascii_bytes_in_the_query_are_read_as_utf8(ask):
    page = "https://m.example.com/活动"
    response = ask(f"url={page}".encode().decode("latin-1"))
    assert response.json["url"] == page


BAD_URLS = {
    "absent": ("", 400, "url_required"),
    "empty": ("url=", 400, "url_required"),
    "blank": ("url=%20", 400, "url_required"),
    "relative": (page_query("/a"), 400, "url_not_absolute"),
    "host alone": (page_query("m.example.com/a"), 400, "url_not_absolute"),
    "another scheme": (page_query("ftp://m.example.com/"), 400, "url_scheme"),
    "javascript": (page_query("javascript:alert(1)"), 400, "url_scheme"),
    "line break": (page_query("https://m.example.com/\r\nx"), 400, "url_control_characters"),
    "tab in the host": (page_query("https://m.exam\tple.com/"), 400, "url_control_characters"),
    "zero byte": (page_query("https://m.example.com/\0"), 400, "url_control_characters"),
    "too long": (page_query("https://m.example.com/" + "a" * 8192), 400, "url_too_long"),
    "user info": (page_query("https://m.example.com@evil.test/"), 400, "url_user_info"),
    "backslash": (page_query("https://evil.test\\@m.example.com/"), 400, "url_backslash"),
    "trailing dot": (page_query("https://m.example.com./"), 400, "url_host"),
    "homograph": (page_query("https://m.exаmple.com/"), 400, "url_host"),
    "full-width": (page_query("https://ｍ.example.com/"), 400, "url_host"),
    "percent in the host": (page_query("https://m.example%2ecom/"), 400, "url_host"),
    "port zero": (page_query("https://m.example.com:0/"), 400, "url_port"),
    "prefix of another domain": (page_query("https://m.example.com.evil.test/"), 403, "host_not_allowed"),
    "name in the query": (page_query("https://evil.test/?m.example.com"), 403, "host_not_allowed"),
    "name in the fragment": (page_query("https://evil.test/#@m.example.com"), 403, "host_not_allowed"),
    "port not listed": (page_query("https://m.example.com:8444/"), 403, "host_not_allowed"),
    "port of the other scheme": (page_query("http://m.example.com:443/"), 403, "host_not_allowed"),
    "domain of a wildcard itself": (page_query("https://shop.example.com/"), 403, "host_not_allowed"),
    "IP not listed": (page_query("https://192.0.2.2/"), 403, "host_not_allowed"),
    "account without hosts": (page_query(account="bare"), 403, "no_allowed_hosts"),
    "unknown account": (page_query(account="nobody"), 404, "unknown_account"),
    "not its host": (page_query(account="news"), 403, "host_not_allowed"),
    "two accounts claim it": (page_query("https://shared.example.com/"), 400, "account_required"),
    "url twice": (f"{page_query()}&{page_query()}", 400, "duplicate_parameter"),
    "account twice": (page_query(account="shop") + "&account=news", 400, "duplicate_parameter"),
    "not UTF-8": ("url=https%3A%2F%2Fm.example.com%2F%ff", 400, "not_utf8"),
    "account not UTF-8": (page_query() + "&account=%ff", 400, "not_utf8"),
}  # fmt: skip
NO_ACCOUNT_CLAIMS = {"prefix of another domain", "name in the query", "name in the fragment", "port not listed",
                     "port of the other scheme", "domain of a wildcard itself", "IP not listed"}  # fmt: skip


@pytest.mark.parametrize(("query", "status", "code"), BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_request_gets_a_code_of_its_own_that_any_page_may_read(ask, query, status, code, request):
    if any(f"[{name}]" in f"[{request.node.callspec.id.split('-', 1)[-1]}]" for name in NO_ACCOUNT_CLAIMS):
        query += "&account=shop"
    response = ask(query, headers={"Origin": "https://evil.test"})
    assert_error(response, status, code)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Vary"] == "Origin"


def test_a_host_that_no_account_claims_needs_an_account_where_there_are_several(ask):
    assert_error(ask(page_query("https://evil.test/")), 400, "account_required")


BAD_BODIES = {
    "not JSON": ("{", JSON, 400, "json_malformed"),
    "empty JSON": (" ", JSON, 400, "json_malformed"),
    "not UTF-8": (b'{"url": "\xff"}', JSON, 400, "json_malformed"),
    "nested without end": ("[" * 60_000, JSON, 400, "json_malformed"),
    "a huge number": ('{"url": ' + "9" * 5000 + "}", JSON, 400, "json_malformed"),
    "a list": ("[]", JSON, 400, "json_not_object"),
    "a text": ('"x"', JSON, 400, "json_not_object"),
    "an object without url": ("{}", JSON, 400, "url_required"),
    "nothing as url": ('{"url": null}', JSON, 400, "url_required"),
    "a number as url": ('{"url": 1}', JSON, 400, "url_not_text"),
    "a list as url": ('{"url": ["https://m.example.com/"]}', JSON, 400, "url_not_text"),
    "an object as account": ('{"url": "https://m.example.com/", "account": {}}', JSON, 400, "account_not_text"),
    "url twice": ('{"url": "https://m.example.com/", "url": "x"}', JSON, 400, "duplicate_parameter"),
    "half a surrogate pair": ('{"url": "https://m.example.com/\\ud800"}', JSON, 400, "url_malformed"),
    "half a surrogate pair as account": ('{"url": "https://m.example.com/", "account": "\\ud800"}', JSON, 404, "unknown_account"),
    "form that is not UTF-8": (b"url=%ff", FORM, 400, "not_utf8"),
    "another type": ("x", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    "multipart": ("x", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
    "no type": ("x", {}, 415, "unsupported_media_type"),
    "too large": ("x" * (64 * 1024 + 1), FORM, 413, "body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_gets_a_code_of_its_own(ask, body, headers, status, code):
    response = ask(method="POST", body=body, headers=headers)
    assert_error(response, status, code)
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_a_body_of_64_kilobytes_is_still_read(ask):
    body = page_query() + "&x=" + "y" * (64 * 1024 - len(page_query()) - 3)
    assert ask(method="POST", body=body, headers=FORM).status_code == 200


@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        (page_query(), {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}, 200),
        ("x" * 70_000, {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}, 413),
        (page_query(), {"CONTENT_LENGTH": ""}, 400),
        (page_query(), {"CONTENT_LENGTH": "-1"}, 413),
        (page_query(), {"CONTENT_LENGTH": "9" * 30}, 413),
    ],
    ids=["ended by the server", "too large", "not ended by the server", "negative length", "huge length"],
)
def test_a_body_is_read_by_its_length_or_to_the_end_that_the_server_gives_it(service, body, more, status):
    environ = EnvironBuilder("/jsconfig", method="POST", data=body, headers=FORM).get_environ()
    assert Reply.from_app(create_app(service).wsgi_app, environ | more).status_code == status


def test_a_body_that_breaks_off_counts_as_none(service):
    class Broken:
        def read(self, _):
            raise OSError("no more data")

    environ = EnvironBuilder("/jsconfig", method="POST", data="x", headers=JSON).get_environ()
    response = Reply.from_app(create_app(service).wsgi_app, environ | {"wsgi.input": Broken()})
    assert_error(response, 400, "json_malformed")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_another_method_is_told_which_ones_there_are(ask, method):
    response = ask(page_query(), method=method)
    assert_error(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_a_head_request_gets_the_headers_alone(ask):
    response = ask(page_query(), method="HEAD")
    assert (response.status_code, response.data) == (200, b"")
    assert int(response.headers["Content-Length"]) > 500


WARNED = {
    "fragment": (page_query(PAGE + "#top"), PAGE, "fragment"),
    "encoded twice": (page_query(quote(PAGE, safe="")), PAGE, "encoded_twice"),
    "entity": (page_query("https://m.example.com/?a=1&amp;b=2"), "https://m.example.com/?a=1&amp;b=2", "html_entity"),
    "cut at the ampersand": ("url=https://m.example.com/?a=1&b=2", "https://m.example.com/?a=1", "cut_at_ampersand"),
    "raw plus": ("url=https://m.example.com/?a=1+1", "https://m.example.com/?a=1 1", "space"),
    "undefined": (page_query("https://m.example.com/?id=undefined"), "https://m.example.com/?id=undefined", "undefined"),
}  # fmt: skip


@pytest.mark.parametrize(("query", "signed", "code"), WARNED.values(), ids=WARNED)
def test_a_url_that_looks_wrong_is_signed_and_warned_of_in_the_callers_language(ask, query, signed, code):
    chinese = ask(query, headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}).json
    english = ask(query).json
    assert chinese["url"] == english["url"] == signed
    assert [warning["code"] for warning in english["warnings"]] == [code]
    assert set(english["warnings"][0]) == {"code", "message", "hint"}
    assert english["warnings"][0]["message"].isascii()
    assert not chinese["warnings"][0]["message"].isascii()


def test_an_unencoded_url_in_a_form_is_warned_of_too(ask):
    answer = ask(method="POST", body="url=https://m.example.com/?a=1&b=2", headers=FORM).json
    assert [warning["code"] for warning in answer["warnings"]] == ["cut_at_ampersand"]


ORIGINS = {
    "https://m.example.com": True,
    "http://m.example.com": True,
    "https://m.example.com:8443": True,
    "https://x.shop.example.com": True,
    "https://M.EXAMPLE.COM": True,
    "null": False,
    "https://evil.test": False,
    "https://m.example.com.evil.test": False,
    "https://m.example.com@evil.test": False,
    "https://m.example.com:8444": False,
    "https://m.example.com/": False,
    "https://m.example.com?": False,
    "https://m.example.com#": False,
    "https%3A%2F%2Fm.example.com": False,
    "https://news.example.com": False,
    "file://": False,
    "*": False,
    "https://[::1": False,
}


@pytest.mark.parametrize(("origin", "allowed"), ORIGINS.items(), ids=list(ORIGINS))
def test_only_origins_that_the_account_may_sign_for_may_read_the_answer(ask, origin, allowed):
    response = ask(page_query(), headers={"Origin": origin})
    assert response.status_code == 200
    assert response.headers.get("Access-Control-Allow-Origin") == (origin.strip() if allowed else None)
    assert response.headers["Vary"] == "Origin"
    assert response.headers.get("Access-Control-Allow-Credentials") == ("true" if allowed else None)


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://news.example.com", True), ("https://evil.test", False), ("null", False)]
)
def test_a_preflight_is_granted_to_the_origins_of_any_account(ask, origin, allowed):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    response = ask(method="OPTIONS", headers=headers)
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert ("POST" in response.headers.get("Access-Control-Allow-Methods", "")) is allowed
    assert response.headers.get("Access-Control-Allow-Headers", "") == ("content-type" if allowed else "")
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"), ("zh", "zh"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-US,en;q=0.9,zh-CN;q=0.8", "en"), ("fr,zh;q=0.5", "zh"),
        ("zh;q=0,en;q=0.1", "en"), ("zh;q=0", "en"), ("en;q=0.5,zh;q=x", "en"), ("de", "en"), ("EN, ZH", "en"), ("zh-Hant-TW", "zh"),
        ("zh;level=1", "zh"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_that_the_header_prefers(header, language):
    assert calls.language_of(header) == language


def test_errors_speak_chinese_to_those_who_prefer_it(ask):
    assert "缺" in ask(headers={"Accept-Language": "zh-CN"}).json["error"]["message"]


@pytest.mark.parametrize("given", ["0123abcd", "A.b-c_9x" * 16])
def test_a_sane_request_id_of_the_proxy_is_kept(ask, given):
    assert ask(page_query(), headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "short", "x" * 129, "a b c d e f", "<script>", "名字名字名字"])
def test_any_other_request_id_is_replaced(ask, given):
    seen = ask(page_query(), headers={"X-Request-Id": given.encode().decode("latin-1")}).headers[
        "X-Request-Id"
    ]
    assert re.fullmatch(r"[0-9a-f]{16}", seen)


def test_a_refused_request_is_logged_with_its_id_and_without_its_query(ask, caplog):
    with caplog.at_level(logging.INFO):
        ask("url=/code%3Dsecret", headers={"X-Request-Id": "id-of-the-proxy"})
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name == "wxsign.http"]
    assert json.loads(lines[-1])["request_id"] == "id-of-the-proxy"
    assert json.loads(lines[-1])["code"] == "url_not_absolute"
    assert "secret" not in "".join(lines)


def test_an_unexpected_failure_is_a_500_in_our_shape_with_its_traceback_in_the_log_alone(
    ask, service, monkeypatch, caplog
):
    def broken(*_):
        raise ZeroDivisionError(f"secret={SECRET}")

    monkeypatch.setattr(service, "jsconfig", broken)
    response = ask(page_query(), headers={"X-Request-Id": "a-request"})
    assert_error(response, 500, "internal_error")
    assert "ZeroDivision" not in response.text
    record = next(record for record in caplog.records if record.name == "wxsign.http" and record.exc_info)
    line = JsonFormatter().format(record)
    assert "ZeroDivisionError" in line
    assert "a-request" in line
    assert SECRET not in line


@pytest.mark.parametrize("adapter", ["layer", "view"])
@pytest.mark.parametrize(
    ("fault", "cause", "errcode"),
    [
        ({"kind": "errcode", "errcode": 40164}, "ip_not_whitelisted", 40164),
        ({"kind": "errcode", "errcode": 40125}, None, 40125),
        ({"kind": "html"}, "wechat_not_json", None),
        ({"kind": "status", "status": 502}, "wechat_http_status", None),
    ],
)
def test_without_a_ticket_a_page_is_told_why_at_once_and_when_to_ask_again(adapter, fault, cause, errcode):
    with wechat() as server, service_at(server.url) as service:
        control(server, "faults", endpoint="*", times=None, **fault)
        ask = asker(service, adapter)
        first = ask(page_query(), headers={"Origin": "https://m.example.com"})
        took = min(timed(ask) for _ in range(5))
        control(server, "faults/clear")
    assert_error(first, 503, "credential_unavailable")
    assert int(first.headers["Retry-After"]) >= 1
    assert first.headers["Access-Control-Allow-Origin"] == "https://m.example.com"
    assert "Retry-After" in first.headers["Access-Control-Expose-Headers"]
    assert first.json.get("errcode") == errcode
    assert cause is None or first.json["cause"] == cause
    assert first.json["error"]["hint"]
    assert SECRET not in first.text
    assert "127.0.0.1" not in first.text
    assert took < 0.05


def timed(ask):
    started = time.perf_counter()
    assert ask(page_query()).status_code == 503
    return time.perf_counter() - started


# The protected API.


@pytest.fixture
def client(service):
    return create_app(service).test_client()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


TOKEN = "/api/v1/accounts/shop/access_token"
REFRESH = f"{TOKEN}/refresh"
TICKET = "/api/v1/accounts/shop/tickets/jsapi"


def test_a_client_reads_the_token_with_the_seconds_that_it_has_left(client, sandbox):
    response = client.get(TOKEN, headers=bearer(READER_KEY))
    assert response.status_code == 200
    answer = response.json
    assert set(answer) == {"access_token", "expires_in", "expires_at", "recheck_after_seconds"}
    left = control(sandbox, "check_token", access_token=answer["access_token"])["expires_in"]
    assert abs(answer["expires_in"] - left) <= 2
    assert abs(answer["expires_at"] - time.time() - answer["expires_in"]) <= 2
    assert 0 < answer["recheck_after_seconds"] <= 60
    assert response.headers["Cache-Control"] == "no-store"


def test_an_account_goes_by_its_appid_too(client):
    by_name = client.get(TOKEN, headers=bearer(READER_KEY)).json
    by_app_id = client.get(TOKEN.replace("shop", APP_IDS["shop"]), headers=bearer(READER_KEY)).json
    assert by_name["access_token"] == by_app_id["access_token"]


def test_a_client_reads_the_ticket_that_signatures_are_made_with(client):
    answer = client.get(TICKET, headers=bearer(KEEPER_KEY)).json
    assert set(answer) == {"ticket", "expires_in", "expires_at"}
    config = client.get(f"/jsconfig?{page_query()}").json
    string1 = f"jsapi_ticket={answer['ticket']}&noncestr={config['nonceStr']}&timestamp={config['timestamp']}&url={PAGE}"
    import hashlib  # noqa: PLC0415 - the oracle of this test alone

    assert hashlib.sha1(string1.encode()).hexdigest() == config["signature"]


@pytest.mark.parametrize("path", ["access_token", "tickets/jsapi"])
def test_who_has_the_value_already_is_told_so_without_it(client, path, caplog):
    path = f"/api/v1/accounts/shop/{path}"
    first = client.get(path, headers=bearer(KEEPER_KEY))
    tag = first.headers["ETag"]
    assert re.fullmatch(r'W/"[0-9a-f]{32}"', tag)
    with caplog.at_level(logging.INFO):
        for known in (tag, tag.removeprefix("W/"), f'"other", {tag}'):
            again = client.get(path, headers=bearer(KEEPER_KEY) | {"If-None-Match": known})
            assert (again.status_code, again.data) == (304, b"")
            assert (again.headers["ETag"], again.headers["Cache-Control"]) == (tag, "no-store")
            assert again.headers["X-Request-Id"]
            assert "Content-Type" not in again.headers
    assert [record.message for record in caplog.records].count("wxsign.api") == 3
    for other in ("", '"other"', tag[:-2] + '"', tag[3:-1]):
        again = client.get(path, headers=bearer(KEEPER_KEY) | {"If-None-Match": other})
        assert again.status_code == 200
        assert set(again.json) == set(first.json)


def test_a_tag_without_a_key_opens_nothing(client):
    path = "/api/v1/accounts/shop/access_token"
    tag = client.get(path, headers=bearer(KEEPER_KEY)).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 401


def test_another_token_has_another_tag():
    with wechat() as sandbox, service_at(sandbox.url) as service:
        client, path = Client(create_app(service)), "/api/v1/accounts/shop/access_token"
        tag = client.get(path, headers=bearer(KEEPER_KEY)).headers["ETag"]
        control(sandbox, "kill", appid=APP_IDS["shop"], credential="stable_token")
        old = service.access_token("shop").value
        assert service.report_rejected("shop", old).value != old
        answer = client.get(path, headers=bearer(KEEPER_KEY) | {"If-None-Match": tag})
        assert answer.status_code == 200
        assert answer.headers["ETag"] != tag


def test_the_verdict_belongs_to_what_the_tag_says(client):
    path = "/api/v1/accounts/shop/access_token"
    tag = client.get(path, headers=bearer(KEEPER_KEY)).headers["ETag"]
    answer = client.get(f"{path}?verify=1", headers=bearer(KEEPER_KEY) | {"If-None-Match": tag})
    assert (answer.status_code, answer.json["verified"]) == (200, True)


def test_a_living_token_reported_as_rejected_is_returned_as_verified(client):
    held = client.get(TOKEN, headers=bearer(KEEPER_KEY)).json["access_token"]
    answer = client.post(REFRESH, json={"rejected": held}, headers=bearer(KEEPER_KEY)).json
    assert (answer["access_token"], answer["verified"]) == (held, True)
    late = client.post(REFRESH, json={"rejected": "an-old-token"}, headers=bearer(KEEPER_KEY)).json
    assert (late["access_token"], late["verified"]) == (held, False)


def test_a_dead_token_reported_as_rejected_is_replaced():
    with wechat() as server, service_at(server.url) as service:
        client = create_app(service).test_client()
        dead = client.get(TOKEN, headers=bearer(KEEPER_KEY)).json["access_token"]
        control(server, "kill", appid=APP_IDS["shop"], credential="stable_token")
        answer = client.post(REFRESH, json={"rejected": dead}, headers=bearer(KEEPER_KEY))
        assert answer.status_code == 200, answer.text
        assert answer.json["access_token"] != dead
        assert control(server, "check_token", access_token=answer.json["access_token"])["alive"]


BAD_REPORTS = {
    "no body": (b"", JSON, 400, "rejected_required"),
    "no token": (b"{}", JSON, 400, "rejected_required"),
    "an empty token": (b'{"rejected": ""}', JSON, 400, "rejected_required"),
    "a number": (b'{"rejected": 1}', JSON, 400, "rejected_not_text"),
    "nothing": (b'{"rejected": null}', JSON, 400, "rejected_not_text"),
    "not JSON": (b"{", JSON, 400, "json_malformed"),
    "a list": (b"[]", JSON, 400, "json_not_object"),
    "a form": (b"rejected=x", FORM, 415, "unsupported_media_type"),
    "too large": (b"x" * 70_000, JSON, 413, "body_too_large"),
}


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD_REPORTS.values(), ids=BAD_REPORTS)
def test_a_bad_report_gets_a_code_of_its_own(client, body, headers, status, code):
    assert_error(client.post(REFRESH, data=body, headers=headers | bearer(KEEPER_KEY)), status, code)


def test_accounts_show_the_state_of_their_credentials_and_no_value(client):
    token = client.get(TOKEN, headers=bearer(KEEPER_KEY)).json["access_token"]
    ticket = client.get(TICKET, headers=bearer(KEEPER_KEY)).json["ticket"]
    response = client.get("/api/v1/accounts", headers=bearer(KEEPER_KEY))
    shop, other, bare = response.json["accounts"]
    assert (shop["name"], shop["app_id"], shop["kind"], shop["token_endpoint"]) == (
        "shop", APP_IDS["shop"], "official", "stable",
    )  # fmt: skip
    assert [(row["kind"], row["state"]) for row in shop["credentials"]] == [
        ("access_token", "usable"),
        ("jsapi", "usable"),
    ]
    assert {row["kind"] for account in (other, bare) for row in account["credentials"]} >= {"access_token"}
    assert not any(value in response.text for value in (token, ticket, SECRET))


def test_a_client_sees_its_own_accounts_only(client):
    seen = client.get("/api/v1/accounts", headers=bearer(SHOP_KEY)).json["accounts"]
    assert [account["name"] for account in seen] == ["shop"]


DENIED = {
    "no header": {},
    "another scheme": {"Authorization": f"Basic {READER_KEY}"},
    "an empty key": {"Authorization": "Bearer "},
    "a wrong key": bearer("w" * 40),
    "a key with blanks around, wrong": bearer("  x  "),
    "a hash instead of the key": bearer(sha256_of_key(READER_KEY)),
    "not ASCII": {"Authorization": "Bearer clé".encode().decode("latin-1")},
}


@pytest.mark.parametrize("headers", DENIED.values(), ids=DENIED)
@pytest.mark.parametrize("path", [TOKEN, TICKET, "/api/v1/accounts", "/api/v1/accounts/nobody/access_token"])
def test_without_a_right_key_everything_is_the_same_401(client, headers, path):
    response = client.get(path, headers=headers)
    assert_error(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="wxsign"'
    anything = client.get(TOKEN).json["error"] | {"request_id": response.json["error"]["request_id"]}
    assert response.json["error"] == anything


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("w" * 40), bearer(READER_KEY), bearer(FAR_KEY)],
    ids=["no", "wrong", "first", "last"],
)
def test_every_key_is_compared_with_every_hash_in_constant_time(client, headers, monkeypatch):
    compared = []
    compare = hmac.compare_digest

    def noting(a, b):
        compared.append(len(a) == len(b))
        return compare(a, b)

    # For this module alone: others of the process compare digests too.
    monkeypatch.setattr(gate, "hmac", SimpleNamespace(compare_digest=noting))
    client.get(TOKEN, headers=headers)
    assert compared == [True] * 5


def test_the_hash_of_nothing_lets_nobody_in():
    knows_nothing = gate.Gate([protected_client("")])
    for header in ("", "Bearer", "Bearer  "):
        with pytest.raises(gate.Unauthorized):
            knows_nothing.key(header)


def protected_client(key):
    from wxsign.accounts import ApiClient  # noqa: PLC0415 - used here alone

    return ApiClient("x", (sha256_of_key(key),))


FORBIDDEN = {
    "scope": ("POST", REFRESH, READER_KEY, "scopes"),
    "scope of tickets": ("GET", TICKET, READER_KEY, "scopes"),
    "account": ("GET", TOKEN.replace("shop", "news"), SHOP_KEY, "accounts"),
    "account by its appid": ("GET", TOKEN.replace("shop", APP_IDS["news"]), SHOP_KEY, "accounts"),
    "address": ("GET", TOKEN, FAR_KEY, "allow_from"),
}


@pytest.mark.parametrize(("method", "path", "key", "words"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_right_key_opens_only_what_it_is_for(client, method, path, key, words):
    error = assert_error(client.open(path, method=method, headers=bearer(key)), 403, "forbidden")
    assert words in error["hint"]


def test_a_client_kept_to_some_accounts_cannot_tell_which_others_exist(client):
    exists = client.get(TOKEN.replace("shop", "news"), headers=bearer(SHOP_KEY))
    absent = client.get(TOKEN.replace("shop", "nobody"), headers=bearer(SHOP_KEY))
    same = absent.json["error"] | {"request_id": exists.json["error"]["request_id"]}
    assert (exists.status_code, exists.json["error"]) == (absent.status_code, same)
    assert_error(
        client.get(TOKEN.replace("shop", "nobody"), headers=bearer(READER_KEY)), 404, "unknown_account"
    )


def test_the_address_is_the_one_that_the_trusted_proxies_report(sandbox):
    forwarded = bearer(FAR_KEY) | {"X-Forwarded-For": "198.51.100.7"}
    for proxies, status in ((0, 403), (1, 200)):
        with service_at(sandbox.url, trusted_proxies=proxies) as service:
            assert (
                create_app(service).test_client().get("/api/v1/accounts", headers=forwarded).status_code
                == status
            )


@pytest.mark.parametrize("path", [TOKEN, TICKET, REFRESH, "/api/v1/accounts", "/api/v1/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_the_protected_api_is_never_readable_across_origins(client, path, method):
    headers = bearer(KEEPER_KEY) | {"Origin": "https://m.example.com", "Access-Control-Request-Method": "GET"}
    response = client.open(path, method=method, headers=headers)
    assert not [name for name in response.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118 - not a mapping
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", TOKEN, "GET, HEAD"), ("GET", REFRESH, "POST"), ("OPTIONS", TICKET, "GET, HEAD")],
)
def test_a_wrong_method_of_the_protected_api_is_a_405(client, method, path, allow):
    response = client.open(path, method=method)
    assert_error(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == allow


def test_who_has_a_key_is_told_the_ip_to_add_and_who_has_none_is_not():
    with wechat() as server, service_at(server.url) as service:
        control(server, "settings", ip_whitelist=["198.51.100.1"])
        client = create_app(service).test_client()
        keyed = client.get(TOKEN, headers=bearer(KEEPER_KEY))
        public = client.get(f"/jsconfig?{page_query()}")
    assert_error(keyed, 503, "credential_unavailable")
    assert "127.0.0.1" in keyed.json["error"]["hint"]
    assert keyed.json["errcode"] == public.json["errcode"] == 40164
    assert "127.0.0.1" not in public.text
    assert "rid: " not in public.text.replace("rid: *", "")


def test_reading_a_token_is_logged_with_the_clients_name_and_never_its_value(client, caplog):
    with caplog.at_level(logging.INFO):
        token = client.get(TOKEN, headers=bearer(READER_KEY)).json["access_token"]
    line = next(JsonFormatter().format(record) for record in caplog.records if record.name == "wxsign.api")
    assert json.loads(line)["client"] == "reader"
    assert json.loads(line)["remote_addr"] == "127.0.0.1"
    assert token not in caplog.text
    assert READER_KEY not in caplog.text


def test_a_report_counts_on_the_client_that_sends_it(client, service, monkeypatch):
    reporters, report = [], service.report_rejected

    def noting(account, rejected, reporter=""):
        reporters.append(reporter)
        return report(account, rejected, reporter)

    monkeypatch.setattr(service, "report_rejected", noting)
    assert client.post(REFRESH, json={"rejected": "not-ours"}, headers=bearer(KEEPER_KEY)).status_code == 200
    assert client.get(f"{TOKEN}?verify=1", headers=bearer(KEEPER_KEY)).status_code == 200
    assert reporters == ["keeper", "keeper"]


def test_an_unexpected_failure_of_the_protected_api_is_a_500_in_our_shape(client, service, monkeypatch):
    monkeypatch.setattr(service, "account_states", lambda: 1 / 0)
    assert_error(client.get("/api/v1/accounts", headers=bearer(KEEPER_KEY)), 500, "internal_error")


def test_a_call_shows_neither_key_nor_query_when_printed():
    call = calls.call_of(
        {"REQUEST_METHOD": "GET", "QUERY_STRING": "code=1", "HTTP_AUTHORIZATION": "Bearer x"}
    )
    assert "code" not in repr(call)
    assert "Bearer" not in repr(call)


def test_an_existing_application_mounts_the_api_in_three_lines_and_keeps_its_own_errors(service):
    app = Flask("host")
    app.register_blueprint(blueprint(service), url_prefix="/wx")
    client = app.test_client()
    assert client.get(f"/wx/jsconfig?{page_query()}").json["appId"] == APP_IDS["shop"]
    assert client.get("/wx/api/v1/accounts", headers=bearer(KEEPER_KEY)).status_code == 200
    assert "error" in client.get("/wx/jsconfig").json
    assert "error" in client.post("/wx/api/v1/accounts").json
    assert client.get("/elsewhere").content_type.startswith("text/html")


def test_the_layer_leaves_every_other_path_to_the_application(service):
    seen = []

    def application(environ, start_response):
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    client = Client(JsConfigLayer(application, service))
    for path in ("/", "/jsconfig/", "/jsconfigs", "/x/jsconfig"):
        client.get(path)
    assert seen == ["/", "/jsconfig/", "/jsconfigs", "/x/jsconfig"]
    assert client.get(f"{jsconfig.JSCONFIG_PATH}?{page_query()}").json["appId"] == APP_IDS["shop"]
    assert len(seen) == 4


def test_the_api_works_in_an_application_that_has_read_the_body_first(service):
    for reads in (Request.get_data, lambda request: request.form):
        app = Flask("host")

        def audit(reads=reads):
            reads(request)

        app.before_request(audit)
        app.register_blueprint(blueprint(service), url_prefix="/wx")
        client = app.test_client()
        assert client.post("/wx/jsconfig", data={"url": PAGE}).status_code == 200, reads
        assert client.post("/wx/jsconfig", json={"url": PAGE}).status_code == 200, reads
        token = client.get(f"/wx{TOKEN}", headers=bearer(KEEPER_KEY)).json["access_token"]
        reported = client.post(f"/wx{TOKEN}/refresh", json={"rejected": token}, headers=bearer(KEEPER_KEY))
        assert reported.json["access_token"] == token, reads
        assert client.post("/wx/jsconfig", data=b"x" * (64 * 1024 + 1)).status_code == 413, reads


def test_who_has_no_key_is_refused_before_the_body_is_read(service):
    def never(_size=-1):
        raise AssertionError("the body was read")

    environ = EnvironBuilder(f"{TOKEN}/refresh", method="POST", data=b"{}", headers=JSON).get_environ()
    environ["wsgi.input"] = type("Body", (), {"read": staticmethod(never), "readline": staticmethod(never)})()
    answers = []
    create_app(service)(environ, lambda status, _headers: answers.append(status))
    assert answers == ["401 UNAUTHORIZED"] or answers[0].startswith("401")


def test_a_name_given_twice_in_a_report_is_refused(client):
    response = client.post(
        REFRESH,
        data='{"rejected": "one", "rejected": "other"}',
        headers=bearer(KEEPER_KEY) | {"Content-Type": "application/json"},
    )
    assert_error(response, 400, "duplicate_parameter")


@pytest.mark.parametrize(
    ("headers", "path", "client_name", "reason"),
    [
        ({}, TOKEN, "", "no key"),
        (bearer("w" * 40), TOKEN, "", "unknown key"),
        (bearer(READER_KEY), TICKET, "reader", "scope"),
        (bearer(SHOP_KEY), TOKEN.replace("shop", "news"), "shop-only", "account"),
        (bearer(FAR_KEY), TOKEN, "far", "address"),
    ],
)
def test_the_log_says_who_was_turned_away_and_why(client, caplog, headers, path, client_name, reason):
    caplog.set_level("WARNING", logger="wxsign.api")
    assert client.get(path, headers=headers).status_code in {401, 403}
    (line,) = [record.fields for record in caplog.records if record.msg == "wxsign.denied"]
    assert (line["client"], line["reason"], line["remote_addr"]) == (client_name, reason, "127.0.0.1")
    assert not any(str(value) and str(value) in str(line) for value in headers.values())


def test_no_answer_shows_its_body_in_its_repr():
    assert "secret-token" not in repr(answers.Answer(200, [], b"secret-token"))


LANDING = "https://m.example.com/first?code=061VqKFa1&state=x"


@pytest.mark.parametrize("way", ["GET", "form", "JSON"])
def test_one_call_brings_two_signatures_where_the_page_was_opened_at_another_url(ask, sandbox, way):
    if way == "GET":
        response = ask(page_query() + f"&landing_url={quote(LANDING, safe='')}")
    elif way == "form":
        body = f"url={quote(PAGE, safe='')}&landing_url={quote(LANDING, safe='')}"
        response = ask(method="POST", body=body.encode(), headers=FORM)
    else:
        body = json.dumps({"url": PAGE, "landing_url": LANDING}).encode()
        response = ask(method="POST", body=body, headers=JSON)
    config = response.json
    assert verdict(sandbox, config, PAGE) == "ok"
    landing = config.pop("landing")
    assert landing["url"] == LANDING
    assert verdict(sandbox, config | landing, LANDING) == "ok"


@pytest.mark.parametrize("landing", ["", quote(PAGE, safe=""), quote(PAGE + "#part", safe="")])
def test_without_another_landing_url_the_answer_is_as_ever(ask, landing):
    assert "landing" not in ask(page_query() + f"&landing_url={landing}").json


def test_the_landing_url_s_host_must_be_one_of_the_account_too(ask):
    response = ask(page_query() + "&landing_url=https%3A%2F%2Fevil.test%2F")
    assert_error(response, 403, "host_not_allowed")
    assert "evil.test" in response.json["error"]["message"]


def test_headers_that_an_app_s_client_adds_are_allowed_to_its_own_origins_and_what_is_no_name_is_not(ask):
    asked = "authorization,token,x-requested-with"
    headers = {"Origin": "https://m.example.com", "Access-Control-Request-Headers": asked}
    allowed = ask(method="OPTIONS", headers=headers)
    assert allowed.headers["Access-Control-Allow-Headers"] == asked
    assert allowed.headers["Access-Control-Allow-Credentials"] == "true"
    foreign = ask(method="OPTIONS", headers=headers | {"Origin": "https://evil.test"})
    assert "Access-Control-Allow-Headers" not in foreign.headers
    odd = ask(method="OPTIONS", headers=headers | {"Access-Control-Request-Headers": "a b;c"})
    assert odd.headers["Access-Control-Allow-Headers"] == "Content-Type"
    refused = ask("url=nonsense", headers={"Origin": "https://m.example.com"})
    assert refused.headers["Access-Control-Allow-Origin"] == "https://m.example.com"
    assert refused.headers["Access-Control-Allow-Credentials"] == "true"
