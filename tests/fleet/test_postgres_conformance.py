"""The journal in PostgreSQL keeps what every journal promises that several processes share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from closebulk_async.integrations.postgres import PostgresJournal
from closebulk_async.testing.conformance import SharedJournalConformance

if TYPE_CHECKING:
    from closebulk_async.testing.chaos.programs import JournalFactory


class TestPostgres(SharedJournalConformance):
    """With owners whose processes are on this host."""

    @pytest.fixture
    def journal_factory(self, fleet_database: str) -> JournalFactory:
        """Any number of them on one database."""
        return partial(PostgresJournal, fleet_database)
