"""What a lost answer or a crash left open: settle it, for a start that needs to know, after a restart, or by hand."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.errors import (
    AmbiguousStartError,
    ClientClosedError,
    CloseBulkError,
    InvalidRequestError,
    JournalError,
    StartError,
)
from closebulk_async.intents import Intent, Sighting, State
from closebulk_async.models import BulkAction, JobRef
from closebulk_async.owning import Ownership, Standing
from closebulk_async.reconciling import Finding, Reconciler
from closebulk_async.starting import ambiguous
from closebulk_async.wire import build_get, read_action

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from closebulk_async.account import Account
    from closebulk_async.clock import Clock
    from closebulk_async.journal import Journal
    from closebulk_async.transport import Transport

logger: logging.Logger = logging.getLogger("closebulk_async")

BUSY_WAIT = 0.25
"""Seconds between two looks at an intent that another client works on: about as long as its POST takes."""

RECOVERED_AT_ONCE = 8
"""Intents that are looked into at the same time: most of them cost one request, an ambiguous one waits for seconds."""


@attrs.frozen(kw_only=True)
class Recovered:
    """One intent that was left open, and what has become of it.

    `action` is its action as it is now, running or ended. Without one, `error` says why its outcome is unknown; or
    nothing ran, and `intent.state` is `new` (the same `create` with its idempotency key sends it) or, where it has no
    key by which anybody could ask for it, `final`.
    """

    intent: Intent
    action: BulkAction | None = None
    error: CloseBulkError | None = None

    @property
    def ref(self) -> JobRef[Any] | None:
        """The action's ref, also where it could not be read just now."""
        return self.intent.ref


class Recovery:
    """Settles what is open in a journal. It sends no POST."""

    def __init__(
        self,
        transport: Transport,
        *,
        journal: Journal,
        account: Account,
        ownership: Ownership,
        reconciler: Reconciler,
        clock: Clock,
    ) -> None:
        """Look at nothing yet."""
        self._transport = transport
        self._journal = journal
        self._account = account
        self._ownership = ownership
        self._reconciler = reconciler
        self._clock = clock

    async def settle(
        self,
        intent: Intent,
        *,
        is_ours: bool = False,
        may_resend: bool = False,
        doubt: BaseException | None = None,
    ) -> Finding:
        """What has become of an intent that was found in `posting`; it is no longer that, or AmbiguousStartError.

        Waits while its owner works on it. `is_ours` says that this is the caller itself, `doubt` what its POST came to.
        Where no action is found, it becomes `new` again if its owner is proved dead, or is this client and
        `may_resend`. One that is merely silent may go on and send it.
        """
        while intent.state is State.POSTING:
            standing = Standing.OURS if is_ours else await self._ownership.standing(intent)
            if standing is Standing.BUSY:
                await self._transport.sleep(BUSY_WAIT)
                self._transport.check_open()
                intent = await self.get(intent.id)
                continue
            finding = await self._reconciler.look_for(intent)
            if finding.outcome == "adopted":
                return finding
            if finding.outcome != "settled":
                can_be_freed = standing is Standing.DEAD or (may_resend and standing is Standing.OURS)
                if finding.outcome != "missing" or not can_be_freed:
                    raise self._ambiguous(finding, doubt) from (doubt or finding.error)
                if (freed := await self._journal.swap(finding.intent.unsent())) is not None:
                    return attrs.evolve(finding, intent=freed)
            # Somebody was quicker, and may have sent it anew: what was known of its former owner proves nothing now.
            intent, is_ours, doubt = await self.get(intent.id), False, None
        return Finding(intent=intent, outcome="settled")

    def doubtful(self, intent: Intent, error: CloseBulkError) -> AmbiguousStartError:
        """For an ambiguous intent that was sent once more: its first POST stays in doubt, however the second ended."""
        reason = f"no action of a first POST was in the list, and a second one ended with: {error}"
        return ambiguous(intent, reason).offer(self.reconcile)

    def _ambiguous(self, finding: Finding, doubt: BaseException | None) -> AmbiguousStartError:
        refs = " or ".join(str(action.ref) for action in finding.candidates)
        reason = {
            "missing": "no such action is in the list, long enough after it",
            "several": f"it may be {refs}",
            "unknown": f"the list could not be read: {finding.error}",
        }[finding.outcome]
        said = f"{doubt}; {reason}" if doubt else reason
        return ambiguous(finding.intent, said, candidates=finding.candidates).offer(self.reconcile)

    async def get(self, id: str) -> Intent:
        """The intent of that id. Raises InvalidRequestError where there is none."""
        intent = await self._journal.get(id)
        if intent is None:
            message = f"the journal has no intent {id!r}"
            raise InvalidRequestError(message)
        return intent

    async def reconcile(self, id: str) -> BulkAction:
        """The action of an intent, as it is now. AmbiguousStartError where it stays unknown.

        StartError where it is known that there is none, ClientClosedError.
        """
        self._transport.check_open()
        intent, seen = await self._get_own(id), None
        if intent.state is State.POSTING:
            finding = await self.settle(intent)
            intent, seen = finding.intent, finding.action
        if intent.ref is None:
            message = f"intent {id} has no action: it is {intent.state}. Call create once more if it is wanted"
            raise StartError(message)
        return await self.read(intent.ref, seen=seen)

    async def adopt(self, id: str, ref: JobRef[Any]) -> BulkAction:
        """Make the action of `ref` the one of an intent: for an operator who knows that it is.

        Raises InvalidRequestError where the intent has an action, or the action belongs to another intent.
        """
        intent = await self._get_own(id)
        if ref.kind is not intent.kind:
            message = f"{ref} is of the kind {ref.kind}, and intent {id} starts one of the kind {intent.kind}"
            raise InvalidRequestError(message)
        action = await self.read(ref)
        await self._check_idle(intent)
        if intent.state in {State.NEW, State.POSTING}:
            if await self._journal.swap(intent.started_as(action, at=self._clock.now())) is not None:
                return action
            intent = await self.get(id)
        if intent.ref == ref:
            return action
        owner = f"it is {intent.state} with {intent.ref}" if intent.ref else f"{ref} belongs to another intent"
        message = f"intent {id} cannot adopt {ref}: {owner}"
        raise InvalidRequestError(message)

    async def abandon(self, id: str) -> None:
        """Give an intent up: for an operator who knows that it has no action, or wants to hear no more of it.

        Its idempotency key is free again unless it has an action. Raises StartError while a client works on it.
        """
        intent = await self.get(id)
        while intent.is_open:
            await self._check_idle(intent)
            if await self._journal.swap(intent.given_up()) is not None:
                return
            intent = await self.get(id)

    async def _get_own(self, id: str) -> Intent:
        """One that this client's key can look for: in the lists of another organization its action would be missing."""
        intent = await self.get(id)
        scope = await self._account.scope()
        if intent.scope != scope:
            message = f"intent {id} belongs to {intent.scope}, and this client's key to {scope}"
            raise InvalidRequestError(message)
        return intent

    async def _check_idle(self, intent: Intent) -> None:
        if intent.state is State.POSTING and await self._ownership.standing(intent) is Standing.BUSY:
            message = f"intent {intent.id} is being sent right now: wait until its outcome is known"
            raise StartError(message)

    async def read(self, ref: JobRef[Any], *, seen: BulkAction | None = None) -> BulkAction:
        """The action as it is now, or `seen` where it cannot be read."""
        try:
            return await self._transport.read(build_get(ref), partial(read_action, ref.kind))
        except CloseBulkError as exc:
            if seen is None:
                raise
            logger.info("%s was found, and could not be read whole: %s", ref, exc)
            return seen

    async def recover(self) -> AsyncGenerator[Recovered, None]:
        """Everything that is open and that no other living client works on, each once, as it becomes known."""
        scope = await self._account.scope()
        slots = asyncio.Semaphore(RECOVERED_AT_ONCE)
        tasks = [
            asyncio.get_running_loop().create_task(self._recover(intent, slots), name=f"closebulk_async {intent.id}")
            for intent in await self._journal.unfinished(scope)
        ]
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (recovered := task.result()) is not None:
                        yield recovered
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # of several that failed, all but one go unseen

    async def _recover(self, intent: Intent, slots: asyncio.Semaphore) -> Recovered | None:
        """None where others work on it."""
        async with slots:
            standing = await self._ownership.standing(intent)
            if standing is Standing.BUSY or (standing is Standing.SILENT and intent.state is not State.POSTING):
                return None
            if standing is Standing.OURS and intent.state is State.NEW:
                return None  # a create of this very client is about to send it
            action = None
            if intent.state is State.POSTING:
                try:
                    finding = await self.settle(intent)
                except (ClientClosedError, JournalError):
                    raise
                except CloseBulkError as exc:
                    return Recovered(intent=intent, error=exc)
                intent, action = finding.intent, finding.action
                if finding.outcome == "settled" and await self._ownership.standing(intent) is Standing.SILENT:
                    return None  # by another one that recovers
            if intent.ref is None:
                return await self._recover_unsent(intent)
            return await self._recover_started(intent, intent.ref, seen=action)

    async def _recover_unsent(self, intent: Intent) -> Recovered | None:
        """Without a key nobody can ask for it again."""
        if intent.is_open and intent.idempotency_key is None:
            given_up = await self._journal.swap(intent.given_up())
            return None if given_up is None else Recovered(intent=given_up)
        return Recovered(intent=intent) if intent.is_open else None

    async def _recover_started(self, intent: Intent, ref: JobRef[Any], *, seen: BulkAction | None) -> Recovered | None:
        owner = await self._ownership.name()
        while (taken := await self._journal.swap(attrs.evolve(intent, owner=owner))) is None:
            intent = await self.get(intent.id)  # a wait has noted how far it is, or another one that recovers has it
            if await self._ownership.standing(intent) is Standing.SILENT:
                return None
        try:
            action = await self.read(ref, seen=seen)
        except CloseBulkError as exc:
            return Recovered(intent=taken, error=exc)
        sighting = Sighting.of(action, at=self._clock.now())
        await self._journal.progress(intent.scope, ref, sighting, is_final=action.is_final)
        return Recovered(intent=await self.get(intent.id), action=action)
