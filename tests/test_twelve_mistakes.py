"""Twelve mistakes that people make with a signature: each is named exactly, in English and in Chinese, by service or sandbox."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import pytest
from at_sandbox import APP_IDS, accounts, control, service_at, wechat
from werkzeug.test import Client

from wxsign.accounts import AccountKind
from wxsign.broker.suspicion import Theft
from wxsign.signing import signature, string_to_sign
from wxsign.web import create_app

PAGE = "https://m.example.com/shop?id=7&a=1&from=timeline&isappinstalled=0"
NONCE, TIMESTAMP = "abcdefghijklmnop", 1_764_000_000


@pytest.fixture(scope="module")
def sandbox():
    with wechat() as server:
        yield server


@pytest.fixture(scope="module")
def service(sandbox):
    shop, news, bare = accounts()
    with service_at(
        sandbox.url, accounts=(shop, news, replace(bare, kind=AccountKind.MINIPROGRAM))
    ) as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    return Client(create_app(service))


def asked(client, url, **more):
    """What the service says of a URL as it was sent, in both languages: an error or a warning."""
    texts = []
    for language in ("en", "zh"):
        answer = client.get("/jsconfig", query_string=more.get("query", f"url={quote(url, safe='')}"), headers={"Accept-Language": language}).json  # fmt: skip
        told = [answer["error"]] if "error" in answer else answer.get("warnings", [])
        texts.append(" ".join(f"{one['code']} {one['message']} {one['hint']}" for one in told))
    return texts


def refused(sandbox, service, *, page=PAGE, signed=PAGE, account="shop", at=TIMESTAMP, **more):
    """What the sandbox says of a page that was signed in another way, in both languages."""
    ticket = service.ticket(account).value
    said = control(
        sandbox,
        "verify",
        appId=APP_IDS["shop"],
        timestamp=TIMESTAMP,
        nonceStr=NONCE,
        signature=signature(string_to_sign(ticket, NONCE, at, signed)),
        url=page,
        **more,
    )
    assert not said["ok"]
    return said["detail"]["en"], said["detail"]["zh"]


def not_encoded(client, _sandbox, _service):
    return asked(client, "", query="url=https://m.example.com/%E5%BA%97?a=1&b=2")


def encoded_twice(client, _sandbox, _service):
    return asked(client, quote("https://m.example.com/a?b=1", safe=""))


def fragment_left(client, _sandbox, _service):
    return asked(client, "https://m.example.com/#/cart")


def wrong_host(client, _sandbox, _service):
    return asked(client, "", query=f"url={quote('https://other.example.org/', safe='')}&account=shop")


def another_accounts_ticket(_client, sandbox, service):
    return refused(sandbox, service, account="news")


def mini_program_appid(client, _sandbox, _service):
    query = f"url={quote(PAGE, safe='')}&account={APP_IDS['bare']}"
    return asked(client, "", query=query)


def milliseconds(_client, sandbox, service):
    return refused(sandbox, service, at=f"{TIMESTAMP}000")


def the_servers_own_url(client, _sandbox, service):
    url = "https://m.example.com/jsconfig"
    made = signature(string_to_sign(service.ticket("shop").value, NONCE, TIMESTAMP, url))
    config = {"appId": APP_IDS["shop"], "timestamp": TIMESTAMP, "nonceStr": NONCE, "signature": made}
    told = []
    for language in ("en", "zh"):
        question = {"page": PAGE, "signed_url": url, "config": config}
        answer = client.post("/diagnose", json=question, headers={"Accept-Language": language}).json
        first = answer["findings"][0]
        told.append(f"{first['id']} {first['certainty']} {first['message']}")
    return told


def http_for_https(_client, sandbox, service):
    return refused(sandbox, service, signed=PAGE.replace("https:", "http:"))


def share_parameters_stripped(_client, sandbox, service):
    return refused(sandbox, service, signed="https://m.example.com/shop?id=7&a=1")


def the_present_url_on_ios(_client, sandbox, service):
    landing = "https://m.example.com/"
    return refused(sandbox, service, page=landing, signed=PAGE, otherUrl=PAGE, rule="landing")


def two_token_fetchers(_client, _sandbox, _service):
    theft = Theft(APP_IDS["shop"], "access_token", 1_764_000_000.0, 1_764_000_060.0)
    return theft.message.en + theft.hint.en, theft.message.zh + theft.hint.zh


MISTAKES = {
    not_encoded: ("encodeURIComponent", "encodeURIComponent"),
    encoded_twice: ("encoded twice", "编码了两次"),
    fragment_left: ("cut off at the `#`", "在 `#` 处截断"),
    wrong_host: ("not signed here", "不为"),
    another_accounts_ticket: (f"a ticket of {APP_IDS['news']}", f"{APP_IDS['news']} 的 ticket"),
    mini_program_appid: ("Mini Program", "小程序"),
    milliseconds: ("milliseconds", "毫秒"),
    the_servers_own_url: (
        "The signed URL is not the address of the page",
        "签名用的 URL 不是当前页面的地址",
    ),
    http_for_https: ("http is another address", "http 是另一个地址"),
    share_parameters_stripped: ("parameters that WeChat adds", "微信在地址上附加的参数"),
    the_present_url_on_ios: ("the page was opened at", "页面打开时的地址"),
    two_token_fetchers: ("Another system", "另一个系统"),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_mistake_is_named_in_both_languages(client, sandbox, service, mistake):
    english, chinese = mistake(client, sandbox, service)
    in_english, in_chinese = MISTAKES[mistake]
    assert in_english in english
    assert in_chinese in chinese


def test_there_are_twelve():
    assert len(MISTAKES) == 12
