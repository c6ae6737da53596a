"""The schemas of `tests.schemas` for the simulator: no key may be unknown, and dates have the documented spelling."""

from __future__ import annotations

import jsonschema

from tests.schemas import DEFINITIONS, Schema

DATE = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$"


def action_schema(kind: str) -> Schema:
    """The schema of one action of that kind."""
    return {**_strict(kind), "$defs": DEFINITIONS}


def page_schema(kind: str) -> Schema:
    """The schema of a page of a list."""
    return {
        **DEFINITIONS[f"page of {kind}"],
        "$defs": {**DEFINITIONS, kind: _strict(kind)},
        "additionalProperties": False,
    }


def _strict(kind: str) -> Schema:
    known = DEFINITIONS[kind]
    properties = {
        name: {**rule, "pattern": DATE} if rule.get("format") == "date-time" else rule
        for name, rule in known["properties"].items()
    }
    return {**known, "properties": properties, "additionalProperties": False}


def required(schema: Schema) -> list[str]:
    """The keys that a schema demands."""
    names = schema["required"]
    assert isinstance(names, list)
    return names


def check(value: object, schema: Schema) -> None:
    """Raise `jsonschema.ValidationError` unless the value fits."""
    # Not `jsonschema.validate`, which judges the schema itself as well, each time.
    jsonschema.Draft202012Validator(schema).validate(value)
