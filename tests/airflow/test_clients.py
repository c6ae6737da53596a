"""What a triggerer and a worker read of Airflow's connections, and the parts of the operator that need no Airflow."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from closebulk_async.errors import InvalidRequestError
from closebulk_async.integrations.airflow import BulkActionTrigger, CloseBulkOperator, make_idempotency_key
from closebulk_async.integrations.airflow_clients import CLIENTS
from closebulk_async.simulator import Plan, Simulator
from tests.airflow.deployments import ARGUMENTS, KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@attrs.define(kw_only=True)
class Try:
    """One try of a task."""

    dag_id: str = "dag"
    run_id: str = "manual__2026-01-15T12:00:00+00:00"
    task_id: str = "send"
    map_index: int | None = -1
    try_number: int = 1


@pytest.fixture
async def close_simulator() -> AsyncIterator[Simulator]:
    """In real time, which is what a triggerer lives by."""
    async with Simulator(plan=Plan(duration=0.2, n_objects=3)) as simulator:
        yield simulator


@pytest.fixture
def connection(close_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a connection to the simulator."""
    text = json.dumps({"conn_type": "close", "password": close_simulator.api_key, "host": close_simulator.base_url})
    monkeypatch.setenv("AIRFLOW_CONN_CLOSE", text)
    return "close"


async def fire(trigger: BulkActionTrigger) -> Any:  # noqa: ANN401 - what Airflow passes on
    """What the event of a trigger carries."""
    (event,) = [event async for event in trigger.run()]
    return event.payload


def test_the_key_is_of_the_task_and_not_of_its_try() -> None:
    """Dag, run, task and map index make it; each of them makes another one."""
    first = make_idempotency_key(Try())
    assert first == "airflow/dag/manual__2026-01-15T12:00:00+00:00/send/-1"
    assert make_idempotency_key(Try(try_number=2, map_index=None)) == first
    others = [Try(dag_id="d"), Try(run_id="r"), Try(task_id="t"), Try(map_index=0)]
    assert len({first, *(make_idempotency_key(other) for other in others)}) == 5


@pytest.mark.parametrize("wrong", [{"kind": "export"}, {"on_paused": "cry"}, {"timeout": -1}, {"stall_timeout": 0}])
def test_what_is_wrong_shows_when_the_dag_is_read(wrong: dict[str, Any]) -> None:
    """Not hours later, when it runs."""
    with pytest.raises(InvalidRequestError):
        CloseBulkOperator(**{"task_id": "send", "kind": "email", "arguments": ARGUMENTS, **wrong})


def test_a_trigger_is_made_again_of_what_it_says() -> None:
    """Class and arguments; none of them is a key."""
    trigger = BulkActionTrigger(ref="email:bulkemail_1", conn_id="close", deadline="2026-01-15T12:00:00+00:00")
    path, arguments = trigger.serialize()
    assert path == "closebulk_async.integrations.airflow.BulkActionTrigger"
    assert BulkActionTrigger(**arguments).serialize() == (path, arguments)
    assert json.loads(json.dumps(arguments)) == arguments


async def test_triggers_of_one_connection_share_a_client(connection: str) -> None:
    """As long as one of them needs it; who comes after the last one gets a new one."""
    async with CLIENTS.share(connection) as first:
        async with CLIENTS.share(connection) as second:
            assert second is first
        assert (await first.me()).user_id
    async with CLIENTS.share(connection) as third:
        assert third is not first


async def test_many_triggers_are_polled_together(connection: str, close_simulator: Simulator) -> None:
    """Twenty cost far fewer than twenty requests a poll."""
    jobs = [close_simulator.add_job("email") for _ in range(20)]
    triggers = [BulkActionTrigger(ref=f"email:{job.id}", conn_id=connection) for job in jobs]
    reports = await asyncio.gather(*map(fire, triggers))
    assert [report["ref"] for report in reports] == [trigger.ref for trigger in triggers]
    assert {report["status"] for report in reports} == {"done"}
    assert len(close_simulator.requests) < 20


async def test_without_a_connection_the_environment_is_read(
    close_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CLOSE_API_KEY` and `CLOSE_BASE_URL`, as everywhere."""
    monkeypatch.setenv("CLOSE_API_KEY", close_simulator.api_key)
    monkeypatch.setenv("CLOSE_BASE_URL", close_simulator.base_url)
    job = close_simulator.add_job("email")
    report = await fire(BulkActionTrigger(ref=f"email:{job.id}"))
    assert report["error"] is None


async def test_a_trigger_without_a_key_fires_all_the_same(
    close_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without a password does not fall back to the key of the environment; the task fails with the ref."""
    monkeypatch.setenv("CLOSE_API_KEY", KEY)
    monkeypatch.setenv("AIRFLOW_CONN_CLOSE", json.dumps({"conn_type": "close", "host": close_simulator.base_url}))
    report = await fire(BulkActionTrigger(ref="email:bulkemail_1", conn_id="close"))
    with pytest.raises(AirflowFailException, match="email:bulkemail_1: no API key"):
        CloseBulkOperator(task_id="send", kind="email", arguments=ARGUMENTS).execute_complete({}, report)
    assert not close_simulator.requests


async def test_a_connection_that_cannot_be_read_fails_the_task_with_the_ref(close_simulator: Simulator) -> None:
    """It may be there for another try."""
    report = await fire(BulkActionTrigger(ref="email:bulkemail_1", conn_id="nowhere"))
    with pytest.raises(AirflowException, match="email:bulkemail_1") as caught:
        CloseBulkOperator(task_id="send", kind="email", arguments=ARGUMENTS).execute_complete({}, report)
    assert not isinstance(caught.value, AirflowFailException)


async def test_a_deadline_that_has_passed_ends_a_wait_for_a_retry(connection: str, close_simulator: Simulator) -> None:
    """The action is read once more; it still runs, so that the task may be tried again."""
    ref = f"email:{close_simulator.add_job('email', plan=Plan(duration=3600)).id}"
    trigger = BulkActionTrigger(ref=ref, conn_id=connection, deadline="2020-01-01T00:00:00+00:00")
    report = await fire(trigger)
    with pytest.raises(AirflowException, match=ref) as caught:
        CloseBulkOperator(task_id="send", kind="email", arguments=ARGUMENTS).execute_complete({}, report)
    assert not isinstance(caught.value, AirflowFailException)
