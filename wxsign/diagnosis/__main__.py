"""Prints docs/troubleshooting.md, or with the argument `zh` docs/troubleshooting.zh-CN.md."""

import sys

from wxsign.diagnosis.catalog import CATALOG

_HEAD = {
    "en": """# Troubleshooting: `invalid signature` and its kin

[简体中文](troubleshooting.zh-CN.md)

WeChat says only that a signature is wrong. This service says why: on the page `/diagnose`, by `wxsign diagnose`, and to a page
whose signature was refused (`error.findings` of [`wxsign.js`](javascript.md)). Each cause has an id; `wxsign explain WXS103` prints
what stands here, without a network. WeChat's errcodes are explained the same way: `wxsign explain 40164`.

A finding is `certain` where the very signature was recomputed with that mistake, or WeChat says so itself; `likely` and `possible`
are guesses, and say so. Two mistakes at once are both named.

This page is printed by `python -m wxsign.diagnosis`.
""",
    "zh": """# 排查：`invalid signature` 及类似错误

[English](troubleshooting.md)

微信只说签名错误，本服务说明原因：在页面 `/diagnose` 上、用 `wxsign diagnose` 命令，以及直接告诉签名被拒的页面（[`wxsign.js`](javascript.zh-CN.md) 的
`error.findings`）。每种原因有一个编号；`wxsign explain WXS103` 离线打印本页内容。微信的 errcode 同样可以解释：`wxsign explain 40164`。

`certain` 表示用这个错误重新算出了同一个签名，或微信自己如此说明；`likely` 和 `possible` 是推测，并如实标明。两个错误同时出现时都会指出。

本页由 `python -m wxsign.diagnosis` 加参数 `zh` 打印。
""",
}


def page(language: str) -> str:
    """The page in a language, `en` or `zh`."""
    sections = (
        f"## {cause.id}\n\n**{cause.message.in_language(language)}**\n\n{cause.hint.in_language(language)}\n\n"
        f"```text\n✗ {cause.failing}\n✓ {cause.repaired}\n```\n"
        for cause in CATALOG.values()
    )
    return "\n".join((_HEAD[language], *sections))


if __name__ == "__main__":
    sys.stdout.write(page("zh" if sys.argv[1:] == ["zh"] else "en"))
