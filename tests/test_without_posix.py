"""The package where Python has nothing that only POSIX has: what works all the same, and what is promised less."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from closebulk_async.intents import State
from closebulk_async.simulator import Simulator, faults
from closebulk_async.testing.chaos.children import until
from tests.cli.programs import environment, finish, for_simulator, running_program
from tests.journals import said_by

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

WITHOUT = (sys.executable, "-W", "error", "-m", "tests.without_posix")
WITH_LOCKS = (*WITHOUT, "--with-locks")
"""As on Windows, which has its own."""

IN_DEVELOPMENT = (sys.executable, "-X", "dev", "-W", "error", "-bb", "-c")
"""Any Python, when it tells of all that it finds odd."""

IMPORTING = """
import importlib, pkgutil
import closebulk_async

for module in pkgutil.walk_packages(closebulk_async.__path__, "closebulk_async."):
    if not module.name.endswith(".__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as exc:
            print(module.name, exc)
"""

OWNING = """
import asyncio, sys
from closebulk_async.sqlite_journal import SqliteJournal
from tests.journals import posting

async def main(path, state):
    async with SqliteJournal(path) as journal:
        owner = await journal.enter()
        if state == "posting":
            await posting(journal, owner=owner)
        print(owner, flush=True)
        sys.stdin.readline()

asyncio.run(main(*sys.argv[1:]))
"""

JUDGING = """
import asyncio, sys
from closebulk_async.sqlite_journal import SqliteJournal

async def main(path, owner):
    async with SqliteJournal(path) as journal:
        print(await journal.is_dead(owner))

asyncio.run(main(*sys.argv[1:]))
"""

STARTING = """
import asyncio, datetime, logging, sys
from closebulk_async import AmbiguousStartError, CloseBulk
from closebulk_async.testing import FakeClock

async def main(base_url, api_key, path, hours):
    logging.disable()
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=float(hours))
    query = {"type": "id", "value": "lead_1"}
    async with CloseBulk(api_key, base_url=base_url, journal=path, clock=FakeClock(now)) as close:
        try:
            print((await close.deletes.create(s_query=query, idempotency_key="once")).ref)
        except AmbiguousStartError as exc:
            print(exc.intent.state, exc)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def service() -> AsyncIterator[Simulator]:
    """A simulator in real time, for other processes."""
    async with Simulator() as simulator:
        yield simulator


@asynccontextmanager
async def running(*command: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """A program, which is killed at the end of the block."""
    async with running_program(*command, env=env or environment(), stdin=subprocess.PIPE) as process:
        yield process


async def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """What a program says that ends well and complains of nothing."""
    async with running(*command, env=env) as process:
        finished = await finish(process, typed="")
    assert (finished.code, finished.err) == (0, "")
    return finished.out


@pytest.mark.parametrize("command", [WITHOUT, WITH_LOCKS, IN_DEVELOPMENT])
async def test_every_module_is_imported(command: tuple[str, ...]) -> None:
    """All but those whose library is not here, which say so."""
    said = (await run(*command, IMPORTING)).splitlines()
    assert [line for line in said if "Airflow 3.3 or newer is not installed" not in line] == []


async def test_command_works(service: Simulator) -> None:
    """It shows its help, and lists what runs."""
    assert (await run(*WITHOUT, "-m", "closebulk_async.cli", "--help")).startswith("Usage: closebulk")
    job = service.add_job("email", status="done")
    listed = await run(*WITHOUT, "-m", "closebulk_async.cli", "ls", "--json", env=for_simulator(service))
    assert job.id in listed


async def test_simulator_ends_with_its_parent() -> None:
    """A loop that takes no signals is no reason not to serve."""
    async with running(*WITHOUT, "-m", "closebulk_async.simulator", "--exit-with-stdin") as process:
        assert (await said_by(process)).startswith("http://127.0.0.1:")
        assert (await finish(process, typed="")).code == 0


async def test_without_locks_a_killed_owner_is_silent_and_never_dead(tmp_path: Path) -> None:
    """Nothing frees the mark of a process that was killed, so that nothing is concluded from it."""
    path = str(tmp_path / "journal.db")
    async with running(*WITHOUT, OWNING, path, "posting") as process:
        owner = await said_by(process)
        assert await run(*WITHOUT, JUDGING, path, owner) == "False\n"
    assert await run(*WITHOUT, JUDGING, path, owner) == "False\n"
    assert not (tmp_path / "journal.db.owners").exists()


async def test_without_locks_an_owner_that_ended_in_order_is_dead(tmp_path: Path) -> None:
    """It said so itself, when its journal was closed."""
    path = str(tmp_path / "journal.db")
    async with running(*WITHOUT, OWNING, path, "posting") as process:
        owner = await said_by(process)
        assert (await finish(process, typed="\n")).code == 0
    assert await run(*WITHOUT, JUDGING, path, owner) == "True\n"


@pytest.mark.parametrize(("command", "n_posts"), [(WITHOUT, 1), (WITH_LOCKS, 2)])
async def test_start_of_a_killed_process(
    tmp_path: Path, service: Simulator, command: tuple[str, ...], n_posts: int
) -> None:
    """Its key sends the start again where its end is proved, and where nobody can know it the start stays in doubt."""
    given = (service.base_url, service.api_key, str(tmp_path / "journal.db"))
    service.fail_next(faults.hang(), method="POST")
    async with running(*command, STARTING, *given, "0"):
        await until(lambda: posts_of(service) == 1)
    said = await run(*command, STARTING, *given, "1")
    assert said.startswith("delete:" if n_posts == 2 else f"{State.POSTING} ")
    assert (posts_of(service), len(service.jobs)) == (n_posts, n_posts - 1)


async def test_files_of_the_dead_are_cleared_away_where_open_files_stay(tmp_path: Path) -> None:
    """Windows removes no file that is open: it is closed before."""
    path = str(tmp_path / "journal.db")
    async with running(*WITH_LOCKS, OWNING, path, "idle") as process:
        owner = await said_by(process)
        assert owners_of(tmp_path) == [owner]
    assert await run(*WITH_LOCKS, JUDGING, path, "another") == "False\n"
    assert owners_of(tmp_path) == []


async def test_doctor_does_not_guess_who_uses_a_journal(tmp_path: Path, service: Simulator) -> None:
    """Without locks it says that this cannot be known."""
    path = str(tmp_path / "journal.db")
    await run(*WITHOUT, JUDGING, path, "another")
    command = (*WITHOUT, "-m", "closebulk_async.cli", "doctor", "--journal", path)
    said = await run(*command, env=for_simulator(service))
    assert "0 intents are open; who uses it just now cannot be known on this system" in " ".join(said.split())


def owners_of(folder: Path) -> list[str]:
    """Whose files stand beside the journal."""
    return [file.stem for file in folder.glob("*.owners/*")]


def posts_of(sim: Simulator) -> int:
    """How many starts have reached the service."""
    return sum(request.method == "POST" for request in sim.requests)
