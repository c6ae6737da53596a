"""The endpoints of the four kinds: `close.emails`, `.deletes`, `.edits`, `.sequence_subscriptions`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypedDict, TypeVar, Unpack, cast

import attrs

from closebulk_async.errors import (
    APIError,
    BadRequestError,
    CloseBulkError,
    DecodeError,
    InvalidRequestError,
    TransportError,
    asked_wait,
)
from closebulk_async.models import (
    BulkAction,
    JobRef,
    Kind,
    Page,
    Status,
)
from closebulk_async.policy import Duration, to_seconds_or_none
from closebulk_async.starting import Starter
from closebulk_async.starts import RULES, Rule, Start
from closebulk_async.transport import Patience, Transport
from closebulk_async.waiting import OnPaused, Wait, WaitOptions
from closebulk_async.watching import Watcher
from closebulk_async.wire import (
    MAX_PAGE,
    build_get,
    build_list,
    build_set_status,
    check_count,
    is_rejection,
    read_action,
    read_page,
)

if TYPE_CHECKING:
    from closebulk_async.starts import SQuery

A = TypeVar("A", bound=BulkAction)

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
    (a timedelta or seconds) bounds each exchange with the server; waiting for a rate limit comes on top, as
    `RetryPolicy.max_wait` allows.
    """

    s_query: SQuery | None
    query: str | None
    results_limit: int | None
    sort: Sequence[Mapping[str, Any]] | None
    send_done_email: bool | None
    allow_all: bool
    extra: Mapping[str, Any] | None
    timeout: Duration | None


@attrs.frozen(kw_only=True)
class Engine:
    """What all endpoints of a client share."""

    transport: Transport
    starter: Starter
    watcher: Watcher
    defaults: Mapping[str, Any]


def to_ref(action: ActionLike[Any], *, kind: Kind | None = None) -> JobRef[Any]:
    """The ref of an action, a ref, its text, or, where the kind is known, a bare id. Raises InvalidRequestError."""
    if isinstance(action, str):
        ref: JobRef[Any] = JobRef(kind, action) if kind is not None and ":" not in action else JobRef.parse(action)
    else:
        found = action if isinstance(action, JobRef) else getattr(action, "ref", None)
        if not isinstance(found, JobRef):
            message = f"expected an action, its ref or its id, not a {type(action).__name__}"
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


async def start_action(engine: Engine, start: Start, *, timeout: float | None = None) -> BulkAction:
    """Start an action, what the start leaves open being filled from the client's defaults."""
    open_ones = (name for name in engine.defaults.keys() & optional_keywords(start) if getattr(start, name) is None)
    missing = {name: engine.defaults[name] for name in open_ones}
    action = await engine.starter.start_once(attrs.evolve(start, **missing) if missing else start, timeout=timeout)
    engine.watcher.note_start(action.ref)
    return action


_READERS = {kind: partial(read_action, kind) for kind in Kind}


def get_action(engine: Engine, ref: JobRef[A], *, fields: Iterable[str] | None = None) -> Coroutine[Any, Any, A]:
    """Read one action, without a coroutine of its own around the transport's: nothing is called more often."""
    return engine.transport.read(build_get(ref, fields=fields), cast("Callable[..., A]", _READERS[ref.kind]))


async def set_status(engine: Engine, ref: JobRef[A], status: Status) -> A:
    """Pause or resume.

    After a doubtful outcome the action is read, and the request sent again if nothing has changed.
    """
    request = build_set_status(ref, status)
    patience = Patience(engine.transport.retry)
    doubt: CloseBulkError | None = None
    while True:
        try:
            return cast("A", read_action(ref.kind, request, await engine.transport.send(request)))
        except DecodeError:  # a success without the object: nobody documents what this answers
            return await get_action(engine, ref)
        except (TransportError, APIError) as exc:
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


def wait_for(engine: Engine, ref: JobRef[A], options: WaitKeywords) -> Wait[A]:
    """A wait for the end of `ref`."""
    if strange := options.keys() - WaitKeywords.__annotations__.keys():
        message = f"wait_until_done() got an unexpected keyword argument {min(strange)!r}"
        raise TypeError(message)
    return Wait(engine.watcher, ref, WaitOptions.from_keywords(**options))


class BulkActions(Generic[A]):
    """What the endpoints of all kinds can do."""

    kind: ClassVar[Kind]

    def __init__(self, engine: Engine) -> None:
        """Made by the client."""
        self._engine = engine

    async def get(self, id: str | JobRef[A] | A, *, fields: Iterable[str] | None = None) -> A:
        """The action as it is now.

        `fields` narrows the answer; `id`, `status` and the counters always come. Raises NotFoundError.
        """
        return await get_action(self._engine, self._ref(id), fields=fields)

    async def list(self, *, limit: int = MAX_PAGE, skip: int = 0, fields: Iterable[str] | None = None) -> Page[A]:
        """One page, in the service's order, which is documented nowhere. `has_more` says whether rows follow."""
        return await self._page(limit=limit, skip=skip, fields=fields)

    async def _page(
        self, *, limit: int, skip: int, fields: Iterable[str] | None, filters: Mapping[str, str | None] | None = None
    ) -> Page[A]:
        request = build_list(self.kind, limit=limit, skip=skip, fields=fields, filters=filters)
        return await self._engine.transport.read(request, partial(read_page, self.kind))

    def iterate(
        self, *, fields: Iterable[str] | None = None, page_size: int = MAX_PAGE, max_items: int | None = None
    ) -> AsyncIterator[A]:
        """Every action of the kind, page by page, each once also when new ones arrive meanwhile.

        Those that arrive after the begin may be missing. At most `max_items` are given.
        """
        return self._rows(fields=fields, page_size=page_size, max_items=max_items)

    def _rows(
        self,
        *,
        fields: Iterable[str] | None,
        page_size: int,
        max_items: int | None,
        filters: Mapping[str, str | None] | None = None,
    ) -> AsyncIterator[A]:
        check_count(page_size, name="page_size", least=1)
        if max_items is not None:
            check_count(max_items, name="max_items")
        if fields is not None and not isinstance(fields, str):
            fields = tuple(fields)  # each page asks for them, and an iterator gives them once
        # What is wrong shows here, not at the first row.
        build_list(self.kind, limit=page_size, fields=fields, filters=filters)
        return self._generate(fields=fields, page_size=page_size, max_items=max_items, filters=filters)

    async def _generate(
        self,
        *,
        fields: Iterable[str] | None,
        page_size: int,
        max_items: int | None,
        filters: Mapping[str, str | None] | None,
    ) -> AsyncIterator[A]:
        # Actions are never deleted, so that new rows only push old ones further down, whatever the order of the list:
        # going on by the number of rows seen may show a row again, which the ids tell, and never jumps over one.
        seen: set[str] = set()
        skip = 0
        while max_items is None or len(seen) < max_items:
            page = await self._page(limit=page_size, skip=skip, fields=fields, filters=filters)
            for row in page.data:
                if row.id not in seen:
                    seen.add(row.id)
                    yield row
                    if len(seen) == max_items:
                        return
            skip += len(page.data)
            if not page.has_more:
                return

    async def pause(self, action: ActionLike[A]) -> A:
        """Pause an action that runs. It can be resumed for seven days.

        Objects under way may still be processed, so that the returned action may not say `paused` yet. Unconfirmed: the
        vendor names the body of this request, but neither verb nor URL.
        """
        return await set_status(self._engine, self._ref(action), Status.PAUSED)

    async def resume(self, action: ActionLike[A]) -> A:
        """Let a paused action go on. Verb and URL are unconfirmed, as with `pause`."""
        return await set_status(self._engine, self._ref(action), Status.RESUMING)

    def wait_until_done(self, action: ActionLike[A], **options: Unpack[WaitKeywords]) -> Wait[A]:
        """Wait for the end of an action: iterate for progress, await for the action.

        `timeout` bounds the wait (WaitTimeout; the action goes on), `stall_timeout` the time without any movement
        (BulkActionStalled). `on_paused` is `"wait"`, `"raise"` (BulkActionPaused) or `"return"`. With `heartbeat` an
        iteration also steps when nothing moved for that long. Nothing limits a wait by default: an action may take
        days.
        """
        return wait_for(self._engine, self._ref(action), options)

    def _ref(self, action: ActionLike[A]) -> JobRef[A]:
        return to_ref(action, kind=self.kind)

    async def _create(self, cls: type[Start], keywords: Mapping[str, Any]) -> A:
        given = dict(keywords)
        timeout = to_seconds_or_none(given.pop("timeout", None), name="timeout")
        return cast("A", await start_action(self._engine, cls(**given), timeout=timeout))
