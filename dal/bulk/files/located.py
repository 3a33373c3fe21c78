"""Located: the error of a row in a file, with its line and, where the file can be read once more, what stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dal.bulk.files.csv_file import CsvFile, Span
from dal.bulk.files.raw import RawCopy
from dal.bulk.files.records import copy_ends, line_starts, record_at
from dal.bulk.files.source import Source
from dal.bulk.refusal import Refused, row_error
from dal.bulk.result import Rejected
from dal.errors import RowError

__all__ = ["Located"]


class Located:
    """Makes the errors of a load.

    Args:
        name: The file's name.
        target: What errors call the target.
        whole: Whether nothing at all was written.
    """

    def __init__(self, name: str, target: str, *, whole: bool) -> None:
        self._name, self._target, self._whole = name, target, whole

    def error(self, rejected: Rejected, orig: BaseException | None, *, more_than: int | None = None) -> RowError:
        """Return the error of a row.

        Args:
            rejected: The row.
            orig: The driver's error.
            more_than: How many were allowed to be refused, where there were too many.
        """
        error = row_error(rejected, self._target, orig)
        told = error.args[0].split(": ", 1)[1]
        done = "nothing was written" if self._whole else "what stands before its part is written"
        message = f"line {rejected.line} of {self._name} was refused, and {done}: {told}"
        error.args = (message if more_than is None else f"more than {more_than} rows were refused; the last: {message}",)
        error.line = rejected.line
        return error

    def again(self, error: RowError, line: int, position: int) -> RowError:
        """Return the error of a row that a writer of rows has raised, with its line."""
        rejected = Rejected(
            position,
            error.args[0].rsplit(": ", 1)[-1],
            column=error.column,
            value=error.value,
            sqlstate=error.sqlstate,
            constraint=error.constraint,
            row=error.row,
            line=line,
        )
        return self.error(rejected, error.orig)

    def of_span(self, refused: Refused, span: Span, raw: RawCopy) -> RowError:
        """Return the error of a record of a span."""
        file = raw.file
        place = record_at(copy_ends(file.records(span)), refused.index or 0)
        return self._refused(refused, place, *_found(file, span, place))

    def of_line(self, refused: Refused, line: int, file: CsvFile, source: Source) -> RowError:
        """Return the error of a record of a file that was sent as a whole.

        Args:
            refused: The refusal.
            line: The line where the COPY that met it began.
            file: The file.
            source: Where it comes from.
        """
        if refused.index is None:
            return self._refused(refused, 0, None, {})
        if source.path is not None:
            source.rewind()
            before, left = 0, refused.index
            for span in file.spans():
                records = file.records(span)
                if span.line >= line:
                    ends = copy_ends(records, begins=span.line == line)
                    if left < ends[-1]:
                        place = record_at(ends, left)
                        return self._refused(refused, before + place, *_found(file, span, place))
                    left -= ends[-1]
                before += len(records)
        return self._refused(refused, line - file.first_line + refused.index, line + refused.index, {})

    def _refused(self, refused: Refused, position: int, line: int | None, row: Mapping[str, Any]) -> RowError:
        rejected = refused.rejected(position, dict(row), row.get(refused.column or ""))
        return self.error(replace(rejected, line=line), refused.orig)


def _found(file: CsvFile, span: Span, place: int) -> tuple[int, Mapping[str, Any]]:
    """Return the line and the fields of a record."""
    records = file.records(span)
    return line_starts(records, span.data, span.line)[place], file.named(records[place])
