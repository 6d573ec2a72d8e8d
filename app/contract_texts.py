"""What the contracts say in words: topics, keys, headers, examples."""

from typing import Any

import msgspec


class Topic(msgspec.Struct, frozen=True):
    """A topic as its readers and writers see it."""

    about: str
    key: str
    cleanup: str = "delete"


_MEMBER_KEY = "member_id, or anonymous_id before identification"

TOPICS: dict[str, Topic] = {
    "member": Topic("Who members are, and what they allow.", _MEMBER_KEY),
    "engagement": Topic("What became of messages, and what members do beside buying.", _MEMBER_KEY),
    "browse": Topic("Visits, views and searches.", _MEMBER_KEY),
    "cart": Topic("What goes into and out of the cart, and checkouts begun.", _MEMBER_KEY),
    "purchase": Topic("Orders from placed to refunded.", _MEMBER_KEY),
    "items": Topic("The catalogue: the newest record of an item counts.", "item_id", "compact"),
    "triggers": Topic(
        "Messages to send, and those to forget. A gateway drops ids that it has seen, forgets what "
        "is cancelled or expired, and sends between not_before and not_after.",
        "member_id",
    ),
    "decisions": Topic(
        "The audit log: every candidate with its verdict, and every change of stage and segment.",
        "member_id, or anonymous_id before identification",
    ),
    "member-updates": Topic(
        "The projection of each member; an empty value deletes it.",
        "member_id, or for an anonymous id the bytes of anonymous, 0xff, and the id",
        "compact",
    ),
    "dead-letters": Topic(
        "Records that were not understood, with where they came from and why.",
        "the key of the record that was not understood",
    ),
}

# Fields of our own messages that hold an instant, always as RFC 3339 in UTC with milliseconds.
OUTPUTS_AT: frozenset[str] = frozenset(
    {
        "at",
        "cancelled_at",
        "due_at",
        "expires_at",
        "last_activity_at",
        "last_order_at",
        "next_deadline_at",
        "not_after",
        "not_before",
        "occurred_at",
        "raised_at",
        "registered_at",
        "since",
        "updated_at",
        "viewed_at",
    }
)


def _headers(kind: str, identity: str, time: str) -> dict[str, Any]:
    def text(about: str, **more: str) -> dict[str, str]:
        return {"type": "string", "description": about, **more}

    properties = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": text(identity),
        "ce_type": {"type": "string", "const": f"member-lifecycle.{kind}"},
        "ce_source": text("Which engine says so.", format="uri-reference"),
        "ce_time": text(time, format="date-time"),
        "content-type": {"type": "string", "const": "application/json"},
    }
    return {
        "type": "object",
        "description": "CloudEvents 1.0 in binary mode, as the Kafka binding writes it.",
        "properties": properties,
        "required": list(properties),
    }


TRIGGER_HEADERS: dict[str, dict[str, Any]] = {
    "trigger": _headers("trigger", "The trigger_id.", "The due_at."),
    "trigger_cancelled": _headers(
        "trigger_cancelled", "The trigger_id and /cancelled.", "The cancelled_at."
    ),
}

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "view_item": [
        {
            "type": "view_item",
            "event_id": "e1",
            "member_id": "m1",
            "occurred_at": "2026-11-21T10:00:00Z",
            "item_id": "sku-1",
            "category": "tea",
            "source": "app",
        }
    ],
    "purchase": [
        {
            "type": "purchase",
            "event_id": "e2",
            "member_id": "m1",
            "occurred_at": 1795255500000,
            "order_id": "o1",
            "total": 25.5,
            "currency": "CNY",
            "items": [{"item_id": "sku-1", "quantity": 1, "price": 25.5}],
        }
    ],
    "trigger_cancelled": [
        {
            "type": "trigger_cancelled",
            "schema_version": 1,
            "trigger_id": "9f2c1d0e8b7a4655a3c2f1e0d9b8a796",
            "member_id": "m1",
            "rule": "browse_abandoned",
            "cancelled_at": "2026-11-21T12:00:31.000Z",
            "reason": "purchase o1",
        }
    ],
}
