"""The oracle's comparison: it accepts what disorder may do, and nothing else."""

from pathlib import Path
from random import Random

import msgspec
import pytest
from core_builders import (
    NOON,
    EventDict,
    absence,
    arrived,
    book_of,
    event,
    lines,
    write_rules,
)
from simulation.books import first_book, next_book

from app.chaos.equality import Equality, Era, Sourced, compare, steady
from models.decoding import Received
from models.engine import advance, handle
from models.events import MEMBER_TOPICS
from models.member import Member
from models.outcome import Context, Outcome
from models.rulebook import RuleBook

TYPES = (
    *("view_item", "add_to_cart", "purchase", "search") * 4,
    *("remove_from_cart", "order_placed") * 2,
    *("visit", "begin_checkout", "register", "ticket_opened", "cancel", "unsubscribed"),
)
WAIT_MS = 60_000


class Lived:
    """One member's life as a worker sees it, each event at the instant of its arrival."""

    def __init__(self, seed: int, delay: int, book: RuleBook) -> None:
        self.book = book
        self.said: list[bytes] = []
        self.decisions: list[bytes] = []
        rng = Random(seed)
        found = arrived(_log(rng))
        delays = [rng.randrange(1, delay + 1) if delay and rng.random() < 0.4 else 0 for _ in found]
        arrivals = sorted(
            (
                (one.at + late, place, one)
                for place, (one, late) in enumerate(zip(found, delays, strict=True))
            ),
            key=lambda arrival: arrival[:2],
        )
        self.source = [_sourced(one, at) for at, _, one in arrivals]
        self.until = arrivals[-1][0] + WAIT_MS
        member = Member("m1", False)
        for at, _, one in arrivals:
            self._keep(advance(member, at - 1, Context(book, at)))
            self._keep(handle(member, one, Context(book, at)))
        self._keep(advance(member, self.until, Context(book, self.until)))

    def _keep(self, outcome: Outcome) -> None:
        self.said += map(msgspec.json.encode, outcome.triggers)
        self.decisions += map(msgspec.json.encode, outcome.decisions)

    def compared(self, said: list[bytes] | None = None) -> Equality:
        return compare(
            self.said if said is None else said,
            self.decisions,
            self.source,
            [Era(self.book, self.until)],
        )


def _log(rng: Random) -> list[EventDict]:
    at, log = NOON, []
    for number in range(20):
        at += rng.choice((1, 50, 300, 1000, 2000, 5000, 16_000)) + 1
        one = event(rng.choice(TYPES), at, event_id=f"e{number}")
        if "item_id" in one:
            one["item_id"] = rng.choice("abc")
        if one["type"] in ("purchase", "order_placed", "cancel"):
            one["order_id"] = rng.choice(("o1", "o2"))
        if one["type"] == "purchase":
            one["items"] = lines(*rng.sample("abc", rng.randrange(3)))
        if one["type"] == "ticket_opened":
            one["ticket_id"] = "t1"
        log.append(one)
    return log


def _sourced(one: Received, arrived_at: int) -> Sourced:
    topic = MEMBER_TOPICS[one.rank - 1]
    return Sourced(topic, 0, one.offset, arrived_at, b"m1", one.raw, arrived_at)


@pytest.mark.parametrize("delay", [0, 30, 2_000, 20_000])
def test_what_a_worker_says_of_records_delayed_by_as_much_is_accepted(delay: int) -> None:
    orderly = pairs = 0
    for seed in range(100):
        found = Lived(seed, delay, first_book()).compared()
        assert found.ok, (seed, found)
        orderly += bool(found.orderly)
        pairs += found.late_pairs
    assert (orderly == 100) is (delay == 0)
    assert pairs > 0 or delay < 2_000
    assert not pairs or delay


def test_a_verdict_or_transition_that_is_left_out_or_changed_is_found() -> None:
    judged = 0
    for seed in range(20):
        for kind in (b'"type":"decision"', b'"type":"transition"'):
            lived = Lived(seed, 0, first_book())
            place = next((n for n, raw in enumerate(lived.decisions) if kind in raw), None)
            if place is None or lived.compared().aged:
                continue
            judged += 1
            kept, rest = lived.decisions[place], lived.decisions[:place]
            rest += [other for other in lived.decisions[place + 1 :] if other != kept]
            lived.decisions = rest
            found = lived.compared()
            assert (len(found.missing), len(found.spurious)) == (1, 0), seed
            lived.decisions = [*rest, kept.replace(b'"why":"', b'"why":"not ')]
            found = lived.compared()
            assert (len(found.missing), len(found.spurious)) == (1, 1), seed
    assert judged > 20


def test_a_trigger_that_is_left_out_made_up_or_changed_is_found() -> None:
    for seed in range(20):
        lived = Lived(seed, 0, first_book())
        place = next(n for n, raw in enumerate(lived.said) if b'"type":"trigger"' in raw)
        raw = lived.said[place]
        rest = lived.said[:place] + lived.said[place + 1 :]
        identity = msgspec.json.decode(raw)["trigger_id"].encode()
        without = [other for other in rest if identity not in other]
        assert [f.trigger_id for f in lived.compared(without).missing] == [identity.decode()]
        other = raw.replace(identity, b"0" * 32)
        assert [f.trigger_id for f in lived.compared([*lived.said, other]).spurious] == ["0" * 32]
        changed = raw.replace(b'"stage":"', b'"stage":"un')
        assert lived.compared([*rest, changed]).wrong
        again = lived.compared([*lived.said, changed])
        assert (again.duplicates, again.duplicates_identical) == (1, 0)
        assert again.wrong
        same = lived.compared([*lived.said, raw])
        assert (same.duplicates, same.duplicates_identical, same.ok) == (1, 1, True)


def test_a_cancellation_that_is_left_out_is_found_in_disorder_too() -> None:
    found = 0
    for seed in range(40):
        lived = Lived(seed, 2_000, first_book())
        for place, raw in enumerate(lived.said):
            message = msgspec.json.decode(raw)
            rule = lived.book.rules[message["rule"]]
            if message["type"] == "trigger_cancelled" and steady(rule):
                rest = lived.said[:place] + lived.said[place + 1 :]
                found += not lived.compared(rest).ok
    assert found > 100


def test_rules_that_change_are_compared_under_what_was_in_force() -> None:
    lived = Lived(3, 0, first_book())
    cut = lived.source[len(lived.source) // 2].arrived
    eras = [Era(first_book(), cut), Era(next_book(), lived.until)]
    other = compare(lived.said, lived.decisions, lived.source, eras)
    assert not other.ok
    versions = {finding.rule for finding in (*other.missing, *other.spurious)}
    assert versions <= {
        *("looked_and_left", "viewed_not_bought", "no_order_10s", "order_unpaid"),
        *("cart_forgotten", "no_order_20s"),
        "segment",
    }


def test_one_rule_at_least_may_be_claimed_and_one_may_not() -> None:
    claimed = {name for name, rule in first_book().rules.items() if steady(rule)}
    assert claimed == {
        *("browse_left", "looked_and_left", "no_order_10s", "no_order_20s"),
        *("order_unpaid", "ticket", "viewed_not_bought"),
    }


def test_what_a_changed_rule_finds_in_the_past_hangs_on_whether_another_had_expired(
    tmp_path: Path,
) -> None:
    unpaid = {
        "rule": "unpaid",
        "when": absence({"event": "order_placed"}, {"event": "purchase"}, "6s"),
        "expires_after": "20s",
    }
    left, viewed = (
        {"rule": rule, "when": absence({"event": after}, {"event": "purchase"}, "60s")}
        for rule, after in (("left", "add_to_cart"), ("viewed", "view_item"))
    )
    sooner = {**left, "when": absence({"event": "add_to_cart"}, {"event": "purchase"}, "20s")}
    lateness = {"allowed_lateness": 2_000}
    first = book_of(write_rules(tmp_path / "first", unpaid, left, viewed), **lateness)
    then = book_of(write_rules(tmp_path / "then", unpaid, sooner, viewed), **lateness)
    found = arrived(
        [
            event("add_to_cart", NOON),
            event("view_item", NOON + 500),
            event("order_placed", NOON + 2_000, order_id="o1"),
        ]
    )
    change, until = NOON + 40_000, NOON + 90_000
    source = [_sourced(one, one.at) for one in found]

    def judged(frozen: bool, without: bytes = b"\0") -> Equality:
        # A worker that is not frozen decides when things are due, the other one when it thaws.
        member, outcomes = Member("m1", False), []
        for one in found:
            outcomes.append(handle(member, one, Context(first, one.at)))
        now = change if frozen else NOON + 8_000
        outcomes.append(advance(member, NOON + 8_000, Context(first, now)))
        outcomes.append(advance(member, NOON + 20_000, Context(then, change)))
        outcomes.append(advance(member, until, Context(then, until)))
        said = [msgspec.json.encode(said) for one in outcomes for said in one.triggers]
        decided = [msgspec.json.encode(said) for one in outcomes for said in one.decisions]
        said = [message for message in said if without not in message]
        return compare(said, decided, source, [Era(first, change), Era(then, until)])

    aged = judged(frozen=True)
    assert aged.ok, aged
    assert aged.unclaimed == aged.expired == 1
    # Had nothing expired, the new rule could not have looked back; and of a rule that was not
    # changed everything is claimed as ever.
    assert {one.rule for one in judged(frozen=False).spurious} == {"left"}
    assert {one.rule for one in judged(True, b'"rule":"viewed"').missing} == {"viewed"}
