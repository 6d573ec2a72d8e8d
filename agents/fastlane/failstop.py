"""Stopping the process at once, because going on could be wrong."""

import logging
import os
import sys
from typing import NoReturn

from agents.ports import StopWorker

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: a supervisor may start the worker again, nothing is lost."""

log = logging.getLogger(__name__)


def fail_stop(reason: BaseException | str) -> NoReturn:
    """Log one line with the reason and end the process with exit code 70, from any thread.

    Nothing is flushed, committed or closed: an orderly end would acknowledge work that failed,
    and what is not acknowledged is done again by whoever owns the lane next.
    """
    if isinstance(reason, BaseException) and not isinstance(reason, StopWorker):
        log.critical("stopping: %s", _one_line(reason), exc_info=reason)
    else:
        log.critical("stopping: %s", reason)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(EXIT_CODE)


def _one_line(reason: BaseException) -> str:
    return " ".join(f"{type(reason).__name__}: {reason}".split())
