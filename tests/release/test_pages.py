"""The pages for those who report, contribute and release name what there is."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

import pytest

from closebulk_async import journal_tables
from closebulk_async.integrations import postgres_tables, task_state
from tests.release.locks import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = tuple(ROOT / name for name in ("SECURITY.md", "CONTRIBUTING.md", "docs/deprecation.md", "docs/releasing.md"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code(page: Path) -> Iterator[str]:
    """What stands between backticks in a page."""
    yield from re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))


@each_page
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """Paths, and what its links lead to."""
    named = {word for word in code(page) if re.fullmatch(r"(closebulk_async|tests|docs|requirements)/[\w./-]+", word)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@each_page
def test_targets_that_a_page_names_are_those_of_make(page: Path) -> None:
    """A command that one copies does something."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for words in code(page) for target in re.findall(r"\bmake ([a-z-]+)", words)}
    assert named - targets == set()


@each_page
def test_names_of_the_package_that_a_page_shows_are_there(page: Path) -> None:
    """`closebulk_async.errors`, `closebulk_async.CloseBulkDeprecationWarning`."""
    for dotted in {word for word in code(page) if re.fullmatch(r"closebulk_async(\.\w+)+", word)}:
        module, _, name = dotted.rpartition(".")
        if not hasattr(importlib.import_module(module), name):
            importlib.import_module(dotted)  # which raises where there is no such module


def test_the_policy_has_the_versions_of_the_tables() -> None:
    """Whoever adds a version tells how the older one becomes it."""
    text = (ROOT / "docs" / "deprecation.md").read_text(encoding="utf-8")
    versions = re.findall(
        r"^\| (?:a journal|what an Airflow).* \| (\d+)(?:, the only one so far)? \|", text, re.MULTILINE
    )
    known = (journal_tables.SCHEMA_VERSION, postgres_tables.SCHEMA_VERSION, task_state.VERSION)
    assert [int(version) for version in versions] == [*known]
