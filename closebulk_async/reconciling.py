"""What became of a POST whose answer was lost: look for its action in the list of its kind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import attrs

from closebulk_async.errors import (
    APIError,
    ClientClosedError,
    CloseBulkError,
    JournalError,
    RateLimitedError,
    UnfencedStartError,
)
from closebulk_async.fencing import seems_older
from closebulk_async.fingerprints import echoed_fields, fingerprint_of_action, may_come_from
from closebulk_async.intents import Fence, Intent, State
from closebulk_async.models import BulkAction
from closebulk_async.telemetry import StartReconciled
from closebulk_async.wire import is_rejection

if TYPE_CHECKING:
    from collections.abc import Callable

    from closebulk_async.account import Account
    from closebulk_async.clock import Clock
    from closebulk_async.fencing import Fences
    from closebulk_async.journal import Journal
    from closebulk_async.policy import StartPolicy
    from closebulk_async.telemetry import Event
    from closebulk_async.transport import Transport

logger: logging.Logger = logging.getLogger("closebulk_async")


@attrs.frozen(kw_only=True)
class Finding:
    """What looking for the action of an intent has shown.

    `adopted`: `intent` is started now, and `action` is a narrowed view of it; `settled`: somebody else settled or sent
    the intent meanwhile; `missing`: the list was read well until the service must have shown it, and there is none;
    `several`: `candidates` may be it, and which one it is cannot be told; `unknown`: the list could not be read, see
    `error`.
    """

    intent: Intent
    outcome: Literal["adopted", "settled", "missing", "several", "unknown"]
    action: BulkAction | None = None
    candidates: Sequence[BulkAction] = ()
    error: CloseBulkError | None = None


class Reconciler:
    """Looks for the actions of ambiguous starts. It only reads, and changes nothing but the journal."""

    def __init__(
        self,
        transport: Transport,
        *,
        journal: Journal,
        account: Account,
        fences: Fences,
        clock: Clock,
        policy: StartPolicy,
        settle: float,
        tell: Callable[[Event], None],
    ) -> None:
        """`settle` is how long (seconds) the service may take to show a new action."""
        self._transport = transport
        self._journal = journal
        self._account = account
        self._fences = fences
        self._clock = clock
        self._policy = policy
        self._settle = settle
        self._tell = tell

    async def look_for(self, intent: Intent) -> Finding:
        """Look for the action of an intent that was found in `posting`, until it is found or must have been shown.

        Takes at least `settle` where there is none. Raises JournalError.
        """
        finding = await self._look_until_settled(intent)
        if finding.outcome != "settled":
            ref = finding.intent.ref
            self._tell(StartReconciled(intent=finding.intent, outcome=finding.outcome, ref=ref))
            logger.log(
                logging.INFO if finding.outcome == "adopted" else logging.WARNING,
                "intent %s (%s) was reconciled: %s%s",
                intent.id,
                intent.kind,
                finding.outcome,
                f", {ref} is its action" if ref else "",
            )
        return finding

    async def _look_until_settled(self, intent: Intent) -> Finding:
        deadline = self._clock.monotonic() + self._settle
        waits = self._policy.waits()
        while True:
            # The service may have taken the POST a moment ago: a look counts as the last one only if it began later
            # than that may take to show.
            is_last = self._clock.monotonic() >= deadline
            stored = await self._journal.get(intent.id)
            if stored is None or stored.state is not State.POSTING or stored.version != intent.version:
                return Finding(intent=stored or intent, outcome="settled")
            finding = await self._look(stored)
            if finding is not None and (is_last or finding.outcome == "adopted" or _is_hopeless(finding)):
                return finding
            await self._transport.sleep(min(next(waits), max(0.0, deadline - self._clock.monotonic())))

    async def _look(self, intent: Intent) -> Finding | None:
        """One look; None where somebody was quicker, so that it has to be done again."""
        if intent.fence is None:
            message = f"intent {intent.id} has no fence: its action cannot be told from earlier ones"
            return Finding(intent=intent, outcome="unknown", error=UnfencedStartError(message))
        try:
            rows = await self._rows_since(intent, intent.fence)
        except JournalError:
            raise
        except CloseBulkError as exc:
            return Finding(intent=intent, outcome="unknown", error=exc)
        equal = [row for row in rows if fingerprint_of_action(row) == intent.fingerprint]
        same = [row for row in equal if not seems_older(row, intent.fence)]
        if len(same) == 1:
            return await self._adopt(intent, same[0])
        if same:
            return Finding(intent=intent, outcome="several", candidates=same)
        # Close enough that it may be this one, spelled otherwise: to take it for missing would be to start it twice.
        similar = await self._without_others(intent, [row for row in rows if may_come_from(row, intent.request)])
        return Finding(intent=intent, outcome="several" if similar else "missing", candidates=similar)

    async def _rows_since(self, intent: Intent, fence: Fence) -> Sequence[BulkAction]:
        """Every action that may be the one of the intent, whatever it acts on."""
        fields = sorted(echoed_fields(intent.kind) | {"created_by"})
        rows = await self._fences.read_since(intent.kind, fence, fields=fields)
        if not rows:
            return ()
        user = intent.created_by or await self._account.user_id()
        return await self._unclaimed(intent, [row for row in rows if getattr(row, "created_by", None) in {None, user}])

    async def _unclaimed(self, intent: Intent, rows: Sequence[BulkAction]) -> Sequence[BulkAction]:
        claimed = await self._journal.claimed(intent.scope, [row.ref for row in rows]) if rows else frozenset()
        return [row for row in rows if row.ref not in claimed]

    async def _without_others(self, intent: Intent, rows: Sequence[BulkAction]) -> Sequence[BulkAction]:
        """Those that are not the very actions of other starts, which are under way or have just become known."""
        if not rows:
            return ()
        under_way = await self._journal.unfinished(intent.scope)
        others = {other.fingerprint for other in under_way if other.state is State.POSTING and other.id != intent.id}
        # Claims are read last: whoever is not under way any more has made its claim by then.
        return await self._unclaimed(intent, [row for row in rows if fingerprint_of_action(row) not in others])

    async def _adopt(self, intent: Intent, action: BulkAction) -> Finding | None:
        adopted = await self._journal.swap(intent.started_as(action, at=self._clock.now()))
        return None if adopted is None else Finding(intent=adopted, outcome="adopted", action=action)


def _is_hopeless(finding: Finding) -> bool:
    """Whether the next look would end like this one."""
    error = finding.error
    if isinstance(error, APIError):
        return is_rejection(error.status or 0) or isinstance(error, RateLimitedError)
    return isinstance(error, UnfencedStartError | ClientClosedError)
