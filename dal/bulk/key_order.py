"""Key order: rows sorted by their key in Python, as `ordering` has the server sort them.

It is for types of which Python and PostgreSQL think the same: which value is less, and which are equal. A text is sorted by its
bytes; a value that its column would change, such as a time of fewer digits, is left to the server.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from itertools import islice
from operator import itemgetter, lt
from typing import Any

from dal.bulk.context import Context
from dal.bulk.ordering import ordered
from dal.bulk.plan import PlannedColumn

__all__ = ["in_key_order"]

_TYPES: dict[str, type] = {
    "int2": int,
    "int4": int,
    "int8": int,
    "text": str,
    "varchar": str,
    "uuid": uuid.UUID,
    "date": dt.date,
    "timestamptz": dt.datetime,
    "timestamp": dt.datetime,
    "bytea": bytes,
}


def in_key_order(
    context: Context, key: Sequence[str], names: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> list[tuple[Any, ...]] | None:
    """Sort rows by their key.

    Args:
        context: The call.
        key: The attributes that tell rows apart.
        names: The attributes of the rows.
        rows: Values in the order of the names.

    Returns:
        The rows; None where two have the same key, or it is not sure that Python sorts them as the server would.

    Raises:
        BadValue: A value is not one of its column's.
    """
    plan = context.plan(names)
    columns = []
    for name in ordered(context, key):
        planned = plan.columns[names.index(name)]
        values = planned.converted(list(map(itemgetter(names.index(name)), rows)))
        if not _comparable(planned, values, context):
            return None
        columns.append(values)
    keys = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    if all(map(lt, keys, islice(keys, 1, None))):
        return rows
    order = sorted(range(len(rows)), key=keys.__getitem__)
    keys = [keys[at] for at in order]
    return [rows[at] for at in order] if all(map(lt, keys, islice(keys, 1, None))) else None


def _comparable(planned: PlannedColumn, values: Sequence[Any], context: Context) -> bool:
    facts = planned.facts
    wanted = _TYPES.get(facts.type)
    if wanted is None or facts.kind != "b" or facts.collation == "loose" or set(map(type, values)) != {wanted}:
        return False
    if wanted is str:
        # A length takes spaces at the end away.
        cut = facts.sql != facts.bare and any(value.endswith(" ") for value in values)
        return not cut and str(context.wire.driver.info.parameter_status("server_encoding")) == "UTF8"
    return facts.sql == facts.bare
