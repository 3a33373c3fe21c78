"""The tables: procrastinate's own, and beside them `dal_jobs` and `dal_job_rejects`.

dal's have progress, result and error of each job, and the rows that imports refused. All are made at the first use, in one
transaction, by whoever comes first; a queue that an application already has is used as it is. That a job is over is told by a
trigger, `NOTIFY dal_jobs`, so that it is true whoever ends it.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from dal._extras import require
from dal.errors import UnsupportedError, UsageError

__all__ = ["CHANNEL", "ROOM", "prepare"]

ROOM = 0x6A6F6273
"""The first key of the advisory locks of this room, "jobs" in ASCII; the second is a worker's id, or 0 for the schema."""

CHANNEL = "dal_jobs"
"""Where it is told that a job is over; the payload is its id."""

_LOCK = text("SELECT pg_advisory_xact_lock(:room, 0)")
_KNOWN = text("SELECT to_regclass('procrastinate_jobs') IS NOT NULL, to_regclass('dal_jobs') IS NOT NULL")
_OWN = """
CREATE TABLE dal_jobs (
    id bigint PRIMARY KEY REFERENCES procrastinate_jobs (id) ON DELETE CASCADE,
    done bigint NOT NULL DEFAULT 0,
    total bigint,
    rejected bigint NOT NULL DEFAULT 0,
    done_before bigint NOT NULL DEFAULT 0,
    began_at timestamptz,
    updated_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    result jsonb,
    error jsonb
);
CREATE TABLE dal_job_rejects (
    job bigint NOT NULL REFERENCES dal_jobs (id) ON DELETE CASCADE,
    line bigint,
    position bigint NOT NULL,
    reason text NOT NULL,
    "column" text,
    value text,
    sqlstate text NOT NULL,
    "constraint" text
);
CREATE INDEX ON dal_job_rejects (job);
CREATE FUNCTION dal_job_is_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('dal_jobs', NEW.id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER dal_job_is_over AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND NEW.status NOT IN ('todo', 'doing'))
    EXECUTE FUNCTION dal_job_is_over();
"""


def prepare(engine: Engine) -> None:
    """Make the tables where they are missing; again is nothing.

    Args:
        engine: The database.

    Raises:
        MissingExtra: `dal[jobs]` is not installed.
        UnsupportedError: It is no PostgreSQL.
        UsageError: The role may not make tables, and they are missing.
    """
    if engine.dialect.name != "postgresql":
        raise UnsupportedError(
            f"background jobs need PostgreSQL, and this is {engine.dialect.name}",
            hint="open the database with a postgresql+psycopg URL, or Database.embedded()",
        )
    queue = require("procrastinate.schema", extra="jobs", purpose="db.jobs").SchemaManager
    with engine.connect() as connection:
        if all(connection.execute(_KNOWN).one()):
            return
        connection.rollback()
        _refuse_unless_allowed(connection)
        connection.rollback()
        with connection.begin():
            connection.execute(_LOCK, {"room": ROOM})
            queued, own = connection.execute(_KNOWN).one()
            if not queued:
                _run(connection, queue.get_schema())
            if not own:
                _run(connection, _OWN)


def _refuse_unless_allowed(connection: Connection) -> None:
    allowed, role, schema = connection.execute(
        text("SELECT has_schema_privilege(current_schema(), 'CREATE'), current_user, current_schema()")
    ).one()
    if not allowed:
        raise UsageError(
            f"the tables of background jobs are missing, and {role} may not make tables in the schema {schema}",
            hint="let a role that may create tables open the database and call db.jobs.prepare() once",
        )


def _run(connection: Connection, script: str) -> None:
    # Without parameters psycopg sends a script of several statements as it is.
    connection.execution_options(no_parameters=True).exec_driver_sql(script)
