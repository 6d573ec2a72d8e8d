"""Mutants of the shipped rules: a rule file with one small mistake, and who notices it.

A rule's cases (``NAME.test.yaml``) and its row of the table of facts (``rule_facts.py``) are asked,
for an episode the other rules' cases too; what none of them notices survives. Names, texts,
priorities and what is to be sent are left alone: no case can see them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias

import msgspec
from rule_facts import failures_of

from app.rule_cases import Case
from app.rule_tests import load_cases, run_cases
from config.calendar_files import load_festivals
from config.condition_files import Known
from config.errors import ConfigErrors
from config.paths import LoadedConfig, load_config, package_dir
from config.rule_files import load_rules
from config.yaml_source import parse_file, plain
from models.rules import Rule
from models.times import DAY, parse_duration

Where: TypeAlias = tuple[str | int, ...]

_UNSEEN = (
    *("rule", "version", "about", "serves", "priority", "purpose", "route", "group", "play"),
    *("channels", "ladder", "spread"),
)
# Without one of these a file is no rule at all.
_NEEDED = ("when", "expires_after", "reentry")
_OTHER_EVENT = "survey"


class Mutant(NamedTuple):
    """One file with one mistake; ``what`` names the mistake and its place."""

    rule: str
    what: str
    document: dict[str, Any]


class Fate(NamedTuple):
    """What became of a mutant: ``caught``, ``survived``, or ``invalid``: refused, or no change."""

    mutant: Mutant
    verdict: str


class RuleBookUnderTest:
    """The shipped rules with their cases, one of them mutated at a time."""

    def __init__(self) -> None:
        self._config = load_config()
        self._rules = {rule.name: rule for rule in self._config.rules}
        self._known = Known(festivals=load_festivals(package_dir() / "calendar.yaml"))
        self._cases: dict[str, list[Case]] = {name: [] for name in self._rules}
        for name, case in load_cases(package_dir() / "rules", self._config):
            self._cases[name].append(case)

    def mutants(self, names: Iterable[str] = ()) -> Iterator[Mutant]:
        """All mutants of the rules named, or of all."""
        for name in sorted(names or self._rules):
            root, _ = parse_file(package_dir() / "rules" / f"{name}.yaml")
            assert root is not None
            document = plain(root)
            assert isinstance(document, dict)
            yield from (Mutant(name, *found) for found in mutations(document))

    def fate_of(self, mutant: Mutant) -> Fate:
        """Let the mutant live through its rule's cases and facts."""
        rule = self._read(mutant)
        if rule is None or rule == self._rules[mutant.rule]:
            return Fate(mutant, "invalid")
        return Fate(mutant, "caught" if self._is_caught(rule) else "survived")

    def _read(self, mutant: Mutant) -> Rule | None:
        with TemporaryDirectory() as folder:
            (Path(folder) / f"{mutant.rule}.yaml").write_text(json.dumps(mutant.document))
            try:
                (rule,) = load_rules(Path(folder), self._known)
            except ConfigErrors:
                return None
        return rule

    def _is_caught(self, mutated: Rule) -> bool:
        rules = tuple((self._rules | {mutated.name: mutated}).values())
        config = msgspec.structs.replace(self._config, rules=rules)
        cases = self._cases[mutated.name]
        return bool(
            run_cases([(mutated.name, case) for case in cases], config)
            or failures_of(mutated.name, cases, config, first=True)
            or self._is_missed_by_others(mutated, config)
        )

    def _is_missed_by_others(self, mutated: Rule, config: LoadedConfig) -> bool:
        """Tell whether a rule whose triggers it should replace notices that it does not."""
        episode = self._rules[mutated.name].episode
        if mutated.episode == episode:
            return False
        others = [rule.name for rule in self._rules.values() if rule.episode == episode]
        cases = [(name, case) for name in others for case in self._cases[name]]
        return bool(run_cases(cases, config))


def mutations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each mistake with the document that has it."""
    for path, value in _leaves(document, ()):
        named = "/".join(map(str, path))
        if _may_be_dropped(path):
            yield f"{named} dropped", _changed(document, path, None)
        for new in _others(path, value):
            yield f"{named}: {value} -> {new}", _changed(document, path, new)


def _leaves(value: Any, path: Where) -> Iterator[tuple[Where, Any]]:
    """Everything inside with its path, but what no case can see."""
    if path:
        yield path, value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _UNSEEN:
                yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))


def _may_be_dropped(path: Where) -> bool:
    return path[-1] not in _NEEDED


def _others(path: Where, value: Any) -> Iterator[Any]:
    """What could stand there by a slip of the hand."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return
    if isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, float):
        yield from (value * 1.1, value * 0.9)
    elif re.fullmatch(r"\d+(ms|s|m|h|d|w)", value):
        span = parse_duration(value)
        yield from (f"{span + 1}ms", f"{span - 1}ms", f"{span + DAY}ms")
    elif re.fullmatch(r"\d\d:\d\d", value):
        yield value[:3] + ("01" if value.endswith("00") else "00")
    elif value in ("once", "always"):
        yield "once" if value == "always" else "always"
    elif path[-1] in ("after", "of", "until", "event") or "overtaken_by" in path:
        yield _OTHER_EVENT


def _changed(document: Mapping[str, Any], path: Where, new: Any) -> dict[str, Any]:
    found = deepcopy(dict(document))
    inner: Any = found
    for step in path[:-1]:
        inner = inner[step]
    if new is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return found
