"""`POST /data/search/`: over the population, or where there is none as a test says how many a query finds."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from .bodies import check_fields
from .conditions import Asker, MalformedError
from .cursors import Cursors, Place
from .evaluating import found_types, read_query
from .kinds import Field, JsonObject
from .ordering import Orders, read_order
from .records import Contact, Lead
from .refusals import refused, refused_fields
from .rows import show_row

if TYPE_CHECKING:
    from .evaluating import Holds
    from .knobs import Knobs
    from .messages import Request
    from .ordering import Order
    from .population import Population

Matches = int | Callable[[JsonObject], int] | None

SEARCH_FIELDS = (
    Field("query", types=(dict,), required=True),
    Field("_fields", types=(dict,)),
    Field("_limit", types=(int,)),
    Field("cursor"),
    Field("include_counts", types=(bool,)),
    Field("results_limit", types=(int,)),
    Field("sort", types=(list,), items=dict),
)

# What stays the same on all pages of a walk.
_OF_A_WALK = ("query", "sort", "results_limit")

# Nobody says how many rows come unasked.
_DEFAULT_ROWS = 100

# So many orders of what `sort` does not order; the walks take turns.
_SALTS = 3
_HOURS_OF_A_DAY = 24


def answer_search(body: Mapping[str, object], matches: Callable[[JsonObject], int]) -> JsonObject:
    """The first page of a search, with the counts if they are asked for; `matches` says how many a query finds.

    Raises `RefusedError` for a body that does not fit. Rows have nothing but type and id, as without `_fields`.
    """
    check_fields(SEARCH_FIELDS, body)
    query, wanted, cap = body["query"], body.get("_limit"), body.get("results_limit")
    total = matches(dict(query) if isinstance(query, dict) else {})
    limited = min(total, cap) if isinstance(cap, int) else total
    n_rows = min(limited, wanted if isinstance(wanted, int) else _DEFAULT_ROWS)
    answer: JsonObject = {"data": [{"__object_type": "lead", "id": f"lead_{number:043}"} for number in range(n_rows)]}
    if body.get("include_counts"):
        answer["count"] = {"limited": limited, "total": total}
    return answer


class Searches:
    """Searches of a population; what a walk needs from one page to the next stays here.

    A walk goes on by the place of its last row, so that records that come in the meantime are found behind it, and not
    before. It ends after `SearchRules.max_walk` rows in the way that `walk_ends` names. An answer has a cursor unless
    `results_limit` is 0, as in the vendor's example of a count.
    """

    def __init__(self, population: Population, knobs: Knobs, *, user_id: str, seed: int) -> None:
        self._population = population
        self._knobs = knobs
        self._user_id = user_id
        self._orders = Orders(population)
        self._cursors = Cursors(random.Random(f"cursors {seed}"))
        self._n_walks = 0

    def answer(self, body: JsonObject, request: Request) -> JsonObject:
        """One page of a search; raises `RefusedError` for a body that does not fit."""
        check_fields(SEARCH_FIELDS, body)
        with _judged("query"):
            names, limit, place = self._read_names(body), self._read_limit(body), self._open(body, request)
            order, holds = self._read(body, "query", request, salt=place.salt)
            wanted = _read_cap(body)
            n_rows = min(limit, wanted - place.n_given, self._knobs.search_rules.max_walk - place.n_given)
            found = filter(holds, self._orders.walk(order, after=place.after))
            rows = list(islice(found, n_rows))
            answer: JsonObject = {"data": [show_row(row, names.get(row.object_type, ())) for row in rows]}
            if wanted:
                answer["cursor"] = None
            if rows and self._goes_on(n_given := place.n_given + len(rows), wanted) and next(found, None):
                after = order.place(rows[-1])
                onward = Place(asked=place.asked, salt=place.salt, after=after, n_given=n_given)
                answer["cursor"] = self._cursors.give(onward, request.at)
            if body.get("include_counts"):
                total = sum(map(holds, self._orders.walk(order)))
                answer["count"] = {"limited": min(total, wanted), "total": total}
        return answer

    def find_leads(self, body: JsonObject, request: Request) -> tuple[Lead, ...]:
        """The leads that a bulk action of this body acts on, those of contacts where its `s_query` finds contacts."""
        with _judged("s_query"):
            order, holds = self._read(body, "s_query", request, salt=0)
            found = filter(holds, self._orders.walk(order))
            leads = dict.fromkeys(record.lead if isinstance(record, Contact) else record for record in found)
        return tuple(leads)[: _read_cap(body)]

    def _read(self, body: JsonObject, key: str, request: Request, *, salt: int) -> tuple[Order, Holds]:
        query, sort = body.get(key), body.get("sort")
        query = query if isinstance(query, dict) else {}
        saved = self._population.saved_searches
        asker = Asker(user_id=self._user_id, tz_offset=_read_offset(request.headers), saved_searches=saved)
        types = found_types(query, asker, unsaid=self._knobs.search_rules.found_unasked)
        tests = {word: read_query(query, word, asker) for word in types}
        order = read_order(sort if isinstance(sort, list) else [], types, salt=salt)
        return order, lambda record: tests[record.object_type](record)

    def _read_limit(self, body: JsonObject) -> int:
        limit, most = body.get("_limit"), self._knobs.search_rules.max_limit
        if not isinstance(limit, int):
            return min(_DEFAULT_ROWS, most)
        if limit > most:
            raise refused(
                f"The limit you set is larger than the maximum limit for this resource (max_limit = {most}).",
            )
        return limit

    def _read_names(self, body: JsonObject) -> Mapping[str, list[str]]:
        wanted = body.get("_fields") or {}
        names: dict[str, list[str]] = {}
        for word, listed in wanted.items() if isinstance(wanted, dict) else ():
            if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
                raise refused_fields({"_fields": {"field-errors": {word: "Value must be of list type."}}})
            if len(listed) > self._knobs.search_rules.max_fields:
                raise refused_fields({"_fields": {"field-errors": {word: "List is too long."}}})
            names[word] = listed
        return names

    def _open(self, body: JsonObject, request: Request) -> Place:
        asked = json.dumps([body.get(name) for name in _OF_A_WALK], sort_keys=True)
        cursor = body.get("cursor")
        if not isinstance(cursor, str):
            self._n_walks += 1
            return Place(asked=asked, salt=self._n_walks % _SALTS)
        place = self._cursors.open(
            cursor, asked=asked, now=request.at, lifetime=self._knobs.search_rules.cursor_seconds
        )
        if place.n_given >= self._knobs.search_rules.max_walk:
            raise refused(f"No more than {self._knobs.search_rules.max_walk} objects can be retrieved with one query.")
        return place

    def _goes_on(self, n_given: int, wanted: int) -> bool:
        return n_given < wanted and (
            n_given < self._knobs.search_rules.max_walk or self._knobs.search_rules.walk_ends == "refused"
        )


@contextmanager
def _judged(key: str) -> Iterator[None]:
    """Raises `RefusedError` for a query that is malformed; `key` is where the body has it."""
    try:
        yield
    except MalformedError as error:
        is_sort = error.errors.keys() == {"sort"}
        raise refused_fields(error.errors if is_sort else {key: {"field-errors": error.errors}}) from None
    except RecursionError:
        raise refused("The query is nested too deeply.") from None


def _read_cap(body: JsonObject) -> int:
    cap = body.get("results_limit")
    return cap if isinstance(cap, int) else 2**63


def _read_offset(headers: Mapping[str, str]) -> timedelta:
    """How far the asker's day is ahead of that of UTC; days are those of UTC where no header says otherwise."""
    text = headers.get("x-tz-offset", "0")
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not -_HOURS_OF_A_DAY < hours < _HOURS_OF_A_DAY:
        raise refused(f'x-tz-offset must be a number of hours (got "{text}" instead).')
    return timedelta(hours=hours)
