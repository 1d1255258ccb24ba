"""The sandbox's page for people, in English or Chinese."""

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from flask import Request, Response, render_template, url_for
from markupsafe import Markup

from wxsign.sandbox.happenings import happenings

LANGUAGES = ("en", "zh")
# What a setting of the browser may be, in Chinese and English; modes.js has what each client does.
CHOICES = {
    "mode": {
        "wechat": (
            "微信（安卓或 iPhone，由浏览器的手机模拟决定）",
            "WeChat, Android or iPhone by the browser’s emulation",
        ),
        "iphone": ("iPhone 上的微信", "WeChat on an iPhone"),
        "android": ("安卓上的微信", "WeChat on Android"),
        "wecom": ("企业微信", "WeCom"),
        "devtools": ("微信开发者工具（措辞不同）", "WeChat DevTools, with their own wording"),
        "harmonyos": (
            "鸿蒙版微信：wx.error 不会触发，加载 iframe 之后页面失去权限",
            "WeChat on HarmonyOS: wx.error is deaf, an iframe costs the page its rights",
        ),
        "old": (
            "旧版微信（6.6.7）：没有较新的接口和开放标签",
            "an old WeChat (6.6.7): newer interfaces and open tags are missing",
        ),
        "slow": ("bridge 三秒后才出现", "a bridge that comes after 3 seconds"),
        "none": ("没有 bridge", "no bridge at all"),
    },
    "rule": {
        "auto": (
            "按客户端的规则：iPhone 比对落地页网址，其他比对当前网址",
            "as the client does: on an iPhone the landing URL, elsewhere the present one",
        ),
        "landing": ("落地页网址", "the landing URL"),
        "current": ("当前网址", "the present URL"),
    },
}
# Scripts and styles come from files of the sandbox only, so nothing inline can run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PHONE_POLICY = f"{POLICY}; frame-src http: https:"


def render(state: dict[str, object], request: Request) -> Response:
    """The page for `state`; language by `?lang=`, else by the browser's preference."""
    return _rendered(
        "sandbox.html",
        request,
        POLICY,
        state=state,
        happenings=happenings().values(),
        choices=CHOICES,
        origin=request.host_url.rstrip("/"),
    )


def phone(request: Request) -> Response:
    """A phone that shows the page of `?page=`, and beside it each wx.config. Raises ValueError where that is no address of http(s)."""
    shown = request.args.get("page", "")
    if urlsplit(shown).scheme not in {"http", "https"} or not urlsplit(shown).hostname:
        raise ValueError("`page` must be an absolute address of http or https")
    text = _speaker(_language(request))
    words = {
        "compared": text("比对的网址", "compared"),
        "signed": text("签名的网址", "signed"),
        "client": text("客户端", "client"),
    }
    other = "en" if _language(request) == "zh" else "zh"
    switch = "?" + urlencode({"page": shown, "lang": other})
    return _rendered("phone.html", request, PHONE_POLICY, page=shown, words=words, switch=switch)


def _language(request: Request) -> str:
    chosen = request.args.get("lang", "")
    return chosen if chosen in LANGUAGES else request.accept_languages.best_match(LANGUAGES) or "en"


def _speaker(language: str) -> Callable[[str, str], Markup]:
    """`text(zh, en)`, by which the page says a sentence."""
    return lambda chinese, english: Markup(chinese if language == "zh" else english)  # noqa: S704 - ours


def _rendered(template: str, request: Request, policy: str, **context: object) -> Response:
    language = _language(request)
    bridge = url_for("bridge.bridge_script", _external=True)
    html = render_template(template, text=_speaker(language), lang=language, bridge=bridge, **context)
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Vary": "Accept-Language"}
    return Response(html, content_type="text/html; charset=utf-8", headers=headers)
