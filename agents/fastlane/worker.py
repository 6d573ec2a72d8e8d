"""The process around a fast lane app."""

import asyncio
import gc
import logging
import os
import signal
from threading import Timer
from typing import Any

import faust

from agents.fastlane.app import FastApp
from agents.fastlane.failstop import fail_stop
from agents.fastlane.quiet import quieten_libraries
from agents.fastlane.settings import SERVICE_LOG

log = logging.getLogger(__name__)

STOP_SECONDS = 4.0
"""When a stop that has been asked for is cut short: supervisors kill after 5 to 10 seconds."""


class FastWorker(faust.Worker):  # type: ignore[misc]
    """Faust's worker without its spinner, its hold on the log, and its redirection of print."""

    logger = SERVICE_LOG
    told_to_stop = False
    _finishing: asyncio.Future[None] | None = None

    def __init__(self, app: FastApp, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(app, quiet=True, redirect_stdouts=False, override_logging=False, loop=loop)
        self.spinner = None

    def install_signal_handlers(self) -> None:
        """Handle SIGTERM and SIGINT twice: at once, and when the event loop gets to it."""
        super().install_signal_handlers()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell_to_stop)
            signal.siginterrupt(number, False)

    def _tell_to_stop(self, *_: Any) -> None:
        if self.told_to_stop:
            return
        self.told_to_stop = True
        # Without a broker some of what Faust and aiokafka wait for never comes, and they wait in
        # ways that also block the event loop.
        patience = Timer(STOP_SECONDS, _stop_waiting)
        patience.daemon = True
        patience.start()

    def _schedule_shutdown(self, number: Any) -> None:
        app: FastApp = self.app
        if app.lanes.running and self._finishing is None:
            # Faust first waits for what it fetches: the lanes need not.
            self._finishing = asyncio.ensure_future(app.tables.recovery.handover.close())
        super()._schedule_shutdown(number)


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
        if ended.code and not worker.told_to_stop:
            reason = worker.crash_reason or ended.__context__
            fail_stop(reason or f"the worker ended with exit code {ended.code}")
    except (Exception, asyncio.CancelledError) as error:
        if not worker.told_to_stop:
            fail_stop(error)
        log.warning("stopping was not smooth: %r", error)
    return 0


def _stop_waiting() -> None:
    # What was under way is not acknowledged, so its lanes' next owners do it again.
    log.warning("stopped without leaving the group: a broker does not answer")
    logging.shutdown()
    os._exit(0)


def _collect_seldom() -> None:
    # Records come and go by the thousand and hold no cycles; Python's default looks at all that
    # is young after every 700 of them, and at everything old with each 70,000.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
