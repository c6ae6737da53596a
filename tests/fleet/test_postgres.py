"""The server that the tests of fleets run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.fleet.postgres import PostgresServer


@pytest.mark.parametrize("at_once", [False, True])
def test_it_keeps_its_port_and_what_was_written(postgres: PostgresServer, database: str, at_once: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """However it was ended; and those who were connected are no more."""
    with psycopg.connect(database, autocommit=True) as before:
        before.execute("CREATE TABLE kept AS SELECT 7 AS number")
        postgres.restart(at_once=at_once)
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT 1")
    with psycopg.connect(database) as after:
        assert after.execute("SELECT number FROM kept").fetchone() == (7,)


def test_each_test_has_a_database_of_its_own(postgres: PostgresServer, database: str) -> None:
    """Nothing of another test is there."""
    with psycopg.connect(database) as connection:
        tables = "SELECT * FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        assert connection.execute(tables).fetchall() == []
    postgres.stop()
    assert not postgres.is_running
