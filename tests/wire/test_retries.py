"""What is sent again and what is not: each cell of the table of safe repeats."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING

import aiohttp
import pytest
from attrs import evolve

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    CloseBulk,
    CloseBulkError,
    RetryPolicy,
    TransportError,
)
from closebulk_async.simulator import Fault, Simulator, faults
from tests.peers import NotingClock, connect, methods, posts
from tests.wire.operations import ALL, EMPTY_LIST, METHODS, READS, Operation, each_doubt, get, list_, requests_of, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from closebulk_async.testing import FakeClock


@each_doubt
@pytest.mark.parametrize("read", READS)
async def test_a_read_goes_on_after_anything_doubtful(
    sim: Simulator, clock: NotingClock, read: Operation, fault: Fault, error: type[CloseBulkError]
) -> None:
    """One bad answer costs one more request and at most the first step of the back-off."""
    sim.fail_next(fault)
    async with connect(sim, clock) as close:
        await read(close)
    assert methods(sim) == ["GET", "GET"]
    assert clock.monotonic() <= RetryPolicy().first


@each_doubt
@pytest.mark.parametrize("read", READS)
async def test_a_read_gives_up_after_the_attempts_of_the_policy(
    sim: Simulator, clock: NotingClock, read: Operation, fault: Fault, error: type[CloseBulkError]
) -> None:
    """What is raised says what went wrong last. After a cut, aiohttp itself asks once more each time."""
    sim.fail_next(fault, times=None)
    async with connect(sim, clock, retry=RetryPolicy(attempts=3)) as close:
        with pytest.raises(error) as caught:
            await read(close)
    assert type(caught.value) is error
    assert len(sim.requests) == 3 * (2 if fault.cuts else 1)
    assert len(clock.slept) == 2


@each_doubt
@pytest.mark.parametrize("acts", [False, True])
async def test_a_doubtful_create_is_never_sent_twice(
    close: CloseBulk,
    sim: Simulator,
    clock: NotingClock,
    fault: Fault,
    error: type[CloseBulkError],
    *,
    acts: bool,
) -> None:
    """Whether or not a job was started, one POST arrives, nothing is waited for, and the error carries the intent."""
    if fault.answer is not None or fault.cuts:
        fault = evolve(fault, acts=acts)
    before = len(sim.jobs)
    sim.fail_next(fault, method="POST")
    with pytest.raises(AmbiguousStartError) as caught:
        await start(close)
    assert methods(sim) == ["GET", "POST"]
    assert len(sim.jobs) - before == fault.acts
    assert clock.monotonic() == 0
    assert caught.value.intent.body == sim.requests[1].body
    assert caught.value.intent.id in str(caught.value)
    assert type(caught.value.__cause__) is error


@pytest.mark.parametrize("acts", [False, True])
async def test_a_create_without_an_answer_is_ambiguous(
    close: CloseBulk, sim: Simulator, clock: NotingClock, *, acts: bool
) -> None:
    """It ends at the very instant of the total timeout, after one POST."""
    before = len(sim.jobs)
    sim.fail_next(faults.hang(acts=acts), method="POST")
    with pytest.raises(AmbiguousStartError, match="no answer within 60 s"):
        await start(close)
    assert clock.monotonic() == 60
    assert methods(sim) == ["GET", "POST"]
    assert len(sim.jobs) - before == acts


async def test_a_create_has_a_timeout_of_its_own(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """`timeout` bounds the exchange, also while the body of the answer drips in."""
    for fault in (faults.hang(acts=True), faults.slow_body(20)):
        sim.fail_next(fault, method="POST")
        begun = clock.monotonic()
        with pytest.raises(AmbiguousStartError, match=r"no answer within 2\.5 s"):
            await start(close, template=fault.name, timeout=2.5)
        assert clock.monotonic() - begun == 2.5
    assert posts(sim) == 2


async def test_a_slow_answer_is_an_answer(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """A body that takes 59 seconds is read to its end, of a create as of a read."""
    for operation in (start, get):
        sim.fail_next(faults.slow_body(59), method=METHODS[operation])
        await operation(close)
    assert clock.monotonic() == 118
    assert methods(sim) == ["GET", "POST", "GET"]


async def test_a_success_of_another_number_is_a_success(close: CloseBulk, sim: Simulator) -> None:
    """Newer endpoints of the service answer 201 to a create."""
    answer = faults.reply(201, sim_row("bulkemail_new"), content_type="application/json", acts=True)
    sim.fail_next(answer, method="POST")
    assert (await start(close)).id == "bulkemail_new"


def sim_row(id_: str) -> str:
    """An answer that has an id and nothing else that fits."""
    return f'{{"id": "{id_}", "n_objects_processed": "many"}}'


async def test_an_id_that_can_be_read_is_not_lost(
    close: CloseBulk, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A create whose answer does not fit gives the action with its id, and a warning: the job is started."""
    sim.fail_next(faults.altered(n_objects_processed="many", status=7), method="POST")
    action = await start(close)
    assert action.id == sim.jobs[-1].id
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(action.ref) in caplog.text


@pytest.mark.parametrize("without", [["id"], ["id", "status"]])
async def test_a_success_without_an_id_is_ambiguous(close: CloseBulk, sim: Simulator, without: list[str]) -> None:
    """The job runs, and nobody knows under which id."""
    sim.fail_next(faults.altered(without=without), method="POST")
    with pytest.raises(AmbiguousStartError, match="does not fit: there is no"):
        await start(close)
    assert (posts(sim), len(sim.jobs)) == (1, 2)


REJECTIONS = (400, 401, 402, 403, 404, 405, 409, 415, 418, 422)


@pytest.mark.parametrize("status", REJECTIONS)
@pytest.mark.parametrize("operation", ALL)
async def test_a_rejection_raises_at_once(
    close: CloseBulk, sim: Simulator, clock: NotingClock, operation: Operation, status: int
) -> None:
    """Any other 4xx proves that nothing was done: one request, no wait, and no doubt about a create."""
    sim.fail_next(faults.reply(status, '{"error": "No."}', content_type="application/json"), method=METHODS[operation])
    with pytest.raises(APIError, match=r"No\.") as caught:
        await operation(close)
    assert (caught.value.status, len(requests_of(sim, operation)), clock.monotonic()) == (status, 1, 0)
    assert len(sim.jobs) == 1


# Never sent ------------------------------------------------------------------------------------------------------


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that is taken, and on which nobody listens."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("operation", ALL)
async def test_a_refused_connection_is_tried_again(clock: NotingClock, deaf_port: int, operation: Operation) -> None:
    """Nothing was sent, so that everything may be; in the end the error says that it was not."""
    async with CloseBulk("k", base_url=f"http://127.0.0.1:{deaf_port}", clock=clock) as close:
        with pytest.raises(TransportError, match="no connection") as caught:
            await operation(close)
    assert not caught.value.sent
    assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorError)
    assert len(clock.slept) == 4
    assert all(seconds <= 0.5 * 2**step for step, seconds in enumerate(clock.slept))


@pytest.mark.parametrize("operation", ALL)
async def test_a_server_that_comes_back_is_found(clock: NotingClock, operation: Operation) -> None:
    """What was refused while the server was down is carried out once it is up, and once only."""
    async with Simulator(clock=clock) as sim:
        sim.add_job("email", id="bulkemail_1", status="processing")
        base_url = sim.base_url
    async with (
        CloseBulk(sim.api_key, base_url=base_url, clock=clock, retry=RetryPolicy(attempts=50)) as close,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(restart(sim, clock, stack))
        await operation(close)
    assert len(requests_of(sim, operation)) == 1
    assert len(sim.jobs) == 1 + (operation is start)


async def restart(sim: Simulator, clock: FakeClock, stack: AsyncExitStack) -> None:
    """Serve again after three seconds."""
    await clock.sleep(3)
    await stack.enter_async_context(sim)


async def test_a_name_that_does_not_resolve_was_never_sent(clock: NotingClock) -> None:
    """The error of the resolver is a TransportError like any other, and nothing was sent."""
    close = CloseBulk("k", base_url="https://name.invalid", clock=clock, retry=RetryPolicy(attempts=1))
    async with close:
        with pytest.raises(TransportError, match=r"name\.invalid") as caught:
            await start(close)
    assert not caught.value.sent


async def test_garbage_is_no_answer(clock: NotingClock) -> None:
    """A server that speaks no HTTP gives a TransportError, and a create is in doubt."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        is_before_a_start = request.startswith(b"GET") and b"date_created" in request
        writer.write(EMPTY_LIST if is_before_a_start else b"220 mail.example.com ESMTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        policy = RetryPolicy(attempts=1)
        async with CloseBulk("k", base_url=f"http://127.0.0.1:{port}", clock=clock, retry=policy) as close:
            with pytest.raises(TransportError, match="no whole answer"):
                await list_(close)
            with pytest.raises(AmbiguousStartError):
                await start(close)
