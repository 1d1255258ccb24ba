"""SDKs from their registries, unmodified, that read their token here, several processes each, while it is stolen.

Part of `make test-long`, because it installs them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from fleet import APPID, eventually
from test_examples import EXAMPLES, Site, site_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.fleet, pytest.mark.long]

PROCESSES = 3
PYTHON_PACKAGES = ("wechatpy==1.8.18", "werobot==1.13.1", "cryptography")
NODE_PACKAGES = (
    "co-wechat-api@3.11.0",
    "wechat-api@1.35.1",
    "node-easywechat@3.6.2",
    "node-socialite@1.4.1",
)
# Calls of WeChat until the time is over: how many went well, and the longest time in which none did.
PYTHON_LOOP = """
import json, sys, time
base, wechat, appid, key, seconds = sys.argv[1:6]

def run(call):
    counts, begun = {"ok": 0, "failed": 0, "longest": 0}, time.monotonic()
    last = begun
    while time.monotonic() < begun + float(seconds):
        try:
            assert call()["ip_list"]
            counts["ok"] += 1
            counts["longest"] = max(counts["longest"], time.monotonic() - last)
            last = time.monotonic()
        except Exception as error:
            counts["failed"] += 1
            counts["why"] = repr(error)[:300]
        time.sleep(0.1)
    counts["longest"] = max(counts["longest"], time.monotonic() - last)
    print(json.dumps(counts))
"""
NODE_LOOP = """
const [base, wechat, appid, key, seconds] = process.argv.slice(2);
const run = async (call) => {
  const counts = { ok: 0, failed: 0, longest: 0 }, begun = Date.now();
  let last = begun;
  while (Date.now() < begun + 1000 * seconds) {
    try {
      if (!(await call()).ip_list.length) throw new Error('nothing');
      counts.ok += 1;
      counts.longest = Math.max(counts.longest, (Date.now() - last) / 1000);
      last = Date.now();
    } catch (error) { counts.failed += 1; counts.why = String(error).slice(0, 300); }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  counts.longest = Math.max(counts.longest, (Date.now() - last) / 1000);
  console.log(JSON.stringify(counts));
};
"""
SCRIPTS = {
    "wechatpy.py": """
sys.path.insert(0, sys.argv[6])
from wechatpy.session.memorystorage import MemoryStorage
from wechatpy_client import Client
Client.WXSIGN, Client.API_BASE_URL = base, f"{wechat}/cgi-bin/"
client = Client(appid, key, session=MemoryStorage())
run(lambda: client.get("getcallbackip"))
""",
    # /etc/hosts is the machine's: for this process alone WeChat's name leads to nginx.
    "werobot.py": """
import socket
resolve, port = socket.getaddrinfo, int(sys.argv[6])
def getaddrinfo(host, service, *more, **named):
    if host == "api.weixin.qq.com":
        host, service = "127.0.0.1", port
    return resolve(host, service, *more, **named)
socket.getaddrinfo = getaddrinfo
from werobot.client import Client
client = Client({"APP_ID": appid, "APP_SECRET": key})
run(client.get_ip_list)
""",
    "co-wechat-api.js": """
const API = require(process.argv[7]);
API.prototype.wxsign = base;
const api = new API(appid, key);
api.prefix = `${wechat}/cgi-bin/`;
run(() => api.getIp());
""",
    "co-wechat-api-prefix.js": """
const API = require('co-wechat-api');
const api = new API(appid, key);
api.prefix = `${base}/for/co-wechat-api/cgi-bin/`;
run(() => api.getIp());
""",
    "wechat-api.js": """
const API = require('wechat-api');
const api = new API(appid, key);
api.endpoint = `${base}/for/wechat-api`;
run(() => new Promise((resolve, reject) => api.getIp((error, data) => (error ? reject(error) : resolve(data)))));
""",
    "node-easywechat.js": """
const { OfficialAccount } = require('node-easywechat');
const app = new OfficialAccount({ app_id: appid, secret: key, http: { baseURL: `${base}/for/node-easywechat/` }, file_cache: { path: process.argv[7] } });
run(async () => (await app.getClient().get('cgi-bin/getcallbackip')).toObject());
""",
}


PHP_LOOP = """<?php
[, $example, $file, $wechat, $seconds] = $argv;
$argv = [];
require $example;
$counts = ['ok' => 0, 'failed' => 0, 'longest' => 0];
$begun = $last = microtime(true);
while (microtime(true) < $begun + $seconds) {
    try {
        $answer = json_decode(@file_get_contents("$wechat/cgi-bin/getcallbackip?access_token=" . wechat_token($file)));
        if (!isset($answer->ip_list)) throw new Exception(json_encode($answer));
        $counts['ok']++;
        $counts['longest'] = max($counts['longest'], microtime(true) - $last);
        $last = microtime(true);
    } catch (Exception $error) {
        $counts['failed']++;
        $counts['why'] = substr($error->getMessage(), 0, 300);
    }
    usleep(100000);
}
$counts['longest'] = max($counts['longest'], microtime(true) - $last);
echo json_encode($counts);
"""


@dataclass(frozen=True)
class Programs:
    """The SDKs, installed, and a script for each."""

    here: Path

    def start(self, name: str, *arguments: object, **environ: str) -> subprocess.Popen[str]:
        """Start the script of that name."""
        program = [self.here / "venv/bin/python"] if name.endswith(".py") else ["node"]
        command = [*program, self.here / f"run-{name}", *map(str, arguments)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=self.here, env={"PATH": "/usr/bin:/bin"} | environ
        )


def installed(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Programs:
    npm, here = require_program("npm"), tmp_path_factory.mktemp("sdks")
    installed(sys.executable, "-m", "venv", here / "venv", cwd=here)
    installed(here / "venv/bin/python", "-m", "pip", "install", "-q", *PYTHON_PACKAGES, cwd=here)
    installed(npm, "init", "-y", cwd=here)
    installed(npm, "install", "--silent", "--no-audit", "--no-fund", *NODE_PACKAGES, cwd=here)
    for name, script in SCRIPTS.items():
        (here / f"run-{name}").write_text((PYTHON_LOOP if name.endswith(".py") else NODE_LOOP) + script)
    # As it is copied into a project, beside the package that it extends.
    (here / "co-wechat-api-example.js").write_text((EXAMPLES / "co-wechat-api.js").read_text("utf-8"))
    return Programs(here)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def said(
    running: Sequence[tuple[str, subprocess.Popen[str]]], seconds: int
) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, json.loads(process.communicate(timeout=seconds + 60)[0] or "{}")) for name, process in running
    ]


def steal(site: Site, begun: float, *moments: float) -> None:
    for moment in moments:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        site.sandbox.post("kill", appid=APPID, credential="stable_token")


def ready(stack: ExitStack, here: Path, program: str, systems: tuple[str, ...], **settings: object) -> Site:
    site = stack.enter_context(site_in(here, program, systems, **settings))
    query = f"grant_type=client_credential&appid={APPID}&secret={site.keys[systems[0]]}"
    eventually(lambda: site.ask(f"/cgi-bin/token?{query}").get("access_token"))
    return site


def test_sdks_that_ask_again_live_on_one_token_and_heal_when_it_is_stolen(
    programs, stack, tmp_path_factory, require_program
):
    # WeChat forces a stable token out every 30 s at the most.
    seconds = 50
    extra = {"wechatpy.py": EXAMPLES, "co-wechat-api.js": programs.here / "co-wechat-api-example.js"}
    site = ready(stack, tmp_path_factory.mktemp("site"), require_program("nginx"), ("wechatpy", "co"))
    keys = {"wechatpy.py": site.keys["wechatpy"], "co-wechat-api.js": site.keys["co"]}
    running = [
        (name, programs.start(name, site.service_url, site.sandbox.url, APPID, keys[name], seconds, more))
        for name, more in extra.items()
        for _ in range(PROCESSES)
    ]
    steal(site, time.monotonic(), 5, 40)
    found = said(running, seconds)
    fetches = site.sandbox.calls()["stable_token"]
    assert len(found) == PROCESSES * len(extra)
    for name, counts in found:
        assert counts["ok"] > 50, (name, counts)
        # One that keeps its own retries short may meet a theft: never more than a call or two.
        assert counts["failed"] <= 4, (name, counts)
        assert counts["longest"] < 5, (name, counts)
    # The first fetch, and one a theft; WeChat gives a dead stable token again until it is forced, which is another call.
    assert fetches <= 5


def test_sdks_that_never_ask_again_are_well_when_their_cache_ends(
    programs, stack, tmp_path_factory, require_program
):
    """Their tokens live twenty seconds here; no SDK that heals is there to tell of the theft."""
    seconds, life = 50, 20
    names = ("wechat-api.js", "node-easywechat.js", "werobot.py")
    systems = tuple(name.partition(".")[0] for name in names)
    site = ready(
        stack,
        tmp_path_factory.mktemp("site"),
        require_program("nginx"),
        systems,
        token_life_seconds=life,
    )
    cache = programs.here / "cache"
    extra = {"werobot.py": site.tls_port, "node-easywechat.js": cache, "wechat-api.js": ""}
    trusting = {"REQUESTS_CA_BUNDLE": str(site.authority)}
    running = [
        (
            name,
            programs.start(name, site.url, "", APPID, site.keys[system], seconds, extra[name], **trusting),
        )
        for name, system in zip(names, systems, strict=True)
        for _ in range(PROCESSES)
    ]
    steal(site, time.monotonic(), 12)
    for name, counts in said(running, seconds):
        assert counts["ok"] > 100, (name, counts)
        assert counts["longest"] < life + 2, (name, counts)


def rotations(site: Site) -> int:
    """How many tokens WeChat has ever given. Its journal would be too short for all the calls."""
    issued = (site.here / "values.issued").read_text().split()
    return len({value for value in issued if re.match(r"\d\d_", value)})


def test_over_ten_lives_wechat_sees_one_fetch_a_life_and_fault_whoever_reads(
    programs, stack, tmp_path_factory, require_program
):
    """All of them at once, three processes each, through two thefts and one forced refresh."""
    life, lives = 20, 10
    seconds = life * lives
    names = tuple(SCRIPTS)
    systems = tuple(name.partition(".")[0] for name in names)
    php = require_program("php")
    site = ready(
        stack,
        tmp_path_factory.mktemp("site"),
        require_program("nginx"),
        systems,
        token_life_seconds=life,
    )
    extra = {
        "wechatpy.py": EXAMPLES,
        "co-wechat-api.js": programs.here / "co-wechat-api-example.js",
        "werobot.py": site.tls_port,
        "node-easywechat.js": programs.here / "cache-of-ten-lives",
    }
    own = {"wechatpy.py", "co-wechat-api.js"}  # these speak to WeChat themselves, past nginx
    trusting = {"REQUESTS_CA_BUNDLE": str(site.authority)}
    before, begun = rotations(site), time.monotonic()
    running = []
    for name, system in zip(names, systems, strict=True):
        base, there = (site.service_url, site.sandbox.url) if name in own else (site.url, "")
        for _ in range(PROCESSES):
            arguments = (base, there, APPID, site.keys[system], seconds, extra.get(name, ""))
            running.append((name, programs.start(name, *arguments, **trusting)))
    script = programs.here / "run-token.php"
    script.write_text(PHP_LOOP)
    for _ in range(PROCESSES):
        command = [php, script, EXAMPLES / "token.php", site.token_file, site.sandbox.url, str(seconds)]
        running.append(("php", subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
    steal(site, begun, 33, 91)
    time.sleep(max(0.0, begun + 140 - time.monotonic()))
    forced = {"grant_type": "client_credential", "appid": APPID, "secret": site.keys["wechatpy"]}
    site.ask("/cgi-bin/stable_token", method="POST", body=json.dumps(forced | {"force_refresh": True}))
    found = said(running, seconds)
    assert len(found) == PROCESSES * (len(names) + 1)
    heals = {"wechatpy.py", "co-wechat-api.js", "co-wechat-api-prefix.js"}
    for name, counts in found:
        assert counts["ok"] > seconds, (name, counts)
        # What does not heal by itself is well when its cache ends, or the file is written anew.
        assert counts["longest"] < (5 if name in heals else life + 5), (name, counts)
    # The force found the token alive, and so fetched nothing.
    assert lives - 1 <= rotations(site) - before <= lives + 2 + 1


def test_one_address_for_all_calls_is_one_line(programs, stack, tmp_path_factory, require_program):
    seconds = 15
    site = ready(stack, tmp_path_factory.mktemp("site"), require_program("nginx"), ("co",))
    running = [
        (
            "prefix",
            programs.start("co-wechat-api-prefix.js", site.url, "", APPID, site.keys["co"], seconds),
        )
    ]
    steal(site, time.monotonic(), 5)
    ((_, counts),) = said(running, seconds)
    assert counts["ok"] > 50, counts
    assert counts["failed"] <= 4, counts


def test_wechatpy_on_a_refusal_that_is_none_of_the_tokens_makes_ten_calls_at_most(
    programs, stack, tmp_path_factory, require_program
):
    site = ready(stack, tmp_path_factory.mktemp("site"), require_program("nginx"), ("wechatpy",))
    arguments = (site.service_url, site.sandbox.url, APPID, site.keys["wechatpy"])
    assert said([("", programs.start("wechatpy.py", *arguments, 1, EXAMPLES))], 1)[0][1]["failed"] == 0
    site.sandbox.fault("getcallbackip", "errcode", errcode=40001)
    before = site.sandbox.calls()["getcallbackip"]
    # One call of the SDK.
    ((_, counts),) = said([("", programs.start("wechatpy.py", *arguments, 0.05, EXAMPLES))], 1)
    assert "45011" in counts["why"]
    assert counts["failed"] == 1
    assert site.sandbox.calls()["getcallbackip"] - before <= 10
