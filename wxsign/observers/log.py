"""The log of what the broker did: who called WeChat for which account, and what came of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wxsign.broker import Adopted, Outcome
from wxsign.errors import WeChatRefused

if TYPE_CHECKING:
    from wxsign.accounts import AccountRegistry
    from wxsign.broker import RefreshEvent

logger = logging.getLogger("wxsign.refresh")


class RefreshLog:
    """Writes one line for each call of WeChat: a failure as a warning, with WeChat's words and what to do.

    `registry` knows the account of a key.
    """

    def __init__(self, registry: AccountRegistry) -> None:
        self._registry = registry

    def __call__(self, event: RefreshEvent | Adopted) -> None:
        """Write the line of one event."""
        if isinstance(event, Adopted):
            return
        failed = event.outcome in {Outcome.FAILED, Outcome.DEAD}
        level = logging.WARNING if failed else logging.INFO
        fields = {"account": self._registry.get(event.key.owner).name, **_fields(event)}
        logger.log(level, "wxsign.%s", event.outcome, extra={"fields": fields})


def _fields(event: RefreshEvent) -> dict[str, object]:
    fields: dict[str, object] = {
        "appid": event.key.owner,
        "kind": str(event.key.kind),
        "seconds": round(event.seconds, 3),
        "version": event.version,
    }
    if event.expires_in_seconds is not None:
        fields["expires_in_seconds"] = event.expires_in_seconds
    if event.forced:
        fields["forced"] = True
    error = event.error
    if error is not None:
        fields |= {"code": error.code, "message": error.message.en, "hint": error.operator_hint.en}
    if isinstance(error, WeChatRefused):
        fields |= {"errcode": error.errcode, "errmsg": error.errmsg}
    return fields
