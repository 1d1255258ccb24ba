"""The only code that speaks to WeChat: the wire, and one file a platform.

The caller owns retries; `attempt` picks the host.
"""

from wxsign.wechat.exchange import MAX_BODY_BYTES
from wxsign.wechat.official import (
    BACKUP_API_BASE,
    CONNECT_TIMEOUT_SECONDS,
    DEADLINE_SECONDS,
    DEFAULT_API_BASE,
    MAX_LIFE_SECONDS,
    Granted,
    Quota,
    WeChatClient,
)

__all__ = [
    "BACKUP_API_BASE",
    "CONNECT_TIMEOUT_SECONDS",
    "DEADLINE_SECONDS",
    "DEFAULT_API_BASE",
    "MAX_BODY_BYTES",
    "MAX_LIFE_SECONDS",
    "Granted",
    "Quota",
    "WeChatClient",
]
