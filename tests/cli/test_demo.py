"""`closebulk demo`: what it says, what it leaves behind, and that it never gets near Close."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from closebulk_async import CloseBulk, Kind
from closebulk_async.cli.demo import Demo, SimulatorError, read_address, stop
from closebulk_async.simulator import Simulator
from closebulk_async.testing import FakeClock
from tests.traps import set_trap

from .programs import COMMAND, PIPE, environment, finish, read_terminal, read_until, run, running

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.traps import Trap

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/api/v1")


@pytest.fixture
async def trap(tmp_path: Path) -> AsyncIterator[Trap]:
    """A trap that notes every connection."""
    async with set_trap(tmp_path) as trap:
        yield trap


@asynccontextmanager
async def connected(base_url: str) -> AsyncIterator[asyncio.StreamReader]:
    """A connection to a simulator that is held open: it ends when the simulator does."""
    match = ADDRESS.search(base_url)
    assert match
    reader, writer = await asyncio.open_connection("127.0.0.1", int(match[1]))
    try:
        yield reader
    finally:
        writer.close()


async def test_the_trap_works(trap: Trap) -> None:
    """Any other command does go where the environment says."""
    ended = await run("watch", "email:bulkemail_a", "--timeout", "0", env=trap.env)
    assert ended.code == 3
    assert trap.caught


KINDS = ("email", "delete", "edit", "sequence_subscription")


async def test_a_demo_runs_to_its_end_and_never_meets_close(trap: Trap) -> None:
    """A demo of any kind says what it does, ends done, and opens no connection but to its own simulator."""
    options = ("--leads", "30", "--seconds", "0.3")
    demos = await asyncio.gather(*(run("demo", "--kind", kind, *options, env=trap.env) for kind in KINDS))
    for kind, done in zip(KINDS, demos, strict=True):
        assert (done.code, done.err) == (0, "")
        first, sent, *steps, ended, last = done.lines
        assert ADDRESS.match(first)
        assert first.endswith(" is a simulator of Close's API on this machine. Nothing is sent to Close.")
        assert sent.startswith(f"Sent POST /bulk_action/{kind}/, for a query that matches 30 leads. ")
        assert steps[-1].startswith(f"{kind}:")
        assert steps[-1].endswith(": done, 30 of 30 (100%)")
        assert steps[-1].split(": ")[0] in sent
        assert re.fullmatch(r"The job is done: 30 of 30 leads in (<1|\d+)s\.", ended)
        assert last == "The simulator has been stopped."
    assert trap.caught == []


async def test_a_demo_prints_json(trap: Trap) -> None:
    """With --json standard output is the steps alone, and the sentences are on standard error."""
    done = await run("demo", "--leads", "0", "--seconds", "0", "--json", env=trap.env)
    assert done.code == 0
    assert [json.loads(line)["status"] for line in done.lines][-1] == "done"
    assert "is a simulator" in done.err
    assert "The job is done: 0 of 0 leads" in done.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_demo_that_is_killed_leaves_nothing_behind(number: signal.Signals) -> None:
    """However a demo is ended, its simulator ends as well."""
    async with running("demo", "--seconds", "1000", env=environment()) as process:
        async with connected(await read_until(process, "is a simulator")) as simulator:
            process.send_signal(number)
            assert await simulator.read() == b""
        assert await process.wait() == -number


async def test_an_interrupted_demo_says_what_became_of_the_job() -> None:
    """After Ctrl-C the exit code is 130; the job has gone with the simulator, and one at Close would not have."""
    async with running("demo", "--seconds", "1000", env=environment()) as process:
        async with connected(await read_until(process, "is a simulator")) as simulator:
            line = await read_until(process, "processed")
            process.send_signal(signal.SIGINT)
            assert await simulator.read() == b""
        interrupted = await finish(process)
    assert interrupted.code == 130
    assert interrupted.err.splitlines() == [
        "closebulk: interrupted: the simulator has been stopped, and its job with it",
        f"closebulk: a job at Close goes on; this would watch it: closebulk watch {line.rsplit(': ', 1)[0]}",
    ]


async def test_a_demo_that_is_interrupted_early_has_no_job_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the action was started there is nothing to go on with."""
    Demo(kind=Kind.EMAIL, leads=1, seconds=1.0, as_json=False).explain_interrupt()
    assert capsys.readouterr().err == "closebulk: interrupted: the simulator has been stopped, and its job with it\n"


async def test_a_demo_on_a_terminal_breaks_sentences_but_no_refs() -> None:
    """On a narrow terminal sentences end at words, a ref stays in one piece, and the bar is drawn below."""
    terminal, its_end = os.openpty()
    env = environment(TERM="xterm", COLUMNS="40", LINES="30")
    process = await asyncio.create_subprocess_exec(*COMMAND, "demo", "--seconds", "0", env=env, stdout=its_end)
    os.close(its_end)
    seen = await asyncio.to_thread(read_terminal, terminal)
    os.close(terminal)
    assert await process.wait() == 0
    lines = seen.splitlines()
    (ref,) = {word for word in seen.split() if word.startswith("email:") and word.endswith(",")}
    assert f"job {ref}" not in lines  # it does not fit behind other words
    assert ref in lines
    assert all(len(line) <= 40 for line in lines if "\x1b" not in line and ref not in line)
    assert "━" in seen


async def test_a_demo_whose_job_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """What did not end well is not called done, and makes the exit code 1."""
    clock = FakeClock()
    async with (
        Simulator(clock=clock) as sim,
        CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock) as close,
    ):
        sim.next_job(ends="error")
        assert await Demo(kind=Kind.EDIT, leads=1, seconds=1.0, as_json=False).start_and_follow(close) == 1
    out, err = capsys.readouterr()
    assert "is done" not in out
    assert "the action failed" in err


@asynccontextmanager
async def child(code: str) -> AsyncIterator[Process]:
    """A Python process with pipes, as the simulator is started."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "it said nothing"),
        ("print('https://api.close.com/api/v1')", "it said 'https://api.close.com/api/v1'"),
        ("print('http://127.0.0.1:80@api.close.com/api/v1')", "did not start"),
    ],
)
async def test_only_an_address_of_this_machine_is_believed(code: str, said: str) -> None:
    """What does not begin by saying an address on this machine is not taken for a simulator."""
    async with child(code) as process:
        with pytest.raises(SimulatorError, match=re.escape(said)):
            await read_address(process)


async def test_a_simulator_that_says_nothing_is_given_up() -> None:
    """A process that hangs is not waited for without end: neither for its address nor for its end."""
    async with child("import time; time.sleep(1000)") as process:
        with pytest.raises(SimulatorError, match="it said nothing"):
            await read_address(process, patience=0.0)
        await stop(process, patience=0.0)
        assert process.returncode == -signal.SIGKILL
