"""Parts by where the rows lie: ranges of blocks, which need no key and no index.

A range of blocks is taken from every partition and every inheriting table at once, so that together the parts read each block
once; where the cuts lie is weighed by how many tables still have blocks there. The last part is open. PostgreSQL 14 and later
read such a range without touching the rest.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, TableClause, cast, literal, or_
from sqlalchemy.sql.selectable import Alias
from sqlalchemy.types import UserDefinedType

from dal.errors import UsageError
from dal.own_statements import ask
from dal.parallel import _internals

__all__ = ["block_counts", "conditions", "name_of"]

_BLOCKS = """
WITH RECURSIVE tree(oid) AS (
  SELECT to_regclass(%s)::oid UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
SELECT coalesce(array_agg(CASE
  WHEN relkind IN ('r', 'm') THEN pg_relation_size(tree.oid) / current_setting('block_size')::bigint
  WHEN relkind = 'p' THEN 0 END), '{}') FROM tree JOIN pg_class ON pg_class.oid = tree.oid
"""


class Tid(UserDefinedType[str]):
    """PostgreSQL's place of a row: block and number in it."""

    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        """Return its name."""
        return "TID"


def conditions(connection: Connection, table: FromClause, parts: int, *, holes: bool) -> list[tuple[str, ColumnElement[bool]]]:
    """Return each part's bounds and condition; none on other databases than PostgreSQL.

    Args:
        connection: In the snapshot.
        table: The table, or an alias of it.
        parts: How many to aim at.
        holes: Whether an outer join may bring rows that have nothing of the table.

    Raises:
        UsageError: It is no table.
    """
    if connection.dialect.name != "postgresql":
        return []
    sizes = block_counts(connection, table)
    if not sizes:
        raise UsageError(
            f"{getattr(table, 'name', table)} is no table: it does not lie in blocks",
            hint="give by= a key: a column, for ranges of it",
        )
    cuts = even(sizes, parts)
    if not cuts and not holes:
        return []
    ctid = _internals.ctid_of(table)
    edges: list[int | None] = [None, *cuts, None]
    found = [_between(ctid, low, high) for low, high in pairwise(edges)]
    if holes:
        bounds, first = found[0]
        found[0] = (bounds, or_(first, ctid.is_(None)))
    return found


def even(sizes: list[int], parts: int) -> list[int]:
    """Return the blocks to cut at, so that the parts have the same number of blocks.

    Args:
        sizes: Blocks of each table that is cut at the same places.
        parts: How many parts to aim at.

    Returns:
        Ascending block numbers, above 0.
    """
    total, edges = sum(sizes), sorted({0, *sizes})
    cuts: list[int] = []
    below = 0
    for low, high in pairwise(edges):
        width = sum(size >= high for size in sizes)
        reached = below + (high - low) * width
        while len(cuts) + 1 < parts and (wanted := total * (len(cuts) + 1) / parts) <= reached:
            cuts.append(low + max(0, round((wanted - below) / width)))
        below = reached
    return sorted({cut for cut in cuts if cut > 0})


def block_counts(connection: Connection, table: FromClause) -> list[int]:
    """Return the blocks of a table and of all that inherit from it or are its partitions; nothing for what is no table."""
    name = name_of(connection, table)
    if name is None:
        return []
    found = ask(connection, _BLOCKS, name)[0]
    counts = [] if any(count is None for count in found) else [int(count) for count in found]
    return counts or []


def name_of(connection: Connection, table: FromClause) -> str | None:
    """Return a table's quoted name, found behind an alias too."""
    if isinstance(table, Alias):
        table = table.element
    if not isinstance(table, TableClause):
        return None
    name = connection.dialect.identifier_preparer.format_table(table)
    # It is sent as a value, where a percent sign is not doubled as in a statement.
    return name.replace("%%", "%") if "format" in connection.dialect.paramstyle else name


def _between(ctid: ColumnElement[Any], low: int | None, high: int | None) -> tuple[str, ColumnElement[bool]]:
    lower = None if low is None else ctid >= _place(low)
    upper = None if high is None else ctid < _place(high)
    bounds = f"blocks from {low or 0}" + ("" if high is None else f" to {high - 1}")
    if lower is None or upper is None:
        # With one part and holes there is no bound at all: every row that lies somewhere.
        return bounds, next((each for each in (lower, upper) if each is not None), ctid.is_not(None))
    return bounds, lower & upper


def _place(block: int) -> ColumnElement[Any]:
    return cast(literal(f"({block},0)"), Tid())
