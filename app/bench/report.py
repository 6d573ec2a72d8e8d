"""How figures are printed, and what they were measured on."""

import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def machine() -> dict[str, Any]:
    """Return what a figure means nothing without: when, on what, and how busy that was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Return count, median, 99th percentile and maximum; only the count of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    return {
        "count": len(ordered),
        "p50": round(at(ordered, 0.5), 2),
        "p99": round(at(ordered, 0.99), 2),
        "max": round(ordered[-1], 2),
    }


def at(ordered: Sequence[float], share: float) -> float:
    """Return the value below or at which that share of sorted values lies."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows with the same keys as aligned text under their names."""
    names = list(rows[0])
    cells = [names, *([_shown(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
