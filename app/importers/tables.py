"""Reading tables: CSV with a header, and Parquet, both as tuples of the wanted columns."""

import csv
import io
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from app.event_files import GZIP_ERRORS, open_bytes
from app.importers.report import InputError, Report

_BATCH_ROWS = 65_536
_PARQUET_MAGIC = b"PAR1"
# Enough for any real header; another kind of file may be one long line.
_HEADER_SHOWN = 200


def csv_rows(
    path: Path,
    columns: Sequence[str],
    report: Report,
    *,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the wanted columns of each row of a CSV (or CSV.gz) file.

    Rows that are too short, or that have bytes in a wanted column which the encoding does not
    know, are recorded as bad and left out.

    Raises ``InputError`` when a column is missing from the header or the file is not CSV, and
    ``OSError`` when it cannot be read.
    """
    with (
        open_bytes(path) as raw,
        io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="") as text,
    ):
        reader = csv.reader(text, delimiter=delimiter)
        try:
            at = _positions(path, next(reader, []), columns)
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    report.row()
                    wanted = _wanted(line, cells, at, columns, encoding, report)
                    if wanted is not None:
                        yield line, wanted
                line = reader.line_num + 1
        except GZIP_ERRORS as error:
            raise InputError(f"{path}: the gzip data is damaged: {error}") from error
        except csv.Error as error:
            raise InputError(f"{path}:{reader.line_num}: not CSV: {error}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}:{reader.line_num + 1}: not {encoding}: {error}") from error


def is_parquet(path: Path) -> bool:
    """Tell by its magic whether a file is Parquet; raises ``OSError`` when it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC


def parquet_rows(
    path: Path, columns: Sequence[str], report: Report
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield the row number (from 1) and the wanted columns of each row of a Parquet file.

    Timestamps come as epoch milliseconds; those without a zone are taken as UTC.

    Raises ``InputError`` when pyarrow is not installed, a column is missing or the file is not
    Parquet, and ``OSError`` when it cannot be read.
    """
    arrow, parquet = _pyarrow()
    with path.open("rb") as file:
        try:
            table = parquet.ParquetFile(file)
        except arrow.ArrowInvalid as error:
            raise InputError(f"{path}: not Parquet: {error}") from error
        _positions(path, table.schema_arrow.names, columns)
        number = 0
        for batch in table.iter_batches(_BATCH_ROWS, columns=list(columns)):
            for row in zip(*(_values(arrow, batch[name]) for name in columns), strict=True):
                report.row()
                number += 1
                yield number, row


def _positions(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[int]:
    missing = [column for column in columns if column not in header]
    if missing:
        raise InputError(
            f"{path}:1: the header has no column {', '.join(missing)}; "
            f"it has {', '.join(header)[:_HEADER_SHOWN]}"
        )
    return [header.index(column) for column in columns]


def _wanted(
    line: int,
    cells: list[str],
    at: list[int],
    columns: Sequence[str],
    encoding: str,
    report: Report,
) -> list[str] | None:
    wanted = []
    for column, position in zip(columns, at, strict=True):
        if position >= len(cells):
            report.bad(line, column, "the row is too short")
            return None
        cell = cells[position]
        if not cell.isascii() and not cell.isprintable() and _undecoded(cell):
            report.bad(line, column, f"not {encoding}")
            return None
        wanted.append(cell)
    return wanted


def _undecoded(cell: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in cell)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise InputError(
            "reading Parquet needs pyarrow, which is not installed: "
            "pip install member-lifecycle[data]"
        ) from None


def _values(arrow: Any, column: Any) -> list[Any]:
    if arrow.types.is_timestamp(column.type):
        column = column.cast(arrow.timestamp("ms"), safe=False).cast(arrow.int64())
    values: list[Any] = column.to_pylist()
    return values
