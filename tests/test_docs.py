"""The documentation: its links lead somewhere, the Chinese pages say what the English ones say, its examples run."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from at_sandbox import APP_IDS, SECRET, verdict, wechat
from click.testing import CliRunner

from wxsign.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxsign.sandbox import SandboxServer

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")]
    + [ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")]
)
TWINS = sorted(page for page in PAGES if page.name.endswith(".zh-CN.md"))
BILINGUAL_TABLES = ROOT / "docs/http-api.md"
PAGE = "https://m.example.com/page?id=1"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ANCHOR = re.compile(r'<a id="([^"]+)"></a>')
HAN = re.compile("[\u4e00-\u9fff]")


def text_of(page: Path) -> str:
    """Return the source of a page."""
    return page.read_text(encoding="utf-8")


def fences(page: Path) -> list[tuple[str, str]]:
    """Return language and body of every fenced block."""
    return FENCE.findall(text_of(page))


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", text_of(page))


def headings(page: Path) -> list[tuple[int, str]]:
    """Return level and text of every heading."""
    return [(len(level), text) for level, text in re.findall(r"^(#+) (.+)$", prose(page), flags=re.MULTILINE)]


def table_sizes(page: Path) -> list[int]:
    """Return the number of lines of every table."""
    lines = prose(page).splitlines()
    return [len(list(table)) for inside, table in groupby(lines, lambda line: line.startswith("|")) if inside]


def slug(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    words = re.sub(r"\]\([^)]*\)", "", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """Return every anchor that a link may name."""
    slugs = [slug(text) for _, text in headings(page)]
    repeated = {f"{name}-{slugs[:place].count(name)}" for place, name in enumerate(slugs)}
    return {*slugs, *repeated, *ANCHOR.findall(prose(page))}


def links(page: Path) -> list[str]:
    """Return every link of a page that leads to this repository."""
    targets = LINK.findall(CODE_SPAN.sub("", prose(page)))
    return [target for target in targets if not re.match("[a-z]+:", target)]


def leads_somewhere(folder: Path, target: str, here: Path) -> bool:
    """Say whether a link's file exists, inside the repository, and has the anchor."""
    path, _, anchor = target.partition("#")
    file = (folder / path).resolve() if path else here
    if not (file.is_relative_to(ROOT) and file.exists()):
        return False
    return not anchor or anchor in anchors(file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_of_a_page_leads_to_a_file_and_an_anchor_that_exist(page):
    assert [link for link in links(page) if not leads_somewhere(page.parent, link, page)] == []


def test_a_link_to_a_missing_file_or_anchor_would_be_noticed():
    page = ROOT / "README.md"
    assert len(links(page)) >= 8
    assert not leads_somewhere(ROOT, "docs/no-such-page.md", page)
    assert not leads_somewhere(ROOT, "docs/http-api.md#no_such_code", page)
    assert not leads_somewhere(ROOT, "../elsewhere.md", page)
    assert leads_somewhere(ROOT, "docs/http-api.zh-CN.md#健康检查", page)


def test_pages_that_the_service_and_its_files_name_exist():
    deployed = (path for path in ROOT.glob("deploy/**/*") if path.is_file())
    sources = [*ROOT.glob("wxsign/**/*.py"), *deployed, ROOT / "wxsign.example.toml"]
    named = {
        name for source in sources for name in re.findall(r"docs/[\w.-]+\.md(?:#[\w-]+)?", text_of(source))
    }
    assert len(named) >= 4
    assert {name for name in named if not leads_somewhere(ROOT, name, ROOT)} == set()


# The Chinese pages.


def english(twin: Path) -> Path:
    """Return the English page of a Chinese one."""
    return twin.with_name(twin.name.replace(".zh-CN", ""))


def every_twin(test):
    """Run a test for every Chinese page."""
    return pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)(test)


def test_every_page_for_users_exists_in_chinese():
    bilingual = {"configuration.md", "getting-started.md", "redis.md"}
    for_developers = {"design.md", "reliability.md", "scaling.md"}
    pages = {page.name for page in (ROOT / "docs").glob("*.md") if page not in TWINS}
    missing = {name for name in pages if not (ROOT / "docs" / name.replace(".md", ".zh-CN.md")).exists()}
    assert missing == bilingual | for_developers
    for name in bilingual:
        assert len(HAN.findall(text_of(ROOT / "docs" / name))) > 300


@every_twin
def test_a_page_and_its_twin_link_to_each_other_at_the_top(twin):
    assert text_of(twin).splitlines()[2] == f"[English]({english(twin).name})"
    assert text_of(english(twin)).splitlines()[2] == f"[简体中文]({twin.name})"


@every_twin
def test_a_chinese_page_links_to_chinese_pages_where_there_are_any(twin):
    others = [link for link in links(twin) if link != english(twin).name]
    there = [twin.parent / link.partition("#")[0].replace(".md", ".zh-CN.md") for link in others]
    assert [link for link, page in zip(others, there, strict=True) if page.name.endswith(".zh-CN.md")
            and ".zh-CN" not in link and page.exists()] == []  # fmt: skip


@every_twin
def test_a_twin_has_the_headings_the_anchors_and_the_tables_of_its_page(twin):
    page = english(twin)
    assert [level for level, _ in headings(twin)] == [level for level, _ in headings(page)]
    assert ANCHOR.findall(prose(twin)) == ANCHOR.findall(prose(page))
    assert table_sizes(twin) == table_sizes(page)
    assert [link.replace(".zh-CN", "") for link in links(twin)[1:]] == links(page)[1:]


def without_words(line: str) -> str:
    """Return a line of code without what may be translated: its strings and its comment."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|(?<= )(?://|#) .*", "", line)


def same_code(ours: str | None, theirs: str | None) -> bool:
    """Say whether two lines are the same but for their words, where the first has Chinese ones."""
    if ours is None or theirs is None or not HAN.search(ours):
        return ours == theirs
    return without_words(ours) == without_words(theirs)


@every_twin
def test_a_twin_has_the_code_of_its_page(twin):
    ours, theirs = fences(twin), fences(english(twin))
    assert [language for language, _ in ours] == [language for language, _ in theirs]
    pairs = [
        pair
        for (_, here), (_, there) in zip(ours, theirs, strict=True)
        for pair in zip_longest(here.splitlines(), there.splitlines())
    ]
    assert [pair for pair in pairs if not same_code(*pair)] == []


@every_twin
def test_a_twin_has_the_names_and_numbers_of_its_page(twin):
    ours, theirs = prose(twin), prose(english(twin))
    assert set(CODE_SPAN.findall(theirs)) - set(CODE_SPAN.findall(ours)) == set()
    assert set(re.findall(r"\d+", theirs)) - set(re.findall(r"\d+", ours)) == set()


def test_the_chinese_tables_of_codes_say_what_the_service_says():
    def last_cells(page: Path) -> list[str]:
        return [line[:-2].rpartition(" | ")[2] for line in prose(page).splitlines() if line.endswith(" |")]

    pairs = zip(last_cells(BILINGUAL_TABLES), last_cells(ROOT / "docs/http-api.zh-CN.md"), strict=True)
    bilingual = [(here.split("<br>")[1], there) for here, there in pairs if "<br>" in here]
    assert len(bilingual) > 90
    assert [pair for pair in bilingual if pair[0] != pair[1]] == []


# The examples.


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """Run a WeChat for the examples."""
    with wechat() as server:
        yield server


def run_example(program: str, sandbox: SandboxServer, folder: Path) -> str:
    """Run Python as a reader would, with the account of a sandbox in the environment, and return what it prints."""
    account = {
        "WXSIGN_APPID": APP_IDS["shop"],
        "WXSIGN_SECRET": SECRET,
        "WXSIGN_ALLOWED_HOSTS": "m.example.com",
        "WXSIGN_API_BASE": sandbox.url,
        "WXSIGN_STORE": "memory:",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env={**os.environ, **account},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def python_examples(page: Path) -> list[str]:
    """Return the Python examples of a page."""
    return [body for language, body in fences(page) if language == "python"]


def test_the_readme_s_example_without_a_web_server_prints_a_signature_that_wechat_accepts(sandbox, tmp_path):
    alone, _ = python_examples(ROOT / "README.md")
    config = ast.literal_eval(run_example(alone, sandbox, tmp_path))
    assert verdict(sandbox, config, PAGE) == "ok"


def test_the_readme_s_flask_application_serves_signatures_where_it_mounts_them(sandbox, tmp_path):
    _, mounted = python_examples(ROOT / "README.md")
    before = "from flask import Flask\n\napp = Flask('shop')\n"
    after = f"\nprint(app.test_client().get('/wx/jsconfig', query_string={{'url': {PAGE!r}}}).text)\n"
    config = json.loads(run_example(before + mounted + after, sandbox, tmp_path))
    assert verdict(sandbox, config, PAGE) == "ok"
    assert verdict(sandbox, config, f"{PAGE}&other=1") != "ok"


# The commands.


def shell(page: Path) -> str:
    """Return what a page tells the reader to type: its shell blocks and its spans of code, each on a line."""
    blocks = [body for language, body in fences(page) if language in {"sh", "console"}]
    return "\n".join([*blocks, *CODE_SPAN.findall(prose(page))])


def wxsign_commands(page: Path) -> list[list[str]]:
    """Return the arguments of every `wxsign …` of a page."""
    found = re.findall(r"(?:^|[\s(/])wxsign ([a-z][^|;&#)\n]*)", shell(page), flags=re.MULTILINE)
    return [arguments.split() for arguments in found]


def unknown_parts(arguments: list[str]) -> list[str]:
    """Return the command and the options among `arguments` that `wxsign` does not have."""
    command: click.Command = main
    for name in arguments:
        if not isinstance(command, click.Group):
            break
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    options = {spelling for option in command.params for spelling in option.opts}
    return [word for word in arguments if word.startswith("-") and word not in options]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_wxsign_command_of_a_page_exists_with_its_options(page):
    assert [command for command in wxsign_commands(page) if unknown_parts(command)] == []


def test_the_readme_s_commands_stand_in_the_help_and_a_wrong_one_would_be_noticed():
    shown = CliRunner().invoke(main, ["--help"], terminal_width=100).output
    named = {command[0] for command in wxsign_commands(ROOT / "README.md")}
    assert named >= {"check", "serve", "client"}
    listed = set(re.findall(r"^  ([a-z]+) +\S", shown.partition("Commands:")[2], flags=re.MULTILINE))
    assert named - listed == set()
    assert unknown_parts(["chekc"]) == ["chekc"]
    assert unknown_parts(["serve", "--bnid", "127.0.0.1:8000"]) == ["--bnid"]
    assert unknown_parts(["client", "old", "shop"]) == ["old"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_of_a_page_exists(page):
    targets = set(re.findall(r"^([a-z-]+):.* ## ", text_of(ROOT / "Makefile"), flags=re.MULTILINE))
    assert {"run", "test", "bench"} <= targets
    named = re.findall(r"(?:^|[\s$])make ([a-z-]+)", shell(page), flags=re.MULTILINE)
    assert set(named) - targets == set()
