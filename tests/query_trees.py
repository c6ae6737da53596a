"""Queries as JSON, as hypothesis strategies: those that the service shows, and what only looks like one."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .strategies import json_objects, json_values, texts

COUNTRY = {"type": "regular_field", "object_type": "address", "field_name": "country"}
"""A field that takes every condition."""

WORDS = [
    *("id", "object_type", "text", "field_condition", "has_related", "and", "or", "saved_search", "not", "tomorrow"),
    *("regular_field", "custom_field", "boolean", "current_user", "exists", "term", "reference", "number_range"),
    *("moment_range", "fixed_utc", "fixed_local_date", "offset"),
]
KEYS = [
    *("value", "mode", "object_type", "field", "condition", "this_object_type", "related_object_type", "related_query"),
    *("queries", "query", "saved_search_id", "field_name", "custom_field_id", "values", "reference_type", "object_ids"),
    *("gt", "gte", "lt", "lte", "on_or_after", "before", "which", "negate", "rest", "word", "extra", "type"),
]
LEAVES = (
    json_values
    | st.sampled_from(["", " ", "lead", "full_words", "2024-01-01", "2024-01-01T00:00:00Z", "start", "end", [], {}])
    | st.lists(texts, max_size=3)
)
anything = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(
            lambda word, rest: {**rest, "type": word},
            st.sampled_from(WORDS),
            st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
        )
    ),
    max_leaves=12,
)
"""JSON made of the grammar's own words and keys, mostly put together in the wrong way."""

CONDITIONS = st.sampled_from(
    [
        {"type": "boolean", "value": True},
        {"type": "current_user"},
        {"type": "exists"},
        {"type": "text", "value": "ACME", "mode": "phrase"},
        {"type": "text", "value": "ACME"},
        {"type": "term", "values": ["b", "a"]},
        {"type": "reference", "reference_type": "user", "object_ids": ["user_1"]},
        {"type": "number_range", "gt": 1, "lte": 2.5},
        {"type": "moment_range", "before": {"type": "fixed_utc", "value": "2024-01-01T00:00:00Z"}},
        {"type": "moment_range", "on_or_after": {"type": "offset", "days": 1}, "before": {"type": "now"}},
        {"type": "tomorrow", "n": 1},
    ]
)
FIELDS = st.sampled_from(
    [COUNTRY, {"type": "custom_field", "custom_field_id": "cf_1"}, {"type": "new", "id": [1, 1.0]}]
)
SIMPLE: list[dict[str, Any]] = [
    {"type": "id", "value": "lead_1"},
    {"type": "object_type", "object_type": "lead"},
    {"type": "text", "value": "ACME", "mode": "full_words"},
    {"type": "saved_search", "saved_search_id": "save_1"},
    {"type": "tomorrow", "queries": [1, 1.0, True]},
]
NODES = st.sampled_from(SIMPLE) | st.builds(
    lambda field, condition: {"type": "field_condition", "field": field, "condition": condition}, FIELDS, CONDITIONS
)
SPELLINGS = st.fixed_dictionaries(
    {}, optional={"negate": st.sampled_from([True, False, None, "true", 1]), "boost": json_objects, "rest": texts}
)


def spelled(nodes: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """The nodes, negated or not, and with keys that nobody knows."""
    return st.builds(lambda node, more: {**node, **more}, nodes, SPELLINGS)


trees = st.recursive(
    spelled(NODES),
    lambda inner: spelled(
        st.builds(
            lambda word, queries: {"type": word, "queries": queries},
            st.sampled_from(["and", "or"]),
            st.lists(inner, max_size=3),
        )
        | st.builds(
            lambda query: {
                "type": "has_related",
                "this_object_type": "lead",
                "related_object_type": "contact",
                "related_query": query,
            },
            inner,
        )
    ),
    max_leaves=8,
)
"""Queries as the service shows them."""
