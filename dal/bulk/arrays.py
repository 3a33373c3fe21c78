"""Arrays: a few hundred rows written by one statement on PostgreSQL, each column an array, and the rows come back.

    WITH given AS MATERIALIZED (SELECT n, nextval('events_id_seq') AS id, name FROM unnest(%b::text[]) WITH ORDINALITY ...),
    written AS (INSERT INTO events (id, name) SELECT id, name FROM given RETURNING *)
    SELECT n, written.* FROM given JOIN written USING (id)

A statement has as many parameters as columns, not as values, so that it is prepared once for batches of any size. Rows are
told apart by their key, not by the order in which RETURNING gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Column

from dal.bulk.apply import set_on_update
from dal.bulk.context import Context
from dal.bulk.filling import filled
from dal.bulk.item_error import item_error
from dal.bulk.keyed import Keyed
from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.refusal import of_bad_value
from dal.bulk.rows import Group, Reader
from dal.bulk.target import Target
from dal.bulk.unnest import arrays_of, unnested
from dal.errors import UnsupportedError

__all__ = ["Arrays"]

_ORDER = "dal_n"


class Doing(Protocol):
    """What is to be done with an item."""

    @property
    def kind(self) -> str:
        """insert, upsert, update or delete."""
        ...

    @property
    def item(self) -> Any:
        """An object or a dict."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """The attributes that identify its row."""
        ...

    @property
    def of(self) -> tuple[Any, ...]:
        """Their values."""
        ...


@dataclass(frozen=True)
class _Statement:
    """A statement for rows of one shape: its SQL, and what reads the columns it returns."""

    sql: str
    plan: ColumnPlan
    readers: Sequence[tuple[int, Callable[[Any], Any]]]

    def read(self, row: Sequence[Any]) -> Sequence[Any]:
        """Return a row with values of the mapping's types."""
        values = list(row)
        for at, read in self.readers:
            values[at] = read(values[at])
        return values


class Arrays:
    """Writes runs of operations by arrays.

    Args:
        target: Where the rows go; one table.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._statements: dict[Any, _Statement] = {}

    def write(self, context: Context, run: Sequence[Doing]) -> list[Sequence[Any] | None]:
        """Write operations of one kind and key.

        Args:
            context: The call.
            run: The operations; no key comes twice.

        Returns:
            The values of each row, in the order of the target's columns; None where there is no row.

        Raises:
            RowError: A value is none of its column's.
            DBAPIError: The database refused one.
        """
        kind, key = run[0].kind, run[0].key
        found: list[Sequence[Any] | None] = [None] * len(run)
        if kind == "delete":
            values = [each.of for each in run]
            groups = [Group(key, range(len(run)), [each.item for each in run], values)]
        else:
            reader = Reader(self._target, None, fresh=False, computed=context.computed())
            groups = reader.groups([each.item for each in run], 0)
        for group in groups:
            complete = filled(group, self._target, context.connection) if kind in {"insert", "upsert"} else group
            self._write(context, kind, key, complete, found)
        return found

    def _write(
        self, context: Context, kind: str, key: tuple[str, ...], group: Group, found: list[Sequence[Any] | None]
    ) -> None:
        statement = self._statement(context, kind, key, group.names)
        try:
            values = arrays_of(statement.plan, group.values, context.wire.driver)
        except BadValue as error:
            raise item_error(of_bad_value(error), self._target, group.given[error.index]) from error
        # The order comes last, so that the values before it are those of the columns.
        for row in context.wire.fetch(statement.sql, values):
            found[group.positions[row[-1] - 1]] = statement.read(row) if statement.readers else row

    def _statement(self, context: Context, kind: str, key: tuple[str, ...], names: tuple[str, ...]) -> _Statement:
        shape = (kind, key, names, context.table())
        if shape not in self._statements:
            self._statements[shape] = self._made(context, kind, key, names)
        return self._statements[shape]

    def _made(self, context: Context, kind: str, key: tuple[str, ...], names: tuple[str, ...]) -> _Statement:
        plan = context.plan(names)
        returned = tuple(self._target.columns)
        told = context.quoted(self._target.columns[name] for name in returned)
        sql = _Sql(context, self._target, plan, key, told)
        made = {"insert": sql.insert, "upsert": sql.upsert, "update": sql.update, "delete": sql.delete}[kind]()
        dialect = context.connection.dialect
        facts = context.facts().columns
        readers = []
        for at, name in enumerate(returned):
            column: Column[Any] = self._target.columns[name]
            read: Any = column.type.dialect_impl(dialect).result_processor(dialect, facts[column.name].oid)
            if read is not None:
                readers.append((at, read))
        return _Statement(made, plan, readers)


class _Sql:
    """The statements for rows of one shape."""

    def __init__(self, context: Context, target: Target, plan: ColumnPlan, key: tuple[str, ...], returned: list[str]) -> None:
        self._context, self._target, self._plan, self._key = context, target, plan, key
        self._names = context.quoted(planned.column for planned in plan.columns)
        self._returned = ", ".join(f"dal_target.{name}" for name in returned)
        self._written = ", ".join(f"written.{name}" for name in returned)
        self._table = context.table()

    def insert(self) -> str:
        ids, defaults = self._identity()
        names = ", ".join([*defaults, *self._names])
        given = self._given([f"{default} AS {name}" for name, default in defaults.items()])
        written = self._insert(names, f"SELECT {names} FROM given" if names else "SELECT FROM given")
        if not ids:
            # Nothing tells the rows apart: what is left is the order in which they are written.
            order = f"SELECT {self._written}, row_number() OVER () FROM written"
            return f"WITH given AS MATERIALIZED ({given}), written AS ({written}) {order}"
        return self._joined(given, written, ids)

    def upsert(self) -> str:
        key = self._columns(self._key)
        sets = self._sets("excluded") or [f"{name} = excluded.{name}" for name in key]
        names = ", ".join(self._names)
        rows = f"SELECT {names} FROM given ORDER BY {', '.join(key)}"
        conflict = f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(sets)}"
        conflict += "".join(f" WHERE {kin}" for kin in self._kin())
        return self._joined(self._given(), self._insert(names, rows, conflict), key)

    def update(self) -> str:
        sets = self._sets("given")
        if not sets:
            raise UnsupportedError(
                f"an update of {self._target.name} has nothing to write beside its key", hint="set what is to be changed"
            )
        return (
            f"UPDATE {self._table} AS dal_target SET {', '.join(sets)} FROM ({self._given()}) AS given "
            f"WHERE {self._match()} RETURNING {self._returned}, given.{_ORDER}"
        )

    def delete(self) -> str:
        return (
            f"DELETE FROM {self._table} AS dal_target USING ({self._given()}) AS given "
            f"WHERE {self._match()} RETURNING {self._returned}, given.{_ORDER}"
        )

    def _given(self, further: Sequence[str] = ()) -> str:
        return unnested(self._plan, self._names, _ORDER, further)

    def _insert(self, names: str, rows: str, conflict: str = "") -> str:
        override = " OVERRIDING SYSTEM VALUE" if names else ""
        into = f" ({names})" if names else ""
        return f"INSERT INTO {self._table} AS dal_target{into}{override} {rows}{conflict} RETURNING {self._returned}"

    def _joined(self, given: str, written: str, key: Sequence[str]) -> str:
        same = " AND ".join(f"given.{name} = written.{name}" for name in key)
        return (
            f"WITH given AS MATERIALIZED ({given}), written AS ({written}) "
            f"SELECT {self._written}, given.{_ORDER} FROM given JOIN written ON {same}"
        )

    def _identity(self) -> tuple[list[str], dict[str, str]]:
        """Return the quoted primary key, and the defaults of those of its columns that are not given."""
        facts = self._context.facts().columns
        defaults: dict[str, str] = {}
        for name in self._target.key:
            column = self._target.columns[name]
            if name in {planned.name for planned in self._plan.columns}:
                continue
            default = facts[column.name].default
            if default is None:
                return [], {}
            defaults[self._context.quoted([column])[0]] = default.replace("%", "%%")
        return self._columns(self._target.key), defaults

    def _sets(self, source: str) -> list[str]:
        keyed = Keyed(self._key, None, "error")
        written = keyed.columns_of([planned.name for planned in self._plan.columns], self._target)
        sets = [f"{name} = {source}.{name}" for name in self._columns(written)]
        return sets + set_on_update(self._context, written, self._key) if sets else []

    def _match(self) -> str:
        return " AND ".join([*(f"dal_target.{name} = given.{name}" for name in self._columns(self._key)), *self._kin()])

    def _kin(self) -> list[str]:
        kin = self._context.kin("dal_target")
        return [] if kin is None else [kin]

    def _columns(self, names: Sequence[str]) -> list[str]:
        return self._context.quoted(self._target.columns[name] for name in names)
