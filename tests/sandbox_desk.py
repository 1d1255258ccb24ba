"""A sandbox in the test's own process, whose time stands still until moved."""

import hashlib

from wxsign.sandbox import DEFAULT_APPID, DEFAULT_SECRET, SandboxSettings, create_app

START = 1_800_000_000.0
NONCE, STAMP, URL = "Wm3WZYTPz0wzccnW", 1414587457, "http://mp.weixin.qq.com?params=value"


class Desk:
    """A sandbox, its controls, and what a page needs to sign."""

    def __init__(self, **settings):
        self.now = START
        self.app = create_app(SandboxSettings(**settings), clock=lambda: self.now)
        self.client = self.app.test_client()

    def post(self, name, **fields):
        return self.client.post(f"/sandbox/{name}", json=fields)

    def state(self):
        return self.client.get("/sandbox/state").json

    def account(self):
        return self.state()["accounts"][0]

    def token(self, endpoint="token"):
        query = {"grant_type": "client_credential", "appid": DEFAULT_APPID, "secret": DEFAULT_SECRET}
        if endpoint == "token":
            return self.client.get("/cgi-bin/token", query_string=query).json["access_token"]
        return self.client.post("/cgi-bin/stable_token", json=query).json["access_token"]

    def ticket(self, kind="jsapi"):
        query = {"access_token": self.token("stable_token"), "type": kind}
        return self.client.get("/cgi-bin/ticket/getticket", query_string=query).json["ticket"]

    def verify(self, ticket, signed_url=URL, **changes):
        return self.post("verify", **(signed(ticket, signed_url) | changes)).json

    def check(self, token):
        return self.post("check_token", access_token=token).json

    def rotate(self, credential):
        return self.post("rotate", appid=DEFAULT_APPID, credential=credential)

    def kill(self, credential):
        return self.post("kill", appid=DEFAULT_APPID, credential=credential)


def signed(ticket, url=URL):
    text = f"jsapi_ticket={ticket}&noncestr={NONCE}&timestamp={STAMP}&url={url}"
    signature = hashlib.sha1(text.encode()).hexdigest()
    return {
        "appId": DEFAULT_APPID,
        "timestamp": STAMP,
        "nonceStr": NONCE,
        "signature": signature,
        "url": url,
    }
