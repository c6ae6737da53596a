"""The gate and its guards: what they let through, and that nothing else ever arrives."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import aiohttp
import attrs
import pytest

from closebulk_async import CloseBulk, PermissionDeniedError
from closebulk_async.simulator import Limits, faults
from tests.contract.exchanges import Ask, basic
from tests.contract.gate import ATTEMPTS, Gate, GateError
from tests.contract.guards import OneStart, judge_read
from tests.contract.reads import KINDS, LEADS, NOBODY, WRONG_KEY, further_reads, last_reads, plain_reads
from tests.contract.sending import send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

ITEM = f"/bulk_action/edit/bulkedit_{NOBODY}/"
JSON = {"content-type": "application/json"}
WRITES = (
    *(Ask(method=method, path=f"/bulk_action/{kind}/") for kind in KINDS for method in ("POST", "PUT", "DELETE")),
    *(Ask(method=method, path=ITEM, body=b'{"status": "paused"}') for method in ("PUT", "PATCH", "POST", "DELETE")),
    Ask(method="POST", path="/export/lead/"),
    Ask(method="POST", path="/export/opportunity/"),
    Ask(method="POST", path="/webhook/"),
    Ask(method="DELETE", path=f"/webhook/whsub_{NOBODY}/"),
    Ask(method="GET", path="/me/", body=b"{}"),
    Ask.get("/lead/"),
    Ask.get("/../oauth2/token/"),
    Ask.get("/bulk_action/email/../../lead/"),
    Ask.get("/bulk_action/email/%2e%2e/"),
    Ask(method="POST", path="/data/search/", body=b"no json"),
    Ask(method="POST", path="/data/search/", body=b"[]"),
    Ask.search(query=LEADS, _fields={"lead": ["name"]}),
    Ask.search(query=LEADS, _fields={"lead": [["id"]]}),
    Ask.search(query=LEADS, _fields=["name"]),
    Ask.search(query=LEADS, _params={}),
)
"""What changes something, or says something about somebody, or leads elsewhere."""


@pytest.fixture
async def gate(sim: Simulator, clock: FakeClock) -> AsyncIterator[Gate]:
    """A gate before the simulator."""
    async with Gate(sim.base_url, clock=clock) as gate:
        yield gate


@pytest.mark.parametrize("ask", WRITES, ids=str)
async def test_nothing_but_reads_is_let_through(sim: Simulator, gate: Gate, ask: Ask) -> None:
    """It is refused with its method and path, and nothing arrives."""
    with pytest.raises(GateError) as caught:
        await send(gate, ask, sim.api_key)
    assert str(ask) in str(caught.value)
    assert (sim.requests, gate.exchanges) == ((), [])


async def test_a_client_that_writes_is_refused_too(sim: Simulator, gate: Gate, clock: FakeClock) -> None:
    """A start by the package's client ends at the gate; the reads before it have arrived, and no POST of an action."""
    async with CloseBulk(sim.api_key, base_url=gate.base_url, clock=clock) as close:
        with pytest.raises(PermissionDeniedError, match="only reads of a few paths"):
            await close.deletes.create(s_query={"type": "id", "value": "lead_1"})
    assert gate.refusals == ["POST /bulk_action/delete/: only reads of a few paths are let through"]
    assert {request.method for request in sim.requests} == {"GET"}
    assert sim.jobs == ()


async def test_a_method_override_is_not_passed_on(sim: Simulator, gate: Gate) -> None:
    """Nor is any other header but those that a read needs."""
    headers = {"authorization": basic(sim.api_key), "x-http-method-override": "DELETE", "x-more": "1"}
    async with aiohttp.ClientSession() as session, session.get(f"{gate.base_url}/me/", headers=headers) as response:
        assert response.status == 200
    (request,) = sim.requests
    assert not {"x-http-method-override", "x-more"} & request.headers.keys()


async def test_every_read_of_the_suite_is_let_through(sim: Simulator, gate: Gate) -> None:
    """All that `reads` names without knowing the account; the wrong key is shown once."""
    read = {name: await gate.send(ask) for name, ask in (*plain_reads(), *last_reads())}
    assert gate.refusals == []
    shown = [request.headers.get("authorization") for request in sim.requests]
    assert shown.count(basic(WRONG_KEY)) == 1
    assert list(further_reads(read)) == []  # without a key, nothing was found that could be asked about


async def test_there_is_an_end_to_requests(sim: Simulator, clock: FakeClock) -> None:
    """After so many the gate is shut."""
    async with Gate(sim.base_url, clock=clock, most=2) as gate:
        for _ in range(2):
            await gate.send(Ask.get("/me/"))
        with pytest.raises(GateError, match="these were 2 requests already"):
            await gate.send(Ask.get("/me/"))
    assert len(sim.requests) == 2


async def test_requests_keep_their_distance_and_the_limits(sim: Simulator, clock: FakeClock) -> None:
    """A gap between two of them; where nothing is left of a window its end is waited for, and no 429 is met."""
    sim.limits = Limits(rate=0.5, window=8)
    async with Gate(sim.base_url, clock=clock, gap=0.25) as gate:
        for _ in range(10):
            await send(gate, Ask.get("/me/"), sim.api_key)
    assert [request.status for request in sim.requests] == [200] * 10
    instants = [request.at for request in sim.requests]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(instants)]
    assert gaps[:3] == [0.25] * 3
    assert gaps[3] > 5
    assert clock.monotonic() < 30


@pytest.mark.parametrize("times", [1, None])
async def test_a_429_is_waited_for_and_asked_again(sim: Simulator, gate: Gate, times: int | None) -> None:
    """As long as it says, and not for ever."""
    sim.fail_next(faults.too_many_requests(retry_after=3), times=times)
    exchange = await send(gate, Ask.get("/me/"), sim.api_key)
    assert exchange.status == (200 if times else 429)
    assert len(sim.requests) == (2 if times else ATTEMPTS)


async def test_reprs_show_neither_keys_nor_bodies_nor_ids(sim: Simulator, gate: Gate) -> None:
    """What a failing test prints of an exchange is its method, its path without ids, its status and its instant."""
    job = sim.add_job("email", template_id="tmpl_of_a_customer")
    ask = attrs.evolve(Ask.get(f"/bulk_action/email/{job.id}/", _fields="id"), headers={"authorization": "secret"})
    exchange = await send(gate, attrs.evolve(ask, headers={}), sim.api_key)
    assert exchange.status == 200
    for shown in (repr(ask), str(ask), repr(exchange)):
        assert "GET /bulk_action/email/{id}/" in shown
        for hidden in (job.id, "secret", "tmpl_of_a_customer", sim.api_key):
            assert hidden not in shown


BODY = {"type": "set_lead_status", "lead_status_id": "stat_1", "s_query": {"type": "id", "value": "lead_1"}}


def post(body: object, path: str = "/bulk_action/edit/", method: str = "POST") -> Ask:
    """A request that writes."""
    return Ask(method=method, path=path, body=json.dumps(body).encode(), headers=JSON)


async def test_a_start_that_meets_a_429_is_not_sent_again(sim: Simulator, clock: FakeClock) -> None:
    """Whoever allowed one start has allowed one POST, whatever becomes of it."""
    guard = OneStart(path="/bulk_action/edit/", body=BODY)
    sim.fail_next(faults.too_many_requests(retry_after=3), times=3)
    async with Gate(sim.base_url, clock=clock, judge=guard.judge, note=guard.note) as gate:
        exchange = await send(gate, post(BODY), sim.api_key)
    assert exchange.status == 429
    assert [request.method for request in sim.requests] == ["POST"]


async def test_a_change_whose_answer_is_lost_is_not_sent_again(sim: Simulator, clock: FakeClock) -> None:
    """Not by the library below either: what the gate counts is what has arrived."""
    guard = OneStart(path="/bulk_action/edit/", body=BODY)
    async with Gate(sim.base_url, clock=clock, judge=guard.judge, note=guard.note) as gate:
        await send(gate, post(BODY), sim.api_key)
        sim.fail_next(faults.cut_after(), method="PUT")
        with pytest.raises(aiohttp.ClientError):
            await send(gate, post({"status": "paused"}, f"/bulk_action/edit/{guard.started}/", "PUT"), sim.api_key)
    assert [request.method for request in sim.requests] == ["POST", "PUT"]


def test_one_start_is_let_through_and_no_second() -> None:
    """With the body that was asked for, and with no other."""
    guard = OneStart(path="/bulk_action/edit/", body=BODY)
    assert guard.judge(post({**BODY, "results_limit": 9})) is not None
    assert guard.judge(post(BODY, path="/bulk_action/delete/")) is not None
    assert guard.judge(post(BODY)) is None
    assert guard.judge(post(BODY)) == "a second start"
    assert guard.judge(Ask.get("/me/")) is None


async def test_only_what_was_started_may_be_paused(sim: Simulator, clock: FakeClock) -> None:
    """Nothing before the start is known, no other action, no other word, and not without end."""
    other = sim.add_job("edit")
    guard = OneStart(path="/bulk_action/edit/", body=BODY, most_changes=2)
    async with Gate(sim.base_url, clock=clock, judge=guard.judge, note=guard.note) as gate:
        started = (await send(gate, post(BODY), sim.api_key)).row["id"]
        item = f"/bulk_action/edit/{started}/"
        for ask in (
            post({"status": "paused"}, f"/bulk_action/edit/{other.id}/", "PUT"),
            post({"status": "done"}, item, "PUT"),
            post({"status": "paused", "s_query": {}}, item, "PUT"),
            post({"status": "paused"}, item, "DELETE"),
        ):
            with pytest.raises(GateError):
                await send(gate, ask, sim.api_key)
        for status in ("paused", "resuming"):
            assert (await send(gate, post({"status": status}, item, "PUT"), sim.api_key)).status == 200
        with pytest.raises(GateError, match="more than pausing and resuming"):
            await send(gate, post({"status": "paused"}, item, "PUT"), sim.api_key)
    assert [request.method for request in sim.requests] == ["POST", "PUT", "PUT"]


def test_reads_are_judged_by_method_and_path() -> None:
    """HEAD and OPTIONS are no reads of this suite, nor is a search by another verb."""
    for method in ("HEAD", "OPTIONS", "PATCH", "PUT"):
        assert judge_read(Ask(method=method, path="/me/")) is not None
        assert judge_read(Ask(method=method, path="/data/search/", body=b"{}")) is not None
