"""A pause or resume whose outcome is in doubt is judged by a read."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest
from attrs import evolve

from closebulk_async import (
    BadRequestError,
    CloseBulk,
    CloseBulkError,
    NotFoundError,
    PermissionDeniedError,
    RetryPolicy,
    ServerError,
    TransportError,
)
from closebulk_async.simulator import Fault, Simulator, faults
from tests.peers import NotingClock, connect, methods
from tests.wire.operations import each_doubt, pause, start


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
    action = await start(close)
    sim.fail_next(faults.cut_after(), method="PUT")
    sim.fail_next(faults.reply(400, '{"error": "Not in progress."}', content_type="application/json"), method="PUT")
    sim.fail_next(faults.altered(status="processing"), method="GET")
    assert (await close.emails.pause(action)).is_paused
    assert methods(sim) == ["GET", "POST", "PUT", "GET", "PUT", "GET"]


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
