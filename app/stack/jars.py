"""Apache Kafka's jars: fetched once into the user's cache, and checked before every start.

The resolver accepts a truncated file and only warns of a wrong one, so the sums of all jars ship
with this package, and the class path is exactly the jars that they name.
"""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from app.stack import processes
from app.stack.errors import StackError
from app.stack.files import locked, rotate

KAFKA_VERSION = "4.1.0"
_COORDINATES = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
_RESOLVE = "import sys, jgo; jgo.build(sys.argv[1])"
# The resolver's own time-outs are 10 s a request, and up to a minute when it is told to slow down.
_STALLED_S = 240.0


def cache_dir() -> Path:
    """Return where this user's jars are kept (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "member-lifecycle" / f"kafka-{KAFKA_VERSION}"


def class_path(progress: Callable[[str], None], mark: str) -> str:
    """Return the class path of Apache Kafka, after checking every jar of it against its sum.

    Jars that are missing or differ are fetched, twice at most; one process fetches at a time.
    ``mark`` is put on the fetching process's command line, so that it can be found. Raises
    StackError when the jars are not to be had.
    """
    sums = _sums()
    cache = cache_dir()
    good = _good(cache, sums)
    if len(good) < len(sums):
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"{cache} cannot be made ({error.strerror}): set XDG_CACHE_HOME to another folder"
            ) from error
        waiting = f"waiting for another process that fetches Apache Kafka {KAFKA_VERSION}"
        with locked(cache / "lock", lambda: progress(waiting)) as lock:
            good = _fetch(cache, sums, progress, mark, lock)
    return os.pathsep.join(str(good[name]) for name in sums)


def _sums() -> dict[str, str]:
    lines = (files("app.stack") / "jars.sha256").read_text().splitlines()
    return {name: total for total, name in (line.split() for line in lines)}


def _good(cache: Path, sums: dict[str, str]) -> dict[str, Path]:
    found = {}
    for jar in _repository(cache).rglob("*.jar"):
        with jar.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() == sums.get(jar.name):
                found[jar.name] = jar
    return found


def _fetch(
    cache: Path,
    sums: dict[str, str],
    progress: Callable[[str], None],
    mark: str,
    lock: int,
) -> dict[str, Path]:
    log = cache / "fetch.log"
    rotate(log)
    # The second time nothing is trusted but the jars whose sums are right.
    for trusted in ("*.jar", "*"):
        good = _good(cache, sums)
        if len(good) == len(sums):
            return good
        for file in _repository(cache).rglob(trusted):
            if file.is_file() and good.get(file.name) != file:
                file.unlink()
        _resolve(cache, len(sums), progress, mark, lock)
    good = _good(cache, sums)
    if len(good) < len(sums):
        missing = ", ".join(sorted(sums.keys() - good.keys())[:3])
        raise StackError(
            f"Apache Kafka {KAFKA_VERSION} could not be fetched ({len(good)} of {len(sums)} jars "
            f"are right, not {missing}; see {log}): check this machine's package access to Maven "
            "Central, or point --broker and --redis at servers that already run"
        )
    return good


def _resolve(
    cache: Path, total: int, progress: Callable[[str], None], mark: str, lock: int
) -> None:
    # The resolver takes an environment it once built for complete, whatever it lacks now.
    shutil.rmtree(cache / "resolver", ignore_errors=True)
    # The child holds the lock as well: if we die, nobody fetches beside it.
    resolver = processes.spawn(
        [sys.executable, "-c", _RESOLVE, _COORDINATES, mark],
        cache / "fetch.log",
        cwd=cache,
        env={
            **os.environ,
            "JGO_CACHE_DIR": str(cache / "resolver"),
            "M2_REPO": str(_repository(cache)),
        },
        pass_fds=[lock],
    )
    try:
        _follow(resolver, _repository(cache), total, progress)
    finally:
        processes.stop([resolver], grace_s=0)
        shutil.rmtree(cache / "resolver", ignore_errors=True)


def _follow(
    resolver: processes.Process, repository: Path, total: int, progress: Callable[[str], None]
) -> None:
    told = grown = time.monotonic()
    size = -1
    while resolver.alive:
        time.sleep(processes.POLL_S)
        now = time.monotonic()
        if now - told < 1:
            continue
        told = now
        jars = len(list(repository.rglob("*.jar")))
        so_far = f"{jars} of {total} jars" if jars else "finding out which jars"
        progress(f"fetching Apache Kafka {KAFKA_VERSION}: {so_far}")
        before, size = size, sum(file.stat().st_size for file in repository.rglob("*"))
        if size != before:
            grown = now
        elif now - grown > _STALLED_S:
            return


def _repository(cache: Path) -> Path:
    return cache / "repository"
