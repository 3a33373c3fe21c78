"""Completing: what an INSERT would have written of each row, known before it is written.

Defaults in Python are called as SQLAlchemy calls them, row by row. Keys that the server would give are taken from it
beforehand, so that nothing depends on the order in which it returns rows. Other server defaults are left to it, and read
afterwards where SQLAlchemy wants them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table

from dal.bulk.catalog import ColumnFacts
from dal.bulk.context import Context
from dal.bulk.flush.defaults import Defaults, clause_of, is_called
from dal.bulk.flush.exact import exact
from dal.bulk.flush.guards import Guards
from dal.bulk.flush.report import Ordinary
from dal.bulk.plan import ColumnPlan

__all__ = ["Completed", "complete"]

Params = dict[str, Any]

_EXACT = {"int2", "int4", "int8", "uuid", "bool", "text", "varchar", "date", "float8"}
_EXACT_UNLESS_CUT = {"timestamptz", "timestamp", "numeric"}
"""Types of which a value goes to Python and back unchanged; the latter where no length or precision cuts it."""
_STEADY = re.compile(r"now\(\)|CURRENT_\w+|LOCALTIMESTAMP|true|false|-?\d+(\.\d+)?|'([^']|'')*'(::[\w ]+)?")
"""Defaults that are the same for all rows of a transaction."""


@dataclass
class Completed:
    """Rows, ready to be sent.

    Args:
        context: The call.
        plan: The columns that are sent.
        wire_rows: Their values, as psycopg takes them.
        given: What an INSERT would have had as parameters, with defaults called in Python.
        told: What the server was asked for beforehand, by the key of a column, for each row.
    """

    context: Context
    plan: ColumnPlan
    wire_rows: list[tuple[Any, ...]]
    given: list[Params]
    told: dict[str, Sequence[Any]] = field(default_factory=dict)

    def knows(self, key: str, start: int, stop: int) -> bool:
        """Tell whether the values of a column are known without asking for them."""
        return key in self.told or all(key in row for row in self.given[start:stop])

    def values(self, key: str, start: int, stop: int) -> Sequence[Any]:
        """Return the values of a column."""
        told = self.told.get(key)
        if told is None:
            return [row[key] for row in self.given[start:stop]]
        return [row.get(key, other) for row, other in zip(self.given[start:stop], told[start:stop], strict=True)]

    def loaded(self, column: Column[Any], values: Sequence[Any]) -> Sequence[Any]:
        """Return values of the driver's as a query would have given them."""
        return _loaded(self.context, column, values)


def complete(context: Context, table: Table, params: Sequence[Params], guards: Guards) -> Completed:
    """Complete rows.

    Args:
        context: The call.
        table: The table.
        params: What each INSERT would be given, by the keys of columns.
        guards: What the catalog tells.

    Raises:
        Ordinary: They have to go the ordinary way.
    """
    lacking = {column.key: _lacking(column.key, params) for column in table.columns}
    # What is given is looked at first, before a default is called that might be called again.
    sent = {
        column.key: _converted(context, column.key, params)
        for column in table.columns
        if len(lacking[column.key]) < len(params)
    }
    called = [column for column in table.columns if lacking[column.key] and is_called(column)]
    asked = [column for column in table.columns if lacking[column.key] and column not in called]
    wanted = _wanted(context, table, asked, lacking, guards, len(params))
    defaults = Defaults(context)
    given = defaults.called(called, params) if called else list(params)
    told: dict[str, Sequence[Any]] = {}
    for keys in _alike(wanted, lacking):
        told |= _asked(context, {key: wanted[key] for key in keys}, lacking[keys[0]], len(params))
    for column in called:
        sent[column.key] = _converted(context, column.key, given)
    for key in wanted:
        sent[key] = _converted(context, key, [{key: row.get(key, other)} for row, other in zip(given, told[key], strict=True)])
    names = [column.key for column in table.columns if column.key in sent]
    rows = list(zip(*(sent[name] for name in names), strict=True)) if names else [() for _ in given]
    told |= _steady(context, [column for column in asked if column.key not in sent], len(params))
    return Completed(context, context.plan(names), rows, given, told)


def _lacking(key: str, params: Sequence[Params]) -> list[int]:
    return [at for at, row in enumerate(params) if key not in row]


def _converted(context: Context, key: str, rows: Sequence[Params]) -> Sequence[Any]:
    """Return a column as psycopg takes it; NULL where a row has nothing to say of it."""
    planned = context.plan([key]).columns[0]
    present = [row[key] for row in rows if key in row]
    done = exact(planned, present)
    if len(done) == len(rows):
        return done
    values = iter(done)
    return [next(values) if key in row else None for row in rows]


def _wanted(
    context: Context, table: Table, asked: Sequence[Column[Any]], lacking: dict[str, list[int]], guards: Guards, number: int
) -> dict[str, str]:
    """Return what has to be asked of the server beforehand: an expression for each key of a column."""
    facts = context.facts().columns
    found: dict[str, str] = {}
    for column in asked:
        known = facts.get(column.name)
        clause = clause_of(column, context.connection)
        partly = len(lacking[column.key]) < number
        if known is None or (clause is None and known.default is None):
            if known is None or column.primary_key:
                raise Ordinary(f"{table.name}.{column.name} is neither given nor known to the catalog")
            continue
        if guards.triggers and (column.primary_key or column.server_default is not None or clause is not None):
            raise Ordinary(f"{table.name} has a trigger that may change a row before it is inserted")
        if clause is None and not column.primary_key and not partly:
            continue
        if not _goes_and_comes(known, key=column.primary_key):
            raise Ordinary(
                f"{table.name}.{column.name} has a default whose values, of type {known.sql}, only the server can make"
            )
        if known.identity and not guards.sequences:
            raise Ordinary(f"the role may not take ids of {table.name}.{column.name} from their sequence")
        expression = (known.default or "").replace("%", "%%") if clause is None else clause
        found[column.key] = f"({expression})::{known.bare}"
    return found


def _goes_and_comes(known: ColumnFacts, *, key: bool) -> bool:
    if known.type in _EXACT:
        return True
    return known.type in _EXACT_UNLESS_CUT and known.sql == known.bare


def _alike(wanted: dict[str, str], lacking: dict[str, list[int]]) -> list[list[str]]:
    """Group columns that the same rows lack: they are asked for row by row together, as an INSERT would."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for key in wanted:
        groups.setdefault(tuple(lacking[key]), []).append(key)
    return list(groups.values())


def _asked(context: Context, wanted: dict[str, str], places: Sequence[int], number: int) -> dict[str, Sequence[Any]]:
    expressions = ", ".join(wanted.values())
    rows = context.wire.fetch(f"SELECT {expressions} FROM generate_series(1, %s)", (len(places),))
    found: dict[str, Sequence[Any]] = {}
    for key, values in zip(wanted, zip(*rows, strict=True), strict=True):
        loaded = _loaded(context, context.target.columns[key], values)
        if len(places) == number:
            found[key] = loaded
        else:
            by_place = dict(zip(places, loaded, strict=True))
            found[key] = [by_place.get(at) for at in range(number)]
    return found


def _steady(context: Context, columns: Sequence[Column[Any]], number: int) -> dict[str, Sequence[Any]]:
    """Return defaults that the server gives alike to all rows of a transaction, and that are no objects to be changed."""
    facts = context.facts().columns
    steady = {
        column.key: f"({known.default})::{known.sql}".replace("%", "%%")
        for column in columns
        if (known := facts[column.name]).type in _EXACT | _EXACT_UNLESS_CUT and _STEADY.fullmatch(known.default or "")
    }
    if not steady:
        return {}
    row = context.wire.fetch(f"SELECT {', '.join(steady.values())}")[0]
    return {
        key: _loaded(context, context.target.columns[key], [value] * number) for key, value in zip(steady, row, strict=True)
    }


def _loaded(context: Context, column: Column[Any], values: Sequence[Any]) -> Sequence[Any]:
    dialect = context.connection.dialect
    load: Any = column.type.dialect_impl(dialect).result_processor(dialect, context.facts().columns[column.name].oid)
    return list(values) if load is None else [load(value) for value in values]
