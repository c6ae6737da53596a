"""What the service's responses look like, as JSON Schema, and what of a response does not fit.

`data/schemas.json` holds the vendor's published schemas of the four kinds, and for all else what its pages name.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Schema = dict[str, Any]

DEFINITIONS: Mapping[str, Schema] = json.loads(
    (Path(__file__).parent / "data" / "schemas.json").read_text(encoding="utf-8")
)["$defs"]


def misfits(value: object, name: str) -> list[str]:
    """Where a value does not fit the schema of that name, and by which rule; nothing of the value itself."""
    return sorted(f"{_spell(error.absolute_path)}: {error.validator}" for error in _validator(name).iter_errors(value))


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**DEFINITIONS[name], "$defs": DEFINITIONS})


def unknown_keys(rows: Sequence[Mapping[str, object]], name: str) -> list[str]:
    """The keys of objects that the schema of that name does not have."""
    return sorted({key for row in rows for key in row} - DEFINITIONS[name]["properties"].keys())


def differences(one: object, other: object, path: tuple[object, ...] = ()) -> Iterator[str]:
    """Where two JSON values differ; nothing of the values themselves."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if key in one and key in other:
                yield from differences(one[key], other[key], (*path, key))
            else:
                yield f"{_spell((*path, key))}: missing"
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, (*path, index))
    # To Python True is 1 and 1 is 1.0; to JSON they are not.
    elif type(one) is not type(other) or one != other:
        yield f"{_spell(path)}: another value"


def _spell(path: Sequence[object]) -> str:
    return "/".join(map(str, path)) or "the whole"
