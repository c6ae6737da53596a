"""A look into a journal that changes nothing: no client enters it, and no file is made or cleared away."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

import attrs

from closebulk_async import journal_tables as tables
from closebulk_async.cli.exits import recover_command
from closebulk_async.cli.findings import Finding, fail, ok, warn
from closebulk_async.clock import SystemClock
from closebulk_async.intents import Intent, State
from closebulk_async.journal_rows import from_row
from closebulk_async.owners import OwnerLocks

BUSY_SECONDS = 5.0


@attrs.frozen(kw_only=True)
class JournalLook:
    """What a journal holds: its open intents, and the owners that are alive, None where that cannot be known."""

    mode: int
    intents: Sequence[Intent]
    holders: frozenset[str] | None
    at: datetime

    @property
    def ambiguous(self) -> Sequence[Intent]:
        """Starts that nobody works on any more, and of which nobody knows whether they happened."""
        return [each for each in self.intents if each.state is State.POSTING and not self._lives(each)]

    def _lives(self, intent: Intent) -> bool:
        if self.holders is None:
            return intent.leased_until is not None and intent.leased_until > self.at
        return intent.owner in self.holders


def judge_journal(path: Path | None) -> Iterator[Finding]:
    """How a journal stands. Blocks."""
    if path is None:
        yield ok("journal", "none is given", "--journal FILE, or CLOSEBULK_JOURNAL, looks at one")
        return
    try:
        look = look_into(path)
    except FileNotFoundError:
        advice = "the next start with it makes it, unless the name is misspelled"
        yield warn("journal", f"{path} does not exist", advice)
        return
    except (OSError, sqlite3.Error, ValueError, TypeError, LookupError) as exc:
        yield fail(
            "journal", f"{path} cannot be read: {exc}", "see that it is a journal, and that this user may read it"
        )
        return
    yield from _judge(path, look)


def _judge(path: Path, look: JournalLook) -> Iterator[Finding]:
    # Windows has no such modes: there the file is as private as its folder.
    if os.name != "nt" and look.mode & 0o077:
        advice = f"chmod 600 {shlex.quote(str(path))}"
        yield warn("journal", f"other users may use {path} (mode {look.mode:04o})", advice)
    if look.ambiguous:
        n = len(look.ambiguous)
        finding = f"of {n} {'start' if n == 1 else 'starts'} in {path} nobody knows whether they happened"
        yield warn("journal", finding, recover_command(path))
    n = len(look.intents)
    opened = f"{n} {'intent is' if n == 1 else 'intents are'} open"
    yield ok("journal", f"{path} can be read; {opened}; {_tell_use(look.holders)}")


def _tell_use(holders: frozenset[str] | None) -> str:
    if holders is None:
        return "who uses it just now cannot be known on this system"
    return f"{len(holders)} {'client uses' if len(holders) == 1 else 'clients use'} it just now"


def look_into(path: Path) -> JournalLook:
    """Read it. Raises OSError, sqlite3.Error, and ValueError, TypeError or LookupError for what is no journal."""
    path = path.resolve()
    mode = path.stat().st_mode & 0o777
    return JournalLook(
        mode=mode, intents=_read_open(path), holders=OwnerLocks(path).find_held(), at=SystemClock().now()
    )


def _read_open(path: Path) -> Sequence[Intent]:
    # A reader makes the files of the write-ahead log where they are missing, and leaves them there. They are missing
    # where nobody has the journal open, and then it may be read as if nobody could write.
    has_log = path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as db:
        db.row_factory = sqlite3.Row
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application != tables.APPLICATION_ID:
            raise ValueError("it is no journal")
        if version != tables.SCHEMA_VERSION:
            raise ValueError(f"it is of version {version}, and this package knows version {tables.SCHEMA_VERSION}")
        return [from_row(row) for row in db.execute(tables.UNFINISHED, {"scope": None})]
