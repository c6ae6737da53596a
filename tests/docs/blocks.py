"""The code blocks of all pages that are read on a code host and on the site, and who checks them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from .pages import PAGES, ROOT, tokens_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OWN_TESTS: Mapping[str, str] = {
    "README.md": "tests/test_readme.py",
    "docs/airflow.md": "tests/airflow/test_page.py",
    "docs/dashboard.md": "tests/dashboard/test_docs_example.py",
    "docs/exports.md": "tests/test_docs.py",
    "docs/fleet.md": "tests/fleet/test_docs_example.py",
    "docs/oauth.md": "tests/test_docs.py",
    "docs/outcomes.md": "tests/test_docs.py",
    "docs/queries.md": "tests/test_query_docs.py",
    "docs/search.md": "tests/test_docs.py",
    "docs/starting-once.md": "tests/test_docs.py",
    "docs/telemetry.md": "tests/integrations/test_docs_example.py",
    "docs/testing.md": "tests/examples/test_testing.py",
    "docs/webhooks.md": "tests/test_webhook_docs.py",
}
"""Pages whose Python blocks need more than a simulator, or of which more is tested: the tests that run all of them."""


def has_tests(text: str) -> bool:
    """Whether pytest finds something in it."""
    return re.search(r"\bdef test_|\bclass Test", text) is not None


@attrs.frozen
class Block:
    """A fenced block: its page relative to the root, the line on which it begins, and its language."""

    page: str
    line: int
    language: str
    text: str

    @property
    def is_tests(self) -> bool:
        """Whether it is a module for pytest, and no program."""
        return has_tests(self.text)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order, those in lists and quotes too."""
    return [
        Block(
            page=page.relative_to(ROOT).as_posix(),
            line=token.map[0] + 1 if token.map else 0,
            language=token.info.partition(" ")[0],
            text=token.content,
        )
        for token in tokens_of(page)
        if token.type in {"fence", "code_block"}
    ]


BLOCKS: Sequence[Block] = [block for page in PAGES for block in blocks_of(page)]


def of(*languages: str) -> list[Block]:
    """The blocks in these languages."""
    return [block for block in BLOCKS if block.language in languages]
