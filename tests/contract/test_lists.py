"""Bulk actions as they are listed and read: shapes, windows, `_fields`, refusals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.contract.needs import need
from tests.contract.reads import KINDS
from tests.schemas import misfits

if TYPE_CHECKING:
    from tests.contract.survey import Record

of_each_kind = pytest.mark.parametrize("kind", KINDS)

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
FINAL = ("done", "error")


@of_each_kind
def test_a_list_fits_the_schema(record: Record, kind: str) -> None:
    """A list is `data` and `has_more`, and each row has every field of the vendor's schema."""
    page = record.plain[f"{kind}: list"]
    assert page.status == 200
    assert misfits(page.json, f"page of {kind}") == []


@of_each_kind
def test_a_page_has_a_hundred_rows_unless_it_is_told_otherwise(record: Record, kind: str) -> None:
    """At most, and an empty page is the last one."""
    page = record.plain[f"{kind}: list"]
    assert len(page.rows) <= 100
    assert page.rows or page.row["has_more"] is False


@of_each_kind
def test_no_action_is_on_a_page_twice(record: Record, kind: str) -> None:
    """Ids are unique."""
    ids = [row["id"] for row in record.rows(kind)]
    assert len(ids) == len({*ids})


@of_each_kind
def test_limit_and_skip_cut_pages(record: Record, kind: str) -> None:
    """A page of one row has the first, `_skip=1` leads to the second, and `has_more` says whether there is one."""
    first, second = record.plain[f"{kind}: first"], record.plain[f"{kind}: second"]
    ids = [row["id"] for row in record.rows(kind)]
    assert (len(first.rows), len(second.rows)) == (min(1, len(ids)), min(1, max(0, len(ids) - 1)))
    assert first.row["has_more"] is (len(ids) > 1)
    assert [row["id"] for row in (*first.rows, *second.rows)] == ids[:2]


@of_each_kind
def test_fields_narrow_rows_and_unknown_names_are_ignored(record: Record, kind: str) -> None:
    """Those that exist are there, and no other; a name that does not exist is no error."""
    page = record.plain[f"{kind}: narrowed"]
    assert page.status == 200
    assert {frozenset(row) for row in page.rows} <= {frozenset({"id", "status"})}


@of_each_kind
def test_an_item_is_what_its_list_shows(record: Record, kind: str) -> None:
    """The same keys, the same id, and the schema."""
    item, row = need(record, f"{kind}: item"), record.rows(kind)[0]
    assert item.status == 200
    assert misfits(item.json, kind) == []
    assert item.row.keys() == row.keys()
    assert item.row["id"] == row["id"]
    assert need(record, f"{kind}: narrowed item").row.keys() == {"id", "status"}


@of_each_kind
def test_dates_are_spelled_as_documented(record: Record, kind: str) -> None:
    """ISO 8601 with microseconds and the offset of UTC."""
    dates = [row[name] for row in record.rows(kind) for name in ("date_created", "date_updated") if row[name]]
    assert [DATE.sub("", date) for date in dates] == [""] * len(dates)


@of_each_kind
def test_no_action_processes_more_than_it_has(record: Record, kind: str) -> None:
    """Where there are counts, what is processed is a part of them."""
    counted = [row for row in record.rows(kind) if row["n_objects"] is not None]
    assert [row["status"] for row in counted if row["n_objects_processed"] > row["n_objects"]] == []


@of_each_kind
def test_only_what_is_not_counted_lacks_counts(record: Record, kind: str) -> None:
    """An action that is done has its counts."""
    assert [row["status"] for row in record.rows(kind) if row["n_objects"] is None and row["status"] == "done"] == []


@of_each_kind
def test_ids_begin_with_one_word(record: Record, kind: str) -> None:
    """All ids of a kind begin alike, then come letters and digits."""
    words = {re.sub(r"[A-Za-z0-9]+$", "", row["id"]) for row in record.rows(kind)}
    assert len(words) <= 1
    if kind in ("email", "delete"):  # the two that the vendor's samples show
        assert words <= {KINDS[kind]}


@of_each_kind
def test_too_large_a_page_is_refused(record: Record, kind: str) -> None:
    """With the number that is allowed."""
    answer = record.plain[f"{kind}: large"]
    assert answer.status == 400
    assert re.search(r"max_limit = \d+|less than or equal to \d+", answer.error or "")


@of_each_kind
def test_too_large_an_offset_is_refused_or_shows_nothing(record: Record, kind: str) -> None:
    """With the number that is allowed, or as an empty last page: no source says which."""
    answer = record.plain[f"{kind}: deep"]
    if answer.status == 200:
        assert (answer.rows, answer.row["has_more"]) == ([], False)
    else:
        assert answer.status == 400
        assert re.search(r"max_skip = \d+|less than or equal to \d+", answer.error or "")


@of_each_kind
def test_an_id_that_nothing_has_is_not_found(record: Record, kind: str) -> None:
    """404, with a body that errors have."""
    answer = record.plain[f"{kind}: missing"]
    assert answer.status == 404
    assert misfits(answer.json, "error") == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("limit that is no number", '_limit must be an integer (got "x" instead).'),
        ("skip that is no number", '_skip must be an integer (got "x" instead).'),
        ("skip below zero", '_skip must be a non-negative integer (got "-1" instead).'),
    ],
)
def test_windows_that_are_none_are_refused(record: Record, name: str, text: str) -> None:
    """In the words of the vendor's published framework."""
    answer = record.plain[f"email: {name}"]
    assert (answer.status, answer.error) == (400, text)


def test_an_unknown_filter_is_ignored(record: Record) -> None:
    """It shows what there is without it: a misspelt filter is no filter."""
    answer = record.plain["email: unknown filter"]
    assert answer.status == 200
    assert [row["id"] for row in answer.rows] == [row["id"] for row in record.plain["email: first"].rows]


def test_a_template_filters_emails_and_nothing_else(record: Record) -> None:
    """One that no email has shows none; edits do not know the filter, and are all shown."""
    assert record.plain["email: filter by no template"].rows == []
    shown = record.plain["edit: filter of emails"]
    assert [row["id"] for row in shown.rows] == [row["id"] for row in record.plain["edit: first"].rows]


def test_emails_of_a_template_are_found(record: Record) -> None:
    """All of them have it, and none of the first page is missing."""
    found = need(record, "email: filter by a template")
    template = found.ask.parameters["template_id"]
    assert {row["template_id"] == template for row in found.rows} == {True}
    wanted = {row["id"] for row in record.rows("email") if row["template_id"] == template}
    assert wanted <= {row["id"] for row in found.rows}
