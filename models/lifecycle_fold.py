"""What facts about one member change: its life, the counters, its timeline, what finds it.

Pure: ``fold`` is given what is stored of the member and of the orders named, and returns what is to
be stored and counted. Each fact counts once, however often a topic says it.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from zlib import crc32

import msgspec

from models.decoding import Received
from models.events import (
    NOT_ARRIVED,
    CampaignJoined,
    CartAdded,
    CartRemoved,
    ConsentChanged,
    Erased,
    Event,
    InviteAccepted,
    ItemViewed,
    Linked,
    MessageClicked,
    MessageDelivered,
    MessageOpened,
    MessageSent,
    Muted,
    OfferExpired,
    OfferGranted,
    OfferRedeemed,
    OrderCancelled,
    PointsChanged,
    ProfileChanged,
    Purchased,
    Refunded,
    Registered,
    Searched,
    Shared,
    SurveyAnswered,
    Tagged,
    TicketOpened,
    TierChanged,
    Untagged,
)
from models.facts import cents
from models.lifecycle import (
    ACTIVATING,
    ASLEEP,
    EFFECTIVE,
    KEPT_SEEN,
    NOW,
    UNKNOWN,
    Counter,
    Counts,
    Life,
    active_days,
    contributions,
    day_key,
    day_of,
    difference,
    is_active,
    lose_lead,
    note_active,
    note_lead,
    pack,
    treat,
    trim,
    unpack,
    week_of,
)
from models.lifecycle_facts import (
    Cancelled,
    Fact,
    Happened,
    HeldBack,
    Moved,
    Raised,
    Scored,
)
from models.retelling import Retelling

CONTACT_KINDS: frozenset[str] = frozenset({"phone_sha256", "email_sha256"})
"""Kinds of link, and names of attributes, that bring a hashed phone number or e-mail address."""
_LEFT = MessageSent | MessageDelivered | MessageOpened | MessageClicked
"""Words of the gateway which say that a message has left."""
UNDECIDED: frozenset[str] = frozenset({"held", "suspended"})
"""Verdicts that another follows."""
LONGEST_WORD = 64
_HEX = frozenset("0123456789abcdef")


class Order(msgspec.Struct, array_like=True):
    """An order as the index knows it; money is cents."""

    identity: str
    anonymous: bool
    at: int
    total: int
    refunded: int = 0
    cancelled: bool = False


class Entry(msgspec.Struct, frozen=True):
    """One line of a timeline; ``rank`` orders what happened at one instant."""

    at: int
    rank: int
    what: dict[str, Any]


class News(msgspec.Struct, frozen=True):
    """One line of the feed, and when it was news."""

    at: int
    said_at: int
    what: dict[str, Any]


class Change(msgspec.Struct):
    """What the facts about one member come to."""

    life: Life
    counts: Counts = msgspec.field(default_factory=dict)
    active: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """Days on which the member was active, and its source: for distinct counts."""
    entries: list[Entry] = msgspec.field(default_factory=list)
    orders: dict[str, Order] = msgspec.field(default_factory=dict)
    """Orders that are new or other than they were."""
    contacts: dict[str, int] = msgspec.field(default_factory=dict)
    """Hashed contacts, and when they were told."""
    feed: list[News] = msgspec.field(default_factory=list)
    erase: bool = False
    """Whether what is stored of the member is to be erased first."""


Said: TypeAlias = Moved | HeldBack | Raised | Cancelled
"""Facts that are words of ours."""

Labels = Callable[[str, str], str]
"""Returns the label of a name (of a kind: ``source`` or ``reason``); they are bounded."""


def fold(
    raw: bytes | None,
    facts: Iterable[Fact],
    orders: dict[str, Order],
    labels: Labels,
    counted: bool = True,
    retelling: Retelling | None = None,
) -> Change:
    """Fold facts about one member into its packed life; ``orders`` are those named, as stored.

    They are changed in place: fold the members of a batch one after another with the same ones.
    With a ``retelling`` what we said is told in Chinese, too.
    What is not ``counted`` (test members) is told in the timeline and changes no counter.

    Raises ``ValueError`` when the bytes are no life.
    """
    change = Change(unpack(raw))
    folding = _Folding(change, orders, labels, retelling)
    for fact in facts:
        if fact.at <= change.life.erased:
            continue
        if isinstance(fact, Happened) and isinstance(fact.received.event, Erased):
            folding.erase(fact)
            continue
        folding.tell(fact)
        if counted:
            folding.count(fact)
    life = change.life
    # Most facts leave a life as it was, and with it all that it adds.
    if raw is None or pack(life) != raw:
        for counter, moved in difference(contributions(unpack(raw)), contributions(life)):
            folding.add(counter, moved)
        trim(life)
    return change


class _Folding:
    """The facts about one member, one after another."""

    def __init__(
        self,
        change: Change,
        orders: dict[str, Order],
        labels: Labels,
        retelling: Retelling | None,
    ) -> None:
        self.change = change
        self._orders = orders
        self._labels = labels
        self._retelling = retelling

    def add(self, counter: Counter, moved: int) -> None:
        counts = self.change.counts
        counts[counter] = counts.get(counter, 0) + moved

    def erase(self, fact: Happened) -> None:
        """Forget the member, and what was to be stored of it."""
        change = self.change
        change.life, change.erase = Life(erased=fact.at), True
        for told in (change.entries, change.orders, change.contacts, change.active, change.feed):
            told.clear()
        for name, order in list(self._orders.items()):
            if order.identity == fact.identity and not order.anonymous:
                del self._orders[name]

    # --- counting ---

    def count(self, fact: Fact) -> None:
        match fact:
            case Happened():
                self._event(fact)
            case Moved():
                self._move(fact)
            case Raised():
                if self._is_new(f"raised {fact.trigger_id}"):
                    self.add((NOW, "triggers"), 1)
                    self._rule(fact.rule, "triggers", fact.at)
                    if not fact.provoked:
                        self._treat(fact.rule, fact.stage, "treated", fact.at)
                    said = {"kind": "trigger", "rule": fact.rule, **self._words(fact)}
                    self._feed(fact, said, fact.raised_at)
            case Cancelled():
                if self._is_new(f"cancelled {fact.trigger_id}"):
                    sent = self._was_sent(fact)
                    # What the member did after the message had gone was not too early.
                    what = "settled" if sent else "cancelled"
                    self.add((NOW, what), 1)
                    self._rule(fact.rule, what, fact.at)
                    said = {"kind": "cancelled", "rule": fact.rule, **self._words(fact)}
                    self._feed(fact, {**said, "sent": True} if sent else said)
            case HeldBack():
                self._held_back(fact)
            case Scored():
                life = self.change.life
                if fact.day >= life.scored:
                    life.scored, life.expected = fact.day, cents(fact.expected)

    def _rule(self, rule: str, what: str, at: int) -> None:
        self.add((day_key(day_of(at)), f"rule|{rule}|{what}"), 1)

    def _treat(self, rule: str, stage: str, arm: str, at: int) -> None:
        if stage in ASLEEP:
            treat(self.change.life, rule, arm, day_of(at))

    def _held_back(self, fact: HeldBack) -> None:
        if fact.verdict == "backfill" or fact.verdict in UNDECIDED:
            return
        if self._is_new(f"{fact.rule} {fact.occasion} {fact.verdict} {fact.at}"):
            self._rule(fact.rule, "held_back", fact.at)
            if fact.verdict == "holdout" and not fact.anonymous:
                self._treat(fact.rule, fact.stage, "control", fact.at)

    def _is_new(self, said: str) -> bool:
        """Return whether this is said for the first time, as far as is remembered."""
        if self._was_said(said):
            return False
        life = self.change.life
        life.seen_ids = (life.seen_ids + _short(said))[-4 * KEPT_SEEN :]
        return True

    def _forget(self, said: str) -> None:
        life, name = self.change.life, _short(said)
        seen = life.seen_ids
        words = (seen[at : at + 4] for at in range(0, len(seen), 4))
        life.seen_ids = b"".join(word for word in words if word != name)

    def _was_said(self, said: str) -> bool:
        seen, name = self.change.life.seen_ids, _short(said)
        return any(seen[at : at + 4] == name for at in range(0, len(seen), 4))

    def _note_sent(self, event: Event) -> None:
        if isinstance(event, _LEFT) and event.trigger_id is not None:
            self._is_new(f"sent {event.trigger_id}")
        elif isinstance(event, NOT_ARRIVED):
            self._forget(f"sent {event.trigger_id}")

    def _was_sent(self, fact: Cancelled) -> bool:
        return self._was_said(f"sent {fact.trigger_id}")

    def _feed(self, fact: Fact, said: dict[str, Any], said_at: int = 0) -> None:
        if not fact.anonymous:
            what = {**said, "member_id": fact.identity}
            self.change.feed.append(News(fact.at, max(fact.at, said_at), what))

    # --- stages ---

    def _move(self, fact: Moved) -> None:
        life = self.change.life
        if fact.kind == "segment":
            return
        is_stage = fact.kind == "stage"
        now, since = (life.stage, life.stage_since) if is_stage else (life.band, life.band_since)
        # Transitions of a member never go back in time: what does is said again.
        if fact.at < since or (fact.at == since and now not in ("", fact.before)):
            return
        day = day_key(day_of(fact.at))
        if fact.anonymous and is_stage and fact.after == "lost":
            if fact.at > life.gone:
                self._lose(fact, day)
            return
        if not is_stage:
            self.add((day, f"band|{fact.before}>{fact.after}"), 1)
            life.band, life.band_since = fact.after, fact.at
            return
        path = f"{fact.before}>{fact.after}"
        self.add((day, f"move|{path}"), 1)
        self.add((NOW, f"moves|{path}"), 1)
        if since:
            self.add((day, f"dwell|{path}"), fact.at - since)
            self.add((day, f"dwelt|{path}"), 1)
        elif fact.before == "lead":
            life.left_lead, life.left_lead_for = fact.at, fact.after
        life.stage, life.stage_since = fact.after, fact.at
        if fact.after == "active":
            life.band, life.band_since = "light", fact.at
        life.entered.setdefault(fact.after, week_of(day_of(fact.at)))
        if not life.seen or fact.at < life.seen:
            life.seen = fact.at
        said = {"kind": "stage", "before": fact.before, "after": fact.after, **self._words(fact)}
        self._feed(fact, {**said, "stage": fact.after})

    def _lose(self, fact: Moved, day: str) -> None:
        path = f"{fact.before}>{fact.after}"
        self.add((day, f"move|{path}"), 1)
        self.add((NOW, f"moves|{path}"), 1)
        # A lead that was lost is nobody any more; should it come back, it is a new one.
        self.change.life = lose_lead(self.change.life, fact.at)

    # --- events ---

    def _event(self, fact: Happened) -> None:
        life, received, at = self.change.life, fact.received, fact.at
        kind, event = received.type, received.event
        self.add((NOW, "events"), 1)
        if fact.anonymous:
            note_lead(life, at)
        elif not life.seen or at < life.seen:
            life.seen = at
        told = bool(life.joined), life.source
        if not fact.anonymous:
            self._member_event(received, at)
        if isinstance(event, Purchased):
            self._order(fact, event)
        elif isinstance(event, Refunded):
            self._refund(fact, event)
        elif isinstance(event, OrderCancelled):
            self._cancel(event.order_id)
        if kind in ACTIVATING and (not life.activated or at < life.activated):
            life.activated = at
        day = day_of(at)
        is_new = not fact.anonymous and kind in EFFECTIVE and not is_active(life, day)
        if is_new:
            note_active(life, day)
        if life.joined:
            # Who joins, or turns out to come from elsewhere, was active there all the time.
            days = active_days(life) if told != (True, life.source) else [day] * is_new
            self.change.active += [(one, life.source or UNKNOWN) for one in days]

    def _member_event(self, received: Received, at: int) -> None:
        life, event = self.change.life, received.event
        match event:
            case Registered():
                if not life.registered or at < life.registered:
                    life.registered = at
                life.referred = life.referred or event.referred_by is not None
                self._sourced(event.campaign or event.source, at, told=True)
            case Purchased():
                self._sourced(event.source, at, told=False)
            case InviteAccepted():
                life.referrer = True
            case SurveyAnswered():
                reason = event.answers.get("reason")
                if isinstance(reason, str) and reason and at >= life.reason_at:
                    life.reason = self._labels("reason", reason[:LONGEST_WORD])
                    life.reason_at = at
            case Linked():
                if event.kind in CONTACT_KINDS and event.other_id is not None:
                    self._contact(event.other_id, at)
                elif event.anonymous_id is not None and self._is_new(f"link {event.anonymous_id}"):
                    self.add((day_key(day_of(at)), "linked"), 1)
            case ProfileChanged():
                for name in CONTACT_KINDS & (event.attributes or {}).keys():
                    self._contact((event.attributes or {})[name], at)

    def _sourced(self, source: str | None, at: int, told: bool) -> None:
        """Keep where the member came from: the first registration says, else the first order."""
        life = self.change.life
        if life.source and (life.source_told, -life.source_at) >= (told, -at):
            return
        life.source = self._labels("source", (source or UNKNOWN)[:LONGEST_WORD])
        life.source_at, life.source_told = at, told

    def _contact(self, digest: object, at: int) -> None:
        if isinstance(digest, str) and len(digest) == 64 and set(digest.lower()) <= _HEX:
            self.change.contacts[digest.lower()] = at

    # --- orders ---

    def _order(self, fact: Happened, event: Purchased) -> None:
        life, known = self.change.life, self._orders.get(event.order_id)
        owner = fact.identity, fact.anonymous
        if known is not None and (known.identity, known.anonymous) == owner:
            return
        total = cents(event.total)
        self._keep(event.order_id, Order(*owner, fact.at, total))
        day = day_key(day_of(fact.at))
        self.add((day, "orders"), 1)
        self.add((day, "sales"), total)
        life.orders += 1
        life.spend += total
        if not fact.anonymous:
            if not life.bought or fact.at < life.bought:
                life.bought, life.again = fact.at, life.bought
            elif not life.again or fact.at < life.again:
                life.again = fact.at

    def _refund(self, fact: Happened, event: Refunded) -> None:
        if event.event_id is not None and not self._is_new(f"event {event.event_id}"):
            return
        known = self._orders.get(event.order_id)
        amount = 0 if event.total is None else cents(event.total)
        if known is not None:
            left = 0 if known.cancelled else known.total - known.refunded
            amount = left if event.total is None else min(amount, left)
            known.refunded += amount
            self._keep(event.order_id, known)
        self.change.life.spend -= amount
        self.add((day_key(day_of(fact.at)), "refunds"), amount)

    def _cancel(self, order_id: str) -> None:
        known = self._orders.get(order_id)
        if known is None or known.cancelled:
            return
        left = known.total - known.refunded
        known.cancelled = True
        self._keep(order_id, known)
        life, day = self.change.life, day_key(day_of(known.at))
        life.orders -= 1
        life.spend -= left
        self.add((day, "orders"), -1)
        self.add((day, "sales"), -known.total)
        # What had been refunded is part of what did not come in after all.
        self.add((day, "refunds"), -known.refunded)

    def _keep(self, order_id: str, order: Order) -> None:
        self._orders[order_id] = self.change.orders[order_id] = order

    # --- the timeline ---

    def tell(self, fact: Fact) -> None:
        if fact.anonymous:
            return
        if isinstance(fact, Scored) and not self._is_other_score(fact):
            return
        if isinstance(fact, Happened):
            self._note_sent(fact.received.event)
        self.change.entries.append(Entry(fact.at, *self._told(fact)))

    def _is_other_score(self, fact: Scored) -> bool:
        """Return whether it was not told just now: every update says the prediction again."""
        life, said = self.change.life, f"{fact.day} {fact.churn:.4f} {fact.expected:.2f}"
        before, life.score_told = life.score_told, crc32(said.encode())
        return life.score_told != before

    def _told(self, fact: Fact) -> tuple[int, dict[str, Any]]:
        match fact:
            case Happened():
                return 1, {"kind": "event", "type": fact.received.type, **_of_event(fact.received)}
            case Moved():
                moved = {"before": fact.before, "after": fact.after}
                return 2, {"kind": fact.kind, **moved, **self._words(fact)}
            case HeldBack():
                return 3, {
                    "kind": "decision",
                    "rule": fact.rule,
                    "verdict": fact.verdict,
                    **self._words(fact, "why"),
                    **({"until": fact.until} if fact.until else {}),
                    "occasion": fact.occasion,
                }
            case Raised():
                said = {"kind": "trigger", "rule": fact.rule, "trigger_id": fact.trigger_id}
                return 4, {**said, **self._words(fact)}
            case Cancelled():
                said = {"kind": "cancelled", "rule": fact.rule, "trigger_id": fact.trigger_id}
                sent = {"sent": True} if self._was_sent(fact) else {}
                return 5, {**said, **sent, **self._words(fact)}
            case Scored():
                churn, expected = round(fact.churn, 4), round(fact.expected, 2)
                return 0, {"kind": "score", "churn": churn, "expected_value": expected}

    def _words(self, fact: Said, name: str = "text") -> dict[str, str]:
        """Return what was said in English, and in Chinese where there are words for it."""
        retell, chinese = self._retelling, None
        match fact:
            case Moved(why=said):
                chinese = retell and retell.move(said)
            case HeldBack(why=said, rule=rule) | Cancelled(reason=said, rule=rule):
                chinese = retell and retell.why(said, rule)
            case Raised(rule=rule, reason=reason):
                said = reason.text
                if retell is not None:
                    said, chinese = retell.trigger(
                        rule, fact.version, fact.at, fact.occasion, reason
                    )
        return {name: said, **({f"{name}_zh": chinese} if chinese else {})}


def _short(said: str) -> bytes:
    return crc32(said.encode()).to_bytes(4, "big")


def _of_event(received: Received) -> dict[str, Any]:
    """Return what is worth telling of an event; nothing that only the profile is for."""
    event = received.event
    told: dict[str, Any] = {}
    match event:
        case ItemViewed():
            told = {"item": event.item_id, "category": event.category, "amount": event.price}
        case CartAdded() | CartRemoved():
            told = {"item": event.item_id, "quantity": event.quantity, "amount": event.price}
        case Searched():
            told = {"query": event.query[:LONGEST_WORD]}
        case Purchased():
            items = [line.item_id for line in event.items[:3]]
            told = {"order": event.order_id, "amount": event.total, "currency": event.currency}
            told |= {"items": items or None, "lines": len(event.items) or None}
        case Refunded():
            told = {"order": event.order_id, "amount": event.total}
        case Registered():
            told = {"campaign": event.campaign, "referred": event.referred_by is not None or None}
        case ConsentChanged():
            told = {"channel": event.channel, "purpose": event.purpose, "granted": event.granted}
        case Linked():
            told = {"link": event.kind}
        case PointsChanged():
            told = {"points": event.balance}
        case TierChanged():
            told = {"tier": event.tier}
        case OfferGranted() | OfferRedeemed() | OfferExpired():
            told = {"offer": event.offer_id, "amount": event.value}
        case Tagged() | Untagged():
            told = {"tag": event.tag}
        case Muted():
            told = {"until": event.until, "why": event.reason, "by": event.by}
        case SurveyAnswered():
            reason = event.answers.get("reason")
            told = {"survey": event.survey_id}
            if isinstance(reason, str):
                told["reason"] = reason[:LONGEST_WORD]
        case CampaignJoined():
            told = {"campaign": event.campaign}
        case TicketOpened():
            told = {"ticket": event.ticket_id}
        case Shared():
            told = {"item": event.item_id}
        case _:
            for name in ("order_id", "channel", "trigger_id", "item_id", "rating"):
                value = getattr(event, name, None)
                if isinstance(value, str | int | float):
                    told[{"order_id": "order", "item_id": "item"}.get(name, name)] = value
    told["source"] = event.source
    if event.origin == "backfill":
        told["origin"] = "backfill"
    return {name: value for name, value in told.items() if value is not None}
