"""A real Prometheus and Alertmanager for a test that cannot wait as long as operators do."""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from demanding import lacking

from app.alerting.files import folder, rule_files
from app.alerting.kinds import Pace
from app.stack.files import lasting_ports
from models.times import MINUTE, SECOND

LOOPBACK = "127.0.0.1"
_MINUTE = 3 * SECOND
_HASTE = 150
_LONGEST = 50 * SECOND
# A worker that gets no CPU for a second is not down.
SCRAPE = "2s"
_START_SECONDS = 60.0


def quick(span: int) -> int:
    """The pace of the test, to a tenth of a second: a minute is 3 s, an hour 24 s, a week 50 s.

    It grows with the root: the longer of two spans stays the longer one, by enough that what is
    seen for ten minutes is seen for longer than has to last for five. What takes hours is quicker
    by one factor: a worker is not started faster than it starts.
    """
    paced = max(_MINUTE * sqrt(span / MINUTE), span / _HASTE)
    return min(round(paced / 100) * 100, _LONGEST)


def program(name: str) -> str:
    """The path of a program; the test is skipped without it, or fails where everything runs."""
    found = shutil.which(name)
    if found is None:
        lacking(f"there is no {name} (Debian: apt-get install prometheus prometheus-alertmanager)")
    return found


class Told(NamedTuple):
    """What a receiver was told of an alert, and when; times are seconds since 1970."""

    at: float
    receiver: str
    status: str
    since: float
    """When Prometheus found it to fire."""
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        return self.labels["alertname"]


@dataclass
class Receivers:
    """The webhooks that Alertmanager posts to, one address for each receiver."""

    told: list[Told] = field(default_factory=list)
    port: int = 0

    def of(self, name: str) -> list[Told]:
        return [one for one in self.told if one.name == name]

    def fired(self, name: str, since: float) -> bool:
        """Whether it was told of one that had not begun to fire before ``since``."""
        return any(one.status == "firing" and one.since >= since for one in self.of(name))

    def firing(self) -> set[str]:
        """The alerts that were told, and whose end was not."""
        last = {json.dumps(one.labels, sort_keys=True): one for one in self.told}
        return {one.name for one in last.values() if one.status == "firing"}

    def cleared(self, name: str) -> bool:
        """Whether it was told, and that all of it is over."""
        return bool(self.of(name)) and name not in self.firing()


@contextmanager
def receivers() -> Iterator[Receivers]:
    """Webhooks that listen until the end."""
    heard = Receivers()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in said["alerts"]:
                heard.told.append(
                    Told(
                        time.time(),
                        self.path.removeprefix("/"),
                        alert["status"],
                        datetime.fromisoformat(alert["startsAt"]).timestamp(),
                        alert["labels"],
                        alert["annotations"],
                    )
                )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Webhook)
    heard.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Watch:
    """Prometheus with its address, and what its Alertmanager has told."""

    url: str
    receivers: Receivers
    targets_file: Path

    def discovers(self, targets: Iterable[str]) -> None:
        """Have these workers found from now on, and no others; returns before they are."""
        beside = self.targets_file.with_suffix(".new")
        beside.write_text(json.dumps([{"targets": list(targets)}]))
        beside.replace(self.targets_file)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The answer to an instant query."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def states(self) -> dict[str, str]:
        """Which alerts are pending or firing, as Prometheus says."""
        with urllib.request.urlopen(f"{self.url}/api/v1/alerts", timeout=10) as answer:
            alerts = json.load(answer)["data"]["alerts"]
        return {one["labels"]["alertname"]: one["state"] for one in alerts}


@contextmanager
def watch(place: Path, targets: Iterable[str], pace: Pace = quick) -> Iterator[Watch]:
    """The files of ``config/prometheus`` at a quick pace, in real servers, on these workers."""
    prometheus, alertmanager = program("prometheus"), program("prometheus-alertmanager")
    place.mkdir()
    ports = lasting_ports(2)
    with ExitStack() as left:
        heard = left.enter_context(receivers())
        seen = Watch(f"http://{LOOPBACK}:{ports[0]}", heard, place / "targets.json")
        seen.discovers(targets)
        _write_files(place, seen.targets_file, heard.port, ports[1], pace)
        for name, command in (
            (
                "alertmanager",
                [
                    alertmanager,
                    f"--config.file={place / 'alertmanager.yml'}",
                    f"--storage.path={place / 'alertmanager'}",
                    f"--web.listen-address={LOOPBACK}:{ports[1]}",
                    "--cluster.listen-address=",
                ],
            ),
            (
                "prometheus",
                [
                    prometheus,
                    f"--config.file={place / 'prometheus.yml'}",
                    f"--storage.tsdb.path={place / 'prometheus'}",
                    f"--web.listen-address={LOOPBACK}:{ports[0]}",
                ],
            ),
        ):
            left.enter_context(_running(command, place / f"{name}.log"))
        for port in ports:
            _wait_until_ready(f"http://{LOOPBACK}:{port}/-/ready", place)
        yield seen


def _write_files(place: Path, targets: Path, webhooks: int, alertmanager: int, pace: Pace) -> None:
    for name, text in rule_files(pace).items():
        (place / name).write_text(text)
    given = yaml.safe_load((folder() / "prometheus.yml").read_text())
    given["global"] = {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE}
    given["global"]["evaluation_interval"] = "500ms"
    [one] = given["alerting"]["alertmanagers"]
    one["static_configs"] = [{"targets": [f"{LOOPBACK}:{alertmanager}"]}]
    [job, _] = given["scrape_configs"]
    found = [{"files": [str(targets)], "refresh_interval": "1s"}]
    given["scrape_configs"] = [{"job_name": job["job_name"], "file_sd_configs": found}]
    (place / "prometheus.yml").write_text(yaml.safe_dump(given))
    given = yaml.safe_load((folder() / "alertmanager.yml").read_text())
    given["route"] |= {"group_wait": "200ms", "group_interval": "1s"}
    for receiver in given["receivers"]:
        url = f"http://{LOOPBACK}:{webhooks}/{receiver['name']}"
        receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
    (place / "alertmanager.yml").write_text(yaml.safe_dump(given))


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, place: Path) -> None:
    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait(ready, _START_SECONDS, lambda: "\n".join(p.read_text() for p in place.glob("*.log")))


def wait(look: Callable[[], bool], seconds: float, why_not: Callable[[], str]) -> None:
    """Look until it is so; fail with what ``why_not`` says when that takes too long."""
    ends = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < ends, why_not()
        time.sleep(0.1)
