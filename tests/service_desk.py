"""Whole services on a sandbox in this process, with one clock for all: hours pass in seconds, and no socket is opened."""

import json
import threading

from wxsign.accounts import HostRule, OfficialAccount
from wxsign.broker import Surroundings
from wxsign.credentials import TokenEndpoint
from wxsign.errors import CredentialUnavailable, WeChatRefused
from wxsign.sandbox.api import ApiCall
from wxsign.sandbox.settings import DEFAULT_APPID, DEFAULT_SECRET, SandboxSettings
from wxsign.sandbox.state import Sandbox
from wxsign.sandbox.verification import Signed
from wxsign.service import WxSign
from wxsign.settings import Settings
from wxsign.stores import MemoryStore
from wxsign.wechat import Granted

# In the middle of a day in China.
START, BOOT = 1_800_000_000.0, 5_000.0
PAGE = "https://m.example.com/page?a=1"
PATIENCE_SECONDS = 20.0


class Wire:
    """The methods of a WeChatClient, on a sandbox without a socket."""

    def __init__(self, sandbox):
        self._sandbox = sandbox

    def stable_token(self, app_id, secret, *, force_refresh=False, attempt=0):
        del attempt
        body = self._credentials(app_id, secret) | {"force_refresh": force_refresh}
        return self._granted(
            "access_token", ApiCall("stable_token", "POST", {}, json.dumps(body).encode(), "127.0.0.1")
        )

    def classic_token(self, app_id, secret, *, attempt=0):
        del attempt
        return self._granted("access_token", self._get("token", self._credentials(app_id, secret)))

    def ticket(self, access_token, ticket_type="jsapi", *, attempt=0):
        del attempt
        return self._granted(
            "ticket", self._get("getticket", {"access_token": access_token, "type": ticket_type})
        )

    def get_api_domain_ip(self, access_token, *, attempt=0):
        del attempt
        return tuple(self._answer(self._get("get_api_domain_ip", {"access_token": access_token}))["ip_list"])

    def _credentials(self, app_id, secret):
        return {"grant_type": "client_credential", "appid": app_id, "secret": secret}

    def _get(self, endpoint, query):
        return ApiCall(endpoint, "GET", query, b"", "127.0.0.1")

    def _granted(self, name, call):
        answer = self._answer(call)
        return Granted(answer[name], answer["expires_in"])

    def _answer(self, call):
        stay = self._sandbox.arrive(call)
        try:
            answer = self._sandbox.refuse(stay.fault, call) if stay.fault else self._sandbox.answer(call)
        finally:
            self._sandbox.leave(stay)
        if answer.errcode:
            raise WeChatRefused(answer.errcode, str(answer.body["errmsg"]), f"/cgi-bin/{call.endpoint}")
        return answer.body


class ServiceDesk:
    """A sandbox, a store and the workers of a fleet; `run` lets time pass and has every worker look each second."""

    def __init__(self, *, token_endpoint=TokenEndpoint.STABLE, workers=2, **sandbox):
        self.seconds = 0.0
        self.sandbox = Sandbox(SandboxSettings(**sandbox), clock=self.wall)
        self.client = Wire(self.sandbox)
        self.settings = Settings(
            accounts=(
                OfficialAccount(
                    "default",
                    DEFAULT_APPID,
                    DEFAULT_SECRET,
                    (HostRule.parse("m.example.com"),),
                    token_endpoint=token_endpoint,
                ),
            ),
            store="memory:",
        )
        self._threads = []
        self.start_afresh(workers)

    def wall(self):
        return START + self.seconds

    def start_afresh(self, workers):
        """New processes on a new store: everything that was held is lost."""
        store = MemoryStore(self.wall)
        surroundings = Surroundings(
            boot_clock=lambda: BOOT + self.seconds,
            wall_clock=self.wall,
            random=lambda: 0.5,
            sleep=lambda _seconds: None,
            spawn=self._spawn,
            machine="m1",
        )
        self.services = [
            WxSign(
                self.settings, client=self.client, open_store=lambda _url: store, surroundings=surroundings
            )
            for _ in range(workers)
        ]
        for service in self.services:
            service.broker._watcher.stop()

    def _spawn(self, work):
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def tick(self):
        for service in self.services:
            service.broker.watch()
            while self._threads:
                self._threads.pop().join(PATIENCE_SECONDS)

    def run(self, seconds, step=1.0):
        """Let time pass; yields after every step."""
        for _ in range(round(seconds / step)):
            self.seconds += step
            self.tick()
            yield self.seconds

    def sign(self, worker=0):
        """What a page that asks this worker gets: `ok`, `stale`, another of WeChat's words, or `unanswered`."""
        try:
            signed = self.services[worker].jsconfig(PAGE)
        except CredentialUnavailable:
            return "unanswered"
        verdict = self.sandbox.verify(
            Signed(signed.app_id, str(signed.timestamp), signed.nonce_str, signed.signature, PAGE)
        )
        return "ok" if verdict.ok else verdict.cause.id

    @property
    def token_key(self):
        return self.services[0]._tokens["default"]

    def token(self, worker=0):
        return self.services[worker].broker.get(self.token_key).value

    def calls(self, endpoint):
        return self.sandbox.state()["calls"][endpoint]

    def alive(self, token):
        return self.sandbox.check_token(token)["alive"]
