"""What happens on the way to the server and back: what is sent again, when, and over which connection."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from datetime import timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from attrs import evolve

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    BadRequestError,
    ClientClosedError,
    CloseBulk,
    CloseBulkError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    Timeouts,
    TransportError,
    __version__,
)
from closebulk_async.simulator import Fault, Simulator, faults
from closebulk_async.testing import FakeClock
from tests.peers import ACME, NotingClock, Peer, connect, methods, posts, start_email

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Operation = Callable[[CloseBulk], Awaitable[object]]
ELSEWHERE = "http://127.0.0.1:9/"


@pytest.fixture
def clock() -> NotingClock:
    """Virtual time that keeps what was slept."""
    return NotingClock()


@pytest.fixture
async def sim(clock: NotingClock) -> AsyncIterator[Simulator]:
    """A simulator with one job that runs for a day."""
    async with Simulator(clock=clock) as simulator:
        simulator.next_job(duration=86_400)
        simulator.add_job("email", id="bulkemail_1", status="processing", n_objects=10, n_objects_processed=1)
        yield simulator


@pytest.fixture
async def close(sim: Simulator, clock: NotingClock) -> AsyncIterator[CloseBulk]:
    """A client of `sim`."""
    async with connect(sim, clock) as client:
        yield client


async def get(close: CloseBulk) -> object:
    """Read one action."""
    return await close.emails.get("bulkemail_1")


async def list_(close: CloseBulk) -> object:
    """Read a page."""
    return await close.emails.list()


async def pause(close: CloseBulk) -> object:
    """Pause the action."""
    return await close.emails.pause("bulkemail_1")


READS = (get, list_)
ALL = (get, list_, start_email, pause)

# Anything that proves neither «not sent» nor «rejected», and what a read raises when it goes on for ever.
DOUBTFUL: dict[str, tuple[Fault, type[CloseBulkError]]] = {
    **{f"{status} as HTML": (faults.server_error(status), ServerError) for status in (500, 502, 503, 504, 599)},
    "500 as JSON": (faults.reply(500, '{"error": "x"}', content_type="application/json"), ServerError),
    "408": (faults.reply(408), APIError),
    **{f"{status} elsewhere": (faults.redirect(ELSEWHERE, status=status), APIError) for status in (301, 302, 303, 307)},
    "308 without a place": (faults.reply(308), APIError),
    "304": (faults.reply(304), APIError),
    "cut": (faults.cut_before(), TransportError),
    "truncated": (faults.truncated_body(), TransportError),
    "nothing of the body": (faults.truncated_body(kept=0), TransportError),
    "broken JSON": (faults.broken_json(), DecodeError),
    "204": (faults.no_content(), DecodeError),
    "a success as HTML": (faults.reply(200, "<html>", content_type="text/html"), DecodeError),
}
each_doubt = pytest.mark.parametrize(("fault", "error"), DOUBTFUL.values(), ids=list(DOUBTFUL))


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
        await start_email(close)
    assert methods(sim) == ["POST"]
    assert len(sim.jobs) - before == fault.acts
    assert clock.monotonic() == 0
    assert caught.value.intent.start.to_json() == sim.requests[0].body
    assert caught.value.intent.id in str(caught.value)
    assert type(caught.value.__cause__) is error


@pytest.mark.parametrize("acts", [False, True])
async def test_a_create_without_an_answer_is_ambiguous(
    close: CloseBulk, sim: Simulator, clock: NotingClock, *, acts: bool
) -> None:
    """It ends at the very instant of the total timeout, after one POST."""
    before = len(sim.jobs)
    sim.fail_next(faults.hang(acts=acts))
    with pytest.raises(AmbiguousStartError, match="no answer within 60 s"):
        await start_email(close)
    assert clock.monotonic() == 60
    assert methods(sim) == ["POST"]
    assert len(sim.jobs) - before == acts


async def test_a_create_has_a_timeout_of_its_own(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """`timeout` bounds the exchange, also while the body of the answer drips in."""
    for fault in (faults.hang(acts=True), faults.slow_body(20)):
        sim.fail_next(fault)
        begun = clock.monotonic()
        with pytest.raises(AmbiguousStartError, match=r"no answer within 2\.5 s"):
            await start_email(close, timeout=2.5)
        assert clock.monotonic() - begun == 2.5
    assert posts(sim) == 2


async def test_a_slow_answer_is_an_answer(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """A body that takes 59 seconds is read to its end, of a create as of a read."""
    for operation in (start_email, get):
        sim.fail_next(faults.slow_body(59))
        await operation(close)
    assert clock.monotonic() == 118
    assert methods(sim) == ["POST", "GET"]


async def test_a_success_of_another_number_is_a_success(close: CloseBulk, sim: Simulator) -> None:
    """Newer endpoints of the service answer 201 to a create."""
    sim.fail_next(faults.reply(201, sim_row("bulkemail_new"), content_type="application/json", acts=True))
    assert (await start_email(close)).id == "bulkemail_new"


def sim_row(id_: str) -> str:
    """An answer that has an id and nothing else that fits."""
    return f'{{"id": "{id_}", "n_objects_processed": "many"}}'


async def test_an_id_that_can_be_read_is_not_lost(
    close: CloseBulk, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A create whose answer does not fit gives the action with its id, and a warning: the job is started."""
    sim.fail_next(faults.altered(n_objects_processed="many", status=7), method="POST")
    action = await start_email(close)
    assert action.id == sim.jobs[-1].id
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(action.ref) in caplog.text


@pytest.mark.parametrize("without", [["id"], ["id", "status"]])
async def test_a_success_without_an_id_is_ambiguous(close: CloseBulk, sim: Simulator, without: list[str]) -> None:
    """The job runs, and nobody knows under which id."""
    sim.fail_next(faults.altered(without=without), method="POST")
    with pytest.raises(AmbiguousStartError, match="does not fit: there is no"):
        await start_email(close)
    assert (posts(sim), len(sim.jobs)) == (1, 2)


REJECTIONS = (400, 401, 402, 403, 404, 405, 409, 415, 418, 422)


@pytest.mark.parametrize("status", REJECTIONS)
@pytest.mark.parametrize("operation", ALL)
async def test_a_rejection_raises_at_once(
    close: CloseBulk, sim: Simulator, clock: NotingClock, operation: Operation, status: int
) -> None:
    """Any other 4xx proves that nothing was done: one request, no wait, and no doubt about a create."""
    sim.fail_next(faults.reply(status, '{"error": "No."}', content_type="application/json"))
    with pytest.raises(APIError, match=r"No\.") as caught:
        await operation(close)
    assert (caught.value.status, len(sim.requests), clock.monotonic()) == (status, 1, 0)
    assert len(sim.jobs) == 1


# The rate limit --------------------------------------------------------------------------------------------------


HINTS: dict[str, tuple[Fault, float]] = {
    "semicolons": (faults.too_many_requests(limit=(160, 0, 7.25)), 7.25),
    "commas": (faults.too_many_requests(limit=(100, 0, 7.25), spelling="commas"), 7.25),
    "any order": (faults.too_many_requests(headers=(("RATELIMIT", "reset=3.5;x=1 , Remaining=0, limit=5"),)), 3.5),
    "seconds": (faults.too_many_requests(retry_after=4), 4),
    "decimals": (faults.too_many_requests(retry_after="2.5"), 2.5),
    "RateLimit goes first": (faults.too_many_requests(retry_after=12, limit=(160, 0, 3)), 3),
    "a stricter limit that is longer": (faults.too_many_requests(retry_after=12, limit=(160, 159, 3)), 12),
    "a stricter limit that is shorter": (faults.too_many_requests(retry_after=5, limit=(160, 159, 8)), 8),
    "ratelimit-reset": (faults.too_many_requests(headers=(("ratelimit-reset", "6"),)), 6),
    "x-rate-limit-reset": (faults.too_many_requests(headers=(("X-Rate-Limit-Reset", "6.5"),)), 6.5),
    "x-ratelimit-reset": (faults.too_many_requests(headers=(("x-ratelimit-reset", "5"),)), 5),
    "old body": (faults.too_many_requests(payload={"error": {"message": "x", "rate_reset": 5.5}}), 5.5),
    "older body": (faults.too_many_requests(payload={"rate_reset": 4.5}), 4.5),
    "malformed, then a good one": (faults.too_many_requests(headers=(("ratelimit", "??"), ("retry-after", "3"))), 3),
}


@pytest.mark.parametrize(("fault", "seconds"), HINTS.values(), ids=list(HINTS))
@pytest.mark.parametrize("operation", ALL)
async def test_a_429_is_waited_for_and_sent_again(
    sim: Simulator, clock: NotingClock, operation: Operation, fault: Fault, seconds: float
) -> None:
    """The wait is never shorter than the hint and at most a second longer; it was not processed, whatever it was."""
    before = len(sim.jobs)
    sim.fail_next(fault)
    async with connect(sim, clock) as close:
        await operation(close)
    first, second = sim.requests
    assert first.method == second.method
    assert seconds <= (second.at - first.at).total_seconds() <= seconds + 1
    assert clock.slept == [pytest.approx(clock.monotonic())]
    assert len(sim.jobs) - before == (operation is start_email)


async def test_a_429_may_name_a_date(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """`Retry-After` as an HTTP date is measured against the server's own clock."""
    sim.fail_next(
        faults.too_many_requests(retry_after=format_datetime(clock.now() + timedelta(seconds=9), usegmt=True))
    )
    await list_(close)
    assert 9 <= clock.slept[0] <= 10


@pytest.mark.parametrize("payload", [None, {"error": "slow down"}, ["?"], "x"])
@pytest.mark.parametrize("operation", ALL)
async def test_a_429_without_a_hint_is_backed_off(
    close: CloseBulk, sim: Simulator, clock: NotingClock, operation: Operation, payload: object
) -> None:
    """With JSON or without: the policy's waits serve where the server names none."""
    before = len(sim.jobs)
    sim.fail_next(faults.too_many_requests(payload=payload))
    await operation(close)
    assert len(clock.slept) == 1
    assert clock.monotonic() <= RetryPolicy().first
    assert len(sim.jobs) - before == (operation is start_email)


async def test_jitter_spreads(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """Of forty waits for one hint no two are alike, none is shorter than it and none a second longer."""
    for _ in range(40):
        sim.fail_next(faults.too_many_requests(retry_after=2))
        await list_(close)
    assert all(2 <= seconds <= 3 for seconds in clock.slept)
    assert len(set(clock.slept)) == 40


async def test_429s_do_not_count_as_failed_attempts(sim: Simulator, clock: NotingClock) -> None:
    """The server works, and said when: ten of them are no reason to give up after two attempts."""
    sim.fail_next(faults.too_many_requests(retry_after=1), times=10)
    sim.fail_next(faults.server_error())
    async with connect(sim, clock, retry=RetryPolicy(attempts=2)) as close:
        await list_(close)
    assert len(sim.requests) == 12


@pytest.mark.parametrize("operation", ALL)
async def test_a_wait_beyond_the_policy_is_left_to_the_caller(
    close: CloseBulk, sim: Simulator, clock: NotingClock, operation: Operation
) -> None:
    """RateLimitedError carries the hint; nothing was waited for, nothing started, and nothing is in doubt."""
    before = len(sim.jobs)
    sim.fail_next(faults.too_many_requests(retry_after=121, limit=(160, 0, 121.5)))
    with pytest.raises(RateLimitedError, match="429 Too Many Requests") as caught:
        await operation(close)
    assert caught.value.retry_after == 121.5
    assert (len(sim.requests), len(sim.jobs) - before, clock.monotonic()) == (1, 0, 0)


async def test_the_waits_of_one_request_are_bounded_together(
    close: CloseBulk, sim: Simulator, clock: NotingClock
) -> None:
    """Two waits of 50 seconds fit into the two minutes of the policy, a third does not."""
    sim.fail_next(faults.too_many_requests(retry_after=50), times=None)
    with pytest.raises(RateLimitedError):
        await start_email(close)
    assert posts(sim) == 3
    assert 100 <= clock.monotonic() <= 102


async def test_a_server_that_says_when_it_is_back_is_believed(
    close: CloseBulk, sim: Simulator, clock: NotingClock
) -> None:
    """A 503 may name its `Retry-After` as well."""
    sim.fail_next(faults.reply(503, headers=(("retry-after", "30"),)))
    await list_(close)
    assert 30 <= clock.slept[0] <= 31


async def test_a_create_after_a_429_is_judged_afresh(close: CloseBulk, sim: Simulator) -> None:
    """Rejected twice and then cut: three POSTs, the last of which is in doubt and is the last."""
    sim.fail_next(faults.too_many_requests(retry_after=1), times=2)
    sim.fail_next(faults.cut_after())
    with pytest.raises(AmbiguousStartError):
        await start_email(close)
    assert (posts(sim), len(sim.jobs)) == (3, 2)


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
    assert len(sim.requests) == 1
    assert len(sim.jobs) == 1 + (operation is start_email)


async def restart(sim: Simulator, clock: FakeClock, stack: AsyncExitStack) -> None:
    """Serve again after three seconds."""
    await clock.sleep(3)
    await stack.enter_async_context(sim)


async def test_a_name_that_does_not_resolve_was_never_sent(clock: NotingClock) -> None:
    """The error of the resolver is a TransportError like any other, and nothing was sent."""
    close = CloseBulk("k", base_url="https://name.invalid", clock=clock, retry=RetryPolicy(attempts=1))
    async with close:
        with pytest.raises(TransportError, match=r"name\.invalid") as caught:
            await start_email(close)
    assert not caught.value.sent


async def test_garbage_is_no_answer(clock: NotingClock) -> None:
    """A server that speaks no HTTP gives a TransportError, and a create is in doubt."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        policy = RetryPolicy(attempts=1)
        async with CloseBulk("k", base_url=f"http://127.0.0.1:{port}", clock=clock, retry=policy) as close:
            with pytest.raises(TransportError, match="no whole answer"):
                await list_(close)
            with pytest.raises(AmbiguousStartError):
                await start_email(close)


# Pause and resume ------------------------------------------------------------------------------------------------


@each_doubt
@pytest.mark.parametrize("acts", [False, True])
async def test_a_doubtful_pause_is_judged_by_a_read(
    close: CloseBulk, sim: Simulator, fault: Fault, error: type[CloseBulkError], *, acts: bool
) -> None:
    """The action is read, and the request sent again only where nothing has changed."""
    if fault.answer is not None or fault.cuts:
        fault = evolve(fault, acts=acts)
    sim.fail_next(fault, method="PUT")
    action = await close.emails.pause("bulkemail_1")
    is_success = fault.answer is not None and fault.answer.status < HTTPStatus.MULTIPLE_CHOICES
    if fault.acts or is_success:  # a success that cannot be read is one: what it did is read
        assert methods(sim) == ["PUT", "GET"]
    else:
        assert methods(sim) == ["PUT", "GET", "PUT"]
    assert action.is_paused is (fault.acts or not is_success)


@pytest.mark.parametrize("acts", [False, True])
async def test_a_doubtful_resume_is_judged_by_a_read(
    close: CloseBulk, sim: Simulator, clock: NotingClock, *, acts: bool
) -> None:
    """`resuming` is a change of `paused`; an action that is still paused is told once more."""
    sim.add_job("email", id="bulkemail_2", status="paused", n_objects=10)
    sim.fail_next(faults.hang(acts=acts), method="PUT")
    action = await close.emails.resume("bulkemail_2")
    assert methods(sim) == ["PUT", "GET"] if acts else ["PUT", "GET", "PUT"]
    assert not action.is_paused
    assert 60 <= clock.monotonic() <= 61


async def test_a_pause_that_takes_effect_late_may_be_said_twice(close: CloseBulk, sim: Simulator) -> None:
    """A 400 to the second one is judged by a read: the action is paused, which is what was wanted."""
    action = await start_email(close)
    sim.fail_next(faults.cut_after(), method="PUT")
    sim.fail_next(faults.reply(400, '{"error": "Not in progress."}', content_type="application/json"), method="PUT")
    sim.fail_next(faults.altered(status="processing"), method="GET")
    assert (await close.emails.pause(action)).is_paused
    assert methods(sim) == ["POST", "PUT", "GET", "PUT", "GET"]


async def test_a_400_that_the_read_does_not_explain_is_raised(close: CloseBulk, sim: Simulator) -> None:
    """Doubt about the first request does not hide that the second was refused."""
    sim.fail_next(faults.cut_before(), method="PUT")
    sim.fail_next(faults.invalid_fields({"status": "Not a valid choice."}), method="PUT")
    with pytest.raises(BadRequestError, match="status: Not a valid choice"):
        await close.emails.pause("bulkemail_1")
    assert methods(sim) == ["PUT", "GET", "PUT", "GET"]


async def test_another_refusal_needs_no_read(close: CloseBulk, sim: Simulator) -> None:
    """Only a 400 may mean «it is so already»: a 403 after a doubt is raised as it is."""
    sim.fail_next(faults.cut_before(), method="PUT")
    sim.fail_next(faults.forbidden(), method="PUT")
    with pytest.raises(PermissionDeniedError):
        await close.emails.pause("bulkemail_1")
    assert methods(sim) == ["PUT", "GET", "PUT"]


async def test_a_first_400_is_raised_at_once(close: CloseBulk, sim: Simulator) -> None:
    """Without a doubt there is nothing to read: the action is not paused and cannot be resumed."""
    with pytest.raises(BadRequestError, match="Only a paused bulk action"):
        await close.emails.resume("bulkemail_1")
    assert methods(sim) == ["PUT"]


async def test_an_action_that_ended_meanwhile_is_not_paused_again(close: CloseBulk, sim: Simulator) -> None:
    """The doubt is raised, since it was not paused, and nothing more is sent."""
    sim.add_job("email", id="bulkemail_2", status="done")
    sim.fail_next(faults.server_error(), method="PUT")
    with pytest.raises(ServerError):
        await close.emails.pause("bulkemail_2")
    assert methods(sim) == ["PUT", "GET"]


async def test_a_pause_gives_up_after_the_attempts_of_the_policy(
    sim: Simulator, clock: NotingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each attempt is followed by a read, and the next one by the server's wish comes not too early."""
    sim.fail_next(faults.reply(503, headers=(("retry-after", "7"),)), method="PUT", times=None)
    async with connect(sim, clock, retry=RetryPolicy(attempts=3)) as close:
        with pytest.raises(ServerError):
            await pause(close)
    assert methods(sim) == ["PUT", "GET"] * 3
    assert [7 <= seconds <= 8 for seconds in clock.slept] == [True, True]


async def test_a_pause_that_cannot_be_judged_raises_what_the_read_met(close: CloseBulk, sim: Simulator) -> None:
    """Nothing is known of the action: the request is not sent again."""
    sim.fail_next(faults.cut_after(), method="PUT")
    sim.fail_next(faults.reply(404), method="GET")
    with pytest.raises(NotFoundError):
        await pause(close)
    assert methods(sim) == ["PUT", "GET"]


async def test_a_connection_lost_after_a_doubt_is_no_proof(clock: NotingClock) -> None:
    """A pause that was cut may have arrived, also where aiohttp then tried again and was refused."""
    arrived: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.readuntil(b'{"status":"paused"}'))
        server.close()
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with CloseBulk("k", base_url=base_url, clock=clock, retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(TransportError, match=r"GET .* no connection") as caught:
            await pause(close)
    doubt = caught.value.__context__
    assert isinstance(doubt, TransportError)
    assert (doubt.request, doubt.sent) == ("PUT /bulk_action/email/bulkemail_1/", True)
    assert len(arrived) == 1


# Redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_read_follows_a_redirect_within_the_origin(close: CloseBulk, sim: Simulator, status: int) -> None:
    """Relative or whole, the target gets the same headers and its answer counts."""
    path = "/api/v1/bulk_action/email/bulkemail_1/"
    for location in (path, f"{sim.base_url}/bulk_action/email/bulkemail_1/"):
        sim.fail_next(faults.redirect(location, status=status))
        assert (await close.emails.get("elsewhere")).id == "bulkemail_1"
    assert [request.path for request in sim.requests][1::2] == [path, path]
    assert len({request.headers["authorization"] for request in sim.requests}) == 1


async def test_a_chain_of_redirects_ends(close: CloseBulk, sim: Simulator) -> None:
    """Three are followed; a fourth is an answer that tells nothing, and is asked for again."""
    sim.fail_next(faults.redirect("/api/v1/bulk_action/email/"), times=3)
    await list_(close)
    assert len(sim.requests) == 4
    sim.fail_next(faults.redirect("/api/v1/bulk_action/email/"), times=None)
    with pytest.raises(APIError, match="302 Found"):
        await list_(close)
    assert len(sim.requests) == 4 + 5 * 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", ALL)
async def test_nothing_goes_to_another_origin(
    sim: Simulator, clock: NotingClock, operation: Operation, status: int
) -> None:
    """Another port is another server: it gets neither the key nor the request, and its answer is not believed."""
    async with Peer() as peer:
        sim.fail_next(faults.redirect(f"{peer.base_url}/bulk_action/email/", status=status), times=None)
        async with connect(sim, clock, retry=RetryPolicy(attempts=2)) as close:
            with pytest.raises(CloseBulkError):
                await operation(close)
    assert peer.seen == []


@pytest.mark.parametrize("location", ["//evil.example/x", "http://[", "ftp://127.0.0.1/", "mailto:x", "", "https://"])
async def test_odd_locations_are_not_followed(sim: Simulator, clock: NotingClock, location: str) -> None:
    """A location that leads out of the origin, or nowhere, leaves the redirect as the answer."""
    sim.fail_next(faults.redirect(location), times=None)
    async with connect(sim, clock, retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(APIError, match="302 Found"):
            await list_(close)
    assert len(sim.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", [start_email, pause])
async def test_a_body_is_never_redirected(
    sim: Simulator, clock: NotingClock, operation: Operation, status: int
) -> None:
    """A redirected POST may lose its body, so that neither it nor a PUT follows, not even within the host."""
    target = "/api/v1/bulk_action/email/bulkemail_1/"
    sim.fail_next(faults.redirect(target, status=status), method="POST", times=None)
    sim.fail_next(faults.redirect(target, status=status), method="PUT", times=None)
    async with connect(sim, clock, retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(CloseBulkError, match=f"answered with {status}"):
            await operation(close)
    assert len(methods(sim)) - methods(sim).count("GET") == 1
    assert len(sim.jobs) == 1


# What is sent ----------------------------------------------------------------------------------------------------


async def do_everything(close: CloseBulk) -> None:
    """One request of each shape."""
    action = await start_email(close)
    await close.emails.list(limit=5, skip=1, fields=["id", "status"], template_id="tmpl_1")
    await close.emails.get(action, fields=["sender"])
    await close.emails.pause(action)
    await close.emails.resume(action)


async def test_every_path_ends_with_a_slash(close: CloseBulk, sim: Simulator) -> None:
    """Without it the service redirects, and a redirected POST may lose its body."""
    await do_everything(close)
    assert [request.path for request in sim.requests if not request.path.endswith("/")] == []
    assert len(sim.requests) == 5


async def test_bodies_are_json_of_a_known_length(close: CloseBulk, sim: Simulator) -> None:
    """The service takes no chunked bodies, and only this content type; a read has no body at all."""
    await do_everything(close)
    for request in sim.requests:
        assert "transfer-encoding" not in request.headers
        if request.method == "GET":
            assert (request.body, request.headers.get("content-type")) == (b"", None)
        else:
            assert request.headers["content-type"] == "application/json"
            assert request.headers["content-length"] == str(len(request.body))


async def test_large_bodies_are_not_chunked(clock: NotingClock) -> None:
    """Neither is one of more than a megabyte, and no warning comes with it."""
    ids = ["lead_" + "x" * 40] * 25_000
    async with Peer() as peer, connect(peer, clock) as close:
        await close.emails.create(template_id="tmpl_1", email_account_id="e_1", s_query=ACME, extra={"ids": ids})
    seen = peer.seen[0]
    assert len(seen.body) > 1_100_000
    assert seen.headers["content-length"] == str(len(seen.body))
    assert "transfer-encoding" not in seen.headers


async def test_the_query_is_spelled_as_the_service_reads_it(close: CloseBulk, sim: Simulator) -> None:
    """`_fields` is one comma list; what always comes stands in front."""
    await close.emails.list(limit=5, skip=1, fields=["sender", "id"], template_id="tmpl/ä?&=")
    assert dict(sim.requests[0].query) == {
        "_limit": "5",
        "_skip": "1",
        "template_id": "tmpl/ä?&=",
        "_fields": "id,status,n_leads,n_leads_processed,n_objects,n_objects_processed,sender",
    }


@pytest.mark.parametrize(
    ("hours", "header"), [(0, "0"), (0.0, "0"), (5.5, "5.5"), (-4, "-4"), (-2.5, "-2.5"), (14, "14")]
)
async def test_the_offset_is_sent_when_set(sim: Simulator, clock: NotingClock, hours: float, header: str) -> None:
    """Hours from UTC, of which 0 is a legal number."""
    async with connect(sim, clock, tz_offset=hours) as close:
        await do_everything(close)
    assert {request.headers["x-tz-offset"] for request in sim.requests} == {header}


async def test_the_offset_is_left_out_when_not_set(close: CloseBulk, sim: Simulator) -> None:
    """Then the service goes by its own idea of the day."""
    await do_everything(close)
    assert all("x-tz-offset" not in request.headers for request in sim.requests)


async def test_the_client_says_who_it_is(sim: Simulator, clock: NotingClock) -> None:
    """By default name and version of this package, else what the caller wants."""
    for options, expected in (({}, f"closebulk-async/{__version__}"), ({"user_agent": "mine/1 (x)"}, "mine/1 (x)")):
        async with connect(sim, clock, **options) as close:
            await list_(close)
        assert sim.requests[-1].headers["user-agent"] == expected


# What is read ----------------------------------------------------------------------------------------------------


async def test_compressed_answers_are_asked_for_and_read(clock: NotingClock) -> None:
    """The client accepts gzip and gets the same page as without."""
    page = b'{"data": [], "has_more": false}'

    def compress(request: web.BaseRequest) -> web.Response:
        assert "gzip" in request.headers["accept-encoding"]
        return web.Response(body=gzip.compress(page), headers={"content-encoding": "gzip"})

    async with Peer(compress) as peer, connect(peer, clock) as close:
        assert (await close.emails.list()).data == []


@pytest.mark.parametrize("compressed", [True, False])
async def test_the_simulator_compresses_or_not(close: CloseBulk, sim: Simulator, *, compressed: bool) -> None:
    """A page of 100 is read either way."""
    sim.gzip = compressed
    for _ in range(100):
        sim.add_job("email")
    assert len((await close.emails.list()).data) == 100


MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("compressed", [True, False])
async def test_a_body_beyond_the_cap_is_not_read(sim: Simulator, clock: NotingClock, *, compressed: bool) -> None:
    """32 MiB are the end, also of what is small on the wire; a create is in doubt then."""
    sim.gzip = compressed
    sim.fail_next(faults.huge_body(33 * MEBIBYTE), times=2)
    async with connect(sim, clock, retry=RetryPolicy(attempts=1)) as close:
        with pytest.raises(TransportError, match="larger than 33554432 bytes"):
            await list_(close)
        with pytest.raises(AmbiguousStartError, match="larger than 33554432 bytes"):
            await start_email(close)
    assert len(sim.requests) == 2


async def test_a_body_below_the_cap_is_read(close: CloseBulk, sim: Simulator) -> None:
    """31 MiB of white space in front of a page are odd and harmless."""
    sim.fail_next(faults.huge_body(31 * MEBIBYTE))
    assert len((await close.emails.list()).data) == 1


async def test_a_misfit_shows_the_first_200_characters(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """DecodeError says which request, which status, and how the body begins."""
    sim.fail_next(faults.reply(200, "<html>" + "x" * 1000, content_type="text/html"), times=None)
    with pytest.raises(DecodeError, match=r"GET /bulk_action/email/ answered 200 .* <html>xxx") as caught:
        await list_(close)
    assert (caught.value.status, caught.value.request) == (200, "GET /bulk_action/email/")
    assert len(caught.value.body) == 200
    assert len(str(caught.value)) < 400


# Connections -----------------------------------------------------------------------------------------------------


async def test_reads_share_a_connection_and_starts_have_their_own(clock: NotingClock) -> None:
    """A pooled connection may just be closing on the server's side; then nobody knows what became of a POST."""
    async with Peer() as peer, connect(peer, clock) as close:
        await list_(close)
        first, second = await start_email(close), await start_email(close)
        await close.emails.pause(first)
        await close.emails.get(second)
        await list_(close)
    used = {method: [seen.connection for seen in peer.seen if seen.method == method] for method in ("GET", "POST")}
    assert len(set(used["GET"])) == 1
    assert len(used["GET"]) == 3
    assert len(set(used["POST"])) == 2
    assert len({seen.connection for seen in peer.seen}) == 4


async def test_a_connection_that_the_server_dropped_is_replaced(close: CloseBulk, sim: Simulator) -> None:
    """A read after an idle connection was closed comes through, without a second request arriving."""
    await list_(close)
    sim.drop_connections()
    await list_(close)
    assert len(sim.requests) == 2


async def test_closing_ends_a_wait_for_the_rate_limit(sim: Simulator) -> None:
    """Whoever waits for a repeat learns at once that none will come, and nothing is sent."""
    clock = FakeClock(auto=False)
    sim.fail_next(faults.too_many_requests(retry_after=100), times=None)
    close = connect(sim, clock)
    async with close:
        tasks = [asyncio.ensure_future(operation(close)) for operation in ALL]
        await clock.settle()
        assert clock.sleepers == len(ALL)
    for task in tasks:
        with pytest.raises(ClientClosedError):
            await task
    await clock.settle()
    assert clock.sleepers == 0
    assert len(sim.requests) == len(ALL)


async def test_closing_ends_a_read_that_is_under_way() -> None:
    """Its connection is closed under it: the error says why, and nothing is asked again."""
    clock = FakeClock(auto=False)
    async with Simulator(clock=clock) as sim:
        sim.fail_next(faults.hang(), times=None)
        async with connect(sim, clock) as close:
            task = asyncio.ensure_future(list_(close))
            await clock.settle()
        with pytest.raises(ClientClosedError, match="closed meanwhile"):
            await task
    assert len(sim.requests) == 1


async def test_a_cancelled_read_leaves_nothing(clock: NotingClock) -> None:
    """Neither a timer nor a connection, also when it waited for a repeat."""
    clock = NotingClock(auto=False)
    async with Simulator(clock=clock) as sim, connect(sim, clock) as close:
        for fault in (faults.hang(), faults.too_many_requests(retry_after=50)):
            sim.fail_next(fault)
            task = asyncio.ensure_future(list_(close))
            await clock.settle()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await clock.settle()
            assert clock.sleepers == 0
    assert len(sim.requests) == 2


async def test_each_exchange_has_its_own_time(sim: Simulator, clock: NotingClock) -> None:
    """`Timeouts.total` bounds one exchange and not the repeats."""
    sim.fail_next(faults.hang(), times=2)
    async with connect(sim, clock, timeouts=Timeouts(total=10)) as close:
        await list_(close)
    assert len(sim.requests) == 3
    assert clock.monotonic() == pytest.approx(20 + sum(clock.slept))
