"""A member's rhythm: what of the past a prediction is made from, in integers and about 40 bytes.

Time is whole UTC days, as epoch day numbers. A *purchase day* is a day with at least one purchase;
how often and when a member buys is told in purchase days, how much in cents. Each event takes
constant time. Numbers are rounded with each event and never in between, so that saving a row and
loading it again changes nothing; within a day the order of events does not matter.

A late purchase takes its place: the gap that it falls into becomes two. Only the longest gap is
not taken back, and a day from before the two last remembered ones counts with its money alone.
"""

from hashlib import blake2b
from math import log1p

import msgspec

# Decayed counts are kept in 64ths, one purchase day less (a member with one has zeros).
UNIT = 64
# Sums of log(1 + gap) and of its square are kept in these fractions.
LOG_UNIT = 64
SQUARE_UNIT = 16
# Purchase days are told apart for so many days before the last one.
MASK_DAYS = 32
# A gap counts as lapsed from its 31st day on: "own" asks how often a member has been away so long.
LAPSE = 30
# Half-lives in days of the four decayed counts of purchase days, of coupons and of browsing.
HALF_LIVES = (7, 14, 30, 90)
COUPON_LIFE = 30
BROWSE_LIVES = (3, 14, 30)

_FULL = (1 << MASK_DAYS) - 1


def _keeps(half_life: int) -> tuple[float, ...]:
    # Sixteen half-lives leave less than a hundred thousandth.
    return (*(2.0 ** (-days / half_life) for days in range(16 * half_life)), 0.0)


# KEEP[h][days] is what is left of a decayed count of half-life h; the last entry is for later.
KEEP: dict[int, tuple[float, ...]] = {
    life: _keeps(life) for life in sorted({*HALF_LIVES, COUPON_LIFE, *BROWSE_LIVES})
}


def kept(half_life: int, days: int) -> float:
    """Return which share of a decayed count is left after ``days``."""
    table = KEEP[half_life]
    return table[days] if days < len(table) else 0.0


class Looks(msgspec.Struct, array_like=True, frozen=True):
    """What a member browsed and put into the cart; absent for who never did.

    ``short``, ``middle``, ``long``: views decayed with half-lives 3, 14 and 30 days, in 64ths, as
    of ``day``, the last day with a view. ``cart_day``: the last day with something put in (0:
    never).
    """

    day: int = 0
    short: int = 0
    middle: int = 0
    long: int = 0
    cart_day: int = 0


class Rhythm(msgspec.Struct, array_like=True):
    """What is remembered of a member who has bought. Changed in place by its owner.

    Days are epoch days, counts of decay are as of the last purchase day.
    """

    first_day: int
    # Days from the first to the last purchase day: the sum of all gaps.
    span: int = 0
    # Purchase days after the first: the number of gaps.
    gaps: int = 0
    # Purchase days with half-lives 7, 14, 30 and 90 days, in 64ths, without the last one itself.
    week: int = 0
    fortnight: int = 0
    month: int = 0
    quarter: int = 0
    # Over all gaps: log(1 + gap) in 64ths, its square in 16ths, the longest, days beyond LAPSE.
    logs: int = 0
    squares: int = 0
    longest: int = 0
    lapsed: int = 0
    # Bit i: bought on the day i + 1 days before the last purchase day.
    mask: int = 0
    # Days from the last purchase day back to the newest one older than the mask; 0: there is none.
    older: int = 0
    # Cents: all purchases less refunds; decayed with half-life 90; those of the last purchase day.
    spent: int = 0
    spent_lately: int = 0
    basket: int = 0
    # Purchases with a coupon, half-life 30, in 64ths.
    coupons: int = 0
    looks: Looks | None = None

    @property
    def last_day(self) -> int:
        """The last purchase day."""
        return self.first_day + self.span

    @property
    def purchases(self) -> int:
        """How many purchase days there have been."""
        return self.gaps + 1


def bought(rhythm: Rhythm | None, day: int, cents: int, coupon: bool = False) -> Rhythm:
    """Take a purchase of ``cents`` on ``day`` into account; return the rhythm (the first: new)."""
    if rhythm is None:
        return Rhythm(
            day, spent=cents, spent_lately=cents, basket=cents, coupons=UNIT if coupon else 0
        )
    rhythm.spent += cents
    ahead = day - rhythm.first_day - rhythm.span
    if ahead > 0:
        _on(rhythm, ahead)
        rhythm.spent_lately = int(rhythm.spent_lately * kept(90, ahead) + 0.5) + cents
        rhythm.basket = cents
        coupons = int(rhythm.coupons * kept(COUPON_LIFE, ahead) + 0.5) if rhythm.coupons else 0
        rhythm.coupons = coupons + (UNIT if coupon else 0)
        return rhythm
    if ahead < 0:
        _insert(rhythm, -ahead)
        rhythm.spent_lately += int(cents * kept(90, -ahead) + 0.5)
    else:
        rhythm.spent_lately += cents
        rhythm.basket += cents
    if coupon:
        rhythm.coupons += int(UNIT * kept(COUPON_LIFE, -ahead) + 0.5)
    return rhythm


def _on(rhythm: Rhythm, gap: int) -> None:
    """Move on to a purchase day ``gap`` days after the last one."""
    rhythm.span += gap
    rhythm.gaps += 1
    rhythm.week = int((rhythm.week + UNIT) * kept(7, gap) + 0.5)
    rhythm.fortnight = int((rhythm.fortnight + UNIT) * kept(14, gap) + 0.5)
    rhythm.month = int((rhythm.month + UNIT) * kept(30, gap) + 0.5)
    rhythm.quarter = int((rhythm.quarter + UNIT) * kept(90, gap) + 0.5)
    _count(rhythm, gap, 1)
    shifted = (rhythm.mask << 1 | 1) << (gap - 1)
    fallen = shifted >> MASK_DAYS
    if fallen:
        rhythm.older = MASK_DAYS + (fallen & -fallen).bit_length()
    elif rhythm.older:
        rhythm.older += gap
    rhythm.mask = shifted & _FULL


def _count(rhythm: Rhythm, gap: int, sign: int) -> None:
    log = log1p(gap)
    rhythm.logs += sign * int(log * LOG_UNIT + 0.5)
    rhythm.squares += sign * int(log * log * SQUARE_UNIT + 0.5)
    if gap > LAPSE:
        rhythm.lapsed += sign * (gap - LAPSE)
    if sign > 0 and gap > rhythm.longest:
        rhythm.longest = gap


def _insert(rhythm: Rhythm, back: int) -> None:
    """Give a day ``back`` days before the last purchase day its place, if it is a new one."""
    if back > rhythm.span:
        _count(rhythm, back - rhythm.span, 1)
        rhythm.first_day -= back - rhythm.span
        rhythm.span = back
    else:
        between = _neighbours(rhythm, back)
        if between is None:
            return
        newer, older = between
        _count(rhythm, older - newer, -1)
        _count(rhythm, older - back, 1)
        _count(rhythm, back - newer, 1)
    rhythm.gaps += 1
    rhythm.week += int(UNIT * kept(7, back) + 0.5)
    rhythm.fortnight += int(UNIT * kept(14, back) + 0.5)
    rhythm.month += int(UNIT * kept(30, back) + 0.5)
    rhythm.quarter += int(UNIT * kept(90, back) + 0.5)
    if back <= MASK_DAYS:
        rhythm.mask |= 1 << (back - 1)
    elif not rhythm.older or back < rhythm.older:
        rhythm.older = back


def _neighbours(rhythm: Rhythm, back: int) -> tuple[int, int] | None:
    """Return how far back the purchase days around ``back`` are; None if it is one or unknown."""
    if back > MASK_DAYS:
        if not rhythm.older or back >= rhythm.older:
            return None
        return rhythm.mask.bit_length(), rhythm.older
    if rhythm.mask >> (back - 1) & 1:
        return None
    newer = (rhythm.mask & ((1 << (back - 1)) - 1)).bit_length()
    beyond = rhythm.mask >> back
    if beyond:
        return newer, back + (beyond & -beyond).bit_length()
    return (newer, rhythm.older) if rhythm.older else None


def refunded(rhythm: Rhythm, cents: int) -> None:
    """Take money back that was spent before; the purchase day stays one."""
    rhythm.spent -= cents


def looked(rhythm: Rhythm, day: int) -> None:
    """Take one view on ``day`` into account."""
    looks = rhythm.looks or Looks(day)
    ahead = day - looks.day
    if ahead < 0:
        rhythm.looks = msgspec.structs.replace(
            looks,
            short=looks.short + int(UNIT * kept(3, -ahead) + 0.5),
            middle=looks.middle + int(UNIT * kept(14, -ahead) + 0.5),
            long=looks.long + int(UNIT * kept(30, -ahead) + 0.5),
        )
        return
    rhythm.looks = Looks(
        day,
        int(looks.short * kept(3, ahead) + 0.5) + UNIT,
        int(looks.middle * kept(14, ahead) + 0.5) + UNIT,
        int(looks.long * kept(30, ahead) + 0.5) + UNIT,
        looks.cart_day,
    )


def carted(rhythm: Rhythm, day: int) -> None:
    """Take something put into the cart on ``day`` into account."""
    looks = rhythm.looks
    if looks is None:
        rhythm.looks = Looks(cart_day=day)
    elif day > looks.cart_day:
        rhythm.looks = msgspec.structs.replace(looks, cart_day=day)


def member_number(member_id: str) -> int:
    """Return 63 bits that stand for a member where the id itself may not be kept."""
    return int.from_bytes(blake2b(member_id.encode(), digest_size=8).digest(), "big") >> 1


def asked_on(number: int, day: int) -> bool:
    """Return whether the member of this number is asked at the end of ``day``: once a week."""
    return (number + day) % 7 == 0
