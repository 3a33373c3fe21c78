"""Bulk writes where there is no COPY: SQLite, MariaDB, and PostgreSQL by another driver than psycopg.

SQLAlchemy's own statements do the work: insertmanyvalues, ON CONFLICT and ON DUPLICATE KEY, executemany. What is there
already is looked up first, so that the same rows count as inserted, updated or unchanged as they would on PostgreSQL. What no
database names by a line is found by halving.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, FromClause, bindparam, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import insert as sql_insert
from sqlalchemy import update as sql_update
from sqlalchemy.exc import DataError, IntegrityError, StatementError

from dal.bulk.halving import halve
from dal.bulk.keyed import Keyed, of_another_class, picked, refuse_key, without_keyless
from dal.bulk.mapped import among, differs, flat, keys_of, lacking, of_part, refused_by
from dal.bulk.rejecting import Rejecting
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.tally import Tally
from dal.bulk.target import Part, Target
from dal.bulk.upserting import upsert
from dal.errors import RowConflict, UnsupportedError

__all__ = ["Portable"]

_TOGETHER = 500

Row = dict[str, Any]


class Portable:
    """A bulk call by SQLAlchemy's own statements.

    Args:
        connection: The connection, in a transaction.
        target: Where rows go.
        tally: Takes the counts.
        rejecting: What happens to a row that cannot be written.
        back: What shall come back, or None.
    """

    def __init__(
        self, connection: Connection, target: Target, tally: Tally, rejecting: Rejecting, back: Returning | None
    ) -> None:
        self._connection = connection
        self._target = target
        self._tally = tally
        self._rejecting = rejecting
        self._back = back

    @property
    def computed(self) -> frozenset[str]:
        """The attributes that only the database writes."""
        return frozenset(name for name, column in self._target.columns.items() if column.computed is not None)

    def insert(self, chunks: Iterator[list[Group]]) -> None:
        """Insert rows."""
        for group in flat(chunks):
            lacks = lacking(group, self._target)
            if lacks is not None:
                self._lacks(group, lacks)
                continue
            rows = self._rows(group)

            def write(start: int, stop: int, rows: list[Row] = rows) -> None:
                self._insert(rows[start:stop])

            bad = self._halve(group, write)
            self._tally.inserted += len(rows) - len(bad)
            self._return(group, rows, bad)

    def upsert(self, chunks: Iterator[list[Group]], keyed: Keyed) -> None:
        """Insert rows, or update those that are there."""
        for given in self._distinct(chunks, keyed):
            lacks = lacking(given, self._target)
            if lacks is not None:
                self._lacks(given, lacks)
                continue
            written = keyed.columns_of(given.names, self._target)
            there = self._there(given, keyed.key, written)
            group = self._of_this_class(given, keyed.key, there) if self._target.shares else given
            rows, keys = self._rows(group), keys_of(group, keyed.key)
            todo = [at for at, key in enumerate(keys) if key not in there or differs(group, at, written, there[key])]
            statements = [upsert(self._connection, self._target, part, keyed.key, written) for part in self._target.parts]

            def write(
                start: int, stop: int, rows: list[Row] = rows, todo: list[int] = todo, statements: list[Any] = statements
            ) -> None:
                some = [rows[at] for at in todo[start:stop]]
                if some:
                    self._write_parts(some, statements, keyed.key)

            bad = {todo[at] for at in self._halve(group, write, todo)}
            self._tally.inserted += sum(keys[at] not in there and at not in bad for at in todo)
            self._tally.updated += sum(keys[at] in there and at not in bad for at in todo)
            self._tally.unchanged += len(keys) - len(todo)
            self._return_keyed(group, keyed.key, bad)

    def update(self, chunks: Iterator[list[Group]], keyed: Keyed) -> None:
        """Update rows by their key."""
        for group in self._distinct(chunks, keyed):
            written = keyed.columns_of(group.names, self._target)
            there = self._there(group, keyed.key, written)
            keys = keys_of(group, keyed.key)
            known = [at for at, key in enumerate(keys) if key in there]
            todo = [at for at in known if differs(group, at, written, there[keys[at]])]

            def write(
                start: int, stop: int, group: Group = group, todo: list[int] = todo, written: Sequence[str] = written
            ) -> None:
                self._update(group, todo[start:stop], keyed.key, written)

            bad = {todo[at] for at in self._halve(group, write, todo)}
            self._tally.updated += len(todo) - len(bad)
            self._tally.unchanged += len(known) - len(todo)
            self._tally.missing += len(keys) - len(known)
            self._return_keyed(group, keyed.key, bad | (set(range(len(keys))) - set(known)))

    def delete(self, chunks: Iterator[list[Group]], key: tuple[str, ...]) -> None:
        """Delete rows by their key."""
        for given in flat(chunks):
            group = without_keyless(given, key, self._rejecting)
            if group is None:
                continue
            keys = list(dict.fromkeys(keys_of(group, key)))

            def write(start: int, stop: int, keys: list[Any] = keys) -> None:
                self._delete(keys[start:stop], key)

            deleted = self._tally.deleted
            bad = self._halve(group, write)
            self._tally.missing += len(keys) - len(bad) - (self._tally.deleted - deleted)

    def _insert(self, rows: list[Row]) -> None:
        root, *others = self._target.parts
        missing = [name for name in self._target.key if name not in rows[0]]
        if not missing or not (others or self._back is not None):
            for part in self._target.parts:
                self._connection.execute(sql_insert(part.table), of_part(rows, part))
            return
        if not self._connection.dialect.insert_executemany_returning_sort_by_parameter_order:
            raise UnsupportedError(
                f"{self._connection.dialect.name} does not tell the ids of many rows", hint="give the primary key with the rows"
            )
        columns = [root.columns[name] for name in missing]
        statement = sql_insert(root.table).returning(*columns, sort_by_parameter_order=True)
        ids = self._connection.execute(statement, of_part(rows, root)).all()
        for row, found in zip(rows, ids, strict=True):
            row.update(zip(missing, found, strict=True))
        for part in others:
            self._connection.execute(sql_insert(part.table), of_part(rows, part))

    def _write_parts(self, rows: list[Row], statements: Sequence[Any], key: Sequence[str]) -> None:
        root, *others = self._target.parts
        self._connection.execute(statements[0], of_part(rows, root))
        if not others:
            return
        keys = [tuple(row[name] for name in key) for row in rows]
        ids = self._read(root.table, key, keys, self._target.key)
        lost = next((of for of in keys if of not in ids), None)
        if lost is not None:
            raise RowConflict(
                f"a row of {self._target.table.name} has the key {lost} in the eyes of the database, and spells it otherwise",
                hint="give the key as it is there",
                column=key[0],
                sqlstate="23505",
            )
        complete = [{**row, **dict(zip(self._target.key, ids[of], strict=True))} for row, of in zip(rows, keys, strict=True)]
        for part, statement in zip(others, statements[1:], strict=True):
            self._connection.execute(statement, of_part(complete, part))

    def _of_this_class(self, group: Group, key: Sequence[str], there: Mapping[tuple[Any, ...], Any]) -> Group:
        """Return the rows of a group whose keys are not there as another class."""
        refuse_key(self._target, key)
        keys = keys_of(group, key)
        unknown = [each for each in keys if each not in there]
        foreign = self._read(self._target.table, key, unknown, (), of_any_class=True)
        for at, of in enumerate(keys):
            if of in foreign:
                self._rejecting.reject(group, at, of_another_class(self._target, key))
        return picked(group, [at for at, of in enumerate(keys) if of not in foreign])

    def _update(self, group: Group, places: Sequence[int], key: Sequence[str], written: Sequence[str]) -> None:
        for part in self._target.parts if places else ():
            own = [name for name in written if name in part.columns]
            if not own:
                continue
            matches = [part.columns[name] == bindparam(f"key_{name}", type_=part.columns[name].type) for name in key]
            sets = {part.columns[name]: bindparam(f"set_{name}", type_=part.columns[name].type) for name in own}
            values = [
                {
                    f"{prefix}_{name}": group.values[at][group.names.index(name)]
                    for prefix, names in (("key", key), ("set", own))
                    for name in names
                }
                for at in places
            ]
            statement = sql_update(part.table).where(*matches).values({**sets, **self._version(part)})
            self._connection.execute(statement, values)

    def _version(self, part: Part) -> Mapping[Any, Any]:
        mapper = self._target.mapper
        version = None if mapper is None else mapper.version_id_col
        return {version: version + 1} if isinstance(version, Column) and version.table is part.table else {}

    def _delete(self, keys: Sequence[Any], key: Sequence[str]) -> None:
        for start in range(0, len(keys), _TOGETHER):
            some, reached = keys[start : start + _TOGETHER], 0
            if self._target.shares:
                # Others are rows of another class.
                some = list(self._read(self._target.source, key, some, key))
            for part in reversed(self._target.parts):
                chosen = among([part.columns[name] for name in key], some)
                reached = self._connection.execute(sql_delete(part.table).where(chosen)).rowcount
            self._tally.deleted += reached

    def _rows(self, group: Group) -> list[Row]:
        """Return rows by attribute, with what a mapper adds; SQLAlchemy adds the defaults of columns."""
        added: Row = {name: value for name, value in self._target.constants.items() if name not in group.names}
        mapper = self._target.mapper
        if mapper is not None and isinstance(mapper.version_id_col, Column) and callable(mapper.version_id_generator):
            name = mapper.get_property_by_column(mapper.version_id_col).key
            if name not in group.names:
                added[name] = mapper.version_id_generator(None)
        return [{**dict(zip(group.names, row, strict=True)), **added} for row in group.values]

    def _there(self, group: Group, key: Sequence[str], written: Sequence[str]) -> dict[tuple[Any, ...], Any]:
        """Return the rows that are there already: what would be written, by key."""
        return self._read(self._target.source, key, keys_of(group, key), written)

    def _read(
        self,
        source: FromClause,
        key: Sequence[str],
        keys: Sequence[tuple[Any, ...]],
        wanted: Sequence[str],
        *,
        of_any_class: bool = False,
    ) -> dict[tuple[Any, ...], Any]:
        """Return some values of rows, by key."""
        kin = None if of_any_class else self._target.kin(self._target.table)
        columns = [self._target.columns[name] for name in key]
        selected = [self._target.columns[name] for name in wanted]
        found: dict[tuple[Any, ...], Any] = {}
        for start in range(0, len(keys), _TOGETHER):
            chosen = among(columns, keys[start : start + _TOGETHER])
            statement = select(*columns, *selected).select_from(source).where(chosen)
            for row in self._connection.execute(statement if kin is None else statement.where(kin)):
                found[tuple(row[: len(key)])] = tuple(row[len(key) :])
        return found

    def _distinct(self, chunks: Iterator[list[Group]], keyed: Keyed) -> Iterator[Group]:
        """Return groups whose rows have a key, each another one."""
        seen: dict[tuple[Any, ...], int] = {}
        for given in flat(chunks):
            group = without_keyless(given, keyed.key, self._rejecting)
            if group is None:
                continue
            yield keyed.distinct(group, seen, self._rejecting)

    def _halve(self, group: Group, write: Any, places: Sequence[int] | None = None) -> set[int]:
        bad: set[int] = set()

        def reject(index: int, error: Exception) -> None:
            self._rejecting.reject(group, index if places is None else places[index], refused_by(error))
            bad.add(index)

        number = len(group.values) if places is None else len(places)
        halve(self._connection, number, write, reject, (DataError, IntegrityError, StatementError))
        return bad

    def _lacks(self, group: Group, name: str) -> None:
        for index in range(len(group.values)):
            self._rejecting.lacks(group, index, name)

    def _return(self, group: Group, rows: list[Row], bad: Collection[int]) -> None:
        if self._back is not None and rows:
            names = tuple(rows[0])
            values = [tuple(row[name] for name in names) if len(row) == len(names) else () for row in rows]
            self._back.take(Group(names, group.positions, group.given, values), bad, self._tally)

    def _return_keyed(self, group: Group, key: Sequence[str], bad: Collection[int]) -> None:
        if self._back is not None:
            self._back.take_by(group, key, bad, self._tally)
