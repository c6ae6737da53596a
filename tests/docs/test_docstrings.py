"""Every example in a docstring is executed: blocks after `::` as programs or modules of tests, `>>>` by doctest."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from .blocks import has_tests
from .pages import ROOT
from .running import run, run_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = sorted((ROOT / "closebulk_async").rglob("*.py"))


@attrs.frozen
class Docstring:
    """One docstring, of a module, class, function or, below an assignment, of what was assigned."""

    path: Path
    line: int
    text: str

    @property
    def examples(self) -> list[str]:
        """Its blocks of code: what is indented after a paragraph that ends with two colons."""
        blocks = re.findall(r"::\n\n((?: {4}.*\n|\n)+)", self.text + "\n")
        return [inspect.cleandoc(block) + "\n" for block in blocks]

    @property
    def is_odd(self) -> bool:
        """Whether something is indented by four, as code is, that is neither after `::` nor in a list."""
        rest = re.sub(r"::\n\n((?: {4}.*\n|\n)+)", "", self.text + "\n")
        return bool(re.search(r"(?<!\n)\n\n {4}\S", rest))

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.line}"


def docstrings_of(path: Path) -> Iterator[Docstring]:
    """All docstrings of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield Docstring(path=path, line=child.lineno, text=inspect.cleandoc(text))


DOCSTRINGS = [each for path in FILES for each in docstrings_of(path)]
EXAMPLES = [
    pytest.param(example, id=f"{each} {number}") for each in DOCSTRINGS for number, example in enumerate(each.examples)
]
IN_SESSIONS = sorted({each.path for each in DOCSTRINGS if ">>>" in each.text})


@pytest.mark.parametrize("example", EXAMPLES)
async def test_an_example_runs(example: str, tmp_path: Path, pytester: pytest.Pytester) -> None:
    """A module of tests passes, and any other block is a program that ends well beside a simulator."""
    if has_tests(example):
        # Of a suite, which other tests run whole, the first ones show that the example is right.
        assert run_tests(example, pytester, most=2).keys() == {"passed"}
        return
    (ran,) = await run(example, tmp_path)
    assert ran.is_well, ran


@pytest.mark.parametrize("path", IN_SESSIONS, ids=lambda path: path.stem)
def test_what_is_typed_gives_what_is_shown(path: Path) -> None:
    """Lines after `>>>` print what stands below them."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    ran = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert (ran.failed, ran.attempted > 0) == (0, True)


def test_code_stands_after_two_colons() -> None:
    """Else it would be shown as prose, and not be executed."""
    assert [str(each) for each in DOCSTRINGS if each.is_odd] == []


def test_there_are_examples() -> None:
    """Both forms of them are found."""
    assert len(EXAMPLES) > 5
    assert IN_SESSIONS


def test_code_is_told_from_prose() -> None:
    """What is indented after `::` is an example; without it, or in a list, it is not."""
    path = ROOT / "closebulk_async" / "client.py"
    assert Docstring(path=path, line=1, text="A::\n\n    x = 1\n\n    y = 2\n\nB.").examples == ["x = 1\n\ny = 2\n"]
    assert Docstring(path=path, line=1, text="A.\n\n    x = 1\n").is_odd
    assert not Docstring(path=path, line=1, text="A::\n\n    x = 1\n").is_odd
    assert not Docstring(path=path, line=1, text="- a list\n    that goes on").is_odd
