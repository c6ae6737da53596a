"""The Dag of docs/airflow.md, run by `airflow dags test` in one process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.airflow.deployments import KEY, Deployment

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator

PAGE = Path(__file__).parents[2] / "docs" / "airflow.md"

pytestmark = pytest.mark.timeout(1200)  # processes that start for seconds, on a machine that may be busy


@pytest.fixture
def alone(deployment: Deployment, tmp_path: Path) -> Deployment:
    """An Airflow without a triggerer, which would run the trigger a second time."""
    alone = Deployment(home=tmp_path, close_port=deployment.close_port)
    alone.migrate()
    return alone


async def test_the_example_sends_one_email(alone: Deployment, close_service: Simulator) -> None:
    """It counts, starts, waits and returns what the page says, and leaves the key nowhere."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (alone.dags / "newsletter.py").write_text(example, encoding="utf-8")
    await alone.run("newsletter")
    (job,) = close_service.jobs
    assert alone.state_of("newsletter") == ("success", 1)
    assert alone.result_of("newsletter") == {
        "ref": f"email:{job.id}",
        "status": "done",
        "n_objects_processed": 30,
        "n_objects": 30,
    }
    changes = [request.path for request in close_service.requests if request.method not in {"GET", "HEAD"}]
    assert changes == ["/api/v1/data/search/", "/api/v1/bulk_action/email/"]
    assert f"email:{job.id} is done: 30 of 30 processed" in (alone.home / "newsletter.log").read_text(encoding="utf-8")
    assert not [name for name, text in alone.everything() if KEY in text]
