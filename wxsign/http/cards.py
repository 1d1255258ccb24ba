"""Signatures of cards (卡券) for the owner's own backend: `cardExt` of `addCard`, and what `chooseCard` takes."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from wxsign.credentials import CredentialKind
from wxsign.errors import BadRequest, Text
from wxsign.http.answers import BodyTooLargeError, UnsupportedMediaTypeError
from wxsign.http.calls import JSON, json_pairs, text_of, unique
from wxsign.http.protected import Asked, Operation
from wxsign.signing import Card, card_ext, card_sign

if TYPE_CHECKING:
    from collections.abc import Mapping

_HINT: Final = Text(
    'Send `{"card_id": "…"}`, with `code`, `openid`, `card_type`, `location_id` where the card has them.',
    '请发送 `{"card_id": "…"}`，需要时加上 `code`、`openid`、`card_type`、`location_id`。',
)
MAX_FIELD_CHARACTERS: Final = 256


def sign_card(asked: Asked) -> Mapping[str, object]:
    """Both signatures for the card that the body names. Raises `RequestError`, `CredentialUnavailable`."""
    card = _card(asked)
    ticket = asked.service.ticket(asked.account, CredentialKind.CARD_TICKET)
    at, nonce = int(time.time()), secrets.token_hex(8)
    account = asked.service.registry.get(asked.account)
    return {
        "card_id": card.card_id,
        "card_ext": card_ext(ticket.value, card, timestamp=at, nonce_str=nonce),
        "card_sign": card_sign(ticket.value, account.app_id, card, timestamp=at, nonce_str=nonce),
    }


def _card(asked: Asked) -> Card:
    body = asked.call.read()
    if body is None:
        raise BodyTooLargeError
    if body and asked.call.media_type != JSON:
        raise UnsupportedMediaTypeError
    given = unique(json_pairs(body or b"{}", _HINT))
    fields = {name: text_of(name, given.get(name, ""), _HINT) for name in Card._fields}
    if not any(fields.values()) or any(len(value) > MAX_FIELD_CHARACTERS for value in fields.values()):
        message = Text("The card is not named, or not as WeChat names one.", "没有指定卡券，或字段过长。")
        raise BadRequest("card_required", message, _HINT)
    return Card(**fields)


SIGN_CARD: Final = Operation("/accounts/<path:account>/cards/sign", ("POST",), "ticket:read", sign_card)
