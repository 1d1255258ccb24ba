"""SDKs from their registries, unmodified, that read their token here: three processes each, while the token is stolen.

Part of `make test-long`, because it installs them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from fleet import APPID, CLIENT_KEY, eventually, fleet, one_account, wechat
from running import free_port

from wxsign.serving import launch

pytestmark = [pytest.mark.fleet, pytest.mark.long]

# WeChat forces a stable token out every 30 s at the most.
THEFTS_AT_SECONDS = (5, 40)
SECONDS = 50
PROCESSES = 3
WECHATPY = """
import json, sys, time
from wechatpy import WeChatClient
from wechatpy.session.memorystorage import MemoryStorage

wxsign, sandbox, appid, key, seconds = sys.argv[1:]

class Client(WeChatClient):
    API_BASE_URL = f"{sandbox}/cgi-bin/"

    def fetch_access_token(self):
        return self._fetch_access_token(
            url=f"{wxsign}/for/wechatpy/cgi-bin/token",
            params={"grant_type": "client_credential", "appid": self.appid, "secret": self.secret},
        )

client, counts = Client(appid, key, session=MemoryStorage()), {"ok": 0, "failed": 0}
until = time.monotonic() + float(seconds)
while time.monotonic() < until:
    try:
        assert client.get("get_api_domain_ip")["ip_list"]
        counts["ok"] += 1
    except Exception as error:
        counts["failed"] += 1
        counts["why"] = repr(error)[:300]
    time.sleep(0.05)
print(json.dumps(counts))
"""
CO_WECHAT_API = """
const WechatAPI = require('co-wechat-api');
const [wxsign, sandbox, appid, key, seconds] = process.argv.slice(2);
let kept;
const api = new WechatAPI(appid, key, async () => kept, async (token) => { kept = token; });
const direct = `${sandbox}/cgi-bin/`, here = `${wxsign}/for/co-wechat-api/cgi-bin/`;
api.prefix = direct;
const fetchToken = api.getAccessToken.bind(api);
api.getAccessToken = async () => { api.prefix = here; try { return await fetchToken(); } finally { api.prefix = direct; } };
const counts = { ok: 0, failed: 0 };
(async () => {
  const until = Date.now() + 1000 * seconds;
  while (Date.now() < until) {
    try { await api.getIp(); counts.ok += 1; } catch (error) { counts.failed += 1; counts.why = String(error); }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  console.log(JSON.stringify(counts));
})();
"""


def installed(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The commands that run each SDK's script."""
    here = tmp_path_factory.mktemp("sdks")
    installed(sys.executable, "-m", "venv", here / "venv", cwd=here)
    python = here / "venv/bin/python"
    installed(python, "-m", "pip", "install", "-q", "wechatpy==1.8.18", "cryptography", cwd=here)
    (here / "wechatpy.py.txt").write_text(WECHATPY)
    commands = {"wechatpy": [python, here / "wechatpy.py.txt"]}
    if shutil.which("npm"):
        installed("npm", "init", "-y", cwd=here)
        installed("npm", "install", "--silent", "co-wechat-api@3.11.0", cwd=here)
        (here / "co.js").write_text(CO_WECHAT_API)
        commands["co-wechat-api"] = ["node", here / "co.js"]
    else:
        assert not os.environ.get("CI"), "npm is not installed"
    return commands


def test_sdks_of_three_languages_live_on_one_token_and_heal_when_it_is_stolen(programs, tmp_path_factory):
    here, port = tmp_path_factory.mktemp("fleet"), free_port()
    with wechat(here) as sandbox:
        command = launch.command([f"unix:{here}/wxsign.sock", f"127.0.0.1:{port}"], workers=4, threads=8)
        with fleet(here, one_account(sandbox.url, here), command) as service:
            eventually(lambda: service.jsconfig().status == 200)
            # A key travels in the command of a client, as in its settings: what they print is looked at, not searched.
            arguments = [f"http://127.0.0.1:{port}", sandbox.url, APPID, CLIENT_KEY, str(SECONDS)]
            running = [
                (name, subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True))
                for name, command in programs.items()
                for _ in range(PROCESSES)
            ]
            begun = time.monotonic()
            for moment in THEFTS_AT_SECONDS:
                time.sleep(begun + moment - time.monotonic())
                sandbox.post("kill", appid=APPID, credential="stable_token")
            said = [(name, json.loads(process.communicate(timeout=90)[0])) for name, process in running]
            fetches = sandbox.calls()["stable_token"]
    assert len(said) == PROCESSES * len(programs)
    for name, counts in said:
        assert counts["ok"] > 50, (name, counts)
        # One that keeps its own retry short may meet a theft: never more than a call or two.
        assert counts["failed"] <= 4, (name, counts)
    # The first fetch, and one a theft; WeChat gives a dead stable token again until it is forced, which is another call.
    assert fetches <= 5
