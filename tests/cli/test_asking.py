"""The question before a start: on a terminal, and where there is none."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Literal

import pytest

from .programs import Finished, answer, asked, finish, for_simulator, read_terminal, run, running
from .starts import DELETE, starts

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk


@pytest.mark.parametrize("answered", ["y", "Yes"])
async def test_yes_starts(sim: Simulator, answered: str) -> None:
    """The question names the deed and the count; standard output stays the ref alone."""
    sim.matches = 1234
    done = await answer(answered, *DELETE, env=for_simulator(sim))
    assert (done.code, done.out) == (0, f"delete:{sim.jobs[0].id}\n")
    assert "\nDelete about 1 234 leads? [y/N] " in done.err


@pytest.mark.parametrize("answered", ["", "n", "yep"])
async def test_anything_else_starts_nothing(sim: Simulator, answered: str) -> None:
    """Whatever is not yes is no, and the command fails, so that what follows it in a shell does not run."""
    done = await answer(answered, *DELETE, env=for_simulator(sim))
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("closebulk: nothing was started\n")
    assert starts(sim) == []


async def test_all_leads_are_said_in_words(sim: Simulator) -> None:
    """Where the query excludes nobody, the question says ALL."""
    sim.matches = 1234
    done = await answer("n", "start", "delete", "--allow-all", env=for_simulator(sim))
    assert "Delete ALL leads (about 1 234)? [y/N] " in done.err


async def test_interrupted_at_the_question(sim: Simulator) -> None:
    """Ctrl-C in place of an answer starts nothing, and says so on a line of its own."""
    async with asked(*DELETE, env=for_simulator(sim)) as (process, terminal, _):
        process.send_signal(signal.SIGINT)
        done = await finish(process)
        shown = os.read(terminal, 4096).decode().replace("\r\n", "\n")
    assert (done.code, done.out) == (130, "")
    assert shown.strip(" ") == "\nclosebulk: interrupted; nothing was started\n"
    assert starts(sim) == []


async def test_the_end_of_input_is_no(sim: Simulator) -> None:
    """Ctrl-D in place of an answer starts nothing, and what is said then begins a line."""
    async with asked(*DELETE, env=for_simulator(sim)) as (process, terminal, _):
        os.write(terminal, b"\x04")
        done = await finish(process)
        shown = os.read(terminal, 4096).decode().replace("\r\n", "\n")
    assert (done.code, done.out, starts(sim)) == (1, "", [])
    assert shown.strip(" ") == "\nclosebulk: nothing was started\n"


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
async def test_half_a_terminal(sim: Simulator, stream: Literal["stdin", "stderr"]) -> None:
    """A question that goes into a file would not be seen, and one that is answered by a file is no question."""
    terminal, its_end = os.openpty()
    async with running(*DELETE, env=for_simulator(sim), **{stream: its_end}) as process:
        os.close(its_end)
        done = await finish(process)
    said = done.err or await asyncio.to_thread(read_terminal, terminal)
    os.close(terminal)
    assert (done.code, sim.requests) == (2, ())
    assert said.startswith("closebulk: there is no terminal to ask on")


async def test_nobody_to_ask(sim: Simulator, closebulk: Closebulk) -> None:
    """Without a terminal and without --yes nothing is sent, not even the count."""
    said = "closebulk: there is no terminal to ask on: --yes goes on without the question\n"
    assert await closebulk(*DELETE) == Finished(2, "", said)
    assert await run(*DELETE, env=for_simulator(sim), typed="y\n") == Finished(2, "", said)
    assert sim.requests == ()
