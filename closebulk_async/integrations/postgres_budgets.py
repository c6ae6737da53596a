"""The table of shared budgets in PostgreSQL, and each statement of the limiter."""

from __future__ import annotations

MIGRATION = (
    # Not logged: a crash of the server empties it, which costs some requests by which the limits are seen again. So no
    # commit waits for a disk. Half of each page is left free, so that a row that is replaced stays on its page and the
    # index as it is.
    """CREATE UNLOGGED TABLE closebulk.budgets (
        key_hash text NOT NULL, grp text NOT NULL, token text NOT NULL, state text NOT NULL,
        written_at timestamptz NOT NULL, PRIMARY KEY (key_hash, grp)) WITH (fillfactor = 50)""",
)

# One row comes in any case: it says what time it is.
READ = """SELECT token, state, extract(epoch FROM written_at)::float8, extract(epoch FROM clock_timestamp())::float8
    FROM (SELECT 1) AS once LEFT JOIN closebulk.budgets ON key_hash = %(key_hash)s AND grp = %(group)s"""
# A row that somebody else has replaced «is replaced» by itself, because only a row that is written is returned, and
# then as it is after whoever was waited for.
SWAP = """INSERT INTO closebulk.budgets AS kept (key_hash, grp, token, state, written_at)
    VALUES (%(key_hash)s, %(group)s, %(token)s, %(state)s, clock_timestamp())
    ON CONFLICT (key_hash, grp) DO UPDATE SET
        token = CASE WHEN kept.token = %(seen)s THEN excluded.token ELSE kept.token END,
        state = CASE WHEN kept.token = %(seen)s THEN excluded.state ELSE kept.state END,
        written_at = CASE WHEN kept.token = %(seen)s THEN clock_timestamp() ELSE kept.written_at END
    RETURNING token, state, extract(epoch FROM written_at)::float8, extract(epoch FROM clock_timestamp())::float8"""
