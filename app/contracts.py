"""``lifecycle contracts``: JSON Schemas, AsyncAPI and OpenAPI, made from the typed messages.

JSON Schema 2020-12, one file a topic, AsyncAPI 3 over all of them, and OpenAPI 3.1 of what workers
answer over HTTP. The files under ``config/contracts/`` are what this module writes, byte for byte.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args

import msgspec

from app.contract_texts import EXAMPLES, OUTPUTS_AT, TOPICS, TRIGGER_HEADERS, Topic
from app.web import openapi
from config.paths import package_dir
from models.events import CLASS_OF, UNION_OF, Item, Linked, type_of
from models.times import MAX_INSTANT
from models.triggers import (
    DeadLetter,
    DecisionMessage,
    MemberUpdate,
    Reason,
    TriggerContext,
    TriggerMessage,
)

Schema: TypeAlias = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VERSION = "1.0.0"
_DONE, _DIFFERS, _BAD_USAGE = 0, 1, 2

_TYPE_OF_TOPIC: dict[str, object] = UNION_OF | {
    "items": Item,
    "triggers": TriggerMessage,
    "decisions": DecisionMessage,
    "member-updates": MemberUpdate,
    "dead-letters": DeadLetter,
}
# Parts of a trigger that templates are written against.
_PARTS: dict[str, type] = {"trigger-reason": Reason, "trigger-context": TriggerContext}
_INPUTS = (*UNION_OF, "items")


def contracts() -> dict[str, str]:
    """Return every contract: file name -> text."""
    found = {
        f"{topic}.schema.json": _schema_file(topic, type_)
        for topic, type_ in (_TYPE_OF_TOPIC | _PARTS).items()
    }
    found["asyncapi.json"] = _written(_asyncapi())
    found["openapi.json"] = _written(openapi.document())
    return found


# --- JSON Schema --------------------------------------------------------------------------------


def _schema_file(name: str, type_: object) -> str:
    (root,), parts = _components([type_], "#/$defs/")
    about = TOPICS[name].about if name in TOPICS else parts[_wire_name(type_)]["description"]
    return _written(
        {
            "$schema": _DIALECT,
            "$id": f"urn:member-lifecycle:{name}:v1",
            "title": name,
            "description": about,
            **root,
            "$defs": parts,
        }
    )


def _components(types: list[object], prefix: str) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the schemas of types and of all that they refer to, by wire name."""
    roots, parts = msgspec.json.schema_components(types, ref_template=prefix + "{name}")
    wire = {cls.__name__: _wire_name(cls) for cls in _structs()}
    named = {wire.get(name, _snake(name)): part for name, part in parts.items()}
    tidy = {name: _tidy(part, prefix, wire) for name, part in sorted(named.items())}
    for name, part in tidy.items():
        _complete(name, part)
    return [_tidy(root, prefix, wire) for root in roots], tidy


def _structs() -> Iterator[type[msgspec.Struct]]:
    yield from CLASS_OF.values()
    yield Item
    for union in (TriggerMessage, DecisionMessage):
        yield from get_args(union)
    yield from (MemberUpdate, DeadLetter)


def _wire_name(type_: object) -> str:
    assert isinstance(type_, type)
    assert issubclass(type_, msgspec.Struct)
    return type_of(type_) if type_.__struct_config__.tag else _snake(type_.__name__)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _tidy(schema: Any, prefix: str, wire: Mapping[str, str]) -> Any:
    """Drop what JSON Schema does not know, and say what the types leave to the edge."""
    if isinstance(schema, list):
        return [_tidy(one, prefix, wire) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(prefix)
        return {"$ref": prefix + wire.get(name, _snake(name))}
    tidy: Schema = {key: _tidy(value, prefix, wire) for key, value in schema.items()}
    tidy.pop("discriminator", None)
    if isinstance(tidy.get("title"), str):  # the class's name, unless it is a property's schema
        del tidy["title"]
    if "anyOf" in tidy:
        tidy = _tidy_choice(tidy)
    if "enum" in tidy and len(tidy["enum"]) == 1:
        tidy["const"] = tidy.pop("enum")[0]
    if tidy.get("required") == []:
        del tidy["required"]
    if "description" in tidy and isinstance(tidy["description"], str):
        tidy["description"] = re.sub(r"\s+", " ", tidy["description"].replace("``", "`"))
    return tidy


def _tidy_choice(schema: Schema) -> Schema:
    choices: list[Schema] = [one for one in schema["anyOf"] if one != {"type": "null"}]
    null = len(choices) < len(schema["anyOf"])
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if choices == [{"type": "string"}, {"type": "integer"}]:
        return _INSTANT | ({"oneOf": [*_INSTANT["oneOf"], {"type": "null"}]} if null else {}) | rest
    if null and len(choices) == 1 and isinstance(choices[0].get("type"), str):
        return choices[0] | {"type": [choices[0]["type"], "null"]} | rest
    return schema


_INSTANT: Schema = {
    "oneOf": [
        {
            "type": "string",
            "format": "date-time",
            # Of what RFC 3339 leaves to choice, only the offset is asked for.
            "pattern": "([Zz]|[+-][0-9]{2}:?[0-9]{2})$",
        },
        {"type": "integer", "minimum": 0, "maximum": MAX_INSTANT},
    ],
    "description": "RFC 3339 with an offset, or integer epoch milliseconds.",
}


def _named(field: str) -> Schema:
    return {"properties": {field: {"type": "string"}}, "required": [field]}


def _complete(name: str, schema: Schema) -> None:
    """Add rules between fields, and formats, that the types do not carry."""
    if name in CLASS_OF:
        schema["anyOf"] = [_named("member_id"), _named("anonymous_id")]
        if CLASS_OF[name] is Linked:
            schema["allOf"] = [
                _named("member_id"),
                {"anyOf": [_named("anonymous_id"), _named("other_id")]},
            ]
    else:
        for field, part in schema.get("properties", {}).items():
            if field in OUTPUTS_AT:
                part["format"] = "date-time"
    if name in EXAMPLES:
        schema["examples"] = EXAMPLES[name]


# --- AsyncAPI -----------------------------------------------------------------------------------


def _asyncapi() -> Schema:
    topics = list(_TYPE_OF_TOPIC)
    _, parts = _components([_TYPE_OF_TOPIC[topic] for topic in topics], "#/components/schemas/")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "member-lifecycle",
            "version": _VERSION,
            "description": "Events in, triggers out. Records are JSON in UTF-8; every topic is "
            "keyed by member (catalogue: by item), so that all of a member lies in one partition.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic: _channel(topic) for topic in topics},
        "operations": {
            _operation_name(topic): {
                "action": "receive" if topic in _INPUTS else "send",
                "channel": {"$ref": f"#/channels/{topic}"},
                "summary": TOPICS[topic].about,
            }
            for topic in topics
        },
        "components": {
            "messages": {
                name: _message(name, topic) for topic in topics for name in _messages(topic)
            },
            "schemas": parts,
        },
    }


def _operation_name(topic: str) -> str:
    verb = "receive" if topic in _INPUTS else "send"
    return verb + "".join(part.title() for part in topic.split("-"))


def _messages(topic: str) -> list[str]:
    """Return the wire names of a topic's messages."""
    type_ = _TYPE_OF_TOPIC[topic]
    return [_wire_name(one) for one in get_args(type_) or (type_,)]


def _channel(topic: str) -> Schema:
    return {
        "address": topic,
        "description": TOPICS[topic].about,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(topic)},
        "bindings": {
            "kafka": {
                "topic": topic,
                "topicConfiguration": {"cleanup.policy": [TOPICS[topic].cleanup]},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message(name: str, topic: str) -> Schema:
    about: Topic = TOPICS[topic]
    message: Schema = {
        "name": name,
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": about.key},
                "bindingVersion": "0.5.0",
            }
        },
    }
    if topic == "triggers":
        message["headers"] = TRIGGER_HEADERS[name]
    return message


def _written(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# --- the command --------------------------------------------------------------------------------


def add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register ``contracts``; the parsed namespace holds its function as ``run``."""
    parser = subparsers.add_parser(
        "contracts", help="write the JSON Schemas, the AsyncAPI and the OpenAPI document"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=package_dir() / "contracts",
        metavar="DIR",
        help="the folder to write to or to compare with (default: the packaged one)",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when the files there differ"
    )
    parser.set_defaults(run=run_contracts)


def run_contracts(args: argparse.Namespace) -> int:
    """Write or compare the contracts; return the exit code."""
    folder: Path = args.out
    if args.check:
        return _check(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contracts().items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"lifecycle: {error.filename}: {error.strerror}\n")
        return _BAD_USAGE
    sys.stdout.write(f"wrote {len(contracts())} files to {folder}\n")
    return _DONE


def _check(folder: Path) -> int:
    found = {path.name: path for path in folder.glob("*.json")}
    wanted = contracts()
    different = [
        *(f"{folder / name}: is missing" for name in wanted if name not in found),
        *(f"{path}: belongs to no topic" for name, path in found.items() if name not in wanted),
        *(
            f"{path}: differs from what the types say (write it with 'lifecycle contracts')"
            for name, path in found.items()
            if name in wanted and path.read_text(encoding="utf-8") != wanted[name]
        ),
    ]
    for line in sorted(different):
        sys.stderr.write(line + "\n")
    if not different:
        sys.stdout.write(f"ok: {len(wanted)} files\n")
    return _DIFFERS if different else _DONE
