"""The sandbox's page for people, in English or Chinese."""

from types import SimpleNamespace

from flask import Request, Response, render_template, url_for

from wxsign.sandbox.happenings import happenings
from wxsign.sandbox.settings import MODES, RULES

TEXTS = {
    "en": {
        "title": "WeChat sandbox",
        "what": "A simulated WeChat for development and tests: its server API with all its traps, and the in-app "
        "browser. Nothing here reaches Tencent.",
        "line": "Put WeChat's in-app browser into your own page: one line before the official script",
        "api": "API base",
        "accounts": "Accounts",
        "credential": "Credential",
        "digest": "Digest",
        "issued": "Issued",
        "left": "Left",
        "none": "none yet",
        "dead": "dead",
        "action": "Try it",
        "rotate": "Rotate",
        "kill": "Kill",
        "calls": "Calls",
        "endpoint": "Endpoint",
        "count": "Calls",
        "most": "Most at once",
        "faults": "Faults waiting",
        "hour": "Clock + 1 hour",
        "reset": "Reset all",
        "happen": "Let something happen",
        "remarks": "What the calls show",
        "no_remark": "Nothing to remark on.",
        "settings": "Settings",
        "log": "Latest calls",
        "verdicts": "Latest verdicts on pages",
        "no_verdict": "No page has called wx.config yet.",
        "other": "中文",
        "other_code": "zh",
        "failed": "The sandbox did not answer.",
        "browser": "The in-app browser that pages are opened in",
        "mode": "Client",
        "rule": "URL that is compared",
        "reload": "Reload your page after a change. A page's own ?mode= and ?rule= on the script win.",
        "mode_wechat": "WeChat, Android or iPhone by the browser's emulation",
        "mode_wecom": "WeCom",
        "mode_devtools": "WeChat DevTools, with their own wording",
        "mode_harmonyos": "WeChat on HarmonyOS: wx.error is deaf, an iframe costs the page its rights",
        "mode_old": "an old WeChat (6.6.7): newer interfaces and open tags are missing",
        "mode_slow": "a bridge that comes after 3 seconds",
        "mode_none": "no bridge at all",
        "rule_auto": "as the client does: on an iPhone the landing URL, elsewhere the present one",
        "rule_landing": "the landing URL",
        "rule_current": "the present URL",
    },
    "zh": {
        "title": "微信沙箱",
        "what": "供开发与测试使用的模拟微信：服务端接口（含各种陷阱）与内置浏览器。这里的请求不会到达腾讯。",
        "line": "把微信内置浏览器装进你自己的页面：在官方脚本之前加一行",
        "api": "接口地址",
        "accounts": "账号",
        "credential": "凭据",
        "digest": "摘要",
        "issued": "签发时间",
        "left": "剩余",
        "none": "尚未签发",
        "dead": "已失效",
        "action": "试一试",
        "rotate": "轮换",
        "kill": "作废",
        "calls": "调用",
        "endpoint": "接口",
        "count": "次数",
        "most": "最大并发",
        "faults": "排队中的故障",
        "hour": "时钟 + 1 小时",
        "reset": "全部重置",
        "happen": "让事情发生",
        "remarks": "从调用中看出的问题",
        "no_remark": "没有发现问题。",
        "settings": "设置",
        "log": "最近的调用",
        "verdicts": "最近的页面验证结果",
        "no_verdict": "还没有页面调用 wx.config。",
        "other": "English",
        "other_code": "en",
        "failed": "沙箱没有响应。",
        "browser": "页面所在的内置浏览器",
        "mode": "客户端",
        "rule": "比对的网址",
        "reload": "改动之后请刷新你的页面。脚本地址上的 ?mode= 和 ?rule= 优先。",
        "mode_wechat": "微信（安卓或 iPhone，由浏览器的手机模拟决定）",
        "mode_wecom": "企业微信",
        "mode_devtools": "微信开发者工具（措辞不同）",
        "mode_harmonyos": "鸿蒙版微信：wx.error 不会触发，加载 iframe 之后页面失去权限",
        "mode_old": "旧版微信（6.6.7）：没有较新的接口和开放标签",
        "mode_slow": "bridge 三秒后才出现",
        "mode_none": "没有 bridge",
        "rule_auto": "按客户端的规则：iPhone 比对落地页网址，其他比对当前网址",
        "rule_landing": "落地页网址",
        "rule_current": "当前网址",
    },
}
# Scripts and styles come from files of the sandbox only, so nothing inline can run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def render(state: dict[str, object], request: Request) -> Response:
    """The page for `state`; language by `?lang=`, else by the browser's preference."""
    language = request.args.get("lang", "")
    if language not in TEXTS:
        language = request.accept_languages.best_match(list(TEXTS)) or "en"
    html = render_template(
        "sandbox.html",
        t=SimpleNamespace(**TEXTS[language]),
        lang=language,
        state=state,
        happenings=happenings().values(),
        choices={"mode": MODES, "rule": RULES},
        origin=request.host_url.rstrip("/"),
        bridge=url_for("bridge.bridge_script", _external=True),
    )
    return Response(html, content_type="text/html; charset=utf-8", headers=_headers())


def _headers() -> dict[str, str]:
    return {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Vary": "Accept-Language"}
