"""What the journal costs: starts with one in a file beside one in memory, and with many intents in it beside none.

`python -m benchmarks.journaling CORE... --intents N` takes the server's address as the first line of its input, and
then numbers of seconds, which it answers each with one round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from benchmarks.harness import DISK, WARM_UP_ROUNDS, choose_cores, start_worker
from benchmarks.simulated import API_KEY, make_body
from closebulk_async import CloseBulk, EmailStart, JobRef
from closebulk_async.fingerprints import fingerprint_of
from closebulk_async.intents import Intent, Sighting, State
from closebulk_async.models import Kind
from closebulk_async.sqlite_journal import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from benchmarks.harness import Effort, Round

RUNNING: Final = 20
"""Actions that a recovery finds open, in the full journal and in the empty one."""

COMMIT_BYTES: Final = 16 * 1024
"""About what one step of a start adds to SQLite's log: the pages that hold its row and its index entries."""

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a file system without a disk, to see what the disk costs

_numbers = count()


def measure(effort: Effort) -> Iterator[Round]:
    """Give rounds of `<journal>.<start or recover>.ms`.

    The journals are `memory`, `sqlite` (on the disk), `diskless` (SQLite without a disk) and `full`; `disk.fsync.ms` is
    what the disk takes to keep as many bytes as one step writes.
    """
    client_core, server_core = choose_cores()
    others = sorted(os.sched_getaffinity(0) - {server_core}) or [client_core]  # a journal has a thread of its own
    for _ in range(effort.sessions):
        with (
            start_worker("simulated", "--core", str(server_core)) as ask_server,
            start_worker("journaling", *map(str, others), "--intents", str(effort.intents)) as ask,
        ):
            ask(json.dumps(ask_server("address")))
            for number in range(WARM_UP_ROUNDS + effort.rounds):
                figures = ask(str(effort.slice_seconds))
                if number >= WARM_UP_ROUNDS:
                    yield figures


@attrs.frozen
class Address:
    """Where the server is, and whom its keys belong to."""

    base_url: str
    organization_id: str
    user_id: str

    def connect(self, journal: Path | None = None) -> CloseBulk:
        """Make a client, to be opened."""
        return CloseBulk(API_KEY, base_url=self.base_url, journal=journal)


@attrs.frozen
class Bench:
    """The clients of one session, and the journals for recoveries, each with the same running actions."""

    address: Address
    folder: Path
    clients: dict[str, CloseBulk]
    recovered: dict[str, Path]

    async def measure_round(self, *, seconds: float) -> Round:
        """Give the median of the milliseconds that each act takes; together they have a slice of `seconds` each."""
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "disk.fsync.ms": self._sync,
            **{f"{name}.start.ms": partial(start, close) for name, close in self.clients.items()},
            **{f"{name}.recover.ms": partial(self._recover, path) for name, path in self.recovered.items()},
        }
        taken: dict[str, list[float]] = {name: [] for name in acts}
        end = time.perf_counter() + seconds * len(acts)
        while time.perf_counter() < end:
            # They take turns, each time in another order: a difference of two milliseconds drowns in how a machine's
            # speed changes from one slice to the next.
            for name in random.sample(list(acts), len(acts)):
                began = time.perf_counter()
                await acts[name]()
                taken[name].append((time.perf_counter() - began) * 1e3)
        return {name: statistics.median(milliseconds) for name, milliseconds in taken.items()}

    async def _sync(self) -> None:
        with (self.folder / "plain").open("r+b", buffering=0) as file:
            file.write(bytes(COMMIT_BYTES))
            os.fsync(file.fileno())

    async def _recover(self, path: Path) -> None:
        """What a service does that starts again: open the journal, and learn what has become of its actions."""
        async with self.address.connect(path) as close:
            found = [recovered async for recovered in close.recover()]
        if len(found) != RUNNING or any(recovered.action is None for recovered in found):
            message = f"{path} had {len(found)} actions to recover"
            raise RuntimeError(message)


async def start(close: CloseBulk) -> None:
    """Start one action, with a request unlike every other."""
    await close.emails.create(**make_body(next(_numbers)))


@contextlib.asynccontextmanager
async def set_up(address: Address, *, intents: int) -> AsyncIterator[Bench]:
    """Make the journals of a session and open its clients."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=DISK)))
        (folder / "plain").touch()
        recovered = {"full": folder / "full-recover.db", "empty": folder / "empty-recover.db"}
        await fill(recovered["full"], address, intents=intents)
        journals = {"memory": None, "sqlite": folder / "sqlite.db", "full": folder / "full.db"}
        shutil.copy(recovered["full"], folder / "full.db")
        for path in recovered.values():
            async with address.connect(path) as close:
                for _ in range(RUNNING):
                    await start(close)
        if _MEMORY.is_dir():
            journals["diskless"] = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY))) / "diskless.db"
        clients = {
            name: await stack.enter_async_context(address.connect(journal)) for name, journal in journals.items()
        }
        yield Bench(address, folder, clients, recovered)


async def fill(path: Path, address: Address, *, intents: int) -> None:
    """Put so many final intents into a new journal, every other one with an idempotency key."""
    async with SqliteJournal(path) as journal:
        for number in range(intents):
            await journal.begin(make_final(number, address))


def make_final(number: int, address: Address) -> Intent:
    """Make an intent as a start leaves it whose action has ended."""
    body = EmailStart(**make_body(-number))
    now = datetime.now(UTC)
    return Intent(
        id=uuid.uuid4().hex,
        scope=f"{address.base_url} {address.organization_id}",
        kind=Kind.EMAIL,
        body=body.to_json(),
        fingerprint=fingerprint_of(Kind.EMAIL, body.body()),
        created_at=now,
        idempotency_key=f"key {number}" if number % 2 else None,
        created_by=address.user_id,
        state=State.FINAL,
        ref=JobRef(Kind.EMAIL, f"bulkemail_{number:043}"),
        sighting=Sighting(status="done", n_objects_processed=824, n_objects=824, at=now),
        version=3,
    )


def main() -> None:
    """Serve orders until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cores", type=int, nargs="+")
    parser.add_argument("--intents", type=int, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, options.cores)
    address = Address(**json.loads(sys.stdin.readline()))
    with asyncio.Runner() as runner:
        opened = set_up(address, intents=options.intents)
        bench = runner.run(opened.__aenter__())
        print("{}", flush=True)
        for order in sys.stdin:
            print(json.dumps(runner.run(bench.measure_round(seconds=float(order)))), flush=True)
        runner.run(opened.__aexit__(None, None, None))


if __name__ == "__main__":
    main()
