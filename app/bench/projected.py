"""What Redis holds beside what the topics say: how far it goes, and whether it is right."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from confluent_kafka import Message
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from agents.members import ANONYMOUS_UPDATE
from agents.updates import document_to_keep
from app.bench.live_feed import Canary
from app.bench.report import percentiles
from app.observed_keys import Keys
from app.projection_keys import Generation, key_prefix
from config.settings import Settings

Ends = Mapping[tuple[str, int], int]

ANSWER_SECONDS = 2.0
LOOK_SECONDS = 0.02
GIVEN_UP_SECONDS = 10.0
"""After so long a canary's document is not looked for any more."""


class Standing(NamedTuple):
    """How far Redis was at an instant (epoch milliseconds): records that it was behind."""

    at: float
    documents: int
    observed: int


class Copy(NamedTuple):
    """All documents of an instant, and the offsets up to which they are made."""

    places: Mapping[tuple[str, int], int]
    documents: Mapping[bytes, bytes]
    """By the keys of the topic."""


class Projected:
    """What the worker's application keeps in Redis; raises ``RedisError`` when that is away."""

    def __init__(self, settings: Settings) -> None:
        self._redis = _patient(settings.redis)
        prefix = key_prefix(settings.app_id)
        self._live = Generation(prefix)
        self._observed = Keys(prefix).observed

    def places(self) -> tuple[Ends, Ends]:
        """Return how far the documents go, and what the observer has counted."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(self._live.projected)
        pipeline.hgetall(self._observed)
        documents, observed = pipeline.execute()
        return _places(documents), _places(observed)

    def there(self, members: Sequence[str]) -> list[bool]:
        """Return of each of these members whether there is a document."""
        key = self._live.documents(anonymous=False)
        found: Any = self._redis.hmget(key, list(members))
        return [one is not None for one in found]

    def copy(self) -> Copy:
        """Return everything, as it was at one instant."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hgetall(self._live.projected)
        for anonymous in (False, True):
            pipeline.hgetall(self._live.documents(anonymous))
        places, members, anonymous_ = pipeline.execute()
        documents = dict(members)
        documents.update((ANONYMOUS_UPDATE + key, value) for key, value in anonymous_.items())
        return Copy(_places(places), documents)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _patient(url: str) -> Redis:
    # It asks once, and not for ever.
    return Redis.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def behind(ends: Ends, places: Ends) -> int:
    """Return how many records below the ends are not in Redis."""
    return sum(max(end - places.get(where, 0), 0) for where, end in ends.items())


def wrong(copies: Sequence[Copy], records: Iterable[Message]) -> list[int]:
    """Return how many documents of each copy are not what the topic says up to its places.

    ``records`` are all of the topic. What is missing, and what should be gone, is wrong, too.
    """
    due: list[dict[bytes, bytes | None]] = [{} for _ in copies]
    for record in records:
        where = record.topic(), record.partition()
        for copy, last in zip(copies, due, strict=True):
            if record.offset() < copy.places.get(where, 0):
                last[record.key()] = record.value()
    return [_differing(copy.documents, last) for copy, last in zip(copies, due, strict=True)]


def _differing(documents: Mapping[bytes, bytes], due: Mapping[bytes, bytes | None]) -> int:
    kept = {key: document_to_keep(value) for key, value in due.items()}
    right = {key: one.value for key, one in kept.items() if one is not None}
    return sum(documents.get(key) != right.get(key) for key in documents.keys() | right.keys())


def _places(found: Mapping[bytes, bytes]) -> Ends:
    named = ((name.decode().rpartition("/"), int(offset)) for name, offset in found.items())
    return {(topic, int(number)): offset for (topic, _, number), offset in named}


class Follow:
    """Notes once a second how far Redis is behind what the topics held a second before."""

    def __init__(self, projected: Projected, ends: Callable[[], Ends], updates: str) -> None:
        """``updates`` is the topic of the documents; the observer follows all of ``ends``."""
        self.standings: list[Standing] = []
        self._projected = projected
        self._ends = ends
        self._updates = updates

    def look(self, seconds: float, enough: Callable[[Standing], bool] = lambda _: False) -> None:
        """Go on for so long, or until a standing is ``enough``."""
        limit = time.monotonic() + seconds
        ends = self._ends()
        while time.monotonic() < limit:
            time.sleep(1.0)
            try:
                documents, observed = self._projected.places()
            except RedisError:
                documents, observed = {}, {}
            of_updates = {where: end for where, end in ends.items() if where[0] == self._updates}
            found = Standing(
                time.time() * 1000, behind(of_updates, documents), behind(ends, observed)
            )
            self.standings.append(found)
            if enough(found):
                return
            ends = self._ends()


class Showing:
    """Looks for the documents of canaries on a thread of its own, from entering to leaving."""

    def __init__(self, connect: Callable[[], Projected], canaries: Sequence[Canary]) -> None:
        """``canaries`` grows while it looks; those that are there already are left out."""
        self._shown: dict[str, float] = {}
        self._asked = 0
        self._connect = connect
        self._canaries = canaries
        self._next = len(canaries)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="showing", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look for no new ones, and for those under way until they are there or given up."""
        self._ending.set()
        self._thread.join()

    def figures(self) -> dict[str, Any]:
        """Return the milliseconds from events to documents, and how many did not show at all."""
        shown = percentiles(self._shown.values())
        return {**shown, "missing": self._asked - len(self._shown)}

    def _run(self) -> None:
        waiting: list[Canary] = []
        projected = self._connect()
        while waiting or not self._ending.is_set():
            if not self._ending.is_set():
                new = self._canaries[self._next :]
                self._next += len(new)
                self._asked += len(new)
                waiting += new
            try:
                there = projected.there([one.member for one in waiting]) if waiting else []
            except RedisError:
                there = [False] * len(waiting)
            now = time.time() * 1000
            for canary, is_there in zip(waiting, there, strict=True):
                if is_there:
                    self._shown[canary.member] = now - canary.sent
            oldest = now - GIVEN_UP_SECONDS * 1000
            waiting = [
                one for one in waiting if one.member not in self._shown and one.sent > oldest
            ]
            time.sleep(LOOK_SECONDS)
        projected.close()
