"""A member under a policy that is written as its file would be, and what was decided about them."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core_builders import Life, book_of, write_rules

from models.rulebook import RuleBook
from models.triggers import Decision, Trigger


def book(policy: Mapping[str, Any], *rules: Mapping[str, Any], **limits: Any) -> RuleBook:
    """Rules under a policy, read from files as those of a shop."""
    with TemporaryDirectory() as name:
        words = Path(name) / "words.yaml"
        words.write_text(json.dumps(policy))
        return book_of(write_rules(Path(name) / "rules", *rules), words, **limits)


def on(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A rule that an event raises."""
    return {"rule": name, "when": {"event": kind}, "expires_after": "3d", **more}


class Judged(Life):
    """A life with its decisions at hand."""

    @property
    def decisions(self) -> list[Decision]:
        found = [d for outcome in self.outcomes for d in outcome.decisions]
        return [d for d in found if isinstance(d, Decision)]

    def verdicts_of(self, rule: str) -> list[str]:
        return [d.verdict for d in self.decisions if d.rule == rule]

    def last(self, rule: str) -> Decision:
        return [d for d in self.decisions if d.rule == rule][-1]

    @property
    def triggers(self) -> list[Trigger]:
        return [m for m in self.said if isinstance(m, Trigger)]


def living(
    policy: Mapping[str, Any], *rules: Mapping[str, Any], name: str = "m1", **limits: Any
) -> Judged:
    return Judged(book(policy, *rules, **limits), name)
