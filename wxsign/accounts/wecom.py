"""WeCom (企业微信): an app of a corporation is an account of its own, with a secret, a token and two tickets."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from wxsign.errors import BadRequest, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

HOURLY_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        # Nowhere documented for itself; the look once an hour and those at the end of a life are some twenty.
        "gettoken": 100,
        # path/96909: 100 an hour for an app, 400 for its corporation.
        "get_jsapi_ticket": 100,
        "agent_ticket": 100,
    }
)
"""Calls an hour that WeCom grants an app, by endpoint."""

CORP_HOURLY_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {"get_jsapi_ticket": 400, "agent_ticket": 400}
)
"""Calls an hour that WeCom grants all apps of a corporation together."""

# path/96909 and the table of interfaces of `wx.config` in WeCom's client; its account may name others.
WECOM_API_LIST: Final = (
    "checkJsApi",
    "onMenuShareAppMessage",
    "onMenuShareWechat",
    "onMenuShareTimeline",
    "hideOptionMenu",
    "showOptionMenu",
    "hideMenuItems",
    "showMenuItems",
    "hideAllNonBaseMenuItem",
    "showAllNonBaseMenuItem",
    "closeWindow",
    "scanQRCode",
    "chooseImage",
    "previewImage",
    "uploadImage",
    "downloadImage",
    "getLocalImgData",
    "previewFile",
    "startRecord",
    "stopRecord",
    "onVoiceRecordEnd",
    "playVoice",
    "pauseVoice",
    "stopVoice",
    "onVoicePlayEnd",
    "uploadVoice",
    "downloadVoice",
    "translateVoice",
    "getNetworkType",
    "openLocation",
    "getLocation",
    "selectEnterpriseContact",
    "openEnterpriseChat",
)
# Those of `wx.agentConfig` that an ordinary app of its corporation asks for.
AGENT_API_LIST: Final = (
    "getContext",
    "getCurExternalContact",
    "getCurExternalChat",
    "sendChatMessage",
    "selectExternalContact",
    "openUserProfile",
    "shareToExternalContact",
    "shareToExternalChat",
)


class Agent(NamedTuple):
    """An app (自建应用) of a corporation: by which number WeCom knows it, and which interfaces `wx.agentConfig` asks for."""

    agent_id: int
    js_api_list: tuple[str, ...] = AGENT_API_LIST


class NoAgent(BadRequest):
    """The account is no app of WeCom, which alone has a ticket for `wx.agentConfig`; or none was named."""

    def __init__(self) -> None:
        super().__init__(
            "agent_required",
            Text("No app of WeCom is named.", "没有指定企业微信的应用。"),
            Text(
                "Name the corporation's account and its app: `account=corp&agent=crm`; here `corp/crm`.",
                "请指定企业账号及其应用：`account=corp&agent=crm`，即 `corp/crm`。",
            ),
        )
