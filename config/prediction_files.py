"""The choices of ``predictions.yaml``."""

from pathlib import Path

from config.errors import ConfigError
from config.reading import Field, Report
from config.yaml_source import parse_file
from models.predictions import Predictions
from models.times import DAY

_KEYS = ("horizon", "share", "margin")
_LEAST_DAYS, _MOST_DAYS = 7, 90


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
    # 7 days is what the quick labels ask about, and 90 how far back the trainer reads again.
    mistakes = len(field.report.errors)
    days, rest = divmod(field.duration(), DAY)
    whole = not rest and _LEAST_DAYS <= days <= _MOST_DAYS
    if not whole and len(field.report.errors) == mistakes:
        field.wrong(f"must be whole days from {_LEAST_DAYS}d to {_MOST_DAYS}d")
    return days
