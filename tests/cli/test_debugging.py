"""`--debug`: errors are one line, a traceback follows for those who ask, and no secret is in either."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import faults

from .programs import PIPE, Finished, finish, for_simulator, run

if TYPE_CHECKING:
    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk

TRACEBACK = "Traceback (most recent call last):"

DEFECT = "RuntimeError('broken by ' + os.environ['CLOSE_API_KEY'])"

BROKEN = (
    "import os, sys\n"
    "class Broken:\n"
    "    def find_spec(self, name, *_):\n"
    "        if name == 'closebulk_async.cli.clients': raise eval(sys.argv[1])\n"
    "sys.meta_path.insert(0, Broken())\n"
    "from closebulk_async.cli import main\n"
    "sys.exit(main(sys.argv[2:]))\n"
)
"""The command with a defect: a module of it raises what nobody expects."""


async def run_broken(sim: Simulator, *arguments: str, error: str = DEFECT) -> Finished:
    """Run the command, which raises this."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BROKEN, error, *arguments, env=for_simulator(sim), stdout=PIPE, stderr=PIPE
    )
    return await finish(process)


async def test_a_defect_is_one_line(sim: Simulator) -> None:
    """It fails, names the error, says how to learn more, and hides a key even in what should not have held it."""
    finished = await run_broken(sim, "limits")
    said = "closebulk: RuntimeError: broken by *** (closebulk --debug shows where)\n"
    assert finished == Finished(1, "", said)


async def test_a_defect_with_debug(sim: Simulator) -> None:
    """The line is the same without its advice, and the traceback follows; the key is in neither."""
    finished = await run_broken(sim, "limits", "--debug")
    first, second, *rest = finished.err.splitlines()
    assert (finished.code, finished.out) == (1, "")
    assert (first, second) == ("closebulk: RuntimeError: broken by ***", TRACEBACK)
    assert any("program.py" in line for line in rest)
    assert rest[-1] == "RuntimeError: broken by ***"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("OSError(28, 'No space left on device', 'out.csv')", "out.csv: No space left on device"),
        ("OSError(28, 'No space left on device')", "No space left on device"),
        ("OSError('odd')", "OSError: odd"),
        ("KeyError('a')", "KeyError: 'a'"),
        ("ExceptionGroup('two', [ValueError('a'), ValueError('b')])", "ExceptionGroup: two (2 sub-exceptions)"),
    ],
)
async def test_any_other_error_is_one_line(sim: Simulator, error: str, said: str) -> None:
    """What the operating system refuses is said in its words, else the name of the error is part of it."""
    finished = await run_broken(sim, "limits", error=error)
    assert finished == Finished(1, "", f"closebulk: {said} (closebulk --debug shows where)\n")


@pytest.mark.parametrize("arguments", [("--debug", "get"), ("get", "--debug")])
async def test_errors_of_the_api_show_where_they_come_from(closebulk: Closebulk, arguments: tuple[str, ...]) -> None:
    """After the line, wherever `--debug` stands; the exit code stays."""
    finished = await closebulk(*arguments, "email:bulkemail_nowhere")
    first, second, *_, last = finished.err.splitlines()
    assert (finished.code, finished.out, second) == (1, "", TRACEBACK)
    assert first.startswith("closebulk: GET /bulk_action/email/bulkemail_nowhere/ was answered with 404")
    assert last.startswith("closebulk_async.errors.NotFoundError: ")


@pytest.mark.parametrize(("value", "shows"), [("1", True), ("yes", True), ("0", False), ("", False), ("False", False)])
async def test_the_environment_can_ask_for_it(
    closebulk: Closebulk, monkeypatch: pytest.MonkeyPatch, value: str, *, shows: bool
) -> None:
    """CLOSEBULK_DEBUG=1 is `--debug` for all commands."""
    monkeypatch.setenv("CLOSEBULK_DEBUG", value)
    finished = await closebulk("get", "email:bulkemail_nowhere")
    assert (TRACEBACK in finished.err) is shows


async def test_a_failed_watch_shows_it_too(closebulk: Closebulk) -> None:
    """Also the errors that a command itself takes in: here of one action among several."""
    finished = await closebulk("watch", "email:bulkemail_nowhere", "--debug")
    assert (finished.code, finished.err.splitlines()[1]) == (1, TRACEBACK)
    assert TRACEBACK not in (await closebulk("watch", "email:bulkemail_nowhere")).err


async def test_wrong_usage_keeps_its_code(closebulk: Closebulk) -> None:
    """What was typed wrongly is 2, with `--debug` or without."""
    for arguments in (["get", "nonsense"], ["get", "nonsense", "--debug"]):
        finished = await closebulk(*arguments)
        assert finished.code == 2
        assert finished.err.startswith("closebulk: 'nonsense' is no ref")


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "email:bulkemail_a"),
        ("watch", "email:bulkemail_a", "--timeout", "0.1"),
        ("pause", "email:bulkemail_a"),
        ("outcomes", "email:bulkemail_a"),
        ("limits",),
        ("doctor",),
        ("start", "delete", "--yes", "--query", '{"type": "id", "value": "lead_1"}'),
    ],
)
async def test_no_output_shows_the_key(sim: Simulator, arguments: tuple[str, ...]) -> None:
    """Not with `--debug` either, and not where the service repeats what it was sent."""
    secrets = sim.api_key, base64.b64encode(f"{sim.api_key}:".encode()).decode().rstrip("=")
    echo = " ".join(secrets)
    sim.fail_next(faults.reply(400, json.dumps({"errors": [echo]})), times=None)
    finished = await run(*arguments, "--debug", env=for_simulator(sim))
    assert finished.code in {1, 3}
    assert "***" in finished.out + finished.err
    assert [secret for secret in secrets if secret in finished.out + finished.err] == []
