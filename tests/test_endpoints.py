"""What the endpoints of all kinds do: read, list, iterate, pause, resume, and what a start is filled with."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest

from closebulk_async import (
    BadRequestError,
    BulkActions,
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkSequenceSubscription,
    CloseBulk,
    DecodeError,
    EmailStart,
    FieldNotRequested,
    InvalidRequestError,
    JobRef,
    Kind,
    NotFoundError,
    Query,
    SequenceStart,
    UnsafeQueryError,
    lead,
)
from closebulk_async.models import BULK_KINDS
from closebulk_async.operations import DEFAULTABLE
from closebulk_async.simulator import Plan, Simulator, faults
from tests.peers import ACME, connect, methods, start_email

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.simulator import Job
    from closebulk_async.simulator.listing import ListOrder
    from closebulk_async.simulator.server import KindName
    from closebulk_async.starts import Start
    from closebulk_async.testing import FakeClock

ORDERS: tuple[ListOrder, ...] = ("newest", "oldest", "id", "shuffled")


@pytest.fixture
async def sim(clock: FakeClock) -> AsyncIterator[Simulator]:
    """A simulator whose jobs run for an hour."""
    async with Simulator(clock=clock, plan=Plan(duration=3600)) as simulator:
        yield simulator


@pytest.fixture
async def close(sim: Simulator, clock: FakeClock) -> AsyncIterator[CloseBulk]:
    """A client of `sim`."""
    async with connect(sim, clock) as client:
        yield client


def endpoints(close: CloseBulk) -> dict[Kind, BulkActions[Any]]:
    """The endpoints by kind."""
    found: tuple[BulkActions[Any], ...] = (close.emails, close.deletes, close.edits, close.sequence_subscriptions)
    return {endpoint.kind: endpoint for endpoint in found}


def body(sim: Simulator) -> dict[str, Any]:
    """The body of the latest request."""
    parsed = json.loads(sim.requests[-1].body)
    assert isinstance(parsed, dict)
    return parsed


# Start -----------------------------------------------------------------------------------------------------------


async def start_delete(close: CloseBulk) -> BulkDelete:
    """Start a bulk delete."""
    return await close.deletes.create(s_query=ACME, bulk_object_type="contact", results_limit=5)


async def start_edit(close: CloseBulk) -> BulkEdit:
    """Start a bulk edit."""
    return await close.edits.create(type="set_lead_status", lead_status_id="stat_1", s_query=ACME)


async def start_sequence(close: CloseBulk) -> BulkSequenceSubscription:
    """Start a bulk sequence subscription."""
    return await close.sequence_subscriptions.create(action_type="pause", sequence_id="seq_1", query="lead_status:Old")


def add(sim: Simulator, kind: Kind, *, age: float = 0) -> Job:
    """Put a job there that is processing, with the fields that its kind always has."""
    own: dict[Kind, dict[str, str]] = {
        Kind.EDIT: {"type": "set_lead_status"},
        Kind.SEQUENCE_SUBSCRIPTION: {"action_type": "pause"},
    }
    return sim.add_job(cast("KindName", kind.value), {"status": "processing", **own.get(kind, {})}, age=age)


@attrs.frozen
class Case:
    """A start, and what it should send."""

    start: Callable[[CloseBulk], Awaitable[Any]]
    path: str
    model: type[Any]
    body: dict[str, Any]


STARTS: dict[str, Case] = {
    "email": Case(
        start_email,
        "/api/v1/bulk_action/email/",
        BulkEmail,
        {"template_id": "tmpl_1", "email_account_id": "emailacct_1", "s_query": ACME},
    ),
    "delete": Case(
        start_delete,
        "/api/v1/bulk_action/delete/",
        BulkDelete,
        {"s_query": ACME, "bulk_object_type": "contact", "results_limit": 5},
    ),
    "edit": Case(
        start_edit,
        "/api/v1/bulk_action/edit/",
        BulkEdit,
        {"s_query": ACME, "type": "set_lead_status", "lead_status_id": "stat_1"},
    ),
    "sequence": Case(
        start_sequence,
        "/api/v1/bulk_action/sequence_subscription/",
        BulkSequenceSubscription,
        {"query": "lead_status:Old", "action_type": "pause", "sequence_id": "seq_1"},
    ),
}


@pytest.mark.parametrize("case", STARTS.values(), ids=list(STARTS))
async def test_a_start_sends_what_was_given_and_nothing_else(sim: Simulator, close: CloseBulk, case: Case) -> None:
    """One POST, after a look at the list, and the model of the kind comes back, as the service first showed it."""
    action = await case.start(close)
    assert type(action) is case.model
    assert (action.id, action.status, action.n_objects) == (sim.jobs[0].id, "created", None)
    assert methods(sim) == ["GET", "POST"]
    assert {request.path for request in sim.requests} == {case.path}
    assert body(sim) == case.body


async def test_a_built_query_serves_wherever_a_query_does(sim: Simulator, close: CloseBulk) -> None:
    """Counted, previewed and started, it is sent as its JSON, and the action shows that."""
    query = lead.name.full_words("ACME") & ~lead.status_id.is_any_of("stat_1")
    preview = await close.deletes.preview(s_query=query)
    action = await close.deletes.create(s_query=query, max_matches=10**9)
    assert body(sim)["s_query"] == preview.request["s_query"] == action.s_query == query.to_dict()
    assert Query.from_dict(action.s_query) == query


@pytest.mark.parametrize("query", [{"s_query": {}}, {"query": " * "}, {}, {"s_query": {"type": "and", "queries": []}}])
async def test_everything_is_refused_before_any_request(
    close: CloseBulk, sim: Simulator, query: dict[str, Any]
) -> None:
    """A query that cannot exclude a lead needs `allow_all=True`, which is not sent."""
    with pytest.raises(UnsafeQueryError, match="allow_all=True"):
        await close.deletes.create(**query)
    assert sim.requests == ()
    await close.deletes.create(**query, allow_all=True)
    assert body(sim) == query


async def test_every_sequence_needs_its_own_word(close: CloseBulk, sim: Simulator) -> None:
    """`allow_all` speaks of leads, not of sequences."""
    with pytest.raises(UnsafeQueryError, match="all_sequences=True"):
        await close.sequence_subscriptions.create(action_type="pause", s_query=ACME, allow_all=True)  # type: ignore[call-overload]  # wrong on purpose
    assert sim.requests == ()
    await close.sequence_subscriptions.create(action_type="pause", s_query=ACME, all_sequences=True)
    assert body(sim) == {"action_type": "pause", "s_query": ACME}


async def test_a_bad_timeout_is_refused_before_any_request(close: CloseBulk, sim: Simulator) -> None:
    """Durations are finite and not negative."""
    for timeout in (-1, float("nan"), float("inf"), "5"):
        with pytest.raises(InvalidRequestError, match="timeout must be"):
            await start_email(close, timeout=timeout)  # type: ignore[arg-type]  # wrong on purpose
    assert sim.requests == ()


# Defaults --------------------------------------------------------------------------------------------------------


async def test_defaults_fill_what_a_start_leaves_open(sim: Simulator, clock: FakeClock) -> None:
    """Each only where it belongs: an email has a sender, a delete has none."""
    defaults = {"send_done_email": False, "sender": "me@example.com", "contact_preference": "lead"}
    async with connect(sim, clock, defaults=defaults) as close:
        await start_email(close)
        assert {name: body(sim)[name] for name in defaults} == defaults
        for start in (start_delete, start_edit, start_sequence):
            await start(close)
            assert {name: body(sim)[name] for name in defaults if name in body(sim)} == {"send_done_email": False}


@pytest.mark.parametrize("given", [True, False])
async def test_an_explicit_value_wins(sim: Simulator, clock: FakeClock, *, given: bool) -> None:
    """Also where it is False; None is «not given»."""
    async with connect(sim, clock, defaults={"send_done_email": not given}) as close:
        await close.deletes.create(s_query=ACME, send_done_email=given)
        assert body(sim)["send_done_email"] is given
        await close.deletes.create(s_query=ACME, send_done_email=None)
        assert body(sim)["send_done_email"] is not given


async def test_no_default_is_sent_without_being_asked(close: CloseBulk, sim: Simulator) -> None:
    """Without `defaults` the service's own hold: it mails when a job is done."""
    await start_email(close)
    assert "send_done_email" not in body(sim)


async def test_run_many_fills_defaults_too(sim: Simulator, clock: FakeClock) -> None:
    """A start value is filled like keywords."""
    starts: list[Start] = [
        EmailStart(template_id="t", email_account_id="e", s_query=ACME),
        SequenceStart(action_type="pause", sequence_id="s", s_query=ACME, send_done_email=True),
    ]
    async with connect(sim, clock, defaults={"send_done_email": False}) as close:
        assert [outcome.error async for outcome in close.run_many(starts, max_running=1)] == [None, None]
    sent = [request.json() for request in sim.requests if request.method == "POST"]
    assert [row["send_done_email"] for row in sent if isinstance(row, dict)] == [False, True]


@pytest.mark.parametrize(
    "name",
    ["send_mail", "allow_all", "all_sequences", "sequence_id", "s_query", "query", "extra", "type", "timeout", 7],
)
def test_a_name_that_is_no_default_is_refused(name: str) -> None:
    """Neither a misspelling, nor what decides which objects a job acts on; the message says what may be there."""
    assert name not in DEFAULTABLE
    with pytest.raises(InvalidRequestError, match=f"defaults holds {name}: it may hold .*send_done_email"):
        CloseBulk("k", defaults={name: "x"})


async def test_a_default_is_checked_like_a_keyword(sim: Simulator, clock: FakeClock) -> None:
    """A value that does not fit raises where it would be sent."""
    async with connect(sim, clock, defaults={"send_done_email": "no"}) as close:
        with pytest.raises(InvalidRequestError, match="send_done_email"):
            await start_email(close)
    assert sim.requests == ()


async def test_later_changes_of_the_defaults_are_not_seen(sim: Simulator, clock: FakeClock) -> None:
    """The client keeps its own copy."""
    defaults: dict[str, Any] = {"send_done_email": False}
    async with connect(sim, clock, defaults=defaults) as close:
        defaults.clear()
        await start_email(close)
    assert body(sim)["send_done_email"] is False


# Read ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BULK_KINDS)
async def test_an_action_is_named_in_four_ways(close: CloseBulk, sim: Simulator, kind: Kind) -> None:
    """As itself, its ref, the ref's text or the bare id: `get`, `pause` and `resume` take each."""
    job = add(sim, kind)
    endpoint = endpoints(close)[kind]
    action = await endpoint.get(job.id)
    for name in (action, action.ref, str(action.ref), action.id):
        assert (await endpoint.get(name)).ref == action.ref
        assert (await endpoint.pause(name)).is_paused
        assert not (await endpoint.resume(name)).is_paused
        job.fixed = {**job.fixed, "status": "processing"}
    assert {request.path for request in sim.requests} == {f"/api/v1/bulk_action/{kind}/{job.id}/"}


@pytest.mark.parametrize("kind", BULK_KINDS)
async def test_the_client_takes_refs_of_any_kind(close: CloseBulk, sim: Simulator, kind: Kind) -> None:
    """`close.get`, `close.pause` and `close.resume` read the kind from the ref."""
    job = add(sim, kind)
    text = f"{kind}:{job.id}"
    action = await close.get(text)
    assert str(action.ref) == text
    assert (await close.pause(text)).is_paused
    assert not (await close.resume(action)).is_paused
    assert (await close.get(JobRef.parse(text), fields=["id"])).id == job.id


WRONG: list[Any] = ["delete:bulkdelete_1", JobRef("delete", "x"), BulkDelete.example()]


@pytest.mark.parametrize("wrong", WRONG, ids=["text", "ref", "action"])
@pytest.mark.parametrize("name", ["get", "pause", "resume", "wait_until_done"])
async def test_a_ref_of_another_kind_raises_before_any_request(
    close: CloseBulk, sim: Simulator, name: str, wrong: object
) -> None:
    """The message names both kinds."""
    with pytest.raises(InvalidRequestError, match="is of the kind delete, and this endpoint is for email"):
        await getattr(close.emails, name)(wrong)
    assert sim.requests == ()


NO_REFS: list[Any] = ["", "a/b", "x:y", "email:", "email:a b", "../email", None, 7, object(), "email:a:b"]


@pytest.mark.parametrize("wrong", NO_REFS)
@pytest.mark.parametrize("name", ["get", "pause", "resume", "wait_until_done"])
async def test_what_is_no_ref_raises_before_any_request(
    close: CloseBulk, sim: Simulator, name: str, wrong: object
) -> None:
    """At the endpoint as at the client: InvalidRequestError says what was expected."""
    for owner in (close, close.emails):
        with pytest.raises(InvalidRequestError, match=r"expected|is no kind"):
            await getattr(owner, name)(wrong)
    assert sim.requests == ()


async def test_the_client_cannot_guess_the_kind_of_an_id(close: CloseBulk, sim: Simulator) -> None:
    """Prefixes of ids are documented for two kinds only, and never trusted."""
    with pytest.raises(InvalidRequestError, match="KIND:ID"):
        await close.get("bulkemail_1")
    assert sim.requests == ()


async def test_an_unknown_id_is_not_found(close: CloseBulk, sim: Simulator) -> None:
    """One request, and the error says what the service said."""
    with pytest.raises(NotFoundError, match="Object does not exist") as caught:
        await close.emails.get("bulkemail_no")
    assert (caught.value.status, len(sim.requests)) == (404, 1)


async def test_fields_narrow_and_always_bring_what_a_wait_needs(close: CloseBulk, sim: Simulator) -> None:
    """Id, status and counters come unasked; to read anything else raises."""
    sim.add_job("email", status="processing", sender="a@example.com", n_objects=9, n_objects_processed=3)
    for action in (
        await close.emails.get(sim.jobs[0].id, fields=["sender"]),
        *(await close.emails.list(fields=["sender"])).data,
        *[row async for row in close.emails.iterate(fields=["sender"])],
    ):
        assert (action.sender, action.status, action.n_objects, action.n_objects_processed) == (
            "a@example.com",
            "processing",
            9,
            3,
        )
        with pytest.raises(FieldNotRequested, match="template_id"):
            _ = action.template_id


BAD_FIELDS: list[Any] = ["status", ["a b"], [""], ["a&b"], [7], [None]]


@pytest.mark.parametrize("fields", BAD_FIELDS)
async def test_odd_fields_raise_before_any_request(close: CloseBulk, sim: Simulator, fields: list[str]) -> None:
    """One text is not several names, and a name has letters, digits and underscores."""
    for call in (close.emails.get("x", fields=fields), close.emails.list(fields=fields)):
        with pytest.raises(InvalidRequestError, match="fields"):
            await call
    with pytest.raises(InvalidRequestError, match="fields"):
        close.emails.iterate(fields=fields)
    assert sim.requests == ()


# Lists -----------------------------------------------------------------------------------------------------------


async def test_a_page_is_what_was_asked_for(close: CloseBulk, sim: Simulator) -> None:
    """`limit` and `skip` choose the rows, and `has_more` says whether some follow."""
    for number in range(5):
        sim.add_job("email", id=f"bulkemail_{number}", age=10 - number)
    page = await close.emails.list(limit=2, skip=1)
    assert ([row.id for row in page.data], page.has_more) == (["bulkemail_3", "bulkemail_2"], True)
    page = await close.emails.list(limit=2, skip=3)
    assert ([row.id for row in page.data], page.has_more) == (["bulkemail_1", "bulkemail_0"], False)


BAD_NUMBERS: list[Any] = [-1, 1.0, 2.5, True, "5", float("nan"), None]


@pytest.mark.parametrize("number", BAD_NUMBERS)
async def test_numbers_that_are_no_counts_raise_before_any_request(
    close: CloseBulk, sim: Simulator, number: int
) -> None:
    """In `limit`, `skip`, `page_size` and `max_items` alike; `iterate` says so at the call, not at the first row."""
    with pytest.raises(InvalidRequestError, match="limit must be an integer of at least 1"):
        await close.emails.list(limit=number)
    with pytest.raises(InvalidRequestError, match="skip must be an integer of at least 0"):
        await close.emails.list(skip=number)
    with pytest.raises(InvalidRequestError, match="page_size must be an integer of at least 1"):
        close.emails.iterate(page_size=number)
    if number is not None:
        with pytest.raises(InvalidRequestError, match="max_items must be an integer of at least 0"):
            close.emails.iterate(max_items=number)
    assert sim.requests == ()


async def test_pages_of_no_rows_are_not_asked_for(close: CloseBulk, sim: Simulator) -> None:
    """A page of nothing says nothing."""
    for call in (lambda: close.emails.iterate(page_size=0), lambda: close.deletes.iterate(page_size=0)):
        with pytest.raises(InvalidRequestError):
            call()
    with pytest.raises(InvalidRequestError):
        await close.emails.list(limit=0)
    assert sim.requests == ()


async def test_a_page_beyond_the_service_is_refused_by_it(close: CloseBulk) -> None:
    """The maximum is the service's to know, and its text says it."""
    with pytest.raises(BadRequestError, match="max_limit = 100"):
        await close.emails.list(limit=101)


async def test_emails_can_be_listed_by_template(close: CloseBulk, sim: Simulator) -> None:
    """`list` and `iterate` keep those of one template."""
    for number in range(6):
        sim.add_job("email", template_id=f"tmpl_{number % 2}")
    assert {row.template_id for row in (await close.emails.list(template_id="tmpl_1")).data} == {"tmpl_1"}
    rows = [row async for row in close.emails.iterate(template_id="tmpl_0", page_size=2)]
    assert [row.template_id for row in rows] == ["tmpl_0"] * 3
    assert all(request.query["template_id"] == "tmpl_0" for request in sim.requests[1:])


# Iterate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short_pages", [None, 1, 3])
@pytest.mark.parametrize("order", ORDERS)
async def test_rows_that_arrive_meanwhile_repeat_and_hide_nothing(
    close: CloseBulk, sim: Simulator, order: ListOrder, short_pages: int | None
) -> None:
    """Whatever the order of the list and however short its pages: each old row once, in spite of a new one per row."""
    old = {sim.add_job("email", age=1000 - number).id for number in range(25)}
    sim.list_order, sim.short_pages = order, short_pages
    seen: list[str] = []
    async for row in close.emails.iterate(page_size=7):
        seen.append(row.id)
        if len(sim.jobs) < 60:
            sim.add_job("email")
    assert len(seen) == len(set(seen))
    assert old <= set(seen)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", BULK_KINDS)
async def test_every_row_of_a_quiet_list_comes_once(
    close: CloseBulk, sim: Simulator, kind: Kind, order: ListOrder
) -> None:
    """In the service's order, with as many requests as there are pages."""
    ids = [add(sim, kind, age=100 - number).id for number in range(10)]
    sim.list_order = order
    rows = [row.id async for row in endpoints(close)[kind].iterate(page_size=4)]
    assert sorted(rows) == sorted(ids)
    assert len(sim.requests) == 3
    assert order != "newest" or rows == ids[::-1]


@pytest.mark.parametrize(
    ("max_items", "n_rows", "n_requests"), [(0, 0, 0), (1, 1, 1), (4, 4, 1), (5, 5, 2), (99, 10, 3)]
)
async def test_at_most_so_many(close: CloseBulk, sim: Simulator, max_items: int, n_rows: int, n_requests: int) -> None:
    """No page is asked for that is not needed."""
    for _ in range(10):
        sim.add_job("email")
    rows = [row async for row in close.emails.iterate(page_size=4, max_items=max_items)]
    assert (len(rows), len(sim.requests)) == (n_rows, n_requests)


async def test_an_empty_list_ends_at_once(close: CloseBulk, sim: Simulator) -> None:
    """One request, no row."""
    assert [row async for row in close.edits.iterate()] == []
    assert len(sim.requests) == 1


async def test_fields_may_come_from_an_iterator(close: CloseBulk, sim: Simulator) -> None:
    """Each page asks for all of them, though an iterator gives them once."""
    for _ in range(5):
        sim.add_job("email", sender="a@example.com")
    rows = [row async for row in close.emails.iterate(fields=iter(["sender"]), page_size=2)]
    assert [row.sender for row in rows] == ["a@example.com"] * 5
    assert len({request.query["_fields"] for request in sim.requests}) == 1


async def test_an_empty_page_with_more_behind_it_is_a_mistake(close: CloseBulk, sim: Simulator) -> None:
    """Paging by rows would ask for it for ever: DecodeError, after the policy's attempts."""
    sim.fail_next(faults.reply(200, '{"data": [], "has_more": true}', content_type="application/json"), times=None)
    with pytest.raises(DecodeError, match="empty page"):
        _ = [row async for row in close.emails.iterate()]
    assert len(sim.requests) == 5


async def test_a_page_in_the_middle_may_fail_for_a_while(close: CloseBulk, sim: Simulator) -> None:
    """The iteration goes on where it was."""
    for _ in range(10):
        sim.add_job("email")
    sim.fail_next(faults.server_error(), skip=1, times=2)
    assert len({row.id async for row in close.emails.iterate(page_size=4)}) == 10


async def test_leaving_an_iteration_asks_for_nothing_more(close: CloseBulk, sim: Simulator) -> None:
    """Pages come when they are needed."""
    for _ in range(10):
        sim.add_job("email")
    async for _ in close.emails.iterate(page_size=4):
        break
    assert len(sim.requests) == 1


# Pause and resume ------------------------------------------------------------------------------------------------


async def test_pausing_says_what_the_service_says(close: CloseBulk, sim: Simulator, clock: FakeClock) -> None:
    """The body is the word, the action comes back as it is then, and a pause may take effect later."""
    sim.next_job(duration=3600, pausing=30, resuming=10)
    action = await start_email(close)
    await clock.sleep(60)
    assert (await close.emails.pause(action)).status == "processing"
    assert body(sim) == {"status": "paused"}
    await clock.sleep(31)
    assert (await close.emails.get(action)).is_paused
    assert (await close.emails.resume(action)).status == "resuming"
    assert body(sim) == {"status": "resuming"}
    await clock.sleep(11)
    assert (await close.emails.get(action)).status == "processing"


@pytest.mark.parametrize("acts", [False, True])
async def test_a_pause_in_doubt_that_takes_effect_late(
    close: CloseBulk, sim: Simulator, clock: FakeClock, *, acts: bool
) -> None:
    """A read cannot tell whether it was received; to ask again does no harm, and in the end it is paused."""
    sim.next_job(duration=3600, pausing=30)
    action = await start_email(close)
    await clock.sleep(60)
    sim.fail_next(faults.server_error(acts=acts), method="PUT")
    await close.emails.pause(action)
    assert methods(sim)[2:] == ["PUT", "GET", "PUT"]
    await clock.sleep(40)
    assert (await close.emails.get(action)).is_paused


async def test_what_answers_a_pause_need_not_be_an_action(close: CloseBulk, sim: Simulator) -> None:
    """Nobody documents it: after a success without an action, the action is read."""
    job = sim.add_job("email", status="processing")
    for fault in (faults.no_content(), faults.reply(200, "{}", content_type="application/json", acts=True)):
        job.fixed = {"status": "processing"}
        sim.fail_next(fault, method="PUT")
        assert (await close.emails.pause(job.id)).is_paused
    assert methods(sim) == ["PUT", "GET"] * 2


async def test_too_late_to_resume(close: CloseBulk, sim: Simulator, clock: FakeClock) -> None:
    """After seven days the service refuses, and says so."""
    action = await start_email(close)
    await clock.sleep(60)
    await close.emails.pause(action)
    await clock.sleep(8 * 86_400)
    with pytest.raises(BadRequestError, match="within 7 days"):
        await close.emails.resume(action)
