"""Why a rule did or did not fire for a member: what it waits for, what holds, what it raised."""

from collections.abc import Iterator

import msgspec

from models import dated, logs
from models.calendar import Calendar
from models.conditions import holds
from models.counting import Window
from models.marks import at_of, code_of
from models.member import Member
from models.rulebook import RuleBook
from models.rules import EVENT_TYPES, Absence, Count, Rule
from models.stages import NEVER, StageTable
from models.standing import CONSENT, MORNING, OPENING, SILENCE, WINDOW
from models.times import rfc3339
from models.watching import logs_of
from models.wording import described, required, waiting

_WAITS_FOR = {
    WINDOW: ("for others that may compete", "可能竞争的其他触发"),
    SILENCE: ("for the silence after an order to end", "下单后的静默期结束"),
    MORNING: ("for quiet hours to end", "免打扰时段结束"),
    OPENING: ("for a feed, the rule's breaker or an operator", "数据源、规则熔断或人工放行"),
    CONSENT: ("for a word of consent, which may follow", "会员随后可能作出的同意"),
}


class Armed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One deadline that a rule has for the member, if nothing happens before."""

    due_at: str
    text: str
    since: str | None = None
    key: str | None = None
    step: int | None = None


class Asked(msgspec.Struct, frozen=True):
    """One thing that the rule's ``if`` asks for, and whether it holds now."""

    text: str
    holds: bool


class Waits(msgspec.Struct, frozen=True):
    """Something that is due and held: when it is decided again, and what it waits for."""

    until: str
    text: str


class RuleState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rule stands with a member, as of the member's time."""

    rule: str
    version: int
    mode: str
    about: str
    when: str
    armed: tuple[Armed, ...] = ()
    # How far a count has come, by key.
    counted: dict[str, int] = {}
    asks: tuple[Asked, ...] = ()
    last_raised_at: str | None = None
    open: tuple[str, ...] = ()
    held: tuple[Waits, ...] = ()


def rule_state(member: Member, rule: Rule, book: RuleBook, chinese: bool) -> RuleState:
    """Return where a rule stands with a member, in words of one language."""
    at = member.advanced_to
    wanted = rule.condition.tests if rule.condition is not None else ()
    last = member.raised.get(book.rule_ids[rule.name])
    return RuleState(
        rule=rule.name,
        version=rule.version,
        mode=rule.mode,
        about=rule.about,
        when=described(rule, chinese),
        armed=tuple(sorted(_armed(member, rule, book, chinese), key=lambda one: one.due_at)),
        counted=_counted(member, rule, book),
        asks=tuple(Asked(required(w, chinese), holds(member, rule, w, at)) for w in wanted),
        last_raised_at=None if last is None else rfc3339(last),
        open=tuple(
            trigger.id.hex()
            for trigger in member.open
            if trigger.rule == rule.name and trigger.expires > at
        ),
        held=tuple(
            Waits(rfc3339(held.release), _WAITS_FOR[held.waits_for][chinese])
            for held in (member.standing.held if member.standing is not None else ())
            if held.trigger.rule == rule.name
        ),
    )


def _armed(member: Member, rule: Rule, book: RuleBook, chinese: bool) -> Iterator[Armed]:
    done, when = member.advanced_to, rule.when
    if isinstance(when, Absence):
        track = book.track_of_rule[rule.name]
        for key, marks in member.tracks.get(track.id, {}).items():
            since = at_of(marks[-1])
            if marks[-1] > 0 and since + when.within > done:
                fact = EVENT_TYPES[code_of(marks[-1])]
                yield _waiting(since + when.within, since, key, 0, fact, chinese)
        return
    if isinstance(when, Calendar):
        alone = RuleBook((rule,), StageTable(()), book.policy, book.limits)
        due = dated.next_due(member, alone)
        if due < NEVER:
            yield _waiting(due, 0, "", 0, "", chinese)
        return
    watch = book.watch_of_rule.get(rule.name)
    if watch is None or not watch.timed:
        return
    for key, log in logs_of(member, watch).items():
        for firing in logs.firings(watch.machine, when, log):
            if firing.due.at > done:
                since, number = firing.due.since, firing.due.number
                yield _waiting(firing.due.at, since, key, number, "", chinese)


def _waiting(due: int, since: int, key: str, step: int, fact: str, chinese: bool) -> Armed:
    return Armed(
        due_at=rfc3339(due),
        text=waiting(due, since, key, step, fact, chinese),
        since=rfc3339(since) if since else None,
        key=key or None,
        step=step or None,
    )


def _counted(member: Member, rule: Rule, book: RuleBook) -> dict[str, int]:
    watch = book.watch_of_rule.get(rule.name)
    if watch is None or not isinstance(rule.when, Count) or not isinstance(watch.machine, Window):
        return {}
    found = {}
    for key, log in logs_of(member, watch).items():
        state = logs.state_of(watch.machine, log)
        count = watch.machine.total(state, member.advanced_to)
        if count:
            found[key] = count
    return found
