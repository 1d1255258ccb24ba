"""The relay in real processes: a hanging WeChat takes its places and nothing else, and nothing of a call gets into a log."""

from __future__ import annotations

import json
import os
import re
import statistics
import threading
import time

import pytest
from fleet import CLIENT_KEY, ROOT, Load, eventually, fleet, one_account, percentile, wechat
from running import answers, ask, free_port, running
from test_deploy import OUTER

pytestmark = pytest.mark.fleet

SEND = "accounts/default/relay/cgi-bin/message/custom/send"
WORDS = "words-that-only-a-message-has"
# Of the eight threads of a worker.
PLACES = 2


@pytest.fixture
def here(tmp_path):
    return tmp_path


def relaying(sandbox, here):
    """One account, and a client that may send messages."""
    clients = (
        f'[clients.crm]\nkey = "{CLIENT_KEY}"\nscopes = ["relay"]\nrelay_paths = ["/cgi-bin/message/*"]\n'
    )
    (here / "wxsign.secret").write_text(clients)
    account = one_account(sandbox.url, here)
    del account["WXSIGN_CLIENT_KEY"]
    return account | {"WXSIGN_CONFIG": str(here / "wxsign.secret")}


def test_messages_of_many_at_once_arrive_over_a_theft_and_a_kill_and_no_log_has_a_word_of_them(here):
    with wechat(here) as sandbox, fleet(here, relaying(sandbox, here)) as service:
        answers = []

        def arrives():
            reply = service.api(SEND, touser="o1", msgtype="text", content=WORDS)
            answers.append((reply.status, reply.json.get("errcode")))
            # Three at once may meet in one worker, which has two places: then it is sent again.
            return reply.status != 503

        def send():
            for _ in range(20):
                eventually(arrives)

        senders = [threading.Thread(target=send) for _ in range(3)]
        for sender in senders:
            sender.start()
        eventually(lambda: len(answers) >= 20)
        sandbox.post("kill", appid=sandbox.accounts[0], credential="stable_token")
        for sender in senders:
            sender.join()
        assert [answer for answer in answers if answer[0] != 503] == [(200, 0)] * 60
        lines = service.events("wxsign.relayed")
        assert {line["path"] for line in lines} == {"/cgi-bin/message/custom/send"}
        assert any(line["retried"] for line in lines)
        logs = "".join(file.read_text() for file in here.glob("*.log"))
        assert WORDS not in logs


@pytest.mark.timing
def test_while_the_relay_is_full_of_a_hanging_wechat_signatures_take_no_longer(here):
    with (
        wechat(here) as sandbox,
        fleet(here, relaying(sandbox, here), workers=1) as service,
    ):
        eventually(lambda: service.jsconfig().status == 200)
        percentile_of(service)
        seen = []
        while len(seen) < 3 and not any(median <= 1.2 for median in seen):
            seen.append(statistics.median(ratio_when_full(service, sandbox) for _ in range(3)))
        assert min(seen) <= 1.2, seen


def ratio_when_full(service, sandbox):
    """The slowest signatures while every place of the relay hangs, to those of a quiet moment just before."""
    quiet = percentile_of(service)
    sandbox.fault("custom_send", "hang")
    senders = [
        threading.Thread(target=service.api, args=(SEND,), kwargs={"touser": "o1"}) for _ in range(PLACES)
    ]
    for sender in senders:
        sender.start()
    eventually(lambda: sandbox.get("state")["in_flight_max"]["custom_send"] == PLACES)
    busy = service.api(SEND, touser="o1")
    assert (busy.status, busy.json["error"]["code"], busy.headers["retry-after"]) == (503, "relay_busy", "1")
    full = percentile_of(service)
    sandbox.post("reset")
    for sender in senders:
        sender.join()
    return full / quiet


def percentile_of(service):
    with Load(service.socket, clients=2, pause_seconds=0.005) as load:
        time.sleep(2)
    assert load.failed == []
    return percentile(load.shots, 0.99)


def test_the_nginx_of_the_documentation_passes_calls_on_from_its_address_and_logs_no_token(
    here, require_program
):
    block = re.search(r"```nginx\n(.*?)```", (ROOT / "docs/relay.md").read_text("utf-8"), re.DOTALL)[1]
    port = free_port()
    with wechat(here) as sandbox:
        for there, ours in (
            ("listen 8300;", f"listen 127.0.0.1:{port};"),
            ("allow 10.0.0.0/8;", "allow 127.0.0.1;"),
            ("https://api.weixin.qq.com;", f"{sandbox.url};"),
            ("/var/log/nginx", str(here / "logs")),
        ):
            assert block.count(there) == 1, there
            block = block.replace(there, ours)
        (here / "logs").mkdir()
        (here / "wxsign.conf").write_text(block)
        user = "user root root;" if os.geteuid() == 0 else ""
        (here / "nginx.conf").write_text(OUTER.format(here=here, user=user))
        command = [require_program("nginx"), "-e", here / "logs/global.log", "-c", here / "nginx.conf"]
        with (
            running(command, lambda: answers(port), log=here / "nginx.log"),
            fleet(here, one_account(sandbox.url, here), workers=1) as service,
        ):
            path = f"/cgi-bin/message/custom/send?access_token={service.token()['access_token']}"
            sent = ask(port, path, method="POST", body=json.dumps({"touser": "o1", "msgtype": "text"}))
            assert sent.json == {"errcode": 0, "errmsg": "ok"}
            assert ask(port, path, source="127.0.0.2").status == 403
