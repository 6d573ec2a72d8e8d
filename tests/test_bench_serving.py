"""What lookups are measured with: a shop that is open now, and questions at a steady rate."""

import asyncio
import socket
import time
from collections import defaultdict
from itertools import islice
from threading import BrokenBarrierError

import orjson
import pytest

from app.bench import lookups
from app.bench.live_shop import BLOCK, LiveShop
from app.bench.lookups import Answered, Hget, Http, Load, asking
from app.options import book_of
from config.settings import load_settings
from models.member import decode, due_of
from models.rulebook import RuleBook

COPIES = 3


@pytest.fixture(scope="module")
def book() -> RuleBook:
    return book_of(None, load_settings({}))


@pytest.fixture(scope="module")
def shop(book: RuleBook) -> LiveShop:
    return LiveShop(COPIES * 500, book)


def test_members_have_a_past_and_no_deadline_that_is_long_due(shop: LiveShop) -> None:
    rows = list(shop.rows())
    assert len({row.key for row in rows}) == len(rows)
    assert len(rows) % COPIES == 0
    assert len(rows) > 1000
    members = [decode(row.body, row.key[1:].decode(), row.key[:1] == b"a") for row in rows]
    assert sum(member.order_count > 0 for member in members) > len(members) / 4
    started = time.time_ns() // 1_000_000
    dues = [due for row in rows if (due := due_of(row.body)) is not None]
    assert len(dues) > len(rows) / 2
    # Made some seconds ago, of members whose deadlines lie days apart.
    assert sum(due <= started for due in dues) < len(dues) / 100
    # Offsets begin anew in the bench's topics: nothing of theirs may be taken for known.
    assert {offset for member in members for offset in member.applied} == {-1}


def test_documents_are_those_of_the_members_under_their_own_ids(shop: LiveShop) -> None:
    documents = dict(shop.documents())
    assert set(documents) == {row.key[1:].decode() for row in shop.rows() if row.key[:1] == b"m"}
    for identity, raw in islice(documents.items(), 5):
        assert orjson.loads(raw)["member_id"] == identity


def test_what_happens_next_happens_now_to_everybody_in_their_own_order(shop: LiveShop) -> None:
    before = time.time_ns() // 1_000_000
    records = list(islice(shop.events(), BLOCK * COPIES * 4))
    events = [orjson.loads(record.raw) for record in records]
    assert all(
        event["occurred_at"] == record.at for event, record in zip(events, records, strict=True)
    )
    assert before <= records[0].at <= records[-1].at <= time.time_ns() // 1_000_000
    assert len({event["event_id"] for event in events}) == len(events)
    by_copy = defaultdict(list)
    for event in events:
        name, _, copy = event["event_id"].rpartition("-")
        assert {event[one].rpartition("-")[2] for one in ("member_id", "anonymous_id", "order_id")
                if one in event} == {copy}  # fmt: skip
        by_copy[copy].append((name, event["type"]))
    courses = list(by_copy.values())
    assert len(courses) == COPIES
    assert all(course == courses[0] for course in courses)


# --- questions ------------------------------------------------------------------------------------


def test_answers_are_told_apart_however_they_come_in_pieces() -> None:
    said = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"
    )
    for cut in range(len(said)):
        http = Http("127.0.0.1", 80)
        assert [*http.answers(said[:cut]), *http.answers(said[cut:])] == [True, False]
    replies = b"$2\r\n{}\r\n$-1\r\n"
    for cut in range(len(replies)):
        hget = Hget("members")
        assert [*hget.answers(replies[:cut]), *hget.answers(replies[cut:])] == [True, False]


def test_an_id_is_asked_for_as_it_is() -> None:
    assert Http("127.0.0.1", 80).question("a/b").startswith(b"GET /members/a%2Fb HTTP/1.1\r\n")
    assert Hget("k").question("é") == b"*3\r\n$4\r\nHGET\r\n$1\r\nk\r\n$2\r\n\xc3\xa9\r\n"


async def ask(pause: float, key: str | None, answer: bytes) -> Answered:
    """Ask a server that first stands still, and then answers each question at once."""
    asked = b"GET" if key is None else b"*3"

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(pause)
        while data := await reader.read(65_536):
            writer.write(answer * data.count(asked))
        writer.close()

    async with await asyncio.start_server(answering, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        load = Load("127.0.0.1", port, ["m1", "m2"], 400, 0.5)
        with asking((load, key)) as (one,):
            return await asyncio.to_thread(one.result)


@pytest.mark.parametrize(
    ("key", "answer"),
    [(None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), ("k", b"$1\r\n1\r\n")],
)
async def test_every_question_is_asked_and_its_answer_counted(
    key: str | None, answer: bytes
) -> None:
    said = await ask(0.0, key, answer)
    assert (len(said.milliseconds), said.missing, said.bad, len(said.late)) == (200, 0, 0, 200)
    assert said.cpu_seconds > 0


async def test_questions_that_came_due_while_the_server_stood_still_are_not_forgiven() -> None:
    said = await ask(0.4, "k", b"$-1\r\n")
    assert said.bad == 200
    # Due all along, each later than the one before: the first waited the whole pause.
    assert max(said.milliseconds) > 300
    assert sum(taken > 100 for taken in said.milliseconds) > 80


def test_who_cannot_ask_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "START_SECONDS", 3.0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with (
            pytest.raises(BrokenBarrierError),
            asking((Load("127.0.0.1", port, ["m1"], 400, 0.5), None)),
        ):
            pass
