"""The outbox: where the server's log cannot be read, triggers write every change into a table, in its own transaction.

    CREATE TABLE dal_outbox (id bigint, xid xid8, at timestamptz, relation text, kind text, columns text[],
                             old text, new text)
    CREATE TABLE dal_outbox_readers (name text PRIMARY KEY, snapshot pg_snapshot, since timestamptz)

Rows are kept as PostgreSQL's own text beside the names of their columns, so that they are typed as a stream's of the log are,
and a table may change at any time. A reader's position is a snapshot: what is visible now and was not then is new.
Transactions come in the order of their last row: of two that changed one row the second waited for the first, so they come
in that order. Rows that every reader has acknowledged are deleted. Writers pay for it: an insert more a row, and a NOTIFY.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dal.errors import ReplicationError
from dal.own_statements import ask
from dal.streams.change import Kind
from dal.streams.server import TableFacts

__all__ = ["CHANNEL", "Layout", "columns_of", "drop_reader", "make_outbox", "row_texts", "sweep"]

CHANNEL = "dal_outbox"
"""The channel that is notified when a transaction wrote something."""

Layout = Sequence[tuple[str, int, bool]]
"""A table's columns: name, type, and whether they belong to the primary key."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS dal_outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(), at timestamptz NOT NULL DEFAULT clock_timestamp(), relation text NOT NULL,
    kind text NOT NULL, columns text[], old text, new text)""",
    "CREATE INDEX IF NOT EXISTS dal_outbox_xid ON dal_outbox (xid)",
    """CREATE TABLE IF NOT EXISTS dal_outbox_readers (name text PRIMARY KEY, snapshot pg_snapshot NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp())""",
)
_COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum), array_agg(atttypid::int8 ORDER BY attnum),
  array_agg(EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY(indkey)) ORDER BY attnum)
FROM pg_attribute WHERE attrelid = %s::oid AND attnum > 0 AND NOT attisdropped"""
_FUNCTION = """
CREATE OR REPLACE FUNCTION {schema}.dal_outbox_write() RETURNS trigger LANGUAGE plpgsql SET timezone = 'UTC'
SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $dal$
DECLARE
  names text[] := ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
                        WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped ORDER BY attnum);
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    INSERT INTO {schema}.dal_outbox (relation, kind) VALUES (TG_ARGV[0], 'truncate');
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO {schema}.dal_outbox (relation, kind, columns, new) VALUES (TG_ARGV[0], 'insert', names, NEW::text);
  ELSIF TG_OP = 'UPDATE' THEN
    INSERT INTO {schema}.dal_outbox (relation, kind, columns, old, new)
    VALUES (TG_ARGV[0], 'update', names, OLD::text, NEW::text);
  ELSE
    INSERT INTO {schema}.dal_outbox (relation, kind, columns, old) VALUES (TG_ARGV[0], 'delete', names, OLD::text);
  END IF;
  PERFORM pg_notify('dal_outbox', '');
  RETURN NULL;
END $dal$"""
_TRIGGER = """
CREATE OR REPLACE TRIGGER {name} AFTER {events} ON {table} FOR EACH {level} EXECUTE FUNCTION
{schema}.dal_outbox_write({relation})"""
_HAS_TRIGGERS = """
SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::oid AND tgname IN ('dal_outbox_rows', 'dal_outbox_table')
AND encode(tgargs, 'escape') = concat(%s::text, chr(92), '000')"""
_READER = """
INSERT INTO dal_outbox_readers (name, snapshot) VALUES (%s, pg_current_snapshot()) ON CONFLICT DO NOTHING RETURNING 1"""
_FIELD = re.compile(r'(?:("(?:[^"\\]|""|\\.)*")|([^,]*)),', re.DOTALL)
_ESCAPED = re.compile(r'(?:"|\\)(["\\])')
_SCHEMA = "SELECT quote_ident(relnamespace::regnamespace::text) FROM pg_class WHERE oid = 'dal_outbox'::regclass"
_LOCK = "SELECT set_config('lock_timeout', %s, false)"


def columns_of(connection: Connection, facts: TableFacts) -> Layout:
    """Return the columns of a table as they are now.

    Args:
        connection: A connection to its database.
        facts: The table.
    """
    names, oids, keys = ask(connection, _COLUMNS, facts.oid)
    return list(zip(names, oids, keys, strict=True))


def make_outbox(connection: Connection, name: str, tables: Collection[TableFacts], kinds: Collection[Kind]) -> bool:
    """Make tables, triggers and the reader where they are missing; triggers are renewed where a table has changed.

    Args:
        connection: In autocommit.
        name: The reader.
        tables: The tables whose changes are wanted.
        kinds: The kinds of changes wanted.

    Returns:
        Whether the reader was made now.

    Raises:
        ReplicationError: The role may not.
    """
    try:
        with _alone(connection):
            if ask(connection, "SELECT to_regclass('dal_outbox_readers')::text")[0] is None:
                for statement in _TABLES:
                    ask(connection, statement)
                ask(connection, _FUNCTION.format(schema=ask(connection, _SCHEMA)[0]))
            for facts in tables:
                _make_triggers(connection, facts)
            made = ask(connection, _READER, name)
    except DBAPIError as error:
        raise ReplicationError(
            f"the outbox could not be made: {str(error.orig).splitlines()[0]}",
            hint="the role needs CREATE in the first schema of the search path, and has to own the tables; where a lock was not"
            " to be had, end the transactions that write to them",
        ) from error
    return bool(made)


def sweep(connection: Connection) -> None:
    """Delete what every reader has acknowledged.

    Args:
        connection: In autocommit.
    """
    ask(
        connection,
        "DELETE FROM dal_outbox o WHERE NOT EXISTS"
        " (SELECT FROM dal_outbox_readers r WHERE NOT pg_visible_in_snapshot(o.xid, r.snapshot))",
    )


def drop_reader(connection: Connection, name: str) -> None:
    """Forget a reader; with the last one triggers and tables go too.

    Args:
        connection: In autocommit.
        name: The reader.
    """
    with _alone(connection):
        if ask(connection, "SELECT to_regclass('dal_outbox_readers')::text")[0] is None:
            return
        ask(connection, "DELETE FROM dal_outbox_readers WHERE name = %s", name)
        if ask(connection, "SELECT count(*) FROM dal_outbox_readers")[0]:
            sweep(connection)
            return
        ask(connection, "DROP FUNCTION IF EXISTS dal_outbox_write CASCADE")
        ask(connection, "DROP TABLE IF EXISTS dal_outbox, dal_outbox_readers")


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Keep others from making or dropping the outbox during this block."""
    before = ask(connection, "SELECT current_setting('lock_timeout')")[0]
    ask(connection, _LOCK, "10s")
    try:
        ask(connection, "SELECT pg_advisory_lock(hashtext('dal_outbox'))")
        try:
            yield
        finally:
            ask(connection, "SELECT pg_advisory_unlock(hashtext('dal_outbox'))")
    finally:
        ask(connection, _LOCK, before)


def _make_triggers(connection: Connection, facts: TableFacts) -> None:
    quote = connection.dialect.identifier_preparer.quote
    relation = "'" + f"{facts.schema}.{facts.name}".replace("'", "''") + "'"
    if ask(connection, _HAS_TRIGGERS, facts.oid, f"{facts.schema}.{facts.name}")[0] == 2:
        return
    schema = ask(connection, _SCHEMA)[0]
    for name, events, level in (
        ("dal_outbox_rows", "INSERT OR UPDATE OR DELETE", "ROW"),
        ("dal_outbox_table", "TRUNCATE", "STATEMENT"),
    ):
        table = f"{quote(facts.schema)}.{quote(facts.name)}"
        ask(
            connection,
            _TRIGGER.format(name=name, events=events, table=table, level=level, schema=schema, relation=relation),
        )


def row_texts(row: str) -> list[bytes | None]:
    """Take the text of a whole row apart into the texts of its columns.

    Args:
        row: As PostgreSQL writes a composite value.

    Example:
        >>> row_texts('(1,"a ""b"", c",,"")')
        [b'1', b'a "b", c', None, b'']
    """
    values: list[bytes | None] = []
    for quoted, bare in _FIELD.findall(row[1:-1] + ","):
        if quoted:
            values.append(_ESCAPED.sub(r"\1", quoted[1:-1]).encode())
        else:
            values.append(bare.encode() if bare else None)
    return values
