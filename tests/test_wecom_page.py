"""A page in WeCom's client: Tencent's unmodified `@wecom/jssdk` gets both its signatures here, and is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
from at_sandbox import on_a_port, service_at
from flask import Response
from test_demo_page import WAIT_MS, browser  # noqa: F401 - a fixture
from test_wecom import CORP_ID, SECRETS

from wxsign import sandbox
from wxsign.accounts import LOOPBACK, AccountKind, Agent, OfficialAccount
from wxsign.credentials import TokenEndpoint
from wxsign.web import create_app

pytestmark = pytest.mark.fleet

OF_CORP = "getConfigSignature: (url) => signed('/jsconfig', url)"
OF_AGENT = "getAgentConfigSignature: (url) => signed('/agentconfig', url)"

SDK = Path(__file__).resolve().parents[1] / "node_modules/@wecom/jssdk/dist/wecom.global.prod.js"
PAGE = """<!doctype html><meta charset="utf-8"><title>an app</title>
<script src="{bridge}/sandbox/bridge.js?mode=wecom"></script><script src="/sdk.js"></script><script>
  window.verdicts = [];
  document.addEventListener('wxsign:verdict', (event) => window.verdicts.push(event.detail));
  const signed = async (path, url) => {{
    const query = new URLSearchParams({{ url, account: 'corp', agent: '{agent}' }});
    return (await fetch(path + '?' + query)).json();
  }};
  window.registered = new Promise((resolve) => ww.register({{
    corpId: '{corp}',
    agentId: {agent_id},
    jsApiList: ['getNetworkType', 'getContext'],
    {signatures},
    onConfigComplete: resolve,
    onAgentConfigComplete: resolve,
  }}));
  ww.ensureConfigReady().catch(() => 0);
</script>"""


@pytest.fixture(scope="module")
def site():
    """The service of a corporation with two apps; it serves the app's own page too."""
    accounts = tuple(
        OfficialAccount(
            f"corp/{name}",
            CORP_ID,
            SECRETS[number],
            (LOOPBACK,),
            TokenEndpoint.WECOM,
            kind=AccountKind.WECOM,
            agent=Agent(number),
        )
        for name, number in (("crm", 1000002), ("oa", 1000003))
    )
    known = {account.owner: account.app_secret for account in accounts}
    with (
        sandbox.serve(settings=sandbox.SandboxSettings(accounts=known)) as wecom,
        service_at(wecom.url, wecom_api_base=wecom.url, accounts=accounts) as service,
    ):
        app = create_app(service)
        pages = {
            name: PAGE.format(
                bridge=wecom.url, corp=CORP_ID, agent=agent, agent_id=1000002, signatures=signatures
            )
            for name, agent, signatures in (
                ("corp", "crm", OF_CORP),
                ("agent", "crm", OF_AGENT),
                ("mixed", "oa", OF_AGENT),
            )
        }
        app.add_url_rule("/sdk.js", "sdk", lambda: Response(SDK.read_text(), mimetype="text/javascript"))
        # The app's own policy, for this page is not one of ours.
        policy = {"Content-Security-Policy": "default-src * 'unsafe-inline'"}
        app.add_url_rule("/app/<name>", "app", lambda name: Response(pages[name], headers=policy))
        with on_a_port(app) as url:
            yield url


@pytest.fixture
def opened(site, browser):  # noqa: F811 - the fixture
    with browser.new_context() as context:
        context.set_default_timeout(WAIT_MS)

        def open_page(name):
            page = context.new_page()
            page.goto(f"{site}/app/{name}")
            return page

        yield open_page


@pytest.mark.parametrize(("page", "call"), [("corp", "preVerifyJSAPI"), ("agent", "agentConfig")])
def test_tencent_s_unmodified_sdk_of_wecom_is_accepted(opened, page, call):
    app = opened(page)
    assert app.evaluate("window.registered.then(({ errMsg }) => errMsg)") == f"{call}:ok"
    assert app.evaluate("ww.getNetworkType().then(({ errMsg }) => errMsg)") == "getNetworkType:ok"
    assert app.evaluate("window.verdicts.map(({ accepted }) => accepted)") == [True]


def test_a_page_that_names_another_app_than_it_signs_for_is_refused_with_that_cause(opened):
    app = opened("mixed")
    assert app.evaluate("window.registered.then(({ errMsg }) => errMsg)") == "agentConfig:invalid signature"
    (refused,) = app.evaluate("window.verdicts")
    assert refused["cause"] == "other_account"
    assert f"{CORP_ID}/1000003" in refused["message"]
