"""The examples of the page about queries, executed."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from closebulk_async import Query, lead
from closebulk_async.query import to_query_dict
from closebulk_async.simulator import Simulator

PAGE = Path(__file__).parent.parent / "docs" / "queries.md"
PROGRAM, *EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


async def test_the_program_counts_what_it_would_delete() -> None:
    """The first example runs as a program of its own, sends the query that it shows, and starts nothing."""
    async with Simulator() as simulator:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            env=os.environ | {"CLOSE_API_KEY": simulator.api_key, "CLOSE_BASE_URL": simulator.base_url},
            stdout=subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        assert simulator.jobs == ()
    assert process.returncode == 0
    count, shown = printed.decode().splitlines()
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
