"""The commands of `closebulk`, their options and exit codes.

`demo` starts a simulator and never talks to Close. All others use `CLOSE_API_KEY`, and `CLOSE_BASE_URL` if it is set.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from closebulk_async.cli import exporting, fleets, journals, listing, login, serving, starting
from closebulk_async.cli.calls import add_shared_options, calling
from closebulk_async.cli.doctor import doctor
from closebulk_async.cli.exits import ExitCode, code_of, complain, describe_crash, is_missing_key, login_command
from closebulk_async.cli.limits import limits
from closebulk_async.cli.notes import warnings_told
from closebulk_async.cli.options import Json, Kinds, WatchTimeout, examples
from closebulk_async.cli.outcomes import outcomes
from closebulk_async.cli.starting import in_options
from closebulk_async.cli.texts import cleaned, describe_row
from closebulk_async.cli.usage import explain_usage, find_help_width, narrow_help
from closebulk_async.cli.views import action_to_dict, choose_view, print_json
from closebulk_async.errors import CloseBulkError, InvalidRequestError
from closebulk_async.models import BULK_KINDS, BulkAction, JobRef, Kind
from closebulk_async.policy import to_seconds, to_seconds_or_none
from closebulk_async.version import __version__

ORDER = (
    *("start", "ls", "watch", "get", "pause", "resume"),
    *("export", "outcomes"),
    *("recover", "adopt", "abandon"),
    *("dashboard", "fleet", "limits", "doctor", "login", "logout", "demo"),
)
"""What is wanted most first, and what belongs together side by side."""


class _Ordered(TyperGroup):
    """Commands in that order: typer has none, and puts groups last."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - click's, or that of typer's copy of it
        """Their names."""
        return sorted(super().list_commands(ctx), key=[*ORDER].index)


app: typer.Typer = typer.Typer(
    name="closebulk",
    cls=_Ordered,
    no_args_is_help=True,
    epilog=examples("closebulk doctor", "closebulk --profile work watch email:bulkemail_qmjJY85TS"),
    # Plain help and errors, in a terminal and out of it.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# typer has this class from click, or, in newer versions, from a copy of click: both derive BadParameter from it.
_UsageError: Any = typer.BadParameter.__base__


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Whatever goes wrong is one line on standard error.

    Where nobody reads standard output any more (`| head -1`), typer raises SystemExit with the code 1.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the encoding of a terminal lacks must not end a watch
    arguments = sys.argv[1:] if arguments is None else arguments
    with calling(arguments), warnings_told():
        try:
            return _dispatch(arguments)
        except _UsageError as exc:
            explain_usage(exc)
            return ExitCode.USAGE
        except CloseBulkError as exc:
            # The messages of the package speak of arguments, which the command line does not have.
            missing = f"no API key: set CLOSE_API_KEY, or keep a key: {login_command()}"
            said = missing if is_missing_key(exc) else in_options(str(exc))
            complain(said, error=exc)
            return code_of(exc)
        except (KeyboardInterrupt, typer.Abort):
            return ExitCode.INTERRUPTED
        except Exception as exc:  # noqa: BLE001 - a defect, or a file: one line, and --debug for whoever wants more
            complain(describe_crash(exc), error=exc)
            return ExitCode.FAILED


def _dispatch(arguments: Sequence[str]) -> int:
    command = add_shared_options(typer.main.get_command(app))
    if (width := find_help_width()) is not None:
        narrow_help(command)
    return int(command.main(arguments, prog_name="closebulk", standalone_mode=False, terminal_width=width) or 0)


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
    """Start and watch bulk actions of Close.

    A REF is KIND:ID, such as email:bulkemail_qmjJY85TS; KIND is email, delete, edit, sequence_subscription or export.
    The key is that of --profile NAME, or CLOSE_API_KEY, or the profile CLOSEBULK_PROFILE (`default`), as `closebulk
    login` has kept it. `closebulk demo` needs none: it runs against a simulator.

    Exit codes: 0 done, 1 failed, 2 wrong usage or no key, 3 still running after --timeout, 4 nobody knows whether an
    action was started, 130 interrupted.
    """


@app.command(
    epilog=examples(
        "closebulk watch email:bulkemail_qmjJY85TS delete:bulkdelete_asdVYCm54 --timeout 600",
        "closebulk watch --active --kind email",
    )
)
def watch(
    refs: Annotated[list[str] | None, typer.Argument(metavar="REF", help="The actions to watch.")] = None,
    *,
    active: Annotated[bool, typer.Option("--active", help="All that runs now, in place of a REF.")] = False,
    kind: Kinds = None,
    timeout: WatchTimeout = None,
    as_json: Json = False,
) -> int:
    """Show how far actions are until all have ended.

    The exit code is that of the worst: failed (1) before still running after --timeout (3) before done (0). An action
    that cannot be read counts as failed. Watching, or ceasing to watch, never changes an action.

    --active reads the lists of all kinds to their ends to find what runs: exports too, and actions that others started.
    """
    if active is bool(refs):
        raise InvalidRequestError("what to watch: give one or more REF, or --active for all that runs")
    if kind and not active:
        raise InvalidRequestError("--kind is for --active")
    seconds = to_seconds_or_none(timeout, name="--timeout")
    wanted = list(dict.fromkeys(map(JobRef.parse, refs or ())))
    from closebulk_async.cli.clients import connect
    from closebulk_async.cli.following import Following
    from closebulk_async.cli.following_all import FollowingAll

    following = FollowingAll(kinds=kind, timeout=seconds) if active else Following(wanted, timeout=seconds)

    async def follow() -> ExitCode:
        async with connect(as_json=as_json) as close:
            try:
                return await following.follow(close, choose_view(following.refs, as_json=as_json))
            except CloseBulkError as exc:  # said here, as what goes on all the same is said after it
                complain(exc)
                return code_of(exc)

    try:
        code = asyncio.run(follow())
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    return following.explain(code)


app.command(epilog=examples("closebulk ls --since 7d --limit 100", "closebulk ls --active --kind email --kind export"))(
    listing.ls
)


@app.command(epilog=examples("closebulk get email:bulkemail_qmjJY85TS --json"))
def get(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The action to read.")], *, as_json: Json = False
) -> int:
    """Print an action as it is now, and what its query matches in words.

    With --json it is Close's own object, with kind, ref and these words (`matches`, null where a legacy query is text
    already) added. The exit code is 0 when it could be read, whatever its status is.
    """
    return asyncio.run(_get(JobRef.parse(ref), as_json=as_json))


async def _get(ref: JobRef[BulkAction], *, as_json: bool) -> int:
    from closebulk_async.cli.clients import connect
    from closebulk_async.cli.previews import describe_matches

    async with connect() as close:
        action = await close.get(ref)
    shown = action.to_dict()
    matches = describe_matches(shown) if "s_query" in shown else None
    if as_json:
        print_json({"matches": matches} | action_to_dict(action))
        return ExitCode.DONE
    print(describe_row(action))
    if matches is not None:
        print(f"  matches: {matches}")
    for name, value in shown.items():
        print(f"  {name}: {cleaned(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}")
    return ExitCode.DONE


@app.command(epilog=examples("closebulk pause email:bulkemail_qmjJY85TS"))
def pause(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The action to pause.")], *, as_json: Json = False
) -> int:
    """Pause an action that runs, and print it. It can be resumed for seven days.

    What is under way may still be processed, so that it may not say paused yet.
    """
    return asyncio.run(_change(JobRef.parse(ref), "pause", as_json=as_json))


@app.command(epilog=examples("closebulk resume email:bulkemail_qmjJY85TS"))
def resume(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The action to let go on.")], *, as_json: Json = False
) -> int:
    """Let a paused action go on, and print it."""
    return asyncio.run(_change(JobRef.parse(ref), "resume", as_json=as_json))


async def _change(ref: JobRef[BulkAction], what: Literal["pause", "resume"], *, as_json: bool) -> int:
    from closebulk_async.cli.clients import connect

    async with connect() as close:
        action = await (close.pause(ref) if what == "pause" else close.resume(ref))
    if as_json:
        print_json(action_to_dict(action))
    else:
        print(describe_row(action))
    return ExitCode.DONE


app.add_typer(starting.app)
app.add_typer(exporting.app)
app.add_typer(fleets.app)
app.command(epilog=examples("closebulk outcomes email:bulkemail_qmjJY85TS --csv outcomes.csv"))(outcomes)
app.command(epilog=examples("closebulk recover --journal closebulk.db --watch"))(journals.recover)
app.command(epilog=examples("closebulk adopt 2f0c... email:bulkemail_qmjJY85TS --journal closebulk.db"))(journals.adopt)
app.command(epilog=examples("closebulk abandon 2f0c... --journal closebulk.db"))(journals.abandon)
app.command(
    epilog=examples(
        "closebulk login --api-key",
        "closebulk login --profile work --api-key < key.txt",
        "closebulk login --client-id oa2client_...",
    )
)(login.login)
app.command(epilog=examples("closebulk logout --profile work"))(login.logout)
app.command(epilog=examples("closebulk limits --json"))(limits)
app.command(epilog=examples("closebulk doctor --journal closebulk.db"))(doctor)
app.command(epilog=examples("closebulk dashboard", "closebulk dashboard --allow-control --journal closebulk.db"))(
    serving.dashboard
)


@app.command(epilog=examples("closebulk demo --kind delete --leads 50 --seconds 5"))
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
    if kind is Kind.EXPORT:
        message = f"the demo shows bulk actions: expected one of {', '.join(BULK_KINDS)}"
        raise InvalidRequestError(message)
    from closebulk_async.cli.demo import Demo

    run_of_it = Demo(kind=kind, leads=leads, seconds=to_seconds(seconds, name="--seconds"), as_json=as_json)
    try:
        return asyncio.run(run_of_it.run())
    except KeyboardInterrupt:
        run_of_it.explain_interrupt()
        return ExitCode.INTERRUPTED
