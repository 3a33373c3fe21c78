"""Unnest: rows as one parameter for each column, an array, so that a statement is the same for any number of rows.

SELECT dal_n, c0 AS id, c1::jsonb AS doc FROM unnest(%b::int8[], %b::text[]) WITH ORDINALITY AS a(c0, c1, dal_n)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any

from dal.bulk.plan import ColumnPlan, PlannedColumn

__all__ = ["arrays_of", "unnested"]

_JSONS = {"json", "jsonb"}
_INTEGERS = {"int2", "int4", "int8"}
_MANY = 1_000
_TEXT = {str, NoneType}
_NUMBERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("int2", "int4", "int8"), int),
    **dict.fromkeys(("float4", "float8"), float),
    "numeric": Decimal,
    "bytea": bytes,
}


def unnested(plan: ColumnPlan, names: Sequence[str], order: str, further: Sequence[str] = ()) -> str:
    """Return a SELECT of rows given as arrays.

    Args:
        plan: The columns.
        names: What they are called, quoted.
        order: What the column is called that numbers the rows, from 1.
        further: Further expressions to select.
    """
    arrays = [f"%b::{_array_type(planned)}" for planned in plan.columns] or ["%b::text[]"]
    called = [f"c{at}" for at in range(len(arrays))]
    picked = [
        f"{name if not _as_text(planned) else f'{name}::{planned.facts.bare}'} AS {column}"
        for name, planned, column in zip(called, plan.columns, names, strict=False)
    ]
    chosen = ", ".join([order, *further, *picked])
    return f"SELECT {chosen} FROM unnest({', '.join(arrays)}) WITH ORDINALITY AS a({', '.join(called)}, {order})"


def arrays_of(plan: ColumnPlan, rows: Sequence[tuple[Any, ...]], driver: Any) -> list[Any]:
    """Return the parameters of such a statement.

    Args:
        plan: The columns.
        rows: Values in their order.
        driver: The connection of psycopg's.

    Raises:
        BadValue: A value is not one of its column's.
    """
    if not plan.columns:
        return [[None] * len(rows)]
    return [_array(planned, values, driver) for planned, values in zip(plan.columns, plan.columned(rows), strict=True)]


def _as_text(planned: PlannedColumn) -> bool:
    """Tell whether values go as text: unnest would take an array of arrays apart, and psycopg guesses no type of a dict."""
    kind = planned.kind
    return planned.facts.element is not None or not kind.binary or planned.facts.kind == "e" or kind.wire in _JSONS


def _array_type(planned: PlannedColumn) -> str:
    return "text[]" if _as_text(planned) else f"{planned.kind.wire}[]"


def _array(planned: PlannedColumn, values: Sequence[Any], driver: Any) -> Any:
    if planned.kind.wire in _INTEGERS and len(values) >= _MANY and set(map(type, values)) == {int}:
        # The text of many integers is made in a fraction of the time that psycopg takes for them one by one.
        return f"{{{','.join(map(str, values))}}}"
    if set(map(type, values)) <= _TEXT and planned.kind.wire not in _JSONS:
        return list(values)
    if _as_text(planned):
        return _literals(planned.kind.wire, values, driver)
    one = _NUMBERS.get(planned.kind.wire)
    # psycopg encodes an array by the type of one of its values.
    if one is not None and len({*map(type, values)} - {NoneType}) > 1:
        return [None if value is None else one(value) for value in values]
    return list(values)


def _literals(wire: str, values: Sequence[Any], driver: Any) -> list[str | None]:
    """Return values as the server's input functions read them, by what psycopg makes of them on this connection."""
    from psycopg.adapt import PyFormat, Transformer
    from psycopg.types.json import Json, Jsonb

    transformer = Transformer.from_context(driver)
    found: list[str | None] = []
    for value in values:
        if value is None:
            found.append(None)
            continue
        wrapped = Jsonb(value) if wire in _JSONS and not isinstance(value, (Json, Jsonb)) else value
        dumped: Any = transformer.get_dumper(wrapped, PyFormat.TEXT).dump(wrapped)
        found.append(None if dumped is None else bytes(dumped).decode())
    return found
