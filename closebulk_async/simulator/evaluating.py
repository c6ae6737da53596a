"""Queries as tests of records: each node of the vendor's filtering grammar, and `negate` on any.

What the grammar leaves open is guessed, here and nowhere else: `{}` is no condition at all; an `and` or an `or` of
nothing is none either; without an `object_type` that has to hold, the objects are leads; a condition on a field of
another object than the one at hand, a way that `RELATED` does not have, and a saved search that contains itself are
refused. Texts of refusals are those of the vendor's published validator, and their nesting follows what it says of
lists; which of them the live service uses here is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import evolve

from .conditions import Asker, MalformedError, choose, read_condition, read_text, take, within
from .records import FIELDS, RELATED, Record, read_custom, read_texts
from .refusals import NOT_A_CHOICE

if TYPE_CHECKING:
    from .kinds import Json, JsonObject

Holds = Callable[[Record], bool]

FOUND = ("lead", "contact")
"""The types of objects that a search can find."""


def read_query(query: JsonObject, object_type: str, asker: Asker) -> Holds:
    """The test that a query is for records of that type; raises `MalformedError` where it cannot be evaluated."""
    return _read(query, object_type, asker) if query else _anything


def found_types(query: JsonObject, asker: Asker, *, unsaid: Sequence[str] = ("lead",)) -> tuple[str, ...]:
    """The types of objects that a query finds, `unsaid` where it does not narrow them down.

    Raises `MalformedError` for a type that cannot be found.
    """
    said = _narrow(query, asker)
    return tuple(word for word in FOUND if word in (unsaid if said is None else said))


def _narrow(node: Json, asker: Asker) -> frozenset[str] | None:
    """The types that a node confines its objects to; None where it says nothing about types."""
    if not isinstance(node, dict) or node.get("negate"):
        return None
    kind = node.get("type")
    if kind == "object_type":
        return frozenset({choose(node, "object_type", {word: word for word in FOUND})})
    if kind == "saved_search":
        saved_id = str(node.get("saved_search_id"))
        return _narrow(asker.saved_searches.get(saved_id), _without(asker, saved_id))
    said = list(_narrow_children(node, asker))
    if kind == "and":
        confined = [each for each in said if each is not None]
        return frozenset.intersection(*confined) if confined else None
    if kind == "or" and said and None not in said:
        return frozenset().union(*filter(None, said))
    return None


def _narrow_children(node: JsonObject, asker: Asker) -> Iterable[frozenset[str] | None]:
    children = node.get("queries")
    for index, child in enumerate(children if isinstance(children, list) else ()):
        with within("queries", index):
            yield _narrow(child, asker)


def _read(node: Json, object_type: str, asker: Asker) -> Holds:
    if not isinstance(node, dict):
        raise MalformedError({"query": "Value must be of dict type."})
    holds = choose(node, "type", _NODES)(node, object_type, asker)
    if node.get("negate") is None or not take(node, "negate", bool):
        return holds
    return lambda record: not holds(record)


def _anything(_record: Record) -> bool:
    return True


def _id(node: JsonObject, _object_type: str, _asker: Asker) -> Holds:
    wanted = take(node, "value", str)
    return lambda record: getattr(record, "id", None) == wanted


def _object_type(node: JsonObject, _object_type: str, _asker: Asker) -> Holds:
    wanted = take(node, "object_type", str)
    if wanted not in FIELDS:
        raise MalformedError({"object_type": NOT_A_CHOICE})
    return lambda record: record.object_type == wanted


def _text(node: JsonObject, _object_type: str, _asker: Asker) -> Holds:
    fits = read_text(node)
    return lambda record: any(map(fits, read_texts(record)))


def _field_condition(node: JsonObject, object_type: str, asker: Asker) -> Holds:
    field, condition = take(node, "field", dict), take(node, "condition", dict)
    with within("field"):
        if choose(field, "type", {"regular_field": False, "custom_field": True}):
            custom_id, known = take(field, "custom_field_id", str), None
        else:
            choose(field, "object_type", {object_type: True})
            custom_id, known = "", choose(field, "field_name", FIELDS[object_type])
    with within("condition"):
        fits = read_condition(condition, known.type if known else None, asker)
    if known is None:
        return lambda record: fits(read_custom(record, custom_id))
    read = known.read
    return lambda record: fits(read(record))


def _has_related(node: JsonObject, object_type: str, asker: Asker) -> Holds:
    choose(node, "this_object_type", {object_type: True})
    ways = {related: way for (this, related), way in RELATED.items() if this == object_type}
    find, related = choose(node, "related_object_type", ways), str(node["related_object_type"])
    query = take(node, "related_query", dict)
    with within("related_query"):
        holds = _read(query, related, asker)
    return lambda record: any(map(holds, find(record)))


def _and(node: JsonObject, object_type: str, asker: Asker) -> Holds:
    tests = tuple(_read_children(node, object_type, asker))
    return lambda record: all(holds(record) for holds in tests)


def _or(node: JsonObject, object_type: str, asker: Asker) -> Holds:
    tests = tuple(_read_children(node, object_type, asker))
    return (lambda record: any(holds(record) for holds in tests)) if tests else _anything


def _read_children(node: JsonObject, object_type: str, asker: Asker) -> Iterable[Holds]:
    for index, child in enumerate(take(node, "queries", list)):
        with within("queries", index):
            yield _read(child, object_type, asker)


def _saved_search(node: JsonObject, object_type: str, asker: Asker) -> Holds:
    saved_id = take(node, "saved_search_id", str)
    if saved_id not in asker.saved_searches:
        raise MalformedError({"saved_search_id": "Object does not exist."})
    with within("saved_search_id"):
        return _read(asker.saved_searches[saved_id], object_type, _without(asker, saved_id))


def _without(asker: Asker, saved_id: str) -> Asker:
    """The same without one saved search, which is then not found inside of itself."""
    return evolve(
        asker, saved_searches={name: query for name, query in asker.saved_searches.items() if name != saved_id}
    )


_NODES: Mapping[str, Callable[[JsonObject, str, Asker], Holds]] = MappingProxyType(
    {
        "id": _id,
        "object_type": _object_type,
        "text": _text,
        "field_condition": _field_condition,
        "has_related": _has_related,
        "and": _and,
        "or": _or,
        "saved_search": _saved_search,
    }
)
