"""The pages that promise something name tests and commands that are there."""

from __future__ import annotations

import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "docs" / name for name in ("promises.md", "comparison.md", "design.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Each test file, and each target of make, that the page names exists."""
    text = page.read_text(encoding="utf-8")
    assert [path for path in re.findall(r"`(tests/[\w/.]*)`", text) if not (ROOT / path).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


def test_names_in_the_design_are_names_in_the_code() -> None:
    """A name with a dot that begins with a module of the package leads to something there."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "closebulk_async").glob("*.py")}
    named = [name for name in re.findall(r"`([a-z_]+\.\w[\w.]*)`", text) if name.partition(".")[0] in modules]
    assert named
    for name in named:
        module, _, path = name.partition(".")
        attrgetter(path)(import_module(f"closebulk_async.{module}"))
