"""Starts through a fleet: asked for in one process, run in another one, and told to whoever asked."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs
import orjson
from psycopg.types.json import Json

from closebulk_async.errors import (
    AmbiguousStartError,
    AuthenticationError,
    ClientClosedError,
    CloseBulkError,
    IdempotencyConflictError,
    InvalidRequestError,
    JournalError,
    StartError,
    TransportError,
)
from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.integrations.fleet_errors import error_from_json, error_to_json
from closebulk_async.integrations.fleet_news import News
from closebulk_async.intents import State
from closebulk_async.models import MODEL_OF_KIND, BulkAction, JobRef, Kind
from closebulk_async.operations import split_keywords
from closebulk_async.starting import ambiguous
from closebulk_async.starts import DeleteStart, EditStart, EmailStart, SequenceStart
from closebulk_async.wire import bare_action

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from psycopg import AsyncConnection
    from psycopg.rows import DictRow

    from closebulk_async.client import CloseBulk
    from closebulk_async.integrations.fleet_accounts import Accounts
    from closebulk_async.integrations.fleet_news import Newsroom
    from closebulk_async.integrations.fleet_store import Store
    from closebulk_async.intents import Intent
    from closebulk_async.starting import StartOptions
    from closebulk_async.starts import Start

logger: logging.Logger = logging.getLogger("closebulk_async")

LOOK_AGAIN = 2.0
"""Seconds between two looks at a start of which no news came."""

MOST_TRIES = 30
"""Of a start that fails by the journal: the database is there, or no try would be counted. One in doubt has no end."""

CLASSES: Mapping[Kind, type[Start]] = {cls.kind: cls for cls in (EmailStart, DeleteStart, EditStart, SequenceStart)}


class DoubtfulStartError(Exception):
    """For the engine: this task is to be tried again, later and later.

    Of a start of which nobody knows what became of it, or of which nothing could be sent by an outage.
    """


def request_to_json(start: Start, options: StartOptions) -> dict[str, Any]:
    """The keywords of the `create` that makes the same start."""
    flags = {name: getattr(start, name) for name in start.not_sent if getattr(start, name, None)}
    return {**start.given(), **flags, **attrs.asdict(options)}


class Starts:
    """Both ends of a start."""

    def __init__(
        self,
        store: Store,
        newsroom: Newsroom,
        accounts: Accounts,
        *,
        defer: Callable[[str, AsyncConnection[Any] | None], Awaitable[None]],
        follow: Callable[[str, Kind], Awaitable[None]],
    ) -> None:
        """`defer` makes the task of a start, in the caller's transaction; `follow` sees that a kind is polled."""
        self._store = store
        self._newsroom = newsroom
        self._accounts = accounts
        self._defer = defer
        self._follow = follow

    # Whoever asks ---------------------------------------------------------------------------------------------------

    async def start(self, kind: Kind, account: str, keywords: Mapping[str, Any]) -> BulkAction:
        """Ask for a start, and wait for what becomes of it."""
        # Without a key of the caller's, that of the row is the start's own: an intent that has it can be no other's.
        id_, is_settled, key = uuid.uuid4().hex, asyncio.Event(), keywords.get("idempotency_key")
        key = id_ if key is None else key
        start, options = split_keywords(CLASSES[kind], {**keywords, "idempotency_key": key})
        self._accounts.check_timeout(options.timeout)
        scope = await self._accounts.scope_here(account)
        row = {"id": id_, "account": account, "scope": scope, "kind": str(kind), "idempotency_key": key}

        def read(news: News) -> None:
            if news.what == "missed" or (news.what == "start" and id_ in news.ids):
                is_settled.set()

        with self._newsroom.reading(read):
            await self._ask({**row, "request": Json(request_to_json(start, options))})
            settled = await self._wait(row, is_settled)
        return await self._tell(settled)

    async def _ask(self, row: Mapping[str, Any]) -> None:
        """Write the row, and make its task. Once that may be done, an outage ends this no more: it is waited for."""
        may_be_done = False

        async def ask(connection: AsyncConnection[Any]) -> None:
            nonlocal may_be_done
            asked = await connection.execute(tables.ASK, row)
            if await asked.fetchone() is not None:  # else this is the second try, and the first one was committed
                await self._defer(row["id"], connection)
            may_be_done = True  # by the commit, which comes next

        try:
            await self._store.do(ask)
        except JournalError:
            if not may_be_done:
                raise
            with _may_be_done(row):
                await self._store.do(ask, is_patient=True)

    async def _wait(self, asked: Mapping[str, Any], is_settled: asyncio.Event) -> DictRow:
        """The row once there is something to tell."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await is_settled.wait()
            is_settled.clear()
            with _may_be_done(asked):
                (row,) = await self._store.ask_patiently(tables.GET_START, id=asked["id"])
            if row["state"] != "waiting":
                return row

    async def _tell(self, row: DictRow) -> BulkAction:
        if row["state"] == "started":
            action: Any = MODEL_OF_KIND[Kind(row["kind"])].from_dict(row["outcome"])
            return action  # type: ignore[no-any-return]  # of one of the four kinds
        error = error_from_json(row["outcome"])
        if isinstance(error, AmbiguousStartError):
            client = await self._accounts.client(row["account"])
            error.offer(client.reconcile)
        raise error

    # Whoever works --------------------------------------------------------------------------------------------------

    async def run(self, id: str) -> None:
        """Do what is asked for, and write down what came of it. Raises DoubtfulStartError where that is unknown yet."""
        rows = await self._store.ask(tables.GET_START, id=id)
        if not rows or rows[0]["state"] not in {"waiting", "ambiguous"}:
            return
        (row,) = rows
        try:
            action = await self._create(row)
        except AmbiguousStartError as exc:
            await self._settle_doubtful(row, exc)
        except ClientClosedError:
            raise  # this worker ends; another one goes on
        except JournalError as exc:
            (counted,) = await self._store.ask(tables.COUNT_TRY, id=id)
            if counted["attempts"] < MOST_TRIES:
                raise
            await self._settle_error(row, exc)
        except Exception as exc:
            if not isinstance(exc, CloseBulkError):
                logger.exception("start %s", id)
            await self._settle_error(row, exc)
        else:
            await self._settle_started(row, action)

    async def _create(self, row: DictRow) -> BulkAction:
        client = await self._accounts.client(row["account"])
        await self._bind(row)
        if row["intent"] is not None and (known := await self._ask_again(client, row["intent"])) is not None:
            return known
        endpoints = {
            Kind.EMAIL: client.emails,
            Kind.DELETE: client.deletes,
            Kind.EDIT: client.edits,
            Kind.SEQUENCE_SUBSCRIPTION: client.sequence_subscriptions,
        }
        self._accounts.check_timeout(row["request"].get("timeout"))  # its caller may have another `grace` than this one
        endpoint: Any = endpoints[Kind(row["kind"])]
        created: BulkAction = await endpoint.create(**row["request"])
        return created

    async def _bind(self, row: DictRow) -> None:
        """See that this worker's key is of the caller's organization. Raises InvalidRequestError.

        Afterwards the row tells the organization in any case: nothing of a row without one was ever sent.
        """
        scope = await self._accounts.scope(row["account"])
        if row["scope"] is None:
            (bound,) = await self._store.ask(tables.BIND_START, id=row["id"], scope=scope)
            row["scope"] = bound["scope"]
        if row["scope"] != scope:
            message = (
                f"a start through the account {row['account']!r} was asked for in {row['scope']}, and a worker's key "
                f"of that name is of {scope}: it is not sent. Give all processes of the fleet keys of one organization"
            )
            raise InvalidRequestError(message)

    async def _ask_again(self, client: CloseBulk, intent_id: str) -> BulkAction | None:
        """For an intent that was in doubt. None where nothing of it was sent, so that it may be.

        Not `create`: an operator may have given the intent up, and it would send another one in its place.
        """
        intent = await client.journal.get(intent_id)
        if intent is None or (intent.state is State.FINAL and intent.ref is None):
            message = f"intent {intent_id} was given up; this start is not sent any more"
            raise StartError(message)
        if intent.state is State.NEW:
            return None
        try:
            return await client.reconcile(intent_id)
        except AmbiguousStartError:
            raise
        except StartError:
            settled = await client.journal.get(intent_id)
            if settled is not None and settled.state is State.NEW:
                return None  # its owner is proved dead, and nothing of it ran
            raise

    async def _settle_started(self, row: DictRow, action: BulkAction) -> None:
        shown = Json(action.to_dict())
        await self._store.ask(
            tables.SETTLE_WITH_ACTION,
            **self._settled(row, state="started", ref=str(action.ref), outcome=shown),
            account=row["account"],
            kind=row["kind"],
            action=action.id,
            snapshot=None if action.unset else shown,
            is_started=True,
            due=News(what="due", account=row["account"], kind=row["kind"]).to_text(),
        )
        await self._follow(row["account"], Kind(row["kind"]))

    async def _settle_error(self, row: DictRow, error: Exception) -> None:
        """For an error that says nothing of a POST: whether there was one before is for the journal to say."""
        if isinstance(error, AuthenticationError):
            self._accounts.doubt(row["account"])
        intent = await self._intent_of(row, error)
        if intent is not None and intent.state is State.POSTING:
            doubt = ambiguous(intent, f"what became of it cannot be found out just now: {error}")
            await self._settle_doubtful(row, doubt)
        elif intent is not None and intent.ref is not None:
            logger.info("start %s: %s was started, and could not be read: %s", row["id"], intent.ref, error)
            await self._settle_started(row, bare_action(intent.ref))
        elif isinstance(error, TransportError) and not error.sent:
            logger.warning("start %s could not be sent, and is tried again later: %s", row["id"], error)
            raise DoubtfulStartError(str(error)) from error
        else:
            await self._fail(row, error)

    async def _intent_of(self, row: DictRow, error: Exception) -> Intent | None:
        """What was written down before a POST of this start; None where there was none."""
        journal = self._accounts.journal
        if row["intent"] is not None:
            return await journal.get(row["intent"])
        found = await self._store.ask(tables.INTENT_OF_KEY, scope=row["scope"], key=row["idempotency_key"])
        intent = await journal.get(found[0]["id"]) if found else None
        if intent is None or row["idempotency_key"] == row["id"]:
            return intent
        # A key of the caller's may be that of another request.
        is_other = isinstance(error, IdempotencyConflictError) or not _is_asked_for(intent, row)
        return None if is_other else intent

    async def _settle_doubtful(self, row: DictRow, error: AmbiguousStartError) -> None:
        if row["request"].get("on_ambiguous") == "raise":
            await self._fail(row, error)
            return
        outcome = Json(error_to_json(error))
        settled = self._settled(row, state="ambiguous", outcome=outcome, intent=error.intent.id)
        await self._store.ask(tables.SETTLE, **settled)
        raise DoubtfulStartError(str(error)) from error

    async def _fail(self, row: DictRow, error: Exception) -> None:
        await self._store.ask(tables.SETTLE, **self._settled(row, state="failed", outcome=Json(error_to_json(error))))

    def _settled(self, row: DictRow, *, state: str, outcome: Json, **known: str) -> dict[str, Any]:
        news = News(what="start", ids=[row["id"]]).to_text()
        settled = {"id": row["id"], "state": state, "outcome": outcome, "news": news}
        return {"ref": None, "intent": row["intent"], **known, **settled}


def ref_of(row: DictRow) -> JobRef[Any]:
    """The action of a row of `closebulk.actions`."""
    return JobRef(Kind(row["kind"]), row["id"])


def _is_asked_for(intent: Intent, row: DictRow) -> bool:
    """Whether it is of this very request, of which a client's defaults may have made more."""
    start, _ = split_keywords(CLASSES[Kind(row["kind"])], row["request"])
    return intent.kind is start.kind and orjson.loads(start.to_json()).items() <= intent.request.items()


@contextmanager
def _may_be_done(row: Mapping[str, Any]) -> Iterator[None]:
    """Whoever gets an error here may not take the start for one that was never made."""
    try:
        yield
    except JournalError as exc:
        message = (
            f"{exc}. The start may be done all the same: ask for it again with "
            f"idempotency_key={row['idempotency_key']!r}, and there is one"
        )
        raise JournalError(message) from exc
