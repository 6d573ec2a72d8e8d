"""Data files that come inside other PyPI packages, found without importing those packages."""

from importlib.util import find_spec
from pathlib import Path

from app.importers.report import InputError


def packaged_file(package: str, inside: str) -> Path:
    """Return the path of a file inside an installed package, whose code is never run.

    Raises ``InputError`` when the package is not installed or lacks the file.
    """
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / inside
        if path.is_file():
            return path
    raise InputError(
        f"the data file {package}/{inside} is not installed: pip install member-lifecycle[data]"
    )
