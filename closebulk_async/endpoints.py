"""What endpoints have in common: of all jobs, exports among them, and of the four kinds of bulk action."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, Unpack, cast

from closebulk_async.counting import Preview
from closebulk_async.models import BulkAction, Job, Kind, Status
from closebulk_async.operations import (
    ActionLike,
    Engine,
    WaitKeywords,
    get_action,
    get_page,
    iterate_actions,
    preview_action,
    set_status,
    split_keywords,
    start_action,
    to_ref,
    to_snapshot,
    wait_for,
)
from closebulk_async.wire import MAX_PAGE, build_list, check_count

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping

    from closebulk_async.models import JobRef, Page
    from closebulk_async.starts import Start
    from closebulk_async.waiting import Wait

A = TypeVar("A", bound=Job)
B = TypeVar("B", bound=BulkAction)
E = TypeVar("E", bound="BulkActions[Any]")
P = ParamSpec("P")


class Jobs(Generic[A]):
    """What the endpoints of all jobs can do: read them and wait for them."""

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
        return await get_page(self._engine, self.kind, limit=limit, skip=skip, fields=fields, filters=filters)

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
        return iterate_actions(
            self._engine, self.kind, fields=fields, page_size=page_size, max_items=max_items, filters=filters
        )

    def wait_until_done(self, action: ActionLike[A], **options: Unpack[WaitKeywords]) -> Wait[A]:
        """Wait for the end of an action: iterate for progress, await for the action.

        `timeout` bounds the wait (WaitTimeout; the action goes on), `stall_timeout` the time without any movement
        (BulkActionStalled). `on_paused` is `"wait"`, `"raise"` (BulkActionPaused) or `"return"`. With `heartbeat` an
        iteration also steps when nothing moved for that long. Nothing limits a wait by default: an action may take
        days.
        """
        return wait_for(self._engine, self._ref(action), options, known=to_snapshot(action))

    def _ref(self, action: ActionLike[A]) -> JobRef[A]:
        return to_ref(action, kind=self.kind)


class BulkActions(Jobs[B]):
    """What the endpoints of all kinds of bulk action can do."""

    start_class: ClassVar[type[Start]]

    async def pause(self, action: ActionLike[B]) -> B:
        """Pause an action that runs. It can be resumed for seven days.

        Objects under way may still be processed, so that the returned action may not say `paused` yet. Unconfirmed: the
        vendor names the body of this request, but neither verb nor URL.
        """
        return await set_status(self._engine, self._ref(action), Status.PAUSED)

    async def resume(self, action: ActionLike[B]) -> B:
        """Let a paused action go on. Verb and URL are unconfirmed, as with `pause`."""
        return await set_status(self._engine, self._ref(action), Status.RESUMING)

    async def _create(self, keywords: Mapping[str, Any]) -> B:
        return cast("B", await start_action(self._engine, *split_keywords(self.start_class, keywords)))

    async def _preview(self, keywords: Mapping[str, Any]) -> Preview:
        return await preview_action(self._engine, *split_keywords(self.start_class, keywords))


def derive_preview(
    create: Callable[Concatenate[E, P], Awaitable[object]],
) -> Callable[Concatenate[E, P], Coroutine[Any, Any, Preview]]:
    """The `preview` that takes what a `create` takes: its overloads are the overloads of both."""
    signature = inspect.signature(create)

    async def preview(self: E, /, *args: P.args, **keywords: P.kwargs) -> Preview:
        """What `create` with these keywords would send, and how many leads it would act on; starts nothing.

        Nothing is sent but the count, which a query in the legacy search language has none of. Raises what `create`
        raises for keywords that do not fit and for a query that cannot exclude a lead. `max_matches`, `on_ambiguous`
        and `idempotency_key` change nothing here.
        """
        signature.bind(self, *args, **keywords)
        return await self._preview(keywords)

    vars(preview)["__signature__"] = signature.replace(return_annotation=Preview.__name__)
    preview.__annotations__ = {**create.__annotations__, "return": Preview.__name__}
    return preview
