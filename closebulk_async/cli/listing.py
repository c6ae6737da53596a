"""`closebulk ls`: the newest actions and exports, as a table, as lines or as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer

from closebulk_async.cli.exits import ExitCode, complain
from closebulk_async.cli.options import Json, Kinds, Since
from closebulk_async.cli.texts import describe_row
from closebulk_async.cli.views import action_to_dict, has_terminal, print_json
from closebulk_async.errors import PermissionDeniedError
from closebulk_async.models import Job, Kind


def ls(
    *,
    kind: Kinds = None,
    active: Annotated[bool, typer.Option("--active", help="Only those that have not ended.")] = False,
    since: Since = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many to show.")] = 20,
    as_json: Json = False,
) -> int:
    """List actions and exports, newest first.

    An ETA with a tilde is a guess by the two dates that Close gives of an action: as if it had worked all the time
    between them, at one pace. There is none once it should have ended by that. `closebulk watch` measures.

    Where a ref does not fit beside a bar, each action has two lines. Without a terminal (`closebulk ls | cat`) each is
    one line, its whole ref last. With --json each is Close's own object, with kind and ref added.

    --active reads the lists to their ends, or down to --since: a request for each hundred actions that there ever were.
    """
    return asyncio.run(_list(kind, active=active, since=since, limit=limit, as_json=as_json))


async def _list(
    kinds: Sequence[Kind] | None, *, active: bool, since: timedelta | None, limit: int, as_json: bool
) -> int:
    from closebulk_async.cli.clients import connect

    try:
        async with connect() as close:
            # One more than is shown tells whether there are more.
            jobs = await close.recent(
                kinds=kinds, since=since, limit=limit + 1, fields=None if as_json else ("date_updated",), active=active
            )
    except PermissionDeniedError as exc:
        if kinds:
            raise
        complain("none of the lists may be read", error=exc)  # why, was said of each
        return ExitCode.FAILED
    _show(jobs[:limit], as_json=as_json)
    if len(jobs) > limit:
        complain(f"there are more than these {limit}: --limit shows more")
    elif not jobs:
        which = f"{' or '.join(dict.fromkeys(kinds))} actions" if kinds else "actions"
        complain(f"no {which}{' that run' if active else ''}{'' if since is None else ' in this time'}")
    return ExitCode.DONE


def _show(jobs: Sequence[Job], *, as_json: bool) -> None:
    if as_json:
        for job in jobs:
            print_json(action_to_dict(job))
    elif has_terminal():
        from closebulk_async.cli.tables import print_table

        print_table(jobs)
    else:
        for job in jobs:
            print(describe_row(job))
