"""The operator in a deployment: tasks in processes of the LocalExecutor, triggers in a triggerer."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Simulator, faults
from tests.airflow.deployments import ARGUMENTS, KEY, until

if TYPE_CHECKING:
    from tests.airflow.deployments import Deployment

pytestmark = pytest.mark.timeout(1200)  # processes that start for seconds, on a machine that may be busy


def posts(simulator: Simulator) -> int:
    """How many requests were to start something."""
    return sum(request.method == "POST" for request in simulator.requests)


def status_of_job(simulator: Simulator) -> object:
    """The status of the only job, as the service would show it now."""
    (job,) = simulator.jobs
    return job.snapshot(simulator.clock.now())["status"]


async def test_from_start_to_done(deployment: Deployment, close_service: Simulator) -> None:
    """One POST, then only GETs while the task is deferred; its XCom is the ref and the counts, its log the progress."""
    deployment.add_dag("to_done")
    await deployment.run("to_done", "--use-executor")
    (job,) = close_service.jobs
    ref = f"email:{job.id}"
    assert deployment.state_of("to_done") == ("success", 1)
    assert deployment.result_of("to_done") == {
        "ref": ref,
        "status": "done",
        "n_objects_processed": 30,
        "n_objects": 30,
    }
    assert [request.method for request in close_service.requests if request.method != "GET"] == ["POST"]
    log = deployment.log_of("to_done")
    assert f"{ref} is the bulk action of this task" in log
    assert f"{ref} is done: 30 of 30 processed" in log


async def test_a_mapped_task_starts_one_action_for_each(deployment: Deployment, close_service: Simulator) -> None:
    """Also of equal requests: each has a key of its own."""
    deployment.add_mapped_dag("mapped", arguments=[ARGUMENTS, ARGUMENTS])
    await deployment.run("mapped", "--use-executor")
    assert deployment.ask("SELECT state, try_number FROM task_instance WHERE dag_id = 'mapped'") == [("success", 1)] * 2
    results = deployment.ask("SELECT value FROM xcom WHERE dag_id = 'mapped' AND key = 'return_value'")
    assert {json.loads(value)["ref"] for (value,) in results} == {f"email:{job.id}" for job in close_service.jobs}
    assert len(close_service.jobs) == 2


async def test_the_trigger_has_no_key(deployment: Deployment, close_service: Simulator) -> None:
    """What the metadata database keeps of it, unencrypted here, are the ref, options and the name of a connection."""
    close_service.next_job(duration=3600)
    deployment.add_dag("deferred")
    async with deployment.running("deferred", "--use-executor"):
        await until(lambda: deployment.state_of("deferred")[0] == "deferred")
        ((kwargs,),) = deployment.ask(
            "SELECT kwargs FROM trigger JOIN task_instance ON trigger_id = trigger.id WHERE dag_id = 'deferred'"
        )
    (job,) = close_service.jobs
    assert f"email:{job.id}" in kwargs
    assert KEY not in kwargs


async def test_an_action_that_fails_fails_the_task(deployment: Deployment, close_service: Simulator) -> None:
    """At once, however many retries it has, with its ref."""
    close_service.next_job(duration=6, ends="error")
    deployment.add_dag("fails", retries=3)
    await deployment.run("fails", "--use-executor")
    (job,) = close_service.jobs
    assert deployment.state_of("fails") == ("failed", 1)
    log = deployment.log_of("fails")
    assert "AirflowFailException" in log
    assert f"email:{job.id}" in log.partition("AirflowFailException")[2]


@pytest.mark.parametrize(("acts", "dag_id"), [(True, "killed_after_it_acted"), (False, "killed_before_it_acted")])
async def test_a_worker_is_killed_with_the_post_in_flight(
    deployment: Deployment,
    close_service: Simulator,
    acts: bool,  # noqa: FBT001 - a parameter of pytest
    dag_id: str,
) -> None:
    """The intent is in the store by then. The next try finds its job, or proves that there is none and sends it."""
    close_service.fail_next(faults.hang(acts=acts), method="POST")
    deployment.add_dag(dag_id, retries=1)
    async with deployment.running(dag_id, "--use-executor") as process:
        await until(lambda: posts(close_service) == 1 and len(close_service.jobs) == acts)
        assert deployment.journal_of(dag_id)["state"] == "posting"
        os.kill(deployment.worker_of(dag_id), signal.SIGKILL)
        await process.wait()
    assert deployment.state_of(dag_id) == ("success", 2)
    (job,) = close_service.jobs
    assert deployment.result_of(dag_id)["ref"] == f"email:{job.id}"
    assert posts(close_service) == (1 if acts else 2)


async def test_a_worker_is_killed_after_the_post(deployment: Deployment, close_service: Simulator) -> None:
    """While it waits itself: the next try goes on with the same job."""
    close_service.next_job(duration=15)
    deployment.add_dag("killed_in_a_wait", retries=1, deferrable=False)
    async with deployment.running("killed_in_a_wait", "--use-executor") as process:
        await until(lambda: deployment.journal_of("killed_in_a_wait").get("state") == "started")
        os.kill(deployment.worker_of("killed_in_a_wait"), signal.SIGKILL)
        await process.wait()
    assert deployment.state_of("killed_in_a_wait") == ("success", 2)
    assert posts(close_service) == len(close_service.jobs) == 1


async def test_a_try_that_airflow_has_given_up_sends_nothing(deployment: Deployment, close_service: Simulator) -> None:
    """Its process is told to end at the next heartbeat, and may not write the intent until then."""
    close_service.fail_next(faults.delay(3), method="GET", path="/me/")
    deployment.add_dag("given_up")
    async with deployment.running("given_up", "--use-executor"):
        await until(lambda: any(request.path.endswith("/me/") for request in close_service.requests))
        # What a retry does, once the scheduler takes a worker for lost; nobody is there to start it.
        deployment.ask(
            "UPDATE task_instance SET id = lower(hex(randomblob(16))), state = 'removed' WHERE dag_id = 'given_up'"
        )
        await until(lambda: "Task failed with exception" in deployment.log_of("given_up"))
    assert not deployment.journal_of("given_up")
    assert not posts(close_service)


async def test_a_cut_connection_costs_no_try(deployment: Deployment, close_service: Simulator) -> None:
    """The answer to the POST is lost: its job is found in the list."""
    close_service.fail_next(faults.cut_after(), method="POST")
    deployment.add_dag("cut")
    await deployment.run("cut", "--use-executor")
    assert deployment.state_of("cut") == ("success", 1)
    assert posts(close_service) == len(close_service.jobs) == 1


@pytest.mark.parametrize(("pause", "dag_id"), [(True, "worker_told_to_pause"), (False, "worker_told_nothing")])
async def test_a_worker_that_is_told_to_end(
    deployment: Deployment,
    close_service: Simulator,
    pause: bool,  # noqa: FBT001 - a parameter of pytest
    dag_id: str,
) -> None:
    """It fails the task, and pauses the action only if asked to."""
    close_service.next_job(duration=3600)
    deployment.add_dag(dag_id, deferrable=False, pause_on_kill=pause)
    async with deployment.running(dag_id, "--use-executor") as process:
        await until(lambda: deployment.journal_of(dag_id).get("sighting") and len(close_service.requests) > 4)
        os.kill(deployment.worker_of(dag_id), signal.SIGTERM)
        await process.wait()
    (job,) = close_service.jobs
    assert deployment.state_of(dag_id) == ("failed", 1)
    assert f"email:{job.id}" in deployment.log_of(dag_id).partition("the task was killed")[2]
    assert status_of_job(close_service) == ("paused" if pause else "processing")
    assert {request.method for request in close_service.requests} == {"GET", "POST", *(["PUT"] if pause else [])}


async def test_a_worker_that_is_told_to_end_in_a_start(deployment: Deployment, close_service: Simulator) -> None:
    """It waits for the answer to its POST, and pauses what that has started."""
    close_service.next_job(duration=3600)
    close_service.fail_next(faults.delay(2, acts_first=True), method="POST")
    deployment.add_dag("told_in_a_start", pause_on_kill=True)
    async with deployment.running("told_in_a_start", "--use-executor") as process:
        await until(lambda: close_service.jobs)
        os.kill(deployment.worker_of("told_in_a_start"), signal.SIGTERM)
        await process.wait()
    (job,) = close_service.jobs
    assert deployment.state_of("told_in_a_start") == ("failed", 1)
    assert f"its action is email:{job.id}" in deployment.log_of("told_in_a_start")
    assert status_of_job(close_service) == "paused"


@pytest.mark.parametrize(("pause", "dag_id"), [(True, "trigger_told_to_pause"), (False, "trigger_told_nothing")])
async def test_somebody_marks_a_deferred_task_as_failed(
    deployment: Deployment,
    close_service: Simulator,
    pause: bool,  # noqa: FBT001 - a parameter of pytest
    dag_id: str,
) -> None:
    """The triggerer ends its trigger, which pauses the action only if asked to."""
    close_service.next_job(duration=3600)
    deployment.add_dag(dag_id, pause_on_kill=pause)
    async with deployment.running(dag_id, "--use-executor"):
        await until(lambda: "is processing" in deployment.log_of(dag_id))
        # What marking it does, in the user interface or by the REST API.
        deployment.ask("UPDATE task_instance SET state = 'failed', trigger_id = NULL WHERE dag_id = ?", dag_id)
        await until(lambda: "trigger completed" in deployment.log_of(dag_id))
    assert "invoking on_kill" in deployment.log_of(dag_id)
    assert status_of_job(close_service) == ("paused" if pause else "processing")
    assert {request.method for request in close_service.requests} == {"GET", "POST", *(["PUT"] if pause else [])}


async def test_another_try_goes_on_with_the_action(deployment: Deployment, close_service: Simulator) -> None:
    """Here a `timeout` ends each try. Of all tries, only the last may still write the state of the task."""
    close_service.next_job(duration=12)
    deployment.add_dag("again", retries=5, timeout=4.0)
    await deployment.run("again", "--use-executor")
    state, tries = deployment.state_of("again")
    assert state == "success"
    assert tries > 1
    assert posts(close_service) == len(close_service.jobs) == 1
    earlier = deployment.ask("SELECT task_instance_id FROM task_instance_history WHERE dag_id = 'again'")
    ((last,),) = deployment.ask("SELECT id FROM task_instance WHERE dag_id = 'again'")
    assert len(earlier) == tries - 1
    for (id_,) in earlier:
        assert await deployment.write_state(id_) == "404"
    assert await deployment.write_state(last) == "written"


async def test_what_cannot_be_started_fails_without_another_try(
    deployment: Deployment, close_service: Simulator
) -> None:
    """A query that cannot exclude a lead is never sent."""
    deployment.add_dag("everybody", retries=3, arguments={"template_id": "t", "email_account_id": "e", "s_query": {}})
    await deployment.run("everybody", "--use-executor")
    assert deployment.state_of("everybody") == ("failed", 1)
    assert "allow_all=True" in deployment.log_of("everybody")
    assert not posts(close_service)
