"""Real data to event files: one module per source, each with ``read(path, report)``."""
