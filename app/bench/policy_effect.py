"""What the policy does to a log: the same rules over the same events, without it and with it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from app.bench.place import say
from app.bench.policy_picture import Row, picture
from app.event_reading import ReadingReport, read_events
from config.paths import LoadedConfig, load_config
from models.decoding import Received
from models.local_time import local_date
from models.outcome import Outcome
from models.policy import Policy
from models.replay import Replay, in_order, key_of
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import DAY, parse_instant, rfc3339
from models.triggers import Decision, Trigger

SILENCE = DAY
"""A message of marketing so soon after an order is nagging."""


class Sent(NamedTuple):
    """One trigger: from when it may be sent (epoch milliseconds), and whether that is marketing."""

    rule: str
    member: str
    at: int
    marketing: bool


class Run(NamedTuple):
    """What was raised, and how often each verdict was given."""

    sent: list[Sent]
    verdicts: Counter[str]


def policy_effect(files: Sequence[Path], config: Path | None, out: Path | None) -> dict[str, Any]:
    """Return figures of both runs; write their picture to ``out`` if there is one.

    It is assumed that members agreed to marketing who said nothing: public logs have no consent in
    them. Raises ``BadLine`` and ``OSError`` for the files, and ``ConfigErrors``.
    """
    events = in_order(read_events(files, ReadingReport()))
    loaded = load_config(config)
    limits = Limits(assume_consent=True)
    runs: dict[str, Run] = {}
    for name, policy in (("without", Policy()), ("with", loaded.policy)):
        say(f"{len(events):,} events {name} policy")
        runs[name] = _run(events, _book(loaded, policy, limits))
    rows = _rows(events, runs)
    if out is not None:
        span = f"{rfc3339(events[0].at)[:10]} to {rfc3339(events[-1].at)[:10]}"
        title = f"{files[0].stem}: triggers a day, {span}, without policy and with it"
        out.write_text(picture(title, events[0].at, rows))
    return {
        "events": len(events),
        "members": len({key_of(event) for event in events}),
        "without_policy": _figures(events, runs["without"], limits.time_zone),
        "with_policy": _figures(events, runs["with"], limits.time_zone),
        "rules": [
            {"rule": row.rule, "without": sum(row.without), "with": sum(row.within)} for row in rows
        ],
        "verdicts": dict(runs["with"].verdicts.most_common()),
    }


def _book(loaded: LoadedConfig, policy: Policy, limits: Limits) -> RuleBook:
    return RuleBook(loaded.rules, loaded.stages, policy, limits, loaded.audiences)


def _run(events: Sequence[Received], book: RuleBook) -> Run:
    replay = Replay(book)
    run = Run([], Counter())
    for event in events:
        _note(run, replay.fold(event))
    for outcome in replay.finish(events[-1].at):
        _note(run, outcome)
    return run


def _note(run: Run, outcome: Outcome) -> None:
    for message in outcome.triggers:
        if isinstance(message, Trigger):
            begins = parse_instant(message.not_before)
            marketing = message.purpose == "marketing"
            run.sent.append(Sent(message.rule, message.member_id, begins, marketing))
    for decision in outcome.decisions:
        if isinstance(decision, Decision):
            run.verdicts[decision.verdict] += 1


def _rows(events: Sequence[Received], runs: dict[str, Run]) -> list[Row]:
    """Return for each rule how many triggers there were on each day, most first."""
    first, days = events[0].at, (events[-1].at - events[0].at) // DAY + 1

    def by_day(sent: Iterable[Sent], rule: str) -> list[int]:
        counts = [0] * days
        for one in sent:
            if one.rule == rule:
                counts[(one.at - first) // DAY] += 1
        return counts

    rules = {one.rule for run in runs.values() for one in run.sent}
    rows = [Row(r, by_day(runs["without"].sent, r), by_day(runs["with"].sent, r)) for r in rules]
    return sorted(rows, key=lambda row: (-sum(row.without), row.rule))


def _figures(events: Iterable[Received], run: Run, zone: str) -> dict[str, Any]:
    marketing = [one for one in run.sent if one.marketing]
    days = Counter((one.member, local_date(one.at, zone)) for one in marketing)
    crowded = {member for (member, _), count in days.items() if count > 1}
    nagged = _soon_after_an_order(events, marketing)
    return {
        "triggers": len(run.sent),
        "marketing": len(marketing),
        "most_marketing_of_a_member_on_one_day": max(days.values(), default=0),
        "members_with_more_than_one_on_some_day": len(crowded),
        "marketing_within_24h_of_an_order": len(nagged),
        "buyers_nagged_within_24h_of_an_order": len({one.member for one in nagged}),
    }


def _soon_after_an_order(events: Iterable[Received], sent: Iterable[Sent]) -> list[Sent]:
    orders: dict[str, list[int]] = {}
    for event in events:
        if event.type == "purchase" and event.event.member_id is not None:
            orders.setdefault(event.event.member_id, []).append(event.at)
    return [
        one
        for one in sent
        if any(order <= one.at < order + SILENCE for order in orders.get(one.member, ()))
    ]
