"""Exports, webhooks, the event log, and whose key it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.needs import need
from tests.contract.reads import KINDS
from tests.schemas import misfits

if TYPE_CHECKING:
    from tests.contract.survey import Record

ACTIONS = {"created", "updated", "completed", "paused"}


def test_me_is_a_user_of_organizations(record: Record) -> None:
    """Among them the one that the actions are of."""
    me = record.plain["me"]
    assert me.status == 200
    assert misfits(me.json, "me") == []
    owners = {row["organization_id"] for row in record.all_rows}
    assert owners <= {each["id"] for each in me.row["organizations"]}


def test_exports_fit_what_is_known_of_them(record: Record) -> None:
    """A list like others, of objects with an id and a status of their own words."""
    page = record.plain["export: list"]
    assert page.status == 200
    assert misfits(page.json, "page of export") == []


def test_an_export_has_a_link_once_it_is_done(record: Record) -> None:
    """And none before."""
    rows = record.plain["export: list"].rows
    assert [row["status"] for row in rows if bool(row.get("download_url")) is not (row["status"] == "done")] == []


def test_an_export_is_read_by_its_id(record: Record) -> None:
    """It is the one that the list shows."""
    item = need(record, "export: item")
    assert item.status == 200
    assert misfits(item.json, "export") == []
    assert item.row["id"] == record.plain["export: list"].rows[0]["id"]


def test_webhooks_fit_what_is_known_of_them(record: Record) -> None:
    """The list and one of it."""
    assert record.plain["webhook: list"].status == 200
    assert misfits(record.plain["webhook: list"].json, "list of webhooks") == []
    assert misfits(need(record, "webhook: item").json, "webhook") == []


@pytest.mark.parametrize("name", ["list", "first", "of a type"])
def test_pages_of_the_event_log_fit(record: Record, name: str) -> None:
    """At most 50 events, with dates that name no offset, and cursors instead of `has_more`."""
    page = record.plain[f"event: {name}"]
    assert page.status == 200
    assert misfits(page.json, "page of events") == []


def test_the_event_log_is_newest_first(record: Record) -> None:
    """By `date_updated`, also among the events of a type, which has no others."""
    for name in ("event: list", "event: of a type"):
        dates = [row["date_updated"] for row in record.plain[name].rows]
        assert dates == sorted(dates, reverse=True)
    of_type = record.plain["event: of a type"].rows
    assert {(row["object_type"], row["action"]) for row in of_type} <= {("bulk_action.email", "created")}


def test_a_cursor_leads_to_older_events(record: Record) -> None:
    """The next page has another event, which is no newer, and a way back."""
    first, second = record.plain["event: first"], need(record, "event: second")
    assert second.status == 200
    assert misfits(second.json, "page of events") == []
    assert [row["id"] for row in second.rows] != [row["id"] for row in first.rows]
    assert all(row["date_updated"] <= first.rows[0]["date_updated"] for row in second.rows)
    assert second.row["cursor_previous"] is not None


def test_an_event_is_read_by_its_id(record: Record) -> None:
    """It is the one that the log shows."""
    item = need(record, "event: item")
    assert item.status == 200
    assert misfits(item.json, "event") == []
    assert item.row["id"] == record.plain["event: first"].rows[0]["id"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_history_of_an_action_is_found_by_type_and_id(record: Record, kind: str) -> None:
    """All events are that action's, and what happens to actions is one of four things."""
    page = need(record, f"event: history of {kind}")
    assert page.status == 200
    assert misfits(page.json, "page of events") == []
    wanted = (f"bulk_action.{kind}", record.rows(kind)[0]["id"])
    assert {(row["object_type"], row["object_id"]) == wanted for row in page.rows} <= {True}
    assert {row["action"] for row in page.rows} <= ACTIONS


@pytest.mark.parametrize("name", ["large", "skip", "odd filters", "no date"])
def test_what_the_event_log_cannot_do_is_refused(record: Record, name: str) -> None:
    """More than 50 events, an offset, a filter that needs another one, a date that is none."""
    answer = record.plain[f"event: {name}"]
    assert answer.status == 400
    assert misfits(answer.json, "error") == []


@pytest.mark.parametrize("what", ["export", "webhook", "event"])
def test_an_id_that_nothing_has_is_not_found(record: Record, what: str) -> None:
    """404, with a body that errors have."""
    answer = record.plain[f"{what}: missing"]
    assert answer.status == 404
    assert misfits(answer.json, "error") == []
