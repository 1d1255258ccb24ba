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

from wxsign.errcodes import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wxsign.broker.fleet import Fleet
    from wxsign.credentials import Credential, CredentialKey

logger = logging.getLogger("wxsign.broker")

LAST_SECONDS = 300.0
UNANSWERED_SECONDS = 600.0
REMEMBERED_SECONDS = 86_400.0

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
    if before is None or not before.usable(now):
        return False
    certain_until = before.latest_expiry if key.is_token else before.earliest_expiry
    return now < certain_until - min(LAST_SECONDS, before.life_seconds / 24)


class Suspicion:
    """Keeps the fleet's evidence in the store: unanswered calls for ten minutes, thefts for a day and in the event log."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def unanswered(self, key: CredentialKey) -> None:
        """A call of ours for `key` ended without an answer: WeChat may have acted on it all the same."""
        self._fleet.call(lambda store: store.note(_unanswered(key), "", UNANSWERED_SECONDS))

    def changed(self, key: CredentialKey, before: Credential | None, now: float) -> None:
        """A value died or was replaced without us at `now`: report it, unless we may have done it ourselves."""
        if before is None or not inside_its_life(key, before, now):
            return
        excuses = (_unanswered(key), _unanswered(key.token_key))
        if self._fleet.call(lambda store: store.notes(excuses)):
            return
        theft = Theft(key.app_id, str(key.kind), before.started_at, now)
        text = json.dumps({"event": "token_taken", **asdict(theft)})
        self._fleet.call(lambda store: store.note(_theft(key), text, REMEMBERED_SECONDS))
        self._fleet.call(lambda store: store.record_event(text))
        fields = {"appid": theft.app_id, "message": theft.message.en, "hint": theft.hint.en}
        logger.warning("wxsign.token_taken", extra={"fields": fields})

    def known(self, keys: Iterable[CredentialKey]) -> Mapping[str, Theft]:
        """The thefts of the last day by AppID, of the accounts that `keys` belong to."""
        names = {_theft(key): key.app_id for key in keys}
        notes = self._fleet.call(lambda store: store.notes(tuple(names)))
        return {names[name]: _decode(text) for name, text in notes.items()}


def _decode(text: str) -> Theft:
    record = json.loads(text)
    return Theft(record["app_id"], record["kind"], record["last_seen_at"], record["noticed_at"])


def _unanswered(key: CredentialKey) -> str:
    return f"unanswered|{key.name}"


def _theft(key: CredentialKey) -> str:
    return f"theft|{key.api_base}|{key.app_id}"
