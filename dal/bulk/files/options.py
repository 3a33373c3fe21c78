"""LoadOptions: what a caller says of a load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from dal.bulk.arguments import checked_function, checked_most, checked_name, checked_progress, checked_truth
from dal.bulk.files.dialect import CsvDialect
from dal.bulk.files.header import Columns
from dal.bulk.files.progress import Tell
from dal.bulk.files.source import Format, checked_format
from dal.bulk.files.validation import Validate
from dal.bulk.result import BulkResult
from dal.bulk.sinks import Sink
from dal.bulk.target import Attribute
from dal.errors import UsageError

__all__ = ["LoadOptions", "OnPart"]

_NOWHERE = Sink(None)

OnPart = Callable[[Connection, BulkResult], object]
"""Called in the transaction of each part with what the part has done."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What a caller says of a load; see `BulkWriter.load`."""

    format: Format | None = None
    columns: Columns | None = None
    header: bool | None = None
    dialect: CsvDialect | None = None
    key: tuple[Attribute, ...] | None = None
    validate: Validate | None = None
    rejecting: bool = False
    rejects: Sink = _NOWHERE
    max_rejected: int | None = None
    progress: bool | Tell | None = None
    resume: str | None = None
    on_part: OnPart | None = None

    def __post_init__(self) -> None:
        checked_progress(self.progress)
        checked_most(self.max_rejected)
        checked_function(self.validate, "validate", "a row, or a model")
        checked_function(self.on_part, "on_part", "the connection and what the part has done")
        checked_truth(self.header, "header")
        checked_name(self.resume, "resume")
        if self.dialect is not None and not isinstance(self.dialect, CsvDialect):
            raise UsageError(
                f"dialect={self.dialect!r} is no CsvDialect", hint="write dialect=CsvDialect(delimiter=';'), from dal.bulk"
            )
        checked_format(self.format)
        if self.on_part is not None and self.resume is None:
            raise UsageError("on_part= is told of parts, and without resume= there is one for all", hint="add resume='a name'")
