"""Guards: what keeps rows from going by COPY, as the mapping and the catalog have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, bindparam
from sqlalchemy.sql.type_api import TypeEngine

from dal.bulk import _internals
from dal.bulk.context import Context
from dal.bulk.flush.report import Ordinary
from dal.bulk.wire import speaks_copy
from dal.own_statements import in_autocommit

__all__ = ["Guards", "refuse_mapping", "refuse_table"]

_QUERY = """
SELECT c.relkind::text, row_security_active(c.oid),
       EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '3'),
       EXISTS (SELECT FROM pg_trigger t
               WHERE t.tgrelid IN (SELECT c.oid UNION ALL SELECT relid FROM pg_partition_tree(c.oid))
                 AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype::int & 7 = 7),
       coalesce((SELECT bool_and(has_sequence_privilege(pg_get_serial_sequence(%s, a.attname), 'USAGE'))
                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity <> '' AND NOT a.attisdropped), true)
FROM pg_class c WHERE c.oid = %s::regclass
"""
"""In a trigger's type, 1 is for each row, 2 before, 4 of an INSERT; of a rule, '3' is INSERT."""


@dataclass(frozen=True)
class Guards:
    """What has to be looked at row by row, or column by column.

    Args:
        triggers: Whether triggers may change a row before it is written.
        sequences: Whether the ids of identity columns may be taken beforehand.
    """

    triggers: bool
    sequences: bool


def refuse_mapping(connection: Connection, table: Table) -> None:
    """Refuse what needs no look into the database.

    Raises:
        Ordinary: Rows have to go the ordinary way.
    """
    if not speaks_copy(connection):
        raise Ordinary(f"{connection.dialect.name} through {connection.dialect.driver} has no COPY")
    if in_autocommit(connection):
        raise Ordinary("each statement of the connection is a transaction of its own")
    driver: Any = connection.connection.driver_connection
    if getattr(driver.pgconn, "pipeline_status", 0):
        raise Ordinary("the connection is in pipeline mode, which has no COPY")
    if not table.implicit_returning:
        raise Ordinary(f"{table.name} has implicit_returning=False")
    if _internals.inserts_are_rewritten(table):
        raise Ordinary("a @compiles of the application rewrites INSERT")
    if not len(table.primary_key):
        raise Ordinary(f"{table.name} has no primary key, only its mapper has")
    for column in table.columns:
        if _through_sql(column.type, connection):
            raise Ordinary(f"values of {table.name}.{column.name} go through an SQL expression of its type")


def refuse_table(context: Context, table: Table, params: Sequence[dict[str, Any]]) -> Guards:
    """Refuse what the catalog tells of a table.

    Args:
        context: The call.
        table: The table.
        params: What the rows are given.

    Raises:
        Ordinary: Rows have to go the ordinary way.
    """
    facts = context.facts().columns
    name = context.table().replace("%%", "%")
    relation, secured, rules, triggers, sequences = context.wire.fetch(_QUERY, (name, name))[0]
    if relation not in {"r", "p"}:
        raise Ordinary(f"{table.name} is no table of its own")
    if secured:
        raise Ordinary(f"{table.name} has row-level security")
    if rules:
        raise Ordinary(f"{table.name} has a rule for INSERT")
    for column in table.columns:
        known = facts.get(column.name)
        if known is not None and (known.computed or known.identity == "a") and any(column.key in given for given in params):
            raise Ordinary(f"{table.name}.{column.name} is always generated, and a value is given")
    return Guards(triggers, sequences)


def _through_sql(kind: TypeEngine[Any], connection: Connection) -> bool:
    impl: Any = kind.dialect_impl(connection.dialect)
    return impl.bind_expression(bindparam("value", type_=kind)) is not None
