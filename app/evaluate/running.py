"""One run of ``lifecycle evaluate``: read, ask, judge, report."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.evaluate.asked import Progress
from app.evaluate.churn import curves, figures, judge
from app.evaluate.counting import TooShort
from app.evaluate.next_order import next_orders
from app.evaluate.plot import draw
from app.evaluate.progress import Steps
from app.evaluate.reading import Log, expected_questions, read_log, sample
from app.evaluate.strays import QUIET
from app.evaluate.tables import amounts_text, churn_text
from app.evaluate.value import values
from app.event_reading import BadLine, ReadingReport
from app.options import settings_of
from models.training import Trainer

# More are a matter of an hour: then a sample of the members is asked, as it is in a large shop that
# runs (a tenth of a million members teaches twenty weights as well as all of them).
MOST_QUESTIONS = 800_000
DONE, FAILED, BAD_INPUT = 0, 1, 2
VALUE = {
    "rmse": "RMSE",
    "mae": "MAE",
    "bias": "bias",
    "spearman": "Spearman",
    "top_decile_share": "top tenth has",
    "interval_coverage": "in interval",
}
NEXT = {
    "medae": "median error, days",
    "mae": "mean error",
    "within_7_days": "within 7 days",
    "interval_coverage": "in interval",
}

# The report, and the same to be read.
Report = tuple[dict[str, Any], str]


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; return the exit code.

    0: done; 1: the log says too little, or questions turned out to know the future; 2: bad input.
    """
    began = time.monotonic()
    report = ReadingReport()
    limits = settings_of(arguments).limits()
    try:
        with Steps() as steps:
            log = read_log(arguments.files, report, limits, steps.lines)
            share = min(1.0, MOST_QUESTIONS / max(1, expected_questions(log)))
            asked = log if share == 1.0 else sample(log, share)
            found, text = EVALUATIONS[arguments.kind](asked, arguments, steps)
    except (BadLine, OSError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except TooShort as error:
        print(f"{_names(arguments.files)}: {error}", file=sys.stderr)
        return FAILED
    for line in report.bad:
        print(f"left out: {line}", file=sys.stderr)
    for note in _notes(log, share):
        found["notes"].append(note)
        text += f"\nnote: {note}"
    print(text)
    if arguments.json:
        seconds = round(time.monotonic() - began, 3)
        common = {
            "events": len(log.events),
            "dead_letters": report.dead_letters,
            "seconds": seconds,
        }
        print(json.dumps(found | common))
    return FAILED if found.get("truncation", {}).get("different") else DONE


def _churn(log: Log, arguments: argparse.Namespace, progress: Progress) -> Report:
    horizon = arguments.horizon
    judged = judge(log, lambda: Trainer(horizon), horizon, progress)
    progress("figures", 0, None)
    found = figures(judged)
    text = churn_text(found)
    if arguments.plot is not None:
        title = f"Churn within {horizon} days: {_names(arguments.files)}"
        draw(arguments.plot, curves(judged), title, text)
        text += f"\ndrawn: {arguments.plot}"
    return found, text


def _value(log: Log, _: argparse.Namespace, progress: Progress) -> Report:
    found = values(log, Trainer(), progress)
    return found, amounts_text(found, "what do they spend within 90 days?", VALUE)


def _next(log: Log, _: argparse.Namespace, progress: Progress) -> Report:
    found = next_orders(log, Trainer(), progress)
    return found, amounts_text(found, "in how many days do they order next?", NEXT)


EVALUATIONS: dict[str, Callable[[Log, argparse.Namespace, Progress], Report]] = {
    "churn": _churn,
    "value": _value,
    "next": _next,
}


def _notes(log: Log, share: float) -> Iterator[str]:
    if share < 1.0:
        yield f"a sample of {share:.1%} of the members, as the log is large"
    if log.strays:
        yield f"set aside, as more than {QUIET} days from all others: {log.strays} events"


def _names(files: list[Path]) -> str:
    return ", ".join(path.name for path in files)
