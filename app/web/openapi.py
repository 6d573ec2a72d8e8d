"""``/openapi.json``: OpenAPI 3.1, made of the table of endpoints and their types."""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from app.web.endpoints import ENDPOINTS, Endpoint
from app.web.shapes import LONGEST_ID

Schema: TypeAlias = dict[str, Any]

VERSION = "1.0.0"
"""Of the contract, not of the software."""

_REF = "#/components/schemas/{name}"
_ABOUT = {
    400: "what was asked is not well formed",
    401: "the token is missing or wrong",
    403: "no token is set, so that nobody may",
    404: "there is no such thing",
    413: "the body is too large",
    421: "the member is another worker's",
    503: "it cannot be told now",
}
_PATHS = {
    "id": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID},
    "file": {"type": "string", "pattern": "^[a-z][a-z0-9-]*\\.(css|js|svg)$"},
}


def document() -> Schema:
    """Return the whole document."""
    types = _types()
    roots, parts = msgspec.json.schema_components(types, ref_template=_REF)
    schemas = [_tidy(root) for root in roots]
    paths: dict[str, Schema] = {}
    for endpoint in ENDPOINTS:
        operation = _operation(endpoint, types, schemas)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "member-lifecycle",
            "version": VERSION,
            "description": "What a worker answers. Any worker answers for any member. Unknown "
            "query parameters are ignored; those that are known and out of bounds, or given twice, "
            "are refused.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {name: _tidy(part) for name, part in sorted(parts.items())},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "LIFECYCLE_TOKEN. What changes something needs it always; what "
                    "tells of members needs it when the worker listens beyond loopback, or is "
                    "asked by another name.",
                }
            },
        },
    }


def _types() -> list[Any]:
    """Return every type that goes over HTTP, each once."""
    found: list[Any] = []
    for one in ENDPOINTS:
        for type_ in (one.answer, one.body, one.problem):
            if type_ is not None and type_ not in found:
                found.append(type_)
    return found


def _operation(endpoint: Endpoint, types: list[Any], schemas: list[Schema]) -> Schema:
    def schema_of(type_: Any) -> Schema:
        return schemas[types.index(type_)]

    operation: Schema = {
        "operationId": endpoint.name,
        "summary": endpoint.about[0].upper() + endpoint.about[1:] + ".",
        "parameters": [*_in_path(endpoint), *_in_query(endpoint), *_in_headers(endpoint)],
        "responses": {str(endpoint.status): _answer(endpoint, schema_of)},
    }
    if not operation["parameters"]:
        del operation["parameters"]
    for status in _failures(endpoint):
        operation["responses"][str(status)] = {
            "description": _ABOUT[status],
            "content": {"application/json": {"schema": schema_of(endpoint.problem)}},
        }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of(endpoint.body)}},
        }
    if endpoint.needs == "changing":
        operation["security"] = [{"token": []}]
    elif endpoint.needs == "reading":
        operation["security"] = [{}, {"token": []}]
    return operation


def _answer(endpoint: Endpoint, schema_of: Any) -> Schema:
    if endpoint.answer is not None:
        content: Schema = {endpoint.media: {"schema": schema_of(endpoint.answer)}}
    elif endpoint.name == "asset":
        kinds = ("text/css", "text/javascript", "image/svg+xml")
        content = {kind: {"schema": {"type": "string"}} for kind in kinds}
    else:
        content = {endpoint.media: {"schema": {"type": "string"}}}
    return {"description": endpoint.about, "content": content}


def _failures(endpoint: Endpoint) -> list[int]:
    found = set(endpoint.fails)
    if _fields(endpoint) or endpoint.body is not None or "{id}" in endpoint.path:
        found.add(400)
    if endpoint.body is not None:
        found.add(413)
    if endpoint.needs != "nothing":
        found |= {401, 403}
    return sorted(found)


def _in_path(endpoint: Endpoint) -> Iterator[Schema]:
    for name in re.findall(r"{(\w+)}", endpoint.path):
        yield {"name": name, "in": "path", "required": True, "schema": _PATHS[name]}


def _fields(endpoint: Endpoint) -> dict[str, Schema]:
    """Return what may be asked, by name."""
    _, parts = msgspec.json.schema_components([endpoint.query], ref_template=_REF)
    found: dict[str, Schema] = parts[endpoint.query.__name__].get("properties", {})
    return found


def _in_query(endpoint: Endpoint) -> Iterator[Schema]:
    for name, schema in _fields(endpoint).items():
        asked = _tidy(schema)
        about = asked.pop("description", None)
        parameter = {"name": name, "in": "query", "schema": _given(asked)}
        yield parameter if about is None else parameter | {"description": about}


def _given(schema: Schema) -> Schema:
    """Return a parameter's schema: what is not given is not null."""
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        return dict(choices[0])
    if isinstance(schema.get("type"), list):
        schema = schema | {"type": next(one for one in schema["type"] if one != "null")}
    if None in schema.get("enum", ()):
        schema = schema | {"enum": [one for one in schema["enum"] if one is not None]}
    return {key: value for key, value in schema.items() if value is not None}


def _in_headers(endpoint: Endpoint) -> Iterator[Schema]:
    for name in endpoint.headers:
        yield {"name": name, "in": "header", "schema": {"type": "string"}}


def _tidy(schema: Any) -> Any:
    """Drop the classes' names, and write docstrings on one line."""
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items()}
    if isinstance(tidy.get("title"), str):
        del tidy["title"]
    if tidy.get("required") == []:
        del tidy["required"]
    if isinstance(tidy.get("description"), str):
        tidy["description"] = re.sub(r"\s+", " ", tidy["description"].replace("``", "`"))
    return tidy
