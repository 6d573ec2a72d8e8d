"""What an event changes in a member, apart from deadlines, stages and rules.

Everything here gives the same state for events in any order within the allowed lateness: counts
add up, "last" takes the greater instant, the cart is replayed from its recent changes, and what was
said about the member keeps the latest word.
"""

import math
from zlib import crc32

from models.decoding import Received, instant
from models.events import (
    CODE_OF,
    CartAdded,
    CartRemoved,
    Complained,
    ConsentChanged,
    ItemViewed,
    Linked,
    OfferExpired,
    OfferGranted,
    OfferRedeemed,
    OrderCancelled,
    PointsChanged,
    ProfileChanged,
    Purchased,
    Refunded,
    Registered,
    TicketClosed,
    TicketOpened,
    TierChanged,
    Unsubscribed,
)
from models.ids import name_hash
from models.marks import at_of, mark, place, place_of
from models.member import (
    CELL,
    KEPT_CART,
    KEPT_ITEMS,
    KEPT_LINKS,
    KEPT_OFFERS,
    KEPT_ORDERS,
    KEPT_PROFILE,
    CartChange,
    Loyalty,
    Member,
    RecentItem,
)
from models.rules import FACT_CODE
from models.times import DAY, MAX_INSTANT

CART_EMPTIED = FACT_CODE["cart_emptied"]
CELLS = 13  # of 28 days: a year
# So that a year that begins within a cell is whole, also as of an order that comes late, and while
# the oldest cell lasts.
KEPT_CELLS = CELLS + 3
HALF_LIFE = 30 * DAY
ALL_CHANNELS = "all"
KEPT_CONSENT = 32
LONGEST_CHANNEL = 64  # bytes, with the purpose

# What counts as activity: a visit, a view, a search, a cart or an order.
ACTIVITY: frozenset[str] = frozenset(
    {
        "visit",
        "view_item",
        "search",
        "add_to_cart",
        "remove_from_cart",
        "begin_checkout",
        "purchase",
    }
)


def cents(amount: float) -> int:
    """Return money in cents, half to even."""
    return round(amount * 100)


def fold(member: Member, received: Received, lateness: int) -> tuple[str, ...]:
    """Fold one event into the member; return the facts that it is: its type and derived ones."""
    event, at, kind = received.event, received.at, received.type
    where = place(at, received.rank)
    member.counts[CODE_OF[kind]] = member.counts.get(CODE_OF[kind], 0) + 1
    if member.first_seen == 0 or at < member.first_seen:
        member.first_seen = at
    _decay(member, at)
    if kind in ACTIVITY and at > member.last_activity:
        member.last_activity = at
    facts: tuple[str, ...] = (kind,)
    match event:
        case ItemViewed():
            _view(member, event, at)
        case CartAdded() | CartRemoved():
            sign = 1 if isinstance(event, CartAdded) else -1
            change = CartChange(_mark(received), event.item_id, sign * event.quantity, event.price)
            if _change_cart(member, [change], lateness):
                facts = (kind, "cart_emptied")
        case Purchased():
            _order(member, event, at)
            # A line that is not in the cart matters to what may arrive late. Who never filled a
            # cart (store customers have long orders) is spared the bytes: the order ends whatever
            # may have been in it.
            at_once = _mark(received)
            changes = [CartChange(at_once, "", 0.0)]
            if event.items and member.counts.get(CODE_OF["add_to_cart"]):
                changes = [CartChange(at_once, x.item_id, -x.quantity) for x in event.items]
            if _change_cart(member, changes, lateness):
                facts = (kind, "cart_emptied")
        case Refunded():
            total = member.totals.get(name_hash(event.order_id), 0)
            member.refunded += total if event.total is None else cents(event.total)
        case OrderCancelled():
            member.refunded += member.totals.pop(name_hash(event.order_id), 0)
        case Registered():
            if member.registered_at == 0 or at < member.registered_at:
                member.registered_at = at
                member.acquired = (event.source, event.campaign)
                if member.acquired == (None, None):
                    member.acquired = None
        case ProfileChanged():
            _profile(member, event, at)
        case ConsentChanged():
            _say_consent(member, f"{event.purpose}:{event.channel}", event.granted, where)
        case Unsubscribed():
            _say_consent(member, f"marketing:{event.channel}", False, where)
        case Complained():
            _say_consent(member, f"marketing:{ALL_CHANNELS}", False, where)
        case Linked():
            other = event.other_id or event.anonymous_id
            if other is not None and other not in member.links:
                member.links = [*member.links, other][-KEPT_LINKS:]
        case PointsChanged() | TierChanged():
            _loyalty(member, event, at)
        case OfferGranted():
            ends = MAX_INSTANT if event.expires_at is None else instant(event.expires_at, "$")
            member.offers[event.offer_id] = ends
            while len(member.offers) > KEPT_OFFERS:
                del member.offers[min(member.offers, key=member.offers.__getitem__)]
        case OfferRedeemed() | OfferExpired():
            member.offers.pop(event.offer_id, None)
        case TicketOpened():
            member.tickets += 1
        case TicketClosed():
            member.tickets = max(0, member.tickets - 1)
        case _:
            pass
    return facts


def _mark(received: Received) -> int:
    return mark(received.at, received.rank, CODE_OF[received.type], False)


def _decay(member: Member, at: int) -> None:
    newest = member.newest >> 3
    if at >= newest:
        member.activity = round(member.activity * math.exp2((newest - at) / HALF_LIFE)) + 1000
    else:
        member.activity += round(1000 * math.exp2((at - newest) / HALF_LIFE))


def _view(member: Member, event: ItemViewed, at: int) -> None:
    items = member.recent
    for index, item in enumerate(items):
        if item.item_id == event.item_id:
            if item.at > at:
                return
            del items[index]
            break
    items.append(RecentItem(at, event.item_id, event.price, event.category))
    if len(items) > 1 and items[-2].at > at:
        items.sort(key=lambda item: item.at)
    del items[:-KEPT_ITEMS]


def _order(member: Member, event: Purchased, at: int) -> None:
    orders = member.orders
    orders.append(at)
    if len(orders) > 1 and orders[-2] > at:
        orders.sort()
    del orders[:-KEPT_ORDERS]
    member.order_count += 1
    total = cents(event.total)
    member.spend += total
    member.totals[name_hash(event.order_id)] = total
    while len(member.totals) > 2:
        del member.totals[next(iter(member.totals))]
    member.ring = with_orders(member.ring, at // CELL, 1, total)


def with_orders(ring: list[int], cell: int, count: int, total: int) -> list[int]:
    """Return a ring with more in one cell; it forgets what is older than a year."""
    ring = ring[:]
    for index in range(0, len(ring), 3):
        if ring[index] == cell:
            ring[index + 1] += count
            ring[index + 2] += total
            break
    else:
        ring.extend((cell, count, total))
    oldest = max(ring[::3]) - KEPT_CELLS
    if min(ring[::3]) > oldest:
        return ring
    return [
        value
        for index in range(0, len(ring), 3)
        if ring[index] > oldest
        for value in ring[index : index + 3]
    ]


def turn_of(member_id: str) -> int:
    """Return how long a cell lasts beyond its end for a member, less than a day, in milliseconds.

    Cells begin for everybody at the same instant; were they to end so, a shop's segments would
    all move in one millisecond.
    """
    return crc32(member_id.encode()) % DAY


def totals_within(ring: list[int], within: int, turn: int, at: int) -> tuple[int, int]:
    """Return orders and cents of the cells from that of the window's begin to that of ``at``."""
    oldest, newest = (at - within - turn) // CELL, at // CELL
    orders = total = 0
    for index in range(0, len(ring), 3):
        if oldest <= ring[index] <= newest:
            orders += ring[index + 1]
            total += ring[index + 2]
    return orders, total


def leaves_at(cell: int, within: int, turn: int) -> int:
    """Return the instant from which on a cell no longer counts in a window."""
    return (cell + 1) * CELL + within + turn


def year_totals(member: Member, at: int) -> tuple[int, int]:
    """Return orders and cents of the last 364 days, to the cell of 28 days."""
    return totals_within(member.ring, CELLS * CELL, turn_of(member.id), at)


def activity_at(member: Member, at: int) -> float:
    """Return the decayed sum of events as of an instant."""
    return member.activity / 1000 * math.exp2(min(0.0, ((member.newest >> 3) - at) / HALF_LIFE))


def _change_cart(member: Member, changes: list[CartChange], lateness: int) -> bool:
    """Fold changes of the cart in order of time; tell whether they emptied it."""
    log = member.cart_changes
    before = bool(cart_of(member))
    where = place_of(changes[0].mark)
    followed = bool(log) and place_of(log[-1].mark) > where
    log.extend(changes)
    if followed:
        log.sort(key=lambda change: place_of(change.mark))
    emptied = before and not cart_of(member)
    if followed and not emptied:
        # It emptied the cart when it happened, or let a later one do so.
        earlier = [change for change in log if place_of(change.mark) <= where]
        then = _applied(member.cart, earlier[: -len(changes)])
        emptied = bool(then) and not _applied(then, changes)
    if followed:
        # An event that came late may have given a later one something to empty.
        later = _last_emptied(member.cart, log)
        if later > where:
            member.seen[CART_EMPTIED] = max(member.seen.get(CART_EMPTIED, 0), later)
    settle_cart(member, (member.newest >> 3) - lateness)
    while len(member.cart) > KEPT_CART:
        del member.cart[next(iter(member.cart))]
    return emptied


def _last_emptied(cart: dict[str, list[float | None]], changes: list[CartChange]) -> int:
    """Return the place of the last change that emptied the cart, 0 if none did."""
    cart, last = dict(cart), 0
    for change in changes:
        filled = bool(cart)
        _apply(cart, change)
        if filled and not cart:
            last = place_of(change.mark)
    return last


def settle_cart(member: Member, keep_from: int) -> None:
    """Fold the changes that are older than ``keep_from`` into the cart for good."""
    log = member.cart_changes
    settled = 0
    while settled < len(log) and (
        at_of(log[settled].mark) < keep_from or len(log) - settled > KEPT_CART
    ):
        _apply(member.cart, log[settled])
        settled += 1
    del log[:settled]


def _apply(cart: dict[str, list[float | None]], change: CartChange) -> None:
    if not change.item_id:
        cart.clear()
        return
    line = cart.get(change.item_id)
    quantity = change.quantity + (line[0] or 0 if line else 0)
    if quantity <= 0:
        cart.pop(change.item_id, None)
    else:
        price = change.price if change.price is not None else line[1] if line else None
        cart[change.item_id] = [quantity, price]


def cart_of(member: Member) -> dict[str, list[float | None]]:
    """Return the cart as it is now: item -> [quantity, price or None]."""
    if not member.cart_changes:
        return member.cart
    return _applied(member.cart, member.cart_changes)


def _applied(
    cart: dict[str, list[float | None]], changes: list[CartChange]
) -> dict[str, list[float | None]]:
    cart = {item: list(line) for item, line in cart.items()}
    for change in changes:
        _apply(cart, change)
    return cart


def _profile(member: Member, event: ProfileChanged, at: int) -> None:
    for name in ("birthday", "time_zone", "locale", "channels"):
        value = getattr(event, name)
        if value is not None:
            _say(member, name, value, at)
    for name, value in (event.attributes or {}).items():
        if value is not None and not isinstance(value, str | int | float):
            continue
        known = f"a.{name}" in member.profile
        if known or sum(key.startswith("a.") for key in member.profile) < KEPT_PROFILE:
            _say(member, f"a.{name}", value[:128] if isinstance(value, str) else value, at)


def _say(
    member: Member, name: str, value: str | float | bool | tuple[str, ...] | None, at: int
) -> None:
    said = member.profile.get(name)
    if said is None or said[1] <= at:
        member.profile[name] = (value, at)


def _say_consent(member: Member, name: str, granted: bool, where: int) -> None:
    said = member.consent.get(name)
    if said is not None and said[1] > where:
        return
    too_many = len(member.consent) >= KEPT_CONSENT or len(name.encode()) > LONGEST_CHANNEL
    if said is None and too_many:
        # More channels than anybody has: an opt-out must not be lost, so it closes them all.
        name = f"{name.partition(':')[0]}:{ALL_CHANNELS}"
        every = member.consent.get(name)
        if granted or (every is not None and every[1] > where):
            return
    member.consent[name] = (granted, where)


def refuses(member: Member, purpose: str, channel: str) -> bool:
    """Tell whether the member's latest word on a channel (or on all of them) is a refusal."""
    said = member.consent.get(f"{purpose}:{channel}")
    every = member.consent.get(f"{purpose}:{ALL_CHANNELS}")
    # At equal places the refusal wins.
    words = [(where, not granted) for granted, where in filter(None, (said, every))]
    return bool(words) and max(words)[1]


def opted_out(member: Member, purpose: str) -> tuple[str, ...]:
    """Return the channels that the member refuses; ``all`` stands for every one."""
    prefix = f"{purpose}:"
    channels = (name.removeprefix(prefix) for name in member.consent if name.startswith(prefix))
    return tuple(sorted(channel for channel in channels if refuses(member, purpose, channel)))


def _loyalty(member: Member, event: PointsChanged | TierChanged, at: int) -> None:
    loyalty = member.loyalty = member.loyalty or Loyalty()
    if isinstance(event, PointsChanged):
        if at >= loyalty.points_at:
            loyalty.points, loyalty.points_at, loyalty.expiring = event.balance, at, event.expiring
            ends = event.expires_at
            loyalty.expires_at = 0 if ends is None else instant(ends, "$.expires_at")
    elif at >= loyalty.tier_at:
        loyalty.tier, loyalty.tier_at, loyalty.next_tier = event.tier, at, event.next_tier
        loyalty.missing = event.missing
        ends = event.review_at
        loyalty.review_at = 0 if ends is None else instant(ends, "$.review_at")
