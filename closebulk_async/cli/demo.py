"""`closebulk demo`: a bulk action from its start to its end, against a simulator in a process of its own."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import TypeAlias

import attrs

from closebulk_async.cli.exits import ExitCode, complain, watch_command
from closebulk_async.cli.following import Following
from closebulk_async.cli.texts import format_seconds
from closebulk_async.cli.views import choose_view, has_terminal
from closebulk_async.client import CloseBulk
from closebulk_async.errors import CloseBulkError
from closebulk_async.models import BulkAction, Kind
from closebulk_async.policy import PollPolicy
from closebulk_async.progress import count_objects
from closebulk_async.wire import KINDS

API_KEY = "api_demo"
"""What the simulator is told to accept. A key of the user's never gets here."""

POLL = PollPolicy(floor=0.2, ceiling=0.5, lost_after=5.0)
"""Often, as nobody's rate limit is at stake, and giving up soon: a simulator that does not answer was killed."""

START_SECONDS = 30.0
"""For a slow machine; importing and binding takes well under a second."""

STOP_SECONDS = 5.0
"""The simulator has nothing to finish."""

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/api/v1")

_QUERY: Mapping[str, object] = {
    "type": "field_condition",
    "field": {"type": "regular_field", "object_type": "lead", "field_name": "name"},
    "condition": {"type": "text", "mode": "full_words", "value": "Example"},
}

Create: TypeAlias = Callable[[CloseBulk], Awaitable[BulkAction]]

CREATES: Mapping[Kind, Create] = MappingProxyType(
    {
        Kind.EMAIL: lambda close: close.emails.create(
            template_id="tmpl_demo", email_account_id="emailacct_demo", s_query=_QUERY
        ),
        Kind.DELETE: lambda close: close.deletes.create(s_query=_QUERY),
        Kind.EDIT: lambda close: close.edits.create(type="set_lead_status", lead_status_id="stat_demo", s_query=_QUERY),
        Kind.SEQUENCE_SUBSCRIPTION: lambda close: close.sequence_subscriptions.create(
            action_type="subscribe",
            sequence_id="seq_demo",
            sender_account_id="emailacct_demo",
            sender_name="Ada Example",
            sender_email="ada@example.com",
            contact_preference="lead",
            s_query=_QUERY,
        ),
    }
)


class SimulatorError(CloseBulkError):
    """The simulator's process did not begin to serve."""


@attrs.define(kw_only=True)
class Demo:
    """One run: an action of `kind` on so many leads, which takes about so many seconds."""

    kind: Kind
    leads: int
    seconds: float
    as_json: bool
    following: Following = attrs.field(factory=lambda: Following([]))

    async def run(self) -> ExitCode:
        """Start the simulator, start the action, show it to its end, stop the simulator."""
        async with serving(leads=self.leads, seconds=self.seconds) as base_url:
            self._say(f"{base_url} is a simulator of Close's API on this machine. Nothing is sent to Close.")
            # Key and address are given, so that nothing of the environment is read; the session knows no proxies.
            async with CloseBulk(API_KEY, base_url=base_url, poll=POLL) as close:
                code = await self.start_and_follow(close)
        self._say("The simulator has been stopped.")
        return code

    async def start_and_follow(self, close: CloseBulk) -> ExitCode:
        """The part with a client of the simulator's."""
        began = time.monotonic()
        action = await CREATES[self.kind](close)
        self.following = Following([action.ref])
        self._say(
            f"Sent POST {KINDS[self.kind].path}, for a query that matches {self.leads} leads. "
            f"The answer names the job {action.ref}, which is going to run for about {format_seconds(self.seconds)}."
        )
        code = await self.following.follow(close, choose_view([action.ref], as_json=self.as_json))
        if code is ExitCode.DONE:
            processed, total = count_objects(await close.get(action.ref))
            took = format_seconds(time.monotonic() - began)
            self._say(f"The job is done: {processed} of {total} leads in {took}.")
        return code

    def explain_interrupt(self) -> None:
        """Say what became of the job, which is not what becomes of one at Close."""
        complain("interrupted: the simulator has been stopped, and its job with it")
        if self.following.running:
            complain(f"a job at Close goes on; this would watch it: {watch_command(self.following.running)}")

    def _say(self, sentence: str) -> None:
        if has_terminal() and not self.as_json:
            # Refs stay whole: one that is broken over two lines cannot be copied.
            width = shutil.get_terminal_size().columns
            sentence = textwrap.fill(sentence, width, break_long_words=False, break_on_hyphens=False)
        # With --json standard output is for JSON alone.
        print(sentence, file=sys.stderr if self.as_json else sys.stdout, flush=True)


@asynccontextmanager
async def serving(*, leads: int, seconds: float) -> AsyncIterator[str]:
    """The base URL of a simulator that ends with this block, and with this process however that ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "closebulk_async.simulator", "--port", "0", "--api-key", API_KEY),
        *("--leads", str(leads), "--seconds", str(seconds), "--exit-with-stdin"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C of a terminal goes to all of a group. The simulator is to end after the demo and by the pipe: one that
        # is still starting would show a traceback.
        start_new_session=True,
    )
    try:
        yield await read_address(process)
    finally:
        await stop(process)


async def read_address(process: asyncio.subprocess.Process, *, patience: float = START_SECONDS) -> str:
    """The address that the simulator prints as its first line. Raises SimulatorError for anything else."""
    assert process.stdout is not None  # noqa: S101 - whoever started it asked for a pipe, which the type does not say
    line = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            line = await process.stdout.readline()
    address = line.decode(errors="replace").strip()
    if not _ADDRESS.fullmatch(address):
        said = f"it said {address!r}" if address else "it said nothing"
        message = f"the simulator (python -m closebulk_async.simulator) did not start: {said}"
        raise SimulatorError(message)
    return address


async def stop(process: asyncio.subprocess.Process, *, patience: float = STOP_SECONDS) -> None:
    """Close its standard input, upon which the simulator ends; one that does not is killed."""
    assert process.stdin is not None  # noqa: S101 - as above
    process.stdin.close()
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
