"""The guard against «everything»: whether a query can exclude a lead at all.

The service takes a missing or empty query as «all leads», so that one slip deletes or mails everybody. The guard judges
from the text alone and errs on the side of refusing: a condition that constrains nothing counts as if it were absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

Node = Mapping[str, Any]

_EMPTY_TEXT = re.compile(r"[\s*\"'()]*")
"""What a search text may consist of and still ask for nothing."""


@attrs.frozen
class Reach:
    """What a node may do on some data: match every lead, match none. Both are «may», so that doubt counts as danger."""

    all: bool
    none: bool


SELECTIVE = Reach(all=False, none=False)
"""A condition that picks: some leads match, others do not."""
EVERYTHING = Reach(all=True, none=False)
NOTHING = Reach(all=False, none=True)
EITHER = Reach(all=True, none=True)
"""An `or` of nothing: nobody says whether it matches everything or nothing."""


def find_danger(s_query: object, query: str | None) -> str | None:
    """Why these queries cannot exclude a lead, in words that name the culprit; None where they can.

    `s_query` is the Advanced-Filtering query, `query` the legacy search text. Nobody knows which one the service obeys
    when it gets both, so that each one given must be able to exclude.
    """
    if s_query is None and query is None:
        return "there is no query, and the service takes that as all leads"
    if s_query is not None and reach(s_query).all:
        return f"s_query matches every lead: {_first_words(s_query)}"
    if query is not None and is_empty_search(query):
        return f"the search text {query!r} matches every lead"
    return None


def is_empty_search(text: str) -> bool:
    """Whether a search text asks for nothing: blank, `*`, quotes around nothing, or only a sort order."""
    words = [word for word in text.split() if not word.lower().startswith("sort:")]
    return all(_EMPTY_TEXT.fullmatch(word) for word in words)


def reach(node: object) -> Reach:
    """What a node of an Advanced-Filtering query may match.

    What is no mapping or has no `type` is no node: `{}`, or the whole body of a search (`{"query": ...}`) pasted in its
    place. It counts as everything.
    """
    if not isinstance(node, Mapping):
        return EVERYTHING
    kind = node.get("type")
    if not isinstance(kind, str):
        return EVERYTHING
    found = _JUDGES.get(kind, _judge_unknown)(node)
    return Reach(all=found.none, none=found.all) if node.get("negate") else found


def _children(node: Node) -> Sequence[Any]:
    queries = node.get("queries")
    return queries if isinstance(queries, Sequence) and not isinstance(queries, str) else ()


def _judge_and(node: Node) -> Reach:
    found = [reach(child) for child in _children(node)]
    return Reach(all=all(each.all for each in found), none=any(each.none for each in found))


def _judge_or(node: Node) -> Reach:
    children = _children(node)
    if not children:
        return EITHER
    found = [reach(child) for child in children]
    flipped = [_flip(child) for child in children if isinstance(child, Mapping)]
    covers = any(_flip(other) in flipped for other in (_negated(child) for child in children) if other is not None)
    return Reach(all=covers or any(each.all for each in found), none=all(each.none for each in found))


def _flip(node: Node) -> dict[str, Any]:
    """The node with its negation spelled one way: absent and false mean the same."""
    return {**node, "negate": bool(node.get("negate"))}


def _negated(node: object) -> dict[str, Any] | None:
    return {**node, "negate": not node.get("negate")} if isinstance(node, Mapping) else None


def _judge_not(node: Node) -> Reach:
    # No page of the vendor's has this node, but queries with it are about.
    inner = reach(node.get("query"))
    return Reach(all=inner.none, none=inner.all)


def _judge_unknown(node: Node) -> Reach:
    # A type that this package does not know constrains something, or why would it be there: but only if it says what.
    return _needs(bool(node.keys() - {"type", "negate"}))


def _judge_text(node: Node) -> Reach:
    return _needs(isinstance(value := node.get("value"), str) and not is_empty_search(value))


def _judge_id(node: Node) -> Reach:
    value = node.get("value")
    return _needs(bool(value.strip() if isinstance(value, str) else value))


def _judge_saved_search(node: Node) -> Reach:
    return _needs(bool(node.get("saved_search_id")))


def _judge_field_condition(node: Node) -> Reach:
    condition = node.get("condition")
    if not isinstance(condition, Mapping) or not node.get("field"):
        return EVERYTHING
    kind = condition.get("type")
    if kind == "text":
        return _judge_text(condition)
    needed = _NEEDED_BY_CONDITION.get(kind)
    if needed is None:
        return _needs(bool(kind))
    return _needs(any(condition.get(key) not in _EMPTY for key in needed))


def _judge_has_related(node: Node) -> Reach:
    # A lead without any related object is excluded, whatever the related query says.
    return _needs(bool(node.get("related_object_type")))


def _needs(constrained: bool) -> Reach:  # noqa: FBT001 - the one operand
    return SELECTIVE if constrained else EVERYTHING


_EMPTY: tuple[object, ...] = (None, "", [], (), {})

_NEEDED_BY_CONDITION: Mapping[Any, tuple[str, ...]] = MappingProxyType(
    {
        "boolean": ("value",),
        "term": ("values",),
        "reference": ("object_ids",),
        "number_range": ("gt", "gte", "lt", "lte"),
        "moment_range": ("on_or_after", "before", "after", "on_or_before"),
    }
)
"""One of which keys a condition must fill to constrain anything. Conditions that are not here need none."""

_JUDGES: Mapping[Any, Callable[[Node], Reach]] = MappingProxyType(
    {
        "object_type": lambda _: EVERYTHING,
        "and": _judge_and,
        "or": _judge_or,
        "not": _judge_not,
        "text": _judge_text,
        "id": _judge_id,
        "saved_search": _judge_saved_search,
        "field_condition": _judge_field_condition,
        "has_related": _judge_has_related,
    }
)


def _first_words(node: object, *, length: int = 120) -> str:
    text = repr(dict(node) if isinstance(node, Mapping) else node)
    return text if len(text) <= length else text[: length - 1] + "…"
