"""`closebulk doctor`: what keeps bulk actions from working here, and what to do."""

from __future__ import annotations

import asyncio
import shutil
import textwrap
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from closebulk_async.cli.calls import current
from closebulk_async.cli.exits import ExitCode, worst_of
from closebulk_async.cli.options import Json
from closebulk_async.cli.views import has_terminal, print_json


def doctor(
    *,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", envvar="CLOSEBULK_JOURNAL", help="A journal to look at."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Check key, clock, limits, journal and webhooks.

    Each line begins with ok, warn or fail, and ends with what to do where something should be done. It only reads: it
    starts nothing, changes nothing at Close and nothing in the journal. The exit code is 1 where anything failed, and 2
    where there is no key.
    """
    return asyncio.run(_examine(journal, as_json=as_json))


async def _examine(journal: Path | None, *, as_json: bool) -> int:
    from closebulk_async.cli.checking import check
    from closebulk_async.cli.findings import Grade, to_dict

    codes = []
    async with aclosing(check(journal)) as findings:
        async for finding in findings:
            if finding.grade is Grade.FAIL:
                codes.append(ExitCode.USAGE if finding.is_usage else ExitCode.FAILED)
            if as_json:
                print_json(to_dict(finding, redact=current().redact))
            else:
                print(_fit(current().redact(str(finding))), flush=True)
    return worst_of(codes)


def _fit(line: str) -> str:
    """One line, or several as wide as the terminal, of which only the first begins with a grade."""
    if not has_terminal():
        return line
    width = shutil.get_terminal_size().columns
    return textwrap.fill(line, width, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False)
