"""The guides: their programs run, their tests pass, their commands exist, and their links lead somewhere."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Plan, Simulator
from tests.examples.promql import read_expression

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
GUIDES = (DOCS / "start.md", DOCS / "testing.md", *sorted((DOCS / "guides").glob("*.md")))
CONFTEST = 'pytest_plugins = ["closebulk_async.testing.plugin"]'


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of that language on a page."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def is_test(block: str) -> bool:
    """Whether pytest is to run it."""
    return "def test_" in block or "class Test" in block


def python_blocks(*, tests: bool) -> Iterator[object]:
    """Those that are tests, or those that are programs, each with the place where it stands."""
    for page in GUIDES:
        if tests and page.name == "testing.md":
            continue  # files of examples/testing, where they are run
        for number, block in enumerate(blocks(page, "python")):
            if is_test(block) is tests:
                yield pytest.param(block, id=f"{page.stem}-{number}")


def commands() -> Iterator[object]:
    """Each line of the pages that calls the command."""
    for page in GUIDES:
        for block in blocks(page, "console"):
            for line in re.findall(r"^\$ (closebulk .*)", block, re.MULTILINE):
                yield pytest.param(line, id=f"{page.stem} {line[:40]}")


@pytest.mark.parametrize("block", [*python_blocks(tests=False)])
async def test_a_program_ends_well(block: str, tmp_path: Path) -> None:
    """And once more on what it has left behind, without a second job where it has keys."""
    async with Simulator(plan=Plan(duration=0.2, n_objects=10)) as simulator:
        env = os.environ | {"CLOSE_API_KEY": simulator.api_key, "CLOSE_BASE_URL": simulator.base_url}
        made = []
        for _ in range(2 if "idempotency_key" in block else 1):
            command = (sys.executable, "-W", "error", "-c", block)
            process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=env, stderr=subprocess.PIPE)
            _, complaints = await process.communicate()
            assert (process.returncode, complaints) == (0, b"")
            made.append(len(simulator.jobs))
    assert len(set(made)) == 1


@pytest.mark.parametrize("block", [*python_blocks(tests=True)])
def test_a_test_passes(pytester: pytest.Pytester, block: str) -> None:
    """In a suite of its own."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(block)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-W", "error", "-o", "asyncio_mode=auto",
        "-o", "asyncio_default_fixture_loop_scope=function",
    )  # fmt: skip
    result.assert_outcomes(passed=block.count("def test_"))


@pytest.mark.parametrize("line", [*commands()])
def test_a_command_can_be_typed(line: str) -> None:
    """It and its options are there."""
    import typer.main

    from closebulk_async.cli.program import app

    command = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    names = list(takewhile(lambda word: not word.startswith("-"), words))
    while names and (below := getattr(command, "commands", {}).get(names[0])) is not None:
        command = below
        del names[0]
    assert not getattr(command, "commands", {}), "a command is missing"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if re.match(r"--?[a-z]", word)} <= known
    assert len(names) <= sum(parameter.param_type_name == "argument" for parameter in command.params)


def test_alerts_can_be_read() -> None:
    """Each expression of the table asks for something."""
    page = (DOCS / "guides" / "dashboard.md").read_text(encoding="utf-8")
    asked = [read_expression(text) for text in re.findall(r"`([^`]*\bclosebulk_\w+[^`]*)`", page)]
    assert len(asked) == 6
    assert all(each.metrics for each in asked)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Every relative link names a file, and a heading of it where it says one."""
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    for target, heading in links:
        path = (page.parent / target) if target else page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
