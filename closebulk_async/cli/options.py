"""What several commands take: options, and JSON that is typed, in a file or on standard input."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import attrs
import orjson
import typer

from closebulk_async.errors import InvalidRequestError
from closebulk_async.models import Kind
from closebulk_async.policy import to_seconds_or_none

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for scripts.")]
Watch = Annotated[bool, typer.Option("--watch", help="Show how far it is until it has ended, as `watch` does.")]
WatchTimeout = Annotated[float | None, typer.Option(metavar="S", help="Stop watching after so many seconds.")]
JournalFile = Annotated[
    Path,
    typer.Option(
        "--journal", metavar="FILE", envvar="CLOSEBULK_JOURNAL", exists=True, dir_okay=False, help="The journal."
    ),
]
"""That of an earlier start: a new one would have nothing open, and hide a misspelled name."""

ON_AMBIGUOUS = ["reconcile", "raise", "resend"]
"""For the help and for completions; the client refuses every other word itself."""


def list_on_ambiguous() -> list[str]:
    """The same, as typer asks for it."""
    return ON_AMBIGUOUS


def parse_age(text: str) -> timedelta:
    """A time such as `30m`, `12h`, `7d` or `2w`. Raises typer's error of usage."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        message = f"{text!r} is no length of time: expected a number and a unit, as in 30m, 12h, 7d or 2w"
        raise typer.BadParameter(message)
    return int(match[1]) * _UNITS[match[2]]


_AGE = re.compile(r"([0-9]{1,4})([mhdw])")  # four digits of weeks are older than Close, and no calendar's end
_UNITS: Mapping[str, timedelta] = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}

Kinds = Annotated[list[Kind] | None, typer.Option("--kind", metavar="KIND", help="Only this kind; may be repeated.")]
Since = Annotated[
    timedelta | None,
    typer.Option(parser=parse_age, metavar="30m|12h|7d|2w", help="Only those that were created in this time."),
]


def examples(*lines: str) -> str:
    """The end of a command's help. The control code keeps the lines as they are: they are to be copied."""
    return "\b\n" + "\n".join(("Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)))


@attrs.frozen(kw_only=True)
class Common:
    """The options that all starts have."""

    query: Annotated[
        str | None,
        typer.Option(metavar="FILE|-|JSON", help="Which leads: an s_query, in a file, on standard input or typed."),
    ] = None
    legacy_query: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Which leads, in the old search language.")
    ] = None
    results_limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Act on at most N leads.")] = None
    sort: Annotated[
        str | None, typer.Option(metavar="FILE|-|JSON", help="The order of the leads: a list, as for s_query.")
    ] = None
    no_done_email: Annotated[bool, typer.Option("--no-done-email", help="No mail from Close when it has ended.")] = (
        False
    )
    extra: Annotated[
        str | None, typer.Option(metavar="FILE|-|JSON", help="More of the request: an object that is merged into it.")
    ] = None
    max_matches: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Start nothing if the query matches more leads.")
    ] = None
    allow_all: Annotated[
        bool, typer.Option("--allow-all", help="Allow a query that excludes no lead, or none at all.")
    ] = False
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The same start with the same key is the same action. Needs --journal."),
    ] = None
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="CLOSEBULK_JOURNAL",
            dir_okay=False,
            help="Write the start down before it is sent. Made if it is missing.",
        ),
    ] = None
    on_ambiguous: Annotated[
        str,
        typer.Option(
            metavar="|".join(ON_AMBIGUOUS),
            autocompletion=list_on_ambiguous,
            help="What to do where it is not known whether it started.",
        ),
    ] = "reconcile"
    request_timeout: Annotated[float | None, typer.Option(metavar="S", help="Seconds for each answer of Close.")] = None
    yes: Yes = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and start nothing.")] = False
    watch: Watch = False
    timeout: WatchTimeout = None
    as_json: Json = False

    def keywords(self) -> dict[str, Any]:
        """The keywords that every `create` takes. Reads files and standard input. Raises InvalidRequestError."""
        return {
            "s_query": read_json(self.query, name="--query", wanted=dict),
            "query": self.legacy_query,
            "results_limit": self.results_limit,
            "sort": read_json(self.sort, name="--sort", wanted=list),
            "send_done_email": False if self.no_done_email else None,
            "allow_all": self.allow_all,
            "extra": read_json(self.extra, name="--extra", wanted=dict),
            "timeout": to_seconds_or_none(self.request_timeout, name="--request-timeout"),
            "idempotency_key": self.idempotency_key,
            "on_ambiguous": self.on_ambiguous,
            "max_matches": self.max_matches,
        }


def with_common(command: Callable[..., int]) -> Callable[..., int]:
    """A command that has the options of `Common` after its own, and gets them as its first argument."""
    names = tuple(field.name for field in attrs.fields(Common))

    @wraps(command)
    def run(**given: Any) -> int:
        common = Common(**{name: given.pop(name) for name in names})
        return command(common, **given)

    own = list(inspect.signature(command).parameters.values())[1:]
    shared = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for field in attrs.fields(Common)
    ]
    hints = get_type_hints(command, include_extras=True) | get_type_hints(Common, include_extras=True)
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in (*own, *shared)]
    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


_WORDS: Mapping[type, str] = {dict: "a JSON object", list: "a JSON list"}


def read_json(given: str | None, *, name: str, wanted: type) -> object:
    """The JSON that was typed, or that stands in the file of that name, `-` being standard input; None for None.

    Text that begins with a brace or a bracket was typed. `name` is the option's. Raises InvalidRequestError.
    """
    if given is None:
        return None
    text = given if given.lstrip().startswith(("{", "[")) else _read_text(given, name=name)
    value = parse_json(text, name=name)
    if not isinstance(value, wanted):
        raise InvalidRequestError(f"{name} must be {_WORDS[wanted]}")
    return value


def parse_json(text: str, *, name: str) -> object:
    """One JSON value. Raises InvalidRequestError with the place of the mistake."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequestError(f"{name} is no JSON: {exc}") from None
    return value


def _read_text(source: str, *, name: str) -> str:
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as exc:
        raise InvalidRequestError(f"{name} cannot be read: {source}: {exc.strerror}") from None
    return content.decode("utf-8-sig", errors="replace")  # editors of Windows begin a file with a mark
