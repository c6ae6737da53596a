"""One POST, and what is written down of it: every way in which it can end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest

from closebulk_async import (
    AmbiguousStartError,
    APIError,
    BadRequestError,
    BulkEmail,
    ClientClosedError,
    DecodeError,
    InvalidRequestError,
    JournalError,
    RateLimitedError,
    TransportError,
)
from closebulk_async.auth import ApiKey
from closebulk_async.intents import Fence, Intent, State
from closebulk_async.journal import MemoryJournal
from closebulk_async.models import JobRef, Kind
from closebulk_async.policy import RetryPolicy, Timeouts
from closebulk_async.settings import Settings
from closebulk_async.simulator import Simulator, faults
from closebulk_async.starting import StartOptions, ambiguous, start_once
from closebulk_async.testing import FakeClock
from closebulk_async.testing.chaos.stepping import SteppingJournal
from closebulk_async.testing.conformance.samples import new_intent, swapped
from closebulk_async.transport import Delivery, Transport
from tests.stage import KEYWORDS, QUERY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.journal import Journal
    from closebulk_async.simulator import Fault

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
FENCE = Fence(ids=frozenset({"bulkemail_0"}), taken_at=NOON)
BODY = orjson.dumps({"s_query": QUERY, **KEYWORDS[Kind.EMAIL]})
UNTIL = NOON + timedelta(seconds=20)


@attrs.define(eq=False)
class Post:
    """An intent that may be sent, and all that is needed for it. The journal says its steps to `tell`."""

    sim: Simulator
    clock: FakeClock
    transport: Transport
    memory: MemoryJournal = attrs.field(factory=MemoryJournal)
    intent: Intent = attrs.field(factory=lambda: new_intent(body=BODY))
    delivery: Delivery = attrs.field(factory=Delivery)
    tell: Callable[[str], None] = lambda _: None

    @property
    def journal(self) -> Journal:
        """It fails where `tell` does."""
        return SteppingJournal(self.memory, self.tell)

    async def send(self, **options: Any) -> BulkEmail | None:
        """Send it as `owner`."""
        action = await start_once(
            self.transport,
            self.journal,
            self.intent,
            fence=FENCE,
            owner="owner",
            leased_until=UNTIL,
            **{"delivery": self.delivery, **options},
        )
        assert action is None or isinstance(action, BulkEmail)
        return action

    async def begin(self, **options: Any) -> asyncio.Task[BulkEmail | None]:
        """Send it, as far as that goes without time passing."""
        sending = asyncio.ensure_future(self.send(**options))
        await self.clock.settle()
        return sending

    async def stored(self) -> Intent:
        """The intent as the journal has it."""
        stored = await self.memory.get(self.intent.id)
        assert stored is not None
        return stored

    async def is_unsent(self) -> bool:
        """Whether the journal says that nothing ran, and nobody takes the POST for one that is under way."""
        stored = await self.stored()
        free = (State.NEW, None, None)
        return (stored.state, stored.fence, stored.leased_until) == free and not self.delivery.may_have_left

    async def is_in_doubt(self) -> bool:
        """Whether the journal still says all that is needed to look for the action."""
        stored = await self.stored()
        held = (State.POSTING, FENCE, UNTIL, "owner")
        return (stored.state, stored.fence, stored.leased_until, stored.owner) == held

    @property
    def posts(self) -> int:
        """How many have arrived."""
        return sum(request.method == "POST" for request in self.sim.requests)


def open_transport(sim: Simulator, clock: FakeClock) -> Transport:
    """One of its own."""
    timeouts, retry = Timeouts(), RetryPolicy()
    auth = ApiKey(sim.api_key)
    transport = Transport(Settings(base_url=sim.base_url, auth=auth, timeouts=timeouts, retry=retry, clock=clock))
    transport.open()
    return transport


@pytest.fixture
def clock() -> FakeClock:
    """Virtual time that passes when the test says so."""
    return FakeClock(auto=False)


@pytest.fixture
async def post(sim: Simulator, clock: FakeClock) -> AsyncIterator[Post]:
    """The intent of a bulk email, written down and not sent."""
    post = Post(sim, clock, transport := open_transport(sim, clock))
    await post.memory.begin(post.intent)
    yield post
    await transport.aclose()


def failing(*points: str) -> Callable[[str], None]:
    """For a journal: fails at these steps."""

    def fail(step: str) -> None:
        if step in points:
            raise JournalError("no room")

    return fail


# What is asked for --------------------------------------------------------------------------------------------------


def test_the_keywords_of_create_are_the_options() -> None:
    """Each as it was given, a timedelta as seconds; without any, a lost answer is looked for, nothing is bounded."""
    options = StartOptions.from_keywords(
        timeout=timedelta(minutes=1), idempotency_key="campaign", on_ambiguous="raise", max_matches=0
    )
    assert options == StartOptions(timeout=60.0, idempotency_key="campaign", on_ambiguous="raise", max_matches=0)
    assert attrs.asdict(StartOptions.from_keywords()) == attrs.asdict(StartOptions())
    assert attrs.astuple(StartOptions()) == (None, None, "reconcile", None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_ambiguous": "retry"}, "on_ambiguous must be one of reconcile, raise, resend and is 'retry'"),
        ({"idempotency_key": ""}, "idempotency_key must be a text that is not empty and is ''"),
        ({"idempotency_key": " \n"}, r"idempotency_key must be a text that is not empty and is ' \n'"),
        ({"idempotency_key": b"key"}, "idempotency_key must be a text that is not empty and is b'key'"),
        ({"max_matches": -1}, "max_matches must be an integer of at least 0 and is -1"),
        ({"timeout": -1}, "timeout must be seconds, a finite number that is not negative or a timedelta, and is -1"),
    ],
)
def test_what_is_no_option_is_refused_by_its_name(options: dict[str, Any], said: str) -> None:
    """Before anything is written down or sent."""
    with pytest.raises(InvalidRequestError) as caught:
        StartOptions.from_keywords(**options)
    assert str(caught.value) == said


# How it ends --------------------------------------------------------------------------------------------------------


async def test_an_answer_makes_it_started(post: Post) -> None:
    """The journal has the ref and what the action showed then, and holds nothing back any more."""
    action = await post.send()
    assert action is not None
    assert [action.ref] == [JobRef(Kind.EMAIL, job.id) for job in post.sim.jobs]
    stored = await post.stored()
    assert (stored.state, stored.ref, stored.fence, stored.leased_until) == (State.STARTED, action.ref, None, None)
    assert stored.sighting is not None
    assert (stored.sighting.status, stored.sighting.at) == (action.status, post.clock.now())
    assert stored.owner == "owner"
    assert post.delivery.may_have_left is False


async def test_it_is_written_down_before_it_is_sent(post: Post) -> None:
    """By whom, until when that holds, and which actions cannot be its own."""
    post.sim.fail_next(faults.delay(5), method="POST")
    sending = await post.begin()
    assert await post.is_in_doubt()
    assert post.delivery.may_have_left
    await post.clock.advance(5)
    await sending


async def test_without_a_delivery_it_is_sent_all_the_same(post: Post) -> None:
    """Who does not ask how far it is need not pass one."""
    action = await post.send(delivery=None)
    assert action is not None
    assert (await post.stored()).ref == action.ref


@pytest.mark.parametrize("changed", ["by another one", "to an equal one that is under way"])
async def test_where_the_journal_refuses_nothing_is_sent(post: Post, changed: str) -> None:
    """Somebody else has changed the intent, or has one of its fingerprint: it stays as it is."""
    if changed == "by another one":
        await swapped(post.memory, post.intent, owner="other")
    else:
        other = await post.memory.begin(new_intent(fingerprint=post.intent.fingerprint))
        await swapped(post.memory, other, state=State.POSTING)
    before = await post.stored()
    assert await post.send() is None
    assert (post.posts, await post.stored()) == (0, before)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.reply(400, "{}", content_type="application/json"), BadRequestError),
        (faults.too_many_requests(retry_after=5), RateLimitedError),
    ],
)
async def test_a_rejection_leaves_it_new(post: Post, fault: Fault, error: type[APIError]) -> None:
    """Its error is raised at once, whatever it asks for: whether there is a second POST is for others to judge."""
    post.sim.fail_next(fault, method="POST")
    with pytest.raises(error, match="POST /bulk_action/email/ was answered"):
        await post.send()
    assert (post.posts, post.clock.monotonic()) == (1, 0)
    assert await post.is_unsent()


async def test_a_server_that_is_not_there_leaves_it_new(post: Post) -> None:
    """What was not sent is no doubt."""
    async with Simulator(clock=post.clock) as gone:
        post.transport = open_transport(gone, post.clock)
    with pytest.raises(TransportError) as caught:
        await post.send()
    await post.transport.aclose()
    assert not caught.value.sent
    assert await post.is_unsent()


async def test_a_client_that_was_closed_leaves_it_new(post: Post) -> None:
    """Between the journal and the POST."""
    await post.transport.aclose()
    with pytest.raises(ClientClosedError):
        await post.send()
    assert await post.is_unsent()


@pytest.mark.parametrize(
    "fault",
    [
        faults.cut_before(),
        faults.cut_after(),
        faults.server_error(503),
        faults.reply(408, "{}", content_type="application/json"),
        faults.altered(without=["id"]),
        faults.broken_json(),
    ],
)
async def test_an_answer_that_proves_nothing_leaves_it_in_doubt(post: Post, fault: Fault) -> None:
    """It is not sent again; the error says why it is not known, and comes from the error that said it."""
    post.sim.fail_next(fault, method="POST")
    with pytest.raises(AmbiguousStartError) as caught:
        await post.send()
    assert post.posts == 1
    assert await post.is_in_doubt()
    assert caught.value.intent == await post.stored()
    assert isinstance(caught.value.__cause__, TransportError | APIError | DecodeError)
    assert str(caught.value.__cause__) in str(caught.value)
    assert not post.delivery.may_have_left


async def test_an_answer_that_is_late_leaves_it_in_doubt(post: Post) -> None:
    """`timeout` is the caller's own, and shorter than that of all requests."""
    post.sim.fail_next(faults.hang(acts=True), method="POST")
    sending = await post.begin(timeout=7.0)
    await post.clock.advance(6.9)
    assert not sending.done()
    await post.clock.advance(0.1)
    with pytest.raises(AmbiguousStartError):
        await sending
    assert await post.is_in_doubt()


async def test_an_answer_of_which_only_the_id_can_be_read(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """The action is known, and that is what counts; what could not be read is said."""
    post.sim.fail_next(faults.altered(n_objects="many"), method="POST")
    action = await post.send()
    assert action is not None
    assert [action.id] == [job.id for job in post.sim.jobs]
    assert (await post.stored()).ref == action.ref
    (said,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert said.startswith(f"POST /bulk_action/email/ started {action.ref}, whose other fields could not be read: ")
    assert "n_objects" in said
    assert {record.name for record in caplog.records if record.levelno >= logging.WARNING} == {"closebulk_async"}


async def test_a_request_that_was_withdrawn_leaves_it_new(post: Post) -> None:
    """Its owner left before the first byte did."""
    post.delivery.is_withdrawn = True
    with pytest.raises(TransportError):
        await post.send()
    assert post.posts == 0
    assert await post.is_unsent()


async def test_cancelled_before_it_could_be_received(post: Post) -> None:
    """Nothing was sent, and the journal says so."""
    post.tell = cancelling("after swap to posting")
    with pytest.raises(asyncio.CancelledError):
        await post.send()
    assert post.posts == 0
    assert await post.is_unsent()


async def test_cut_off_after_it_may_have_been_received(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """Where the loop itself ends, all that can be done is to leave it in doubt and to say which intent that is."""
    post.sim.fail_next(faults.hang(acts=True), method="POST")
    sending = await post.begin()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await post.is_in_doubt()
    assert not post.delivery.may_have_left
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"POST /bulk_action/email/ was cut off after it may have been received: intent {post.intent.id}"
    ]


def cancelling(point: str) -> Callable[[str], None]:
    """For a journal: whoever waits for it is cancelled at that step."""

    def cancel(step: str) -> None:
        if step == point:
            raise asyncio.CancelledError

    return cancel


# A journal that fails -----------------------------------------------------------------------------------------------


async def test_what_may_have_been_written_is_taken_back(post: Post) -> None:
    """The journal failed after it wrote, or before: nothing was sent, and it says so."""
    for point in ("before swap to posting", "after swap to posting"):
        post.tell = failing(point)
        post.intent = await post.stored()
        with pytest.raises(JournalError, match="no room"):
            await post.send()
        assert await post.is_unsent()
    assert post.posts == 0


async def test_what_another_one_sends_is_not_taken_back(post: Post) -> None:
    """The intent is under way, but not by this owner."""
    await swapped(post.memory, post.intent, state=State.POSTING, owner="other", fence=FENCE)
    post.tell = failing("before swap to posting")
    with pytest.raises(JournalError):
        await post.send()
    stored = await post.stored()
    assert (stored.state, stored.owner) == (State.POSTING, "other")


async def test_what_another_one_has_started_is_not_taken_back(post: Post) -> None:
    """It is this owner's, and its action is known by now."""
    under_way = await swapped(post.memory, post.intent, state=State.POSTING, owner="owner", fence=FENCE)
    started = await swapped(post.memory, under_way, state=State.STARTED, ref=JobRef(Kind.EMAIL, "bulkemail_1"))
    post.tell = failing("before swap to posting")
    with pytest.raises(JournalError):
        await post.send()
    assert await post.stored() == started


async def test_what_cannot_be_taken_back_is_said(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """The first error is the one that is raised."""
    post.tell = failing("after swap to posting", "before get")
    with pytest.raises(JournalError, match="no room"):
        await post.send()
    assert [record.getMessage() for record in caplog.records] == [
        f"intent {post.intent.id} was not sent; whether the journal says so is unknown: no room"
    ]


async def test_an_intent_that_the_journal_has_lost(post: Post) -> None:
    """There is nothing to take back."""
    post.intent = new_intent()
    post.tell = failing("before swap to posting")
    with pytest.raises(JournalError, match="no room"):
        await post.send()


async def test_an_action_that_cannot_be_written_down(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """It is returned, and its ref is in the log with the error; the journal leaves it in doubt."""
    post.tell = failing("before swap to started")
    action = await post.send()
    assert action is not None
    assert await post.is_in_doubt()
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert record.getMessage() == (
        f"intent {post.intent.id} is started ({action.ref}), which could not be written down"
    )
    assert record.exc_info is not None


async def test_an_intent_that_somebody_else_has_changed_meanwhile(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """The action is returned all the same, and the log has what the journal says and what is true."""
    post.sim.fail_next(faults.delay(5), method="POST")
    sending = await post.begin()
    stored = await swapped(post.memory, await post.stored(), owner="other")
    await post.clock.advance(5)
    action = await sending
    assert action is not None
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"intent {post.intent.id} is started ({action.ref}), but the journal says {stored}"
    ]


async def test_an_intent_to_which_somebody_else_has_given_the_same_action(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """Both say the same, and nothing is wrong."""
    post.sim.fail_next(faults.delay(5, acts_first=True), method="POST")
    sending = await post.begin()
    ref: JobRef[BulkEmail] = JobRef(Kind.EMAIL, post.sim.jobs[0].id)
    await swapped(post.memory, await post.stored(), state=State.STARTED, ref=ref)
    await post.clock.advance(5)
    action = await sending
    assert action is not None
    assert action.ref == ref
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# What is said -------------------------------------------------------------------------------------------------------


def test_a_doubt_says_where_to_look_and_what_to_do() -> None:
    """Since when, by whom, what the action shows, and the calls that settle it."""
    intent = new_intent(id="1" * 32, created_by="user_1", fence=FENCE, body=b'{"a":"' + b"x" * 300 + b'"}')
    action = BulkEmail.example()
    error = ambiguous(intent, "the answer was lost", candidates=[action])
    shown = '{"a":"' + "x" * 143 + "…"
    assert str(error) == (
        "POST /bulk_action/email/ may or may not have started an action, and is not sent again: the answer was lost. "
        "Look in the list of email actions for one that was created since 2026-01-15 12:00:00 UTC by user_1 "
        f"and shows {shown}. Then close.adopt('{intent.id}', ref), or close.abandon('{intent.id}') if there is none; "
        f"close.reconcile('{intent.id}') looks for it once more"
    )
    assert (error.intent, list(error.candidates)) == (intent, [action])


@pytest.mark.parametrize("fence", [None, Fence(ids=frozenset())])
def test_a_doubt_says_nothing_that_is_not_known(fence: Fence | None) -> None:
    """Neither since when nor by whom."""
    error = ambiguous(new_intent(fence=fence, body=b"{}"), "why")
    assert "for one that was created and shows {}. Then" in str(error)
    assert list(error.candidates) == []
