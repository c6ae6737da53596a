"""Follow everything that runs, whoever started it."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from contextlib import aclosing
from typing import Any

import attrs

from closebulk_async.cli.exits import ExitCode, code_of, command, complain, worst_of
from closebulk_async.cli.following import HEARTBEAT, Following
from closebulk_async.cli.views import View
from closebulk_async.client import CloseBulk
from closebulk_async.errors import AuthenticationError, BulkActionFailed, CloseBulkError, PermissionDeniedError
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
    _left_out: dict[Kind, str] = attrs.field(factory=dict)
    """Kinds whose list `may` not, or `could` not be read to its end."""

    def __attrs_post_init__(self) -> None:
        self._unanswered = set(self._wanted)

    @property
    def _wanted(self) -> Iterable[Kind]:
        return tuple(Kind) if self.kinds is None else dict.fromkeys(self.kinds)

    @property
    def command(self) -> str:
        """The refs of a few; of many, or where it is not known yet what runs, this very command."""
        is_known = not self._unanswered and "could" not in self._left_out.values()
        if self.running and len(self.running) <= MANY and is_known:
            return super().command
        return command("watch", "--active", *(f"--kind {kind}" for kind in self.kinds or ()))

    async def follow(self, close: CloseBulk, view: View) -> ExitCode:
        """As of any watch; it has failed too where a list could not be read, or none may be."""
        code = await super().follow(close, view)
        has_failed = "could" in self._left_out.values() or self._left_out.keys() == set(self._wanted)
        return worst_of([code, ExitCode.FAILED]) if has_failed else code

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
        except CloseBulkError as exc:
            is_forbidden = isinstance(exc, PermissionDeniedError)
            # The others would say the same of a key; and what was asked for by name is not left out.
            if isinstance(exc, AuthenticationError) or (is_forbidden and self.kinds is not None):
                raise
            self._left_out[kind] = "may" if is_forbidden else "could"
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
        if not (self.refs or self._unanswered):
            complain(self._describe_nothing())
        return super().explain(code)

    def _describe_nothing(self) -> str:
        if not self._left_out:
            return "nothing is running"
        verb = max(self._left_out.values(), key=["may", "could"].index)
        is_all = self._left_out.keys() == set(self._wanted)
        return f"none of the lists {verb} be read" if is_all else f"nothing that {verb} be read is running"

    def _describe_rest(self) -> str:
        if self._unanswered and not self.running:
            return f"what runs goes on, watch it with: {self.command}"
        return super()._describe_rest()
