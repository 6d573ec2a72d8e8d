"""Workers of two versions side by side, and a flow of events that both of them must do justice."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from threading import Event as Signal
from threading import Thread
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from live_kit import Upstream, event, now_ms
from worker_kit import World, comparable, permissive

from agents.recovery import EPOCH_BYTES, FENCE, ROW
from app.stack import StackInfo
from app.topology import changelog_name

NEXT = Path(__file__).with_name("next_version.py")
RULES = {
    "welcome": {"when": {"event": "register"}, "reentry": "once"},
    "item_left": {
        "when": {
            "absence": {
                "after": {"event": "view_item"},
                "of": {"event": "purchase", "same": "item_id"},
                "within": "2s",
            }
        },
    },
    # Armed under one version, and due when another one works.
    "never_searched": {
        "when": {
            "absence": {
                "after": {"event": "register"},
                "of": {"event": "search"},
                "within": "15s",
            }
        },
    },
}


def write_config(folder: Path, rules: Mapping[str, Mapping[str, Any]] = RULES) -> Path:
    """A configuration folder with these rules, stages of the package, and a policy of refusals."""
    (permissive(folder) / "rules").mkdir(exist_ok=True)
    for old in (folder / "rules").glob("*.yaml"):
        old.unlink()
    for name, rule in rules.items():
        whole = {
            "rule": name,
            "version": 1,
            "about": "A rule.",
            "reentry": "always",
            "expires_after": "10m",
        }
        (folder / "rules" / f"{name}.yaml").write_text(json.dumps(whole | dict(rule)))
    return folder


class Deploy(World):
    """A world in which each worker is of the version that it is started as."""

    def __init__(self, stack: StackInfo, name: str, folder: Path, partitions: int) -> None:
        super().__init__(stack, name, folder, partitions)
        self.config = write_config(folder / "config")

    def start(self, *, newer: bool) -> subprocess.Popen[bytes]:
        if not newer:
            return self.start_worker("--config", str(self.config))
        log = self.folder / f"worker-{len(self._workers)}.log"
        words = [sys.executable, str(NEXT), "worker", "--config", str(self.config)]
        with log.open("wb") as file:
            worker = subprocess.Popen(
                words, env=self.env, cwd=self.folder, stdout=file, stderr=file
            )
        self._workers.append(worker)
        return worker

    def log_of(self, worker: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"worker-{self._workers.index(worker)}.log").read_text()

    def rows(self) -> dict[bytes, bytes]:
        """Each member's row as the changelog has it now, by the changelog's own rules."""
        found: dict[bytes, bytes] = {}
        fence: dict[int, int] = {}
        for message in self._changelog():
            key, value, lane = message.key(), message.value(), message.partition()
            if key == FENCE:
                fence[lane] = message.offset()
            elif key[:1] == ROW and int.from_bytes(value[:EPOCH_BYTES], "big") >= fence[lane]:
                found[key[1:]] = value[EPOCH_BYTES:]
        return found

    def versions(self) -> Counter[int]:
        """How many members have a row of each version."""
        return Counter(row[0] for row in self.rows().values())

    def _changelog(self) -> Iterator[Message]:
        """The changelog up to its ends as they are now: it may be growing all the time."""
        consumer = Consumer({"bootstrap.servers": self.broker, "group.id": "reads-a-changelog"})
        try:
            for lane in range(self.settings.partitions):
                part = TopicPartition(changelog_name(self.settings), lane, 0)
                _, end = consumer.get_watermark_offsets(part, timeout=10)
                consumer.assign([part])
                at = 0
                while at < end:
                    for message in consumer.consume(1000, timeout=0.1):
                        assert message.error() is None, message.error()
                        at = message.offset() + 1
                        yield message
        finally:
            consumer.close()


class Flow:
    """Members who look at items for ever, and now and then buy what they looked at."""

    def __init__(self, place: World, members: int) -> None:
        self.told: list[dict[str, Any]] = []
        self._upstream = Upstream(place)
        self._random = Random(1)
        self._members = [f"m{number}" for number in range(members)]
        self._over = Signal()
        self._thread = Thread(target=self._run, name="flow")

    def __enter__(self) -> "Flow":
        for member in self._members:
            self.tell("register", member)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Say nothing more; everything said is in the topics."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._upstream.flush()

    def tell(self, kind: str, member: str, **fields: Any) -> None:
        found = event(kind, member, now_ms(), **fields)
        self.told.append(found)
        self._upstream.tell(found)

    def _run(self) -> None:
        # A third of the members only ever register: they sleep through the whole deploy.
        awake = self._members[::3] + self._members[1::3]
        bought: list[tuple[float, str, str]] = []
        number = 0
        while not self._over.is_set():
            member, item = self._random.choice(awake), f"item-{number}"
            self.tell("view_item", member, item_id=item)
            if self._random.random() < 0.4:
                bought.append((time.monotonic() + 0.6, member, item))
            while bought and bought[0][0] <= time.monotonic():
                _, member, item = bought.pop(0)
                order = {"order_id": f"o-{item}", "items": [{"item_id": item, "price": 3}]}
                self.tell("purchase", member, **order)
            number += 1
            self._over.wait(0.025)

    def written(self, path: Path) -> Path:
        """The events as an event file."""
        path.write_text("".join(json.dumps(found) + "\n" for found in self.told))
        return path


def standing(raw: list[bytes]) -> dict[str, dict[str, Any]]:
    """The triggers that stand when all has been said, by id; an id must have said one thing only.

    Runs are compared by ids (member, rule, version and occasion): what a template is given beside
    them may lack an event that the broker got only after the deadline.
    """
    said: dict[tuple[str, str], set[str]] = {}
    for message in raw:
        found = json.loads(message)
        said.setdefault((found["trigger_id"], found["type"]), set()).add(comparable(message))
    twice = [texts for texts in said.values() if len(texts) > 1]
    assert not twice, f"one id was used for two different messages: {twice[:2]}"
    cancelled = {identity for identity, kind in said if kind == "trigger_cancelled"}
    return {
        identity: json.loads(*texts)
        for (identity, kind), texts in said.items()
        if kind == "trigger" and identity not in cancelled
    }


def wait_until(look: Callable[[], bool], what: str, place: World, seconds: float = 45.0) -> None:
    ends = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < ends, f"{what} did not come\n{place.logs()}"
        time.sleep(0.2)
