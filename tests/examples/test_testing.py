"""The tests of examples/testing pass for whoever runs them, and the page about testing shows them as they are."""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING

import attrs
import pytest

from closebulk_async.simulator import Plan, Simulator, faults
from closebulk_async.testing import FakeClock
from tests.cli.programs import finish, running_program
from tests.docs.blocks import blocks_of
from tests.docs.pages import code_of

from .programs import EXAMPLES

if TYPE_CHECKING:
    from tests.traps import Trap

FOLDER = EXAMPLES / "testing"
PAGE = EXAMPLES.parent / "docs" / "testing.md"
NAMES = sorted(path.name for path in FOLDER.glob("test_*.py"))
OF_STORES = "test_own_stores.py"
"""The longest one has a process of its own, beside that of the others."""


@pytest.mark.parametrize(
    "names", [[OF_STORES], [name for name in NAMES if name != OF_STORES]], ids=["stores", "others"]
)
async def test_they_pass_in_a_process_of_their_own(names: list[str], trap: Trap) -> None:
    """With their own configuration and warnings as errors, whatever the environment says about Close."""
    options = ("-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    paths = [str(FOLDER / name) for name in names]
    async with running_program(sys.executable, *options, *paths, env=trap.env) as process:
        done = await finish(process)
    assert done.code == 0, done.out + done.err
    assert re.fullmatch(r"\d+ passed in .*", done.lines[-1])
    assert trap.caught == []


def test_the_page_names_all_that_a_test_can_set() -> None:
    """Each setting and method of the simulator, each fault, each part of a plan and each method of the clock."""
    named = set(re.findall(r"\w+", " ".join(code_of(PAGE))))
    makers = {
        name for name, made in inspect.getmembers(faults, inspect.isfunction) if made.__module__ == faults.__name__
    }
    there = {*dir(Simulator), *dir(FakeClock), *(field.name for field in attrs.fields(Plan)), *makers}
    assert {name for name in there if not name.startswith("_")} - named == set()


def test_the_page_shows_them_as_they_are() -> None:
    """Each file is one of its blocks, and each block with a test is one of the files."""
    shown = [block.text for block in blocks_of(PAGE) if block.is_tests]
    assert sorted(shown) == sorted((FOLDER / name).read_text(encoding="utf-8") for name in NAMES)


def test_the_page_shows_how_they_are_set_up() -> None:
    """What it sets besides is what the folder's own files set."""
    others = {block.language: block.text for block in blocks_of(PAGE) if not block.is_tests}
    for language, name in (("python", "conftest.py"), ("ini", "pytest.ini")):
        lines = [line for line in others[language].splitlines() if not line.startswith("#")]
        assert set(lines) <= set((FOLDER / name).read_text(encoding="utf-8").splitlines())
