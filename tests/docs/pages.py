"""What stands in a page: its links, headings, tables, and what it sets in code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from markdown_it import MarkdownIt
from markdown_it.token import Token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
PAGES: Sequence[Path] = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"])
"""Those that are read on a code host and on the site."""

READER = MarkdownIt().enable("table")


@attrs.frozen
class Table:
    """The texts of a head, and below it the cells of each row, as they were parsed."""

    head: Sequence[str]
    rows: Sequence[Sequence[Token]]


@cache
def tokens_of(page: Path) -> Sequence[Token]:
    """A page, parsed once."""
    return READER.parse(page.read_text(encoding="utf-8"))


def texts_of(page: Path) -> Iterator[Token]:
    """Each paragraph, heading and cell of a table."""
    return (token for token in tokens_of(page) if token.type == "inline")


def code_in(*texts: Token) -> list[str]:
    """What stands between backticks."""
    return [child.content for text in texts for child in text.children or () if child.type == "code_inline"]


def code_of(page: Path) -> list[str]:
    """What stands between backticks anywhere in a page."""
    return code_in(*texts_of(page))


def links_of(page: Path) -> list[str]:
    """Where its links lead and its pictures come from, those of its own repository."""
    found = (
        str(child.attrs.get("href") or child.attrs.get("src") or "")
        for text in texts_of(page)
        for child in text.children or ()
        if child.type in {"link_open", "image"}
    )
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors_of(page: Path) -> set[str]:
    """What a link may name of a page after `#`: its headings, as a code host and the site spell them."""
    tokens = tokens_of(page)
    titles = (text.content for head, text in pairwise(tokens) if head.type == "heading_open")
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def tables_of(page: Path) -> list[Table]:
    """All of its tables, in order."""
    tables: list[tuple[list[str], list[list[Token]]]] = []
    for before, token in pairwise(tokens_of(page)):
        match before.type:
            case "table_open":
                tables.append(([], []))
            case "th_open":
                tables[-1][0].append(token.content)
            case "tr_open" if tables[-1][0]:
                tables[-1][1].append([])
            case "td_open":
                tables[-1][1][-1].append(token)
    return [Table(head=head, rows=rows) for head, rows in tables]


def named_tests(texts: Iterable[Token]) -> Iterator[tuple[str, str]]:
    """File and name of each test that is set in code as pytest knows it.

    A file that was named in the same paragraph or cell need not be named again: `tests/test_a.py::test_x`, `::test_y`.
    """
    for text in texts:
        file = ""
        for word in code_in(text):
            path, mark, name = word.partition("::")
            if mark and re.fullmatch(r"(tests/[\w/]+\.py)?", path):
                file = path or file
                yield file, name


@cache
def make_targets() -> frozenset[str]:
    """What can be asked of make."""
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
