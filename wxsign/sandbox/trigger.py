"""`wxsign sandbox trigger NAME`: lets something happen to a sandbox that runs."""

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from wxsign.sandbox.happenings import Happening, happenings

DEFAULT_URL = "http://127.0.0.1:8001"
TIMEOUT_SECONDS = 10
USAGE_ERROR, FAILED = 2, 1


def trigger(arguments: Sequence[str]) -> int:
    """Prints what happened, or without a name what there is; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.name is None:
        for each in happenings().values():
            print(f"{each.name:20} {each.en}\n{'':20} {each.zh}")  # noqa: T201 - what was asked for
        return 0
    try:
        chosen = _chosen(options.name)
    except (OSError, ValueError, TypeError) as error:
        return _failed(USAGE_ERROR, str(error))
    try:
        appid = _post(options.url, {"steps": chosen.steps, "appid": options.appid})
    except urllib.error.HTTPError as refused:
        return _failed(FAILED, _words_of(refused))
    except (OSError, HTTPException, ValueError) as error:
        return _failed(
            FAILED,
            f"no sandbox answers at {options.url} ({error}); name it: --url. 该地址没有沙箱应答，请用 --url 指定。",
        )
    print(f"{appid}: {chosen.en} {chosen.zh}")  # noqa: T201 - what was asked for
    return 0


def _chosen(name: str) -> Happening:
    """One of ours, or a file of the user's own; raises ValueError, TypeError and OSError."""
    if name.endswith(".json"):
        return Happening(name, **json.loads(Path(name).read_text("utf-8")))
    if name not in happenings():
        known = ", ".join(happenings())
        raise ValueError(f"there is no happening {name!a}; known / 没有这个名字，可用：{known}")
    return happenings()[name]


def _post(url: str, fields: dict[str, object]) -> str:
    request = urllib.request.Request(
        f"{url.rstrip('/')}/sandbox/trigger",
        json.dumps(fields).encode(),
        {"Content-Type": "application/json"},
    )
    # A proxy has no business between a developer's programs.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
        return str(json.load(response)["appid"])


def _words_of(refused: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(refused)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"HTTP {refused.code}"


def _failed(code: int, message: str) -> int:
    sys.stderr.write(f"wxsign sandbox trigger: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "wxsign sandbox trigger",
        description="Let something happen to a sandbox that runs. 让正在运行的沙箱发生一件事。",
    )
    add = parser.add_argument
    add("name", nargs="?", help="what, or a .json file; none lists them / 名称或 .json 文件，省略则列出")
    add("--url", default=DEFAULT_URL, help=f"the sandbox / 沙箱地址 ({DEFAULT_URL})")
    add("--appid", default="", help="whose; default the first account / 账号，默认第一个")
    return parser
