"""Tokens and tickets of WeCom's apps (企业微信): one method an endpoint. Source: developer.work.weixin.qq.com."""

from __future__ import annotations

from typing import Final

from wxsign.wechat.caller import Caller, Granted, granted
from wxsign.wechat.exchange import Request

DEFAULT_WECOM_API_BASE: Final = "https://qyapi.weixin.qq.com"


class WeComClient(Caller):
    """Fetches tokens and tickets of WeCom's apps. `api_base` replaces WeCom's host."""

    def __init__(self, api_base: str = DEFAULT_WECOM_API_BASE) -> None:
        super().__init__((api_base.rstrip("/"),))

    def token(self, corp_id: str, secret: str) -> Granted:
        """Fetch an app's access_token: inside its life the same one. Source: path/91039."""
        query = {"corpid": corp_id, "corpsecret": secret}
        answer = self.call(Request("GET", "/cgi-bin/gettoken", secret, query=query))
        return granted(answer, "access_token", "/cgi-bin/gettoken")

    def corp_ticket(self, access_token: str) -> Granted:
        """Fetch the corporation's ticket, for `wx.config`. Source: path/90506."""
        return self._ticket("/cgi-bin/get_jsapi_ticket", {"access_token": access_token})

    def agent_ticket(self, access_token: str) -> Granted:
        """Fetch the ticket of the app whose token it is, for `wx.agentConfig`. Source: path/94313."""
        return self._ticket("/cgi-bin/ticket/get", {"access_token": access_token, "type": "agent_config"})

    def _ticket(self, endpoint: str, query: dict[str, str]) -> Granted:
        answer = self.call(Request("GET", endpoint, query["access_token"], query=query))
        return granted(answer, "ticket", endpoint)
