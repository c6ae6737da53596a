"""What users write for themselves: journals, limiters, clocks and keys are known by their methods alone."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

from closebulk_async import (
    ApiKey,
    Auth,
    BearerToken,
    Clock,
    CloseBulk,
    Fence,
    Intent,
    JobRef,
    Journal,
    Kind,
    Limiter,
    MemoryJournal,
    MemoryLimiter,
    PollPolicy,
    Priority,
    RateLimit,
    RetryPolicy,
    Sight,
    Sighting,
    SqliteJournal,
    StartPolicy,
    State,
    SystemClock,
    Timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class OwnJournal:
    """Keeps intents in a dictionary."""

    is_durable = False

    def __init__(self) -> None:
        self.intents: dict[str, Intent] = {}

    async def enter(self) -> str:
        """A new owner."""
        return "owner"

    async def leave(self, owner: str) -> None:
        """That owner has ended."""

    async def is_dead(self, owner: str) -> bool:
        """Nobody knows."""
        return False

    async def begin(self, intent: Intent) -> Intent:
        """Write it down."""
        return self.intents.setdefault(intent.id, intent)

    async def swap(self, intent: Intent) -> Intent | None:
        """The new version."""
        return intent

    async def get(self, id: str) -> Intent | None:
        """That intent."""
        return self.intents.get(id)

    async def claimed(self, scope: str, refs: Collection[JobRef[Any]]) -> frozenset[JobRef[Any]]:
        """None."""
        return frozenset()

    async def unfinished(self, scope: str | None = None, *, fingerprint: str | None = None) -> Sequence[Intent]:
        """Those that are open."""
        return [intent for intent in self.intents.values() if intent.is_open]

    async def lease(self, id: str, *, owner: str, until: datetime) -> None:
        """Nothing to renew."""

    async def progress(self, scope: str, ref: JobRef[Any], sighting: Sighting, *, is_final: bool) -> None:
        """Nothing to write."""

    async def aclose(self) -> None:
        """Nothing to close."""


class ForgetfulJournal(OwnJournal):
    """Says less than it has to."""

    async def begin(self, intent: Intent) -> None:  # type: ignore[override]
        """Gives nothing back."""


class OwnLimiter:
    """Lets everything pass."""

    def acquire(self, group: str, *, priority: Priority, most: float) -> None:
        """At once."""

    def learn(self, group: str, sight: Sight | None) -> None:
        """Nothing to learn."""


class RudeLimiter:
    """Asks for what nobody gives it."""

    def acquire(self, group: str, key: str) -> None:
        """Needs a key."""

    def learn(self, group: str, sight: Sight | None) -> None:
        """Nothing to learn."""


class OwnClock:
    """Stands still."""

    def now(self) -> datetime:
        """Always the same."""
        return datetime(2026, 1, 15, tzinfo=UTC)

    def monotonic(self) -> float:
        """Always the same."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """At once."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """None."""
        return nullcontext()


class OwnKey:
    """A key from elsewhere."""

    def header(self) -> str:
        """What is sent."""
        return "Bearer x"

    def redact(self, text: str) -> str:
        """The text without it."""
        return text.replace("x", "…")


async def configure() -> CloseBulk:
    """They are taken where the package's own are, and their likes are not."""
    journals: list[Journal] = [OwnJournal(), MemoryJournal(), SqliteJournal("starts.db", keep=86400)]
    limiters: list[Limiter] = [OwnLimiter(), MemoryLimiter(SystemClock())]
    clocks: list[Clock] = [OwnClock(), SystemClock()]
    keys: list[Auth] = [OwnKey(), ApiKey("api_x"), BearerToken("x")]
    CloseBulk("api_x", journal=ForgetfulJournal())  # type: ignore[arg-type]
    CloseBulk("api_x", limiter=RudeLimiter())  # type: ignore[arg-type]
    CloseBulk("api_x", clock=datetime.now)  # type: ignore[arg-type]
    CloseBulk(auth="api_x")  # type: ignore[arg-type]
    CloseBulk("api_x", "https://api.close.com")  # type: ignore[call-arg, arg-type]
    CloseBulk("api_x", retries=3)  # type: ignore[call-arg]
    async with CloseBulk.from_env(journal=Path("starts.db"), start=StartPolicy(lease=10)) as close:
        assert_type(close, CloseBulk)
        assert_type(close.journal, Journal)
        assert_type(await close.journal.unfinished(), "Sequence[Intent]")
    CloseBulk.from_env(retry=PollPolicy())  # type: ignore[arg-type]
    return CloseBulk(auth=keys[0], journal=journals[0], limiter=limiters[0], clock=clocks[0])


def choose_policies() -> tuple[RetryPolicy, PollPolicy, Timeouts, StartPolicy]:
    """A policy is one value; the ready-made cadences take its other fields as well."""
    assert_type(PollPolicy.fixed(5.0, settle=30), PollPolicy)
    assert_type(PollPolicy.exponential(ceiling=60), PollPolicy)
    PollPolicy.fixed("5")  # type: ignore[arg-type]
    StartPolicy(lease="20")  # type: ignore[arg-type]
    return RetryPolicy(max_wait=60), PollPolicy(concurrency=8), Timeouts(total=5), StartPolicy(fence_requests=2)


def read_intents(intent: Intent, sight: Sight) -> None:
    """What a journal keeps, and what a limiter is told."""
    assert_type(intent.kind, Kind)
    assert_type(intent.state, State)
    assert_type(intent.fence, Fence | None)
    assert_type(intent.sighting, Sighting | None)
    assert_type(intent.leased_until, datetime | None)
    assert_type(intent.unsent(), Intent)
    assert_type(sight.window, RateLimit | None)
    assert_type(Fence(ids=frozenset({"bulkemail_1"})).taken_at, datetime | None)
    intent.state = State.FINAL  # type: ignore[misc]
