"""What holds for one call of the command, whichever it is: its profile, `--debug`, and what no output may show.

These reach the code by a context variable and not as parameters: every room of the command would have to pass them on
to the two or three places that ask.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import attrs
import typer

from closebulk_async.auth import ApiKey, hide, spellings
from closebulk_async.errors import InvalidRequestError

SECRETS = ("CLOSE_API_KEY", "CLOSE_CLIENT_SECRET")
"""Variables of the environment that hold some."""

WITHOUT_PROFILE = frozenset({"demo"})
"""Commands that never talk to Close."""


@attrs.define
class Call:
    """One call. `redactors` take secrets out of a text; they are the last guard, as no message is to hold any."""

    profile: str | None = None
    shows_tracebacks: bool = False
    redactors: list[Callable[[str], str]] = attrs.field(factory=list)

    def redact(self, text: str) -> str:
        """`text` without any secret that this call has heard of."""
        for redactor in self.redactors:
            text = redactor(text)
        return text

    def hide(self, secret: str) -> None:
        """From now on no output shows it, nor what HTTP makes of it."""
        try:
            self.redactors.append(ApiKey(secret).redact)
        except InvalidRequestError:  # what no header can hold may be shown by the message that says so
            self.redactors.append(lambda text: hide(text, spellings(secret)))


_call: ContextVar[Call] = ContextVar("closebulk call")


def current() -> Call:
    """The call that is under way; outside of any, one that knows nothing."""
    return _call.get(None) or Call()


@contextmanager
def calling(arguments: Sequence[str]) -> Iterator[Call]:
    """The block is a call with these arguments."""
    call = Call(shows_tracebacks=os.environ.get("CLOSEBULK_DEBUG", "").strip().lower() not in {"", "0", "false", "no"})
    # A key has no business among the arguments. Who types one all the same is told so, but not in its own words.
    typed = (argument.rpartition("=")[2] for argument in arguments)
    keys = (value for value in typed if value.startswith("api_"))
    for secret in filter(None, (*(os.environ.get(name, "").strip() for name in SECRETS), *keys)):
        call.hide(secret)
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


def _choose_profile(value: str | None) -> None:
    if value is not None:
        current().profile = value


def _choose_debug(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        current().shows_tracebacks = True


def add_shared_options(command: Any) -> Any:  # noqa: ANN401 - click's, or that of typer's copy of it
    """The command, with `--profile` and `--debug` on itself and on all below it, so that they may stand anywhere."""
    options = _make_options()
    _add(command, options)
    return command


def _add(command: Any, options: Sequence[Any]) -> None:  # noqa: ANN401 - as above
    skipped = "profile" if command.name in WITHOUT_PROFILE else None
    command.params.extend(option for option in options if option.name != skipped)
    for below in getattr(command, "commands", {}).values():
        _add(below, options)


def _make_options() -> Sequence[Any]:
    """As typer makes them of a command: the classes of its options take other arguments with each version."""
    shared = typer.Typer(add_completion=False)

    @shared.command()
    def command(
        *,
        profile: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                callback=_choose_profile,
                expose_value=False,
                help="Be who `closebulk login --profile NAME` has kept, whatever CLOSE_API_KEY says.",
            ),
        ] = None,
        debug: Annotated[
            bool,
            typer.Option(
                "--debug",
                callback=_choose_debug,
                expose_value=False,
                is_eager=True,
                help="Show where an error comes from (CLOSEBULK_DEBUG=1).",
            ),
        ] = False,
    ) -> None:
        """Never called."""

    options: Sequence[Any] = typer.main.get_command(shared).params
    return options
