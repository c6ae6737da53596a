"""`POST /data/search/` as far as counting needs it: what a query matches is told to it, not found out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .bodies import check_fields
from .kinds import Field, JsonObject

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

# Nobody says how many rows come unasked.
_DEFAULT_ROWS = 100


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
