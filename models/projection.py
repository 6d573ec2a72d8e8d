"""The projection: what the serving store knows of a member, derived from the row alone."""

from models.events import CLASS_OF
from models.explaining import recent_items, said
from models.facts import activity_at, cart_of, opted_out
from models.marks import instant_of
from models.member import Member
from models.stages import BANDS, STAGES
from models.times import rfc3339
from models.triggers import ContextItem, MemberUpdate

_TYPES = tuple(CLASS_OF)
_ACTIVE = STAGES.index("active")


def project(member: Member, next_due: int | None) -> MemberUpdate:
    """Return the member's projection; ``next_due`` is the row's earliest deadline."""
    member_id = None if member.anonymous else member.id
    anonymous_id = member.id if member.anonymous else None
    if member.erased_until:
        at = rfc3339(member.advanced_to)
        return MemberUpdate(
            stage=STAGES[0],
            since=at,
            updated_at=at,
            erased=True,
            member_id=member_id,
            anonymous_id=anonymous_id,
        )
    loyalty = member.loyalty
    return MemberUpdate(
        stage=STAGES[member.stage],
        since=rfc3339(member.stage_since),
        updated_at=rfc3339(member.advanced_to),
        band=BANDS[member.band] if member.stage == _ACTIVE else None,
        registered_at=_moment(member.registered_at),
        orders=member.order_count,
        spend=member.spend / 100,
        refunded=member.refunded / 100,
        last_order_at=_moment(member.orders[-1]) if member.orders else None,
        last_activity_at=_moment(member.last_activity),
        next_deadline_at=None if next_due is None else rfc3339(next_due),
        activity_30d=round(activity_at(member, instant_of(member.newest)), 3),
        tier=loyalty.tier if loyalty else None,
        points=loyalty.points if loyalty else None,
        locale=said(member, "locale"),
        time_zone=said(member, "time_zone"),
        birthday=said(member, "birthday"),
        recent_items=recent_items(member),
        cart=tuple(
            ContextItem(item_id=item, quantity=quantity, price=price)
            for item, (quantity, price) in cart_of(member).items()
        ),
        opted_out=opted_out(member, "marketing"),
        open_triggers=tuple(trigger.id.hex() for trigger in member.open),
        counts={_TYPES[code]: count for code, count in member.counts.items()},
        member_id=member_id,
        anonymous_id=anonymous_id,
    )


def _moment(instant: int) -> str | None:
    return rfc3339(instant) if instant else None
