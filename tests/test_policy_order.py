"""Saving, early deadlines and other members change nothing under a policy; nor does a replay.

Events that arrive out of order change a verdict only by what policy says they change: a caps' count
is what was known when it was asked.
"""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    ODD_RULES,
    SECOND,
    EventDict,
    arrived,
    book_of,
    event,
    random_log,
    row_of,
    whole_book,
    write_rules,
)
from policy_kit import book as policy_book

from app.event_files import write_events
from app.event_reading import ReadingReport, read_events
from app.simulator import DEFAULT_END_MS, simulate
from config.paths import package_dir
from models.decoding import Received
from models.engine import advance, handle, next_due
from models.member import Member, decode
from models.outcome import Context, Outcome
from models.replay import in_order
from models.rulebook import RuleBook
from models.triggers import Decision

SHORT: dict[str, Any] = {
    "consent": "opt_out",
    "channels": ["app_push", "sms", "email"],
    "reachability": True,
    "holds": {"ticket": "1m", "complaint": "1m", "return": "1m"},
    "silence_after_purchase": {"for": "5s", "then": "defer"},
    "holdout": {"salt": "s", "per_rule": "10%"},
    "cool_down": {"g": "20s"},
    "caps": [
        {"at_most": 2, "within": "20s"},
        {"at_most": 3, "within": "30s", "purpose": "any"},
        {"at_most": 1, "within": "10s", "channel": "sms"},
    ],
    "arbitration": "3s",
    "quiet_hours": {"from": "12:01", "to": "12:02", "then": "defer"},
    "pace": "10s",
}
GROUPED = [rule | ({"group": "g"} if n % 3 == 0 else {}) for n, rule in enumerate(ODD_RULES)]


@pytest.fixture
def short() -> RuleBook:
    return policy_book(SHORT, *GROUPED)


def with_messages(log: list[EventDict], random: Random, step: int) -> list[EventDict]:
    """The log with a gateway's words in it, about its own messages and about campaigns."""
    for number in range(12):
        at = random.choice(log)["occurred_at"] + step * random.choice((0, 1))
        kind = random.choice(("sent", "sent", "delivered", "failed", "bounced", "mute", "ticket"))
        more: dict[str, Any] = {"channel": random.choice(("sms", "email", "app_push"))}
        if kind == "mute":
            more = {"until": at + step * random.choice((-1, 1, 3))}
        elif kind == "ticket":
            kind, more = random.choice(("ticket_opened", "ticket_closed")), {}
        else:
            more["campaign"] = random.choice(("spring", "autumn"))
        place = random.randrange(len(log))
        log.insert(place, event(kind, at, "m1", event_id=f"x{number}", **more))
    returned = random.choice(log)["occurred_at"]
    log.append(event("return_requested", returned, "m1", order_id="o1"))
    return log


def everything(outcomes: list[Outcome]) -> tuple[list[Any], list[Any]]:
    triggers = [message for outcome in outcomes for message in outcome.triggers]
    return triggers, [message for outcome in outcomes for message in outcome.decisions]


def lives(events: list[Any], book: RuleBook, random: Random | None, step: int) -> tuple[Any, ...]:
    """Everything that follows; with chance, saved and advanced at any moment."""
    member = Member("m1", False)
    outcomes: list[Outcome] = []
    known: set[str | None] = {None}
    for one in events:
        is_new = one.event.event_id not in known or one.event.event_id is None
        known.add(one.event.event_id)
        if random is not None and random.random() < 0.5:
            row = row_of(member, book)
            member = decode(row, "m1", False)
            assert row_of(member, book) == row
        if random is not None and is_new and random.random() < 0.3:
            # A lane may fire what is due before the event that follows is there.
            early = one.at - random.randrange(2 * step)
            outcomes.append(advance(member, early, Context(book)))
        outcomes.append(handle(member, one, Context(book)))
    outcomes.append(advance(member, events[-1].at + 100 * DAY, Context(book)))
    return *everything(outcomes), decode(row_of(member, book), "m1", False)


@pytest.mark.parametrize("is_ordered", [True, False])
def test_saving_and_early_deadlines_change_nothing(short: RuleBook, is_ordered: bool) -> None:
    seen: dict[str, int] = {}
    for seed in range(60):
        random = Random(seed)
        log = with_messages(random_log(random, 5 * SECOND, 50), random, 5 * SECOND)
        events = [e for e in arrived(log) if e.event.member_id == "m1"]
        if is_ordered:
            events = in_order(events)
        plain = lives(events, short, None, 5 * SECOND)
        assert lives(events, short, random, 5 * SECOND) == plain, seed
        for message in plain[1]:
            if isinstance(message, Decision):
                seen[message.verdict] = seen.get(message.verdict, 0) + 1
    wanted = {"raised", "held", "cap", "cool_down", "arbitration", "holdout", "consent", "hold"}
    assert seen.keys() >= wanted | {"mute", "overtaken"}, seen


def test_saving_changes_nothing_while_a_word_of_consent_is_awaited() -> None:
    denied = {"marketing": "denied", "service": "allowed"}
    book = policy_book(SHORT | {"consent": denied, "consent_follows": "2m"}, *GROUPED)
    seen: set[tuple[str, ...]] = set()
    for seed in range(60):
        random = Random(seed)
        log = with_messages(random_log(random, 5 * SECOND, 50), random, 5 * SECOND)
        for number in range(4):
            at = random.choice(log)["occurred_at"]
            said = {"channel": random.choice(("sms", "all")), "purpose": "marketing"}
            one = event("consent", at, "m1", event_id=f"c{number}", **said, granted=number != 1)
            log.insert(random.randrange(len(log)), one)
        events = [e for e in arrived(log) if e.event.member_id == "m1"]
        plain = lives(events, book, None, 5 * SECOND)
        assert lives(events, book, random, 5 * SECOND) == plain, seed
        verdicts: dict[tuple[str, str], tuple[str, ...]] = {}
        for one in plain[1]:
            if isinstance(one, Decision):
                before = verdicts.get((one.rule, one.occasion), ())
                verdicts[one.rule, one.occasion] = (*before, one.verdict)
        seen.update(verdicts.values())
    assert seen >= {("held", "raised"), ("held", "overtaken"), ("held", "consent")}, seen


@pytest.mark.parametrize("step", [7 * MINUTE, 5 * HOUR, 2 * DAY])
def test_saving_changes_nothing_under_the_shipped_policy(step: int) -> None:
    book = whole_book(assume_consent=True)
    for seed in range(15):
        random = Random(seed)
        log = with_messages(random_log(random, step, 40), random, step)
        events = [e for e in arrived(log) if e.event.member_id == "m1"]
        assert lives(events, book, random, step) == lives(events, book, None, step), seed


@pytest.fixture(params=["uci", "simulated"])
def members(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, list[Received]]:
    """The events of each member of a log, in order."""
    path = package_dir() / "data" / "uci_sample.jsonl.gz"
    if request.param == "simulated":
        path = tmp_path / "events.jsonl"
        write_events(path, simulate(250, 200, seed=7, end_ms=DEFAULT_END_MS))
    found: dict[str, list[Received]] = {}
    for one in in_order(read_events([path], ReadingReport())):
        if one.event.member_id is not None:
            found.setdefault(one.event.member_id, []).append(one)
    return found


@pytest.mark.slow
def test_saving_after_each_step_changes_nothing_that_is_said_to_a_whole_shop(
    members: dict[str, list[Received]],
) -> None:
    book = whole_book(assume_consent=True)
    until = max(events[-1].at for events in members.values())
    for name, events in members.items():
        member = Member(name, False)
        plain = [handle(member, one, Context(book)) for one in events]
        plain.append(advance(member, until, Context(book)))
        assert everything(step_by_step(name, events, until, book)) == everything(plain), name


def step_by_step(name: str, events: list[Received], until: int, book: RuleBook) -> list[Outcome]:
    """As a worker goes through it that has all the time in the world, and dies all the time."""
    row, outcomes = row_of(Member(name, False), book), []
    for one in [*events, None]:
        end = one.at if one is not None else until + 1
        while (due := next_due(decode(row, name, False), book)) < end:
            member = decode(row, name, False)
            outcomes.append(advance(member, due, Context(book)))
            row = row_of(member, book)
        if one is not None:
            member = decode(row, name, False)
            outcomes.append(handle(member, one, Context(book)))
            row = row_of(member, book)
    return outcomes


def test_what_waits_is_a_deadline_that_a_lane_can_find(short: RuleBook) -> None:
    waited = 0
    for seed in range(20):
        random = Random(seed)
        events = [e for e in arrived(random_log(random, 5 * SECOND)) if e.event.member_id == "m1"]
        member = Member("m1", False)
        for one in in_order(events):
            handle(member, one, Context(short))
            held = member.standing.held if member.standing is not None else []
            if held:
                waited += 1
                assert next_due(member, short) <= min(one.release for one in held)
    assert waited > 10


def test_an_old_row_goes_on_under_a_policy(tmp_path: Path) -> None:
    """What was raised before there was a policy does not count, and nothing breaks."""
    rules = write_rules(tmp_path / "rules", *GROUPED)
    without, under = book_of(rules), policy_book(SHORT, *GROUPED)
    for seed in range(20):
        random = Random(seed)
        events = in_order(
            [e for e in arrived(random_log(random, 5 * SECOND)) if e.event.member_id == "m1"]
        )
        member = Member("m1", False)
        for number, one in enumerate(events):
            handle(member, one, Context(without if number < len(events) // 2 else under))
        member = decode(row_of(member, under), "m1", False)
        advance(member, events[-1].at + DAY, Context(under))
        assert member.standing is None or not member.standing.held
