"""Books of segments and tags, and what was said of a member's segments, for tests."""

import json
from pathlib import Path
from typing import Any

import msgspec
from core_builders import Life, write_rules

from config.condition_files import Known
from config.paths import package_dir
from config.rule_files import load_rules
from config.segment_files import known_with, load_segments
from config.stage_files import load_stages
from models.member import Member
from models.policy import Policy
from models.projection import project
from models.rulebook import RuleBook
from models.rules import Limits
from models.triggers import Transition

Json = dict[str, Any]


def book_with(folder: Path, segments: Json, *rules: Json, **more: Any) -> RuleBook:
    """A book of segments (name -> condition), and of rules that may name them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "segments.yaml"
    found = {name: {"about": f"{name}.", "if": wanted} for name, wanted in segments.items()}
    path.write_text(json.dumps({"tags": more.pop("tags", {}), "segments": found}))
    tables = more.pop("tables", ())
    audiences = msgspec.structs.replace(load_segments(path), tables=tables)
    known = known_with(audiences, Known())
    return RuleBook(
        load_rules(write_rules(folder / "rules", *rules), known),
        load_stages(package_dir() / "stages.yaml"),
        Policy(),
        Limits(**more),
        audiences,
    )


def moves(life: Life) -> list[tuple[str, str]]:
    """What was said of segments: +name or -name, and when."""
    return [
        (f"+{one.after}" if one.after else f"-{one.before}", one.at) for one in transitions(life)
    ]


def transitions(life: Life) -> list[Transition]:
    found = [d for outcome in life.outcomes for d in outcome.decisions]
    return [d for d in found if isinstance(d, Transition) and d.kind == "segment"]


def segments_of(member: Member, book: RuleBook) -> set[str]:
    return {one.segment for one in project(member, None, book).segments}
