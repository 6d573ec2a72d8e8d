"""``lifecycle member``: what is known of a member, from the serving store."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from app.options import settings_of
from app.redis_client import StoreUnavailable
from app.redis_store import RedisStore, key_prefix
from config.errors import ConfigErrors
from config.settings import Settings
from models.facts import ALL_CHANNELS
from models.triggers import (
    Carries,
    ConsentSaid,
    ContextItem,
    Foreseen,
    LastTrigger,
    MemberUpdate,
)

Line: TypeAlias = tuple[str, str]

if TYPE_CHECKING:
    from app.options import Subparsers

_DONE, _FAILED, _BAD_INPUT = 0, 1, 2
_OUTCOMES = {
    "open": "open, may still be overtaken",
    "sent": "sent",
    "not_sent": "not sent: the gateway could not",
    "over": "over: sent, taken back or expired, or the member was in a control group",
}


def add_parsers(subparsers: "Subparsers") -> None:
    """Register ``member``; the parsed namespace holds its function as ``run``."""
    parser = subparsers.add_parser(
        "member",
        help="what is known of a member (exit 1 when nothing is)",
        description="What Redis holds of a member: at most a second behind the events.",
    )
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--anonymous", action="store_true", help="ID is an anonymous id")
    parser.add_argument("--redis", metavar="URL", help="default: LIFECYCLE_REDIS")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="settings in TOML (see .env.example)"
    )
    parser.add_argument("--json", action="store_true", help="print the document as one JSON object")
    parser.set_defaults(run=run_member)


def run_member(args: argparse.Namespace) -> int:
    """Print what is known; return the exit code."""
    try:
        settings = settings_of(args)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return _BAD_INPUT
    kind = "anonymous id" if args.anonymous else "member"
    try:
        document = asyncio.run(_fetch(settings, args.id, args.anonymous))
        if document is None:
            return _fail(args, "unknown_member", f"Redis knows no {kind} {args.id!r}")
        update = msgspec.json.decode(document, type=MemberUpdate)
    except StoreUnavailable as error:
        return _fail(args, "unavailable", str(error))
    except msgspec.DecodeError as error:
        return _fail(args, "unreadable", f"what Redis holds of {args.id!r} is no document: {error}")
    if args.json:
        print(document.decode())
        return _DONE
    print(f"{kind} {args.id}")
    before = ""
    for name, said in described(update):
        # What has several lines is named once.
        print(f"  {'' if name == before else name:14} {said}")
        before = name
    return _DONE


def described(update: MemberUpdate) -> Iterator[Line]:
    """Yield what is known as names and values, in words; of several values each has the name."""
    if update.erased:
        yield "erased", f"at {update.updated_at}: nothing is kept"
        return
    stage = f"{update.stage} ({update.band})" if update.band else update.stage
    yield "stage", f"{stage} since {update.since}"
    yield from _bought(update)
    if update.foreseen is not None:
        yield from _foreseen(update.foreseen)
    yield from (("segments", f"{one.segment} since {one.since}") for one in update.segments)
    yield from (("tags", _carries(one)) for one in update.tags)
    said = {
        "locale": update.locale,
        "time zone": update.time_zone,
        "birthday": update.birthday,
        "recent items": _items(update.recent_items),
        "cart": _items(update.cart) or "empty",
    }
    yield from ((name, value) for name, value in said.items() if value)
    yield from _messages(update)
    yield "next deadline", update.next_deadline_at or "none"
    yield "as of", update.updated_at


def _bought(update: MemberUpdate) -> Iterator[Line]:
    if update.registered_at:
        yield "registered", update.registered_at
    orders = f"{update.orders}, spent {update.spend:.2f}, refunded {update.refunded:.2f}"
    yield "orders", orders + _last(update.last_order_at)
    yield "activity", f"{update.activity_30d:g} in 30 days" + _last(update.last_activity_at)
    if update.counts:
        counts = sorted(update.counts.items(), key=lambda one: (-one[1], one[0]))
        yield "counts", ", ".join(f"{name} {count}" for name, count in counts)
    if update.tier or update.points is not None:
        points = [] if update.points is None else [f"{update.points:g} points"]
        yield "loyalty", ", ".join([*([update.tier] if update.tier else []), *points])
    if update.rfm is not None:
        rfm = update.rfm
        scores = f"recency {rfm.recency}, frequency {rfm.frequency}, monetary {rfm.monetary}"
        yield "rfm", f"{scores} (1 to 5)"


def _messages(update: MemberUpdate) -> Iterator[Line]:
    """Yield what the member may be sent, and what was."""
    if not update.consents:
        yield "consent", "nothing was said"
    yield from (("consent", _consent(one)) for one in update.consents)
    if update.opted_out:
        yield "opted out", ", ".join(update.opted_out)
    if update.muted_until:
        yield "muted until", update.muted_until
    yield "open triggers", ", ".join(update.open_triggers) or "none"
    yield from (("last triggers", _trigger(one)) for one in update.last_triggers)


def _foreseen(foreseen: Foreseen) -> Iterator[Line]:
    why = f" ({'; '.join(foreseen.reasons)})" if foreseen.reasons else ""
    yield "churn risk", f"{foreseen.churn_smoothed:.0%}, by the model of {foreseen.model}{why}"
    low, high = foreseen.expected_value_low, foreseen.expected_value_high
    between = "" if low is None or high is None else f", between {low:.2f} and {high:.2f}"
    yield "expected value", f"{foreseen.expected_value:.2f} in 90 days{between}"
    order = foreseen.next_order
    if order is not None:
        between = f"between {order.earliest} and {order.latest}"
        yield "next order", f"around {order.median}, {between}"


def _carries(tag: Carries) -> str:
    until = f" until {tag.expires_at}" if tag.expires_at else ""
    source = f" by {tag.source}" if tag.source else ""
    reason = f": {tag.reason}" if tag.reason else ""
    return f"{tag.tag} since {tag.since}{until}{source}{reason}"


def _consent(said: ConsentSaid) -> str:
    channel = "every channel" if said.channel == ALL_CHANNELS else said.channel
    return f"{'agreed to' if said.granted else 'refused'} {said.purpose} by {channel}"


def _trigger(trigger: LastTrigger) -> str:
    known = "" if trigger.trigger_id is None else f", {trigger.trigger_id}"
    return f"{trigger.rule} due {trigger.due_at}: {_OUTCOMES[trigger.outcome]}{known}"


def _last(at: str | None) -> str:
    return f", last {at}" if at else ""


def _items(items: Sequence[ContextItem]) -> str:
    return ", ".join(map(_item, items))


def _item(item: ContextItem) -> str:
    quantity = "" if item.quantity is None else f" x {item.quantity:g}"
    price = "" if item.price is None else f" at {item.price:.2f}"
    return f"{item.item_id}{quantity}{price}"


async def _fetch(settings: Settings, identity: str, anonymous: bool) -> bytes | None:
    prefix = key_prefix(settings.app_id)
    store = RedisStore.connect(settings.redis, prefix, settings.redis_timeout_ms)
    try:
        return await store.document(identity, anonymous)
    finally:
        await store.close()


def _fail(args: argparse.Namespace, error: str, reason: str) -> int:
    print(reason, file=sys.stderr)
    if args.json:
        print(json.dumps({"error": error, "reason": reason}, ensure_ascii=False))
    return _FAILED
