"""``lifecycle why``: what a rule saw of a member, what was decided, and what it waits for."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.event_reading import BadLine, ReadingReport, read_events
from app.options import book_of, config_options, instant, settings_of
from config.reading import suggestion
from models.member import Member
from models.outcome import Outcome
from models.replay import MemberKey, Replay, in_order, key_of
from models.rulebook import RuleBook
from models.times import rfc3339
from models.triggers import Decision, Trigger, TriggerCancelled
from models.why import RuleState, rule_state
from models.wording import verdict_in_words

if TYPE_CHECKING:
    from app.options import Subparsers

_DONE, _FAILED, _BAD_INPUT = 0, 1, 2
_LANGUAGES = ("en", "zh")

Said = Decision | Trigger | TriggerCancelled


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


def add_parsers(subparsers: "Subparsers") -> None:
    """Register ``why``; the parsed namespace holds its function as ``run``."""
    parser = subparsers.add_parser(
        "why",
        parents=[config_options()],
        help="why something did or did not fire (exit 1 for an unknown member)",
        description="Fold event files with the worker's own core and tell of one member, for one "
        "rule or all: what was seen, what was decided and why, what is armed and when.",
    )
    parser.add_argument("id", metavar="ID")
    parser.add_argument("rule", nargs="?", metavar="RULE")
    parser.add_argument("--events", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--anonymous", action="store_true", help="ID is an anonymous id")
    parser.add_argument(
        "--until", type=instant, metavar="TIME", help="as of when (default: the last event)"
    )
    parser.add_argument("--language", choices=_LANGUAGES, default="en")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_why)


def run_why(args: argparse.Namespace) -> int:
    """Tell; return the exit code."""
    book = book_of(args.config, settings_of(args))
    if args.rule is not None and args.rule not in book.rules:
        hint = suggestion(args.rule, book.rules)
        print(f"there is no rule {args.rule!r}{hint}", file=sys.stderr)
        return _BAD_INPUT
    try:
        answer = _answer(args, book)
    except (BadLine, OSError) as error:
        print(error, file=sys.stderr)
        return _BAD_INPUT
    if answer is None:
        print(f"no event is about {args.id!r}", file=sys.stderr)
        return _FAILED
    if args.json:
        print(msgspec.json.encode(answer).decode())
    else:
        print("\n".join(_lines(answer, args.language == "zh")))
    return _DONE


def _answer(args: argparse.Namespace, book: RuleBook) -> Answer | None:
    key: MemberKey = (args.anonymous, args.id)
    events = in_order(read_events(args.events, ReadingReport(), lambda _: None))
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
        seen=tuple(Seen(rfc3339(event.at), event.type, _about(event.event)) for event in mine),
        said=tuple(one for outcome in outcomes for one in _said(outcome, names)),
        rules=tuple(_states(member, names, book, args.language == "zh")),
    )


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


def _lines(answer: Answer, chinese: bool) -> Iterator[str]:
    yield f"{'会员' if chinese else 'member'} {answer.member}, {answer.as_of}"
    yield "看到的事件:" if chinese else "seen:"
    for seen in answer.seen:
        yield f"  {seen.at}  {seen.type} {seen.about}".rstrip()
    yield "作出的决定:" if chinese else "decided:"
    for one in answer.said:
        if isinstance(one, Decision):
            verdict = verdict_in_words(one.verdict, chinese)
            yield f"  {one.due_at}  {one.rule}: {verdict} ({one.why})"
        elif isinstance(one, TriggerCancelled):
            verdict = "已撤回" if chinese else "cancelled"
            yield f"  {one.cancelled_at}  {one.rule}: {verdict} ({one.reason})"
    for state in answer.rules:
        yield from _state_lines(state, chinese)


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
    for trigger in state.open:
        yield f"  {'未过期的触发' if chinese else 'open'}: {trigger}"
