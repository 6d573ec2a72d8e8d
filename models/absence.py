"""Absence: "A, then not B with the same key within T", exactly.

A track keeps per key the marks of the events that arm (positive) or disarm (negative), in order.
Only the last one decides: an armed last mark at *a* is due at *a + within* for each rule of the
track. Dues up to the member's ``advanced_to`` have been dealt with. Where a deadline may pass while
an earlier event may still arrive in order (``within`` below the allowed lateness), the marks that
are younger than the allowed lateness are kept too.
"""

from bisect import bisect_right
from collections.abc import Iterator

from models.marks import MARK_SHIFT, at_of, instant_of, is_backfill, place_of
from models.member import Member
from models.rulebook import RuleBook, Track
from models.rules import FACT_CODE, Rule
from models.stages import NEVER

KEPT_MARKS = 16
# Bytes for keys and marks, of the 16 kB that a row may have: 256 keys of 36 characters (UUIDs).
KEY_BUDGET = 12_288
MARK_BYTES = 9
# A category of 256 characters, four bytes each, and its marks.
LONGEST_KEY = 1024 + MARK_BYTES * KEPT_MARKS
ANY_KEY = ""


def fold(marks: list[int], mark: int, arms: bool, short: bool, keep_from: int) -> int:
    """Put a mark into its place among ``marks``; return the index where it stands, -1 if dropped.

    ``arms`` wins over disarming: an event that does both ends the old deadline and starts a new.
    """
    if not short:
        newest = not marks or place_of(marks[-1]) <= place_of(mark)
        if newest:
            marks.append(mark if arms else -mark)
        del marks[:-1]
        return 0 if newest else -1
    index = bisect_right(marks, place_of(mark), key=place_of)
    marks.insert(index, mark if arms else -mark)
    drop = 0
    while len(marks) - drop > 1 and (
        at_of(marks[drop]) < keep_from or len(marks) - drop > KEPT_MARKS
    ):
        drop += 1
    del marks[:drop]
    return index - drop


def next_due(member: Member, book: RuleBook) -> int:
    """Return the earliest absence deadline that has not fired, or ``NEVER``."""
    earliest = NEVER
    done = member.advanced_to
    for track_id, keys in member.tracks.items():
        track = book.tracks.get(track_id)
        if track is None:
            continue
        for marks in keys.values():
            last = marks[-1]
            if last > 0:
                at = last >> MARK_SHIFT
                for within in track.withins:
                    due = at + within
                    if due > done:
                        if due < earliest:
                            earliest = due
                        break
    return earliest


def due_at(member: Member, book: RuleBook, instant: int) -> Iterator[tuple[Rule, str, int]]:
    """Yield rule, key and arming mark of each absence that is due at exactly ``instant``."""
    for track_id, keys in member.tracks.items():
        track = book.tracks.get(track_id)
        if track is None:
            continue
        for key, marks in keys.items():
            last = marks[-1]
            if last > 0:
                at = at_of(last)
                for within, rule in track.rules:
                    if at + within == instant:
                        yield rule, key, last


def is_silent(mark: int, due: int, member: Member) -> bool:
    """Tell whether history armed a deadline that was already due when it was loaded."""
    return is_backfill(mark) and due <= member.backfilled_to


def belated(marks: list[int], index: int, track: Track, done: int) -> Iterator[tuple[int, Rule]]:
    """Yield (due, rule) of the deadlines of the mark at ``index`` that passed before it arrived.

    Not those that were overtaken before they would have expired: what is raised now would stand.
    """
    at = at_of(marks[index])
    later = marks[index + 1 :]
    follower = at_of(later[0]) if later else NEVER
    ended = min((at_of(mark) for mark in later if mark < 0), default=NEVER)
    for within, rule in track.rules:
        due = at + within
        if due <= done and follower >= due and ended >= due + rule.expires_after:
            yield due, rule


def disarmed_by_any(keys: dict[str, list[int]], place: int) -> bool:
    """Tell whether an event that disarms every key stands after ``place``."""
    every = keys.get(ANY_KEY)
    return every is not None and every[-1] < 0 and place_of(every[-1]) > place


def fold_plain(member: Member, track: Track, mark: int, arms: bool) -> tuple[list[int], int]:
    """Fold a mark into a plain track; return its marks and the index where it stands, or -1."""
    keys = member.tracks.get(track.id)
    place = place_of(mark)
    if not arms:
        if keys is not None and place_of(keys[ANY_KEY][-1]) <= place:
            del member.tracks[track.id]
        return [], -1
    if place < member.newest and any(
        member.seen.get(FACT_CODE[name], 0) > place for name in track.of_types
    ):
        return [], -1
    marks = member.tracks.setdefault(track.id, {}).setdefault(ANY_KEY, [])
    return marks, fold(marks, mark, True, False, 0)


def prune(member: Member, book: RuleBook) -> None:
    """Forget marks that can no longer decide anything: every state has an end."""
    keep_from = member.advanced_to - book.limits.allowed_lateness
    empty = []
    for track_id, keys in member.tracks.items():
        track = book.tracks.get(track_id)
        # A mark that disarms matters for as long as an earlier event, were it to arrive now, would
        # still have a deadline ahead of it. Both kinds stay for the allowed lateness beyond that.
        oldest = keep_from - track.withins[-1] if track is not None else NEVER
        for key in [key for key, marks in keys.items() if at_of(marks[-1]) < oldest]:
            del keys[key]
        if not keys:
            empty.append(track_id)
    for track_id in empty:
        del member.tracks[track_id]
    for code, place in list(member.seen.items()):
        if instant_of(place) + book.remembered_for.get(code, 0) < keep_from:
            del member.seen[code]


def overflow(member: Member, track: Track, book: RuleBook) -> Iterator[tuple[str, int]]:
    """Drop the keys of a track that are too many; yield each open one with its arming mark.

    A key is open while it has a deadline ahead. The earliest goes first, and none that is open
    before all that are not.
    """
    limit = book.limits.open_keys
    keys = member.tracks[track.id]
    if len(keys) <= min(limit, KEY_BUDGET // LONGEST_KEY):
        return
    # Whether the row was saved in between must not decide what is dropped.
    prune(member, book)
    done = member.advanced_to
    opened = sum(_is_open(marks[-1], track, done) for marks in keys.values())
    size = sum(
        _bytes_of(key, marks) for all_ in member.tracks.values() for key, marks in all_.items()
    )
    by_age = sorted(keys, key=lambda key: (at_of(keys[key][-1]), key))
    for key in sorted(by_age, key=lambda key: _is_open(keys[key][-1], track, done)):
        if size <= KEY_BUDGET and opened <= limit:
            return
        last = keys[key][-1]
        is_open = _is_open(last, track, done)
        if size <= KEY_BUDGET and not is_open:
            continue
        size -= _bytes_of(key, keys.pop(key))
        if is_open:
            opened -= 1
            yield key, last


def _is_open(last: int, track: Track, done: int) -> bool:
    return last > 0 and at_of(last) + track.withins[-1] > done


def _bytes_of(key: str, marks: list[int]) -> int:
    return len(key.encode()) + 3 + MARK_BYTES * len(marks)
