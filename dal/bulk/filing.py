"""Filing: the methods of a BulkWriter that read and write files. What does it is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select
from sqlalchemy.orm import Session

from dal.bulk.rejecting import checked_on_error
from dal.bulk.result import BulkResult
from dal.bulk.sinks import Rejects, Sink
from dal.bulk.target import Attribute

if TYPE_CHECKING:
    from dal.bulk.call import OnError
    from dal.bulk.files import Columns, CsvDialect, FileProgress, Format, Readable, Validate, Writable
    from dal.bulk.files.loader import Loader
    from dal.bulk.files.options import OnPart
    from dal.bulk.writer import BulkWriter

__all__ = ["dump", "load"]


def load(
    self: BulkWriter[Any],
    file: Readable,
    *,
    format: Format | None = None,  # noqa: A002
    columns: Columns | None = None,
    header: bool | None = None,
    dialect: CsvDialect | None = None,
    key: Sequence[Attribute] | None = None,
    validate: Validate | None = None,
    on_error: OnError = "raise",
    rejects: Rejects | None = None,
    max_rejected: int | None = None,
    progress: bool | Callable[[FileProgress], object] | None = None,
    resume: str | None = None,
    on_part: OnPart | None = None,
) -> BulkResult:
    """Load a file: CSV, JSON lines, Parquet or Arrow, packed with gzip or zstandard or not.

    Args:
        self: The writer.
        file: A path, a file object, or what `urllib.request.urlopen()` returns.
        format: "csv", "jsonl", "parquet" or "arrow"; by default what the first bytes and the name tell.
        columns: The attribute of each field, in order, or by its name in the file; None leaves a field out. By default the
            names in the file are compared with those of attributes and columns.
        header: Whether the first line of a CSV file names the fields; by default, if it does.
        dialect: How a CSV file is written; what it leaves open is found out.
        key: The columns of a unique key, to write over rows that are there already.
        validate: A function of each row, a dict, that returns what to write or raises; or a pydantic or msgspec model.
        on_error: As for `insert`; a rejected row has its line.
        rejects: As for `insert`.
        max_rejected: As for `insert`.
        progress: True for a bar on the terminal, or a function that is called with a `FileProgress`.
        resume: The name of a checkpoint: each part of the file is committed with it, and an interrupted load goes on
            where it ended; see `dal.bulk.checkpoint`. By default the whole file is one transaction.
        on_part: With `resume`: called in the transaction of each part, with its connection and what the part has done.

    Returns:
        What was done.

    Raises:
        RowError: A row cannot be written; it names the line.
        FileError: The file is damaged, in another encoding, or not the one the checkpoint is of.
        UsageError: The fields are not the attributes.
    """
    from dal.bulk.files.load import load as run
    from dal.bulk.files.options import LoadOptions

    def loaders(connection: Connection, session: Session | None) -> Loader:
        from dal.bulk.files.loader import Loader

        writer = type(self)(connection if session is None else session, self.entity)
        writer._known = self._known
        return Loader(connection, writer, self.target, self._known)

    options = LoadOptions(
        format=format,
        columns=columns,
        header=header,
        dialect=dialect,
        key=None if key is None else self.target.listed(key, "key"),
        validate=validate,
        rejecting=checked_on_error(on_error),
        rejects=Sink(rejects),
        max_rejected=max_rejected,
        progress=progress,
        resume=resume,
        on_part=on_part,
    )
    return run(file, options, self._scope, self.target, loaders)


def dump(
    self: BulkWriter[Any],
    statement: Select[*tuple[Any, ...]],
    file: Writable,
    *,
    format: Format | None = None,  # noqa: A002
    progress: bool | Callable[[FileProgress], object] | None = None,
) -> int:
    """Write the rows that a statement selects to a file, the way back of `load`.

    Args:
        self: The writer.
        statement: A `select()` of columns or of the entity.
        file: A path, or a binary file object.
        format: "csv", "jsonl", "parquet" or "arrow"; by default by the name, packed where it ends in `.gz` or `.zst`.
        progress: As for `load`.

    Returns:
        How many rows were written.

    Raises:
        UsageError: It is no `select()`, or the name tells no format.
        MissingExtra: Parquet and Arrow need the extra `arrow`.
    """
    from dal.bulk.files.dump import dump as run

    return self._scope.run(
        lambda connection, session: run(connection, statement, file, format=format, progress=progress),
        again=False,
        writes=False,
    )
