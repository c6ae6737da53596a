"""Settle what is open in a journal: look, ask where an operator decides, write it down, and say what is so now."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import attrs

from closebulk_async.cli.asking import agrees
from closebulk_async.cli.clients import connect
from closebulk_async.cli.exits import (
    ExitCode,
    code_of,
    complain,
    describe_unknown,
    explain_unknown,
    recover_command,
    worst_of,
)
from closebulk_async.cli.following import Following
from closebulk_async.cli.notes import notes_in
from closebulk_async.cli.texts import cleaned, describe_row, describe_state, format_moment
from closebulk_async.cli.views import Lines, action_to_dict, choose_view, print_json
from closebulk_async.client import CloseBulk
from closebulk_async.errors import AmbiguousStartError, InvalidRequestError
from closebulk_async.intents import Intent
from closebulk_async.models import BulkAction, JobRef
from closebulk_async.recovering import Recovered


@attrs.define(kw_only=True)
class Recovering:
    """One run of `closebulk recover`."""

    journal: Path
    watches: bool
    timeout: float | None
    as_json: bool
    following: Following | None = None

    def run(self) -> ExitCode:
        """Settle all that is open; then, if asked to, watch what still runs."""
        try:
            code = asyncio.run(self._run())
        except KeyboardInterrupt:
            if self.following is None:
                complain(f"interrupted; to go on: {recover_command(self.journal)}")
                return ExitCode.INTERRUPTED
            code = ExitCode.INTERRUPTED
        return code if self.following is None else self.following.explain(code)

    async def _run(self) -> ExitCode:
        async with connect(as_json=self.as_json, journal=self.journal) as close:
            found = await self._settle(close)
            codes = [code_of_recovered(recovered) for recovered in found]
            running = [each.action.ref for each in found if each.action is not None and not each.action.is_final]
            if not found:
                complain(f"nothing is open in {self.journal}")
            if self.watches and running:
                self.following = Following(running, timeout=self.timeout)
                codes.append(await self.following.follow(close, choose_view(running, as_json=self.as_json)))
            elif running:
                complain(f"to watch what still runs: {recover_command(self.journal, '--watch')}")
        return worst_of([ExitCode.DONE, *codes])

    async def _settle(self, close: CloseBulk) -> list[Recovered]:
        found = []
        with notes_in(Lines(), unanswered=()):
            async with aclosing(close.recover()) as recovering:
                async for recovered in recovering:
                    found.append(recovered)
                    if self.as_json:
                        print_json(recovered_to_dict(recovered))
                    else:
                        print(describe_recovered(recovered), flush=True)
                    if isinstance(recovered.error, AmbiguousStartError):
                        reason = describe_unknown(recovered.error)
                        explain_unknown(recovered.error.intent, reason, journal=self.journal)
        return found


def code_of_recovered(recovered: Recovered) -> ExitCode:
    """What became of it as an exit code: what still runs, or may be started again, needs nobody."""
    if recovered.error is not None:
        return code_of(recovered.error)
    return ExitCode.FAILED if recovered.action is not None and recovered.action.is_failed else ExitCode.DONE


def describe_recovered(recovered: Recovered) -> str:
    """One intent as one line: its id first, and the ref, if it has one, last."""
    intent, error = recovered.intent, recovered.error
    if recovered.action is not None:
        what = describe_state(recovered.action)
    elif isinstance(error, AmbiguousStartError):
        what = f"unknown: {describe_unknown(error)}"
    elif error is not None:
        what = f"could not be read: {error}"
    else:
        key = intent.idempotency_key
        what = "never ran" if key is None else f"never ran: the same start with the key {key!r} sends it"
    return "  ".join((intent.id, cleaned(what), *([str(recovered.ref)] if recovered.ref else [])))


def recovered_to_dict(recovered: Recovered) -> dict[str, Any]:
    """The same as JSON; `action` is the service's own object."""
    intent, error = recovered.intent, recovered.error
    candidates = error.candidates if isinstance(error, AmbiguousStartError) else ()
    return {
        "intent": intent.id,
        "kind": str(intent.kind),
        "state": str(intent.state),
        "idempotency_key": intent.idempotency_key,
        "ref": str(recovered.ref) if recovered.ref else None,
        "action": recovered.action and action_to_dict(recovered.action),
        "error": describe_unknown(error) if isinstance(error, AmbiguousStartError) else error and str(error),
        "candidates": [str(action.ref) for action in candidates],
    }


def adopt(journal: Path, id: str, ref: JobRef[Any], *, asks: bool, as_json: bool) -> ExitCode:
    """Make an action the one of an intent."""
    if asks:
        intent, action = asyncio.run(_look(journal, id, ref))
        complain(describe_intent(intent))
        complain(describe_row(action))
        if not agrees("Is this action the one that it started"):
            complain("nothing was changed")
            return ExitCode.FAILED
    action = asyncio.run(_adopt(journal, id, ref))
    if as_json:
        print_json(action_to_dict(action))
    else:
        print(describe_row(action))
    return ExitCode.DONE


def abandon(journal: Path, id: str, *, asks: bool, as_json: bool) -> ExitCode:
    """Give an intent up."""
    intent = asyncio.run(_read_intent(journal, id))
    if asks:
        complain(describe_intent(intent))
        if not agrees("Give it up"):
            complain("nothing was changed")
            return ExitCode.FAILED
    asyncio.run(_abandon(journal, id))
    key = "" if intent.ref or not intent.idempotency_key else f"; its key {intent.idempotency_key!r} is free again"
    complain(f"intent {id} is given up{key}")
    if as_json:
        ref = str(intent.ref) if intent.ref else None
        print_json({"intent": id, "kind": str(intent.kind), "idempotency_key": intent.idempotency_key, "ref": ref})
    return ExitCode.DONE


def describe_intent(intent: Intent) -> str:
    """An intent, for whoever has to decide about it."""
    key = f", with the key {intent.idempotency_key!r}" if intent.idempotency_key else ""
    action = f", {intent.ref}" if intent.ref else ""
    return (
        f"intent {intent.id}: a bulk {intent.kind}, written down {format_moment(intent.created_at)}{key}, "
        f"{intent.state}{action}"
    )


async def _look(journal: Path, id: str, ref: JobRef[Any]) -> tuple[Intent, BulkAction]:
    async with connect(journal=journal) as close:
        return await _intent_of(close, id), await close.get(ref)


async def _read_intent(journal: Path, id: str) -> Intent:
    async with connect(journal=journal) as close:
        return await _intent_of(close, id)


async def _intent_of(close: CloseBulk, id: str) -> Intent:
    intent = await close.journal.get(id)
    if intent is None:
        raise InvalidRequestError(f"the journal has no intent {id!r}")
    return intent


async def _adopt(journal: Path, id: str, ref: JobRef[Any]) -> BulkAction:
    async with connect(journal=journal) as close:
        return await close.adopt(id, ref)


async def _abandon(journal: Path, id: str) -> None:
    async with connect(journal=journal) as close:
        await close.abandon(id)
