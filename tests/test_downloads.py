"""The files of exports: whole and unchanged or not there at all, whatever the connection, the link and the disk do."""

from __future__ import annotations

import asyncio
import gzip
import logging
import stat
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from closebulk_async import (
    APIError,
    BulkActionFailed,
    CloseBulk,
    CloseBulkError,
    DecodeError,
    Export,
    InvalidRequestError,
    RetryPolicy,
    Timeouts,
    TransportError,
    WaitClosedError,
)
from closebulk_async.simulator import ExportPlan, ExportRules, Simulator, download_faults, faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from closebulk_async.simulator import DownloadFault
    from closebulk_async.simulator import Export as Stored
    from closebulk_async.simulator import Fault as AnyFault
    from tests.stage import Stage

TENTHS = [tenth / 10 for tenth in range(10)]


@pytest.fixture
def export(stage: Stage) -> Stored:
    """An export that is done, of some hundred kilobytes that do not pack well."""
    return stage.sim.add_export(plan=ExportPlan(size=300_000, level=1), age=1000)


@pytest.fixture
async def close(stage: Stage) -> AsyncIterator[CloseBulk]:
    """A client that tries more often than any of these tests fails in a row."""
    async with stage.client(retry=RetryPolicy(attempts=4)) as client:
        yield client


def packed(export: Stored) -> bytes:
    """What the store has."""
    return b"".join(export.file.packed())


def unpacked(export: Stored) -> bytes:
    """What is in it."""
    return b"".join(export.file.unpacked())


def left_in(folder: Path) -> list[str]:
    """The names of all files in a folder, also those that begin with a dot."""
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_is_saved_unpacked(stage: Stage, export: Stored, tmp_path: Path) -> None:
    """Byte by byte what was packed, readable by its owner alone, in place of what stood there."""
    path = tmp_path / "leads.csv"
    path.write_text("old")
    download = stage.close.exports.download(export.id, path)
    steps = [step async for step in download]
    assert await download == path
    assert path.read_bytes() == unpacked(export)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert left_in(tmp_path) == ["leads.csv"]
    assert [step.is_final for step in steps] == [*[False] * (len(steps) - 1), True]
    assert (steps[-1].fraction, steps[-1].bytes_done, steps[-1].bytes_total) == (1.0, *2 * [len(packed(export))])
    done = [step.bytes_done for step in steps]
    assert done == sorted(done)


async def test_a_file_may_stay_packed(stage: Stage, export: Stored, tmp_path: Path) -> None:
    """Then it is what was sent, and gzip reads it."""
    path = await stage.close.exports.download(export.id, str(tmp_path / "leads.csv.gz"), decompress=False)
    assert path.read_bytes() == packed(export)
    assert gzip.decompress(path.read_bytes()) == unpacked(export)


async def test_no_key_is_sent_along(stage: Stage, export: Stored, tmp_path: Path) -> None:
    """The store would refuse it; nor anything else that tells who asks."""
    await stage.close.exports.download(export.id, tmp_path / "x")
    (request,) = stage.sim.downloads
    assert request.status == 200
    assert not {"authorization", "cookie", "x-tz-offset"} & request.headers.keys()
    assert stage.sim.requests[-1].headers["authorization"]


@pytest.mark.parametrize("decompress", [True, False])
@pytest.mark.parametrize(
    "rules", [ExportRules(), ExportRules(in_members=True), ExportRules(etag="md5", content_md5=True)]
)
@pytest.mark.parametrize("tenth", TENTHS)
async def test_a_cut_at_each_tenth_ends_in_the_same_file(
    stage: Stage, tmp_path: Path, rules: ExportRules, tenth: float, *, decompress: bool
) -> None:
    """Gone on from where it was: no byte is sent twice."""
    stage.sim.export_rules = rules
    export = stage.sim.add_export(plan=ExportPlan(size=200_000, level=1), age=1000)
    size = len(packed(export))
    stage.sim.fail_next_download(download_faults.cut(after=int(size * tenth)))
    path = await stage.close.exports.download(export.id, tmp_path / "x", decompress=decompress)
    assert path.read_bytes() == (unpacked(export) if decompress else packed(export))
    assert left_in(tmp_path) == ["x"]
    assert sum(request.n_bytes for request in stage.sim.downloads) == size
    assert [request.range for request in stage.sim.downloads] == [
        None,
        f"bytes={int(size * tenth)}-" if tenth else None,
    ]


async def test_many_cuts_are_as_harmless_as_one(
    close: CloseBulk, sim_of: Simulator, export: Stored, tmp_path: Path
) -> None:
    """Whoever gets further each time has all attempts again."""
    for _ in range(12):
        sim_of.fail_next_download(download_faults.cut(after=len(packed(export)) // 20))
    path = await close.exports.download(export.id, tmp_path / "x")
    assert path.read_bytes() == unpacked(export)


@pytest.fixture
def sim_of(stage: Stage) -> Simulator:
    """The simulator of the stage."""
    return stage.sim


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        (ExportRules(accepts_ranges=False), None),
        (ExportRules(etag=None), None),
        (ExportRules(), download_faults.ignored_range()),
        (ExportRules(), download_faults.misplaced_range(7)),
        (ExportRules(announces_length=False), None),
    ],
)
@pytest.mark.parametrize("decompress", [True, False])
async def test_without_parts_it_begins_anew(
    stage: Stage, tmp_path: Path, rules: ExportRules, fault: DownloadFault | AnyFault | None, *, decompress: bool
) -> None:
    """Two halves of which nobody says that they belong together are never joined."""
    stage.sim.export_rules = rules
    export = stage.sim.add_export(plan=ExportPlan(size=100_000, level=1), age=1000)
    stage.sim.fail_next_download(download_faults.cut(after=20_000))
    if fault is not None:
        stage.sim.fail_next_download(fault)
    path = await stage.close.exports.download(export.id, tmp_path / "x", decompress=decompress)
    assert path.read_bytes() == (unpacked(export) if decompress else packed(export))
    stage.sim.fail_next_download(download_faults.cut(after=20_000))
    if fault is not None:
        stage.sim.fail_next_download(fault)
    pieces = [piece async for piece in stage.close.exports.stream(export.id, decompress=decompress)]
    assert b"".join(pieces) == path.read_bytes()


@pytest.mark.parametrize("fault", [download_faults.corrupt(30_000), download_faults.wrong_length(-1000)])
@pytest.mark.parametrize("decompress", [True, False])
async def test_a_damaged_file_is_never_saved(
    stage: Stage, export: Stored, tmp_path: Path, fault: DownloadFault | AnyFault, *, decompress: bool
) -> None:
    """Gzip's own checksum tells, also where the file is kept packed; what stood there stays."""
    path = tmp_path / "x"
    path.write_text("old")
    stage.sim.fail_next_download(fault, times=None)
    with pytest.raises(DecodeError):
        await stage.close.exports.download(export.id, path, decompress=decompress)
    assert path.read_text() == "old"
    assert left_in(tmp_path) == ["x"]
    with pytest.raises(DecodeError):
        async for _ in stage.close.exports.stream(export.id, decompress=decompress):
            pass


async def test_a_length_that_is_too_large_is_no_whole_file(
    close: CloseBulk, sim_of: Simulator, export: Stored, tmp_path: Path
) -> None:
    """What the server announced has to come."""
    sim_of.fail_next_download(download_faults.wrong_length(1000), times=None)
    with pytest.raises(CloseBulkError):
        await close.exports.download(export.id, tmp_path / "x")
    assert left_in(tmp_path) == []


async def test_a_link_that_has_expired_is_replaced(stage: Stage, export: Stored, tmp_path: Path) -> None:
    """Before the download and in the middle of it; the export is read again for a fresh one."""
    stage.sim.export_rules = ExportRules(shows_counts=True)  # all fields are known, so that nothing is read before
    known = await stage.close.exports.get(export.id)
    await stage.clock.sleep(2 * stage.sim.export_rules.link_lifetime)
    stage.sim.fail_next_download(download_faults.cut(after=1000), skip=1)
    path = await stage.close.exports.download(known, tmp_path / "x")
    assert path.read_bytes() == unpacked(export)
    assert [request.status for request in stage.sim.downloads] == [403, 200, 206]


async def test_links_that_are_refused_for_ever_end_it(
    close: CloseBulk, sim_of: Simulator, export: Stored, tmp_path: Path
) -> None:
    """After a few fresh ones; nothing that a link is signed with is shown."""
    sim_of.fail_next_download(faults.reply(403, "<Error>secret</Error>"), times=None)
    with pytest.raises(APIError) as caught:
        await close.exports.download(export.id, tmp_path / "x")
    assert caught.value.status == 403
    assert len(sim_of.downloads) <= 10
    assert "secret" not in str(caught.value)
    assert left_in(tmp_path) == []


async def test_no_output_shows_a_link(
    close: CloseBulk, sim_of: Simulator, export: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has it has the file."""
    caplog.set_level(logging.DEBUG, logger="closebulk_async")
    known = await close.exports.get(export.id)
    assert known.download_url is not None
    signature = known.download_url.partition("?")[2]
    assert signature
    for fault in (
        faults.cut_before(),
        download_faults.cut(after=10),
        faults.server_error(503),
        download_faults.corrupt(99),
    ):
        sim_of.fail_next_download(fault)
    with pytest.raises(CloseBulkError) as caught:
        await close.exports.download(known, tmp_path / "x")
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {known!r} {caplog.text}"
    assert signature not in shown


@pytest.mark.parametrize("fault", [download_faults.stall(after=5000), faults.hang()])
async def test_silence_does_not_last(tmp_path: Path, fault: DownloadFault | AnyFault) -> None:
    """What stops coming is asked for again; a machine on which that happens more often only tries again."""
    patient = RetryPolicy(attempts=50, max_wait=60)
    async with Simulator() as sim, sim_client(sim, retry=patient, timeouts=Timeouts(total=0.25)) as close:
        export = sim.add_export(plan=ExportPlan(size=50_000, level=1), age=1000)
        sim.fail_next_download(fault)
        path = await close.exports.download(export.id, tmp_path / "x")
        assert path.read_bytes() == unpacked(export)
        assert len(sim.downloads) >= 2


def sim_client(sim: Simulator, *, retry: RetryPolicy, timeouts: Timeouts) -> CloseBulk:
    """A client by the time of the machine."""
    return CloseBulk(sim.api_key, base_url=sim.base_url, retry=retry, timeouts=timeouts)


async def test_a_server_that_is_down_ends_it(
    close: CloseBulk, sim_of: Simulator, export: Stored, tmp_path: Path
) -> None:
    """As any other request, after as many attempts."""
    sim_of.fail_next_download(faults.cut_before(), times=None)
    with pytest.raises(TransportError):
        await close.exports.download(export.id, tmp_path / "x")
    assert 4 <= len(sim_of.downloads) <= 8  # aiohttp sends a GET again by itself
    assert left_in(tmp_path) == []


async def test_leaving_removes_what_was_written(stage: Stage, export: Stored, tmp_path: Path) -> None:
    """By a break, a cancelled task, or the last reference; whoever awaits it then is told."""
    download = stage.close.exports.download(export.id, tmp_path / "x")
    async with download as steps:
        await anext(steps)
        assert left_in(tmp_path) != []
    assert left_in(tmp_path) == []
    with pytest.raises(WaitClosedError):
        await download
    large = stage.sim.add_export(plan=ExportPlan(size=5_000_000, level=1), age=1000)
    second = stage.close.exports.download(large.id, tmp_path / "y")
    await anext(second)
    assert left_in(tmp_path) != []
    task = asyncio.create_task(second.result())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_in(tmp_path) == []


async def test_what_is_not_done_is_not_fetched(stage: Stage, tmp_path: Path) -> None:
    """The error says what to do; one that has failed raises as its wait does."""
    running = stage.sim.add_export(plan=ExportPlan(duration=1000))
    with pytest.raises(InvalidRequestError, match="wait_until_done"):
        await stage.close.exports.download(running.id, tmp_path / "x")
    failed = stage.sim.add_export(plan=ExportPlan(ends="error"), age=1000)
    with pytest.raises(BulkActionFailed):
        await stage.close.exports.download(failed.id, tmp_path / "x")
    assert stage.sim.downloads == ()


async def test_where_nothing_can_be_written_nothing_is_asked_for(stage: Stage, export: Stored, tmp_path: Path) -> None:
    """A folder that is not there, or a folder in the place of the file."""
    for path in (tmp_path / "no" / "x", tmp_path):
        with pytest.raises((InvalidRequestError, OSError)):
            await stage.close.exports.download(export.id, path)
    assert stage.sim.downloads == ()


async def test_a_stream_gives_the_file_in_pieces(stage: Stage, export: Stored) -> None:
    """Of bounded size, unpacked or as they are sent, also over cuts; leaving early leaves nothing open."""
    stage.sim.fail_next_download(download_faults.cut(after=50_000))
    pieces = [piece async for piece in stage.close.exports.stream(export.id)]
    assert b"".join(pieces) == unpacked(export)
    assert max(map(len, pieces)) < 1_000_000
    assert b"".join([piece async for piece in stage.close.exports.stream(export.id, decompress=False)]) == packed(
        export
    )
    async with aclosing(stage.close.exports.stream(export.id)) as stream:
        await anext(stream)
    assert await stage.nothing_is_left()


async def test_a_download_that_nobody_uses_warns(stage: Stage, export: Stored, tmp_path: Path) -> None:
    """As a forgotten coroutine does."""
    download = stage.close.exports.download(export.id, tmp_path / "x")
    with pytest.warns(RuntimeWarning, match="never awaited"):
        del download


async def test_odd_links_are_not_followed(stage: Stage, tmp_path: Path) -> None:
    """A link to no web server is an answer that does not fit."""
    stage.sim.export_rules = ExportRules()
    export = stage.sim.add_export(age=1000, download_url="file:///etc/passwd", status="done")
    with pytest.raises(DecodeError, match="leads nowhere"):
        await stage.close.exports.download(Export.from_dict({"id": export.id}), tmp_path / "x")
    assert left_in(tmp_path) == []
