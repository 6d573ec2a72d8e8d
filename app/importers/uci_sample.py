"""Makes the packaged sample: ``python -m app.importers.uci_sample SOURCE OUT``.

A command for developers: SOURCE is the whole "Online Retail" file, OUT is
``config/data/uci_sample.jsonl.gz``. The same source gives the same bytes.
"""

import argparse
from pathlib import Path

from app.event_files import write_events
from app.importers import uci
from app.importers.report import Report

MEMBERS = 1000
SEED = 1


def make(source: Path, out: Path) -> int:
    """Write the sample of ``source`` to ``out`` and return the number of events."""
    return write_events(out, uci.sample(uci.read(source, Report()), MEMBERS, SEED))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m app.importers.uci_sample", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    print(f"{make(arguments.source, arguments.out)} events")


if __name__ == "__main__":
    main()
