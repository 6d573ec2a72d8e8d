"""What one event does to the member's logs, what time makes due in them, and what proves wrong.

An event that takes its place among others may show that something should have fired that did not,
or did that should not have: the former becomes a candidate, the latter is withdrawn.
"""

from collections.abc import Iterator

import msgspec

from models import logs
from models.counting import parts
from models.decoding import Received
from models.ids import content_hash
from models.logs import Firing, Log, Seen
from models.marks import at_of, code_of, is_backfill, mark
from models.member import Member
from models.outcome import Candidate, Context, Outcome
from models.overtaking import settle_open, withdraw
from models.predicted import predicted
from models.rulebook import RuleBook
from models.rules import FACT_CODE, FACT_OF, Crosses, Rule, TierEntered
from models.sequences import UNTIL
from models.stages import NEVER
from models.watches import ANY_KEY, Watch, readings_of

_NO_LOG = Log()


def fold_watches(
    outcome: Outcome, event: Received, facts: tuple[str, ...], context: Context, backfill: bool
) -> list[Candidate]:
    """Let the event take its place in the logs that it concerns; return what fires by it."""
    book = context.book
    candidates: list[Candidate] = []
    for fact in facts:
        for watch, reader in book.watch_sides.find(fact, event.event):
            found = reader.reads(event.event)
            if not found:
                continue
            name = ""
            if watch.named:
                name = event.event.event_id or content_hash(event.raw)
            where = mark(event.at, event.rank, FACT_CODE[fact], backfill)
            for key, what in found.items():
                for one in _keys(outcome.member, watch, key):
                    seen = Seen(where, what, name)
                    candidates += _fold(outcome, event, watch, one, seen, book)
    return candidates


def fold_score(member: Member, book: RuleBook, silent: bool) -> Iterator[Candidate]:
    """Let the watches read the score that the member has just been given.

    A score is no event: it comes in order and is not corrected, so nothing recent is kept of it.
    Of a member in a stage that no rule of a watch asks for nothing is kept at all.
    """
    at = member.advanced_to
    for watch, what, stages in book.on_score:
        number = predicted(member, what)
        if number is None or member.stage not in stages:
            member.logs.pop(watch.id, None)
            continue
        log = member.logs.get(watch.id, {}).get(ANY_KEY) or Log()
        before = [watch.machine.dues(when, log) for when in watch.whens]
        watch.machine.step(log, at, parts(number))
        if watch.machine.is_over(log, at):
            member.logs.pop(watch.id, None)
            continue
        member.logs.setdefault(watch.id, {})[ANY_KEY] = log
        for rule, when, known in zip(watch.rules, watch.whens, before, strict=True):
            for due in watch.machine.dues(when, log):
                if due.at <= at and due not in known:
                    candidate = _candidate(member, watch, rule, ANY_KEY, Firing(due, None), None)
                    yield msgspec.structs.replace(candidate, silent=silent or candidate.silent)


def _keys(member: Member, watch: Watch, key: str) -> list[str]:
    """Return the keys that an event concerns: what is for every key, all that there are.

    The empty key keeps such events for keys that are heard of later.
    """
    if key != ANY_KEY or watch.same is None:
        return [key]
    return sorted({*member.logs.get(watch.id, ()), ANY_KEY})


def _fold(
    outcome: Outcome, event: Received, watch: Watch, key: str, seen: Seen, book: RuleBook
) -> Iterator[Candidate]:
    member, machine = outcome.member, watch.machine
    by_key = member.logs.setdefault(watch.id, {})
    log = by_key.get(key)
    if log is None:
        every = by_key.get(ANY_KEY)
        heard = [Seen(one.mark, one.what, one.id) for one in every.recent] if every else []
        log = by_key[key] = Log(recent=heard)
        if len(by_key) > watch.kept_keys:
            _forget_one(member, watch, key, book)
    keep_from = member.advanced_to - book.limits.allowed_lateness
    if watch.source is not None:
        heard = log.recent if outcome.late else [*log.recent, seen]
        watch.source.fill(member, log, heard)
    logs.settle(machine, log, keep_from)
    if not log.recent and machine.is_over(log, keep_from):
        # As if it had been forgotten when the member was saved.
        log.times = []
        if watch.source is None:
            log.values = []
    if outcome.late:
        machine.absorb(log, event.at, seen.what)
        return
    if event.at == member.advanced_to and logs.follows_all(log, seen):
        fired = [] if watch.waits else logs.completed(machine, watch.whens, log, seen)
        logs.insert(log, seen)
    else:
        fired = _corrected(outcome, event, watch, key, log, seen, book)
    if watch.ends and seen.what & UNTIL:
        settle_open(outcome, event, watch.rules, key, book)
    for rule, firings in zip(watch.rules, fired, strict=not watch.waits):
        for firing in firings:
            yield _candidate(member, watch, rule, key, firing, event)


def _corrected(
    outcome: Outcome, event: Received, watch: Watch, key: str, log: Log, seen: Seen, book: RuleBook
) -> list[list[Firing]]:
    """Put an event between others; withdraw what it disproves, return what was missing by rule."""
    done = outcome.member.advanced_to
    before = [_past(logs.firings(watch.machine, when, log), done) for when in watch.whens]
    logs.insert(log, seen)
    missing = []
    for rule, old in zip(watch.rules, before, strict=True):
        new = _past(logs.firings(watch.machine, rule.when, log), done)
        for lost in sorted(old.keys() - new.keys()):
            withdraw(outcome, event, rule, key, old[lost].due.at, book)
        found = [new[one] for one in sorted(new.keys() - old.keys())]
        missing.append([one for one in found if not _is_settled(watch, log, one.due.at, rule)])
    return missing


def _past(found: list[Firing], done: int) -> dict[tuple[logs.Due, str], Firing]:
    """Return what was due up to ``done``, by what tells one from another."""
    return {
        (firing.due, firing.seen.id if firing.seen is not None else ""): firing
        for firing in found
        if firing.due.at <= done
    }


def _is_settled(watch: Watch, log: Log, due: int, rule: Rule) -> bool:
    """Tell whether a series was ended before what only now shows to have been due would expire."""
    return watch.ends and any(
        seen.what & UNTIL and due <= at_of(seen.mark) < due + rule.expires_after
        for seen in log.recent
    )


def _forget_one(member: Member, watch: Watch, but: str, book: RuleBook) -> None:
    """Make room for a key."""
    # Whether the row was saved in between must not decide which.
    by_key = member.logs[watch.id]
    _prune(member, watch, by_key, member.advanced_to - book.limits.allowed_lateness, but)
    if len(by_key) > watch.kept_keys:
        others = (key for key in by_key if key != but)
        del by_key[min(others, key=lambda key: (_newest(by_key[key]), key))]


def _newest(log: Log) -> int:
    return at_of(log.recent[-1].mark) if log.recent else max(log.times, default=0)


def next_due(member: Member, book: RuleBook, to: int = NEVER) -> int:
    """Return the earliest instant at which time alone makes a log due, or ``NEVER``.

    One after ``to`` may be left out.
    """
    earliest = NEVER
    for watch in _timed(member, book):
        for log in logs_of(member, watch).values():
            if watch.lasting and _oldest(log) + watch.lasting > to:
                continue
            due = logs.next_due(watch.machine, watch.whens, log, member.advanced_to)
            earliest = min(earliest, due)
    return earliest


def _oldest(log: Log) -> int:
    """Return the first instant that a log tells of, or ``NEVER``."""
    if log.times:
        return min(log.times)
    return at_of(log.recent[0].mark) if log.recent else NEVER


def _timed(member: Member, book: RuleBook) -> Iterator[Watch]:
    """Yield the watches that time alone may make due."""
    for watch_id in member.logs:
        watch = book.watches.get(watch_id)
        if watch is not None and watch.timed:
            yield watch
    for watch in book.recalling:
        if watch.id not in member.logs:
            yield watch


def logs_of(member: Member, watch: Watch) -> dict[str, Log]:
    """Return the member's logs of a watch by key; filled copies of what other fields tell."""
    by_key = member.logs.get(watch.id, {})
    if watch.source is None:
        return by_key
    if not by_key and member.orders:
        by_key = {ANY_KEY: Log()}
    filled = {}
    for key, log in by_key.items():
        filled[key] = Log(log.times, log.values, log.recent[:])
        watch.source.fill(member, filled[key], log.recent)
    return filled


def due_candidates(member: Member, book: RuleBook, instant: int) -> Iterator[Candidate]:
    """Yield what time alone makes due at exactly ``instant``."""
    for watch in _timed(member, book):
        for key, log in logs_of(member, watch).items():
            # Whether the row was saved in between must not decide which event is still known.
            logs.settle(watch.machine, log, instant - book.limits.allowed_lateness)
            for rule in watch.rules:
                for firing in logs.firings(watch.machine, rule.when, log):
                    if firing.due.at == instant:
                        yield _candidate(member, watch, rule, key, firing, None)


def _candidate(
    member: Member, watch: Watch, rule: Rule, key: str, firing: Firing, event: Received | None
) -> Candidate:
    due, seen = firing
    # The event that is folded now has raised it, or the passing of time, before or behind.
    now = event if event is not None and seen is not None and at_of(seen.mark) == due.at else None
    silent = due.at <= member.backfilled_to
    if now is not None and seen is not None:
        silent = is_backfill(seen.mark)
    return Candidate(
        rule,
        due.at,
        _occasion(watch, rule, key, firing),
        key=key,
        armed=seen.mark if seen is not None else 0,
        silent=silent,
        fact=FACT_OF[code_of(seen.mark)]
        if seen is not None
        else next(iter(readings_of(rule.when))),
        since=due.since,
        number=due.number,
    )


def _occasion(watch: Watch, rule: Rule, key: str, firing: Firing) -> str:
    due, seen = firing
    if watch.named:
        assert seen is not None
        return seen.id
    match rule.when:
        case Crosses(measure=measure, level=level):
            return f"{measure}={level:g}|{due.since}"
        case TierEntered(tier=tier):
            return f"tier={tier}|{due.since}"
    prefix = f"{watch.same}={key}|" if watch.same is not None else ""
    return f"{prefix}{due.since}|{due.number}" if due.number else f"{prefix}{due.since}"


def settle_recalled(member: Member, book: RuleBook) -> None:
    """Settle what is read in the member's ring of orders, before an order makes that forget."""
    keep_from = member.advanced_to - book.limits.allowed_lateness
    for watch_id, by_key in member.logs.items():
        watch = book.watches.get(watch_id)
        if watch is None or watch.source is None:
            continue
        for log in by_key.values():
            watch.source.fill(member, log, log.recent)
            logs.settle(watch.machine, log, keep_from)
            watch.source.leave_out(log)


def prune(member: Member, book: RuleBook) -> None:
    """Settle the logs and forget those that say no more than none would."""
    keep_from = member.advanced_to - book.limits.allowed_lateness
    for watch_id, by_key in list(member.logs.items()):
        watch = book.watches.get(watch_id)
        if watch is not None:
            _prune(member, watch, by_key, keep_from, None)
        if watch is None or not by_key:
            del member.logs[watch_id]


def _prune(
    member: Member, watch: Watch, by_key: dict[str, Log], keep_from: int, but: str | None
) -> None:
    for key, log in list(by_key.items()):
        if log.recent and not logs.is_unsettled(log, keep_from):
            if watch.source is not None:
                watch.source.leave_out(log)
            continue
        if watch.source is not None:
            # What a row leaves out it must not settle without.
            watch.source.fill(member, log, log.recent)
        logs.settle(watch.machine, log, keep_from)
        is_over = not log.recent and watch.machine.is_over(log, keep_from)
        if watch.source is not None:
            watch.source.leave_out(log)
        if key != but and (is_over or log == _NO_LOG):
            del by_key[key]
