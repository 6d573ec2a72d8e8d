"""The process around a fast lane app."""

import asyncio
import gc

import faust

from agents.fastlane.app import FastApp
from agents.fastlane.failstop import fail_stop
from agents.fastlane.quiet import quieten_libraries
from agents.fastlane.settings import SERVICE_LOG


class FastWorker(faust.Worker):  # type: ignore[misc]
    """Faust's worker without its spinner, its hold on the log, and its redirection of print."""

    logger = SERVICE_LOG

    def __init__(self, app: FastApp, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(app, quiet=True, redirect_stdouts=False, override_logging=False, loop=loop)
        self.spinner = None


def run_worker(app: FastApp) -> int:
    """Run the app in this process until SIGTERM or SIGINT and return the exit code, 0.

    A signal lets the lanes finish what is under way, commits, and leaves the group, within 5
    seconds. Whatever else ends the worker ends the process with exit code 70.
    """
    quieten_libraries()
    _collect_seldom()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = FastWorker(app, loop)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if ended.code:
            fail_stop(worker.crash_reason or f"the worker ended with exit code {ended.code}")
    except Exception as error:
        fail_stop(error)
    return 0


def _collect_seldom() -> None:
    # Records come and go by the thousand and hold no cycles; Python's default looks at all that
    # is young after every 700 of them, and at everything old with each 70,000.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
