"""Typed: the records of a file as rows of Python values, with the line of each; what cannot be read is refused by line.

For files whose values Python has to look at: types that Python converts, a validation, other databases than PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dal.bulk.files.csv_file import CsvFile, Span
from dal.bulk.files.header import Columns, known_names, plain
from dal.bulk.files.reading import Exact, Read, Readers, is_text, reader_of
from dal.bulk.files.records import Spans, line_starts, transcoded, without
from dal.bulk.files.source import Source
from dal.bulk.files.validation import Validate, reads_text, validator_of
from dal.bulk.result import Rejected
from dal.bulk.target import Target

__all__ = ["CsvRows", "JsonRows", "Lines", "validated"]

_WRONG = (ValueError, TypeError, ArithmeticError, LookupError)


@dataclass
class Lines:
    """Rows of a file and where they stand in it.

    Args:
        rows: The rows.
        lines: The line of each.
        refused: What could not be read or did not pass validation; positions are lines here.
        end: How much of the file ends with them.
        next_line: The line that comes after.
    """

    rows: Any = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    refused: list[Rejected] = field(default_factory=list)
    end: int = 0
    next_line: int = 0

    def add(self, row: Any, line: int) -> None:
        """Add a row."""
        self.rows.append(row)
        self.lines.append(line)

    def refuse(self, line: int, error: Exception, row: Any, *, column: str | None = None, value: Any = None) -> None:
        """Add a refusal."""
        reason = str(error) or type(error).__name__
        self.refused.append(Rejected(line, reason, column=column, value=value, row=row, line=line))


def validated(lines: Lines, check: Callable[[dict[str, Any]], Any]) -> Lines:
    """Return what passes a validation, as it made it; what does not is refused.

    Args:
        lines: The rows, each a dict.
        check: Called with each.
    """
    passed = Lines(refused=lines.refused, end=lines.end, next_line=lines.next_line)
    for row, line in zip(lines.rows, lines.lines, strict=True):
        try:
            passed.add(check(row), line)
        except Exception as error:
            passed.refuse(line, error, row)
    return passed


class CsvRows:
    """The rows of a CSV file.

    Args:
        file: The file.
        target: Where the rows go.
        validate: What checks them.
    """

    def __init__(self, file: CsvFile, target: Target, validate: Validate | None) -> None:
        self._file = file
        self._names = file.header.names
        text = reads_text(validate)
        self._columns: list[tuple[int, str, Read | None]] = [
            (at, name, None if text or is_text(target.columns[name]) else reader_of(target.columns[name]))
            for at, name in enumerate(self._names)
            if name is not None
        ]
        self._check = None if validate is None else validator_of(validate)

    def parts(self, position: int, line: int) -> Iterator[Lines]:
        """Yield the rows from a place in the file on."""
        for span in self._file.spans(position, line):
            yield self.read(span)

    def read(self, span: Span) -> Lines:
        """Return the rows of a span."""
        records = self._file.records(span)
        lines = line_starts(records, span.data, span.line)
        return self.of_records(records, lines[:-1], Lines(end=span.end, next_line=span.next_line))

    def of_records(self, given: Sequence[bytes], lines: Sequence[int], found: Lines) -> Lines:
        """Return the rows of records.

        Args:
            given: The records.
            lines: The line of each.
            found: Takes what is refused, and the rows.
        """
        records = self._fields(given, lines, found)
        values = self._all_at_once([fields for _, fields in records])
        if values is None:
            for line, fields in records:
                self._one(fields, line, found)
        else:
            names = [name for _, name, _ in self._columns]
            found.rows = [dict(zip(names, row, strict=True)) for row in values]
            found.lines = [line for line, _ in records]
        return found if self._check is None else validated(found, self._check)

    def _fields(self, given: Sequence[bytes], lines: Sequence[int], found: Lines) -> list[tuple[int, Sequence[str | None]]]:
        records = []
        for record, line in zip(given, lines, strict=True):
            try:
                fields = self._file.fields(record)
                if len(fields) != len(self._names):
                    raise ValueError(f"{len(fields)} fields where {len(self._names)} are expected")
            except ValueError as error:
                found.refuse(line, error, record)
            else:
                records.append((line, fields))
        return records

    def _all_at_once(self, records: list[Sequence[str | None]]) -> list[tuple[Any, ...]] | None:
        """Read column by column; None where a field cannot be read."""
        columns = list(zip(*records, strict=True))
        try:
            made = [
                columns[at] if read is None else [None if text is None else read(text) for text in columns[at]]
                for at, _, read in self._columns
                if columns
            ]
        except _WRONG:
            return None
        return list(zip(*made, strict=True))

    def _one(self, fields: Sequence[str | None], line: int, found: Lines) -> None:
        row: dict[str, Any] = {}
        for at, name, read in self._columns:
            text = fields[at]
            try:
                row[name] = text if text is None or read is None else read(text)
            except _WRONG as error:
                found.refuse(line, error, dict(zip(self._names, fields, strict=True)), column=name, value=text)
                return
        found.add(row, line)


class JsonRows:
    """The rows of a file of JSON lines: an object on each, by names of attributes or columns.

    Args:
        source: The file, at its start.
        target: Where the rows go.
        columns: What the caller said of the names.
        validate: What checks them.
    """

    def __init__(self, source: Source, target: Target, columns: Columns | None, validate: Validate | None) -> None:
        self._source, self._target = source, target
        self._known = known_names(target, columns)
        self._readers = None if reads_text(validate) else Readers(target, nested=False)
        self._check = None if validate is None else validator_of(validate)

    def parts(self, position: int, line: int) -> Iterator[Lines]:
        """Yield the rows from a place in the file on."""
        at, line = position, max(line, 1)
        blocks = transcoded(self._source.blocks(), "utf-8", self._source.name)
        for data in Spans(quote=None).cut(without(blocks, position, self._source.name)):
            at += len(data)
            found = Lines(end=at)
            for record in data.splitlines():
                if record.strip():
                    self._one(record, line, found)
                line += 1
            found.next_line = line
            yield found if self._check is None else validated(found, self._check)

    def _one(self, record: bytes, line: int, found: Lines) -> None:
        try:
            given = json.loads(record, parse_float=Exact)
            if not isinstance(given, dict):
                raise ValueError(f"a {type(given).__name__} is no object")
            row = dict(self._named(given))
        except ValueError as error:
            found.refuse(line, error, record)
            return
        fault = None if self._readers is None else self._readers.fault(row)
        if fault is not None:
            column, value, wrong = fault
            found.refuse(line, wrong, given, column=column, value=value)
            return
        found.add(row, line)

    def _named(self, given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for called, value in given.items():
            known = plain(called)
            if known not in self._known:
                raise ValueError(f"{called!r} is no attribute of {self._target.name}")
            name = self._known[known]
            if name is not None:
                yield name, value
