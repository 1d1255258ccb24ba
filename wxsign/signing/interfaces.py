"""The names that `wx.config` takes."""

from __future__ import annotations

from typing import Final

# fmt: off
JS_API_LIST: Final[tuple[str, ...]] = (
    "checkJsApi", "updateAppMessageShareData", "updateTimelineShareData", "onMenuShareTimeline",
    "onMenuShareAppMessage", "onMenuShareQQ", "onMenuShareWeibo", "onMenuShareQZone", "startRecord",
    "stopRecord", "onVoiceRecordEnd", "playVoice", "pauseVoice", "stopVoice", "onVoicePlayEnd", "uploadVoice",
    "downloadVoice", "translateVoice", "chooseImage", "previewImage", "uploadImage", "downloadImage",
    "getLocalImgData", "getNetworkType", "openLocation", "getLocation", "hideOptionMenu", "showOptionMenu",
    "hideMenuItems", "showMenuItems", "hideAllNonBaseMenuItem", "showAllNonBaseMenuItem", "closeWindow",
    "scanQRCode", "openAddress", "chooseWXPay", "openProductSpecificView", "addCard", "chooseCard",
    "openCard", "consumeAndShareCard", "startSearchBeacons", "stopSearchBeacons", "onSearchBeacons",
    "openEnterpriseChat", "openEnterpriseRedPacket", "launchMiniProgram", "openBusinessView",
    "requestMerchantTransfer",
)
# fmt: on
"""Every interface of jweixin-1.6.0.js that `wx.config` takes, and one that pages ask the bridge for themselves: the payee's
confirmation of a transfer (pay.weixin.qq.com/doc/v3/partner/4016960577)."""

OPEN_TAG_LIST: Final[tuple[str, ...]] = (
    "wx-open-launch-weapp",
    "wx-open-launch-app",
    "wx-open-subscribe",
    "wx-open-audio",
)
"""Every open tag of jweixin-1.6.0.js."""
