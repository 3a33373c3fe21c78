"""Columnar files: Parquet and Arrow, read batch by batch; a place in one is a number of rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Dialect

from dal._extras import require
from dal.bulk.files.header import Columns, known_names, plain
from dal.bulk.files.raw import why_not_raw
from dal.bulk.files.reading import Readers
from dal.bulk.files.source import Source
from dal.bulk.files.typed import Lines, validated
from dal.bulk.files.validation import Validate, validator_of
from dal.bulk.target import Target
from dal.errors import FileError, UsageError

__all__ = ["ArrowRows"]

_BATCH = 10_000


class ArrowRows:
    """The rows of a Parquet or Arrow file; lines are rows, from 1.

    Args:
        source: The file, at its start.
        kind: "parquet" or "arrow".
        target: Where the rows go.
        columns: What the caller said of the names.
        validate: What checks them.
        dialect: The database.

    Raises:
        MissingExtra: pyarrow is not installed.
        FileError: The file is damaged.
        UsageError: A column is no attribute.
    """

    def __init__(
        self,
        source: Source,
        kind: str,
        target: Target,
        columns: Columns | None,
        validate: Validate | None,
        dialect: Dialect,
    ) -> None:
        self._arrow: Any = require("pyarrow", extra="arrow", purpose=f"a {kind} file")
        self._kind, self._source = kind, source
        self._readers = Readers(target, nested=True)
        # A bulk writer on PostgreSQL makes lines of COPY of a whole batch, and the server reads the texts in it.
        self._whole = validate is None and why_not_raw(target, list(target.columns), dialect) is None
        self._check = None if validate is None else validator_of(validate)
        try:
            self._file, schema = self._opened()
        except self._arrow.ArrowInvalid as error:
            raise FileError(f"{source.name} is no {kind} file, or damaged: {error}", hint="check what wrote it") from error
        known = known_names(target, columns)
        unknown = next((name for name in schema.names if plain(name) not in known), None)
        if unknown is not None:
            raise UsageError(
                f"{source.name} has the column {unknown!r}, and {target.name} no such attribute",
                hint=f"columns={{{unknown!r}: {target.example}}} says which it is, columns={{{unknown!r}: None}} leaves it out",
            )
        self._names = {name: known[plain(name)] for name in schema.names}
        self.attributes = [name for name in self._names.values() if name is not None]

    def parts(self, position: int, line: int) -> Iterator[Lines]:
        """Yield the rows from a place in the file on."""
        kept = [name for name, attribute in self._names.items() if attribute is not None]
        at = 0
        for batch in self._batches(kept):
            skipped = min(max(position - at, 0), batch.num_rows)
            start, at = at + skipped, at + batch.num_rows
            if skipped == batch.num_rows:
                continue
            named = batch.slice(skipped).rename_columns([self._names[name] for name in kept])
            lines = list(range(start + 1, at + 1))
            if self._whole:
                yield Lines(rows=named, lines=lines, end=at, next_line=at + 1)
                continue
            found = self._read(named.to_pylist(), lines, Lines(end=at, next_line=at + 1))
            yield found if self._check is None else validated(found, self._check)

    def _read(self, rows: list[dict[str, Any]], lines: list[int], found: Lines) -> Lines:
        """Read what Arrow has no type for and is text in the file: JSON, UUID, enums."""
        for row, line in zip(rows, lines, strict=True):
            fault = self._readers.fault(row)
            if fault is None:
                found.add(row, line)
            else:
                column, value, error = fault
                found.refuse(line, error, row, column=column, value=value)
        return found

    def _opened(self) -> tuple[Any, Any]:
        if self._kind == "arrow":
            ipc: Any = require("pyarrow.ipc", extra="arrow", purpose="an Arrow file")
            opened = ipc.open_file(self._seekable())
            return opened, opened.schema
        parquet: Any = require("pyarrow.parquet", extra="arrow", purpose="a Parquet file")
        opened = parquet.ParquetFile(self._seekable())
        return opened, opened.schema_arrow

    def _batches(self, names: list[str]) -> Iterator[Any]:
        if self._kind == "parquet":
            yield from self._file.iter_batches(batch_size=_BATCH, columns=names)
            return
        for index in range(self._file.num_record_batches):
            batch = self._file.get_batch(index).select(names)
            for start in range(0, batch.num_rows, _BATCH):
                yield batch.slice(start, _BATCH)

    def _seekable(self) -> Any:
        """Return a file that can be read from its end, where these formats keep what is in them."""
        if self._source.path is not None and not self._source.packed:
            return str(self._source.path)
        held: Any = tempfile.TemporaryFile()  # noqa: SIM115  read until the load ends
        shutil.copyfileobj(self._source.file, held)
        held.seek(0)
        return held
