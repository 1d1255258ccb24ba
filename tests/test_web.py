"""The whole application: pages, health checks, static files, headers, error answers, and what dev mode adds."""

from __future__ import annotations

import base64
import hashlib
import re
from ipaddress import ip_network
from pathlib import Path
from typing import get_args

import pytest
from at_sandbox import SECRET, control, service_at, settings_at, wechat
from running import wait_until
from werkzeug.test import Client

from wxsign import errcodes, errors
from wxsign.accounts import LOOPBACK, ApiClient
from wxsign.diagnosis.catalog import CATALOG
from wxsign.http import answers, pages, protected, rendering
from wxsign.http.calls import MAX_BODY_BYTES
from wxsign.platforms import WECOM_ERRCODES
from wxsign.service import WxSign
from wxsign.settings import table
from wxsign.settings.table import DEFAULT_API_BASE
from wxsign.signing import urls, warnings
from wxsign.web import DevMode, create_app

ROOT = Path(__file__).parent.parent
NOWHERE = "http://127.0.0.1:9"
BRIDGE = "http://127.0.0.1:8001/sandbox/bridge.js"
LATER = (
    "/status",
    "/cgi-bin/menu/get",
    "/MP_verify_x.txt",
)


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture(scope="module")
def service(sandbox):
    with service_at(sandbox.url) as service:
        yield service


@pytest.fixture
def client(service):
    return create_app(service).test_client()


def client_with(**settings):
    """A client of an application that speaks to nobody."""
    app = create_app(settings=settings_at(**{"api_base": NOWHERE, **settings}))
    SPEAKING_TO_NOBODY.append(app.extensions["wxsign"])
    return app.test_client()


SPEAKING_TO_NOBODY = []


@pytest.fixture(autouse=True, scope="module")
def _stopped():
    yield
    for service in SPEAKING_TO_NOBODY:
        service.stop()


def policy(response):
    parts = (part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    return dict(parts)


def assert_error(response, status, code):
    assert response.status_code == status
    assert response.json["error"]["code"] == code
    assert response.json["error"]["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "no-store"


def test_making_an_application_opens_nothing_and_starts_nothing(monkeypatch):
    monkeypatch.setattr(WxSign, "_make_broker", lambda _: pytest.fail("a broker was made"))
    app = create_app(settings=settings_at(NOWHERE))
    assert isinstance(app.extensions["wxsign"], WxSign)
    assert app.test_client().get("/healthz").json == {"status": "ok"}


def test_the_application_is_made_from_the_environment_by_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "APPID": "wx0123456789abcdef",
        "SECRET": SECRET,
        "ALLOWED_HOSTS": "m.example.com",
    }.items():
        monkeypatch.setenv(f"WXSIGN_{name}", value)
    assert create_app().extensions["wxsign"].settings.accounts[0].app_id == "wx0123456789abcdef"
    monkeypatch.delenv("WXSIGN_APPID")
    with pytest.raises(errors.ConfigError):
        create_app()


def test_ready_says_so(client):
    wait_until(lambda: client.get("/readyz").json["state"] == "ready")
    response = client.get("/readyz")
    assert (response.status_code, response.json) == (200, {"state": "ready", "problems": []})
    assert response.headers["Cache-Control"] == "no-store"


def test_unready_says_why_by_code_and_names_neither_account_nor_address():
    with wechat() as server:
        control(server, "settings", ip_whitelist=["198.51.100.1"])
        account = settings_at(server.url).accounts[:1]
        with service_at(server.url, accounts=account) as service:
            client = create_app(service).test_client()
            client.get("/jsconfig?url=https://m.example.com/")
            response = client.get("/readyz")
    assert (response.status_code, response.json["state"]) == (503, "unready")
    assert "ip_not_whitelisted" in response.json["problems"]
    assert int(response.headers["Retry-After"]) > 0
    assert not any(word in response.text for word in ("127.0.0.1", "shop", SECRET))


def test_asking_for_readiness_starts_the_fetching_where_no_hook_of_the_server_does(sandbox):
    with service_at(sandbox.url, accounts=settings_at(sandbox.url).accounts[:1]) as service:
        client = create_app(service).test_client()
        wait_until(lambda: client.get("/readyz").json == {"state": "ready", "problems": []})
        assert service.readiness().ready


@pytest.mark.parametrize("path", ["/", "/demo"])
@pytest.mark.parametrize(("header", "language"), [("zh-CN", "zh"), ("en", "en"), ("", "en")])
def test_pages_speak_the_readers_language(client, path, header, language):
    response = client.get(path, headers={"Accept-Language": header})
    assert response.status_code == 200
    assert response.headers["Content-Language"] == language
    assert "Accept-Language" in response.headers["Vary"]
    assert f'<html lang="{"zh-CN" if language == "zh" else "en"}">' in response.text


@pytest.mark.parametrize("query", ["?lang=zh", "?account=a&lang=zh"])
def test_a_language_that_is_chosen_wins_and_links_carry_it(client, query):
    response = client.get(f"/{query}", headers={"Accept-Language": "en"})
    assert response.headers["Content-Language"] == "zh"
    assert 'href="/demo?lang=zh"' in response.text
    assert f'href="{query.replace("zh", "en").replace("&", "&amp;")}"' in response.text
    assert client.get("/?lang=<b>", headers={"Accept-Language": "en"}).headers["Content-Language"] == "en"


def test_a_sentence_of_a_page_stands_there_in_both_languages_by_one_way():
    """Templates and scripts say `text(zh, en)`; what asks for the language by itself is the tag of the document alone."""
    for template in (ROOT / "templates").rglob("*.html"):
        source = template.read_text(encoding="utf-8")
        asking = re.findall(r"lang == .*", source.replace("""{{ 'en' if lang == 'zh' else 'zh-CN' }}""", ""))
        assert asking == [], template
        assert re.findall(r"text\('[^']*'\)", source) == [], template


@pytest.mark.parametrize("path", ["/", "/demo"])
def test_pages_have_no_inline_script_and_no_inline_style(client, path):
    text = client.get(path, headers={"Host": "m.example.com"}).text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert "<style" not in text
    assert not re.search(r"\sstyle\s*=", text)
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert "javascript:" not in text


def test_pages_can_be_switched_off_and_are_then_absent():
    client = client_with(pages=False)
    for path in ("/", "/demo"):
        assert_error(client.get(path), 404, "not_found")
    assert client.get("/healthz").status_code == 200


def test_the_policy_lets_wechats_script_work_and_nothing_else(client):
    rules = policy(client.get("/demo"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self' https://res.wx.qq.com https://res2.wx.qq.com"
    assert rules["connect-src"] == "'self'"
    assert "https://open.weixin.qq.com" in rules["img-src"]
    assert "wxlocalresource:" in rules["img-src"]
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(rules)


@pytest.mark.parametrize(
    "path", ["/", "/demo", "/healthz", "/readyz", "/static/wxsign.js", "/nothing", "/jsconfig"]
)
def test_every_answer_has_a_request_id_and_forbids_sniffing(client, path):
    response = client.get(path, headers={"X-Request-Id": "from-the-proxy"})
    assert response.headers["X-Request-Id"] == "from-the-proxy"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("public_url", "strict"),
    [("https://wx.example.com", True), ("http://wx.example.com", False), (None, False)],
)
def test_strict_transport_security_only_where_the_public_url_is_https(public_url, strict):
    client = client_with(public_url=public_url)
    for path in ("/nothing", "/jsconfig", "/healthz"):
        assert ("Strict-Transport-Security" in client.get(path).headers) is strict


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/jsconfig/", "/demo/", "/static/", "/static/nothing.js", "/static/../app.py", *LATER],
)
def test_an_absent_route_is_a_404_in_our_shape(client, path):
    assert_error(client.get(path), 404, "not_found")


def test_an_absent_route_is_refused_in_the_callers_language(client):
    assert "路径" in client.get("/nothing", headers={"Accept-Language": "zh"}).json["error"]["message"]


@pytest.mark.parametrize("path", ["/", "/demo", "/healthz", "/readyz", "/static/wxsign.js"])
def test_a_wrong_method_is_a_405_in_our_shape(client, path):
    response = client.post(path)
    assert_error(response, 405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]


def test_a_host_header_is_never_made_into_a_redirect(client):
    for path in ("//evil.test/", "//demo", "/static//wxsign.js"):
        response = client.get("/x", headers={"Host": "evil.test"}, environ_overrides={"PATH_INFO": path})
        assert response.status_code not in range(300, 400)


def test_other_http_errors_keep_their_kind(service):
    from werkzeug.exceptions import BadRequest, Gone, RequestEntityTooLarge  # noqa: PLC0415 - used here alone

    app = create_app(service)
    assert app.config["MAX_CONTENT_LENGTH"] == MAX_BODY_BYTES
    raised = {
        "/a": RequestEntityTooLarge(),
        "/b": BadRequest(),
        "/c": Gone(),
        "/d": ZeroDivisionError(SECRET),
    }
    for path, error in raised.items():
        app.add_url_rule(path, path, lambda error=error: (_ for _ in ()).throw(error))
    client = app.test_client()
    assert_error(client.get("/a"), 413, "body_too_large")
    assert_error(client.get("/b"), 400, "bad_request")
    assert_error(client.get("/c"), 400, "bad_request")
    assert_error(client.get("/d"), 500, "internal_error")
    assert SECRET not in client.get("/d").text


def test_the_client_script_is_there_for_pages_of_other_origins(client):
    response = client.get("/static/wxsign.js")
    assert response.status_code == 200
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.content_type.startswith("text/javascript")
    assert (response.cache_control.max_age, response.cache_control.s_maxage) == (0, 60)
    assert (
        client.get("/static/wxsign.js", headers={"If-None-Match": response.headers["ETag"]}).status_code
        == 304
    )


def test_the_client_under_the_name_of_its_version_never_changes_and_its_hash_is_told(client):
    response = client.get("/static/wxsign.v2.js")
    assert response.data == client.get("/static/wxsign.js").data
    assert response.cache_control.immutable
    assert response.cache_control.max_age == 31_536_000
    digest = base64.b64encode(hashlib.sha384(response.data).digest()).decode()
    for page in ("javascript.md", "javascript.zh-CN.md"):
        assert f'integrity="sha384-{digest}"' in (ROOT / "docs" / page).read_text(), (
            "the file changed: its version too?"
        )


def test_every_static_file_has_a_media_type_of_our_own_table(client):
    files = [path.name for path in (ROOT / "static").iterdir()]
    types = {name: client.get(f"/static/{name}").mimetype for name in files}
    assert types["wxsign.mjs"] == "text/javascript"
    assert types["share.png"] == "image/png"
    assert "application/octet-stream" not in types.values()
    assert "text/html" not in types.values()


def test_static_files_and_templates_are_found_inside_an_installed_package(monkeypatch, tmp_path):
    (tmp_path / "wxsign" / "static").mkdir(parents=True)
    monkeypatch.setattr(rendering, "__file__", str(tmp_path / "wxsign" / "http" / "rendering.py"))
    assert rendering.assets("static") == tmp_path / "wxsign" / "static"
    assert rendering.assets("templates") == tmp_path / "templates"


def qr_of(response):
    found = re.search(r"<svg.*?</svg>", response.text, re.DOTALL)
    return found and found[0]


def test_the_qr_code_is_of_the_public_url_where_there_is_one():
    client = client_with(public_url="https://wx.example.com/wx")
    for host in ("wx.example.com", "evil.test"):
        response = client.get("/demo", headers={"Host": host})
        assert qr_of(response) == str(pages.qr_svg("https://wx.example.com/wx/demo"))
        assert "evil.test" not in response.text


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("m.example.com", True),
        ("a.shop.example.com", True),
        ("evil.test", False),
        ("m.example.com:8444", False),
        ("127.0.0.1:8000", False),
        ("m.example.com@evil.test", False),
    ],
)
def test_without_a_public_url_the_qr_code_is_of_allowed_hosts_only(client, host, shown):
    response = client.get("/demo", headers={"Host": host})
    assert (qr_of(response) == str(pages.qr_svg(f"http://{host}/demo"))) is shown
    assert (qr_of(response) is not None) is shown
    assert "evil.test" not in response.text


@pytest.mark.parametrize(
    ("peer", "believed"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("", True), ("192.0.2.9", False), ("nonsense", False)],
)
def test_where_the_proxies_are_told_by_address_nobody_else_is_believed(peer, believed):
    client = client_with(trusted_proxies=1, trusted_proxy_addresses=(ip_network("10.0.0.0/8"),))
    headers = {"Host": "m.example.com", "X-Forwarded-Proto": "https"}
    text = client.get("/demo", headers=headers, environ_base={"REMOTE_ADDR": peer}).text
    assert ("https://m.example.com/demo" in text) is believed


def test_the_forwarded_scheme_is_believed_from_trusted_proxies_alone():
    headers = {"Host": "m.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.test"}
    for proxies, scheme in ((0, "http"), (1, "https")):
        text = client_with(trusted_proxies=proxies).get("/demo", headers=headers).text
        assert f"{scheme}://m.example.com/demo" in text
        assert "evil.test" not in text


@pytest.mark.parametrize(
    ("public_url", "script_name", "mount"),
    [
        (None, "", ""),
        (None, "/wx", "/wx"),
        ("https://e.example.com/sign", "", "/sign"),
        ("https://e.example.com", "", ""),
    ],
)
def test_links_start_where_the_service_is_mounted(public_url, script_name, mount):
    client = client_with(public_url=public_url)
    text = client.get("/demo", environ_overrides={"SCRIPT_NAME": script_name}).text
    assert f'src="{mount}/static/wxsign.js' in text
    assert f'data-endpoint="{mount}/jsconfig"' in text


def test_the_demo_page_signs_for_the_account_that_was_asked_for(client):
    assert 'data-account="news"' in client.get("/demo?account=news").text
    assert 'data-account=""' in client.get("/demo?account=%22%3E%3Cscript%3E").text


def test_another_api_base_is_named_on_the_pages_by_its_host():
    assert "127.0.0.1:9" in client_with().get("/").text
    assert "127.0.0.1" not in client_with(api_base=DEFAULT_API_BASE).get("/").text


def test_the_start_page_says_whether_the_service_is_ready(client):
    wait_until(lambda: 'data-ready="ready"' in client.get("/").text)


# Dev mode.


def test_dev_mode_puts_the_bridge_on_the_demo_page_and_into_the_policy(service):
    client = create_app(service, dev=DevMode(BRIDGE)).test_client()
    response = client.get("/demo")
    assert f'<script src="{BRIDGE}"></script>' in response.text
    assert policy(response)["script-src"].endswith(" http://127.0.0.1:8001")
    assert policy(response)["connect-src"] == "'self' http://127.0.0.1:8001"
    assert client.get("/static/wxsign.js").cache_control.max_age == 0
    assert qr_of(response) is None


def test_dev_mode_in_a_network_shows_the_qr_code_of_that_address(service):
    response = create_app(service, dev=DevMode(BRIDGE, "http://192.0.2.7:8000")).test_client().get("/demo")
    assert qr_of(response) == str(pages.qr_svg("http://192.0.2.7:8000/demo"))


def test_no_setting_switches_dev_mode_on(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in table.known_variables():
        monkeypatch.delenv(name, raising=False)
    for row in table.SETTINGS:
        if row.kind is table.Kind.BOOLEAN and row.env:
            monkeypatch.setenv(row.env, "true")
    extra = {
        "DEV": "1",
        "DEBUG": "1",
        "BRIDGE": BRIDGE,
        "BRIDGE_SRC": BRIDGE,
        "DEV_MODE": "true",
        "LOOPBACK": "1",
    }
    given = {
        "APPID": "wx0123456789abcdef",
        "SECRET": SECRET,
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "API_BASE": NOWHERE,
    }
    for name, value in (given | extra).items():
        monkeypatch.setenv(f"WXSIGN_{name}", value)
    monkeypatch.setenv("FLASK_DEBUG", "1")
    app = create_app()
    client = app.test_client()
    assert "bridge" not in client.get("/demo").text
    assert "127.0.0.1" not in client.get("/demo").headers["Content-Security-Policy"]
    assert LOOPBACK not in app.extensions["wxsign"].settings.accounts[0].allowed_hosts
    response = client.get("/jsconfig?url=http://localhost:5173/")
    assert (response.status_code, response.json["error"]["code"]) == (403, "host_not_allowed")


# The documentation.


def documented():
    return (ROOT / "docs/http-api.md").read_text(encoding="utf-8")


def test_every_route_is_documented(service):
    text = documented()
    rules = {re.sub("<[^>]*>", "NAME", rule.rule) for rule in create_app(service).url_map.iter_rules()}
    assert {rule for rule in rules if f"`{rule}`" not in text and f" {rule}`" not in text} == set()


def our_codes():
    codes = set(urls._REFUSALS) | {row.code for row in errcodes.ERRCODES.values()}
    codes |= {row.code for row in WECOM_ERRCODES.values()} | {"source_failed"}
    codes |= {errcodes.entry_for(1, token_endpoint=False).code}
    files = (
        *(ROOT / "wxsign").glob("*.py"),
        *(ROOT / "wxsign/http").glob("*.py"),
        *(ROOT / "wxsign/accounts").glob("*.py"),
    )
    source = "".join(file.read_text("utf-8") for file in files)
    codes |= set(re.findall(r'(?:BadRequest|super\(\).__init__)\(\s*"([a-z_]+)"', source))
    codes |= {
        f"wechat_{reason}"
        for kind in (errors.UnreachableReason, errors.BadAnswerReason)
        for reason in get_args(kind)
    }
    return codes | {"url_not_text", "account_not_text", "rejected_not_text", "bad_request"}


def test_every_code_that_an_answer_may_carry_is_documented_where_the_answer_says():
    text = documented()
    assert len(our_codes()) > 70
    assert {code for code in our_codes() if f'<a id="{code}"></a>`{code}`' not in text} == set()
    assert answers.DOCS == "docs/http-api.md"


def test_every_warning_and_scope_is_documented():
    text = documented()
    codes = [value.code for value in vars(warnings).values() if isinstance(value, warnings.SigningWarning)]
    assert len(codes) >= 7
    assert [code for code in codes if f"`{code}`" not in text] == []
    assert all(f"`{operation.scope}`" in text for operation in protected.OPERATIONS if operation.scope)


def test_a_file_name_of_any_length_that_is_none_of_ours_is_not_found(client):
    for name in ("x" * 300, "../app.py", "%2e%2e/app.py", "a/" * 100, "wxsign.js/"):
        assert client.get(f"/static/{name}").status_code == 404, name[:20]


@pytest.mark.parametrize("language", ["", ".zh-CN"])
def test_every_code_and_every_finding_has_its_anchor_in_this_language(language):
    api = (ROOT / f"docs/http-api{language}.md").read_text(encoding="utf-8")
    causes = (ROOT / f"docs/troubleshooting{language}.md").read_text(encoding="utf-8")
    assert {code for code in our_codes() if f'<a id="{code}"></a>' not in api} == set()
    assert len(CATALOG) >= 17
    spoken = "zh" if language else "en"
    for cause in CATALOG.values():
        page, _, anchor = cause.docs(spoken).partition("#")
        assert page == f"docs/troubleshooting{language}.md"
        assert f"\n## {cause.id}\n" in causes
        assert anchor == cause.id.lower()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("/wxjs", "/wxjs"),
        ("/a/b-c", "/a/b-c"),
        ("//evil.example", ""),
        ('/x"><script>', ""),
        ("javascript:", ""),
    ],
)
@pytest.mark.parametrize("path", ["/", "/demo", "/diagnose", "/docs/", "/docs/api", "/console"])
def test_under_a_prefix_that_a_trusted_proxy_names_every_address_of_a_page_has_it(sandbox, path, sent, shown):
    admin = ApiClient("admin", ("0" * 64,), frozenset({"admin"}))
    with service_at(sandbox.url, trusted_proxies=1, clients=(admin,)) as service:
        client = Client(create_app(service))
        page = client.get(path, headers={"X-Forwarded-Prefix": sent, "X-Forwarded-For": "192.0.2.1"}).text
    addresses = re.findall(r'(?:href|src|action|data-endpoint)="(/[^"]*)"', page)
    assert addresses
    assert [address for address in addresses if not address.startswith(f"{shown}/")] == []
    assert "evil" not in page
    assert not any(address.startswith("//") for address in addresses)


def test_without_trusted_proxies_nobody_names_a_prefix(client):
    assert "/wxjs" not in client.get("/", headers={"X-Forwarded-Prefix": "/wxjs"}).text


@pytest.mark.parametrize("path", ["/", "/demo", "/docs/", "/diagnose"])
def test_a_page_does_not_repeat_what_others_put_into_its_address(client, path):
    page = client.get(f"{path}?account=default&code=oauth-code&access_token=somebody-s-token").text
    assert "account=default" in page
    assert "oauth-code" not in page
    assert "somebody-s-token" not in page
