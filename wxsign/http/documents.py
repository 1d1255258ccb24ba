"""The documents as pages: what of Markdown `docs/` is written in, and no more of it. Text becomes markup nowhere else."""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_INLINE: Final = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<strong>.+?)\*\*|\*(?P<em>[^*\s][^*]*)\*"
    r"|!\[(?P<alt>[^]]*)\]\((?P<src>[^)]+)\)|\[(?P<text>(?:`[^`]*`|[^]`])*)\]\((?P<href>[^)]+)\)"
    r"|<(?P<url>https?://[^>]+)>|(?P<anchor><a id=\"[\w-]+\"></a>)|(?P<br><br>)"
)
_HEADING: Final = re.compile(r"(#{1,4}) (.+)")
_ITEM: Final = re.compile(r"(?:- |\d+\. )")
_RULE: Final = re.compile(r"[-|: ]+")
_CELL: Final = re.compile(r"(?<!\\)\|")


def title_of(text: str) -> str:
    """The document's first heading, without marks."""
    return text.partition("\n")[0].lstrip("# ").replace("`", "")


def page_of(text: str) -> str:
    """The document as HTML."""
    return "\n".join(_blocks(text))


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _blocks(text: str) -> Iterator[str]:
    parts = re.split(r"^ *```(.*)\n((?:.*\n)*?) *```$", text, flags=re.MULTILINE)
    for prose, code in zip(parts[::3], [*parts[2::3], ""], strict=True):
        for block in re.split(r"\n{2,}", prose.strip("\n")):
            yield from _of_one_kind(block)
        if code:
            yield f'<pre class="code" tabindex="0"><code>{escape(code, quote=False)}</code></pre>'


def _of_one_kind(block: str) -> Iterator[str]:
    """The parts of a block: a heading or a list may follow on a paragraph without an empty line."""
    for kind, lines in groupby(_joined(block), _kind):
        rows = list(lines)
        match kind:
            case "heading":
                yield from (_heading(row) for row in rows)
            case "table":
                yield _table(rows)
            case "list":
                items = "".join(f"<li>{_inline(_ITEM.sub('', row, count=1))}</li>" for row in rows)
                tag = "ul" if rows[0].startswith("- ") else "ol"
                yield f"<{tag}>{items}</{tag}>"
            case _:
                yield f"<p>{_inline(' '.join(rows))}</p>"


def _joined(block: str) -> list[str]:
    """Lines, where one that continues an item of a list stands with it."""
    rows: list[str] = []
    for line in block.splitlines():
        if line.startswith(" ") and rows:
            rows[-1] += " " + line.strip()
        else:
            rows.append(line)
    return rows


def _kind(line: str) -> str:
    if _HEADING.fullmatch(line):
        return "heading"
    if line.startswith("|"):
        return "table"
    return "list" if _ITEM.match(line) else "text"


def _heading(line: str) -> str:
    marks, words = line.split(" ", 1)
    level = len(marks)
    return f'<h{level} id="{escape(slug(words))}">{_inline(words)}</h{level}>'


def _table(rows: list[str]) -> str:
    cells = [_CELL.split(row.strip().strip("|")) for row in rows if not _RULE.fullmatch(row)]
    body = "".join(
        f"<tr>{''.join(f'<td>{_inline(cell.strip())}</td>' for cell in row)}</tr>" for row in cells[1:]
    )
    head = "".join(f"<th>{_inline(cell.strip())}</th>" for cell in cells[0])
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _inline(text: str) -> str:
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        parts += [_plain(text[end : found.start()]), _marked(found)]
        end = found.end()
    return "".join([*parts, _plain(text[end:])])


def _plain(text: str) -> str:
    return escape(text.replace("\\|", "|"), quote=False)


def _marked(found: re.Match[str]) -> str:
    given = found.groupdict()
    match found.lastgroup:
        case "code":
            return f"<code>{_plain(given['code'])}</code>"
        case "strong" | "em" as tag:
            return f"<{tag}>{_inline(given[tag])}</{tag}>"
        case "src":
            return f'<img src="{escape(given["src"])}" alt="{escape(given["alt"])}">'
        case "href":
            # What stands beside docs/ is part of a checkout, and not served.
            words, outside = _inline(given["text"]), given["href"].startswith("..")
            return words if outside else f'<a href="{escape(given["href"])}">{words}</a>'
        case "url":
            return f'<a href="{escape(given["url"])}">{escape(given["url"])}</a>'
    return found[0]
