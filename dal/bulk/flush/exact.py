"""Exact: values of a column for binary COPY, where it stores just what an INSERT would have stored.

An INSERT lets the server cast: a str for an int8, a naive time for a timestamptz. `BulkWriter` has rules of its own for those.
A flush has to mean what it means without COPY, so here only values go by COPY about which nobody has to guess.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from types import NoneType
from typing import Any

from dal.bulk.flush.report import Ordinary
from dal.bulk.plan import BadValue, PlannedColumn
from dal.bulk.values import ANY

__all__ = ["exact"]

_UUID_TEXT = 36


def exact(planned: PlannedColumn, values: Sequence[Any]) -> Sequence[Any]:
    """Return values as psycopg takes them.

    Args:
        planned: The column.
        values: What its attribute has.

    Raises:
        Ordinary: An INSERT might store something else.
    """
    try:
        bound = values
        if planned.bind is not None and (planned.binds is None or not planned.binds.isdisjoint(map(type, values))):
            bound = list(map(planned.bind, values))
        return replace(planned, bind=None).converted(_alike(planned, bound))
    except BadValue as error:
        raise Ordinary(f"{planned.column.table.name}.{planned.column.name} has a value that it does not take") from error
    except Ordinary:
        raise
    except Exception as error:
        raise Ordinary(f"the type of {planned.column.table.name}.{planned.column.name} does not take a value") from error


def _alike(planned: PlannedColumn, values: Sequence[Any]) -> Sequence[Any]:
    kind = planned.kind
    types = set(map(type, values)) - {NoneType}
    if planned.facts.element is not None:
        return _arrays(planned, types, values)
    if kind.takes is ANY:
        return values
    # SQLAlchemy casts a bool to the column's type, which only some numbers allow.
    if types <= (kind.takes if kind.wire == "bool" else kind.takes - {bool}):
        return values
    if kind.whole is not None and kind.whole(types | {NoneType}, values):
        return values
    turn = _TURNS.get(kind.wire)
    if turn is None:
        raise _unlike(planned, types - kind.takes)
    return [value if value is None or type(value) in kind.takes else turn(planned, value) for value in values]


def _arrays(planned: PlannedColumn, types: set[type], values: Sequence[Any]) -> Sequence[Any]:
    if not types <= {list}:
        raise _unlike(planned, types)
    if planned.kind.takes is ANY:
        return values
    for value in values:
        if value is not None and not _same(planned.kind.turn(value), value, bools=planned.facts.element == "bool"):
            raise _unlike(planned, types)
    return values


def _same(turned: Any, given: Any, *, bools: bool) -> bool:
    if isinstance(given, list):
        return all(_same(one, other, bools=bools) for one, other in zip(turned, given, strict=True))
    return turned is given and (bools or type(given) is not bool)


def _unlike(planned: PlannedColumn, types: set[type]) -> Ordinary:
    names = ", ".join(sorted(each.__name__ for each in types)) or "bool"
    where = f"{planned.column.table.name}.{planned.column.name}"
    return Ordinary(f"{where}, {planned.facts.sql} in the database, has values that an INSERT would cast: {names}")


def _numeric(planned: PlannedColumn, value: Any) -> Decimal:
    if type(value) is not float:
        raise _unlike(planned, {type(value)})
    # As the server casts a double: by 15 digits.
    return Decimal(f"{value:.15g}") if math.isfinite(value) else Decimal(str(value))


def _uuid(planned: PlannedColumn, value: Any) -> uuid.UUID:
    if type(value) is not str or len(value) != _UUID_TEXT:
        raise _unlike(planned, {type(value)})
    return uuid.UUID(value)


_TURNS: dict[str, Callable[[PlannedColumn, Any], Any]] = {"numeric": _numeric, "uuid": _uuid}
