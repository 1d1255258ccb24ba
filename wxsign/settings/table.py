"""The one table of all settings: name, environment variable, TOML key, default and what it is for, in English and Chinese.

`config` reads by it, `docs/configuration.md` is printed from it (`python -m wxsign.settings`), and a test holds the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from wxsign.errors import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_API_BASE = "https://api.weixin.qq.com"
DEFAULT_WECOM_API_BASE = "https://qyapi.weixin.qq.com"
DEFAULT_STORE = "sqlite:///var/wxsign.db"
DEFAULT_CONFIG = "wxsign.toml"
DEFAULT_WORKERS = 4
# Only the first callers of a cold start ever wait for WeChat; 4 × 8 leaves room for 32 of them.
DEFAULT_THREADS = 8
CLIENT_KEY_MIN_CHARACTERS = 32

# Kubernetes injects these for a service called "wxsign" or "wxsign-…"; no setting has such a name.
KUBERNETES_VARIABLE = re.compile(
    r"WXSIGN_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT\w*|PORT(?:_\d+_(?:TCP|UDP|SCTP)\w*)?)"
)


class Section(StrEnum):
    """Where a setting stands in the TOML file."""

    ENVIRONMENT = ""
    SERVICE = "service"
    ALERTS = "alerts"
    DEFAULTS = "defaults"
    ACCOUNTS = "accounts"
    CLIENTS = "clients"


class Kind(StrEnum):
    """How a value is written: in the environment always as text, a list with commas, a boolean as `true` or `false`."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    LIST = "list"
    LIMITS = "table of numbers"
    TABLES = "tables"
    TABLE = "table"
    SECRET = "secret"  # noqa: S105 - the name of a kind


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: a `SECRET` may also be given by `<env>_FILE`, `<key>_env` and `<key>_file`."""

    section: Section
    key: str
    kind: Kind
    env: str | None
    default: str
    help: Text

    @property
    def toml(self) -> str:
        """The key as it is written in messages and documentation, empty for the environment's own settings."""
        table = {Section.ACCOUNTS: "accounts.NAME", Section.CLIENTS: "clients.NAME"}.get(
            self.section, self.section
        )
        return f"{table}.{self.key}" if self.section is not Section.ENVIRONMENT else ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that this setting listens to."""
        if self.env is None:
            return ()
        return (self.env, f"{self.env}_FILE") if self.kind is Kind.SECRET else (self.env,)

    @property
    def keys(self) -> tuple[str, ...]:
        """The TOML keys that this setting listens to, without their table."""
        if self.section is Section.ENVIRONMENT:
            return ()
        suffixes = ("", "_env", "_file") if self.kind is Kind.SECRET else ("",)
        return tuple(self.key + suffix for suffix in suffixes)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        Section.ENVIRONMENT,
        "config",
        Kind.TEXT,
        "WXSIGN_CONFIG",
        DEFAULT_CONFIG,
        Text(
            "Path of the TOML file. Without it, a `wxsign.toml` in the working directory is read if there is one.",
            "TOML 配置文件的路径。不设置时，如果工作目录里有 `wxsign.toml` 就读取它。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "store",
        Kind.SECRET,
        "WXSIGN_STORE",
        DEFAULT_STORE,
        Text(
            "Where credentials are kept, so that all workers share one fetch and a restart loses nothing: `sqlite:///path` "
            "(three slashes: relative to the configuration file; four: absolute) for one machine, a Redis or Valkey for many "
            "(`redis://:password@host:6379/0` and the other forms of [redis.md](redis.md)), or `memory:` for a single process. An address with a password is better kept in a file: `WXSIGN_STORE_FILE`, `store_file`.",
            "凭据存放处，让所有 worker 共用一次获取、重启不丢失：单机用 `sqlite:///path`（三个斜杠：相对配置文件所在目录；"
            "四个：绝对路径），多机用 Redis 或 Valkey（`redis://:密码@host:6379/0`，其他写法见 [redis.md](redis.md)），"
            "单进程可用 `memory:`。地址里有密码时，建议写在文件里：`WXSIGN_STORE_FILE`、`store_file`。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "public_url",
        Kind.TEXT,
        "WXSIGN_PUBLIC_URL",
        "",
        Text(
            "The URL under which browsers reach this service, with its path prefix if it has one. Used for the QR code of the "
            "demo page, for HSTS, and to warn of pages signed under the other scheme.",
            "浏览器访问本服务的 URL（如有路径前缀要带上）。用于演示页的二维码、HSTS，以及页面协议不一致时的提醒。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "server",
        Kind.TEXT,
        "WXSIGN_SERVER",
        "gunicorn",
        Text(
            "What `wxsign serve` runs: `gunicorn`, or `granian` (`pip install 'wxsign[granian]'`), which answers several times as "
            "many requests a second: [deployment.md](deployment.md#granian). Read at the start, not at a reload.",
            "`wxsign serve` 使用的服务器：`gunicorn`，或 `granian`（`pip install 'wxsign[granian]'`），后者每秒能应答的请求数是前者的数倍，"
            "见 [deployment.zh-CN.md](deployment.zh-CN.md#granian)。只在启动时读取，重新加载时不变。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "workers",
        Kind.INTEGER,
        "WXSIGN_WORKERS",
        str(DEFAULT_WORKERS),
        Text(
            "Processes of `wxsign serve`, 1 to 64, unless `--workers` says otherwise. Read at the start, not at a reload.",
            "`wxsign serve` 的进程数，1 到 64；`--workers` 优先。只在启动时读取，重新加载时不变。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "threads",
        Kind.INTEGER,
        "WXSIGN_THREADS",
        str(DEFAULT_THREADS),
        Text(
            "Threads of each process, 1 to 64, unless `--threads` says otherwise. Read at the start, not at a reload.",
            "每个进程的线程数，1 到 64；`--threads` 优先。只在启动时读取，重新加载时不变。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "socket_group",
        Kind.TEXT,
        "WXSIGN_SOCKET_GROUP",
        "the user's own",
        Text(
            "Group that may connect to a unix socket that `wxsign serve` makes (mode 0770): that of nginx, `www-data` on Debian, `nginx` "
            "elsewhere. The service must run as root or be a member. A socket of systemd has its own `SocketGroup=`.",
            "允许连接 `wxsign serve` 所建 unix socket（权限 0770）的用户组，即 nginx 的组：Debian 上是 `www-data`，其他系统多为 `nginx`。"
            "运行本服务的用户须为 root 或属于该组。由 systemd 建立的 socket 使用它自己的 `SocketGroup=`。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "trusted_proxies",
        Kind.INTEGER,
        "WXSIGN_TRUSTED_PROXIES",
        "0",
        Text(
            "Number of reverse proxies in front whose `X-Forwarded-*` headers are believed. Behind the nginx of `deploy/`: 1.",
            "前面有几层反向代理的 `X-Forwarded-*` 请求头可以相信。使用 `deploy/` 里的 nginx 时为 1。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "trusted_proxy_addresses",
        Kind.LIST,
        "WXSIGN_TRUSTED_PROXY_ADDRESSES",
        "any",
        Text(
            "Addresses or networks of these proxies: `X-Forwarded-*` headers that come from anywhere else are ignored. What speaks "
            "over a unix socket is always one of them.",
            "这些反向代理的地址或网段：来自其他地址的 `X-Forwarded-*` 请求头会被忽略。通过 unix socket 连接的始终视为可信代理。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "nested_urls",
        Kind.TEXT,
        None,
        "warn",
        Text(
            "What to do with a page whose query holds `&url=` and an address, not encoded, that the account may not sign: `warn` or "
            "`refuse` (403). The same signature could be used on that other page.",
            "页面查询参数中含有 `&url=` 及未编码、且该账号不能签名的地址时：`warn` 只警告，`refuse` 拒绝（403）。"
            "同一个签名可能被用在那个页面上。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "pages",
        Kind.BOOLEAN,
        "WXSIGN_PAGES",
        "true",
        Text(
            "Whether the start page `/` and the demo page `/demo` are served.",
            "是否提供首页 `/` 和演示页 `/demo`。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "dialect",
        Kind.BOOLEAN,
        "WXSIGN_DIALECT",
        "true",
        Text(
            "Whether WeChat's own paths (`/cgi-bin/token` …) are served, for SDKs whose secret is a client key: docs/sdks.md.",
            "是否提供微信自己的路径（`/cgi-bin/token` 等），供以客户端密钥作为 secret 的 SDK 使用，见 docs/sdks.md。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "verify_folder",
        Kind.TEXT,
        "WXSIGN_VERIFY_FOLDER",
        "",
        Text(
            "Folder of the files by which WeChat checks that a domain is yours (`MP_verify_….txt`); they are served at the root.",
            "微信用来验证域名归属的文件（`MP_verify_….txt`）所在的目录，在根路径下提供。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "access_log",
        Kind.TEXT,
        "WXSIGN_ACCESS_LOG",
        "off behind trusted proxies, else json",
        Text(
            "`json` writes a line for each request, `off` none. Behind a proxy it would say what the proxy's own log says, and costs "
            "more than a signature.",
            "`json` 为每个请求写一行访问日志，`off` 不写。有反向代理时，代理自己的日志已有同样内容，而写这一行比签名本身还费时。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "metrics_allow_from",
        Kind.LIST,
        "WXSIGN_METRICS_ALLOW_FROM",
        "this machine",
        Text(
            "Addresses or networks, besides this machine, that may read `/metrics` without a key of scope `admin`.",
            "除本机外，无需 `admin` 权限的密钥就能读取 `/metrics` 的地址或网段。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "refresh",
        Kind.BOOLEAN,
        "WXSIGN_REFRESH",
        "true",
        Text(
            "Whether this process fetches credentials. With `false` it only reads what others put into the shared store, and "
            "needs neither AppSecret nor a way to WeChat; the others need `warm = true` for the accounts it serves.",
            "本进程是否获取凭据。设为 `false` 时只读取其他机器写入共用存储的凭据，既不需要 AppSecret，也不需要访问微信；"
            "其他机器须为相应账号设置 `warm = true`。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "api_base",
        Kind.TEXT,
        "WXSIGN_API_BASE",
        DEFAULT_API_BASE,
        Text(
            "Replaces WeChat's API host, for the sandbox or an egress proxy; `https` unless it is a loopback address.",
            "替换微信接口的地址，用于沙箱或出口代理；除本机回环地址外必须是 `https`。",
        ),
    ),
    Setting(
        Section.SERVICE,
        "wecom_api_base",
        Kind.TEXT,
        "WXSIGN_WECOM_API_BASE",
        DEFAULT_WECOM_API_BASE,
        Text("The same for WeCom's API host.", "替换企业微信接口的地址，规则同上。"),
    ),
    Setting(
        Section.ALERTS,
        "webhook",
        Kind.SECRET,
        "WXSIGN_ALERT_WEBHOOK",
        "",
        Text(
            "Address of a group's robot, which is told when a fault begins and when it is over. Whoever has it can write there: "
            "better by file, `webhook_file`.",
            "群机器人的 webhook 地址，故障发生和恢复时各发一条消息。持有该地址即可发消息，建议写在文件里：`webhook_file`。",
        ),
    ),
    Setting(
        Section.ALERTS,
        "kind",
        Kind.TEXT,
        "WXSIGN_ALERT_KIND",
        "by the address, else json",
        Text(
            "What the robot understands: `wecom`, `dingtalk`, `feishu`, `slack` or `json`. A robot of DingTalk that asks for a "
            "keyword gets `wxsign`.",
            "机器人的消息格式：`wecom`、`dingtalk`、`feishu`、`slack` 或 `json`，默认按地址判断。钉钉机器人的自定义关键词请填 `wxsign`。",
        ),
    ),
    Setting(
        Section.ALERTS,
        "ping_url",
        Kind.SECRET,
        "WXSIGN_ALERT_PING_URL",
        "",
        Text(
            "Asked for by GET after a good refresh, at most twice a minute and process: a service that misses it raises the alarm "
            "when nothing works any more.",
            "每次成功刷新后用 GET 访问的地址（每个进程每分钟最多两次），供外部监控在完全失联时报警。",
        ),
    ),
    Setting(
        Section.ALERTS,
        "language",
        Kind.TEXT,
        "WXSIGN_ALERT_LANGUAGE",
        "en for slack and json, else zh",
        Text("Language of the messages: `zh` or `en`.", "消息的语言：`zh` 或 `en`。"),
    ),
    Setting(
        Section.ACCOUNTS,
        "kind",
        Kind.TEXT,
        None,
        "official",
        Text(
            "Kind of account: `official` (an Official Account), `miniprogram` (a Mini Program: its access_token alone), or `wecom` "
            "(a corporation of WeCom with its apps).",
            "账号类型：`official`（公众号）、`miniprogram`（小程序：只有 access_token）或 `wecom`（企业微信的企业及其应用）。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "app_id",
        Kind.TEXT,
        "WXSIGN_APPID",
        "",
        Text(
            "AppID of the account, as shown in the WeChat developer platform (微信开发者平台 → 我的业务 → 公众号/服务号 → 基础信息). "
            "The variable is for the one account named `default`.",
            "账号的 AppID（微信开发者平台 → 我的业务 → 公众号/服务号 → 基础信息）。环境变量对应名为 `default` 的那一个账号。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "app_secret",
        Kind.SECRET,
        "WXSIGN_SECRET",
        "",
        Text(
            "AppSecret of the account. Better by file than by value: `WXSIGN_SECRET_FILE`, `app_secret_file`; "
            "or from a variable of your choice: `app_secret_env`.",
            "账号的 AppSecret。建议用文件而不是直接写值：`WXSIGN_SECRET_FILE`、`app_secret_file`；"
            "或取自任意环境变量：`app_secret_env`。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "token_from",
        Kind.TABLE,
        None,
        "",
        Text(
            "In place of the AppSecret: the system that hands out this account's access_token, `{ url, bearer_file, refresh_url }`, `{ file }` or "
            "`{ redis_file, key }`, with the names of `token`, `expires_in` or `expires_at` in its JSON: docs/sources.md.",
            "代替 AppSecret：提供该账号 access_token 的系统，`{ url, bearer_file, refresh_url }`、`{ file }` 或 `{ redis_file, key }`，"
            "以及其 JSON 中 `token`、`expires_in` 或 `expires_at` 的字段名，见 docs/sources.md。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "corp_id",
        Kind.TEXT,
        None,
        "",
        Text(
            "Of kind `wecom`: the corporation's id (`ww…`), as shown in WeCom's admin console (我的企业 → 企业信息).",
            "`wecom` 类型：企业 ID（`ww…`），见企业微信管理后台「我的企业 → 企业信息」。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "agents",
        Kind.TABLES,
        None,
        "",
        Text(
            "Of kind `wecom`: its apps, `[accounts.corp.agents.crm]` with `agent_id` and `secret` (better `secret_file`, `secret_env`), "
            "`js_api_list` (of `wx.agentConfig`) and `sinks`. Each is an account of its own, called `corp/crm`: docs/wecom.md.",
            "`wecom` 类型：企业的应用，`[accounts.corp.agents.crm]`，含 `agent_id` 和 `secret`（建议用 `secret_file`、`secret_env`）、"
            "`js_api_list`（`wx.agentConfig` 的接口）和 `sinks`。每个应用是一个独立的账号，名为 `corp/crm`，见 docs/wecom.md。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "allowed_hosts",
        Kind.LIST,
        "WXSIGN_ALLOWED_HOSTS",
        "",
        Text(
            "Hosts whose pages may be signed: `m.example.com` (ports 80 and 443), `m.example.com:8443`, `*.example.com` "
            "(one or more labels before it, not `example.com` itself). Without any, `/jsconfig` answers 403.",
            "允许签名的页面域名：`m.example.com`（80 和 443 端口）、`m.example.com:8443`、`*.example.com`"
            "（前面有一级或多级子域名，不含 `example.com` 本身）。一个都没有时，`/jsconfig` 返回 403。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "token_endpoint",
        Kind.TEXT,
        "WXSIGN_TOKEN_ENDPOINT",
        "stable",
        Text(
            "`stable` (`/cgi-bin/stable_token`: never invalidates the tokens that other systems fetch) or `classic` "
            "(`/cgi-bin/token`: each fetch retires the token before it).",
            "`stable`（`/cgi-bin/stable_token`，不会使其他系统获取的 token 失效）或 `classic`"
            "（`/cgi-bin/token`，每次获取都会使上一个 token 失效）。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "js_api_list",
        Kind.LIST,
        None,
        "every interface of the current script",
        Text(
            "JS interfaces put into the answer's `jsApiList`.",
            "写入返回值 `jsApiList` 的 JS 接口，默认为当前官方脚本的全部接口。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "open_tag_list",
        Kind.LIST,
        None,
        "every open tag of the current script",
        Text(
            "Open tags put into the answer's `openTagList`.",
            "写入返回值 `openTagList` 的开放标签，默认为当前官方脚本的全部标签。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "warm",
        Kind.BOOLEAN,
        None,
        "true with ten accounts or fewer",
        Text(
            "Keep the credentials fresh although nobody asks for them. `wxsign check` says which accounts are not kept so.",
            "即使无人使用也保持凭据新鲜；账号不超过十个时默认如此。`wxsign check` 会列出未保持新鲜的账号。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "quota",
        Kind.LIMITS,
        None,
        "WeChat's published limits",
        Text(
            "Calls a day that WeChat grants this account, where it grants more or fewer than usual: "
            "`{ token = 2000, stable_token = 500000, getticket = 10000, get_api_domain_ip = 5000 }`. "
            "A tenth is kept for dead and expired credentials; at the limit wxsign stops before WeChat does.",
            "微信给该账号的每日调用次数，与默认值不同时填写：`{ token = 2000, stable_token = 500000, getticket = 10000, "
            "get_api_domain_ip = 5000 }`。其中十分之一留给失效或过期的凭据；到达上限时 wxsign 会先于微信停止调用。",
        ),
    ),
    Setting(
        Section.ACCOUNTS,
        "sinks",
        Kind.TABLES,
        None,
        "",
        Text(
            "Files (and keys of Redis) that mirror a credential for systems that look for one: `[accounts.NAME.sinks.php]` with `path`, `credential` "
            "(`access_token`, `jsapi_ticket`), `format` (`value`, `json`, `php-sample`, or a text with `{value}`) and `mode`: docs/sinks.md.",
            "为只会读文件（或 Redis 键）的系统镜像凭据：`[accounts.NAME.sinks.php]`，含 `path`、`credential`（`access_token`、`jsapi_ticket`）、"
            "`format`（`value`、`json`、`php-sample`，或含 `{value}` 的文本）和 `mode`，见 docs/sinks.md。",
        ),
    ),
    Setting(
        Section.CLIENTS,
        "key",
        Kind.SECRET,
        "WXSIGN_CLIENT_KEY",
        "",
        Text(
            "Key of one client of the protected API, at least 32 characters. The variable is for the client named `default`. "
            "`wxsign client new NAME` makes a key.",
            "受保护接口的一个客户端密钥，至少 32 个字符。环境变量对应名为 `default` 的客户端。"
            "`wxsign client new NAME` 可生成密钥。",
        ),
    ),
    Setting(
        Section.CLIENTS,
        "key_sha256",
        Kind.LIST,
        None,
        "",
        Text(
            "SHA-256 of the client's key, in hex, instead of the key itself; two of them while a key is being rotated.",
            "客户端密钥的 SHA-256（十六进制），用来代替密钥本身；轮换密钥期间可以写两个。",
        ),
    ),
    Setting(
        Section.CLIENTS,
        "scopes",
        Kind.LIST,
        None,
        "token:read, token:refresh, ticket:read",
        Text(
            "What the client may do: `token:read`, `token:refresh`, `ticket:read`, `relay`, `admin`.",
            "客户端的权限：`token:read`、`token:refresh`、`ticket:read`、`relay`、`admin`。",
        ),
    ),
    Setting(
        Section.CLIENTS,
        "relay_paths",
        Kind.LIST,
        None,
        "none",
        Text(
            "Business calls of WeChat that a client of scope `relay` may have made from this service's address: "
            '`["/cgi-bin/user/info", "/cgi-bin/message/*"]` (one path, or all below it), see [relay.md](relay.md).',
            "拥有 `relay` 权限的客户端可以经由本服务的出口地址调用的微信业务接口："
            '`["/cgi-bin/user/info", "/cgi-bin/message/*"]`（单个路径，或其下的全部路径），见 [relay.zh-CN.md](relay.zh-CN.md)。',
        ),
    ),
    Setting(
        Section.CLIENTS,
        "accounts",
        Kind.LIST,
        None,
        "all",
        Text(
            "Names of the accounts that the client may read, or patterns: `shop`, `shop-*`, `corp/*`.",
            "客户端可以读取的账号名称或模式，例如 `shop`、`shop-*`、`corp/*`，默认全部。",
        ),
    ),
    Setting(
        Section.CLIENTS,
        "allow_from",
        Kind.LIST,
        None,
        "everywhere",
        Text(
            "Addresses or networks that the client may call from, such as `10.0.0.0/8`. Behind a proxy this needs `trusted_proxies`.",
            "允许客户端调用的地址或网段，例如 `10.0.0.0/8`，默认不限。有反向代理时需要设置 `trusted_proxies`。",
        ),
    ),
)


# What accounts have in common may be said once.
SETTINGS += tuple(
    replace(
        row,
        section=Section.DEFAULTS,
        env=None,
        help=Text(
            f"Of every account that does not say otherwise. {row.help.en}",
            f"未另行设置的账号均使用此值。{row.help.zh}",
        ),
    )
    for row in SETTINGS
    if row.section is Section.ACCOUNTS
    and row.key in {"token_endpoint", "js_api_list", "open_tag_list", "warm"}
)


def settings_of(section: Section) -> tuple[Setting, ...]:
    """The rows of one section, in the table's order."""
    return tuple(row for row in SETTINGS if row.section is section)


def known_variables() -> frozenset[str]:
    """Every environment variable that some setting listens to."""
    return frozenset(variable for row in SETTINGS for variable in row.variables)


def known_keys(section: Section) -> tuple[str, ...]:
    """Every TOML key that a table of this section may have."""
    return tuple(key for row in settings_of(section) for key in row.keys)


def markdown() -> str:
    """The page `docs/configuration.md`, whole."""
    return _HEAD + "\n".join(_rows()) + "\n" + _FOOT


def _rows() -> Iterator[str]:
    for section, title in _TITLES.items():
        yield f"\n### {title}\n"
        yield "| variable | TOML key | type | default | meaning |"
        yield "|---|---|---|---|---|"
        for row in settings_of(section):
            yield _row(row)


def _row(row: Setting) -> str:
    variables = " or ".join(f"`{name}`" for name in row.variables) or "–"
    keys = ", ".join(f"`{row.toml.removesuffix(row.key)}{key}`" for key in row.keys) or "–"
    default = f"`{row.default}`" if row.default and " " not in row.default else row.default or "–"
    return f"| {variables} | {keys} | {row.kind} | {default} | {row.help.en}<br>{row.help.zh} |"


_TITLES = {
    Section.ENVIRONMENT: "The file itself · 配置文件",
    Section.SERVICE: "`[service]` · 服务",
    Section.ALERTS: "`[alerts]` · 告警",
    Section.DEFAULTS: "`[defaults]` · 所有账号的默认值",
    Section.ACCOUNTS: "`[accounts.NAME]` · 账号",
    Section.CLIENTS: "`[clients.NAME]` · 客户端",
}

_HEAD = """\
# Configuration · 配置

<!-- Printed by `python -m wxsign.settings`; edit wxsign/settings/table.py instead. -->

One account needs nothing but environment variables:

```sh
export WXSIGN_APPID=wx0123456789abcdef
export WXSIGN_SECRET_FILE=/etc/wxsign/secret
export WXSIGN_ALLOWED_HOSTS=m.example.com
wxsign check && wxsign serve
```

Many accounts stand in a TOML file; `wxsign.example.toml` is one to start from. How the two come together:

- **The environment beats the file.** The variables of an account or a client speak of the one named `default`.
- **All problems are reported at once**, each with its key and the remedy. `wxsign check` prints them and exits with 2; under
  gunicorn the service does not start.
- **An unknown key** in the file is an error that suggests the nearest name; an unknown `WXSIGN_…` variable is a warning in the
  log. What Kubernetes injects (`WXSIGN_PORT`, `WXSIGN_SERVICE_…`) is passed over.
- **Secrets** come by value, from an environment variable (`…_env`) or from a file (`…_FILE`, `…_file`), from one of them only. A line break
  at the end of a file does not count.
- **A relative path** starts at the folder of the configuration file, or at the working directory where there is no file.
- `include = ["accounts.d/*.toml"]`, above the first section, adds the `[accounts.NAME]` and `[clients.NAME]` of other files; their relative paths start at
  their own folder. A name that stands twice is an error that names both files.
- `HTTPS_PROXY` and `NO_PROXY` are honoured for calls to WeChat, except for a loopback API base; `.netrc` never is.

一个公众号只需要环境变量；多个公众号写在 TOML 文件里（参考 `wxsign.example.toml`）。规则：

- **环境变量优先于文件。** 账号和客户端的环境变量对应名为 `default` 的那一个。
- **所有问题一次报告**，每个都写明键名和解决办法。`wxsign check` 打印它们并以 2 退出；在 gunicorn 下服务不会启动。
- 文件里的**未知键**是错误，并提示最接近的名称；未知的 `WXSIGN_…` 环境变量只在日志里警告。Kubernetes 注入的变量会被忽略。
- **密钥**可以直接写值、取自环境变量（`…_env`）或文件（`…_FILE`、`…_file`），三者只能选一。文件末尾的换行不算。
- **相对路径**从配置文件所在目录算起；没有配置文件时从工作目录算起。
- 写在所有段之前的 `include = ["accounts.d/*.toml"]` 会加入其他文件中的 `[accounts.NAME]` 和 `[clients.NAME]`，其中的相对路径从该文件所在目录算起。同名是错误，并会指出两个文件。
- 调用微信接口时遵守 `HTTPS_PROXY` 和 `NO_PROXY`（接口地址为本机时除外），从不读取 `.netrc`。

## All settings · 全部设置
"""

_FOOT = """
## What stops the start · 启动时的错误

`wxsign …` exits with 2, `gunicorn app:app` halts, and both list every problem: an account without AppID or AppSecret, no account at all,
no allowed host and no client either (nothing could be answered), a client key under 32 characters, a malformed store URL, an API base
that is neither `https` nor loopback, an unreadable secret file, a value of the wrong type, an unknown key.

A wrong AppSecret or an address that is not on WeChat's IP whitelist does **not** stop the start: `/readyz` and `/jsconfig` say why.

以上配置错误会让 `wxsign …` 以 2 退出、`gunicorn app:app` 停止，并列出全部问题。AppSecret 错误或 IP 不在白名单**不会**阻止启动：
`/readyz` 和 `/jsconfig` 会说明原因。
"""
