"""A journal in the state that a workflow engine keeps for one task: it outlives the tries of the task."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from closebulk_async.errors import JournalError
from closebulk_async.integrations.processes import ProcessName, this_process
from closebulk_async.journal import MemoryJournal
from closebulk_async.journal_rows import from_row, to_row
from closebulk_async.tasks import result_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from closebulk_async.intents import Intent, Sighting
    from closebulk_async.models import JobRef

T = TypeVar("T")

TaskState: TypeAlias = "Mapping[str, Any]"
"""Plain JSON: `version`, the `intents` of the task, and those of their owners that have `left`."""

VERSION = 1

BYTES = "latin-1"
"""How a body is spelled in JSON: every byte is a character, so that whatever it holds comes back as it was."""

SEPARATOR = "|"
"""Between the parts of an owner's name, none of which has it."""


class TaskStateJournal:
    """The starts of one task, as one JSON object that `read` gets and `write` puts; both may block.

    For an engine that lets nobody but the running try of a task write its state, so that a try that was given up, and
    lives on, cannot begin a POST. What `write` has returned from must outlive every process. An owner is proved dead by
    its word or, on its own host, by its process; one that was killed on another host is merely silent.

    It knows the starts of its task alone. Every method raises JournalError where the state cannot be read or written.
    """

    is_durable = True

    def __init__(self, *, read: Callable[[], TaskState | None], write: Callable[[TaskState], None]) -> None:
        """Read nothing yet."""
        self._read = read
        self._write = write
        self._turn = asyncio.Lock()
        self._memory: MemoryJournal | None = None
        self._ids: dict[str, None] = {}
        self._entered: set[str] = set()
        self._left: set[str] = set()
        self._stored: TaskState = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def enter(self) -> str:
        """Make an owner that lives as long as this process, unless it leaves before."""
        process = await asyncio.to_thread(this_process)
        owner = SEPARATOR.join([uuid.uuid4().hex, *([process.host, process.process] if process else [])])
        self._entered.add(owner)
        return owner

    async def leave(self, owner: str) -> None:
        """Note that an owner that entered here does nothing any more."""

        async def leave(_: MemoryJournal) -> None:
            self._left.update(self._entered & {owner})
            self._entered.discard(owner)

        await self._finish(leave)

    async def is_dead(self, owner: str) -> bool:
        """Whether it has left, or was a process of this host that has ended."""

        async def judge(_: MemoryJournal) -> bool:
            if owner in self._left:
                return True
            process = owner.split(SEPARATOR)[1:]
            return len(process) == 2 and await asyncio.to_thread(ProcessName(*process).is_gone)  # noqa: PLR2004 - its fields

        return await self._finish(judge)

    async def begin(self, intent: Intent) -> Intent:
        """Write it down, or return the one that has its key."""

        async def begin(memory: MemoryJournal) -> Intent:
            begun = await memory.begin(intent)
            self._ids[begun.id] = None
            return begun

        return await self._finish(begin)

    async def swap(self, intent: Intent) -> Intent | None:
        """Replace the stored one, if it is still the one that was read."""
        return await self._finish(lambda memory: memory.swap(intent))

    async def get(self, id: str) -> Intent | None:
        """The intent of that id."""
        return await self._finish(lambda memory: memory.get(id))

    async def claimed(self, scope: str, refs: Collection[JobRef[Any]]) -> frozenset[JobRef[Any]]:
        """Those that belong to an intent of this task."""
        return await self._finish(lambda memory: memory.claimed(scope, refs))

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """Every open intent, oldest first."""
        return await self._finish(lambda memory: memory.unfinished(scope, fingerprint=fingerprint))

    async def lease(self, id: str, *, owner: str, until: datetime) -> None:
        """Prolong the lease."""
        await self._finish(lambda memory: memory.lease(id, owner=owner, until=until))

    async def progress(self, scope: str, ref: JobRef[Any], sighting: Sighting, *, is_final: bool) -> None:
        """Note the last known state."""
        await self._finish(lambda memory: memory.progress(scope, ref, sighting, is_final=is_final))

    async def aclose(self) -> None:
        """Finish what is under way. May be repeated."""
        self._is_closed = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _finish(self, work: Callable[[MemoryJournal], Awaitable[T]]) -> T:
        """Do it to its end, also when the caller is cancelled: its effect is then there, and its answer is not."""
        if self._is_closed:
            raise JournalError("the journal of this task was closed")
        task = asyncio.get_running_loop().create_task(self._run(work), name="closebulk_async journal")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await result_of(task)

    async def _run(self, work: Callable[[MemoryJournal], Awaitable[T]]) -> T:
        async with self._turn:
            memory = self._memory = self._memory or await self._load()
            done = await work(memory)
            state = await self._dump(memory)
            if state != self._stored:
                await self._store(state)
            return done

    async def _load(self) -> MemoryJournal:
        try:
            state = await asyncio.to_thread(self._read)
        except Exception as exc:  # whatever the engine raises
            raise JournalError(f"the state of this task cannot be read: {exc}") from exc
        memory = MemoryJournal()
        self._stored, self._ids, self._left = state or {}, {}, set()
        if not state:
            return memory
        try:
            if state["version"] != VERSION:
                raise JournalError(f"the state of this task is of version {state['version']}: update closebulk-async")
            for row in state["intents"]:
                intent = await memory.begin(from_row({**row, "body": row["body"].encode(BYTES)}))
                self._ids[intent.id] = None
            self._left.update(state["left"])
        except (ValueError, TypeError, LookupError, AttributeError) as exc:
            raise JournalError(f"the state of this task was changed by somebody else: {exc!r}") from exc
        return memory

    async def _dump(self, memory: MemoryJournal) -> TaskState:
        # One that was given up by a full memory, of which nobody has ever had so many, is not there any more.
        intents = [intent for id_ in self._ids if (intent := await memory.get(id_)) is not None]
        owners = {intent.owner for intent in intents if intent.is_open}
        if not intents:
            return {}
        return {
            "version": VERSION,
            "intents": [{**to_row(intent), "body": intent.body.decode(BYTES)} for intent in intents],
            "left": sorted(self._left & owners),
        }

    async def _store(self, state: TaskState) -> None:
        try:
            await asyncio.to_thread(self._write, state)
        except Exception as exc:  # whatever the engine raises
            self._memory = None  # it may be written or not: what is true is read anew
            raise JournalError(f"the state of this task cannot be written: {exc}") from exc
        self._stored = state
