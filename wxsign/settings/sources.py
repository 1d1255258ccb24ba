"""Where the value of a setting comes from: an environment variable, the TOML file, a secret file.

A `Table` is one TOML table with the environment laid over it. It reads typed values, and notes every problem that it
meets instead of raising it, so that all of them can be reported at once.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from wxsign.errors import Problem, Text
from wxsign.logs import protect
from wxsign.settings.table import (
    Kind,
    Section,
    Setting,
    known_keys,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

T = TypeVar("T")

_DEFAULT: Final = "default"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
# By what name a variable is told, and what is not repeated where a path should stand: it may be the secret.
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_MAY_BE_SECRET: Final = re.compile(r"[^/.]{16,}")
_SECRET_FILE_MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A raw value, and the name under which its owner knows it: `WXSIGN_STORE` or `service.store`."""

    label: str
    value: object = field(repr=False)


@dataclass(slots=True)
class Notes:
    """What was found so far: `problems` stop the start, `warnings` do not."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, key: str, message: Text, hint: Text) -> None:
        """Note something that makes the configuration unusable."""
        self.problems.append(Problem(key, message, hint))

    def warning(self, key: str, message: Text, hint: Text) -> None:
        """Note something that looks wrong and can be lived with."""
        self.warnings.append(Problem(key, message, hint))


def nearest(name: str, known: Iterable[str], otherwise: Text) -> Text:
    """Return `Did you mean …?` where a known name is near, else `otherwise`."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return Text(f"Did you mean `{close[0]}`?", f"是否想写 `{close[0]}`？") if close else otherwise


def check_keys(
    label: str, values: Iterable[str], known: Collection[str], otherwise: Text, notes: Notes
) -> None:
    """Note every key of a table that means nothing there; `otherwise` is the hint where no known one is near."""
    for key in values:
        if key not in known:
            unknown = Text("unknown key.", "未知的键。")
            notes.problem(f"{label}.{key}", unknown, nearest(key, known, otherwise))


def read_tables(
    section: Section, document: Mapping[str, object], environ: Mapping[str, str], notes: Notes, folder: Path
) -> dict[str, Table]:
    """Return the tables of a section by name: `service`, `alerts` or `defaults` alone, or each NAME of `[accounts.NAME]` and `[clients.NAME]`.

    The environment lies over these two and over the account and the client named `default`, which it may bring into being.
    """
    values = _mapping(section.value, document.get(section.value, {}), notes)
    if section not in {Section.ACCOUNTS, Section.CLIENTS}:
        return {section.value: _table(section, section.value, values, environ, notes, folder)}
    if any(environ.get(name, "").strip() for row in settings_of(section) for name in row.variables):
        values = {_DEFAULT: {}} | values
    nothing: dict[str, str] = {}
    tables = {}
    for name, table in values.items():
        label = f"{section}.{name}"
        over = environ if name == _DEFAULT else nothing
        if _usable_name(label, name, notes):
            tables[name] = _table(
                section, label, _mapping(label, table, notes), environ, notes, folder, over=over
            )
    return tables


def _mapping(label: str, value: object, notes: Notes) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    notes.problem(
        label, Text("must be a table.", "必须是一个表。"), Text(f"Write [{label}].", f"请写成 [{label}]。")
    )
    return {}


def _usable_name(label: str, name: str, notes: Notes) -> bool:
    if _NAME.fullmatch(name):
        return True
    hint = Text("Use letters, digits, `-` and `_`.", "请使用字母、数字、`-` 和 `_`。")
    notes.problem(label, Text("is not a usable name.", "不是可用的名称。"), hint)
    return False


def _table(  # noqa: PLR0913 - what a Table is made of, and the check of its keys
    section: Section,
    label: str,
    values: Mapping[str, object],
    environ: Mapping[str, str],
    notes: Notes,
    folder: Path,
    *,
    over: Mapping[str, str] | None = None,
) -> Table:
    known = known_keys(section)
    listed = ", ".join(known)
    check_keys(label, values, known, Text(f"Known keys here: {listed}.", f"这里可用的键：{listed}。"), notes)
    rows = {row.key: row for row in settings_of(section)}
    return Table(label, rows, values, environ if over is None else over, environ, notes, folder)


@dataclass(frozen=True, slots=True)
class Table:
    """One TOML table with the environment laid over it: `over` is what its settings may take from the environment."""

    label: str
    rows: Mapping[str, Setting]
    values: Mapping[str, object] = field(repr=False)
    over: Mapping[str, str] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    notes: Notes = field(repr=False)
    folder: Path

    def entry(self, key: str) -> Entry | None:
        """Return the raw value of a setting, the environment's before the file's; an empty variable counts as not set."""
        env = self.rows[key].env
        if env and self.over.get(env, "").strip():
            return Entry(env, self.over[env].strip())
        return Entry(f"{self.label}.{key}", self.values[key]) if key in self.values else None

    def name(self, key: str) -> str:
        """Return the name under which to report a problem: where the value stands, or where it could be written."""
        entry = self.entry(key)
        env = self.rows[key].env
        if entry is not None:
            return entry.label
        return env if env and self.over and not self.values else f"{self.label}.{key}"

    def text(self, key: str, default: str = "") -> str:
        """Read a text."""
        entry = self.entry(key)
        if entry is None:
            return default
        return (
            entry.value.strip()
            if isinstance(entry.value, str)
            else self._wrong_type(entry, Kind.TEXT, default)
        )

    def integer(self, key: str, default: int) -> int:
        """Read a whole number, which the environment writes as text."""
        entry = self.entry(key)
        if entry is None:
            return default
        if isinstance(entry.value, int) and not isinstance(entry.value, bool):
            return entry.value
        digits = str(entry.value)
        if self._is_variable(entry) and re.fullmatch(r"[0-9]{1,9}", digits):
            return int(digits)
        return self._wrong_type(entry, Kind.INTEGER, default)

    def boolean(self, key: str, *, default: bool) -> bool:
        """Read a boolean, which the environment writes as `true` or `false`."""
        entry = self.entry(key)
        if entry is None:
            return default
        if isinstance(entry.value, bool):
            return entry.value
        word = str(entry.value).lower()
        if self._is_variable(entry) and word in _TRUE + _FALSE:
            return word in _TRUE
        return self._wrong_type(entry, Kind.BOOLEAN, default)

    def words(self, key: str) -> tuple[str, ...] | None:
        """Read a list of texts, which the environment separates by commas; None where it is not set."""
        entry = self.entry(key)
        if entry is None:
            return None
        if self._is_variable(entry):
            return tuple(word.strip() for word in str(entry.value).split(",") if word.strip())
        if isinstance(entry.value, list) and all(
            isinstance(word, str) and word.strip() for word in entry.value
        ):
            return tuple(word.strip() for word in entry.value)
        return self._wrong_type(entry, Kind.LIST, ())

    def limits(self, key: str, known: Collection[str]) -> dict[str, int]:
        """Read a table of whole numbers above 0 under `known` names; empty where it is not set."""
        entry = self.entry(key)
        if entry is None:
            return {}
        if not isinstance(entry.value, dict) or not all(_is_count(value) for value in entry.value.values()):
            return self._wrong_type(entry, Kind.LIMITS, {})
        for name in entry.value.keys() - set(known):
            message = Text("is not an endpoint that is counted.", "不是会被计数的接口。")
            hint = nearest(name, known, Text(f"Known: {', '.join(known)}.", f"可用：{', '.join(known)}。"))
            self.notes.problem(f"{entry.label}.{name}", message, hint)
        return dict(entry.value)

    def tables(self, key: str) -> dict[str, dict[str, object]]:
        """Read a table of tables; empty where it is not set."""
        entry = self.entry(key)
        if entry is None:
            return {}
        if not isinstance(entry.value, dict) or not all(isinstance(v, dict) for v in entry.value.values()):
            return self._wrong_type(entry, Kind.TABLES, {})
        return dict(entry.value)

    def table(self, key: str) -> dict[str, object]:
        """Read a table; empty where it is not set."""
        entry = self.entry(key)
        if entry is None:
            return {}
        if not isinstance(entry.value, dict):
            return self._wrong_type(entry, Kind.TABLE, {})
        return dict(entry.value)

    def secret(self, key: str) -> Entry | None:
        """Read a secret from its one source; None where there is none, or where a problem with it was noted."""
        sources = self._secret_sources(self.rows[key])
        if len(sources) > 1:
            listed = ", ".join(sources)
            message = Text(f"is given more than once: {listed}.", f"给出了不止一次：{listed}。")
            self.notes.problem(next(iter(sources)), message, Text("Keep one of them.", "请只保留其中一个。"))
            return None
        entry = next((self._read_secret(label, how, value) for label, (how, value) in sources.items()), None)
        if entry is not None:
            protect(str(entry.value))
        return entry

    def has_secret(self, key: str) -> bool:
        """Whether any source of this secret is given, be it usable or not."""
        return bool(self._secret_sources(self.rows[key]))

    def _secret_sources(self, row: Setting) -> dict[str, tuple[str, object]]:
        """Label → (how to read it, what is written there): those of the environment if it has any, else the file's."""
        names = {row.env or "": "value", f"{row.env}_FILE": "file"}
        given: dict[str, tuple[str, object]] = {
            name: (how, self.over[name]) for name, how in names.items() if self.over.get(name, "").strip()
        }
        keys = {row.key: "value", f"{row.key}_env": "env", f"{row.key}_file": "file"}
        return given or {
            f"{self.label}.{key}": (how, self.values[key]) for key, how in keys.items() if key in self.values
        }

    def _read_secret(self, label: str, how: str, value: object) -> Entry | None:
        if not isinstance(value, str) or not value.strip():
            message = Text("must be a text that is not empty.", "必须是非空文本。")
            self.notes.problem(label, message, Text("Write it in quotes.", "请用引号括起来。"))
            return None
        if how == "value":
            return Entry(label, value.strip())
        return self._from_variable(label, value) if how == "env" else self._from_file(label, value.strip())

    def _from_variable(self, label: str, name: str) -> Entry | None:
        if self.environ.get(name, "").strip():
            return Entry(label, self.environ[name].strip())
        if not _VARIABLE.fullmatch(name):
            self._misplaced(label)
            return None
        message = Text(f"the environment variable {name} is not set.", f"环境变量 {name} 没有设置。")
        self.notes.problem(label, message, Text(f"Set {name}.", f"请设置 {name}。"))
        return None

    def _misplaced(self, label: str) -> None:
        """What stands there may be the secret itself, so it is not repeated."""
        message = Text("names nothing that is there.", "所指的文件或环境变量不存在。")
        hint = Text(
            "A key that ends in `_file` takes the path of a file, one in `_env` the name of a variable in capital letters; the secret "
            "itself goes into that file or variable.",
            "以 `_file` 结尾的键填写文件路径，以 `_env` 结尾的键填写（大写的）环境变量名；密钥本身写在该文件或变量里。",
        )
        self.notes.problem(label, message, hint)

    def _from_file(self, label: str, name: str) -> Entry | None:
        path = self.folder / name
        try:
            with path.open("rb") as stream:
                text = stream.read(_SECRET_FILE_MAX_BYTES).decode().rstrip("\r\n")
        except OSError as error:
            if _MAY_BE_SECRET.fullmatch(name) or "://" in name:
                self._misplaced(label)
                return None
            reason = error.strerror or type(error).__name__
            message = Text(f"{path} cannot be read: {reason}.", f"{path} 无法读取：{reason}。")
        except UnicodeDecodeError:
            message = Text(f"{path} is not a text file.", f"{path} 不是文本文件。")
        else:
            if text.strip():
                return Entry(label, text)
            message = Text(f"{path} is empty.", f"{path} 是空文件。")
        hint = Text(
            "The user that runs wxsign must be able to read it, and it holds the secret alone.",
            "运行 wxsign 的用户必须能读取它，且文件里只有密钥本身。",
        )
        self.notes.problem(label, message, hint)
        return None

    def _is_variable(self, entry: Entry) -> bool:
        return not entry.label.startswith(f"{self.label}.")

    def _wrong_type(self, entry: Entry, kind: Kind, default: T) -> T:
        message, hint = _WRONG_TYPE[kind]
        self.notes.problem(entry.label, message, hint)
        return default


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_WRONG_TYPE: Final[dict[Kind, tuple[Text, Text]]] = {
    Kind.TEXT: (
        Text("must be a text.", "必须是文本。"),
        Text('Write it in quotes: "…".', '请用引号括起来："…"。'),
    ),
    Kind.INTEGER: (Text("must be a whole number.", "必须是整数。"), Text("For example: 1.", "例如：1。")),
    Kind.BOOLEAN: (
        Text("must be true or false.", "必须是 true 或 false。"),
        Text("Write true or false, in the file without quotes.", "请写 true 或 false，在文件里不加引号。"),
    ),
    Kind.LIMITS: (
        Text("must be a table of whole numbers above 0.", "必须是由正整数组成的表。"),
        Text("For example: { token = 2000 }.", "例如：{ token = 2000 }。"),
    ),
    Kind.TABLES: (
        Text("must be a table of tables.", "必须是由表组成的表。"),
        Text("For example: [accounts.NAME.sinks.php].", "例如：[accounts.NAME.sinks.php]。"),
    ),
    Kind.TABLE: (
        Text("must be a table.", "必须是一个表。"),
        Text('For example: { file = "/run/token" }.', '例如：{ file = "/run/token" }。'),
    ),
    Kind.LIST: (
        Text("must be a list of texts, none of them empty.", "必须是文本列表，且没有空项。"),
        Text(
            'For example: ["m.example.com", "*.example.com"].', '例如：["m.example.com", "*.example.com"]。'
        ),
    ),
}
