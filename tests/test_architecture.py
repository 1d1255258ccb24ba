"""The house's rules, held by reading the source: imports run one way, and nothing grows without bounds.

This table is the map of `wxsign/`. A row may import from the rows above it, never from its own row's neighbours or from
below; files of one package may import each other as long as no circle comes of it.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PACKAGE = Path(__file__).resolve().parents[1] / "wxsign"

WEB = frozenset({"flask", "werkzeug", "jinja2"})
CLOCKS = frozenset({"time", "datetime"})
RANDOM = frozenset({"random", "secrets", "uuid"})
NETWORK = frozenset({"socket", "ssl", "http", "requests", "urllib3", "urllib.request"})
THREADS = frozenset({"threading", "queue", "concurrent", "asyncio", "multiprocessing"})
SYSTEM = frozenset({"os", "pathlib", "io", "tempfile", "subprocess", "sqlite3", "shutil"})
WORLD = CLOCKS | RANDOM | NETWORK | THREADS | SYSTEM | WEB | {"click"}


@dataclass(frozen=True)
class Row:
    """A module or package, and what it must never import, by the name of the module or any part of it."""

    name: str
    never: frozenset[str] = frozenset()


def row(name: str, *never: str | frozenset[str]) -> Row:
    return Row(name, frozenset().union(*({word} if isinstance(word, str) else word for word in never)))


CORE = frozenset({"wxsign.stores", "requests", "sqlite3", "redis"})

TABLE = (
    row("text", WORLD),
    row("errcodes", WORLD),
    row("platforms", WORLD),
    row("errors", WORLD),
    row("logs", "wxsign.errcodes", "wxsign.errors", WEB, NETWORK),
    row("credentials", WORLD),
    row("signing", WORLD),
    row("accounts", CLOCKS, RANDOM, NETWORK, THREADS, SYSTEM, WEB, "click", "wxsign.settings"),
    row("stores", "wxsign.wechat", WEB, "requests"),
    row("broker", "wxsign.wechat", WEB, "requests", "sqlite3"),
    row("wechat", WEB, "wxsign.stores"),
    row("settings", "wxsign.broker", WEB, NETWORK),
    row("observers", WEB, "requests", "sqlite3"),
    row("states", WORLD),
    row("service", WEB, "requests", "sqlite3"),
    row("quota", WEB, "requests", "sqlite3"),
    row("outcomes", WEB, "requests", "sqlite3"),
    row("diagnosis", WEB, "click"),
    row("http", CORE),
    row("api", CORE),
    row("web", CORE),
    row("wsgi", CORE),
    row("sandbox", "requests"),
    row("serving", WEB, "requests", "sqlite3"),
    row("commands", "requests", "sqlite3"),
    row("cli", "requests", "sqlite3"),
    row("testing", WEB, "requests", "sqlite3", "click"),
)
RANK = {entry.name: rank for rank, entry in enumerate(TABLE)}
# Beside the settings: the language of a terminal, and the sockets that gunicorn or systemd handed on.
ENVIRONMENT_READERS = {"settings", "commands", "serving"}

MAX_MODULE_LINES = 400
# A table of data, and the texts around it.
TABLES_OF_DATA = {"wxsign.settings.table", "wxsign.errcodes"}
MAX_FUNCTION_LINES = 40
MAX_METHODS = 20
MAX_CLASS_LINES = 250
# The operations of the protocol of stores, or the calls of WeChat, are one method each.
MANY_OPERATIONS = {"SqliteStore", "Sandbox"}


@dataclass(frozen=True)
class Source:
    """One file of the package."""

    path: Path
    module: str  # wxsign.stores.sqlite
    tree: ast.Module

    @property
    def row(self) -> str:
        return ([*self.module.split("."), ""])[1]

    @property
    def lines(self) -> int:
        return len(self.path.read_text(encoding="utf-8").splitlines())


def _source(path: Path) -> Source:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(path, module, ast.parse(path.read_text(encoding="utf-8")))


SOURCES = tuple(_source(path) for path in sorted(PACKAGE.rglob("*.py")))
MODULES = {source.module for source in SOURCES}


def offenders(found_in: Callable[[Source], object], sources: Iterable[Source] = SOURCES) -> dict[str, object]:
    """What a rule finds in each module, those left out where it finds nothing."""
    found = {source.module: found_in(source) for source in sources}
    return {module: what for module, what in found.items() if what}


def imports(source: Source) -> set[str]:
    """Every module that a file imports anywhere in it, in functions and under TYPE_CHECKING too, in absolute names."""
    found = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= _imported_from(source, node)
    return found


def _imported_from(source: Source, node: ast.ImportFrom) -> set[str]:
    base = node.module or ""
    if node.level:
        package = source.module if source.path.name == "__init__.py" else source.module.rpartition(".")[0]
        parents = package.split(".")
        base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
    # `from wxsign import config` imports a module, `from wxsign.settings import Settings` a name of one.
    submodules = {f"{base}.{alias.name}" for alias in node.names} & MODULES
    return submodules or {base}


def within(module: str, names: frozenset[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def our_rows(source: Source) -> set[str]:
    """The rows of the table that a file imports from; the package itself (for its version) is none."""
    ours = {name for name in imports(source) if within(name, frozenset({"wxsign"})) and name != "wxsign"}
    return {name.split(".")[1] for name in ours}


def test_every_module_has_a_row_in_the_table():
    missing = [source.module for source in SOURCES if source.row and source.row not in RANK]
    assert missing == [], "give each a row in TABLE, above all that import it"


def test_imports_run_one_way_down_the_table():
    def upwards(source):
        rank = RANK.get(source.row, len(TABLE))
        return {name for name in our_rows(source) - {source.row} if RANK.get(name, len(TABLE)) >= rank}

    assert offenders(upwards) == {}


def test_no_module_touches_what_its_row_must_never_touch():
    def touched(source):
        never = next((entry.never for entry in TABLE if entry.name == source.row), frozenset())
        inner = frozenset({f"wxsign.{source.row}"})
        return {name for name in imports(source) if within(name, never) and not within(name, inner)}

    assert offenders(touched) == {}


def test_no_circle_of_imports_stands_anywhere():
    graph = {source.module: (imports(source) & MODULES) - {source.module, "wxsign"} for source in SOURCES}
    assert circle_in(graph) == []


def circle_in(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_the_sandbox_imports_nothing_of_ours_so_that_it_cannot_share_our_bugs():
    foreign = {
        name for source in SOURCES if source.row == "sandbox" for name in our_rows(source) - {"sandbox"}
    }
    assert foreign == set()


def test_only_few_modules_read_the_environment():
    readers = {
        source.row
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv", "environb"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert readers <= ENVIRONMENT_READERS


def test_no_module_is_too_long_to_be_read_in_one_go():
    long = {source.module: source.lines for source in SOURCES if source.lines > MAX_MODULE_LINES}
    assert {module: lines for module, lines in long.items() if module not in TABLES_OF_DATA} == {}


def test_no_function_is_too_long_to_be_seen_at_once():
    def too_long(source):
        functions = (
            node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )
        lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
        return {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES}

    assert offenders(too_long) == {}


def test_no_class_is_too_large_to_be_known_by_heart():
    def too_large(source):
        classes = (node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef))
        sizes = {
            node.name: (
                sum(isinstance(part, ast.FunctionDef) for part in node.body),
                node.end_lineno - node.lineno + 1,
            )
            for node in classes
            if node.name not in MANY_OPERATIONS
        }
        return {n: size for n, size in sizes.items() if size[0] > MAX_METHODS or size[1] > MAX_CLASS_LINES}

    assert offenders(too_large) == {}


def test_no_module_is_named_after_nothing_in_particular():
    assert offenders(lambda source: re.search(r"util|helper|manager|misc|common", source.module)) == {}


LIBRARY_FACE = {
    "errors",
    "errcodes",
    "signing",
    "accounts",
    "wechat",
    "logs",
    "settings",
    "service",
    "states",
    "api",
}


def test_every_public_name_of_the_librarys_face_says_what_it_does():
    def silent(source):
        public = [
            node
            for node in source.tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]
        names = [node.name for node in public if not ast.get_docstring(node)]
        return names if ast.get_docstring(source.tree) else [source.module, *names]

    assert offenders(silent, [source for source in SOURCES if source.row in LIBRARY_FACE]) == {}


def test_nothing_is_left_to_be_done_later():
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    assert offenders(lambda source: later.findall(source.path.read_text(encoding="utf-8"))) == {}


@pytest.mark.parametrize(
    ("module", "statement", "expected"),
    [
        ("wxsign.stores.sqlite", "from .base import X", {"wxsign.stores.base"}),
        ("wxsign.stores.sqlite", "from ..errors import X", {"wxsign.errors"}),
        ("wxsign.stores.sqlite", "from wxsign import errors", {"wxsign.errors"}),
        ("wxsign.errcodes", "if TYPE_CHECKING:\n    import time", {"time"}),
        ("wxsign.errcodes", "def f():\n    from os import path", {"os"}),
        ("wxsign.errcodes", "import urllib.request as r", {"urllib.request"}),
    ],
)
def test_the_reader_of_imports_sees_every_form_of_them(module, statement, expected):
    path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    assert imports(Source(path, module, ast.parse(statement))) == expected
