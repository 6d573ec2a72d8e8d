"""What ``/openapi.json`` promises is what is answered, whatever is asked: over a real Redis."""

import asyncio
import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS
from stocked_redis import PREFIX, TIMEOUT_MS, Stock, put, redis_alone, stock
from web_kit import BOOK, TOKEN, World, free_port

from agents.ports import Output
from app.member_lookup import MemberLookup
from app.observed_store import ObservedStore
from app.redis_store import RedisStore
from app.web import openapi
from app.web.access import Access
from app.web.ports import Sources
from app.web.server import HttpServer
from app.why_command import Answer
from config.settings_kinds import Secret
from models.events import CLASS_OF
from models.member import decode, due_of
from models.projection import project
from models.times import rfc3339
from models.why import rule_state

BEARER = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = 12


class RowWhy:
    """Why, by the rows alone: topics are read elsewhere (``test_web_live``)."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows = rows

    async def why(
        self, identity: str, anonymous: bool, rule: str | None, since: int | None, chinese: bool
    ) -> Answer | None:
        row = self._rows.get((b"a" if anonymous else b"m") + identity.encode())
        if row is None:
            return None
        member = decode(row, identity, anonymous)
        names = sorted(BOOK.rules) if rule is None else [rule]
        states = tuple(rule_state(member, BOOK.rules[name], BOOK, chinese) for name in names)
        return Answer(identity, rfc3339(member.advanced_to), (), (), states)


class Owner:
    """The other worker: it knows of nobody who is not in Redis."""

    async def ask(self, lane: int, path: str) -> bytes | None:
        return None


def real_sources(stocked: Stock, url: str) -> Sources:
    """One worker of two: half of the members are its own, all are in Redis."""
    store = RedisStore.connect(url, PREFIX, TIMEOUT_MS)
    observed = ObservedStore.connect(url, PREFIX, TIMEOUT_MS, lambda: stocked.newest)

    def told(key: bytes, row: bytes | None) -> tuple[Output, ...]:
        if row is None:
            return (Output("member-updates", key[1:], None),)
        member = decode(row, key[1:].decode(), key[:1] == b"a")
        value = msgspec.json.encode(project(member, due_of(row), BOOK))
        return (Output("member-updates", key[1:], value),)

    members = MemberLookup(
        lane_of=lambda key: hashlib.sha256(key).digest()[0] % 2,
        rows=lambda lane: stocked.rows if lane == 0 else None,
        project=told,
        store=store,
        owners=Owner(),
        book=BOOK,
    )
    return replace(
        World().sources(),
        members=members,
        lists=store,
        observed=observed,
        whys=RowWhy(stocked.rows),
        now=lambda: stocked.newest,
    )


@contextmanager
def serving(sources: Sources) -> Iterator[str]:
    """The pages, answered by a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def there(what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, loop).result(20)

    async def made() -> HttpServer:
        return HttpServer(sources, Access(Secret(TOKEN), loopback=True))

    server = there(made())
    try:
        yield there(server.start("127.0.0.1", free_port()))
    finally:
        there(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def stocked() -> Stock:
    return stock(BOOK)


@pytest.fixture(scope="module")
def url(stocked: Stock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with redis_alone(folder / "data") as redis:
        asyncio.run(put(redis.url, stocked))
        with serving(real_sources(stocked, redis.url)) as address:
            yield address


# What is served is this document (``test_http``).
API = schemathesis.openapi.from_dict(openapi.document()).exclude(operation_id="stream")
# What is well formed may still be refused: neither or both of two filters, an instant that is past,
# a member of another worker.
REFUSED_BY_MEANING = {"lookup", "members", "mute", "why", "document", "ahead"}


@API.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_is_promised(case: Any, url: str, stocked: Stock) -> None:
    name = case.operation.definition.raw["operationId"]
    identity = case.path_parameters.get("id") if case.path_parameters else None
    if isinstance(identity, str) and 1 < len(identity) <= 128:
        known = sorted(one for one, anonymous in stocked.documents if not anonymous)
        case.path_parameters["id"] = known[len(identity) % len(known)]
    excluded = []
    if name in REFUSED_BY_MEANING:
        excluded = CHECKS.get_by_names(["positive_data_acceptance"])
    case.call_and_validate(base_url=url, headers=BEARER, excluded_checks=excluded)


# --- by hand --------------------------------------------------------------------------------------


def members_of(stocked: Stock) -> list[str]:
    return sorted(one for one, anonymous in stocked.documents if not anonymous)


def test_every_member_is_answered_as_it_is_whoever_owns_it(url: str, stocked: Stock) -> None:
    for identity in members_of(stocked):
        answer = requests.get(f"{url}/members/{identity}", timeout=10)
        assert answer.content == stocked.documents[identity, False]


def test_every_order_leads_to_its_member(url: str, stocked: Stock) -> None:
    assert len(stocked.orders) > 20
    for order, identity in stocked.orders.items():
        answer = requests.get(f"{url}/lookup", params={"order": order}, timeout=10)
        assert answer.json() == {"member_id": identity}


def test_the_lists_of_stages_hold_everybody_once(url: str, stocked: Stock) -> None:
    found: list[str] = []
    for stage in ("lead", "new", "silent", "active", "loyal", "dormant", "lost"):
        offset = 0
        while True:
            query = {"stage": stage, "limit": 7, "offset": offset}
            part = requests.get(f"{url}/members", params=query, timeout=10).json()["members"]
            found += [one["member_id"] for one in part]
            if len(part) < 7:
                break
            offset += 7
    assert sorted(found) == members_of(stocked)


def test_timelines_and_pictures_have_something_to_say(url: str, stocked: Stock) -> None:
    kinds = set()
    for identity in members_of(stocked):
        said = requests.get(f"{url}/members/{identity}/timeline", timeout=10).json()
        kinds |= {entry["kind"] for entry in said["entries"]}
        times = [entry["at"] for entry in said["entries"]]
        assert times == sorted(times, reverse=True)
    assert {"event", "stage", "decision", "trigger"} <= kinds
    live = requests.get(f"{url}/live", timeout=10).json()
    assert live["counters"]["events"] > 100
    assert live["feed"]
    assert sum(stage["members"] for stage in live["stages"]) >= len(members_of(stocked))


def test_an_event_type_that_is_none_is_never_in_a_timeline(url: str, stocked: Stock) -> None:
    for identity in members_of(stocked)[:10]:
        said = requests.get(f"{url}/members/{identity}/timeline", timeout=10).json()
        events = [entry for entry in said["entries"] if entry["kind"] == "event"]
        assert {entry["type"] for entry in events} <= set(CLASS_OF)
