"""Queries and searches as the tests of the simulator's search write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .api import basic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .api import Api, Reply, Row

LEADS: Mapping[str, Any] = {"type": "object_type", "object_type": "lead"}
CONTACTS: Mapping[str, Any] = {"type": "object_type", "object_type": "contact"}
COUNT: Mapping[str, Any] = {"include_counts": True, "results_limit": 0}


def both(*queries: object) -> Row:
    """An `and`."""
    return {"type": "and", "queries": list(queries)}


def either(*queries: object) -> Row:
    """An `or`."""
    return {"type": "or", "queries": list(queries)}


def negated(query: Mapping[str, object]) -> Row:
    """The same node with `negate`."""
    return {**query, "negate": True}


def field(name: str, object_type: str = "lead") -> Row:
    """A regular field, or a custom one."""
    if name.startswith("cf_"):
        return {"type": "custom_field", "custom_field_id": name}
    return {"type": "regular_field", "object_type": object_type, "field_name": name}


def where(name: str, kind: str, *, of: str = "lead", **keys: object) -> Row:
    """A condition on a field of an object of that type."""
    return {"type": "field_condition", "field": field(name, of), "condition": {"type": kind, **keys}}


def having(related: str, query: object, *, this: str = "lead") -> Row:
    """Objects with a related one for which the query holds."""
    return {
        "type": "has_related",
        "this_object_type": this,
        "related_object_type": related,
        "related_query": query,
    }


def by(name: str, direction: str = "asc", object_type: str = "lead") -> Row:
    """One entry of `sort`."""
    return {"direction": direction, "field": field(name, object_type)}


async def search(api: Api, query: object, headers: Mapping[str, str] | None = None, **body: object) -> Reply:
    """One search."""
    own = {**basic(api.sim.api_key), **(headers or {})}
    return await api.call("POST", "/data/search/", json_body={"query": query, **body}, headers=own)


async def find(api: Api, query: object, **headers: str) -> set[str]:
    """The ids of all that a query finds, which has to fit on one page."""
    reply = await search(api, query, headers={name.replace("_", "-"): text for name, text in headers.items()})
    assert reply.status == 200, reply
    assert reply.json()["cursor"] is None
    return {str(row["id"]) for row in reply.rows()}


async def count(api: Api, query: object) -> object:
    """How many a query matches, as the service says it."""
    reply = await search(api, query, **COUNT)
    counts = reply.json()["count"]
    assert isinstance(counts, dict), reply
    return counts["total"]


async def walk(api: Api, query: object, **body: Any) -> list[Row]:
    """The rows of all pages."""
    rows: list[Row] = []
    cursor: object = None
    while True:
        reply = await search(api, query, cursor=cursor, **body)
        assert reply.status == 200, reply
        rows += reply.rows()
        cursor = reply.json()["cursor"]
        if cursor is None:
            return rows
