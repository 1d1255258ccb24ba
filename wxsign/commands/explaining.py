"""`wxsign explain`, `wxsign diagnose`: what an id, an errcode or a refused signature means, and what to do about it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

import click

from wxsign.commands.group import UNUSABLE, language, main, say, service_of
from wxsign.diagnosis import Known, Verdict, cause_named, diagnose, page_in
from wxsign.diagnosis.known import known_of
from wxsign.errcodes import ERRCODES, entry_for
from wxsign.platforms import WECOM_ERRCODES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxsign.diagnosis import Cause, Diagnosis

_ERRCODE: Final = re.compile(r"(?:errcode\W{1,4})?(-1|[4-9][0-9]{4,5})\b", re.IGNORECASE)
_RID: Final = re.compile(r"\brid:\s*([0-9a-f]{6,8}-[0-9a-f]{6,8}-[0-9a-f]{6,8})")
# Tencent's own page about one request: seven days, for members of the account.
_RID_PAGE: Final = "https://developers.weixin.qq.com/console/devtools/debug?tab=errorDiag"
_VERDICTS: Final = {
    Verdict.RIGHT: ("The signature is right.", "签名正确。"),
    Verdict.WRONG: ("The signature is wrong.", "签名错误。"),
    Verdict.UNKNOWN: (
        "Whether the signature is right cannot be told from this.",
        "根据这些内容无法判断签名是否正确。",
    ),
}


# -1 is an errcode, and no option.
@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True)
@click.pass_context
def explain(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Say what an id, an errcode or a pasted text means, without a network. 离线解释错误编号、errcode 或粘贴的文本。

    \b
    Examples 示例:
      wxsign explain WXS103
      wxsign explain 40164
      wxsign explain "config:invalid url domain"
      wxsign explain - < pasted.txt
    """
    text = _text(words)
    cause = cause_named(text)
    if cause is not None:
        lines = list(_cause_lines(cause))
    else:
        lines = [*_errcode_lines(text), *_finding_lines(diagnose(page_in(text), Known()))]
    if not lines:
        say(
            "Nothing in it is known here. Give an id (WXS101 to WXS117), an errcode of WeChat's, or paste wx.config, the "
            "page's address and the error.",
            "其中没有可识别的内容。请给出编号（WXS101 至 WXS117）、微信的 errcode，或粘贴 wx.config、页面地址和错误信息。",
            err=True,
        )
        ctx.exit(UNUSABLE)
    click.echo("\n".join(lines))


@main.command("diagnose")
@click.argument("words", nargs=-1, required=True)
@click.pass_obj
def diagnose_command(config: str | None, words: tuple[str, ...]) -> None:
    """Find out why a signature is refused, with the tickets that stand in the store. 借助存储中的 ticket 找出签名被拒的原因。

    Paste the wx.config block, the page's address and WeChat's words, in any mixture; `-` reads them from stdin.
    """
    page = page_in(_text(words))
    service = service_of(config)
    service.read_store()
    found = diagnose(page, known_of(service, page))
    say(*_VERDICTS[found.verdict])
    click.echo("\n".join(_finding_lines(found)))


def _text(words: tuple[str, ...]) -> str:
    return sys.stdin.read() if words == ("-",) else " ".join(words)


def _cause_lines(cause: Cause) -> Iterator[str]:
    chinese = language() == "zh"
    yield f"{cause.id}  {cause.message.in_language(language())}"
    yield f"  {cause.hint.in_language(language())}"
    yield f"  {'错误' if chinese else 'fails'}:  {cause.failing}"
    yield f"  {'正确' if chinese else 'works'}:  {cause.repaired}"
    yield f"  {cause.docs(language())}"


def _errcode_lines(text: str) -> Iterator[str]:
    for number in dict.fromkeys(int(found) for found in _ERRCODE.findall(text)):
        entries = {entry_for(number, token_endpoint=at_token) for at_token in (True, False)}
        known = [*(entries if number in ERRCODES else ()), *filter(None, (WECOM_ERRCODES.get(number),))]
        for entry in sorted(known, key=lambda entry: entry.code):
            yield f"{number}  {entry.message.in_language(language())}"
            yield f"  {entry.hint.in_language(language())}"
    if found := _RID.search(text):
        members = (
            "仅限该账号的成员，保留 7 天" if language() == "zh" else "for members of the account, for 7 days"
        )
        yield f"  rid {found[1]}: {_RID_PAGE} ({members})"


def _finding_lines(found: Diagnosis) -> Iterator[str]:
    for finding in found.findings:
        cause = finding.cause
        yield f"{finding.id}  {finding.certainty}: {cause.message.in_language(language())}"
        yield f"  {cause.hint.in_language(language())}"
        for name, value in finding.evidence.items():
            yield f"  {name}: {value}"
        yield f"  {cause.docs(language())}"
