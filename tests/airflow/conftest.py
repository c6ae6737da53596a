"""One Airflow for all tests, and a simulator for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Plan, Simulator
from tests.airflow.deployments import KEY, Deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """With all of its services; at the end no key stands in anything that they wrote."""
    deployment = Deployment(home=tmp_path_factory.mktemp("airflow"))
    deployment.migrate()
    with deployment.serving():
        yield deployment
    assert not [name for name, text in deployment.everything() if KEY in text]


@pytest.fixture
async def close_service(deployment: Deployment) -> AsyncIterator[Simulator]:
    """The service that the connection of the deployment leads to, in real time.

    Its jobs take some seconds: Airflow takes a task that is resumed at once for one whose process was lost.
    """
    async with Simulator(port=deployment.close_port, api_key=KEY, plan=Plan(duration=6, n_objects=30)) as simulator:
        yield simulator
