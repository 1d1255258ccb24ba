"""Who took our token? A value that dies or changes inside its life was replaced by another system.

False alarms are worse than none, so nothing is said of a change in the last minutes of a life, of a ticket whose age
nobody knows, or within ten minutes of a call of ours that ended without an answer: that call may have done it.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from wxsign.credentials import chain_of, sort_of
from wxsign.errors import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wxsign.credentials import Credential, CredentialKey
    from wxsign.stores import CredentialStore

logger = logging.getLogger("wxsign.broker")

LAST_SECONDS = 300.0
UNANSWERED_SECONDS = 600.0
REMEMBERED_SECONDS = 3600.0

_HINT: Final = Text(
    "Find the system that still has this AppSecret: it may be an old server, a test environment, or a wxsign with a store of its own. Point it at this one; stable_token keeps the others from harming you meanwhile.",
    "请找出仍持有该 AppSecret 的系统（旧服务器、测试环境，或另一个使用独立存储的 wxsign），改为从这里取 token；在此之前使用 stable_token 可避免互相影响。",
)


@dataclass(frozen=True, slots=True)
class Theft:
    """A credential was replaced by somebody else between two moments (seconds since the epoch, the store's clock)."""

    app_id: str
    kind: str
    last_seen_at: float
    noticed_at: float

    @property
    def message(self) -> Text:
        """What happened, with the time by this machine's clock."""
        at = time.strftime("%H:%M", time.localtime((self.last_seen_at + self.noticed_at) / 2))
        return Text(
            f"Another system (or another wxsign with its own store) fetched this account's {self.kind} at about {at}.",
            f"另一个系统（或使用独立存储的另一个 wxsign）在 {at} 左右获取了该账号的 {self.kind}。",
        )

    @property
    def hint(self) -> Text:
        """What to do about it."""
        return _HINT


def inside_its_life(key: CredentialKey, before: Credential | None, now: float) -> bool:
    """Whether a change at `now` cannot have been the ordinary end of what stood `before`."""
    if before is None or sort_of(key).handed_on or not before.usable(now):
        return False
    return now < sort_of(key).certain_until(before) - min(LAST_SECONDS, before.life_seconds / 24)


def excuses(key: CredentialKey) -> tuple[str, ...]:
    """The names of the notes that excuse a change of `key`: calls of ours, for it or what it needs, without an answer."""
    return tuple(_unanswered(link) for link in chain_of(key))


def note_unanswered(store: CredentialStore, key: CredentialKey) -> None:
    """A call of ours for `key` ended without an answer: WeChat may have acted on it all the same.

    Raises `StoreUnavailable`.
    """
    store.note(_unanswered(key), "", UNANSWERED_SECONDS)


def suspect(
    store: CredentialStore,
    key: CredentialKey,
    before: Credential | None,
    now: float,
    notes: Mapping[str, str],
) -> None:
    """A value died or was replaced without us at `now`: report it, unless `notes` say that we may have done it.

    The theft is remembered for an hour, and in the event log. Raises `StoreUnavailable`.
    """
    if before is None or not inside_its_life(key, before, now) or notes.keys() & set(excuses(key)):
        return
    theft = Theft(key.owner, str(key.kind), before.started_at, now)
    text = json.dumps({"event": "token_taken", **asdict(theft)})
    fields = {"appid": theft.app_id, "message": theft.message.en, "hint": theft.hint.en}
    logger.warning("wxsign.token_taken", extra={"fields": fields})
    store.note(theft_note(key), text, REMEMBERED_SECONDS, event=True)


def thefts_of(keys: Iterable[CredentialKey], notes: Mapping[str, str]) -> Mapping[str, Theft]:
    """The thefts among `notes`, by AppID, of the accounts that `keys` belong to. What cannot be read tells of none."""
    names = {theft_note(key): key.owner for key in keys}
    found = {app_id: _decode(notes[name]) for name, app_id in names.items() if name in notes}
    return {app_id: theft for app_id, theft in found.items() if theft is not None}


def theft_note(key: CredentialKey) -> str:
    """The name of the note that remembers a theft of the account of `key`."""
    return f"theft|{key.api_base}|{key.owner}"


def _decode(text: str) -> Theft | None:
    try:
        record = json.loads(text)
        theft = Theft(
            str(record["app_id"]),
            str(record["kind"]),
            float(record["last_seen_at"]),
            float(record["noticed_at"]),
        )
        theft.message  # noqa: B018 -- raises where the times are no moments
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, OSError):
        return None
    return theft


def _unanswered(key: CredentialKey) -> str:
    return f"unanswered|{key.name}"
