"""What a stream has to know of its server and its tables, asked once before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap
from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from dal.errors import ReplicationError
from dal.own_statements import ask
from dal.streams.change import Kind
from dal.streams.decode import Asked
from dal.streams.position import lsn_from
from dal.streams.shapes import Shape
from dal.streams.values import Types

__all__ = ["TableFacts", "asked_of", "domains", "facts_of", "log_end", "parameters", "types_of"]

_FACTS = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relreplident::text, c.relkind::text,
  ARRAY(SELECT a.attname::text FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) AS k(number)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)"""
_DOMAINS = """
SELECT coalesce(array_agg(oid::int8), '{}'), coalesce(array_agg(typbasetype::int8), '{}') FROM pg_type WHERE typtype = 'd'"""
_SETTINGS = {
    "datestyle": "ISO",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "statement_timeout": "0",
}


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as the server knows it.

    Attributes:
        oid: Its object id.
        schema: Its schema.
        name: Its name.
        identity: REPLICA IDENTITY: d (the primary key), i (an index), f (the whole row) or n (nothing).
        kind: r, or p for a partitioned table.
        known: The columns that tell which row was updated or deleted.
    """

    oid: int
    schema: str
    name: str
    identity: str
    kind: str
    known: frozenset[str]


def facts_of(connection: Connection, table: Table) -> TableFacts:
    """Look at a table.

    Args:
        connection: Where to look.
        table: The table.

    Raises:
        ReplicationError: It is not there, or is no table.
    """
    name = connection.dialect.identifier_preparer.format_table(table)
    found = ask(connection, _FACTS, name)
    if not found:
        raise ReplicationError(f"the table {name} does not exist in this database", hint="create it first: dal migrate up")
    oid, schema, relation, identity, kind, known = found
    if kind not in {"r", "p"}:
        raise ReplicationError(f"{name} is no table, it has no changes of its own", hint="ask for the tables behind it")
    return TableFacts(oid, schema, relation, identity, kind, frozenset(known))


def asked_of(
    connection: Connection, shapes: Sequence[Shape], kinds: frozenset[Kind], *, full: bool, outbox: bool
) -> tuple[Asked, dict[str, TableFacts]]:
    """Look up every table, and check that its changes tell what is asked for.

    Args:
        connection: Where to look.
        shapes: What is asked for.
        kinds: The kinds of changes wanted.
        full: Whether `old` has to be the whole row.
        outbox: Whether triggers write the changes: they see the whole row whatever the replica identity.

    Raises:
        ReplicationError: A table is missing, or its replica identity does not tell enough.
    """
    asked: dict[tuple[str, str], list[tuple[Shape, Table]]] = {}
    facts: dict[str, TableFacts] = {}
    for shape in shapes:
        for table in shape.tables:
            name = connection.dialect.identifier_preparer.format_table(table)
            found = facts.setdefault(name, facts_of(connection, table))
            if not outbox:
                _check_identity(name, found, shape, table, kinds, full=full)
            asked.setdefault((found.schema, found.name), []).append((shape, table))
    return asked, facts


def _check_identity(name: str, found: TableFacts, shape: Shape, table: Table, kinds: frozenset[Kind], *, full: bool) -> None:
    if found.identity == "f" or not kinds & {"update", "delete"}:
        return
    whole = f"ALTER TABLE {name} REPLICA IDENTITY FULL"
    if full:
        raise ReplicationError(f"{name} tells only the key of what was updated or deleted, not the whole row", hint=whole)
    key = shape.key_columns(table)
    if found.identity == "n" or not found.known:
        raise ReplicationError(
            f"{name} has no replica identity: PostgreSQL would refuse every UPDATE and DELETE once its changes are published",
            hint=f'add a primary key, or {whole}, or read only kinds=("insert",)',
        )
    if not key or not found.known.issuperset(key):
        raise ReplicationError(
            f"{name} is identified by {', '.join(sorted(found.known))}, not by the mapping's key {', '.join(key) or '(none)'}",
            hint=whole,
        )
    column = shape.discriminator(table)
    partial = not shape.joined and shape.mapper is not None and shape.mapper.inherits is not None
    if "delete" in kinds and partial and column is not None and column not in found.known:
        raise ReplicationError(
            f"which deleted rows of {name} were a {shape.entity.__name__} cannot be told: the server sends only their key",
            hint=f'{whole}, or leave out deletes: kinds=("insert", "update")',
        )


def domains(connection: Connection) -> Mapping[int, int]:
    """Return the type that each domain of the database is made of."""
    oids, bases = ask(connection, _DOMAINS)
    return dict(zip(oids, bases, strict=True))


def log_end(connection: Connection) -> tuple[int, float]:
    """Return where the server's log ends now, and its time in seconds since 1970.

    Args:
        connection: A connection to it.
    """
    lsn, at = ask(connection, "SELECT pg_current_wal_flush_lsn()::text, extract(epoch FROM clock_timestamp())::float8")
    return lsn_from(lsn), at


def types_of(connection: Connection, lookup: Any) -> Types:
    """Take over how the application's connections load values.

    Args:
        connection: One of them.
        lookup: Asks for all domains.
    """
    driver: Any = connection.connection.driver_connection
    if isinstance(driver, (psycopg.Connection, psycopg.AsyncConnection)):
        return Types(AdaptersMap(driver.adapters), connection.dialect, lookup)
    dialect: Any = psycopg_dialect.dialect
    return Types(AdaptersMap(psycopg.adapters), dialect(), lookup)


def parameters(connection: Connection) -> list[tuple[str, str]]:
    """Return libpq's parameters for further connections to where this one leads, with the settings a stream's text needs.

    Args:
        connection: A connection of the application's engine.
    """
    driver: Any = connection.connection.driver_connection
    if isinstance(driver, (psycopg.Connection, psycopg.AsyncConnection)):
        found = dict(driver.info.get_parameters())
        if driver.info.password:
            found["password"] = driver.info.password
    else:
        url = connection.engine.url
        given = {"host": url.host, "port": url.port, "user": url.username, "password": url.password, "dbname": url.database}
        found = {name: str(value) for name, value in given.items() if value is not None}
    settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    found["options"] = f"{found.get('options', '')} {settings}".strip()
    return list(found.items())
