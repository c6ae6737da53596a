"""`create(idempotency_key=...)`: one action for a key, whoever asks and whenever."""

from __future__ import annotations

import asyncio

import pytest

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    BadRequestError,
    BulkEmail,
    IdempotencyConflictError,
    InvalidRequestError,
    Status,
)
from closebulk_async.intents import State
from closebulk_async.simulator import Simulator, faults
from tests.offices import ACTED, KEY, LATE, NOT_ACTED, Office, recover, start, start_in_doubt
from tests.peers import connect


async def test_the_same_client(office: Office) -> None:
    """The first action again, and one POST."""
    close = await office.client()
    assert (await start(close)).ref == (await start(close)).ref
    assert office.posts == 1


async def test_another_client(office: Office) -> None:
    """The first action again, while the client that started it lives."""
    first = await start(await office.client())
    assert (await start(await office.client())).ref == first.ref
    assert office.posts == 1


async def test_after_a_restart(office: Office) -> None:
    """The first action again, after its client was closed."""
    close = await office.client()
    first = await start(close)
    await close.aclose()
    assert (await start(await office.client())).ref == first.ref
    assert office.posts == 1


async def test_after_the_action_has_ended(office: Office) -> None:
    """The first action again, as it is by then."""
    close = await office.client()
    first = await close.wait_until_done(await start(close))
    again = await start(await office.client())
    assert (again.ref, again.status) == (first.ref, Status.DONE)
    assert office.posts == 1


async def test_two_clients_at_once(office: Office) -> None:
    """One of them sends it, and both are told of the same action."""
    office.sim.fail_next(LATE)
    one, other = await asyncio.gather(*[start(await office.client()) for _ in range(2)])
    assert one.ref == other.ref
    assert office.refs == [one.ref]


async def test_another_key(office: Office) -> None:
    """Another action, though all else is equal."""
    close = await office.client()
    assert (await start(close, "one")).ref != (await start(close, "other")).ref


async def test_another_request(office: Office) -> None:
    """Refused, with the intent that has the key; nothing is sent. In this client and in another one."""
    close = await office.client()
    first = await start(close)
    for client in (close, await office.client()):
        with pytest.raises(IdempotencyConflictError, match=str(first.ref)) as caught:
            await start(client, template="tmpl_2")
        assert (caught.value.intent.idempotency_key, caught.value.intent.ref) == (KEY, first.ref)
    assert office.posts == 1


async def test_another_request_after_the_end(office: Office) -> None:
    """Refused as well: a key is not free because its action has ended."""
    close = await office.client()
    await close.wait_until_done(await start(close))
    with pytest.raises(IdempotencyConflictError):
        await start(close, template="tmpl_2")


async def test_another_request_while_the_first_is_in_doubt(office: Office) -> None:
    """Refused: the first one may have run."""
    office.sim.fail_next(NOT_ACTED, method="POST")
    close = await office.client()
    intent = await start_in_doubt(close)
    for client in (close, await office.client()):
        with pytest.raises(IdempotencyConflictError) as caught:
            await start(client, template="tmpl_2")
        assert caught.value.intent.id == intent.id
    assert office.posts == 1


async def test_two_requests_at_once(office: Office) -> None:
    """One of them is sent and written down, the other one is refused: in one client and in two."""
    for number, clients in enumerate([[await office.client()] * 2, [await office.client() for _ in range(2)]]):
        starts = [
            start(close, f"key {number}", template=template)
            for close, template in zip(clients, ("tmpl_1", "tmpl_2"), strict=True)
        ]
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["BulkEmail", "IdempotencyConflictError"]
        (action,) = [outcome for outcome in outcomes if isinstance(outcome, BulkEmail)]
        open_ones = {intent.ref: intent.state for intent in await clients[0].journal.unfinished()}
        assert open_ones[action.ref] is State.STARTED
        assert len(office.refs) == number + 1


async def test_another_request_after_a_rejection(office: Office) -> None:
    """Sent: nothing has ever run under the key."""
    office.sim.fail_next(faults.reply(400, "{}", content_type="application/json"), method="POST")
    close = await office.client()
    with pytest.raises(BadRequestError):
        await start(close)
    corrected = await start(await office.client(), template="tmpl_2")
    assert corrected.template_id == "tmpl_2"
    assert (await start(close, template="tmpl_2")).ref == corrected.ref
    with pytest.raises(IdempotencyConflictError):
        await start(close)


async def test_the_same_request_after_a_rejection(office: Office) -> None:
    """Sent once more."""
    office.sim.fail_next(faults.reply(402, "{}", content_type="application/json"), method="POST")
    close = await office.client()
    with pytest.raises(APIError):
        await start(close)
    assert office.refs == []
    assert [(await start(close)).ref] == office.refs


async def test_another_service(office: Office) -> None:
    """Keys belong to a base URL and an organization: elsewhere the same key is another one."""
    await start(await office.client())
    async with (
        Simulator(clock=office.clock) as other,
        connect(other, office.clock, journal=office.path) as close,
    ):
        await start(close, template="tmpl_2")
        assert len(other.jobs) == 1
        assert await recover(await office.client()) == []


async def test_without_a_durable_journal(office: Office) -> None:
    """Refused before anything is sent: after a restart nobody would know it."""
    close = await office.client(journal=None)
    with pytest.raises(InvalidRequestError, match="journal"):
        await start(close)
    assert office.sim.requests == ()


async def test_a_repeat_after_an_ambiguous_outcome(office: Office) -> None:
    """Looks for the action again each time, sends nothing, and finds it once the service shows it."""
    office.sim.fail_next(ACTED, method="POST")
    office.sim.next_job(shown_after=100)
    close = await office.client()
    for _ in range(3):
        with pytest.raises(AmbiguousStartError):
            await start(close)
    await office.clock.sleep(100)
    assert [(await start(close)).ref] == office.refs
    assert office.posts == 1
