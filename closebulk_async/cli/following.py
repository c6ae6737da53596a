"""Follow waits to their ends and show their steps in a view."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import attrs

from closebulk_async.cli.exits import ExitCode, code_of, complain, watch_command, worst_of
from closebulk_async.cli.notes import notes_in
from closebulk_async.cli.views import View
from closebulk_async.client import CloseBulk
from closebulk_async.errors import CloseBulkError
from closebulk_async.models import JobRef

HEARTBEAT = 1.0
"""Seconds between steps while nothing moves: through them a failed poll is seen. They cost no request."""


@attrs.define
class Following:
    """The waits for some actions, and what came of each. `codes` has no entry for those whose end is not known."""

    refs: Sequence[JobRef[Any]]
    timeout: float | None = None
    codes: dict[JobRef[Any], ExitCode] = attrs.field(factory=dict)
    _unanswered: set[object] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._unanswered = set(self.refs)

    @property
    def running(self) -> list[JobRef[Any]]:
        """The actions that were still running when this was last known: those that a later watch can go on with."""
        return [ref for ref in self.refs if self.codes.get(ref, ExitCode.TIMED_OUT) is ExitCode.TIMED_OUT]

    @property
    def command(self) -> str:
        """What to type to go on with those."""
        return watch_command(self.running)

    async def follow(self, close: CloseBulk, view: View) -> ExitCode:
        """Wait for all; the code is that of the worst."""
        with view, notes_in(view, unanswered=self._unanswered):
            tasks = [asyncio.create_task(wait) for wait in self._waits(close, view)]
            try:
                await asyncio.gather(*tasks)
            finally:  # the first mistake, such as a pipe that nobody reads any more, ends all
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return worst_of(self.codes.values())

    def _waits(self, close: CloseBulk, view: View) -> Iterable[Coroutine[Any, Any, None]]:
        return [self._follow_one(close, ref, view) for ref in self.refs]

    async def _follow_one(self, close: CloseBulk, ref: JobRef[Any], view: View) -> None:
        try:
            async with close.wait_until_done(ref, timeout=self.timeout, heartbeat=HEARTBEAT) as wait:
                async for progress in wait:
                    self._unanswered.discard(ref)
                    if progress.is_final:  # noted before it is shown: whoever interrupts then has seen it
                        self.codes[ref] = ExitCode.DONE if progress.action.is_done else ExitCode.FAILED
                    view.show(progress)
        except CloseBulkError as exc:
            self.codes[ref] = code_of(exc)
            view.fail(ref, exc)
        self._unanswered.discard(ref)

    def explain(self, code: ExitCode) -> ExitCode:
        """Say what goes on after the command has ended with this code, if anything does; the code itself."""
        if code is ExitCode.INTERRUPTED:
            complain(f"interrupted; {self._describe_rest()}")
        elif self.running:
            complain(f"to go on watching: {self.command}")
        return code

    def _describe_rest(self) -> str:
        number = len(self.running)
        if not number:
            return "every action had ended"
        subject = "the job goes on, watch it" if number == 1 else f"{number} jobs go on, watch them"
        return f"{subject} with: {self.command}"
