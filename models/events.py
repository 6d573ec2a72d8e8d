"""Events in: what upstream apps tell us, as frozen structs in one tagged union per topic.

The wire names follow the web-analytics convention (GA4); unknown fields are ignored. The topics'
order is the order of equal times everywhere: member, engagement, browse, cart, purchase.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
EventId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Label: TypeAlias = Annotated[str, Meta(max_length=256)]
Text: TypeAlias = Annotated[str, Meta(max_length=2048)]
Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e12)]
Quantity: TypeAlias = Annotated[float, Meta(gt=0, le=1e9)]
# RFC 3339 with an offset, or integer epoch milliseconds; the edge checks the offset and the range.
Instant: TypeAlias = datetime | int


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an order, a refund or a checkout."""

    item_id: Id
    category: Label | None = None
    quantity: Quantity = 1.0
    price: Amount | None = None


class Event(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=str.lower
):
    """The fields that every event has."""

    occurred_at: Instant
    member_id: Id | None = None
    anonymous_id: Id | None = None
    event_id: EventId | None = None
    source: Name | None = None
    origin: Literal["live", "backfill"] = "live"
    test: bool = False


# --- browse -----------------------------------------------------------------------------------


class Visited(Event, frozen=True, kw_only=True, tag="visit"):
    """The member came to a site, an app or a mini-program."""


class ItemViewed(Event, frozen=True, kw_only=True, tag="view_item"):
    """The member looked at one item."""

    item_id: Id
    category: Label | None = None
    price: Amount | None = None


class Searched(Event, frozen=True, kw_only=True, tag="search"):
    """The member searched the catalogue."""

    query: Text


# --- cart -------------------------------------------------------------------------------------


class CartAdded(Event, frozen=True, kw_only=True, tag="add_to_cart"):
    """The member put an item into the cart."""

    item_id: Id
    category: Label | None = None
    quantity: Quantity = 1.0
    price: Amount | None = None


class CartRemoved(Event, frozen=True, kw_only=True, tag="remove_from_cart"):
    """The member took an item out of the cart."""

    item_id: Id
    category: Label | None = None
    quantity: Quantity = 1.0
    price: Amount | None = None


class CheckoutBegun(Event, frozen=True, kw_only=True, tag="begin_checkout"):
    """The member went to pay."""

    items: tuple[Line, ...] = ()
    value: Amount | None = None
    url: Text | None = None


# --- purchase ---------------------------------------------------------------------------------


class Purchased(Event, frozen=True, kw_only=True, tag="purchase"):
    """An order was paid; ``total`` is without shipping and tax."""

    order_id: Id
    total: Amount
    currency: Annotated[str, Meta(min_length=3, max_length=3)] | None = None
    items: tuple[Line, ...] = ()
    coupon: Label | None = None
    discount: Amount | None = None
    store_id: Id | None = None
    staff_id: Id | None = None


class OrderPlaced(Event, frozen=True, kw_only=True, tag="order_placed"):
    """An order was placed and not paid yet."""

    order_id: Id
    total: Amount | None = None
    items: tuple[Line, ...] = ()


class OrderShipped(Event, frozen=True, kw_only=True, tag="order_shipped"):
    """An order left the house."""

    order_id: Id


class OrderDelivered(Event, frozen=True, kw_only=True, tag="order_delivered"):
    """An order arrived."""

    order_id: Id


class ReturnRequested(Event, frozen=True, kw_only=True, tag="return_requested"):
    """The member wants to send something back."""

    order_id: Id


class OrderCancelled(Event, frozen=True, kw_only=True, tag="cancel"):
    """An order was cancelled."""

    order_id: Id


class Refunded(Event, frozen=True, kw_only=True, tag="refund"):
    """Money went back; without ``total`` the whole order."""

    order_id: Id
    total: Amount | None = None
    items: tuple[Line, ...] = ()


# --- member -----------------------------------------------------------------------------------


class Registered(Event, frozen=True, kw_only=True, tag="register"):
    """A person became a member."""

    referred_by: Id | None = None
    campaign: Label | None = None


class ProfileChanged(Event, frozen=True, kw_only=True, tag="profile"):
    """What is known of the member changed; fields that are absent stay as they were."""

    # With a year or without one: MM-DD, or --MM-DD as in ISO 8601 and vCard.
    birthday: (
        Annotated[str, Meta(pattern=r"^([0-9]{4}-|--)?(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
        | None
    ) = None
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    locale: Annotated[str, Meta(min_length=2, max_length=35)] | None = None
    channels: Annotated[tuple[Name, ...], Meta(max_length=16)] | None = None
    # Only scalar values are kept.
    attributes: dict[Name, Any] | None = None


class ConsentChanged(Event, frozen=True, kw_only=True, tag="consent"):
    """Consent was given or refused for one channel (or ``all``) and one purpose."""

    channel: Name
    purpose: Literal["marketing", "service"]
    granted: bool


class Linked(Event, frozen=True, kw_only=True, tag="link"):
    """Two ids are one person: ``anonymous_id`` or ``other_id`` belongs to the member."""

    other_id: Id | None = None
    kind: Name | None = None


class PointsChanged(Event, frozen=True, kw_only=True, tag="points"):
    """The points balance, as the ledger upstream has it."""

    balance: Annotated[float, Meta(ge=-1e12, le=1e12)]
    expiring: Amount | None = None
    expires_at: Instant | None = None


class TierChanged(Event, frozen=True, kw_only=True, tag="tier"):
    """The member's tier and what is missing to the next."""

    tier: Name
    next_tier: Name | None = None
    missing: Amount | None = None
    review_at: Instant | None = None


class OfferGranted(Event, frozen=True, kw_only=True, tag="offer_granted"):
    """An offer was given to the member."""

    offer_id: Id
    value: Amount | None = None
    expires_at: Instant | None = None


class OfferRedeemed(Event, frozen=True, kw_only=True, tag="offer_redeemed"):
    """The member used an offer."""

    offer_id: Id
    value: Amount | None = None
    expires_at: Instant | None = None


class OfferExpired(Event, frozen=True, kw_only=True, tag="offer_expired"):
    """An offer ran out."""

    offer_id: Id
    value: Amount | None = None
    expires_at: Instant | None = None


class Muted(Event, frozen=True, kw_only=True, tag="mute"):
    """Nothing is to be sent to the member until an instant; one that is past ends a mute."""

    until: Instant
    # For the audit: whoever asks why finds them in the event.
    reason: Label | None = None
    by: Label | None = None


class Tagged(Event, frozen=True, kw_only=True, tag="tag"):
    """Somebody or something (``source``) knows something of the member, until an instant."""

    tag: Name
    reason: Label | None = None
    expires_at: Instant | None = None


class Untagged(Event, frozen=True, kw_only=True, tag="untag"):
    """What a tag says is no longer so."""

    tag: Name


class Erased(Event, frozen=True, kw_only=True, tag="erase"):
    """The member asked to be forgotten."""


# --- engagement -------------------------------------------------------------------------------


class _Message(Event, frozen=True, kw_only=True):
    channel: Name
    trigger_id: Annotated[str, Meta(max_length=64)] | None = None
    campaign: Label | None = None


class MessageSent(_Message, frozen=True, kw_only=True, tag="sent"):
    """A message left the gateway (or another campaign tool)."""


class MessageDelivered(_Message, frozen=True, kw_only=True, tag="delivered"):
    """A message arrived."""


class MessageFailed(_Message, frozen=True, kw_only=True, tag="failed"):
    """A message could not be sent."""


class MessageOpened(_Message, frozen=True, kw_only=True, tag="opened"):
    """A message was opened."""


class MessageClicked(_Message, frozen=True, kw_only=True, tag="clicked"):
    """A link in a message was followed."""


class MessageBounced(_Message, frozen=True, kw_only=True, tag="bounced"):
    """A message came back."""


NOT_ARRIVED = (MessageFailed, MessageBounced)
"""What says that a message did not reach the member."""


class Complained(_Message, frozen=True, kw_only=True, tag="complained"):
    """The member reported a message as unwanted."""


class Unsubscribed(_Message, frozen=True, kw_only=True, tag="unsubscribed"):
    """The member left a channel."""


class Reviewed(Event, frozen=True, kw_only=True, tag="review"):
    """The member wrote a review."""

    item_id: Id | None = None
    rating: float | None = None


class Rated(Event, frozen=True, kw_only=True, tag="rating"):
    """The member rated an item or an order."""

    item_id: Id | None = None
    rating: float | None = None


class Shared(Event, frozen=True, kw_only=True, tag="share"):
    """The member shared something."""

    item_id: Id | None = None


class Posted(Event, frozen=True, kw_only=True, tag="post"):
    """The member posted in the community."""


class Invited(Event, frozen=True, kw_only=True, tag="invite"):
    """The member invited somebody."""


class InviteAccepted(Event, frozen=True, kw_only=True, tag="invite_accepted"):
    """Somebody accepted the member's invitation."""


class Replied(Event, frozen=True, kw_only=True, tag="rsvp"):
    """The member answered an invitation to an occasion."""

    campaign: Label | None = None


class Attended(Event, frozen=True, kw_only=True, tag="attended"):
    """The member was there."""

    campaign: Label | None = None


class CampaignJoined(Event, frozen=True, kw_only=True, tag="campaign_join"):
    """The member joined an activity."""

    campaign: Label | None = None


class TicketOpened(Event, frozen=True, kw_only=True, tag="ticket_opened"):
    """The member has a problem with us."""

    ticket_id: Id | None = None


class TicketClosed(Event, frozen=True, kw_only=True, tag="ticket_closed"):
    """The problem is solved."""

    ticket_id: Id | None = None


class SurveyAnswered(Event, frozen=True, kw_only=True, tag="survey"):
    """The member answered a survey."""

    survey_id: Id
    answers: dict[str, Any]


# --- items (key = item id) --------------------------------------------------------------------


class Item(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="item"
):
    """One entry of the catalogue."""

    item_id: Id
    title: Label
    available: bool
    group_id: Id | None = None
    url: Text | None = None
    image_url: Text | None = None
    category: Label | None = None
    price: Amount | None = None
    currency: Annotated[str, Meta(min_length=3, max_length=3)] | None = None
    sensitive: bool = False


MemberEvent: TypeAlias = (
    Registered
    | ProfileChanged
    | ConsentChanged
    | Linked
    | PointsChanged
    | TierChanged
    | OfferGranted
    | OfferRedeemed
    | OfferExpired
    | Muted
    | Tagged
    | Untagged
    | Erased
)
EngagementEvent: TypeAlias = (
    MessageSent
    | MessageDelivered
    | MessageFailed
    | MessageOpened
    | MessageClicked
    | MessageBounced
    | Complained
    | Unsubscribed
    | Reviewed
    | Rated
    | Shared
    | Posted
    | Invited
    | InviteAccepted
    | Replied
    | Attended
    | CampaignJoined
    | TicketOpened
    | TicketClosed
    | SurveyAnswered
)
BrowseEvent: TypeAlias = Visited | ItemViewed | Searched
CartEvent: TypeAlias = CartAdded | CartRemoved | CheckoutBegun
PurchaseEvent: TypeAlias = (
    Purchased
    | OrderPlaced
    | OrderShipped
    | OrderDelivered
    | ReturnRequested
    | OrderCancelled
    | Refunded
)
AnyEvent: TypeAlias = MemberEvent | EngagementEvent | BrowseEvent | CartEvent | PurchaseEvent

# The member topics in the order of equal times.
UNION_OF: dict[str, object] = {
    "member": MemberEvent,
    "engagement": EngagementEvent,
    "browse": BrowseEvent,
    "cart": CartEvent,
    "purchase": PurchaseEvent,
}
MEMBER_TOPICS: tuple[str, ...] = tuple(UNION_OF)


def type_of(event_class: type[msgspec.Struct]) -> str:
    """Return the wire name of an event class."""
    tag = event_class.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


# Types that came later: their codes follow all others', for rows hold the codes.
_LATER: tuple[type[Event], ...] = (Muted, Tagged, Untagged)
CLASS_OF: dict[str, type[Event]] = {
    type_of(cls): cls
    for cls in sorted(
        (cls for union in UNION_OF.values() for cls in get_args(union)),
        key=lambda cls: _LATER.index(cls) if cls in _LATER else -1,
    )
}
TOPIC_OF: dict[str, str] = {
    type_of(cls): topic for topic, union in UNION_OF.items() for cls in get_args(union)
} | {"item": "items"}
# A stable small number per type, for counters in the member's row: append only, never reorder.
CODE_OF: dict[str, int] = {name: code for code, name in enumerate(CLASS_OF)}

# Opt-outs: even malformed ones stop marketing to the member that they name.
OPT_OUTS: frozenset[str] = frozenset({"unsubscribed", "complained", "consent"})
