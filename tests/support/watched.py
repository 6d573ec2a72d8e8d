"""Worker processes as an operator sees them: their metrics, and how they end."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fastlane_kit import ROOT
from live_kit import get, wait_for
from prometheus_client.parser import text_string_to_metric_families
from worker_kit import World


class Ended(NamedTuple):
    """How a worker that was told to stop has ended."""

    code: int
    seconds: float


@dataclass
class Running:
    """A worker process and its log."""

    place: World
    process: "subprocess.Popen[bytes]"
    log: Path
    lane: int = -1

    def said(self) -> str:
        return self.log.read_text()

    def metric(self, name: str) -> float:
        """Return a metric without labels; -1 when the worker does not serve yet."""
        served = re.findall(r"serving on (\S+)", self.said())
        if served:
            for family in text_string_to_metric_families(get(f"{served[-1]}/metrics")[1].decode()):
                for sample in family.samples:
                    if sample.name == name:
                        return float(sample.value)
        return -1

    def lanes(self) -> float:
        return self.metric("lifecycle_lanes")

    def records_read(self) -> float:
        return self.metric("lifecycle_records_read_total")

    def works_on(self, lanes: int) -> None:
        """Return when it works on so many lanes."""
        wait_for(lambda: self.lanes() == lanes, f"work on {lanes} lanes", self.place)

    def stop(self) -> Ended:
        """Send SIGTERM; return how it ended, and after how long."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        return Ended(code, time.monotonic() - began)


class Yard(World):
    """A world whose workers are watched, some of which can be held at a point."""

    @property
    def gate(self) -> Path:
        """The file whose presence lets workers be held; see ``frozen_worker``."""
        return self.folder / "gate"

    def start(self, *words: str) -> Running:
        """Start a plain worker."""
        log = self._next_log()
        return Running(self, self.start_worker(*words), log)

    def start_held(self, point: str, *words: str) -> Running:
        """Start a worker that will be held at a point."""
        log = self._next_log()
        path = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "frozen_worker", point, str(self.gate), "worker", *words],
                env={**self.env, "PYTHONPATH": path},
                cwd=self.folder,
                stdout=file,
                stderr=file,
            )
        self._workers.append(process)
        return Running(self, process, log)

    def close(self) -> None:
        """End every worker, frozen ones too."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    def _next_log(self) -> Path:
        return self.folder / f"worker-{len(self._workers)}.log"
