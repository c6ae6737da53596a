"""What a crash, a lost answer or a silent process leaves open, and how clients on the same journal settle it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    BulkEmail,
    InvalidRequestError,
    JobRef,
    NotFoundError,
    PollPolicy,
    ServerError,
    StartError,
    StartPolicy,
)
from closebulk_async.intents import State
from closebulk_async.models import Kind
from closebulk_async.simulator import faults
from tests.offices import ACTED, KEY, LATE, NOT_ACTED, Office, recover, start, start_in_doubt

if TYPE_CHECKING:
    from closebulk_async.simulator.faults import Fault


class TestSettling:
    """What becomes of an intent that is found in `posting`."""

    @pytest.mark.parametrize("key", [KEY, None])
    async def test_the_owner_is_dead_and_there_is_an_action(self, office: Office, key: str | None) -> None:
        """It is adopted: `recover` gives it, and with its key `create` returns it. Nothing is sent."""
        office.sim.fail_next(ACTED, method="POST")
        close = await office.client()
        intent = await start_in_doubt(close, key)
        await office.crash(close)
        close = await office.client()
        (found,) = await recover(close)
        assert (found.intent.id, found.intent.state, found.ref) == (intent.id, State.STARTED, office.refs[0])
        assert found.action is not None
        assert found.action.ref == found.ref
        assert not found.action.unset
        assert found.error is None
        if key is not None:
            assert (await start(close)).ref == found.ref
        assert office.posts == 1

    async def test_the_owner_is_dead_and_there_is_none(self, office: Office) -> None:
        """After `settle` it is `new`, `recover` says so each time and sends nothing, and `create` sends it, once."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        close = await office.client()
        intent = await start_in_doubt(close)
        await office.crash(close)
        began = office.clock.monotonic()
        for _ in range(2):
            (found,) = await recover(await office.client())
            assert (found.intent.id, found.intent.state, found.ref) == (intent.id, State.NEW, None)
            assert (found.action, found.error) == (None, None)
            assert office.clock.monotonic() == pytest.approx(began + 15, abs=0.1)
        assert office.posts == 1
        close = await office.client()
        assert [(await start(close)).ref, (await start(close)).ref] == office.refs * 2
        assert office.posts == 2

    async def test_without_a_key_it_is_given_up(self, office: Office) -> None:
        """Nobody can ask for it again: it is given once, as final, and nothing is left open."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        close = await office.client()
        intent = await start_in_doubt(close, None)
        await office.crash(close)
        close = await office.client()
        (found,) = await recover(close)
        assert (found.intent.id, found.intent.state) == (intent.id, State.FINAL)
        assert (found.ref, found.action, found.error) == (None, None, None)
        assert await close.journal.unfinished() == []
        assert await recover(close) == []

    async def test_the_create_itself_settles(self, office: Office) -> None:
        """Without `recover`: a repeated create looks first, and sends only because its first owner is dead."""
        for fault, posts in ((ACTED, 1), (NOT_ACTED, 3)):
            office.sim.fail_next(fault, method="POST")
            close = await office.client()
            await start_in_doubt(close, fault.name, template=fault.name)
            await office.crash(close)
            action = await start(await office.client(), fault.name, template=fault.name)
            assert office.refs[-1] == action.ref
            assert office.posts == posts
        assert len(office.refs) == 2

    async def test_the_owner_is_silent_and_there_is_none(self, office: Office) -> None:
        """It may go on at any time: nobody sends in its place, and each who asks is told that it is unknown."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        silent = await office.client()
        intent = await start_in_doubt(silent)
        other = await office.client()
        (found,) = await recover(other)
        assert isinstance(found.error, AmbiguousStartError)
        assert (found.intent.id, found.intent.state, found.action) == (intent.id, State.POSTING, None)
        for on_ambiguous in ("reconcile", "raise", "resend"):
            with pytest.raises(AmbiguousStartError) as caught:
                await start(other, on_ambiguous=on_ambiguous)
            assert caught.value.intent.id == intent.id
        with pytest.raises(AmbiguousStartError):
            await other.reconcile(intent.id)
        assert office.posts == 1
        await office.crash(silent)  # now it is proved
        assert [(await start(other)).ref] == office.refs

    async def test_the_owner_is_silent_and_there_is_an_action(self, office: Office) -> None:
        """It is adopted, and the silent one is told of the same when it goes on."""
        office.sim.fail_next(ACTED, method="POST")
        silent = await office.client()
        await start_in_doubt(silent)
        assert [(await start(await office.client())).ref] == office.refs
        assert [(await start(silent)).ref] == office.refs

    async def test_the_owner_works_on_it(self, office: Office) -> None:
        """Another client waits for the outcome, `recover` leaves it out, and nobody can give it up."""
        office.sim.fail_next(LATE, method="POST")
        busy, other = await office.client(), await office.client()
        task = asyncio.ensure_future(start(busy))
        while not office.refs:
            await office.clock.sleep(0.1)
        (intent,) = await other.journal.unfinished()
        assert await recover(other) == []
        with pytest.raises(StartError, match="being sent"):
            await other.abandon(intent.id)
        assert (await other.reconcile(intent.id)).ref == office.refs[0]
        assert office.clock.monotonic() == pytest.approx(3, abs=0.5)
        assert (await task).ref == office.refs[0]

    async def test_a_lease_is_renewed(self, office: Office) -> None:
        """While a POST takes longer than a lease, its owner counts as busy."""
        office.sim.fail_next(faults.delay(4), method="POST")
        policy = StartPolicy(lease=1)
        one, other = await asyncio.gather(*[start(await office.client(start=policy)) for _ in range(2)])
        assert one.ref == other.ref
        assert office.posts == 1

    async def test_what_is_freed_and_sent_anew_is_not_freed_again(self, office: Office) -> None:
        """Who looks for the action of a dead owner lets go when another client has taken the intent over."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        dead = await office.client()
        await start_in_doubt(dead)
        await office.crash(dead)
        slow = await office.client(poll=PollPolicy(settle=20))
        recovering = asyncio.ensure_future(recover(slow))
        await office.clock.sleep(1)
        office.sim.fail_next(faults.delay(6), method="POST")  # nothing is to be seen of it at the end of those twenty
        action = await start(await office.client())
        assert office.refs == [action.ref]
        await recovering
        (intent,) = await slow.journal.unfinished()
        assert (intent.state, intent.ref) == (State.STARTED, action.ref)

    async def test_a_list_that_cannot_be_read(self, office: Office) -> None:
        """Is no proof of anything: the error says why, and the intent stays as it was, whoever is dead."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        close = await office.client()
        await start_in_doubt(close)
        await office.crash(close)
        office.sim.fail_next(faults.server_error(500), method="GET", path="/bulk_action/email/", times=None)
        (found,) = await recover(await office.client())
        assert isinstance(found.error, AmbiguousStartError)
        assert isinstance(found.error.__cause__, ServerError)
        office.sim.clear_faults()
        (found,) = await recover(await office.client())
        assert found.intent.state is State.NEW


class TestTakingOver:
    """An equal create without a key, after the owner of one in doubt has died: its caller means that one's job."""

    @pytest.mark.parametrize(("fault", "posts", "seconds"), [(ACTED, 1, 0), (NOT_ACTED, 2, 15)])
    async def test_one(self, office: Office, fault: Fault, posts: int, seconds: float) -> None:
        """It gets that job, or sends it once none was found; nothing is left in doubt."""
        office.sim.fail_next(fault, method="POST")
        dead = await office.client()
        intent = await start_in_doubt(dead, None)
        await office.crash(dead)
        close = await office.client()
        action = await start(close, None)
        assert (office.refs, office.posts) == ([action.ref], posts)
        assert office.clock.monotonic() == pytest.approx(seconds, abs=0.1)
        (left,) = await close.journal.unfinished()
        assert (left.id, left.ref) == (intent.id, action.ref)

    @pytest.mark.parametrize("fault", [ACTED, NOT_ACTED])
    async def test_two_at_once(self, office: Office, fault: Fault) -> None:
        """One of them gets it, the other one a job of its own."""
        office.sim.fail_next(fault, method="POST")
        dead = await office.client()
        await start_in_doubt(dead, None)
        await office.crash(dead)
        one, other = await asyncio.gather(*[start(await office.client(), None) for _ in range(2)])
        assert {one.ref, other.ref} == set(office.refs)
        assert len(office.refs) == 2

    async def test_one_that_fails(self, office: Office) -> None:
        """That the first owner is dead stays proved: the next client can send it, while this one lives."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        dead = await office.client()
        intent = await start_in_doubt(dead, None)
        await office.crash(dead)
        heir, other = await office.client(), await office.client()
        office.sim.fail_next(faults.server_error(500), method="GET", path="/bulk_action/email/", skip=1, times=None)
        with pytest.raises(AmbiguousStartError) as caught:
            await start(heir, None)
        assert caught.value.intent.id == intent.id
        office.sim.clear_faults()
        assert [(await start(other, None)).ref] == office.refs
        assert office.posts == 2

    async def test_another_request(self, office: Office) -> None:
        """Is sent as its own, after the dead one was settled where responses could not tell the two apart."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        dead = await office.client()
        await start_in_doubt(dead, None)
        await office.crash(dead)
        close = await office.client()
        action = await start(close, "a key of its own")
        (left,) = await close.journal.unfinished()
        assert (left.ref, left.idempotency_key) == (action.ref, "a key of its own")


class TestRecovering:
    """`recover`: what earlier processes left, and what still runs."""

    async def test_an_empty_journal(self, office: Office) -> None:
        """Nothing."""
        assert await recover(await office.client()) == []

    async def test_what_runs_is_given_to_who_comes_after(self, office: Office) -> None:
        """Not while its client lives; after its end, with the action as it is, to wait for."""
        first = await office.client()
        action = await start(first, None)
        assert await recover(await office.client()) == []
        await first.aclose()
        close = await office.client()
        (found,) = await recover(close)
        assert found.action is not None
        assert (found.ref, found.action.is_final, found.error) == (action.ref, False, None)
        assert (await close.wait_until_done(found.ref or "")).is_done

    async def test_what_was_given_belongs_to_who_asked(self, office: Office) -> None:
        """The same client gets it again, another one does not while that one lives."""
        first = await office.client()
        await start(first)
        await first.aclose()
        close = await office.client()
        assert len(await recover(close)) == 1
        assert len(await recover(close)) == 1
        assert await recover(await office.client()) == []

    async def test_what_has_ended_meanwhile(self, office: Office) -> None:
        """It is given once, with the ended action, and is final then."""
        office.sim.next_job(duration=60)
        first = await office.client()
        await start(first)
        await first.aclose()
        await office.clock.sleep(100)
        close = await office.client()
        (found,) = await recover(close)
        assert found.action is not None
        assert (found.action.is_done, found.intent.state) == (True, State.FINAL)
        assert await recover(close) == []

    async def test_what_its_own_client_starts_is_left_alone(self, office: Office) -> None:
        """A start that is about to be sent is neither given nor given up."""
        office.sim.fail_next(faults.delay(10), method="GET", path="/bulk_action/email/")
        close = await office.client()
        task = asyncio.ensure_future(start(close, None))
        await office.clock.sleep(5)
        (intent,) = await close.journal.unfinished()
        assert await recover(close) == []
        assert (await task).ref == office.refs[0]
        (started,) = await close.journal.unfinished()
        assert started.id == intent.id

    async def test_two_at_once(self, office: Office) -> None:
        """Each intent is given to one of them, whatever state it was in."""
        first = await office.client()
        for number in range(4):
            await start(first, f"started {number}", template=f"started {number}")
        for number in range(4):
            office.sim.fail_next(ACTED, method="POST")
            await start_in_doubt(first, f"posting {number}", template=f"posting {number}")
        await office.crash(first)
        one, other = await asyncio.gather(*[recover(await office.client()) for _ in range(2)])
        refs = [found.ref for found in (*one, *other)]
        assert sorted(map(str, refs)) == sorted(map(str, office.refs))

    async def test_more_than_are_looked_into_at_once(self, office: Office) -> None:
        """All are given, each once: those that are known first, and those last that must be looked for."""
        first = await office.client()
        office.sim.fail_next(NOT_ACTED, method="POST")
        lost = await start_in_doubt(first, "lost", template="lost")
        for number in range(20):
            await start(first, f"key {number}", template=f"tmpl_{number}")
        await office.crash(first)
        found = await recover(await office.client())
        assert found[-1].intent.id == lost.id
        assert {each.ref for each in found[:-1]} == set(office.refs)
        assert len(found) == 21

    async def test_what_moves_meanwhile(self, office: Office) -> None:
        """A wait of another client writes down how far it is, before its turn comes: it is given all the same."""
        first = await office.client()
        for number in range(9):
            await start(first, f"key {number}", template=f"tmpl_{number}")
        await first.aclose()
        office.sim.fail_next(faults.delay(5), method="GET", path="bulkemail", times=8)
        recovering = asyncio.ensure_future(recover(await office.client()))
        await office.clock.sleep(1)
        last = (await (await office.client()).journal.unfinished())[-1]
        assert last.ref is not None
        await anext((await office.client()).wait_until_done(last.ref))
        assert {found.ref for found in await recovering} == set(office.refs)

    async def test_an_action_that_cannot_be_read(self, office: Office) -> None:
        """Its ref is given with the error, and it stays open."""
        first = await office.client()
        action = await start(first)
        await first.aclose()
        office.sim.fail_next(faults.reply(404, "{}", content_type="application/json"), path=action.id)
        close = await office.client()
        (found,) = await recover(close)
        assert (found.ref, found.action) == (action.ref, None)
        assert isinstance(found.error, NotFoundError)
        (found,) = await recover(close)
        assert found.action is not None

    async def test_leaving_early(self, office: Office) -> None:
        """At once; nothing goes on behind it, and nothing is lost: the next one gets what this one did not."""
        first = await office.client()
        office.sim.fail_next(NOT_ACTED, method="POST")
        await start_in_doubt(first, "lost", template="lost")
        for number in range(2):
            await start(first, f"key {number}", template=f"tmpl_{number}")
        await office.crash(first)
        close = await office.client()
        async with aclosing(close.recover()) as found:
            await anext(found)
        assert office.clock.monotonic() < 1
        assert [task for task in asyncio.all_tasks() if "closebulk_async" in task.get_name()] == []
        assert len(await recover(close)) == 3

    async def test_whose_key_it_is_cannot_be_read(self, office: Office) -> None:
        """The error is raised: which intents are its own is not known."""
        office.sim.fail_next(faults.reply(403, "no"), path="/me/")
        close = await office.client()
        with pytest.raises(APIError):
            await recover(close)


class TestReconciling:
    """`reconcile`: one intent, by its id."""

    async def test_an_action_that_was_not_shown_at_first(self, office: Office) -> None:
        """Found by the error's own `reconcile`, which raises anew until then; the action comes as it is now."""
        office.sim.fail_next(ACTED, method="POST")
        office.sim.next_job(shown_after=50)
        with pytest.raises(AmbiguousStartError) as caught:
            await start(await office.client())
        with pytest.raises(AmbiguousStartError):
            await caught.value.reconcile()
        await office.clock.sleep(50)
        action = await caught.value.reconcile()
        assert [action.ref] == office.refs
        assert not action.unset

    async def test_one_that_has_its_action(self, office: Office) -> None:
        """That action."""
        close = await office.client()
        action = await start(close)
        (intent,) = await close.journal.unfinished()
        assert (await close.reconcile(intent.id)).ref == action.ref

    async def test_one_that_has_none(self, office: Office) -> None:
        """StartError says so, of a new one and of one that was given up."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        first = await office.client()
        intent = await start_in_doubt(first)
        await office.crash(first)
        close = await office.client()
        with pytest.raises(StartError, match="is new"):
            await close.reconcile(intent.id)
        await close.abandon(intent.id)
        with pytest.raises(StartError, match="is final"):
            await close.reconcile(intent.id)

    async def test_one_that_is_not_there(self, office: Office) -> None:
        """InvalidRequestError, with the id."""
        with pytest.raises(InvalidRequestError, match="'nobody'"):
            await (await office.client()).reconcile("nobody")


class TestAdopting:
    """`adopt`: an operator says which action it is."""

    async def test_an_action_that_was_found_by_hand(self, office: Office) -> None:
        """It is the intent's from then on, also after it was said twice."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        close = await office.client()
        intent = await start_in_doubt(close)
        ref: JobRef[BulkEmail] = JobRef(Kind.EMAIL, office.sim.add_job("email", template_id="tmpl_1").id)
        for _ in range(2):
            assert (await close.adopt(intent.id, ref)).ref == ref
        assert (await start(close)).ref == ref
        assert office.posts == 1

    async def test_the_text_of_a_ref(self, office: Office) -> None:
        """Serves as well."""
        office.sim.fail_next(ACTED, method="POST")
        close = await office.client()
        intent = await start_in_doubt(close)
        assert (await close.adopt(intent.id, str(office.refs[0]))).ref == office.refs[0]

    async def test_an_action_of_another_kind(self, office: Office) -> None:
        """Refused before anything is asked."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        close = await office.client()
        intent = await start_in_doubt(close)
        asked = len(office.sim.requests)
        with pytest.raises(InvalidRequestError, match="kind"):
            await close.adopt(intent.id, JobRef(Kind.EDIT, "bulkedit_1"))
        assert len(office.sim.requests) == asked

    async def test_an_action_that_is_not_there(self, office: Office) -> None:
        """NotFoundError, and the intent stays as it was."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        close = await office.client()
        intent = await start_in_doubt(close)
        with pytest.raises(NotFoundError):
            await close.adopt(intent.id, "email:bulkemail_nobody")
        (left,) = await close.journal.unfinished()
        assert left.state is State.POSTING

    async def test_an_action_of_another_intent(self, office: Office) -> None:
        """Refused: an action belongs to one start."""
        close = await office.client()
        taken = await start(close, "other", template="tmpl_2")
        office.sim.fail_next(NOT_ACTED, method="POST")
        intent = await start_in_doubt(close)
        with pytest.raises(InvalidRequestError, match="belongs to another intent"):
            await close.adopt(intent.id, taken)

    async def test_an_intent_that_has_another_action(self, office: Office) -> None:
        """Refused: it would be forgotten."""
        close = await office.client()
        own = await start(close)
        (intent,) = await close.journal.unfinished()
        other = office.sim.add_job("email")
        with pytest.raises(InvalidRequestError, match=str(own.ref)):
            await close.adopt(intent.id, f"email:{other.id}")


class TestAbandoning:
    """`abandon`: an operator wants to hear no more of it."""

    async def test_one_in_doubt(self, office: Office) -> None:
        """Nothing is left of it, and its key starts a new action."""
        office.sim.fail_next(NOT_ACTED, method="POST")
        close = await office.client()
        intent = await start_in_doubt(close)
        await close.abandon(intent.id)
        assert await recover(close) == []
        assert (await start(close, template="tmpl_2")).ref == office.refs[0]

    async def test_one_that_has_its_action(self, office: Office) -> None:
        """`recover` gives it no more, the action runs on, and the key still is that action's."""
        first = await office.client()
        action = await start(first)
        (intent,) = await first.journal.unfinished()
        await first.abandon(intent.id)
        await first.aclose()
        close = await office.client()
        assert await recover(close) == []
        assert (await start(close)).ref == action.ref
        assert {request.method for request in office.sim.requests} == {"GET", "POST"}

    async def test_twice(self, office: Office) -> None:
        """Once is enough."""
        close = await office.client()
        await start(close)
        (intent,) = await close.journal.unfinished()
        await close.abandon(intent.id)
        before = await close.journal.get(intent.id)
        await close.abandon(intent.id)
        assert await close.journal.get(intent.id) == before

    async def test_one_that_is_not_there(self, office: Office) -> None:
        """InvalidRequestError, with the id."""
        with pytest.raises(InvalidRequestError, match="'nobody'"):
            await (await office.client()).abandon("nobody")
