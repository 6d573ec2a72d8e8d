"""What a worker answers over HTTP, asked over a real socket on loopback."""

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import pytest
from web_kit import BOOK, NOW, TOKEN, World, free_port, get, served
from yarl import URL

from app.web import openapi
from app.web.access import Access
from app.web.endpoints import ENDPOINTS
from app.web.ports import Unavailable
from app.web.server import HttpServer
from config.settings_kinds import Secret
from models.model import Decision, Model
from models.training import Trainer

NUL_AND_SLASH = "a/b?c#d%2F \x00 \N{GRINNING FACE}"
BRACES = "{a}}{\nb"
SECRET = "hunter2"


async def test_a_worker_that_waits_is_healthy_and_says_why_it_is_not_ready() -> None:
    world = World(waiting=("lanes are being recovered", "no broker answers"))
    async with served(world) as session:
        assert await get(session, "/healthz") == (200, {"status": "ok"})
        status, body = await get(session, "/readyz")
        assert status == 503
        assert body["error"] == "not_ready"
        assert body["reasons"] == list(world.waiting)
        assert body["reason"] == "lanes are being recovered; no broker answers"


async def test_a_worker_that_waits_for_nothing_is_ready() -> None:
    async with served(World()) as session:
        assert await get(session, "/readyz") == (200, {"status": "ready"})


async def test_metrics_come_in_the_type_that_prometheus_asks_for() -> None:
    async with served(World()) as session, session.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await response.text() == "lifecycle_ready 1\n"


async def test_the_index_names_every_address() -> None:
    async with served(World()) as session:
        _, body = await get(session, "/api")
        assert set(body["endpoints"]) == {f"{one.method} {one.path}" for one in ENDPOINTS}


async def test_a_member_is_answered_byte_for_byte_and_never_cached() -> None:
    world = World(documents={("m1", False): b'{"stage":"active",  "member_id":"m1"}'})
    async with served(world) as session, session.get("/members/m1") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.read() == world.documents["m1", False]


async def test_an_anonymous_id_is_not_a_member_of_the_same_name() -> None:
    world = World(documents={("x", True): b'{"anonymous_id":"x"}'})
    async with served(world) as session:
        assert await get(session, "/members/x?anonymous=1") == (200, {"anonymous_id": "x"})
        status, body = await get(session, "/members/x")
        assert (status, body["error"]) == (404, "unknown_member")
        assert body["reason"] == "there is no member 'x'"


@pytest.mark.parametrize("identity", [NUL_AND_SLASH, BRACES])
async def test_any_id_that_an_event_may_have_can_be_asked_for(identity: str) -> None:
    world = World(documents={(identity, False): b"{}"}, timelines={identity: timeline()})
    async with served(world) as session:
        url = f"/members/{quote(identity, safe='')}"
        assert await get(session, url) == (200, {})
        for part in ("timeline", "decisions", "ahead"):
            status, body = await get(session, f"{url}/{part}")
            assert (status, body["member_id"]) == (200, identity)
        status, body = await get(session, f"{url}/why")
        assert (status, body["error"]) == (404, "unknown_member")
        until, bearer = {"until": str(NOW + 1000)}, {"Authorization": f"Bearer {TOKEN}"}
        async with session.post(f"{url}/mute", json=until, headers=bearer) as answer:
            assert answer.status == 202
    assert world.muted[0][0] == identity


async def test_a_worker_that_is_asked_for_its_own_rows_says_when_the_member_is_elsewhere() -> None:
    world = World(documents={("m1", False): b"{}"}, elsewhere={"m1"})
    async with served(world) as session:
        assert (await get(session, "/members/m1"))[0] == 200
        for path in ("/members/m1?here=1", "/members/m1/ahead?here=1"):
            status, body = await get(session, path)
            assert (status, body["error"]) == (421, "not_here")


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/nowhere", 404, "not_found"),
        ("/members/", 404, "not_found"),
        ("/assets/nothing.js", 404, "not_found"),
        ("/assets/index.html", 404, "not_found"),
        ("/assets/..%2Fserver.py", 404, "not_found"),
        ("/members/" + "x" * 129, 400, "bad_request"),
        ("/members/x?anonymous=perhaps", 400, "bad_request"),
        ("/members/x?anonymous=1&anonymous=1", 400, "bad_request"),
        ("/members/%FF", 404, "unknown_member"),
        ("/members/x", 404, "unknown_member"),
        ("/members/x/decisions", 404, "unknown_member"),
        ("/members/x/timeline", 404, "unknown_member"),
        ("/members/x/timeline?limit=0", 400, "bad_request"),
        ("/members/x/timeline?limit=101", 400, "bad_request"),
        ("/members/x/timeline?limit=ten", 400, "bad_request"),
        ("/members/x/timeline?before=yesterday", 400, "bad_request"),
        ("/members/x/timeline?before=2026-11-21T10:00:00", 400, "bad_request"),
        ("/members/x/timeline?before=999999999999999", 400, "bad_request"),
        ("/members/x/ahead", 404, "unknown_member"),
        ("/members/x/why", 404, "unknown_member"),
        ("/members/x/why?rule=welcom", 404, "unknown_rule"),
        ("/members/x/why?language=fr", 400, "bad_request"),
        ("/members", 400, "bad_request"),
        ("/members?stage=asleep", 400, "bad_request"),
        ("/members?stage=active&risk=1", 400, "bad_request"),
        ("/members?risk=1&limit=101", 400, "bad_request"),
        ("/members?risk=1&offset=-1", 400, "bad_request"),
        ("/members?risk=1&offset=100001", 400, "bad_request"),
        ("/lookup", 400, "bad_request"),
        ("/lookup?id=x&order=y", 400, "bad_request"),
        ("/lookup?id=x", 404, "unknown_member"),
        ("/lookup?order=x", 404, "unknown_member"),
        ("/lookup?contact=" + "0" * 64, 404, "unknown_member"),
        ("/lookup?contact=someone@example.org", 400, "bad_request"),
        ("/stream?after=yesterday", 400, "bad_request"),
        ("/model", 404, "no_model"),
    ],
)
async def test_what_cannot_be_answered_is_answered_with_a_reason(
    path: str, status: int, error: str
) -> None:
    async with served(World()) as session:
        got, body = await get(session, path)
        assert (got, body["error"]) == (status, error)
        assert body["reason"]


async def test_parameters_that_are_unknown_are_not_looked_at() -> None:
    world = World(documents={("m1", False): b"{}"})
    async with served(world) as session:
        assert await get(session, "/members/m1?utm=1&utm=2") == (200, {})


async def test_a_method_that_changes_something_is_refused_with_those_allowed() -> None:
    async with served(World()) as session, session.post("/members/x") as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
        assert (await response.json())["error"] == "method_not_allowed"


async def test_a_lookup_that_cannot_be_made_now_says_so() -> None:
    world = World(error=Unavailable("Redis did not answer in time"))
    async with served(world) as session:
        status, body = await get(session, "/members/x")
        assert (status, body["error"]) == (503, "unavailable")
        assert body["reason"] == "Redis did not answer in time"


@pytest.mark.parametrize(
    "path",
    [
        "/members/m1/timeline",
        "/members/m1/decisions",
        "/members?risk=1",
        "/lookup?order=o1",
        "/stages",
        "/lifecycle",
        "/rules",
    ],
)
async def test_what_only_redis_knows_is_unavailable_when_it_is_away(path: str) -> None:
    world = World(documents={("m1", False): b"{}"}, redis_away=True)
    async with served(world) as session:
        status, body = await get(session, path)
        assert (status, body["error"]) == (503, "unavailable")
        assert "Redis" in body["reason"]


async def test_a_defect_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    world = World(error=RuntimeError(SECRET))
    async with served(world) as session:
        status, body = await get(session, "/members/x")
        assert (status, body["error"]) == (500, "internal")
        assert SECRET not in str(body)
        assert "Traceback" not in str(body)
    assert SECRET in caplog.text


@pytest.mark.parametrize(
    "request_",
    [
        "GET /members/" + "secret" * 4000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /members/secret HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /members/secret HTTP/1.1\r\nsecret\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_one_line_in_the_log_without_what_was_asked(
    request_: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(World()) as session:
        url = URL(str(session._base_url))
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(request_.encode())
        assert b"400" in await reader.readline()
        writer.close()
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text
    assert len(caplog.records) == 1


async def test_a_second_worker_takes_the_next_free_port() -> None:
    access = Access(Secret(), loopback=True)
    first, second = HttpServer(World().sources(), access), HttpServer(World().sources(), access)
    port = free_port()
    try:
        assert await first.start("127.0.0.1", port) == f"http://127.0.0.1:{port}"
        url = await second.start("127.0.0.1", port)
        assert int(url.rpartition(":")[2]) > port
        async with aiohttp.ClientSession(url) as session:
            assert (await get(session, "/healthz"))[0] == 200
    finally:
        await second.stop()
        await first.stop()


async def test_an_address_that_is_not_ours_is_an_error() -> None:
    server = HttpServer(World().sources(), Access(Secret(), loopback=True))
    with pytest.raises(OSError, match="192\\.0\\.2\\.1"):
        await server.start("192.0.2.1", 8080)


# --- what is told of one member -------------------------------------------------------------------


def timeline() -> list[dict[str, Any]]:
    return [
        {"at": "2026-11-21T09:00:00.000Z", "kind": "trigger", "rule": "welcome", "text": "hi"},
        {"at": "2026-11-21T08:00:00.000Z", "kind": "decision", "rule": "welcome", "why": "…"},
        {"at": "2026-11-21T07:00:00.000Z", "kind": "event", "type": "register"},
    ]


async def test_a_timeline_is_the_newest_first_and_goes_on_before_an_instant() -> None:
    world = World(documents={("m1", False): b"{}"}, timelines={"m1": timeline()})
    async with served(world) as session:
        status, body = await get(session, "/members/m1/timeline?limit=1")
        assert (status, body["entries"]) == (200, timeline()[:1])
        for before in ("2026-11-21T09:00:00Z", "2026-11-21T17:00:00%2B08:00", "1795251600000"):
            _, body = await get(session, f"/members/m1/timeline?limit=1&before={before}")
            assert body["entries"] == timeline()[1:2]
        _, body = await get(session, f"/members/m1/timeline?limit=2&before={body['next']}")
        assert (body["entries"], body["next"]) == (timeline()[2:], None)
        status, body = await get(session, "/members/m1/timeline?before=yesterday")
        assert (status, body["error"]) == (400, "bad_request")


async def test_decisions_are_what_was_decided_and_no_more() -> None:
    world = World(documents={("m1", False): b"{}"}, timelines={"m1": timeline()})
    async with served(world) as session:
        _, body = await get(session, "/members/m1/decisions")
        assert body == {"member_id": "m1", "decisions": timeline()[:2]}
        _, body = await get(session, "/members/m1/decisions?limit=1")
        assert body["decisions"] == timeline()[:1]


async def test_who_a_member_is_is_found_by_id_order_and_hashed_contact() -> None:
    digest = "ab" * 32
    world = World(documents={("m1", False): b"{}"}, orders={"o 1": "m2"}, contacts={digest: "m3"})
    async with served(world) as session:
        assert await get(session, "/lookup?id=m1") == (200, {"member_id": "m1"})
        assert await get(session, "/lookup?order=o%201") == (200, {"member_id": "m2"})
        assert await get(session, f"/lookup?contact={digest}") == (200, {"member_id": "m3"})
        assert await get(session, f"/lookup?contact={digest.upper()}") == (200, {"member_id": "m3"})


async def test_members_are_listed_by_stage_and_by_risk_in_parts() -> None:
    world = World(
        by_stage={"active": [("m2", NOW), ("m1", NOW - 1000)]}, by_risk=[("m3", 0.9), ("m1", 0.1)]
    )
    async with served(world) as session:
        _, body = await get(session, "/members?stage=active")
        assert body["members"] == [
            {"member_id": "m2", "since": "2026-11-21T10:00:00.000Z"},
            {"member_id": "m1", "since": "2026-11-21T09:59:59.000Z"},
        ]
        _, body = await get(session, "/members?risk=1&limit=1&offset=1")
        assert body == {"members": [{"member_id": "m1", "churn": 0.1}], "trusted": False}
        world.newest_model = made_model(labels=500.0, auc=0.8)
        assert (await get(session, "/members?risk=1"))[1]["trusted"] is True
        world.newest_model = made_model()
        assert (await get(session, "/members?risk=1"))[1]["trusted"] is False


# --- what is told of all --------------------------------------------------------------------------


async def test_stages_have_words_and_flows() -> None:
    flows = [{"from": "new", "to": "active", "today": 1, "total": 5}]
    world = World(in_stages={"active": 7}, flown=flows)
    async with served(world) as session:
        _, body = await get(session, "/stages")
        by_name = {one["stage"]: one for one in body["stages"]}
        assert by_name["active"]["members"] == 7
        assert by_name["lost"]["members"] == 0
        assert by_name["active"]["words"] == {"en": "active", "zh": "活跃"}
        assert body["flows"] == flows


async def test_rules_come_with_their_days_and_their_breaker() -> None:
    counts = {
        "welcome": {
            "2026-11-20": {"triggers": 3, "held_back": 1},
            "2026-11-21": {"triggers": 2, "held_back": 0, "cancelled": 1, "settled": 4},
        }
    }
    world = World(counts=counts, open_breakers={"welcome"})
    async with served(world) as session:
        _, body = await get(session, "/rules")
        rows = {row["rule"]: row for row in body}
        assert set(rows) == set(BOOK.rules)
        welcome = rows["welcome"]
        assert welcome["breaker_open"] is True
        assert welcome["today"] == {
            "day": "2026-11-21",
            "triggers": 2,
            "held_back": 0,
            "cancelled": 1,
            "settled": 4,
        }
        assert [day["day"] for day in welcome["days"]] == ["2026-11-20", "2026-11-21"]
        others = [row for name, row in rows.items() if name != "welcome"]
        assert all(row["today"]["triggers"] == 0 and not row["breaker_open"] for row in others)
        assert re.search("[\u4e00-\u9fff]", welcome["words"]["zh"])


async def test_one_picture_has_everything() -> None:
    world = World(counted={"events": 5, "triggers": 4, "cancelled": 3, "members": 2})
    world.happen(1)
    async with served(world) as session:
        status, body = await get(session, "/live")
        assert status == 200
        assert body["redis"] == "up"
        assert body["now"] == "2026-11-21T10:00:00.000Z"
        assert body["counters"] == world.counted
        assert [one["id"] for one in body["feed"]] == ["1-0"]
        assert len(body["rules"]) == len(BOOK.rules)
        assert body["model"] is None


async def test_one_picture_is_there_while_redis_is_away() -> None:
    async with served(World(redis_away=True)) as session:
        status, body = await get(session, "/live")
        assert (status, body["redis"]) == (200, "away")
        assert set(body["counters"].values()) == {None}
        assert {row["today"] for row in body["rules"]} == {None}


def made_model(**active: float) -> Model:
    fresh = Trainer(30).close(20_000)
    quality = msgspec.structs.replace(fresh.figures.active, **active)
    learned = (int(active.get("labels", 0)), 0)
    figures = msgspec.structs.replace(fresh.figures, active=quality, learned=learned)
    decisions = (Decision(20_000, "trusted", "it has learned enough"),)
    return msgspec.structs.replace(fresh, figures=figures, decisions=decisions)


async def test_a_model_says_how_good_it_is_and_whether_anything_tells() -> None:
    world = World(newest_model=made_model())
    async with served(world) as session:
        _, body = await get(session, "/model")
        assert (body["learned"], body["trusted"], body["auc"]) == (0, False, None)
        world.newest_model = made_model(labels=500.0, auc=0.8, ece=0.02, log_loss=0.5)
        _, body = await get(session, "/model")
        assert (body["learned"], body["trusted"], body["drift"]) == (500, True, False)
        assert (body["auc"], body["ece"], body["log_loss"]) == (0.8, 0.02, 0.5)
        assert body["active"]["labels"] == body["labels"] == 500.0
        assert body["valid_from"] == "2024-10-05"
        assert [one["kind"] for one in body["decisions"]] == ["trusted"]
        assert (await get(session, "/live"))[1]["model"] == body


# --- what browsers are told -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/members/m1", "/nowhere", "/live", "/healthz", "/"])
async def test_every_answer_says_what_a_browser_must_not_do(path: str) -> None:
    async with served(World()) as session, session.get(path) as response:
        headers = response.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "aiohttp" not in headers["Server"]


async def test_the_console_and_its_parts_are_asked_for_again_only_when_they_changed() -> None:
    async with served(World()) as session:
        async with session.get("/") as response:
            page = await response.text()
            assert response.content_type == "text/html"
            tag = response.headers["ETag"]
        async with session.get("/", headers={"If-None-Match": tag}) as response:
            assert response.status == 304
        parts = re.findall(r'"/?(assets/[a-z0-9-]+\.(?:css|js|svg))"', page)
        assert parts
        for part in parts:
            async with session.get(f"/{part}") as response:
                assert response.status == 200
                kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
                assert response.content_type == kind[part.rpartition(".")[2]]
                assert await response.read()


async def test_what_is_asked_for_packed_is_the_same_unpacked() -> None:
    async with served(World()) as session:
        async with session.get("/", headers={"Accept-Encoding": "identity"}) as plain:
            assert "Content-Encoding" not in plain.headers
            expected = await plain.read()
        async with session.get("/", headers={"Accept-Encoding": "gzip"}) as packed:
            assert packed.headers["Content-Encoding"] == "gzip"
            assert await packed.read() == expected


async def test_the_document_for_programs_is_served() -> None:
    async with served(World()) as session:
        _, body = await get(session, "/openapi.json")
        assert body == json.loads(json.dumps(openapi.document()))
        assert set(body["paths"]) == {one.path for one in ENDPOINTS}
