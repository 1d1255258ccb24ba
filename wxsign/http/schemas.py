"""What answers look like, as JSON Schema: the half of the API's description that has no paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Node = dict[str, Any]

STRING: Final[Node] = {"type": "string"}
INTEGER: Final[Node] = {"type": "integer"}
BOOLEAN: Final[Node] = {"type": "boolean"}
NULLABLE_STRING: Final[Node] = {"type": ["string", "null"]}


def an_object(required: Mapping[str, Node], optional: Mapping[str, Node] | None = None) -> Node:
    """A JSON object with these members."""
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def a_list(items: Node) -> Node:
    """A JSON array of these."""
    return {"type": "array", "items": items}


def one_of(*values: str) -> Node:
    """One of these texts."""
    return {"type": "string", "enum": list(values)}


def ref(name: str) -> Node:
    """The schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


_SAID: Final = an_object({"code": STRING, "message": STRING, "hint": STRING})
_AGENT_CONFIG: Final = an_object(
    {
        "corpid": STRING,
        "agentid": STRING,
        "timestamp": INTEGER,
        "nonceStr": STRING,
        "signature": STRING,
        "url": STRING,
        "jsApiList": a_list(STRING),
    }
)
SCHEMAS: Final[Mapping[str, Node]] = {
    "Error": an_object(
        {
            "error": an_object(
                {"code": STRING, "message": STRING, "hint": STRING, "docs": STRING, "request_id": STRING}
            )
        },
        {"cause": STRING, "errcode": INTEGER, "errmsg": STRING},
    ),
    "JSConfig": an_object(
        {
            "appId": STRING,
            "timestamp": INTEGER,
            "nonceStr": STRING,
            "signature": {"type": "string", "pattern": "^[0-9a-f]{40}$"},
            "url": STRING,
            "jsApiList": a_list(STRING),
            "openTagList": a_list(STRING),
        },
        {
            "landing": an_object({"url": STRING, "signature": STRING}),
            "agentConfig": _AGENT_CONFIG,
            "warnings": a_list(_SAID),
        },
    ),
    "AgentConfig": _AGENT_CONFIG,
    "AccessToken": an_object(
        {
            "access_token": STRING,
            "expires_in": {"type": "integer", "minimum": 1},
            "expires_at": INTEGER,
            "recheck_after_seconds": {"type": "integer", "minimum": 1},
        },
        {"verified": BOOLEAN},
    ),
    "Ticket": an_object(
        {"ticket": STRING, "expires_in": {"type": "integer", "minimum": 1}, "expires_at": INTEGER}
    ),
    "SignedCard": an_object(
        {
            "card_id": STRING,
            "card_ext": STRING,
            "card_sign": an_object(
                {
                    "shopId": STRING,
                    "cardType": STRING,
                    "cardId": STRING,
                    "timestamp": INTEGER,
                    "nonceStr": STRING,
                    "signType": STRING,
                    "cardSign": STRING,
                }
            ),
        }
    ),
    "Cleared": an_object({"cleared": BOOLEAN, "by": STRING, "used": INTEGER, "limit": INTEGER}),
    "Accounts": an_object(
        {
            "accounts": a_list(
                an_object(
                    {
                        "name": STRING,
                        "app_id": STRING,
                        "kind": one_of("official", "miniprogram", "wecom"),
                        "token_endpoint": one_of("stable", "classic", "wecom", "source"),
                        "in_use": BOOLEAN,
                        "problems": a_list(STRING),
                        "credentials": a_list(
                            an_object(
                                {
                                    "kind": STRING,
                                    "state": one_of("usable", "empty"),
                                    "expires_in": {"type": ["integer", "null"]},
                                    "refresh_in": {"type": ["integer", "null"]},
                                    "version": {"type": ["integer", "null"]},
                                    "error": {"anyOf": [_SAID, {"type": "null"}]},
                                }
                            )
                        ),
                        "calls_today": a_list(
                            an_object({"endpoint": STRING, "used": INTEGER, "limit": INTEGER})
                        ),
                        "theft": {
                            "anyOf": [
                                an_object(
                                    {
                                        "kind": STRING,
                                        "between": a_list(INTEGER),
                                        "message": STRING,
                                        "hint": STRING,
                                    }
                                ),
                                {"type": "null"},
                            ]
                        },
                    }
                )
            )
        }
    ),
    "Finding": an_object(
        {
            "id": {"type": "string", "pattern": "^WXS[0-9]{3}$"},
            "certainty": one_of("certain", "likely", "possible"),
            "message": STRING,
            "hint": STRING,
            "evidence": {"type": "object"},
            "docs": STRING,
        }
    ),
    "Diagnosis": an_object(
        {
            "verdict": one_of("right", "wrong", "unknown"),
            "rules": INTEGER,
            "findings": a_list(ref("Finding")),
            "at": INTEGER,
            "request_id": STRING,
        }
    ),
    "Reported": an_object({"retry": BOOLEAN}, {"after_seconds": INTEGER, "findings": a_list(ref("Finding"))}),
    "Health": an_object({"status": one_of("ok")}, {"forwarded": a_list(STRING)}),
    "Readiness": an_object({"state": one_of("ready", "degraded", "unready"), "problems": a_list(STRING)}),
    "Refusal": an_object({"errcode": INTEGER, "errmsg": STRING}),
    "DialectToken": an_object(
        {"access_token": STRING, "expires_in": INTEGER}, {"errcode": INTEGER, "errmsg": STRING}
    ),
    "DialectTicket": an_object(
        {"errcode": INTEGER, "errmsg": STRING, "ticket": STRING, "expires_in": INTEGER}
    ),
    "DialectAddresses": an_object({"ip_list": a_list(STRING)}),
}
