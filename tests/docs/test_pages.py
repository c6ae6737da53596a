"""What pages name is there: files, headings, targets of make, names of the package; and their tables can be read."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from closebulk_async import journal_tables
from closebulk_async.integrations import postgres_tables, task_state
from tests.examples.promql import read_expression

from .pages import PAGES, ROOT, anchors_of, code_of, links_of, make_targets

if TYPE_CHECKING:
    from pathlib import Path

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
FOLDERS = "benchmarks|closebulk_async|docs|examples|requirements|tests"
LOGGERS = {"closebulk_async.events"}
"""Names that look like those of modules."""


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Every link into the repository names a file, and a heading of it where it says one; every picture is there."""
    for link in map(unquote, links_of(page)):
        target, _, heading = link.partition("#")
        path = page.parent / target if target else page
        assert path.exists(), link
        assert not heading or heading in anchors_of(path), link


@each_page
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """Paths that are set in code."""
    named = {word for word in code_of(page) if re.fullmatch(rf"({FOLDERS})/[\w./-]+", word)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@each_page
def test_targets_that_a_page_names_are_those_of_make(page: Path) -> None:
    """A command that one copies does something."""
    named = {target for words in code_of(page) for target in re.findall(r"\bmake ([a-z-]+)", words)}
    assert named - make_targets() == set()


@each_page
def test_names_of_the_package_that_a_page_shows_are_there(page: Path) -> None:
    """`closebulk_async.errors`, `closebulk_async.CloseBulkDeprecationWarning`."""
    dotted = {word for word in code_of(page) if re.fullmatch(r"closebulk_async(\.\w+)+", word)}
    assert [name for name in sorted(dotted - LOGGERS) if not is_there(name)] == []


def is_there(dotted: str) -> bool:
    """Whether it is a module, which may lack its library here, or a name of one."""
    with suppress(ModuleNotFoundError):
        if find_spec(dotted) is not None:
            return True
    module, _, name = dotted.rpartition(".")
    return hasattr(import_module(module), name)


def test_names_in_the_design_are_names_in_the_code() -> None:
    """A name with a dot that begins with a module of the package leads to something there."""
    modules = {path.stem for path in (ROOT / "closebulk_async").glob("*.py")}
    words = (word for word in code_of(ROOT / "docs" / "design.md") if re.fullmatch(r"[a-z_]+\.\w[\w.]*", word))
    named = [name.partition(".") for name in words if name.partition(".")[0] in modules]
    assert named
    for module, _, path in named:
        attrgetter(path)(import_module(f"closebulk_async.{module}"))


@each_page
def test_rows_of_tables_have_as_many_cells_as_their_heads(page: Path) -> None:
    """A pipe begins a cell in code as well, unless a backslash stands before it: renderers drop what is too much."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_alerts_can_be_read() -> None:
    """Each expression of the guide's table asks for a metric."""
    words = code_of(ROOT / "docs" / "guides" / "dashboard.md")
    asked = [read_expression(word) for word in words if re.search(r"\bclosebulk_\w", word)]
    assert len(asked) == 6
    assert all(each.metrics for each in asked)


def test_the_policy_has_the_versions_of_the_tables() -> None:
    """Whoever adds a version tells how the older one becomes it."""
    text = (ROOT / "docs" / "deprecation.md").read_text(encoding="utf-8")
    versions = re.findall(
        r"^\| (?:a journal|what an Airflow).* \| (\d+)(?:, the only one so far)? \|", text, re.MULTILINE
    )
    known = (journal_tables.SCHEMA_VERSION, postgres_tables.SCHEMA_VERSION, task_state.VERSION)
    assert [int(version) for version in versions] == [*known]
