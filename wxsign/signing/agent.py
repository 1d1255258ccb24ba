"""What `wx.agentConfig` needs in WeCom's client: the same algorithm, by the ticket of the app and not of the corporation.

Source: developer.work.weixin.qq.com, path/94313.
"""

from __future__ import annotations

from typing import NamedTuple


class AgentConfig(NamedTuple):
    """What `wx.agentConfig` needs. `timestamp` is in seconds since 1970; nothing in here is secret."""

    corp_id: str
    agent_id: int
    timestamp: int
    nonce_str: str
    signature: str
    url: str
    js_api_list: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form, which `wx.agentConfig` takes as it is."""
        return {
            "corpid": self.corp_id,
            "agentid": str(self.agent_id),
            "timestamp": self.timestamp,
            "nonceStr": self.nonce_str,
            "signature": self.signature,
            "url": self.url,
            "jsApiList": list(self.js_api_list),
        }
