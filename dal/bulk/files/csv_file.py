"""CsvFile: a CSV file as spans of whole records in UTF-8, and what COPY or a reader has to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from dal.bulk.files.dialect import CsvDialect, detected, encoding_of, null_marker
from dal.bulk.files.header import Columns, Header, header_of, known_names, plain
from dal.bulk.files.reading import is_text, reader_of
from dal.bulk.files.records import Spans, lines_of, transcoded, without
from dal.bulk.files.source import BLOCK, Source
from dal.bulk.target import Target
from dal.errors import FileError

__all__ = ["Ahead", "CsvFile", "Span"]

_SAMPLE = 500
_NOT_IN_TEXT = "\\.abcdefghijklmnopqrstuvwxyz0123456789"
"""Delimiters that COPY takes for CSV only: https://www.postgresql.org/docs/current/sql-copy.html."""


@dataclass(frozen=True, slots=True)
class Span:
    """Whole records of a text file.

    Args:
        data: Their bytes, in UTF-8.
        line: The line of the file that the first one begins in, from 1.
        end: How much of the file, unpacked and in UTF-8, ends with them.
    """

    data: bytes
    line: int
    end: int

    @property
    def next_line(self) -> int:
        """The line that comes after."""
        lines = self.data.count(b"\n")
        return self.line + (lines if self.data.endswith(b"\n") else lines + 1)


class Ahead(Iterator[Span]):
    """Spans, of which the next one can be read before it is its turn: while the server is busy with the one before.

    Args:
        spans: The spans.
    """

    def __init__(self, spans: Iterator[Span]) -> None:
        self._spans = spans
        self._read: list[Span] = []

    def read(self) -> None:
        """Read the next one, unless it is read."""
        if not self._read:
            self._read += islice(self._spans, 1)

    def __next__(self) -> Span:
        self.read()
        if not self._read:
            raise StopIteration
        return self._read.pop()


class CsvFile:
    """A CSV file, its dialect and its header.

    Args:
        source: The file, at its start.
        target: Where the rows go.
        dialect: What the caller said of the dialect.
        columns: What the caller said of the fields.
        header: Whether the first record names the fields; None: if it does.
        block: Bytes of a span, about.

    Raises:
        FileError: It is empty, or not in its encoding.
        UsageError: The fields are not the attributes.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        *,
        dialect: CsvDialect | None = None,
        columns: Columns | None = None,
        header: bool | None = None,
        block: int = BLOCK,
    ) -> None:
        given = dialect or CsvDialect()
        start = source.peek(BLOCK)
        encoding = encoding_of(start, given.encoding)
        sample = b"".join(transcoded([start], encoding, source.name, whole=False)).decode("utf-8", "ignore").lstrip("\ufeff")
        if not sample.strip():
            raise FileError(f"{source.name} is empty", hint="check what wrote it")
        known = known_names(target, columns)
        self._source, self._encoding, self._block = source, encoding, block
        self.dialect = detected(sample, given, lambda field: plain(field) in known)
        records = self._sampled(sample)
        self.header: Header = header_of(records[0], target, columns, header=header, name=source.name)
        if given.null is None:
            self.dialect = replace(self.dialect, null=self._null(records[self.header.given :], target))
        self._skipped = next(iter(self._cutter().records(sample.encode()))) if self.header.given else b""

    @property
    def first_line(self) -> int:
        """The line of the first record that is a row."""
        return 1 + (lines_of(self._skipped) if self._skipped else 0)

    def spans(self, position: int = 0, line: int = 0) -> Iterator[Span]:
        """Yield the rows' records.

        Args:
            position: Where to go on; 0: at the start.
            line: The line there.

        Raises:
            FileError: The file is shorter, or not in its encoding.
        """
        blocks = transcoded(self._source.blocks(self._block), self._encoding, self._source.name)
        begin = position or len(self._skipped)
        at, line = begin, line if position else self.first_line
        for data in self._cutter().cut(without(blocks, begin, self._source.name)):
            at += len(data)
            span = Span(data, line, at)
            yield span
            line = span.next_line

    def records(self, span: Span) -> list[bytes]:
        """Return the records of a span, each with its line end."""
        return self._cutter().records(span.data)

    def fields(self, record: bytes) -> Sequence[str | None]:
        """Return the fields of a record.

        Raises:
            ValueError: It is not UTF-8, or a quote is not closed.
        """
        return self.dialect.fields(_line(record))

    def named(self, record: bytes) -> dict[str, str | None]:
        """Return the fields of a record by attribute, as far as it can be read."""
        try:
            fields = self.fields(record)
        except ValueError:
            return {}
        return {name: text for name, text in zip(self.header.names, fields, strict=False) if name is not None}

    def plain(self, data: bytes) -> bool:
        """Tell whether records say the same in COPY's text format, which the server reads faster than CSV.

        Args:
            data: Their bytes.
        """
        said = self.dialect
        quote = (said.quote or '"').encode()
        return (said.delimiter or ",") not in _NOT_IN_TEXT and quote not in data and b"\\" not in data

    def copy(self, table: str, columns: Sequence[str], *, plain: bool) -> str:
        """Return the COPY that reads the records.

        Args:
            table: The quoted name of the table.
            columns: The quoted names of its columns, one for each field.
            plain: Whether all that is sent is plain.
        """
        said = self.dialect
        quote = said.quote or '"'
        options = {"DELIMITER": said.delimiter or ",", "NULL": said.null or ""}
        if not plain:
            options |= {"QUOTE": quote, "ESCAPE": said.escape or quote}
        told = ", ".join(f"{name} {_literal(value)}" for name, value in options.items())
        return f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT {'text' if plain else 'csv'}, ENCODING 'UTF8', {told})"

    def _cutter(self) -> Spans:
        return Spans(quote=self.dialect.quote or '"', escape=self.dialect.escape)

    def _sampled(self, sample: str) -> list[list[str | None]]:
        whole = sample[: sample.rfind("\n") + 1] or sample
        records = islice(self._cutter().records(whole.encode()), _SAMPLE)
        cut = self.dialect.fields
        return [cut(_line(record)) for record in records]

    def _null(self, records: Sequence[Sequence[str | None]], target: Target) -> str:
        typed = [
            (at, reader_of(target.columns[name]))
            for at, name in enumerate(self.header.names)
            if name is not None and not is_text(target.columns[name])
        ]
        return null_marker((read, [record[at] for record in records if at < len(record)]) for at, read in typed)


def _line(record: bytes) -> str:
    return record.decode().rstrip("\r\n") if record.endswith(b"\n") else record.decode()


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
