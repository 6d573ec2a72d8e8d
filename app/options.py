"""Options that several commands share, and how they become settings and a rule book."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from config.paths import load_config
from config.settings import Settings, load_settings
from models.decoding import LAST_EVENT
from models.rulebook import RuleBook
from models.times import parse_instant, rfc3339

if TYPE_CHECKING:
    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def instant(text: str) -> int:
    """Return epoch milliseconds; for argparse."""
    try:
        found = parse_instant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 <= found <= LAST_EVENT:
        raise argparse.ArgumentTypeError(f"{text!r} is before 1970 or after {rfc3339(LAST_EVENT)}")
    return found


def positive(text: str) -> int:
    """Return a whole number above zero; for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return number


def broker_options() -> argparse.ArgumentParser:
    """Return the parent of commands that talk to Kafka."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--broker", metavar="HOST:PORT", help="Kafka (default: LIFECYCLE_BROKER)")
    parent.add_argument(
        "--settings", type=Path, metavar="FILE", help="settings in TOML (see .env.example)"
    )
    return parent


def config_options() -> argparse.ArgumentParser:
    """Return the parent of commands that use rules, stages and policy."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "--config",
        type=Path,
        metavar="DIR",
        help="folder with rules/, stages.yaml, policy.yaml; what it lacks comes from the package",
    )
    return parent


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the environment, the file and the options give.

    Raises ``ConfigErrors``.
    """
    chosen = {
        name: str(value)
        for name in ("broker", "redis", "partitions")
        if (value := getattr(arguments, name, None)) is not None
    }
    return load_settings(os.environ, getattr(arguments, "settings", None), chosen)


def book_of(directory: Path | None, settings: Settings) -> RuleBook:
    """Return the compiled rule book of a configuration folder; raise ``ConfigErrors``."""
    loaded = load_config(directory)
    return RuleBook(
        loaded.rules,
        loaded.stages,
        loaded.policy,
        settings.limits(),
        loaded.audiences,
        loaded.predictions,
        loaded.chinese,
    )
