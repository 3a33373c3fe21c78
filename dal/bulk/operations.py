"""Operations: what a batch writer is given, checked when it is submitted and written in runs of one kind.

Rows of one kind, with one key, that follow each other make one statement. Where a key comes twice, the second begins a new run:
what is submitted first is written first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Table
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.base import instance_dict, instance_state

from dal.bulk.arrays import Arrays
from dal.bulk.catalog import TableFacts
from dal.bulk.context import Context
from dal.bulk.singly import Singly
from dal.bulk.target import Attribute, Target, target_of
from dal.bulk.wire import speaks_copy
from dal.errors import UsageError
from dal.written import written

__all__ = ["Kind", "Operation", "Operations"]

Kind = Literal["insert", "upsert", "update", "delete"]


@dataclass(slots=True)
class Operation:
    """What is to be done with one item.

    Args:
        kind: What.
        item: An object of the entity, or a dict by attribute names.
        key: The attributes that identify its row; none for an insert.
        of: The value of the key.
    """

    kind: Kind
    item: Any
    key: tuple[str, ...] = ()
    of: tuple[Any, ...] = ()


class Operations:
    """What can be done with items of an entity.

    Args:
        entity: A mapped class or a Table.

    Raises:
        UsageError: It is neither.
    """

    def __init__(self, entity: type[Any] | Table) -> None:
        self.entity = entity
        self.target: Target = target_of(entity)
        self._names = tuple(self.target.columns)
        self._known: dict[str, TableFacts] = {}
        self._arrays = Arrays(self.target)
        self._singly = Singly(entity, self.target)
        self._keys: dict[Any, tuple[str, ...]] = {}
        mapper = self.target.mapper
        self._relations = () if mapper is None else tuple(relation.key for relation in mapper.relationships)

    def insert(self, item: Any) -> Operation:
        """Describe an insert.

        Raises:
            UsageError: The item is no new object of the entity, and no dict.
        """
        if type(item) is not dict and not isinstance(item, Mapping):
            state = self._state(item, "submit")
            if state.key is not None:
                raise UsageError(
                    f"submit takes a new {self.target.name}, and this one is in the database already",
                    hint="update() writes what was changed on it",
                )
        return Operation("insert", item)

    def upsert(self, item: Any, key: Sequence[Attribute]) -> Operation:
        """Describe an insert or update; see `insert`."""
        return self._keyed("upsert", item, self._named(key))

    def update(self, item: Any, key: Sequence[Attribute] | None) -> Operation:
        """Describe an update."""
        return self._keyed("update", item, self.target.key if key is None else self._named(key))

    def delete(self, item: Any, key: Sequence[Attribute] | None) -> Operation:
        """Describe a delete."""
        return self._keyed("delete", item, self.target.key if key is None else self._named(key))

    def write(self, session: Session, batch: Sequence[Operation]) -> list[Sequence[Any] | None]:
        """Write operations in their order.

        Args:
            session: The session, in a transaction.
            batch: The operations.

        Returns:
            The values of each row, in the order of the columns; None where there is no row to update or delete.

        Raises:
            RowError: One of them cannot be written.
            DBAPIError: The database refused one.
        """
        mapper = self.target.mapper
        bind: Any = {"mapper": mapper} if mapper is not None else {"clause": self.target.table}
        connection = session.connection(bind_arguments=bind)
        found: list[Sequence[Any] | None] = []
        if speaks_copy(connection) and len(self.target.parts) == 1:
            context = Context(connection, self.target, self._known)
            written(connection, [self.target.table.name])
            for run in _runs(batch):
                found += self._arrays.write(context, run)
        else:
            for operation in batch:
                found.append(self._singly.write(connection, operation))
        return found

    def row(self, operation: Operation, values: Sequence[Any]) -> Any:
        """Return what the future of an operation gets: the item's object, with what the database gave it.

        Args:
            operation: The operation.
            values: Its row, in the order of the columns; what comes after these does not matter.
        """
        mapper = self.target.mapper
        if mapper is None:
            return dict(zip(self._names, values, strict=False))
        item = operation.item
        if not isinstance(item, mapper.class_):
            item = mapper.class_manager.new_instance()
        if instance_state(item).key is None:
            instance_dict(item).update(zip(self._names, values, strict=False))
            make_transient_to_detached(item)
        else:
            for name, value in zip(self._names, values, strict=False):
                set_committed_value(item, name, value)
        return item

    def missing(self, operation: Operation) -> str:
        """Say that an operation found no row."""
        told = ", ".join(f"{name} = {value!r}" for name, value in zip(operation.key, operation.of, strict=True))
        return f"there is no {self.target.name} with {told} to {operation.kind}"

    def _state(self, item: Any, call: str) -> Any:
        mapper = self.target.mapper
        if mapper is None or not isinstance(item, mapper.class_):
            raise UsageError(
                f"{call} got a {type(item).__name__}, which is no {self.target.name} and no dict",
                hint=f"write {call}({self.target.name}(...))",
            )
        state: Any = instance_state(item)
        if state.session_id is not None:
            raise UsageError(
                f"{call} got a {self.target.name} that belongs to a session, which writes it itself",
                hint="give an object that was not added to a session, or session.expunge(it) first",
            )
        for carried in self._relations:
            if state.key is None and state.dict.get(carried):
                raise UsageError(
                    f"{call} writes one row and would lose what {self.target.name}.{carried} carries",
                    hint="set the foreign key's attribute, and submit related objects on their own",
                )
        return state

    def _keyed(self, kind: Kind, item: Any, key: tuple[str, ...]) -> Operation:
        values = item if isinstance(item, Mapping) else self._state(item, kind).dict
        of = tuple(values.get(name) for name in key)
        if not key or None in of:
            lacks = next((name for name, value in zip(key, of, strict=True) if value is None), "a primary key")
            raise UsageError(
                f"{kind} got a {self.target.name} without {lacks}, which tells its row from others",
                hint=f"set it, or name other attributes: key=[{self.target.example}]",
            )
        return Operation(kind, item, key, of)

    def _named(self, key: Sequence[Attribute]) -> tuple[str, ...]:
        try:
            given = tuple(key)
            if given not in self._keys:
                self._keys[given] = self.target.listed(given, "key")
        except TypeError:
            return self.target.listed(key, "key")
        return self._keys[given]


def _runs(batch: Sequence[Operation]) -> Iterator[list[Operation]]:
    run: list[Operation] = []
    seen: set[tuple[Any, ...]] = set()
    for operation in batch:
        if run and (operation.kind != run[0].kind or operation.key != run[0].key or (operation.key and operation.of in seen)):
            yield run
            run, seen = [], set()
        run.append(operation)
        if operation.key:
            seen.add(operation.of)
    if run:
        yield run
