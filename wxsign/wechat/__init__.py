"""The only code that speaks to WeChat: the wire, and one file a platform.

The caller owns retries; `attempt` picks the host.
"""

from wxsign.wechat.caller import (
    CONNECT_TIMEOUT_SECONDS,
    DEADLINE_SECONDS,
    MAX_LIFE_SECONDS,
    Caller,
    Granted,
)
from wxsign.wechat.exchange import MAX_BODY_BYTES
from wxsign.wechat.official import BACKUP_API_BASE, DEFAULT_API_BASE, Quota, WeChatClient
from wxsign.wechat.wecom import DEFAULT_WECOM_API_BASE, WeComClient

__all__ = [
    "BACKUP_API_BASE",
    "CONNECT_TIMEOUT_SECONDS",
    "DEADLINE_SECONDS",
    "DEFAULT_API_BASE",
    "DEFAULT_WECOM_API_BASE",
    "MAX_BODY_BYTES",
    "MAX_LIFE_SECONDS",
    "Caller",
    "Granted",
    "Quota",
    "WeChatClient",
    "WeComClient",
]
