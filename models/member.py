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

from collections.abc import Callable, Collection, Iterator
from copy import copy
from itertools import pairwise
from struct import Struct as Layout
from typing import Any, TypeAlias, TypeVar

import msgspec

from models.labels import Labels, Tag
from models.logs import Log
from models.marks import MARK_SHIFT, RANK_BITS
from models.rhythm import Rhythm
from models.stages import LEAD, NEVER
from models.standing import Contact, Held, OpenTrigger, Standing
from models.times import DAY

Upgrade: TypeAlias = Callable[[list[Any]], list[Any]]
K = TypeVar("K", str, int)


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


class CartChange(msgspec.Struct, array_like=True, gc=False):
    """A change of the cart that is younger than the allowed lateness."""

    mark: int
    item_id: str  # empty: an order emptied the cart
    quantity: float  # negative when taken out
    price: float | None = None


class RecentItem(msgspec.Struct, array_like=True, gc=False):
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
    body = _relative(member, member.newest >> RANK_BITS)
    row = header + _encoder.encode(body)
    if len(row) > MAX_ROW_BYTES:
        steps = _shed(body)
        while len(row) > MAX_ROW_BYTES and next(steps, True) is None:
            row = header + _encoder.encode(body)
    return row


def decode(row: bytes, identity: str, anonymous: bool) -> Member:
    """Return the member of a row. Raises ``UnknownVersion`` for a row of a newer program."""
    member = _decoder.decode(_body_of(row))
    base = member.newest >> RANK_BITS
    _make_told_absolute(member, base)
    _make_untold_absolute(member, base)
    member.id = identity
    member.anonymous = anonymous
    return member


def _body_of(row: bytes) -> bytes | memoryview:
    version = _version_of(row)
    body = memoryview(row)[HEADER_BYTES:]
    return body if version == VERSION else _upgraded(body, version)


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


def _relative(member: Member, base: int) -> Member:
    """Return what of a member stands in its row: instants relative to ``base``, and no id.

    Containers that hold no instants are the member's own. Small structs are tuples, which are
    written alike and made sooner.
    """
    row: Any = copy(member)
    row.id, row.anonymous = "", False
    row.advanced_to -= base
    row.stage_since = _past(row.stage_since, base)
    row.band_since = _past(row.band_since, base)
    row.first_seen = _past(row.first_seen, base)
    row.registered_at = _past(row.registered_at, base)
    row.last_activity = _past(row.last_activity, base)
    row.calendar_to = _past(row.calendar_to, base)
    if row.orders:
        row.orders = _gaps(row.orders, base)
    if row.ring:
        row.ring = _aged(row.ring, base)
    marks_base, places_base = base << MARK_SHIFT, base << RANK_BITS
    if row.tracks:
        # The sign of a mark says whether it arms; relative ones carry it in the lowest bit.
        row.tracks = {
            track: {
                key: [(abs(mark) - marks_base) << 1 | (mark < 0) for mark in marks]
                for key, marks in keys.items()
            }
            for track, keys in row.tracks.items()
        }
    if row.logs:
        row.logs = {
            watch: {key: _relative_log(log, base, marks_base) for key, log in logs.items()}
            for watch, logs in row.logs.items()
        }
    if row.seen:
        row.seen = {code: place - places_base for code, place in row.seen.items()}
    if row.recent:
        row.recent = [
            (item.at - base, item.item_id, item.price, item.category) for item in row.recent
        ]
    if row.cart_changes:
        row.cart_changes = [
            (change.mark - marks_base, change.item_id, change.quantity, change.price)
            for change in row.cart_changes
        ]
    if row.open:
        row.open = [_relative_trigger(trigger, base) for trigger in row.open]
    if row.raised:
        row.raised = {rule: due - base for rule, due in row.raised.items()}
    if row.standing is not None:
        row.standing = _relative_standing(row.standing, base)
    if row.labels is not None:
        row.labels = _relative_labels(row.labels, base)
    if row.score is not None:
        row.score = _relative_score(row.score, base // DAY)
    relative: Member = row
    return relative


def _make_told_absolute(member: Member, base: int) -> None:
    """Undo ``_relative`` in what readers are told of a member that a row gave."""
    member.advanced_to += base
    member.stage_since = _unpast(member.stage_since, base)
    member.band_since = _unpast(member.band_since, base)
    member.first_seen = _unpast(member.first_seen, base)
    member.registered_at = _unpast(member.registered_at, base)
    member.last_activity = _unpast(member.last_activity, base)
    member.calendar_to = _unpast(member.calendar_to, base)
    if member.orders:
        member.orders = _ungapped(member.orders, base)
    for item in member.recent:
        item.at += base
    for change in member.cart_changes:
        change.mark += base << MARK_SHIFT
    for trigger in member.open:
        _make_trigger_absolute(trigger, base)
    for rule in member.raised:
        member.raised[rule] += base
    if member.standing is not None:
        _make_standing_absolute(member.standing, base)
    if member.labels is not None:
        _make_labels_absolute(member.labels, base)
    if member.score is not None:
        _make_score_absolute(member.score, base // DAY)


def _make_untold_absolute(member: Member, base: int) -> None:
    """Undo ``_relative`` in the fields that ``UNTOLD`` names."""
    if member.ring:
        member.ring = _aged(member.ring, base)
    marks_base, places_base = base << MARK_SHIFT, base << RANK_BITS
    for keys in member.tracks.values():
        for key, marks in keys.items():
            keys[key] = [
                -((mark >> 1) + marks_base) if mark & 1 else (mark >> 1) + marks_base
                for mark in marks
            ]
    for logs in member.logs.values():
        for log in logs.values():
            log.times = [_unpast(time, base) for time in log.times]
            for seen in log.recent:
                seen.mark += marks_base
    for code in member.seen:
        member.seen[code] += places_base


def _relative_log(log: Log, base: int, marks_base: int) -> Log:
    recent: list[Any] = [(seen.mark - marks_base, seen.what, seen.id) for seen in log.recent]
    return Log([_past(time, base) for time in log.times], log.values, recent)


def _relative_trigger(trigger: OpenTrigger, base: int) -> OpenTrigger:
    row = copy(trigger)
    row.armed = row.armed and row.armed - (base << MARK_SHIFT)
    row.due -= base
    row.expires -= base
    return row


def _make_trigger_absolute(trigger: OpenTrigger, base: int) -> None:
    trigger.armed = trigger.armed and trigger.armed + (base << MARK_SHIFT)
    trigger.due += base
    trigger.expires += base


def _relative_score(score: Score, base: int) -> Score:
    # The day relative to the newest event's, the version to the day, raw to smoothed.
    row = copy(score)
    row.raw -= row.churn
    row.version = row.day - row.version
    row.day -= base
    return row


def _make_score_absolute(score: Score, base: int) -> None:
    score.raw += score.churn
    score.day += base
    score.version = score.day - score.version


def _relative_labels(labels: Labels, base: int) -> Labels:
    row = copy(labels)
    row.segments = {one: _past(since, base) for one, since in row.segments.items()}
    row.left = {
        one: (_past(since, base), _past(until, base)) for one, (since, until) in row.left.items()
    }
    places_base = base << RANK_BITS
    row.tags = {
        name: Tag(tag.said - places_base, _past(tag.until, base), tag.source, tag.reason)
        for name, tag in row.tags.items()
    }
    return row


def _make_labels_absolute(labels: Labels, base: int) -> None:
    for segment, since in labels.segments.items():
        labels.segments[segment] = _unpast(since, base)
    for segment, (since, until) in labels.left.items():
        labels.left[segment] = _unpast(since, base), _unpast(until, base)
    for tag in labels.tags.values():
        tag.said += base << RANK_BITS
        tag.until = _unpast(tag.until, base)


def _relative_standing(standing: Standing, base: int) -> Standing:
    row = copy(standing)
    places_base = base << RANK_BITS
    if row.contacts:
        row.contacts = [_relative_contact(contact, base) for contact in row.contacts]
    if row.held:
        row.held = [_relative_held(held, base) for held in row.held]
    row.muted_until = _past(row.muted_until, base)
    row.ticket_at = _past(row.ticket_at, base)
    row.complaint_at = _past(row.complaint_at, base)
    row.mute_said = row.mute_said and row.mute_said - places_base
    if row.reach:
        row.reach = _words_since(row.reach, -places_base)
    if row.returns:
        row.returns = _words_since(row.returns, -places_base)
    return row


def _relative_contact(contact: Contact, base: int) -> Contact:
    row = copy(contact)
    row.at -= base
    if row.words:
        row.words = _words_since(row.words, -base << RANK_BITS)
    return row


def _relative_held(held: Held, base: int) -> Held:
    row = copy(held)
    row.trigger = _relative_trigger(row.trigger, base)
    row.release -= base
    return row


def _make_standing_absolute(standing: Standing, base: int) -> None:
    places_base = base << RANK_BITS
    for contact in standing.contacts:
        contact.at += base
        contact.words = _words_since(contact.words, places_base)
    for held in standing.held:
        _make_trigger_absolute(held.trigger, base)
        held.release += base
    standing.muted_until = _unpast(standing.muted_until, base)
    standing.ticket_at = _unpast(standing.ticket_at, base)
    standing.complaint_at = _unpast(standing.complaint_at, base)
    standing.mute_said = standing.mute_said and standing.mute_said + places_base
    standing.reach = _words_since(standing.reach, places_base)
    standing.returns = _words_since(standing.returns, places_base)


def _words_since(words: dict[K, int], places: int) -> dict[K, int]:
    # A word is a place and, in the lowest bit, what was said.
    return {key: word + (places << 1) for key, word in words.items()}


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


def _decoder_without(left_out: Collection[str]) -> Any:
    """Return a decoder of members that leaves some fields as the bytes that they are."""
    fields = [
        (field.name, msgspec.Raw if field.name in left_out else field.type)
        for field in msgspec.structs.fields(Member)
    ]
    return msgspec.msgpack.Decoder(msgspec.defstruct("Part", fields, array_like=True))


UNTOLD = frozenset(
    {"applied", "totals", "ring", "ids", "tracks", "seen", "offers", "links", "logs"}
)
"""The fields that readers of the projection are told nothing of: a third of decoding a row."""

_told_decoder = _decoder_without(UNTOLD)


def decode_told(row: bytes, identity: str, anonymous: bool) -> Member:
    """Return the member of a row for readers: the fields of ``UNTOLD`` must not be looked at.

    Raises ``UnknownVersion``.
    """
    member: Member = _told_decoder.decode(_body_of(row))
    _make_told_absolute(member, member.newest >> RANK_BITS)
    member.id = identity
    member.anonymous = anonymous
    return member


# What MessagePack writes for None: labels, rhythm and score of who has none of them.
_NOTHING = b"\xc0\xc0\xc0"
_labels_decoder = _decoder_without(frozenset(Member.__struct_fields__) - {"labels"})


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
