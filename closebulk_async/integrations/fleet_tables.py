"""What a fleet keeps in PostgreSQL beside its journal: starts that are asked for, actions that are followed, and how.

Instants are those of the database: several machines write, and their clocks differ. JSON is kept as the text that it
was (`json`, not `jsonb`): a number that is written anew may be another one.
"""

from __future__ import annotations

NEWS = "closebulk_fleet"
"""The channel on which processes tell each other what has changed."""

TABLES: tuple[str, ...] = (
    """CREATE TABLE closebulk.starts (
        id text PRIMARY KEY, account text NOT NULL, scope text, kind text NOT NULL, idempotency_key text NOT NULL,
        request json NOT NULL, state text NOT NULL DEFAULT 'waiting', ref text, intent text, outcome json,
        attempts integer NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp())""",
    "CREATE INDEX starts_open ON closebulk.starts (created_at) WHERE state IN ('waiting', 'ambiguous')",
    "CREATE INDEX starts_settled ON closebulk.starts (changed_at) WHERE state IN ('started', 'failed')",
    # Room on each page for the next version of a row, so that a poll changes no index.
    """CREATE TABLE closebulk.actions (
        account text NOT NULL, kind text NOT NULL, id text NOT NULL, snapshot json, meter json,
        polled_at double precision, next_poll_at double precision, failures integer NOT NULL DEFAULT 0,
        silent_since double precision, last_error json, failure json, failed_at double precision,
        is_final boolean NOT NULL DEFAULT false, is_started boolean NOT NULL DEFAULT false,
        registered_at double precision NOT NULL, urged_at double precision NOT NULL,
        changed_at double precision NOT NULL, PRIMARY KEY (account, kind, id)) WITH (fillfactor = 60)""",
    "CREATE INDEX actions_active ON closebulk.actions (account, kind) WHERE NOT is_final AND failure IS NULL",
    "CREATE INDEX actions_ended ON closebulk.actions (registered_at) WHERE is_final OR failure IS NOT NULL",
    """CREATE TABLE closebulk.sweeps (
        account text NOT NULL, kind text NOT NULL, epoch bigint NOT NULL, began_at timestamptz NOT NULL,
        PRIMARY KEY (account, kind))""",
    # The engine's table of workers does not say what they work on, and others may use the same engine.
    "CREATE TABLE closebulk.workers (id bigint PRIMARY KEY, queue text NOT NULL)",
)

_NOW = "extract(epoch FROM clock_timestamp())::float8"

CLOCK = f"SELECT {_NOW} AS now"

# Starts ---------------------------------------------------------------------------------------------------------------

ASK = """INSERT INTO closebulk.starts (id, account, scope, kind, idempotency_key, request)
    VALUES (%(id)s, %(account)s, %(scope)s, %(kind)s, %(idempotency_key)s, %(request)s)
    ON CONFLICT (id) DO NOTHING RETURNING id"""
GET_START = """SELECT id, account, scope, kind, idempotency_key, request, state, ref, intent, outcome
    FROM closebulk.starts WHERE id = %(id)s"""
# The first one who knows it says it for all.
BIND_START = """UPDATE closebulk.starts SET scope = coalesce(scope, %(scope)s) WHERE id = %(id)s RETURNING scope"""
COUNT_TRY = "UPDATE closebulk.starts SET attempts = attempts + 1 WHERE id = %(id)s RETURNING attempts"
INTENT_OF_KEY = "SELECT id FROM closebulk.intents WHERE scope = %(scope)s AND idempotency_key = %(key)s"
# Settled once: what was told to somebody stays so, whatever another try of the same task comes to.
_SETTLE = """settled AS (UPDATE closebulk.starts SET state = %(state)s, ref = %(ref)s, intent = %(intent)s,
        outcome = %(outcome)s, changed_at = clock_timestamp()
        WHERE id = %(id)s AND state IN ('waiting', 'ambiguous') RETURNING id)"""
SETTLE = f"WITH {_SETTLE} SELECT pg_notify('{NEWS}', %(news)s) AS told FROM settled"  # noqa: S608 - a constant
_REGISTER = f"""INSERT INTO closebulk.actions
        (account, kind, id, snapshot, is_started, registered_at, urged_at, changed_at)
    VALUES (%(account)s, %(kind)s, %(action)s, %(snapshot)s, %(is_started)s, {_NOW}, {_NOW}, {_NOW})
    ON CONFLICT (account, kind, id) DO NOTHING"""  # noqa: S608 - a constant
SETTLE_WITH_ACTION = f"""WITH {_SETTLE}, registered AS ({_REGISTER})
    SELECT pg_notify('{NEWS}', %(news)s) AS told, pg_notify('{NEWS}', %(due)s) AS asked FROM settled"""  # noqa: S608 - constants
OPEN_WITHOUT_JOB = """SELECT id FROM closebulk.starts WHERE state IN ('waiting', 'ambiguous')
    AND created_at < clock_timestamp() - interval '3 seconds' AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs
        WHERE status IN ('todo', 'doing') AND lock = 'closebulk start ' || starts.id)
    ORDER BY created_at LIMIT 1000"""
COUNT_STARTS = "SELECT account, state, count(*) AS count FROM closebulk.starts GROUP BY account, state"
PRUNE_STARTS = """DELETE FROM closebulk.starts WHERE state IN ('started', 'failed')
    AND changed_at < clock_timestamp() - make_interval(secs => %(keep)s)"""

# Actions --------------------------------------------------------------------------------------------------------------

_COLUMNS = """id, snapshot, meter, polled_at, next_poll_at, failures, silent_since, last_error, failure, failed_at,
    is_final, is_started, registered_at, urged_at"""
REGISTER = f"{_REGISTER} RETURNING id"
GET_ACTIONS = f"""SELECT {_COLUMNS}, {_NOW} AS now FROM closebulk.actions
    WHERE account = %(account)s AND kind = %(kind)s AND id = ANY(%(ids)s)"""  # noqa: S608 - a constant
# What was urged a moment ago may be committed only now: some of the last look is looked at again.
ACTIVE = f"""SELECT {_COLUMNS}, {_NOW} AS now FROM closebulk.actions WHERE account = %(account)s AND kind = %(kind)s
    AND NOT is_final AND failure IS NULL AND urged_at > %(since)s"""  # noqa: S608 - a constant
# A failure that is older than the question is forgotten: whoever asks again may have mended what was wrong.
URGE = f"""WITH urged AS (UPDATE closebulk.actions SET urged_at = {_NOW}, failure = NULL, failed_at = NULL
        WHERE account = %(account)s AND kind = %(kind)s AND id = ANY(%(ids)s) AND NOT is_final RETURNING id)
    SELECT pg_notify('{NEWS}', %(news)s) AS told FROM urged LIMIT 1"""  # noqa: S608 - constants
REFS = """SELECT kind, id FROM closebulk.actions WHERE account = %(account)s AND NOT is_final AND failure IS NULL
    AND registered_at > %(since)s"""
RECENT = """SELECT kind, id, snapshot FROM closebulk.actions WHERE account = %(account)s AND snapshot IS NOT NULL
    ORDER BY changed_at DESC LIMIT %(limit)s"""
BLAME = """UPDATE closebulk.actions SET failures = failures + 1, last_error = %(error)s
    WHERE account = %(account)s AND kind = %(kind)s AND NOT is_final AND failure IS NULL"""
ACTIVE_WITHOUT_JOB = """SELECT account, kind FROM (SELECT DISTINCT account, kind FROM closebulk.actions
        WHERE NOT is_final AND failure IS NULL) AS active
    WHERE NOT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing')
        AND lock = 'closebulk sweep ' || account || ' ' || kind)"""
# What was never polled is due since it is there.
COUNT_ACTIONS = f"""SELECT account, kind, count(*) FILTER (WHERE failure IS NULL) AS active,
        count(*) FILTER (WHERE failure IS NULL AND failures > 0) AS failing,
        count(*) FILTER (WHERE failure IS NOT NULL) AS failed,
        coalesce(max({_NOW} - coalesce(next_poll_at, registered_at)) FILTER (WHERE failure IS NULL
            AND coalesce(next_poll_at, registered_at) < {_NOW}), 0) AS late,
        (array_agg(coalesce(failure, last_error)) FILTER (WHERE failure IS NOT NULL OR failures > 0))[1] AS error
    FROM closebulk.actions WHERE NOT is_final GROUP BY account, kind"""  # noqa: S608 - constants
PRUNE_ACTIONS = f"""DELETE FROM closebulk.actions WHERE (is_final OR failure IS NOT NULL)
    AND registered_at < {_NOW} - %(keep)s AND changed_at < {_NOW} - %(keep)s"""  # noqa: S608 - constants

# Sweeps ---------------------------------------------------------------------------------------------------------------

# A shift that was stopped and goes on after another one has begun is of an earlier epoch, and writes nothing any more.
BEGIN_SWEEP = f"""INSERT INTO closebulk.sweeps AS kept (account, kind, epoch, began_at)
    VALUES (%(account)s, %(kind)s, 1, clock_timestamp())
    ON CONFLICT (account, kind) DO UPDATE SET epoch = kept.epoch + 1, began_at = clock_timestamp()
    RETURNING epoch, {_NOW} AS now"""  # noqa: S608 - a constant
# Each column an array: what takes JSON apart in the database refuses a text with NUL in it, and the whole page with it.
WRITE_POLLS = f"""WITH mine AS (SELECT epoch FROM closebulk.sweeps
        WHERE account = %(account)s AND kind = %(kind)s AND epoch = %(epoch)s),
    polls AS (SELECT * FROM unnest(%(id)s::text[], %(snapshot)s::json[], %(meter)s::json[], %(polled_at)s::float8[],
        %(next_poll_at)s::float8[], %(failures)s::integer[], %(silent_since)s::float8[], %(last_error)s::json[],
        %(failure)s::json[], %(failed_at)s::float8[], %(is_final)s::boolean[]) AS polls (id, snapshot, meter,
        polled_at, next_poll_at, failures, silent_since, last_error, failure, failed_at, is_final)),
    written AS (UPDATE closebulk.actions SET snapshot = coalesce(polls.snapshot, actions.snapshot),
            meter = polls.meter, polled_at = polls.polled_at, next_poll_at = polls.next_poll_at,
            failures = polls.failures, silent_since = polls.silent_since, last_error = polls.last_error,
            failure = polls.failure, failed_at = polls.failed_at, is_final = polls.is_final,
            changed_at = CASE WHEN polls.snapshot IS NULL THEN actions.changed_at ELSE {_NOW} END
        FROM polls, mine WHERE account = %(account)s AND kind = %(kind)s AND actions.id = polls.id
            AND NOT actions.is_final)
    SELECT CASE WHEN %(news)s::text IS NOT NULL THEN pg_notify('{NEWS}', %(news)s) END AS told
    FROM mine"""  # noqa: S608 - constants

LACKS_ENGINE = "SELECT to_regclass('procrastinate_jobs') IS NULL AS lacks"
IS_OLD_ENGINE = "SELECT to_regclass('procrastinate_workers') IS NULL AS is_old"
"""Whether its tables are those of procrastinate before 3.0, which knows no workers."""
ENTER_WORKER = """WITH gone AS (DELETE FROM closebulk.workers WHERE id NOT IN (SELECT id FROM procrastinate_workers))
    INSERT INTO closebulk.workers (id, queue) VALUES (%(id)s, %(queue)s) ON CONFLICT (id) DO NOTHING"""
WORKERS = """SELECT id, queue, extract(epoch FROM clock_timestamp() - last_heartbeat)::float8 AS silent_for,
    (SELECT count(*) FROM procrastinate_jobs WHERE worker_id = workers.id AND status = 'doing') AS jobs
    FROM procrastinate_workers JOIN closebulk.workers USING (id)
    WHERE queue = ANY(%(queues)s) AND last_heartbeat > clock_timestamp() - make_interval(secs => %(heard)s)
    ORDER BY id"""
"""The engine has no function that lists its workers."""
