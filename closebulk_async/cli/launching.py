"""One start from the command line: show it, ask, send it, and tell what became of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from closebulk_async.cli.asking import agrees
from closebulk_async.cli.clients import connect, endpoint_of
from closebulk_async.cli.exits import (
    ExitCode,
    complain,
    describe_unknown,
    explain_unknown,
    watch_command,
)
from closebulk_async.cli.following import Following
from closebulk_async.cli.notes import notes_in
from closebulk_async.cli.options import Common
from closebulk_async.cli.previews import describe_deed, describe_preview, preview_to_dict
from closebulk_async.cli.texts import format_number
from closebulk_async.cli.views import Lines, action_to_dict, choose_view, print_json
from closebulk_async.client import CloseBulk
from closebulk_async.counting import Preview
from closebulk_async.errors import AmbiguousStartError, CloseBulkError
from closebulk_async.intents import Intent, State
from closebulk_async.models import BulkAction, JobRef, Kind
from closebulk_async.tasks import outlast


@attrs.define
class _HeldNotes(Lines):
    """Notes as lines; those after an interruption wait until it is known whether anybody needs them."""

    holds: bool = False
    held: list[str] = attrs.field(factory=list)

    def note(self, text: str) -> None:
        """Print it now or, perhaps, later."""
        if self.holds:
            self.held.append(text)
        else:
            complain(text)


@attrs.define(kw_only=True)
class Launch:
    """One run of `closebulk start`: an action of `kind` by these keywords of `create`."""

    kind: Kind
    keywords: Mapping[str, Any]
    common: Common
    following: Following = attrs.field(factory=lambda: Following([]))
    _is_unknown: bool = False

    def run(self) -> ExitCode:
        """All of it. The question stands between two clients: while it is asked, nothing runs."""
        try:
            preview = asyncio.run(self._preview())
            code = self._ask(preview)
        except KeyboardInterrupt:
            complain("interrupted; nothing was started")
            return ExitCode.INTERRUPTED
        return self._send(preview) if code is None else code

    def _ask(self, preview: Preview) -> ExitCode | None:
        """None where it is to be sent."""
        if (refusal := self._refuse(preview)) is not None:
            complain(refusal)
            return ExitCode.USAGE
        if self.common.dry_run:
            return ExitCode.DONE
        if self.common.yes or agrees(describe_deed(preview)):
            return None
        complain("nothing was started")
        return ExitCode.FAILED

    def _send(self, preview: Preview) -> ExitCode:
        try:
            code = asyncio.run(self._start(preview))
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        if self._is_unknown:
            return ExitCode.UNKNOWN
        # Where there is nothing to follow, what became of the start was told when it was known.
        return self.following.explain(code) if self.following.refs else code

    async def _preview(self) -> Preview:
        async with connect(timeout=self.keywords["timeout"]) as close:
            with notes_in(Lines(), unanswered=("the count",)):
                preview: Preview = await endpoint_of(close, self.kind).preview(**self.keywords)
        if not self.common.dry_run:
            print(describe_preview(preview), file=sys.stderr, flush=True)
        elif self.common.as_json:
            print_json(preview_to_dict(preview))
        else:
            print(describe_preview(preview))
        return preview

    def _refuse(self, preview: Preview) -> str | None:
        """Why the start would be refused, before anybody is asked for it."""
        most = self.common.max_matches
        if most is None:
            return None
        if preview.count is None:
            return "--max-matches needs a count, and Close cannot count a legacy query: say it with --query"
        if preview.count > most:
            matches, allowed = format_number(preview.count), format_number(most)
            return f"the query matches about {matches} leads, and --max-matches allows {allowed}: nothing was started"
        return None

    async def _start(self, preview: Preview) -> ExitCode:
        common = self.common
        async with connect(as_json=common.as_json, journal=common.journal, timeout=self.keywords["timeout"]) as close:
            try:
                action = await self._create(close, preview)
            except AmbiguousStartError as exc:
                self._tell_unknown(exc.intent, describe_unknown(exc), candidates=exc.candidates)
                return ExitCode.UNKNOWN
            self._tell_started(action)
            if not common.watch:
                return ExitCode.DONE
            self.following = Following([action.ref], timeout=common.timeout)
            return await self.following.follow(close, choose_view([action.ref], as_json=common.as_json))

    async def _create(self, close: CloseBulk, preview: Preview) -> BulkAction:
        """Start it. When it is interrupted, the outcome of a POST that may have left is awaited and told."""
        notes, began = _HeldNotes(), datetime.now(UTC)
        with notes_in(notes, unanswered=("the start",)):
            task: asyncio.Task[BulkAction] = asyncio.ensure_future(
                endpoint_of(close, self.kind).create(**self.keywords)
            )
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                notes.holds = self._is_unknown = True
                task.cancel()
                await _wait_for_outcome(task)
                self._is_unknown = False
                await self._tell_interrupted(close, task, preview, began=began, notes=notes)
                raise

    async def _tell_interrupted(
        self, close: CloseBulk, task: asyncio.Task[BulkAction], preview: Preview, *, began: datetime, notes: _HeldNotes
    ) -> None:
        if not task.cancelled() and task.exception() is None:  # it had just ended
            self._tell_started(task.result())
            return
        try:
            intent = await self._find_intent(close, preview, began=began)
        except CloseBulkError as exc:
            self._is_unknown = True
            complain(f"it is not known whether anything was started: {exc}", error=exc)
            return
        if intent is not None and intent.ref is not None:
            complain(f"started; the job goes on, watch it with: {watch_command([intent.ref])}")
            return
        for note in notes.held:
            complain(note)
        if intent is not None and intent.state is State.POSTING:
            self._tell_unknown(intent, "the answer was lost")
        else:
            complain("nothing was started")

    async def _find_intent(self, close: CloseBulk, preview: Preview, *, began: datetime) -> Intent | None:
        """The intent of this very start, if it is open: a start that was not sent is given up, or new again."""
        key = self.common.idempotency_key
        for intent in reversed(await close.journal.unfinished()):
            is_same = intent.kind is self.kind and intent.request == preview.request and intent.idempotency_key == key
            if is_same and (key is not None or intent.created_at >= began):
                return intent
        return None

    def _tell_started(self, action: BulkAction) -> None:
        # First where it cannot get lost: a pipe may have nobody left who reads it.
        if self.common.watch:
            complain(f"started {action.ref}")
        else:
            complain(f"started; to watch it: {self._watch_command(action.ref)}")
        if self.common.as_json:
            print_json(action_to_dict(action))
        elif not self.common.watch:
            print(action.ref, flush=True)

    def _watch_command(self, ref: JobRef[Any]) -> str:
        return watch_command([ref])

    def _tell_unknown(self, intent: Intent, reason: str, *, candidates: tuple[BulkAction, ...] = ()) -> None:
        self._is_unknown = True
        explain_unknown(intent, reason, journal=self.common.journal)
        if self.common.as_json:
            refs = [str(action.ref) for action in candidates]
            print_json({"kind": str(self.kind), "intent": intent.id, "error": reason, "candidates": refs})


async def _wait_for_outcome(task: asyncio.Task[BulkAction]) -> None:
    """Until a start that was interrupted has ended: a POST that may have left goes on to its outcome."""
    # Said when this coroutine waits already, so that whoever then interrupts again interrupts the wait: the loop ends
    # every task, this one included.
    asyncio.get_running_loop().call_soon(
        complain, "interrupted: waiting until it is known what became of the start (Ctrl-C again: do not wait)"
    )
    await outlast([task])
