"""The choices of ``predictions.yaml``."""

from pathlib import Path

from config.errors import ConfigError
from config.reading import Field, Report
from config.yaml_source import parse_file
from models.predictions import LONGEST, SHORTEST, Predictions
from models.times import DAY

_KEYS = ("horizon", "share", "margin")


def read_predictions(path: Path) -> tuple[Predictions | None, list[ConfigError]]:
    """Return what a file chooses, and every mistake; an empty file switches predictions off."""
    root, errors = parse_file(path)
    if root is None:
        return None, errors
    report = Report(str(path))
    section = Field(root, "", report).section(_KEYS)
    chosen = Predictions(
        horizon=_days(section.require("horizon")),
        share=section.optional("share", lambda field: field.number(0.001, 1.0), 1.0),
        margin=section.optional("margin", lambda field: field.number(0.001, 1.0), 1.0),
    )
    return chosen, errors + report.errors


def _days(field: Field) -> int:
    mistakes = len(field.report.errors)
    days, rest = divmod(field.duration(), DAY)
    whole = not rest and SHORTEST <= days <= LONGEST
    if not whole and len(field.report.errors) == mistakes:
        field.wrong(f"must be whole days from {SHORTEST}d to {LONGEST}d")
    return days
