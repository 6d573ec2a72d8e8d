"""One engine's process: ``python -m app.bench.engines ENGINE JOB``, the job as JSON."""

import sys
from importlib import import_module

import msgspec

from app.bench.meter import Job, Meter


def main() -> None:
    """Run the engine; the measurement is the last line of standard output."""
    name, job = sys.argv[1:]
    engine = import_module(f"app.bench.engines.{name}")
    engine.run(msgspec.json.decode(job, type=Job), Meter())


if __name__ == "__main__":
    main()
