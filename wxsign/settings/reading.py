"""What the settings mean: `load_settings` turns the environment and the TOML file into frozen `Settings`.

All problems are gathered and raised together as one `ConfigError`, each with its key and the remedy. Nothing here speaks
to the network or opens the store. `table` has the settings, `sources` reads their raw values.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import logging
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wxsign.accounts.clients import DEFAULT_SCOPES, SCOPES, ApiClient, Network, sha256_of_key
from wxsign.errors import ConfigError, Text
from wxsign.settings import addresses
from wxsign.settings.account import accounts_of, defaults_of
from wxsign.settings.alerts import alert_settings
from wxsign.settings.document import Documents, check_variables, read_documents
from wxsign.settings.identity import VISIBLE
from wxsign.settings.relay import relay_paths
from wxsign.settings.sources import Notes, Table, nearest, read_tables
from wxsign.settings.table import (
    CLIENT_KEY_MIN_CHARACTERS,
    DEFAULT_API_BASE,
    DEFAULT_CONFIG,
    DEFAULT_STORE,
    DEFAULT_THREADS,
    DEFAULT_WECOM_API_BASE,
    DEFAULT_WORKERS,
    Section,
)
from wxsign.settings.values import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

logger = logging.getLogger("wxsign.config")

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_PROXIES: Final = 10
_MAX_WORKERS: Final = 64
CLIENT_KEY_MIN_DIFFERENT: Final = 8


def load_settings(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the TOML file (`path`, else `WXSIGN_CONFIG`, else `wxsign.toml` if there is one) and the environment over it.

    What merely looks wrong is logged and stands in `Settings.warnings`.

    Raises:
        ConfigError: the configuration cannot be used; carries every problem found.
    """
    environ = os.environ if environ is None else environ
    notes = Notes()
    settings = _read(environ, notes, _config_path(path, environ, notes))
    for warning in notes.warnings:
        fields = {"key": warning.key, "message": str(warning.message), "hint": str(warning.hint)}
        logger.warning("wxsign.config_warning", extra={"fields": fields})
    if notes.problems:
        raise ConfigError(notes.problems)
    return replace(settings, warnings=tuple(notes.warnings))


def _config_path(path: str | Path | None, environ: Mapping[str, str], notes: Notes) -> Path | None:
    given = str(path) if path else environ.get("WXSIGN_CONFIG", "").strip()
    chosen = Path(given or DEFAULT_CONFIG).absolute()
    if given and not chosen.is_file():
        hint = Text("Start from wxsign.example.toml.", "可以从 wxsign.example.toml 开始。")
        notes.problem("WXSIGN_CONFIG", Text(f"there is no file {chosen}.", f"文件 {chosen} 不存在。"), hint)
    return chosen if chosen.is_file() else None


def _read(environ: Mapping[str, str], notes: Notes, path: Path | None) -> Settings:
    folder = path.parent if path else Path.cwd()
    documents = read_documents(path, notes) if path else Documents({}, {})
    check_variables(environ, documents.merged, notes)
    tables: dict[Section, dict[str, Table]] = {
        section: read_tables(section, documents.merged, environ, notes, folder)
        for section in Section
        if section is not Section.ENVIRONMENT
    }
    for (section, name), beside in documents.folders.items():
        if name in tables[section]:
            # What an included file calls by a relative path lies beside that file.
            tables[section][name] = replace(tables[section][name], folder=beside)
    defaults = defaults_of(tables[Section.DEFAULTS]["defaults"], notes)
    accounts, clients = tables[Section.ACCOUNTS], tables[Section.CLIENTS]
    refresh = tables[Section.SERVICE]["service"].boolean("refresh", default=True)
    found = tuple(
        account
        for name, table in accounts.items()
        for account in accounts_of(name, table, defaults, notes, refresh=refresh)
    )
    # One that is wrong is known by its name all the same.
    names = tuple(dict.fromkeys((*(account.name for account in found), *accounts)))
    settings = Settings(
        accounts=found,
        clients=tuple(_client(name, table, notes, names) for name, table in clients.items()),
        refresh=refresh,
        alerts=alert_settings(tables[Section.ALERTS]["alerts"], notes),
        config_path=path,
    )
    _check_whole(settings, accounts, notes)
    return _with_service(settings, tables[Section.SERVICE]["service"], folder, notes)


def _with_service(settings: Settings, table: Table, folder: Path, notes: Notes) -> Settings:
    def checked(key: str, default: str, check: Callable[[str], str]) -> str:
        # An address of a store may hold its password.
        entry = table.secret(key) if key == "store" else None
        text = str(entry.value) if entry else default if key == "store" else table.text(key, default)
        try:
            return check(text) if text else text
        except addresses.UnusableError as error:
            notes.problem(table.name(key), error.message, error.hint)
            return default

    return replace(
        settings,
        store=checked("store", DEFAULT_STORE, lambda text: addresses.store_url(text, folder)),
        server=_choice(table, notes, "server", ("gunicorn", "granian")),
        workers=_bounded(table, notes, "workers", DEFAULT_WORKERS),
        threads=_bounded(table, notes, "threads", DEFAULT_THREADS),
        socket_group=table.text("socket_group"),
        public_url=checked("public_url", "", addresses.public_url) or None,
        trusted_proxies=(proxies := _trusted_proxies(table, notes)),
        trusted_proxy_addresses=_trusted_proxy_addresses(table, notes),
        pages=table.boolean("pages", default=True),
        dialect=table.boolean("dialect", default=True),
        verify_folder=_verify_folder(table, notes),
        nested_urls=_choice(table, notes, "nested_urls", ("warn", "refuse")),
        access_log=_choice(table, notes, "access_log", ("off" if proxies else "json", "json", "off"))
        == "json",
        metrics_allow_from=_networks("metrics_allow_from", table, notes),
        api_base=checked("api_base", DEFAULT_API_BASE, addresses.api_base),
        wecom_api_base=checked("wecom_api_base", DEFAULT_WECOM_API_BASE, addresses.api_base),
    )


def _choice(table: Table, notes: Notes, key: str, known: tuple[str, ...]) -> str:
    """One of the `known` words, by default the first."""
    word = table.text(key, known[0])
    if word not in known:
        listed, listed_zh = (
            glue.join(f"`{name}`" for name in sorted(set(known))) for glue in (" or ", " 或 ")
        )
        message = Text(f"must be {listed}.", f"必须是 {listed_zh}。")
        hint = Text(f"`{known[0]}` is the default.", f"默认为 `{known[0]}`。")
        notes.problem(table.name(key), message, hint)
    return word


def _bounded(table: Table, notes: Notes, key: str, default: int) -> int:
    """How many there shall be of something that each costs memory."""
    number = table.integer(key, default)
    if not 1 <= number <= _MAX_WORKERS:
        message = Text(f"must be 1 to {_MAX_WORKERS}.", f"必须是 1 到 {_MAX_WORKERS}。")
        notes.problem(table.name(key), message, Text(f"{default} is the default.", f"默认为 {default}。"))
    return number


def _trusted_proxies(table: Table, notes: Notes) -> int:
    number = table.integer("trusted_proxies", 0)
    if 0 <= number <= _MAX_PROXIES:
        return number
    message = Text(f"must be 0 to {_MAX_PROXIES}.", f"必须是 0 到 {_MAX_PROXIES}。")
    hint = Text("Count the reverse proxies in front of this service.", "请填写本服务前面反向代理的层数。")
    notes.problem(table.name("trusted_proxies"), message, hint)
    return 0


def _verify_folder(table: Table, notes: Notes) -> Path | None:
    folder = table.text("verify_folder")
    if not folder:
        return None
    path = table.folder / folder
    if not path.is_dir():
        hint = Text("Put the files that WeChat gave you there.", "请把从微信下载的文件放在该目录。")
        notes.problem(table.name("verify_folder"), Text("is not a folder.", "不是目录。"), hint)
    return path


def _client(name: str, table: Table, notes: Notes, accounts: Collection[str]) -> ApiClient:
    scopes, names = table.words("scopes"), table.words("accounts")
    _check_names(table.name("scopes"), scopes or (), SCOPES, notes)
    _check_names(table.name("accounts"), names or (), accounts, notes, patterns=True)
    return ApiClient(
        name=name,
        key_sha256=_key_hashes(table, notes),
        scopes=DEFAULT_SCOPES if scopes is None else frozenset(scopes),
        accounts=None if names is None else frozenset(names),
        allow_from=_allow_from(table, notes),
        relay_paths=relay_paths(table, scopes or (), notes),
    )


def _check_names(
    key: str, names: Sequence[str], known: Collection[str], notes: Notes, *, patterns: bool = False
) -> None:
    for name in names:
        if name not in known and not (patterns and "*" in name and fnmatch.filter(known, name)):
            listed = ", ".join(known)
            message = Text(f"{name!a} is not known.", f"{name!a} 不存在。")
            notes.problem(key, message, nearest(name, known, Text(f"Known: {listed}.", f"可用：{listed}。")))


def _key_hashes(table: Table, notes: Notes) -> tuple[str, ...]:
    hashes = list(table.words("key_sha256") or ())
    if any(not _SHA256.fullmatch(word) for word in hashes):
        message = Text(
            "must be SHA-256 sums of 64 lower-case hex digits.", "必须是 64 位小写十六进制的 SHA-256。"
        )
        hint = Text(
            "`wxsign client new NAME` prints one with its key.", "`wxsign client new 名称` 会生成密钥和它。"
        )
        notes.problem(table.name("key_sha256"), message, hint)
    entry = table.secret("key")
    if entry is not None:
        _check_key(entry.label, str(entry.value), notes)
        # A key of the environment replaces what the file says; both in the file are both valid.
        hashes = [*(hashes if entry.label.startswith(table.label) else ()), sha256_of_key(str(entry.value))]
    elif not hashes and not table.has_secret("key") and table.entry("key_sha256") is None:
        hint = Text("`wxsign client new NAME` makes a key.", "`wxsign client new 名称` 可生成密钥。")
        notes.problem(table.name("key_sha256"), Text("the client has no key.", "该客户端没有密钥。"), hint)
    return tuple(hashes)


def _check_key(label: str, key: str, notes: Notes) -> None:
    long_enough = len(key) >= CLIENT_KEY_MIN_CHARACTERS and len(set(key)) >= CLIENT_KEY_MIN_DIFFERENT
    if long_enough and VISIBLE.fullmatch(key):
        return
    message = Text(
        f"a client key is at least {CLIENT_KEY_MIN_CHARACTERS} visible ASCII characters, {CLIENT_KEY_MIN_DIFFERENT} of them different.",
        f"客户端密钥至少为 {CLIENT_KEY_MIN_CHARACTERS} 个可见 ASCII 字符，其中至少 {CLIENT_KEY_MIN_DIFFERENT} 个互不相同。",
    )
    notes.problem(
        label, message, Text("`wxsign client new NAME` makes one.", "`wxsign client new 名称` 可生成密钥。")
    )


def _allow_from(table: Table, notes: Notes) -> tuple[Network, ...]:
    if table.words("allow_from") == ():
        message = Text("an empty list would let nobody call.", "空列表表示任何地址都不能调用。")
        hint = Text(
            "Name the addresses, or leave `allow_from` out to allow calls from everywhere.",
            "请列出允许的地址；如果不限制来源，请去掉 `allow_from`。",
        )
        notes.problem(table.name("allow_from"), message, hint)
    return _networks("allow_from", table, notes)


def _trusted_proxy_addresses(table: Table, notes: Notes) -> tuple[Network, ...]:
    networks = _networks("trusted_proxy_addresses", table, notes)
    if networks and not table.integer("trusted_proxies", 0):
        message = Text(
            "says whom to believe, but no proxy is believed.", "指定了可信代理的地址，但可信代理的层数为 0。"
        )
        hint = Text("Set `trusted_proxies` to their number.", "请把 `trusted_proxies` 设为反向代理的层数。")
        notes.problem(table.name("trusted_proxy_addresses"), message, hint)
    return networks


def _networks(key: str, table: Table, notes: Notes) -> tuple[Network, ...]:
    networks: list[Network] = []
    for word in table.words(key) or ():
        try:
            networks.append(ipaddress.ip_network(word))
        except ValueError:
            message = Text(f"{word!a} is not an address or network.", f"{word!a} 不是有效的地址或网段。")
            hint = Text("For example: 10.0.0.0/8 or 192.0.2.7.", "例如：10.0.0.0/8 或 192.0.2.7。")
            notes.problem(table.name(key), message, hint)
    return tuple(networks)


def _check_whole(settings: Settings, account_tables: Mapping[str, Table], notes: Notes) -> None:
    """What no setting shows by itself: something to sign or to hand out must be there, and nothing twice."""
    if not account_tables:
        hint = Text(
            "Set WXSIGN_APPID and WXSIGN_SECRET_FILE, or write [accounts.NAME]. Without a WeChat account, try `wxsign dev`.",
            "请设置 WXSIGN_APPID 和 WXSIGN_SECRET_FILE，或写 [accounts.NAME]。没有微信账号时可运行 `wxsign dev` 体验。",
        )
        notes.problem("WXSIGN_APPID", Text("no account is configured.", "没有配置任何账号。"), hint)
    elif settings.accounts and not settings.clients and not any(map(_names_hosts, account_tables.values())):
        message = Text("no host may be signed for and no client may ask: nothing could be answered.",
                       "没有允许签名的域名，也没有客户端：任何请求都无法应答。")  # fmt: skip
        hint = Text("Set it to the hosts of your pages, comma separated.", "请填写页面的域名，用逗号分隔。")
        notes.problem("WXSIGN_ALLOWED_HOSTS", message, hint)
    _check_unique("app_id", [account.owner for account in settings.accounts], notes)
    hashes = [digest for client in settings.clients for digest in client.key_sha256]
    _check_unique("clients", hashes, notes, show=False)
    names = {account.name for account in settings.accounts}
    for account in settings.accounts:
        if account.app_id in names and account.app_id != account.name:
            message = Text("is the name of another account.", "与另一个账号的名称相同。")
            notes.problem(
                f"accounts.{account.name}.app_id", message, Text("Rename that account.", "请改名。")
            )


def _names_hosts(table: Table) -> bool:
    entry = table.entry("allowed_hosts")
    return entry is not None and bool(entry.value)


def _check_unique(key: str, values: Sequence[str], notes: Notes, *, show: bool = True) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            what = f"`{value}`" if show else "key"
            message = Text(
                f"the same {what} is configured {count} times.", f"重复配置了 {count} 次：{what}。"
            )
            notes.problem(key, message, Text("Keep one of them.", "请只保留一个。"))
