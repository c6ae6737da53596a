"""Searches as HTTP: what to send for a count and for a page, and what an answer means.

Pure functions, as those of `wire`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import orjson

from closebulk_async.convert import parse_datetime
from closebulk_async.errors import BadRequestError, InvalidRequestError
from closebulk_async.fields import AnyField
from closebulk_async.models import ID_PATTERN
from closebulk_async.wire import Request, Response, check_status, misfit, parse_body

if TYPE_CHECKING:
    from datetime import datetime

PATH = "/data/search/"

MOST_ROWS = 10_000
"""Rows that the service gives at the most for one query, however many it matches."""

KEY = "date_created"
"""The field that a walk goes on by: it never changes, every object has it, and new objects come last."""

Node: TypeAlias = Mapping[str, Any]


FieldLike: TypeAlias = str | Node | AnyField
"""A field by its name, as the service spells it, or from the query builder."""


@attrs.frozen
class SortKey:
    """One field to sort by; `asc(...)` and `desc(...)` make it.

    Only fields of the objects themselves that hold a number, a date or a text sort.
    """

    field: FieldLike = attrs.field()
    direction: Literal["asc", "desc"]

    @field.validator
    def _check_field(self, _: object, field: object) -> None:
        if not (field.strip() if isinstance(field, str) else isinstance(field, Mapping | AnyField)):
            message = f"a field to sort by must be a name or a field and is {field!r}"
            raise InvalidRequestError(message)

    def to_dict(self, object_type: str) -> dict[str, Any]:
        """As the service spells it; a name is that of a regular field of `object_type`."""
        field = regular_field(object_type, self.field) if isinstance(self.field, str) else self.field
        plain = field if isinstance(field, Mapping) else field.part.to_dict()
        return {"direction": self.direction, "field": dict(plain)}


def asc(field: FieldLike) -> SortKey:
    """Smallest first, oldest first."""
    return SortKey(field, "asc")


def desc(field: FieldLike) -> SortKey:
    """Largest first, newest first."""
    return SortKey(field, "desc")


@attrs.frozen
class Hit:
    """One object that a search found. `fields` are those that were asked for, as the service's JSON holds them."""

    object_type: str
    id: str
    fields: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """The row as the service gave it. The caller's own."""
        return deepcopy({"__object_type": self.object_type, "id": self.id, **self.fields})


@attrs.frozen
class SearchPage:
    """One page of a search; `cursor` leads to the next one, None where the service says that there is none.

    `total` is how many objects the query matches, None where that was not asked for or cannot be read.
    """

    hits: Sequence[Hit]
    cursor: str | None
    total: int | None = None


def regular_field(object_type: str, name: str) -> dict[str, Any]:
    """A field that all organizations have."""
    return {"type": "regular_field", "object_type": object_type, "field_name": name}


def name_objects(query: Node | None, object_type: str | None = None) -> Node:
    """The query, with the objects named that it looks for.

    A bulk action acts on leads. A search has no such default that anybody documents, so that it is told, unless the
    query names its objects itself: contacts are then counted, and each lead that they lead to has at least one.
    """
    if object_type is None and query and any(True for _ in _named_types(query)):
        return query
    named = {"type": "object_type", "object_type": object_type or "lead"}
    return {"type": "and", "queries": [named, query]} if query else named


def find_object_type(query: Node) -> str:
    """The type of the objects that a query looks for: what it names, or else leads.

    Raises InvalidRequestError where it names several, or says only which ones it does not look for.
    """
    found = set(_named_types(query)) or {("lead", False)}
    object_type, is_negated = found.pop()
    if found or is_negated or not isinstance(object_type, str):
        message = "the query does not say which one type of objects it looks for: pass object_type='lead', say"
        raise InvalidRequestError(message)
    return object_type


def _named_types(node: object, *, negated: bool = False) -> Iterator[tuple[object, bool]]:
    """The types that are named for the objects searched for, and not for those related to them; and if negated."""
    if isinstance(node, Mapping):
        negated ^= bool(node.get("negate"))
        if node.get("type") == "object_type":
            yield str(node.get("object_type")), negated
        children = node.get("queries")
        for child in children if isinstance(children, list | tuple) else ():
            yield from _named_types(child, negated=negated)
        yield from _named_types(node.get("query"), negated=negated ^ (node.get("type") == "not"))


def since(object_type: str, moment: str) -> Node:
    """The condition that an object was created at that moment or later.

    Unconfirmed: the vendor describes no `moment_range`; its application writes them so.
    """
    return {
        "type": "field_condition",
        "field": regular_field(object_type, KEY),
        "condition": {"type": "moment_range", "on_or_after": {"type": "fixed_utc", "value": moment}},
    }


def build_count(query: Node) -> Request:
    """Count what an Advanced-Filtering query matches, without reading any of it."""
    return _build({"include_counts": True, "query": query, "results_limit": 0})


def build_search(
    query: Node, *, fields: Mapping[str, Sequence[str]], sort: Sequence[Node], limit: int, cursor: str | None = None
) -> Request:
    """Read a page: the first one, together with the number of all matches, or the one that `cursor` leads to."""
    body = {"query": query, "_fields": fields, "sort": sort, "_limit": limit}
    return _build({**body, "include_counts": True} if cursor is None else {**body, "cursor": cursor})


def _build(body: Mapping[str, Any]) -> Request:
    try:
        text = orjson.dumps(body)
    except TypeError as exc:  # it may stand one level deeper here than in a start
        message = f"this query cannot be sent as JSON: {exc}"
        raise InvalidRequestError(message) from exc
    return Request(method="POST", path=PATH, body=text, only_reads=True)


def read_count(request: Request, response: Response) -> int:
    """How many objects a query matches, by the answer to `build_count`.

    `total` is all of them; `limited` beside it is what the `results_limit` of the search leaves, here none. Raises the
    APIError of the answer's status, or DecodeError.
    """
    check_status(request, response)
    body = parse_body(response.body)
    count = body.get("count") if isinstance(body, Mapping) else None
    total = _total(count)
    if total is None:
        message = f"'count' holds {count!r}, where 'total' must be a number of objects"
        raise misfit(message, request, response)
    return total


def _total(count: object) -> int | None:
    total = count.get("total") if isinstance(count, Mapping) else None
    return total if type(total) is int and total >= 0 else None


def read_search_page(request: Request, response: Response, *, is_by_key: bool) -> SearchPage:
    """The page of an answer. Raises the APIError of its status, or DecodeError.

    `is_by_key` says that its rows are to be in the order of their creation, and to say when that was.
    """
    _check_search(request, response)
    body = parse_body(response.body)
    if not isinstance(body, Mapping) or not isinstance(rows := body.get("data"), list):
        message = "there is no list 'data'"
        raise misfit(message, request, response)
    cursor = body.get("cursor")
    if not isinstance(cursor, str | None):
        message = f"'cursor' holds {cursor!r}, where a text belongs"
        raise misfit(message, request, response)
    try:
        hits = [_read_hit(row) for row in rows]
        if is_by_key:
            _check_order([moment_of(hit) for hit in hits])
    except ValueError as exc:
        raise misfit(str(exc), request, response) from exc
    return SearchPage(hits, cursor or None, _total(body.get("count")))


def _check_search(request: Request, response: Response) -> None:
    try:
        check_status(request, response)
    except BadRequestError as exc:
        if TOO_LONG not in str(exc):
            raise
        asked = orjson.loads(request.body or b"{}").get("_fields", {})
        hint = f"{sum(map(len, asked.values()))} fields were asked for: ask for fewer"
        raise BadRequestError(
            status=exc.status,
            request=exc.request,
            errors=(*exc.errors, hint),
            field_errors=exc.field_errors,
            body=exc.body,
        ) from exc


TOO_LONG = "List is too long."
"""What the service says where more fields are asked for than it gives; how many those are is documented nowhere."""


def moment_of(hit: Hit) -> datetime:
    """When the object was created. Raises ValueError where the row does not say."""
    text = hit.fields.get(KEY)
    if text is None:
        message = f"the row of {hit.id!r} has no {KEY!r}"
        raise ValueError(message)
    return parse_datetime(str(text))


def _read_hit(row: object) -> Hit:
    fields = dict(row) if isinstance(row, dict) else {}
    object_type, id_ = fields.pop("__object_type", None), fields.pop("id", None)
    if not isinstance(object_type, str) or not isinstance(id_, str) or not ID_PATTERN.fullmatch(id_):
        message = "a row has no '__object_type' or no 'id' that is one"
        raise ValueError(message)
    return Hit(object_type, id_, fields)


def _check_order(moments: Iterable[datetime]) -> None:
    if any(later < earlier for earlier, later in pairwise(moments)):
        message = f"the rows are not in the order that was asked for, of {KEY!r}"
        raise ValueError(message)


def list_fields(fields: Iterable[str] | Mapping[str, Iterable[str]] | None, object_type: str) -> dict[str, list[str]]:
    """The fields to ask for, by type of object: those that are given, and always what a walk needs.

    Raises InvalidRequestError for what is no name.
    """
    given = fields if isinstance(fields, Mapping) else {object_type: () if fields is None else fields}
    asked: dict[str, list[str]] = {}
    for owner, names in {object_type: (), **given}.items():
        if isinstance(names, str):
            message = f"fields must be several names and is the one text {names!r}: write [{names!r}]"
            raise InvalidRequestError(message)
        wanted = ["id", KEY, *names]
        if strange := [name for name in wanted if not isinstance(name, str) or not name.strip()]:
            message = f"fields holds {strange[0]!r}, which is no name of a field"
            raise InvalidRequestError(message)
        asked[owner] = list(dict.fromkeys(wanted))  # without repetitions, in order
    return asked


def list_sort(sort: Iterable[SortKey | Node] | None, object_type: str) -> list[Node]:
    """The sort to ask for: what is given, or by creation, oldest first. Raises InvalidRequestError."""
    if sort is None:
        return [asc(KEY).to_dict(object_type)]
    if isinstance(sort, SortKey | Mapping | str):
        message = f"sort must be several keys and is the one {sort!r}: write [{sort!r}]"
        raise InvalidRequestError(message)
    keys = list(sort)
    if strange := [key for key in keys if not isinstance(key, SortKey | Mapping)]:
        message = f"sort holds {strange[0]!r}: write asc({strange[0]!r}) or desc({strange[0]!r})"
        raise InvalidRequestError(message)
    return [key.to_dict(object_type) if isinstance(key, SortKey) else dict(key) for key in keys]
