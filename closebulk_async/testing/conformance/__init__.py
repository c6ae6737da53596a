"""The tests of a journal or a limiter, for one of your own: subclass what fits, and give it its fixture.

They need pytest and pytest-asyncio, in either of its modes (`pip install "closebulk-async[testing]"`). For messages
that say what was compared, let pytest rewrite them, before they are imported, in the top `conftest.py`::

    import pytest

    pytest.register_assert_rewrite("closebulk_async.testing.conformance")
"""

from __future__ import annotations

from closebulk_async.testing.chaos.programs import JournalFactory
from closebulk_async.testing.conformance.journals import JournalConformance
from closebulk_async.testing.conformance.limiters import LimiterConformance, LimiterFactory
from closebulk_async.testing.conformance.sharing import SharedJournalConformance

__all__ = ["JournalConformance", "JournalFactory", "LimiterConformance", "LimiterFactory", "SharedJournalConformance"]
