"""docs/logging.md lists every event that the log can have, and nothing else: found by reading the source."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wxsign.broker import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/logging.md"
LEVELS = {
    "debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error",
    "critical": "critical",
}  # fmt: skip
# How a look ended that made no call of its own: of these no event is told.
WITHOUT_A_CALL = {Outcome.FRESH, Outcome.WAITING, Outcome.HELD, Outcome.STALE, Outcome.UNTRIED}
# Names that are put together when they are logged: what they may come to.
COMPUTED = {"wxsign.%s": {f"wxsign.{outcome}" for outcome in Outcome if outcome not in WITHOUT_A_CALL}}


@dataclass(frozen=True)
class Event:
    """An event that a file logs. No level: it is computed as well."""

    name: str
    level: str | None
    fields: frozenset[str]
    where: str


@dataclass(frozen=True)
class Row:
    """A row of the page's tables of events."""

    level: str
    fields: set[str] = field(default_factory=set)


def documented(page: Path) -> dict[str, Row]:
    rows = {}
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if re.fullmatch(r"`(?:wxsign\.\w+|access)`", cells[0]):
            rows[cells[0].strip("`")] = Row(cells[1], set(re.findall(r"`(\w+)`", cells[2])))
    return rows


def events_of(tree: ast.Module, where: str) -> Iterator[Event]:
    """Yield what a file logs: `logger.LEVEL("wxsign.…")`, `logger.log(level, "wxsign.…")`, and lines built as a dict."""
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                yield from _logged(node, function, where)
            elif isinstance(node, ast.Dict):
                yield from _built(node, where)


def _logged(call: ast.Call, function: ast.FunctionDef, where: str) -> Iterator[Event]:
    method = call.func
    if not (isinstance(method, ast.Attribute) and method.attr in {*LEVELS, "log"}):
        return
    if not re.search(r"log(ger)?\b", ast.unparse(method.value), re.IGNORECASE):
        return
    place = f"{where}:{call.lineno}"
    message = call.args[1 if method.attr == "log" else 0]
    if isinstance(message, ast.Constant):
        yield Event(str(message.value), LEVELS.get(method.attr), _fields(call, function), place)
    elif not where.startswith("serving"):  # the access log's line is a dict, which `_built` finds
        yield Event(ast.unparse(message), LEVELS.get(method.attr), frozenset(), place)


def _fields(call: ast.Call, function: ast.FunctionDef) -> frozenset[str]:
    """The keys of `extra={"fields": {…}}`, written there or in a dict of this name; more cannot be read off."""
    given = [
        node.values[0] for node in ast.walk(call) if isinstance(node, ast.Dict) and _keys(node) == ["fields"]
    ]
    names = {node.id for node in given if isinstance(node, ast.Name)}
    dicts = [node for node in given if isinstance(node, ast.Dict)]
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            dicts += [node.value for target in node.targets if ast.unparse(target) in names]
    return frozenset(key for node in dicts for key in _keys(node))


def _keys(node: ast.Dict) -> list[str]:
    return [key.value for key in node.keys if isinstance(key, ast.Constant)]


def _built(node: ast.Dict, where: str) -> Iterator[Event]:
    values = {
        key.value: value.value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
    }
    name = str(values.get("event", ""))
    if name.startswith("wxsign.") or (name and "logger" in _keys(node)):
        own = frozenset(_keys(node)) - {"time", "level", "logger", "event"}
        yield Event(name, values.get("level"), own, f"{where}:{node.lineno}")


def every_event() -> list[Event]:
    """Every event that the package can log, those with computed names one by one."""
    found = []
    for path in sorted((ROOT / "wxsign").rglob("*.py")):
        where = str(path.relative_to(ROOT / "wxsign"))
        for event in events_of(ast.parse(path.read_text("utf-8")), where):
            names = COMPUTED.get(event.name, {event.name})
            found += [Event(name, event.level, event.fields, event.where) for name in names]
    return found


EVENTS, ROWS = every_event(), documented(PAGE)


def test_every_event_of_the_source_has_a_row_and_every_row_an_event():
    assert len(ROWS) > 20
    missing = sorted(f"{event.name} ({event.where})" for event in EVENTS if event.name not in ROWS)
    assert missing == [], "give each of these a row in docs/logging.md and docs/logging.zh-CN.md"
    assert sorted(ROWS.keys() - {event.name for event in EVENTS}) == [], "nothing logs these any more"


def test_the_chinese_page_has_the_same_rows():
    assert documented(PAGE.with_name("logging.zh-CN.md")) == ROWS


def test_a_row_has_the_event_s_level_and_every_field_that_is_written_beside_it():
    for event in EVENTS:
        row = ROWS.get(event.name, Row(""))
        assert event.level in {None, row.level}, f"level of {event.name} ({event.where})"
        assert sorted(event.fields - row.fields) == [], (
            f"fields of {event.name} ({event.where}) without a place"
        )


def test_an_outcome_without_a_row_is_told_by_no_event():
    silent = {f"Outcome.{outcome.name}" for outcome in WITHOUT_A_CALL}
    told = {
        ast.unparse(argument)
        for path in (ROOT / "wxsign").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "RefreshEvent"
        for argument in node.args
    }
    assert "Outcome.FAILED" in told
    assert told & silent == set()


@pytest.mark.parametrize(
    ("source", "name", "level", "fields"),
    [
        ('logger.warning("wxsign.new", extra={"fields": {"a": 1}})', "wxsign.new", "warning", {"a"}),
        ('fields = {"a": 1}; self._logger.exception("wxsign.new", extra={"fields": fields})', "wxsign.new", "error", {"a"}),
        ('logging.getLogger("x").log(level, "wxsign.%s", what)', "wxsign.%s", None, set()),
        ('logger.info(f"wxsign.{what}")', "f'wxsign.{what}'", "info", set()),
        ('line = {"logger": "x", "level": "info", "event": "access", "path": 1}', "access", "info", {"path"}),
    ],
)  # fmt: skip
def test_the_reader_of_the_source_sees_an_event_however_it_is_logged(source, name, level, fields):
    tree = ast.parse(f"def f():\n    {source}")
    found = {(event.name, event.level, event.fields) for event in events_of(tree, "somewhere.py")}
    assert found == {(name, level, frozenset(fields))}


def test_the_lines_of_the_servers_that_the_page_explains_are_theirs():
    pytest.importorskip("granian", reason="Granian is not installed: the extra `granian`")
    folders = [Path(find_spec(name).origin).parent for name in ("gunicorn", "granian")]
    source = "".join(path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py"))
    text = PAGE.read_text("utf-8").partition("## gunicorn")[2]
    named = [*re.findall(r"`((?:[A-Z][\w ()]+:?)+)`", text)]
    assert {"Listening at", "WORKER TIMEOUT", "Worker (pid:"} <= set(named)
    assert [line for line in named if line not in source] == []
