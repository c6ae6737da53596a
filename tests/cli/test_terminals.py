"""What users see: the command on a real pseudo-terminal, whose screen is looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import download_faults, faults

from .programs import StillClock, for_simulator
from .screens import CTRL_C, on_terminal
from .test_program import LONG, add

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from closebulk_async.simulator import Simulator

EMAIL = "bulkemail_qmjJY85TSmMBqw1MKgL5o3LdSJkvklqfAwfdcjiRYCy"
DELETE = "bulkdelete_asdVYCm54lUM1wNHMS9bDmUcbF1Ryi1cMXlJmNWKdSS"
REF = f"email:{EMAIL}"


@pytest.fixture
def clock() -> StillClock:
    """Now: the command tells ages by the clock of this machine."""
    return StillClock(datetime.now(UTC))


def add_two(sim: Simulator) -> None:
    """One email that runs, and an older delete that was done."""
    started = sim.clock.now() - timedelta(minutes=200)
    sim.add_job(
        "email",
        id=EMAIL,
        status="processing",
        n_objects=200,
        n_objects_processed=50,
        date_created=started,
        date_updated=sim.clock.now(),
    )
    sim.add_job("delete", id=DELETE, status="done", n_objects_processed=100, age=timedelta(days=9.2))


AT: dict[int, Sequence[str]] = {
    120: [
        "                                      ETA status       age ref",
        f"━━━━━━╸━━━━━━━━━━━━━━━━━━━━     25%  ~10h processing    3h {REF}",
        f"━━━━━━━━━━━━━━━━━━━━━━━━━━━    100%       done          9d delete:{DELETE}",
    ],
    80: [
        REF,
        "━━━━━━━╸━━━━━━━━━━━━━━━━━━━━━━     25%  ~10h processing    3h ago",
        f"delete:{DELETE}",
        "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    100%       done          9d ago",
    ],
    40: [
        REF[:40],
        REF[40:],
        "━╺━━━     25%  ~10h processing    3h ago",
        f"delete:{DELETE}"[:40],
        f"delete:{DELETE}"[40:],
        "━━━━━    100%       done          9d ago",
    ],
    24: [
        REF[:24],
        REF[24:48],
        REF[48:],
        "    25% processing    3h",
        f"delete:{DELETE}"[:24],
        f"delete:{DELETE}"[24:48],
        f"delete:{DELETE}"[48:],
        "   100% done          9d",
    ],
}


@pytest.mark.parametrize("columns", AT)
async def test_a_list(sim: Simulator, columns: int) -> None:
    """A table in colours that fits the terminal: a line for each job, or two with the ref, which is never cut."""
    add_two(sim)
    async with on_terminal("ls", env=for_simulator(sim), columns=columns) as terminal:
        assert await terminal.finish() == 0
    assert terminal.shown == AT[columns]
    assert terminal.widest <= max(columns, len(f"delete:{DELETE}"))  # the terminal breaks a ref, and no line end does
    assert terminal.has_colours


async def test_a_list_that_was_cut_says_so(sim: Simulator) -> None:
    """Below the table."""
    add_two(sim)
    async with on_terminal("ls", "--limit", "1", env=for_simulator(sim)) as terminal:
        assert await terminal.finish() == 0
    assert terminal.shown == [*AT[80][:2], "closebulk: there are more than these 1: --limit shows more"]


async def test_an_empty_list(sim: Simulator) -> None:
    """A sentence, and no head of a table without rows."""
    async with on_terminal("ls", env=for_simulator(sim)) as terminal:
        assert await terminal.finish() == 0
    assert terminal.shown == ["closebulk: no actions"]


@pytest.mark.parametrize("arguments", [("ls",), ("watch", REF), ("watch", "--active")])
async def test_no_colours_where_none_are_wanted(sim: Simulator, arguments: tuple[str, ...]) -> None:
    """NO_COLOR takes the colours, and nothing else: bars are drawn, and bars are moved."""
    add_two(sim)
    async with on_terminal(*arguments, env=for_simulator(sim) | {"NO_COLOR": "1"}) as terminal:
        await terminal.until_text("25%")
        if arguments != ("ls",):
            terminal.type(CTRL_C)
        await terminal.finish()
    assert "━" in terminal.written.decode()
    assert not terminal.has_colours


@pytest.mark.parametrize("arguments", [("ls",), ("watch", "--active")])
async def test_a_dumb_terminal_gets_lines(sim: Simulator, arguments: tuple[str, ...]) -> None:
    """Without any control code, and with whole refs."""
    add_two(sim)
    async with on_terminal(*arguments, env=for_simulator(sim) | {"TERM": "dumb"}, columns=200) as terminal:
        await terminal.until_text("25%")
        if arguments != ("ls",):
            terminal.type(CTRL_C)
        await terminal.finish()
    assert b"\x1b" not in terminal.written
    assert any(REF in line for line in terminal.shown)


@pytest.mark.parametrize("arguments", [("watch", REF), ("watch", "--active", "--kind", "email")])
@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (120, [f"{REF} ━━━╸━━━━━━━━━━━     25%                        processing"]),
        (80, ["email:bulkema…jiRYCy ━━━╸━━━━━━━━━━     25%                        processing"]),
        (40, ["email:bulkemail_qmj…jiRYCy processing", "━╸━━━━━     25%"]),
        (24, ["email:…YCy processing", "    25%"]),
    ],
)
async def test_a_watch_that_is_interrupted(
    sim: Simulator, arguments: tuple[str, ...], columns: int, shown: Sequence[str]
) -> None:
    """The bar fits the terminal; Ctrl-C leaves the job alone and says how to go on."""
    add_two(sim)
    async with on_terminal(*arguments, env=for_simulator(sim), columns=columns) as terminal:
        assert await terminal.until_text("25%") == shown
        assert terminal.widest <= columns - 2
        terminal.type(CTRL_C)
        assert await terminal.finish() == 130
    said = f"closebulk: interrupted; the job goes on, watch it with: closebulk watch {REF}"
    after = [said[at : at + columns].rstrip() for at in range(0, len(said), columns)]  # the terminal breaks the line
    assert terminal.shown == [*shown, *after]
    assert not terminal.screen.cursor.hidden
    assert {request.method for request in sim.requests} == {"GET"}


async def test_many_that_are_interrupted(sim: Simulator) -> None:
    """Ctrl-C in a watch of all that runs names the watch itself; what did not fit is not poured out."""
    for place in range(30):
        add(sim, f"bulkemail_{place}", duration=LONG, age=LONG / 4)
    add(sim, "bulkemail_bad", duration=LONG, age=LONG / 4 + 1, ends_well=False)
    async with on_terminal("watch", "--active", env=for_simulator(sim), lines=10) as terminal:
        shown = await terminal.until(lambda lines: "… 22 more: 22 running" in lines)
        terminal.type(CTRL_C)
        assert await terminal.finish() == 130
    said = "closebulk: interrupted; 31 jobs go on, watch them with: closebulk watch --active"
    assert terminal.shown == [*shown[2:], said]
    assert {request.method for request in sim.requests} == {"GET"}


async def test_a_watch_of_what_nobody_may_read(sim: Simulator) -> None:
    """What is left out is said above the bars, and that nothing else is there below."""
    sim.fail_next(faults.forbidden(), path="/delete/", times=2)
    async with on_terminal("watch", "--active", env=for_simulator(sim), columns=120) as terminal:
        assert await terminal.finish() == 0
    first, last = terminal.shown
    assert first.startswith("delete actions are left out: ")
    assert last == "closebulk: nothing that may be read is running"


async def test_a_download(sim: Simulator, tmp_path: Path) -> None:
    """The wait has its bar, and so has the file that is on its way and of which nobody knows how large it is."""
    ref = f"export:{sim.add_export(rows=3, age=timedelta(hours=1)).id}"
    sim.fail_next_download(download_faults.stall(after=10))
    out = tmp_path / "leads.csv"
    async with on_terminal("export", "download", ref, "-o", str(out), env=for_simulator(sim), columns=120) as terminal:
        shown = await terminal.until_text(" download")
        assert [line.split()[-1] for line in shown] == ["done", "download"]
        assert all(line.startswith(f"{ref} ━━━━") for line in shown)
        terminal.type(CTRL_C)
        assert await terminal.finish() == 130
    assert not out.exists()


@pytest.mark.parametrize("breaks_lines", [True, False])
async def test_a_terminal_that_is_resized(sim: Simulator, clock: StillClock, *, breaks_lines: bool) -> None:
    """Nothing of the old drawing is left, whether the terminal breaks lines that are too long, or cuts them off."""
    refs = [add(sim, f"bulkemail_{place}", duration=LONG, age=LONG / 4) for place in range(4)]
    wide = [f"{ref} ━━━━" for ref in refs]

    def is_wide(lines: Sequence[str]) -> bool:
        return len(lines) == 4 and all(line.startswith(start) for line, start in zip(lines, wide, strict=True))

    def is_narrow(lines: Sequence[str]) -> bool:
        return len(lines) == 8 and [*lines[::2]] == [f"{ref:26} processing" for ref in refs]

    env = for_simulator(sim)
    async with on_terminal("watch", *refs, env=env, columns=120, breaks_lines=breaks_lines) as terminal:
        await terminal.until(lambda lines: is_wide(lines) and "25%" in lines[-1])
        terminal.resize(40, 24)
        await terminal.until(lambda lines: is_narrow(lines) and "25%" in lines[-1])
        terminal.resize(40, 5)
        await terminal.until(lambda lines: len(lines) == 5 and lines[-1] == "… 2 more: 2 running")
        terminal.resize(100, 30)
        await terminal.until(lambda lines: is_wide(lines) and "25%" in lines[-1])
        clock.move(LONG)
        assert await terminal.finish() == 0
    assert is_wide(terminal.shown)
    assert all(line.endswith(" 100%                        done") for line in terminal.shown)


async def test_those_that_end_make_room(sim: Simulator, clock: StillClock) -> None:
    """Where not all fit, those that run are shown, and the others are counted; at the end all are there."""
    short = [add(sim, f"bulkemail_short{place}", duration=LONG, age=LONG / 2) for place in range(3)]
    long = [add(sim, f"bulkemail_long{place}", duration=3 * LONG) for place in range(3)]
    async with on_terminal("watch", *short, *long, env=for_simulator(sim), columns=120, lines=4) as terminal:
        await terminal.until(lambda lines: [line.split()[0] for line in lines] == [*short, "…"])
        clock.move(LONG)
        await terminal.until(lambda lines: [line.split()[0] for line in lines] == [*long, "…"])
        assert terminal.shown[-1] == "… 3 more: 3 done"
        clock.move(3 * LONG)
        assert await terminal.finish() == 0
    written = terminal.written.decode().rpartition("\x1b[2K")[2]
    assert all(ref in written for ref in (*short, *long))
