"""From pgoutput's messages to changes: PostgreSQL's text goes through psycopg's loaders and the mapping's own types.

A value is what a `select()` would have given: psycopg loads the text by the column's type on the server, and what SQLAlchemy
does to a result (TypeDecorator, Enum, JSON, arrays of them) follows. The layout of a table comes with a Relation message
before its first row and after each ALTER TABLE, so that a schema may change while the stream runs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table

from dal.streams.change import UNCHANGED, Change, Kind, Transaction
from dal.streams.merging import Merging
from dal.streams.readers import Reader
from dal.streams.shapes import Shape
from dal.streams.values import Loader, Types

__all__ = ["Decoder", "Relation"]

_INT32 = struct.Struct("!I").unpack_from
_BEGIN = struct.Struct("!QqI").unpack_from
_COMMIT = struct.Struct("!BQQq").unpack_from
_COLUMN = struct.Struct("!Ii").unpack_from
_from_bytes = int.from_bytes

Asked = Mapping[tuple[str, str], Sequence[tuple[Shape, Table]]]
"""The shapes that want the rows of a table, by schema and name."""


class Relation:
    """A table as the server lays out its rows now.

    Args:
        columns: Its columns: name, type and whether they belong to the replica identity.
        readers: Who wants its rows.
        types: How to load values.
    """

    __slots__ = ("full", "key", "load", "readers", "width")

    def __init__(self, columns: Sequence[tuple[str, int, bool]], readers: Sequence[Reader], types: Types) -> None:
        self.load: Callable[[Sequence[Any]], Sequence[Any]] = Loader([oid for _, oid, _ in columns], types).load
        self.readers = readers
        self.width = len(columns)
        self.key = frozenset(name for name, _, key in columns if key)


class Decoder:
    """Turns the messages of one stream into changes.

    Args:
        asked: Who wants the rows of which table.
        types: How to load values.
        kinds: The kinds of changes that are wanted.
        source: Who is told what is done with.

    Attributes:
        transaction: The one that is half read.
        skip: How many of its changes were given out before the connection was lost.
        layouts: The tables as rows that are no messages lay them out, by name and columns.
    """

    def __init__(self, asked: Asked, types: Types, kinds: frozenset[Kind], source: Any) -> None:
        self._asked, self._types, self._kinds, self._source = asked, types, kinds, source
        self._relations: dict[int, Relation] = {}
        self._merging = Merging() if any(shape.joined for wanted in asked.values() for shape, _ in wanted) else None
        self.transaction: Transaction | None = None
        self.skip = 0
        self.layouts: dict[tuple[str, tuple[str, ...]], Relation] = {}
        self._handlers: dict[int, Callable[[bytes, list[Change]], None]] = {
            ord("I"): self._insert,
            ord("U"): self._update,
            ord("D"): self._delete,
            ord("T"): self._truncate,
            ord("R"): self._relation,
        }

    def forget(self) -> None:
        """Drop what belongs to a connection that ended."""
        self._relations.clear()
        self.transaction = None
        if self._merging is not None:
            self._merging.clear()

    def begin(self, body: bytes) -> Transaction:
        """Read the message that opens a transaction."""
        lsn, micros, xid = _BEGIN(body, 1)
        self.transaction = Transaction(self._source, lsn, xid, micros)
        return self.transaction

    def commit(self, body: bytes, into: list[Change]) -> Transaction:
        """Read the message that closes a transaction."""
        transaction = self.transaction
        assert transaction is not None
        self.finish(into)
        _, _, transaction.end, _ = _COMMIT(body, 1)
        self.transaction = None
        return transaction

    def finish(self, into: list[Change]) -> None:
        """Add what waited for the end of the transaction.

        Args:
            into: Where changes are added.
        """
        if self._merging is not None:
            into.extend(change for change in self._merging.merged() if change._sequence > self.skip)

    def texts(self, relation: Relation, kind: Kind, old: list[Any] | None, new: list[Any] | None, into: list[Change]) -> None:
        """Read a row that did not come as a message.

        Args:
            relation: Its table.
            kind: What happened to it.
            old: The texts of its columns before, all of them.
            new: The same after.
            into: Where changes are added.
        """
        if kind not in self._kinds:
            return
        before, after = old and relation.load(old), new and relation.load(new)
        for reader in relation.readers:
            found = reader.read(after or before or ()) if kind != "truncate" else (reader.shape.entity, None, {})
            if found is None or (kind == "truncate" and not reader.own):
                continue
            entity, key, values = found
            whole = None if before is None else reader.whole(before)
            self._add(into, reader, kind, entity, key, whole, values if after is not None else None)

    def row(self, body: bytes, into: list[Change]) -> None:
        """Read any other message.

        Args:
            body: The message.
            into: Where changes are added.
        """
        handler = self._handlers.get(body[0])
        if handler is not None:
            handler(body, into)

    def _insert(self, body: bytes, into: list[Change]) -> None:
        relation = self._relations.get(_INT32(body, 1)[0])
        if relation is None or "insert" not in self._kinds:
            return
        raw, _ = _split(body, 6)
        values = relation.load(raw)
        for reader in relation.readers:
            found = reader.read(values)
            if found is not None:
                entity, key, new = found
                self._add(into, reader, "insert", entity, key, None, new)

    def _update(self, body: bytes, into: list[Change]) -> None:
        relation = self._relations.get(_INT32(body, 1)[0])
        if relation is None or "update" not in self._kinds:
            return
        mark, position = body[5], 6
        before: Sequence[Any] | None = None
        if mark != 78:  # N
            raw, position = _split(body, position)
            before = relation.load(raw)
            position += 1
        raw, _ = _split(body, position)
        left_out = [index for index, value in enumerate(raw) if value is UNCHANGED] if UNCHANGED in raw else ()
        values = relation.load([None if value is UNCHANGED else value for value in raw] if left_out else raw)
        for reader in relation.readers:
            found = reader.read(values)
            if found is None:
                continue
            entity, key, new = found
            old = reader.key_values(new)
            if before is not None:
                old = reader.whole(before) if mark == 79 else reader.part(before, relation.key)  # O or K
            for index in left_out:
                name = reader.attribute(index)
                if name is not None:
                    new[name] = old[name] if mark == 79 else UNCHANGED
            self._add(into, reader, "update", entity, key, old, new)

    def _delete(self, body: bytes, into: list[Change]) -> None:
        relation = self._relations.get(_INT32(body, 1)[0])
        if relation is None or "delete" not in self._kinds:
            return
        raw, _ = _split(body, 6)
        values = relation.load(raw)
        full = body[5] == 79  # O
        for reader in relation.readers:
            found = reader.read(values) if full else reader.gone(values, relation.key)
            if found is not None:
                entity, key, old = found
                self._add(into, reader, "delete", entity, key, old, None)

    def _truncate(self, body: bytes, into: list[Change]) -> None:
        if "truncate" not in self._kinds:
            return
        count = _INT32(body, 1)[0]
        for index in range(count):
            relation = self._relations.get(_INT32(body, 6 + 4 * index)[0])
            for reader in () if relation is None else relation.readers:
                if reader.own:
                    self._add(into, reader, "truncate", reader.shape.entity, None, None, None)

    def _add(
        self,
        into: list[Change],
        reader: Reader,
        kind: Kind,
        entity: Any,
        key: Any,
        old: dict[str, Any] | None,
        new: dict[str, Any] | None,
    ) -> None:
        transaction = self.transaction
        assert transaction is not None
        if self._merging is not None:
            self._merging.add(reader, Change(kind, entity, reader.table_name, key, old, new, transaction, 0))
            return
        transaction.count += 1
        if transaction.count > self.skip:
            into.append(Change(kind, entity, reader.table_name, key, old, new, transaction, transaction.count))

    def _relation(self, body: bytes, into: list[Change]) -> None:
        oid = _INT32(body, 1)[0]
        namespace, position = _name(body, 5)
        name, position = _name(body, position)
        wanted = self._asked.get((namespace or "pg_catalog", name))
        if wanted is None:
            self._relations.pop(oid, None)
            return
        count = _from_bytes(body[position + 1 : position + 3], "big")
        position += 3
        columns = []
        for _ in range(count):
            flags = body[position]
            column, position = _name(body, position + 1)
            type_oid, _ = _COLUMN(body, position)
            position += 8
            columns.append((column, type_oid, bool(flags & 1)))
        self._relations[oid] = relation_of(columns, wanted, self._types)


def relation_of(columns: Sequence[tuple[str, int, bool]], wanted: Sequence[tuple[Shape, Table]], types: Types) -> Relation:
    """Prepare for the rows of a table.

    Args:
        columns: Its columns as the server has them: name, type, and whether they identify a row.
        wanted: Who wants its rows.
        types: How to load values.
    """
    names = [name for name, _, _ in columns]
    oids = [oid for _, oid, _ in columns]
    return Relation(columns, [Reader(shape, table, names, oids, types) for shape, table in wanted], types)


def _split(body: bytes, position: int) -> tuple[list[Any], int]:
    """Cut a tuple into the texts of its columns: bytes, None or UNCHANGED; return where it ends."""
    count = body[position] << 8 | body[position + 1]
    position += 2
    values: list[Any] = []
    append = values.append
    for _ in range(count):
        kind = body[position]
        if kind == 116:  # t
            start = position + 5
            position = start + _from_bytes(body[position + 1 : start], "big")
            append(body[start:position])
        else:
            position += 1
            append(None if kind == 110 else UNCHANGED)  # n or u
    return values, position


def _name(body: bytes, position: int) -> tuple[str, int]:
    end = body.index(0, position)
    return body[position:end].decode(), end + 1
