"""One member: everything that is known, bounded, and its compact encoding.

A row is a fixed-place header, which recovery reads without decoding the rest, and a body:

====== ===== ==================================================
bytes  type  meaning
====== ===== ==================================================
0      u8    version of the encoding
1-8    i64   earliest deadline (epoch milliseconds), or NEVER
9      u8    stage (low 4 bits), band (high 4 bits)
10-13  u32   the rule book that the deadline was computed by
14-    body  MessagePack array of the fields of ``Member``
====== ===== ==================================================

Integers are big-endian. Instants inside the body are relative to the newest event's, which stands
absolute, so that they take few bytes; orders' each to the next one's.

The header is the same in every version. A body of an older version is upgraded when it is read,
one version at a time; a row of a newer one is refused (``docs/upgrades.md``).
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from struct import Struct as Layout
from typing import Any, TypeAlias

import msgspec

from models.labels import Labels
from models.logs import Log
from models.marks import MARK_SHIFT, RANK_BITS
from models.rhythm import Rhythm
from models.stages import LEAD, NEVER
from models.standing import OpenTrigger, Standing
from models.times import DAY

Upgrade: TypeAlias = Callable[[list[Any]], list[Any]]


def _to_version_2(fields: list[Any]) -> list[Any]:
    """Instants of orders were relative each, and cells of the ring absolute."""
    fields = fields[:]
    base = fields[_NEWEST] >> RANK_BITS
    fields[_ORDERS] = _gaps([_unpast(order, base) for order in fields[_ORDERS]], base)
    fields[_RING] = _aged(fields[_RING], base)
    # standing, logs, acquired, calendar_to, labels, rhythm, score
    return [*fields, None, {}, None, 0, None, None, None]


UPGRADES: tuple[Upgrade, ...] = (_to_version_2,)
"""The first turns the fields of a body of version 1 into those of version 2, and so on. They are
the fields as they stand in the body: instants relative, as ``Member`` lists them, no id. None is
ever removed: the row of a member who sleeps keeps its version for years."""

# Where in a body stands what upgrades change.
_NEWEST, _ORDERS, _RING = 3, 12, 17

VERSION = 1 + len(UPGRADES)
MAX_ROW_BYTES = 16_384
KEPT_ORDERS = 8
KEPT_IDS = 16
KEPT_ITEMS = 8
KEPT_CART = 50
KEPT_OPEN = 128
KEPT_RAISED = 256
KEPT_PROFILE = 16
KEPT_LINKS = 8
KEPT_OFFERS = 8
CELL = 28 * DAY

_HEADER = Layout(">BqBI")
HEADER_BYTES = _HEADER.size


class UnknownVersion(ValueError):
    """A row that this program cannot read, because a newer one wrote it. Nothing may be guessed."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"a member's row has version {version} of the state, and this program reads up to "
            f"{VERSION}: a newer program has worked here. Start that one; this one has changed "
            "nothing"
        )


class CartChange(msgspec.Struct, array_like=True):
    """A change of the cart that is younger than the allowed lateness."""

    mark: int
    item_id: str  # empty: an order emptied the cart
    quantity: float  # negative when taken out
    price: float | None = None


class RecentItem(msgspec.Struct, array_like=True):
    """An item that the member looked at."""

    at: int
    item_id: str
    price: float | None = None
    category: str | None = None


class Loyalty(msgspec.Struct, array_like=True):
    """Points and tier, as the ledger upstream has them, each with when it was said."""

    points: float | None = None
    points_at: int = 0
    expiring: float | None = None
    expires_at: int = 0
    tier: str | None = None
    tier_at: int = 0
    next_tier: str | None = None
    missing: float | None = None
    review_at: int = 0


class Score(msgspec.Struct, array_like=True):
    """What a model said of a member at the end of an epoch day."""

    # The probability that no purchase follows within the horizon, in ten-thousandths: smoothed,
    # which is what rules go by, and as it came from the model.
    churn: int
    raw: int
    # The model's version, which is the epoch day that it is valid from.
    version: int
    day: int
    # Expected value of the next 90 days, in cents.
    value: int = 0


class Member(msgspec.Struct, array_like=True):
    """The state of one member. Owned by the one ``handle`` that changes it.

    Instants are epoch milliseconds; 0 means never. Money is in cents.
    """

    # Whose it is: both are in the row's key, and empty inside a row.
    id: str
    anonymous: bool
    # The member's time: every deadline up to here has fired.
    advanced_to: int = 0
    # Place (time and rank) of the newest folded event.
    newest: int = 0
    # Last offset folded in, per member topic; -1 for none.
    applied: list[int] = msgspec.field(default_factory=lambda: [-1, -1, -1, -1, -1])
    stage: int = LEAD
    stage_since: int = 0
    band: int = 0
    band_since: int = 0
    first_seen: int = 0
    registered_at: int = 0
    last_activity: int = 0
    # Newest orders' times, oldest first; how many there ever were; what they came to.
    orders: list[int] = msgspec.field(default_factory=list)
    order_count: int = 0
    spend: int = 0
    refunded: int = 0
    # Totals of the newest orders by hash of order id, so that a cancellation can be priced.
    totals: dict[int, int] = msgspec.field(default_factory=dict)
    # Ring buffer of 28-day cells over a year: [cell number, orders, cents] one after another. In
    # a row the number says how many cells ago.
    ring: list[int] = msgspec.field(default_factory=list)
    # Events with half-life 30 days, in thousandths, as of the newest event. Rounded with each
    # event and never in between, so that saving a member changes nothing.
    activity: int = 0
    # How many events of each type (``events.CODE_OF``).
    counts: dict[int, int] = msgspec.field(default_factory=dict)
    # Hashes of the last event ids, 8 bytes each.
    ids: bytes = b""
    recent: list[RecentItem] = msgspec.field(default_factory=list)
    # The cart as it was an allowed lateness ago, [quantity, price] per item, and what came since.
    cart: dict[str, list[float | None]] = msgspec.field(default_factory=dict)
    cart_changes: list[CartChange] = msgspec.field(default_factory=list)
    # Absences: track -> key -> marks (see ``models.absence``).
    tracks: dict[int, dict[str, list[int]]] = msgspec.field(default_factory=dict)
    # Fact code -> place where it was seen last, for the allowed lateness.
    seen: dict[int, int] = msgspec.field(default_factory=dict)
    # Re-entry: due instant of the last trigger per rule, and per rule and key.
    raised: dict[int, int] = msgspec.field(default_factory=dict)
    raised_keys: dict[bytes, int] = msgspec.field(default_factory=dict)
    open: list[OpenTrigger] = msgspec.field(default_factory=list)
    # Field -> (value, when it was said); attributes as "a.NAME".
    profile: dict[str, tuple[str | float | bool | tuple[str, ...] | None, int]] = msgspec.field(
        default_factory=dict
    )
    # "purpose:channel" -> (granted, when it was said).
    consent: dict[str, tuple[bool, int]] = msgspec.field(default_factory=dict)
    loyalty: Loyalty | None = None
    tickets: int = 0
    offers: dict[str, int] = msgspec.field(default_factory=dict)
    links: list[str] = msgspec.field(default_factory=list)
    # History was folded until this instant: what it left already due raises nothing.
    backfilled_to: int = 0
    # Forgotten: only ``applied`` is left, until this instant (0: not erased; NEVER: kept).
    erased_until: int = 0
    # What policy remembers; None for most members.
    standing: Standing | None = None
    # What rules remember: watch -> key -> log (see ``models.logs``).
    logs: dict[int, dict[str, Log]] = msgspec.field(default_factory=dict)
    # Source and campaign of the first registration.
    acquired: tuple[str | None, str | None] | None = None
    # Calendar deadlines up to here are settled: they had expired long before anybody looked.
    calendar_to: int = 0
    # Segments and tags; None for who has none.
    labels: Labels | None = None
    # How the member buys, and what follows from it; None for who never bought.
    rhythm: Rhythm | None = None
    score: Score | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Member)


def encode(member: Member, next_due: int, book: int) -> bytes:
    """Return the row of a member.

    ``next_due`` is its earliest deadline (``NEVER`` for none) by the rule book of digest ``book``.
    """
    header = _HEADER.pack(VERSION, next_due, member.stage | member.band << 4, book)
    identity, anonymous = member.id, member.anonymous
    member.id, member.anonymous = "", False
    base = member.newest >> RANK_BITS
    _shift(member, base, _past)
    try:
        row = header + _encoder.encode(member)
        steps = _shed(member)
        while len(row) > MAX_ROW_BYTES and next(steps, True) is None:
            row = header + _encoder.encode(member)
    finally:
        _shift(member, base, _unpast)
        member.id, member.anonymous = identity, anonymous
    return row


def decode(row: bytes, identity: str, anonymous: bool) -> Member:
    """Return the member of a row. Raises ``UnknownVersion`` for a row of a newer program."""
    version = _version_of(row)
    body: bytes | memoryview = memoryview(row)[HEADER_BYTES:]
    if version < VERSION:
        body = _upgraded(body, version)
    member = _decoder.decode(body)
    _shift(member, member.newest >> RANK_BITS, _unpast)
    member.id = identity
    member.anonymous = anonymous
    return member


def _version_of(row: bytes) -> int:
    version = row[0]
    if not 0 < version <= VERSION:
        raise UnknownVersion(version)
    return version


def _upgraded(body: bytes | memoryview, version: int) -> bytes:
    fields = msgspec.msgpack.decode(body)
    for upgrade in UPGRADES[version - 1 :]:
        fields = upgrade(fields)
    return _encoder.encode(fields)


def _past(instant: int, base: int) -> int:
    # How long before ``base``, from 1; what is later is negative; 0 stays 0, which means never.
    past = base - instant
    return instant and (past + 1 if past >= 0 else past)


def _unpast(past: int, base: int) -> int:
    return past and base - (past - 1 if past > 0 else past)


def _gaps(orders: list[int], base: int) -> list[int]:
    # From each to the next, and from the last to ``base``.
    return [later - earlier for earlier, later in pairwise([*orders, base])]


def _ungapped(gaps: list[int], base: int) -> list[int]:
    orders = [base := base - gap for gap in reversed(gaps)]
    return orders[::-1]


def _aged(ring: list[int], base: int) -> list[int]:
    # How many cells before that of ``base``; of that again, the number of the cell.
    now = base // CELL
    return [number if index % 3 else now - number for index, number in enumerate(ring)]


def _shift(member: Member, base: int, turn: Callable[[int, int], int]) -> None:
    """Make the instants relative to the newest event's, or absolute again."""
    sign = -1 if turn is _past else 1
    member.advanced_to += sign * base
    member.stage_since = turn(member.stage_since, base)
    member.band_since = turn(member.band_since, base)
    member.first_seen = turn(member.first_seen, base)
    member.registered_at = turn(member.registered_at, base)
    member.last_activity = turn(member.last_activity, base)
    member.calendar_to = turn(member.calendar_to, base)
    if member.orders:
        member.orders = (_gaps if sign < 0 else _ungapped)(member.orders, base)
    if member.ring:
        member.ring = _aged(member.ring, base)
    shift = sign * (base << MARK_SHIFT)
    for keys in member.tracks.values():
        for marks in keys.values():
            # The sign of a mark says whether it arms; relative ones carry it in the lowest bit.
            for index, mark in enumerate(marks):
                if sign < 0:
                    marks[index] = (abs(mark) + shift) << 1 | (mark < 0)
                else:
                    whole = (mark >> 1) + shift
                    marks[index] = -whole if mark & 1 else whole
    for logs in member.logs.values():
        for log in logs.values():
            log.times = [turn(time, base) for time in log.times]
            for seen in log.recent:
                seen.mark += shift
    place_shift = sign * (base << RANK_BITS)
    for code in member.seen:
        member.seen[code] += place_shift
    for item in member.recent:
        item.at += sign * base
    for change in member.cart_changes:
        change.mark += shift
    for trigger in member.open:
        trigger.armed = trigger.armed and trigger.armed + shift
        trigger.due += sign * base
        trigger.expires += sign * base
    for rule in member.raised:
        member.raised[rule] += sign * base
    if member.standing is not None:
        _shift_standing(member.standing, base, turn)
    if member.labels is not None:
        _shift_labels(member.labels, base, turn)
    if member.score is not None:
        _shift_score(member.score, base // DAY, sign)


def _shift_score(score: Score, base: int, sign: int) -> None:
    # The day relative to the newest event's, the version to the day, raw to smoothed.
    if sign < 0:
        score.raw -= score.churn
        score.version = score.day - score.version
        score.day -= base
    else:
        score.raw += score.churn
        score.day += base
        score.version = score.day - score.version


def _shift_labels(labels: Labels, base: int, turn: Callable[[int, int], int]) -> None:
    for segment, since in labels.segments.items():
        labels.segments[segment] = turn(since, base)
    for segment, (since, until) in labels.left.items():
        labels.left[segment] = turn(since, base), turn(until, base)
    place_shift = (-base if turn is _past else base) << RANK_BITS
    for tag in labels.tags.values():
        tag.said += place_shift
        tag.until = turn(tag.until, base)


def _shift_standing(standing: Standing, base: int, turn: Callable[[int, int], int]) -> None:
    sign = -1 if turn is _past else 1
    place_shift = sign * (base << RANK_BITS)
    for contact in standing.contacts:
        contact.at += sign * base
        for channel in contact.words:
            contact.words[channel] += place_shift << 1
    for held in standing.held:
        trigger = held.trigger
        trigger.armed = trigger.armed and trigger.armed + sign * (base << MARK_SHIFT)
        trigger.due += sign * base
        trigger.expires += sign * base
        held.release += sign * base
    standing.muted_until = turn(standing.muted_until, base)
    standing.ticket_at = turn(standing.ticket_at, base)
    standing.complaint_at = turn(standing.complaint_at, base)
    standing.mute_said = standing.mute_said and standing.mute_said + place_shift
    for channel in standing.reach:
        standing.reach[channel] += place_shift << 1
    for order in standing.returns:
        standing.returns[order] += place_shift << 1


def due_of(row: bytes) -> int | None:
    """Return the earliest deadline of a row without decoding it; None for none.

    Raises ``UnknownVersion``.
    """
    _version_of(row)
    due = int.from_bytes(row[1:9], "big")
    return None if due >= NEVER else due


def book_of(row: bytes) -> int:
    """Return the digest of the rule book that a row's deadline was computed by.

    Raises ``UnknownVersion``.
    """
    _version_of(row)
    return int.from_bytes(row[10:14], "big")


def stage_of(row: bytes) -> int:
    """Return the number of the stage of a row without decoding it. Raises ``UnknownVersion``."""
    _version_of(row)
    return row[9] & 15


# What MessagePack writes for None: labels, rhythm and score of who has none of them.
_NOTHING = b"\xc0\xc0\xc0"
_LabelsAlone = msgspec.defstruct(
    "_LabelsAlone",
    [
        (name, Labels | None if name == "labels" else msgspec.Raw)
        for name in Member.__struct_fields__
    ],
    array_like=True,
)
_labels_decoder = msgspec.msgpack.Decoder(_LabelsAlone)


def labels_of(row: bytes) -> Labels | None:
    """Return what a row's member is told apart by, without decoding the rest; None for nothing.

    Instants are relative, as in the row. Raises ``UnknownVersion``.
    """
    if _version_of(row) < VERSION or row.endswith(_NOTHING):
        return None
    found: Any = _labels_decoder.decode(memoryview(row)[HEADER_BYTES:])
    labels: Labels | None = found.labels
    return labels


def _shed(member: Member) -> Iterator[None]:
    """Drop, step by step, what a member can live without: never a word of consent."""
    member.recent = []
    member.links = []
    member.totals = {}
    member.offers = {}
    member.profile = {
        name: said for name, said in member.profile.items() if not name.startswith("a.")
    }
    yield
    member.cart = {}
    member.cart_changes = []
    member.profile.pop("channels", None)
    for tag in member.labels.tags.values() if member.labels is not None else ():
        tag.reason = tag.source = None
    yield
    for kept in (128, 64, 32, 16, 8, 4, 2):
        for track, keys in member.tracks.items():
            # The lowest bit of a relative mark is its sign.
            newest = sorted(keys.items(), key=lambda entry: entry[1][-1] >> 1)[-kept:]
            member.tracks[track] = {key: marks[-1:] for key, marks in newest}
        for watch, logs in member.logs.items():
            fresh = sorted(logs.items(), key=lambda entry: _age(entry[1]))
            member.logs[watch] = dict(fresh[:kept])
        by_due = sorted(member.raised_keys.items(), key=lambda entry: entry[1])
        member.raised_keys = dict(by_due[-kept:])
        member.open = sorted(member.open, key=lambda trigger: trigger.expires)[-kept:]
        yield
    member.logs = {}
    yield


def _age(log: Log) -> int:
    # Of a log that is relative: how long before the newest event it was touched last.
    return 0 if log.recent else min((abs(time) for time in log.times if time), default=0)
