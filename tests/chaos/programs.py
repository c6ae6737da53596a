"""What the children do: start an action and wait for it, until they are killed, or clear up after one that was."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
from collections import Counter
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from closebulk_async.sqlite_journal import SqliteJournal
from tests.chaos.stepping import SteppingJournal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.connection import Connection
    from types import CodeType, FrameType

    from _typeshed import TraceFunction

    from closebulk_async.models import BulkAction

PACKAGE = Path(closebulk_async.__file__).parent
REQUESTS: dict[Kind, dict[str, Any]] = {
    Kind.EMAIL: {"template_id": "tmpl_1", "email_account_id": "emailacct_1"},
    Kind.EDIT: {"type": "set_lead_status", "lead_status_id": "stat_1"},
    Kind.DELETE: {},
    Kind.SEQUENCE_SUBSCRIPTION: {"action_type": "pause", "sequence_id": "seq_1"},
}
"""One start of each kind. All starts of a kind are equal: only fence and journal tell whose an action is."""
COUNTED_TIMES = 3
VICTIM, RESCUER = "victim", "rescuer"
"""The user agents of who is killed, and of who comes after."""

# What is imported or built at its first use would otherwise be most of the lines that a child runs.
for name in closebulk_async.__all__:
    getattr(closebulk_async, name)
for model in (BulkEmail, BulkEdit, BulkDelete, BulkSequenceSubscription):
    model.from_dict(model.example().to_dict())


@attrs.frozen(kw_only=True)
class Scene:
    """Where a child works."""

    base_url: str
    api_key: str
    scope: str
    journal: Path
    kind: Kind = Kind.EMAIL
    key: str = "campaign"
    lease: float = 20.0

    def client(self, name: str, journal: SteppingJournal | None = None) -> CloseBulk:
        """A client that waits for hardly anything: the simulator shows each job at once."""
        return CloseBulk(
            self.api_key,
            base_url=self.base_url,
            journal=journal or self.journal,
            poll=PollPolicy(floor=0.03, ceiling=0.03, settle=0.3),
            start=StartPolicy(first=0.03, ceiling=0.1, lease=self.lease),
            retry=RetryPolicy(first=0.01, ceiling=0.02),
            user_agent=name,
        )

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

    async def main() -> None:
        journal = SteppingJournal(SqliteJournal(scene.journal), partial(_die_at, point, line))
        await _start_and_wait(scene, line, journal)

    asyncio.run(main())


def start_and_wait_traced(scene: Scene, last_moment: int | None, line: Connection) -> None:
    """The same, killed at that moment, of which each line of the package that is about to run makes one.

    Says the module before. Without a moment it ends, and says how many there were. A line counts three times at the
    most: the loops of few lines would otherwise be nearly all.
    """
    moments = count(1)
    ours: dict[CodeType, bool] = {}
    times: Counter[tuple[CodeType, int]] = Counter()

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        code = frame.f_code
        if code not in ours:
            ours[code] = Path(code.co_filename).is_relative_to(PACKAGE)
        if not ours[code]:
            return None
        times[code, frame.f_lineno] += event == "line"
        if event == "line" and times[code, frame.f_lineno] <= COUNTED_TIMES and next(moments) == last_moment:
            line.send(("dies", str(Path(code.co_filename).relative_to(PACKAGE).with_suffix(""))))
            _die()
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        asyncio.run(_start_and_wait(scene, line))
    finally:
        sys.settrace(None)
    line.send(("moments", next(moments) - 1))


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
        journal = SteppingJournal(SqliteJournal(scene.journal), partial(_die_at, point, line))
        async with scene.client(RESCUER, journal) as close:
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
    """Start the action, stop like a laptop that is closed at that step of the journal, and say the ref when woken."""

    def stop(step: str) -> None:
        if step == point:
            line.send(step)
            os.kill(os.getpid(), signal.SIGSTOP)

    async def main() -> None:
        journal = SteppingJournal(SqliteJournal(scene.journal), stop)
        try:
            async with scene.client(VICTIM, journal) as close:
                line.send(str((await scene.create(close)).ref))
        finally:
            await journal.aclose()

    asyncio.run(main())


def try_to_start(scene: Scene, line: Connection) -> None:
    """Start the action, and say its ref or the error."""

    async def main() -> None:
        async with scene.client(RESCUER) as close:
            try:
                line.send(str((await scene.create(close)).ref))
            except closebulk_async.CloseBulkError as exc:
                line.send(type(exc).__name__)

    asyncio.run(main())


def start_on_a_full_disk(scene: Scene, room: int, line: Connection) -> None:
    """Start the action where no file may become longer than `room` bytes, and say the error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    async def main() -> None:
        async with scene.client(VICTIM) as close:
            try:
                line.send(str((await scene.create(close)).ref))
            except closebulk_async.CloseBulkError as exc:
                line.send(f"{type(exc).__name__}: {exc}")

    asyncio.run(main())


async def _start_and_wait(scene: Scene, line: Connection, journal: SteppingJournal | None = None) -> None:
    try:
        async with scene.client(VICTIM, journal) as close:
            action = await scene.create(close)
            line.send(("started", str(action.ref)))
            await close.wait_until_done(action)
    except closebulk_async.AmbiguousStartError:
        line.send(("ambiguous", None))
    finally:
        if journal is not None:
            await journal.aclose()


def _die_at(point: str | None, line: Connection, step: str) -> None:
    if step == point:
        line.send(("dies", step))
        _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
