"""What is wrong with the configuration, all of it at once."""

from collections.abc import Iterable

import msgspec


class ConfigError(msgspec.Struct, frozen=True):
    """One mistake: where it is, whose it is, and what would be right.

    ``line`` and ``column`` count from 1; they are 0 where a source has no positions (an
    environment variable).
    """

    file: str
    line: int
    column: int
    rule: str
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.rule, self.field, self.message) if part)


class ConfigErrors(Exception):
    """Every mistake of every file read, in the order of the files and lines."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda e: (e.file, e.line, e.column, e.field)))
        super().__init__("\n".join(map(str, self.errors)))
