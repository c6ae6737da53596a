"""`closebulk recover`, `adopt` and `abandon`: what a crash left open in a journal, and what an operator decides."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from closebulk_async.cli.asking import check_can_ask
from closebulk_async.cli.options import JournalFile, Json, Watch, WatchTimeout, Yes
from closebulk_async.errors import InvalidRequestError
from closebulk_async.models import JobRef
from closebulk_async.policy import to_seconds_or_none

IntentId = Annotated[str, typer.Argument(metavar="INTENT", help="The id of the intent, as `recover` shows it.")]


def recover(*, journal: JournalFile, watch: Watch = False, timeout: WatchTimeout = None, as_json: Json = False) -> int:
    """Settle what a journal holds open.

    Finds out what became of each start, and says so in one line. Nothing is ever sent again. The exit code is 4 where
    somebody has to find out what happened, 1 where an action failed or could not be read, and else 0.
    """
    seconds = to_seconds_or_none(timeout, name="--timeout")
    if seconds is not None and not watch:
        raise InvalidRequestError("--timeout is for --watch")
    from closebulk_async.cli.settling import Recovering

    return Recovering(journal=journal, watches=watch, timeout=seconds, as_json=as_json).run()


def adopt(
    intent: IntentId,
    ref: Annotated[str, typer.Argument(metavar="REF", help="The action that it started.")],
    *,
    journal: JournalFile,
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """Tell a journal which action a start made.

    For starts of which nobody knows what became of them, when you have found the action.
    """
    job: JobRef[Any] = JobRef.parse(ref)
    if not yes:
        check_can_ask()
    from closebulk_async.cli.settling import adopt

    return adopt(journal, intent, job, asks=not yes, as_json=as_json)


def abandon(intent: IntentId, *, journal: JournalFile, yes: Yes = False, as_json: Json = False) -> int:
    """Tell a journal to forget about a start.

    For starts of which nobody knows what became of them, when you know that there is no action, or want to hear no more
    of it. Nothing happens to the action, if there is one.
    """
    if not yes:
        check_can_ask()
    from closebulk_async.cli.settling import abandon

    return abandon(journal, intent, asks=not yes, as_json=as_json)
