"""The journal in a file: SQLite for the intents, and one locked file beside it for each client that is alive."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import uuid
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import aiosqlite
import orjson

from closebulk_async import journal_tables as tables
from closebulk_async.errors import JournalError
from closebulk_async.intents import State
from closebulk_async.owners import OwnerLocks
from closebulk_async.stored_journal import BATCH, TASK, Statements, StoredJournal
from closebulk_async.tasks import result_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from os import PathLike

    from closebulk_async.clock import Clock
    from closebulk_async.intents import Intent
    from closebulk_async.models import JobRef
    from closebulk_async.policy import Duration

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("closebulk_async")

OLDEST_SQLITE = (3, 35)
"""The first with RETURNING, by which each step is one statement."""

BUSY_SECONDS = 10.0
"""How long a write waits for other processes to end theirs, each of which takes milliseconds."""

ANSWER_SECONDS = 30.0
"""How long a caller waits for one operation. Above the wait for others, so that theirs is the message that is seen."""

OPENINGS = 10
"""How often the change to WAL is tried: of two that try it at the same moment, SQLite refuses one without waiting."""

OWNER_FILES = 100
"""Files of owners that an opening tries at most."""

ADVICE = {
    "SQLITE_NOTADB": "it is no journal, or damaged: take another path, or restore it from a backup",
    "SQLITE_CORRUPT": "it is damaged: restore it from a backup, or take another path and look for open starts in Close",
    "SQLITE_FULL": "its disk is full",
    "SQLITE_IOERR": "its disk is full, or fails",
    "SQLITE_BUSY": "another program keeps it locked: end what that one does",
}
"""What to do about an error of SQLite, by the beginning of its name."""

ELSE = "see that its directory exists, on a local disk with room, and that this user may write there"


class SqliteJournal(StoredJournal):
    """A journal in the SQLite file `path`, which any number of processes of one user on one machine may share.

    The first call opens the file, and makes it where it is missing; its directory must exist, on a local disk. Beside
    it stand SQLite's own `path-wal` and `path-shm` and the folder `path.owners`, with a small file for each client that
    is alive. All of them only their user may read. What `Intent` holds is all that is written: no key and no token.

    A start is final when its action has ended or it was given up. One that is final, or started, and has no idempotency
    key is forgotten when nothing was learned of it for `keep`. Every other one stays, until `prune` removes those that
    are final. A start takes up to 4 kB and its body; room that becomes free is used again, and the file never shrinks.

    Every method raises JournalError where the file cannot be used; one that had no answer in time may still have its
    effect. One event loop uses a journal. `aclose`, or `async with`, lets go of the file and of the thread that works
    on it.
    """

    _statements: ClassVar[Statements] = tables
    _if_damaged = ADVICE["SQLITE_CORRUPT"]

    def __init__(
        self, path: str | PathLike[str], *, clock: Clock | None = None, keep: Duration = timedelta(days=90)
    ) -> None:
        """Nothing is read or written yet. Raises InvalidRequestError where `keep` is no duration."""
        super().__init__(clock=clock, keep=keep)
        self._path = Path(path).absolute()  # so that a later change of the working directory changes nothing
        self._locks = OwnerLocks(self._path)
        self._db: aiosqlite.Connection | None = None
        self._syncing = asyncio.Lock()
        self._judgements: dict[str, asyncio.Task[bool]] = {}

    async def enter(self) -> str:
        """Make an owner, and lock its file until it leaves or this process ends."""
        owner = uuid.uuid4().hex

        async def enter() -> str:
            await self._opened()
            await asyncio.to_thread(self._locks.hold, owner)
            return owner

        return await self._finish(enter)

    async def leave(self, owner: str) -> None:
        """Unlock the file of an owner that entered here, note that it is dead, and remove the file."""

        async def leave() -> None:
            if await asyncio.to_thread(self._locks.release, owner):  # nobody may bury the owner of another process
                await self._run(tables.BURY, {"owner": owner})
                await asyncio.to_thread(self._locks.remove, [owner])  # last: until then a free lock is the proof

        await self._finish(leave)

    async def is_dead(self, owner: str) -> bool:
        """Whether it has left, or its lock is free. That its file is missing is no proof: the journal may be a copy.

        Those who ask at the same moment share one try of the lock: each try holds it for an instant, in which another
        would take a dead owner for a living one.
        """
        judgement = self._judgements.get(owner)
        if judgement is None:
            judgement = asyncio.get_running_loop().create_task(self._finish(lambda: self._judge(owner)), name=TASK)
            self._judgements[owner] = judgement
            judgement.add_done_callback(lambda _: self._judgements.pop(owner))
        return await result_of(judgement)

    async def swap(self, intent: Intent) -> Intent | None:
        """Replace the stored one, if it is still the one that was read and nobody else has what it takes."""
        is_synced = intent.state is State.POSTING
        rows = await self._finish(lambda: self._run(tables.SWAP, self._row(intent), synced=is_synced))
        return next(iter(self._read(rows)), None)

    async def claimed(self, scope: str, refs: Collection[JobRef[Any]]) -> frozenset[JobRef[Any]]:
        """Those that belong to an intent."""
        by_text = {str(ref): ref for ref in refs}
        rows = await self._ask(tables.CLAIMED, {"scope": scope, "refs": orjson.dumps(list(by_text)).decode()})
        return frozenset(by_text[text] for (text,) in rows)

    async def _judge(self, owner: str) -> bool:
        if await self._run(tables.IS_BURIED, {"owner": owner}):
            return True
        is_free = await asyncio.to_thread(self._locks.is_free, owner)
        if is_free:
            await self._run(tables.BURY, {"owner": owner})  # what is proved once stays so
        return is_free

    async def _close(self) -> None:
        try:
            await self._guarded(self._release_all)
        finally:
            if self._db is not None:
                await self._guarded(self._db.close)

    async def _release_all(self) -> None:
        for owner in await asyncio.to_thread(self._locks.release_all):
            await self._run(tables.BURY, {"owner": owner})

    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with self._clock.timeout(ANSWER_SECONDS):
                return await work()
        except (sqlite3.Error, OSError, UnicodeError) as exc:
            raise self._error(str(exc) or f"no answer in {ANSWER_SECONDS:g} seconds", advice=_advise(exc)) from exc

    async def _run(self, statement: str, parameters: Mapping[str, Any], *, synced: bool = False) -> list[sqlite3.Row]:
        """One statement is one transaction, so that those of several coroutines may come in any order."""
        db = await self._opened()
        if not synced:
            return list(await db.execute_fetchall(statement, parameters))
        async with self._syncing:
            await db.execute_fetchall("PRAGMA synchronous = FULL")
            rows = list(await db.execute_fetchall(statement, parameters))
            # Not where the statement fails: what follows is then written with more care than it needs, until the next.
            await db.execute_fetchall("PRAGMA synchronous = NORMAL")
        return rows

    async def _opened(self) -> aiosqlite.Connection:
        async with self._opening:
            if self._db is None:
                await asyncio.to_thread(self._prepare)
                connection = aiosqlite.connect(self._path, isolation_level=None, timeout=BUSY_SECONDS)
                # A journal that nobody closed must not keep its program from ending. Up to 0.21 a connection is itself
                # the thread.
                thread: Any = getattr(connection, "_thread", connection)
                thread.daemon = True
                self._db = await connection
                self._db.row_factory = sqlite3.Row
                await self._db.execute_fetchall("PRAGMA synchronous = NORMAL")
                await self._db.execute_fetchall("PRAGMA fullfsync = ON")  # macOS: fsync alone may end in the drive
            return self._db

    def _prepare(self) -> None:
        """Make or check the file, and clear away what nobody needs any more. Blocks."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            needed = ".".join(map(str, OLDEST_SQLITE))
            raise self._error(f"it needs SQLite {needed}", advice=f"this Python has {sqlite3.sqlite_version}")
        with suppress(FileExistsError):
            self._path.touch(mode=0o600, exist_ok=False)
            self._path.chmod(0o600)  # whatever the umask; SQLite makes its own files like this one
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_SECONDS / OPENINGS)) as db:
            self._switch_to_wal(db)
            db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
            forgotten = db.execute(tables.FORGET, {"before": self._now() - self._keep, "batch": BATCH}).fetchall()
            self._tell_forgotten(forgotten)
            self._locks.make_folder()
            with self._locks.taking_free(limit=OWNER_FILES) as dead:
                unneeded = dead - {owner for (owner,) in db.execute(tables.OWNERS_OF_OPEN)}
            self._locks.remove(unneeded)  # unlocked by now: Windows removes no file that is open
            db.execute(tables.FORGET_OWNERS)

    async def _clear(self) -> None:
        self._tell_forgotten(await self._run(tables.FORGET, {"before": self._now() - self._keep, "batch": BATCH}))

    def _tell_forgotten(self, rows: Sequence[Sequence[str]]) -> None:
        for ref, state in rows:
            if state == State.STARTED:  # nobody waited for its end, so that somebody may still want to know
                logger.info("the journal %s forgets %s, of which nothing was learned for long", self._path, ref)

    def _switch_to_wal(self, db: sqlite3.Connection) -> None:
        for attempt in range(1, OPENINGS + 1):
            try:
                self._ensure_schema(db)
                (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError:
                if attempt == OPENINGS:
                    raise
            else:
                if mode != "wal":
                    raise self._error("processes cannot share its disk (no WAL)", advice="take a local disk")
                return

    def _ensure_schema(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        with db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if (application, version) == (0, 0) and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in tables.SCHEMA:
                    db.execute(statement)
            elif application != tables.APPLICATION_ID:
                raise self._error("it is the database of another application", advice="take another path")
            elif version != tables.SCHEMA_VERSION:
                reason = f"it is of version {version}, and this package knows version {tables.SCHEMA_VERSION}"
                raise self._error(reason, advice="update closebulk-async, or take another path")

    def _name(self) -> str:
        return str(self._path)

    def _error(self, reason: str, *, advice: str) -> JournalError:
        return JournalError(f"the journal {self._path} cannot be used: {reason}; {advice}")


def _advise(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "take a text that is Unicode"
    name = getattr(error, "sqlite_errorname", "")
    return next((advice for prefix, advice in ADVICE.items() if name.startswith(prefix)), ELSE)
