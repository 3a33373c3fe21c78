"""Ordering: two writers of the same rows take their locks in the same order, that of the key, and so do not deadlock.

    INSERT ... SELECT ... ORDER BY email COLLATE "C" ON CONFLICT ...
    UPDATE t SET ... FROM (SELECT ... ORDER BY id) AS s WHERE t.id = s.id        -- with no hash join, the plan keeps the order

A text is sorted by its bytes, as Python sorts it too. Where its column sorts otherwise, a join keeps to the column's way, and
rows are locked before it. Columns of a key count in the table's order, in whatever order a caller names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dal.bulk.context import Context
from dal.bulk.wire import Wire

__all__ = ["in_order", "joins_keep", "order_by", "ordered"]


def ordered(context: Context, key: Sequence[str]) -> list[str]:
    """Return the attributes of a key in the order in which they count."""
    return [name for name in context.target.columns if name in key]


def order_by(context: Context, key: Sequence[str], part: int = 0, alias: str = "") -> str:
    """Return what rows are sorted by.

    Args:
        context: The call.
        key: The attributes that tell rows apart.
        part: Which of the target's tables.
        alias: Stands before each column, with its dot.
    """
    names = ordered(context, key)
    columns = context.quoted(context.target.parts[part].columns[name] for name in names)
    kinds = [planned.facts.collation for planned in context.plan(names, part).columns]
    bytewise = {"other": ' COLLATE "C"'}
    return ", ".join(f"{alias}{column}{bytewise.get(kind, '')}" for column, kind in zip(columns, kinds, strict=True))


def joins_keep(context: Context, key: Sequence[str], part: int = 0) -> bool:
    """Tell whether a merge join by a key has rows in the order of `order_by`."""
    return all(planned.facts.collation != "other" for planned in context.plan(tuple(key), part).columns)


@contextmanager
def in_order(wire: Wire) -> Iterator[None]:
    """Let statements join sorted rows in a way that keeps them sorted: with the table's rows by its index, or merged.

    The setting is put back at the end; where the block fails, the savepoint that its statements are taken back to does it.
    """
    before = wire.fetch("SELECT current_setting('enable_hashjoin'), set_config('enable_hashjoin', 'off', true)")[0][0]
    yield
    wire.run("SELECT set_config('enable_hashjoin', %s, true)", (before,))
