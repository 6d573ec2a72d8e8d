"""What is kept of one member for the lifecycle metrics, and what it adds to each of them.

A ``Life`` is folded from facts that may arrive in any order (topics are read side by side), so it
holds only what does not depend on the order: least instants, sets, sums. What a life adds to the
counters is a function of the life alone: a fact moves them by the difference that it makes.
Thus an earlier registration that is heard of later moves a member from one cohort to another, and
an erased member takes away all that it had added. Definitions: ``docs/lifecycle-metrics.md``.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from models.facts import ACTIVITY
from models.times import DAY

TAKES_PART: frozenset[str] = frozenset(
    {"review", "rating", "share", "post", "invite", "rsvp", "attended", "campaign_join", "survey"}
)
"""What a member does beside looking and buying."""

EFFECTIVE: frozenset[str] = ACTIVITY | TAKES_PART | {"clicked"}
"""What makes a member active on a day: browsing, clicking, buying, taking part."""

ACTIVATING: frozenset[str] = TAKES_PART | {"add_to_cart", "begin_checkout", "purchase"}
"""What activates a new member: a first order, or more of an interaction than looking."""

ACTIVATION_WINDOW = 7 * DAY
REACTIVATION_DAYS = 14
"""Days after that of the trigger on which coming back counts as its effect."""
EVERY = "*"
"""In the place of a rule's name: of all rules together."""
ASLEEP: frozenset[str] = frozenset({"dormant", "lost"})
JOINED = "member"
"""The cohort of all who joined in a week, beside those who entered a stage."""
COHORT_WEEKS = 52
KEPT_DAYS = 400
"""Days of activity that a life remembers; more than a year, for the 52nd week of a cohort."""
KEPT_TREATED = 16
KEPT_SEEN = 48
UNKNOWN = "unknown"
OTHER = "other"

Counter: TypeAlias = tuple[str, str]
"""A hash of counters and the field in it; see ``docs/lifecycle-metrics.md``."""
Counts: TypeAlias = dict[Counter, int]

NOW = "now"


class Treated(msgspec.Struct, array_like=True, frozen=True):
    """A sleeping member was sent a trigger (``treated``) or was held out of one (``control``).

    It opens a window, in which the member counts once for the rule; and once for ``EVERY``.
    """

    rule: str
    arm: str
    day: int


class Life(msgspec.Struct, array_like=True):
    """One member; instants are epoch milliseconds (0: never), money is cents."""

    version: int = 1
    seen: int = 0
    registered: int = 0
    bought: int = 0
    again: int = 0
    """The second order, by time."""
    activated: int = 0
    """The first of ``ACTIVATING``."""
    orders: int = 0
    spend: int = 0
    """Paid, less what was cancelled and refunded."""
    source: str = ""
    source_at: int = 0
    source_told: bool = False
    """Whether a registration told it, which counts more than an order."""
    stage: str = ""
    stage_since: int = 0
    band: str = ""
    band_since: int = 0
    left_lead: int = 0
    left_lead_for: str = ""
    entered: dict[str, int] = msgspec.field(default_factory=dict)
    """The week in which each stage was entered for the first time."""
    first_day: int = 0
    days: bytes = b""
    """Bits of active days, the lowest of the first byte being ``first_day``."""
    treated: list[Treated] = msgspec.field(default_factory=list)
    reason: str = ""
    """The reason for leaving that was stated last."""
    reason_at: int = 0
    referred: bool = False
    referrer: bool = False
    expected: int = 0
    """What the next 90 days are expected to bring."""
    scored: int = 0
    """The day of that prediction."""
    seen_ids: bytes = b""
    """Four bytes each of what was counted last, which may be said again."""
    erased: int = 0
    """What happened up to this instant is forgotten."""
    score_told: int = 0
    """A checksum of the prediction that the timeline told last."""
    gone: int = 0
    """When a lead was lost; signs of life on an earlier day are those of the lead that was."""

    @property
    def joined(self) -> int:
        """Return when the member joined: registered or ordered, whichever came first."""
        if self.registered and self.bought:
            return min(self.registered, self.bought)
        return self.registered or self.bought


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Life)


def pack(life: Life) -> bytes:
    """Return the bytes of a life."""
    return _encoder.encode(life)


def unpack(raw: bytes | None) -> Life:
    """Return the life of these bytes, a new one for None.

    Raises ``ValueError`` when they are no life.
    """
    return Life() if raw is None else _decoder.decode(raw)


def day_of(at: int) -> int:
    """Return the UTC day of an instant, counted from 1970."""
    return at // DAY


def week_of(day: int) -> int:
    """Return the week of a day, Monday to Sunday, counted from that of 1 January 1970."""
    return (day + 3) // 7


def day_key(day: int) -> str:
    """Return the name of a day's counters."""
    return f"day:{day}"


def treat(life: Life, rule: str, arm: str, day: int) -> None:
    """Note that a sleeping member was treated by a rule, or held out, outside an open window."""
    for name in (rule, EVERY):
        if not any(
            (one.rule, one.arm) == (name, arm) and abs(one.day - day) <= REACTIVATION_DAYS
            for one in life.treated
        ):
            life.treated.append(Treated(name, arm, day))


# --- active days ---


def is_active(life: Life, day: int) -> bool:
    """Return whether the member is known to have been active on a day."""
    at = day - life.first_day
    return 0 <= at < 8 * len(life.days) and bool(life.days[at >> 3] >> (at & 7) & 1)


def note_lead(life: Life, at: int) -> None:
    """Note a sign of life of an anonymous id; one before the day of its loss is none any more."""
    day = day_of(at)
    if day < day_of(life.gone):
        return
    note_active(life, day)
    if not life.seen or at < life.seen:
        life.seen = at


def lose_lead(life: Life, at: int) -> Life:
    """Return what is kept of a lead that is lost at an instant: the loss, and what came after.

    By days, since days are what is remembered: what is read later, though it happened before the
    loss, makes nobody a lead again, and what was read before the loss, though it happened later,
    is of the lead that came back.
    """
    back = [day for day in active_days(life) if day >= day_of(at)]
    left = Life(gone=at, erased=life.erased, seen_ids=life.seen_ids)
    for day in back:
        note_active(left, day)
    if back:
        left.seen = max(life.seen, back[0] * DAY)
    return left


def note_active(life: Life, day: int) -> None:
    """Note a day of activity; one that lies too far behind the newest is not remembered."""
    if not life.days:
        life.first_day, life.days = day, b"\1"
        return
    bits, first = int.from_bytes(life.days, "little"), life.first_day
    if day < first:
        if first + bits.bit_length() - day > 2 * KEPT_DAYS:
            return
        bits, first = bits << (first - day), day
    bits |= 1 << (day - first)
    _keep(life, bits, first)


def trim(life: Life) -> None:
    """Forget what is too old to change any counter; the counters keep what it had added."""
    length = 8 * len(life.days)
    if length > KEPT_DAYS + 8:
        bits = int.from_bytes(life.days, "little")
        old = bits.bit_length() - KEPT_DAYS
        if old > 0:
            _keep(life, bits >> old, life.first_day + old)
    del life.treated[:-KEPT_TREATED]


def _keep(life: Life, bits: int, first: int) -> None:
    low = (bits & -bits).bit_length() - 1
    bits >>= low
    life.first_day = first + low
    life.days = bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def active_days(life: Life) -> Iterator[int]:
    """Yield the days on which the member was active, in order."""
    bits, first = int.from_bytes(life.days, "little"), life.first_day
    while bits:
        low = bits & -bits
        yield first + low.bit_length() - 1
        bits ^= low


# --- what it adds ---


def contributions(life: Life) -> Counts:
    """Return all that a life adds to the counters."""
    counts: Counts = {}
    _reactivation(life, counts)
    if not life.seen:
        return counts
    stage, joined = life.stage or "lead", life.joined
    counts[NOW, f"stage|{stage}"] = 1
    seen_on = day_key(day_of(life.seen))
    counts[seen_on, "heard"] = 1
    if not joined or life.seen < joined:
        counts[seen_on, "leads"] = 1
        if joined:
            counts[seen_on, "leads_joined"] = 1
    if life.left_lead >= life.seen:
        left = day_key(day_of(life.left_lead))
        counts[left, f"dwell|lead>{life.left_lead_for}"] = life.left_lead - life.seen
        counts[left, f"dwelt|lead>{life.left_lead_for}"] = 1
    if joined:
        _of_member(life, stage, joined, counts)
    _retention(life, joined, counts)
    return counts


def _reactivation(life: Life, counts: Counts) -> None:
    for one in life.treated:
        key, name = day_key(one.day), f"{one.rule}|{one.arm}"
        counts[key, f"asleep|{name}"] = counts.get((key, f"asleep|{name}"), 0) + 1
        if any(is_active(life, day) for day in range(one.day, one.day + REACTIVATION_DAYS + 1)):
            counts[key, f"woken|{name}"] = counts.get((key, f"woken|{name}"), 0) + 1


def _of_member(life: Life, stage: str, joined: int, counts: Counts) -> None:
    source, joined_on = life.source or UNKNOWN, day_key(day_of(joined))
    counts[NOW, f"members|{source}"] = 1
    counts[NOW, f"members_in|{stage}"] = 1
    counts[joined_on, f"joined|{source}"] = 1
    if life.activated and life.activated <= joined + ACTIVATION_WINDOW:
        counts[joined_on, f"activated|{source}"] = 1
    if life.referred:
        counts[joined_on, "referred"] = 1
    if life.referrer:
        counts[NOW, "referrers"] = 1
    if life.bought:
        counts[NOW, f"buyers|{source}"] = 1
        counts[NOW, f"buyers_in|{stage}"] = 1
        counts[NOW, f"spend|{source}"] = life.spend
        counts[NOW, f"spend_in|{stage}"] = life.spend
        if life.again:
            counts[NOW, f"repeaters|{source}"] = 1
    if life.expected:
        counts[NOW, f"expected|{source}"] = life.expected
        counts[NOW, f"expected_in|{stage}"] = life.expected
    if stage == "active":
        counts[NOW, f"band|{life.band or 'light'}"] = 1
    if life.reason:
        counts[NOW, f"reason|{stage}|{life.reason}"] = 1


def _retention(life: Life, joined: int, counts: Counts) -> None:
    entered: Mapping[str, int] = life.entered
    if joined:
        entered = {**entered, JOINED: week_of(day_of(joined))}
    if not entered:
        return
    weeks = {week_of(day) for day in active_days(life)}
    for stage, entry in entered.items():
        cohort = f"cohort:{stage}:{entry}"
        counts[cohort, "n"] = 1
        for week in weeks:
            if 0 <= week - entry <= COHORT_WEEKS:
                counts[cohort, str(week - entry)] = 1


def difference(before: Counts, after: Counts) -> Iterator[tuple[Counter, int]]:
    """Yield by how much each counter moves from one set of contributions to another."""
    for counter, count in after.items():
        if (moved := count - before.get(counter, 0)) != 0:
            yield counter, moved
    for counter, count in before.items():
        if counter not in after and count:
            yield counter, -count
