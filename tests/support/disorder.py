"""Logs in disorder, and the claim that saving a member changes nothing."""

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

from core_builders import DAY, HOUR, NOON, EventDict, arrived, event, random_log, row_of

from models.engine import advance, handle, next_due, settle
from models.member import Member, decode, due_of, stage_of
from models.outcome import Context, Outcome
from models.rulebook import RuleBook
from models.stages import NEVER

LATENESS = HOUR


def shuffled(log: list[EventDict], random: Random) -> list[EventDict]:
    """The order of arrival when each event takes up to the allowed lateness to arrive."""
    arrival = [(e["occurred_at"] + random.randrange(LATENESS + 1), n) for n, e in enumerate(log)]
    return [log[n] for _, n in sorted(arrival)]


def orderly_log(random: Random, step: int) -> list[EventDict]:
    """A random log of one member without what the claim leaves out."""
    log = [event("add_to_cart", NOON - 30 * DAY, item_id="z", quantity=100)]
    for one in random_log(random, step, 24):
        if one["type"] in ("erase", "ticket_opened"):
            continue
        if one["type"] == "consent" and one["granted"]:
            continue
        if one["type"] in ("consent", "unsubscribed"):
            one["channel"] = "all"
        if "anonymous_id" in one:
            del one["anonymous_id"]
        one.pop("event_id", None)
        log.append(one | {"member_id": "m1"})
    return log


def everything(outcomes: list[Outcome]) -> list[Any]:
    triggers = [message for outcome in outcomes for message in outcome.triggers]
    return triggers + [decision for outcome in outcomes for decision in outcome.decisions]


def is_the_same_when_saved(
    book: RuleBook, step: int, log_of: Callable[[Random, int, int], list[EventDict]] = random_log
) -> None:
    for seed in range(40):
        random = Random(seed)
        log = shuffled(log_of(random, step, 40), random)
        events = [e for e in arrived(log) if e.event.member_id == "m1"]
        live, saved = Member("m1", False), Member("m1", False)
        of_live, of_saved = [], []
        for one in events:
            of_live.append(handle(live, one, Context(book)))
            if random.random() < 0.5:
                saved = through_the_row(saved, book)
            if random.random() < 0.3 and not of_live[-1].duplicate:
                # A lane may fire what is due before the event that follows is there.
                early = one.at - random.randrange(2 * step)
                of_saved.append(advance(saved, early, Context(book)))
            of_saved.append(handle(saved, one, Context(book)))
        until = events[-1].at + 100 * DAY
        of_live.append(advance(live, until, Context(book)))
        of_saved.append(advance(saved, until, Context(book)))
        assert everything(of_saved) == everything(of_live), seed
        assert row_of(saved, book) == row_of(live, book), seed


def through_the_row(member: Member, book: RuleBook) -> Member:
    settle(member, book)
    before = deepcopy(member)
    row = row_of(member, book)
    assert member == before, "saving changed the member"
    due = next_due(member, book)
    assert stage_of(row) == member.stage
    assert due_of(row) == (None if due == NEVER else due)
    loaded = decode(row, member.id, member.anonymous)
    assert loaded == member
    assert row_of(loaded, book) == row
    return loaded
