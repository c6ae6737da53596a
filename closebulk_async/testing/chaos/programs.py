"""What the children do: start an action and wait for it, until they are killed, or clear up after one that was."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import attrs

import closebulk_async
from closebulk_async import (
    BulkDelete,
    BulkEdit,
    BulkEmail,
    BulkSequenceSubscription,
    CloseBulk,
    JobRef,
    PollPolicy,
    RetryPolicy,
    StartPolicy,
)
from closebulk_async.models import Kind
from closebulk_async.testing.chaos.stepping import SteppingJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from multiprocessing.connection import Connection

    from closebulk_async.journal import Journal
    from closebulk_async.models import BulkAction


class JournalFactory(Protocol):
    """Opens a journal for a block, each time on the same store.

    `functools.partial(SqliteJournal, path)` is one, and goes into another process, as what is pickled must.
    """

    def __call__(self) -> AbstractAsyncContextManager[Journal]:
        """A journal, which is closed at the end of the block."""


REQUESTS: dict[Kind, dict[str, Any]] = {
    Kind.EMAIL: {"template_id": "tmpl_1", "email_account_id": "emailacct_1"},
    Kind.EDIT: {"type": "set_lead_status", "lead_status_id": "stat_1"},
    Kind.DELETE: {},
    Kind.SEQUENCE_SUBSCRIPTION: {"action_type": "pause", "sequence_id": "seq_1"},
}
"""One start of each kind. All starts of a kind are equal: only fence and journal tell whose an action is."""
VICTIM, RESCUER = "victim", "rescuer"
"""The user agents of who is killed, and of who comes after."""

# What is imported or built at its first use would otherwise be most of what a child does.
for _name in closebulk_async.__all__:
    getattr(closebulk_async, _name)
for _model in (BulkEmail, BulkEdit, BulkDelete, BulkSequenceSubscription):
    _model.from_dict(_model.example().to_dict())


def _hear_nothing(_: str) -> None:
    """For a journal whose steps nobody wants to know."""


@attrs.frozen(kw_only=True)
class Scene:
    """Where a child works."""

    base_url: str
    api_key: str
    scope: str
    make_journal: JournalFactory
    kind: Kind = Kind.EMAIL
    key: str = "campaign"
    lease: float = 20.0

    @asynccontextmanager
    async def client(self, name: str, *, tell: Callable[[str], None] = _hear_nothing) -> AsyncIterator[CloseBulk]:
        """A client that waits for hardly anything: the simulator shows each job at once. Tells its journal's steps."""
        async with (
            self.make_journal() as journal,
            CloseBulk(
                self.api_key,
                base_url=self.base_url,
                journal=SteppingJournal(journal, tell),
                poll=PollPolicy(floor=0.03, ceiling=0.03, settle=0.3),
                start=StartPolicy(first=0.03, ceiling=0.1, lease=self.lease),
                retry=RetryPolicy(first=0.01, ceiling=0.02),
                user_agent=name,
            ) as close,
        ):
            yield close

    async def create(self, close: CloseBulk, key: str | None = None) -> BulkAction:
        """Start the action of this scene; another key is for another request."""
        create: dict[Kind, Callable[..., Awaitable[BulkAction]]] = {
            Kind.EMAIL: close.emails.create,
            Kind.EDIT: close.edits.create,
            Kind.DELETE: close.deletes.create,
            Kind.SEQUENCE_SUBSCRIPTION: close.sequence_subscriptions.create,
        }
        key = key or self.key
        return await create[self.kind](**REQUESTS[self.kind], s_query={"type": "id", "value": key}, idempotency_key=key)


def start_and_wait(scene: Scene, point: str | None, line: Connection) -> None:
    """Start the action, say its ref, and wait for its end. Killed at that step of the journal (`before begin`, …)."""
    asyncio.run(_start_and_wait(scene, line, tell=partial(_die_at, point, line)))


def clear_up(scene: Scene, line: Connection) -> None:
    """Recover, say what came of it, tell which of the refs that it hears are in the journal, and start once more."""

    async def main() -> None:
        async with scene.client(RESCUER) as close:
            recovered = [
                (str(each.intent.state), None if each.ref is None else str(each.ref), repr(each.error or ""))
                async for each in close.recover()
            ]
            left = [str(intent.state) for intent in await close.journal.unfinished()]
            line.send((recovered, left))
            refs = [JobRef.parse(text) for text in line.recv()]
            line.send(sorted(map(str, await close.journal.claimed(scene.scope, refs))))
            line.send(str((await scene.create(close)).ref))

    asyncio.run(main())


def recover_and_die(scene: Scene, point: str, line: Connection) -> None:
    """Recover, and be killed at that step of the journal."""

    async def main() -> None:
        async with scene.client(RESCUER, tell=partial(_die_at, point, line)) as close:
            async for _ in close.recover():
                pass

    asyncio.run(main())


def start_when_told(scene: Scene, line: Connection) -> None:
    """For each list of keys that it hears, start an action for each at the same time, and say their refs."""

    async def main() -> None:
        async with scene.client(VICTIM) as close:
            line.send("ready")
            while keys := line.recv():
                line.send(
                    [str(action.ref) for action in await asyncio.gather(*map(partial(scene.create, close), keys))]
                )

    asyncio.run(main())


def start_and_stop(scene: Scene, point: str, line: Connection) -> None:
    """Start the action, stop like a laptop that is closed at that step of the journal, and say the ref when woken.

    Says the error where it has one.
    """

    def stop(step: str) -> None:
        if step == point:
            line.send(step)
            os.kill(os.getpid(), signal.SIGSTOP)

    asyncio.run(_try_to_start(scene, VICTIM, line, tell=stop))


def try_to_start(scene: Scene, line: Connection) -> None:
    """Start the action, and say its ref or the error."""
    asyncio.run(_try_to_start(scene, RESCUER, line))


def enter_and_wait(scene: Scene, line: Connection) -> None:
    """Make an owner, say its name, and do nothing until a word comes; and once more."""

    async def main() -> None:
        async with scene.make_journal() as journal:
            owner = await journal.enter()
            line.send(owner)
            await asyncio.to_thread(line.recv)
            line.send("awake")
            await asyncio.to_thread(line.recv)

    asyncio.run(main())


async def _try_to_start(
    scene: Scene, name: str, line: Connection, *, tell: Callable[[str], None] = _hear_nothing
) -> None:
    async with scene.client(name, tell=tell) as close:
        try:
            line.send(str((await scene.create(close)).ref))
        except closebulk_async.CloseBulkError as exc:
            line.send(type(exc).__name__)


async def _start_and_wait(scene: Scene, line: Connection, *, tell: Callable[[str], None] = _hear_nothing) -> None:
    async with scene.client(VICTIM, tell=tell) as close:
        try:
            action = await scene.create(close)
            line.send(("started", str(action.ref)))
            await close.wait_until_done(action)
        except closebulk_async.AmbiguousStartError:
            line.send(("ambiguous", None))


def _die_at(point: str | None, line: Connection, step: str) -> None:
    if step == point:
        line.send(("dies", step))
        os.kill(os.getpid(), signal.SIGKILL)
