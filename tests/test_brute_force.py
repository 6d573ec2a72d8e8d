"""The replay against an independent oracle: every absence rule, every trigger and cancellation."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from brute_force import Expected, expected, one_id_per_occasion
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    POLICY,
    RULES,
    SECOND,
    absence,
    book_of,
    event,
    random_log,
    replayed,
    shipped_book,
    write_rules,
)

from app.event_files import read_lines
from app.importers.report import Report
from app.importers.sources import read_data_set
from app.simulator import simulate
from config.paths import package_dir
from models.rulebook import RuleBook
from models.times import parse_instant
from models.triggers import Trigger

DATA = Path(__file__).parents[2] / "shared" / "data"


def engine_says(
    events: Iterable[Mapping[str, Any]], book: RuleBook, until: int | None = None
) -> Expected:
    """What the core says of its absence rules, in the oracle's words."""
    messages = replayed(events, book, until)
    triggers = [m for m in messages if isinstance(m, Trigger) and m.rule in book.track_of_rule]
    records = [
        {name: getattr(t, name) for name in ("trigger_id", "member_id", "rule", "rule_version")}
        | {"occasion": t.occasion}
        for t in triggers
    ]
    assert one_id_per_occasion(records)
    occasions = {t.trigger_id: t.occasion for t in triggers}
    assert len(occasions) == len(triggers), "a trigger was raised twice"
    return Expected(
        frozenset(
            (
                t.member_id,
                t.rule,
                t.rule_version,
                t.occasion,
                parse_instant(t.due_at),
                parse_instant(t.expires_at),
            )
            for t in triggers
        ),
        frozenset(
            (m.member_id, m.rule, occasions[m.trigger_id], parse_instant(m.cancelled_at))
            for m in messages
            if not isinstance(m, Trigger) and m.trigger_id in occasions
        ),
    )
