"""The table of examples: nothing is missing, and what it tells to type can be typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import code_of, links_of

from .programs import EXAMPLES, run

if TYPE_CHECKING:
    from tests.traps import Trap

README = EXAMPLES / "README.md"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("[!_]*.py"))


def test_every_file_is_in_the_table() -> None:
    """Each file of the folder is named by a link."""
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert {link for link in links_of(README) if "/" not in link} == there


def test_every_program_is_run_as_it_is_called() -> None:
    """The commands of the table are those of the programs, one each."""
    typed = (re.match(r"python examples/(\w+\.py)", word) for word in code_of(README))
    assert sorted(found[1] for found in typed if found) == PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
async def test_help_is_given_without_a_simulator(name: str, trap: Trap) -> None:
    """It names `--live`, and nothing is started for it."""
    shown = await run(name, "--help", env=trap.env)
    assert (shown.code, shown.err) == (0, "")
    assert "talk to Close, with CLOSE_API_KEY" in shown.out
    assert trap.caught == []


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize("options", [("--seconds", "-1"), ("--seconds", "inf"), ("--leads", "-1"), ("--leads", "x")])
def test_a_wrong_number_is_refused(options: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the option and the value."""
    from _simulator import make_parser

    with pytest.raises(SystemExit) as left:
        make_parser("An example.").parse_args(options)
    assert left.value.code == 2
    assert f"argument {options[0]}: invalid" in (said := capsys.readouterr().err)
    assert f"'{options[1]}'" in said
