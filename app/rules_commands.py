"""``lifecycle rules check``, ``rules test`` and ``rules list``."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.rule_book import again, markdown
from app.rule_tests import load_cases, read_all_cases, run_cases
from config.calendar_files import missing_years
from config.doubts import doubtful_names
from config.errors import ConfigErrors
from config.paths import CALENDAR_FILE, RULES_FOLDER, LoadedConfig, find, load_config
from config.rule_files import rule_paths
from models.rules import Rule
from models.times import format_duration
from models.wording import described

_DONE, _FAILED, _BAD_INPUT = 0, 1, 2


def add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register ``rules``; each parsed namespace holds its function as ``run``."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config",
        type=Path,
        default=None,
        metavar="DIR",
        help="the folder with rules/, stages.yaml and policy.yaml; what it lacks comes from the "
        "package (default: the packaged configuration)",
    )
    shared.add_argument(
        "--json", action="store_true", help="print one JSON object as the last line"
    )
    rules = subparsers.add_parser("rules", help="check, test and list the rules")
    verbs = rules.add_subparsers(dest="verb", required=True, metavar="check|test|list")
    check = verbs.add_parser(
        "check", parents=[shared], help="every mistake in rules, stages and policy, all at once"
    )
    check.set_defaults(run=run_check)
    test = verbs.add_parser(
        "test", parents=[shared], help="run the *.test.yaml files (exit 1 when a case fails)"
    )
    test.set_defaults(run=run_test)
    table = verbs.add_parser("list", parents=[shared], help="the rules as a table")
    table.add_argument(
        "--markdown", action="store_true", help="print docs/rule-book.md instead of the table"
    )
    table.set_defaults(run=run_list)


def run_check(args: argparse.Namespace) -> int:
    """Check rules, stages, policy and the form of the tests; return the exit code.

    A festival without a date in this year or the next, and a name that is nearly a usual one, are
    no mistakes, but told as warnings.
    """
    folder = find(args.config, RULES_FOLDER)
    try:
        config = load_config(args.config)
        cases = load_cases(folder, config)
    except ConfigErrors as errors:
        # What is wrong with the tests is told beside what is wrong with the rules.
        _, of_tests = read_all_cases(folder, frozenset(path.stem for path in rule_paths(folder)))
        return _bad_input(args, ConfigErrors({*errors.errors, *of_tests}))
    years = missing_years(config.rules, datetime.now(UTC).year)
    warnings = [f"{find(args.config, CALENDAR_FILE)}: {warning}" for warning in years]
    warnings += doubtful_names(config.rules, config.audiences.segments, config.policy)
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    _say(f"ok: {len(config.rules)} rules, {len(cases)} test cases")
    summary = {"rules": len(config.rules), "cases": len(cases), "errors": []}
    _tell(args, {**summary, "warnings": warnings})
    return _DONE


def run_test(args: argparse.Namespace) -> int:
    """Run the cases; return the exit code."""
    try:
        config = load_config(args.config)
        cases = load_cases(find(args.config, RULES_FOLDER), config)
    except ConfigErrors as errors:
        return _bad_input(args, errors)
    failures = run_cases(cases, config)
    for failure in failures:
        _say(f"FAILED {failure.rule}: {failure.case} ({failure.place})")
        for line in failure.lines:
            _say(f"    {line}")
    tested = len({name for name, _ in cases})
    _say(f"{len(cases) - len(failures)} of {len(cases)} cases of {tested} rules passed")
    failed = [
        {"rule": one.rule, "case": one.case, "place": one.place, "lines": one.lines}
        for one in failures
    ]
    _tell(args, {"rules": tested, "cases": len(cases), "failed": failed})
    return _FAILED if failures else _DONE


def run_list(args: argparse.Namespace) -> int:
    """Print the rules; return the exit code."""
    try:
        config = load_config(args.config)
    except ConfigErrors as errors:
        return _bad_input(args, errors)
    if args.markdown:
        sys.stdout.write(markdown(config.rules, config.chinese))
        return _DONE
    Console(file=sys.stdout).print(_table(config))
    _tell(args, {"rules": [_row(rule) for rule in config.rules]})
    return _DONE


def _table(config: LoadedConfig) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("rule", "v", "mode", "when", "again", "expires", "priority", "group", "about"):
        table.add_column(heading, overflow="fold")
    for rule in config.rules:
        row = _row(rule)
        table.add_row(*(str(row[name]) for name in _COLUMNS))
    return table


_COLUMNS = (
    "rule",
    "version",
    "mode",
    "when",
    "reentry",
    "expires_after",
    "priority",
    "group",
    "about",
)


def _row(rule: Rule) -> dict[str, str | int]:
    return {
        "rule": rule.name,
        "version": rule.version,
        "mode": rule.mode,
        "when": described(rule, chinese=False),
        "reentry": again(rule.reentry),
        "expires_after": format_duration(rule.expires_after),
        "priority": rule.priority,
        "group": rule.group or "",
        "about": rule.about,
    }


def _bad_input(args: argparse.Namespace, errors: ConfigErrors) -> int:
    for error in errors.errors:
        sys.stderr.write(f"{error}\n")
    _tell(args, {"errors": [str(error) for error in errors.errors]})
    return _BAD_INPUT


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _tell(args: argparse.Namespace, summary: dict[str, object]) -> None:
    if args.json:
        _say(json.dumps(summary))
