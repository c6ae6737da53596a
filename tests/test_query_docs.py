"""The examples of the page about queries, executed."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from closebulk_async import Query, lead
from closebulk_async.query import to_query_dict
from closebulk_async.simulator import Simulator
from tests.docs.blocks import blocks_of
from tests.docs.pages import ROOT
from tests.docs.running import run_beside

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "queries.md"
PROGRAM, *EXAMPLES = (block.text for block in blocks_of(PAGE) if block.language == "python")


async def test_the_program_counts_what_it_would_delete(tmp_path: Path) -> None:
    """The first example runs as a program of its own, sends the query that it shows, and starts nothing."""
    async with Simulator() as simulator:
        ran = await run_beside(simulator, PROGRAM, tmp_path)
    assert (ran.is_well, ran.jobs) == (True, 0)
    count, shown = ran.printed.splitlines()
    assert re.fullmatch(r"this would delete \d+ leads", count)
    assert ast.literal_eval(shown) == lead.name.full_words("ACME Inc.").to_dict()


def test_each_line_of_the_other_examples_makes_a_query() -> None:
    """The blocks run one after the other; what stands there as an expression is a query that can be sent."""
    names: dict[str, Any] = {}
    made = 0
    for example in EXAMPLES:
        for statement in ast.parse(example).body:
            if isinstance(statement, ast.Expr):
                query = eval(compile(ast.Expression(statement.value), PAGE.name, "eval"), names)  # noqa: S307 - our own page
                assert isinstance(query, Query)
                assert Query.from_dict(to_query_dict(query)) == query
                made += 1
            else:
                exec(compile(ast.Module([statement], []), PAGE.name, "exec"), names)  # noqa: S102 - our own page
    assert made > 20
