"""Queries of the service's Advanced Filtering as frozen values: what a search finds and a bulk action acts on.

A query is written with the objects of `closebulk_async.fields`, `lead.name.full_words("ACME Inc.")`, and joined with
`&`, `|` and `~`. Two are equal when they send the same JSON.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

import attrs
from attrs.validators import optional

from closebulk_async.conditions import Condition, CustomField, FieldPart, RegularField, read_condition, read_field
from closebulk_async.errors import InvalidRequestError
from closebulk_async.parts import (
    NOTHING,
    Part,
    are_all,
    is_a,
    is_boolean,
    is_text,
    read_part,
    reads,
    reads_all,
)
from closebulk_async.plain_json import to_plain_json

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class Query(Part):
    """A query that can be joined with others; this class itself where nobody knows its type.

    `negate` is None where the JSON does not say it. `a & b` matches what both match, `a | b` what one of them matches,
    `~a` what `a` does not. Queries have no truth value, so that `and`, `or`, `not` and `1 < field < 5` fail instead of
    forgetting half of what was written.
    """

    negate: bool | None = attrs.field(default=None, validator=optional(is_boolean), kw_only=True)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Query:
        """Read any query back, one that the app's «Copy Filters» wrote included: `to_dict()` gives the same JSON.

        What this package does not know is kept as it is. Raises InvalidRequestError for what is no JSON object.
        """
        try:
            return read_query(to_plain_json(data, path="query"))
        except RecursionError:
            raise InvalidRequestError(_too_deep("query")) from None

    def __and__(self, other: Query) -> Query:
        return And((*_members(self, And), *_members(other, And))) if isinstance(other, Query) else NotImplemented

    def __or__(self, other: Query) -> Query:
        return Or((*_members(self, Or), *_members(other, Or))) if isinstance(other, Query) else NotImplemented

    def __invert__(self) -> Query:
        if self.negate is None and "negate" in self.to_dict():  # it says neither true nor false: who knows what it is
            return And((self,), negate=True)
        return attrs.evolve(self, negate=None if self.negate else True)

    def __bool__(self) -> NoReturn:
        message = "a query has no truth value: join queries with & | ~, and write both bounds with in_range(gt=, lt=)"
        raise InvalidRequestError(message)

    def __repr__(self) -> str:
        shown = self._show() if self.rest == NOTHING and self.negate is not False else None
        if shown is None:
            return f"Query.from_dict({self.to_dict()!r})"
        return f"~{shown}" if self.negate else shown

    def _show(self) -> str | None:
        """The expression that makes it, but for the negation; None where there is none."""
        return None


def _members(query: Query, of: type[And | Or]) -> tuple[Query, ...]:
    """What a query adds to a longer `and` or `or`: the members of one of the same type.

    Nobody knows what one without members matches, so that it stays what it is.
    """
    if isinstance(query, of) and query.queries and not query.negate and query.rest == NOTHING:
        return query.queries
    return (query,)


def read_query(data: object) -> Query:
    """The query of plain JSON."""
    return read_part(data, Query, QUERIES)


@attrs.frozen(repr=False)
class ById(Query):
    """The one object with this id."""

    word: ClassVar[str] = "id"

    value: str = attrs.field(validator=is_text)

    def _show(self) -> str:
        return f"by_id({self.value!r})"


@attrs.frozen(repr=False)
class ObjectType(Query):
    """Every object of a type."""

    word: ClassVar[str] = "object_type"

    object_type: str = attrs.field(validator=is_text)

    def _show(self) -> str | None:
        return f"{self.object_type}.every()" if self.object_type in ("lead", "contact") else None


@attrs.frozen(repr=False)
class TextSearch(Query):
    """Objects in which a text stands somewhere."""

    word: ClassVar[str] = "text"

    value: str = attrs.field(validator=is_text)
    mode: str | None = attrs.field(default=None, validator=optional(is_text))

    def _show(self) -> str:
        mode = "" if self.mode is None else f", mode={self.mode!r}"
        return f"text_search({self.value!r}{mode})"


@attrs.frozen(repr=False)
class FieldCondition(Query):
    """Objects of which a field fulfils a condition."""

    word: ClassVar[str] = "field_condition"

    field: FieldPart = attrs.field(validator=is_a(FieldPart), metadata=reads(read_field))
    condition: Condition = attrs.field(validator=is_a(Condition), metadata=reads(read_condition))

    def _show(self) -> str | None:
        field = self.field
        if field.rest != NOTHING:
            return None
        if isinstance(field, CustomField):  # it is the same whatever object it is asked of
            return f"lead.custom({field.custom_field_id!r}).{self.condition.call()}"
        if not isinstance(field, RegularField) or field.object_type not in OBJECTS:
            return None
        name = field.field_name
        shown = name if name.isidentifier() else f"field({name!r})"
        return f"{field.object_type}.{shown}.{self.condition.call()}"


@attrs.frozen(repr=False)
class HasRelated(Query):
    """Objects to which one of another type belongs that a query matches."""

    word: ClassVar[str] = "has_related"

    this_object_type: str = attrs.field(validator=is_text)
    related_object_type: str = attrs.field(validator=is_text)
    related_query: Query = attrs.field(validator=is_a(Query), metadata=reads(read_query))

    def _show(self) -> str | None:
        if not {self.this_object_type, self.related_object_type} <= OBJECTS:
            return None
        return f"{self.this_object_type}.has({self.related_object_type}, {self.related_query!r})"


@attrs.frozen(repr=False)
class And(Query):
    """What each of the queries matches."""

    word: ClassVar[str] = "and"

    queries: tuple[Query, ...] = attrs.field(validator=are_all(Query), metadata=reads_all(read_query))

    def _show(self) -> str | None:
        return _join(self.queries, " & ", of=And)


@attrs.frozen(repr=False)
class Or(Query):
    """What at least one of the queries matches."""

    word: ClassVar[str] = "or"

    queries: tuple[Query, ...] = attrs.field(validator=are_all(Query), metadata=reads_all(read_query))

    def _show(self) -> str | None:
        return _join(self.queries, " | ", of=Or)


def _join(queries: tuple[Query, ...], sign: str, *, of: type[And | Or]) -> str | None:
    # Joined again, an `and` in an `and` would become part of it.
    if len(queries) < 2 or any(_members(query, of) != (query,) for query in queries):  # noqa: PLR2004 - a join of two
        return None
    return f"({sign.join(map(repr, queries))})"


@attrs.frozen(repr=False)
class SavedSearch(Query):
    """What a Smart View shows."""

    word: ClassVar[str] = "saved_search"

    saved_search_id: str = attrs.field(validator=is_text)

    def _show(self) -> str:
        return f"saved_search({self.saved_search_id!r})"


OBJECTS = frozenset({"lead", "contact", "contact_phone", "contact_email", "contact_url", "address"})
"""The types of objects that `closebulk_async.fields` has under their own names."""

QUERIES: Mapping[str, type[Query]] = MappingProxyType(
    {
        "id": ById,
        "object_type": ObjectType,
        "text": TextSearch,
        "field_condition": FieldCondition,
        "has_related": HasRelated,
        "and": And,
        "or": Or,
        "saved_search": SavedSearch,
    }
)


def by_id(*ids: str) -> Query:
    """The objects with these ids, each written whole. Raises InvalidRequestError without any."""
    if not ids:
        message = "by_id: name at least one id"
        raise InvalidRequestError(message)
    each = tuple(map(ById, ids))
    return each[0] if len(each) == 1 else Or(each)


def saved_search(id: str) -> Query:
    """What the Smart View with this id (`save_…`) shows. Unconfirmed: the vendor documents it for reports only."""
    return SavedSearch(id)


def text_search(value: str, *, mode: Literal["full_words", "phrase", "beginning_of_words"] | None = None) -> Query:
    """Objects in which this text stands, whatever the field. What it means without a mode is documented nowhere."""
    return TextSearch(value, mode)


def raw(data: Mapping[str, Any]) -> Query:
    """The query of a JSON object, for what this package does not know yet: it is sent as it is.

    Raises InvalidRequestError for what no service could take for a query: without a `type`, it matches anything.
    """
    query = Query.from_dict(data)
    if not isinstance(word := data.get("type"), str) or not word:
        message = f"a query says its type, and this one does not: {data!r}"
        raise InvalidRequestError(message)
    return query


def to_query_dict(query: Query | Mapping[str, Any], *, name: str = "query") -> dict[str, Any]:
    """The JSON object that a query or a mapping means, as a copy of its own; `name` is what errors call it.

    Raises InvalidRequestError for anything else, and for what JSON cannot hold. Judging it is the guard's matter.
    """
    try:
        plain = to_plain_json(query.to_dict() if isinstance(query, Query) else query, path=name)
    except RecursionError:
        raise InvalidRequestError(_too_deep(name)) from None
    if not isinstance(plain, dict):
        message = f"{name} must be a Query or a mapping and is the {type(query).__name__} {query!r}"
        raise InvalidRequestError(message)
    return plain


def _too_deep(name: str) -> str:
    return f"{name} contains itself, or is nested too deeply"
