"""Two real workers over HTTP: any answers for any member, a mute cancels, a stop ends streams."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from live_kit import Reader, Upstream, event, now_ms, wait_for
from stocked_redis import RedisAlone, redis_alone
from worker_kit import World, permissive, world

from app.stack import StackInfo
from models.times import DAY, parse_instant, rfc3339

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOKEN = "open sesame"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
MEMBERS = [f"m{number}" for number in range(12)]
RULE = """
rule: looked
version: 1
about: Looked at an item and did not buy it.
when:
  absence: {after: {event: view_item}, of: {event: purchase}, within: 2s}
reentry: always
expires_after: 1h
priority: 40
group: abandonment
play: item_reminder
"""


@dataclass
class Shop:
    """The workers, their gateway's consumer, and their Redis."""

    place: World
    urls: list[str]
    redis: RedisAlone
    upstream: Upstream
    reader: Reader

    def ask(self, path: str, worker: int = 0, **more: Any) -> requests.Response:
        return requests.get(f"{self.urls[worker]}{path}", timeout=20, **more)

    def triggers(self, kind: str, member: str) -> list[dict[str, Any]]:
        return self.reader.said("triggers", type=kind, member_id=member)


@pytest.fixture(scope="module")
def shop(kafka_stack: StackInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("web")
    config = permissive(folder / "config")
    (config / "rules").mkdir()
    (config / "rules" / "looked.yaml").write_text(RULE)
    with (
        redis_alone(folder / "redis") as redis,
        world(kafka_stack, "web", folder, partitions=4) as place,
    ):
        place.env |= {"LIFECYCLE_REDIS": redis.url, "LIFECYCLE_TOKEN": TOKEN}
        assert place.lifecycle("topics").returncode == 0
        for _ in range(2):
            place.start_worker("--config", str(config))
        urls = [address(place, number) for number in range(2)]
        wait_for(lambda: all(owns(place, url) == 2 for url in urls), "two lanes each", place)
        reader = Reader(place, ("triggers", "member"))
        made = Shop(place, urls, redis, Upstream(place), reader)
        for member in MEMBERS:
            made.upstream.tell(event("view_item", member))
        made.upstream.flush()
        reader.until(lambda: all(made.triggers("trigger", m) for m in MEMBERS), "a trigger of each")
        yield made
        reader.close()


def address(place: World, number: int) -> str:
    def said() -> str | None:
        log = place.folder / f"worker-{number}.log"
        found = [line.partition("serving on ")[2] for line in log.read_text().splitlines()]
        return next((url for url in found if url), None)

    url: str = wait_for(said, "a worker that serves", place)
    return url


def owns(place: World, url: str) -> int:
    for line in requests.get(f"{url}/metrics", timeout=20).text.splitlines():
        if line.startswith("lifecycle_lanes "):
            return int(float(line.split()[1]))
    return 0


def document(shop: Shop, member: str, worker: int) -> dict[str, Any]:
    answer = shop.ask(f"/members/{member}", worker)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_each_worker_answers_for_every_member_and_owns_some(shop: Shop) -> None:
    for member in MEMBERS:
        here = [shop.ask(f"/members/{member}?here=1", number).status_code for number in (0, 1)]
        assert sorted(here) == [200, 421]
        for number in (0, 1):
            wait_for(
                lambda number=number, member=member: shop.ask(f"/members/{member}", number).ok,
                "a document",
                shop.place,
            )
            assert document(shop, member, number)["member_id"] == member
            assert shop.ask(f"/members/{member}/ahead", number).status_code == 200


def test_why_is_answered_by_whoever_is_asked(shop: Shop) -> None:
    path = "/members/m1/why?rule=looked&language=zh"
    for number in (0, 1):
        wait_for(lambda n=number: shop.ask(path, n).ok, "an answer", shop.place)
        told = shop.ask(path, number).json()
        assert [seen["type"] for seen in told["seen"]] == ["view_item"]
        assert [said["verdict"] for said in told["said"]] == ["raised"]
        assert [state["rule"] for state in told["rules"]] == ["looked"]


def test_a_timeline_tells_what_was_seen_and_said(shop: Shop) -> None:
    def kinds() -> bool:
        entries = shop.ask("/members/m2/timeline").json().get("entries", [])
        return {"event", "trigger"} <= {entry["kind"] for entry in entries}

    wait_for(kinds, "an event and a trigger", shop.place)


def test_a_mute_cancels_what_is_open_and_says_who_wanted_it(shop: Shop) -> None:
    [trigger] = shop.triggers("trigger", "m3")
    until = rfc3339(now_ms() + DAY)
    body = {"until": until, "reason": "asked at the desk", "by": "ann"}
    path = f"{shop.urls[1]}/members/m3/mute"
    assert requests.post(path, json=body, timeout=20).status_code == 401
    answer = requests.post(path, json=body, headers=BEARER, timeout=20)
    assert answer.status_code == 202, answer.text
    assert answer.json()["until"] == until
    shop.reader.until(lambda: bool(shop.triggers("trigger_cancelled", "m3")), "a cancellation")
    [cancelled] = shop.triggers("trigger_cancelled", "m3")
    assert cancelled["trigger_id"] == trigger["trigger_id"]
    [audit] = shop.reader.said("member", type="mute", member_id="m3")
    assert audit["event_id"] == answer.json()["event_id"]
    assert audit["reason"] == "asked at the desk"
    assert audit["by"] == "ann (http 127.0.0.1)"
    assert audit["until"] == parse_instant(until)
    for number in (0, 1):
        wait_for(
            lambda number=number: document(shop, "m3", number).get("muted_until") == until,
            "a document that says so",
            shop.place,
        )
    assert requests.delete(path, headers=BEARER, timeout=20).status_code == 202
    wait_for(
        lambda: "muted_until" not in document(shop, "m3", 0), "the end of the mute", shop.place
    )


def test_what_happens_is_streamed_and_goes_on_after_a_drop(shop: Shop) -> None:
    wait_for(lambda: shop.ask("/live").json()["feed"], "something in the feed", shop.place)
    [first, *_] = shop.ask("/live").json()["feed"]
    seen: list[str] = []
    for _ in range(2):
        headers = {"Last-Event-ID": seen[-1] if seen else first["id"]}
        with shop.ask("/stream", 1, headers=headers, stream=True) as response:
            part: list[str] = []
            for line in response.iter_lines():
                if line.startswith(b"id: "):
                    part.append(line[4:].decode())
                    if len(part) == 3:
                        break
        seen += part
    feed = [entry["id"] for entry in shop.ask("/live").json()["feed"]]
    at = feed.index(first["id"])
    assert seen == feed[at + 1 : at + 7]


def test_without_redis_members_are_answered_by_their_owners(shop: Shop) -> None:
    shop.redis.kill()
    for member in MEMBERS:
        for number in (0, 1):
            assert document(shop, member, number)["member_id"] == member
    assert shop.ask("/members/nobody", 0).status_code == 404
    refused = shop.ask("/members/m1/timeline")
    assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")
    assert shop.ask("/live").json()["redis"] == "away"
    shop.redis.start()
    wait_for(lambda: shop.ask("/live").json()["redis"] == "up", "Redis in the answers", shop.place)
    wait_for(lambda: shop.ask("/members/m1/timeline").ok, "timelines", shop.place)


def test_workers_stop_in_time_while_somebody_watches(shop: Shop) -> None:
    watching = [shop.ask("/stream", number, stream=True) for number in (0, 1)]
    for response in watching:
        assert next(response.iter_lines())
    assert shop.place.stop() == [0, 0]
    logs = shop.place.logs()
    assert "Traceback" not in logs
    assert TOKEN not in logs
