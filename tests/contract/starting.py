"""Starts one action, pauses it, resumes it and sees it end: what no read can tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async import BulkEdit, CloseBulk, WaitTimeout
from closebulk_async.wire import KINDS
from tests.contract.exchanges import Ask, Exchange
from tests.contract.gate import Gate
from tests.contract.guards import VERBS, OneStart
from tests.contract.sending import client, send

if TYPE_CHECKING:
    from closebulk_async.clock import Clock
    from tests.contract.options import ToStart

NOT_HERE = (404, 405)
"""What says that the verb, or the address, is another one."""

SERVER_ERROR = 500

ENDS_WITHIN = 60.0
"""Seconds in which an edit of very few leads should have ended."""


class StartRefusedError(Exception):
    """The suite does not start what was asked for; nothing was sent but the count."""


class LeftPausedError(Exception):
    """The action of the suite may be paused, and could not be resumed: somebody has to look."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"{ref} may be left paused: look with `closebulk get {ref}`, and `closebulk resume {ref}`")


@attrs.frozen(kw_only=True)
class Started:
    """What became of the action. Where pausing was refused, `resumed` is the answer to the last verb that was tried."""

    action: BulkEdit = attrs.field(repr=False)
    place_in_list: int | None
    pauses: tuple[Exchange, ...]
    after_pause: str
    resumed: Exchange
    after_resume: str
    last: BulkEdit = attrs.field(repr=False)
    late_pause: Exchange | None
    exchanges: tuple[Exchange, ...] = attrs.field(repr=False)


async def start(upstream: str, key: str, wanted: ToStart, *, clock: Clock, gap: float = 0.0) -> Started:
    """Start it, on as many leads as the query matches.

    Raises StartRefusedError where these are none, or too many, and LeftPausedError where nothing is known of
    what became of it when it resumed what it had paused.
    """
    edit = wanted.edit
    guard = OneStart(path=KINDS[edit.kind].path, body=edit.body())
    async with (
        Gate(upstream, clock=clock, gap=gap, judge=guard.judge, note=guard.note) as gate,
        client(gate, key) as close,
    ):
        count = await close.search.count(edit.s_query or {})
        if not 1 <= count <= wanted.most:
            message = f"the query matches {count} leads, and --contract-most allows 1 to {wanted.most}"
            raise StartRefusedError(message)
        action: BulkEdit = await close.edits.create(**edit.given(), max_matches=wanted.most)
        return await _Trial(gate=gate, close=close, key=key, action=action).run()


@attrs.frozen(kw_only=True)
class _Trial:
    """The steps after the start."""

    gate: Gate
    close: CloseBulk
    key: str
    action: BulkEdit

    async def run(self) -> Started:
        """Look for it in its list, pause it, resume it, wait for its end, and pause it once more."""
        listed = [row.get("id") for row in (await self._send(Ask.get(self._path))).rows]
        tries: list[Exchange] = []
        try:
            await self._pause(tries)
            after_pause = await self._status()
        finally:  # a pause whose answer was lost is a pause as well
            verb = tries[-1].ask.method if tries else VERBS[0]
            resumed = await self._resume(verb)
        after_resume = await self._status()
        last = await self._last()
        return Started(
            action=self.action,
            place_in_list=listed.index(self.action.id) + 1 if self.action.id in listed else None,
            pauses=tuple(tries),
            after_pause=after_pause,
            resumed=resumed,
            after_resume=after_resume,
            last=last,
            late_pause=await self._change(verb, "paused") if last.is_final else None,
            exchanges=tuple(self.gate.exchanges),
        )

    @property
    def _path(self) -> str:
        return KINDS[self.action.kind].path

    async def _send(self, ask: Ask) -> Exchange:
        return await send(self.gate, ask, self.key)

    async def _pause(self, tries: list[Exchange]) -> None:
        """Add one answer for each verb that was tried, up to the first that is known there."""
        for verb in VERBS:
            tries.append(await self._change(verb, "paused"))
            if tries[-1].status not in NOT_HERE:
                break

    async def _resume(self, verb: str) -> Exchange:
        try:
            resumed = await self._change(verb, "resuming")
        except Exception as exc:
            raise LeftPausedError(str(self.action.ref)) from exc
        if resumed.status >= SERVER_ERROR:
            raise LeftPausedError(str(self.action.ref))
        return resumed

    async def _change(self, verb: str, status: str) -> Exchange:
        body = json.dumps({"status": status}).encode()
        headers = {"content-type": "application/json"}
        return await self._send(Ask(method=verb, path=f"{self._path}{self.action.id}/", body=body, headers=headers))

    async def _status(self) -> str:
        return str((await self._send(Ask.get(f"{self._path}{self.action.id}/"))).row.get("status"))

    async def _last(self) -> Any:  # noqa: ANN401 - the action's own kind
        try:
            return await self.close.wait_until_done(self.action, timeout=ENDS_WITHIN, on_paused="return")
        except WaitTimeout as timeout:
            return timeout.action or self.action
