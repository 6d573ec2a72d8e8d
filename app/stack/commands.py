"""``lifecycle up``, ``down`` and ``status``."""

import argparse
import json
import os
import sys
from pathlib import Path

from app import stack
from app.stack import StackError, StackInfo

_DONE, _FAILED, _BAD_USAGE = 0, 1, 2


def add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the commands; each parsed namespace holds its function as ``run``."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--data-dir",
        type=Path,
        default=None,
        help="where the stack keeps its data (default: LIFECYCLE_DATA_DIR, else "
        "member-lifecycle under XDG_STATE_HOME or ~/.local/state)",
    )
    shared.add_argument(
        "--json", action="store_true", help="print one JSON object as the last line"
    )
    up = subparsers.add_parser(
        "up", parents=[shared], help="start Apache Kafka and Redis on this machine"
    )
    up.set_defaults(run=run_up)
    down = subparsers.add_parser("down", parents=[shared], help="stop them; their data is kept")
    down.add_argument("--purge", action="store_true", help="forget their data too")
    down.set_defaults(run=run_down)
    status = subparsers.add_parser(
        "status", parents=[shared], help="say where they listen (exit 1 when they do not run)"
    )
    status.set_defaults(run=run_status)


def default_data_dir() -> Path:
    """Return where the stack keeps its data when nobody says where."""
    named = os.environ.get("LIFECYCLE_DATA_DIR")
    if named:
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "member-lifecycle"


def run_up(args: argparse.Namespace) -> int:
    """Start the stack; return the exit code."""
    data = _data_dir(args)
    if data is None:
        return _BAD_USAGE
    try:
        info = stack.up(data, _say)
    except StackError as error:
        return _fail(error)
    _tell(args, info, f"Apache Kafka at {info.broker}, Redis at {info.redis}, data in {info.data}")
    return _DONE


def run_down(args: argparse.Namespace) -> int:
    """Stop the stack; return the exit code."""
    data = _data_dir(args)
    if data is None:
        return _BAD_USAGE
    try:
        stack.down(data, purge=args.purge)
    except StackError as error:
        return _fail(error)
    _tell(args, None, "down; its data is gone" if args.purge else "down; its data is kept")
    return _DONE


def run_status(args: argparse.Namespace) -> int:
    """Say whether the stack runs; return the exit code."""
    data = _data_dir(args)
    if data is None:
        return _BAD_USAGE
    info = stack.status(data)
    if info is None:
        _tell(args, None, "down; start it with 'lifecycle up'")
        return _FAILED
    _tell(args, info, f"up: Apache Kafka at {info.broker}, Redis at {info.redis}")
    return _DONE


def _data_dir(args: argparse.Namespace) -> Path | None:
    data: Path = args.data_dir or default_data_dir()
    if data.exists() and not data.is_dir():
        _say(f"lifecycle: --data-dir {data} is not a directory")
        return None
    return data


def _fail(error: StackError) -> int:
    _say(f"lifecycle: {error}")
    return _FAILED


def _tell(args: argparse.Namespace, info: StackInfo | None, text: str) -> None:
    if args.json:
        keys: dict[str, str | None] = {"broker": None, "redis": None, "data": None}
        if info is not None:
            keys = {"broker": info.broker, "redis": info.redis, "data": str(info.data)}
        text = json.dumps(keys)
    sys.stdout.write(text + "\n")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
