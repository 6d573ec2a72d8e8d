"""Run the test files of rules through the real engine and say what differs."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from app.rule_cases import Case, Expected, Said, read_cases, written_time
from config.errors import ConfigError, ConfigErrors
from config.paths import LoadedConfig
from config.rule_files import TEST_SUFFIX
from models.calendar import Calendar
from models.outcome import Outcome
from models.policy import Consent, Policy
from models.predictions import Predictions
from models.replay import Replay, in_order
from models.rhythm import Rhythm
from models.rulebook import RuleBook
from models.rules import Limits, Rule
from models.times import parse_instant
from models.triggers import Decision, Trigger, TriggerCancelled


class Happened(msgspec.Struct, frozen=True):
    """One thing that a rule did."""

    at: int
    result: str
    occasion: str
    note: str


class Failure(msgspec.Struct, frozen=True):
    """One case that went otherwise than it says, with a difference a person can read."""

    rule: str
    case: str
    place: str
    lines: tuple[str, ...]


def case_files(rules: Path) -> list[Path]:
    """Return the test files of a folder of rules."""
    return sorted(rules.glob(f"*{TEST_SUFFIX}"))


def load_cases(rules: Path, config: LoadedConfig) -> list[tuple[str, Case]]:
    """Return every case with its rule's name; raise ``ConfigErrors`` with all that is wrong."""
    found, errors = read_all_cases(rules, frozenset(rule.name for rule in config.rules))
    if errors:
        raise ConfigErrors(errors)
    return found


def read_all_cases(
    rules: Path, names: frozenset[str]
) -> tuple[list[tuple[str, Case]], list[ConfigError]]:
    """Return every case with its rule's name, which is one of ``names``, and every mistake."""
    found: list[tuple[str, Case]] = []
    errors: list[ConfigError] = []
    for path in case_files(rules):
        cases, mistakes = read_cases(path, names)
        errors += mistakes
        found += [(path.name.removesuffix(TEST_SUFFIX), case) for case in cases]
    return found, errors


def run_cases(cases: Iterable[tuple[str, Case]], config: LoadedConfig) -> list[Failure]:
    """Return the cases that fail; all rules and stages are in force, and members' own words.

    What else is sent, and when, is no part of what a rule means: neither caps nor quiet hours, nor
    over how long a calendar rule is spread.
    """
    policy = _members_words(config.policy)
    rules = tuple(map(_unspread, config.rules))
    books: dict[str, RuleBook] = {}
    failures = []
    for name, case in cases:
        zone = case.clock.zone
        if zone not in books:
            limits = Limits(time_zone=zone)
            books[zone] = RuleBook(
                rules, config.stages, policy, limits, config.audiences, Predictions()
            )
        book = books[zone]
        when = book.rules[name].when
        same = getattr(when, "same", None)
        lines = tuple(_differences(case, _run(case, name, book), same))
        if lines:
            failures.append(Failure(name, case.name, f"{case.file}:{case.line}", lines))
    return failures


def _members_words(policy: Policy) -> Policy:
    """Return a policy that asks nothing but by which channels the member wants to be reached.

    Whoever stops marketing for a day, or no longer waits for tickets, has changed no rule.
    """
    return Policy(
        consent=None if policy.consent is None else Consent(),
        channels=policy.channels,
        reachability=policy.reachability,
    )


def _unspread(rule: Rule) -> Rule:
    when = rule.when
    if not isinstance(when, Calendar):
        return rule
    return msgspec.structs.replace(rule, when=msgspec.structs.replace(when, spread=0))


def _run(case: Case, rule: str, book: RuleBook) -> list[Happened]:
    models = Script()
    run = Replay(book, models)
    outcomes = []
    scores = list(case.scores)
    for received in in_order(case.events):
        while scores and scores[0].at < received.at:
            outcomes += _score(run, models, scores.pop(0))
        outcomes.append(run.fold(received))
    for said in scores:
        outcomes += _score(run, models, said)
    outcomes += run.finish(case.until)
    occasions: dict[str, str] = {}
    return [done for outcome in outcomes for done in _of(outcome, rule, occasions)]


class Script:
    """The model of a case: it says what the case says that it says."""

    version = 0

    def __init__(self) -> None:
        self.said: Said | None = None

    def at(self, _: int) -> "Script | None":
        """Return the model of every day: none before the first score."""
        return self if self.said is not None else None

    def churn(self, _: Rhythm, __: int) -> tuple[float, None]:
        """Return the probability that the case names."""
        assert self.said is not None
        return self.said.churn, None

    def value(self, _: Rhythm, __: int) -> int:
        """Return the expected value that the case names, in cents."""
        assert self.said is not None
        return round(self.said.expected_value * 100)

    def because(self, _: Rhythm, __: int) -> tuple[tuple[str, str], ...]:
        """Return no reason: a case names none."""
        return ()


def _score(run: Replay, models: Script, said: Said) -> list[Outcome]:
    before = list(run.finish(said.at))  # by what was said until then
    models.said = said
    return [*before, *run.rescore(said.at)]


def _of(outcome: Outcome, rule: str, occasions: dict[str, str]) -> Iterator[Happened]:
    for message in outcome.triggers:
        if isinstance(message, Trigger) and message.rule == rule:
            occasions[message.trigger_id] = message.occasion
            at = parse_instant(message.due_at)
            yield Happened(at, "raised", message.occasion, message.reason.text)
        elif isinstance(message, TriggerCancelled) and message.rule == rule:
            at = parse_instant(message.cancelled_at)
            occasion = occasions.get(message.trigger_id, "")
            yield Happened(at, "cancelled", occasion, message.reason)
    for decision in outcome.decisions:
        # A verdict "raised" is the trigger above.
        if (
            isinstance(decision, Decision)
            and decision.rule == rule
            and decision.verdict != "raised"
        ):
            at = parse_instant(decision.due_at)
            yield Happened(at, decision.verdict, decision.occasion, decision.why)


def _fits(expected: Expected, done: Happened, same: str | None) -> bool:
    return (
        expected.at == done.at
        and expected.result == done.result
        and (expected.key is None or done.occasion.startswith(f"{same}={expected.key}|"))
        and (expected.by is None or expected.by == done.note)
    )


def _differences(case: Case, happened: list[Happened], same: str | None) -> Iterator[str]:
    unexpected = list(happened)
    missing = []
    for expected in case.expect:
        for done in unexpected:
            if _fits(expected, done, same):
                unexpected.remove(done)
                break
        else:
            missing.append(expected)
    for expected in missing:
        key = f" key: {expected.key}" if expected.key is not None else ""
        by = f" by: {expected.by}" if expected.by is not None else ""
        offset = written_time(expected.at, case.clock)
        yield f"- expected  at: {offset}  is: {expected.result}{key}{by}"
    for done in unexpected:
        offset = written_time(done.at, case.clock)
        yield f"+ happened  at: {offset}  is: {done.result}  ({done.occasion}: {done.note})"
