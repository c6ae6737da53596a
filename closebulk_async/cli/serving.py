"""`closebulk dashboard`: a page that shows what runs, for as long as the command does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closebulk_async.cli.exits import ExitCode, complain
from closebulk_async.cli.options import Json


def dashboard(
    *,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Where to listen; 0 takes any.")] = 8765,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen. Where others can reach it, it needs a token.")
    ] = "127.0.0.1",
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="CLOSEBULK_JOURNAL", exists=True, dir_okay=False, help="Show its open starts too."
        ),
    ] = None,
    fleet: Annotated[
        bool, typer.Option("--fleet", help="Show what the fleet of CLOSEBULK_DATABASE polls; ask Close nothing.")
    ] = False,
    allow_control: Annotated[
        bool, typer.Option("--allow-control", help="Let those who see it pause and resume actions.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which it may be called, that of a proxy say; then it needs a token. Repeatable.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show in the browser what runs and what ran lately, until Ctrl-C.

    It only looks: nothing changes at Close, unless --allow-control is given and somebody presses a button. Where
    CLOSEBULK_DASHBOARD_TOKEN is set, the page asks for that token. Below the address that it prints there are /metrics
    for Prometheus and /healthz.
    """
    try:
        import closebulk_async.dashboard  # noqa: F401 - it says which extra is missing
    except ImportError as exc:
        complain(exc)
        return ExitCode.USAGE
    from closebulk_async.cli.dashboards import Serving

    return Serving(
        host=host,
        port=port,
        journal=journal,
        allows_control=allow_control,
        allowed_hosts=tuple(allow_host or ()),
        as_json=as_json,
        shows_fleet=fleet,
    ).run()
