"""``lifecycle why``: what a rule saw of a member, what was decided, and what it waits for.

Of the running system, or of event files.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.event_reading import BadLine, ReadingReport, read_events
from app.live_member import LiveMember, Said, Unreadable, live_member
from app.options import book_of, broker_options, config_options, instant, settings_of
from config.errors import ConfigErrors
from config.reading import suggestion
from models.decoding import Received
from models.marks import instant_of
from models.member import Member, UnknownVersion, decode, due_of
from models.member import book_of as digest_of
from models.outcome import Outcome
from models.projection import muted_until
from models.replay import MemberKey, Replay, in_order, key_of
from models.rulebook import RuleBook
from models.times import DAY, rfc3339
from models.triggers import Decision, TriggerCancelled
from models.why import RuleState, rule_state
from models.whys import in_language
from models.wording import verdict_in_words

if TYPE_CHECKING:
    from app.options import Subparsers

_DONE, _FAILED, _BAD_INPUT = 0, 1, 2
_LANGUAGES = ("en", "zh")

LOOKED_BACK = 7 * DAY
"""How long before the member's newest event topics are read; the row knows what is armed anyway."""


class Seen(msgspec.Struct, frozen=True):
    """One event of the member."""

    at: str
    type: str
    about: str


class Answer(msgspec.Struct, frozen=True):
    """All that is known of a member and its rules at an instant."""

    member: str
    as_of: str
    seen: tuple[Seen, ...]
    said: tuple[Said, ...]
    rules: tuple[RuleState, ...]
    # From when on events and decisions were looked for; None: from the first.
    since: str | None = None
    next_deadline_at: str | None = None
    # Until when nothing is sent, while that lasts.
    muted_until: str | None = None
    # Whether the rules that are told of here are those that the member's row was written by.
    same_rules: bool = True


def add_parsers(subparsers: "Subparsers") -> None:
    """Register ``why``; the parsed namespace holds its function as ``run``."""
    parser = subparsers.add_parser(
        "why",
        parents=[config_options(), broker_options()],
        help="why something did or did not fire (exit 1 for an unknown member)",
        description="Tell of one member, for one rule or all: what was seen, what was decided and "
        "why, what is armed and when. Of the running system, whose topics are read; or of event "
        "files, which are folded with the worker's own core.",
    )
    parser.add_argument("id", metavar="ID")
    parser.add_argument("rule", nargs="?", metavar="RULE")
    parser.add_argument("--events", nargs="+", type=Path, metavar="FILE", help="ask these instead")
    parser.add_argument(
        "--since",
        type=instant,
        metavar="TIME",
        help="of the running system: what arrived or was decided from then on (default: seven "
        "days before the member's newest event)",
    )
    parser.add_argument("--anonymous", action="store_true", help="ID is an anonymous id")
    parser.add_argument(
        "--until",
        type=instant,
        metavar="TIME",
        help="of event files: as of when; what comes later is not looked at (default: the last "
        "event)",
    )
    parser.add_argument("--language", choices=_LANGUAGES, default="en")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_why)


def run_why(args: argparse.Namespace) -> int:
    """Tell; return the exit code."""
    try:
        settings = settings_of(args)
        book = book_of(args.config, settings)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return _BAD_INPUT
    if args.rule is not None and args.rule not in book.rules:
        hint = suggestion(args.rule, book.rules)
        print(f"there is no rule {args.rule!r}{hint}", file=sys.stderr)
        return _BAD_INPUT
    try:
        if args.events:
            answer, unknown = _of_files(args, book), _unheard_of(args)
        else:
            kind = "anonymous id" if args.anonymous else "member"
            with live_member(settings, (args.anonymous, args.id)) as live:
                answer, unknown = _of_life(args, book, live), f"there is no {kind} {args.id!r}"
    except (BadLine, OSError, Unreadable, UnknownVersion) as error:
        print(error, file=sys.stderr)
        return _BAD_INPUT
    if answer is None:
        print(unknown, file=sys.stderr)
        return _FAILED
    if args.json:
        print(msgspec.json.encode(answer).decode())
    else:
        print("\n".join(_lines(answer, book, args.language == "zh")))
    return _DONE


def _of_files(args: argparse.Namespace, book: RuleBook) -> Answer | None:
    key: MemberKey = (args.anonymous, args.id)
    events = in_order(read_events(args.events, ReadingReport(), lambda _: None))
    if args.until is not None:
        events = [event for event in events if event.at <= args.until]
    mine = [event for event in events if key_of(event) == key]
    if not mine:
        return None
    run = Replay(book)
    outcomes = [run.fold(event) for event in mine]
    outcomes += run.finish(events[-1].at if args.until is None else args.until)
    member = run.members[key]
    names = [args.rule] if args.rule is not None else sorted(book.rules)
    return Answer(
        member=member.id,
        as_of=rfc3339(member.advanced_to),
        seen=_seen(mine),
        said=tuple(one for outcome in outcomes for one in _said(outcome, names)),
        rules=tuple(_states(member, names, book, args.language == "zh")),
        muted_until=muted_until(member),
    )


def _unheard_of(args: argparse.Namespace) -> str:
    until = "" if args.until is None else f" until {rfc3339(args.until)}"
    return f"no event{until} is about {args.id!r}"


def _of_life(args: argparse.Namespace, book: RuleBook, live: LiveMember) -> Answer | None:
    row = live.row()
    if row is None:
        return None
    return of_life(live, row, args.rule, book, since=args.since, chinese=args.language == "zh")


def of_life(
    live: LiveMember,
    row: bytes,
    rule: str | None,
    book: RuleBook,
    *,
    since: int | None,
    chinese: bool,
) -> Answer:
    """Return what is known of a member of the running system, about one rule or all.

    ``since`` (epoch ms): from when on topics are read; None: seven days before its newest event.
    Raises ``Unreadable``, and ``UnknownVersion`` for a row of a newer version.
    """
    anonymous, identity = live.member
    member = decode(row, identity, anonymous)
    if since is None:
        since = max(0, instant_of(member.newest) - LOOKED_BACK)
    heard = live.heard(since)
    names = [rule] if rule is not None else sorted(book.rules)
    due = due_of(row)
    return Answer(
        member=member.id,
        as_of=rfc3339(member.advanced_to),
        seen=_seen(heard.events),
        said=tuple(one for one in heard.said if one.rule in names),
        rules=tuple(_states(member, names, book, chinese)),
        since=rfc3339(since),
        next_deadline_at=None if due is None else rfc3339(due),
        muted_until=muted_until(member),
        same_rules=digest_of(row) == book.digest,
    )


def _seen(events: Iterable[Received]) -> tuple[Seen, ...]:
    return tuple(Seen(rfc3339(event.at), event.type, _about(event.event)) for event in events)


def _about(event: object) -> str:
    for field in ("item_id", "order_id", "tier", "balance", "channel", "query"):
        value = getattr(event, field, None)
        if value is not None:
            return f"{value:g}" if isinstance(value, float) else str(value)
    return ""


def _said(outcome: Outcome, names: list[str]) -> Iterator[Said]:
    for decision in outcome.decisions:
        if isinstance(decision, Decision) and decision.rule in names:
            yield decision
    for message in outcome.triggers:
        if isinstance(message, TriggerCancelled) and message.rule in names:
            yield message


def _states(member: Member, names: list[str], book: RuleBook, chinese: bool) -> Iterator[RuleState]:
    for name in names:
        yield rule_state(member, book.rules[name], book, chinese)


def _lines(answer: Answer, book: RuleBook, chinese: bool) -> Iterator[str]:
    yield f"{'会员' if chinese else 'member'} {answer.member}, {answer.as_of}"
    if not answer.same_rules:
        yield (
            "注意:该会员的状态由另一版规则写入,下列待触发时间可能不同"
            if chinese
            else "note: other rules than these have written this member: what is armed may differ"
        )
    if answer.muted_until is not None:
        yield f"{'静默至' if chinese else 'muted until'} {answer.muted_until}"
    since = answer.since
    if since is None:
        yield "看到的事件:" if chinese else "seen:"
    else:
        yield f"自 {since} 起看到的事件:" if chinese else f"seen since {since}:"
    for seen in answer.seen:
        yield f"  {seen.at}  {seen.type} {seen.about}".rstrip()
    yield "作出的决定:" if chinese else "decided:"
    for one in answer.said:
        rule = book.rules.get(one.rule)
        if isinstance(one, Decision):
            verdict = verdict_in_words(one.verdict, chinese)
            again = ""
            if one.until is not None:
                again = (
                    f",将于 {one.until} 再次决定" if chinese else f", asked again at {one.until}"
                )
            why = in_language(one.why, rule, chinese)
            yield f"  {one.due_at}  {one.rule}: {verdict} ({why}){again}"
        elif isinstance(one, TriggerCancelled):
            verdict = "已撤回" if chinese else "cancelled"
            why = in_language(one.reason, rule, chinese)
            yield f"  {one.cancelled_at}  {one.rule}: {verdict} ({why})"
    for state in answer.rules:
        yield from _state_lines(state, chinese)
    if answer.next_deadline_at is not None:
        next_one = "下一个到期时间" if chinese else "next deadline of any rule or stage"
        yield f"{next_one}: {answer.next_deadline_at}"


def _state_lines(state: RuleState, chinese: bool) -> Iterator[str]:
    yield f"{state.rule} ({state.mode}): {state.when}"
    for armed in state.armed:
        yield f"  {'待触发' if chinese else 'armed'}: {armed.text}"
    for key, count in state.counted.items():
        about = f" ({key})" if key else ""
        yield f"  {'已计' if chinese else 'counted'}: {count}{about}"
    for asked in state.asks:
        word = (
            ("满足" if asked.holds else "不满足") if chinese else ("yes" if asked.holds else "no")
        )
        yield f"  {word}: {asked.text}"
    if state.last_raised_at is not None:
        yield f"  {'上次触发' if chinese else 'last raised'}: {state.last_raised_at}"
    for held in state.held:
        yield (
            f"  等待{held.text},至 {held.until}"
            if chinese
            else (f"  held: waits {held.text}, until {held.until}")
        )
    for trigger in state.open:
        yield f"  {'未过期的触发' if chinese else 'open'}: {trigger}"
