"""What a round of tending mends, with an engine whose rows a test has written."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from closebulk_async.clock import SystemClock
from closebulk_async.integrations.fleet_store import Store
from closebulk_async.integrations.fleet_tending import Tending
from closebulk_async.integrations.procrastinate import make_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.models import Kind


class Engine:
    """The tending of a fleet, and what it has asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.deferred: list[str] = []
        self.followed: list[tuple[str, str]] = []

    async def defer_start(self, id: str) -> None:
        """Note it."""
        self.deferred.append(id)

    async def follow(self, account: str, kind: Kind) -> None:
        """Note it."""
        self.followed.append((account, str(kind)))

    async def add(self, task: str, *, status: str, lock: str, silent_for: float | None = None) -> int:
        """A task; that of a worker that has been silent for so long, None for one that is not known any more."""
        worker = None
        if silent_for is not None:
            (row,) = await self.store.ask(
                "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - make_interval(secs => %(s)s)) "
                "RETURNING id",
                s=silent_for,
            )
            worker = row["id"]
        (row,) = await self.store.ask(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status, lock, queueing_lock, worker_id) "
            "VALUES ('q', %(task)s, %(status)s, %(lock)s, %(lock)s, %(worker)s) RETURNING id",
            task=task,
            status=status,
            lock=lock,
            worker=worker,
        )
        return int(row["id"])

    async def statuses(self) -> dict[int, str]:
        """Of all tasks that are there."""
        rows = await self.store.ask("SELECT id, status FROM procrastinate_jobs")
        return {row["id"]: row["status"] for row in rows}


@asynccontextmanager
async def tending(database: str, *, keep: float = 3600.0) -> AsyncIterator[tuple[Engine, Tending]]:
    """Both of them, on that database."""
    app = make_app(database)
    async with app.open_async():
        clock = SystemClock()
        store = Store(app.connector.pool, clock=clock)  # type: ignore[attr-defined]  # that of `make_app` has one
        engine = Engine(store)
        yield (
            engine,
            Tending(
                app,
                store,
                clock=clock,
                queues=["q"],
                stalled_after=6.0,
                keep=keep,
                defer_start=engine.defer_start,
                follow=engine.follow,
                repeats=frozenset({"closebulk:tend"}),
            ),
        )


@pytest.mark.parametrize("silent_for", [7.0, None])
async def test_the_tasks_of_the_dead_are_given_back(fleet_database: str, silent_for: float | None) -> None:
    """Those of a worker that has told nothing for six seconds, or that nobody knows; no other ones."""
    async with tending(fleet_database) as (engine, each_round):
        dead = await engine.add("closebulk:start", status="doing", lock="a", silent_for=silent_for)
        alive = await engine.add("closebulk:start", status="doing", lock="b", silent_for=1.0)
        await each_round.run()
        assert await engine.statuses() == {dead: "todo", alive: "doing"}


async def test_a_task_whose_next_one_waits_already_is_removed(fleet_database: str) -> None:
    """Only one of its kind may wait; and the tending itself comes again in any case."""
    async with tending(fleet_database) as (engine, each_round):
        await engine.add("closebulk:sweep", status="doing", lock="s", silent_for=60.0)
        waiting = await engine.add("closebulk:sweep", status="todo", lock="s")
        await engine.add("closebulk:tend", status="doing", lock="t", silent_for=60.0)
        await each_round.run()
        assert await engine.statuses() == {waiting: "todo"}


async def test_what_has_no_task_gets_one(fleet_database: str) -> None:
    """Starts that nobody works on, after some seconds, and kinds that nobody polls."""
    async with tending(fleet_database) as (engine, each_round):
        await engine.store.ask(START, id="old", state="waiting", seconds=10)
        await engine.store.ask(START, id="new", state="waiting", seconds=0)
        await engine.store.ask(START, id="settled", state="started", seconds=10)
        await engine.store.ask(START, id="worked on", state="ambiguous", seconds=10)
        await engine.add("closebulk:start", status="doing", lock="closebulk start worked on", silent_for=1.0)
        await engine.store.ask(ACTION, account="a", kind="email", id="1", is_final=False)
        await engine.store.ask(ACTION, account="b", kind="edit", id="1", is_final=True)
        await engine.store.ask(ACTION, account="c", kind="email", id="1", is_final=False)
        await engine.add("closebulk:sweep", status="todo", lock="closebulk sweep c email")
        await each_round.run()
        assert engine.deferred == ["old"]
        assert engine.followed == [("a", "email")]


@pytest.mark.parametrize("keep", [0.0, 3600.0])
async def test_what_nobody_needs_any_more_is_removed(fleet_database: str, keep: float) -> None:
    """Settled starts and ended actions, after the time for which they are kept; never what is open."""
    async with tending(fleet_database, keep=keep) as (engine, each_round):
        for state in ("waiting", "ambiguous", "started", "failed"):
            await engine.store.ask(START, id=state, state=state, seconds=10)
        for is_final in (False, True):
            await engine.store.ask(ACTION, account="a", kind="email", id=str(is_final), is_final=is_final)
        await each_round.run()
        starts = await engine.store.ask("SELECT id FROM closebulk.starts")
        actions = await engine.store.ask("SELECT id FROM closebulk.actions")
    assert len(starts) == (4 if keep else 2)
    assert len(actions) == (2 if keep else 1)


START: Any = """INSERT INTO closebulk.starts
        (id, account, kind, idempotency_key, request, state, created_at, changed_at)
    VALUES (%(id)s, 'a', 'email', %(id)s, '{}', %(state)s, now() - make_interval(secs => %(seconds)s),
        now() - make_interval(secs => %(seconds)s))"""
ACTION: Any = """INSERT INTO closebulk.actions (account, kind, id, is_final, registered_at, urged_at, changed_at)
    VALUES (%(account)s, %(kind)s, %(id)s, %(is_final)s, extract(epoch FROM now()) - 10, 1,
        extract(epoch FROM now()) - 10)"""
