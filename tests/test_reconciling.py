"""Reconciling: which action is taken for that of a lost answer, which is not, and what the caller is told."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    ClientClosedError,
    InvalidRequestError,
    PermissionDeniedError,
    StartError,
    TransportError,
)
from closebulk_async.intents import State
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.simulator import Plan, faults
from tests.stage import KEYWORDS, QUERY, create

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Fault
    from closebulk_async.simulator.jobs import Job
    from closebulk_async.starting import OnAmbiguous
    from tests.stage import Stage

EQUAL: dict[str, Any] = {"s_query": QUERY, **KEYWORDS[Kind.EMAIL]}
"""What an action shows that was started as the tests here start theirs."""
LOST = faults.cut_after()
NEVER = faults.cut_before()


async def start(stage: Stage, **options: Any) -> str:
    """Start the one action that all tests here start; its id."""
    action = await create(stage.close, Kind.EMAIL, **options)
    return str(action.id)


async def fail_to_start(stage: Stage, fault: Fault, **options: Any) -> AmbiguousStartError:
    """Start it, and lose the answer for good."""
    stage.sim.fail_next(fault, method="POST")
    with pytest.raises(AmbiguousStartError) as caught:
        await start(stage, **options)
    return caught.value


def own(stage: Stage) -> list[str]:
    """The ids of the jobs that were started by a POST."""
    return [job.id for job in stage.sim.jobs if job.request]


def add_late(stage: Stage, seconds: float = 1, *, age: float = 0.0, **fields: Any) -> Job:
    """An equal job that the list shows only in so many seconds, and that says that it is `age` seconds old."""
    return stage.sim.add_job("email", {**EQUAL, **fields}, age=age, plan=Plan(shown_after=age + seconds))


# When ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown_after", [0.0, 0.4, 3, 11, 14.9, 15])
async def test_an_action_that_is_shown_in_time_is_found(stage: Stage, shown_after: float) -> None:
    """Until `settle` has passed the list is looked at again; what it shows by then is the start's own."""
    stage.sim.next_job(shown_after=shown_after, duration=600)
    stage.sim.fail_next(LOST, method="POST")
    assert [await start(stage)] == own(stage)
    assert shown_after <= stage.now <= max(0.5, 2 * shown_after, shown_after + 4)


@pytest.mark.parametrize("shown_after", [15.1, 100])
async def test_an_action_that_is_shown_later_is_found_later(stage: Stage, shown_after: float) -> None:
    """The start is in doubt when `settle` has passed, and no longer than that; looking once more finds it."""
    stage.sim.next_job(shown_after=shown_after, duration=600)
    error = await fail_to_start(stage, LOST)
    assert stage.now == 15
    assert error.candidates == ()
    await stage.clock.sleep(shown_after - 15)
    assert [(await error.reconcile()).id] == own(stage)
    assert (stage.now, stage.posts) == (shown_after, 1)


async def test_looking_again_backs_off(stage: Stage) -> None:
    """Six looks after the first one, ever further apart; the last one when the action must have been shown."""
    await fail_to_start(stage, NEVER)
    looks = stage.polls()[1:]
    assert looks == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15]


async def test_the_doubt_says_what_to_do(stage: Stage) -> None:
    """The intent, what went wrong, what was found, and the two calls that end it."""
    error = await fail_to_start(stage, NEVER)
    text = str(error)
    assert "POST /bulk_action/email/ may or may not have started an action, and is not sent again" in text
    assert "no such action is in the list, long enough after it" in text
    assert "created since 2025-06-11 12:00:00 UTC" in text
    assert orjson.dumps(EQUAL, option=orjson.OPT_SORT_KEYS).decode()[:100] in text
    assert f"close.adopt('{error.intent.id}', ref)" in text
    assert f"close.abandon('{error.intent.id}')" in text
    assert error.intent.state is State.POSTING
    assert error.intent.request == EQUAL
    assert isinstance(error.__cause__, TransportError)


async def test_a_doubt_that_stays_is_raised_anew(stage: Stage) -> None:
    """Each look takes as long, sends nothing, and ends with an error of its own."""
    error = await fail_to_start(stage, NEVER)
    with pytest.raises(AmbiguousStartError) as caught:
        await error.reconcile()
    assert caught.value is not error
    assert caught.value.intent.id == error.intent.id
    assert (stage.now, stage.posts) == (30, 1)


async def test_a_doubt_outlives_its_client(stage: Stage, tmp_path: Path) -> None:
    """Closed, the client looks for nothing; another one with the same journal does."""
    stage.sim.next_job(shown_after=50, duration=600)
    stage.sim.fail_next(LOST, method="POST")
    async with stage.client(journal=tmp_path / "journal.db") as close:
        with pytest.raises(AmbiguousStartError) as caught:
            await create(close, Kind.EMAIL)
    with pytest.raises(ClientClosedError):
        await caught.value.reconcile()
    await stage.clock.sleep(50)
    async with stage.client(journal=tmp_path / "journal.db") as close:
        assert [(await close.reconcile(caught.value.intent.id)).id] == own(stage)
    assert stage.posts == 1


# Which --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BULK_KINDS)
async def test_the_action_is_whole(stage: Stage, kind: Kind) -> None:
    """It is what the service says of it, and not what little was asked of the list."""
    stage.sim.fail_next(LOST, method="POST")
    action = await create(stage.close, kind)
    assert action.to_dict() == stage.sim.jobs[0].snapshot(stage.clock.now())


async def test_equal_actions_of_others_are_not_it(stage: Stage) -> None:
    """Somebody else's key started it at the same moment."""
    add_late(stage, 0.2, created_by="user_other")
    add_late(stage, 1, created_by="user_other")
    stage.sim.fail_next(LOST, method="POST")
    stage.sim.next_job(shown_after=5, duration=600)
    assert [await start(stage)] == own(stage)
    error = await fail_to_start(stage, NEVER)
    assert error.candidates == ()


async def test_an_action_may_not_say_who_created_it(stage: Stage) -> None:
    """Then it may be anybody's, and so the start's own."""
    other = add_late(stage, created_by=None)
    stage.sim.fail_next(NEVER, method="POST")
    assert await start(stage) == other.id


async def test_several_equal_actions_are_told_and_not_chosen_from(stage: Stage) -> None:
    """Two that came since: which one it is cannot be known, and an operator decides."""
    add_late(stage, 0.2)
    add_late(stage, 0.2)
    error = await fail_to_start(stage, NEVER)
    others = {job.id for job in stage.sim.jobs}
    assert {action.id for action in error.candidates} == others
    assert all(str(action.ref) in str(error) for action in error.candidates)
    assert stage.now == 15
    adopted = await stage.close.adopt(error.intent.id, error.candidates[0].ref)
    assert adopted.id == error.candidates[0].id
    assert (await error.reconcile()).id == adopted.id


async def test_what_belongs_to_another_start_is_not_it(stage: Stage) -> None:
    """Of two equal actions one is that of a start which got its answer, and that the list shows only now."""
    stage.sim.next_job(shown_after=3, duration=600)
    stage.sim.next_job(shown_after=5, duration=600)
    first = await start(stage)
    stage.sim.fail_next(LOST, method="POST")
    second = await start(stage)
    assert [first, second] == own(stage)


@pytest.mark.parametrize(
    "changes",
    [
        {"s_query": {"type": "and", "queries": [QUERY]}},
        {"s_query": {}},
        {"query": "name:ACME"},
        {"sort": [{"direction": "asc"}]},
        {"sender": "me@example.com"},
        {"results_limit": 10},
        {"send_done_email": False},
    ],
    ids=str,
)
async def test_what_may_be_it_is_never_taken_for_missing(stage: Stage, changes: dict[str, Any]) -> None:
    """A service that spells the query otherwise, or fills in what was not sent: neither adopted nor sent again."""
    stage.sim.fail_next(LOST, method="POST")
    stage.sim.next_job(shown_after=1, duration=600)
    stage.sim.fail_next(faults.delay(0.5), method="GET", skip=1)
    with pytest.raises(AmbiguousStartError) as caught:
        await _start_and_respell(stage, changes)
    assert [action.id for action in caught.value.candidates] == own(stage)
    assert stage.posts == 1
    assert (await stage.close.adopt(caught.value.intent.id, caught.value.candidates[0])).id == own(stage)[0]


async def _start_and_respell(stage: Stage, changes: dict[str, Any]) -> None:
    """Start it to be sent again if need be; what the service shows of it is not what was sent."""
    task = asyncio.ensure_future(start(stage, on_ambiguous="resend"))
    await stage.clock.sleep(0.2)
    stage.sim.jobs[0].fixed.update(changes)
    await task


@pytest.mark.parametrize(
    "changes",
    [{"template_id": "tmpl_2"}, {"email_account_id": "emailacct_2"}, {"contact_preference": "contact"}],
    ids=str,
)
async def test_what_cannot_be_it_is_no_candidate(stage: Stage, changes: dict[str, Any]) -> None:
    """A field that was sent, and that the service shows otherwise, is that of another start."""
    add_late(stage, **changes)
    error = await fail_to_start(stage, NEVER)
    assert error.candidates == ()


@pytest.mark.parametrize(("age", "is_candidate"), [(1.0, True), (10.0, True), (55.0, True), (70.0, False)])
async def test_an_older_action_that_is_shown_late_is_not_adopted(
    stage: Stage, age: float, *, is_candidate: bool
) -> None:
    """One of the same user that was started before the fence and is not in it: the start's own is told by its date.

    Clocks of the service may differ, so that one of the last minute keeps the start from counting as missing.
    """
    add_late(stage, 1, age=age + 2)
    stage.sim.next_job(shown_after=5, duration=600)
    stage.sim.fail_next(LOST, method="POST")
    assert [await start(stage)] == own(stage)
    late = add_late(stage, 1, age=age + 2)
    error = await fail_to_start(stage, NEVER)
    assert [action.id for action in error.candidates] == ([late.id] if is_candidate else [])


async def test_rows_that_are_nested_beyond_reason_are_no_candidates(stage: Stage) -> None:
    """Somebody else's query may be anything; it keeps nobody's action from being found."""
    tower: Any = QUERY
    for _ in range(130):
        tower = {"type": "and", "queries": [tower]}
    add_late(stage, 0.2, s_query=tower, template_id="tmpl_2")
    stage.sim.next_job(shown_after=1, duration=600)
    stage.sim.fail_next(LOST, method="POST")
    assert [await start(stage)] == own(stage)


# What the caller wants ----------------------------------------------------------------------------------------------


async def test_raising_at_once_reads_nothing_more(stage: Stage) -> None:
    """The caller looks for it when he likes, and it is found then."""
    error = await fail_to_start(stage, LOST, on_ambiguous="raise")
    assert [request.method for request in stage.sim.requests] == ["GET", "POST"]
    assert [(await error.reconcile()).id] == own(stage)


@pytest.mark.parametrize("fault", [NEVER, LOST], ids=["never started", "started"])
async def test_sending_again_is_for_who_asks_for_it(stage: Stage, fault: Fault) -> None:
    """What was not found is sent once more, and what was found is not."""
    stage.sim.fail_next(fault, method="POST")
    assert [await start(stage, on_ambiguous="resend")] == own(stage)
    assert stage.posts == (2 if fault is NEVER else 1)


async def test_it_is_sent_again_once(stage: Stage) -> None:
    """The second doubt is raised."""
    stage.sim.fail_next(NEVER, method="POST", times=None)
    with pytest.raises(AmbiguousStartError):
        await start(stage, on_ambiguous="resend")
    assert stage.posts == 2


@pytest.mark.parametrize(
    "fault",
    [faults.invalid_fields({"template_id": "Object does not exist."}), faults.too_many_requests(retry_after=600)],
    ids=["rejected", "throttled"],
)
async def test_a_second_try_that_fails_does_not_hide_the_first(stage: Stage, fault: Fault) -> None:
    """The first POST may have started one, whatever the second came to: it stays in doubt, and is found later."""
    stage.sim.next_job(shown_after=100, duration=600)
    stage.sim.fail_next(LOST, method="POST")
    error = await fail_to_start(stage, fault, on_ambiguous="resend")
    assert isinstance(error.__cause__, APIError)
    assert [intent.state for intent in await stage.close.journal.unfinished()] == [State.POSTING]
    await stage.clock.sleep(100)
    assert [(await error.reconcile()).id] == own(stage)


async def test_answers_that_are_lost_together_are_looked_for_together(stage: Stage) -> None:
    """Twenty starts whose answers are lost at one moment read the list hardly more often than one does, or two."""
    stage.sim.fail_next(LOST, method="POST", times=20)
    queries = [{"type": "id", "value": f"lead_{number}"} for number in range(20)]
    actions = await asyncio.gather(*(start(stage, s_query=query) for query in queries))
    assert sorted(actions) == sorted(own(stage))
    assert len([request for request in stage.sim.requests if request.path.endswith("/email/")]) <= 20 + 1 + 7


@pytest.mark.parametrize("on_ambiguous", ["reconcile", "resend"])
async def test_it_is_not_sent_again_while_nothing_is_known(stage: Stage, on_ambiguous: OnAmbiguous) -> None:
    """A list that cannot be read is no proof that there is none; nor is one that shows two that may be it."""
    stage.sim.fail_next(faults.server_error(), method="GET", skip=1, times=None)
    error = await fail_to_start(stage, NEVER, on_ambiguous=on_ambiguous)
    assert "the list could not be read" in str(error)
    stage.sim.clear_faults()
    await stage.close.abandon(error.intent.id)
    add_late(stage, 0.2)
    add_late(stage, 0.2)
    error = await fail_to_start(stage, NEVER, on_ambiguous=on_ambiguous)
    assert len(error.candidates) == 2
    assert stage.posts == 2


async def test_an_equal_start_after_a_doubt_may_be_sent_again(stage: Stage) -> None:
    """Whoever was told, and asks for it once more with that option, takes the risk of a second one."""
    await fail_to_start(stage, NEVER)
    assert [await start(stage, on_ambiguous="resend")] == own(stage)
    assert stage.posts == 2


async def test_an_option_that_is_none_is_refused(stage: Stage) -> None:
    """Before anything is sent."""
    for options in ({"on_ambiguous": "retry"}, {"idempotency_key": " "}, {"idempotency_key": 7}, {"max_matches": -1}):
        with pytest.raises(InvalidRequestError, match=next(iter(options))):
            await start(stage, **options)
    assert stage.sim.requests == ()


# By hand ------------------------------------------------------------------------------------------------------------


async def test_an_operator_may_give_a_start_up(stage: Stage) -> None:
    """Then an equal one is a new one; giving it up again changes nothing, and there is no action to be had of it."""
    error = await fail_to_start(stage, NEVER)
    for _ in range(2):
        await stage.close.abandon(error.intent.id)
    with pytest.raises(StartError, match="has no action"):
        await stage.close.reconcile(error.intent.id)
    assert [await start(stage)] == own(stage)


async def test_an_action_has_one_start(stage: Stage) -> None:
    """What belongs to one intent, or is of another kind, or does not exist, is adopted by no other."""
    taken = await start(stage)
    error = await fail_to_start(stage, NEVER)
    id_ = error.intent.id
    with pytest.raises(InvalidRequestError, match="belongs to another intent"):
        await stage.close.adopt(id_, f"email:{taken}")
    with pytest.raises(InvalidRequestError, match="of the kind edit"):
        await stage.close.adopt(id_, "edit:bulkedit_1")
    with pytest.raises(Exception, match="404"):
        await stage.close.adopt(id_, "email:bulkemail_of_nobody")
    with pytest.raises(InvalidRequestError, match="no intent 'x'"):
        await stage.close.adopt("x", f"email:{taken}")
    assert [intent.state for intent in await stage.close.journal.unfinished()] == [State.STARTED, State.POSTING]


async def test_an_adopted_action_stays(stage: Stage) -> None:
    """Adopting it again is no change, and another one is refused."""
    error = await fail_to_start(stage, NEVER)
    one, other = stage.sim.add_job("email", EQUAL), stage.sim.add_job("email", EQUAL)
    for _ in range(2):
        assert (await stage.close.adopt(error.intent.id, f"email:{one.id}")).id == one.id
    with pytest.raises(InvalidRequestError, match=one.id):
        await stage.close.adopt(error.intent.id, f"email:{other.id}")


# Whose key it is ----------------------------------------------------------------------------------------------------


async def test_a_service_that_does_not_say_whose_key_it_is(stage: Stage) -> None:
    """A start with a journal in memory does not ask; a lost answer then stays in doubt, and says why."""
    stage.sim.fail_next(faults.forbidden(), path="/me/", times=None)
    assert [await start(stage)] == own(stage)
    error = await fail_to_start(stage, LOST)
    assert re.search(r"could not be read: GET /me/ was answered with 403", str(error))
    stage.sim.clear_faults()
    assert (await error.reconcile()).id == own(stage)[1]


async def test_a_file_has_to_know_whose_key_it_is(stage: Stage, tmp_path: Path) -> None:
    """Others may share it: what cannot be told apart is not started."""
    stage.sim.fail_next(faults.forbidden(), path="/me/", times=None)
    async with stage.client(journal=tmp_path / "journal.db") as close:
        with pytest.raises(PermissionDeniedError, match="/me/"):
            await create(close, Kind.EMAIL)
    assert stage.posts == 0


# What is told -------------------------------------------------------------------------------------------------------


async def test_the_log_has_a_line_for_it(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """An adoption for information, with the ref; a doubt as a warning, with the intent."""
    caplog.set_level(logging.INFO, logger="closebulk_async")
    stage.sim.fail_next(LOST, method="POST")
    id_ = await start(stage)
    error = await fail_to_start(stage, NEVER)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if "reconciled" in record.msg]
    assert [level for level, _ in lines] == ["INFO", "WARNING"]
    assert lines[0][1].endswith(f"was reconciled: adopted, email:{id_} is its action")
    assert lines[1][1] == f"intent {error.intent.id} (email) was reconciled: missing"


async def test_looking_ends_with_the_client(stage: Stage) -> None:
    """Closed while it looks, the client leaves nothing behind, and the start is in doubt."""
    stage.sim.fail_next(NEVER, method="POST")
    async with stage.client() as close:
        task = asyncio.ensure_future(create(close, Kind.EMAIL))
        await stage.clock.sleep(2)
    with pytest.raises(AmbiguousStartError) as caught:
        await task
    assert stage.now < 3
    assert await stage.nothing_is_left()
    with pytest.raises(ClientClosedError):
        await caught.value.reconcile()
