"""`CloseBulk`: the client, which wires the parts together."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack, overload

from closebulk_async.account import Account
from closebulk_async.announcing import AnnouncingJournal
from closebulk_async.attempts import Starter
from closebulk_async.batches import Outcome, run_many, wait_all
from closebulk_async.clock import Clock, SystemClock
from closebulk_async.creating import Workshop
from closebulk_async.discovering import find_recent, watch_active
from closebulk_async.errors import InvalidRequestError
from closebulk_async.exports import Exports
from closebulk_async.fencing import Fences
from closebulk_async.keeping import Bookkeeper
from closebulk_async.kinds import BulkDeletes, BulkEdits, BulkEmails, BulkSequenceSubscriptions
from closebulk_async.limiter import Limiter, Priority
from closebulk_async.models import BulkAction, Job, JobRef, Kind, Status
from closebulk_async.oauth_wire import BASE_URL
from closebulk_async.operations import (
    DEFAULTABLE,
    ActionLike,
    Engine,
    WaitKeywords,
    get_action,
    read_wait_options,
    set_status,
    to_ref,
    to_snapshot,
    wait_for,
)
from closebulk_async.outcomes import Outcomes
from closebulk_async.owning import Ownership
from closebulk_async.policy import PollPolicy, RetryPolicy, StartPolicy, Timeouts
from closebulk_async.polling import open_desks
from closebulk_async.reconciling import Reconciler
from closebulk_async.recovering import Recovered, Recovery
from closebulk_async.search import Search
from closebulk_async.settings import (
    Settings,
    check_base_url,
    check_hooks,
    check_limiter,
    check_session,
    check_tz_offset,
    check_user_agent,
    choose_auth,
    choose_journal,
)
from closebulk_async.streams import watch
from closebulk_async.subscriptions import Webhooks
from closebulk_async.telemetry import Telling
from closebulk_async.transport import Transport
from closebulk_async.watching import Watcher
from closebulk_async.wire import Me, build_me, read_me

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from types import TracebackType

    import aiohttp

    from closebulk_async.auth import Auth
    from closebulk_async.journal import Journal
    from closebulk_async.limits import GroupLimits
    from closebulk_async.policy import Duration
    from closebulk_async.progress import Progress
    from closebulk_async.starts import Start
    from closebulk_async.telemetry import Hook
    from closebulk_async.waiting import Wait
    from closebulk_async.webhook_models import WebhookEvent

A = TypeVar("A", bound=Job)


class ClientKeywords(TypedDict, total=False):
    """The keywords of `CloseBulk`."""

    auth: Auth | None
    base_url: str
    session: aiohttp.ClientSession | None
    timeouts: Timeouts
    retry: RetryPolicy
    poll: PollPolicy
    start: StartPolicy
    limiter: Limiter | None
    journal: Journal | str | PathLike[str] | None
    hooks: Iterable[Hook]
    tz_offset: float | None
    clock: Clock | None
    defaults: Mapping[str, Any] | None
    user_agent: str | None


class CloseBulk:
    """The client: `async with CloseBulk(api_key="api_…") as close:`.

    Its endpoints are `emails`, `deletes`, `edits`, `sequence_subscriptions` and `exports`; `search` tells what a query
    matches. It opens its session at the first request and closes it at the end of the block, or uses the caller's
    `session`, which it never closes. At the end, open waits raise ClientClosedError, and a start whose POST may have
    left is waited for; no action is ever touched by that.

    `journal` is where starts are written down before they are sent: the path of an SQLite file, or a Journal of one's
    own, which the client does not close; without one they are remembered for the life of the client. `hooks` are called
    with events (`closebulk_async.telemetry`).

    `auth` is for whoever has no API key: `BearerToken("…")`. Without both, `CLOSE_API_KEY` is read, and nothing else of
    the environment. `tz_offset` (hours from UTC) is what the service reads relative dates of queries by. `defaults`
    fills what a `create` leaves out, for example `{"send_done_email": False}`. Raises AuthenticationError without a
    key and InvalidRequestError for a base URL that would send a key unencrypted to another machine.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        auth: Auth | None = None,
        base_url: str = BASE_URL,
        session: aiohttp.ClientSession | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        poll: PollPolicy = PollPolicy(),  # noqa: B008 - frozen
        start: StartPolicy = StartPolicy(),  # noqa: B008 - frozen
        limiter: Limiter | None = None,
        journal: Journal | str | PathLike[str] | None = None,
        hooks: Iterable[Hook] = (),
        tz_offset: float | None = None,
        clock: Clock | None = None,
        defaults: Mapping[str, Any] | None = None,
        user_agent: str | None = None,
    ) -> None:
        """Check what was given; nothing is opened and nothing sent."""
        clock = clock or SystemClock()
        settings = Settings(
            base_url=check_base_url(base_url),
            auth=choose_auth(api_key, auth),
            timeouts=timeouts,
            retry=retry,
            clock=clock,
            tz_offset=check_tz_offset(tz_offset),
            user_agent=check_user_agent(user_agent),
        )
        tell = Telling(check_hooks(hooks))
        transport = Transport(settings, session=check_session(session), limiter=check_limiter(limiter), tell=tell)
        starting = transport.serving(Priority.START)
        self.journal: Journal
        self.journal, self._owns_journal = choose_journal(journal, clock)
        told_journal: Journal = AnnouncingJournal(self.journal, tell) if tell else self.journal
        account = Account(starting, tells_organizations=journal is not None)
        self._fences = Fences(starting, most_requests=start.fence_requests)
        self._ownership = Ownership(told_journal, clock=clock, lease=start.lease)
        reconciler = Reconciler(
            starting,
            journal=told_journal,
            account=account,
            fences=self._fences,
            clock=clock,
            policy=start,
            settle=poll.settle,
            tell=tell,
        )
        self._recovery = Recovery(
            starting,
            journal=told_journal,
            account=account,
            ownership=self._ownership,
            reconciler=reconciler,
            clock=clock,
        )
        bookkeeper = Bookkeeper(told_journal, account=account, clock=clock)
        workshop = Workshop(
            transport=starting,
            journal=told_journal,
            account=account,
            ownership=self._ownership,
            fences=self._fences,
            recovery=self._recovery,
            clock=clock,
        )
        self._engine = Engine(
            transport=transport,
            starter=Starter(workshop),
            watcher=Watcher(
                open_desks(transport.serving(Priority.POLL), clock=clock, policy=poll, note=bookkeeper.note, tell=tell),
                clock=clock,
                policy=poll,
                tell=tell,
            ),
            bookkeeper=bookkeeper,
            defaults=_check_defaults(defaults or {}),
        )
        self._base_url = settings.base_url
        self.webhooks: Webhooks = Webhooks(transport)
        self.search: Search = Search(transport, clock=clock)
        self.emails: BulkEmails = BulkEmails(self._engine)
        self.deletes: BulkDeletes = BulkDeletes(self._engine)
        self.edits: BulkEdits = BulkEdits(self._engine)
        self.sequence_subscriptions: BulkSequenceSubscriptions = BulkSequenceSubscriptions(self._engine)
        self.exports: Exports = Exports(self._engine)

    @classmethod
    def from_env(cls, api_key: str | None = None, **keywords: Unpack[ClientKeywords]) -> Self:
        """As the constructor, with `CLOSE_BASE_URL` for a `base_url` that is not given."""
        base_url = os.environ.get("CLOSE_BASE_URL")
        if base_url:
            keywords.setdefault("base_url", base_url)
        return cls(api_key, **keywords)

    def __repr__(self) -> str:
        return f"CloseBulk(base_url={self._base_url!r})"

    async def __aenter__(self) -> Self:
        self._engine.transport.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client, for good. Waits for every POST under way, at most for its total timeout."""
        engine = self._engine
        engine.transport.stop()
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(engine.transport.aclose)
            if self._owns_journal:
                last_first.push_async_callback(self.journal.aclose)
            last_first.push_async_callback(self._ownership.aclose)
            last_first.push_async_callback(self._fences.aclose)
            last_first.push_async_callback(engine.starter.drain)
            last_first.push_async_callback(engine.watcher.aclose)

    @overload
    async def get(self, ref: str, *, fields: Iterable[str] | None = None) -> BulkAction: ...

    @overload
    async def get(self, ref: A | JobRef[A], *, fields: Iterable[str] | None = None) -> A: ...

    async def get(self, ref: Any, *, fields: Iterable[str] | None = None) -> Any:
        """The action that a ref names, of whatever kind. Raises NotFoundError."""
        return await get_action(self._engine, to_ref(ref), fields=fields)

    @overload
    async def pause(self, ref: str) -> BulkAction: ...

    @overload
    async def pause(self, ref: A | JobRef[A]) -> A: ...

    async def pause(self, ref: Any) -> Any:
        """Pause the action that a ref names, as its endpoint's `pause` does."""
        return await set_status(self._engine, to_ref(ref), Status.PAUSED)

    @overload
    async def resume(self, ref: str) -> BulkAction: ...

    @overload
    async def resume(self, ref: A | JobRef[A]) -> A: ...

    async def resume(self, ref: Any) -> Any:
        """Resume the action that a ref names, as its endpoint's `resume` does."""
        return await set_status(self._engine, to_ref(ref), Status.RESUMING)

    @overload
    def wait_until_done(self, action: str, **options: Unpack[WaitKeywords]) -> Wait[BulkAction]: ...

    @overload
    def wait_until_done(self, action: A | JobRef[A], **options: Unpack[WaitKeywords]) -> Wait[A]: ...

    def wait_until_done(self, action: Any, **options: Unpack[WaitKeywords]) -> Wait[Any]:
        """Wait for the end of an action, its ref or the ref's text: iterate for progress, await for the action.

        `timeout` bounds the wait (WaitTimeout; the action goes on), `stall_timeout` the time without any movement
        (BulkActionStalled). `on_paused` is `"wait"`, `"raise"` (BulkActionPaused) or `"return"`. With `heartbeat` an
        iteration also steps when nothing moved for that long. Nothing limits a wait by default: an action may take
        days.
        """
        return wait_for(self._engine, to_ref(action), options, known=to_snapshot(action))

    def outcomes(self, action: ActionLike[BulkAction], *, events: Iterable[tuple[str, str]] | None = None) -> Outcomes:
        """What an action did to each object, as far as the service's event log tells: iterate over it.

        `events` are the types of events to look for, as pairs of object type and action (`("lead", "deleted")`),
        instead of those that such an action is known to cause. The log has no filter by action: all events of these
        types are read, by fifties, from the time in which it ran. Raises InvalidRequestError for an export.
        """
        return Outcomes(self._engine, to_ref(action), events=events)

    @property
    def limits(self) -> Mapping[str, GroupLimits]:
        """What the answers so far have shown of the service's rate limits, by endpoint group.

        A picture of this moment, of this client's own requests; nothing is sent for it.
        """
        return self._engine.transport.limits.read()

    def notify(self, event: WebhookEvent) -> None:
        """Take in a webhook that `verify_webhook` has checked: whoever waits for its action hears of it at once.

        It only wakes the polls: what they read decides. So events that come twice, late, in another order or not at
        all do no harm. While events of an action arrive, it is polled less (`PollPolicy.webhook_beat`).
        """
        if (ref := event.ref) is not None:
            self._engine.watcher.hear(ref, action=event.action, is_rest=event.is_rest)

    def recover(self) -> AsyncGenerator[Recovered, None]:
        """What earlier processes left open in the journal, for a service that starts again; it sends no POST.

        Yields each intent once, in the order in which it becomes known: with its action (running, or ended meanwhile),
        for the service to wait for; in the state `new`, where it is proved that nothing ran and the same `create` with
        its key would send it; in the state `final`, where nothing ran and it had no key; or with an `error` that needs
        an operator. What another living client works on is left out. Leave early inside `contextlib.aclosing(...)`.
        Raises JournalError, and what reading `/me/` raises.
        """
        return self._recovery.recover()

    async def reconcile(self, intent_id: str) -> BulkAction:
        """Look for the action of an ambiguous start, and return it as it is now.

        Raises AmbiguousStartError where its outcome stays unknown, StartError where it is known that there is none, and
        InvalidRequestError where the journal has no such intent.
        """
        return await self._recovery.reconcile(intent_id)

    async def adopt(self, intent_id: str, ref: ActionLike[BulkAction]) -> BulkAction:
        """Make an action the one of an ambiguous start: for an operator who has found it.

        Raises InvalidRequestError where the intent has another one, or the action belongs to another intent.
        """
        intent = await self._recovery.get(intent_id)
        return await self._recovery.adopt(intent_id, to_ref(ref, kind=intent.kind))

    async def abandon(self, intent_id: str) -> None:
        """Give an intent up: for an operator who knows that it has no action, or wants to hear no more of it.

        Nothing happens to its action, if it has one; if not, its idempotency key is free again. Raises StartError while
        a living client works on it.
        """
        await self._recovery.abandon(intent_id)

    @overload
    def watch(  # type: ignore[overload-overlap]  # mypy takes A for any job here, and then the next does not fit
        self, *actions: A | JobRef[A], raise_on_failure: bool = False, **options: Unpack[WaitKeywords]
    ) -> AsyncGenerator[Progress[A], None]: ...

    @overload
    def watch(
        self, *actions: ActionLike[BulkAction], raise_on_failure: bool = False, **options: Unpack[WaitKeywords]
    ) -> AsyncGenerator[Progress[BulkAction], None]: ...

    @overload
    def watch(
        self, *actions: ActionLike[Job], raise_on_failure: bool = False, **options: Unpack[WaitKeywords]
    ) -> AsyncGenerator[Progress[Job], None]: ...

    def watch(
        self, *actions: ActionLike[Any], raise_on_failure: bool = False, **options: Unpack[WaitKeywords]
    ) -> AsyncGenerator[Progress[Any], None]:
        """The steps of many actions in one stream, until all of them have ended.

        `options` are those of `wait_until_done`. What would end a wait with an exception is the last progress of that
        action, with the exception as its `error`, and the others go on; with `raise_on_failure` it is raised after that
        progress. Of each action there is always the newest progress, and the final one is never lost, however slow the
        consumer. Leave early inside `contextlib.aclosing(...)`, so that the polls end at once.
        """
        wait_options = read_wait_options("watch", options)
        return watch(self._engine, actions, wait_options, raise_on_failure=raise_on_failure)

    @overload
    def watch_active(
        self,
        *,
        kinds: None = None,
        follow: bool = False,
        raise_on_failure: bool = False,
        **options: Unpack[WaitKeywords],
    ) -> AsyncGenerator[Progress[BulkAction], None]: ...

    @overload
    def watch_active(
        self,
        *,
        kinds: Iterable[Kind | str] | None,
        follow: bool = False,
        raise_on_failure: bool = False,
        **options: Unpack[WaitKeywords],
    ) -> AsyncGenerator[Progress[Job], None]: ...

    def watch_active(
        self,
        *,
        kinds: Iterable[Kind | str] | None = None,
        follow: bool = False,
        raise_on_failure: bool = False,
        **options: Unpack[WaitKeywords],
    ) -> AsyncGenerator[Progress[Any], None]:
        """As `watch`, of all actions of these kinds (None: of all four) that have not ended yet, whoever started them.

        Exports are watched where they are named.

        The lists have no filter for that: they are read to their ends, a request for each hundred actions ever
        started. With `follow` the stream does not end: where new actions appear, the lists are looked at every
        `PollPolicy.discover` seconds; a list of more than 2,000 rows in no order is read to its end for that, ten times
        as rarely. A kind that is not named and may not be read is left out. Raises what reading a list raises.
        """
        wait_options = read_wait_options("watch_active", options)
        return watch_active(self._engine, kinds, wait_options, follow=follow, raise_on_failure=raise_on_failure)

    async def recent(
        self,
        *,
        kinds: Iterable[Kind | str] | None = None,
        since: Duration | None = None,
        limit: int = 100,
        fields: Iterable[str] | None = None,
        active: bool = False,
    ) -> list[Job]:
        """The newest `limit` jobs of these kinds (None: of all, exports included), newest first.

        `since` is how long ago the oldest may have been created. Of each kind the list is read where new rows appear,
        and to its end where it is in no order. With `active` only those that have not ended: the lists have no filter
        for that, and one that began long ago may still run, so that they are read to their ends, or down to `since`, a
        request for each hundred actions. `fields` narrows what is read of each; `id`, `status`, the counters and
        `date_created` always are. A kind that is not named and may not be read is left out. Raises what reading a list
        raises, and PermissionDeniedError where no list at all may be read.
        """
        return await find_recent(self._engine, kinds, since=since, limit=limit, fields=fields, active=active)

    async def me(self) -> Me:
        """Whose key it is, and how far this machine's clock is off. Raises AuthenticationError for a bad key."""
        return await self._engine.transport.read(build_me(), read_me)

    @overload
    async def wait_all(
        self, actions: Iterable[ActionLike[BulkAction]], **options: Unpack[WaitKeywords]
    ) -> list[Outcome[BulkAction]]: ...

    @overload
    async def wait_all(
        self, actions: Iterable[ActionLike[Job]], **options: Unpack[WaitKeywords]
    ) -> list[Outcome[Job]]: ...

    async def wait_all(self, actions: Iterable[ActionLike[Any]], **options: Unpack[WaitKeywords]) -> list[Outcome[Any]]:
        """Wait for all of `actions`; outcomes come in their order, a failure of one being its `error`."""
        return await wait_all(self._engine, actions, options)

    def run_many(
        self,
        starts: Iterable[Start],
        *,
        max_running: int,
        stop_on_error: bool = False,
        **options: Unpack[WaitKeywords],
    ) -> AsyncGenerator[Outcome[BulkAction], None]:
        """Start each of `starts` and wait for it, at most `max_running` at a time; outcomes come as they are known.

        `starts` may be a generator of any length: it is read as places become free. With `stop_on_error` no start
        follows the first failure; what runs by then is still waited for, as it is when `starts` itself raises.
        `options` are those of `wait_until_done`; a wait that ends before its job (a timeout, say) frees the place all
        the same. Leave early inside `contextlib.aclosing(...)`, so that the waits end at once.
        """
        return run_many(self._engine, starts, max_running=max_running, stop_on_error=stop_on_error, options=options)


def engine_of(client: CloseBulk) -> Engine:
    """What the endpoints of a client share, for the parts of this package that poll by themselves."""
    return client._engine  # noqa: SLF001 - of the class above


def _check_defaults(defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    if strange := sorted(map(str, defaults.keys() - DEFAULTABLE)):
        message = f"defaults holds {', '.join(strange)}: it may hold {', '.join(sorted(DEFAULTABLE))}"
        raise InvalidRequestError(message)
    return dict(defaults)
