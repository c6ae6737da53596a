"""What the package tells of itself beside its log: frozen events, and the hook that takes them.

Durations are timedeltas. Nothing in an event holds a secret.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs

from closebulk_async.errors import CloseBulkError, shorten
from closebulk_async.intents import Intent
from closebulk_async.models import Job, JobRef

if TYPE_CHECKING:
    from collections.abc import Iterable

logger: logging.Logger = logging.getLogger("closebulk_async")


@attrs.frozen(kw_only=True)
class RequestEnded:
    """One request was answered, or failed to be; a repeat is an event of its own.

    `group` is what its rate limit is shared with; `attempt` counts from 1; `status` is None where no answer came, and
    then `error` says why. `duration` is that of the exchange, without any wait before it.
    """

    method: str
    path: str
    group: str
    attempt: int
    duration: timedelta
    status: int | None = None
    error: CloseBulkError | None = None


@attrs.frozen(kw_only=True)
class RequestRepeated:
    """A request is going to be sent again, `delay` from now, as its try number `attempt`; `reason` is for people."""

    method: str
    path: str
    group: str
    attempt: int
    delay: timedelta
    reason: str


@attrs.frozen(kw_only=True)
class Throttled:
    """A 429 has stopped an endpoint group: no request of it is sent before `delay` has passed."""

    group: str
    delay: timedelta


@attrs.frozen(kw_only=True)
class PollEnded:
    """One request of the watcher's: it asked for `refs`, by the `item` of the one or by a `page` of their list.

    `found` is how many watched actions it showed, asked for or not; `error` is why there are none.
    """

    refs: tuple[JobRef[Any], ...]
    how: Literal["item", "page"]
    found: int
    error: CloseBulkError | None = None


@attrs.frozen(kw_only=True)
class ActionMoved:
    """A poll showed something new of an action, or the action for the first time (`before` is None).

    `rate` (objects per second) and `eta` are None where they are not known.
    """

    before: Job | None
    action: Job
    rate: float | None
    eta: timedelta | None


@attrs.frozen(kw_only=True)
class WaitBegan:
    """Somebody waits for an action. Told in the waiter's own task; `number` tells the waits of a process apart."""

    number: int
    ref: JobRef[Any]


@attrs.frozen(kw_only=True)
class WaitEnded:
    """A wait has ended: with the action (`error` is None), with what it raises, or because the waiter left.

    `polls` is how many polls told of the action meanwhile.
    """

    number: int
    ref: JobRef[Any]
    elapsed: timedelta
    polls: int
    error: BaseException | None = None


@attrs.frozen(kw_only=True)
class StartMoved:
    """The intent of a start is in another state than before; the first event of an intent has the state `new`.

    Told by the client that has moved it, in the task that does the start: one of its own for each `create`, which has
    the context of its caller.
    """

    intent: Intent


@attrs.frozen(kw_only=True)
class StartReconciled:
    """The action of an ambiguous start was looked for.

    `adopted`: one was found, `ref`, and is the intent's own now; `missing`: none was found within the time that the
    service may take to show one; `several`: more than one may be it; `unknown`: the list could not be read.
    """

    intent: Intent
    outcome: Literal["adopted", "missing", "several", "unknown"]
    ref: JobRef[Any] | None = None


@attrs.frozen(kw_only=True)
class WebhookReceived:
    """A webhook told of an action (`CloseBulk.notify`); `is_watched` says whether somebody waits for it."""

    ref: JobRef[Any]
    action: str
    is_watched: bool


Event: TypeAlias = (
    RequestEnded
    | RequestRepeated
    | Throttled
    | PollEnded
    | ActionMoved
    | WaitBegan
    | WaitEnded
    | StartMoved
    | StartReconciled
    | WebhookReceived
)
"""Every event that a hook may get."""


class Hook(Protocol):
    """Takes events. It is called where they happen, on the event loop: it must not block. What it raises is logged."""

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


class Telling:
    """Tells every hook of an event. False where nobody listens, so that nobody makes events then."""

    def __init__(self, hooks: Iterable[Hook]) -> None:
        """Keep the hooks, in the order in which they are told."""
        self._hooks = tuple(hooks)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __call__(self, event: Event) -> None:
        """Tell them all; one that raises keeps nobody from anything."""
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:
                logger.exception("the hook %r failed on %r", hook, event)


def describe(event: Event) -> dict[str, str | int | float]:
    """What an event says, as plain values by name, without those that are None.

    Durations are seconds, and named so. Of an intent there are `intent` (its id), `intent_kind`, `intent_state` and
    `intent_ref`; of an action, likewise, its ref, status and counts.
    """
    plain: dict[str, Any] = {}
    for field in attrs.fields(type(event)):
        plain.update(_describe(field.name, getattr(event, field.name)))
    return {name: value for name, value in plain.items() if value is not None}


def _describe(name: str, value: object) -> dict[str, Any]:
    shown: dict[str, Any] = {name: value}
    match value:
        case timedelta():
            shown = {f"{name}_seconds": value.total_seconds()}
        case JobRef():
            shown = {name: str(value)}
        case tuple():
            shown = {name: " ".join(map(str, value))}
        case BaseException():
            shown = {name: shorten(f"{type(value).__name__}: {value}")}
        case Intent():
            parts = {"kind": str(value.kind), "state": str(value.state), "ref": value.ref and str(value.ref)}
            shown = {name: value.id} | {f"{name}_{part}": text for part, text in parts.items()}
        case _ if isinstance(value, Job):
            # A narrowed action raises for what was not read.
            parts = {part: getattr(value, part, None) for part in ("status", "n_objects", "n_objects_processed")}
            shown = {name: str(value.ref)} | {f"{name}_{part}": number for part, number in parts.items()}
    return shown


class LogHook:
    """Writes every event to a logger, a line each, with its values as fields of the record (`closebulk.status`, ...).

    The package's own log is there without it: that one tells what somebody may have to act on.
    """

    def __init__(self, logger: logging.Logger | None = None, *, level: int = logging.DEBUG) -> None:
        """Write to `closebulk_async.events` unless told otherwise."""
        self._logger = logger or logging.getLogger("closebulk_async.events")
        self._level = level

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if not self._logger.isEnabledFor(self._level):
            return  # the logger would say so too, after all the work
        name, values = type(event).__name__, describe(event)
        extra = {"closebulk.event": name} | {f"closebulk.{key}": value for key, value in values.items()}
        line = " ".join((name, *(f"{key}={value}" for key, value in values.items())))
        self._logger.log(self._level, "%s", line, extra=extra)
