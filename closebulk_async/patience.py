"""What is left of a retry policy while one operation goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.policy import RetryPolicy, after_hint

if TYPE_CHECKING:
    from collections.abc import Iterator


class Patience:
    """What is left of a retry policy during one operation."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.attempt: int = 1
        """The number of the attempt that is made, or comes next."""
        self.wait_left: float = policy.max_wait
        """Seconds; whoever waits elsewhere takes it off here."""
        self._policy = policy
        self._waits: Iterator[float] | None = None
        self._attempts_left = policy.attempts

    def delay(self, *, asked: float | None) -> float | None:
        """Seconds to wait before the next attempt, None where there is none. `asked` is the server's own hint."""
        if not self._may_go_on(asked, counts=True):
            return None
        if self._waits is None:
            self._waits = self._policy.waits()
        delay = next(self._waits) if asked is None else after_hint(asked)
        self.wait_left -= delay
        return delay

    def bears(self, seconds: float, *, asked: float | None) -> bool:
        """Whether the next attempt may wait for so long elsewhere, after a 429 that `asked` for a little less.

        Only one that asked for nothing counts as a failed attempt.
        """
        if not self._may_go_on(seconds if asked is None else asked, counts=asked is None):
            return False
        self.wait_left = max(self.wait_left, seconds)  # it may be longer than what was asked for, by its jitter
        return True

    def _may_go_on(self, asked: float | None, *, counts: bool) -> bool:
        self._attempts_left -= counts
        if (counts and self._attempts_left <= 0) or self.wait_left <= 0:
            return False
        if asked is not None and asked > self.wait_left:
            return False
        self.attempt += 1
        return True
