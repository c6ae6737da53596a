"""Scripted faults, as a client meets them and as the server remembers them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from closebulk_async.simulator import Fault, Simulator, faults

from .api import Api

if TYPE_CHECKING:
    from closebulk_async.testing import FakeClock

LIST = "/bulk_action/email/"


@pytest.mark.parametrize(("fault", "n_jobs"), [(faults.cut_before(), 0), (faults.cut_after(), 1)])
async def test_cut_connections(api: Api, sim: Simulator, fault: Fault, n_jobs: int) -> None:
    """The client sees the same disconnection whether or not the server started the job."""
    sim.fail_next(fault)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api.create()
    assert len(sim.jobs) == n_jobs
    assert (sim.requests[0].status, sim.requests[0].fault) == (None, fault.name)
    assert (await api.create()).status == 200


@pytest.mark.parametrize("acts", [False, True])
async def test_an_answer_that_never_comes(api: Api, sim: Simulator, clock: FakeClock, *, acts: bool) -> None:
    """The client's timeout ends the request at its virtual instant; the server did or did not act before."""
    sim.fail_next(faults.hang(acts=acts))
    with pytest.raises(TimeoutError):
        await api.call("POST", LIST, json_body={}, seconds=30)
    assert clock.monotonic() == 30
    assert len(sim.jobs) == acts
    assert sim.requests[0].status is None


@pytest.mark.parametrize(("acts_first", "created"), [(True, 0), (False, 20)])
async def test_a_late_answer(api: Api, sim: Simulator, clock: FakeClock, *, acts_first: bool, created: float) -> None:
    """The answer is right and late, and the job is as old as the instant at which the server acted."""
    sim.fail_next(faults.delay(20, acts_first=acts_first))
    start = clock.now()
    assert (await api.create()).status == 200
    assert clock.monotonic() == 20
    assert (sim.jobs[0].created_at - start).total_seconds() == created


async def test_a_slow_body(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """The body comes in pieces over the whole duration; a shorter timeout meets it in the middle."""
    sim.fail_next(faults.slow_body(40), times=2)
    assert (await api.get("/me/")).json()["id"] == sim.user_id
    assert clock.monotonic() == 40
    with pytest.raises(TimeoutError):
        await api.get("/me/", seconds=25)
    assert clock.monotonic() == 65


async def test_a_truncated_body(api: Api, sim: Simulator) -> None:
    """Fewer bytes come than were announced, and the job was started."""
    sim.fail_next(faults.truncated_body())
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.create()
    assert len(sim.jobs) == 1


async def test_a_truncated_body_of_nothing(api: Api, sim: Simulator) -> None:
    """Not even the first byte of the body need come."""
    sim.fail_next(faults.truncated_body(kept=0))
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.create()


async def test_broken_json(api: Api, sim: Simulator) -> None:
    """The answer is complete, and no JSON."""
    sim.fail_next(faults.broken_json())
    reply = await api.create()
    assert reply.status == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        reply.json()
    assert len(sim.jobs) == 1


async def test_a_huge_body(api: Api, sim: Simulator) -> None:
    """The answer is as long as was asked for, and still JSON."""
    sim.fail_next(faults.huge_body(1_000_000))
    reply = await api.get("/me/")
    assert len(reply.body) > 1_000_000
    assert reply.json()["id"] == sim.user_id


async def test_altered_answers(api: Api, sim: Simulator) -> None:
    """Keys of an answer can be missing or of another type; an answer without a body stays as it is."""
    sim.fail_next(faults.altered(without=["id"], n_objects="many"))
    row = (await api.create()).json()
    assert "id" not in row
    assert row["n_objects"] == "many"
    sim.fail_next(faults.altered(without=["id"]))
    sim.slash_redirect = 308
    assert (await api.get("/me")).status == 308


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        (faults.server_error(), 502, "text/html", b"Bad Gateway"),
        (faults.server_error(503), 503, "text/html", b"Service Unavailable"),
        (faults.server_error(599), 599, "text/html", b"599 Error"),
        (faults.forbidden(), 403, "text/plain; charset=utf-8", b"Forbidden"),
        (faults.reply(200, b"[]", content_type="application/json"), 200, "application/json", b"[]"),
        (faults.reply(418), 418, None, b""),
        (faults.too_many_requests(), 429, None, b""),
        (faults.too_many_requests(payload={"error": "slow down"}), 429, "application/json", b"slow down"),
    ],
)
async def test_other_answers(api: Api, fault: Fault, status: int, content_type: str | None, body: bytes) -> None:
    """Any answer may stand in for the API's; the request was not carried out."""
    sim = api.sim
    sim.fail_next(fault)
    reply = await api.create()
    assert (reply.status, reply.headers.get("content-type", content_type)) == (status, content_type)
    assert body in reply.body
    assert not sim.jobs
    assert sim.requests[0].status == status


@pytest.mark.parametrize(
    "fault", [faults.server_error(504, acts=True), faults.no_content(), faults.redirect("/", acts=True)]
)
async def test_answers_that_hide_what_was_done(api: Api, sim: Simulator, fault: Fault) -> None:
    """A fault that acts starts the job behind an answer that does not show it."""
    sim.fail_next(fault)
    assert (await api.create()).status != 200
    assert len(sim.jobs) == 1


async def test_hints_of_a_429(api: Api, sim: Simulator) -> None:
    """Every spelling of a hint can be sent, also one that contradicts what remains."""
    sim.fail_next(faults.too_many_requests(retry_after=5, limit=(160, 159, 7.25), spelling="commas"))
    stricter = await api.get(LIST)
    assert stricter.headers["retry-after"] == "5"
    assert stricter.headers["ratelimit"] == "limit=160, remaining=159, reset=7.25"
    date = "Wed, 11 Jun 2025 12:00:09 GMT"
    sim.fail_next(faults.too_many_requests(retry_after=date, headers=(("x-rate-limit-reset", "3"),)))
    dated = await api.get(LIST)
    assert (dated.headers["retry-after"], dated.headers["x-rate-limit-reset"]) == (date, "3")


async def test_nested_field_errors(api: Api, sim: Simulator) -> None:
    """The validator's answer may be nested: a list at the top, objects keyed by index below."""
    nested = {"contacts": {"errors": {"0": {"field-errors": {"email": "Invalid email address."}}}}}
    sim.fail_next(faults.invalid_fields(nested, errors=["No."]))
    reply = await api.create()
    assert (reply.status, reply.json()) == (400, {"errors": ["No."], "field-errors": nested})


async def test_a_redirect(api: Api, sim: Simulator) -> None:
    """A redirect leads wherever the test wants."""
    sim.fail_next(faults.redirect("http://127.0.0.1:9/", status=307))
    reply = await api.get("/me/")
    assert (reply.status, reply.headers["location"]) == (307, "http://127.0.0.1:9/")


async def test_which_requests_meet_a_fault(api: Api, sim: Simulator) -> None:
    """Method, part of the path, `skip` and `times` choose; faults that were scripted first go first."""
    sim.fail_next(faults.server_error(500), method="get", path="email", skip=1, times=2)
    sim.fail_next(faults.server_error(503), path="delete", times=None)
    statuses = [(await api.get(LIST)).status for _ in range(4)]
    assert statuses == [200, 500, 500, 200]
    assert (await api.create()).status == 200
    assert [(await api.get("/bulk_action/delete/")).status for _ in range(3)] == [503, 503, 503]
    sim.clear_faults()
    assert (await api.get("/bulk_action/delete/")).status == 200


async def test_a_request_that_a_fault_lets_pass_may_meet_the_next(api: Api, sim: Simulator) -> None:
    """`skip` passes the request on to faults that were scripted later."""
    sim.fail_next(faults.server_error(500), skip=1)
    sim.fail_next(faults.server_error(503), times=2)
    assert [(await api.get("/me/")).status for _ in range(4)] == [503, 500, 503, 200]


async def test_an_act_of_a_fault_obeys_the_rules(api: Api, sim: Simulator) -> None:
    """A fault that acts does so as the API would: a wrong body starts nothing."""
    sim.fail_next(faults.cut_after())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api.create("edit", type="nothing")
    assert not sim.jobs


async def test_a_client_that_leaves_ends_its_handler(api: Api, sim: Simulator, clock: FakeClock) -> None:
    """When the client has gone, the handler that was kept waiting goes too."""
    sim.fail_next(faults.hang())
    request = asyncio.create_task(api.get("/me/", seconds=1000))
    await clock.settle()
    others = asyncio.all_tasks()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await clock.settle()
    assert len(asyncio.all_tasks()) < len(others) - 1
    assert clock.monotonic() == 0


@pytest.mark.parametrize("fault", [faults.hang(), faults.delay(1000), faults.slow_body(1000)])
async def test_closing_leaves_nothing(clock: FakeClock, fault: Fault) -> None:
    """A simulator that closes ends the requests that it kept waiting, and no task is left."""
    async with aiohttp.ClientSession() as session:
        async with Simulator(clock=clock) as sim:
            sim.fail_next(fault)
            api = Api(sim=sim, clock=clock, session=session)
            request = asyncio.create_task(api.get("/me/", seconds=10_000))
            await clock.settle()
            assert len(sim.requests) == 1
        with pytest.raises((aiohttp.ClientError, TimeoutError)):
            await request
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert clock.sleepers == 0


async def test_a_huge_body_is_small_on_the_wire(sim: Simulator, clock: FakeClock) -> None:
    """Compressed, a huge answer is what a client must guard its memory against."""
    sim.fail_next(faults.huge_body(1_000_000))
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        reply = await Api(sim=sim, clock=clock, session=session).get("/me/")
    assert reply.headers["content-encoding"] == "gzip"
    assert len(reply.body) < 20_000


def test_a_body_of_no_pieces() -> None:
    """Zero pieces make no body."""
    with pytest.raises(ValueError, match="at least one piece"):
        Fault(name="nothing", pieces=0)


def test_faults_are_values() -> None:
    """Two faults that say the same are equal, and can be told apart from others."""
    assert faults.hang() == faults.hang()
    assert faults.hang() != faults.hang(acts=True)
    assert json.loads(faults.invalid_fields({}).answer.body) == {"errors": [], "field-errors": {}}  # type: ignore[union-attr]  # it has a body
