"""`closebulk fleet`: make a fleet's tables, be one of its workers, look at it, start through it and watch."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from closebulk_async.cli.asking import check_can_ask
from closebulk_async.cli.calls import current
from closebulk_async.cli.exits import ExitCode, complain
from closebulk_async.cli.options import Common, Json, WatchTimeout, examples, read_json, with_common
from closebulk_async.errors import InvalidRequestError
from closebulk_async.models import JobRef, Kind
from closebulk_async.policy import to_seconds_or_none

app: typer.Typer = typer.Typer(
    name="fleet",
    help=(
        "Start and watch through workers on any number of machines, which share a PostgreSQL. CLOSEBULK_DATABASE says "
        "how to connect to it, as libpq takes it; a password is never an argument."
    ),
    epilog=examples("closebulk fleet init", "closebulk fleet worker"),
    rich_markup_mode=None,
    no_args_is_help=True,
)

Account = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Which organization: the name of a profile. `default` is whoever this command is, CLOSE_API_KEY first.",
    ),
]
DEFAULT = "default"


@app.command(epilog=examples("closebulk fleet init"))
def init(*, as_json: Json = False) -> int:
    """Make the tables of a fleet and of its engine, procrastinate, where they are missing.

    May be repeated: after an update it makes what is new. Tables of the engine that are there already stay as they are.
    """
    if (code := _missing_extra()) is not None:
        return code
    from closebulk_async.cli.fleet_sides import init

    return init(as_json=as_json)


@app.command(epilog=examples("closebulk fleet worker", "closebulk fleet worker --concurrency 16"))
def worker(
    *,
    concurrency: Annotated[int, typer.Option(metavar="N", min=1, help="Starts that run at the same time.")] = 8,
    as_json: Json = False,
) -> int:
    """Be a worker of the fleet until SIGTERM or Ctrl-C, and finish then what runs.

    Any number may run, on any number of machines. What one leaves undone, however it ends, others take over. It begins
    only with a key: CLOSE_API_KEY, or a profile, which --profile chooses.
    """
    if (code := _missing_extra()) is not None:
        return code
    from closebulk_async.cli.fleet_sides import work

    return work(concurrency=concurrency, as_json=as_json)


@app.command(epilog=examples("closebulk fleet status", "closebulk fleet status --json"))
def status(*, as_json: Json = False) -> int:
    """Show the workers of the fleet, its starts, and what it polls.

    A process is two workers, one for starts and one for polls, so that neither waits for the other.

    The exit code is 1 where polls are more than a minute late, or starts wait and nobody works.
    """
    if (code := _missing_extra()) is not None:
        return code
    from closebulk_async.cli.fleet_sides import show_status

    return show_status(as_json=as_json)


@app.command(
    epilog=examples(
        "closebulk fleet start email --query leads.json --idempotency-key campaign-2026-11 \\",
        '    --with \'{"template_id": "tmpl_1", "email_account_id": "emailacct_1"}\'',
    )
)
@with_common
def start(
    common: Common,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="email, delete, edit or sequence_subscription.")],
    *,
    own: Annotated[
        str | None,
        typer.Option("--with", metavar="FILE|-|JSON", help="What this kind needs beside a query, as an object."),
    ] = None,
    account: Account = DEFAULT,
) -> int:
    """Start an action on a worker of the fleet, after a question.

    When this command is interrupted, the fleet goes on with the start; the same command with the same
    --idempotency-key tells what became of it. --journal has no effect: the fleet's is in its database.
    """
    if (code := _missing_extra()) is not None:
        return code
    timeout = to_seconds_or_none(common.timeout, name="--timeout")
    if timeout is not None and not common.watch:
        raise InvalidRequestError("--timeout is for --watch; --request-timeout bounds each answer of Close")
    of_kind: Any = read_json(own, name="--with", wanted=dict) or {}
    of_all = common.keywords()
    if clash := sorted(of_kind.keys() & of_all.keys()):
        message = f"--with holds {', '.join(clash)}: each has an option of its own"
        raise InvalidRequestError(message)
    keywords: dict[str, Any] = {**of_kind, **of_all}
    if not (common.yes or common.dry_run):
        check_can_ask()
    _be(account)
    from closebulk_async.cli.fleet_sides import FleetLaunch

    return FleetLaunch(kind=kind, keywords=keywords, common=common, account=account).run()


@app.command(epilog=examples("closebulk fleet watch email:bulkemail_qmjJY85TS", "closebulk fleet watch --account work"))
def watch(
    refs: Annotated[list[str] | None, typer.Argument(metavar="REF", help="The actions to watch.")] = None,
    *,
    account: Account = DEFAULT,
    timeout: WatchTimeout = None,
    as_json: Json = False,
) -> int:
    """Show how far actions are until all have ended: without a REF all that the fleet polls now.

    It sends no request to Close: the workers poll, however many watch. The exit codes are those of `closebulk watch`.
    """
    if (code := _missing_extra()) is not None:
        return code
    seconds = to_seconds_or_none(timeout, name="--timeout")
    wanted = list(dict.fromkeys(map(JobRef.parse, refs or ())))
    _be(account)
    from closebulk_async.cli.fleet_sides import watch

    return watch(wanted, account=account, timeout=seconds, as_json=as_json)


def _be(account: str) -> None:
    """Use the key of that profile in this call, where one is needed at all."""
    if account != DEFAULT:
        current().profile = account


def _missing_extra() -> ExitCode | None:
    try:
        import closebulk_async.integrations.procrastinate  # noqa: F401 - it says which extra is missing
    except ImportError as exc:
        complain(exc)
        return ExitCode.USAGE
    return None
