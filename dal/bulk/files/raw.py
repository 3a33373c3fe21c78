"""Raw: the bytes of a file, sent to COPY as they are; types, lengths, NULL and constraints are the server's to check.

A span that is refused is cut at the row the server names, by its line, and the rest is sent again; only where it names none
(a foreign key), rows are found by the key, or by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, Dialect, Enum
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator, TypeEngine

from dal.bulk.context import Context
from dal.bulk.files.csv_file import CsvFile, Span
from dal.bulk.files.records import copy_ends, line_starts, record_at
from dal.bulk.isolate import isolate
from dal.bulk.plan import ColumnPlan
from dal.bulk.refusal import Refused, of_error
from dal.bulk.result import Rejected
from dal.bulk.target import Target
from dal.bulk.wire import Copying

__all__ = ["RawCopy", "why_not_raw"]

_END_OF_DATA = b"\\."
_TOGETHER = 32 * 1024
"""Bytes that libpq is given at once: the server begins with the first while the next are copied."""


def why_not_raw(target: Target, names: Sequence[str | None], dialect: Dialect) -> str | None:
    """Tell why the bytes of a file cannot go to COPY as they are, or None where they can.

    Args:
        target: Where the rows go.
        names: The attribute of each field.
        dialect: The database.
    """
    if dialect.driver not in {"psycopg", "psycopg_async"}:
        return "only psycopg has COPY"
    if len(target.parts) > 1:
        return f"{target.name} is kept in several tables"
    if None in names:
        return "a field is left out"
    mapper = target.mapper
    for name, column in target.columns.items():
        if name in names:
            if _by_python(column.type):
                return f"{target.name}.{name} has a type that Python converts"
        elif name in target.constants or (column.default is not None and not column.default.is_sequence):
            return f"{target.name}.{name} has a default that Python gives"
        elif mapper is not None and mapper.version_id_col is column:
            return f"{target.name}.{name} is a version that Python counts"
    return None


def _by_python(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, TypeDecorator) or (isinstance(kind, Enum) and not kind.native_enum)


class RawCopy:
    """COPY of spans of a file.

    Args:
        context: The call.
        file: The file.
        reject: Called with each row that is refused; where it is None, the first refusal ends the load.
        rest: Called with records, their lines and their positions, once so many were refused that COPY is no way any more.
        meanwhile: Called when a span is sent, while the server is still busy with it.
    """

    def __init__(
        self,
        context: Context,
        file: CsvFile,
        reject: Callable[[Rejected], None] | None = None,
        rest: Callable[[list[bytes], list[int], list[int]], None] | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        self._context, self.file, self.reject, self._rest = context, file, reject, rest
        self._meanwhile = meanwhile
        self._names = [name for name in file.header.names if name is not None]
        self.plan: ColumnPlan = context.plan(self._names)

    def statement(self, *, plain: bool) -> str:
        """Return the COPY for records that are all plain, or for any."""
        context = self._context
        return self.file.copy(context.table(), context.quoted(planned.column for planned in self.plan.columns), plain=plain)

    def write(self, span: Span, position: int) -> int:
        """Write a span, and return how many rows it has put into the table.

        Args:
            span: The records.
            position: The place of the first among all records of the load.

        Raises:
            Refused: A row was refused, and `reject` is not there to take it; its index is a line of the span.
        """
        if self.reject is None:
            return self.copied(span.data)
        found = self._tried(span.data)
        return self._isolated(span, position, found) if isinstance(found, Refused) else found

    def takes(self, record: bytes) -> bool:
        """Write one record, and tell whether the server took it."""
        return not isinstance(self._tried(record), Refused)

    def _tried(self, data: bytes) -> int | Refused:
        """Send bytes under a savepoint; return the number of rows, or what was refused, where nothing was written."""
        wire = self._context.wire
        wire.savepoint()
        try:
            rows = self.copied(data)
            if self._context.facts().deferred:
                wire.run("SET CONSTRAINTS ALL IMMEDIATE")
        except (Refused, DBAPIError) as error:
            refused = error if isinstance(error, Refused) else of_error(error, self.plan)
            if refused is None:
                raise
            wire.undo()
            return refused
        wire.release()
        return rows

    def copied(self, data: bytes) -> int:
        """Send bytes, and return the number of rows.

        Raises:
            Refused: A row was refused; its index is its last line.
        """
        try:
            with self._context.wire.copy(self.statement(plain=self.file.plain(data))) as copying:
                self.send(copying, data)
                self._meanwhile()
        except DBAPIError as error:
            refused = of_error(error, self.plan)
            if refused is None:
                raise
            raise refused from error
        return copying.rows

    def send(self, copying: Copying, data: bytes) -> None:
        r"""Send bytes of whole records.

        COPY takes a line of nothing but `\.` for the end of the data; in quotes it is a value.
        """
        # One byte is looked for many times faster than two.
        if b"\\" in data and _END_OF_DATA in data:
            quote = (self.file.dialect.quote or '"').encode()
            lines = data.split(b"\n")
            data = b"\n".join(
                quote + _END_OF_DATA + quote + line[2:] if line.rstrip(b"\r") == _END_OF_DATA else line for line in lines
            )
        for start in range(0, len(data), _TOGETHER):
            copying.write(data[start : start + _TOGETHER])

    def _isolated(self, span: Span, position: int, first: Refused) -> int:
        attempt = _Records(self, self.file, self.file.records(span))
        attempt.place(first, attempt.records)
        lines = line_starts(attempt.records, span.data, span.line)
        elsewhere: set[int] = set()

        def reject(index: int, refused: Refused) -> None:
            elsewhere.add(index)
            self._reject(attempt.records[index], refused, position=position + index, line=lines[index])

        def rest(places: Sequence[int]) -> None:
            assert self._rest is not None
            elsewhere.update(places)
            self._rest(
                [attempt.records[place] for place in places],
                [lines[place] for place in places],
                [position + place for place in places],
            )

        isolate(
            self._context.wire,
            attempt,
            reject,
            immediate=self._context.facts().deferred,
            rest=None if self._rest is None else rest,
            first=first,
        )
        return len(attempt) - len(elsewhere)

    def _reject(self, record: bytes, refused: Refused, *, position: int, line: int) -> None:
        assert self.reject is not None
        row = self.file.named(record)
        self.reject(
            Rejected(
                position=position,
                reason=refused.reason,
                column=refused.column,
                value=row.get(refused.column or ""),
                sqlstate=refused.sqlstate,
                constraint=refused.constraint,
                row=row or record,
                line=line,
            )
        )


class _Records:
    """The records of a span, of which any range can be written; an `Attempt` for `isolate`."""

    def __init__(self, raw: RawCopy, file: CsvFile, records: list[bytes]) -> None:
        self._raw, self._file, self.records = raw, file, records
        self.plan = raw.plan

    def __len__(self) -> int:
        return len(self.records)

    def write(self, start: int, stop: int) -> None:
        """Write a range of records."""
        part = self.records[start:stop]
        data = b"".join(part)
        try:
            self._raw.copied(data)
        except Refused as refused:
            self.place(refused, part)
            raise

    def place(self, refused: Refused, part: Sequence[bytes]) -> None:
        """Turn the line that a refusal names into the place of a record among those sent."""
        if refused.index is not None:
            refused.index = record_at(copy_ends(part), refused.index)

    def matching(self, start: int, stop: int, key: tuple[Sequence[str], str]) -> Sequence[int]:
        """Return the records of a range that have a key, by the text the server shows of it."""
        columns, text = key
        order: list[Column[Any]] = [planned.column for planned in self.plan.columns]
        places = [next((at for at, column in enumerate(order) if column.name == name), None) for name in columns]
        if None in places:
            return []
        found = []
        for index in range(start, stop):
            fields = self._file.fields(self.records[index])
            if ", ".join(str(fields[at]) for at in places if at is not None and at < len(fields)) == text:
                found.append(index)
        return found
