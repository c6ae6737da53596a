"""The commands of `closebulk`, their options and exit codes.

`demo` starts a simulator and never talks to Close. All others use `CLOSE_API_KEY`, and `CLOSE_BASE_URL` if it is set.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from closebulk_async.cli.exits import ExitCode, code_of, complain, is_missing_key, watch_command
from closebulk_async.cli.texts import cleaned, describe_row
from closebulk_async.cli.views import Lines, choose_view, print_json
from closebulk_async.errors import CloseBulkError
from closebulk_async.models import BulkAction, JobRef, Kind
from closebulk_async.policy import PollPolicy, to_seconds, to_seconds_or_none
from closebulk_async.version import __version__

app = typer.Typer(
    name="closebulk",
    add_completion=False,
    # Plain help and errors, in a terminal and out of it.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# typer has this class from click, or, in newer versions, from a copy of click: both derive BadParameter from it.
_UsageError: Any = typer.BadParameter.__base__

LOOKED_AT = PollPolicy(ceiling=5.0)
"""For live bars: somebody looks at them, and takes one that rests for half a minute for a dead one."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Whatever goes wrong is one line on standard error.

    Where nobody reads standard output any more (`| head -1`), typer raises SystemExit with the code 1.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the encoding of a terminal lacks must not end a watch
    try:
        return int(typer.main.get_command(app).main(arguments, prog_name="closebulk", standalone_mode=False) or 0)
    except _UsageError as exc:
        complain(f"{exc.format_message()} (closebulk --help)")
        return ExitCode.USAGE
    except CloseBulkError as exc:
        # The message of the package speaks of an argument, which the command line does not have.
        complain("no API key: set CLOSE_API_KEY" if is_missing_key(exc) else exc)
        return code_of(exc)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        print(f"closebulk {__version__}")
        raise typer.Exit


@app.callback()
def closebulk(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Watch bulk actions of Close.

    A REF is KIND:ID, such as email:bulkemail_qmjJY85TS; KIND is email, delete, edit or sequence_subscription. The key
    is read from CLOSE_API_KEY. `closebulk demo` needs none: it runs against a simulator.

    Exit codes: 0 done, 1 failed, 2 wrong usage or no key, 3 still running after --timeout, 130 interrupted.
    """


@app.command()
def watch(
    refs: Annotated[list[str], typer.Argument(metavar="REF...", help="The actions to watch.")],
    *,
    timeout: Annotated[float | None, typer.Option(metavar="S", help="Stop watching after so many seconds.")] = None,
    as_json: Json = False,
) -> int:
    """Show how far actions are until all have ended.

    The exit code is that of the worst: failed (1) before still running after --timeout (3) before done (0). An action
    that cannot be read counts as failed. Watching, or ceasing to watch, never changes an action.
    """
    from closebulk_async.cli.following import Following
    from closebulk_async.client import CloseBulk

    following = Following(
        list(dict.fromkeys(map(JobRef.parse, refs))), timeout=to_seconds_or_none(timeout, name="--timeout")
    )

    async def follow() -> ExitCode:
        view = choose_view(following.refs, as_json=as_json)
        async with CloseBulk.from_env(poll=PollPolicy() if isinstance(view, Lines) else LOOKED_AT) as close:
            return await following.follow(close, view)

    try:
        code = asyncio.run(follow())
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    if code is ExitCode.INTERRUPTED:
        complain(f"interrupted; {_what_goes_on(following.running)}")
    elif following.running:
        complain(f"to go on watching: {watch_command(following.running)}")
    return code


def _what_goes_on(refs: Sequence[JobRef[Any]]) -> str:
    if not refs:
        return "every action had ended"
    subject = "the job goes on, watch it" if len(refs) == 1 else f"{len(refs)} jobs go on, watch them"
    return f"{subject} with: {watch_command(refs)}"


@app.command("list")
def list_actions(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="email, delete, edit or sequence_subscription.")],
    *,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many to show.")] = 20,
    as_json: Json = False,
) -> int:
    """List the actions of a kind, in Close's order. With --json each has its kind and ref added."""
    return asyncio.run(_list(kind, limit=limit, as_json=as_json))


async def _list(kind: Kind, *, limit: int, as_json: bool) -> int:
    from closebulk_async.client import CloseBulk
    from closebulk_async.wire import MAX_PAGE

    async with CloseBulk.from_env() as close:
        endpoint: Any = {
            Kind.EMAIL: close.emails,
            Kind.DELETE: close.deletes,
            Kind.EDIT: close.edits,
            Kind.SEQUENCE_SUBSCRIPTION: close.sequence_subscriptions,
        }[kind]
        shown = 0
        # One more than is shown tells whether the list was cut.
        async for action in endpoint.iterate(max_items=limit + 1, page_size=min(limit + 1, MAX_PAGE)):
            if shown == limit:
                complain(f"there are more than these {limit}: --limit shows more")
                break
            shown += 1
            if as_json:
                print_json(_to_dict(action))
            else:
                print(describe_row(action), flush=True)
        if not shown:
            complain(f"no {kind} actions")
    return ExitCode.DONE


@app.command()
def get(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The action to read.")], *, as_json: Json = False
) -> int:
    """Print an action as it is now. The exit code is 0 when it could be read, whatever its status is."""
    return asyncio.run(_get(JobRef.parse(ref), as_json=as_json))


async def _get(ref: JobRef[BulkAction], *, as_json: bool) -> int:
    from closebulk_async.client import CloseBulk

    async with CloseBulk.from_env() as close:
        action = await close.get(ref)
    if as_json:
        print_json(_to_dict(action))
        return ExitCode.DONE
    print(describe_row(action))
    for name, value in action.to_dict().items():
        print(f"  {name}: {cleaned(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}")
    return ExitCode.DONE


def _to_dict(action: BulkAction) -> dict[str, Any]:
    return {"kind": str(action.kind), "ref": str(action.ref), **action.to_dict()}


@app.command()
def demo(
    *,
    kind: Annotated[Kind, typer.Option(help="What to start.")] = Kind.EMAIL,
    leads: Annotated[int, typer.Option(metavar="N", min=0, help="How many leads it acts on.")] = 200,
    seconds: Annotated[float, typer.Option(metavar="S", help="About how long it runs.")] = 10.0,
    as_json: Json = False,
) -> int:
    """Start an action against a simulator and show it to its end.

    The simulator runs on this machine, as long as the demo does. Close is never talked to, whatever the environment
    says.
    """
    from closebulk_async.cli.demo import Demo

    run_of_it = Demo(kind=kind, leads=leads, seconds=to_seconds(seconds, name="--seconds"), as_json=as_json)
    try:
        return asyncio.run(run_of_it.run())
    except KeyboardInterrupt:
        run_of_it.explain_interrupt()
        return ExitCode.INTERRUPTED
