"""The causes of `invalid signature`, by id: one source for answers, `wxsign explain` and docs/troubleshooting.md.

101 to 116 are the ranked causes that pages' authors report in WeChat's community and in the trackers of SDKs, and
appendix 5 of Tencent's JS-SDK guide (developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from wxsign.text import Text

# Rises when a rule changes what it answers.
RULES_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause: what is wrong, what to do, an example that fails and the same repaired."""

    id: str
    message: Text
    hint: Text
    failing: str
    repaired: str

    def docs(self, language: str) -> str:
        """Where the documentation tells of it."""
        return f"docs/troubleshooting{'.zh-CN' if language.startswith('zh') else ''}.md#{self.id.lower()}"


_ROWS: Final = (
    Cause(
        "WXS101",
        Text(
            "The signed URL is not the address of the page.",
            "签名用的 URL 不是当前页面的地址。",
        ),
        Text(
            "Sign `location.href.split('#')[0]` of the page itself, taken in the browser: not a fixed address, not the API's own, "
            "not a guess of the server's.",
            "请签名浏览器里页面自己的 `location.href.split('#')[0]`，不要写死地址，不要用接口自身的地址，也不要由服务器猜测。",
        ),
        "sign(request.url)                      # https://api.example.com/sign",
        "sign(request.args['url'])              # https://m.example.com/page?id=1",
    ),
    Cause(
        "WXS102",
        Text(
            "The page has moved by `pushState` or `replaceState`: the address that it was opened at and the present one differ, and "
            "the other one is compared here.",
            "页面通过 `pushState` 或 `replaceState` 换了地址：打开时的地址与当前地址不同，而这里比对的是另一个。",
        ),
        Text(
            "iPhones compare the address that the page was opened at, others the present one. `wxsign.js` signs both and uses the one "
            "that fits; without it send `landing_url` too.",
            "iPhone 比对页面打开时的地址，其他平台比对当前地址。`wxsign.js` 会同时签名两者并选用合适的一个；不用它时请同时发送 `landing_url`。",
        ),
        "/jsconfig?url=<location.href after the router>          # iPhone: red",
        "/jsconfig?url=<location.href>&landing_url=<first href>",
    ),
    Cause(
        "WXS103",
        Text(
            "The URL was encoded or decoded on its way to the signature, or cut off at its first `&`.",
            "URL 在签名之前被编码、解码，或在第一个 `&` 处被截断。",
        ),
        Text(
            "Send `encodeURIComponent(location.href.split('#')[0])`, once; sign what arrives as it is.",
            "请发送 `encodeURIComponent(location.href.split('#')[0])`，只编码一次；收到后原样签名。",
        ),
        "fetch('/jsconfig?url=' + location.href)",
        "fetch('/jsconfig?url=' + encodeURIComponent(location.href.split('#')[0]))",
    ),
    Cause(
        "WXS104",
        Text(
            "The signed URL has `&amp;` where the page's address has `&`.",
            "签名的 URL 中是 `&amp;`，而页面地址中是 `&`。",
        ),
        Text(
            "A template or a filter against script injection has escaped it: take the address from `location.href`.",
            "地址被模板或 XSS 过滤器转义了：请直接使用 `location.href`。",
        ),
        "https://m.example.com/?a=1&amp;b=2",
        "https://m.example.com/?a=1&b=2",
    ),
    Cause(
        "WXS105",
        Text(
            "Parameters that WeChat or its log-in add to the address (`from`, `isappinstalled`, `code`, `state`, `nsukey`) are "
            "missing in the signed URL.",
            "签名的 URL 缺少微信分享或授权登录附加的参数（`from`、`isappinstalled`、`code`、`state`、`nsukey`）。",
        ),
        Text(
            "Sign the address as the browser has it at that moment, with all of its parameters.",
            "请签名浏览器此刻的完整地址，包含全部参数。",
        ),
        "https://m.example.com/page",
        "https://m.example.com/page?from=singlemessage&isappinstalled=0",
    ),
    Cause(
        "WXS106",
        Text(
            "Scheme, host or port of the signed URL are not those of the page.",
            "签名的 URL 与页面的协议、域名或端口不同。",
        ),
        Text(
            "A proxy in front of the server has lost them. Let the browser send `location.href`, or forward `Host` and "
            "`X-Forwarded-Proto`.",
            "服务器前面的代理丢失了它们。请由浏览器发送 `location.href`，或转发 `Host` 和 `X-Forwarded-Proto`。",
        ),
        "http://m.example.com/page              # behind a proxy that ends TLS",
        "https://m.example.com/page",
    ),
    Cause(
        "WXS107",
        Text(
            "The signed URL differs from the page's by its fragment, a slash at its end or capitals.",
            "签名的 URL 与页面地址的差别在于 # 锚点、末尾的斜杠或大小写。",
        ),
        Text(
            "Cut off the `#` and what follows, and change nothing else.",
            "去掉 `#` 及其后面的部分，其余一概不变。",
        ),
        "https://m.example.com/page#/route",
        "https://m.example.com/page",
    ),
    Cause(
        "WXS108",
        Text(
            "The signature was made with a ticket that has been replaced since.",
            "签名用的 jsapi_ticket 已被新的取代。",
        ),
        Text(
            "Sign again. If it comes back: a cache keeps answers of /jsconfig or tickets for too long, or each process has a ticket "
            "of its own. Only one place may fetch.",
            "请重新签名。如果反复出现：有缓存把 /jsconfig 的应答或 ticket 保存得太久，或每个进程各自获取 ticket。只能由一处获取。",
        ),
        "proxy_cache_valid 200 2h;              # for /jsconfig",
        "Cache-Control: no-store                # as /jsconfig answers",
    ),
    Cause(
        "WXS109",
        Text(
            "The signature was made with no ticket at all: empty, `undefined` or `None`.",
            "签名时没有 ticket：其值为空、`undefined` 或 `None`。",
        ),
        Text(
            "Fetching the ticket failed and nobody looked: WeChat answers errors with HTTP 200 and an `errcode`. Often another system "
            "has fetched the account's access_token and so ended this one's (40001).",
            "获取 ticket 失败而未被发现：微信以 HTTP 200 加 `errcode` 返回错误。常见原因是另一个系统获取了同一账号的 access_token，使这里的失效（40001）。",
        ),
        "ticket = response.json().get('ticket')          # errcode 40001: None",
        "if data['errcode']: raise ...; ticket = data['ticket']",
    ),
    Cause(
        "WXS110",
        Text(
            "The `appId` in `wx.config` is another account's than the ticket's.",
            "`wx.config` 的 `appId` 与 ticket 不属于同一个账号。",
        ),
        Text(
            "Use the `appId` that came with the signature. It is the Official Account's: not a Mini Program's, not the open "
            "platform's, not the test account's.",
            "请使用与签名一起返回的 `appId`。它是公众号的 AppID，而不是小程序、开放平台或测试号的。",
        ),
        "wx.config({ appId: MINI_PROGRAM_APPID, ...signed })",
        "wx.config({ ...signed, appId: signed.appId })",
    ),
    Cause(
        "WXS111",
        Text(
            "The signature was made with another kind of value than the jsapi_ticket.",
            "签名用的不是 jsapi_ticket，而是另一种凭证。",
        ),
        Text(
            "`getticket?type=jsapi` gives the ticket for `wx.config`; `type=wx_card` is for cards, and the access_token is what "
            "fetches them.",
            "`wx.config` 需要 `getticket?type=jsapi` 的 ticket；`type=wx_card` 用于卡券，access_token 只用于获取 ticket。",
        ),
        "string1 = f'jsapi_ticket={access_token}&noncestr=…'",
        "string1 = f'jsapi_ticket={jsapi_ticket}&noncestr=…'",
    ),
    Cause(
        "WXS112",
        Text(
            "`nonceStr` or `timestamp` in `wx.config` are not those that were signed, or are missing.",
            "`wx.config` 中的 `nonceStr` 或 `timestamp` 与签名时的不同，或者缺失。",
        ),
        Text(
            "Pass on all four values of one and the same answer, unchanged; make none of them anew in the page.",
            "请把同一次应答的四个值原样传入，不要在页面里重新生成。",
        ),
        "wx.config({ timestamp: Date.now() / 1000 | 0, nonceStr: signed.noncestr, … })",
        "wx.config({ timestamp: signed.timestamp, nonceStr: signed.nonceStr, … })",
    ),
    Cause(
        "WXS113",
        Text(
            "The text that was hashed, or the hash, was made by another recipe than WeChat's.",
            "拼接的字符串或散列算法与微信规定的不同。",
        ),
        Text(
            "`sha1('jsapi_ticket=…&noncestr=…&timestamp=…&url=…')`: these names, in this order, all in lower case, no value "
            "encoded, the digest in lower-case hex.",
            "应为 `sha1('jsapi_ticket=…&noncestr=…&timestamp=…&url=…')`：键名全小写并按此顺序，值不编码，结果为小写十六进制。",
        ),
        "sha1('jsapi_ticket=T&nonceStr=N&timestamp=S&url=U')",
        "sha1('jsapi_ticket=T&noncestr=N&timestamp=S&url=U')",
    ),
    Cause(
        "WXS114",
        Text(
            "The page's host is not one that the account has registered, or never can: an IP address, localhost, another port.",
            "页面域名没有绑定到该公众号，或者无法绑定：IP 地址、localhost 或其他端口。",
        ),
        Text(
            "Add the host to the account's JS interface security domains, with ports 80 and 443 only; for a laptop use the sandbox: "
            "`wxsign dev`.",
            "请把域名加入该账号的“JS接口安全域名”，端口只能是 80 或 443；在电脑上开发请用沙箱：`wxsign dev`。",
        ),
        "http://192.168.1.7:5173/",
        "https://m.example.com/",
    ),
    Cause(
        "WXS115",
        Text(
            "The timestamp is in milliseconds in one place and in seconds in the other.",
            "时间戳在一处是毫秒，在另一处是秒。",
        ),
        Text(
            "Ten digits, seconds since 1970, in the signature and in `wx.config`.",
            "签名和 `wx.config` 都用 10 位数字，即自 1970 年起的秒数。",
        ),
        "timestamp: Date.now()                  // 1414587457000",
        "timestamp: 1414587457",
    ),
    Cause(
        "WXS116",
        Text(
            "The signature was accepted, but the interface was called before `wx.ready`, is not in `jsApiList`, or the page has "
            "moved since.",
            "签名已通过，但接口在 `wx.ready` 之前被调用、不在 `jsApiList` 中，或页面地址之后又变了。",
        ),
        Text(
            "Call it after `ready()`, name it in `jsApiList`, and sign again after a route change: `wxsign.ready()` does all three.",
            "请在 `ready()` 之后调用，把接口名写进 `jsApiList`，路由变化后重新签名：`wxsign.ready()` 会处理这三件事。",
        ),
        "wx.config({ jsApiList: [] }); wx.scanQRCode()",
        "wxsign.ready({ jsApiList: ['scanQRCode'] }).then(({ wx }) => wx.scanQRCode())",
    ),
    Cause(
        "WXS117",
        Text(
            "On HarmonyOS WeChat forgets a configuration once an iframe has loaded: later calls are answered with "
            "`invalid signature`.",
            "鸿蒙版微信在 iframe 加载后会丢失配置：之后的调用返回 `invalid signature`。",
        ),
        Text(
            "Load the iframe before `wx.config`, or call `wxsign.ready()` again after it has loaded.",
            "请在 `wx.config` 之前加载 iframe，或在其加载后再次调用 `wxsign.ready()`。",
        ),
        "wxsign.ready(); document.body.append(iframe)",
        "iframe.onload = () => wxsign.ready({ url: location.href })",
    ),
)

CATALOG: Final = {cause.id: cause for cause in _ROWS}
_ID: Final = re.compile(r"(?:WXS)?([0-9]{3})", re.IGNORECASE)


def cause_named(text: str) -> Cause | None:
    """The cause that an id names, however it is written: `WXS103`, `wxs103`, `103`."""
    found = _ID.fullmatch(text.strip())
    return CATALOG.get(f"WXS{found[1]}") if found else None
