"""The command line: ``lifecycle COMMAND``. Each part registers its own commands."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from config.errors import ConfigErrors

# Modules with ``add_parsers(subparsers)``; each parsed namespace holds its function as ``run``.
PARTS = (
    "app.demo.commands",
    "app.stack.commands",
    "app.broker_commands",
    "app.worker_command",
    "app.importers.commands",
    "app.replay_command",
    "app.rules_commands",
    "app.rfm_command",
    "app.evaluate.commands",
    "app.try_.commands",
    "app.member_command",
    "app.projection_command",
    "app.why_command",
    "app.contracts",
    "app.bench.commands",
    "app.chaos.commands",
)
BAD_INPUT = 2
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells say it


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and where more is to be read."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(BAD_INPUT, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser with every command."""
    result = OneLineParser(
        prog="lifecycle",
        description="Real-time member lifecycle engine: events in, correct triggers out.",
    )
    result.add_argument("--version", action="version", version=version("member-lifecycle"))
    commands = result.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for part in PARTS:
        import_module(part).add_parsers(commands)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 failed or differed, 2 bad usage or input."""
    parsed = parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except ConfigErrors as errors:
        for error in errors.errors:
            print(error, file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough (`| head`).
        sys.stderr.close()
        return 0
    return code
