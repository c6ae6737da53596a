"""What an endpoint or a batch does with one start or one action, on what all parts of a client share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar, cast

import attrs

from closebulk_async.attempts import Starter
from closebulk_async.counting import Preview, check_countable, preview_start
from closebulk_async.errors import (
    APIError,
    BadRequestError,
    CloseBulkError,
    DecodeError,
    InvalidRequestError,
    RateLimitedError,
    TransportError,
    asked_wait,
)
from closebulk_async.keeping import Bookkeeper
from closebulk_async.listing import Repeats
from closebulk_async.models import BulkAction, Job, JobRef, Kind, Page, Status
from closebulk_async.starting import StartOptions
from closebulk_async.starts import RULES, Rule, Start
from closebulk_async.transport import Patience, Transport
from closebulk_async.waiters import OnPaused, WaitOptions
from closebulk_async.waiting import Wait
from closebulk_async.watching import Watcher
from closebulk_async.wire import (
    MAX_PAGE,
    build_get,
    build_list,
    build_set_status,
    is_rejection,
    read_action,
    read_page,
)

if TYPE_CHECKING:
    from closebulk_async.policy import Duration
    from closebulk_async.starting import OnAmbiguous
    from closebulk_async.starts import SQuery

A = TypeVar("A", bound=Job)

ActionLike: TypeAlias = A | JobRef[A] | str
"""An action, its ref, the ref's text or the bare id."""


class WaitKeywords(TypedDict, total=False):
    """The keywords of `wait_until_done`; durations are timedeltas or seconds, None is «no limit»."""

    timeout: Duration | None
    stall_timeout: Duration | None
    on_paused: OnPaused
    heartbeat: Duration | None


class StartKeywords(TypedDict, total=False):
    """The keywords that every `create` takes.

    `s_query` is an Advanced-Filtering query, `query` the legacy search text; `results_limit` caps the leads. The
    service mails the user when the action has ended unless `send_done_email` is False. `allow_all=True` lets a query
    pass that cannot exclude a lead. `extra` is merged into the body, for what this package does not know. `timeout`
    (a timedelta or seconds) bounds the answer to the POST and to the count; reads of the list have the bounds of the
    client's `Timeouts`, and waiting for a rate limit comes on top, as `RetryPolicy.max_wait` allows.

    `max_matches` has the leads counted first that the `s_query` matches, at most `results_limit` of them, and raises
    TooManyMatchesError where they are more; of one lead, a job may act on several contacts or other objects. With
    `idempotency_key` and a durable journal, the same key and request give the first action again, in whatever process;
    another request with that key raises IdempotencyConflictError. `on_ambiguous` says what to do when nobody knows
    whether the request started an action: `"reconcile"` looks for it and raises AmbiguousStartError where it cannot be
    told, `"raise"` raises at once, `"resend"` looks for it and sends the request again where it is not found.
    """

    s_query: SQuery | None
    query: str | None
    results_limit: int | None
    sort: Sequence[Mapping[str, Any]] | None
    send_done_email: bool | None
    allow_all: bool
    extra: Mapping[str, Any] | None
    timeout: Duration | None
    idempotency_key: str | None
    on_ambiguous: OnAmbiguous
    max_matches: int | None


@attrs.frozen(kw_only=True)
class Engine:
    """What all endpoints of a client share."""

    transport: Transport
    starter: Starter
    watcher: Watcher
    bookkeeper: Bookkeeper
    defaults: Mapping[str, Any]


def to_ref(action: ActionLike[Any], *, kind: Kind | None = None) -> JobRef[Any]:
    """The ref of an action, a ref, its text, or, where the kind is known, a bare id. Raises InvalidRequestError."""
    if isinstance(action, str):
        ref: JobRef[Any] = JobRef(kind, action) if kind is not None and ":" not in action else JobRef.parse(action)
    else:
        found = action if isinstance(action, JobRef) else getattr(action, "ref", None)
        if not isinstance(found, JobRef):
            message = f"expected one action, its ref or the ref's text, not a {type(action).__name__}"
            raise InvalidRequestError(message)
        ref = found
    if kind is not None and ref.kind is not kind:
        message = f"{ref} is of the kind {ref.kind}, and this endpoint is for {kind}"
        raise InvalidRequestError(message)
    return ref


SHARED_OPTIONAL = frozenset({"results_limit", "send_done_email", "sort"})


def optional_keywords(start: Start) -> frozenset[str]:
    """The keywords that this start may leave open, so that a default of the client's may fill them."""
    choice = getattr(start, start.chooser) if start.chooser else None
    return SHARED_OPTIONAL | _optional(RULES[start.kind, choice])


def _optional(rule: Rule) -> frozenset[str]:
    # Which sequence is meant, or that all are, is said in each start: a default would decide what a job acts on.
    return (rule.allowed | rule.at_least_one_of) - {"sequence_id", "all_sequences"}


DEFAULTABLE = SHARED_OPTIONAL.union(*(_optional(rule) for rule in RULES.values()))
"""What `defaults` of a client may hold.

Which leads and objects a job acts on is no default, nor is leave to act on all.
"""


def split_keywords(cls: type[Start], keywords: Mapping[str, Any]) -> tuple[Start, StartOptions]:
    """What to start, and how, from the keywords of a `create`. Raises InvalidRequestError and UnsafeQueryError."""
    how = {name: value for name, value in keywords.items() if name in _HOW}
    what = {name: value for name, value in keywords.items() if name not in _HOW}
    return cls(**what), StartOptions.from_keywords(**how)


_HOW = frozenset(field.name for field in attrs.fields(StartOptions))


async def start_action(engine: Engine, start: Start, options: StartOptions = StartOptions()) -> BulkAction:  # noqa: B008 - frozen
    """Start an action, what the start leaves open being filled from the client's defaults."""
    start = _fill(engine, start)
    if options.max_matches is not None:
        check_countable(start)  # here already: the count comes last before the POST
    action = await engine.starter.start(start, options)
    engine.watcher.note_start(action.ref)
    return action


async def preview_action(engine: Engine, start: Start, options: StartOptions) -> Preview:
    """What `start_action` would send. Nothing is sent but the count."""
    return await preview_start(engine.transport, _fill(engine, start), timeout=options.timeout)


def _fill(engine: Engine, start: Start) -> Start:
    open_ones = (name for name in engine.defaults.keys() & optional_keywords(start) if getattr(start, name) is None)
    missing = {name: engine.defaults[name] for name in open_ones}
    return attrs.evolve(start, **missing) if missing else start


_READERS = {kind: partial(read_action, kind) for kind in Kind}


def get_action(engine: Engine, ref: JobRef[A], *, fields: Iterable[str] | None = None) -> Coroutine[Any, Any, A]:
    """Read one action, without a coroutine of its own around the transport's: nothing is called more often."""
    return engine.transport.read(build_get(ref, fields=fields), cast("Callable[..., A]", _READERS[ref.kind]))


async def get_page(
    engine: Engine,
    kind: Kind,
    *,
    limit: int = MAX_PAGE,
    skip: int = 0,
    fields: Iterable[str] | None = None,
    filters: Mapping[str, str | None] | None = None,
) -> Page[Any]:
    """Read one page of a list."""
    request = build_list(kind, limit=limit, skip=skip, fields=fields, filters=filters)
    return await engine.transport.read(request, partial(read_page, kind))


async def iterate_actions(
    engine: Engine,
    kind: Kind,
    *,
    fields: Iterable[str] | None = None,
    page_size: int = MAX_PAGE,
    max_items: int | None = None,
    filters: Mapping[str, str | None] | None = None,
) -> AsyncGenerator[Any, None]:
    """Every action of a kind, page by page, each once."""
    # Actions are never deleted, so that new rows only push old ones further down, whatever the order of the list:
    # going on by the number of rows seen may show a row again, which the ids tell, and never jumps over one.
    seen: set[str] = set()
    skip, repeats = 0, Repeats()
    while max_items is None or len(seen) < max_items:
        request = build_list(kind, limit=page_size, skip=skip, fields=fields, filters=filters)
        page = await engine.transport.read(request, partial(read_page, kind))
        before = len(seen)
        for row in page.data:
            if row.id not in seen:
                seen.add(row.id)
                yield row
                if len(seen) == max_items:
                    return
        repeats.note(page, request, is_new=len(seen) > before)
        skip += len(page.data)
        if not page.has_more:
            return


async def set_status(engine: Engine, ref: JobRef[A], status: Status) -> A:
    """Pause or resume, and let those who wait for the action see that soon.

    After a doubtful outcome the action is read, and the request sent again if nothing has changed.
    """
    if ref.kind is Kind.EXPORT:
        message = f"{ref} is an export, which can be neither paused nor resumed"
        raise InvalidRequestError(message)
    action = await _set_status(engine, ref, status)
    engine.watcher.refresh(ref)
    return action


async def _set_status(engine: Engine, ref: JobRef[A], status: Status) -> A:
    request = build_set_status(ref, status)
    patience = Patience(engine.transport.retry)
    doubt: CloseBulkError | None = None
    while True:
        try:
            return cast("A", read_action(ref.kind, request, await engine.transport.send(request)))
        except DecodeError:  # a success without the object: nobody documents what this answers
            return await get_action(engine, ref)
        except (TransportError, APIError) as exc:
            if isinstance(exc, RateLimitedError) and exc.status is None:
                raise  # the budget had no place for it: nothing was sent
            if isinstance(exc, APIError) and is_rejection(exc.status or 0):
                if doubt is None or not isinstance(exc, BadRequestError):
                    raise
            elif doubt is None and isinstance(exc, TransportError) and not exc.sent:
                raise
            doubt = exc
            action = await get_action(engine, ref)
            if action.is_paused is (status is Status.PAUSED):
                return action
            delay = patience.delay(asked=asked_wait(exc))
            if action.is_final or isinstance(exc, BadRequestError) or delay is None:
                raise
        await engine.transport.sleep(delay)


def to_snapshot(action: ActionLike[A]) -> A | None:
    """What the caller knows of an action already; None where that is not all of its fields."""
    return None if isinstance(action, str | JobRef) or action.unset else action


def wait_for(engine: Engine, ref: JobRef[A], options: WaitKeywords, *, known: A | None = None) -> Wait[A]:
    """A wait for the end of `ref`. `known` is an older snapshot of it, with all fields."""
    return Wait(engine.watcher, ref, read_wait_options("wait_until_done", options), known=known)


NO_OPTIONS = WaitOptions()
"""Shared by all waits that were given none, which are thousands at times."""


def read_wait_options(method: str, options: WaitKeywords) -> WaitOptions:
    """The options of a wait, as the keywords of a method say. Raises TypeError and InvalidRequestError."""
    if strange := options.keys() - WaitKeywords.__annotations__.keys():
        message = f"{method}() got an unexpected keyword argument {min(strange)!r}"
        raise TypeError(message)
    return WaitOptions.from_keywords(**options) if options else NO_OPTIONS
