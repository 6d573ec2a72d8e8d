"""What a candidate is about, in money: of two that are equally important the greater goes first."""

from models.facts import cart_of
from models.member import Member
from models.outcome import Candidate
from models.predicted import predicted
from models.rules import Absence, EventHappens, Pattern

_OF_THE_CART = frozenset({"add_to_cart", "begin_checkout"})


def stake_of(member: Member, candidate: Candidate) -> float:
    """Return the money at stake, in units of the currency; 0 where nothing is known of it.

    Of a rule about an item what the item costs, in the cart as many as lie there; of a rule about
    the cart what is in it; of any other the expected value that would be lost, were the member to
    leave: churn probability times expected value.
    """
    if getattr(candidate.rule.when, "same", None) == "item_id":
        return _price_of(member, candidate.key)
    if _OF_THE_CART & {pattern.type for pattern in _begun_by(candidate)}:
        return sum((quantity or 0) * (price or 0) for quantity, price in cart_of(member).values())
    value = predicted(member, "expected_value")
    return 0.0 if value is None else value * (predicted(member, "churn") or 0.0)


def _begun_by(candidate: Candidate) -> tuple[Pattern, ...]:
    match candidate.rule.when:
        case EventHappens(pattern=pattern):
            return (pattern,)
        case Absence(after=after):
            return after
        case _:
            return ()


def _price_of(member: Member, item: str) -> float:
    in_cart = cart_of(member).get(item)
    if in_cart is not None:
        quantity, price = in_cart
        return (quantity or 0) * (price or 0)
    return next((seen.price or 0.0 for seen in member.recent if seen.item_id == item), 0.0)
