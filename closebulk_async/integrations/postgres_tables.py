"""The tables of a fleet in PostgreSQL: their versions, and each statement of the journal.

All of them are in a schema of their own, `closebulk`, so that they go into the database of an application as well.
"""

from __future__ import annotations

from closebulk_async.integrations import fleet_tables, postgres_budgets

SCHEMA = "closebulk"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE closebulk.intents (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, scope text NOT NULL,
            kind text NOT NULL, body bytea NOT NULL, fingerprint text NOT NULL, created_at text NOT NULL,
            idempotency_key text, created_by text, state text NOT NULL, owner text, leased_until text, fence text,
            ref text, sighting text, version bigint NOT NULL, changed_at double precision NOT NULL,
            posted_at timestamptz)""",
        "CREATE UNIQUE INDEX one_posting ON closebulk.intents (scope, fingerprint) WHERE state = 'posting'",
        """CREATE UNIQUE INDEX one_of_a_key ON closebulk.intents (scope, idempotency_key)
            WHERE idempotency_key IS NOT NULL""",
        "CREATE UNIQUE INDEX one_of_a_ref ON closebulk.intents (scope, ref) WHERE ref IS NOT NULL",
        "CREATE INDEX intents_open ON closebulk.intents (fingerprint, scope) WHERE state <> 'final'",
        """CREATE INDEX intents_passing ON closebulk.intents (changed_at)
            WHERE idempotency_key IS NULL AND state IN ('started', 'final')""",
        """CREATE TABLE closebulk.owners (
            owner text PRIMARY KEY, entered_at timestamptz NOT NULL DEFAULT now(), host text, process text)""",
        # Not logged, because it must not outlive what it speaks of: when the server loses the sessions of its clients
        # by a crash, or another one takes its place, PostgreSQL empties it, and nothing is proved of anybody in it.
        """CREATE UNLOGGED TABLE closebulk.sessions (
            owner text PRIMARY KEY, postmaster_start timestamptz NOT NULL)""",
        "CREATE TABLE closebulk.dead_owners (owner text PRIMARY KEY)",
    ),
    postgres_budgets.MIGRATION,
    fleet_tables.TABLES,
)
"""What makes each version of the one before. Only ever add to the end: what was released stays as it is."""

SCHEMA_VERSION = len(MIGRATIONS)
"""A database with a later one is refused: its rows may mean what is not known here."""

VERSION_TABLE = "CREATE TABLE IF NOT EXISTS closebulk.schema_version (version integer PRIMARY KEY)"
VERSION = "SELECT max(version) AS version FROM closebulk.schema_version"
NOTE_VERSION = "INSERT INTO closebulk.schema_version (version) VALUES (%(version)s)"
LACKS_SCHEMA = "SELECT to_regnamespace('closebulk') IS NULL AS lacks"
ONE_MIGRATION_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('closebulk migrations', 0))"

COLUMNS = """id, scope, kind, body, fingerprint, created_at, idempotency_key, created_by, state, owner, leased_until,
    fence, ref, sighting, version"""
"""Those of an intent. Named and not `*`: a later version may have more, and an older program runs beside it."""

# A repeated key «updates» the row that has it, because only a row that is written is returned.
BEGIN = f"""INSERT INTO closebulk.intents ({COLUMNS}, changed_at)
    VALUES (%(id)s, %(scope)s, %(kind)s, %(body)s, %(fingerprint)s, %(created_at)s, %(idempotency_key)s,
     %(created_by)s, %(state)s, %(owner)s, %(leased_until)s, %(fence)s, %(ref)s, %(sighting)s, %(version)s,
     %(changed_at)s)
    ON CONFLICT (scope, idempotency_key) WHERE idempotency_key IS NOT NULL
    DO UPDATE SET version = intents.version
    RETURNING {COLUMNS}"""  # noqa: S608 - a constant
# What breaks one of the three rules of uniqueness raises UniqueViolation.
SWAP = f"""UPDATE closebulk.intents SET
    scope = %(scope)s, kind = %(kind)s, body = %(body)s, fingerprint = %(fingerprint)s, created_at = %(created_at)s,
    idempotency_key = %(idempotency_key)s, created_by = %(created_by)s, state = %(state)s, owner = %(owner)s,
    leased_until = %(leased_until)s, fence = %(fence)s, ref = %(ref)s, sighting = %(sighting)s, version = version + 1,
    changed_at = %(changed_at)s,
    posted_at = CASE WHEN %(state)s::text = 'posting' THEN clock_timestamp() ELSE posted_at END
    WHERE id = %(id)s AND version = %(version)s RETURNING {COLUMNS}"""  # noqa: S608 - a constant
GET = f"SELECT {COLUMNS} FROM closebulk.intents WHERE id = %(id)s"  # noqa: S608 - a constant
CLAIMED = "SELECT ref FROM closebulk.intents WHERE scope = %(scope)s AND ref = ANY(%(refs)s::text[])"
UNFINISHED = f"""SELECT {COLUMNS} FROM closebulk.intents
    WHERE state <> 'final' AND (%(scope)s::text IS NULL OR scope = %(scope)s) ORDER BY number"""  # noqa: S608 - a constant
UNFINISHED_OF_FINGERPRINT = f"""SELECT {COLUMNS} FROM closebulk.intents WHERE state <> 'final'
    AND fingerprint = %(fingerprint)s AND (%(scope)s::text IS NULL OR scope = %(scope)s)
    ORDER BY number"""  # noqa: S608 - a constant
LEASE = "UPDATE closebulk.intents SET leased_until = %(until)s WHERE id = %(id)s AND owner = %(owner)s"
PROGRESS = """UPDATE closebulk.intents SET sighting = %(sighting)s,
    state = CASE WHEN %(is_final)s THEN 'final' ELSE state END, version = version + 1, changed_at = %(changed_at)s
    WHERE scope = %(scope)s AND ref = %(ref)s"""
FORGET = """DELETE FROM closebulk.intents WHERE number IN (SELECT number FROM closebulk.intents
    WHERE idempotency_key IS NULL AND state IN ('started', 'final') AND changed_at < %(before)s
    LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
    RETURNING ref, state"""
PRUNE = "DELETE FROM closebulk.intents WHERE state = 'final' AND changed_at < %(before)s RETURNING 1"

# The lock of an owner. 64 bits of a hash: that two owners meet in one is out of the question.
_KEY = "hashtextextended('closebulk owner ' || {owner}, 0)"
WAIT_SHORTLY, WAIT_AS_BEFORE = "SET lock_timeout = '2s'", "RESET lock_timeout"
LOCK_OWNER = f"SELECT pg_advisory_lock({_KEY.format(owner='%(owner)s')})"
TRY_LOCK_OWNER = f"SELECT pg_try_advisory_xact_lock({_KEY.format(owner='%(owner)s')}) AS is_free"
ENTER = """WITH living AS (SELECT %(owner)s::text AS owner
        WHERE NOT EXISTS (SELECT 1 FROM closebulk.dead_owners WHERE owner = %(owner)s)),
    known AS (INSERT INTO closebulk.owners (owner, host, process)
        SELECT owner, %(host)s, %(process)s FROM living ON CONFLICT (owner) DO NOTHING)
    INSERT INTO closebulk.sessions (owner, postmaster_start)
    SELECT owner, pg_postmaster_start_time() FROM living
    ON CONFLICT (owner) DO UPDATE SET postmaster_start = excluded.postmaster_start RETURNING owner"""
BURY = """WITH no_owner AS (DELETE FROM closebulk.owners WHERE owner = %(owner)s),
    no_session AS (DELETE FROM closebulk.sessions WHERE owner = %(owner)s)
    INSERT INTO closebulk.dead_owners (owner) VALUES (%(owner)s) ON CONFLICT DO NOTHING RETURNING owner"""
KNOWN_OF_OWNER = """SELECT EXISTS (SELECT 1 FROM closebulk.dead_owners WHERE owner = %(owner)s) AS is_buried,
    (SELECT host FROM closebulk.owners WHERE owner = %(owner)s) AS host,
    (SELECT process FROM closebulk.owners WHERE owner = %(owner)s) AS process"""
# While its lock is held: nobody enters as this owner before the end of the transaction.
BURY_IF_PROVED = """INSERT INTO closebulk.dead_owners (owner) SELECT owner FROM closebulk.sessions
    WHERE owner = %(owner)s AND postmaster_start = pg_postmaster_start_time() AND NOT EXISTS (
        SELECT 1 FROM closebulk.intents WHERE state = 'posting' AND intents.owner = %(owner)s
        AND posted_at > clock_timestamp() - make_interval(secs => %(grace)s))
    ON CONFLICT DO NOTHING RETURNING owner"""
_OWNERS_OF_OPEN = "SELECT owner FROM closebulk.intents WHERE state <> 'final' AND owner IS NOT NULL"
CLEAR_OWNERS = f"""WITH idle AS (DELETE FROM closebulk.owners WHERE owner IN (SELECT owner FROM closebulk.owners
        WHERE owner NOT IN ({_OWNERS_OF_OPEN}) AND pg_try_advisory_xact_lock({_KEY.format(owner="owner")})
        LIMIT %(limit)s) RETURNING owner),
    no_session AS (DELETE FROM closebulk.sessions WHERE owner IN (SELECT owner FROM idle))
    DELETE FROM closebulk.dead_owners WHERE owner NOT IN ({_OWNERS_OF_OPEN})"""  # noqa: S608 - constants

SESSION_SETTINGS = """SELECT set_config(name, wanted.setting, false)
    FROM (VALUES ('idle_session_timeout', '0'), ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'),
        ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '25000'))
        AS wanted (name, setting) JOIN pg_settings USING (name)"""
"""Of a session that holds a lock: nothing ends it for its silence, and a host that is gone is noticed in half a minute.

A server that is too old for one of them has no row for it.
"""

ON_DISK = """SELECT set_config('synchronous_commit', 'on', %(is_local)s)
    WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"""
"""What is committed is on disk, as far as PostgreSQL and its synchronous standbys know. What asks for more stays."""

MAY_BE_LOST = "SET synchronous_commit = off"
"""For what a crash of the server may undo: the last half second of it, in order, and never part of a transaction.

An intent that was begun is on disk when it becomes `posting`. An outcome that was lost is found once more.
"""
