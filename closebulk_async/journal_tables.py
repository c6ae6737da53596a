"""The tables of a journal in SQLite: the schema and each statement."""

from __future__ import annotations

APPLICATION_ID = 0x434C424B
"""`CLBK`, in the header of each file that is a journal: a file with tables and another id belongs to somebody else."""

SCHEMA_VERSION = 1
"""Kept as the file's `user_version`. A file with a later one is refused: its rows may mean what is not known here."""

SCHEMA = (
    """CREATE TABLE intents (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, kind TEXT NOT NULL,
        body BLOB NOT NULL, fingerprint TEXT NOT NULL, created_at TEXT NOT NULL, idempotency_key TEXT, created_by TEXT,
        state TEXT NOT NULL, owner TEXT, leased_until TEXT, fence TEXT, ref TEXT, sighting TEXT,
        version INTEGER NOT NULL, changed_at REAL NOT NULL)""",
    "CREATE UNIQUE INDEX one_posting ON intents (scope, fingerprint) WHERE state = 'posting'",
    "CREATE UNIQUE INDEX one_of_a_key ON intents (scope, idempotency_key) WHERE idempotency_key IS NOT NULL",
    "CREATE UNIQUE INDEX one_of_a_ref ON intents (scope, ref) WHERE ref IS NOT NULL",
    "CREATE INDEX open ON intents (fingerprint, scope) WHERE state <> 'final'",
    """CREATE INDEX passing ON intents (changed_at)
        WHERE idempotency_key IS NULL AND state IN ('started', 'final')""",
    "CREATE TABLE dead_owners (owner TEXT PRIMARY KEY) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

# A repeated key «updates» the row that has it, because only a row that is written is returned.
BEGIN = """INSERT INTO intents
    (id, scope, kind, body, fingerprint, created_at, idempotency_key, created_by,
     state, owner, leased_until, fence, ref, sighting, version, changed_at)
    VALUES (:id, :scope, :kind, :body, :fingerprint, :created_at, :idempotency_key, :created_by,
     :state, :owner, :leased_until, :fence, :ref, :sighting, :version, :changed_at)
    ON CONFLICT (scope, idempotency_key) WHERE idempotency_key IS NOT NULL DO UPDATE SET version = version
    RETURNING *"""
# What breaks one of the three rules of uniqueness is ignored, and shows as a row that is not returned.
SWAP = """UPDATE OR IGNORE intents SET
    scope = :scope, kind = :kind, body = :body, fingerprint = :fingerprint, created_at = :created_at,
    idempotency_key = :idempotency_key, created_by = :created_by, state = :state, owner = :owner,
    leased_until = :leased_until, fence = :fence, ref = :ref, sighting = :sighting, version = version + 1,
    changed_at = :changed_at
    WHERE id = :id AND version = :version RETURNING *"""
GET = "SELECT * FROM intents WHERE id = :id"
CLAIMED = "SELECT ref FROM intents WHERE scope = :scope AND ref IN (SELECT value FROM json_each(:refs))"
# Without statistics the planner would rather read the whole table in the wanted order than sort the few open ones.
UNFINISHED = """SELECT * FROM intents INDEXED BY open
    WHERE state <> 'final' AND (:scope IS NULL OR scope = :scope) ORDER BY number"""
UNFINISHED_OF_FINGERPRINT = """SELECT * FROM intents
    WHERE state <> 'final' AND fingerprint = :fingerprint AND (:scope IS NULL OR scope = :scope) ORDER BY number"""
LEASE = "UPDATE intents SET leased_until = :until WHERE id = :id AND owner = :owner"
PROGRESS = """UPDATE intents SET sighting = :sighting, state = CASE WHEN :is_final THEN 'final' ELSE state END,
    version = version + 1, changed_at = :changed_at WHERE scope = :scope AND ref = :ref"""
FORGET = """DELETE FROM intents WHERE number IN (SELECT number FROM intents
    WHERE idempotency_key IS NULL AND state IN ('started', 'final') AND changed_at < :before LIMIT :batch)
    RETURNING ref, state"""
PRUNE = "DELETE FROM intents WHERE state = 'final' AND changed_at < :before RETURNING 1"
BURY = "INSERT OR IGNORE INTO dead_owners (owner) VALUES (:owner)"
IS_BURIED = "SELECT 1 FROM dead_owners WHERE owner = :owner"
OWNERS_OF_OPEN = "SELECT DISTINCT owner FROM intents INDEXED BY open WHERE state <> 'final' AND owner IS NOT NULL"
FORGET_OWNERS = f"DELETE FROM dead_owners WHERE owner NOT IN ({OWNERS_OF_OPEN})"  # noqa: S608 - two constants
