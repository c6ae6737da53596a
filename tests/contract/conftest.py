"""Which services are read, and what was read of each: once, for all tests of a run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs
import pytest

from closebulk_async import EditStart
from closebulk_async.clock import SystemClock
from tests.contract.account import STATUS_ID, serve
from tests.contract.failures import describe_failure
from tests.contract.gate import Gate
from tests.contract.options import ToStart
from tests.contract.plugin import OPTIONS, RECORDS
from tests.contract.starting import start
from tests.contract.survey import Record, survey

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.contract.options import Live
    from tests.contract.starting import Started

SIMULATOR, CLOSE = "simulator", "close"

FAILED = pytest.StashKey[dict[str, BaseException]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the assertions against the simulator, and against Close where that was asked for."""
    if "record" not in metafunc.fixturenames:
        return
    options = metafunc.config.stash[OPTIONS]
    services: list[object] = [SIMULATOR]
    if options.live is not None and (options.start is not None or "started" not in metafunc.fixturenames):
        services.append(CLOSE)
    elif options.notice is not None:
        services.append(pytest.param(CLOSE, marks=pytest.mark.skip(reason=options.notice)))
    metafunc.parametrize("record", services, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the values of an account out of what is printed of a failure, unless they are asked for."""
    report = yield
    callspec = getattr(item, "callspec", None)
    is_of_close = callspec is not None and callspec.params.get("record") == CLOSE
    if report.failed and call.excinfo and is_of_close and not item.config.stash[OPTIONS].shows_values:
        report.longrepr = describe_failure(item, call.excinfo)
        report.sections.clear()
    return report


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Record:
    """What was read of one service."""
    service, records = request.param, pytestconfig.stash[RECORDS]
    failed = pytestconfig.stash.setdefault(FAILED, {})
    if service in failed:
        raise failed[service]  # another try would be as many requests again
    if service not in records:
        live = pytestconfig.stash[OPTIONS].live if service == CLOSE else None
        try:
            records[service] = asyncio.run(_read(live))
        except BaseException as exc:
            failed[service] = exc
            raise
    return records[service]


@pytest.fixture(scope="session")
def started(record: Record, pytestconfig: pytest.Config) -> Started:
    """The one action that was started there."""
    options, records = pytestconfig.stash[OPTIONS], pytestconfig.stash[RECORDS]
    failed = pytestconfig.stash.setdefault(FAILED, {})
    if (name := f"start at {record.service}") in failed:
        raise failed[name]
    known = records[record.service].started
    if known is None:
        live, wanted = (options.live, options.start) if record.service == CLOSE else (None, None)
        try:
            known = asyncio.run(_start(live, wanted))
        except BaseException as exc:
            failed[name] = exc
            raise
        records[record.service] = attrs.evolve(record, started=known)
    return known


async def _read(live: Live | None) -> Record:
    if live is not None:
        async with Gate(live.base_url, clock=SystemClock(), gap=live.gap) as gate:
            return await survey(gate, live.key, service=CLOSE)
    async with serve() as simulator, Gate(simulator.base_url, clock=SystemClock()) as gate:
        return await survey(gate, simulator.api_key, service=SIMULATOR)


async def _start(live: Live | None, wanted: ToStart | None) -> Started:
    if live is not None and wanted is not None:
        return await start(live.base_url, live.key, wanted, clock=SystemClock(), gap=live.gap)
    async with serve() as simulator:
        query = {"type": "id", "value": simulator.leads[0].id}
        edit = EditStart(
            type="set_lead_status", lead_status_id=STATUS_ID, s_query=query, results_limit=1, send_done_email=False
        )
        wanted = ToStart(edit=edit, most=1)
        return await start(simulator.base_url, simulator.api_key, wanted, clock=SystemClock())
