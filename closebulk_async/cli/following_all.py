"""Follow everything that runs, whoever started it."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from contextlib import aclosing
from typing import Any

import attrs

from closebulk_async.cli.exits import ExitCode, code_of, complain
from closebulk_async.cli.following import HEARTBEAT, Following
from closebulk_async.cli.views import View
from closebulk_async.client import CloseBulk
from closebulk_async.errors import BulkActionFailed, PermissionDeniedError
from closebulk_async.models import JobRef, Kind
from closebulk_async.progress import Progress

MANY = 3
"""Refs that a command line bears: with more of them it is shorter, and as good, to look for what runs again."""


@attrs.define
class FollowingAll(Following):
    """The waits for all jobs of some kinds that run when the lists are read. None stands for all kinds."""

    refs: list[JobRef[Any]] = attrs.field(factory=list)
    kinds: Iterable[Kind] | None = None
    _known: set[JobRef[Any]] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        self._unanswered = set(self._wanted)

    @property
    def _wanted(self) -> Iterable[Kind]:
        return tuple(Kind) if self.kinds is None else dict.fromkeys(self.kinds)

    @property
    def command(self) -> str:
        """The refs of a few; of many, or where it is not known yet what runs, this very command."""
        if self.running and len(self.running) <= MANY and not self._unanswered:
            return super().command
        return " ".join(("closebulk watch --active", *(f"--kind {kind}" for kind in self.kinds or ())))

    def _waits(self, close: CloseBulk, view: View) -> Iterable[Coroutine[Any, Any, None]]:
        # A stream for each kind, as one of all kinds leaves out exports, or what may not be read ends it.
        return [self._follow_kind(close, kind, view) for kind in self._wanted]

    async def _follow_kind(self, close: CloseBulk, kind: Kind, view: View) -> None:
        steps = close.watch_active(kinds=[kind], timeout=self.timeout, heartbeat=HEARTBEAT)
        try:
            async with aclosing(steps):
                async for progress in steps:
                    self._unanswered.discard(kind)
                    self._take(progress, view)
        except PermissionDeniedError as exc:
            if self.kinds is not None:
                raise
            view.note(f"{kind} actions are left out: {exc}")
        self._unanswered.discard(kind)

    def _take(self, progress: Progress[Any], view: View) -> None:
        ref, error = progress.ref, progress.error
        if ref not in self._known:
            self._known.add(ref)
            self.refs.append(ref)
        if progress.is_final:
            self.codes[ref] = ExitCode.DONE if error is None else code_of(error)
        if error is None or isinstance(error, BulkActionFailed):
            view.show(progress)
        if error is not None:
            view.fail(ref, error)

    def explain(self, code: ExitCode) -> ExitCode:
        """As of any watch; and say so where nothing was running."""
        if code is ExitCode.DONE and not self.refs:
            complain("nothing is running")
        return super().explain(code)

    def _describe_rest(self) -> str:
        if self._unanswered and not self.running:
            return f"what runs goes on, watch it with: {self.command}"
        return super()._describe_rest()
