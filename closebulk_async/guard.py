"""The guard against «everything»: whether a query can exclude a lead at all.

The service takes a missing or empty query as «all leads», so that one slip deletes or mails everybody. The guard judges
from the text alone and errs on the side of refusing: a condition that constrains nothing counts as if it were absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

from closebulk_async.errors import shorten

Node: TypeAlias = Mapping[str, Any]


@attrs.frozen
class Reach:
    """What a node may do on some data: match every lead, match none. Both are «may», so that doubt counts as danger."""

    all: bool
    none: bool


SELECTIVE = Reach(all=False, none=False)
"""A condition that picks: some leads match, others do not."""
EVERYTHING = Reach(all=True, none=False)
EITHER = Reach(all=True, none=True)
"""What says nothing: nobody knows whether the service drops it, negated or not, or what it lets it match."""


def find_danger(s_query: object, query: str | None) -> str | None:
    """Why these queries cannot exclude a lead, in words that name the culprit; None where they can.

    `s_query` is the Advanced-Filtering query, `query` the legacy search text. Nobody knows which one the service obeys
    when it gets both, so that each one given must be able to exclude.
    """
    if s_query is None and query is None:
        return "there is no query, and the service takes that as all leads"
    if s_query is not None and reach(s_query).all:
        return f"s_query matches every lead: {shorten(repr(s_query), limit=120)}"
    if query is not None and is_empty_search(query):
        return f"the search text {query!r} matches every lead"
    return None


def is_empty_search(text: str) -> bool:
    """Whether a search text asks for nothing: no letter or digit (`""`, `*`, `*:*`), or only operators and a sort."""
    words = [word for word in text.lower().split() if not word.startswith("sort:")]
    said = [word for word in words if any(character.isalnum() for character in word)]
    return all(word.strip("()\"'") in _OPERATORS for word in said)


_OPERATORS = frozenset({"and", "or", "not"})
"""Words of the search language that say nothing by themselves."""


def reach(node: object) -> Reach:
    """What a node of an Advanced-Filtering query may match.

    What is no mapping or has no `type` is no node: `{}`, or the whole body of a search (`{"query": ...}`) pasted in its
    place. It may match anything.
    """
    kind = node.get("type") if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or not isinstance(kind, str):
        return EITHER
    found = _JUDGES.get(kind, _judge_unknown)(node)
    negate = node.get("negate")
    if negate is True:
        return _opposite(found)
    # What is no boolean (`"false"`, 1) may be read either way.
    return found if negate is False or negate is None else _union([found, _opposite(found)])


def _opposite(found: Reach) -> Reach:
    return Reach(all=found.none, none=found.all)


def _union(found: Iterable[Reach]) -> Reach:
    each = tuple(found)
    return Reach(all=any(one.all for one in each), none=any(one.none for one in each))


def _children(node: Node) -> Sequence[Any]:
    queries = node.get("queries")
    return queries if isinstance(queries, list | tuple) else ()


@attrs.frozen
class _Members:
    """What an `and` or an `or` is made of: its children, but of nested ones of its type, or with one child, theirs.

    `joined` are those nested ones, each of which is a member as well.
    """

    single: list[Any] = attrs.field(factory=list)
    joined: list[Any] = attrs.field(factory=list)

    @property
    def hold_opposites(self) -> bool:
        """Whether one is the exact negation of another."""
        return _holds_opposites([*self.single, *self.joined])


def _flatten(node: Node) -> _Members:
    members = _Members()
    for child in _children(node):
        is_list = isinstance(child, Mapping) and child.get("type") in ("and", "or") and not child.get("negate")
        if is_list and (child["type"] == node.get("type") or len(_children(child)) == 1):
            inner = _flatten({**child, "type": node.get("type")})
            members.single.extend(inner.single or [child])
            members.joined.extend([child, *inner.joined])
        else:
            members.single.append(child)
    return members


def _judge_and(node: Node) -> Reach:
    members = _flatten(node)
    found = [reach(child) for child in members.single]
    none = any(each.none for each in found) or members.hold_opposites
    return Reach(all=all(each.all for each in found), none=none or not found)


def _judge_or(node: Node) -> Reach:
    members = _flatten(node)
    found = [reach(child) for child in members.single]
    all_ = any(each.all for each in found) or members.hold_opposites
    return Reach(all=all_ or not found, none=all(each.none for each in found))


def _holds_opposites(nodes: Sequence[Node]) -> bool:
    """Whether one of the nodes is the exact negation of another: the two together cover everything, or nothing.

    What is no mapping may match anything, so that nobody asks this any more.
    """
    texts: dict[bool, set[str]] = {True: set(), False: set()}
    for node in nodes:
        is_negated, bare = _strip_negation(node)
        texts[is_negated].add(json.dumps(bare, sort_keys=True, default=repr))
    return not texts[True].isdisjoint(texts[False])


def _strip_negation(node: Node) -> tuple[bool, Any]:
    """Whether the node is negated, in either spelling, and what it says without that."""
    bare = {key: value for key, value in node.items() if key != "negate"}
    is_negated = bool(node.get("negate"))
    inner = node.get("query")
    if node.get("type") == "not" and isinstance(inner, Mapping):
        is_inner_negated, bare = _strip_negation(inner)
        return is_negated is is_inner_negated, bare
    return is_negated, bare


def _judge_not(node: Node) -> Reach:
    # No page of the vendor's has this node, but queries with it are about.
    return _opposite(reach(node.get("query")))


def _judge_unknown(node: Node) -> Reach:
    # A type that this package does not know constrains something, or why would it be there: but only if it says what,
    # and if it wraps other nodes, only if each of those does.
    wrapped = [*_children(node), *([node["query"]] if "query" in node else [])]
    if any(each.all or each.none for each in map(reach, wrapped)):
        return EITHER
    return _needs(any(_says_something(value) for key, value in node.items() if key not in {"type", "negate"}))


def _judge_object_type(node: Node) -> Reach:
    # «Every lead» negated is no lead. What contacts, or no contacts, leave of the leads depends on the data.
    return EVERYTHING if node.get("object_type") == "lead" else EITHER


def _judge_text(node: Node) -> Reach:
    return _needs(isinstance(value := node.get("value"), str) and not is_empty_search(value))


def _judge_id(node: Node) -> Reach:
    value = node.get("value")
    return _needs(isinstance(value, str) and not is_empty_search(value))


def _judge_saved_search(node: Node) -> Reach:
    return _needs(bool(node.get("saved_search_id")))


def _judge_field_condition(node: Node) -> Reach:
    condition = node.get("condition")
    if not isinstance(condition, Mapping) or not node.get("field"):
        return EITHER
    kind = condition.get("type")
    if not isinstance(kind, str):
        return EITHER
    if kind == "text":
        return _judge_text(condition)
    needed = _NEEDED_BY_CONDITION.get(kind)
    if needed is None:
        return _needs(bool(kind))
    return _needs(any(_says_something(condition.get(key)) for key in needed))


def _says_something(value: object) -> bool:
    """Whether a value is, or holds, anything: `[""]` and `{"type": "fixed_utc", "value": None}` do not."""
    if isinstance(value, list | tuple):
        return any(map(_says_something, value))
    if isinstance(value, Mapping):
        return any(_says_something(item) for key, item in value.items() if key not in {"type", "which"})
    return value is not None and value != ""


def _judge_has_related(node: Node) -> Reach:
    # A lead without any related object is excluded, whatever the related query says. But everything has its lead.
    related = node.get("related_object_type")
    return reach(node.get("related_query")) if related == "lead" else _needs(isinstance(related, str) and bool(related))


def _needs(constrained: bool) -> Reach:  # noqa: FBT001 - the one operand
    return SELECTIVE if constrained else EITHER


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
        "object_type": _judge_object_type,
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
