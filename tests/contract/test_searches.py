"""Counts and pages of `POST /data/search/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.needs import need
from tests.contract.reads import CONDITIONS
from tests.schemas import misfits

if TYPE_CHECKING:
    from tests.contract.survey import Record


@pytest.mark.parametrize("name", ["leads", "contacts", "untyped", "none", *CONDITIONS])
def test_a_count_has_no_rows(record: Record, name: str) -> None:
    """`results_limit` 0 with `include_counts` gives `total`, and 0 as `limited`."""
    answer = record.plain[f"search: {name}"]
    assert answer.status == 200
    assert misfits(answer.json, "count") == []
    assert answer.row["count"]["limited"] == 0


def test_a_query_that_nothing_fits_counts_nothing(record: Record) -> None:
    """A condition joined with «leads» narrows them."""
    assert record.plain["search: none"].row["count"]["total"] == 0


def test_a_range_of_moments_is_a_condition(record: Record) -> None:
    """All leads were created since 1970: a condition that is not understood would match none, or be refused."""
    counts = [record.plain[f"search: {name}"].row["count"]["total"] for name in ("moments", "leads")]
    assert counts[0] == counts[1]


def test_a_row_is_a_type_and_an_id(record: Record) -> None:
    """Without `_fields` nothing else is told, and a limit of one gives one."""
    page = record.plain["search: page"]
    assert page.status == 200
    assert misfits(page.json, "page of a search") == []
    assert {frozenset(row) for row in page.rows} <= {frozenset({"__object_type", "id"})}
    assert len(page.rows) == min(1, record.plain["search: leads"].row["count"]["total"])


def test_a_cursor_leads_to_the_next_rows(record: Record) -> None:
    """They are others."""
    page = need(record, "search: next page")
    assert page.status == 200
    assert misfits(page.json, "page of a search") == []
    ids = [row["id"] for row in (*record.plain["search: page"].rows, *page.rows)]
    assert len(ids) == len({*ids})


@pytest.mark.parametrize("name", ["no cursor", "no query"])
def test_searches_that_are_none_are_refused(record: Record, name: str) -> None:
    """A cursor that nobody gave, and a body without a query."""
    answer = record.plain[f"search: {name}"]
    assert answer.status == 400
    assert misfits(answer.json, "error") == []
