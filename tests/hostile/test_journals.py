"""Journals whose files are damaged: every call ends with a JournalError, or with what can be read."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from closebulk_async import JournalError
from closebulk_async.sqlite_journal import SqliteJournal
from tests.hostile.trying import IS_EXPLORING
from tests.journals import SCOPE, new_intent, posting

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = range(200 if IS_EXPLORING else 12)


async def use(path: Path) -> None:
    """Open a journal, and do all that a client does."""
    async with SqliteJournal(path) as journal:
        owner = await journal.enter()
        intent = await journal.begin(new_intent())
        await journal.get(intent.id)
        await journal.unfinished(SCOPE)
        await journal.is_dead("nobody")
        await journal.leave(owner)


async def fill(path: Path) -> bytes:
    """The bytes of a journal with some intents."""
    async with SqliteJournal(path) as journal:
        for _ in range(3):
            await posting(journal)
        owner = await journal.enter()
        await journal.leave(owner)
    return await asyncio.to_thread(path.read_bytes)


async def test_bytes_that_were_changed(tmp_path: Path) -> None:
    """Anywhere in the file: what is then wrong with it is a JournalError."""
    whole = await fill(tmp_path / "whole.db")
    for seed in SEEDS:
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(chance.choice([1, 20, 400])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / f"{seed}.db"
        path.write_bytes(data[: chance.choice([len(data), len(data) // 2, 100])])
        with suppress(JournalError):
            await asyncio.wait_for(use(path), 30)


@pytest.mark.parametrize(
    "data", [b"no database", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(5000), b"\xff" * 99]
)
async def test_what_is_no_database(tmp_path: Path, data: bytes) -> None:
    """Is refused, and stays as it is."""
    path = tmp_path / "journal.db"
    path.write_bytes(data)
    with pytest.raises(JournalError):
        await use(path)
    assert path.read_bytes() == data
