"""Every panel of every dashboard shows something: on a real Prometheus, of a real run."""

import json
import math
import time
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from alert_kit import Watch, program, wait, watch
from dashboard_pictures import draw
from live_kit import Upstream, event, get, now_ms, ready
from worker_kit import World, world

from app.dashboards.files import DASHBOARDS, queries
from app.dashboards.kinds import Dashboard, Panel
from app.stack import StackInfo
from models.times import DAY

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.prometheus]

MEMBERS, DAYS = 150, 120
PATIENCE = 240.0
"""Seconds that the history, or the last panel, may take on a busy machine."""
QUICK_RULE = """\
rule: viewed
version: 1
about: Viewed something, and a second later has not bought it.
when:
  absence:
    after: {event: view_item}
    of: {event: purchase}
    within: 1s
reentry: always
expires_after: 1h
priority: 1
purpose: marketing
"""
POLICY = """\
consent: opt_out
channels: [app_push, sms]
holdout: {salt: a, per_rule: 30%}
"""
NOTICED = """\
rule: put_into_cart
version: 1
about: Put something into the cart.
when: {event: add_to_cart}
reentry: always
expires_after: 1h
priority: 2
purpose: marketing
"""


def quick(span: int) -> int:
    """Windows of some scrapes, so that last week is over within the test."""
    return min(max(span // 200, 4000), 6000)


@pytest.fixture(scope="module")
def shop(kafka_stack: StackInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A shop's last months, and some seconds of now, gone through by a real worker."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("shop")
    with world(kafka_stack, "dashboards", folder, 2) as place:
        history = str(folder / "history.jsonl")
        until = datetime.fromtimestamp(now_ms() / 1000, UTC).isoformat()
        words = ("--members", str(MEMBERS), "--days", str(DAYS), "--seed", "3", "--until", until)
        for command in (("simulate", *words, "--out", history), ("produce", history)):
            done = place.lifecycle(*command)
            assert done.returncode == 0, done.stderr
        worker = place.start_worker("--clock", "stream")
        url = ready(place, worker)
        yesterday = (now_ms() // DAY - 1) * DAY / 1000
        wait(
            lambda: figure(url, "lifecycle_churn_model_valid_from_seconds") >= yesterday,
            PATIENCE,
            place.logs,
        )
        assert place.stop() == [0], place.logs()
        yield place


def figure(url: str, name: str) -> float:
    """The greatest sample of a metric, as a worker tells it; NaN when there is none."""
    lines = get(f"{url}/metrics")[1].decode().splitlines()
    found = [float(line.split()[-1]) for line in lines if line.startswith(name)]
    return max(found, default=math.nan)


@pytest.fixture(scope="module")
def seen(shop: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    config = shop.folder / "config"
    config.mkdir()
    (config / "policy.yaml").write_text(POLICY)
    (config / "rules").mkdir()
    (config / "rules" / "viewed.yaml").write_text(QUICK_RULE)
    (config / "rules" / "put_into_cart.yaml").write_text(NOTICED)
    worker = shop.start_worker("--config", str(config))
    address = ready(shop, worker).removeprefix("http://")
    with watch(tmp_path_factory.mktemp("seen") / "prometheus", [address], quick) as prometheus:
        yield prometheus


def a_while(upstream: Upstream, number: int) -> None:
    """What happens in a shop, good and bad; those of last time have had enough."""
    members = [f"now-{number}-{one}" for one in range(10)]
    for member in members:
        upstream.tell(event("register", member, source="web"))
        upstream.tell(event("view_item", member, event_id=f"view-{member}"))
        upstream.tell(event("view_item", member, event_id=f"view-{member}"))
        upstream.tell(event("add_to_cart", member, item_id="sku-1"))
    upstream.tell(event("purchase", members[0], order_id=f"order-{number}"))
    answers = {"reason": "too expensive"}
    upstream.tell(event("survey", members[0], survey_id="exit", answers=answers))
    upstream.tell(event("invite_accepted", members[1]))
    upstream.send("browse", b"no event", members[2].encode())
    for one in range(10 if number else 0):
        upstream.tell(event("unsubscribed", f"now-{number - 1}-{one}", channel="app_push"))
        upstream.tell(event("unsubscribed", f"now-{number - 1}-{one}", channel="sms"))
    upstream.flush()


def answers(prometheus: Watch, expression: str) -> list[dict[str, Any]]:
    """What Grafana would get, but the values that are none."""
    asked = expression.replace("$__rate_interval", "10s")
    return [one for one in prometheus.query(asked) if not math.isnan(float(one["value"][1]))]


def test_every_query_of_every_panel_has_an_answer(shop: World, seen: Watch) -> None:
    upstream = Upstream(shop)
    rounds = count()
    left: list[tuple[Dashboard, Panel, str]] = list(queries())

    def all_answered() -> bool:
        a_while(upstream, next(rounds))
        time.sleep(1)
        left[:] = [one for one in left if not answers(seen, one[2])]
        return not left

    wait(
        all_answered,
        PATIENCE,
        lambda: "\n".join(f"{board.title}: {panel.title}: {asked}" for board, panel, asked in left),
    )
    for board in DASHBOARDS:
        picture = draw(board, lambda asked: history(seen, asked))
        assert picture.stat().st_size > 20_000


def history(prometheus: Watch, expression: str) -> list[dict[str, Any]]:
    """What Grafana would draw of the last minute."""
    now = now_ms() / 1000
    asked = urllib.parse.urlencode(
        {
            "query": expression.replace("$__rate_interval", "10s"),
            "start": now - 60,
            "end": now,
            "step": 1,
        }
    )
    status, body = get(f"{prometheus.url}/api/v1/query_range?{asked}")
    assert status == 200, body
    found: list[dict[str, Any]] = json.loads(body)["data"]["result"]
    return found
