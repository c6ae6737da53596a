"""Reads the bodies of requests and judges them with the service's own texts."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NoReturn

from .refusals import NOT_A_CHOICE, REQUIRED, refused, refused_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .kinds import Field, JsonObject, Kind


def read_object(body: bytes, headers: Mapping[str, str]) -> JsonObject:
    """The JSON object of a request's body; raises `RefusedError` with status 400 for anything else.

    `headers` have lower-case names.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise refused("Please send valid JSON with a 'Content-Type: application/json' header.")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        raise refused("Chunked Transfer-Encoding is not supported.")
    try:
        value = json.loads(body, parse_constant=_reject, parse_float=_finite)
    except (ValueError, RecursionError):
        raise refused("The request contains invalid JSON.") from None
    if not isinstance(value, dict):
        raise refused("JSON data must be a dict.")
    return value


def check_create(kind: Kind, body: Mapping[str, object]) -> None:
    """Raise `RefusedError` unless the service would start a job from this body; unknown keys are ignored."""
    check_fields(kind.fields, body)
    if missing := dict(_missing(kind, body)):
        raise refused_fields(missing)


def check_fields(fields: Iterable[Field], body: Mapping[str, object]) -> None:
    """Raise `RefusedError` that names each field whose value does not fit; unknown keys are ignored."""
    if errors := {known.name: text for known in fields if (text := _judge(known, body.get(known.name)))}:
        raise refused_fields(errors)


def _judge(known: Field, value: object) -> str:
    """What is wrong with the value of one field; empty when nothing is."""
    if value is None:
        return REQUIRED if known.required else ""
    # To Python a bool is an int; to JSON it is not.
    if not isinstance(value, known.types) or (isinstance(value, bool) and bool not in known.types):
        return f"Value must be of {known.types[0].__name__} type."
    if known.choices and value not in known.choices:
        return NOT_A_CHOICE
    if known.items and isinstance(value, list) and not all(isinstance(item, known.items) for item in value):
        return f"Value must be of {known.items.__name__} type."
    if isinstance(value, int) and value < 0 and known.types == (int,):
        return "The value must be at least 0."
    return ""


def _missing(kind: Kind, body: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for group in kind.needs.get(str(body.get(kind.variant)), ()):
        if all(body.get(name) is None for name in group):
            yield group[0], REQUIRED


def _reject(_constant: str) -> NoReturn:
    raise ValueError


def _finite(text: str) -> float:
    # `1e999` is legal JSON that Python reads as infinity, which no answer could carry back.
    if math.isinf(value := float(text)):
        raise ValueError
    return value
