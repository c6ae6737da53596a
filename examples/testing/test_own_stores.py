"""What a journal and a limiter of your own have to promise; those of the package stand here for them."""

from contextlib import nullcontext
from functools import partial

import pytest

from closebulk_async import MemoryJournal, MemoryLimiter, SystemClock
from closebulk_async.testing.conformance import JournalConformance, JournalFactory, LimiterConformance, LimiterFactory


class TestMyJournal(JournalConformance):
    """All tests of a journal."""

    @pytest.fixture
    def journal_factory(self) -> JournalFactory:
        """For one that is opened and closed: `partial(MyJournal, tmp_path / "journal")`."""
        return partial(nullcontext, MemoryJournal())


class TestMyLimiter(LimiterConformance):
    """All tests of a limiter."""

    @pytest.fixture
    def limiter_factory(self) -> LimiterFactory:
        """As above."""
        return partial(nullcontext, MemoryLimiter(SystemClock()))
