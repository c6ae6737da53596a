"""Whoever doubts a promise can run what would fail: docs/promises.md and SECURITY.md name tests that are there."""

from __future__ import annotations

import re
from pkgutil import resolve_name
from typing import TYPE_CHECKING

import pytest

from .pages import PAGES, ROOT, code_in, named_tests, tables_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from markdown_it.token import Token

HEAD = "the test that would fail"
PROMISES = [
    pytest.param(row, id=f"{page.stem} {number}")
    for page in (ROOT / "docs" / "promises.md", ROOT / "SECURITY.md")
    for number, row in enumerate(
        (row for table in tables_of(page) if table.head[-1] == HEAD for row in table.rows), start=1
    )
]


def test_there_are_promises() -> None:
    """Their tables are known by their head, and found in both pages."""
    assert len(PROMISES) > 50


@pytest.mark.parametrize("row", PROMISES)
def test_a_promise_names_a_test(row: Sequence[Token]) -> None:
    """By file and function, in its last cell, which holds nothing else but targets of make."""
    named = list(named_tests(row[-1:]))
    assert named
    assert [word for word in code_in(row[-1]) if "::" not in word and not word.startswith("make ")] == []
    assert len(named) == sum("::" in word for word in code_in(row[-1]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    """Each is what pytest would run under that name, also where a class has it from another one."""
    for file, name in named_tests(texts_of(page)):
        assert re.fullmatch(r"(Test\w+::)?(test_\w+|runTest)", name), name
        module = file.removesuffix(".py").replace("/", ".")
        assert callable(resolve_name(f"{module}:{name.replace('::', '.')}"))
