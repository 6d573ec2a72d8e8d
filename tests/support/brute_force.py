"""An independent oracle for absence rules: plain loops over a list of events.

It is written from the published meaning of the rules alone and shares no code with the product:
it reads the rule files itself, keeps no state between events but the list of what happened, and
asks of every arming event "did anything follow it before its deadline?". Slow on purpose.

Not modelled: rules that are no absences, backfill, late arrival, the limit of open keys, reasons
and contexts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

Event = Mapping[str, Any]

TOPIC_OF_TYPE = {
    kind: topic
    for topic, kinds in {
        "member": "register profile consent link points tier offer_granted offer_redeemed "
        "offer_expired erase",
        "engagement": "sent delivered failed opened clicked bounced complained unsubscribed review "
        "rating share post invite invite_accepted rsvp attended campaign_join ticket_opened "
        "ticket_closed survey",
        "browse": "visit view_item search",
        "cart": "add_to_cart remove_from_cart begin_checkout",
        "purchase": "purchase order_placed order_shipped order_delivered return_requested cancel "
        "refund",
    }.items()
    for kind in kinds.split()
}
TOPIC_ORDER = ["member", "engagement", "browse", "cart", "purchase"]
UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
REMEMBERED_IDS = 16


@dataclass(frozen=True)
class Expected:
    """What the absence rules of one rule set should have said, as sets."""

    triggers: frozenset[tuple[str, str, int, str, int, int]]
    """(member, rule, version, occasion, due ms, expires ms)."""
    cancelled: frozenset[tuple[str, str, str, int]]
    """(member, rule, occasion, cancelled at ms)."""


@dataclass(frozen=True)
class Fact:
    """An event at its place in the member's list, with what it did to the cart."""

    at: int
    event: Event
    emptied_cart: bool


@dataclass
class Raised:
    """A trigger that was raised; `cancelled_at` stays None until something cancels it."""

    rule: dict[str, Any]
    key: str | None
    occasion: str
    due: int
    expires: int
    channels: list[str]
    cancelled_at: int | None = None


def expected(
    events: Iterable[Event], rules_dir: Path, policy: Path | None = None, until: int | None = None
) -> Expected:
    """Triggers and cancellations of every absence rule in `rules_dir`, for events in any order.

    Without a `policy` file everybody may be written to. Deadlines fire up to and including
    `until` (epoch ms), by default the time of the last event.
    """
    rules = [rule for rule in read_yaml(rules_dir) if absence_of(rule) is not None]
    words = (yaml.safe_load(policy.read_text()) if policy else None) or {}
    ordered = in_order(events)
    end = until if until is not None else max((time_of(e) for e in ordered), default=0)
    triggers: set[tuple[str, str, int, str, int, int]] = set()
    cancelled: set[tuple[str, str, str, int]] = set()
    for member, own in by_member(ordered).items():
        for life, life_end in lives(own, end):
            for raised in live_through(life, life_end, rules, words):
                name = raised.rule["rule"]
                triggers.add(
                    (
                        member,
                        name,
                        raised.rule["version"],
                        raised.occasion,
                        raised.due,
                        raised.expires,
                    )
                )
                if raised.cancelled_at is not None:
                    cancelled.add((member, name, raised.occasion, raised.cancelled_at))
    return Expected(frozenset(triggers), frozenset(cancelled))


def read_yaml(rules_dir: Path) -> list[dict[str, Any]]:
    """The rules of a directory as they are written, in the order of their names."""
    files = [p for p in rules_dir.glob("*.yaml") if not p.name.endswith(".test.yaml")]
    rules = [yaml.safe_load(p.read_text()) for p in files if p.name != "policy.yaml"]
    return sorted(rules, key=lambda rule: str(rule["rule"]))


def absence_of(rule: Mapping[str, Any]) -> dict[str, Any] | None:
    when = rule["when"]
    return when.get("absence") if isinstance(when, dict) else None


def ms(duration: str) -> int:
    return int(duration[:-1]) * UNIT_MS[duration[-1]]


def time_of(event: Event) -> int:
    at = event["occurred_at"]
    if isinstance(at, int):
        return at
    since = datetime.fromisoformat(at) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


def in_order(events: Iterable[Event]) -> list[Event]:
    """By time, then topic; the sort is stable, so the order of the file decides what is left."""
    return sorted(events, key=lambda e: (time_of(e), TOPIC_ORDER.index(TOPIC_OF_TYPE[e["type"]])))


def by_member(ordered: Iterable[Event]) -> dict[str, list[Event]]:
    """Each identified member's events; anonymous ids never get a message and are left out."""
    members: dict[str, list[Event]] = {}
    for event in ordered:
        if event.get("member_id") is not None:
            members.setdefault(event["member_id"], []).append(event)
    return members


def lives(own: Sequence[Event], end: int) -> Iterator[tuple[list[Fact], int]]:
    """A member's events cut after each erase: an erased member who comes back begins again.

    Yields each life with the instant up to which its deadlines fire.
    """
    life: list[Event] = []
    for event in own:
        life.append(event)
        if event["type"] == "erase":
            yield with_cart(without_repeats(life)), min(time_of(event), end)
            life = []
    yield with_cart(without_repeats(life)), end


def without_repeats(life: Iterable[Event]) -> list[Event]:
    """Drop an event whose id is among the last 16 different ids that came before it."""
    kept: list[Event] = []
    ids: list[str] = []
    for event in life:
        event_id = event.get("event_id")
        if event_id is not None:
            if event_id in ids[-REMEMBERED_IDS:]:
                continue
            ids.append(event_id)
        kept.append(event)
    return kept


def with_cart(life: Iterable[Event]) -> list[Fact]:
    """Follow the cart, and note which events emptied it."""
    cart: dict[str, float] = {}
    facts = []
    for event in life:
        before = len(cart)
        kind = event["type"]
        if kind == "add_to_cart":
            item = event["item_id"]
            cart[item] = cart.get(item, 0) + event.get("quantity", 1)
        elif kind == "remove_from_cart":
            take_out(cart, event)
        elif kind == "purchase":
            if not event.get("items"):
                cart.clear()
            for line in event.get("items") or []:
                take_out(cart, line)
        facts.append(Fact(time_of(event), event, before > 0 and not cart))
    return facts


def take_out(cart: dict[str, float], line: Event) -> None:
    item = line["item_id"]
    if item in cart:
        cart[item] -= line.get("quantity", 1)
        if cart[item] <= 0:
            del cart[item]


def patterns(written: Any) -> list[dict[str, Any]]:
    """A type, a pattern or a list of either, as a list of {event: [types], where?, same?}."""
    found = []
    for one in written if isinstance(written, list) else [written]:
        pattern = {"event": one} if isinstance(one, str) else dict(one)
        if isinstance(pattern["event"], str):
            pattern["event"] = [pattern["event"]]
        found.append(pattern)
    return found


def matches(pattern: Mapping[str, Any], fact: Fact) -> bool:
    named = fact.event["type"] in pattern["event"]
    derived = fact.emptied_cart and "cart_emptied" in pattern["event"]
    return (named or derived) and all(
        any(allows(wanted, value) for value in values(fact.event, field))
        for field, wanted in bounds(pattern.get("where", {}))
    )


def bounds(where: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each condition by itself: of an order, one line may reach one bound, another the other."""
    for field, wanted in where.items():
        if isinstance(wanted, dict):
            yield from ((field, {name: bound}) for name, bound in wanted.items())
        else:
            yield field, wanted


def allows(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, dict):
        enough = "at_least" not in wanted or value >= wanted["at_least"]
        return enough and ("below" not in wanted or value < wanted["below"])
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)


def key_field(absence: Mapping[str, Any]) -> str | None:
    for side in ("after", "of"):
        for pattern in patterns(absence[side]):
            if "same" in pattern:
                return str(pattern["same"])
    return None


def values(event: Event, field: str) -> list[Any]:
    """The event's own value of a field, else that of each of its order lines."""
    lines = [{"quantity": 1} | line for line in event.get("items") or []]
    common = {"origin": "live", "test": False}
    if event["type"] in ("add_to_cart", "remove_from_cart"):
        common["quantity"] = 1
    own = common | dict(event)
    held = [own] if own.get(field) is not None else lines
    return [one[field] for one in held if one.get(field) is not None]


def keys(event: Event, field: str) -> list[str]:
    """What an event is about; an empty text names nothing."""
    return [value for value in values(event, field) if value != ""]


def arms(absence: Mapping[str, Any], field: str | None, fact: Fact, key: str | None) -> bool:
    hit = any(matches(pattern, fact) for pattern in patterns(absence["after"]))
    return hit and (field is None or key in keys(fact.event, field))


def ends(absence: Mapping[str, Any], fact: Fact, key: str | None) -> bool:
    """Whether the event is one that was awaited for this key; without `same` it is for every."""
    return any(
        matches(pattern, fact)
        and ("same" not in pattern or key in keys(fact.event, pattern["same"]))
        for pattern in patterns(absence["of"])
    )


def firings(
    rule: dict[str, Any], facts: Sequence[Fact], end: int
) -> Iterator[tuple[int, str, str, int, dict[str, Any], str | None]]:
    """(due, rule name, key or "", armed at, rule, key) for every deadline that nothing stopped."""
    absence = absence_of(rule)
    assert absence is not None
    field = key_field(absence)
    spoken_of: list[str | None] = [None]
    if field is not None:
        spoken_of = [*sorted({key for fact in facts for key in keys(fact.event, field)})]
    for key in spoken_of:
        # What an event does to this key, asked once for each.
        roles = [
            (fact.at, arms(absence, field, fact, key), ends(absence, fact, key)) for fact in facts
        ]
        for place, (at, armed, _) in enumerate(roles):
            due = at + ms(absence["within"])
            if not armed or due > end:
                continue
            for later, rearmed, ended in roles[place + 1 :]:
                if later >= due:
                    yield due, rule["rule"], key or "", at, rule, key
                    break
                if rearmed or ended:
                    break
            else:
                yield due, rule["rule"], key or "", at, rule, key


def live_through(
    facts: Sequence[Fact], end: int, rules: Sequence[dict[str, Any]], policy: Mapping[str, Any]
) -> list[Raised]:
    """One life, instant by instant: at each, deadlines first, then the events."""
    due_list = sorted(
        (firing for rule in rules for firing in firings(rule, facts, end)), key=lambda f: f[:4]
    )
    raised: list[Raised] = []
    for place, fact in enumerate(facts):
        before, due_list = split(due_list, fact.at)
        for firing in before:
            try_to_raise(firing, facts[:place], facts, policy, raised)
        overtake(fact, facts[: place + 1], raised)
    for firing in due_list:
        try_to_raise(firing, facts, facts, policy, raised)
    return raised


def split(due_list: list[Any], at: int) -> tuple[list[Any], list[Any]]:
    return [f for f in due_list if f[0] <= at], [f for f in due_list if f[0] > at]


def try_to_raise(
    firing: tuple[int, str, str, int, dict[str, Any], str | None],
    seen: Sequence[Fact],
    facts: Sequence[Fact],
    policy: Mapping[str, Any],
    raised: list[Raised],
) -> None:
    due, _, _, armed_at, rule, key = firing
    channels = channels_of(rule, seen, policy)
    if channels is None or enough_orders(rule, facts, due) or too_soon(rule, key, due, raised):
        return
    if rule.get("episode") is not None:
        for other in raised:
            if other.rule.get("episode") == rule["episode"]:
                cancel(other, due)
    absence = absence_of(rule)
    assert absence is not None
    field = key_field(absence)
    occasion = f"{armed_at}" if field is None else f"{field}={key}|{armed_at}"
    expires = due + ms(rule["expires_after"])
    raised.append(Raised(rule, key, occasion, due, expires, channels))


def enough_orders(rule: Mapping[str, Any], facts: Sequence[Fact], due: int) -> bool:
    when = rule["when"]
    orders = when.get("unless", {}).get("orders")
    if orders is None:
        return False
    bought = [f for f in facts if f.event["type"] == "purchase"]
    inside = [f for f in bought if due - ms(orders["within"]) <= f.at < due]
    return bool(len(inside) >= orders["at_least"])


def too_soon(rule: Mapping[str, Any], key: str | None, due: int, raised: Sequence[Raised]) -> bool:
    reentry = rule["reentry"]
    mine = [r for r in raised if r.rule["rule"] == rule["rule"]]
    if reentry == "always":
        return False
    if reentry == "once":
        return bool(mine)
    if reentry["per"] != "member":
        mine = [r for r in mine if r.key == key]
    return any(due - r.due < ms(reentry["every"]) for r in mine)


def channels_of(
    rule: Mapping[str, Any], seen: Sequence[Fact], policy: Mapping[str, Any]
) -> list[str] | None:
    """The channels that may be used; None when the member has closed all that there are."""
    wanted: list[str] = rule.get("channels") or policy.get("channels") or []
    if policy.get("consent") != "opt_out":
        return wanted
    if not wanted:
        # Nobody says which channel it will be, so any refusal that stands closes it.
        spoken = {word[0] for fact in seen for word in [word_of(fact.event)] if word}
        return None if any(refused(name, purpose_of(rule), seen) for name in spoken) else []
    return [c for c in wanted if not refused(c, purpose_of(rule), seen)] or None


def purpose_of(rule: Mapping[str, Any]) -> str:
    return str(rule.get("purpose", "marketing"))


def refused(channel: str, purpose: str, seen: Sequence[Fact]) -> bool:
    """The newest word counts, on the channel or on all; of two at one place, the refusal."""
    newest: dict[str, tuple[int, int, bool]] = {}
    for fact in seen:
        word = word_of(fact.event)
        if word and word[0] in (channel, "all") and word[1] == purpose:
            rank = TOPIC_ORDER.index(TOPIC_OF_TYPE[fact.event["type"]])
            newest[word[0]] = (fact.at, rank, word[2])
    return max(newest.values())[2] if newest else False


def word_of(event: Event) -> tuple[str, str, bool] | None:
    """(channel or `all`, purpose, whether it refuses) when an event says such a thing."""
    kind = event["type"]
    if kind == "complained":
        return "all", "marketing", True
    if kind == "unsubscribed":
        return event["channel"], "marketing", True
    if kind == "consent":
        return event["channel"], event["purpose"], not event["granted"]
    return None


def overtake(fact: Fact, seen: Sequence[Fact], raised: Iterable[Raised]) -> None:
    """Let an event cancel what it ends; `seen` is everything up to and with the event."""
    word = word_of(fact.event)
    for one in raised:
        absence = absence_of(one.rule)
        assert absence is not None
        purpose = purpose_of(one.rule)
        ended = ends(absence, fact, one.key) or any(
            matches(pattern, fact) for pattern in patterns(one.rule.get("overtaken_by", []))
        )
        closed = word is not None and word[1:] == (purpose, True)
        if closed and one.channels:
            # The gateway knows the channels that the trigger names and no others.
            closed = any(refused(channel, purpose, seen) for channel in one.channels)
        complaint = fact.event["type"] == "ticket_opened" and purpose == "marketing"
        if ended or closed or complaint or fact.event["type"] == "erase":
            cancel(one, fact.at)


def cancel(one: Raised, at: int) -> None:
    if one.cancelled_at is None and one.due <= at < one.expires:
        one.cancelled_at = at


def one_id_per_occasion(triggers: Iterable[Mapping[str, Any]]) -> bool:
    """Whether ids and (member, rule, version, occasion) of trigger records map one to one."""
    pairs = sorted(
        {
            (t["trigger_id"], (t["member_id"], t["rule"], t["rule_version"], t["occasion"]))
            for t in triggers
        }
    )
    by_occasion = sorted(occasion for _, occasion in pairs)
    return all(a[0] != b[0] for a, b in pairwise(pairs)) and all(
        a != b for a, b in pairwise(by_occasion)
    )
