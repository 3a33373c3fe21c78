"""Parts by ranges of a key, with about as many rows in each.

Where the cuts lie is taken from what PostgreSQL knows of the column (pg_stats), when the statement reads a whole table; from
a sample of its blocks, with the statement's own conditions, when it does not; and from the keys themselves where the table is
small, the key is an expression, or the database is another one.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table, and_, any_, func, literal_column, or_, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import ARRAY

from dal.own_statements import ask
from dal.parallel import _internals, physical

__all__ = ["conditions"]

_log = logging.getLogger("dal.parallel")

_SAMPLED_BLOCKS = 300
_ROWS_IN_BLOCK = 300
_STATS = """
SELECT format_type(a.atttypid, a.atttypmod), quote_ident(n.nspname) || '.' || quote_ident(k.collname),
  s.schemaname, s.tablename, s.attname, s.inherited, coalesce(array_length(s.histogram_bounds::text::text[], 1), 0)
  + coalesce(array_length(s.most_common_freqs, 1), 0)
FROM pg_class c JOIN pg_namespace cn ON cn.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
JOIN pg_stats s ON s.schemaname = cn.nspname AND s.tablename = c.relname AND s.attname = a.attname
LEFT JOIN pg_collation k ON k.oid = a.attcollation LEFT JOIN pg_namespace n ON n.oid = k.collnamespace
WHERE c.oid = to_regclass(%s) AND a.attname = %s ORDER BY s.inherited DESC LIMIT 1
"""
_CUTS = """
WITH s AS (SELECT * FROM pg_stats WHERE schemaname = :schema AND tablename = :table AND attname = :column
    AND inherited = :inherited),
  w AS (SELECT v, (1 - coalesce((SELECT sum(f) FROM unnest(s.most_common_freqs) AS f), 0) - s.null_frac)
      / array_length(s.histogram_bounds::text::text[], 1) AS weight
    FROM s, unnest(s.histogram_bounds::text::{type}[]) AS v
    UNION ALL SELECT v, f FROM s, unnest(s.most_common_vals::text::{type}[], s.most_common_freqs) AS m(v, f)),
  u AS (SELECT v, sum(weight) OVER (ORDER BY v{collate}) / nullif(sum(weight) OVER (), 0) AS upto FROM w)
SELECT key FROM (SELECT (SELECT v FROM u WHERE upto >= k::float8 / :parts ORDER BY v{collate} LIMIT 1) AS key, k
  FROM generate_series(1, :parts - 1) AS k) AS found WHERE key IS NOT NULL ORDER BY k
"""


def conditions(
    connection: Connection, statement: Select[Any], key: ColumnElement[Any], parts: int, *, holes: bool
) -> list[tuple[str, ColumnElement[bool]]]:
    """Return each part's bounds and condition: (…, first cut], (first cut, second cut] and so on, and the rows without a key.

    Args:
        connection: In the snapshot.
        statement: The statement.
        key: What its ranges are of; has to have an order.
        parts: How many to aim at.
        holes: Whether an outer join may bring rows without a key.
    """
    cuts = _cuts(connection, statement, key, parts) if parts > 1 else []
    if not cuts:
        return []
    edges: list[Any] = [None, *cuts, None]
    found = [_between(key, low, high) for low, high in pairwise(edges)]
    if holes or getattr(key, "nullable", True):
        found.append((f"{key} is NULL", key.is_(None)))
    return found


def _between(key: ColumnElement[Any], low: Any, high: Any) -> tuple[str, ColumnElement[bool]]:
    sides = ([] if low is None else [(f"> {low!r}", key > low)]) + ([] if high is None else [(f"<= {high!r}", key <= high)])
    return f"{key} {' and '.join(words for words, _ in sides)}", and_(*(condition for _, condition in sides))


def _cuts(connection: Connection, statement: Select[Any], key: ColumnElement[Any], parts: int) -> list[Any]:
    table = getattr(key, "table", None)
    if connection.dialect.name != "postgresql" or not isinstance(table, FromClause):
        return _from_keys(connection, statement, key, parts)
    sizes = physical.block_counts(connection, table)
    if sum(sizes) <= _SAMPLED_BLOCKS:
        return _from_keys(connection, statement, key, parts)
    if isinstance(table, Table) and statement.get_final_froms() == [table] and statement.whereclause is None:
        found = _from_statistics(connection, table, key, parts)
        if found:
            return found
    return _from_keys(connection, statement.where(_in_sample(table, max(sizes))), key, parts)


def _from_statistics(connection: Connection, table: Table, key: ColumnElement[Any], parts: int) -> list[Any]:
    name = physical.name_of(connection, table)
    known = ask(connection, _STATS, name or "", str(getattr(key, "name", "")))
    if not known:
        return []
    kind, collation, schema, table_name, column, inherited, values = known
    if values < 4 * parts:
        return []
    query = text(_CUTS.format(type=kind, collate=f" COLLATE {collation}" if collation else "")).columns(key=key.type)
    values_of = {"schema": schema, "table": table_name, "column": column, "inherited": inherited, "parts": parts}
    try:
        with connection.begin_nested():
            return _distinct(connection.execute(query, values_of).scalars().all())
    except SQLAlchemyError as error:
        _log.debug("the statistics of %s cannot be read, its blocks are sampled: %s", key, error)
        return []


def _in_sample(table: FromClause, blocks: int) -> ColumnElement[bool]:
    places = literal_column(
        f"ARRAY(SELECT ('(' || block || ',' || line || ')')::tid FROM (SELECT DISTINCT floor(random() * {int(blocks)})::bigint"
        f" AS block FROM generate_series(1, {_SAMPLED_BLOCKS})) AS blocks, generate_series(1, {_ROWS_IN_BLOCK}) AS line)",
        ARRAY(physical.Tid()),
    )
    return _internals.ctid_of(table) == any_(places)


def _from_keys(connection: Connection, statement: Select[Any], key: ColumnElement[Any], parts: int) -> list[Any]:
    keys = statement.with_only_columns(key.label("key"), maintain_column_froms=True).order_by(None).subquery()
    tile = func.ntile(parts).over(order_by=keys.c.key).label("tile")
    tiles = select(keys.c.key, tile).where(keys.c.key.is_not(None)).subquery()
    after = func.lead(tiles.c.tile).over(order_by=(tiles.c.key, tiles.c.tile)).label("after")
    ends = select(tiles.c.key, tiles.c.tile, after).subquery()
    query = select(ends.c.key).where(or_(ends.c.after != ends.c.tile)).order_by(ends.c.tile)
    return _distinct(connection.execute(query).scalars().all())


def _distinct(cuts: Any) -> list[Any]:
    found: list[Any] = []
    for value in cuts:
        if not found or found[-1] != value:
            found.append(value)
    return found
