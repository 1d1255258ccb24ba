"""The signatures of cards (卡券): for `addCard` and `chooseCard`, by the wx_card ticket, whatever the page's URL.

Source: the JS-SDK guide, appendix 4 (developers.weixin.qq.com/doc/service/guide/h5/jssdk). Its printed digest needs a blank
behind the ticket that nobody should send.
"""

from __future__ import annotations

import json
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Card(NamedTuple):
    """The card that is meant; what is empty is left out."""

    card_id: str = ""
    code: str = ""
    openid: str = ""
    card_type: str = ""
    location_id: str = ""


def card_signature(values: Iterable[str]) -> str:
    """Return the lower-case hex SHA-1 of the values, those that are there, sorted by their bytes and joined."""
    joined = b"".join(sorted(value.encode() for value in values if value))
    return sha1(joined, usedforsecurity=False).hexdigest()


def card_ext(ticket: str, card: Card, *, timestamp: int, nonce_str: str) -> str:
    """Return the `cardExt` of `addCard`: a text of JSON. Raises ValueError if the ticket is empty."""
    if not ticket:
        raise ValueError("a signature needs a ticket")
    signed = card_signature((ticket, str(timestamp), card.card_id, card.code, card.openid, nonce_str))
    fields = {"code": card.code, "openid": card.openid, "timestamp": str(timestamp), "nonce_str": nonce_str}
    return json.dumps({name: value for name, value in fields.items() if value} | {"signature": signed})


def card_sign(ticket: str, app_id: str, card: Card, *, timestamp: int, nonce_str: str) -> dict[str, object]:
    """Return what `chooseCard` takes. Raises ValueError if the ticket is empty."""
    if not ticket:
        raise ValueError("a signature needs a ticket")
    signed = card_signature(
        (ticket, app_id, card.location_id, str(timestamp), nonce_str, card.card_id, card.card_type)
    )
    return {
        "shopId": card.location_id,
        "cardType": card.card_type,
        "cardId": card.card_id,
        "timestamp": timestamp,
        "nonceStr": nonce_str,
        "signType": "SHA1",
        "cardSign": signed,
    }
