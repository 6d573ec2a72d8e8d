"""``lifecycle evaluate churn|value|next``: how good the predictions are on a log of events."""

import argparse
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from models.predictions import HORIZON, LONGEST, SHORTEST
from models.times import DAY, parse_duration

if TYPE_CHECKING:
    from app.options import Subparsers

PICTURES = (".png", ".html")
NO_PICTURES = "matplotlib is not installed: pip install member-lifecycle[evaluate]"


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the commands."""
    evaluate = subparsers.add_parser(
        "evaluate",
        help="how good the predictions are on a log: churn, value, next",
        description="Go through event files as the live system would, with a question to every "
        "member each week, and compare what was said with what came true.",
    )
    kinds = evaluate.add_subparsers(dest="kind", metavar="WHAT", required=True)
    churn = _add(kinds, "churn", "no order within the horizon: AUC, log loss, calibration")
    churn.add_argument(
        "--horizon", type=horizon, default=HORIZON, metavar="DURATION", help="default: 30d"
    )
    churn.add_argument(
        "--plot", type=picture, metavar="FILE", help="reliability and AUC by week: .png or .html"
    )
    _add(kinds, "value", "what members spend within 90 days: error, bias, ranking")
    _add(kinds, "next", "when members order next: error in days, coverage of the interval")


def horizon(text: str) -> int:
    """Return whole days; for argparse."""
    try:
        milliseconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if milliseconds % DAY or not SHORTEST <= milliseconds // DAY <= LONGEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not {SHORTEST}d to {LONGEST}d, in whole days"
        )
    return milliseconds // DAY


def picture(text: str) -> Path:
    """Return the path of a picture; for argparse."""
    path = Path(text)
    if path.suffix not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} ends neither with .png nor with .html")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {str(path.parent)!r}")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError(NO_PICTURES)
    return path


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and return the exit code."""
    # Numeric libraries take a second to import, which no other command should wait for.
    code: int = import_module("app.evaluate.running").run(arguments)
    return code


def _add(kinds: "Subparsers", name: str, about: str) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="event files")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.set_defaults(run=run)
    return parser
