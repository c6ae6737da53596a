"""Airflow: an operator that starts a bulk action once, and waits for it in the triggerer.

Extra: `closebulk-async[airflow]`. It needs Airflow 3.3: the task state store came with it, and what older versions keep
of a task (its XComs) is cleared before it is tried again.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypedDict, TypeVar

from closebulk_async.clock import SystemClock
from closebulk_async.errors import (
    APIError,
    BulkActionFailed,
    CloseBulkError,
    IdempotencyConflictError,
    InvalidRequestError,
    RateLimitedError,
    TooManyMatchesError,
    UnsafeQueryError,
)
from closebulk_async.integrations.airflow_clients import CLIENTS, read_access
from closebulk_async.integrations.task_state import TaskStateJournal
from closebulk_async.models import BULK_KINDS, Kind
from closebulk_async.policy import to_seconds_or_none
from closebulk_async.waiters import OnPaused, WaitOptions
from closebulk_async.wire import is_rejection

try:
    from airflow.sdk import BaseOperator
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRuntimeError
    from airflow.sdk.execution_time.context import NEVER_EXPIRE
    from airflow.triggers.base import BaseTrigger, TriggerEvent
except ImportError as _exc:
    message = "Airflow 3.3 or newer is not installed: pip install 'closebulk-async[airflow]'"
    raise ImportError(message, name=_exc.name) from _exc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence

    from closebulk_async.client import CloseBulk
    from closebulk_async.integrations.airflow_clients import Access
    from closebulk_async.models import BulkAction
    from closebulk_async.operations import WaitKeywords
    from closebulk_async.policy import Duration
    from closebulk_async.progress import Progress

T = TypeVar("T")

STATE = "closebulk"
"""The key under which the task state store holds the journal of a task."""

Result: TypeAlias = "dict[str, str | int | None]"
"""What the task gives to others (its XCom): `ref`, `status`, `n_objects_processed` and `n_objects`."""


class Report(TypedDict):
    """How following an action has ended, as the trigger tells the worker. Without an `error` it is done."""

    ref: str
    status: str | None
    n_objects_processed: int | None
    n_objects: int | None
    error: str | None
    is_permanent: bool
    """Whether trying again would end the same way."""


class TaskName(Protocol):
    """What names a task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int | None


def make_idempotency_key(task: TaskName) -> str:
    """The key of a task instance, the same in each of its tries. Neither Dag ids nor task ids have a slash."""
    map_index = -1 if task.map_index is None else task.map_index
    return f"airflow/{task.dag_id}/{task.run_id}/{task.task_id}/{map_index}"


class CloseBulkOperator(BaseOperator):
    """Starts one bulk action of a `kind` and waits until it is done; `arguments` are the keywords of its `create`.

    The action is started once for each run of the Dag: a task that is tried again, or cleared, goes on with the action
    that an earlier try has started, or may have started. For that, the start is kept in the task state store before it
    is sent. The result is a `Result`; failures raise AirflowException, or AirflowFailException where no other try can
    end differently, with the ref of the action.

    The API key is the password of the connection `conn_id`, whose host may be another base URL; without a `conn_id` it
    is `CLOSE_API_KEY`, of the worker's environment and of the triggerer's. With `deferrable=False` the worker waits.
    `timeout` (of each try), `stall_timeout` and `on_paused` are those of `wait_until_done`. The action runs on when the
    task is killed, unless `pause_on_kill`; who runs that task again has to resume the action.
    """

    template_fields: ClassVar[Sequence[str]] = ("arguments", "conn_id")

    def __init__(
        self,
        *,
        kind: Kind | str,
        arguments: Mapping[str, Any],
        conn_id: str | None = None,
        deferrable: bool = True,
        timeout: Duration | None = None,
        stall_timeout: Duration | None = None,
        on_paused: OnPaused = "wait",
        pause_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        """Check what can be checked before the templates of `arguments` are filled. Raises InvalidRequestError."""
        super().__init__(**kwargs)
        if kind not in BULK_KINDS:
            message = f"kind must be one of {', '.join(BULK_KINDS)} and is {kind!r}"
            raise InvalidRequestError(message)
        WaitOptions.from_keywords(timeout=timeout, stall_timeout=stall_timeout, on_paused=on_paused)
        self.kind: str = str(kind)
        self.arguments = arguments
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.timeout: float | None = to_seconds_or_none(timeout, name="timeout")
        self.stall_timeout: float | None = to_seconds_or_none(stall_timeout, name="stall_timeout")
        self.on_paused = on_paused
        self.pause_on_kill = pause_on_kill
        self._ref: str | None = None
        self._cancel: Callable[[], object] | None = None
        self._is_killed = False

    def execute(self, context: Mapping[str, Any]) -> Result:
        """Start the action, or find the one that was started, and wait for it."""
        store = context["task_state_store"]
        journal = TaskStateJournal(
            read=partial(store.get, STATE), write=partial(store.set, STATE, retention=NEVER_EXPIRE)
        )
        access = read_access(self.conn_id)
        action = self._run(self._start(access, journal, make_idempotency_key(context["ti"])))
        self._ref = str(action.ref)
        trigger = self._make_trigger(self._ref)
        # One that has ended meanwhile, as an earlier try's may have, is worth no way through the triggerer.
        if self.deferrable and (action.unset or not action.is_final):
            self.defer(trigger=trigger, method_name=self.execute_complete.__name__)
        return _conclude(self._run(self._wait(access, trigger)))

    def execute_complete(self, context: Mapping[str, Any], event: Report) -> Result:  # noqa: ARG002 - Airflow's signature
        """Take over from the trigger."""
        return _conclude(event)

    def on_kill(self) -> None:
        """Send nothing more; pause the action if that was asked for. Runs in a signal handler, or after a timeout."""
        self._is_killed = True
        if self._cancel is not None:
            self._cancel()
        elif self.pause_on_kill and self._ref is not None:
            asyncio.run(self._pause(read_access(self.conn_id), self._ref))

    async def _start(self, access: Access, journal: TaskStateJournal, key: str) -> BulkAction:
        try:
            async with access.open(journal) as close:
                try:
                    action = await _create(close, self.kind, self.arguments, key)
                except asyncio.CancelledError:
                    started = [intent.ref for intent in await journal.unfinished() if intent.ref is not None]
                    self._ref = str(started[0]) if started else None
                    await self._leave(close)
                    raise
        except CloseBulkError as exc:
            raise _failure(str(exc), is_permanent=_is_permanent(exc)) from exc
        finally:
            await journal.aclose()
        self.log.info("%s is the bulk action of this task", action.ref)
        return action

    async def _wait(self, access: Access, trigger: BulkActionTrigger) -> Report:
        async with access.open() as close:
            try:
                return await trigger.follow(close)
            except asyncio.CancelledError:
                await self._leave(close)
                raise

    async def _leave(self, close: CloseBulk) -> None:
        if self.pause_on_kill and self._ref is not None:
            await _pause(close, self._ref, self.log.warning)

    async def _pause(self, access: Access, ref: str) -> None:
        async with access.open() as close:
            await _pause(close, ref, self.log.warning)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        async def run() -> T:
            task = asyncio.current_task()
            if task is not None:
                # From a signal handler, which must not touch what the loop may be in the middle of.
                self._cancel = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
                if self._is_killed:
                    task.cancel()
            try:
                return await work
            finally:
                self._cancel = None

        try:
            return asyncio.run(run())
        except asyncio.CancelledError:
            known = f"its action is {self._ref}" if self._ref else "no action of it is known"
            raise AirflowException(f"the task was killed; {known}") from None

    def _make_trigger(self, ref: str) -> BulkActionTrigger:
        now = SystemClock().now()
        return BulkActionTrigger(
            ref=ref,
            conn_id=self.conn_id,
            deadline=None if self.timeout is None else (now + timedelta(seconds=self.timeout)).isoformat(),
            stall_timeout=self.stall_timeout,
            on_paused=self.on_paused,
            pause_on_kill=self.pause_on_kill,
        )


class BulkActionTrigger(BaseTrigger):
    """Waits for the end of an action, and sends nothing but GETs; when its task is killed it pauses it if asked to.

    All of them in one triggerer that have the same `conn_id` share a client, so that many actions are polled together.
    `deadline` is a moment in ISO format: it holds also where another triggerer takes over. The key is no argument.
    """

    def __init__(
        self,
        *,
        ref: str,
        conn_id: str | None = None,
        deadline: str | None = None,
        stall_timeout: float | None = None,
        on_paused: OnPaused = "wait",
        pause_on_kill: bool = False,
    ) -> None:
        """Made by the operator, and again by each triggerer from what `serialize` says."""
        super().__init__()
        self.ref = ref
        self.conn_id = conn_id
        self.deadline = deadline
        self.stall_timeout = stall_timeout
        self.on_paused = on_paused
        self.pause_on_kill = pause_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class, and the arguments, as they are written into the metadata database."""
        names = ("ref", "conn_id", "deadline", "stall_timeout", "on_paused", "pause_on_kill")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire once, with a Report."""
        try:
            async with CLIENTS.share(self.conn_id) as close:
                report = await self.follow(close)
        # No key, a base URL that cannot be, or a connection that cannot be read just now.
        except (CloseBulkError, AirflowException, AirflowRuntimeError) as exc:
            report = _report_failure(self.ref, exc)
        yield TriggerEvent(report)

    async def on_kill(self) -> None:
        """Pause the action if that was asked for: somebody has marked or cleared the task."""
        if self.pause_on_kill:
            async with CLIENTS.share(self.conn_id) as close:
                await _pause(close, self.ref, self.log.warning)

    async def follow(self, close: CloseBulk) -> Report:
        """Tell the log of every step until the action has ended."""
        options: WaitKeywords = {"stall_timeout": self.stall_timeout, "on_paused": self.on_paused}
        if self.deadline is not None:
            left = datetime.fromisoformat(self.deadline) - SystemClock().now()
            options["timeout"] = max(left, timedelta(0))
        try:
            async with close.wait_until_done(self.ref, **options) as wait:
                async for progress in wait:
                    self.log.info("%s", describe(progress))
                return _report(await wait)
        except CloseBulkError as exc:
            return _report_failure(self.ref, exc)


async def _create(close: CloseBulk, kind: str, arguments: Mapping[str, Any], key: str) -> BulkAction:
    if "idempotency_key" in arguments:
        message = "idempotency_key is no argument: the task has one of its own"
        raise InvalidRequestError(message)
    endpoints: Mapping[str, Callable[..., Awaitable[BulkAction]]] = {
        Kind.EMAIL: close.emails.create,
        Kind.DELETE: close.deletes.create,
        Kind.EDIT: close.edits.create,
        Kind.SEQUENCE_SUBSCRIPTION: close.sequence_subscriptions.create,
    }
    return await endpoints[kind](**arguments, idempotency_key=key)


async def _pause(close: CloseBulk, ref: str, say: Callable[..., None]) -> None:
    """Pause an action that runs. Where that fails nothing is left to be done but to say so."""
    try:
        action = await close.get(ref)
        if not action.is_final and not action.is_paused:
            await close.pause(ref)
            say("%s is paused, because its task was killed; closebulk resume %s lets it go on", ref, ref)
    except CloseBulkError as exc:
        say("%s could not be paused: %s", ref, exc)


def describe(progress: Progress[Any]) -> str:
    """A step of a wait, as a line of a log."""
    of_all = "" if progress.n_objects is None else f" of {progress.n_objects}"
    eta = (
        ""
        if progress.eta is None or progress.is_final
        else f", {timedelta(seconds=round(progress.eta.total_seconds()))} left"
    )
    error = "" if progress.last_error is None else f"; the last poll failed: {progress.last_error}"
    return f"{progress.ref} is {progress.status}: {progress.n_objects_processed}{of_all} processed{eta}{error}"


def _report(action: BulkAction) -> Report:
    return Report(
        ref=str(action.ref),
        status=None if action.status is None else str(action.status),
        n_objects_processed=action.n_objects_processed,
        n_objects=action.n_objects,
        error=None,
        is_permanent=False,
    )


def _report_failure(ref: str, error: Exception) -> Report:
    text = str(error) if ref in str(error) else f"{ref}: {error}"
    return Report(
        ref=ref, status=None, n_objects_processed=None, n_objects=None, error=text, is_permanent=_is_permanent(error)
    )


def _conclude(report: Report) -> Result:
    if report["error"] is not None:
        raise _failure(report["error"], is_permanent=report["is_permanent"])
    return {name: report[name] for name in ("ref", "status", "n_objects_processed", "n_objects")}


def _failure(text: str, *, is_permanent: bool) -> Exception:
    failure: Exception = AirflowFailException(text) if is_permanent else AirflowException(text)
    return failure


def _is_permanent(error: Exception) -> bool:
    """Whether the same start, or a wait for the same action, would end like this again."""
    if isinstance(error, RateLimitedError):
        return False
    if isinstance(error, APIError):
        return error.status is None or is_rejection(error.status)
    return isinstance(
        error,
        InvalidRequestError | UnsafeQueryError | TooManyMatchesError | IdempotencyConflictError | BulkActionFailed,
    )
