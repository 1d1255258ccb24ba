"""What may happen to an account, a small file each in `happenings/`: its sentence in two languages, and the controls it uses."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from wxsign.sandbox.faults import parse_fault
from wxsign.sandbox.state import Sandbox, UnknownNameError

FOLDER = Path(__file__).parent / "happenings"
MOST_STEPS = 100

Step = Mapping[str, object]


@dataclass(frozen=True)
class Happening:
    """`steps` in their order, each with its `control` and that control's fields."""

    name: str
    en: str
    zh: str
    steps: Sequence[Step]


@cache
def happenings() -> dict[str, Happening]:
    """Those that are known, by name."""
    files = sorted(FOLDER.glob("*.json"))
    return {file.stem: Happening(file.stem, **json.loads(file.read_text("utf-8"))) for file in files}


def happening_named(name: object) -> Happening:
    """One of them; raises UnknownNameError with the names there are."""
    found = happenings().get(name) if isinstance(name, str) else None
    if found is None:
        raise UnknownNameError(f"unknown happening; known: {', '.join(happenings())}")
    return found


def play(sandbox: Sandbox, steps: object, appid: str = "") -> str:
    """Lets it happen to an account, by default the first one; returns its appid.

    A credential that the account does not have is passed over: an app of WeCom has no stable_token. Raises ValueError and
    UnknownNameError; what is no list of known steps changes nothing.
    """
    chosen = sandbox.account_named(appid)
    if not isinstance(steps, Sequence) or isinstance(steps, str) or len(steps) > MOST_STEPS:
        raise ValueError(f"steps must be a list of at most {MOST_STEPS} objects")
    for step in steps:
        if not isinstance(step, Mapping) or step.get("control") not in CONTROLS:
            raise ValueError(f"each step must be an object whose control is one of {', '.join(CONTROLS)}")
    for step in steps:
        given = {name: value for name, value in step.items() if name != "control"}
        CONTROLS[step["control"]](sandbox, chosen, given)
    return chosen


def _rotate(sandbox: Sandbox, appid: str, given: Step) -> None:
    with suppress(UnknownNameError):
        sandbox.rotate(appid, str(given.get("credential", "")))


def _kill(sandbox: Sandbox, appid: str, given: Step) -> None:
    with suppress(UnknownNameError):
        sandbox.kill(appid, str(given.get("credential", "")))


def _faults(sandbox: Sandbox, appid: str, given: Step) -> None:
    sandbox.add_fault(parse_fault({"appid": appid} | dict(given)))


def _settings(sandbox: Sandbox, _appid: str, given: Step) -> None:
    sandbox.change(given)


def _secret(sandbox: Sandbox, appid: str, given: Step) -> None:
    secret = given.get("secret")
    if not isinstance(secret, str) or not secret:
        raise ValueError("secret must be a text")
    sandbox.change_secret(appid, secret)


def _quota(sandbox: Sandbox, appid: str, _given: Step) -> None:
    sandbox.exhaust(appid)


def _calm(sandbox: Sandbox, _appid: str, _given: Step) -> None:
    sandbox.calm()


CONTROLS: dict[str, Callable[[Sandbox, str, Step], None]] = {
    "rotate": _rotate,
    "kill": _kill,
    "faults": _faults,
    "settings": _settings,
    "secret": _secret,
    "quota": _quota,
    "calm": _calm,
}
