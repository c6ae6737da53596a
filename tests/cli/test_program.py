"""`closebulk` against a simulator: as a process where signals, terminals and pipes matter, else in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from closebulk_async.cli import main
from closebulk_async.simulator import faults
from closebulk_async.version import __version__
from tests.peers import ACME

from .programs import COMMAND, PIPE, Finished, finish, for_simulator, read_terminal, read_until, run, running

if TYPE_CHECKING:
    from pathlib import Path

    from closebulk_async.simulator import Simulator

    from .conftest import Closebulk
    from .programs import StillClock

COMMANDS = ("watch", "ls", "get", "pause", "resume", "start", "recover", "adopt", "abandon", "demo")
STARTS = ("email", "delete", "edit", "sequence")

LONG = 1000.0
"""Seconds of a job that ends only when a test moves the clock."""


def add(sim: Simulator, id: str, *, duration: float = 0.0, age: float = 0.0, ends_well: bool = True) -> str:
    """Put a bulk email of 100 objects there; the ref of it."""
    plan = sim.plan.changed({"duration": duration, "ends": "done" if ends_well else "error", "counting": 0.0})
    return f"email:{sim.add_job('email', plan=plan, age=age, id=id).id}"


async def test_watch_prints_a_line_for_each_step(sim: Simulator, clock: StillClock) -> None:
    """Without a terminal a watch is plain lines from the first answer to the last, and exits with 0 when it is done."""
    ref = add(sim, "bulkemail_a", duration=LONG, age=LONG / 4)
    async with running("watch", ref, env=for_simulator(sim) | {"FORCE_COLOR": "1"}) as process:
        assert await read_until(process, ref) == f"{ref}: processing, 25 of 100 (25%)"
        clock.move(LONG)
        done = await finish(process)
    assert (done.code, done.out, done.err) == (0, f"{ref}: done, 100 of 100 (100%)\n", "")


async def test_watch_prints_json(sim: Simulator, closebulk: Closebulk) -> None:
    """With --json standard output is one object for each step, the last one final."""
    ref = add(sim, "bulkemail_a")
    done = await closebulk("watch", "--json", ref)
    (step,) = map(json.loads, done.lines)
    assert (done.code, done.err) == (0, "")
    assert (step["ref"], step["status"], step["fraction"], step["error"]) == (ref, "done", 1.0, None)


async def test_watch_of_a_failed_action(sim: Simulator, closebulk: Closebulk) -> None:
    """One action that failed makes the exit code 1, though others are done or still run; the reason is one line."""
    refs = add(sim, "bulkemail_a"), add(sim, "bulkemail_b", ends_well=False), add(sim, "bulkemail_c", duration=LONG)
    failed = await closebulk("watch", *refs, "--timeout", "0.3")
    assert failed.code == 1
    assert f"{refs[0]}: done, 100 of 100 (100%)" in failed.lines
    assert f"{refs[1]}: error, 50 of 100 (50%)" in failed.lines
    assert failed.err.splitlines() == [
        f"closebulk: {refs[1]}: the action failed; the API gives no reason",
        f"closebulk: {refs[2]}: still running after 0:00:00.300000; the job goes on",
        f"closebulk: to go on watching: closebulk watch {refs[2]}",
    ]


async def test_watch_times_out(sim: Simulator, closebulk: Closebulk) -> None:
    """An action that still runs after --timeout makes the exit code 3, and nothing was changed at the server."""
    refs = add(sim, "bulkemail_a"), add(sim, "bulkemail_c", duration=LONG)
    late = await closebulk("watch", *refs, "--timeout", "0.3", "--json")
    assert late.code == 3
    assert "still running" in json.loads(late.lines[-1])["error"]
    assert late.err.splitlines()[-1] == f"closebulk: to go on watching: closebulk watch {refs[1]}"
    assert {request.method for request in sim.requests} == {"GET"}


async def test_watch_of_what_cannot_be_read(closebulk: Closebulk) -> None:
    """An action that is not there is a failure, said in one line, and with --json as an object too."""
    lost = await closebulk("watch", "--json", "email:bulkemail_nowhere")
    assert lost.code == 1
    found = json.loads(lost.out)
    assert found.keys() == {"ref", "error"}
    assert "404 Not Found" in found["error"]
    assert lost.err == f"closebulk: email:bulkemail_nowhere: {found['error']}\n"


async def test_a_ref_that_is_given_twice_is_watched_once(sim: Simulator, closebulk: Closebulk) -> None:
    """Repeated refs are one action, in lines and in requests."""
    ref = add(sim, "bulkemail_a")
    done = await closebulk("watch", ref, ref)
    assert (done.code, len(done.lines), len(sim.requests)) == (0, 1, 1)


async def test_failed_polls_are_shown_from_the_first_one_on(sim: Simulator, closebulk: Closebulk) -> None:
    """A server that fails before it ever answered is not waited for in silence, and does not end the watch."""
    ref = add(sim, "bulkemail_a")
    sim.fail_next(faults.server_error(503))
    done = await closebulk("watch", ref)
    assert (done.code, done.lines) == (0, [f"{ref}: done, 100 of 100 (100%)"])
    assert done.err.startswith(f"closebulk: poll of {ref} failed: ")
    assert "503 Service Unavailable" in done.err
    assert len(done.err.splitlines()) == 1


async def test_an_interrupted_watch_says_how_to_go_on(sim: Simulator) -> None:
    """After Ctrl-C the exit code is 130, and the command that goes on names the actions that still run."""
    refs = add(sim, "bulkemail_a", duration=LONG), add(sim, "bulkemail_b"), add(sim, "bulkemail_c", duration=LONG)
    async with running("watch", *refs, env=for_simulator(sim)) as process:
        for _ in refs:  # in whatever order: each has answered
            await read_until(process, ": ")
        process.send_signal(signal.SIGINT)
        interrupted = await finish(process)
    command = f"closebulk watch {refs[0]} {refs[2]}"
    assert interrupted.code == 130
    assert interrupted.err == f"closebulk: interrupted; 2 jobs go on, watch them with: {command}\n"
    assert {request.method for request in sim.requests} == {"GET"}


async def test_an_interrupted_watch_of_one(sim: Simulator) -> None:
    """With one action the sentence is about one, with --json as well."""
    ref = add(sim, "bulkemail_a", duration=LONG)
    async with running("watch", "--json", ref, env=for_simulator(sim)) as process:
        await read_until(process, ref)
        process.send_signal(signal.SIGINT)
        interrupted = await finish(process)
    assert interrupted.code == 130
    assert interrupted.err == f"closebulk: interrupted; the job goes on, watch it with: closebulk watch {ref}\n"


async def test_a_terminal_gets_bars(sim: Simulator, clock: StillClock) -> None:
    """On a terminal an action is one line that is drawn again, and the cursor comes back at the end."""
    ref = add(sim, "bulkemail_a", duration=LONG)
    terminal, its_end = os.openpty()
    env = for_simulator(sim) | {"TERM": "xterm", "COLUMNS": "90"}
    process = await asyncio.create_subprocess_exec(*COMMAND, "watch", ref, env=env, stdout=its_end, stderr=PIPE)
    os.close(its_end)
    seen = await asyncio.to_thread(read_terminal, terminal, "processing")
    clock.move(LONG)
    seen += await asyncio.to_thread(read_terminal, terminal)
    os.close(terminal)
    done = await finish(process)
    assert (done.code, done.err) == (0, "")
    assert seen.index("\x1b[?25l") < seen.index("processing") < seen.rindex("done") < seen.rindex("\x1b[?25h")
    assert "100%" in seen


async def test_a_dumb_terminal_gets_lines(sim: Simulator) -> None:
    """A terminal that cannot move its cursor is written to as a file is."""
    ref = add(sim, "bulkemail_a")
    terminal, its_end = os.openpty()
    env = for_simulator(sim) | {"TERM": "dumb"}
    process = await asyncio.create_subprocess_exec(*COMMAND, "watch", ref, env=env, stdout=its_end, stderr=PIPE)
    os.close(its_end)
    seen = await asyncio.to_thread(read_terminal, terminal)
    os.close(terminal)
    assert (await finish(process)).code == 0
    assert seen == f"{ref}: done, 100 of 100 (100%)\r\n"


async def test_other_commands_can_be_interrupted(sim: Simulator, clock: StillClock) -> None:
    """Ctrl-C ends a command that waits for an answer, with the exit code 130 and without a traceback."""
    sim.fail_next(faults.delay(LONG))
    async with running("ls", env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        assert await finish(process) == Finished(130, "", "")


async def test_an_export_that_is_interrupted_early_may_be_in_the_list(
    sim: Simulator, clock: StillClock, tmp_path: Path
) -> None:
    """Before Close has answered nobody knows its ref: where to look for it is said."""
    sim.fail_next(faults.delay(LONG))
    command = ("export", "leads", "--format", "csv", "--out", str(tmp_path / "leads.csv"))
    async with running(*command, env=for_simulator(sim)) as process:
        await clock.is_waited_for.wait()
        process.send_signal(signal.SIGINT)
        clock.may_go_on.set()
        said = "closebulk: interrupted; an export may have been made: closebulk ls --kind export\n"
        assert await finish(process) == Finished(130, "", said)


async def test_what_the_server_says_cannot_reach_the_terminal(sim: Simulator, closebulk: Closebulk) -> None:
    """Control codes in a status or in a field are replaced; letters that the encoding lacks do not end the program."""
    sim.add_job("email", id="bulkemail_odd", status="odd\x1b[31m\u65e5", sender="a\x1b]0;b")
    env = for_simulator(sim) | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    listed = await run("ls", env=env)
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.startswith(r"odd?[31m\u65e5 ")
    shown = await closebulk("get", "email:bulkemail_odd")
    assert "  sender: a?]0;b" in shown.lines
    assert "\x1b" not in listed.out + shown.out


async def test_get_shows_every_field(sim: Simulator, closebulk: Closebulk) -> None:
    """A read action is its row and then each field of the service's; its own failure is no failure of reading it."""
    ref = add(sim, "bulkemail_a", ends_well=False)
    shown = await closebulk("get", ref)
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[0].endswith(f"  {ref}")
    snapshot = sim.jobs[0].snapshot(sim.clock.now())
    assert sorted(line.strip().split(":")[0] for line in shown.lines[2:]) == sorted(snapshot)
    assert shown.lines[1] == "  matches: every lead: nothing is excluded"
    assert "  status: error" in shown.lines
    assert "  n_leads_processed: 50" in shown.lines
    whole = await closebulk("get", ref, "--json")
    added = {"kind": "email", "ref": ref, "matches": "every lead: nothing is excluded"}
    assert json.loads(whole.out) == added | snapshot


async def test_get_tells_the_query_in_words(sim: Simulator, closebulk: Closebulk) -> None:
    """Whom an action is about can be read without knowing that JSON; a legacy query is a text already."""
    sim.add_job("delete", id="bulkdelete_a", s_query=ACME)
    sim.add_job("delete", id="bulkdelete_b", query="acme")
    shown = await closebulk("get", "delete:bulkdelete_a")
    assert shown.lines[1] == '  matches: leads whose name has the words "ACME"'
    in_json = json.loads((await closebulk("get", "delete:bulkdelete_a", "--json")).out)
    assert in_json["matches"] == 'leads whose name has the words "ACME"'
    assert "matches" not in (await closebulk("get", "delete:bulkdelete_b")).out
    assert json.loads((await closebulk("get", "delete:bulkdelete_b", "--json")).out)["matches"] is None


async def test_errors_of_the_api_are_one_line(closebulk: Closebulk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is refused is a failure, not wrong usage; the key is not shown."""
    monkeypatch.setenv("CLOSE_API_KEY", "api_wrong")
    said = "closebulk: GET /bulk_action/email/ was answered with 401 Unauthorized: Unauthorized\n"
    assert await closebulk("ls", "--kind", "email") == Finished(1, "", said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("watch", "email:bulkemail_a"),
        ("ls",),
        ("watch", "--active"),
        ("get", "email:bulkemail_a"),
        ("pause", "email:bulkemail_a"),
        ("resume", "email:bulkemail_a"),
        ("start", "delete", "--yes", "--query", '{"type": "id", "value": "lead_1"}'),
        ("recover", "--journal", __file__),
        ("adopt", "intent", "email:bulkemail_a", "--yes", "--journal", __file__),
        ("abandon", "intent", "--yes", "--journal", __file__),
    ],
)
async def test_nothing_happens_without_a_key(
    sim: Simulator, closebulk: Closebulk, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Commands other than the demo need CLOSE_API_KEY: without it they send nothing and exit with 2."""
    monkeypatch.delenv("CLOSE_API_KEY")
    complaint = "closebulk: no API key: set CLOSE_API_KEY, or keep a key: closebulk login --api-key\n"
    assert await closebulk(*arguments) == Finished(2, "", complaint)
    assert sim.requests == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wacth",), "No such command 'wacth'"),
        (("watch",), "give one or more REF, or --active"),
        (("watch", "email:bulkemail_a", "--active"), "give one or more REF, or --active"),
        (("watch", "email:bulkemail_a", "--kind", "email"), "--kind is for --active"),
        (("watch", "--active", "--kind", "mail"), "--kind"),
        (("watch", "--active", "--timeout", "-1"), "--timeout must be"),
        (("watch", "bulkemail_a"), "'bulkemail_a' is no ref: expected KIND:ID"),
        (("watch", "email:a/b"), "'a/b' is no id"),
        (("watch", "mail:bulkemail_a"), "'mail' is no kind"),
        (("watch", "email:bulkemail_a", "--timeout", "-1"), "--timeout must be"),
        (("watch", "email:bulkemail_a", "--timeout", "nan"), "--timeout must be"),
        (("watch", "email:bulkemail_a", "--timeout", "soon"), "--timeout"),
        (("ls", "--kind", "emails"), "'emails' is not one of 'email', 'delete', 'edit', 'sequence_subscription'"),
        (("ls", "--limit", "0"), "--limit"),
        (("ls", "--since", "7"), "Invalid value for '--since': '7' is no length of time: expected a number and a unit"),
        (("ls", "--since", "99999w"), "is no length of time"),
        (("ls", "--since", "-1d"), "is no length of time"),
        (("list", "--kind", "email"), "No such command 'list'"),
        (("get", "bulkemail_a"), "'bulkemail_a' is no ref"),
        (("get", "email:bulkemail_a", "--jsno"), "No such option"),
        (("start", "mail"), "(closebulk start --help)"),
        (("export", "leads", "--format", "csv", "--out", "."), "Invalid value for '--out' / '-o': "),
        (("start", "email", "--sendr", "a"), "(closebulk start email --help)"),
        (("pause",), "Missing argument 'REF'. (closebulk pause --help)"),
        (("resume", "bulkemail_a"), "'bulkemail_a' is no ref"),
        (("demo", "--leads", "-1"), "--leads"),
        (("demo", "--seconds", "inf"), "--seconds must be"),
        (("demo", "--kind", "mail"), "--kind"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be understood is said in one line on standard error, with the exit code 2, and nothing is sent."""
    monkeypatch.setenv("CLOSE_API_KEY", "api_test")
    monkeypatch.setenv("CLOSE_BASE_URL", "http://127.0.0.1:9/api/v1")  # an answer from there would be another code
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("closebulk: ")
    assert said in err
    assert "Value error" not in err


def test_a_base_url_that_makes_no_sense_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CLOSE_BASE_URL that would send the key unencrypted is refused with the exit code 2."""
    monkeypatch.setenv("CLOSE_API_KEY", "api_test")
    monkeypatch.setenv("CLOSE_BASE_URL", "http://close.example/api/v1")
    assert main(["ls"]) == 2
    assert "is not encrypted" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is that of the package; the help names the commands and the exit codes."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"closebulk {__version__}\n"
    assert main(["-h"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {command} " in shown for command in COMMANDS)
    assert "130 interrupted" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("command", [*([each] for each in COMMANDS), *(["start", each] for each in STARTS)])
def test_every_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help ends with what can be typed, on lines that are as they were written."""
    assert main([*command, "--help"]) == 0
    _, _, shown = capsys.readouterr().out.partition("\n  Example")
    lines = shown.splitlines()[1:]
    assert lines
    assert all(line.startswith("    ") for line in lines)
    assert lines[0].startswith(f"    closebulk {' '.join(command)} ")


async def test_a_reader_that_leaves_ends_the_program(sim: Simulator) -> None:
    """When nobody reads the output any more, as after `| head -1`, the program ends without a complaint."""
    refs = add(sim, "bulkemail_a"), add(sim, "bulkemail_b", duration=LONG)
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "watch", *refs, env=for_simulator(sim), stdout=writing, stderr=PIPE
    )
    os.close(writing)
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")


@pytest.mark.parametrize("missing", ["typer", "rich"])
async def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    """Without typer or rich the command names the extra in one line and exits with 2."""
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"  # what importing an absent module comes down to
        "from closebulk_async.cli import main\n"
        "sys.exit(main(['--version']))\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=PIPE)
    ended = await finish(process)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "closebulk needs the extra 'cli': pip install 'closebulk-async[cli]'\n"


async def test_it_can_be_interrupted_while_it_is_imported() -> None:
    """Ctrl-C in the moment before the command begins is no traceback either."""
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from closebulk_async.cli import main\n"
        "sys.exit(main(['--version']))\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=PIPE)
    assert await finish(process) == Finished(130, "", "")


def test_any_standard_output_will_do() -> None:
    """A program that calls `main` may have put another object in the place of standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["--version"]) == 0
    assert out.getvalue() == f"closebulk {__version__}\n"


async def test_another_missing_module_is_not_hidden() -> None:
    """A module of something else that cannot be imported is a defect, and shows itself as one."""
    code = "import sys; sys.modules['attrs'] = None\nfrom closebulk_async.cli import main\nmain(['--version'])\n"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=PIPE)
    ended = await finish(process)
    assert ended.code == 1
    assert "import of attrs halted" in ended.err


async def test_help_needs_neither_aiohttp_nor_the_bars() -> None:
    """What a command alone needs is imported by that command: asking for help stays quick."""
    code = (
        "import sys\nfrom closebulk_async.cli import main\nmain(['--help'])\n"
        "print(sorted({'aiohttp', 'rich.live'} & set(sys.modules)))\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=PIPE)
    assert (await finish(process)).lines[-1] == "[]"
