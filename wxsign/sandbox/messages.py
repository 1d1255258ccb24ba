"""WeChat's error answers, in the wording that its servers use today."""

import secrets

INVALID_CREDENTIAL = (
    "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, "
    "more details at https://mmbizurl.cn/s/JtxxFh33r"
)
TEXTS = {
    -1: "system error",
    40001: INVALID_CREDENTIAL,
    40002: "invalid grant_type",
    40003: "invalid openid",
    40008: "invalid message type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40029: "invalid code",
    40030: "invalid refresh_token",
    40163: "code been used",
    40066: "invalid url",
    40097: "invalid args",
    40125: "invalid appsecret",
    40243: "appsecret is frozen",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    41008: "missing code",
    42001: "access_token expired",
    42002: "refresh_token expired",
    43001: "require GET method",
    43002: "require POST method",
    44002: "empty post data",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    47001: "data format error",
    48001: "api unauthorized",
    48006: "forbid to clear quota because of reaching the limit",
    60020: "not allow to access from your ip",
    50004: "api forbidden",
    50007: "account frozen",
    76021: "cgi_path not found",
    89501: "ip is waiting for the administrator's confirmation",
    89503: "this call needs the administrator's confirmation",
    89506: "the administrator refused this ip twice, retry after 24 hours",
    89507: "the administrator refused this ip, retry after 1 hour",
}


def rid(now: float) -> str:
    """A request id: three groups of eight hex digits, the first one is the Unix time."""
    return f"{int(now):08x}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"


def errmsg(errcode: int, now: float, remote_addr: str, *, of_sns: bool = False) -> str:
    """The text for a code, with its rid, before which /sns has a comma; 40164 names the caller's address as WeChat does."""
    return f"{_text(errcode, remote_addr)}{',' if of_sns else ''} rid: {rid(now)}"


def _text(errcode: int, remote_addr: str) -> str:
    if errcode == 60020:  # noqa: PLR2004 - WeCom's own number
        return f"not allow to access from your ip, from ip: {remote_addr}, more info at https://open.work.weixin.qq.com/devtool/query?e=60020"
    if errcode == 40164:  # noqa: PLR2004 - WeChat's own number
        ipv6 = remote_addr if ":" in remote_addr else f"::ffff:{remote_addr}"
        return f"invalid ip {remote_addr} ipv6 {ipv6}, not in whitelist"
    return TEXTS.get(errcode, "system error")
