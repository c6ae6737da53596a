"""A query in plain English, for people who decide whether to delete what it matches.

`leads whose name has the words "ACME Inc." and not (whose status is the status "stat_1" or with a contact)`. Nothing is
left out in silence: what this package does not know is shown as JSON and said to be unknown, long lists say how much
more there is, and what excludes no lead is said first. For the legacy search text there is nothing to translate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

from closebulk_async.condition_words import (
    SHOWN,
    bare,
    beside,
    listed,
    name_field,
    name_text,
    quoted,
    tell_condition,
    unknown,
)
from closebulk_async.conditions import RegularField
from closebulk_async.guard import EVERYTHING, reach
from closebulk_async.parts import NOTHING
from closebulk_async.query import (
    And,
    ById,
    FieldCondition,
    HasRelated,
    ObjectType,
    Or,
    Query,
    SavedSearch,
    TextSearch,
    read_query,
    to_query_dict,
)


def describe_query(query: Query | Mapping[str, Any]) -> str:
    """What a query matches, as one line of printable characters.

    Equal queries give equal words. It raises nothing: what is no query, or too deeply nested to be told, is said to be
    unknown.
    """
    try:
        plain = to_query_dict(query)
        tree = read_query(plain)
        found = reach(plain)
        words = _tell(tree)
    except ValueError as exc:  # an InvalidRequestError, or Python's own about integers of thousands of digits
        return f"unknown, as it cannot be sent: {quoted(str(exc))}"
    except RecursionError:
        return "unknown: the query is nested too deeply to be told in words"
    if found == EVERYTHING or not plain:
        return "every lead: nothing is excluded" + (f" ({words})" if plain and words != "all leads" else "")
    return f"perhaps every lead: nothing is surely excluded ({words})" if found.all else words


def _tell(query: Query) -> str:
    about = _find_type(query)
    objects = "objects" if about is None else _name_type(about)[1]
    rest = _without_type(query, about)
    return f"all {objects}" if rest is None else f"{objects} {_tell_clause(rest, about=about).text}"


def _name_type(object_type: str) -> tuple[str, str]:
    """One object of a type with its article, and several."""
    of_type = f"of the type {bare(object_type)}"
    return _TYPES.get(object_type, (f"an object {of_type}", f"objects {of_type}"))


_TYPES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "lead": ("a lead", "leads"),
        "contact": ("a contact", "contacts"),
        "contact_phone": ("a phone number", "phone numbers"),
        "contact_email": ("an email address", "email addresses"),
        "contact_url": ("a URL", "URLs"),
        "address": ("an address", "addresses"),
        "opportunity": ("an opportunity", "opportunities"),
    }
)


def _find_type(query: Query) -> str | None:
    """The type of the objects that a query finds: the one that it says, or else the only one that it speaks of."""
    members = query.queries if isinstance(query, And) and not query.negate else (query,)
    said = {member.object_type for member in members if isinstance(member, ObjectType) and not member.negate}
    types = said or _types_in(query)
    return types.pop() if len(types) == 1 else None


def _types_in(query: Query) -> set[str]:
    if isinstance(query, FieldCondition):
        return {query.field.object_type} if isinstance(query.field, RegularField) else set()
    if isinstance(query, HasRelated):
        return {query.this_object_type}
    return set().union(*map(_types_in, query.queries)) if isinstance(query, And | Or) else set()


def _without_type(query: Query, about: str | None) -> Query | None:
    """The query without that which the noun before it says already. None where nothing is left."""
    if query.negate:
        return query
    if isinstance(query, ObjectType) and query.object_type == about and query.rest == NOTHING:
        return None
    if not isinstance(query, And) or not query.queries:
        return query
    rest = tuple(member for member in query.queries if _without_type(member, about) is not None)
    return attrs.evolve(query, queries=rest or query.queries) if rest or query.rest != NOTHING else None


@attrs.frozen
class _Clause:
    """What can follow a noun. `is_open` where what comes after it might be taken for a part of it."""

    text: str
    is_open: bool = False

    def close(self) -> str:
        return f"({self.text})" if self.is_open else self.text


def _tell_clause(query: Query, *, about: str | None, turned: bool = False) -> _Clause:
    """The query as it follows its objects, of the type `about` where one is known; `turned` makes it the opposite."""
    negated = bool(query.negate) is not turned
    if isinstance(query, And | Or):
        return _tell_members(query, about=about, negated=negated)
    if isinstance(query, HasRelated):
        return _tell_related(query, about=about, negated=negated)
    if isinstance(query, FieldCondition):
        field, condition = name_field(query.field, about=about), tell_condition(query.condition, negated=negated)
        return _Clause(f"whose {field} {condition}{beside(query)}")
    leaf = _LEAVES.get(type(query))
    if leaf is None:
        return _tell_unknown(query, about=about, negated=negated)
    said, opposite, name = leaf
    return _Clause((opposite if negated else said).format(name(query)) + beside(query))


_Leaf: TypeAlias = tuple[str, str, Callable[[Any], str]]
_LEAVES: Mapping[type[Query], _Leaf] = MappingProxyType(
    {
        ById: ("with the id {}", "without the id {}", lambda query: quoted(query.value)),
        ObjectType: ("of the type {}", "not of the type {}", lambda query: bare(query.object_type)),
        TextSearch: (
            "with {} in any field",
            "without {} in any field",
            lambda query: name_text(query.value, query.mode),
        ),
        SavedSearch: (
            "shown by the saved search {}",
            "not shown by the saved search {}",
            lambda query: quoted(query.saved_search_id),
        ),
    }
)
"""What a query without members says, its opposite, and what stands in the gap."""


def _tell_members(query: And | Or, *, about: str | None, negated: bool) -> _Clause:
    members, word = query.queries, str(query.word)
    if ids := _ids_of(query):
        text = f"{'without' if negated else 'with'} any of the ids {listed(ids)}"
    elif len(members) == 1 and query.rest == NOTHING:
        return _tell_clause(members[0], about=about, turned=negated)
    elif members:
        text = _join([_tell_clause(member, about=about).close() for member in members[:SHOWN]], word, of=len(members))
        if not negated and query.rest == NOTHING:
            return _Clause(text, is_open=True)
        text = f"{'not ' if negated else ''}({text})"
    else:
        text = f"{'not ' if negated else ''}matching an empty {quoted(word)}"
    return _Clause(text + beside(query))


def _join(clauses: Sequence[str], word: str, *, of: int) -> str:
    more = of - len(clauses)
    rest = [] if not more else [f"… {more} more {'condition' if more == 1 else 'conditions'}"]
    return f" {word} ".join([*clauses, *rest])


def _ids_of(query: And | Or) -> list[str]:
    """The ids that an `or` of nothing but ids lists."""
    ids = [
        member.value
        for member in query.queries
        if isinstance(member, ById) and not member.negate and member.rest == NOTHING
    ]
    return ids if isinstance(query, Or) and len(ids) == len(query.queries) > 1 else []


def _tell_related(query: HasRelated, *, about: str | None, negated: bool) -> _Clause:
    related = query.related_object_type
    noun, rest = _name_type(related)[0], _without_type(query.related_query, related)
    is_any = rest is None or rest == Query()
    said = noun if rest is None or is_any else f"{noun} {_tell_clause(rest, about=related).text}"
    if query.this_object_type == about:
        text = f"{'without' if negated else 'with'} {said}"
    else:
        text = f"{'not ' if negated else ''}of {_name_type(query.this_object_type)[0]} with {said}"
    # What follows the conditions of the related object might be taken for one more.
    clause = _Clause(text, is_open=not is_any)
    return clause if query.rest == NOTHING else _Clause(clause.close() + beside(query))


def _tell_unknown(query: Query, *, about: str | None, negated: bool) -> _Clause:
    data = attrs.evolve(query, negate=None).to_dict()
    if data.keys() == {"type", "query"} and data["type"] == "not" and isinstance(data["query"], Mapping):
        # No page of the vendor's has this node, but queries with it are about.
        return _tell_clause(read_query(data["query"]), about=about, turned=not negated)
    what = unknown(data) if data else "an empty query"
    return _Clause(f"{'not ' if negated else ''}matching {what}")
