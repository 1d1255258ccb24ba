"""The TOML file as a whole, with the files that it includes: read and merged, and names that mean nothing are told."""

from __future__ import annotations

import tomllib
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from wxsign.errors import Text
from wxsign.settings.sources import nearest
from wxsign.settings.table import KUBERNETES_VARIABLE, Section, known_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wxsign.settings.sources import Notes

INCLUDE: Final = "include"
_INCLUDED: Final = (Section.ACCOUNTS, Section.CLIENTS)
_ONLY_THESE: Final = Text(
    "It has [accounts.NAME] and [clients.NAME] alone; write the rest into the main file.",
    "其中只能有 [accounts.名称] 和 [clients.名称]；其余请写入主配置文件。",
)
_EXAMPLE: Final = Text('For example: ["accounts.d/*.toml"].', '例如：["accounts.d/*.toml"]。')


class Documents(NamedTuple):
    """The file and those that it includes: `merged`, and the folder of each account and client that another file has."""

    merged: Mapping[str, object]
    folders: Mapping[tuple[Section, str], Path]


def read_documents(path: Path, notes: Notes) -> Documents:
    """Return the parsed TOML file with what it includes; whatever is wrong with one of them is noted."""
    merged = _read(path, notes)
    _check_sections(merged, notes)
    home: dict[tuple[Section, str], Path] = {
        (section, name): path for section in _INCLUDED for name in _names(merged, section)
    }
    for file in _included(path, merged.get(INCLUDE, []), notes):
        for section_name, tables in _read(file, notes).items():
            if section_name not in _INCLUDED or not isinstance(tables, dict):
                message = Text("does not belong into an included file.", "不能出现在被包含的文件中。")
                notes.problem(f"{file}: {section_name}", message, _ONLY_THESE)
                continue
            section = Section(section_name)
            _take(merged, section, tables, file, home, notes)
    folders = {known: file.parent for known, file in home.items() if file != path}
    return Documents(merged, folders)


def _names(document: Mapping[str, object], section: Section) -> tuple[str, ...]:
    tables = document.get(section)
    return tuple(tables) if isinstance(tables, dict) else ()


def _take(
    merged: dict[str, object],
    section: Section,
    tables: Mapping[str, object],
    file: Path,
    home: dict[tuple[Section, str], Path],
    notes: Notes,
) -> None:
    standing = merged.setdefault(section, {})
    for name, table in tables.items():
        if (first := home.get((section, name))) is not None:
            message = Text(f"stands in {first} and in {file}.", f"同时出现在 {first} 和 {file} 中。")
            notes.problem(f"{section}.{name}", message, Text("Keep one of them.", "请只保留其中一个。"))
        elif isinstance(standing, dict):
            standing[name] = table
            home[section, name] = file


def _included(path: Path, patterns: object, notes: Notes) -> Iterator[Path]:
    """The files that match, each once, in the order of their names."""
    if not isinstance(patterns, list) or not all(isinstance(word, str) and word for word in patterns):
        message = Text("must be a list of texts, none of them empty.", "必须是文本列表，且没有空项。")
        notes.problem(INCLUDE, message, _EXAMPLE)
        return
    seen = {path}
    for pattern in patterns:
        whole = path.parent / pattern
        # Not Path.glob: a pattern may be an absolute path.
        found = sorted(file for file in map(Path, glob(str(whole))) if file.is_file())  # noqa: PTH207
        if not found and not has_magic(pattern):
            notes.problem(INCLUDE, Text(f"there is no file {whole}.", f"文件 {whole} 不存在。"), _EXAMPLE)
        yield from (file for file in found if file not in seen)
        seen |= set(found)


def _read(path: Path, notes: Notes) -> dict[str, object]:
    """Return one parsed TOML file; an unreadable or malformed one is noted and counts as empty."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = Text(f"cannot be read: {reason}.", f"无法读取：{reason}。")
        hint = Text("Check its permissions.", "请检查文件权限。")
    except UnicodeDecodeError:
        message = Text("is not UTF-8.", "不是 UTF-8 编码。")
        hint = Text("Save the file as UTF-8.", "请用 UTF-8 编码保存文件。")
    except tomllib.TOMLDecodeError as error:
        message = Text(f"is not valid TOML: {error}.", f"不是有效的 TOML：{error}。")
        hint = Text("Compare it with wxsign.example.toml.", "请对照 wxsign.example.toml。")
    notes.problem(str(path), message, hint)
    return {}


def _check_sections(document: Mapping[str, object], notes: Notes) -> None:
    """Note every top-level name of the file that is not a section."""
    known = [section.value for section in Section if section]
    for name in document:
        if name not in {*known, INCLUDE}:
            otherwise = Text(
                "Known: include, [service], [alerts], [defaults], [accounts.NAME], [clients.NAME].",
                "可用：include、[service]、[alerts]、[defaults]、[accounts.NAME]、[clients.NAME]。",
            )
            notes.problem(name, Text("unknown section.", "未知的配置段。"), nearest(name, known, otherwise))


def check_variables(environ: Mapping[str, str], document: Mapping[str, object], notes: Notes) -> None:
    """Warn of `WXSIGN_…` variables that no setting listens to and that no `…_env` key of the file names."""
    known = known_variables()
    named = frozenset(_named_variables(document))
    otherwise = Text("See docs/configuration.md.", "见 docs/configuration.md。")
    for name in sorted(environ):
        if not name.startswith("WXSIGN_") or name in known | named or KUBERNETES_VARIABLE.fullmatch(name):
            continue
        message = Text("no setting has this name; it is ignored.", "没有这个设置，已忽略。")
        notes.warning(name, message, nearest(name, known, otherwise))


def _named_variables(document: Mapping[str, object]) -> Iterator[str]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _named_variables(value)
        elif key.endswith("_env"):
            yield str(value)
