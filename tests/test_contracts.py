"""The published contracts: what the types say, what the edge does, and what really goes out."""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from core_builders import shipped_book
from jsonschema import Draft202012Validator

from agents.members import BadShare, MemberFold, MemberStats, OutputTopics
from agents.ports import Output
from app import contracts as command
from app.contract_texts import EXAMPLES, TRIGGER_HEADERS
from app.contracts import contracts
from config.paths import package_dir
from models.decoding import InvalidEvent, decode, receive
from models.events import TOPIC_OF, UNION_OF
from models.times import DAY

START = 1_795_255_200_000  # 2026-11-21T10:00:00Z
DOCUMENTS: dict[str, Any] = {name: json.loads(text) for name, text in contracts().items()}
SCHEMAS = {name: text for name, text in DOCUMENTS.items() if name.endswith(".schema.json")}


def validator(topic: str) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[f"{topic}.schema.json"])


def run(*arguments: str) -> int:
    parser = ArgumentParser()
    command.add_parsers(parser.add_subparsers())
    args = parser.parse_args(["contracts", *arguments])
    return int(args.run(args))


# --- the files ----------------------------------------------------------------------------------


def test_the_packaged_files_are_what_the_types_say() -> None:
    folder = package_dir() / "contracts"
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert found == contracts(), "write them with 'lifecycle contracts'"


def test_check_tells_what_is_missing_changed_or_left_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--out", str(tmp_path / "new")) == 0
    assert run("--out", str(tmp_path / "new"), "--check") == 0
    (tmp_path / "new" / "browse.schema.json").write_text("{}")
    (tmp_path / "new" / "cart.schema.json").unlink()
    (tmp_path / "new" / "old.schema.json").write_text("{}")
    capsys.readouterr()
    assert run("--out", str(tmp_path / "new"), "--check") == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition("/")[2].split(" (")[0] for line in told] == [
        "browse.schema.json: differs from what the types say",
        "cart.schema.json: is missing",
        "old.schema.json: belongs to no topic",
    ]


def test_a_folder_that_cannot_be_written_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run("--out", str(tmp_path / "file")) == 2


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


# --- events in ----------------------------------------------------------------------------------


def test_every_event_type_stands_in_the_schema_of_its_topic() -> None:
    for topic in (*UNION_OF, "items"):
        types = {name for name, home in TOPIC_OF.items() if home == topic}
        assert types <= set(SCHEMAS[f"{topic}.schema.json"]["$defs"])


def event(**fields: object) -> dict[str, object]:
    return {"type": "view_item", "member_id": "m1", "occurred_at": START, "item_id": "a"} | fields


def without(*names: str, **fields: object) -> dict[str, object]:
    return {name: value for name, value in event(**fields).items() if name not in names}


LINE = {"item_id": "a", "quantity": 1, "price": 25.5}


@pytest.mark.parametrize(
    "given",
    [
        EXAMPLES["view_item"][0],
        EXAMPLES["purchase"][0],
        event(),
        event(unknown="ignored"),
        event(occurred_at="2026-11-21T10:00:00+08:00"),
        event(category=None, price=None),
        event(anonymous_id="a1"),
        without("member_id", anonymous_id="a1"),
        event(member_id=None, anonymous_id="a1"),
        event(type="purchase", order_id="o1", total=0, items=[LINE]),
        event(type="profile", birthday="--02-29", attributes={"vip": True, "size": 4}),
        event(type="points", balance=-5, expires_at="2026-12-31T00:00:00Z"),
        event(type="link", anonymous_id="a1"),
        event(type="link", other_id="o"),
        event(type="survey", survey_id="s", answers={"q": ["a", 1, None]}),
    ],
)
def test_what_the_edge_takes_the_schema_allows(given: dict[str, object]) -> None:
    topic = TOPIC_OF[str(given["type"])]
    decode(topic, json.dumps(given).encode())
    assert list(validator(topic).iter_errors(given)) == []


@pytest.mark.parametrize(
    "given",
    [
        without("type"),
        without("occurred_at"),
        without("item_id"),
        without("member_id"),
        event(member_id=None),
        event(member_id=""),
        event(member_id="m" * 129),
        event(member_id=5),
        event(event_id="e" * 65),
        event(occurred_at=1.5),
        event(occurred_at="2026-11-21T10:00:00"),
        event(origin="replay"),
        event(test="yes"),
        event(price=-1),
        event(price="25.5"),
        event(type="viewed"),
        event(type="add_to_cart", quantity=0),
        event(type="purchase", order_id="o1"),
        event(type="purchase", order_id="o1", total=5, items=[{"quantity": 1}]),
        event(type="purchase", order_id="o1", total=5, currency="YUAN"),
        event(type="consent", channel="sms", purpose="fun", granted=True),
        event(type="profile", birthday="29 February"),
        event(type="link"),
        event(type="link", member_id=None, anonymous_id="a1", other_id="b"),
    ],
)
def test_what_the_edge_refuses_the_schema_refuses(given: dict[str, object]) -> None:
    topic = TOPIC_OF.get(str(given.get("type")), "browse")
    with pytest.raises(InvalidEvent):
        receive(topic, json.dumps(given).encode(), b"m1", 0, 0, START)
    assert list(validator(topic).iter_errors(given)) != []


# --- what goes out ------------------------------------------------------------------------------


class InRecord(NamedTuple):
    topic: str
    value: bytes
    key: bytes
    timestamp: int
    partition: int = 0
    offset: int = 0


def member_fold() -> MemberFold:
    return MemberFold(
        shipped_book(),
        OutputTopics(),
        lambda key, partitions: 0,
        1,
        "/test",
        BadShare(),
        MemberStats(),
    )


STORY: list[dict[str, object]] = [
    event(type="register"),
    event(type="points", balance=10),
    event(type="profile", locale="zh-CN", birthday="1990-01-31"),
    event(category="tea", price=25.5),
    event(type="add_to_cart", occurred_at=START + 60_000, price=25.5),
    event(type="purchase", occurred_at=START + DAY, order_id="o1", total=5, event_id="e5"),
    event(type="unsubscribed", occurred_at=START + 200 * DAY, channel="sms"),
    {"type": "view_item", "member_id": "m1"},
]


@pytest.fixture(scope="module")
def sent() -> list[Output]:
    """Everything that the lane sends for a member's story, with a bad record at its end."""
    job = member_fold()
    outputs: list[Output] = []
    state = job.load(b"mm1", None)
    for fields in STORY:
        at = fields.get("occurred_at", START)
        assert isinstance(at, int)
        record = InRecord(TOPIC_OF[str(fields["type"])], json.dumps(fields).encode(), b"m1", at)
        decoded = job.decode(record)
        if hasattr(decoded, "outputs"):
            outputs += decoded.outputs
        else:
            outputs += job.apply(state, decoded, record, None)
            outputs += job.project(b"mm1", job.save(state, job.next_due(state)))
    return outputs


def test_what_goes_out_is_what_the_schemas_say(sent: list[Output]) -> None:
    seen: set[tuple[str, str]] = set()
    for output in sent:
        message = json.loads(output.value)
        errors = list(validator(output.topic).iter_errors(message))
        assert errors == [], (output.topic, message)
        seen.add((output.topic, message["type"]))
    assert seen == {
        ("triggers", "trigger"),
        ("triggers", "trigger_cancelled"),
        ("decisions", "decision"),
        ("decisions", "transition"),
        ("member-updates", "member_update"),
        ("dead-letters", "dead_letter"),
    }


def test_a_trigger_without_a_field_is_refused(sent: list[Output]) -> None:
    trigger = json.loads(next(output.value for output in sent if output.topic == "triggers"))
    assert trigger["type"] == "trigger"
    for name in ("trigger_id", "occasion", "expires_at", "reason", "context"):
        lacking = {key: value for key, value in trigger.items() if key != name}
        assert list(validator("triggers").iter_errors(lacking)) != []


def test_reason_and_context_of_a_trigger_have_schemas_of_their_own(sent: list[Output]) -> None:
    for output in sent:
        message = json.loads(output.value)
        if message["type"] == "trigger":
            assert list(validator("trigger-reason").iter_errors(message["reason"])) == []
            assert list(validator("trigger-context").iter_errors(message["context"])) == []
    assert list(validator("trigger-reason").iter_errors({"text": "why"})) != []


def test_the_headers_of_triggers_are_the_described_ones(sent: list[Output]) -> None:
    for output in sent:
        if output.topic != "triggers":
            continue
        kind = json.loads(output.value)["type"]
        headers = {name: value.decode() for name, value in output.headers}
        assert list(Draft202012Validator(TRIGGER_HEADERS[kind]).iter_errors(headers)) == []
        assert set(headers) == set(TRIGGER_HEADERS[kind]["properties"])


# --- AsyncAPI -----------------------------------------------------------------------------------


def refs(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        if "$ref" in document:
            yield document["$ref"]
        for part in document.values():
            yield from refs(part)
    elif isinstance(document, list):
        for part in document:
            yield from refs(part)


def resolve(document: Any, ref: str) -> Any:
    assert ref.startswith("#/")
    for part in ref[2:].split("/"):
        document = document[part]
    return document


def test_every_reference_of_every_document_leads_somewhere() -> None:
    for document in DOCUMENTS.values():
        for ref in refs(document):
            assert isinstance(resolve(document, ref), dict)


def test_the_asyncapi_document_has_what_version_3_asks_for() -> None:
    document = DOCUMENTS["asyncapi.json"]
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    for channel in document["channels"].values():
        for message in channel["messages"].values():
            payload = resolve(document, message["$ref"])["payload"]
            Draft202012Validator.check_schema(resolve(document, payload["$ref"]))
    served = set()
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        served.add(operation["channel"]["$ref"].rpartition("/")[2])
    assert served == set(document["channels"])


def test_the_asyncapi_document_and_the_schemas_say_the_same() -> None:
    document = DOCUMENTS["asyncapi.json"]
    text = json.dumps(document["components"]["schemas"], sort_keys=True)
    whole = json.loads(text.replace("#/components/schemas/", "#/$defs/"))
    for topic, channel in document["channels"].items():
        parts = SCHEMAS[f"{topic}.schema.json"]["$defs"]
        assert set(channel["messages"]) <= set(parts)
        for name, part in parts.items():
            assert whole[name] == part
