"""What a search answers, as far as counts need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Limits, Plan

if TYPE_CHECKING:
    from .api import Api, Reply, Row

LEADS: Row = {"type": "object_type", "object_type": "lead"}
COUNT: Row = {"query": LEADS, "include_counts": True, "results_limit": 0}


async def search(api: Api, **body: object) -> Reply:
    """One search."""
    return await api.call("POST", "/data/search/", json_body=body)


async def test_a_count_is_the_documented_answer(api: Api) -> None:
    """Counting without rows answers, key for key, as the vendor's page shows it."""
    api.sim.matches = 3
    reply = await search(api, **COUNT)
    assert (reply.status, reply.json()) == (200, {"data": [], "count": {"limited": 0, "total": 3}})
    assert not api.sim.jobs


async def test_counts_come_only_when_asked_for(api: Api) -> None:
    """Without `include_counts` there are rows and no count; a row has its type and its id."""
    api.sim.matches = 2
    for more in ({}, {"include_counts": False}):
        answer = (await search(api, query=LEADS, **more)).json()
        assert answer.keys() == {"data"}
    rows = (await search(api, query=LEADS)).rows()
    assert [row["__object_type"] for row in rows] == ["lead", "lead"]
    assert len({str(row["id"]) for row in rows}) == 2
    assert all(row.keys() == {"__object_type", "id"} for row in rows)


@pytest.mark.parametrize(
    ("body", "limited", "n_rows"),
    [
        ({}, 250, 100),
        ({"_limit": 7}, 250, 7),
        ({"results_limit": 5}, 5, 5),
        ({"results_limit": 5, "_limit": 2}, 5, 2),
        ({"results_limit": 300, "_limit": 200}, 250, 200),
        ({"results_limit": None, "_limit": None, "cursor": None}, 250, 100),
        ({"_fields": {"lead": ["id"]}, "sort": [{"direction": "asc"}], "cursor": "x", "_limit": 1}, 250, 1),
    ],
)
async def test_limits_bound_the_rows(api: Api, body: Row, limited: int, n_rows: int) -> None:
    """`results_limit` bounds rows and `limited`, `_limit` the rows alone, and neither the total."""
    api.sim.matches = 250
    reply = await search(api, query=LEADS, include_counts=True, **body)
    assert reply.json()["count"] == {"limited": limited, "total": 250}
    assert len(reply.rows()) == n_rows


async def test_a_search_finds_the_leads_of_the_next_job(api: Api) -> None:
    """Unless told otherwise it finds what the next plan of the queue acts on, of whatever kind, and then `plan`."""
    api.sim.plan = Plan(n_objects=8)
    api.sim.next_job(kind="edit", n_objects=30, n_leads=20)
    api.sim.next_job(n_objects=4)
    for kind, total in (("edit", 20), ("email", 4), ("email", 8)):
        assert (await search(api, **COUNT)).json()["count"] == {"limited": 0, "total": total}
        await api.start(kind)


async def test_a_test_may_judge_the_query(api: Api) -> None:
    """`matches` may be a function of the query that was sent."""
    api.sim.matches = lambda query: 7 if query == LEADS else 1
    assert (await search(api, **COUNT)).json()["count"] == {"limited": 0, "total": 7}
    reply = await search(api, **{**COUNT, "query": {"type": "id", "value": "lead_1"}})
    assert reply.json()["count"] == {"limited": 0, "total": 1}


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"query": "This field is required."}),
        ({"query": None}, {"query": "This field is required."}),
        ({"query": "lead_status:Potential"}, {"query": "Value must be of dict type."}),
        ({"query": {}, "include_counts": 1}, {"include_counts": "Value must be of bool type."}),
        ({"query": {}, "results_limit": "0"}, {"results_limit": "Value must be of int type."}),
        ({"query": {}, "results_limit": -1}, {"results_limit": "The value must be at least 0."}),
        ({"query": {}, "_limit": True}, {"_limit": "Value must be of int type."}),
        ({"query": {}, "_fields": ["id"]}, {"_fields": "Value must be of dict type."}),
        ({"query": {}, "sort": ["id"], "cursor": 1}, dict.fromkeys(("sort", "cursor"), "Value must be of {} type.")),
    ],
)
async def test_refused_searches(api: Api, body: Row, errors: dict[str, str]) -> None:
    """A body that does not fit is a 400 with one text per field."""
    words = {"sort": "dict", "cursor": "str"}
    expected = {name: text.format(words.get(name)) for name, text in errors.items()}
    reply = await search(api, **body)
    assert (reply.status, reply.json()) == (400, {"errors": [], "field-errors": expected})


async def test_a_search_is_a_post_with_json(api: Api) -> None:
    """Other methods are a 405, another content type is refused, and a key is needed."""
    read = await api.get("/data/search/")
    assert (read.status, read.headers["allow"]) == (405, "POST")
    assert (await api.call("POST", "/data/search/", data=b"query=x")).status == 400
    assert (await api.call("POST", "/data/search/", json_body=COUNT, headers={})).status == 401


async def test_searches_have_a_group_of_their_own(api: Api) -> None:
    """The rate limit of searches is set and used up by itself."""
    api.sim.limits = Limits(rates={"POST /data/search/": 2})
    assert (await search(api, **COUNT)).headers["ratelimit"].startswith("limit=16; remaining=15;")
    assert (await api.get("/me/")).headers["ratelimit"].startswith("limit=160; remaining=159;")
