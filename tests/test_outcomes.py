"""What an action did to each object: found in a log of everybody's events, each once, and summed up honestly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from aiohttp import web

from closebulk_async import (
    BulkAction,
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkSequenceSubscription,
    CloseBulk,
    DecodeError,
    InvalidRequestError,
    PermissionDeniedError,
)
from closebulk_async.event_wire import EventType
from closebulk_async.outcomes import AFTER, BEFORE, KEPT_FOR, RESCANNED, events_of
from tests.peers import Peer, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from closebulk_async.outcomes import ObjectOutcome
    from closebulk_async.testing import FakeClock

MINE = "bulkdelete_example"


def spell(moment: datetime) -> str:
    """As events have it: UTC, without an offset."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()


@attrs.define(eq=False)
class Log:
    """A log of events behind a server of a few lines. `on_page` is called before each page is cut."""

    action: BulkAction
    rows: list[dict[str, Any]] = attrs.field(factory=list)
    on_page: Callable[[int], None] = lambda _: None
    queries: list[dict[str, str]] = attrs.field(factory=list)

    def add(self, number: int, at: datetime, *, cause: str | None = MINE, **fields: Any) -> dict[str, Any]:
        """An event, by default of one's own action; the list stays in its order, the latest first."""
        row: dict[str, Any] = {
            "id": f"ev_{number}",
            "object_type": "lead",
            "object_id": f"lead_{number}",
            "lead_id": f"lead_{number}",
            "action": "deleted",
            "date_created": spell(at),
            "date_updated": spell(at),
            "changed_fields": ["name"],
            "data": {"name": "after"},
            "previous_data": {"name": "before"},
            "user_id": "user_1",
            "meta": {"request_method": "POST"} if cause is None else {"bulk_action_id": cause},
            **fields,
        }
        self.rows.append(row)
        self.rows.sort(key=lambda row: str(row["date_updated"]), reverse=True)
        return row

    def answer(self, request: web.BaseRequest) -> web.Response:
        """The action, or a page of fifty; a cursor is the number of the first row and the id that stood above it."""
        if not request.path.startswith("/event/"):
            return web.Response(body=self.action.to_json(), content_type="application/json")
        query = dict(request.query)
        self.queries.append(query)
        self.on_page(len(self.queries))
        rows = [
            row
            for row in self.rows
            if (row["object_type"], row["action"]) == (query["object_type"], query["action"])
            and all(
                str(row["date_updated"]) >= spell(datetime.fromisoformat(query[name]))
                for name in ("date_updated__gte",)
                if name in query
            )
            and all(
                str(row["date_updated"]) <= spell(datetime.fromisoformat(query[name]))
                for name in ("date_updated__lte",)
                if name in query
            )
        ]
        if "_cursor" in query:
            last = query["_cursor"]
            assert not {"date_updated__gte", "date_updated__lte"} & query.keys()
            rows = rows[1 + next(number for number, row in enumerate(rows) if row["id"] == last) :]
        page, more = rows[:50], rows[50:]
        body = {"data": page, "cursor_next": page[-1]["id"] if more else None, "cursor_previous": None}
        return web.Response(body=orjson.dumps(body), content_type="application/json")


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A server that a test tells what to answer."""
    async with Peer() as peer:
        yield peer


@pytest.fixture
async def close(peer: Peer, clock: FakeClock) -> AsyncIterator[CloseBulk]:
    """A client of it."""
    async with connect(peer, clock) as close:
        yield close


def deleted(clock: FakeClock, *, n: int, ended: timedelta, **changes: Any) -> BulkDelete:
    """A deletion of so many leads that ended so long ago, after ten minutes."""
    at = clock.now() - ended
    fields: dict[str, Any] = {"status": "done", "n_objects_processed": n, "n_objects": n, "id": MINE}
    dates = {"date_created": at - timedelta(minutes=10), "date_updated": at}
    return BulkDelete.example(**{**fields, **dates, **changes})


async def read(close: CloseBulk, action: BulkAction) -> list[ObjectOutcome]:
    """All outcomes."""
    return [outcome async for outcome in close.outcomes(action)]


async def test_ones_own_events_are_found_among_others(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """Page after page, each once, whoever else caused the rest; the log of other times is not read."""
    log = Log(deleted(clock, n=130, ended=timedelta(hours=2)))
    ended = clock.now() - timedelta(hours=2)
    for number in range(400):
        log.add(number, ended - timedelta(seconds=number), cause=MINE if number < 120 else None)
    log.add(900, ended + timedelta(hours=1), cause=None)
    for number in range(901, 1101):
        log.add(number, ended - timedelta(hours=1, seconds=number), cause=None)
    peer.answer = log.answer
    outcomes = close.outcomes(log.action)
    found = [outcome async for outcome in outcomes]
    assert [outcome.object_id for outcome in found] == [f"lead_{number}" for number in range(120)]
    first = found[0]
    assert (first.event_type, first.action, first.lead_id, first.user_id) == (
        "lead.deleted",
        "deleted",
        "lead_0",
        "user_1",
    )
    assert (first.at, first.event_id) == (ended, "ev_0")
    assert (first.changed_fields, first.previous_data, first.data) == (("name",), {"name": "before"}, {"name": "after"})
    summary = outcomes.summary
    assert (summary.n_processed, summary.n_objects, summary.n_without_event) == (130, 120, 10)
    assert (summary.by_event, summary.n_without_data, summary.is_complete) == ({"lead.deleted": 120}, 0, True)
    begin, *later = log.queries
    assert begin["date_updated__gte"] == (ended - timedelta(minutes=10) - BEFORE).isoformat(timespec="microseconds")
    assert begin["date_updated__lte"] == (ended + AFTER).isoformat(timespec="microseconds")
    assert all(query.items() >= {"object_type": "lead", "action": "deleted", "_limit": "50"}.items() for query in later)
    assert len(log.queries) == 9  # the last one shows that what follows is older


async def test_what_is_written_while_the_log_is_read_is_found(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """An event that moves up because it changed, and one that comes late, are read in the end, and each once."""
    log = Log(deleted(clock, n=120, ended=timedelta(seconds=10), status="processing"))
    for number in range(120):
        log.add(number, clock.now() - timedelta(seconds=200 + number))
    last = log.rows[-1]

    def change(n_pages: int) -> None:
        if n_pages == 2:
            log.rows.remove(last)
            log.add(119, clock.now())
            log.add(120, clock.now())

    log.on_page = change
    peer.answer = log.answer
    outcomes = close.outcomes(log.action)
    found = [outcome.object_id async for outcome in outcomes]
    assert sorted(found, key=lambda name: int(str(name)[5:])) == [f"lead_{number}" for number in range(121)]
    assert not outcomes.summary.is_complete  # it runs
    again = next(query for query in log.queries[1:] if "date_updated__gte" in query)
    assert "date_updated__lte" not in again
    assert clock.now() - datetime.fromisoformat(again["date_updated__gte"]) >= RESCANNED


async def test_many_events_of_one_object_are_one_object(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """An email is created and sent: two events of each type, one object."""
    log = Log(deleted(clock, n=1, ended=timedelta(hours=1)))
    email = BulkEmail.example(
        id=MINE, status="done", n_objects_processed=2, date_created=log.action.date_created, date_updated=clock.now()
    )
    log.action = email
    at = clock.now() - timedelta(minutes=1)
    for number in range(2):
        log.add(number, at, object_type="activity.email", action="created", object_id=f"acti_{number}")
        log.add(10 + number, at, object_type="activity.email", action="sent", object_id=f"acti_{number}")
    peer.answer = log.answer
    summary = await close.outcomes(email).summarize()
    assert summary.by_event == {"activity.email.created": 2, "activity.email.sent": 2}
    assert (summary.n_objects, summary.n_without_event) == (2, 0)


async def test_old_events_have_lost_their_data(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """Who is no administrator sees none after an hour; the summary counts them."""
    log = Log(deleted(clock, n=2, ended=timedelta(hours=2)))
    log.add(1, clock.now() - timedelta(hours=2), data=None, previous_data=None)
    log.add(2, clock.now() - timedelta(hours=2))
    peer.answer = log.answer
    summary = await close.outcomes(log.action).summarize()
    assert (summary.n_objects, summary.n_without_data) == (2, 1)


async def test_an_action_older_than_the_log_is_incomplete(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """Its events are gone, which is no proof that nothing happened."""
    log = Log(deleted(clock, n=5, ended=KEPT_FOR))
    peer.answer = log.answer
    summary = await close.outcomes(log.action).summarize()
    assert (summary.n_objects, summary.n_without_event, summary.is_complete) == (0, 5, False)


async def test_leaving_early_leaves_an_incomplete_summary(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """And the next iteration begins anew."""
    log = Log(deleted(clock, n=3, ended=timedelta(hours=1)))
    for number in range(3):
        log.add(number, clock.now() - timedelta(hours=1))
    peer.answer = log.answer
    outcomes = close.outcomes(str(log.action.ref))
    with pytest.raises(InvalidRequestError, match="nothing was read"):
        _ = outcomes.summary
    reading = aiter(outcomes)
    await anext(reading)
    assert (outcomes.summary.n_objects, outcomes.summary.is_complete) == (1, False)
    assert (await outcomes.summarize()).n_objects == 3
    assert outcomes.summary.is_complete
    assert outcomes.summary.to_dict()["ref"] == str(log.action.ref)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b'{"data": {}}', "no list of events"),
        (b"<html>", "no JSON"),
        (b'{"data": [], "cursor_next": 7}', "no cursor"),
        (b'{"data": [], "cursor_next": "again"}', "leads back"),
        (b'{"data": [{"meta": {"bulk_action_id": "bulkdelete_example"}}], "cursor_next": null}', "has no 'id'"),
    ],
)
async def test_a_page_that_cannot_be_read_is_an_error(
    peer: Peer, close: CloseBulk, clock: FakeClock, body: bytes, match: str
) -> None:
    """Rather than an end, or a walk without one."""
    action = deleted(clock, n=1, ended=timedelta(hours=1))
    peer.answer = lambda request: web.Response(
        body=body if request.path.startswith("/event/") else action.to_json(), content_type="application/json"
    )
    with pytest.raises(DecodeError, match=match):
        await read(close, action)


async def test_events_of_others_may_be_odd(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """What is not of the action is not looked at, and of what is, missing parts are None."""
    log = Log(deleted(clock, n=1, ended=timedelta(hours=1)))
    odd: dict[str, Any] = {"lead_id": 4, "data": "x", "previous_data": [], "changed_fields": None, "user_id": None}
    at = clock.now() - timedelta(hours=1)
    log.add(1, at, **odd)
    log.add(2, at, cause=None, meta=None)
    log.add(3, at, cause=None, meta={"bulk_action_id": 4}, id=None)
    peer.answer = log.answer
    (only,) = await read(close, log.action)
    assert (only.lead_id, only.data, only.previous_data, only.changed_fields) == (None, None, None, ())
    assert only.to_dict()["at"] == at.isoformat(timespec="microseconds")


async def test_who_may_not_read_the_log_is_told(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """As of any other request."""
    action = deleted(clock, n=1, ended=timedelta(hours=1))
    peer.answer = lambda request: web.Response(
        text=action.to_json() if "event" not in request.path else "Forbidden",
        status=200 if "event" not in request.path else 403,
        content_type="application/json",
    )
    with pytest.raises(PermissionDeniedError):
        await read(close, action)


async def test_an_export_has_no_outcomes(close: CloseBulk) -> None:
    """It changes nothing."""
    with pytest.raises(InvalidRequestError, match="does nothing"):
        close.outcomes("export:expo_1")


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (BulkDelete.example(), ["lead.deleted"]),
        (BulkDelete.example(bulk_object_type="call"), ["activity.call.deleted"]),
        (BulkDelete.example(bulk_object_type="contact"), ["contact.deleted"]),
        (BulkEdit.example(), ["lead.updated"]),
        (BulkEdit.example(type="clear_custom_field"), ["lead.updated"]),
        (BulkEdit.example(type="set_contact_custom_field"), ["contact.updated"]),
        (BulkEdit.example(type="set_opportunity_custom_field"), ["opportunity.updated"]),
        (BulkEdit.example(type="set_custom_object_custom_field"), ["custom_object.updated"]),
        (
            BulkEdit.example(type="clear_global_custom_field"),
            ["lead.updated", "contact.updated", "opportunity.updated"],
        ),
        (BulkEdit.example(type="set_something_new"), ["lead.updated"]),
        (BulkEmail.example(), ["activity.email.created", "activity.email.sent"]),
        (BulkSequenceSubscription.example(), ["sequence_subscription.created", "sequence_subscription.updated"]),
    ],
)
def test_each_action_causes_events_of_its_own(action: BulkAction, expected: Sequence[str]) -> None:
    """Those that are known of the service, and those that its words suggest."""
    assert [str(one) for one in events_of(action)] == expected


async def test_other_events_may_be_asked_for(peer: Peer, close: CloseBulk, clock: FakeClock) -> None:
    """Instead of those that such an action is known to cause."""
    log = Log(deleted(clock, n=1, ended=timedelta(hours=1)))
    log.add(1, clock.now() - timedelta(hours=1), object_type="task.lead", action="deleted")
    peer.answer = log.answer
    outcomes = close.outcomes(log.action, events=[("task.lead", "deleted")])
    assert [outcome.event_type async for outcome in outcomes] == [str(EventType("task.lead", "deleted"))]
