"""WeCom: each app of a corporation is an account of its own, with a secret, a token, two tickets and signatures."""

from dataclasses import replace
from urllib.parse import quote

import pytest
from at_sandbox import KEEPER_KEY, control, service_at
from werkzeug.test import Client

from wxsign import sandbox
from wxsign.accounts import (
    HOURLY_LIMITS,
    AccountKind,
    Agent,
    ApiClient,
    HostRule,
    NoAgent,
    OfficialAccount,
    sha256_of_key,
)
from wxsign.broker.ledger import HOUR_SECONDS, Ledger, default_limit
from wxsign.credentials import Credential, CredentialKey, CredentialKind, TokenEndpoint, sort_of
from wxsign.diagnosis import Page, diagnose
from wxsign.diagnosis.known import known_of
from wxsign.errcodes import FailureScope
from wxsign.errors import AccountRequired, ConfigError, QuotaSpent, UnknownAccount, WeChatRefused
from wxsign.quota import NoClearingError, clear_quota, quota_of
from wxsign.settings import load_settings
from wxsign.signing import parse_page_url, signature, string_to_sign
from wxsign.stores import MemoryStore
from wxsign.web import create_app

CORP_ID = "ww0123456789abcdef"
SECRETS = {1000002: "crm-secret-of-the-sandbox", 1000003: "oa-secret-of-the-sandbox"}
PAGE = "https://corp.example.com/customer?id=7"
BEARER = {"Authorization": f"Bearer {KEEPER_KEY}"}
TOML = f"""
[accounts.corp]
kind = "wecom"
corp_id = "{CORP_ID}"
allowed_hosts = ["corp.example.com"]

[accounts.corp.agents.crm]
agent_id = 1000002
secret = "{SECRETS[1000002]}"

[accounts.corp.agents.oa]
agent_id = 1000003
secret = "{SECRETS[1000003]}"
js_api_list = ["getContext"]
"""
CLIENT = '[clients.shop]\nkey = "0123456789abcdefghijklmnopqrstuvwxyz"\n'


def settings_of(tmp_path, text):
    file = tmp_path / "wxsign.toml"
    file.write_text(text)
    return load_settings(file, environ={})


def problems_of(tmp_path, text):
    with pytest.raises(ConfigError) as told:
        settings_of(tmp_path, text)
    assert told.value.in_language("zh")
    return {problem.key: problem.message.en for problem in told.value.problems}


@pytest.fixture(scope="module")
def wecom():
    accounts = {f"{CORP_ID}/{number}": secret for number, secret in SECRETS.items()}
    with sandbox.serve(settings=sandbox.SandboxSettings(accounts=accounts)) as server:
        yield server


@pytest.fixture
def service(wecom, tmp_path):
    control(wecom, "reset")
    accounts = settings_of(tmp_path, TOML).accounts
    clients = (ApiClient("keeper", (sha256_of_key(KEEPER_KEY),)),)
    with service_at(wecom.url, wecom_api_base=wecom.url, accounts=accounts, clients=clients) as service:
        yield service


@pytest.fixture
def client(service):
    return Client(create_app(service))


def verdict_on(server, agent_config, **more):
    return control(server, "verify", **(agent_config | {"url": PAGE} | more))["err_msg"]


# ------------------------------------------------------------------------------- configuration


def test_each_agent_of_a_corporation_is_an_account_with_its_own_secret(tmp_path):
    crm, oa = settings_of(tmp_path, TOML).accounts
    assert [(crm.name, crm.app_id, crm.kind), (oa.name, oa.app_id, oa.kind)] == [
        ("corp/crm", CORP_ID, AccountKind.WECOM),
        ("corp/oa", CORP_ID, AccountKind.WECOM),
    ]
    assert (crm.app_secret, oa.app_secret) == tuple(SECRETS.values())
    assert crm.allowed_hosts == oa.allowed_hosts != ()
    assert oa.agent == Agent(1000003, ("getContext",))


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        (f'corp_id = "{CORP_ID}"', "", "accounts.corp.corp_id", "not a corporation's id"),
        (f'corp_id = "{CORP_ID}"', 'corp_id = "gh_1"', "accounts.corp.corp_id", "not a corporation's id"),
        ('kind = "wecom"', 'kind = "wecom"\nsinks = {}', "accounts.corp.sinks", "no such setting"),
        ('kind = "wecom"', 'kind = "wecom"\napp_secret = "x"', "accounts.corp.app_secret", "no such setting"),
        ("agent_id = 1000003", "agent_id = 1000002", "accounts.corp.agents.oa.agent_id", "another app's"),
        ("agent_id = 1000003", "", "accounts.corp.agents.oa.agent_id", "not an AgentId"),
        ("agent_id = 1000003", 'agentid = "1"', "accounts.corp.agents.oa.agentid", "unknown key"),
        (
            f'secret = "{SECRETS[1000003]}"',
            "",
            "accounts.corp.agents.oa.secret",
            "Secret is missing",
        ),
        (f'secret = "{SECRETS[1000003]}"', 'secret = "a b"', "accounts.corp.agents.oa.secret", "blanks"),
        ("[accounts.corp.agents.oa]", '[accounts.corp.agents."o a"]', "accounts.corp.agents.o a", "usable"),
    ],
)
def test_what_is_wrong_with_a_corporation_is_told_with_its_key(tmp_path, old, new, key, words):
    assert words in problems_of(tmp_path, TOML.replace(old, new) + CLIENT)[key]


def test_a_corporation_without_apps_is_told(tmp_path):
    head = TOML.partition("[accounts.corp.agents.crm]")[0]
    assert "no app" in problems_of(tmp_path, head + CLIENT)["accounts.corp.agents"]


def test_a_secret_may_come_from_a_file(tmp_path):
    (tmp_path / "oa").write_text("from-a-file\n")
    text = TOML.replace(f'secret = "{SECRETS[1000003]}"', 'secret_file = "oa"')
    assert settings_of(tmp_path, text).accounts[1].app_secret == "from-a-file"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("corp/crm", {"corp/crm"}), ("corp/*", {"corp/crm", "corp/oa"}), ("*/oa", {"corp/oa"})],
)
def test_a_client_is_kept_to_agents_by_name_or_pattern(tmp_path, pattern, names):
    (client,) = settings_of(tmp_path, f'{TOML}{CLIENT}accounts = ["{pattern}"]').clients
    assert {name for name in ("corp/crm", "corp/oa", "shop") if client.may_use(name)} == names


def test_a_pattern_that_matches_no_account_is_an_error(tmp_path):
    assert problems_of(tmp_path, f'{TOML}{CLIENT}accounts = ["crop/*"]').keys() == {"clients.shop.accounts"}


# ------------------------------------------------------------------------------- who is meant


def test_an_agent_is_found_by_names_and_by_numbers(service):
    for name in ("corp/crm", "corp/1000002", f"{CORP_ID}/crm", f"{CORP_ID}/1000002"):
        assert service.registry.get(name).name == "corp/crm"
    # Two apps: the corporation alone names neither.
    for name in ("corp", CORP_ID, "corp/nobody"):
        with pytest.raises(UnknownAccount):
            service.registry.get(name)


def test_a_corporation_s_only_agent_is_found_by_the_corporation(wecom, tmp_path):
    text = TOML.partition("[accounts.corp.agents.oa]")[0]
    with service_at(
        wecom.url, wecom_api_base=wecom.url, accounts=settings_of(tmp_path, text).accounts
    ) as service:
        assert service.jsconfig(PAGE).app_id == CORP_ID
        assert service.registry.get("corp").name == service.registry.get(CORP_ID).name == "corp/crm"


def test_a_host_that_an_official_account_lists_too_is_that_one_s_without_a_word(service, tmp_path):
    shop = OfficialAccount("shop", "wx0123456789abcdef", "s" * 32, (HostRule.parse("corp.example.com"),))
    accounts = (*settings_of(tmp_path, TOML).accounts, shop)
    with service_at("http://127.0.0.1:9", accounts=accounts) as both:
        assert both.registry.for_page(parse_page_url(PAGE)).name == "shop"
    with pytest.raises(AccountRequired):
        service.jsconfig(PAGE)


# ------------------------------------------------------------------------------- signatures


def test_a_signature_of_each_app_passes_with_its_own_agent_and_with_no_other(service, wecom):
    signed = {agent: service.jsconfig(PAGE, "corp", agent=agent) for agent in ("crm", "oa")}
    for agent, config in signed.items():
        assert config.agent.url == config.url == PAGE
        told = config.agent.as_dict()
        assert told["corpid"] == CORP_ID
        numbers = {"crm": "1000002", "oa": "1000003"}
        assert told["agentid"] == numbers[agent]
        verdicts = {number: verdict_on(wecom, told, agentid=number) for number in numbers.values()}
        assert verdicts == {
            number: "ok" if number == told["agentid"] else "invalid signature" for number in verdicts
        }
        of_corp = {"appId": config.app_id, "timestamp": config.timestamp, "nonceStr": config.nonce_str}
        assert verdict_on(wecom, of_corp | {"signature": config.signature}) == "ok"
        # The corporation's ticket is not the app's.
        assert verdict_on(wecom, told | {"signature": config.signature}) == "invalid signature"
        assert verdict_on(wecom, of_corp | {"signature": config.agent.signature}) == "invalid signature"


def test_tokens_and_tickets_of_two_apps_are_four_and_two(service, wecom):
    tokens = {service.access_token(name).value for name in ("corp/crm", "corp/oa")}
    tickets = {
        service.ticket(name, kind).value
        for name in ("corp/crm", "corp/oa")
        for kind in (CredentialKind.JSAPI_TICKET, CredentialKind.AGENT_TICKET)
    }
    assert (len(tokens), len(tickets)) == (2, 4)
    assert service.access_token("corp/crm").value in tokens
    calls = control_state(wecom)["calls"]
    assert {name: calls[name] for name in ("gettoken", "get_jsapi_ticket", "agent_ticket")} == {
        "gettoken": 2,
        "get_jsapi_ticket": 2,
        "agent_ticket": 2,
    }


def control_state(server):
    import json  # noqa: PLC0415
    from urllib.request import urlopen  # noqa: PLC0415

    with urlopen(f"{server.url}/sandbox/state") as response:
        return json.load(response)


def test_jsconfig_carries_agentconfig_only_where_an_app_is_named(client):
    url = quote(PAGE, safe="")
    plain = client.get(f"/jsconfig?url={url}&account=corp/crm").json
    named = client.get(f"/jsconfig?url={url}&account=corp&agent=crm").json
    assert plain["appId"] == named["appId"] == CORP_ID
    assert "agentConfig" not in plain
    assert named["agentConfig"]["agentid"] == "1000002"
    assert plain["openTagList"] == []
    assert "selectEnterpriseContact" in plain["jsApiList"]


def test_agentconfig_is_that_block_alone_and_says_where_none_is_named(client, wecom):
    url = quote(PAGE, safe="")
    headers = {"Origin": "https://corp.example.com"}
    answer = client.get(f"/agentconfig?url={url}&account=corp&agent=oa", headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://corp.example.com"
    assert answer.json["jsApiList"] == ["getContext"]
    assert verdict_on(wecom, answer.json) == "ok"
    posted = client.post("/agentconfig", json={"url": PAGE, "account": "corp", "agent": "oa"})
    assert posted.json["agentid"] == "1000003"
    missing = client.get(f"/agentconfig?url={url}&account=corp/oa")
    assert (missing.status_code, missing.json["error"]["code"]) == (400, "agent_required")
    unknown = client.get(f"/agentconfig?url={url}&account=corp&agent=hr")
    assert (unknown.status_code, unknown.json["error"]["code"]) == (404, "unknown_account")
    foreign = client.get(f"/agentconfig?url={quote('https://evil.example/', safe='')}&account=corp&agent=oa")
    assert (foreign.status_code, foreign.json["error"]["code"]) == (403, "host_not_allowed")


# ------------------------------------------------------------------------------- tokens for other systems


def test_the_api_hands_out_an_agent_s_token_and_both_tickets(client, service):
    token = client.get("/api/v1/accounts/corp/crm/access_token", headers=BEARER)
    assert token.json["access_token"] == service.access_token("corp/crm").value
    encoded = client.get("/api/v1/accounts/corp%2Fcrm/access_token", headers=BEARER)
    assert encoded.json["access_token"] == token.json["access_token"]
    of_corp = client.get("/api/v1/accounts/corp/crm/tickets/jsapi", headers=BEARER)
    of_agent = client.get("/api/v1/accounts/corp/crm/tickets/agent_config", headers=BEARER)
    assert of_corp.json["ticket"] == service.ticket("corp/crm").value != of_agent.json["ticket"]
    names = [account["name"] for account in client.get("/api/v1/accounts", headers=BEARER).json["accounts"]]
    assert names == ["corp/crm", "corp/oa"]


def test_an_official_account_has_no_ticket_of_an_agent(wecom):
    shop = OfficialAccount("shop", "wx0123456789abcdef", "s" * 32, (HostRule.parse("corp.example.com"),))
    with service_at(wecom.url, accounts=(shop,)) as service, pytest.raises(NoAgent):
        service.ticket("shop", CredentialKind.AGENT_TICKET)


def test_a_dead_token_is_replaced_when_it_is_reported(client, wecom):
    path = "/api/v1/accounts/corp/crm/access_token"
    dead = client.get(path, headers=BEARER).json["access_token"]
    control(wecom, "kill", appid=f"{CORP_ID}/1000002", credential="access_token")
    answer = client.post(f"{path}/refresh", headers=BEARER, json={"rejected": dead})
    assert answer.status_code == 200
    assert answer.json["access_token"] != dead
    assert control(wecom, "check_token", access_token=answer.json["access_token"])["alive"]


def test_wecom_s_dialect_gives_a_token_and_its_tickets(client, service):
    given = client.get(f"/cgi-bin/gettoken?corpid={CORP_ID}&corpsecret=crm.{KEEPER_KEY}").json
    assert given["errcode"] == 0
    assert given["access_token"] == service.access_token("corp/crm").value
    query = f"access_token={given['access_token']}"
    of_corp = client.get(f"/cgi-bin/get_jsapi_ticket?{query}").json
    of_agent = client.get(f"/cgi-bin/ticket/get?{query}&type=agent_config").json
    assert (of_corp["ticket"], of_agent["ticket"]) == (
        service.ticket("corp/crm").value,
        service.ticket("corp/crm", CredentialKind.AGENT_TICKET).value,
    )
    by_number = client.get(f"/cgi-bin/gettoken?corpid={CORP_ID}&corpsecret=1000003.{KEEPER_KEY}").json
    assert by_number["access_token"] == service.access_token("corp/oa").value
    # Each platform's tickets are asked for with its own tokens.
    assert client.get(f"/cgi-bin/ticket/getticket?{query}&type=jsapi").json["errcode"] == 40001


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("corpsecret=crm.x", 41002),
        (f"corpid={CORP_ID}", 41004),
        (f"corpid={CORP_ID}&corpsecret=crm.wrong", 40125),
        (f"corpid={CORP_ID}&corpsecret={KEEPER_KEY}", 40125),
        (f"corpid={CORP_ID}&corpsecret=hr.{KEEPER_KEY}", 40125),
        (f"corpid=corp&corpsecret=crm.{KEEPER_KEY}", 40125),
    ],
)
def test_the_dialect_refuses_in_wecom_s_shape(client, query, errcode):
    answer = client.get(f"/cgi-bin/gettoken?{query}")
    assert (answer.status_code, answer.json["errcode"]) == (200, errcode)


def test_wecom_s_quota_is_counted_by_us_alone_and_cleared_by_nobody(service):
    assert {row.wechat for row in quota_of(service, "corp/crm")} == {None}
    with pytest.raises(NoClearingError):
        clear_quota(service, "corp/crm")


# ------------------------------------------------------------------------------- rules


def key(kind=CredentialKind.JSAPI_TICKET, agent="1"):
    return CredentialKey("https://qyapi.weixin.qq.com", CORP_ID, kind, TokenEndpoint.WECOM, agent)


def test_an_app_is_looked_at_a_hundred_times_an_hour_and_its_corporation_four_hundred():
    store, ledger = MemoryStore(lambda: 0.0), Ledger(default_limit)
    call, now = sort_of(key()).call, 7 * HOUR_SECONDS + 1.0
    admitted = [ledger.admit(store, key(agent=agent), call, now, urgent=True) for agent in "12345" * 100]
    spent = [refused for refused in admitted if refused is not None]
    # The fifth app finds its corporation's calls used up.
    assert len(admitted) - len(spent) == 400
    assert isinstance(spent[0], QuotaSpent)
    assert spent[0].retry_after_seconds == HOUR_SECONDS - 1
    assert "This hour's 100" in spent[0].message.en
    assert ledger.admit(store, key(agent="5"), call, now + HOUR_SECONDS, urgent=True) is None


@pytest.mark.parametrize("kind", [CredentialKind.JSAPI_TICKET, CredentialKind.AGENT_TICKET])
def test_looking_at_a_ticket_through_its_whole_life_stays_within_the_hour_s_calls(kind):
    sort, now, calls = sort_of(key(kind)), 0.0, 0
    ticket = Credential("a", 1, 7200, 0.0, 7000.0, 7200.0)
    while now < 7200.0:
        now = max(now + 1, sort.due_at(ticket))
        ticket = replace(ticket, started_at=now)
        calls += 1
    assert calls <= 2 * HOURLY_LIMITS[sort.call] * 0.9
    assert calls >= 20


@pytest.mark.parametrize(
    ("errcode", "endpoint", "code", "scope"),
    [
        (40001, "/cgi-bin/gettoken", "invalid_secret", FailureScope.SECRET),
        (40091, "/cgi-bin/gettoken", "invalid_secret", FailureScope.SECRET),
        (40013, "/cgi-bin/gettoken", "invalid_corpid", FailureScope.ACCOUNT),
        (60020, "/cgi-bin/gettoken", "ip_not_whitelisted", FailureScope.ADDRESS),
        (45009, "/cgi-bin/get_jsapi_ticket", "hourly_quota_used_up", FailureScope.QUOTA_MINUTE),
        (40014, "/cgi-bin/ticket/get", "invalid_access_token", FailureScope.STALE_TOKEN),
        (42001, "/cgi-bin/ticket/get", "access_token_expired", FailureScope.STALE_TOKEN),
        (40013, "/cgi-bin/token", "invalid_appid", FailureScope.ACCOUNT),
    ],
)
def test_a_refusal_is_read_by_the_platform_that_spoke(errcode, endpoint, code, scope):
    refused = WeChatRefused(errcode, "", endpoint)
    assert (refused.code, refused.scope) == (code, scope)


def test_the_address_to_trust_is_named_from_wecom_s_words(service, wecom):
    control(wecom, "settings", ip_whitelist=["192.0.2.1"])
    (failed,) = service.refresh("corp/crm")
    assert failed.error.code == "ip_not_whitelisted"
    assert "127.0.0.1" in failed.error.operator_hint.en
    assert "企业可信IP" in failed.error.operator_hint.zh


def test_a_ticket_of_another_corporation_is_named_on_a_page(tmp_path):
    other = "ww00000000000other"
    accounts = {f"{CORP_ID}/1000002": SECRETS[1000002], f"{other}/1000002": SECRETS[1000003]}
    toml = TOML.partition("[accounts.corp.agents.oa]")[0] + TOML.partition("[accounts.corp.agents.oa]")[
        0
    ].replace("accounts.corp", "accounts.other").replace(CORP_ID, other).replace(
        "corp.example", "other.example"
    )
    toml = toml.replace(SECRETS[1000002], SECRETS[1000003]).replace(SECRETS[1000003], SECRETS[1000002], 1)
    with sandbox.serve(settings=sandbox.SandboxSettings(accounts=accounts)) as server:
        settings = settings_of(tmp_path, toml)
        with service_at(server.url, wecom_api_base=server.url, accounts=settings.accounts) as service:
            signed = signature(
                string_to_sign(service.ticket("other/crm").value, "n" * 16, 1_700_000_000, PAGE)
            )
            page = Page(url=PAGE, timestamp="1700000000", nonce="n" * 16, signature=signed, app_id=CORP_ID)
            (first, *_rest) = diagnose(page, known_of(service, page)).findings
    assert (first.id, first.evidence) == ("WXS110", {"ticket_of": "another account"})
