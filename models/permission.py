"""What stands between a candidate and a trigger: channels that are refused, orders made."""

from models.facts import opted_out, refuses
from models.member import Member
from models.rulebook import RuleBook
from models.rules import OrdersAtLeast, Rule


def channels_for(member: Member, rule: Rule, book: RuleBook) -> tuple[str, ...] | None:
    """Return the channels that may be used (empty: the gateway's choice), None if none is left."""
    wanted = wanted_channels(rule, book)
    if book.policy.consent is None:
        return wanted
    return _allowed(member, rule.purpose, wanted)


def wanted_channels(rule: Rule | None, book: RuleBook) -> tuple[str, ...]:
    """Return the channels of a rule that nobody refuses anything to."""
    return rule.channels if rule is not None and rule.channels else book.policy.channels


def _allowed(member: Member, purpose: str, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    if not member.consent:
        return wanted
    if not wanted:
        # Nobody says which channel it will be: any refusal closes it.
        return None if opted_out(member, purpose) else ()
    return tuple(c for c in wanted if not refuses(member, purpose, c)) or None


def has_ordered(member: Member, wanted: OrdersAtLeast, due: int) -> bool:
    """Tell whether the member ordered as often as ``wanted`` in the window that ends at ``due``."""
    count = sum(due - wanted.within <= order < due for order in member.orders)
    return count >= wanted.count
