"""What the observer writes is folded a little at a time: the lanes share its event loop."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from stocked_redis import PREFIX, TIMEOUT_MS, redis_alone, stock
from web_kit import BOOK

from app import observed_writer
from app.observed_store import ObservedStore


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with redis_alone(tmp_path) as server:
        yield server.url


async def test_everybody_else_has_turns_while_much_is_folded(
    redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_a_stretch = [0]
    fold = observed_writer._Batch.fold

    def counting(*given: object) -> None:
        at_a_stretch[-1] += 1
        fold(*given)  # type: ignore[arg-type]

    async def bystander() -> None:
        while True:
            await asyncio.sleep(0)
            at_a_stretch.append(0)

    monkeypatch.setattr(observed_writer, "SLICE_MEMBERS", 8)
    monkeypatch.setattr(observed_writer._Batch, "fold", counting)
    facts = stock(BOOK, members=96, days=3).facts
    members = {(fact.identity, fact.anonymous) for fact in facts}
    store = ObservedStore.connect(redis, PREFIX, TIMEOUT_MS)
    watching = asyncio.create_task(bystander())
    await store.writer().write(facts, {}, {"o/0": 1})
    watching.cancel()
    await store.close()
    assert sum(at_a_stretch) == len(members) > 20
    assert max(at_a_stretch) == 8
