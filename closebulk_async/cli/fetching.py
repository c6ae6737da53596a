"""The file of an export from the command line: the wait for it, then the download."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Any

import attrs

from closebulk_async.cli.clients import connect
from closebulk_async.cli.exits import ExitCode, code_of, command, complain
from closebulk_async.cli.following import Following
from closebulk_async.cli.making import Making
from closebulk_async.cli.notes import notes_in
from closebulk_async.cli.transfers import choose_file_view
from closebulk_async.cli.views import choose_view
from closebulk_async.client import CloseBulk
from closebulk_async.errors import CloseBulkError
from closebulk_async.models import Export, JobRef


@attrs.define(kw_only=True)
class Fetching:
    """One run: an export that is made or is there already, the wait for it, and its download."""

    what: Making | JobRef[Any]
    out: Path
    typed: Path
    """What `out` was called on the command line."""
    decompress: bool
    timeout: float | None
    as_json: bool
    _ref: JobRef[Any] | None = None

    def run(self) -> int:
        """Do it, and say how to go on where it ends early."""
        try:
            code = asyncio.run(self._run())
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        if self._ref is None and code is ExitCode.INTERRUPTED:
            complain(f"interrupted; an export may have been made: {command('ls', '--kind', 'export')}")
        elif self._ref is not None and code in {ExitCode.INTERRUPTED, ExitCode.TIMED_OUT}:
            begin = "interrupted; nothing was saved" if code is ExitCode.INTERRUPTED else "there is no file yet"
            options = ("--out", shlex.quote(str(self.typed)), *(() if self.decompress else ("--keep-gz",)))
            again = command("export", "download", str(self._ref), *options)
            complain(f"{begin}; to go on: {again}")
        return code

    async def _run(self) -> ExitCode:
        async with connect(as_json=self.as_json) as close:
            self._ref = self.what if isinstance(self.what, JobRef) else await self._make(close, self.what)
            following = Following([self._ref], timeout=self.timeout)
            code = await following.follow(close, choose_view([self._ref], as_json=self.as_json))
            return await self._fetch(close, self._ref) if code is ExitCode.DONE else code

    async def _make(self, close: CloseBulk, making: Making) -> JobRef[Any]:
        export: Export = await getattr(close.exports, making.method)(**making.keywords)
        complain(f"started {export.ref}")
        return export.ref

    async def _fetch(self, close: CloseBulk, ref: JobRef[Any]) -> ExitCode:
        view = choose_file_view(ref, as_json=self.as_json)
        try:
            with view, notes_in(view, unanswered=("the file",)):
                async with close.exports.download(ref, self.out, decompress=self.decompress) as steps:
                    async for progress in steps:
                        view.step(progress)
        except CloseBulkError as exc:
            complain(exc)
            return code_of(exc)
        except OSError as exc:
            complain(f"{self.out} cannot be written: {exc.strerror or exc}", error=exc)
            return ExitCode.FAILED
        return ExitCode.DONE
