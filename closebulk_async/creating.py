"""One `create`, from the intent to the action: how the steps of a start follow each other, whatever goes wrong."""

from __future__ import annotations

import logging
import uuid
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import attrs

from closebulk_async.account import Account
from closebulk_async.clock import Clock
from closebulk_async.counting import check_matches
from closebulk_async.errors import (
    AmbiguousStartError,
    AuthenticationError,
    BlockedStartError,
    CloseBulkError,
    IdempotencyConflictError,
    JournalError,
    RateLimitedError,
    TransportError,
)
from closebulk_async.fencing import Fences
from closebulk_async.fingerprints import fingerprint_of
from closebulk_async.intents import Fence, Intent, State
from closebulk_async.journal import Journal
from closebulk_async.models import Kind
from closebulk_async.owning import Ownership, Standing
from closebulk_async.recovering import Recovery
from closebulk_async.starting import StartOptions, start_once
from closebulk_async.transport import Delivery, Patience, Transport
from closebulk_async.wire import Request, bare_action, build_create

if TYPE_CHECKING:
    from closebulk_async.models import BulkAction, JobRef
    from closebulk_async.starts import Start

logger: logging.Logger = logging.getLogger("closebulk_async")

FRESH = 2.0
"""Seconds by which a fence may be older than the moment in which its POST may go. An equal action that somebody else
with the same user starts meanwhile cannot be told from that of the POST. Starts that get their places within this time
share a reading, or a long queue of them would use up the budget of reads."""


@attrs.frozen(kw_only=True)
class _Listed:
    """A fence, and when its reading began: the clock's monotonic seconds."""

    fence: Fence
    began: float


@attrs.frozen(kw_only=True)
class Workshop:
    """What every start of a client works with."""

    transport: Transport
    journal: Journal
    account: Account
    ownership: Ownership
    fences: Fences
    recovery: Recovery
    clock: Clock
    _latest: dict[Kind, _Listed] = attrs.field(factory=dict, init=False)
    _reading_since: dict[Kind, float] = attrs.field(factory=dict, init=False)
    """When the reading began that is under way: whoever joins it gets what was listed then."""

    async def take_fence(self, kind: Kind) -> _Listed:
        """What the list of a kind shows now. Raises as `Fences.take`."""
        began = self._reading_since.setdefault(kind, self.clock.monotonic())
        try:
            listed = self._latest[kind] = _Listed(fence=await self.fences.take(kind), began=began)
        except CloseBulkError:
            self._forget_reading(kind, began)
            raise
        # Not where this caller was cancelled: the reading goes on, and others may join it.
        self._forget_reading(kind, began)
        return listed

    def _forget_reading(self, kind: Kind, began: float) -> None:
        if self._reading_since.get(kind) == began:  # else it is the next one's, and others have seen this one end
            del self._reading_since[kind]

    async def renew_fence(self, kind: Kind, listed: _Listed) -> Fence:
        """The fence for a POST that may go now: a new one where too much time has passed. Raises as `Fences.take`."""
        least = self.clock.monotonic() - FRESH
        listed = max(listed, self._latest[kind], key=lambda each: each.began)
        while listed.began < least:  # twice where it joins a reading that began before
            listed = await self.take_fence(kind)
        return listed.fence

    async def write_intent(self, start: Start, options: StartOptions) -> Intent:
        """The intent of a start, not yet in the journal."""
        return Intent(
            id=uuid.uuid4().hex,
            scope=await self.account.scope(),
            kind=start.kind,
            body=start.to_json(),
            fingerprint=fingerprint_of(start.kind, start.body()),
            created_at=self.clock.now(),
            idempotency_key=options.idempotency_key,
            created_by=self.account.known_user_id,
            owner=await self.ownership.name(),
        )


class Creation:
    """One start, until its action is known or an error is.

    Only one with the same fingerprint may run at a time in a client; between clients the journal sees to that.
    """

    def __init__(
        self,
        workshop: Workshop,
        start: Start,
        options: StartOptions,
        *,
        delivery: Delivery,
        ambiguous_before: frozenset[str | None],
    ) -> None:
        """`ambiguous_before` are intents whose callers had left, or knew of the doubt, when this was asked for."""
        self._shop = workshop
        self._start = start
        self._options = options
        self._delivery = delivery
        self._ambiguous_before = ambiguous_before
        self._patience = Patience(workshop.transport.retry)
        self._may_resend = options.on_ambiguous == "resend"
        self._action: BulkAction | None = None
        """As the POST, or looking for its outcome, has shown it."""
        self._doubt: AmbiguousStartError | None = None
        """That of this start's own POST."""
        self._first: Intent | None = None
        """The intent as it was in doubt, before it was sent once more."""
        self._was_refused = False
        """Its POST was answered with a 401, after which there was a fresh token."""
        self._is_heir = False
        """It holds the intent of a dead owner, which nobody else can send any more."""
        self.intent_id: str | None = None
        """The intent that it holds."""
        self.started: JobRef[Any] | None = None
        """The action, where `run` was cancelled when it was known already."""
        self.left_open: str | None = None
        """The intent whose outcome is unknown after `run` has failed."""

    async def run(self, intent: Intent) -> BulkAction:
        """The action of the intent; see `Starter.start` for what it raises."""
        held = intent
        try:
            held = await self._shop.journal.begin(intent)
            while held.ref is None or not held.asks_the_same_as(intent):
                self.intent_id = held.id
                held = await self._step(held, intent)
        except BaseException as exc:
            await self._let_go(held.id, intent)
            if self._first is None or isinstance(exc, AmbiguousStartError) or not isinstance(exc, CloseBulkError):
                raise
            raise self._shop.recovery.doubtful(self._first, exc) from exc
        if self._action is not None and not self._action.unset:
            return self._action  # what this very POST was answered with
        if self._action is not None:
            self.started = self._action.ref
        # That it is started is what was asked; whoever cannot read it just now learns its id all the same.
        return await self._shop.recovery.read(held.ref, seen=self._action or bare_action(held.ref))

    async def _step(self, held: Intent, wanted: Intent) -> Intent:
        """The intent after the next thing that can be done for it."""
        if self._doubt is None:  # else that is what has to be said, and not that the client was closed
            self._shop.transport.check_open()
        if not held.asks_the_same_as(wanted):
            return await self._rebind(held, wanted)
        if held.state is State.NEW:
            return await self._send(held)
        if held.state is State.POSTING:
            return await self._settle(held)
        # Somebody gave it up meanwhile, so that its key is free.
        return await self._shop.journal.begin(attrs.evolve(wanted, id=uuid.uuid4().hex))

    async def _rebind(self, held: Intent, wanted: Intent) -> Intent:
        """The key for another request: allowed as long as nothing has run under it."""
        if held.state is not State.NEW:
            message = (
                f"the idempotency key {held.idempotency_key!r} belongs to another request: intent {held.id} is "
                f"{held.state}{f' with {held.ref}' if held.ref else ''}. Use another key"
            )
            raise IdempotencyConflictError(message, intent=held)
        rebound = attrs.evolve(wanted, id=held.id, version=held.version)
        return await self._shop.journal.swap(rebound) or await self._shop.recovery.get(held.id)

    async def _send(self, held: Intent) -> Intent:
        shop = self._shop
        if self._options.max_matches is not None:
            await check_matches(
                shop.transport, self._start, most=self._options.max_matches, timeout=self._options.timeout
            )
        request = build_create(held.kind, held.body)
        # Before it waits for its place: all that begin to wait at one moment share one reading.
        listed = await shop.take_fence(held.kind)
        # Before the intent says that it is being sent: a crash meanwhile leaves nothing in doubt.
        await shop.transport.admit(request.group, self._patience, self._delivery)
        try:
            fence = await shop.renew_fence(held.kind, listed)
            return await self._post(held, request, fence)
        finally:
            shop.transport.dismiss(request.group, self._delivery)

    async def _post(self, held: Intent, request: Request, fence: Fence) -> Intent:
        shop = self._shop
        try:
            async with shop.ownership.renewing(held.id):
                self._action = await start_once(
                    shop.transport,
                    shop.journal,
                    held,
                    fence=fence,
                    owner=await shop.ownership.name(),
                    leased_until=shop.ownership.lease_end(),
                    delivery=self._delivery,
                    timeout=self._options.timeout,
                )
        except AmbiguousStartError as exc:
            self._doubt = exc.offer(shop.recovery.reconcile)
            return exc.intent
        except AuthenticationError as exc:
            if self._was_refused or self._delivery.is_withdrawn or not await shop.transport.renew(self._delivery):
                raise
            self._was_refused = True
            shop.transport.note_repeat(request, str(exc), self._patience, 0.0)
            return await shop.recovery.get(held.id)
        except (RateLimitedError, TransportError) as exc:
            delay = shop.transport.delay_after(exc, request.group, self._patience)
            if delay is None or self._delivery.is_withdrawn or not shop.transport.is_open:
                raise
            shop.transport.note_repeat(request, str(exc), self._patience, delay)
            if isinstance(exc, TransportError):
                await shop.transport.sleep(delay)
            return await shop.recovery.get(held.id)
        if self._action is None:
            return await self._make_way(held)
        return attrs.evolve(held, ref=self._action.ref)  # whatever the journal came to

    async def _settle(self, posting: Intent) -> Intent:
        """An ambiguous intent: that of this start's own POST, or of an earlier one that it asks for once more."""
        doubt, self._doubt = self._doubt, None
        if doubt is not None and (self._delivery.is_withdrawn or self._options.on_ambiguous == "raise"):
            raise doubt  # nobody waits any more, or the caller wants to look for it by himself
        try:
            # Not while it waits for a lease to run out, which may be its own.
            is_ours = doubt is not None or self._is_heir
            async with self._shop.ownership.renewing(posting.id) if is_ours else nullcontext():
                finding = await self._shop.recovery.settle(
                    posting,
                    is_ours=is_ours,
                    may_resend=self._may_resend or self._is_heir,
                    doubt=None if doubt is None else doubt.__cause__,
                )
        except JournalError as exc:
            if doubt is None:
                raise
            logger.warning("intent %s cannot be reconciled: %s", posting.id, exc)
            raise doubt from doubt.__cause__
        if doubt is not None and finding.intent.state is State.FINAL and finding.intent.ref is None:
            raise doubt  # somebody gave it up meanwhile; that does not mean that it never ran
        self._action = finding.action
        if finding.outcome == "missing" and self._may_resend and not self._is_heir:
            self._first = posting
        self._may_resend = self._may_resend and (self._is_heir or finding.outcome != "missing")  # once is enough
        self._is_heir = False
        if finding.outcome != "adopted":
            return finding.intent
        with suppress(JournalError):  # it is known already; this only keeps it from others who recover
            mine = attrs.evolve(finding.intent, owner=await self._shop.ownership.name())
            await self._shop.journal.swap(mine)
        return finding.intent

    async def _make_way(self, held: Intent) -> Intent:
        """For an intent that may not become `posting`: because another one of its fingerprint is, or it was changed."""
        journal, recovery = self._shop.journal, self._shop.recovery
        rivals = await journal.unfinished(held.scope, fingerprint=held.fingerprint)
        rival = next((each for each in rivals if each.state is State.POSTING and each.id != held.id), None)
        if rival is None:
            return await recovery.get(held.id)
        standing = await self._shop.ownership.standing(rival)
        if self._continues(held, rival, standing):
            return await self._take_over(held, rival, is_dead=standing is Standing.DEAD)
        # Responses could not tell the two apart, so that they must not be under way together.
        try:
            settled = (await recovery.settle(rival)).intent
        except AmbiguousStartError as exc:
            message = f"this start was not sent, because a like one is unsettled: {exc}"
            raise BlockedStartError(message, intent=exc.intent) from exc
        if settled.state is State.NEW and settled.idempotency_key is None:
            await journal.swap(settled.given_up())  # nobody can ask for it again
        return await recovery.get(held.id)

    def _continues(self, held: Intent, rival: Intent, standing: Standing) -> bool:
        """Whether the caller means the job of the earlier start: it is equal, and nobody else was told its outcome."""
        if held.idempotency_key or rival.idempotency_key or not held.asks_the_same_as(rival):
            return False
        return rival.id in self._ambiguous_before or standing is Standing.DEAD

    async def _take_over(self, held: Intent, rival: Intent, *, is_dead: bool) -> Intent:
        """Go on with an earlier intent in the place of one's own."""
        shop = self._shop
        if is_dead:  # several clients may find it so at the same time, and its job is for one of them
            owner, lease_end = await shop.ownership.name(), shop.ownership.lease_end()
            taken = await shop.journal.swap(attrs.evolve(rival, owner=owner, leased_until=lease_end))
            if taken is None:
                return await shop.recovery.get(held.id)
            rival, self._is_heir = taken, True
        logger.warning(
            "an equal start, intent %s, was left in doubt: it is settled in place of %s, and its action, if any, is "
            "the outcome of both",
            rival.id,
            held.id,
        )
        await shop.journal.swap(held.given_up())
        return rival

    async def _let_go(self, id: str, wanted: Intent) -> None:
        """Leave the intent of a start that has failed, or was cancelled, as others may find it."""
        shop = self._shop
        try:
            intent = await shop.journal.get(id)
            if intent is None or intent.owner != await shop.ownership.name() or not intent.asks_the_same_as(wanted):
                return  # another start works on it, of another client or of this one
            self.started = intent.ref
            if intent.state is State.POSTING:
                self.left_open = id
                owner = None if self._is_heir else intent.owner  # what is proved of it stays so
                await shop.journal.swap(attrs.evolve(intent, owner=owner, leased_until=shop.clock.now()))
            elif intent.state is State.NEW and self._first is not None:
                self.left_open = id
                await shop.journal.swap(
                    attrs.evolve(self._first, owner=intent.owner, version=intent.version, leased_until=shop.clock.now())
                )
            elif intent.state is State.NEW:
                await shop.journal.swap(
                    attrs.evolve(intent, owner=None) if intent.idempotency_key else intent.given_up()
                )
        except JournalError as exc:
            logger.warning("intent %s stays as it was: %s", id, exc)
